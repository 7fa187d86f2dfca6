//! `redlink message list|show|trace|cancel`.

use super::args::{self, Target};
use super::exit::{Done, Exit};
use super::output::{self, Cell, Tone, size, span};
use super::trace;
use crate::client::Client;
use crate::driver::MessageInfo;
use clap::{Args, Subcommand};
use redlink_core::MessageId;
use std::time::Duration;

/// See and cancel the messages that this node holds
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    List(ListOptions),
    Show(ShowOptions),
    Trace(trace::Options),
    Cancel(CancelOptions),
}

/// List the messages that this node holds for its producers
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink message list
  redlink messages --service wc --json")]
pub(super) struct ListOptions {
    /// Only those for this service
    #[arg(long, value_parser = args::name)]
    service: Option<String>,

    /// At most this many, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    max: u16,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Show one message and where it is in its life
#[derive(Args, Debug)]
#[command(after_help = "Example:
  redlink message show 0000000000000abc-17")]
pub(super) struct ShowOptions {
    /// The message's id
    #[arg(value_parser = args::message_id)]
    id: MessageId,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Take messages back: their outcome is `cancelled`, what is being worked on no longer counts
#[derive(Args, Debug)]
#[command(after_help = "Example:
  redlink message cancel 0000000000000abc-17")]
pub(super) struct CancelOptions {
    /// The messages' ids
    #[arg(value_parser = args::message_id, required = true, value_name = "ID")]
    ids: Vec<MessageId>,

    #[command(flatten)]
    target: Target,
}

/// Runs the verb.
pub(super) async fn run(verb: Verb) -> Done {
    match verb {
        Verb::List(options) => list(options).await,
        Verb::Show(options) => show(options).await,
        Verb::Trace(options) => trace::run(options).await,
        Verb::Cancel(options) => {
            let client = Client::new(&options.target.context()?)?;
            for id in options.ids {
                client.cancel(id).await?;
                output::note(&format!("{id} cancelled"));
            }
            Ok(Exit::Done)
        }
    }
}

async fn list(options: ListOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let mut path = format!("/v1/messages?max={}", options.max);
    if let Some(service) = &options.service {
        path += &format!("&service={service}");
    }
    let messages: Vec<MessageInfo> = client.get(&path).await?;
    if options.json {
        output::json(&messages)?;
        return Ok(Exit::Done);
    }
    if messages.is_empty() {
        output::note("no messages");
        return Ok(Exit::Done);
    }
    let heading = [
        "ID", "SERVICE", "STATE", "PRIORITY", "ATTEMPTS", "SIZE", "AGE", "LEFT",
    ];
    let rows: Vec<Vec<Cell>> = messages.iter().map(row).collect();
    output::table(&heading, &rows)?;
    if messages.len() == usize::from(options.max) {
        output::note(&format!(
            "the first {} are shown; --max N shows more",
            options.max
        ));
    }
    Ok(Exit::Done)
}

/// Its state, and what it waits for if that is a time.
fn state(message: &MessageInfo) -> String {
    match message.delayed_ms {
        Some(ms) => format!("{} {}", message.state, span(Duration::from_millis(ms))),
        None => message.state.clone(),
    }
}

fn row(message: &MessageInfo) -> Vec<Cell> {
    let left = match (&message.outcome, message.remaining_ms) {
        (Some(_), _) => String::new(),
        (None, None) => "no end".into(),
        (None, Some(ms)) => span(Duration::from_millis(ms)),
    };
    let mut aside = Cell::number(left);
    aside = aside.tone(Tone::Faint);
    vec![
        Cell::text(&message.id),
        Cell::text(&message.service).tone(Tone::Strong),
        Cell::text(state(message)).tone(tone(message)),
        Cell::number(message.priority),
        Cell::number(message.attempts),
        Cell::number(size(message.size)),
        Cell::number(span(Duration::from_millis(message.age_ms))),
        aside,
    ]
}

/// What it was before; empty if nothing.
fn requeued(message: &MessageInfo) -> String {
    let from = message.requeued_from.as_ref();
    from.map_or(String::new(), |id| format!("the dead letter {id}"))
}

/// Its attempts, and what is special about them.
fn attempts(message: &MessageInfo) -> String {
    let mut text = message.attempts.to_string();
    if message.unanswered > 0 {
        text += &format!(", {} ended without an answer", message.unanswered);
    }
    if message.delivery_mode == "at-most-once" {
        text += ", delivered at most once";
    }
    text
}

/// How long it is offered to nobody; empty if it may be.
fn delay(message: &MessageInfo) -> String {
    let left = message.delayed_ms.map(Duration::from_millis);
    left.map_or(String::new(), |left| format!("offered in {}", span(left)))
}

/// Where else it is offered; empty if nowhere.
fn alternate(message: &MessageInfo) -> String {
    match &message.alternate {
        None => String::new(),
        Some(other) if other.in_ms == 0 => format!("offered as {} too", other.service),
        Some(other) => format!(
            "offered as {} too in {}",
            other.service,
            span(Duration::from_millis(other.in_ms))
        ),
    }
}

fn tone(message: &MessageInfo) -> Tone {
    match message.outcome.as_deref() {
        Some("replied" | "delivered") => Tone::Good,
        Some(_) => Tone::Bad,
        None => Tone::Plain,
    }
}

async fn show(options: ShowOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let message: MessageInfo = client.get(&format!("/v1/messages/{}", options.id)).await?;
    if options.json {
        output::json(&message)?;
        return Ok(Exit::Done);
    }
    let left = match message.remaining_ms {
        Some(ms) => format!("{} left", span(Duration::from_millis(ms))),
        None => "no deadline".into(),
    };
    let kind = if message.send_only {
        "send-only: an acknowledgement ends it"
    } else {
        "wants a reply"
    };
    let when = match message.outcome {
        Some(_) => "waits to be collected".to_owned(),
        None => left,
    };
    for (name, value) in [
        ("id", message.id.clone()),
        ("service", message.service.clone()),
        ("state", format!("{}, {when}", message.state)),
        ("kind", kind.into()),
        ("priority", message.priority.to_string()),
        ("attempts", attempts(&message)),
        ("delayed", delay(&message)),
        ("size", size(message.size)),
        ("age", span(Duration::from_millis(message.age_ms))),
        ("owner", owner(message.program.as_deref())),
        ("kept", kept(&message.durability)),
        ("from", requeued(&message)),
        ("alternate", alternate(&message)),
    ] {
        if !value.is_empty() {
            output::line(&format!("{name:<10}{value}"))?;
        }
    }
    Ok(Exit::Done)
}

/// Said where it is not as usual.
fn kept(durability: &str) -> String {
    match durability {
        "memory" => "in the node's memory only".into(),
        _ => String::new(),
    }
}

pub(super) fn owner(program: Option<&str>) -> String {
    program.map_or_else(
        || "the administrator".into(),
        |name| format!("the program {name}"),
    )
}
