//! Follows a message for an operator: the steps of all nodes, by time.

use super::ask::{Asking, Wanted};
use super::wire::{Piece, Report, Step};
use super::{Fate, PATIENCE, clocks};
use crate::clock;
use crate::driver::{Handle, MessageTrace, PathNode, Refusal, TraceNode, TraceStep};
use crate::trust;
use redlink_core::wire::HOPS;
use redlink_core::{MessageId, Name, NodeId};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// Most steps that are taken from other nodes for one message, and most nodes that are told of.
const STEPS_MAX: usize = 10_000;
const NODES_MAX: usize = 256;

/// Older than this is nothing, in microseconds; a century. With it sums and differences of times have room.
const AGE_MAX: i64 = 100 * 366 * 86_400 * 1_000_000;

impl Handle {
    /// What all nodes on a message's way remember of it, by time; takes up to [`PATIENCE`] where one of them does not answer.
    ///
    /// # Errors
    /// This node remembers nothing of it, so it can't say whom to ask.
    pub async fn follow(&self, message: MessageId) -> Result<MessageTrace, Refusal> {
        // It is never closed.
        let _turn = self.desk().own.acquire().await;
        let trace = self.trace(message).await?;
        self.ask_others(message, trace).await
    }

    /// Adds what the peers that a trace names tell, and those behind them.
    pub(crate) async fn ask_others(
        &self,
        message: MessageId,
        trace: MessageTrace,
    ) -> Result<MessageTrace, Refusal> {
        let ticket = trust::random().map_err(|error| {
            tracing::error!(%error, "no peer can be asked");
            Refusal::Mistake
        })?;
        self.desk().is_new(ticket);
        let asked = Instant::now();
        let wanted = Wanted {
            ticket,
            message,
            hops: HOPS as u8,
            until: asked + PATIENCE,
        };
        let peers = trace.peers.iter().filter_map(|peer| Name::new(peer).ok());
        let mut asking = Asking::begin(self, wanted, peers.collect()).await;
        let mut gathered = Gathered::new(trace);
        while let Some((came, piece)) = asking.next().await {
            match piece {
                Piece::Steps { name, age, steps } => {
                    let age = age + came.at.elapsed();
                    gathered.steps(&name, clock::wall(), age, asked.elapsed(), steps);
                }
                Piece::Report(report) => gathered.report(&report),
                Piece::End => {}
            }
        }
        for report in asking.finish() {
            gathered.report(&report);
        }
        Ok(gathered.finish(self.node()))
    }
}

/// What has come so far.
struct Gathered {
    trace: MessageTrace,
    nodes: BTreeMap<String, TraceNode>,
    fates: BTreeMap<String, Fate>,
    /// How much earlier than they seem the steps of each node can be, in microseconds.
    room: BTreeMap<String, i64>,
    left: usize,
}

impl Gathered {
    fn new(trace: MessageTrace) -> Self {
        Self {
            trace,
            nodes: BTreeMap::new(),
            fates: BTreeMap::new(),
            room: BTreeMap::new(),
            left: STEPS_MAX,
        }
    }

    /// Steps of a node have come, this old and this long after it was asked.
    fn steps(&mut self, name: &Name, wall: i64, age: Duration, since: Duration, steps: Vec<Step>) {
        // What is here is known here, and who has told all of his tells no more.
        let told = self.fates.get(name.as_str()) == Some(&Fate::Told);
        if name.as_str() == self.trace.node || told {
            return;
        }
        let known = self.room.len() < NODES_MAX || self.room.contains_key(name.as_str());
        let taken = if known { steps.len().min(self.left) } else { 0 };
        self.left -= taken;
        self.trace.left_out += (steps.len() - taken) as u64;
        if taken == 0 {
            return;
        }
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(AGE_MAX).min(AGE_MAX);
        let room = micros(since.saturating_sub(age));
        let known = self.room.entry(name.to_string()).or_insert(room);
        *known = room.min(*known);
        let built = wall.saturating_sub(micros(age));
        let steps = steps.into_iter().take(taken);
        self.trace
            .steps
            .extend(steps.map(|step| unpacked(name, built, step)));
    }

    fn report(&mut self, report: &Report) {
        let name = report.name.to_string();
        let fate = Fate::of(report.fate);
        if name == self.trace.node || (self.nodes.len() == NODES_MAX && !self.nodes.contains_key(&name)) {
            return;
        }
        let better = self.fates.get(&name).is_none_or(|known| fate < *known);
        if better {
            self.fates.insert(name.clone(), fate);
        }
        let node = self.nodes.entry(name).or_default();
        let asked_by = Some(report.by.to_string()).filter(|by| *by != report.name.as_str());
        if better {
            fate.word().clone_into(&mut node.state);
            report.name.as_str().clone_into(&mut node.name);
            node.asked_by = asked_by;
        }
        node.node = node.node.take().or_else(|| report.node.map(|id| id.to_string()));
        node.left_out = node.left_out.max(report.left_out);
    }

    /// All of it, for the node of this identity.
    fn finish(self, node: NodeId) -> MessageTrace {
        let mut trace = self.trace;
        let here = TraceNode {
            name: trace.node.clone(),
            node: Some(node.to_string()),
            state: Fate::Told.word().to_owned(),
            ..TraceNode::default()
        };
        trace.nodes = std::iter::once(here).chain(self.nodes.into_values()).collect();
        let names = trace.nodes.iter();
        let names: HashMap<String, String> = names
            .filter_map(|node| Some((node.node.clone()?, node.name.clone())))
            .collect();
        trace.name_nodes(&names);
        let here = trace.node.clone();
        clocks::align(&here, &mut trace.steps, &self.room);
        trace
    }
}

fn unpacked(name: &Name, built: i64, step: Step) -> TraceStep {
    let age = i64::try_from(step.age_us).unwrap_or(AGE_MAX).min(AGE_MAX);
    TraceStep {
        at_micros: built.saturating_sub(age),
        seen_by: name.to_string(),
        step: step.step,
        to: step.to.map(|name| name.to_string()),
        from: step.from.map(|name| name.to_string()),
        attempt: step.attempt,
        node: step.consumer.map(|node| PathNode {
            node: node.to_string(),
            name: None,
        }),
        detail: step.detail,
    }
}

#[cfg(test)]
mod tests;
