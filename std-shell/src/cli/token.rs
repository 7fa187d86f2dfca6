//! `redlink token create`: lets another node join.

use super::args::{self, Target};
use super::exit::{Done, Exit};
use super::output::{self, Stream, Tone, paint};
use crate::client::Client;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Make tokens that let other nodes join the mesh
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    Create(CreateOptions),
}

/// Make a token with which one other node can join, once
///
/// At any node of the mesh; it is good at any node of it. The token goes to standard output and is shown only this
/// time. The node that holds the mesh's authority, the first one, has to be within reach.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink token create --ttl 10m
  redlink node --north https://HOST:7411 --token TOKEN     on the other machine")]
pub(super) struct CreateOptions {
    /// How long it can be used [default: the node's, 1h]
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    ttl: Option<Duration>,

    /// Print JSON: the token and when it ends
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// As the node answers.
#[derive(Debug, Serialize, Deserialize)]
struct NewToken {
    token: String,
    expires: Option<String>,
}

/// Runs the verb.
pub(super) async fn run(verb: Verb) -> Done {
    let Verb::Create(options) = verb;
    let client = Client::new(&options.target.context()?)?;
    let mut wish = serde_json::json!({});
    if let Some(ttl) = options.ttl {
        wish["ttl"] = args::api_time(ttl).into();
    }
    let new: NewToken = client.post("/v1/tokens", &wish).await?;
    if options.json {
        output::json(&new)?;
        return Ok(Exit::Done);
    }
    output::line(&new.token)?;
    let until = new.expires.map_or_else(String::new, |at| format!(" until {at}"));
    let hint =
        format!("for one node{until}; there: redlink node --north https://THIS-HOST:PORT --token TOKEN");
    output::note(&paint(Stream::Err, Tone::Faint, &hint));
    Ok(Exit::Done)
}
