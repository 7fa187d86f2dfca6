//! Which next hops an offer is placed at, and what comes back from them before a grant.
//!
//! What is placed is a message of this node or a reservation of a peer that goes on from here; both have copies in
//! their slots and wait in one of two trees of their service, placed or not.

use super::origin::from_millis;
use super::slots::{COPIES, Copies, Copy, CopyState, Route, State, any_live};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::{Ix, Link};
use crate::data::tree::TreeNode;
use crate::id::{MessageId, OfferId};
use crate::time::Instant;

/// Reservations that one call looks at for one that can go on from here.
const LOOK_AT: usize = 16;

/// Something that can be placed.
#[derive(Clone, core::marker::Copy, PartialEq, Eq, Debug)]
pub(super) enum Offer {
    Message(Ix),
    Reservation(Ix),
}

/// How offers rank: by priority and age, then arrival.
type Rank = (Instant, u64);

impl Core<'_> {
    pub(super) fn copies(&self, offer: Offer) -> &Copies {
        match offer {
            Offer::Message(ix) => &self.messages[ix].copies,
            Offer::Reservation(ix) => &self.reservations[ix].copies,
        }
    }

    pub(super) fn copies_mut(&mut self, offer: Offer) -> &mut Copies {
        match offer {
            Offer::Message(ix) => &mut self.messages[ix].copies,
            Offer::Reservation(ix) => &mut self.reservations[ix].copies,
        }
    }

    pub(super) fn offer_service(&self, offer: Offer) -> Ix {
        match offer {
            Offer::Message(ix) => self.messages[ix].service,
            Offer::Reservation(ix) => self.reservations[ix].service,
        }
    }

    pub(super) fn offer_rank(&self, offer: Offer) -> Rank {
        match offer {
            Offer::Message(ix) => self.messages[ix].key(),
            Offer::Reservation(ix) => self.reservations[ix].key(),
        }
    }

    pub(super) fn offer_priority(&self, offer: Offer) -> u8 {
        match offer {
            Offer::Message(ix) => self.messages[ix].priority,
            Offer::Reservation(ix) => self.reservations[ix].priority,
        }
    }

    pub(super) fn touch_offer(&mut self, offer: Offer) {
        match offer {
            Offer::Message(ix) => {
                self.messages[ix].out.copies = true;
                self.touch(Entity::Message(ix));
            }
            Offer::Reservation(ix) => self.touch(Entity::Reservation(ix)),
        }
    }

    /// Whether it waits, placed nowhere.
    fn is_waiting(&self, offer: Offer) -> bool {
        match offer {
            Offer::Message(ix) => self.messages[ix].state == State::Waiting,
            Offer::Reservation(ix) => !self.reservations[ix].over && !self.reservations[ix].forwarded,
        }
    }

    /// Places a waiting or offered message: at one peer that should claim it at once, or else at as many as its copy
    /// budget allows, least loaded first.
    pub(super) fn place(&mut self, ix: Ix) {
        self.place_offer(Offer::Message(ix));
    }

    pub(super) fn place_offer(&mut self, offer: Offer) {
        if self.draining {
            return;
        }
        while self.has_budget(offer) && !self.is_sure(offer) {
            let Some(route) = self.best_route(offer) else {
                break;
            };
            self.put_copy(offer, route);
        }
        if self.is_waiting(offer) && self.displace_for(offer) {
            self.place_offer(offer);
        }
    }

    pub(super) fn has_budget(&self, offer: Offer) -> bool {
        let copies = self.copies(offer);
        let live = copies.iter().flatten().filter(|copy| copy.is_live());
        let budget = match offer {
            Offer::Message(_) => COPIES,
            Offer::Reservation(ix) => usize::from(self.reservations[ix].budget),
        };
        // What passes needs a relay when it is claimed.
        let passes = matches!(offer, Offer::Message(_)) || !self.relays.is_full();
        passes && live.count() < budget && copies.iter().any(Option::is_none)
    }

    /// Whether the offer may go over the route at all.
    pub(super) fn may_go(&self, offer: Offer, route: Ix) -> bool {
        let Offer::Reservation(ix) = offer else {
            return true;
        };
        let (r, way) = (&self.reservations[ix], &self.routes[route]);
        let seen = way.path.iter().any(|node| r.path.contains(node));
        let fits = r.path.len() + way.path.len() <= crate::wire::HOPS;
        !seen && fits && self.may_pass(route, r.peer)
    }

    fn best_route(&self, offer: Offer) -> Link {
        let (service, priority) = (self.offer_service(offer), self.offer_priority(offer));
        // Room first, and then near; where there is none the least loaded.
        let load = |r: &Route| match r.room {
            0 => (true, r.placed, r.path.len()),
            _ => (false, r.path.len() as u32, 0),
        };
        let mut best: Option<((bool, u32, usize), Ix)> = None;
        let mut at = self.services[service].routes.front();
        while let Some(route) = at {
            at = self.services[service].routes.next(&self.routes, route);
            let r = &self.routes[route];
            let used = self
                .copies(offer)
                .iter()
                .flatten()
                .any(|copy| copy.is_at(route, r.peer));
            let better = best.is_none_or(|(least, _)| load(r) < least);
            if better && !used && r.takes(priority) && self.may_go(offer, route) {
                best = Some((load(r), route));
            }
        }
        best.map(|(_, route)| route)
    }

    /// If every window is full, an offer that ranks before the last one placed takes its place (P5).
    fn displace_for(&mut self, offer: Offer) -> bool {
        let service = self.offer_service(offer);
        let s = &self.services[service];
        let message = s.offered.last(&self.messages).map(Offer::Message);
        let reservation = s.forwarded.last(&self.reservations).map(Offer::Reservation);
        let last = message
            .into_iter()
            .chain(reservation)
            .max_by_key(|&last| self.offer_rank(last));
        let Some(last) = last else { return false };
        let (rank, priority) = (self.offer_rank(offer), self.offer_priority(offer));
        if !self.has_budget(offer) || rank >= self.offer_rank(last) {
            return false;
        }
        // One that does not count may outlive its route.
        let mut live = self.copies(last).iter().flatten().filter(|copy| copy.is_live());
        let frees = live.any(|copy| {
            let r = &self.routes[copy.route];
            !r.has_window() && r.floor.is_none_or(|floor| priority > floor) && self.may_go(offer, copy.route)
        });
        if frees {
            self.unplace_all(last);
            self.back_to_waiting(last);
        }
        frees
    }

    pub(super) fn put_copy(&mut self, offer: Offer, route: Ix) {
        let r = &mut self.routes[route];
        r.placed += 1;
        let (peer, sure) = (r.peer, r.room > 0);
        r.room = r.room.saturating_sub(1);
        let fresh = !any_live(self.copies(offer));
        let free = self.copies_mut(offer).iter_mut().find(|copy| copy.is_none());
        debug_assert!(free.is_some(), "`has_budget` found a place");
        if let Some(free) = free {
            *free = Some(Copy {
                route,
                peer,
                state: CopyState::ToOffer,
                sure,
            });
        }
        let service = self.offer_service(offer);
        match offer {
            Offer::Message(ix) if self.messages[ix].state == State::Waiting => {
                self.services[service].waiting.remove(&mut self.messages, ix);
                self.set_state(ix, State::Offered);
                self.services[service].offered.insert(&mut self.messages, ix);
                self.time_offered(ix);
            }
            Offer::Reservation(ix) if fresh => {
                self.services[service].reserved.remove(&mut self.reservations, ix);
                self.services[service]
                    .forwarded
                    .insert(&mut self.reservations, ix);
                self.reservations[ix].forwarded = true;
                self.time_reservation(ix);
            }
            _ => {}
        }
        self.touch_offer(offer);
    }

    /// Withdraws all copies; the offer stays in its tree.
    pub(super) fn unplace_all(&mut self, offer: Offer) {
        for at in 0..COPIES {
            let Some(copy) = self.copies(offer)[at] else {
                continue;
            };
            match copy.state {
                CopyState::ToRetract => continue,
                CopyState::Declined => {
                    self.copies_mut(offer)[at] = None;
                    continue;
                }
                CopyState::ToOffer | CopyState::Placed => self.routes[copy.route].placed -= 1,
            }
            // An offer that was never sent needs no retract.
            let kept = (copy.state == CopyState::Placed).then_some(Copy {
                state: CopyState::ToRetract,
                ..copy
            });
            self.copies_mut(offer)[at] = kept;
        }
        self.touch_offer(offer);
    }

    /// An offer that was placed and has no copies left waits again.
    pub(super) fn back_to_waiting(&mut self, offer: Offer) {
        let service = self.offer_service(offer);
        match offer {
            Offer::Message(ix) => {
                self.services[service].offered.remove(&mut self.messages, ix);
                self.set_state(ix, State::Waiting);
                self.messages[ix].wake = None;
                self.services[service].waiting.insert(&mut self.messages, ix);
                self.time_message(ix);
            }
            Offer::Reservation(ix) => {
                self.services[service]
                    .forwarded
                    .remove(&mut self.reservations, ix);
                self.services[service].reserved.insert(&mut self.reservations, ix);
                self.reservations[ix].forwarded = false;
            }
        }
    }

    /// The copy at this route is no more: declined, withdrawn, or its session ended. True if there was one.
    fn lose_copy(&mut self, offer: Offer, route: Ix) -> bool {
        let before = any_live(self.copies(offer));
        let peer = self.routes[route].peer;
        let here = |copy: &Option<Copy>| copy.is_some_and(|copy| copy.is_at(route, peer));
        let Some(at) = self.copies(offer).iter().position(here) else {
            return false;
        };
        if self.copies_mut(offer)[at]
            .take()
            .is_some_and(|copy| copy.is_live())
        {
            self.routes[route].placed -= 1;
        }
        if before && !any_live(self.copies(offer)) {
            self.back_to_waiting(offer);
        }
        true
    }

    /// All copies at this route are no more.
    pub(super) fn lose_copies_at(&mut self, route: Ix) {
        let service = self.routes[route].service;
        let mut at = self.services[service].offered.first();
        while let Some(ix) = at {
            at = self.services[service].offered.next(&self.messages, ix);
            self.lose_copy(Offer::Message(ix), route);
        }
        let mut at = self.services[service].forwarded.first();
        while let Some(ix) = at {
            at = self.services[service].forwarded.next(&self.reservations, ix);
            self.lose_copy(Offer::Reservation(ix), route);
        }
        debug_assert_eq!(
            self.routes[route].placed, 0,
            "a placed copy is in one of the two trees"
        );
    }

    /// Places what waits, best first, while some route has room for it.
    pub(super) fn fill(&mut self, service: Ix) {
        let (mut own, mut theirs) = (true, true);
        // With ageing one of low priority may come first and be below what all peers have a floor for: it must not keep
        // back those behind it that are above.
        let mut any = true;
        while own || theirs {
            let s = &self.services[service];
            if !s.hungry.is_empty() || s.routes.is_empty() || self.draining {
                return;
            }
            let message = if own {
                self.first_to_place(service, any)
            } else {
                None
            };
            let reservation = if theirs {
                self.first_to_forward(service)
            } else {
                None
            };
            let best = message
                .into_iter()
                .chain(reservation)
                .min_by_key(|&offer| self.offer_rank(offer));
            let Some(offer) = best else { return };
            self.place_offer(offer);
            if self.is_waiting(offer) {
                match offer {
                    Offer::Message(_) if any && self.config.ageing.is_some() => any = false,
                    Offer::Message(_) => own = false,
                    Offer::Reservation(_) => theirs = false,
                }
            }
        }
    }

    /// The best message that waits, but for those that cannot go where they have been declined; not `any`, but one that some
    /// peer takes.
    fn first_to_place(&self, service: Ix, any: bool) -> Option<Offer> {
        let s = &self.services[service];
        let mut at = s.waiting.first();
        for _ in 0..LOOK_AT {
            let offer = Offer::Message(at?);
            let declined = self
                .copies(offer)
                .iter()
                .flatten()
                .any(|copy| copy.state == CopyState::Declined);
            if (any && !declined) || (self.has_budget(offer) && self.best_route(offer).is_some()) {
                return Some(offer);
            }
            at = s.waiting.next(&self.messages, at?);
        }
        None
    }

    /// The best reservation that could go on from here.
    fn first_to_forward(&self, service: Ix) -> Option<Offer> {
        let s = &self.services[service];
        let mut at = s.reserved.first();
        for _ in 0..LOOK_AT {
            let offer = Offer::Reservation(at?);
            if self.has_budget(offer) && self.best_route(offer).is_some() {
                return Some(offer);
            }
            at = s.reserved.next(&self.reservations, at?);
        }
        None
    }

    /// The offer of this id that this node has placed: its own, or one that passes.
    pub(super) fn offer_of(&self, offer: OfferId) -> Option<Offer> {
        if offer.message.node == self.config.node {
            let ix = self.own(offer.message)?;
            let offered = if offer.alternate {
                self.messages[ix].twin
            } else {
                Some(ix)
            };
            offered.map(Offer::Message)
        } else {
            self.find_reservation(offer).map(Offer::Reservation)
        }
    }

    /// The peer could not keep an offer.
    pub(super) fn declined(&mut self, peer: Ix, offer: OfferId, floor: Option<u8>) {
        let Some(offer) = self.offer_of(offer) else {
            return;
        };
        let service = self.offer_service(offer);
        let Some(route) = self.find_route(service, peer) else {
            return;
        };
        if floor.is_some() && self.routes[route].window.is_some() {
            self.routes[route].floor = floor;
        }
        if self.lose_copy(offer, route) && self.is_open_offer(offer) {
            // One that crossed the withdrawal of its route finds another when that is announced again.
            if floor.is_none() && self.routes[route].window.is_some() {
                self.mark_declined(offer, route, peer);
            }
            self.place_offer(offer);
        }
        if let Offer::Message(ix) = offer
            && self.messages[ix].state == State::Waiting
        {
            let m = &mut self.messages[ix];
            m.wake = Some(self.now + from_millis(m.reoffer_ms));
            self.time_message(ix);
        }
        // Its place there is free for another.
        self.fill(service);
    }

    /// One that declined without a reason of room would do so again, if it were asked at once.
    fn mark_declined(&mut self, offer: Offer, route: Ix, peer: Ix) {
        if let Some(free) = self.copies_mut(offer).iter_mut().find(|copy| copy.is_none()) {
            *free = Some(Copy {
                route,
                peer,
                state: CopyState::Declined,
                sure: false,
            });
        }
    }

    /// Those that declined it may be asked again.
    fn forget_declined(&mut self, offer: Offer) {
        for copy in self.copies_mut(offer) {
            if copy.is_some_and(|copy| copy.state == CopyState::Declined) {
                *copy = None;
            }
        }
    }

    /// A message that was declined everywhere asks again after the re-offer interval, whatever was said before.
    pub(super) fn ask_again(&mut self, ix: Ix) {
        let service = self.messages[ix].service;
        self.messages[ix].wake = None;
        self.time_message(ix);
        self.forget_floors(service);
        self.forget_declined(Offer::Message(ix));
        self.fill(service);
    }

    /// Peers that had no room may have some by now.
    pub(super) fn forget_floors(&mut self, service: Ix) {
        let mut at = self.services[service].routes.front();
        while let Some(route) = at {
            at = self.services[service].routes.next(&self.routes, route);
            self.routes[route].floor = None;
        }
    }

    fn is_open_offer(&self, offer: Offer) -> bool {
        match offer {
            Offer::Message(ix) => matches!(self.messages[ix].state, State::Waiting | State::Offered),
            Offer::Reservation(ix) => !self.reservations[ix].over,
        }
    }

    /// This node's message of that id.
    pub(super) fn own(&self, message: MessageId) -> Link {
        if message.node != self.config.node {
            return None;
        }
        self.find_message(message.sequence)
    }

    /// An offer was not claimed for the re-offer interval: elsewhere too, or once more.
    pub(super) fn offer_again(&mut self, ix: Ix) {
        let offer = Offer::Message(ix);
        self.forget_declined(offer);
        if let Some(route) = self.best_route(offer) {
            if !self.has_budget(offer) {
                // The oldest copy makes room for a peer that has not been asked.
                self.retract_oldest(ix);
            }
            self.put_copy(offer, route);
        } else {
            for copy in self.messages[ix].copies.iter_mut().flatten() {
                if copy.state == CopyState::Placed {
                    copy.state = CopyState::ToOffer;
                }
            }
        }
        self.time_offered(ix);
        self.touch_offer(offer);
    }

    /// Takes back one copy at once, through the queue of answers, so that its place is free for another.
    fn retract_oldest(&mut self, ix: Ix) {
        let offer = self.offer_id(ix);
        let Some(copy) = self.messages[ix].copies[0].take() else {
            return;
        };
        if matches!(copy.state, CopyState::Placed | CopyState::ToRetract) {
            self.say(Pending::Retract {
                peer: copy.peer,
                offer,
            });
        }
        if copy.is_live() {
            self.routes[copy.route].placed -= 1;
        }
        self.messages[ix].copies.rotate_left(1);
    }
}
