//! Messages of peers at this node: reservations, claims, grants.

use super::place::Offer;
use super::slots::{COPIES, Passing, Reservation, Source, Stage};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::list::ListLinks;
use crate::data::slab::{Ix, Link};
use crate::data::tree::{TreeLinks, TreeNode};
use crate::id::{ConsumerKey, GrantToken, MessageId, NodeId, OfferId};
use crate::input::{Body, Kept, Part, Verb};
use crate::name::Name;
use crate::output::{Answered, LostWhy, Payload};
use crate::time::Duration;
use crate::wire::{Path, Taken};

/// What a peer says of a message that it offers.
pub(super) struct Offered {
    pub(super) offer: OfferId,
    pub(super) priority: u8,
    pub(super) age: Duration,
    pub(super) remaining: Option<Duration>,
    pub(super) path: Path,
    pub(super) copies: u8,
    pub(super) sure: bool,
}

/// What a peer says of a message that it grants.
pub(super) struct Granted {
    pub(super) token: GrantToken,
    pub(super) priority: u8,
    pub(super) remaining: Option<Duration>,
    pub(super) size: u64,
    pub(super) send_only: bool,
    pub(super) inline: bool,
    pub(super) direct: bool,
}

impl Core<'_> {
    pub(super) fn offered(&mut self, peer: Ix, name: &Name, offered: &Offered) {
        let offer = offered.offer;
        let message = offer.message;
        let decline = |floor| Pending::Decline { peer, offer, floor };
        let path = &offered.path;
        // P12: an offer comes from its origin by the peer that brings it, and has not been here.
        let right = path.first() == Some(&message.node) && path.last().copied() == self.peers[peer].node;
        if !right || path.contains(&self.config.node) || self.draining {
            return self.say(decline(None));
        }
        let service = self.find_service(name);
        let Some(service) = service.filter(|&service| self.told.room(service, peer).is_some()) else {
            // Never told, or nothing is reached from there through here any more: then the withdrawal is on its way.
            return self.say(decline(None));
        };
        self.room_used(service, peer);
        // The origin itself need not be believed that it is the origin.
        let direct = path.len() == 1;
        if let Some(old) = self.find_reservation(offer) {
            let other = self.reservations[old].peer;
            if other != peer && !direct {
                // It is here by another way already: this copy is free for another peer.
                return self.say(decline(None));
            }
            // Offered again: what it says now counts, and next hops that had no room are asked again.
            self.drop_reservation(old);
            self.forget_floors(service);
            if other != peer {
                let (peer, floor) = (other, None);
                self.say(Pending::Decline { peer, offer, floor });
            }
        }
        if let Some(d) = self.find_claim(offer) {
            // It crosses the claim, which will be answered; by a peer that stands between and is silent it may not be.
            let slot = &self.deliveries[d];
            let silent = slot.wake.is_none_or(|wake| {
                self.now.until(wake) + self.config.timing.hedge < self.config.timing.claim
            });
            if slot.source == Source::Peer(peer) {
                return;
            }
            if !direct || !silent {
                return self.say(decline(None));
            }
            self.over(d);
        }
        if let Some(ix) = self.find_relay(message) {
            let r = &self.relays[ix];
            match (r.stage, r.up == peer) {
                (Passing::Over, _) => {}
                // It crosses the claim, of this offer or of the message's other one.
                (Passing::Claimed, true) if r.alternate == offer.alternate => return,
                (Passing::Claimed, true) => {}
                // Frames keep their order: its origin has given up the attempt that passes here.
                (Passing::Granted, true) => self.relay_outlived(ix),
                (_, false) => return self.say(decline(None)),
            }
        }
        if offered.remaining == Some(Duration::ZERO) {
            return;
        }
        if self.told.reserved(service, peer) >= self.config.window {
            // More than was announced: the peer is to wait for the next announcement.
            self.starve(service, peer);
            return self.say(decline(Some(u8::MAX)));
        }
        if self.reservations.is_full() && !self.make_room(peer, service, offered) {
            return self.starve(service, peer);
        }
        let ix = self.reserve(service, peer, offered);
        self.match_service(service);
        if let Some(ix) = ix.filter(|&ix| {
            self.reservations
                .get(ix)
                .is_some_and(|r| r.offer() == offer && !r.over)
        }) {
            self.forward(ix);
            if offered.sure && !self.is_sure(Offer::Reservation(ix)) {
                self.deny_room(service, peer, offer);
            }
        }
    }

    /// A full table gives up the service's lowest reservation for a higher offer, and says so (P5). If it does not,
    /// the offer is declined.
    fn make_room(&mut self, peer: Ix, service: Ix, offered: &Offered) -> bool {
        let (offer, priority) = (offered.offer, offered.priority);
        let rank = self.rank(self.now - offered.age, priority);
        let s = &self.services[service];
        let waiting = s.reserved.last(&self.reservations);
        let forwarded = s.forwarded.last(&self.reservations);
        let last = waiting
            .into_iter()
            .chain(forwarded)
            .max_by_key(|&ix| self.reservations[ix].key());
        let Some(last) = last else {
            self.say(Pending::Decline {
                peer,
                offer,
                floor: Some(u8::MAX),
            });
            return false;
        };
        let r = &self.reservations[last];
        let (lowest, evicted, other) = (r.priority, r.offer(), r.peer);
        let floor = Some(lowest);
        // Of one priority neither gives way to the other, however old.
        if lowest == priority || r.rank <= rank {
            // With ageing the lowest may be of a lower priority and have waited longer. Whoever hears of a floor below what it
            // has offered would offer that at once again.
            let floor = Some(lowest.max(priority));
            self.say(Pending::Decline { peer, offer, floor });
            return false;
        }
        self.say(Pending::Decline {
            peer: other,
            offer: evicted,
            floor,
        });
        self.remove_reservation(last);
        self.starve(service, other);
        // One whose copies are still to be retracted keeps its slot a moment longer.
        if self.reservations.is_full() {
            self.say(Pending::Decline { peer, offer, floor });
            return false;
        }
        true
    }

    fn reserve(&mut self, service: Ix, peer: Ix, offered: &Offered) -> Link {
        self.next_order += 1;
        let slot = Reservation {
            message: offered.offer.message,
            alternate: offered.offer.alternate,
            rank: self.rank(self.now - offered.age, offered.priority),
            order: self.next_order,
            deadline: offered.remaining.map(|left| self.now + left),
            priority: offered.priority,
            budget: offered.copies.clamp(1, COPIES as u8),
            service,
            peer,
            path: offered.path,
            copies: [None; COPIES],
            forwarded: false,
            over: false,
            tree: TreeLinks::default(),
            of_peer: ListLinks::default(),
        };
        let deadline = slot.deadline;
        let Ok(ix) = self.reservations.insert(slot) else {
            debug_assert!(false, "room for the reservation was made");
            return None;
        };
        let (seed, reservations) = (self.seed(), &self.reservations);
        self.reservation_index
            .insert(Self::id_hash(seed, offered.offer.message), ix, |at| {
                Self::id_hash(seed, reservations[at].message)
            });
        self.services[service].reserved.insert(&mut self.reservations, ix);
        self.peers[peer]
            .reservations
            .push_back(&mut self.reservations, ix);
        self.told.add_reserved(service, peer);
        self.set_timer(Entity::Reservation(ix), deadline);
        Some(ix)
    }

    /// Removes a reservation and invites a peer that was declined before.
    pub(super) fn drop_reservation(&mut self, ix: Ix) {
        let service = self.reservations[ix].service;
        self.remove_reservation(ix);
        self.invite_one();
        self.drop_idle_service(service);
    }

    /// The same, and what it had placed at next hops makes room there for others.
    pub(super) fn end_reservation(&mut self, ix: Ix) {
        let service = self.reservations[ix].service;
        self.drop_reservation(ix);
        if self.services.get(service).is_some() {
            self.fill(service);
        }
    }

    /// Takes the reservation out of everything. Its slot goes when its copies are retracted.
    fn remove_reservation(&mut self, ix: Ix) {
        self.unplace_all(Offer::Reservation(ix));
        let (seed, reservations) = (self.seed(), &self.reservations);
        let hash = Self::id_hash(seed, reservations[ix].message);
        self.reservation_index
            .remove(hash, ix, |at| Self::id_hash(seed, reservations[at].message));
        let (service, peer) = (self.reservations[ix].service, self.reservations[ix].peer);
        if self.reservations[ix].forwarded {
            self.services[service]
                .forwarded
                .remove(&mut self.reservations, ix);
        } else {
            self.services[service].reserved.remove(&mut self.reservations, ix);
        }
        self.peers[peer].reservations.remove(&mut self.reservations, ix);
        self.told.drop_reserved(service, peer);
        self.set_timer(Entity::Reservation(ix), None);
        self.reservations[ix].over = true;
        if self.reservations[ix].copies.iter().all(Option::is_none) {
            self.reservations.remove(ix);
        }
    }

    /// The peer withdraws an offer. If it was claimed already, `gone` will follow the claim.
    pub(super) fn retracted(&mut self, peer: Ix, offer: OfferId) {
        if let Some(ix) = self.find_reservation(offer)
            && self.reservations[ix].peer == peer
        {
            self.end_reservation(ix);
        }
    }

    /// The claim that this peer may answer. Two consumers here may have claimed a message, one by each of its offers.
    fn claim_at(&self, peer: Ix, message: MessageId, consumer: ConsumerKey) -> Link {
        let offers = [false, true].map(|alternate| OfferId { message, alternate });
        let mut claims = offers.into_iter().filter_map(|offer| self.find_claim(offer));
        claims.find(|&d| {
            let slot = &self.deliveries[d];
            slot.source == Source::Peer(peer) && slot.token.consumer == consumer
        })
    }

    /// A claim came too late.
    pub(super) fn gone(&mut self, peer: Ix, message: MessageId, node: NodeId, consumer: ConsumerKey) {
        if node != self.config.node {
            self.gone_passes(peer, message, node, consumer);
        } else if let Some(d) = self.claim_at(peer, message, consumer) {
            self.over(d);
        }
    }

    pub(super) fn granted(&mut self, peer: Ix, grant: &Granted, body: Option<Body>) -> Kept {
        let token = grant.token;
        if token.node != self.config.node {
            return self.grant_passes(peer, grant, body);
        }
        // P12: a grant is taken only from where the offer came.
        let claim = self.claim_at(peer, token.message, token.consumer);
        let (Some(d), true) = (claim, token.fence != crate::id::Fence::default()) else {
            match self.find_delivery(token.attempt()) {
                Some(d) => self.reversed(d, peer, grant),
                // Claimed too long ago: nobody waits for it any more.
                None => self.say(Pending::Release {
                    peer,
                    token,
                    verb: Verb::Return,
                }),
            }
            return Kept::Nothing;
        };
        if self.find_delivery(token.attempt()).is_some() {
            // The consumer had it already, and its answer was what the origin took the claim for: once is enough (P6).
            self.over(d);
            return Kept::Nothing;
        }
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
            address if grant.size > 0 && !grant.inline => {
                self.set_stage(d, Stage::Fetching);
                let slot = &mut self.deliveries[d];
                let address = address.filter(|_| grant.direct);
                slot.direct = address.is_some();
                slot.payload = address.map(Payload::Held);
                // One that says it is elsewhere and not where.
                slot.reversed = grant.direct && address.is_none();
                slot.out.reverse = slot.reversed;
                slot.out.fetch = !slot.reversed;
                self.fetching(d);
                if address.is_some() {
                    Kept::Body
                } else {
                    Kept::Nothing
                }
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

    /// A large payload may take as long as the consumer's lease to begin.
    fn fetching(&mut self, d: Ix) {
        let slot = &mut self.deliveries[d];
        slot.wake = Some(self.now + slot.lease);
        self.time_delivery(d);
        self.touch(Entity::Delivery(d));
    }

    /// A grant comes once more, since its payload could not be had straight.
    fn reversed(&mut self, d: Ix, peer: Ix, grant: &Granted) {
        let slot = &mut self.deliveries[d];
        let waits = slot.stage == Stage::Fetching && slot.reversed && slot.token == grant.token;
        if waits
            && slot.source == Source::Peer(peer)
            && !grant.direct
            && !grant.inline
            && slot.size == grant.size
        {
            slot.reversed = false;
            slot.out.fetch = true;
            self.fetching(d);
        }
    }

    /// What should have gone straight between the origin and this node goes along the way of the offer.
    pub(super) fn not_direct(&mut self, token: GrantToken, part: Part) {
        let Some(d) = self.find_delivery(token.attempt()) else {
            return;
        };
        let slot = &mut self.deliveries[d];
        if !slot.direct || slot.token != token {
            return;
        }
        match (part, slot.stage) {
            (Part::Payload, Stage::Fetching) => {
                slot.direct = false;
                slot.reversed = true;
                slot.out.reverse = true;
                // The origin's lease began with the grant.
                slot.out.extend = true;
                self.fetching(d);
            }
            (Part::Reply, Stage::Answering) => {
                slot.direct = false;
                self.send_or_keep(d);
            }
            _ => {}
        }
    }

    fn payload_here(&mut self, d: Ix, body: Body) {
        self.set_stage(d, Stage::Ready);
        let slot = &mut self.deliveries[d];
        slot.direct = false;
        if let (true, Some(Payload::Held(address))) = (slot.out.free_payload, slot.payload) {
            slot.out.free_payload = false;
            self.say(Pending::Free(address));
        }
        self.deliveries[d].payload = Some(Payload::Held(body));
        self.hand_over(d);
    }

    pub(super) fn fetched(&mut self, token: GrantToken, part: Part, body: Option<Body>) -> Kept {
        if token.message.node != self.config.node && token.node != self.config.node {
            return self.fetched_to_pass(&token, part, body);
        }
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

    /// A part of a large payload or reply came: neither side's lease shall run out while it does.
    pub(super) fn progress(&mut self, token: GrantToken) {
        if let Some(d) = self.find_delivery(token.attempt())
            && self.deliveries[d].stage == Stage::Fetching
        {
            let slot = &mut self.deliveries[d];
            slot.wake = Some(self.now + slot.lease);
            slot.out.extend = true;
            self.time_delivery(d);
            self.touch(Entity::Delivery(d));
        } else if let Some(ix) = self.own(token.message) {
            self.reply_comes(ix, &token);
        } else if let Some(ix) = self.passing(&token) {
            self.relays[ix].moved = Some(self.now);
            self.relays[ix].out.extend = true;
            self.relay_alive(ix);
        }
    }

    /// The origin says how it took an answer, or that an attempt no longer counts.
    pub(super) fn told(&mut self, peer: Ix, token: &GrantToken, taken: Taken) {
        if token.node != self.config.node {
            return self.settled_passes(peer, token, taken);
        }
        let Some(d) = self.find_delivery(token.attempt()) else {
            return;
        };
        let slot = &self.deliveries[d];
        // P12: only the origin may say so, by the way that the grant came.
        if slot.source != Source::Peer(peer) || slot.token.mac != token.mac {
            return;
        }
        let result = match taken {
            Taken::Done => Answered::Done,
            Taken::Stale => Answered::Stale,
            Taken::Over => Answered::Over,
            Taken::WrongVerb => Answered::WrongVerb,
            Taken::Unknown => Answered::Unknown,
        };
        match slot.stage {
            Stage::Answering => self.answer_taken(d, result),
            Stage::Held | Stage::Ready | Stage::Fetching => {
                self.lost(d, LostWhy::Revoked);
                self.answer_taken(d, result);
            }
            Stage::Claiming | Stage::Over => {}
        }
    }
}
