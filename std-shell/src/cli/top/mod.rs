//! `redlink top`: a node, live.

mod frame;
mod screen;

use super::args::{self, Target};
use super::exit::{Done, Exit, Failure};
use super::output;
use crate::client::{Client, Error};
use clap::Args;
use frame::Look;
use screen::Screen;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Watch a node's links, services and what waits, once a second
///
/// q or Ctrl-C ends it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink top
  redlink top --interval 5s --node https://hub:7411
  redlink top --once")]
pub(super) struct Options {
    /// Time from one look to the next, at least 100ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,

    /// Print one frame, after one interval for the rates, and end
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    target: Target,
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = args::duration(text)?;
    match time < Duration::from_millis(100) {
        true => Err("at least 100ms".into()),
        false => Ok(time),
    }
}

/// Width and height where there is no terminal to ask.
const PLAIN: (u16, u16) = (80, u16::MAX);

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    let client = Client::new(&options.target.context()?)?;
    // What is wrong from the beginning is said in the ordinary way.
    let first = look(&client).await?;
    if options.once {
        tokio::time::sleep(options.interval).await;
        let now = look(&client).await?;
        for line in frame::frame(&now, Some(&first), client.url(), PLAIN) {
            output::line(&line.paint())?;
        }
        return Ok(Exit::Done);
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::usage("there is no terminal to draw on")
            .hint("`redlink top --once` prints one frame; `redlink status --json` is for programs"));
    }
    watch(&client, first, options.interval).await
}

async fn watch(client: &Client, first: Look, interval: Duration) -> Done {
    let no_signals = |e| Failure::failed(format!("can't listen for signals: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let (screen, mut keys) = Screen::open().map_err(no_terminal)?;
    let mut before = None;
    let mut now = first;
    let mut trouble: Option<String> = None;
    let mut next = Instant::now() + interval;
    loop {
        let size = screen.size().unwrap_or(PLAIN);
        let mut lines = frame::frame(&now, before.as_ref(), client.url(), size);
        if let Some(trouble) = &trouble {
            frame::complain(&mut lines, trouble, size);
        }
        screen.draw(&lines).map_err(no_terminal)?;
        tokio::select! {
            key = keys.recv() => match key {
                Some(screen::Key::Quit) | None => return Ok(Exit::Done),
                Some(screen::Key::Redraw) => {}
            },
            _ = terminate.recv() => return Ok(Exit::Interrupted),
            () = tokio::time::sleep(next.saturating_duration_since(Instant::now())) => {
                next = Instant::now() + interval;
                match look(client).await {
                    Ok(new) => {
                        before = Some(std::mem::replace(&mut now, new));
                        trouble = None;
                    }
                    Err(error) => trouble = Some(error.to_string()),
                }
            }
        }
    }
}

fn no_terminal(error: std::io::Error) -> Failure {
    Failure::failed(format!("can't draw on the terminal: {error}"))
}

async fn look(client: &Client) -> Result<Look, Error> {
    Ok(Look {
        at: Instant::now(),
        node: client.get("/v1/node").await?,
        peers: client.get("/v1/peers").await?,
        services: client.get("/v1/services").await?,
    })
}
