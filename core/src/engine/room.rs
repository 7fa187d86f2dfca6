//! Room at consumers: who is told of it, and which offers go there.
//!
//! An announcement says how many offers would be claimed at once. Each offer of the peer takes one of them, and both
//! ends count alike; a peer that has used up all that it was told hears of it when there is room again. So freed room is
//! used within one link's delay, a peer that offers nothing costs nothing, and each announcement of room is paid for by
//! an offer at least. What a peer believes may be wrong, since others use the same room: then its offer waits
//! here as any other, and the peer is told that there is none.
//!
//! Offers go where room is believed to be first, to one peer only; if that does not claim in a short while, others are
//! asked too. When a next hop has room, the best of what waits unclaimed elsewhere goes there: it is late
//! binding that makes many consumers behind many nodes work like one queue (design, 6.4).

use super::origin::from_millis;
use super::place::Offer;
use super::slots::{Copy, CopyState};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::Ix;
use crate::id::OfferId;

/// Most room that is told at a time. More is told when it is used up.
pub(super) const ROOM_MAX: u32 = 64;

/// Placed offers that one call looks at for one that can move.
const LOOK_AT: usize = 16;

impl Core<'_> {
    /// How many offers of the peer would be claimed at once, by consumers here or behind next hops.
    pub(super) fn room_for(&self, service: Ix, peer: Ix) -> u16 {
        let s = &self.services[service];
        let mut room = 0;
        let mut at = s.hungry.front();
        while let Some(c) = at.filter(|_| room < ROOM_MAX) {
            at = s.hungry.next(&self.consumers, c);
            room += self.consumers[c].room(self.now);
        }
        // What passes needs a relay when it is claimed.
        let mut at = s.routes.front().filter(|_| !self.relays.is_full());
        while let Some(route) = at.filter(|_| room < ROOM_MAX) {
            at = s.routes.next(&self.routes, route);
            let r = &self.routes[route];
            if r.room > 0 && r.has_window() && self.may_pass(route, peer) {
                room += u32::from(r.room);
            }
        }
        room.min(ROOM_MAX) as u16
    }

    /// The peer has offered: one place less that it knows of. If it knows of none now, it may have to be told of more.
    pub(super) fn room_used(&mut self, service: Ix, peer: Ix) {
        let Some(left) = self.told.room(service, peer).and_then(|room| room.checked_sub(1)) else {
            return;
        };
        self.set_told_room(service, peer, left);
        if left == 0 {
            self.mark_room(service, peer);
        }
    }

    /// An offer came because its sender knew of room here, and there is none: others have used it. It hears so, and of
    /// room when there is some again.
    pub(super) fn deny_room(&mut self, service: Ix, peer: Ix, offer: OfferId) {
        self.set_told_room(service, peer, 0);
        self.say(Pending::NoRoom { peer, offer });
    }

    /// A peer has no room for what should have been claimed there at once: others are asked too.
    pub(super) fn room_denied(&mut self, peer: Ix, offer: OfferId) {
        let Some(offer) = self.offer_of(offer) else {
            return;
        };
        let at = |copy: &&mut Copy| copy.peer == peer && copy.is_live();
        let Some(copy) = self.copies_mut(offer).iter_mut().flatten().find(at) else {
            return;
        };
        if !core::mem::take(&mut copy.sure) {
            // Said once already.
            return;
        }
        let route = copy.route;
        self.routes[route].room = 0;
        self.place_offer(offer);
        match offer {
            Offer::Message(ix) => self.time_offered(ix),
            Offer::Reservation(ix) => self.time_reservation(ix),
        }
    }

    /// A next hop has room: the best offers that wait unclaimed at others go there.
    pub(super) fn draw(&mut self, route: Ix) {
        if self.draining {
            return;
        }
        let service = self.routes[route].service;
        // What goes there after a retract takes its place when that is sent.
        let mut left = self.routes[route].room;
        while left > 0 {
            let Some(offer) = self.best_elsewhere(route) else {
                break;
            };
            left -= 1;
            if self.has_budget(offer) {
                self.put_copy(offer, route);
            } else if !self.unplace_one(offer) {
                break;
            }
        }
        if left > 0 {
            self.tell_room(service);
        }
    }

    /// The best offer that is placed at other next hops only, none of which should claim it at once.
    fn best_elsewhere(&self, route: Ix) -> Option<Offer> {
        let service = &self.services[self.routes[route].service];
        let fits = |&offer: &Offer| {
            let copies = self.copies(offer);
            let moves = copies
                .iter()
                .flatten()
                .any(|copy| copy.state == CopyState::ToRetract);
            let r = &self.routes[route];
            let here = copies.iter().flatten().any(|copy| copy.is_at(route, r.peer));
            let takes = r.takes(self.offer_priority(offer));
            !moves && !here && takes && !self.is_sure(offer) && self.may_go(offer, route)
        };
        let own = core::iter::successors(service.offered.first(), |&ix| {
            service.offered.next(&self.messages, ix)
        });
        let passing = core::iter::successors(service.forwarded.first(), |&ix| {
            service.forwarded.next(&self.reservations, ix)
        });
        let own = own.take(LOOK_AT).map(Offer::Message).find(fits);
        let passing = passing.take(LOOK_AT).map(Offer::Reservation).find(fits);
        own.into_iter()
            .chain(passing)
            .min_by_key(|&offer| self.offer_rank(offer))
    }

    /// Takes back the copy that was placed first, if another stays. When the retract is sent, its place is free.
    fn unplace_one(&mut self, offer: Offer) -> bool {
        let copies = self.copies_mut(offer);
        if copies.iter().flatten().filter(|copy| copy.is_live()).count() < 2 {
            return false;
        }
        let Some(at) = copies
            .iter()
            .position(|copy| copy.as_ref().is_some_and(Copy::is_live))
        else {
            return false;
        };
        let Some(copy) = copies[at].take() else {
            return false;
        };
        if copy.state == CopyState::Placed {
            copies[at] = Some(Copy {
                state: CopyState::ToRetract,
                ..copy
            });
        }
        self.routes[copy.route].placed -= 1;
        self.touch_offer(offer);
        true
    }

    /// Whether a peer has it that should claim it at once.
    pub(super) fn is_sure(&self, offer: Offer) -> bool {
        self.copies(offer)
            .iter()
            .flatten()
            .any(|copy| copy.is_live() && copy.sure)
    }

    /// When an offered message is looked at: soon if it should have been claimed by then.
    pub(super) fn time_offered(&mut self, ix: Ix) {
        let mut wait = from_millis(self.messages[ix].reoffer_ms);
        if self.is_sure(Offer::Message(ix)) {
            wait = wait.min(self.config.timing.hedge);
        }
        self.messages[ix].wake = Some(self.now + wait);
        self.time_message(ix);
    }

    pub(super) fn time_reservation(&mut self, ix: Ix) {
        let hedge = self.now + self.config.timing.hedge;
        let deadline = self.reservations[ix].deadline;
        let at = if self.is_sure(Offer::Reservation(ix)) {
            Some(deadline.map_or(hedge, |deadline| deadline.min(hedge)))
        } else {
            deadline
        };
        self.set_timer(Entity::Reservation(ix), at);
    }

    /// The peer that should have claimed an offer at once has not: others are asked too.
    pub(super) fn hedge_message(&mut self, ix: Ix) {
        self.hedge(Offer::Message(ix));
        self.time_offered(ix);
    }

    pub(super) fn reservation_timeout(&mut self, ix: Ix) {
        if self.is_late(self.reservations[ix].deadline) {
            return self.end_reservation(ix);
        }
        self.hedge(Offer::Reservation(ix));
        self.time_reservation(ix);
    }

    fn hedge(&mut self, offer: Offer) {
        for copy in self.copies_mut(offer).iter_mut().flatten() {
            copy.sure = false;
        }
        self.place_offer(offer);
    }
}
