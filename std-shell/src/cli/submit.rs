//! `redlink send` and `redlink call`: messages in, ids or replies out.

use super::args::{self, Target, Terms};
use super::exit::{Done, Exit, Failure};
use super::output::{self, Stream, Tone, paint, span};
use crate::client::{Client, Fate, Settled};
use crate::trace_context::{TRACEPARENT, TRACESTATE, TraceContext};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Submit a message and print its id
///
/// The message is on disk when the id is printed. Its outcome is waited for and collected with `redlink collect`.
/// TRACEPARENT and TRACESTATE of the environment (W3C Trace Context) go along.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink send resize photo.jpg --priority 5
  id=$(echo hello | redlink send wc); redlink collect $id
  redlink send log entry.json --send-only --ett none
  redlink send remind note.txt --not-before 2h --ett 3h")]
pub(super) struct SendOptions {
    /// The service that it is for
    #[arg(value_parser = args::name)]
    service: String,

    /// The payload; `-` or nothing reads standard input
    file: Option<PathBuf>,

    /// No reply is wanted: an acknowledgement ends it
    #[arg(long, help_heading = "The message")]
    send_only: bool,

    #[command(flatten)]
    terms: Terms,

    /// Print JSON: the id and the deadline
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Submit a message, wait for the reply and print it
///
/// The reply goes to standard output as it is, a failure's text to standard error. When the wait ends first, the
/// message stays and its id is shown. TRACEPARENT and TRACESTATE of the environment (W3C Trace Context) go along.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink call wc README.md
  redlink call resize photo.jpg > small.jpg
  redlink call pay order.json --delivery-mode at-most-once
  echo '{\"q\":1}' | redlink call search --content-type application/json")]
pub(super) struct CallOptions {
    /// The service that it is for
    #[arg(value_parser = args::name)]
    service: String,

    /// The payload; `-` or nothing reads standard input
    file: Option<PathBuf>,

    /// How long to wait for the outcome [default: the ETT, with `--ett none` for ever]
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    wait: Option<Duration>,

    #[command(flatten)]
    terms: Terms,

    /// Write what was preserved to a file; `-` is standard error
    #[arg(long, value_name = "FILE")]
    preserved_to: Option<PathBuf>,

    /// Say on standard error which node took it and how long the reply took
    #[arg(long, short)]
    verbose: bool,

