//! Messages that pass through this node between an origin and a consumer's node.
//!
//! A transit node keeps where a claimed message came from and went to, nothing more, and only while both sessions
//! last. If the way breaks, each side is told; the consumer's node then says again what it holds, along the nodes
//! that the offer came by, and every node on that way lets answers pass once more.

use super::answer::gives_back;
use super::claim::Claim;
use super::place::Offer;
use super::slots::{Passing, Relay, RelayOut};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::{Ix, Link};
use crate::id::{ConsumerKey, Fence, GrantToken, MessageId, NodeId, OfferId};
use crate::input::{Body, Kept, Part, Verb};
use crate::time::Duration;
use crate::wire::{Path, Taken};

impl Core<'_> {
    pub(super) fn find_relay(&self, message: MessageId) -> Link {
        let same = |ix: Ix| self.relays[ix].token.message == message;
        self.relay_index.find(Self::id_hash(self.seed(), message), same)
    }

    /// The relay of this attempt, if it is not over.
    pub(super) fn passing(&self, token: &GrantToken) -> Link {
        self.find_relay(token.message).filter(|&ix| {
            let r = &self.relays[ix];
            r.stage == Passing::Granted && r.token == *token
        })
    }

    fn insert_relay(&mut self, relay: Relay) -> Link {
        let hash = Self::id_hash(self.seed(), relay.token.message);
        let Ok(ix) = self.relays.insert(relay) else {
            self.counters.relays_full += 1;
            return None;
        };
        let (seed, relays) = (self.seed(), &self.relays);
        self.relay_index
            .insert(hash, ix, |at| Self::id_hash(seed, relays[at].token.message));
        self.time_relay(ix);
        self.touch(Entity::Relay(ix));
        Some(ix)
    }

    pub(super) fn free_relay(&mut self, ix: Ix) {
        let (seed, relays) = (self.seed(), &self.relays);
        let hash = Self::id_hash(seed, relays[ix].token.message);
        self.relay_index
            .remove(hash, ix, |at| Self::id_hash(seed, relays[at].token.message));
        self.set_timer(Entity::Relay(ix), None);
        let was_full = self.relays.is_full();
        self.relays.remove(ix);
        if was_full {
            // What could not pass for want of a relay can now.
            let mut cursor = None;
            while let Some(s) = self.services.next_live(cursor) {
                cursor = Some(s);
                self.fill(s);
                self.tell_room(s);
            }
        }
    }

    fn time_relay(&mut self, ix: Ix) {
        let r = &self.relays[ix];
        let at = r.deadline.map_or(r.wake, |deadline| deadline.min(r.wake));
        let at = (r.stage != Passing::Over).then_some(at);
        self.set_timer(Entity::Relay(ix), at);
    }

    /// Nothing more passes; the slot goes once what is pending is passed on.
    fn relay_over(&mut self, ix: Ix) {
        let r = &mut self.relays[ix];
        r.stage = Passing::Over;
        r.out.claim = false;
        r.out.fetch_payload = false;
        r.out.fetch_answer = false;
        r.out.grant = false;
        r.out.extend = false;
        r.out.answer = false;
        r.out.reverse = false;
        r.out.holding = false;
        r.out.free = r.body.is_some();
        self.time_relay(ix);
        self.touch(Entity::Relay(ix));
    }

    /// A way that is used stays known for two leases, and not less than the time that a claim may take.
    pub(super) fn relay_alive(&mut self, ix: Ix) {
        let (timing, now) = (&self.config.timing, self.now);
        let r = &mut self.relays[ix];
        r.wake = now + r.lease + r.lease + timing.margin + timing.claim;
        self.time_relay(ix);
        self.touch(Entity::Relay(ix));
    }

    fn blank_relay(&self, token: GrantToken, up: Ix, down: Ix, lease: Duration) -> Relay {
        Relay {
            token,
            up,
            down,
            stage: Passing::Claimed,
            deadline: None,
            wake: self.now + self.config.timing.claim,
            lease,
            path: Path::new(),
            direct: false,
            alternate: false,
            priority: 0,
            send_only: false,
            size: 0,
            body: None,
            moved: None,
            verb: None,
            taken: Taken::Done,
            out: RelayOut::default(),
        }
    }

    /// A node behind a next hop has room for a reservation: the claim goes on towards the origin.
    pub(super) fn claim_passes(&mut self, reservation: Ix, down: Ix, claim: &Claim) {
        let r = &self.reservations[reservation];
        let (up, priority, deadline) = (r.peer, r.priority, r.deadline);
        let OfferId { message, alternate } = claim.offer;
        if self.find_relay(message).is_some() || self.is_late(deadline) {
            return self.say(claim.gone(down));
        }
        let token = GrantToken {
            message,
            inserted: 0,
            fence: Fence::default(),
            node: claim.node,
            consumer: claim.consumer,
            mac: [0; 16],
        };
        let mut relay = self.blank_relay(token, up, down, claim.lease);
        relay.alternate = alternate;
        relay.priority = priority;
        relay.deadline = deadline;
        relay.out.claim = true;
        if self.insert_relay(relay).is_none() {
            return self.say(claim.gone(down));
        }
        self.end_reservation(reservation);
    }

    /// The claim that passed here and that this peer may answer.
    fn claim_of(&self, up: Ix, token: &GrantToken) -> Link {
        self.find_relay(token.message).filter(|&ix| {
            let r = &self.relays[ix];
            let same = (r.token.node, r.token.consumer) == (token.node, token.consumer);
            r.stage == Passing::Claimed && r.up == up && same
        })
    }

    /// A grant for a node behind this one. It may pass only where its claim did (P9).
    pub(super) fn grant_passes(
        &mut self,
        peer: Ix,
        grant: &super::hold::Granted,
        body: Option<Body>,
    ) -> Kept {
        let token = grant.token;
        let Some(ix) = self.claim_of(peer, &token) else {
            match self.passing(&token) {
                Some(ix) if self.relays[ix].up == peer => self.reversed_passes(ix, grant),
                Some(_) => {}
                // It ends here, and so does what it would have brought.
                None => self.say(Pending::Release {
                    peer,
                    token,
                    verb: Verb::Return,
                }),
            }
            return Kept::Nothing;
        };
        let deadline = grant.remaining.map(|left| self.now + left);
        let r = &mut self.relays[ix];
        r.token = token;
        r.stage = Passing::Granted;
        r.priority = grant.priority;
        r.send_only = grant.send_only;
        r.deadline = deadline;
        r.size = grant.size;
        r.body = body;
        r.direct = grant.direct;
        let here = grant.inline || grant.size == 0 || grant.direct;
        r.out.grant = here;
        r.out.fetch_payload = !here;
        self.relay_alive(ix);
        if body.is_some() { Kept::Body } else { Kept::Nothing }
    }

    /// A node behind this one could not have the payload of a grant straight: it is to come along this way.
    pub(super) fn reverse_passes(&mut self, peer: Ix, token: &GrantToken) {
        if let Some(ix) = self.passing(token)
            && self.relays[ix].down == peer
            && self.relays[ix].direct
        {
            self.relays[ix].out.reverse = true;
            self.relay_alive(ix);
        }
    }

    /// And so it does: the grant once more, without a way around.
    fn reversed_passes(&mut self, ix: Ix, grant: &super::hold::Granted) {
        let r = &mut self.relays[ix];
        if !r.direct
            || r.out.grant
            || r.verb.is_some()
            || grant.direct
            || grant.inline
            || grant.size != r.size
        {
            return;
        }
        r.direct = false;
        r.out.fetch_payload = true;
        if let Some(address) = r.body.take() {
            self.say(Pending::Free(address));
        }
        self.relay_alive(ix);
    }

    /// The claim came too late, as its origin or a node before it says.
    pub(super) fn gone_passes(&mut self, peer: Ix, message: MessageId, node: NodeId, consumer: ConsumerKey) {
        if let Some(ix) = self.find_relay(message) {
            let r = &mut self.relays[ix];
            let same = (r.token.node, r.token.consumer) == (node, consumer);
            if r.stage == Passing::Claimed && r.up == peer && same {
                r.out.gone = true;
                self.relay_over(ix);
            }
        }
    }

    /// A consumer behind this node answers.
    pub(super) fn answer_passes(&mut self, peer: Ix, answer: &super::answer_far::PeerAnswer) -> Kept {
        let token = answer.token;
        let Some(ix) = self.passing(&token).filter(|&ix| self.relays[ix].down == peer) else {
            if !gives_back(answer.verb) {
                self.say(Pending::NoPath { peer, token });
            }
            return Kept::Nothing;
        };
        match answer.verb {
            Verb::Extend => {
                self.relays[ix].out.extend = true;
                self.relay_alive(ix);
                Kept::Nothing
            }
            Verb::Release | Verb::Return => {
                self.relays[ix].out.release = true;
                self.relays[ix].out.unseen = answer.verb == Verb::Return;
                self.relay_over(ix);
                Kept::Nothing
            }
            Verb::Reply | Verb::Ack | Verb::Fail => self.result_passes(ix, answer),
        }
    }

    fn result_passes(&mut self, ix: Ix, answer: &super::answer_far::PeerAnswer) -> Kept {
        let (now, claim) = (self.now, self.config.timing.claim);
        let r = &mut self.relays[ix];
        let same = r.body.is_some() && (r.verb, r.size) == (Some(answer.verb), answer.size);
        let moves = r.moved.is_some_and(|at| now < at + claim);
        // Something is passing already; what is said twice is said once more later.
        if same && moves
            || r.out.fetch_answer
            || (r.out.answer && (answer.direct || !r.direct))
            || r.out.grant
            || (r.verb.is_some() && r.size > 0 && r.body.is_none() && !r.direct)
        {
            return Kept::Nothing;
        }
        let old = r.body.take();
        r.verb = Some(answer.verb);
        r.size = answer.size;
        r.body = answer.body;
        r.moved = None;
        r.direct = answer.direct;
        let here = answer.inline || answer.size == 0 || answer.direct;
        r.out.answer = here;
        r.out.fetch_answer = !here;
        if let Some(old) = old {
            self.say(Pending::Free(old));
        }
        self.relay_alive(ix);
        if answer.body.is_some() {
            Kept::Body
        } else {
            Kept::Nothing
        }
    }

    /// A large payload or answer has come, or begins to; it can go on. If it then breaks off, that is told without a
    /// body.
    pub(super) fn fetched_to_pass(&mut self, token: &GrantToken, part: Part, body: Option<Body>) -> Kept {
        let Some(ix) = self.passing(token) else {
            return Kept::Nothing;
        };
        let r = &mut self.relays[ix];
        let wanted = match part {
            Part::Payload => r.verb.is_none(),
            Part::Reply => r.verb.is_some(),
        };
        if !wanted || (r.body.is_some() && body.is_some()) {
            return Kept::Nothing;
        }
        let Some(body) = body else {
            match part {
                Part::Payload => {
                    r.out.release = true;
                    r.out.no_path_down = true;
                    self.relay_over(ix);
                }
                // Its node says the answer again when it hears nothing.
                Part::Reply => {
                    r.verb = None;
                    r.out.answer = false;
                    if let Some(broken) = r.body.take() {
                        self.say(Pending::Free(broken));
                    }
                }
            }
            return Kept::Nothing;
        };
        r.body = Some(body);
        r.moved = Some(self.now);
        match part {
            Part::Payload => r.out.grant = true,
            Part::Reply => r.out.answer = true,
        }
        self.relay_alive(ix);
        Kept::Body
    }

    /// The origin says how it took an attempt that passed here.
    pub(super) fn settled_passes(&mut self, peer: Ix, token: &GrantToken, taken: Taken) {
        if let Some(ix) = self.passing(token)
            && self.relays[ix].up == peer
        {
            let r = &mut self.relays[ix];
            r.taken = taken;
            r.out.settled = true;
            self.relay_over(ix);
        }
    }

    /// A node behind this one says that it holds an attempt, and wants answers to pass here from now on.
    pub(super) fn holding_passes(&mut self, down: Ix, token: GrantToken, lease: Duration, path: &Path) {
        let next = path.len().checked_sub(2).and_then(|at| path.get(at)).copied();
        let up = next
            .and_then(|node| self.peer_of_node(node))
            .filter(|&up| self.is_up(up) && up != down);
        let Some(up) = up else {
            return self.say(Pending::NoPath { peer: down, token });
        };
        if let Some(old) = self.find_relay(token.message) {
            if self.relays[old].token == token && self.relays[old].stage == Passing::Granted {
                let r = &mut self.relays[old];
                r.up = up;
                r.down = down;
                return self.pass_holding(old, lease, path);
            }
            // Another attempt passes here, or what is over is not told yet: let it be, and be asked again.
            return self.say(Pending::NoPath { peer: down, token });
        }
        let mut relay = self.blank_relay(token, up, down, lease);
        relay.stage = Passing::Granted;
        match self.insert_relay(relay) {
            Some(ix) => self.pass_holding(ix, lease, path),
            None => self.say(Pending::NoPath { peer: down, token }),
        }
    }

    /// The holding goes on; this node is not on what is left of its way.
    fn pass_holding(&mut self, ix: Ix, lease: Duration, path: &Path) {
        let r = &mut self.relays[ix];
        r.lease = lease;
        r.path = *path;
        let _ = r.path.pop();
        r.out.holding = true;
        self.relay_alive(ix);
    }

    /// The way of an attempt is broken at the peer's side of it.
    pub(super) fn no_path(&mut self, peer: Ix, token: &GrantToken) {
        if token.message.node == self.config.node {
            if let Some(ix) = self.own(token.message) {
                self.path_lost(ix, peer, token);
            }
        } else if let Some(ix) = self.passing(token) {
            let r = &mut self.relays[ix];
            if r.down == peer {
                r.out.no_path_up = true;
                self.relay_over(ix);
            } else if r.up == peer {
                r.out.no_path_down = true;
                self.relay_over(ix);
            }
        } else {
            self.origin_lost(peer, token);
        }
    }

    /// The attempt that passes counts no more. Its holder looks for its origin, and hears so from it.
    pub(super) fn relay_outlived(&mut self, ix: Ix) {
        self.relays[ix].out.no_path_down = true;
        self.relay_over(ix);
    }

    /// A session ended: no way leads over it any more.
    pub(super) fn relays_down(&mut self, peer: Ix) {
        let mut cursor = None;
        while let Some(ix) = self.relays.next_live(cursor) {
            cursor = Some(ix);
            let r = &mut self.relays[ix];
            let (up, down) = (r.up == peer, r.down == peer);
            if r.stage == Passing::Over || !(up || down) {
                continue;
            }
            match r.stage {
                Passing::Claimed => r.out.gone = up,
                Passing::Granted => {
                    r.out.no_path_down = up;
                    r.out.no_path_up = down;
                }
                Passing::Over => {}
            }
            self.relay_over(ix);
        }
    }

    pub(super) fn relay_timeout(&mut self, ix: Ix) {
        // A claim that was not answered, a deadline, or a way that nobody used: both sides have timers of their own.
        self.relay_over(ix);
    }

    /// What waits here for a next hop, after something changed that it may go by.
    pub(super) fn forward(&mut self, reservation: Ix) {
        self.place_offer(Offer::Reservation(reservation));
    }
}
