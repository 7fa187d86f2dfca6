//! `redlink status`: one look at a node.

use super::args::{Found, Target};
use super::exit::{Done, Exit, Failure};
use super::output::{self, Stream, Tone, paint, size, span};
use crate::client::{Client, Error, Request};
use crate::driver::{NodeBasics, NodeStatus, PeerInfo};
use clap::Args;
use std::time::Duration;

/// Show how the node is
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink status
  redlink status --json | jq .messages
  redlink status --ready || echo not yet")]
pub(super) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Print nothing; exit code 0 only if the node takes work (1: it does not, 3: nobody answers). For probes without a shell
    #[arg(long, conflicts_with = "json")]
    ready: bool,

    #[command(flatten)]
    target: Target,
}

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    let (context, found) = options.target.find()?;
    let client = Client::new(&context)?;
    if options.ready {
        // Asks for no token, and is cheap for the node.
        return match client.request(Request::new(http::Method::GET, "/readyz")).await {
            Ok(_) => Ok(Exit::Done),
            Err(Error::Refused(problem)) => Err(Failure::failed(problem.to_string())),
            Err(other) => Err(other.into()),
        };
    }
    let document: serde_json::Value = client.get("/v1/node").await?;
    if options.json {
        output::json(&document)?;
        return Ok(Exit::Done);
    }
    let status: NodeStatus = match serde_json::from_value(document.clone()) {
        Ok(status) => status,
        Err(puzzling) => return basics(&client, &found, document, &puzzling),
    };
    let peers: Vec<PeerInfo> = client.get("/v1/peers").await?;
    let peers = match peers.len() {
        0 => "none".to_owned(),
        _ => peers
            .iter()
            .map(|p| {
                format!(
                    "{} ({}, {})",
                    super::list::called(p),
                    p.direction,
                    if p.connected { "up" } else { "down" }
                )
            })
            .collect::<Vec<_>>()
            .join(", "),
    };
    let store = &status.store;
    let store = match store.up {
        true => format!(
            "{}, last commit {}, {} free",
            size(store.database_bytes + store.log_bytes),
            span(Duration::from_micros(store.commit_micros)),
            size(store.free_bytes)
        ),
        false => paint(
            Stream::Out,
            Tone::Bad,
            "down, and tries to come back; the node's log says why",
        ),
    };
    for (name, value) in [
        (
            "node",
            format!(
                "{} of mesh {}",
                paint(Stream::Out, Tone::Strong, &status.name),
                status.mesh
            ),
        ),
        ("state", state(status.draining, status.ready)),
        ("address", address(&client, &found)),
        ("peers", peers),
        (
            "messages",
            format!("{} of at most {}", status.messages, status.messages_max),
        ),
        ("services", status.services.to_string()),
        (
            "consumers",
            format!("{}, holding {}", status.consumers, status.deliveries),
        ),
        (
            "memory",
            format!(
                "{} of {} for payloads",
                size(status.memory_used),
                size(status.memory_max)
            ),
        ),
        ("store", store),
        (
            "up",
            format!(
                "{}, start number {}",
                span(Duration::from_millis(status.uptime_ms)),
                status.boot
            ),
        ),
        ("identity", status.node.clone()),
        ("version", status.version.clone()),
    ] {
        output::line(&format!("{name:<11}{value}"))?;
    }
    Ok(Exit::Done)
}

/// Where it is, and who said so.
fn address(client: &Client, found: &Found) -> String {
    let by = format!("(by {})", found.by);
    format!("{} {}", client.url(), paint(Stream::Out, Tone::Faint, &by))
}

fn state(draining: bool, ready: bool) -> String {
    let (state, tone) = match (draining, ready) {
        (true, _) => ("stopping", Tone::Note),
        (false, true) => ("ready", Tone::Good),
        (false, false) => ("not ready", Tone::Bad),
    };
    paint(Stream::Out, tone, state)
}

/// What a program's token shows.
fn basics(client: &Client, found: &Found, document: serde_json::Value, puzzling: &serde_json::Error) -> Done {
    let node: NodeBasics = serde_json::from_value(document)
        .map_err(|_| Failure::failed(format!("{} says of itself: {puzzling}", client.url())))?;
    for (name, value) in [
        (
            "node",
            format!(
                "{} of mesh {}",
                paint(Stream::Out, Tone::Strong, &node.name),
                node.mesh
            ),
        ),
        ("state", state(node.draining, node.ready)),
        ("address", address(client, found)),
        ("identity", node.node),
        ("version", node.version),
    ] {
        output::line(&format!("{name:<11}{value}"))?;
    }
    output::note("the rest is for administrators");
    Ok(Exit::Done)
}
