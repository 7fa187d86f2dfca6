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
//! What a peer is to be told is not queued: a change marks the routes of its service, and when a mark is polled
//! the announcement is built from what is true then, and sent if it differs from what was told last.

use super::Core;
use super::slots::{Direction, Peer, Route, RouteOut};
use super::tables::Entity;
use crate::data::index::hash_words;
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
    /// The route between a service and a peer, if there is one.
    pub(super) fn find_route(&self, service: Ix, peer: Ix) -> Link {
        let mut at = self.services[service].routes.front();
        while let Some(ix) = at {
            if self.routes[ix].peer == peer {
                return at;
            }
            at = self.services[service].routes.next(&self.routes, ix);
        }
        None
    }

    /// Finds or makes it; `None` if the table is full.
    pub(super) fn route(&mut self, service: Ix, peer: Ix) -> Link {
        let found = self.find_route(service, peer);
        if found.is_some() {
            return found;
        }
        let slot = Route {
            service,
            peer,
            exports: self.may_pass_over(peer, Direction::Export, &self.services[service].name),
            window: None,
            floor: None,
            room: 0,
            placed: 0,
            reserved: 0,
            path: Path::new(),
            told: None,
            told_room: 0,
            out: RouteOut::default(),
            of_service: ListLinks::default(),
            of_peer: ListLinks::default(),
            starved: ListLinks::default(),
            spent: ListLinks::default(),
        };
        let Ok(ix) = self.routes.insert(slot) else {
            self.counters.routes_full += 1;
            return None;
        };
        self.services[service].routes.push_back(&mut self.routes, ix);
        self.peers[peer].routes.push_back(&mut self.routes, ix);
        Some(ix)
    }

    /// Forgets a route that neither side uses.
    pub(super) fn drop_idle_route(&mut self, ix: Ix) {
        let r = &self.routes[ix];
        let (service, peer) = (r.service, r.peer);
        let used = r.window.is_some() || r.told.is_some() || r.placed > 0 || r.reserved > 0;
        if used || r.out != RouteOut::default() {
            return;
        }
        self.unstarve(ix);
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

    /// A place in the table came free: what a peer announced in vain is asked for again, and a peer that could not be told
    /// of something is told of all; now and then.
    pub(super) fn room_for_routes(&mut self) {
        if !self.missed || self.routes.is_full() || self.services.is_full() {
            return;
        }
        let (apart, now) = (self.config.timing.silence, self.now);
        let waits = |p: &Peer| {
            (p.missed || p.untold) && p.link.is_some() && p.asked.is_none_or(|at| at + apart <= now)
        };
        let Some(ix) = self.peers.iter().find(|(_, p)| waits(p)).map(|(ix, _)| ix) else {
            self.missed = self
                .peers
                .iter()
                .any(|(_, p)| (p.missed || p.untold) && p.link.is_some());
            return;
        };
        let p = &mut self.peers[ix];
        p.asked = Some(now);
        p.out.ask = core::mem::take(&mut p.missed);
        let untold = core::mem::take(&mut p.untold);
        self.touch(Entity::Peer(ix));
        if untold {
            self.tell_all(ix);
        }
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
        let mut at = self.peers[peer].routes.front();
        while let Some(route) = at {
            at = self.peers[peer].routes.next(&self.routes, route);
            if self.routes[route].told.is_some() {
                self.routes[route].out.invite = true;
                self.refresh_route(route);
            }
        }
    }

    /// A north peer is also below this node: what it announced has come up to here, and would go round for ever if paths
    /// were not looked at. Found as soon as a service is announced through the ring.
    pub(super) fn note_cycle(&mut self, route: Ix) {
        let (service, peer) = (self.routes[route].service, self.routes[route].peer);
        let p = &self.peers[peer];
        let Some(node) = p.node.filter(|_| p.dialled && !p.cycle) else {
            return;
        };
        let mut at = self.services[service].routes.front();
        while let Some(other) = at {
            at = self.services[service].routes.next(&self.routes, other);
            let r = &self.routes[other];
            if !self.peers[r.peer].dialled && r.path.contains(&node) {
                let p = &mut self.peers[peer];
                p.cycle = true;
                p.out.cycle = true;
                self.touch(Entity::Peer(peer));
                return;
            }
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

    /// What the peer of this route is to be told now; `None` if there is nothing that it can reach through here.
    pub(super) fn announcement(&self, route: Ix) -> Option<Announcement> {
        let (service, peer) = (self.routes[route].service, self.routes[route].peer);
        if self.draining || !self.routes[route].exports {
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
        let room = free + self.routes[route].reserved as usize;
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

    /// A mark of an announcement: two with the same mark say the same.
    pub(super) fn announcement_mark(&self, a: &Announcement) -> u64 {
        let mut words = [0; HOPS + 1];
        words[0] = u64::from(a.window);
        for (word, node) in words[1..].iter_mut().zip(a.path.iter()) {
            *word = node.0;
        }
        hash_words(self.seed(), &words)
    }

    /// What can be reached of this service has changed: peers may have to be told.
    pub(super) fn routes_changed(&mut self, service: Ix) {
        let mut cursor = None;
        while let Some(peer) = self.peers.next_live(cursor) {
            cursor = Some(peer);
            if self.is_up(peer) {
                self.tell_of(service, peer);
            }
        }
    }

    /// The peer is to be told of everything that is reached here.
    pub(super) fn tell_all(&mut self, peer: Ix) {
        let mut cursor = None;
        while let Some(s) = self.services.next_live(cursor) {
            cursor = Some(s);
            if !self.services[s].consumers.is_empty() || !self.services[s].routes.is_empty() {
                self.tell_of(s, peer);
            }
        }
    }

    fn tell_of(&mut self, service: Ix, peer: Ix) {
        if let Some(route) = self.route(service, peer) {
            self.refresh_route(route);
        } else {
            self.peers[peer].untold = true;
            self.missed = true;
        }
    }

    pub(super) fn refresh_route(&mut self, route: Ix) {
        self.routes[route].out.refresh = true;
        self.touch(Entity::Route(route));
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
        let r = &mut self.routes[route];
        r.floor = None;
        let changed = r.window != Some(window) || r.path != *path;
        r.window = Some(window);
        r.path = *path;
        r.room = room;
        if changed {
            self.routes_changed(service);
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
            self.refresh_route(route);
        }
    }

    /// Nothing can be placed over this route any more; what was placed waits again.
    pub(super) fn route_lost(&mut self, route: Ix) {
        let r = &mut self.routes[route];
        let known = r.window.take().is_some();
        r.floor = None;
        r.room = 0;
        r.path = Path::new();
        let service = r.service;
        if r.placed > 0 {
            self.lose_copies_at(route);
        }
        if known {
            self.routes_changed(service);
        }
    }

    /// The peer of this route can't reach the service through here any more: its offers are not kept.
    pub(super) fn forget_offers_of(&mut self, route: Ix) {
        let (peer, service) = (self.routes[route].peer, self.routes[route].service);
        let mut at = self.peers[peer].reservations.front();
        while let Some(ix) = at {
            at = self.peers[peer].reservations.next(&self.reservations, ix);
            if self.reservations[ix].route == route {
                self.drop_reservation(ix);
            }
        }
        if self.services.get(service).is_some() {
            self.fill(service);
        }
    }
}
