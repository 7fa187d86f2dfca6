//! All outcomes under a producer's name.

use crate::cli::exit::{Done, Exit, Failure};
use crate::cli::output;
use crate::cli::submit::document;
use crate::client::{Client, Error, Fate, Settled, Uncollected};
use std::time::Duration;

/// Outcomes of one request.
const MAX: u16 = 256;
/// How long one request waits while there is no end to it.
const WAIT: Duration = Duration::from_secs(30);
/// Characters of a reply that a line shows.
const SHOWN: usize = 200;

/// What is wanted.
pub(super) struct Collect {
    pub(super) producer: String,
    pub(super) wait: Duration,
    pub(super) follow: bool,
    pub(super) keep: bool,
    pub(super) json: bool,
}

impl Collect {
    /// Prints them; each request says what the one before has brought to standard output.
    pub(super) async fn run(&self, client: &Client) -> Done {
        let mut printed = Vec::new();
        let done = tokio::select! {
            done = self.print(client, &mut printed) => done,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        };
        if !printed.is_empty() && !self.keep {
            client
                .outcomes(&self.producer, &printed, 0, Duration::ZERO)
                .await?;
        }
        done
    }

    async fn print(&self, client: &Client, printed: &mut Vec<String>) -> Done {
        let mut any = false;
        loop {
            let wait = match (self.follow, any) {
                (true, _) => WAIT,
                (false, true) => Duration::ZERO,
                (false, false) => self.wait,
            };
            let found = match client.outcomes(&self.producer, printed, MAX, wait).await {
                Ok(found) => found,
                // A node that is being restarted comes back; what was printed may be said again.
                Err(error) if self.follow && error.is_passing() => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            printed.clear();
            if found.is_empty() && !self.follow {
                return match any {
                    true => Ok(Exit::Done),
                    false => {
                        let what = format!("nothing to collect under the name {} yet", self.producer);
                        let hint = "was it sent with `redlink send --producer NAME`, by the same program?";
                        Err(Failure::new(Exit::Open, what).hint(hint))
                    }
                };
            }
            for uncollected in found {
                let id = uncollected.id.clone();
                let Some(settled) = whole(client, uncollected).await? else {
                    continue;
                };
                match self.json {
                    // One a line, for whoever reads them as they come.
                    true => output::line(&document(&settled, None).to_string())?,
                    false => output::line(&line(&settled))?,
                }
                printed.push(id);
            }
            any = true;
            if self.keep {
                return Ok(Exit::Done);
            }
        }
    }
}

/// An outcome with its payload; none if somebody else has collected it meanwhile.
async fn whole(client: &Client, uncollected: Uncollected) -> Result<Option<Settled>, Error> {
    let Uncollected {
        id,
        outcome,
        good,
        content_type,
        payload,
        link,
        preserved,
    } = uncollected;
    let long = match (link, id.parse()) {
        (Some(_), Ok(id)) => Some(id),
        _ => None,
    };
    let Some(long) = long else {
        return Ok(Some(Settled {
            id,
            outcome,
            good,
            content_type,
            payload,
            preserved,
            stays: true,
        }));
    };
    match client.outcome(long, Duration::ZERO).await {
        Ok(Fate::Settled(settled)) => Ok(Some(settled)),
        Ok(Fate::Open(_)) => Ok(None),
        Err(Error::Refused(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Id, outcome and text, with tabs between them.
fn line(settled: &Settled) -> String {
    let text = match std::str::from_utf8(&settled.payload) {
        Ok(text) => {
            let first = text.trim().lines().next().unwrap_or_default();
            let shown: String = first.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
            let cut = shown.len() < text.trim().len();
            format!("{shown}{}", if cut { " \u{2026}" } else { "" })
        }
        Err(_) => format!("({} bytes)", settled.payload.len()),
    };
    format!("{}\t{}\t{text}", settled.id, settled.outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_one_line_whatever_it_holds() {
        for (payload, shown) in [
            (&b"12\n"[..], "12"),
            (b"", ""),
            (b"a\nb", "a \u{2026}"),
            (b"\x1b[31mred", "[31mred \u{2026}"),
            (b"\xff\x00", "(2 bytes)"),
        ] {
            let settled = Settled {
                id: "0000000000000abc-17".into(),
                outcome: "replied".into(),
                good: true,
                content_type: None,
                payload: payload.into(),
                preserved: None,
                stays: true,
            };
            assert_eq!(line(&settled), format!("0000000000000abc-17\treplied\t{shown}"));
        }
    }
}
