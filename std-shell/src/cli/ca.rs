//! `redlink ca show|revoke`: the nodes of the mesh, at the node that holds its authority.

use super::args::{self, Target};
use super::exit::{Done, Exit, Failure};
use super::output::{self, Cell, Stream, Tone, paint, span};
use crate::client::Client;
use crate::trust::NodeRecord;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// See which nodes the authority has let in, and put them out
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    Show(ShowOptions),
    Revoke(RevokeOptions),
}

/// List the nodes that were let in, with their certificates
///
/// At the node that holds the authority: the first one of the mesh.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  redlink ca show\n  redlink ca show --json")]
pub(super) struct ShowOptions {
    /// Print the mesh's certificates (PEM): what programs elsewhere name with --ca
    #[arg(long, conflicts_with = "json")]
    pem: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Put a node out of the mesh: revoke its certificates
///
/// At the node that holds the authority: the first one of the mesh. Every node hears of it over its links, closes its
/// links with that node and takes no new ones. It comes in again only with a new token.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink ca revoke hall-3
  redlink token create                     to let it in again")]
pub(super) struct RevokeOptions {
    /// The node's name
    #[arg(value_name = "NODE", value_parser = args::name)]
    name: String,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// As the node answers.
#[derive(Debug, Serialize, Deserialize)]
struct Book {
    mesh: String,
    authority: String,
    revocations: u64,
    revoked: u64,
    nodes: Vec<NodeRecord>,
}

/// As the node answers.
#[derive(Debug, Serialize, Deserialize)]
struct Revoked {
    name: String,
    certificates: u64,
    revocations: u64,
}

/// Runs the verb.
pub(super) async fn run(verb: Verb) -> Done {
    match verb {
        Verb::Show(options) => show(options).await,
        Verb::Revoke(options) => revoke(options).await,
    }
}

async fn show(options: ShowOptions) -> Done {
    let context = options.target.context()?;
    if options.pem {
        let pem = std::fs::read(&context.ca)
            .map_err(|e| Failure::usage(format!("can't read {}: {e}", context.ca.display())))?;
        output::write(&pem)?;
        return Ok(Exit::Done);
    }
    let client = Client::new(&context)?;
    let book: Book = client.get("/v1/ca").await?;
    if options.json {
        output::json(&book)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = book.nodes.iter().map(row).collect();
    output::table(&["NODE", "ENDS IN", "SERIAL", "INVITED BY", "HOSTS"], &rows)?;
    output::note(&format!(
        "mesh {}, authority at {}; {} certificates are revoked",
        book.mesh, book.authority, book.revoked
    ));
    Ok(Exit::Done)
}

fn row(node: &NodeRecord) -> Vec<Cell> {
    let newest = node.certificates.last();
    let ends = match (node.revoked, newest) {
        (Some(_), _) => Cell::text("revoked").tone(Tone::Bad),
        (None, Some(newest)) => {
            let until = UNIX_EPOCH.checked_add(Duration::from_secs(newest.until));
            let left = until.and_then(|until| until.duration_since(SystemTime::now()).ok());
            Cell::text(span(left.unwrap_or_default()))
        }
        (None, None) => Cell::text("ended"),
    };
    vec![
        Cell::text(&node.name).tone(Tone::Strong),
        ends,
        Cell::text(newest.map_or("", |c| &c.serial)).tone(Tone::Faint),
        Cell::text(&node.invited_by),
        Cell::text(node.hosts.join(" ")),
    ]
}

async fn revoke(options: RevokeOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let wish = serde_json::json!({ "name": options.name });
    let done: Revoked = client.post("/v1/ca/revocations", &wish).await?;
    if options.json {
        output::json(&done)?;
        return Ok(Exit::Done);
    }
    let text = format!(
        "{} is put out: {} of its certificates are revoked, and every node hears of it; let it in again with a new token",
        done.name, done.certificates
    );
    output::note(&paint(Stream::Err, Tone::Good, &text));
    Ok(Exit::Done)
}
