//! `redlink dead-letter list|show|requeue|delete`.

use super::args::{self, Target, Terms};
use super::exit::{Done, Exit, Failure};
use super::output::{self, Cell, Tone, size, span};
use crate::client::{Client, Given, Request};
use crate::driver::{DeadLetterInfo, Passed};
use clap::{Args, Subcommand};
use http::Method;
use redlink_core::MessageId;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// See messages that came to nothing, put them back, delete them
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    List(ListOptions),
    Show(ShowOptions),
    Requeue(Box<RequeueOptions>),
    Delete(DeleteOptions),
}

/// List the dead letters of this node, the youngest first
///
/// A message becomes one when its attempts are used up, or when it was send-only and its consumer failed it. It is kept
/// until it is requeued or deleted, or gives way to newer ones (the setting `dead_letters`).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink dead-letter list
  redlink dead-letters --service wc --json
  redlink dead-letters --max 1000 --after 4711   those before the place 4711")]
pub(super) struct ListOptions {
    /// Only those for this service
    #[arg(long, value_parser = args::name)]
    service: Option<String>,

    /// At most this many, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    max: u16,

    /// Only those that are older than the one with this place
    #[arg(long, value_name = "PLACE")]
    after: Option<u64>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Show one dead letter, or print its payload
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink dead-letter show 0000000000000abc-17
  redlink dead-letter show 0000000000000abc-17 --payload > message.json")]
pub(super) struct ShowOptions {
    /// The id of the message that it was
    #[arg(value_parser = args::message_id)]
    id: MessageId,

    /// Print its payload as it is, and nothing else
    #[arg(long, conflicts_with = "json")]
    payload: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Make messages of dead letters again, as they were or changed
///
/// The new message has an id of its own and all of its time and attempts anew; `redlink message show` says which letter
/// it comes from. The letter is gone with that, in one.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink dead-letter requeue 0000000000000abc-17
  redlink dead-letter requeue 0000000000000abc-17 --payload fixed.json
  redlink dead-letter requeue --all --service wc --to wc-slow")]
pub(super) struct RequeueOptions {
    /// The ids of the messages that they were
    #[arg(value_parser = args::message_id, required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    ids: Vec<MessageId>,

    /// All that there are now, oldest first
    #[arg(long)]
    all: bool,

    /// With --all: only those for this service
    #[arg(long, value_parser = args::name, requires = "all")]
    service: Option<String>,

    /// For another service than before
    #[arg(long, value_parser = args::name, value_name = "SERVICE")]
    to: Option<String>,

    /// With this file as the payload; `-` is standard input. For one letter only
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    payload: Option<PathBuf>,

    #[command(flatten)]
    terms: Terms,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Delete dead letters for good
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink dead-letter delete 0000000000000abc-17
  redlink dead-letter delete --all --service wc")]
pub(super) struct DeleteOptions {
    /// The ids of the messages that they were
    #[arg(value_parser = args::message_id, required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    ids: Vec<MessageId>,

    /// All that there are now
    #[arg(long)]
    all: bool,

