//! Messages of peers at this node: reservations, claims, grants.

use super::slots::{Reservation, Source, Stage};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::list::ListLinks;
use crate::data::slab::{Ix, Link};
use crate::data::tree::TreeLinks;
use crate::id::{ConsumerKey, GrantToken, MessageId};
use crate::input::{Body, Kept, Part};
use crate::name::Name;
use crate::output::{Answered, LostWhy, Payload};
use crate::time::Duration;
use crate::wire::Taken;

/// What a peer says of a message that it offers.
pub(super) struct Offered {
    pub(super) message: MessageId,
    pub(super) priority: u8,
    pub(super) age: Duration,
    pub(super) remaining: Option<Duration>,
}

/// What a peer says of a message that it grants.
pub(super) struct Granted {
    pub(super) token: GrantToken,
    pub(super) priority: u8,
    pub(super) remaining: Option<Duration>,
    pub(super) size: u64,
    pub(super) send_only: bool,
    pub(super) inline: bool,
}

impl Core<'_> {
    pub(super) fn offered(&mut self, peer: Ix, name: &Name, offer: &Offered) {
        let message = offer.message;
        let decline = |floor| Pending::Decline { peer, message, floor };
        let service = self
            .find_service(name)
            .filter(|&s| !self.services[s].consumers.is_empty());
        let (Some(service), false) = (service, self.draining) else {
            return self.say(decline(u8::MAX));
        };
        // P12: an offer is taken only from the message's own node.
        if self.peers[peer].node != Some(message.node) {
            return self.say(decline(u8::MAX));
        }
        if let Some(old) = self.find_reservation(message) {
            // Offered again: what it says now counts.
            self.drop_reservation(old);
        }
        if self.find_claim(message).is_some() || offer.remaining == Some(Duration::ZERO) {
            return;
        }
        let Some(route) = self.route(service, peer) else {
            return self.say(decline(u8::MAX));
        };
        if self.routes[route].reserved >= u32::from(self.config.window) {
            // More than was announced: the peer is to wait for the next announcement.
            self.starve(route);
            return self.say(decline(u8::MAX));
        }
        if self.reservations.is_full() && !self.make_room(peer, service, message, offer.priority) {
            return self.starve(route);
        }
        self.reserve(route, offer);
        self.match_service(service);
    }

    /// A full table gives up the service's lowest reservation for a higher offer, and says so (P5). If it does not,
    /// the offer is declined.
    fn make_room(&mut self, peer: Ix, service: Ix, message: MessageId, priority: u8) -> bool {
        let last = self.services[service].reserved.last(&self.reservations);
        let Some(last) = last else {
            self.say(Pending::Decline {
                peer,
                message,
                floor: u8::MAX,
            });
            return false;
        };
        let r = &self.reservations[last];
        let (floor, evicted, route) = (r.priority, r.message, r.route);
        if floor >= priority {
            self.say(Pending::Decline { peer, message, floor });
            return false;
        }
        self.say(Pending::Decline {
            peer: self.routes[route].peer,
            message: evicted,
            floor,
        });
        self.remove_reservation(last);
        self.starve(route);
        true
    }

    fn reserve(&mut self, route: Ix, offer: &Offered) {
        let (service, peer) = (self.routes[route].service, self.routes[route].peer);
        self.next_order += 1;
        let slot = Reservation {
            message: offer.message,
            born: self.now - offer.age,
            order: self.next_order,
            deadline: offer.remaining.map(|left| self.now + left),
            priority: offer.priority,
            route,
            tree: TreeLinks::default(),
            of_peer: ListLinks::default(),
        };
        let deadline = slot.deadline;
        let Ok(ix) = self.reservations.insert(slot) else {
            debug_assert!(false, "room for the reservation was made");
            return;
        };
        let (seed, reservations) = (self.seed(), &self.reservations);
        self.reservation_index
            .insert(Self::id_hash(seed, offer.message), ix, |at| {
                Self::id_hash(seed, reservations[at].message)
            });
        self.services[service].reserved.insert(&mut self.reservations, ix);
        self.peers[peer]
            .reservations
            .push_back(&mut self.reservations, ix);
        self.routes[route].reserved += 1;
        self.set_timer(Entity::Reservation(ix), deadline);
    }

    /// Removes a reservation and invites a peer that was declined before.
    pub(super) fn drop_reservation(&mut self, ix: Ix) {
        let route = self.reservations[ix].route;
        self.remove_reservation(ix);
        if let Some(starved) = self.starved.front() {
            self.unstarve(starved);
            self.tell_route(starved);
        }
        self.drop_idle_route(route);
    }

    fn remove_reservation(&mut self, ix: Ix) {
        let (seed, reservations) = (self.seed(), &self.reservations);
        let hash = Self::id_hash(seed, reservations[ix].message);
        self.reservation_index
            .remove(hash, ix, |at| Self::id_hash(seed, reservations[at].message));
        let route = self.reservations[ix].route;
        let (service, peer) = (self.routes[route].service, self.routes[route].peer);
        self.services[service].reserved.remove(&mut self.reservations, ix);
        self.peers[peer].reservations.remove(&mut self.reservations, ix);
        self.routes[route].reserved -= 1;
        self.set_timer(Entity::Reservation(ix), None);
        self.reservations.remove(ix);
    }

    /// The route's peer was declined; it is told when room comes free.
    pub(super) fn starve(&mut self, route: Ix) {
        if !self.routes[route].starved.is_linked() {
            self.starved.push_back(&mut self.routes, route);
        }
    }

    pub(super) fn unstarve(&mut self, route: Ix) {
        if self.routes[route].starved.is_linked() {
            self.starved.remove(&mut self.routes, route);
        }
    }

    /// The peer withdraws an offer. If it was claimed already, `gone` will follow the claim.
    pub(super) fn retracted(&mut self, peer: Ix, message: MessageId) {
        if let Some(ix) = self.find_reservation(message)
            && self.routes[self.reservations[ix].route].peer == peer
        {
            self.drop_reservation(ix);
        }
    }

    /// The claim that this peer may answer.
    fn claim_at(&self, peer: Ix, message: MessageId, consumer: ConsumerKey) -> Link {
        let d = self.find_claim(message)?;
        let slot = &self.deliveries[d];
        let right = slot.stage == Stage::Claiming && slot.source == Source::Peer(peer);
        (right && slot.token.consumer == consumer).then_some(d)
    }

    pub(super) fn gone(&mut self, peer: Ix, message: MessageId, consumer: ConsumerKey) {
        if let Some(d) = self.claim_at(peer, message, consumer) {
            self.over(d);
        }
    }

    pub(super) fn granted(&mut self, peer: Ix, grant: &Granted, body: Option<Body>) -> Kept {
        let token = grant.token;
        // P12: a grant is taken only from the message's own node, and only for this one.
        let right = self.peers[peer].node == Some(token.message.node) && token.node == self.config.node;
        let claim = self.claim_at(peer, token.message, token.consumer);
        let (Some(d), true) = (claim, right && token.fence != crate::id::Fence::default()) else {
            if right && self.find_delivery(token.attempt()).is_none() {
                // Claimed too long ago: nobody waits for it any more.
                self.say(Pending::Release { peer, token });
            }
            return Kept::Nothing;
        };
        let slot = &mut self.deliveries[d];
        // The index goes by the message, which stays the same.
        slot.token = token;
        slot.priority = grant.priority;
        slot.send_only = grant.send_only;
        slot.size = grant.size;
        slot.deadline = grant.remaining.map(|left| self.now + left);
        slot.out.claim = false;
        if self.is_late(self.deliveries[d].deadline) {
            self.over(d);
            return Kept::Nothing;
        }
        match body {
            _ if grant.size > 0 && !grant.inline => {
                self.set_stage(d, Stage::Fetching);
                let slot = &mut self.deliveries[d];
                slot.out.fetch = true;
                slot.wake = Some(self.now + slot.lease);
                self.time_delivery(d);
                self.touch(Entity::Delivery(d));
                Kept::Nothing
            }
            Some(body) => {
                self.payload_here(d, body);
                Kept::Body
            }
            None => {
                self.set_stage(d, Stage::Ready);
                self.hand_over(d);
                Kept::Nothing
            }
        }
    }

    fn payload_here(&mut self, d: Ix, body: Body) {
        self.set_stage(d, Stage::Ready);
        self.deliveries[d].payload = Some(Payload::Held(body));
        self.hand_over(d);
    }

    pub(super) fn fetched(&mut self, token: GrantToken, part: Part, body: Option<Body>) -> Kept {
        match part {
            Part::Reply => self.reply_fetched(&token, body),
            Part::Payload => {
                let Some(d) = self.find_delivery(token.attempt()) else {
                    return Kept::Nothing;
                };
                if self.deliveries[d].stage != Stage::Fetching {
                    return Kept::Nothing;
                }
                let Some(body) = body else {
                    self.release(d);
                    return Kept::Nothing;
                };
                // The lease starts now that the payload is complete; the origin's copy with it.
                self.deliveries[d].out.extend = true;
                self.payload_here(d, body);
                Kept::Body
            }
        }
    }

    /// A part of a large payload came: neither side's lease shall run out while it does.
    pub(super) fn progress(&mut self, token: GrantToken) {
        if let Some(d) = self.find_delivery(token.attempt())
            && self.deliveries[d].stage == Stage::Fetching
        {
            let slot = &mut self.deliveries[d];
            slot.wake = Some(self.now + slot.lease);
            slot.out.extend = true;
            self.time_delivery(d);
            self.touch(Entity::Delivery(d));
        }
    }

    /// The origin says how it took an answer, or that an attempt no longer counts.
    pub(super) fn told(&mut self, peer: Ix, token: &GrantToken, taken: Taken) {
        let Some(d) = self.find_delivery(token.attempt()) else {
            return;
        };
        let slot = &self.deliveries[d];
        // P12: only the origin may say so.
        if slot.source != Source::Peer(peer) || slot.token.mac != token.mac {
            return;
        }
        match slot.stage {
            Stage::Answering => {
                let result = match taken {
                    Taken::Done => Answered::Done,
                    Taken::Stale => Answered::Stale,
                    Taken::Over => Answered::Over,
                    Taken::WrongVerb => Answered::WrongVerb,
                    Taken::Unknown => Answered::Unknown,
                };
                self.answer_taken(d, result);
            }
            Stage::Held | Stage::Ready | Stage::Fetching => {
                self.lost(d, LostWhy::Revoked);
                self.over(d);
            }
            Stage::Claiming | Stage::Over => {}
        }
    }
}
