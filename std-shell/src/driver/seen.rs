//! What this node remembers of one message, a piece at a time: between two pieces the driver does what else there is (P11).

use super::command::Command;
use super::handle::Handle;
use super::info::{MessageTrace, PathNode, TraceStep};
use super::refusal::Refusal;
use redlink_core::MessageId;
use std::collections::{BTreeSet, HashMap};

/// A piece of a message's steps.
pub(super) struct TracePage {
    pub(super) on: bool,
    pub(super) steps: Vec<TraceStep>,
    pub(super) next: Option<u64>,
}

impl Handle {
    /// What this node remembers of a message, its own or another's that it has seen.
    ///
    /// # Errors
    /// It remembers nothing.
    pub async fn trace(&self, message: MessageId) -> Result<MessageTrace, Refusal> {
        let mut trace = MessageTrace {
            id: message.to_string(),
            ..MessageTrace::default()
        };
        let mut at = Some(0);
        while let Some(from) = at {
            let make = |answer| Command::Trace {
                message,
                from,
                answer,
            };
            let page = self.look(make).await.ok_or(Refusal::Stopped)?;
            trace.on = page.on;
            trace.steps.extend(page.steps);
            at = page.next;
        }
        if trace.steps.is_empty() {
            // Of a message that it holds it knows at least that.
            self.message(message).await?;
        }
        let peers = self.peers().await.into_iter();
        let mut names: HashMap<String, String> = peers.filter_map(|peer| peer.node.zip(peer.name)).collect();
        let status = self.status().await;
        names.insert(status.node, status.name.clone());
        trace.node = status.name;
        for PathNode { node, name } in trace.steps.iter_mut().filter_map(|step| step.node.as_mut()) {
            *name = names.get(node.as_str()).cloned();
        }
        let met = trace
            .steps
            .iter()
            .flat_map(|step| step.to.iter().chain(&step.from));
        trace.peers = met.cloned().collect::<BTreeSet<_>>().into_iter().collect();
        mark_requeued(&mut trace.steps);
        Ok(trace)
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
