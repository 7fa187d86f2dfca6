//! Alternate services: a message that nobody claims for a while is offered under a second service too.
//!
//! The second offer has a slot of its own in the table of messages, the message's twin, so that it is ordered, placed,
//! hedged and offered again like any other. It waits aside until its time has come and as long as the message is not free
//! to be claimed. Whatever else happens to the message happens to its first slot, whichever of the two was claimed: that
//! one is found by its sequence number, granted and settled. The twin goes when the outcome is on disk.

use super::Core;
use super::place::Offer;
use super::slots::{Message, State};
use super::tables::Entity;
use crate::data::slab::Ix;
use crate::id::OfferId;
use crate::time::Instant;

impl Core<'_> {
    /// How peers know what this slot offers.
    pub(super) fn offer_id(&self, ix: Ix) -> OfferId {
        let m = &self.messages[ix];
        OfferId {
            message: self.message_id(m.sequence),
            alternate: m.alternate,
        }
    }

    /// The slot of the message that this one offers: itself, or that of which it is the twin.
    pub(super) fn principal(&self, ix: Ix) -> Ix {
        let m = &self.messages[ix];
        m.twin.filter(|_| m.alternate).unwrap_or(ix)
    }

    /// The second offer of a message, if it has one.
    fn alternate_of(&self, ix: Ix) -> Option<Ix> {
        let m = &self.messages[ix];
        m.twin.filter(|_| !m.alternate)
    }

    /// Makes the second offer of a message that was just filed. Callers have made sure of the slot.
    pub(super) fn add_alternate(&mut self, ix: Ix, twin: Message, from: Instant) {
        let service = twin.service;
        let deadline = self.messages[ix].deadline;
        let slot = Message {
            deadline,
            state: State::Aside,
            alternate: true,
            twin: Some(ix),
            lease_until: from,
            ..twin
        };
        let Ok(at) = self.messages.insert(slot) else {
            debug_assert!(false, "room for the second offer was checked");
            return;
        };
        self.services[service].messages += 1;
        self.messages[ix].twin = Some(at);
    }

    /// The message is free to be claimed: its second offer is too, now or when its time has come.
    pub(super) fn offer_alternate(&mut self, ix: Ix) {
        let Some(twin) = self.alternate_of(ix) else { return };
        let free = matches!(self.messages[ix].state, State::Waiting | State::Offered);
        if !free || self.messages[twin].state != State::Aside {
            return;
        }
        if self.messages[twin].lease_until <= self.now {
            self.enter_waiting(twin);
        } else {
            self.messages[twin].wake = Some(self.messages[twin].lease_until);
            self.time_message(twin);
        }
    }

    /// The message is not free any more, so nothing of it is offered.
    pub(super) fn put_alternate_aside(&mut self, ix: Ix) {
        let Some(twin) = self.alternate_of(ix) else { return };
        self.messages[twin].wake = None;
        if self.messages[twin].state != State::Aside {
            self.leave_state(twin);
            self.set_state(twin, State::Aside);
            self.fill(self.messages[twin].service);
        }
        self.time_message(twin);
    }

    /// The message has its outcome, or was never accepted: the second offer goes, as soon as its copies are retracted.
    pub(super) fn drop_alternate(&mut self, ix: Ix) {
        let Some(twin) = self.alternate_of(ix) else { return };
        self.put_alternate_aside(ix);
        // Marks of peers that have declined it are of no use any more.
        self.unplace_all(Offer::Message(twin));
        self.messages[ix].twin = None;
        self.messages[twin].twin = None;
    }

    /// Frees the slot of a second offer whose message is over and that has nothing more to tell. Only when it is polled:
    /// a slot that is still queued for that would give its turn to whatever comes next in it.
    pub(super) fn free_alternate(&mut self, twin: Ix) {
        let m = &self.messages[twin];
        if !m.alternate || m.twin.is_some() {
            return;
        }
        let service = m.service;
        self.set_timer(Entity::Message(twin), None);
        self.messages.remove(twin);
        self.services[service].messages -= 1;
        self.drop_idle_service(service);
    }

    /// After a grant: the windows that were the message's are for others, under its own service too if it was claimed as
    /// offered under another.
    pub(super) fn fill_both(&mut self, ix: Ix, offered: Ix) {
        self.fill(offered);
        let own = self.messages[ix].service;
        if own != offered {
            self.fill(own);
        }
    }

    /// Under which service a granted message was claimed.
    pub(super) fn granted_service(&self, ix: Ix) -> Ix {
        let m = &self.messages[ix];
        let twin = self.alternate_of(ix).filter(|_| m.by_alternate);
        self.messages[twin.unwrap_or(ix)].service
    }
}
