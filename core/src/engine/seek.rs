//! Looking for the holder of an attempt when the way to it is broken.
//!
//! The holder's node says what it holds along the way that the offer came by (`keep`), which is no use if a node on it is
//! gone for good. So the origin asks along its other routes of the service, each node on them asks on by the same
//! rules that offers obey, and the holder's node answers along the path by which it was found: it says all that it holds
//! of that origin, and gives back what was asked for if it does not hold it.
//!
//! Nobody asks for the same node again at once, and nobody passes on more than so many askings of others in a second, all
//! peers together: a node that lies can delay what others look for, and make them send a bounded number of frames (P11).
//! Only an asking that bears a true grant moves anything (P12).

use super::Core;
use super::slots::{Delivery, Source, Stage};
use super::tables::Entity;
use crate::data::slab::Ix;
use crate::id::{GrantToken, NodeId};
use crate::name::Name;
use crate::output::Output;
use crate::time::{Duration, Instant};
use crate::wire::{Frame, HOPS, Path};

/// Next hops that are asked at a time.
const FAN: usize = 8;
/// The same node is looked for by one origin this often.
const APART: Duration = Duration::from_secs(1);
/// When one comes while another waits to be sent.
const SOON: Duration = Duration::from_millis(5);
/// One asking is passed on in this time on the average, and in a burst as many as fit into that one.
const EACH: Duration = Duration::from_millis(2);
const BURST: Duration = Duration::from_millis(64);

/// What is being asked, and what was lately.
#[derive(Debug, Default)]
pub(super) struct Seeking {
    /// What the peers that are marked are to be sent.
    now: Option<Seek>,
    /// How many are marked.
    marked: u16,
    /// Who looked for whom, and when; the last few.
    lately: [Option<(NodeId, NodeId, Instant)>; 2],
    /// When the askings so far would be over if each took [`EACH`] (the generic cell rate algorithm, ITU-T I.371).
    over: Instant,
}

#[derive(Clone, Debug)]
struct Seek {
    token: GrantToken,
    service: Name,
    /// Nodes before this one.
    path: Path,
}

