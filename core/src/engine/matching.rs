//! Which message goes to which consumer: whenever a consumer has room, the best that waits here (P5).

use super::Core;
use super::slots::{Delivery, DeliveryOut, Holder, Keeping, Source, Stage, State};
use super::tables::Entity;
use crate::data::list::ListLinks;
use crate::data::slab::{Ix, Link};
use crate::data::tree::TreeNode;
use crate::id::{Fence, GrantToken};
use crate::input::Outcome;
use crate::output::{Answered, LostWhy};
use crate::time::Duration;
use crate::wire::Path;

enum Best {
    Own(Ix),
    Reserved(Ix),
}

impl Core<'_> {
    /// Gives the best messages to the consumers with room, in turn, until one of the two runs out.
    pub(super) fn match_service(&mut self, service: Ix) {
        while !self.draining {
            let Some(consumer) = self.services[service].hungry.front() else {
                return;
            };
            if self.deliveries.is_full() {
                return;
            }
            match self.best(service) {
                // What lies here already is granted when it can be handed over, and not before.
                Some(Best::Own(ix)) if !self.consumers[consumer].has_place_for_own() => {
                    let Some(other) = self.other_hungry(service) else {
                        return;
                    };
                    if self.is_late(self.messages[ix].deadline) {
                        self.end(ix, Outcome::Expired, LostWhy::Deadline);
                    } else {
                        self.grant_here(ix, other);
                    }
                }
                None => return self.tell_room(service),
                Some(Best::Own(ix)) if self.is_late(self.messages[ix].deadline) => {
                    self.end(ix, Outcome::Expired, LostWhy::Deadline);
                }
                Some(Best::Reserved(ix)) if self.is_late(self.reservations[ix].deadline) => {
                    self.end_reservation(ix);
                }
                Some(Best::Own(ix)) => self.grant_here(ix, consumer),
                Some(Best::Reserved(ix)) => self.claim(ix, consumer),
            }
        }
    }

    /// A consumer with room for a message of this node. Those that only wait for the word that an answer of theirs has
    /// arrived have none.
    fn other_hungry(&self, service: Ix) -> Link {
        let list = &self.services[service].hungry;
        let mut all = core::iter::successors(list.front(), |&c| list.next(&self.consumers, c));
        all.find(|&c| self.consumers[c].has_place_for_own())
    }

    /// The one that ranks first; between equals this node's own.
    fn best(&self, service: Ix) -> Option<Best> {
        let s = &self.services[service];
        let waiting = s.waiting.first().map(|ix| (self.messages[ix].key(), ix));
        let offered = s.offered.first().map(|ix| (self.messages[ix].key(), ix));
        let own = match (waiting, offered) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let reserved = s.reserved.first().map(|ix| (self.reservations[ix].key(), ix));
        let forwarded = s.forwarded.first().map(|ix| (self.reservations[ix].key(), ix));
        let reserved = match (reserved, forwarded) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        match (own, reserved) {
            (Some((a, own)), Some((b, reserved))) => Some(if a.0 <= b.0 {
                Best::Own(own)
            } else {
                Best::Reserved(reserved)
            }),
            (Some((_, own)), None) => Some(Best::Own(own)),
            (None, Some((_, reserved))) => Some(Best::Reserved(reserved)),
            (None, None) => None,
        }
    }

    fn grant_here(&mut self, offered: Ix, consumer: Ix) {
        let service = self.messages[offered].service;
        let ix = self.principal(offered);
        self.leave_state(ix);
        let fence = self.next_fence(ix);
        let (key, lease) = (self.consumers[consumer].key, self.consumers[consumer].lease);
        self.newest(ix, fence);
        let m = &mut self.messages[ix];
        m.by_alternate = offered != ix;
        m.holder_node = self.config.node;
        m.holder_key = key;
        let next = m.granted_as();
        self.hold_here(ix, next);
        self.counters.granted += 1;
        let token = self.token_of(ix);
        let m = &self.messages[ix];
        let slot = Delivery {
            size: m.size,
            priority: m.priority,
            send_only: m.send_only,
            deadline: m.deadline,
            stage: if next == State::Granting {
                Stage::Claiming
            } else {
                Stage::Ready
            },
            ..Self::blank_delivery(token, Source::Local, lease)
        };
        if let Some(d) = self.insert_delivery(slot, Some(consumer)) {
            if next == State::Granting {
                self.write_grant(ix);
            } else {
                self.hand_over(d);
            }
        }
        self.fill_both(ix, service);
    }

    /// After `leave_state`: a consumer of this node has the message.
    pub(super) fn hold_here(&mut self, ix: Ix, next: State) {
        self.set_state(ix, next);
        let m = &mut self.messages[ix];
        m.holder = Holder::Local;
        m.wake = None;
        self.time_message(ix);
    }

    fn claim(&mut self, ix: Ix, consumer: Ix) {
        let r = &self.reservations[ix];
        let (offer, priority, deadline) = (r.offer(), r.priority, r.deadline);
        let (peer, path) = (r.peer, r.path);
        let (key, lease) = (self.consumers[consumer].key, self.consumers[consumer].lease);
        self.drop_reservation(ix);
        let token = GrantToken {
            message: offer.message,
            inserted: 0,
            fence: Fence::default(),
            node: self.config.node,
            consumer: key,
            mac: [0; 16],
        };
        let slot = Delivery {
            alternate: offer.alternate,
            priority,
            deadline,
            stage: Stage::Claiming,
            path,
            wake: Some(self.now + self.config.timing.claim),
            out: DeliveryOut {
                claim: true,
                ..DeliveryOut::default()
            },
            ..Self::blank_delivery(token, Source::Peer(peer), lease)
        };
        if let Some(d) = self.insert_delivery(slot, Some(consumer)) {
            self.time_delivery(d);
            self.touch(Entity::Delivery(d));
        }
    }

    /// A delivery slot with nothing to tell.
    pub(super) fn blank_delivery(token: GrantToken, source: Source, lease: Duration) -> Delivery {
        Delivery {
            token,
            alternate: false,
            direct: false,
            reversed: false,
            source,
            consumer: None,
            stage: Stage::Held,
            wake: None,
            deadline: None,
            lease,
            path: Path::new(),
            payload: None,
            size: 0,
            priority: 0,
            send_only: false,
            verb: None,
            answer: None,
            asked: None,
            result: Answered::Done,
            lost: LostWhy::Lease,
            keeping: Keeping::No,
            out: DeliveryOut::default(),
            of_consumer: ListLinks::default(),
            of_peer: ListLinks::default(),
        }
    }

    /// Files a delivery; it takes room at its consumer, if it has one. `None` if the table is full, which callers
    /// have made sure it is not.
    pub(super) fn insert_delivery(&mut self, slot: Delivery, consumer: Link) -> Link {
        let (stage, source, message) = (slot.stage, slot.source, slot.token.message);
        let Ok(ix) = self.deliveries.insert(slot) else {
            debug_assert!(false, "room for the delivery was checked");
            return None;
        };
        let (seed, deliveries) = (self.seed(), &self.deliveries);
        self.delivery_index
            .insert(Self::id_hash(seed, message), ix, |at| {
                Self::id_hash(seed, deliveries[at].token.message)
            });
        if let Source::Peer(peer) = source {
            self.peers[peer].deliveries.push_back(&mut self.deliveries, ix);
        }
        if let Some(c) = consumer {
            self.deliveries[ix].consumer = Some(c);
            self.consumers[c].deliveries.push_back(&mut self.deliveries, ix);
            self.consumers[c].held += 1;
            if matches!(stage, Stage::Claiming | Stage::Ready) {
                self.consumers[c].coming += 1;
            }
            self.refresh_consumer(c);
            // The next one in turn, if it still has room.
            let s = self.consumers[c].service;
            if self.consumers[c].hungry.is_linked() {
                self.services[s].hungry.remove(&mut self.consumers, c);
                self.services[s].hungry.push_back(&mut self.consumers, c);
            }
        }
        Some(ix)
    }

    /// A granted message whose payload is here goes to its consumer's oldest take when that is polled, or waits a little
    /// for the next.
    pub(super) fn hand_over(&mut self, d: Ix) {
        if self.deliveries[d].consumer.is_none() {
            return self.release(d);
        }
        let slot = &mut self.deliveries[d];
        slot.out.deliver = true;
        slot.wake = Some(self.now + self.config.timing.ready);
        self.time_delivery(d);
        self.touch(Entity::Delivery(d));
    }

    /// Sets the slot's timer to the soonest of its times.
    pub(super) fn time_delivery(&mut self, d: Ix) {
        let slot = &self.deliveries[d];
        // The deadline of this node's own message is that message's timer to watch.
        let deadline = slot.deadline.filter(|_| slot.source != Source::Local);
        let at = match (deadline, slot.wake) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let at = if slot.stage == Stage::Over { None } else { at };
        self.set_timer(Entity::Delivery(d), at);
    }

    /// The consumer is told that it no longer holds this.
    pub(super) fn lost(&mut self, d: Ix, why: LostWhy) {
        let slot = &mut self.deliveries[d];
        // A consumer that was never told of it has nothing to lose.
        if slot.stage == Stage::Held {
            slot.lost = why;
            slot.out.lost = true;
        }
        self.touch(Entity::Delivery(d));
    }

    /// Gives a delivery back to its origin, and says whether it was handed over.
    pub(super) fn release(&mut self, d: Ix) {
        let unseen = self.deliveries[d].stage != Stage::Held;
        self.let_go(d, unseen);
    }

    /// Gives a delivery back to its origin; `unseen` if it is certain that no consumer has seen it.
    pub(super) fn let_go(&mut self, d: Ix, unseen: bool) {
        let (source, token) = (self.deliveries[d].source, self.deliveries[d].token);
        self.over(d);
        match source {
            Source::Local => {
                if let Some(ix) = self.held_here(&token) {
                    if unseen {
                        self.ungranted(ix);
                    } else {
                        self.unanswered(ix);
                    }
                }
            }
            Source::Peer(peer) => {
                let up = self.is_up(peer);
                let out = &mut self.deliveries[d].out;
                out.release = up;
                out.unseen = unseen;
            }
            Source::Absent => {}
        }
    }

    /// This node's message, if its newest attempt is this one and a consumer here holds it, or is to.
    pub(super) fn held_here(&self, token: &GrantToken) -> Link {
        let ix = self.own(token.message)?;
        let m = &self.messages[ix];
        let held = matches!(m.state, State::Granting | State::Granted) && m.holder == Holder::Local;
        (held && m.fence == token.fence).then_some(ix)
    }

    /// A message that a consumer here holds ends otherwise: its delivery is lost.
    pub(super) fn lose_local(&mut self, ix: Ix, why: LostWhy) {
        let token = self.token_of(ix);
        // Its own timer may have ended it a moment ago.
        if let Some(d) = self
            .find_delivery(token.attempt())
            .filter(|&d| self.deliveries[d].stage != Stage::Over)
        {
            self.lost(d, why);
            self.over(d);
        }
    }

    /// Takes the delivery from its consumer, whose room comes free.
    pub(super) fn detach(&mut self, d: Ix) {
        let Some(c) = self.deliveries[d].consumer.take() else {
            return;
        };
        let stage = self.deliveries[d].stage;
        self.consumers[c].deliveries.remove(&mut self.deliveries, d);
        if stage.takes_room() {
            self.consumers[c].held -= 1;
        }
        if matches!(stage, Stage::Claiming | Stage::Fetching | Stage::Ready) {
            self.consumers[c].coming -= 1;
        }
        if stage == Stage::Answering {
            self.consumers[c].answering -= 1;
        }
        self.refresh_consumer(c);
        if core::mem::take(&mut self.consumers[c].blocked) {
            self.hand_over_ready(c);
        }
    }

    /// The delivery has come to its end; the slot goes as soon as all of it is told.
    pub(super) fn over(&mut self, d: Ix) {
        let service = self.deliveries[d].consumer.map(|c| self.consumers[c].service);
        self.detach(d);
        self.set_stage(d, Stage::Over);
        let slot = &mut self.deliveries[d];
        if let Source::Peer(peer) = slot.source
            && slot.out.say
        {
            slot.out.say = false;
            self.said(peer);
        }
        let slot = &mut self.deliveries[d];
        if slot.asked.is_some() && !slot.out.answered {
            slot.result = Answered::Over;
            slot.out.answered = true;
        }
        // A claim that was not sent yet still goes out: its reservation is used up, and the grant will be released.
        slot.out.fetch = false;
        slot.out.reverse = false;
        slot.out.deliver = false;
        slot.out.extend = false;
        slot.out.answer = false;
        if core::mem::take(&mut slot.out.keep) {
            // The store was never asked.
            slot.keeping = Keeping::No;
        }
        slot.out.free_payload = matches!(slot.payload, Some(crate::output::Payload::Held(_)));
        slot.out.free_answer = slot.answer.is_some();
        self.time_delivery(d);
        self.touch(Entity::Delivery(d));
        if let Some(service) = service {
            self.match_service(service);
        }
    }

    /// Frees the slot of a delivery that is over and told.
    pub(super) fn free_delivery(&mut self, d: Ix) {
        let was_full = self.deliveries.is_full();
        let (seed, deliveries) = (self.seed(), &self.deliveries);
        let hash = Self::id_hash(seed, deliveries[d].token.message);
        self.delivery_index
            .remove(hash, d, |at| Self::id_hash(seed, deliveries[at].token.message));
        if let Source::Peer(peer) = self.deliveries[d].source {
            self.peers[peer].deliveries.remove(&mut self.deliveries, d);
        }
        self.set_timer(Entity::Delivery(d), None);
        self.deliveries.remove(d);
        if was_full {
            // Consumers that had room but no slot are served now.
            let mut cursor = None;
            while let Some(s) = self.services.next_live(cursor) {
                cursor = Some(s);
                self.match_service(s);
            }
        }
    }
}
