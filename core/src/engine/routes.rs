//! Which services can be reached through which peer, and what of it is told to whom (P8).
//!
//! | learned from, told to | north peers | south peers |
//! |---|---|---|
//! | own consumers | yes | yes |
//! | a south peer, if it is accepted from | yes, not back | yes, not back |
//! | a north peer | never | only if that link redistributes |
//!
//! So every way goes up, then down. Offers obey the same table (`place`): an offer goes on only over a route that may
//! be told to the peer it came from. Without a cycle in the north links this can't loop and settles whatever is
//! preferred (Gao and Rexford, "Stable Internet Routing Without Global Coordination", 2001); the path that each
//! announcement carries keeps a misconfigured cycle from looping too.
//!
//! A route is what a peer has announced of a service; it goes when that is withdrawn, or with the session. What was told to
//! whom is in `told`: a change of a route is news for those to whom it makes a difference, and for nobody else.

use super::Core;
use super::slots::{Peer, Route};
use super::tables::Entity;
use crate::data::list::ListLinks;
use crate::data::slab::{Ix, Link};
use crate::name::Name;
use crate::wire::{HOPS, Path};

/// What a peer is to be told of a service.
pub(super) struct Announcement {
    pub(super) path: Path,
    pub(super) window: u16,
    /// Offers of the peer that would be claimed at once.
    pub(super) room: u16,
    /// The table had less room than would be announced else.
    pub(super) short: bool,
}

