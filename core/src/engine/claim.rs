//! What next hops claim of what was offered to them, and who holds a granted message.

use super::place::Offer;
use super::slots::{Copy, Holder, State, any_live};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::Ix;
use crate::id::{ConsumerKey, NodeId, OfferId};
use crate::input::Outcome;
use crate::output::LostWhy;
use crate::time::Duration;

/// Longest lease for what the mesh says for itself.
const RESERVED_LEASE: Duration = Duration::from_secs(5);

impl Core<'_> {
    /// A peer has room for a message that was offered to it: the first claim wins.
    pub(super) fn claimed(&mut self, peer: Ix, claim: &Claim) {
        // P12: nobody claims in this node's name. The grant would end here, and what waits for it would pass nothing on.
        let own = claim.node == self.config.node;
        let Some(offer) = self.offer_of(claim.offer).filter(|_| !own) else {
            return self.say(claim.gone(peer));
        };
        // P12: claims are taken only from peers that were offered to.
        let live = |copy: &&Copy| copy.is_live() && copy.peer == peer;
        let route = self
            .copies(offer)
            .iter()
            .flatten()
            .find(live)
            .map(|copy| copy.route);
        match (offer, route) {
            (Offer::Message(ix), Some(route))
                if self.messages[ix].state == State::Offered && !self.draining =>
            {
                if self.is_late(self.messages[ix].deadline) {
                    self.end(ix, Outcome::Expired, LostWhy::Deadline);
                    return self.say(claim.gone(peer));
                }
                let service = self.messages[ix].service;
                self.take_copy(offer, route);
                let ix = self.principal(ix);
                self.messages[ix].by_alternate = claim.offer.alternate;
                self.leave_state(ix);
                let mut claim = *claim;
                if self.services[service].name.is_reserved() {
                    // Answered at once, or by somebody else: a peer that only says that it offers it must not stop it.
                    claim.lease = claim.lease.min(RESERVED_LEASE);
                }
                self.grant_to_peer(ix, peer, &claim);
                self.fill_both(ix, service);
            }
            // Its grant is under way. In one that was sent already a claim would find an attempt that its consumer has
            // said to hold, or has answered meanwhile: that one is not delivered twice (P6).
            (Offer::Message(ix), _) if self.granted_by(self.principal(ix), peer, claim) => {}
            (Offer::Reservation(ix), Some(route)) => {
                self.take_copy(offer, route);
                self.claim_passes(ix, peer, claim);
            }
            _ => self.say(claim.gone(peer)),
        }
    }

    fn granted_by(&self, ix: Ix, peer: Ix, claim: &Claim) -> bool {
        let m = &self.messages[ix];
        let coming = m.state == State::Granting || (m.state == State::Granted && m.out.grant);
        coming
            && m.holder == Holder::Peer(peer)
            && (m.holder_node, m.holder_key) == (claim.node, claim.consumer)
    }

    /// The claimer's own copy has served; it needs no retract.
    fn take_copy(&mut self, offer: Offer, route: Ix) {
        let mut taken = 0;
        for copy in self.copies_mut(offer) {
            if copy.is_some_and(|copy| copy.route == route && copy.is_live()) {
                *copy = None;
                taken += 1;
            }
        }
        self.routes[route].placed -= taken;
        if let Offer::Reservation(ix) = offer
            && !any_live(&self.reservations[ix].copies)
        {
            self.back_to_waiting(offer);
        }
    }

    fn grant_to_peer(&mut self, ix: Ix, peer: Ix, claim: &Claim) {
        let fence = self.next_fence(ix);
        let next = self.messages[ix].granted_as();
        self.hold_at_peer(ix, next, peer, claim.node, claim.consumer, claim.lease);
        self.newest(ix, fence);
        self.messages[ix].reversed = false;
        self.counters.granted += 1;
        if next == State::Granting {
            self.write_grant(ix);
        } else {
            self.messages[ix].out.grant = true;
        }
    }

    /// After `leave_state`: a consumer that is reached through the peer has the message, by a grant or by its own word.
    pub(super) fn hold_at_peer(
        &mut self,
        ix: Ix,
        next: State,
        peer: Ix,
        node: NodeId,
        consumer: ConsumerKey,
        lease: Duration,
    ) {
        self.set_state(ix, next);
        let session = self.peers[peer].session;
        let until = self.now + lease + self.config.timing.margin;
        let m = &mut self.messages[ix];
        m.holder = Holder::Peer(peer);
        m.holder_node = node;
        m.holder_key = consumer;
        m.lease_ms = u32::try_from(lease.as_millis()).unwrap_or(u32::MAX);
        m.lease_until = until;
        m.session = session;
        m.wake = Some(until);
        self.peers[peer].granted.push_back(&mut self.messages, ix);
        self.time_message(ix);
        self.touch(Entity::Message(ix));
    }
}

/// What a claim says.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) offer: OfferId,
    pub(super) node: NodeId,
    pub(super) consumer: ConsumerKey,
    pub(super) lease: Duration,
}

impl Claim {
    /// The answer that somebody else has it.
    pub(super) fn gone(&self, peer: Ix) -> Pending {
        let (message, node, consumer) = (self.offer.message, self.node, self.consumer);
        Pending::Gone {
            peer,
            message,
            node,
            consumer,
        }
    }
}