    /// With --all: only those for this service
    #[arg(long, value_parser = args::name, requires = "all")]
    service: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Runs the verb.
pub(super) async fn run(verb: Verb) -> Done {
    match verb {
        Verb::List(options) => list(options).await,
        Verb::Show(options) => show(options).await,
        Verb::Requeue(options) => requeue(*options).await,
        Verb::Delete(options) => delete(options).await,
    }
}

async fn list(options: ListOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let mut path = format!("/v1/dead-letters?max={}", options.max);
    if let Some(service) = &options.service {
        path += &format!("&service={service}");
    }
    if let Some(after) = options.after {
        path += &format!("&after={after}");
    }
    let letters: Vec<DeadLetterInfo> = client.get(&path).await?;
    if options.json {
        output::json(&letters)?;
        return Ok(Exit::Done);
    }
    if letters.is_empty() {
        output::note("no dead letters");
        return Ok(Exit::Done);
    }
    let heading = ["ID", "SERVICE", "OUTCOME", "ATTEMPTS", "SIZE", "DIED", "FAILURE"];
    output::table(&heading, &letters.iter().map(row).collect::<Vec<_>>())?;
    if let Some(last) = letters
        .last()
        .filter(|_| letters.len() == usize::from(options.max))
    {
        let place = last.place;
        output::note(&format!("there may be more; --after {place} shows the next ones"));
    }
    Ok(Exit::Done)
}

/// How much of a failure fits in a table.
const FAILURE_SHOWN: usize = 40;

fn row(letter: &DeadLetterInfo) -> Vec<Cell> {
    let failure = letter.failure.as_deref().unwrap_or_default().trim();
    let mut shown: String = failure.chars().take(FAILURE_SHOWN).collect();
    if shown.len() < failure.len() {
        shown.push('…');
    }
    vec![
        Cell::text(&letter.id),
        Cell::text(&letter.service).tone(Tone::Strong),
        Cell::text(&letter.outcome).tone(Tone::Bad),
        Cell::number(letter.attempts),
        Cell::number(size(letter.size)),
        Cell::number(ago(letter.died.as_deref())),
        Cell::text(&shown),
    ]
}

/// How long ago a moment was; empty if it is not told.
fn ago(at: Option<&str>) -> String {
    let at = at.and_then(|at| humantime::parse_rfc3339(at).ok());
    let passed = at.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    passed.map_or(String::new(), |passed| format!("{} ago", span(passed)))
}

async fn show(options: ShowOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let path = format!("/v1/dead-letters/{}", options.id);
    if options.payload {
        let answer = client
            .request(Request::new(Method::GET, format!("{path}/payload")))
            .await?;
        output::write(&answer.body)?;
        return Ok(Exit::Done);
    }
    let letter: DeadLetterInfo = client.get(&path).await?;
    if options.json {
        output::json(&letter)?;
        return Ok(Exit::Done);
    }
    let ett = letter
        .ett_ms
        .map_or("no end".into(), |ms| span(Duration::from_millis(ms)));
    let attempts = match letter.max_attempts {
        0 => letter.attempts.to_string(),
        most => format!("{} (of {most})", letter.attempts),
    };
    let kind = if letter.send_only {
        "send-only"
    } else {
        "wanted a reply"
    };
    let moment = |at: &Option<String>| match at {
        Some(text) => format!("{text}, {}", ago(Some(text))),
        None => String::new(),
    };
    for (name, value) in [
        ("id", letter.id.clone()),
        ("service", letter.service.clone()),
        ("outcome", letter.outcome.clone()),
        ("failure", letter.failure.clone().unwrap_or_default()),
        ("kind", kind.into()),
        ("attempts", attempts),
        ("priority", letter.priority.to_string()),
        ("ett", ett),
        ("size", size(letter.size)),
        ("type", letter.content_type.clone().unwrap_or_default()),
        ("submitted", moment(&letter.submitted)),
        ("died", moment(&letter.died)),
        ("owner", super::message::owner(letter.program.as_deref())),
        ("alternate", letter.alternate.clone().unwrap_or_default()),
        (
            "from",
            letter
                .requeued_from
                .as_deref()
                .map_or(String::new(), |id| format!("the dead letter {id}")),
        ),
        ("place", letter.place.to_string()),
    ] {
        if !value.is_empty() {
            output::line(&format!("{name:<10}{}", output::plain(&value)))?;
        }
    }
    Ok(Exit::Done)
}

async fn requeue(options: RequeueOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let headers = options.terms.submission("", false, bytes::Bytes::new()).headers;
    if options.all {
        if !headers.is_empty() {
            return Err(Failure::usage("--all requeues letters as they were")
                .hint("requeue one by its id to change its terms, or all of them --to another service"));
        }
        let path = "/v1/dead-letters/requeue";
        return many(
            &client,
            Method::POST,
            path,
            &options.service,
            options.to.as_deref(),
            options.json,
        )
        .await;
    }
    if options.payload.is_some() && options.ids.len() > 1 {
        return Err(Failure::usage("--payload is for one dead letter"));
    }
    let body = options
        .payload
        .as_deref()
        .map(|file| args::payload(Some(file)))
        .transpose()?;
    let mut given = Vec::new();
    for id in &options.ids {
        let mut path = format!("/v1/dead-letters/{id}/requeue");
        if let Some(to) = &options.to {
            path += &format!("?service={to}");
        }
        let mut request = Request::new(Method::POST, path);
        for (name, value) in &headers {
            request = request.header(name, value.clone());
        }
        if let Some(body) = &body {
            let said = headers.iter().any(|(name, _)| *name == "content-type");
            if !said && body.is_empty() {
                // A payload of no bytes is one too.
                request = request.header("content-type", "application/octet-stream");
            }
            request = request.body(body.clone());
        }
        let answer = client.request(request).await?;
        let new: Given = client.read(&answer)?;
        if !options.json {
            output::line(&new.id)?;
        }
        given.push(new);
    }
    if options.json {
        output::json(&given)?;
    }
    Ok(Exit::Done)
}

async fn delete(options: DeleteOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    if options.all {
        let path = "/v1/dead-letters";
        return many(
            &client,
            Method::DELETE,
            path,
            &options.service,
            None,
            options.json,
        )
        .await;
    }
    for id in &options.ids {
        client.delete(&format!("/v1/dead-letters/{id}")).await?;
        if !options.json {
            output::note(&format!("{id} deleted"));
        }
    }
    if options.json {
        let ids: Vec<String> = options.ids.iter().map(ToString::to_string).collect();
        output::json(&serde_json::json!({ "deleted": ids }))?;
    }
    Ok(Exit::Done)
}

/// Call after call, until all are done that were there at the first.
async fn many(
    client: &Client,
    method: Method,
    path: &str,
    service: &Option<String>,
    to: Option<&str>,
    json: bool,
) -> Done {
    let done = if method == Method::POST {
        "requeued"
    } else {
        "deleted"
    };
    let filter = match service {
        Some(service) => format!("service={service}"),
        None => "all=true".into(),
    };
    let to = to.map_or(String::new(), |to| format!("&to={to}"));
    let mut total = Passed::default();
    let mut until = String::new();
    loop {
        let path = format!("{path}?{filter}{to}&max=1000{until}");
        let answer = client.request(Request::new(method.clone(), path)).await?;
        let passed: Passed = client.read(&answer)?;
        until = format!("&until={}", passed.until);
        total = Passed {
            count: total.count + passed.count,
            ..passed
        };
        if !total.more || total.stopped.is_some() || passed.count == 0 {
            break;
        }
    }
    match json {
        true => output::json(&serde_json::json!({ done: total.count, "stopped": total.stopped }))?,
        false => output::note(&format!("{} {done}", total.count)),
    }
    match total.stopped {
        Some(why) => Err(Failure::failed(format!("the others stay: {why}"))),
        None => Ok(Exit::Done),
    }
}
