//! Links and sessions: hello, resynchronisation, keep-alive, and what happens when a session ends.
//!
//! A session begins when both hellos have crossed on one link and ends with that link. Nothing is resumed by sequence
//! number: at a session's begin each side says anew what it offers, what it holds and what it has answered, and
//! forgets what the other had placed here before. That is at most a window of offers for each service, so
//! it costs less than keeping sent frames for the case that a link comes back in time.

use super::answer_far::PeerAnswer;
use super::claim::Claim;
use super::hold::{Granted, Offered};
use super::slots::{Holder, Keeping, Peer, PeerOut, Source, Stage};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::index::{Seed, hash_bytes, hash_words};
use crate::data::list::{List, ListLinks};
use crate::data::slab::{Ix, Link};
use crate::input::{Body, Kept, LinkId, Policy};
use crate::output::{Bound, Fault, Misuse, Notice, Refused};
use crate::wire::{Frame, Hello, VERSION};

impl Core<'_> {
    fn link_hash(seed: Seed, link: LinkId) -> u64 {
        hash_words(seed, &[u64::from(link.0)])
    }

    pub(super) fn find_peer(&self, name: &str) -> Link {
        let same = |ix: Ix| self.peers[ix].name.as_str() == name;
        self.peer_index
            .find(hash_bytes(self.seed(), name.as_bytes()), same)
    }

    /// The peer whose session runs over this link.
    pub(super) fn find_link(&self, link: LinkId) -> Link {
        let same = |ix: Ix| self.peers[ix].link == Some(link);
        self.link_index.find(Self::link_hash(self.seed(), link), same)
    }

    /// The peer whose hello this link waits for. Such links are few and short-lived.
    fn find_greeting(&self, link: LinkId) -> Link {
        self.peers
            .iter()
            .find(|(_, peer)| peer.greeting == Some(link))
            .map(|(ix, _)| ix)
    }

    fn peer(&mut self, name: &str) -> Result<Ix, Refused> {
        let name = Self::name(name)?;
        if let Some(ix) = self.find_peer(&name) {
            return Ok(ix);
        }
        if self.peers.is_full() {
            self.forget_a_peer();
        }
        let slot = Peer {
            name: name.clone(),
            node: None,
            boot: None,
            their_generation: 0,
            our_generation: 0,
            session: 0,
            link: None,
            greeting: None,
            dialled: false,
            redistribute: true,
            accept_from_south: true,
            rules: List::default(),
            heard: self.now,
            greeted: self.now,
            sent: self.now,
            unsaid: 0,
            missed: false,
            cycle: false,
            asked: None,
            refreshed: None,
            routes: List::default(),
            reservations: List::default(),
            deliveries: List::default(),
            granted: List::default(),
            starved: ListLinks::default(),
            out: PeerOut::default(),
        };
        let ix = self.peers.insert(slot).map_err(|_| Refused::Full(Bound::Peers))?;
        let (seed, peers) = (self.seed(), &self.peers);
        self.peer_index
            .insert(hash_bytes(seed, name.as_bytes()), ix, |at| {
                hash_bytes(seed, peers[at].name.as_bytes())
            });
        Ok(ix)
    }

    /// A full table forgets a peer that is not linked and that nothing refers to.
    fn forget_a_peer(&mut self) {
        let idle = |p: &Peer| {
            p.link.is_none()
                && p.greeting.is_none()
                && p.routes.is_empty()
                && p.deliveries.is_empty()
                && p.granted.is_empty()
        };
        let Some(ix) = self.peers.iter().find(|(_, peer)| idle(peer)).map(|(ix, _)| ix) else {
            return;
        };
        // A settled message may still name it as its holder; it has been told, or never will be.
        let mut cursor = None;
        while let Some(m) = self.messages.next_live(cursor) {
            cursor = Some(m);
            let m = &mut self.messages[m];
            if m.holder == Holder::Peer(ix) {
                m.holder = Holder::None;
                m.out.tell = false;
            } else if m.holder == Holder::Away(Some(ix)) {
                m.holder = Holder::Away(None);
            }
        }
        let (seed, peers) = (self.seed(), &self.peers);
        let hash = hash_bytes(seed, peers[ix].name.as_bytes());
        self.peer_index
            .remove(hash, ix, |at| hash_bytes(seed, peers[at].name.as_bytes()));
        self.set_timer(Entity::Peer(ix), None);
        self.drop_rules(ix);
        self.peers.remove(ix);
    }

    pub(super) fn link_up(
        &mut self,
        link: LinkId,
        name: &str,
        dialled: bool,
        policy: &Policy<'_>,
    ) -> Result<(), Refused> {
        if self.find_link(link).is_some() || self.find_greeting(link).is_some() {
            return Err(Refused::Misuse(Misuse::Link));
        }
        self.check_policy(self.find_peer(name), policy)?;
        let ix = self.peer(name)?;
        if self.is_up(ix) && self.peers[ix].dialled != dialled {
            // A ring of two. The first link stays: two that take turns would serve nobody.
            self.counters.peer_faults += 1;
            self.say(Pending::CloseLink {
                link,
                fault: Fault::BothDial,
            });
            return Ok(());
        }
        let p = &mut self.peers[ix];
        let old = p.greeting.replace(link);
        p.dialled = dialled;
        p.greeted = self.now;
        p.our_generation += 1;
        p.out.hello = true;
        if let Some(link) = old {
            self.say(Pending::CloseLink {
                link,
                fault: Fault::Superseded,
            });
        }
        self.set_policy(ix, policy);
        self.time_peer(ix);
        self.touch(Entity::Peer(ix));
        Ok(())
    }

    pub(super) fn link_down(&mut self, link: LinkId) {
        if let Some(ix) = self.find_link(link) {
            self.session_down(ix);
            self.time_peer(ix);
        } else if let Some(ix) = self.find_greeting(link) {
            self.peers[ix].greeting = None;
            self.peers[ix].out.hello = false;
            self.time_peer(ix);
        }
    }

    /// This node closes the link; the caller's `LinkDown` for it later finds nothing.
    fn close(&mut self, link: LinkId, fault: Fault) {
        self.counters.peer_faults += 1;
        self.say(Pending::CloseLink { link, fault });
        self.link_down(link);
    }

    pub(super) fn frame(&mut self, link: LinkId, bytes: &[u8], body: Option<Body>) -> Result<Kept, Refused> {
        let Some(frame) = Frame::decode(bytes) else {
            if self.find_link(link).is_some() || self.find_greeting(link).is_some() {
                self.close(link, Fault::Malformed);
            }
            return Ok(Kept::Nothing);
        };
        self.counters.frames_in += 1;
        if let Some(peer) = self.find_link(link) {
            self.peers[peer].heard = self.now;
            Ok(self.session_frame(peer, link, frame, body))
        } else if let Some(peer) = self.find_greeting(link) {
            match frame {
                Frame::Hello(hello) => self.hello(peer, link, &hello),
                _ => self.close(link, Fault::Order),
            }
            Ok(Kept::Nothing)
        } else {
            // The last frames of a link that was closed here.
            Ok(Kept::Nothing)
        }
    }

    fn session_frame(&mut self, peer: Ix, link: LinkId, frame: Frame, body: Option<Body>) -> Kept {
        match frame {
            Frame::Hello(_) => self.close(link, Fault::Order),
            Frame::Ping => {
                self.peers[peer].out.pong = true;
                self.touch(Entity::Peer(peer));
            }
            Frame::Pong => {}
            Frame::Announce {
                service,
                window,
                room,
                path,
            } => self.announced(peer, &service, window, room, &path),
            Frame::Withdraw { service } => self.withdrawn(peer, &service),
            Frame::Offer {
                offer,
                service,
                priority,
                age,
                remaining,
                path,
                copies,
                sure,
            } => {
                let offer = Offered {
                    offer,
                    priority,
                    age,
                    remaining,
                    path,
                    copies,
                    sure,
                };
                self.offered(peer, &service, &offer);
            }
            Frame::NoRoom { offer } => self.room_denied(peer, offer),
            Frame::Retract { offer } => self.retracted(peer, offer),
            Frame::Decline { offer, floor } => self.declined(peer, offer, floor),
            Frame::Claim {
                offer,
                node,
                consumer,
                lease,
            } => {
                let claim = Claim {
                    offer,
                    node,
                    consumer,
                    lease: lease.min(self.config.timing.lease_max),
                };
                self.claimed(peer, &claim);
            }
            Frame::Gone {
                message,
                node,
                consumer,
            } => self.gone(peer, message, node, consumer),
            Frame::NoPath { token } => self.no_path(peer, &token),
            Frame::Settled { token, taken } => self.told(peer, &token, taken),
            Frame::Holding { token, lease, path } => {
                let lease = lease.min(self.config.timing.lease_max);
                if token.message.node == self.config.node {
                    self.holding(peer, &token, lease);
                } else {
                    self.holding_passes(peer, token, lease, &path);
                }
            }
            Frame::Reverse { token } if token.message.node == self.config.node => self.reverse(peer, &token),
            Frame::Reverse { token } => self.reverse_passes(peer, &token),
            Frame::HoldingEnd => self.holding_ended(peer),
            Frame::Seek { token, service, path } => self.sought(peer, &token, &service, &path),
            Frame::Refresh => self.refresh_asked(peer),
            Frame::Grant {
                token,
                priority,
                remaining,
                size,
                send_only,
                inline,
                direct,
            } => {
                if inline && size != body.map_or(0, |body| body.size) {
                    self.close(link, Fault::Malformed);
                    return Kept::Nothing;
                }
                let grant = Granted {
                    token,
                    priority,
                    remaining,
                    size,
                    send_only,
                    inline,
                    direct: direct && !inline,
                };
                return self.granted(peer, &grant, body);
            }
            Frame::Answer {
                token,
                verb,
                size,
                inline,
                direct,
            } => {
                let answer = PeerAnswer {
                    token,
                    verb,
                    size,
                    inline,
                    direct: direct && !inline,
                    body,
                };
                if token.message.node != self.config.node {
                    return self.answer_passes(peer, &answer);
                }
                return self.peer_answered(peer, &answer).unwrap_or_else(|()| {
                    self.close(link, Fault::Malformed);
                    Kept::Nothing
                });
            }
        }
        Kept::Nothing
    }

    fn hello(&mut self, peer: Ix, link: LinkId, hello: &Hello) {
        if let Some(fault) = self.wrong_hello(peer, hello) {
            return self.close(link, fault);
        }
        if let Some(old) = self.peers[peer].link {
            self.session_down(peer);
            self.say(Pending::CloseLink {
                link: old,
                fault: Fault::Superseded,
            });
        }
        let (seed, p) = (self.seed(), &mut self.peers[peer]);
        let same_life = p.node == Some(hello.node) && p.boot == Some(hello.boot);
        p.node = Some(hello.node);
        p.boot = Some(hello.boot);
        p.their_generation = hello.generation;
        p.greeting = None;
        p.link = Some(link);
        let unsaid = core::mem::take(&mut p.out.hello).then_some(p.our_generation);
        p.session += 1;
        p.missed = false;
        p.cycle = false;
        p.asked = None;
        p.refreshed = None;
        p.heard = self.now;
        p.sent = self.now;
        let peers = &self.peers;
        self.link_index.insert(Self::link_hash(seed, link), peer, |at| {
            peers[at].link.map_or(0, |link| Self::link_hash(seed, link))
        });
        if let Some(generation) = unsaid {
            // The peer was quicker than the poll: this node's hello still goes before anything else.
            self.say(Pending::Hello { link, generation });
        }
        self.say(Pending::Notice(Notice::SessionUp {
            link,
            node: hello.node,
        }));
        self.session_up(peer, same_life);
    }

    fn wrong_hello(&self, peer: Ix, hello: &Hello) -> Option<Fault> {
        let p = &self.peers[peer];
        let up = p.link.is_some();
        // P12: an identity that this node knows under another name, linked or not, is not this peer's to have.
        let elsewhere = |(ix, other): (Ix, &Peer)| ix != peer && other.node == Some(hello.node);
        if hello.version != VERSION {
            Some(Fault::Version)
        } else if hello.mesh != self.config.mesh {
            Some(Fault::Mesh)
        } else if hello.name != p.name {
            Some(Fault::Name)
        } else if hello.node == self.config.node || self.peers.iter().any(elsewhere) {
            Some(Fault::Twin)
        } else if up && p.node != Some(hello.node) {
            Some(Fault::NameTaken)
        } else if up && p.boot == Some(hello.boot) && hello.generation <= p.their_generation {
            Some(Fault::Superseded)
        } else {
            None
        }
    }

    /// Says anew all that the peer has to know.
    fn session_up(&mut self, peer: Ix, same_life: bool) {
        self.tell_all(peer);
        self.note_cycles_of(peer);
        self.find_absent(peer);
        let mut at = self.peers[peer].deliveries.front();
        while let Some(d) = at {
            at = self.peers[peer].deliveries.next(&self.deliveries, d);
            match self.deliveries[d].stage {
                Stage::Held | Stage::Ready => self.say_holding(peer, d),
                Stage::Answering => {
                    self.say_holding(peer, d);
                    self.send_or_keep(d);
                }
                Stage::Claiming | Stage::Fetching | Stage::Over => {}
            }
        }
        if !same_life {
            // A restarted node says what its workers tell it, which takes a while.
            let until = self.now + self.config.timing.recovery;
            let session = self.peers[peer].session;
            let mut at = self.away.front();
            while let Some(ix) = at {
                at = self.away.next(&self.messages, ix);
                let m = &mut self.messages[ix];
                if m.holder == Holder::Away(Some(peer)) && Some(m.holder_node) == self.peers[peer].node {
                    m.lease_until = m.lease_until.min(until);
                    m.wake = m.wake.map(|wake| wake.min(until));
                    m.session = session;
                    self.time_message(ix);
                }
            }
        }
        self.peers[peer].out.holding_end = true;
        self.touch(Entity::Peer(peer));
        self.time_peer(peer);
    }

    /// Deliveries that wait for a way to their origin which begins at this peer.
    fn find_absent(&mut self, peer: Ix) {
        let Some(node) = self.peers[peer].node else { return };
        let mut cursor = None;
        while let Some(d) = self.deliveries.next_live(cursor) {
            cursor = Some(d);
            let slot = &self.deliveries[d];
            if slot.source == Source::Absent && slot.path.last() == Some(&node) && slot.stage != Stage::Over {
                self.deliveries[d].source = Source::Peer(peer);
                self.peers[peer].deliveries.push_back(&mut self.deliveries, d);
            }
        }
    }

    pub(super) fn say_holding(&mut self, peer: Ix, d: Ix) {
        if !self.deliveries[d].out.say {
            self.deliveries[d].out.say = true;
            self.peers[peer].unsaid += 1;
        }
        self.touch(Entity::Delivery(d));
    }

    /// One holding less to be said; after the last one comes the end mark.
    pub(super) fn said(&mut self, peer: Ix) {
        self.peers[peer].unsaid -= 1;
        if self.peers[peer].unsaid == 0 {
            self.touch(Entity::Peer(peer));
        }
    }

    /// What was granted to the peer in an earlier session and not asserted in this one is free again.
    fn holding_ended(&mut self, peer: Ix) {
        let session = self.peers[peer].session;
        let mut at = self.away.front();
        while let Some(ix) = at {
            at = self.away.next(&self.messages, ix);
            let m = &self.messages[ix];
            let own = m.holder == Holder::Away(Some(peer)) && Some(m.holder_node) == self.peers[peer].node;
            if own && self.messages[ix].session != session {
                self.unanswered(ix);
            }
        }
    }

    /// The session is over. What the peer had placed here is forgotten, what was placed there waits again; what
    /// its consumers or ours hold stays held.
    fn session_down(&mut self, peer: Ix) {
        let Some(link) = self.peers[peer].link else { return };
        let (seed, peers) = (self.seed(), &self.peers);
        self.link_index.remove(Self::link_hash(seed, link), peer, |at| {
            peers[at].link.map_or(0, |link| Self::link_hash(seed, link))
        });
        let p = &mut self.peers[peer];
        p.link = None;
        p.unsaid = 0;
        p.out.holding_end = false;
        p.out.ping = false;
        p.out.pong = false;
        p.out.ask = false;
        p.out.cycle = false;
        self.unmark_seek(peer);
        self.say(Pending::Notice(Notice::SessionDown { link }));
        self.forget_told(peer);
        let mut at = self.peers[peer].routes.front();
        while let Some(route) = at {
            at = self.peers[peer].routes.next(&self.routes, route);
            self.route_lost(route);
        }
        // Freed reservations invite nobody until all of them are gone: this peer is not among the starved.
        while let Some(ix) = self.peers[peer].reservations.front() {
            self.drop_reservation(ix);
        }
        self.relays_down(peer);
        let mut at = self.peers[peer].deliveries.front();
        while let Some(d) = at {
            at = self.peers[peer].deliveries.next(&self.deliveries, d);
            let slot = &mut self.deliveries[d];
            slot.out.say = false;
            slot.out.extend = false;
            slot.out.release = false;
            let keeping = slot.keeping;
            match slot.stage {
                Stage::Claiming | Stage::Fetching => self.over(d),
                Stage::Over => self.touch(Entity::Delivery(d)),
                Stage::Ready | Stage::Held | Stage::Answering => {
                    self.leave_peer(d);
                    if self.deliveries[d].stage == Stage::Answering && keeping == Keeping::No {
                        self.keep(d);
                    }
                    self.touch(Entity::Delivery(d));
                }
            }
        }
        // Other ways to what is held behind this peer are looked for when its routes are gone.
        while let Some(ix) = self.peers[peer].granted.front() {
            self.hold_away(ix);
        }
        // What waits again may go elsewhere.
        while let Some(route) = self.peers[peer].routes.front() {
            let service = self.routes[route].service;
            self.drop_route(route);
            if self.services.get(service).is_some() {
                self.match_service(service);
                self.fill(service);
            }
        }
    }

    /// Keep-alive of an established link, silence of any.
    pub(super) fn time_peer(&mut self, ix: Ix) {
        let (p, timing) = (&self.peers[ix], &self.config.timing);
        let silent = p
            .link
            .map(|_| (p.heard + timing.silence).min(p.sent + timing.keepalive));
        let greeting = p.greeting.map(|_| p.greeted + timing.silence);
        let at = match (silent, greeting) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.set_timer(Entity::Peer(ix), at);
    }

    pub(super) fn peer_timeout(&mut self, ix: Ix) {
        let silence = self.config.timing.silence;
        let p = &self.peers[ix];
        if let Some(link) = p.greeting
            && p.greeted + silence <= self.now
        {
            self.close(link, Fault::Silent);
        }
        let p = &self.peers[ix];
        if let Some(link) = p.link {
            if p.heard + silence <= self.now {
                self.close(link, Fault::Silent);
            } else if p.sent + self.config.timing.keepalive <= self.now {
                let p = &mut self.peers[ix];
                p.sent = self.now;
                p.out.ping = true;
                self.touch(Entity::Peer(ix));
                self.invite_peer(ix);
            }
        }
        self.room_for_routes();
        self.time_peer(ix);
    }
}
