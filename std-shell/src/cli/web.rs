//! `redlink web`: the way to the node's page.

use super::args::{self, Target};
use super::exit::{Done, Exit};
use super::output::{self, Stream, Tone, paint};
use crate::client::Client;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long its token is good unless it is said.
const TTL: Duration = Duration::from_secs(8 * 3_600);
/// The program that the page is.
const PROGRAM: &str = "web";

/// Print the address of the node's web page, with a token in it
///
/// The page shows what the node does, live, and needs nothing from the internet. The token in its address is a new one for the
/// program `web`, may do everything at this node, and ends by itself; your own token goes nowhere. It stands behind the #,
/// which a browser sends to nobody, and the page takes it away from there at once. Whoever reads your terminal meanwhile
/// can use it: revoke it if that matters.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink web
  redlink web --ttl 30m
  xdg-open \"$(redlink web)\"           others here may see the address then
  redlink token revoke ID              ends it; ID stands beside the address")]
pub(super) struct Options {
    /// How long the token is good [default: 8h]
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    ttl: Option<Duration>,

    /// Print JSON: the address, and the token's id and end
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// As the node answers.
#[derive(Debug, Deserialize)]
struct New {
    token: String,
    id: String,
    expires: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    url: &'a str,
    token_id: &'a str,
    expires: Option<&'a str>,
}

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    let context = options.target.context()?;
    let client = Client::new(&context)?;
    let wish = serde_json::json!({
        "program": PROGRAM,
        "administer": true,
        "ttl": args::api_time(options.ttl.unwrap_or(TTL)),
    });
    let New { token, id, expires } = client.post("/v1/tokens", &wish).await?;
    // A token has no character that means something in an address.
    let url = format!("{}/#token={token}", client.url());
    if options.json {
        output::json(&Shown {
            url: &url,
            token_id: &id,
            expires: expires.as_deref(),
        })?;
        return Ok(Exit::Done);
    }
    output::line(&url)?;
    let until = expires.as_deref().unwrap_or("it is revoked");
    let hint = format!(
        "good until {until}; redlink token revoke {id} ends it now. A browser warns of a certificate that it does not \
         know unless it trusts {}",
        context.ca.display()
    );
    output::note(&paint(Stream::Err, Tone::Faint, &hint));
    Ok(Exit::Done)
}