impl Core<'_> {
    /// The message's holder is looked for now, and again until its lease is over.
    pub(super) fn seek_holder(&mut self, ix: Ix) {
        let m = &self.messages[ix];
        let other = self
            .seeking
            .now
            .as_ref()
            .is_some_and(|seek| seek.token.node != m.holder_node);
        // Another node is asked for at this moment, and that has not been sent yet.
        let busy = self.seeking.marked > 0 && other;
        let again = self.now + if busy { SOON } else { self.config.timing.seek };
        let m = &mut self.messages[ix];
        m.wake = Some(m.lease_until.min(again));
        let service = self.services[self.granted_service(ix)].name.clone();
        self.time_message(ix);
        if busy {
            return;
        }
        let token = self.token_of(ix);
        self.seek(Seek {
            token,
            service,
            path: Path::new(),
        });
    }

    fn seek(&mut self, seek: Seek) {
        let origin = seek.path.first().copied().unwrap_or(self.config.node);
        if seek.path.len() + 1 >= HOPS || !self.may_seek(origin, seek.token.node) {
            return;
        }
        let from = seek.path.last().and_then(|&node| self.peer_of_node(node));
        // A direct peer is asked also if it offers nothing just now: it may hold an answer on its disk.
        let direct = self.peer_of_node(seek.token.node);
        let asked = if let Some(peer) = direct.filter(|&peer| self.is_up(peer) && self.may_ask(peer, from)) {
            self.mark_seek(peer);
            1
        } else {
            match self.ask_along_routes(&seek, from) {
                // Nobody offers the service any more; nodes further on may still know the holder's.
                0 if from.is_none() => self.ask_all(),
                asked => asked,
            }
        };
        self.seeking.now = (asked > 0).then_some(seek);
    }

    fn ask_along_routes(&mut self, seek: &Seek, from: Option<Ix>) -> usize {
        let Some(service) = self.find_service(&seek.service) else {
            return 0;
        };
        let mut asked = 0;
        let mut at = self.services[service].routes.front();
        while let Some(route) = at.filter(|_| asked < FAN) {
            at = self.services[service].routes.next(&self.routes, route);
            let r = &self.routes[route];
            let (peer, known) = (r.peer, r.window.is_some());
            if known && self.may_ask(peer, from) && !r.path.iter().any(|node| seek.path.contains(node)) {
                self.mark_seek(peer);
                asked += 1;
            }
        }
        asked
    }

    fn ask_all(&mut self) -> usize {
        let mut asked = 0;
        let mut cursor = None;
        while let Some(peer) = self.peers.next_live(cursor).filter(|_| asked < FAN) {
            cursor = Some(peer);
            if self.is_up(peer) {
                self.mark_seek(peer);
                asked += 1;
            }
        }
        asked
    }

    fn mark_seek(&mut self, peer: Ix) {
        if !core::mem::replace(&mut self.peers[peer].out.seek, true) {
            self.seeking.marked += 1;
        }
        self.touch(Entity::Peer(peer));
    }

    /// The peer is not to be sent what was to be sent to it.
    pub(super) fn unmark_seek(&mut self, peer: Ix) {
        if core::mem::take(&mut self.peers[peer].out.seek) {
            self.seeking.marked -= 1;
        }
    }

    /// Whether an asking of that peer, or of this node, may go to this peer: as offers may.
    fn may_ask(&self, to: Ix, from: Option<Ix>) -> bool {
        let Some(from) = from else { return true };
        let (to_peer, from_peer) = (&self.peers[to], &self.peers[from]);
        to != from && (!to_peer.dialled || (!from_peer.dialled && to_peer.redistribute))
    }

    /// Whether that asking is not one too much; then it counts.
    fn may_seek(&mut self, origin: NodeId, node: NodeId) -> bool {
        let now = self.now;
        let s = &mut self.seeking;
        let lately = s.lately.iter().flatten();
        if lately
            .copied()
            .any(|(o, n, at)| (o, n) == (origin, node) && now.since(at) < APART)
        {
            return false;
        }
        // What peers ask must not keep this node from asking.
        if origin != self.config.node {
            if s.over > now + BURST {
                return false;
            }
            s.over = s.over.max(now) + EACH;
        }
        s.lately.rotate_right(1);
        s.lately[0] = Some((origin, node, now));
        true
    }

    /// What a marked peer is asked; the newest asking, if another came between.
    pub(super) fn emit_seek(&mut self, peer: Ix, buffer: &mut [u8]) -> Option<Output> {
        let Seek {
            token,
            service,
            mut path,
        } = self.seeking.now.clone()?;
        let fits = path.push(self.config.node);
        let frame = Frame::Seek { token, service, path };
        if fits {
            self.send(peer, &frame, buffer)
        } else {
            None
        }
    }

    /// A peer, or a node behind it, looks for the holder of an attempt.
    pub(super) fn sought(&mut self, peer: Ix, token: &GrantToken, name: &Name, path: &Path) {
        let origin = token.message.node;
        // P12: it comes from the origin by the peer that brings it, and has not been here.
        let right = path.first() == Some(&origin) && path.last().copied() == self.peers[peer].node;
        if !right || path.contains(&self.config.node) {
            return;
        }
        if token.node == self.config.node {
            return self.found(peer, token, path);
        }
        self.seek(Seek {
            token: *token,
            service: name.clone(),
            path: *path,
        });
    }

    /// This node is the one that is looked for: what its consumers hold of that origin goes by this path from now on.
    fn found(&mut self, peer: Ix, token: &GrantToken, path: &Path) {
        let held = self.find_delivery(token.attempt());
        let Some(known) = held.filter(|&d| self.deliveries[d].token == *token) else {
            // A node that was just started waits for what its workers say.
            if held.is_none() && self.started_at + self.config.timing.recovery <= self.now {
                self.give_back_unheld(peer, token, path);
            }
            return;
        };
        match (self.deliveries[known].stage, self.deliveries[known].source) {
            (Stage::Claiming | Stage::Fetching | Stage::Over, _) => return,
            // Asked and answered: what else is lost is asked for by its own grants.
            (_, Source::Peer(way)) if way == peer => return,
            // The origin knows before this node that the way is broken.
            (_, Source::Peer(way)) if way != peer => self.leave_peer(known),
            _ => {}
        }
        let origin = token.message.node;
        let mut cursor = None;
        while let Some(d) = self.deliveries.next_live(cursor) {
            cursor = Some(d);
            let slot = &self.deliveries[d];
            let lost = slot.source == Source::Absent && slot.token.message.node == origin;
            if !lost || slot.stage == Stage::Over {
                continue;
            }
            self.deliveries[d].path = *path;
            // As if a session with that peer had just begun.
            self.find_way(d);
            if self.deliveries[d].stage == Stage::Answering {
                self.send_or_keep(d);
            }
        }
    }

    /// Says that an attempt is not held here, as if a consumer had it and released it: so the release finds its way.
    fn give_back_unheld(&mut self, peer: Ix, token: &GrantToken, path: &Path) {
        if self.deliveries.is_full() {
            return;
        }
        let slot = Delivery {
            stage: Stage::Over,
            path: *path,
            ..Self::blank_delivery(*token, Source::Peer(peer), self.config.lease)
        };
        if let Some(d) = self.insert_delivery(slot, None) {
            self.say_holding(peer, d);
        }
    }
}
