//! `redlink message trace`.

use super::args::{self, Target};
use super::exit::{Done, Exit};
use super::output::{self, Cell, Tone, span};
use crate::client::Client;
use crate::driver::{MessageTrace, TraceNode, TraceStep};
use clap::Args;
use redlink_core::MessageId;
use std::time::Duration;

/// Follow a message, step by step, over all nodes that it touched
///
/// Any node on its way can be asked: it asks the others. Each step has its node and its time, by the clock of the node that
/// is asked; what other nodes tell is put on that clock, and is wrong by the time that asking took at the most, a few
/// milliseconds as a rule. So the order of steps at different nodes is certain only where one of them is a frame to the
/// other's node. A node that does not answer within 5 s, is not linked, or remembers nothing is named below the steps.
///
/// Steps are kept in memory, the latest few megabytes of them at each node (trace_memory of the settings).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink message trace 0000000000000abc-17
  redlink message trace 0000000000000abc-17 --here")]
pub(super) struct Options {
    /// The message's id
    #[arg(value_parser = args::message_id)]
    id: MessageId,

    /// Only what this node has seen; ask no other
    #[arg(long)]
    here: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Runs it.
pub(super) async fn run(options: Options) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let path = format!("/v1/messages/{}/trace?follow={}", options.id, !options.here);
    let trace: MessageTrace = client.get(&path).await?;
    if options.json {
        output::json(&trace)?;
        return Ok(Exit::Done);
    }
    if trace.steps.is_empty() {
        output::note(match trace.on {
            true => "no step of it is remembered any more; trace_memory in the settings keeps more",
            false => "no steps are kept: trace_memory in the settings is 0",
        });
        return Ok(Exit::Done);
    }
    output::line(&format!("{} as asked at {}", trace.id, trace.node))?;
    let first = trace.steps.first().map_or(0, |step| step.at_micros);
    let rows: Vec<Vec<Cell>> = trace.steps.iter().map(|step| row(step, first)).collect();
    output::table(&["TIME", "AFTER", "NODE", "STEP", "ATTEMPT", "ABOUT"], &rows)?;
    for said in trace.nodes.iter().filter_map(remark) {
        output::line(&said)?;
    }
    if trace.left_out > 0 {
        output::line(&format!(
            "{} more steps of other nodes are left out",
            trace.left_out
        ))?;
    }
    Ok(Exit::Done)
}

fn row(step: &TraceStep, first: i64) -> Vec<Cell> {
    let at = std::time::UNIX_EPOCH + Duration::from_micros(u64::try_from(step.at_micros).unwrap_or(0));
    let at = humantime::format_rfc3339_millis(at).to_string();
    // The day is in --json.
    let at = at.get(11..).unwrap_or(&at).to_owned();
    let after = Duration::from_micros(u64::try_from(step.at_micros - first).unwrap_or(0));
    let mut about = Vec::new();
    about.extend(step.to.as_ref().map(|peer| format!("to {peer}")));
    about.extend(step.from.as_ref().map(|peer| format!("from {peer}")));
    about.extend(
        step.node
            .as_ref()
            .map(|at| format!("for {}", at.name.as_deref().unwrap_or(&at.node))),
    );
    about.extend(step.detail.clone());
    vec![
        Cell::text(at).tone(Tone::Faint),
        Cell::number(span(after)),
        Cell::text(&step.seen_by),
        Cell::text(&step.step).tone(Tone::Strong),
        Cell::number(step.attempt.map_or(String::new(), |attempt| attempt.to_string())),
        Cell::text(about.join(", ")),
    ]
}

/// What a node did not tell, and why; none if it told all.
fn remark(node: &TraceNode) -> Option<String> {
    let TraceNode { name, left_out, .. } = node;
    let by = node.asked_by.as_deref();
    let asked = by.map_or(String::new(), |by| format!(" (asked by {by})"));
    Some(match node.state.as_str() {
        "told" if *left_out == 0 => return None,
        "told" => format!("{name} told its latest steps; {left_out} earlier ones are left out"),
        "cut" => {
            format!("{name} told more, or those behind it did, and not all of that came{asked}; ask again")
        }
        "elsewhere" => format!("{name} told it another way, and that did not come{asked}; ask again"),
        "unknown" => format!("{name} remembers nothing of it{asked}"),
        "off" => format!("{name} keeps no steps: trace_memory in its settings is 0{asked}"),
        "busy" => format!("{name} has too many such questions just now{asked}; ask again"),
        "silent" => format!("{name} did not answer in time{asked}"),
        "not-linked" => format!(
            "{name} is not linked with {} now",
            by.unwrap_or("the node before it")
        ),
        "too-far" => format!("{name} is more links away than are asked{asked}"),
        "not-asked" => format!(
            "{name} was not asked: {} met too many peers",
            by.unwrap_or("another")
        ),
        other => format!("{name} says `{other}`{asked}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_said() {
        let node = |state: &str, by: Option<&str>, left_out| TraceNode {
            name: "hub".into(),
            state: state.into(),
            asked_by: by.map(str::to_owned),
            left_out,
            ..TraceNode::default()
        };
        assert_eq!(remark(&node("told", None, 0)), None);
        for (state, by, left_out, said) in [
            (
                "told",
                None,
                3,
                "hub told its latest steps; 3 earlier ones are left out",
            ),
            (
                "silent",
                Some("s1"),
                0,
                "hub did not answer in time (asked by s1)",
            ),
            ("not-linked", Some("s1"), 0, "hub is not linked with s1 now"),
            ("unknown", None, 0, "hub remembers nothing of it"),
            ("later", None, 0, "hub says `later`"),
        ] {
            assert_eq!(remark(&node(state, by, left_out)).as_deref(), Some(said));
        }
    }
}
