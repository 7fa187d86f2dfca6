//! What this node remembers of one message, a piece at a time: between two pieces the driver does what else there is (P11).

use super::command::Command;
use super::handle::Handle;
use super::info::{MessageTrace, PathNode, TraceStep};
use super::refusal::Refusal;
use redlink_core::{MessageId, Name};
use std::collections::{BTreeSet, HashMap};

/// A piece of a message's steps.
pub(super) struct TracePage {
    pub(super) on: bool,
    pub(super) steps: Vec<TraceStep>,
    pub(super) next: Option<u64>,
}

/// What this node remembers of a message.
#[derive(Default)]
pub(crate) struct Seen {
    /// Whether steps are kept at all.
    pub(crate) on: bool,
    /// The latest ones, the oldest of them first. Nodes have no names yet.
    pub(crate) steps: Vec<TraceStep>,
    /// Earlier ones.
    pub(crate) left_out: u64,
    /// All peers that it went to or came from.
    pub(crate) peers: BTreeSet<Name>,
}

impl Handle {
    /// The latest steps of a message, at most `most`; `look` sees all of them. None if the node has stopped.
    pub(crate) async fn seen(
        &self,
        message: MessageId,
        most: usize,
        mut look: impl FnMut(&TraceStep),
    ) -> Option<Seen> {
        let mut seen = Seen::default();
        let mut at = Some(0);
        while let Some(from) = at {
            let make = |answer| Command::Trace {
                message,
                from,
                answer,
            };
            let page = self.look(make).await?;
            seen.on = page.on;
            at = page.next;
            for step in &page.steps {
                look(step);
                let met = step.to.iter().chain(&step.from);
                seen.peers.extend(met.filter_map(|name| Name::new(name).ok()));
            }
            seen.steps.extend(page.steps);
            let over = seen.steps.len().saturating_sub(most);
            seen.steps.drain(..over);
            seen.left_out += over as u64;
        }
        mark_requeued(&mut seen.steps);
        for step in &mut seen.steps {
            self.name().as_str().clone_into(&mut step.seen_by);
        }
        Some(seen)
    }

    /// What this node remembers of a message, its own or another's that it has seen.
    ///
    /// # Errors
    /// It remembers nothing.
    pub async fn trace(&self, message: MessageId) -> Result<MessageTrace, Refusal> {
        let seen = self.seen(message, usize::MAX, |_| {}).await;
        let seen = seen.ok_or(Refusal::Stopped)?;
        if seen.steps.is_empty() {
            // Of a message that it holds it knows at least that.
            self.message(message).await?;
        }
        let peers = self.peers().await.into_iter();
        let names = peers.filter_map(|peer| peer.node.zip(peer.name));
        let mut trace = MessageTrace {
            id: message.to_string(),
            node: self.name().to_string(),
            on: seen.on,
            peers: seen.peers.iter().map(ToString::to_string).collect(),
            steps: seen.steps,
            ..MessageTrace::default()
        };
        let own = (self.node().to_string(), trace.node.clone());
        trace.name_nodes(&names.chain([own]).collect());
        Ok(trace)
    }
}

impl MessageTrace {
    /// Gives the nodes in steps their names, as far as they are among these.
    pub(crate) fn name_nodes(&mut self, names: &HashMap<String, String>) {
        for PathNode { node, name } in self.steps.iter_mut().filter_map(|step| step.node.as_mut()) {
            if let Some(found) = names.get(node.as_str()) {
                *name = Some(found.clone());
            }
        }
    }
}

/// That a grant has lapsed is no frame and no output: it shows when its message is offered or granted again.
fn mark_requeued(steps: &mut Vec<TraceStep>) {
    let mut held: Option<u32> = None;
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        let again = match step.step.as_str() {
            "grant" if step.to.is_some() => step.attempt != held,
            "delivered" => step.attempt != held,
            "offer" => step.to.is_some(),
            _ => false,
        };
        let granted = matches!(step.step.as_str(), "grant" | "delivered")
            .then_some(step.attempt)
            .flatten();
        // Given back is not lapsed, and said already.
        let back = matches!(step.step.as_str(), "lost" | "released" | "settling")
            || step
                .detail
                .as_deref()
                .is_some_and(|detail| detail.starts_with("release"));
        if let (true, Some(attempt)) = (again, held) {
            let requeued = TraceStep {
                at_micros: step.at_micros,
                step: "requeued".into(),
                attempt: Some(attempt),
                detail: Some("its lease was over or its holder lost, at the latest now".into()),
                ..TraceStep::default()
            };
            steps.insert(at, requeued);
            at += 1;
            held = None;
        }
        if back {
            held = None;
        }
        held = granted.or(held);
        at += 1;
    }
}
