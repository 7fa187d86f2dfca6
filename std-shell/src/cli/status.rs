//! `redlink status`: one look at a node.

use super::args::Target;
use super::exit::{Done, Exit};
use super::output::{self, Stream, Tone, paint, size, span};
use crate::client::Client;
use crate::driver::{NodeStatus, PeerInfo};
use clap::Args;
use std::time::Duration;

/// Show how the node is
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink status
  redlink status --json | jq .messages")]
pub(super) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let status: NodeStatus = client.get("/v1/node").await?;
    if options.json {
        output::json(&status)?;
        return Ok(Exit::Done);
    }
    let peers: Vec<PeerInfo> = client.get("/v1/peers").await?;
    let (state, tone) = match (status.draining, status.ready) {
        (true, _) => ("stopping", Tone::Note),
        (false, true) => ("ready", Tone::Good),
        (false, false) => ("not ready", Tone::Bad),
    };
    let peers = match peers.len() {
        0 => "none".to_owned(),
        _ => peers
            .iter()
            .map(|p| {
                format!(
                    "{} ({}, {})",
                    p.name,
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
        ("state", paint(Stream::Out, tone, state)),
        ("address", client.url().to_owned()),
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
