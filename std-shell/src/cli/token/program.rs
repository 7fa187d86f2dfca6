//! Tokens of programs: what one may do, a new one, the list, the end.

use super::super::args::{self, Target};
use super::super::exit::{Done, Exit, Failure};
use super::super::output::{self, Cell, Stream, Tone, paint};
use crate::client::Client;
use crate::trust::programs;
use clap::Args;
use redlink_core::Pattern;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Of `redlink token create`: the program, and what it may do.
#[derive(Args, Debug)]
pub(super) struct Wish {
    /// Make a token for this program, not for a node: its name; all tokens of one name are one program
    #[arg(long, value_name = "NAME", value_parser = args::name, help_heading = "For a program")]
    program: Option<String>,

    /// It may submit messages to these services: a name, or a pattern with * for any characters and ? for one
    #[arg(long, value_name = "SERVICE", value_parser = programs::pattern, requires = "program", help_heading = "For a program")]
    produce: Vec<Pattern>,

    /// It may be a consumer of these services
    #[arg(long, value_name = "SERVICE", value_parser = programs::pattern, requires = "program", help_heading = "For a program")]
    consume: Vec<Pattern>,

    /// It may read this node's metrics, at /metrics
    #[arg(long, requires = "program", help_heading = "For a program")]
    watch: bool,

    /// It may do everything at this node
    #[arg(long, requires = "program", help_heading = "For a program")]
    administer: bool,
}

impl Wish {
    /// Makes the token, if one for a program is wished.
    pub(super) async fn create(&self, ttl: Option<Duration>, json: bool, target: &Target) -> Option<Done> {
        let program = self.program.as_deref()?;
        Some(self.create_for(program, ttl, json, target).await)
    }

    async fn create_for(&self, program: &str, ttl: Option<Duration>, json: bool, target: &Target) -> Done {
        if !self.administer && !self.watch && self.produce.is_empty() && self.consume.is_empty() {
            return Err(Failure::usage(format!("a token for `{program}` that permits nothing is of no use"))
                .hint("say what it may do: --produce SERVICE, --consume SERVICE, more than once if need be, --watch or --administer"));
        }
        let texts = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
        let wish = serde_json::json!({
            "program": program,
            "produce": texts(&self.produce),
            "consume": texts(&self.consume),
            "watch": self.watch,
            "administer": self.administer,
            "ttl": ttl.map(args::api_time),
        });
        let client = Client::new(&target.context()?)?;
        let new: New = client.post("/v1/tokens", &wish).await?;
        if json {
            output::json(&new)?;
            return Ok(Exit::Done);
        }
        output::line(&new.token)?;
        let until = new.info.expires.as_deref().unwrap_or("it is revoked");
        let id = &new.info.id;
        let hint = format!(
            "for {program} until {until}; it goes into REDLINK_TOKEN or a file for --token-file, and ends with: redlink \
             token revoke {id}"
        );
        output::note(&paint(Stream::Err, Tone::Faint, &hint));
        Ok(Exit::Done)
    }
}

/// As the node answers.
#[derive(Debug, Serialize, Deserialize)]
struct New {
    token: String,
    #[serde(flatten)]
    info: Info,
}

#[derive(Debug, Serialize, Deserialize)]
struct Info {
    id: String,
    program: String,
    produce: Vec<String>,
    consume: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    watch: bool,
    administer: bool,
    created: Option<String>,
    expires: Option<String>,
    last_used: Option<String>,
}

/// List the tokens of programs at this node, what each may do, and when it was used
///
/// No secret is shown. When a token was used is known since the node's start.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink token list
  redlink tokens --json")]
pub(in super::super) struct ListOptions {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// End tokens of programs, at once: requests that wait end too
#[derive(Args, Debug)]
#[command(after_help = "Example:
  redlink token revoke 3f9c0a1be45d7726     the id is in `redlink token list`")]
pub(in super::super) struct RevokeOptions {
    /// The tokens' ids
    #[arg(value_parser = id, required = true, value_name = "ID")]
    ids: Vec<String>,

    #[command(flatten)]
    target: Target,
}

/// Reads an id.
fn id(text: &str) -> Result<String, String> {
    let digits = text
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match digits && text.len() == 16 {
        true => Ok(text.to_owned()),
        // It is better not in an error, nor in a history: it may be the token itself.
        false => Err("the id of a token has 16 hex digits; `redlink token list` shows it".into()),
    }
}

/// Runs `redlink token list`.
pub(in super::super) async fn list(options: ListOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let all: Vec<Info> = client.get("/v1/tokens").await?;
    if options.json {
        output::json(&all)?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        output::note("no tokens of programs; `redlink token create --program NAME` makes one");
        return Ok(Exit::Done);
    }
    let heading = [
        "ID", "PROGRAM", "PRODUCES", "CONSUMES", "WATCHES", "EXPIRES", "USED",
    ];
    output::table(&heading, &all.iter().map(row).collect::<Vec<_>>())?;
    Ok(Exit::Done)
}

fn row(info: &Info) -> Vec<Cell> {
    let services = |patterns: &[String]| match (info.administer, patterns.is_empty()) {
        (true, _) => Cell::text("everything").tone(Tone::Note),
        (false, true) => Cell::text("-").tone(Tone::Faint),
        (false, false) => Cell::text(patterns.join(" ")),
    };
    let time = |at: &Option<String>, none: &str| Cell::text(at.as_deref().unwrap_or(none)).tone(Tone::Faint);
    vec![
        Cell::text(&info.id),
        Cell::text(&info.program).tone(Tone::Strong),
        services(&info.produce),
        services(&info.consume),
        match info.watch || info.administer {
            true => Cell::text("yes"),
            false => Cell::text("-").tone(Tone::Faint),
        },
        time(&info.expires, "never"),
        time(&info.last_used, "not since the start"),
    ]
}

/// Runs `redlink token revoke`.
pub(in super::super) async fn revoke(options: RevokeOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    for id in options.ids {
        client.delete(&format!("/v1/tokens/{id}")).await?;
        output::note(&format!("{id} revoked"));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_taken_for_its_id_and_not_repeated() {
        assert!(id("0123456789abcdef").is_ok());
        for bad in [
            "",
            "0123456789abcde",
            "0123456789ABCDEF",
            "../x/../../livez",
            "redlink-program-1.SECRET",
        ] {
            let error = id(bad).unwrap_err();
            assert!(!error.contains("SECRET"), "{error}");
        }
    }
}
