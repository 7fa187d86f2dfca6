//! Bars for payloads that take their time, for people who look on.

use crate::client::{Client, Onlooker, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

/// Less is there before anybody has read a bar.
const WORTH: u64 = 1 << 20;

/// The same client, that shows how far large payloads are if standard error is a terminal.
pub(super) fn watched(client: Client) -> Client {
    if !std::io::stderr().is_terminal() {
        return client;
    }
    let bar: Mutex<Option<(bool, ProgressBar)>> = Mutex::new(None);
    client.watched_by(Onlooker::new(move |progress| {
        let (out, done, of) = match progress {
            Progress::Sent(done, of) => (true, done, of),
            // How long it is has to be known for a bar.
            Progress::Received(done, of) => (false, done, of.unwrap_or_default()),
        };
        if of < WORTH {
            return;
        }
        let mut shown = bar.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_none_or(|(was_out, _)| *was_out != out) {
            *shown = Some((out, start(out, of)));
        }
        if let Some((_, bar)) = &*shown {
            bar.set_position(done);
            if done >= of {
                bar.finish_and_clear();
            }
        }
    }))
}

fn start(out: bool, of: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(of), ProgressDrawTarget::stderr());
    let form = "{msg} {bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(if out { "sending " } else { "fetching" });
    bar
}
