//! Which peers a waiting message is offered to, and what comes back from them before a grant.

use super::origin::from_millis;
use super::slots::{COPIES, Copy, CopyState, Holder, Route, RouteOut, State};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::list::ListLinks;
use crate::data::slab::{Ix, Link};
use crate::data::tree::TreeNode;
use crate::id::{ConsumerKey, MessageId};
use crate::input::Outcome;
use crate::name::Name;
use crate::output::LostWhy;
use crate::time::Duration;

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
            window: None,
            floor: None,
            placed: 0,
            reserved: 0,
            told: false,
            out: RouteOut::default(),
            of_service: ListLinks::default(),
            of_peer: ListLinks::default(),
            starved: ListLinks::default(),
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
        if r.window.is_some() || r.told || r.placed > 0 || r.reserved > 0 || r.out != RouteOut::default() {
            return;
        }
        self.unstarve(ix);
        self.services[service].routes.remove(&mut self.routes, ix);
        self.peers[peer].routes.remove(&mut self.routes, ix);
        self.routes.remove(ix);
        self.drop_idle_service(service);
    }

    /// Places a waiting or offered message at as many peers as its copy budget allows, least loaded first.
    pub(super) fn place(&mut self, ix: Ix) {
        if self.draining {
            return;
        }
        while self.free_copy(ix).is_some() {
            let Some(route) = self.best_route(ix) else { break };
            self.put_copy(ix, route);
        }
        if self.messages[ix].state == State::Waiting && self.displace_for(ix) {
            self.place(ix);
        }
    }

    fn free_copy(&self, ix: Ix) -> Option<usize> {
        self.messages[ix].copies.iter().position(Option::is_none)
    }

    fn best_route(&self, ix: Ix) -> Link {
        let m = &self.messages[ix];
        let mut best: Option<(u32, Ix)> = None;
        let mut at = self.services[m.service].routes.front();
        while let Some(route) = at {
            let r = &self.routes[route];
            let used = m.copies.iter().flatten().any(|copy| copy.route == route);
            if !used && r.takes(m.priority) && best.is_none_or(|(placed, _)| r.placed < placed) {
                best = Some((r.placed, route));
            }
            at = self.services[m.service].routes.next(&self.routes, route);
        }
        best.map(|(_, route)| route)
    }

    /// If every window is full, a message that ranks before the last one offered takes its place (P5).
    fn displace_for(&mut self, ix: Ix) -> bool {
        let m = &self.messages[ix];
        let service = m.service;
        let Some(last) = self.services[service].offered.last(&self.messages) else {
            return false;
        };
        if self.free_copy(ix).is_none() || m.key() >= self.messages[last].key() {
            return false;
        }
        let frees = self.messages[last].copies.iter().flatten().any(|copy| {
            let r = &self.routes[copy.route];
            copy.state != CopyState::ToRetract && !r.has_window() && r.floor.is_none_or(|f| m.priority > f)
        });
        if frees {
            self.unplace_all(last);
            self.back_to_waiting(last);
        }
        frees
    }

    fn put_copy(&mut self, ix: Ix, route: Ix) {
        let Some(free) = self.free_copy(ix) else { return };
        let r = &mut self.routes[route];
        r.placed += 1;
        let peer = r.peer;
        let m = &mut self.messages[ix];
        m.copies[free] = Some(Copy {
            route,
            peer,
            state: CopyState::ToOffer,
        });
        m.out.copies = true;
        let service = m.service;
        if m.state == State::Waiting {
            self.services[service].waiting.remove(&mut self.messages, ix);
            self.set_state(ix, State::Offered);
            self.services[service].offered.insert(&mut self.messages, ix);
            let m = &mut self.messages[ix];
            m.wake = Some(self.now + from_millis(m.reoffer_ms));
            self.time_message(ix);
        }
        self.touch(Entity::Message(ix));
    }

    /// Withdraws all copies; the message stays in its tree.
    pub(super) fn unplace_all(&mut self, ix: Ix) {
        for at in 0..COPIES {
            let Some(copy) = self.messages[ix].copies[at] else {
                continue;
            };
            if copy.state == CopyState::ToRetract {
                continue;
            }
            self.routes[copy.route].placed -= 1;
            // An offer that was never sent needs no retract.
            let kept = (copy.state == CopyState::Placed).then_some(Copy {
                state: CopyState::ToRetract,
                ..copy
            });
            self.messages[ix].copies[at] = kept;
            self.messages[ix].out.copies = true;
        }
        self.touch(Entity::Message(ix));
    }

    /// An offered message without copies waits again.
    pub(super) fn back_to_waiting(&mut self, ix: Ix) {
        let service = self.messages[ix].service;
        self.services[service].offered.remove(&mut self.messages, ix);
        self.set_state(ix, State::Waiting);
        self.messages[ix].wake = None;
        self.services[service].waiting.insert(&mut self.messages, ix);
        self.time_message(ix);
    }

    /// The copy at this route is no more: declined, withdrawn, or its session ended. True if there was one.
    pub(super) fn lose_copy(&mut self, ix: Ix, route: Ix) -> bool {
        let here = |copy: &Option<Copy>| copy.is_some_and(|copy| copy.route == route);
        let Some(at) = self.messages[ix].copies.iter().position(here) else {
            return false;
        };
        let m = &mut self.messages[ix];
        if m.copies[at]
            .take()
            .is_some_and(|copy| copy.state != CopyState::ToRetract)
        {
            self.routes[route].placed -= 1;
        }
        let m = &self.messages[ix];
        let live = m
            .copies
            .iter()
            .flatten()
            .any(|copy| copy.state != CopyState::ToRetract);
        if m.state == State::Offered && !live {
            self.back_to_waiting(ix);
        }
        true
    }

    /// Places waiting messages, best first, while some route has room.
    pub(super) fn fill(&mut self, service: Ix) {
        while let Some(ix) = self.services[service].waiting.first() {
            if !self.services[service].hungry.is_empty() || self.services[service].routes.is_empty() {
                return;
            }
            self.place(ix);
            if self.messages[ix].state == State::Waiting {
                return;
            }
        }
    }

    /// The peer has consumers of the service, or room again.
    pub(super) fn announced(&mut self, peer: Ix, name: &Name, window: u16) {
        let Ok(service) = self.service(name) else {
            self.counters.routes_full += 1;
            return;
        };
        let Some(route) = self.route(service, peer) else {
            self.drop_idle_service(service);
            return;
        };
        let r = &mut self.routes[route];
        r.window = Some(window);
        r.floor = None;
        self.fill(service);
    }

    /// The peer has no consumers of the service any more.
    pub(super) fn withdrawn(&mut self, peer: Ix, name: &Name) {
        if let Some(service) = self.find_service(name)
            && let Some(route) = self.find_route(service, peer)
        {
            self.route_lost(route);
            self.fill(service);
            self.drop_idle_route(route);
        }
    }

    /// Nothing can be placed over this route any more; what was placed waits again.
    pub(super) fn route_lost(&mut self, route: Ix) {
        let r = &mut self.routes[route];
        r.window = None;
        r.floor = None;
        let service = r.service;
        if r.placed > 0 {
            let mut at = self.services[service].offered.first();
            while let Some(ix) = at {
                at = self.services[service].offered.next(&self.messages, ix);
                self.lose_copy(ix, route);
            }
        }
        debug_assert_eq!(
            self.routes[route].placed, 0,
            "a placed copy is an offered message's"
        );
    }

    /// The peer could not keep an offer.
    pub(super) fn declined(&mut self, peer: Ix, message: MessageId, floor: u8) {
        let Some(ix) = self.own(message) else { return };
        let service = self.messages[ix].service;
        let Some(route) = self.find_route(service, peer) else {
            return;
        };
        if self.routes[route].window.is_some() {
            self.routes[route].floor = Some(floor);
        }
        if self.lose_copy(ix, route) && matches!(self.messages[ix].state, State::Waiting | State::Offered) {
            self.place(ix);
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
        let full = self.free_copy(ix).is_none();
        if let Some(route) = self.best_route(ix) {
            if full {
                // The oldest copy makes room for a peer that has not been asked.
                let Some(oldest) = self.messages[ix].copies[0] else {
                    return;
                };
                self.retract_unsent(ix, oldest);
                self.messages[ix].copies.rotate_left(1);
            }
            self.put_copy(ix, route);
        } else {
            let m = &mut self.messages[ix];
            for copy in m.copies.iter_mut().flatten() {
                if copy.state == CopyState::Placed {
                    copy.state = CopyState::ToOffer;
                    m.out.copies = true;
                }
            }
        }
        let m = &mut self.messages[ix];
        m.wake = Some(self.now + from_millis(m.reoffer_ms));
        self.time_message(ix);
        self.touch(Entity::Message(ix));
    }

    /// Takes back one copy at once, through the queue of answers, so that its place is free for another.
    fn retract_unsent(&mut self, ix: Ix, copy: Copy) {
        if copy.state != CopyState::ToOffer {
            let message = self.message_id(self.messages[ix].sequence);
            self.say(Pending::Retract {
                peer: copy.peer,
                message,
            });
        }
        if copy.state != CopyState::ToRetract {
            self.routes[copy.route].placed -= 1;
        }
        self.messages[ix].copies[0] = None;
    }

    /// A peer has room for a message that was offered to it: the first claim wins.
    pub(super) fn claimed(&mut self, peer: Ix, message: MessageId, consumer: ConsumerKey, lease: Duration) {
        let gone = Pending::Gone {
            peer,
            message,
            consumer,
        };
        let Some(ix) = self.own(message) else {
            return self.say(gone);
        };
        let m = &self.messages[ix];
        match m.state {
            State::Offered if !self.draining => {
                // P12: claims are taken only from peers that were offered to.
                let offered = m
                    .copies
                    .iter()
                    .flatten()
                    .find(|copy| copy.state != CopyState::ToRetract && copy.peer == peer)
                    .map(|copy| copy.route);
                let Some(route) = offered else {
                    return self.say(gone);
                };
                if self.is_late(m.deadline) {
                    self.end(ix, Outcome::Expired, LostWhy::Deadline);
                    return self.say(gone);
                }
                let service = m.service;
                self.take_copy(ix, route);
                self.leave_state(ix);
                self.grant_to_peer(ix, peer, consumer, lease);
                self.fill(service);
            }
            State::Granted if m.holder == Holder::Peer(peer) && m.holder_key == consumer => {
                // A repeated claim gets the same grant.
                self.messages[ix].out.grant = true;
                self.touch(Entity::Message(ix));
            }
            _ => self.say(gone),
        }
    }

    /// The claimer's own copy has served; it needs no retract.
    fn take_copy(&mut self, ix: Ix, route: Ix) {
        for copy in &mut self.messages[ix].copies {
            if copy.is_some_and(|copy| copy.route == route && copy.state != CopyState::ToRetract) {
                *copy = None;
                self.routes[route].placed -= 1;
            }
        }
    }

    fn grant_to_peer(&mut self, ix: Ix, peer: Ix, consumer: ConsumerKey, lease: Duration) {
        let fence = self.next_fence(ix);
        self.hold_at_peer(ix, peer, consumer, lease);
        let m = &mut self.messages[ix];
        m.fence = fence;
        m.out.grant = true;
        self.counters.granted += 1;
    }

    /// After `leave_state`: a consumer of the peer has the message, by a grant or by its own word.
    pub(super) fn hold_at_peer(&mut self, ix: Ix, peer: Ix, consumer: ConsumerKey, lease: Duration) {
        self.set_state(ix, State::Granted);
        let (node, session) = (self.peers[peer].node, self.peers[peer].session);
        let until = self.now + lease + self.config.timing.margin;
        let m = &mut self.messages[ix];
        m.holder = Holder::Peer(peer);
        m.holder_node = node.unwrap_or_default();
        m.holder_key = consumer;
        m.lease_ms = u32::try_from(lease.as_millis()).unwrap_or(u32::MAX);
        m.session = session;
        m.wake = Some(until);
        self.peers[peer].granted.push_back(&mut self.messages, ix);
        self.time_message(ix);
        self.touch(Entity::Message(ix));
    }
}
