//! Answers to messages of other nodes: sent, or kept on this node's disk until their origin has them.

use super::answer::kept;
use super::slots::{Delivery, Keeping, Source, Stage};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::Ix;
use crate::id::{AttemptId, GrantToken};
use crate::input::{Kept, Row, StoredReply};
use crate::output::{Answered, Bound, Misuse, Refused};
use crate::wire::Path;

impl Core<'_> {
    /// Sends the answer to its origin, or stores it here until that can be reached.
    pub(super) fn send_or_keep(&mut self, d: Ix) {
        self.find_way(d);
        let up = matches!(self.deliveries[d].source, Source::Peer(peer) if self.is_up(peer));
        let slot = &mut self.deliveries[d];
        if up {
            slot.out.answer = true;
            slot.wake = Some(self.now + self.config.timing.claim);
        } else {
            slot.out.answer = false;
            // Another way may be found later.
            slot.wake = Some(self.now + self.config.timing.claim);
        }
        if !up && slot.keeping == Keeping::No {
            self.keep(d);
        }
        self.time_delivery(d);
        self.touch(Entity::Delivery(d));
    }

    /// A delivery whose way to the origin is lost looks for the node that its offer came by.
    pub(super) fn find_way(&mut self, d: Ix) {
        let slot = &self.deliveries[d];
        let Some(node) = slot
            .path
            .last()
            .copied()
            .filter(|_| slot.source == Source::Absent)
        else {
            return;
        };
        if let Some(peer) = self.peer_of_node(node).filter(|&peer| self.is_up(peer)) {
            self.deliveries[d].source = Source::Peer(peer);
            self.peers[peer].deliveries.push_back(&mut self.deliveries, d);
            self.say_holding(peer, d);
        }
    }

    /// The way of a delivery is broken: it is kept here until another is found.
    pub(super) fn origin_lost(&mut self, peer: Ix, token: &GrantToken) {
        let Some(d) = self.find_delivery(token.attempt()) else {
            return;
        };
        let slot = &self.deliveries[d];
        if slot.source != Source::Peer(peer) || slot.token != *token {
            return;
        }
        match slot.stage {
            Stage::Claiming | Stage::Over => {}
            Stage::Fetching => self.over(d),
            Stage::Ready | Stage::Held | Stage::Answering => {
                self.leave_peer(d);
                if self.deliveries[d].stage == Stage::Answering {
                    self.deliveries[d].wake = Some(self.now + self.config.timing.claim);
                    if self.deliveries[d].keeping == Keeping::No {
                        self.keep(d);
                    }
                    self.time_delivery(d);
                }
            }
        }
    }

    /// No way is known from the delivery to its origin.
    pub(super) fn leave_peer(&mut self, d: Ix) {
        if let Source::Peer(peer) = self.deliveries[d].source {
            if core::mem::take(&mut self.deliveries[d].out.say) {
                self.said(peer);
            }
            self.peers[peer].deliveries.remove(&mut self.deliveries, d);
            self.deliveries[d].source = Source::Absent;
        }
        let out = &mut self.deliveries[d].out;
        out.extend = false;
        out.reverse = false;
        out.release = false;
        out.answer = false;
    }

    pub(super) fn keep(&mut self, d: Ix) {
        let life = self.now + self.config.timing.reply_life;
        let slot = &mut self.deliveries[d];
        slot.keeping = Keeping::Storing;
        slot.out.keep = true;
        slot.deadline.get_or_insert(life);
        self.touch(Entity::Delivery(d));
    }

    pub(super) fn not_stored(&mut self, d: Ix) {
        let slot = &mut self.deliveries[d];
        slot.result = Answered::StoreFailed;
        slot.out.answered = slot.asked.is_some();
        self.touch(Entity::Delivery(d));
    }

    /// The store has answered about a reply that is kept here.
    pub(super) fn stored_reply(&mut self, row: Row, attempt: AttemptId, done: bool) -> Result<(), Refused> {
        let misuse = Refused::Misuse(Misuse::Row);
        let d = self.find_delivery(attempt).ok_or(misuse)?;
        let slot = &mut self.deliveries[d];
        match (row, slot.keeping) {
            (Row::Keep(_), Keeping::Storing) if !slot.out.keep => {
                slot.keeping = if done { Keeping::Stored } else { Keeping::No };
                if slot.stage == Stage::Over {
                    // The origin was quicker: the row is not needed any more.
                    if done {
                        slot.keeping = Keeping::Dropping;
                        slot.out.drop = true;
                    }
                } else if done {
                    // It can't be lost any more: the consumer is done and its place is free (P1).
                    slot.result = Answered::Done;
                    slot.out.answered = slot.asked.is_some();
                    let service = slot.consumer.map(|c| self.consumers[c].service);
                    self.detach(d);
                    if let Some(service) = service {
                        self.match_service(service);
                    }
                } else if !matches!(slot.source, Source::Peer(peer) if self.peers[peer].link.is_some()) {
                    self.give_back(d);
                }
            }
            (Row::Drop(_), Keeping::Dropping) if !slot.out.drop => {
                if done {
                    slot.keeping = Keeping::No;
                } else {
                    slot.wake = Some(self.now + self.config.timing.store_retry);
                    self.set_timer(Entity::Delivery(d), self.deliveries[d].wake);
                }
            }
            _ => return Err(misuse),
        }
        self.touch(Entity::Delivery(d));
        Ok(())
    }

    /// Neither the origin nor the disk could take the answer: the consumer holds the message as before.
    pub(super) fn give_back(&mut self, d: Ix) {
        self.not_stored(d);
        self.set_stage(d, Stage::Held);
        if let Some(c) = self.deliveries[d].consumer {
            self.consumers[c].answering -= 1;
            self.refresh_consumer(c);
        }
        let slot = &mut self.deliveries[d];
        slot.verb = None;
        slot.wake = Some(self.now + slot.lease);
        if let Some(body) = slot.answer.take() {
            self.say(Pending::Free(body));
        }
        self.time_delivery(d);
    }

    /// The way of a delivery whose own is not known any more: its origin may be a peer.
    pub(super) fn direct(origin: crate::id::NodeId) -> Path {
        let mut path = Path::new();
        let _ = path.push(origin);
        path
    }

    pub(super) fn recover_reply(&mut self, stored: &StoredReply) -> Result<Kept, Refused> {
        if self.deliveries.is_full() {
            return Err(Refused::Full(Bound::Deliveries));
        }
        let slot = Delivery {
            stage: Stage::Answering,
            deadline: Some(self.now + stored.remaining),
            verb: Some(stored.verb),
            answer: stored.body,
            keeping: Keeping::Stored,
            path: if stored.path.is_empty() {
                Self::direct(stored.token.message.node)
            } else {
                stored.path
            },
            ..Self::blank_delivery(stored.token, Source::Absent, self.config.lease)
        };
        if let Some(d) = self.insert_delivery(slot, None) {
            self.time_delivery(d);
        }
        Ok(kept(stored.body))
    }
}
