//! Answers a peer's question.

use super::ask::{Asking, Wanted};
use super::desk::Place;
use super::wire::{self, Question, Report, Step, Ticket};
use super::{Fate, PATIENCE, STEPS_MAX};
use crate::clock;
use crate::driver::{Handle, Seen, TraceStep};
use crate::link::outbox::Outbox;
use redlink_core::Name;
use redlink_core::wire::HOPS;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long the last words may take to find places in an outbox.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Who asks, and how he is answered.
struct Asker {
    handle: Handle,
    outbox: Outbox,
    ticket: Ticket,
}

/// Answers a question, as long as there is time.
pub(super) async fn answer(handle: Handle, outbox: Outbox, ticket: Ticket, question: Question, place: Place) {
    let patience = Duration::from_millis(question.patience_ms.into()).min(PATIENCE);
    let until = Instant::now() + patience;
    let asker = Asker {
        handle,
        outbox,
        ticket,
    };
    let all = asker.tell(&question, place.peer(), until);
    if timeout_at(until + LAST_WORDS, all).await.is_err() {
        tracing::debug!(peer = %place.peer(), "a question for a trace was not answered in time");
    }
}

/// Says that there are too many questions, if there is room to say so.
pub(super) fn busy(handle: &Handle, outbox: &Outbox, ticket: Ticket) {
    outbox.try_aside(&wire::put_report(ticket, &own(handle, Fate::Busy, 0)));
    outbox.try_aside(&wire::put_end(ticket));
}

/// What this node says of itself.
fn own(handle: &Handle, fate: Fate, left_out: u64) -> Report {
    Report {
        name: handle.name().clone(),
        node: Some(handle.node()),
        by: handle.name().clone(),
        fate: fate.number(),
        left_out,
    }
}

impl Asker {
    async fn report(&self, report: &Report) {
        self.outbox.aside(|| wire::put_report(self.ticket, report)).await;
    }

    async fn tell(&self, question: &Question, peer: &Name, until: Instant) {
        let (seen, may_know) = self.look(question, peer).await;
        // A node that is stopping answers nothing.
        let Some(seen) = seen else { return };
        let fate = match (seen.on, may_know) {
            (false, _) => Fate::Off,
            (true, false) => Fate::Unknown,
            (true, true) if !self.handle.desk().is_new(self.ticket) => Fate::Elsewhere,
            (true, true) => Fate::Told,
        };
        if fate == Fate::Told {
            let wanted = Wanted {
                ticket: self.ticket,
                message: question.message,
                hops: question.hops.min(HOPS as u8),
                until,
            };
            self.tell_all(seen, peer, wanted).await;
        } else {
            self.report(&own(&self.handle, fate, 0)).await;
        }
        self.outbox.aside(|| wire::put_end(self.ticket)).await;
    }

    /// This node's latest steps, and whether the peer may know them.
    async fn look(&self, question: &Question, peer: &Name) -> (Option<Seen>, bool) {
        // It is never closed.
        let _turn = self.handle.desk().walks.acquire().await;
        let (mut first, mut may_know) = (true, false);
        let look = |step: &TraceStep| {
            may_know |= shows(step, first, peer);
            first = false;
        };
        let seen = self.handle.seen(question.message, STEPS_MAX, look).await;
        (seen, may_know)
    }

    async fn tell_all(&self, seen: Seen, peer: &Name, wanted: Wanted) {
        let peers = seen.peers.iter().filter(|met| *met != peer).cloned();
        let mut asking = Asking::begin(&self.handle, wanted, peers.collect()).await;
        // Those that were asked work on it meanwhile.
        let (built, wall) = (Instant::now(), clock::wall());
        let steps: Vec<Step> = seen.steps.iter().map(|step| packed(step, wall)).collect();
        for body in wire::put_steps(self.ticket, self.handle.name(), &steps) {
            self.pass_on(&body, built).await;
        }
        self.report(&own(&self.handle, Fate::Told, seen.left_out)).await;
        while let Some((came, _)) = asking.next().await {
            self.pass_on(&came.body, came.at).await;
        }
        for report in asking.finish() {
            self.report(&report).await;
        }
    }

    async fn pass_on(&self, body: &[u8], since: Instant) {
        // When it has its place, so that the wait for that counts.
        self.outbox.aside(|| wire::passed_on(body, since.elapsed())).await;
    }
}

/// Whether a step shows that a peer has to do with the message. What the peer alone can bring about shows nothing: a
/// frame about a message that it guessed, and what it is told for that.
fn shows(step: &TraceStep, is_first: bool, peer: &Name) -> bool {
    let is = |name: &Option<String>| name.as_deref() == Some(peer.as_str());
    match step.step.as_str() {
        "offer" if is_first => is(&step.from) || is(&step.to),
        "offer" | "claim" | "grant" | "answer" | "holding" | "seek" => is(&step.to),
        // The origin has checked its grant.
        "settled" => is(&step.to) && step.detail.as_deref() == Some("done"),
        _ => false,
    }
}

/// A step as it travels.
fn packed(step: &TraceStep, wall: i64) -> Step {
    // They were names before they were shown.
    let name = |name: &Option<String>| name.as_ref().and_then(|name| Name::new(name).ok());
    Step {
        age_us: clock::age(step.at_micros, wall).as_micros(),
        step: step.step.clone(),
        to: name(&step.to),
        from: name(&step.from),
        attempt: step.attempt,
        consumer: step.node.as_ref().and_then(|at| at.node.parse().ok()),
        detail: step.detail.clone(),
    }
}

#[cfg(test)]
mod tests;
