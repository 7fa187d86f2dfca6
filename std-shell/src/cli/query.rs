//! `redlink query`.

use super::args::Target;
use super::exit::{Done, Exit, Failure};
use super::output::{self, Cell};
use crate::client::Client;
use base64::Engine as _;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write;

/// Ask a node's store in SQL, which changes nothing
///
/// An answer takes at most 5 s and has at most 10,000 rows.
///
/// One SELECT, VALUES or EXPLAIN at a time, beside everything else that the node does. Times are microseconds since 1970.
/// The tables: message, outcome, reply, owner, dead_letter, requeued, boot; what holds secrets can't be asked.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink query \"SELECT service, count(*) FROM message GROUP BY service\"
  redlink query --json \"SELECT sequence, failure FROM dead_letter LIMIT 5\"
  redlink query \"SELECT name, sql FROM sqlite_schema\"")]
pub(super) struct Options {
    /// The query
    sql: String,

    /// Print JSON; bytes are {\"base64\": ...}
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

#[derive(Deserialize)]
struct Answer {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    truncated: bool,
}

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let document: Value = client
        .post("/v1/query", &serde_json::json!({ "sql": options.sql }))
        .await?;
    if options.json {
        output::json(&document)?;
        return Ok(Exit::Done);
    }
    let answer: Answer = serde_json::from_value(document)
        .map_err(|e| Failure::failed(format!("the node's answer is of another shape: {e}")))?;
    let heading: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let rows: Vec<Vec<Cell>> = answer
        .rows
        .iter()
        .map(|row| row.iter().map(cell).collect())
        .collect();
    output::table(&heading, &rows)?;
    if answer.truncated {
        output::note("there are more rows than one answer has; narrow the query, or add LIMIT and OFFSET");
    }
    Ok(Exit::Done)
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::text("NULL").tone(output::Tone::Faint),
        Value::Number(number) => Cell::number(number),
        Value::String(text) => Cell::text(text),
        other => Cell::text(bytes(other)),
    }
}

/// As SQL writes them: `x'00ff'`.
fn bytes(value: &Value) -> String {
    let text = value["base64"].as_str().unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_default();
    let mut hex = String::from("x'");
    for byte in bytes {
        // Into a String: this can't fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex.push('\'');
    hex
}
