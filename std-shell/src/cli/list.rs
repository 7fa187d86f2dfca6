//! `redlink service|consumer|peer list`.

use super::args::Target;
use super::exit::{Done, Exit};
use super::output::{self, Cell, Tone, span};
use crate::client::Client;
use crate::driver::{ConsumerInfo, PeerInfo, ServiceInfo};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// See the services that can be reached from here
#[derive(Subcommand, Debug)]
pub(super) enum ServiceVerb {
    /// List the services that can be reached from here
    #[command(after_help = "Examples:\n  redlink service list\n  redlink services --json")]
    List(Options),
}

/// See the consumers of this node
#[derive(Subcommand, Debug)]
pub(super) enum ConsumerVerb {
    /// List the consumers of this node and what they hold
    #[command(after_help = "Examples:\n  redlink consumer list\n  redlink consumers --json")]
    List(Options),
}

/// See the nodes that this one is linked with
#[derive(Subcommand, Debug)]
pub(super) enum PeerVerb {
    /// List the nodes that this one is linked with
    #[command(after_help = "Examples:\n  redlink peer list\n  redlink peers --json")]
    List(Options),
}

/// List them
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Runs `redlink service list`.
pub(super) async fn services(options: Options) -> Done {
    let heading = ["SERVICE", "QUEUED", "RESERVED", "CONSUMERS", "PEERS"];
    list(
        options,
        "services",
        "no services yet; `redlink serve NAME -- COMMAND` starts one",
        &heading,
        |s: &ServiceInfo| {
            vec![
                Cell::text(&s.name).tone(Tone::Strong),
                Cell::number(s.queued),
                Cell::number(s.reserved),
                Cell::number(s.consumers),
                Cell::number(s.peers),
            ]
        },
    )
    .await
}

/// Runs `redlink consumer list`.
pub(super) async fn consumers(options: Options) -> Done {
    let heading = ["SERVICE", "CONSUMER", "LIMIT", "HELD", "WANTS", "LEASE"];
    list(
        options,
        "consumers",
        "no consumers here; `redlink serve NAME -- COMMAND` starts one",
        &heading,
        |c: &ConsumerInfo| {
            vec![
                Cell::text(&c.service).tone(Tone::Strong),
                Cell::text(&c.name),
                Cell::number(c.limit),
                Cell::number(c.held),
                Cell::number(c.wanted),
                Cell::number(span(Duration::from_millis(c.lease_ms))),
            ]
        },
    )
    .await
}

/// Runs `redlink peer list`.
pub(super) async fn peers(options: Options) -> Done {
    let heading = ["PEER", "DIRECTION", "LINK", "MODE", "SERVICES", "NODE"];
    let none = "no peers; `redlink token create` here lets another node join";
    list(options, "peers", none, &heading, |p: &PeerInfo| {
        let (link, tone) = if p.connected {
            ("up", Tone::Good)
        } else {
            ("down", Tone::Bad)
        };
        let mode = p.mode.as_deref().unwrap_or("-");
        let mode = match &p.proxy {
            Some(proxy) => format!("{mode} through {proxy}"),
            None => mode.to_owned(),
        };
        vec![
            Cell::text(&p.name).tone(Tone::Strong),
            Cell::text(&p.direction),
            Cell::text(link).tone(tone),
            Cell::text(mode),
            Cell::number(p.services),
            Cell::text(p.node.as_deref().unwrap_or("not met yet")).tone(Tone::Faint),
        ]
    })
    .await
}

async fn list<T: Serialize + DeserializeOwned>(
    options: Options,
    what: &str,
    none: &str,
    heading: &[&str],
    row: impl Fn(&T) -> Vec<Cell>,
) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let all: Vec<T> = client.get(&format!("/v1/{what}")).await?;
    match (options.json, all.is_empty()) {
        (true, _) => output::json(&all)?,
        (false, true) => output::note(none),
        (false, false) => output::table(heading, &all.iter().map(row).collect::<Vec<_>>())?,
    }
    Ok(Exit::Done)
}