impl Core<'_> {
    /// The route of a service to a peer, if there is one.
    pub(super) fn find_route(&self, service: Ix, peer: Ix) -> Link {
        let (of_service, of_peer) = (&self.services[service].routes, &self.peers[peer].routes);
        // Many peers may have one service, and one peer many: the shorter list knows it too.
        let here = |&ix: &Ix| (self.routes[ix].service, self.routes[ix].peer) == (service, peer);
        if of_service.len() <= of_peer.len() {
            core::iter::successors(of_service.front(), |&ix| of_service.next(&self.routes, ix)).find(here)
        } else {
            core::iter::successors(of_peer.front(), |&ix| of_peer.next(&self.routes, ix)).find(here)
        }
    }

    /// Finds or makes it; `None` if the table is full.
    fn route(&mut self, service: Ix, peer: Ix) -> Link {
        let found = self.find_route(service, peer);
        if found.is_some() {
            return found;
        }
        let slot = Route {
            service,
            peer,
            window: None,
            floor: None,
            room: 0,
            placed: 0,
            path: Path::new(),
            of_service: ListLinks::default(),
            of_peer: ListLinks::default(),
        };
        let Ok(ix) = self.routes.insert(slot) else {
            self.counters.routes_full += 1;
            return None;
        };
        self.services[service].routes.push_back(&mut self.routes, ix);
        self.peers[peer].routes.push_back(&mut self.routes, ix);
        Some(ix)
    }

    /// Forgets a route that was lost.
    pub(super) fn drop_route(&mut self, ix: Ix) {
        let r = &self.routes[ix];
        let (service, peer) = (r.service, r.peer);
        debug_assert!(
            r.window.is_none() && r.placed == 0,
            "a route that is dropped was lost"
        );
        self.services[service].routes.remove(&mut self.routes, ix);
        self.peers[peer].routes.remove(&mut self.routes, ix);
        self.routes.remove(ix);
        self.drop_idle_service(service);
        self.room_for_routes();
    }

    fn note_missed(&mut self, peer: Ix) {
        self.peers[peer].missed = true;
        self.missed = true;
    }

    /// A place in the table came free: what a peer announced in vain is asked for again, now and then.
    pub(super) fn room_for_routes(&mut self) {
        if !self.missed || self.routes.is_full() || self.services.is_full() {
            return;
        }
        let (apart, now) = (self.config.timing.silence, self.now);
        let missed = |p: &Peer| p.missed && p.link.is_some();
        let waits = |p: &Peer| missed(p) && p.asked.is_none_or(|at| at + apart <= now);
        let Some(ix) = self.peers.iter().find(|(_, p)| waits(p)).map(|(ix, _)| ix) else {
            self.missed = self.peers.iter().any(|(_, p)| missed(p));
            return;
        };
        let p = &mut self.peers[ix];
        p.asked = Some(now);
        p.missed = false;
        p.out.ask = true;
        self.touch(Entity::Peer(ix));
    }

    /// The peer had no room for something that it was told of, and has now: it is told all anew, but not more often than
    /// an honest peer asks.
    pub(super) fn refresh_asked(&mut self, peer: Ix) {
        let p = &mut self.peers[peer];
        let soonest = p.refreshed.map(|at| at + self.config.timing.keepalive);
        if soonest.is_some_and(|at| self.now < at) {
            return;
        }
        p.refreshed = Some(self.now);
        self.tell_again(peer);
    }

    /// A north peer is also below this node: what it announced has come up to here, and would go round for ever if paths
    /// were not looked at. Found as soon as a service is announced through the ring.
    fn note_cycle(&mut self, route: Ix, peer: Ix) {
        let (r, p) = (&self.routes[route], &self.peers[peer]);
        let above = p.link.is_some() && p.dialled && !self.peers[r.peer].dialled;
        if above && !p.cycle && p.node.is_some_and(|node| r.path.contains(&node)) {
            let p = &mut self.peers[peer];
            p.cycle = true;
            p.out.cycle = true;
            self.touch(Entity::Peer(peer));
        }
    }

    /// The peer of the route has announced a new way: does that close a ring?
    fn note_cycles_by(&mut self, route: Ix) {
        let mut cursor = None;
        // One node is the peer itself.
        while let Some(peer) = self
            .peers
            .next_live(cursor)
            .filter(|_| self.routes[route].path.len() > 1)
        {
            cursor = Some(peer);
            self.note_cycle(route, peer);
        }
    }

    /// The session with a peer is up: does it close a ring?
    pub(super) fn note_cycles_of(&mut self, peer: Ix) {
        let mut cursor = None;
        while let Some(route) = self.routes.next_live(cursor).filter(|_| self.peers[peer].dialled) {
            cursor = Some(route);
            self.note_cycle(route, peer);
        }
    }

    /// Whether what a route says may be told to a peer, and so whether offers of that peer may go over it.
    pub(super) fn may_pass(&self, route: Ix, to: Ix) -> bool {
        let r = &self.routes[route];
        let (from, to_peer) = (&self.peers[r.peer], &self.peers[to]);
        let told_on = from.redistribute || self.services[r.service].name.is_reserved();
        let hierarchy = !from.dialled || (!to_peer.dialled && told_on);
        let loops = to_peer.node.is_none_or(|node| r.path.contains(&node));
        r.peer != to && r.window.is_some() && hierarchy && !loops && r.path.len() < HOPS
    }

    /// What the peer is to be told of the service now, if it may be told of it; `None` if there is nothing that it can reach
    /// through here.
    pub(super) fn announcement(&self, service: Ix, peer: Ix) -> Option<Announcement> {
        if self.draining {
            return None;
        }
        let mut path = Path::new();
        let _ = path.push(self.config.node);
        let window = if self.services[service].consumers.is_empty() {
            let (best, window) = self.best_to_tell(service, peer)?;
            // `may_pass` leaves room for this node.
            for &node in self.routes[best].path.iter() {
                let _ = path.push(node);
            }
            window
        } else {
            self.config.window
        };
        let free = self.reservations.capacity() - self.reservations.len();
        let room = free + usize::from(self.told.reserved(service, peer));
        let wanted = usize::from(window.min(self.config.window));
        Some(Announcement {
            path,
            window: u16::try_from(wanted.min(room)).unwrap_or(u16::MAX),
            room: self.room_for(service, peer),
            short: room < wanted,
        })
    }

    /// The shortest route that may be told to the peer, and the widest window of any: room over several next hops is
    /// the maximum, not the sum.
    fn best_to_tell(&self, service: Ix, peer: Ix) -> Option<(Ix, u16)> {
        let mut best: Option<(Ix, u16)> = None;
        let mut at = self.services[service].routes.front();
        while let Some(ix) = at {
            at = self.services[service].routes.next(&self.routes, ix);
            if !self.may_pass(ix, peer) {
                continue;
            }
            let window = self.routes[ix].window.unwrap_or(0);
            best = Some(match best {
                Some((old, width)) if self.routes[old].path.len() <= self.routes[ix].path.len() => {
                    (old, width.max(window))
                }
                Some((_, width)) => (ix, width.max(window)),
                None => (ix, window),
            });
        }
        best
    }

    /// Whether what a peer is told of the route's service depends on the route: on its path, which is then the nearest, or on
    /// its window, which is then the widest.
    fn matters(&self, route: Ix, to: Ix) -> bool {
        if !self.may_pass(route, to) {
            return false;
        }
        let r = &self.routes[route];
        let list = &self.services[r.service].routes;
        let (mut nearest, mut widest, mut before) = (true, true, true);
        let mut at = list.front();
        while let Some(ix) = at.filter(|_| nearest || widest) {
            at = list.next(&self.routes, ix);
            if ix == route {
                before = false;
            } else if self.may_pass(ix, to) {
                let other = &self.routes[ix];
                // As `best_to_tell` chooses: between equals the first.
                let (there, here) = (other.path.len(), r.path.len());
                nearest &= there > here || (there == here && !before);
                widest &= other.window < r.window;
            }
        }
        nearest || widest
    }

    /// The route has changed, or is about to: there is news for those to whom it makes a difference. Asked before and after a
    /// change, since either way may be the one that is told.
    pub(super) fn tell_by(&mut self, route: Ix) {
        let service = self.routes[route].service;
        // Who has consumers itself tells of them, whatever else it reaches.
        if self.routes[route].window.is_none() || !self.services[service].consumers.is_empty() {
            return;
        }
        let mut cursor = None;
        while let Some(peer) = self.peers.next_live(cursor) {
            cursor = Some(peer);
            if self.is_up(peer) && self.matters(route, peer) {
                self.tell_of(service, peer);
            }
        }
    }

    /// The peer reaches consumers of the service, or has room again.
    pub(super) fn announced(&mut self, peer: Ix, name: &Name, window: u16, room: u16, path: &Path) {
        if !self.may_announce(peer, name) {
            return;
        }
        // P12: a way begins at the peer itself; one through this node is no way.
        if path.first().copied() != self.peers[peer].node || path.contains(&self.config.node) {
            return self.withdrawn(peer, name);
        }
        let Ok(service) = self.service(name) else {
            self.counters.routes_full += 1;
            self.note_missed(peer);
            return;
        };
        let Some(route) = self.route(service, peer) else {
            self.note_missed(peer);
            self.drop_idle_service(service);
            return;
        };
        let r = &self.routes[route];
        let changed = r.window != Some(window) || r.path != *path;
        if changed {
            self.tell_by(route);
        }
        let r = &mut self.routes[route];
        r.floor = None;
        r.window = Some(window);
        r.path = *path;
        r.room = room;
        if changed {
            self.tell_by(route);
            self.note_cycles_by(route);
        }
        self.fill(service);
        self.draw(route);
    }

    /// The peer does not reach consumers of the service any more.
    pub(super) fn withdrawn(&mut self, peer: Ix, name: &Name) {
        if let Some(service) = self.find_service(name)
            && let Some(route) = self.find_route(service, peer)
        {
            self.route_lost(route);
            self.fill(service);
            self.drop_route(route);
        }
    }

    /// Nothing can be placed over this route any more; what was placed waits again. It is to be dropped.
    pub(super) fn route_lost(&mut self, route: Ix) {
        self.tell_by(route);
        let r = &mut self.routes[route];
        r.window = None;
        r.room = 0;
        if r.placed > 0 {
            self.lose_copies_at(route);
        }
    }

    /// The peer can't reach the service through here any more: its offers are not kept.
    pub(super) fn forget_offers_of(&mut self, service: Ix, peer: Ix) {
        let mut at = self.peers[peer].reservations.front();
        while let Some(ix) = at.filter(|_| self.told.reserved(service, peer) > 0) {
            at = self.peers[peer].reservations.next(&self.reservations, ix);
            if self.reservations[ix].service == service {
                self.drop_reservation(ix);
            }
        }
        if self.services.get(service).is_some() {
            self.fill(service);
        }
    }
}
