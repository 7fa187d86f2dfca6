//! One message: run the command on it, hold its lease, answer.

use super::Worker;
use super::backoff::Backoff;
use super::child::{Child, Ended};
use crate::cli::exit::Failure;
use crate::cli::output::{note, span};
use crate::client::Taken;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Exit status by which a command gives its message back (`EX_TEMPFAIL` of sysexits.h).
const RELEASE: i32 = 75;
/// How long past its deadline an answer is still tried: the clocks of two machines differ.
const PAST_DEADLINE: Duration = Duration::from_secs(60);
/// How long an answer without a deadline is tried to a node that isn't there.
const TRY_FOR: Duration = Duration::from_secs(3_600);

/// What is said about a message.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Reply(Bytes),
    Ack,
    Fail(String),
    Release,
}

/// Works on one message to its end. An error means that the command can't be started.
pub(super) async fn run(worker: &Worker, taken: &Taken) -> Result<(), Failure> {
    let start = Instant::now();
    let mut child = match Child::start(&worker.command, taken) {
        Ok(child) => child,
        Err(e) => {
            answer(worker, taken, Answer::Release).await;
            return Err(Failure::failed(format!(
                "can't run {}: {e}; the message was given back",
                worker.command.name()
            )));
        }
    };
    enum End {
        Itself(std::io::Result<Ended>),
        Lost(String),
        Killed,
    }
    let end = tokio::select! {
        ended = child.ended() => End::Itself(ended),
        why = hold(worker, taken) => End::Lost(why),
        () = worker.stop.killing() => End::Killed,
    };
    let what = match end {
        End::Itself(Ok(ended)) => verdict(&worker.command.name().to_string(), taken.send_only, ended),
        End::Itself(Err(e)) => {
            child.kill().await;
            note(&format!(
                "{}: can't read what the command writes: {e}; given back",
                taken.message
            ));
            Answer::Release
        }
        End::Lost(why) => {
            note(&format!("{}: lost ({why}); ending its command", taken.message));
            child.end().await;
            return Ok(());
        }
        End::Killed => {
            child.kill().await;
            Answer::Release
        }
    };
    let said = match &what {
        Answer::Reply(reply) => format!("replied, {} bytes", reply.len()),
        Answer::Ack => "acknowledged".into(),
        Answer::Fail(text) => format!("failed: {}", text.lines().last().unwrap_or_default()),
        Answer::Release => "given back".into(),
    };
    let plain = matches!(what, Answer::Reply(_) | Answer::Ack);
    if answer(worker, taken, what).await && (worker.verbose || !plain) {
        note(&format!("{}: {said} ({})", taken.message, span(start.elapsed())));
    }
    Ok(())
}

/// What the way a command ended says about its message.
fn verdict(command: &str, send_only: bool, ended: Ended) -> Answer {
    match (ended.status.code(), ended.reply) {
        (Some(RELEASE), _) => Answer::Release,
        (Some(0), _) if send_only => Answer::Ack,
        (Some(0), Some(reply)) => Answer::Reply(reply),
        (Some(0), None) => Answer::Fail(format!("the reply of {command} is too large")),
        _ => {
            let text = String::from_utf8_lossy(&ended.stderr);
            Answer::Fail(match text.trim().is_empty() {
                true => format!("{command} ended with {}", ended.status),
                false => text.into_owned(),
            })
        }
    }
}

/// Keeps the lease until the node says that the message is lost; why.
async fn hold(worker: &Worker, taken: &Taken) -> String {
    let third = (taken.lease / 3).max(Duration::from_millis(1));
    // Looks once right after the deadline too, so that a late command ends soon.
    let mut deadline = taken.remaining().map(|left| left + Duration::from_millis(100));
    let mut backoff = Backoff::new();
    let mut pause = third;
    loop {
        let wait = match deadline {
            Some(left) if left <= pause => deadline.take().unwrap_or(pause),
            _ => pause,
        };
        tokio::time::sleep(wait).await;
        deadline = deadline.map(|left| left.saturating_sub(wait));
        pause = match worker
            .client
            .answer(&taken.delivery, "extend", None, Bytes::new())
            .await
        {
            Ok(()) => {
                backoff.reset();
                third
            }
            Err(error) if error.is_lost_delivery() => return error.to_string(),
            // A node that was restarted learns by the extension what is held: soon, then.
            Err(error) if error.is_passing() => backoff.wait().min(third),
            Err(_) => third,
        };
    }
}

