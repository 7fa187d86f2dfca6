//! What happens when a timer fires. One heap holds one timer for each slot: the soonest of its times.

use super::place::Offer;
use super::slots::{Holder, Keeping, Stage, State};
use super::tables::Entity;
use super::{ANSWERS_EACH, Core};
use crate::data::slab::Ix;
use crate::input::Outcome;
use crate::output::{Answered, LostWhy};
use crate::time::Instant;

/// Timers that one call handles at the most.
const BATCH: usize = 256;

/// When the core wants to be called, and for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// Not before this.
    pub at: Instant,
    /// What is due then.
    pub why: Why,
}

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// A message's deadline, time to be offered, re-offer, lease, retention, or its store operation's retry.
    Message,
    /// A reservation's deadline.
    Reservation,
    /// A delivery's lease or deadline, a claim or an answer without an answer.
    Delivery,
    /// A consumer's liveness, or its next token.
    Consumer,
    /// A link's keep-alive or silence.
    Peer,
    /// A message that passes: its claim, its deadline, or nothing for too long.
    Relay,
    /// The end of the recovery window.
    Recovery,
}

impl Core<'_> {
    /// The soonest time at which [`Core::handle_timeout`] has something to do. O(1).
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if !self.started {
            return None;
        }
        let (at, number) = self.timers.peek()?;
        let why = match Entity::of(number, &self.capacity) {
            Entity::Message(_) => Why::Message,
            Entity::Reservation(_) => Why::Reservation,
            Entity::Delivery(_) => Why::Delivery,
            Entity::Consumer(_) => Why::Consumer,
            Entity::Peer(_) => Why::Peer,
            Entity::Relay(_) => Why::Relay,
            Entity::Core => Why::Recovery,
        };
        Some(Deadline { at, why })
    }

    /// Handles what is due, a bounded number of timers; if more are due, [`Core::poll_timeout`] stays at or before
    /// `now`. Poll the outputs, then call again.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.clock(now);
        if !self.started {
            return;
        }
        for _ in 0..BATCH {
            if self.answers.capacity() - self.answers.len() < ANSWERS_EACH {
                return;
            }
            let Some(number) = self.timers.pop_due(self.now) else {
                return;
            };
            match Entity::of(number, &self.capacity) {
                Entity::Message(ix) => self.message_timeout(ix),
                Entity::Reservation(ix) => self.reservation_timeout(ix),
                Entity::Delivery(ix) => self.delivery_timeout(ix),
                Entity::Consumer(ix) => self.consumer_timeout(ix),
                Entity::Peer(ix) => self.peer_timeout(ix),
                Entity::Relay(ix) => self.relay_timeout(ix),
                Entity::Core => self.recovery_over(),
            }
        }
    }

    fn message_timeout(&mut self, ix: Ix) {
        self.write_again_if_due(ix);
        let m = &self.messages[ix];
        let (state, due) = (m.state, m.wake.is_some_and(|wake| wake <= self.now));
        if state.is_open() && state != State::Storing && self.is_late(m.deadline) {
            return self.end(ix, Outcome::Expired, LostWhy::Deadline);
        }
        match state {
            State::Waiting if due => self.ask_again(ix),
            State::Offered if due && self.is_sure(Offer::Message(ix)) => self.hedge_message(ix),
            State::Offered if due => self.offer_again(ix),
            State::Granted if due && matches!(m.holder, Holder::Away(_)) && self.now < m.lease_until => {
                self.seek_holder(ix);
            }
            State::Granted if due => self.lease_over(ix),
            State::Settling | State::Deleting if due => self.store_again(ix),
            State::Settled if due => self.end_retention(ix),
            State::Aside | State::Delayed if due => self.enter_waiting(ix),
            _ => self.time_message(ix),
        }
    }

    fn delivery_timeout(&mut self, d: Ix) {
        let slot = &self.deliveries[d];
        let (stage, late) = (slot.stage, self.is_late(slot.deadline));
        let due = slot.wake.is_some_and(|wake| wake <= self.now);
        match stage {
            Stage::Over => {
                if slot.keeping == Keeping::Dropping && due {
                    self.deliveries[d].wake = None;
                    self.deliveries[d].out.drop = true;
                    self.touch(Entity::Delivery(d));
                }
            }
            Stage::Answering if late => self.answer_taken(d, Answered::Over),
            Stage::Answering if due => {
                // Said again, in case the answer's payload or the reply to it went astray; and kept here, so that
                // the consumer need not wait for a slow link.
                if slot.keeping == Keeping::No {
                    self.keep(d);
                }
                self.send_or_keep(d);
            }
            Stage::Claiming if late || due => self.over(d),
            // It waits for the word that an answer before it has arrived; its consumer is there.
            Stage::Ready if due && !late && self.is_blocked(d) => {
                self.deliveries[d].wake = Some(self.now + self.config.timing.ready);
                self.time_delivery(d);
            }
            Stage::Fetching | Stage::Ready if late || due => self.release(d),
            Stage::Held if late => self.late_here(d),
            Stage::Held if due && slot.asked.is_some() => self.not_objected(d),
            Stage::Held if due => self.lease_over_here(d),
            _ => self.time_delivery(d),
        }
    }

    fn is_blocked(&self, d: Ix) -> bool {
        self.deliveries[d]
            .consumer
            .is_some_and(|c| self.consumers[c].blocked)
    }

    /// The deadline passed while the consumer had it. This node's own message ends with it, so that neither is without
    /// the other.
    fn late_here(&mut self, d: Ix) {
        let token = self.deliveries[d].token;
        if let Some(ix) = self.held_here(&token) {
            return self.end(ix, Outcome::Expired, LostWhy::Deadline);
        }
        self.lost(d, LostWhy::Deadline);
        self.over(d);
    }

    /// The origin has had its moment to say no to an extension that was taken on trust.
    fn not_objected(&mut self, d: Ix) {
        let slot = &mut self.deliveries[d];
        slot.result = Answered::Done;
        slot.out.answered = true;
        slot.wake = Some(self.now + slot.lease);
        self.time_delivery(d);
        self.touch(Entity::Delivery(d));
    }

    /// The consumer has not given a sign of life. The origin of a peer's message finds out by itself, a little later.
    fn lease_over_here(&mut self, d: Ix) {
        let token = self.deliveries[d].token;
        self.lost(d, LostWhy::Lease);
        self.over(d);
        if let Some(ix) = self.held_here(&token) {
            self.lease_over(ix);
        }
    }
}
