//! `redlink service|consumer|peer|route list`.

use super::args::Target;
use super::exit::{Done, Exit};
use super::output::{self, Cell, Tone, span};
use crate::client::Client;
use crate::driver::{ConsumerInfo, PeerInfo, RouteInfo, ServiceInfo};
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
    let heading = ["SERVICE", "QUEUED", "RESERVED", "OLDEST", "CONSUMERS", "PEERS"];
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
                Cell::number(
                    s.oldest_ms
                        .map_or(String::new(), |ms| span(Duration::from_millis(ms))),
                ),
                Cell::number(s.consumers),
                Cell::number(s.peers),
            ]
        },
    )
    .await
}

/// Runs `redlink consumer list`.
pub(super) async fn consumers(options: Options) -> Done {
    let heading = ["SERVICE", "CONSUMER", "LIMIT", "HELD", "WANTS", "LEASE", "RATE"];
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
                Cell::number(c.rate.as_deref().unwrap_or("-")),
            ]
        },
    )
    .await
}

/// Runs `redlink peer list`.
pub(super) async fn peers(options: Options) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let all: Vec<PeerInfo> = client.get("/v1/peers").await?;
    if options.json {
        output::json(&all)?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        output::note(
            "no peers; `redlink peer add URL` dials one, `redlink token create` here lets another node join",
        );
        return Ok(Exit::Done);
    }
    let heading = [
        "PEER",
        "DIRECTION",
        "LINK",
        "SERVICES",
        "RESERVED",
        "HELD",
        "GRANTED",
        "POLICY",
    ];
    output::table(&heading, &all.iter().map(peer_row).collect::<Vec<_>>())?;
    for peer in &all {
        if let Some(text) = trouble(peer) {
            output::line(&text)?;
        }
        if let Some(proxy) = &peer.proxy {
            output::line(&format!("{}: dialled through {proxy}", called(peer)))?;
        }
    }
    Ok(Exit::Done)
}

/// What a peer is called where it is shown.
pub(super) fn called(peer: &PeerInfo) -> &str {
    peer.name.as_deref().or(peer.url.as_deref()).unwrap_or("?")
}

fn peer_row(p: &PeerInfo) -> Vec<Cell> {
    let link = if p.connected {
        let since = p
            .connected_ms
            .map(|ms| format!(" {}", span(Duration::from_millis(ms))));
        // Streams are what everybody expects.
        let mode = p.mode.as_deref().filter(|mode| *mode != "stream");
        let mode = mode.map(|mode| format!(", {mode}"));
        let text = format!("up{}{}", since.unwrap_or_default(), mode.unwrap_or_default());
        Cell::text(text).tone(Tone::Good)
    } else {
        Cell::text("down").tone(Tone::Bad)
    };
    vec![
        Cell::text(called(p)).tone(Tone::Strong),
        Cell::text(&p.direction),
        link,
        Cell::number(p.services),
        Cell::number(p.reserved),
        Cell::number(p.held),
        Cell::number(p.granted),
        Cell::text(policy(p)).tone(Tone::Faint),
    ]
}

/// What may pass, in a word or a few.
fn policy(p: &PeerInfo) -> String {
    let Some(policy) = &p.policy else {
        return String::new();
    };
    let mut words = Vec::new();
    if p.direction == "north" && !policy.redistribute {
        words.push("not redistributed");
    }
    if p.direction == "south" && !policy.accept_from_south {
        words.push("not accepted");
    }
    if policy.import.iter().next().is_some() {
        words.push("import");
    }
    if policy.export.iter().next().is_some() {
        words.push("export");
    }
    match words.is_empty() {
        true => "all".into(),
        false => words.join(", "),
    }
}

/// Why there is no link with a north.
fn trouble(p: &PeerInfo) -> Option<String> {
    let error = p.error.as_ref().filter(|_| !p.connected)?;
    let again = match p.retry_ms {
        Some(ms) => format!("again in {}", span(Duration::from_millis(ms))),
        None => "dialled now".into(),
    };
    let text = format!("{}: {error}; {again}", called(p));
    Some(
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect(),
    )
}

/// See which services can be reached through which peer
#[derive(Subcommand, Debug)]
pub(super) enum RouteVerb {
    /// List which services can be reached through which peer, and whom this node told of them
    #[command(after_help = "Examples:\n  redlink route list\n  redlink routes --json")]
    List(Options),
}

/// Runs `redlink route list`.
pub(super) async fn routes(options: Options) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let all: Vec<RouteInfo> = client.get("/v1/routes").await?;
    if options.json {
        output::json(&all)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<Cell>> = all
        .iter()
        .filter(|r| r.reachable)
        .map(|r| route_row(r, &all))
        .collect();
    if rows.is_empty() {
        output::note("no service can be reached through a peer");
        return Ok(Exit::Done);
    }
    let heading = [
        "SERVICE",
        "WAY",
        "DIRECTION",
        "HOPS",
        "PLACED",
        "RESERVED",
        "TOLD TO",
    ];
    output::table(&heading, &rows)?;
    Ok(Exit::Done)
}

fn route_row(route: &RouteInfo, all: &[RouteInfo]) -> Vec<Cell> {
    let way = route.path.iter().map(|at| at.name.as_deref().unwrap_or(&at.node));
    let told = all.iter().filter(|r| r.told && r.service == route.service);
    let told: Vec<&str> = told.map(|r| r.peer.as_str()).collect();
    vec![
        Cell::text(&route.service).tone(Tone::Strong),
        Cell::text(way.collect::<Vec<_>>().join(" > ")),
        Cell::text(&route.direction),
        Cell::number(route.hops),
        Cell::number(format!("{}/{}", route.placed, route.window.unwrap_or(0))),
        Cell::number(route.reserved),
        Cell::text(told.join(", ")).tone(Tone::Faint),
    ]
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
