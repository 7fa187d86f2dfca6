//! What is written of a message's attempts, so that a restart does not begin to count anew, and so that what is to be
//! delivered at most once is (P6).
//!
//! The row is written when an attempt has ended without an answer and the message has a limit of such; nothing waits
//! for it. So a message that is answered in its first attempt never has one, and each crash of its origin may cost what was
//! not on disk by then: the attempt that a consumer had at that moment, and the one whose end was still being
//! written. There is one row for each message, and one change of a message at the store at a time: an outcome that is
//! decided meanwhile waits for it.
//!
//! The grant of a message that is delivered at most once waits for its row. From the moment that it can have left, an
//! end without an answer is the outcome `Failed`: its lease ran out, its consumer went or released it, its holder's node
//! did not assert it after a restart of either. Only where it is certain that no consumer has seen it is it free
//! again: its grant was not sent, or the claimer's node says so.

use super::slots::{Holder, Message, Stage, State, Writing};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::Ix;
use crate::id::Fence;
use crate::input::{Attempts, Outcome};

impl Message {
    /// What is to be known after a restart.
    pub(super) fn attempts(&self) -> Attempts {
        let out = matches!(self.state, State::Granting | State::Granted);
        let newest = Some(self.fence).filter(|&fence| fence != Fence::default());
        Attempts {
            ended: self.tries,
            newest: newest.filter(|_| out || !self.at_most_once),
            counted: self.counted,
        }
    }

    /// What a grant of it leads to.
    pub(super) fn granted_as(&self) -> State {
        if self.at_most_once {
            State::Granting
        } else {
            State::Granted
        }
    }

    /// A life before this one granted it, and it must not be granted again.
    pub(super) fn was_granted(&self) -> bool {
        self.at_most_once && self.fence != Fence::default()
    }

    /// What was known before the restart.
    pub(super) fn recall(&mut self, attempts: &Attempts) {
        self.tries = attempts.ended;
        self.fence = attempts.newest.unwrap_or_default();
        self.counted = attempts.counted;
    }

    /// The message is about to be settled, so nothing more is written of its attempts. False if something is at the store
    /// already.
    pub(super) fn stop_writing(&mut self) -> bool {
        let free = self.writing != Writing::Asked;
        if free {
            self.writing = Writing::No;
        }
        free
    }
}

impl Core<'_> {
    /// What became of the message's attempts is to be on disk.
    pub(super) fn write_attempts(&mut self, ix: Ix) {
        let m = &mut self.messages[ix];
        if !m.state.is_open() {
            return;
        }
        m.out.attempts = true;
        if m.writing == Writing::Failed {
            m.writing = Writing::No;
            self.time_message(ix);
        }
        self.touch(Entity::Message(ix));
    }

    /// The store has answered about that.
    pub(super) fn attempts_written(&mut self, ix: Ix, done: bool) {
        let again = self.now + self.config.timing.store_retry;
        let m = &mut self.messages[ix];
        m.writing = Writing::No;
        if m.state == State::Settling {
            m.out.settle = true;
        } else if !done && !m.out.attempts {
            m.writing = Writing::Failed;
            self.write_again = again;
            self.time_message(ix);
        } else if done && !m.out.attempts && m.state == State::Granting {
            self.grant_written(ix);
        }
        self.touch(Entity::Message(ix));
    }

    /// The message is to be a consumer's as soon as that is on disk.
    pub(super) fn write_grant(&mut self, ix: Ix) {
        self.messages[ix].wake = None;
        self.write_attempts(ix);
        self.time_message(ix);
    }

    /// It is on disk: the payload may leave.
    fn grant_written(&mut self, ix: Ix) {
        self.set_state(ix, State::Granted);
        if self.messages[ix].holder == Holder::Local {
            let attempt = self.token_of(ix).attempt();
            if let Some(d) = self.find_delivery(attempt) {
                self.set_stage(d, Stage::Ready);
                self.hand_over(d);
            }
            return;
        }
        let margin = self.config.timing.margin;
        let m = &mut self.messages[ix];
        m.lease_until = self.now + super::origin::from_millis(m.lease_ms) + margin;
        m.wake = Some(m.lease_until);
        m.out.grant = true;
        self.time_message(ix);
    }

    /// An attempt ended without an answer, and its consumer may have seen the message.
    pub(super) fn unanswered(&mut self, ix: Ix) {
        if self.messages[ix].at_most_once {
            self.settle(ix, Outcome::Failed, false, None);
        } else {
            self.requeue(ix);
        }
    }

    /// A grant came to nothing, and no consumer has seen the message.
    pub(super) fn ungranted(&mut self, ix: Ix) {
        let written = self.messages[ix].at_most_once;
        self.requeue(ix);
        if written {
            self.write_attempts(ix);
        }
    }

    /// Who claimed a message that ends before its grant is on disk has claimed it in vain.
    pub(super) fn deny_grant(&mut self, ix: Ix) {
        let m = &self.messages[ix];
        let (Holder::Peer(peer), State::Granting) = (m.holder, m.state) else {
            return;
        };
        let (message, node, consumer) = (self.message_id(m.sequence), m.holder_node, m.holder_key);
        self.say(Pending::Gone {
            peer,
            message,
            node,
            consumer,
        });
    }

    /// Tries again what could not be written.
    pub(super) fn write_again_if_due(&mut self, ix: Ix) {
        if self.messages[ix].writing == Writing::Failed && self.write_again <= self.now {
            self.write_attempts(ix);
        }
    }
}