/// Tells the node, as often as it takes. False if it didn't count.
async fn answer(worker: &Worker, taken: &Taken, answer: Answer) -> bool {
    let (verb, content_type, payload) = match answer {
        Answer::Reply(reply) => ("reply", worker.content_type.as_deref(), reply),
        Answer::Ack => ("ack", None, Bytes::new()),
        Answer::Fail(text) => ("fail", Some("text/plain; charset=utf-8"), text.into()),
        Answer::Release => ("release", None, Bytes::new()),
    };
    let patience = taken.remaining().map_or(TRY_FOR, |left| left + PAST_DEADLINE);
    let start = Instant::now();
    let mut backoff = Backoff::new();
    let mut tries = 0_u32;
    loop {
        let error = match worker
            .client
            .answer(&taken.delivery, verb, content_type, payload.clone())
            .await
        {
            Ok(()) => return true,
            Err(error) => error,
        };
        tries += 1;
        let id = &taken.message;
        match &error {
            // After a broken try this may be the echo of its own success.
            error if error.is_lost_delivery() => {
                let maybe = if tries > 1 {
                    "; an earlier try may have counted"
                } else {
                    ""
                };
                note(&format!("{id}: {verb} no longer counts ({error}){maybe}"));
                return false;
            }
            error if verb == "reply" && error.problem().is_some_and(|problem| problem.status == 413) => {
                note(&format!("{id}: the reply is too large ({error}); failing it"));
                let text = Bytes::from(format!("the reply is too large: {} bytes", payload.len()));
                let _ = worker
                    .client
                    .answer(&taken.delivery, "fail", Some("text/plain"), text)
                    .await;
                return false;
            }
            error if error.is_passing() && start.elapsed() < patience => {
                if tries == 1 {
                    note(&format!(
                        "{id}: can't deliver the {verb} yet ({error}); trying on"
                    ));
                }
                tokio::select! {
                    () = tokio::time::sleep(backoff.wait()) => {}
                    () = worker.stop.killing(), if tries > 1 => {
                        note(&format!("{id}: {verb} not delivered"));
                        return false;
                    }
                }
            }
            error => {
                note(&format!("{id}: {verb} not delivered: {error}"));
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    /// What `waitpid` gives: the exit status in the second byte, the signal in the first.
    fn said(status: i32, reply: Option<&'static str>, stderr: &str, send_only: bool) -> Answer {
        let status = ExitStatus::from_raw(status);
        verdict(
            "tool",
            send_only,
            Ended {
                status,
                reply: reply.map(Bytes::from),
                stderr: stderr.into(),
            },
        )
    }

    #[test]
    fn the_exit_status_says_what_becomes_of_the_message() {
        assert_eq!(said(0, Some("12"), "noise", false), Answer::Reply("12".into()));
        assert_eq!(said(0, Some("12"), "", true), Answer::Ack);
        assert_eq!(said(75 << 8, Some("12"), "later", false), Answer::Release);
        assert_eq!(
            said(1 << 8, Some("half"), "no disk\n", false),
            Answer::Fail("no disk\n".into())
        );
        let silent = said(3 << 8, Some(""), " \n", true);
        assert_eq!(silent, Answer::Fail("tool ended with exit status: 3".into()));
        let killed = said(9, Some("half"), "", false);
        assert!(matches!(killed, Answer::Fail(text) if text.contains("signal: 9")));
        let endless = said(0, None, "", false);
        assert!(matches!(endless, Answer::Fail(text) if text.contains("too large")));
    }
}