    /// Print JSON: id, outcome, time and the reply as `text` or, if it isn't text, `base64`; `reason` of a failure;
    /// `preserved` or `preserved_base64`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// What the ETT is when nothing is said.
const ETT_DEFAULT: Duration = Duration::from_secs(300);
/// An outcome that is decided at the deadline needs a moment to get here.
const MARGIN: Duration = Duration::from_secs(5);
/// For ever, for practical purposes; leaves room for additions.
const EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Runs `redlink send`.
pub(super) async fn send(options: SendOptions) -> Done {
    let client = super::progress::watched(Client::new(&options.target.context()?)?);
    let payload = args::payload(options.file.as_deref())?;
    let mut submission = options
        .terms
        .submission(&options.service, options.send_only, payload);
    submission.headers.extend(trace_context());
    let given = client.submit(&submission).await?;
    match options.json {
        true => output::json(&given)?,
        false => output::line(&given.id)?,
    }
    Ok(Exit::Done)
}

/// Runs `redlink call`.
pub(super) async fn call(options: CallOptions) -> Done {
    let client = super::progress::watched(Client::new(&options.target.context()?)?);
    let payload = args::payload(options.file.as_deref())?;
    let wait = options.wait.unwrap_or(match options.terms.ett {
        None => ETT_DEFAULT + MARGIN,
        Some(args::Limit(Some(ett))) => ett.saturating_add(MARGIN),
        Some(args::Limit(None)) => EVER,
    });
    if options.verbose {
        // Also makes the connection, so that the time below is the call's alone.
        let status: crate::driver::NodeBasics = client.get("/v1/node").await?;
        output::note(&faint(&format!("node {} at {}", status.name, client.url())));
    }
    let mut submission = options.terms.submission(&options.service, false, payload);
    submission.headers.extend(trace_context());
    let start = Instant::now();
    let fate = tokio::select! {
        fate = client.call(&submission, wait) => fate?,
        _ = tokio::signal::ctrl_c() => {
            return Err(Failure::new(Exit::Interrupted, "interrupted; the message stays at its node")
                .hint("`redlink message list` shows it, `redlink collect ID` brings its reply"));
        }
    };
    let took = start.elapsed();
    if options.verbose
        && let Fate::Settled(settled) = &fate
    {
        output::note(&faint(&format!("{} settled in {}", settled.id, span(took))));
    }
    let how = Showing {
        json: options.json.then_some(took),
        keep: false,
        preserved_to: options.preserved_to.as_deref(),
    };
    hand_over(&client, fate, how).await
}

/// The trace that this program was started in, as its environment says it; what is malformed there is left out.
fn trace_context() -> Vec<(&'static str, String)> {
    let told = |name: &str| std::env::var(name.to_ascii_uppercase()).ok();
    let state = told(TRACESTATE);
    let context = told(TRACEPARENT).and_then(|parent| TraceContext::read(&parent, state.as_deref()));
    let Some(context) = context else {
        return Vec::new();
    };
    let state = context.state().map(|state| (TRACESTATE, state.to_owned()));
    std::iter::once((TRACEPARENT, context.parent().to_owned()))
        .chain(state)
        .collect()
}

/// What becomes of an outcome.
pub(super) struct Showing<'a> {
    /// Printed as JSON, with this time.
    pub(super) json: Option<Duration>,
    /// Left at its node.
    pub(super) keep: bool,
    /// Where what was preserved goes.
    pub(super) preserved_to: Option<&'a Path>,
}

/// Prints an outcome; then, unless it is to be kept, lets its node forget it. One that could not be written stays there
/// for another try.
pub(super) async fn hand_over(client: &Client, fate: Fate, how: Showing<'_>) -> Done {
    let Showing {
        json,
        keep,
        preserved_to,
    } = how;
    let settled = match fate {
        Fate::Settled(settled) => settled,
        Fate::Open(id) => {
            return Err(Failure::new(
                Exit::Open,
                format!("{id} has no outcome yet; it stays at its node"),
            )
            .hint(format!("collect it later: redlink collect {id}")));
        }
    };
    if let Some(to) = preserved_to {
        give_back(to, settled.preserved.as_deref().unwrap_or_default())?;
    }
    if let Some(took) = json {
        output::json(&document(&settled, Some(took)))?;
    } else if settled.good {
        output::write(&settled.payload)?;
    }
    if settled.stays && !keep {
        let id = settled
            .id
            .parse()
            .map_err(|e| Failure::failed(format!("{:?} is {e}", settled.id)))?;
        client.collect(id).await?;
    }
    match (settled.good, json) {
        (true, _) => Ok(Exit::Done),
        (false, Some(_)) => Ok(Exit::Failed),
        (false, None) => Err(failed(&settled)),
    }
}

/// Writes what was preserved.
fn give_back(to: &Path, data: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let written = match to == Path::new("-") {
        true => std::io::stderr().write_all(data),
        false => std::fs::write(to, data),
    };
    written.map_err(|e| Failure::failed(format!("can't write {}: {e}", to.display())))
}

fn failed(settled: &Settled) -> Failure {
    let Settled { id, outcome, .. } = settled;
    let meaning = match outcome.as_str() {
        "failed" => "it was not processed",
        "expired" => "its deadline passed first",
        "dead" => "all its attempts were used up",
        "cancelled" => "it was taken back",
        _ => "it did not end well",
    };
    let text = String::from_utf8_lossy(&settled.payload);
    let mut what = format!("{id} {outcome}: {meaning}");
    if outcome == "failed" && !text.trim().is_empty() {
        what = format!("{what}:\n{}", text.trim_end());
    }
    let failure = Failure::failed(what);
    match outcome.as_str() {
        "expired" => {
            failure.hint("is there a consumer? `redlink services` shows; a longer --ett gives it more time")
        }
        "dead" => failure.hint("its consumers took it and fell silent; look at their logs"),
        _ => failure,
    }
}

/// An outcome, and how long it was waited for if that is to be said.
pub(super) fn document(settled: &Settled, took: Option<Duration>) -> serde_json::Value {
    let mut document = serde_json::json!({
        "id": settled.id,
        "outcome": settled.outcome,
        "content_type": settled.content_type,
    });
    if let Some(took) = took {
        document["milliseconds"] = ((took.as_secs_f64() * 1e6).round() / 1e3).into();
    }
    if let Some(data) = &settled.preserved {
        match std::str::from_utf8(data) {
            Ok(text) => document["preserved"] = text.into(),
            Err(_) => document["preserved_base64"] = STANDARD.encode(data).into(),
        }
    }
    match std::str::from_utf8(&settled.payload) {
        Ok(reason) if !settled.good => document["reason"] = reason.into(),
        Ok(text) => document["text"] = text.into(),
        Err(_) => {
            document["base64"] = STANDARD.encode(&settled.payload).into();
        }
    }
    document
}

fn faint(text: &str) -> String {
    paint(Stream::Err, Tone::Faint, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(outcome: &str, payload: &'static [u8]) -> Settled {
        Settled {
            id: "0000000000000abc-17".into(),
            outcome: outcome.into(),
            good: outcome == "replied",
            content_type: None,
            payload: payload.into(),
            preserved: None,
            stays: false,
        }
    }

    #[test]
    fn a_failure_shows_the_consumers_words() {
        let failure = failed(&settled("failed", b"no such file\n"));
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.what.ends_with(":\nno such file"), "{}", failure.what);
        assert!(failed(&settled("expired", b"")).next.unwrap().contains("--ett"));
    }

    #[tokio::test]
    async fn an_open_message_is_4_and_says_how_to_go_on() {
        let client = Client::with_roots("https://h", rustls::RootCertStore::empty(), None).unwrap();
        let how = Showing {
            json: None,
            keep: false,
            preserved_to: None,
        };
        let failure = hand_over(&client, Fate::Open("a-1".into()), how)
            .await
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Open);
        assert!(failure.next.unwrap().contains("redlink collect a-1"));
    }

    #[test]
    fn json_holds_any_bytes() {
        let text = document(&settled("replied", b"12\n"), Some(Duration::from_micros(4_200)));
        assert_eq!(
            (text["text"].as_str(), text["milliseconds"].as_f64()),
            (Some("12\n"), Some(4.2))
        );
        let binary = document(&settled("replied", b"\xff\x00"), None);
        assert_eq!(binary["base64"].as_str(), Some("/wA="));
        assert!(binary.get("text").is_none());
        let with = |data: &'static [u8]| Settled {
            preserved: Some(data.into()),
            ..settled("failed", b"no")
        };
        let kept = document(&with(b"order 17"), None);
        assert_eq!(kept["preserved"].as_str(), Some("order 17"));
        let kept = document(&with(b"\xff"), None);
        assert_eq!(kept["preserved_base64"].as_str(), Some("/w=="));
        let bad = document(&settled("failed", b"no"), None);
        assert_eq!((bad["reason"].as_str(), bad.get("text")), (Some("no"), None));
    }
}
