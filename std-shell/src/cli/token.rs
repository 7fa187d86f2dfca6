//! `redlink token create|list|revoke`: lets programs in, and other nodes join.

mod program;

pub(super) use program::{ListOptions, RevokeOptions};

use super::args::{self, Target};
use super::exit::{Done, Exit};
use super::output::{self, Stream, Tone, paint};
use crate::client::Client;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Make, list and revoke tokens of programs and of nodes that join
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    Create(CreateOptions),
    List(ListOptions),
    Revoke(RevokeOptions),
}

/// Make a token with which one other node can join, once, or with --program one for a program
///
/// A node's token is made at any node of the mesh and good at any node of it; the node that holds the mesh's authority,
/// the first one, has to be within reach. A program shows its token with each request, for as long as it lasts, and may
/// do what it says: nothing else, and nothing with what is other programs'. The token goes to standard output and is
/// shown only this time.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink token create --ttl 10m
  redlink node --north https://HOST:7411 --token TOKEN     on the other machine
  redlink token create --program shop --produce 'jobs.*' > shop-token
  redlink token create --program resizer --consume resize --ttl 90d > token
  redlink token create --program prometheus --watch > prometheus-token
  redlink serve jobs.resize --token-file token -- convert - -resize 640x -")]
pub(super) struct CreateOptions {
    /// How long it can be used [default: 1h for a node, until it is revoked for a program]
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    ttl: Option<Duration>,

    /// Print JSON: the token and when it ends
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    program: program::Wish,

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
    match verb {
        Verb::Create(options) => create(options).await,
        Verb::List(options) => program::list(options).await,
        Verb::Revoke(options) => program::revoke(options).await,
    }
}

async fn create(options: CreateOptions) -> Done {
    if let Some(done) = options
        .program
        .create(options.ttl, options.json, &options.target)
        .await
    {
        return done;
    }
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
