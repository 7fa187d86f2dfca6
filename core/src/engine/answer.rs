//! What consumers say about their deliveries, and how origins take it.

use super::slots::{Delivery, Holder, Keeping, Source, Stage, State};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::Ix;
use crate::id::{AttemptId, GrantToken};
use crate::input::{Body, Kept, Outcome, Row, StoredReply, Tag, Verb};
use crate::output::{Answered, Bound, LostWhy, Misuse, Refused};
use crate::time::Duration;
use crate::wire::{Path, Taken};

/// An answer that came over a link.
pub(super) struct PeerAnswer {
    pub(super) token: GrantToken,
    pub(super) verb: Verb,
    pub(super) size: u64,
    pub(super) inline: bool,
    pub(super) body: Option<Body>,
}

/// The outcome that an answer brings about. A send-only message needs no reply, so any success is `Delivered`.
fn outcome_of(verb: Verb, send_only: bool) -> Outcome {
    match verb {
        Verb::Fail => Outcome::Failed,
        _ if send_only => Outcome::Delivered,
        _ => Outcome::Replied,
    }
}

/// A send-only message wants `ack`, any other `reply`; both may fail.
fn is_wrong(verb: Verb, send_only: bool) -> bool {
    match verb {
        Verb::Reply => send_only,
        Verb::Ack => !send_only,
        Verb::Fail | Verb::Extend | Verb::Release => false,
    }
}

fn ends(verb: Verb) -> bool {
    matches!(verb, Verb::Reply | Verb::Ack | Verb::Fail)
}

fn kept(body: Option<Body>) -> Kept {
    if body.is_some() { Kept::Body } else { Kept::Nothing }
}

impl Core<'_> {
    /// A consumer of this node answers.
    pub(super) fn answer(
        &mut self,
        tag: Tag,
        token: GrantToken,
        verb: Verb,
        body: Option<Body>,
    ) -> Result<Kept, Refused> {
        let said = |core: &mut Self, result| {
            core.say(Pending::Answered { tag, result });
            Ok(Kept::Nothing)
        };
        if token.node != self.config.node {
            return said(self, Answered::Unknown);
        }
        let Some(d) = self.find_delivery(token.attempt()) else {
            return self.answer_by_token(tag, token, verb, body);
        };
        let slot = &self.deliveries[d];
        if slot.token != token {
            return said(self, Answered::Unknown);
        }
        match slot.stage {
            Stage::Claiming | Stage::Fetching => return said(self, Answered::Unknown),
            Stage::Answering if slot.keeping == Keeping::Stored && slot.verb == Some(verb) => {
                return said(self, Answered::Done);
            }
            Stage::Answering => return said(self, Answered::Busy),
            Stage::Over => return said(self, Answered::Over),
            Stage::Ready | Stage::Held => {}
        }
        if self.is_late(slot.deadline) {
            return said(self, Answered::Over);
        }
        if is_wrong(verb, slot.send_only) {
            return said(self, Answered::WrongVerb);
        }
        match verb {
            Verb::Extend => {
                let slot = &mut self.deliveries[d];
                if slot.stage == Stage::Held {
                    slot.wake = Some(self.now + slot.lease);
                }
                slot.out.extend = slot.source != Source::Local;
                self.find_way(d);
                self.time_delivery(d);
                self.touch(Entity::Delivery(d));
                said(self, Answered::Done)
            }
            Verb::Release => {
                self.release(d);
                said(self, Answered::Done)
            }
            Verb::Reply | Verb::Ack | Verb::Fail => {
                let body = body.filter(|_| verb != Verb::Ack);
                self.begin_answer(d, tag, verb, body);
                Ok(kept(body))
            }
        }
    }

    /// The consumer is done; now the outcome has to get onto the origin's disk.
    fn begin_answer(&mut self, d: Ix, tag: Tag, verb: Verb, body: Option<Body>) {
        if self.deliveries[d].stage == Stage::Ready
            && let Some(c) = self.deliveries[d].consumer
        {
            // Answered by a token of an earlier life: it no longer waits for a take.
            self.consumers[c].coming -= 1;
        }
        self.set_stage(d, Stage::Answering);
        let slot = &mut self.deliveries[d];
        slot.verb = Some(verb);
        slot.asked = Some(tag);
        slot.out.deliver = false;
        slot.out.extend = false;
        let token = slot.token;
        match slot.source {
            Source::Local => {
                slot.wake = None;
                slot.deadline = None;
                self.time_delivery(d);
                if let Some(ix) = self.held_here(&token) {
                    let outcome = outcome_of(verb, self.messages[ix].send_only);
                    self.settle(ix, outcome, true, body);
                }
            }
            Source::Peer(_) | Source::Absent => {
                slot.answer = body;
                self.send_or_keep(d);
            }
        }
    }

    /// Sends the answer to its origin, or stores it here until that can be reached.
    pub(super) fn send_or_keep(&mut self, d: Ix) {
        self.find_way(d);
        let up = matches!(self.deliveries[d].source, Source::Peer(peer) if self.is_up(peer));
        let slot = &mut self.deliveries[d];
        if up {
            slot.out.answer = true;
            slot.wake = Some(self.now + self.config.timing.claim);
        } else {
            slot.out.answer = false;
            // Another way may be found later.
            slot.wake = Some(self.now + self.config.timing.claim);
        }
        if !up && slot.keeping == Keeping::No {
            self.keep(d);
        }
        self.time_delivery(d);
        self.touch(Entity::Delivery(d));
    }

    /// A delivery whose way to the origin is lost looks for the node that its offer came by.
    fn find_way(&mut self, d: Ix) {
        let slot = &self.deliveries[d];
        let Some(node) = slot
            .path
            .last()
            .copied()
            .filter(|_| slot.source == Source::Absent)
        else {
            return;
        };
        if let Some(peer) = self.peer_of_node(node).filter(|&peer| self.is_up(peer)) {
            self.deliveries[d].source = Source::Peer(peer);
            self.peers[peer].deliveries.push_back(&mut self.deliveries, d);
            self.say_holding(peer, d);
        }
    }

    /// The way of a delivery is broken: it is kept here until another is found.
    pub(super) fn origin_lost(&mut self, peer: Ix, token: &GrantToken) {
        let Some(d) = self.find_delivery(token.attempt()) else {
            return;
        };
        let slot = &self.deliveries[d];
        if slot.source != Source::Peer(peer) || slot.token != *token {
            return;
        }
        match slot.stage {
            Stage::Claiming | Stage::Over => {}
            Stage::Fetching => self.over(d),
            Stage::Ready | Stage::Held | Stage::Answering => {
                self.leave_peer(d);
                if self.deliveries[d].stage == Stage::Answering {
                    self.deliveries[d].wake = Some(self.now + self.config.timing.claim);
                    if self.deliveries[d].keeping == Keeping::No {
                        self.keep(d);
                    }
                    self.time_delivery(d);
                }
            }
        }
    }

    /// No way is known from the delivery to its origin.
    pub(super) fn leave_peer(&mut self, d: Ix) {
        if let Source::Peer(peer) = self.deliveries[d].source {
            if core::mem::take(&mut self.deliveries[d].out.say) {
                self.said(peer);
            }
            self.peers[peer].deliveries.remove(&mut self.deliveries, d);
            self.deliveries[d].source = Source::Absent;
        }
        let out = &mut self.deliveries[d].out;
        out.extend = false;
        out.release = false;
        out.answer = false;
    }

    pub(super) fn keep(&mut self, d: Ix) {
        let life = self.now + self.config.timing.reply_life;
        let slot = &mut self.deliveries[d];
        slot.keeping = Keeping::Storing;
        slot.out.keep = true;
        slot.deadline.get_or_insert(life);
        self.touch(Entity::Delivery(d));
    }

    /// The origin has taken the answer, or never will.
    pub(super) fn answer_taken(&mut self, d: Ix, result: Answered) {
        let slot = &mut self.deliveries[d];
        slot.result = result;
        slot.out.answered = slot.asked.is_some();
        if slot.keeping == Keeping::Stored {
            slot.keeping = Keeping::Dropping;
            slot.out.drop = true;
        }
        self.over(d);
    }

    /// A token that no delivery here belongs to: this node was restarted, or the lease ran out.
    fn answer_by_token(
        &mut self,
        tag: Tag,
        token: GrantToken,
        verb: Verb,
        body: Option<Body>,
    ) -> Result<Kept, Refused> {
        let here = token.message.node == self.config.node;
        let judged = if here {
            self.judge(&token)
        } else if self.has_newer(&token) {
            Err(Answered::Stale)
        } else {
            Ok(None)
        };
        let result = match judged {
            Err(result) => result,
            Ok(_) if verb != Verb::Release && self.deliveries.is_full() => {
                return Err(Refused::Full(Bound::Deliveries));
            }
            Ok(Some(ix)) => return Ok(self.answer_own(ix, tag, token, verb, body)),
            Ok(None) => return Ok(self.answer_foreign(tag, token, verb, body)),
        };
        self.say(Pending::Answered { tag, result });
        Ok(Kept::Nothing)
    }

    /// Whether a consumer here holds a newer attempt at the same message.
    fn has_newer(&self, token: &GrantToken) -> bool {
        let newer = |ix: Ix| {
            let other = &self.deliveries[ix].token;
            other.message == token.message && other.fence > token.fence
        };
        let hash = Self::id_hash(self.seed(), token.message);
        self.delivery_index.find(hash, newer).is_some()
    }

    /// Whether an answer under this token may still count; the open message, or why not.
    fn judge(&self, token: &GrantToken) -> Result<Option<Ix>, Answered> {
        if !self.is_mine(token) {
            return Err(Answered::Unknown);
        }
        let Some(ix) = self.find_message(token.message.sequence) else {
            return Err(Answered::Over);
        };
        let m = &self.messages[ix];
        let same = m.answered && m.fence == token.fence;
        match m.state {
            State::Storing => Err(Answered::Unknown),
            State::Settling if same => Err(Answered::Busy),
            State::Settled | State::Deleting if same => Err(Answered::Done),
            State::Settling | State::Settled | State::Deleting => Err(Answered::Over),
            _ if token.fence < m.fence => Err(Answered::Stale),
            _ if self.is_late(m.deadline) => Err(Answered::Over),
            _ => Ok(Some(ix)),
        }
    }

    /// An open message of this node, answered under a token that no delivery belongs to.
    fn answer_own(&mut self, ix: Ix, tag: Tag, token: GrantToken, verb: Verb, body: Option<Body>) -> Kept {
        let m = &self.messages[ix];
        let (send_only, deadline, size, priority) = (m.send_only, m.deadline, m.size, m.priority);
        if is_wrong(verb, send_only) {
            self.say(Pending::Answered {
                tag,
                result: Answered::WrongVerb,
            });
            return Kept::Nothing;
        }
        let consumer = self.consumer_of_key(token.consumer);
        if verb == Verb::Extend && consumer.is_some_and(|c| self.consumers[c].held >= self.consumers[c].limit)
        {
            // P4: its place has been given away meanwhile.
            self.say(Pending::Answered {
                tag,
                result: Answered::Stale,
            });
            return Kept::Nothing;
        }
        if verb == Verb::Release {
            if matches!(self.messages[ix].state, State::Recovering | State::Granted) {
                self.take_back(ix);
                self.messages[ix].fence = token.fence;
                self.enter_waiting(ix);
            }
            self.say(Pending::Answered {
                tag,
                result: Answered::Done,
            });
            return Kept::Nothing;
        }
        self.take_back(ix);
        let m = &mut self.messages[ix];
        m.fence = token.fence;
        m.holder_node = token.node;
        m.holder_key = token.consumer;
        self.hold_here(ix);
        let lease = consumer.map_or(self.config.lease, |c| self.consumers[c].lease);
        let slot = Delivery {
            deadline,
            size,
            priority,
            send_only,
            wake: Some(self.now + lease),
            ..Self::blank_delivery(token, Source::Local, lease)
        };
        let place = consumer.filter(|_| verb == Verb::Extend);
        let Some(d) = self.insert_delivery(slot, place) else {
            return Kept::Nothing;
        };
        if verb == Verb::Extend {
            self.time_delivery(d);
            self.say(Pending::Answered {
                tag,
                result: Answered::Done,
            });
            return Kept::Nothing;
        }
        let body = body.filter(|_| verb != Verb::Ack);
        self.begin_answer(d, tag, verb, body);
        kept(body)
    }

    /// Takes an open message out of its state, and from a consumer here that holds an older attempt.
    fn take_back(&mut self, ix: Ix) {
        if self.messages[ix].holder == Holder::Local {
            self.lose_local(ix, LostWhy::Revoked);
        }
        self.leave_state(ix);
    }

    /// Another node's message, answered after a restart of this one: only its origin can judge the token.
    fn answer_foreign(&mut self, tag: Tag, token: GrantToken, verb: Verb, body: Option<Body>) -> Kept {
        let peer = self
            .peer_of_node(token.message.node)
            .filter(|&peer| self.is_up(peer));
        let source = peer.map_or(Source::Absent, Source::Peer);
        if verb == Verb::Release {
            if let Some(peer) = peer {
                self.say(Pending::Release { peer, token });
            }
            self.say(Pending::Answered {
                tag,
                result: Answered::Done,
            });
            return Kept::Nothing;
        }
        let consumer = self
            .consumer_of_key(token.consumer)
            .filter(|_| verb == Verb::Extend);
        if consumer.is_some_and(|c| self.consumers[c].held >= self.consumers[c].limit) {
            self.say(Pending::Answered {
                tag,
                result: Answered::Stale,
            });
            return Kept::Nothing;
        }
        let lease = consumer.map_or(self.config.lease, |c| self.consumers[c].lease);
        let slot = Delivery {
            wake: Some(self.now + lease),
            send_only: verb == Verb::Ack,
            path: Self::direct(token.message.node),
            ..Self::blank_delivery(token, source, lease)
        };
        let Some(d) = self.insert_delivery(slot, consumer) else {
            return Kept::Nothing;
        };
        if verb == Verb::Extend {
            if let Some(peer) = peer {
                self.say_holding(peer, d);
            }
            self.time_delivery(d);
            self.touch(Entity::Delivery(d));
            self.say(Pending::Answered {
                tag,
                result: Answered::Done,
            });
            return Kept::Nothing;
        }
        let body = body.filter(|_| verb != Verb::Ack);
        self.begin_answer(d, tag, verb, body);
        kept(body)
    }

    /// A consumer of a peer answers. `Err` if the frame contradicts itself.
    pub(super) fn peer_answered(&mut self, peer: Ix, answer: &PeerAnswer) -> Result<Kept, ()> {
        let PeerAnswer {
            token,
            verb,
            size,
            inline,
            body,
        } = *answer;
        if ends(verb) && inline && size != body.map_or(0, |body| body.size) {
            return Err(());
        }
        let settled = |taken| Pending::Settled { peer, token, taken };
        // P12: the MAC proves the grant, whichever way its answer comes.
        let ix = match self.judge(&token) {
            Ok(Some(ix)) => ix,
            Err(Answered::Busy) | Ok(None) => return Ok(Kept::Nothing),
            Err(_) if verb == Verb::Release => return Ok(Kept::Nothing),
            Err(result) => {
                let taken = match result {
                    Answered::Done => Taken::Done,
                    Answered::Stale => Taken::Stale,
                    Answered::Over => Taken::Over,
                    _ => Taken::Unknown,
                };
                self.say(settled(taken));
                return Ok(Kept::Nothing);
            }
        };
        let m = &self.messages[ix];
        if is_wrong(verb, m.send_only) {
            self.say(settled(Taken::WrongVerb));
            return Ok(Kept::Nothing);
        }
        let holds = m.state == State::Granted && m.fence == token.fence && m.holder == Holder::Peer(peer);
        match verb {
            Verb::Release if holds => {
                self.requeue(ix);
                Ok(Kept::Nothing)
            }
            Verb::Release => Ok(Kept::Nothing),
            Verb::Extend => {
                let lease = if holds {
                    super::origin::from_millis(m.lease_ms)
                } else {
                    self.config.lease
                };
                self.held_by_peer(peer, ix, &token, lease);
                Ok(Kept::Nothing)
            }
            Verb::Reply | Verb::Ack | Verb::Fail if size > 0 && !inline => {
                if !holds {
                    let lease = self.config.lease;
                    self.held_by_peer(peer, ix, &token, lease);
                }
                let m = &mut self.messages[ix];
                if m.reply_verb.is_none() {
                    m.reply_verb = Some(verb);
                    m.reply_size = size;
                    m.out.fetch = true;
                    self.touch(Entity::Message(ix));
                }
                Ok(Kept::Nothing)
            }
            Verb::Reply | Verb::Ack | Verb::Fail => {
                let send_only = m.send_only;
                if !holds {
                    let lease = self.config.lease;
                    self.held_by_peer(peer, ix, &token, lease);
                }
                self.settle(ix, outcome_of(verb, send_only), true, body);
                Ok(kept(body))
            }
        }
    }

    pub(super) fn reply_fetched(&mut self, token: &GrantToken, body: Option<Body>) -> Kept {
        let Some(ix) = self.own(token.message) else {
            return Kept::Nothing;
        };
        let m = &mut self.messages[ix];
        if !m.state.is_open() || m.fence != token.fence {
            return Kept::Nothing;
        }
        let (Some(verb), send_only) = (m.reply_verb.take(), m.send_only) else {
            return Kept::Nothing;
        };
        let Some(body) = body else {
            // Its node says the answer again when it hears nothing.
            return Kept::Nothing;
        };
        self.settle(ix, outcome_of(verb, send_only), true, Some(body));
        Kept::Body
    }

    /// A part of a large reply came.
    pub(super) fn reply_comes(&mut self, ix: Ix, token: &GrantToken) {
        let margin = self.config.timing.margin;
        let m = &mut self.messages[ix];
        if m.state == State::Granted && m.fence == token.fence && m.reply_verb.is_some() {
            m.lease_until = self.now + super::origin::from_millis(m.lease_ms) + margin;
            m.wake = Some(m.lease_until);
            self.time_message(ix);
        }
    }

    /// A peer says after a hello that a consumer of its holds this.
    pub(super) fn holding(&mut self, peer: Ix, token: &GrantToken, lease: Duration) {
        match self.judge(token) {
            Ok(Some(ix)) => self.held_by_peer(peer, ix, token, lease),
            Err(Answered::Busy) | Ok(None) => {}
            Err(result) => {
                let taken = if result == Answered::Stale {
                    Taken::Stale
                } else {
                    Taken::Over
                };
                self.say(Pending::Settled {
                    peer,
                    token: *token,
                    taken,
                });
            }
        }
    }

    /// An open message turns out to be held by a consumer of the peer, under an attempt that is not older than any.
    fn held_by_peer(&mut self, peer: Ix, ix: Ix, token: &GrantToken, lease: Duration) {
        let service = self.messages[ix].service;
        let fresh = self.messages[ix].fence != token.fence;
        self.take_back(ix);
        if fresh {
            self.messages[ix].reply_verb = None;
            self.messages[ix].out.grant = false;
        }
        self.messages[ix].fence = token.fence;
        self.hold_at_peer(ix, peer, token.node, token.consumer, lease);
        self.fill(service);
    }

    /// No way leads to the holder of an attempt any more; its node looks for one until the lease runs out.
    pub(super) fn path_lost(&mut self, ix: Ix, peer: Ix, token: &GrantToken) {
        let m = &self.messages[ix];
        if m.state == State::Granted && m.holder == Holder::Peer(peer) && m.fence == token.fence {
            self.peers[peer].granted.remove(&mut self.messages, ix);
            let m = &mut self.messages[ix];
            m.holder = Holder::Away;
            m.wake = Some(m.lease_until);
            m.reply_verb = None;
            m.out.grant = false;
            m.out.fetch = false;
            self.time_message(ix);
        }
    }

    /// The outcome that a consumer here brought about is on disk.
    pub(super) fn answer_stored(&mut self, ix: Ix) {
        if self.messages[ix].holder == Holder::Local && self.messages[ix].answered {
            let attempt = self.token_of(ix).attempt();
            if let Some(d) = self.find_delivery(attempt)
                && self.deliveries[d].stage == Stage::Answering
            {
                self.answer_taken(d, Answered::Done);
            }
        }
    }

    fn not_stored(&mut self, d: Ix) {
        let slot = &mut self.deliveries[d];
        slot.result = Answered::StoreFailed;
        slot.out.answered = slot.asked.is_some();
        self.touch(Entity::Delivery(d));
    }

    /// The store has answered about a reply that is kept here.
    pub(super) fn stored_reply(&mut self, row: Row, attempt: AttemptId, done: bool) -> Result<(), Refused> {
        let misuse = Refused::Misuse(Misuse::Row);
        let d = self.find_delivery(attempt).ok_or(misuse)?;
        let slot = &mut self.deliveries[d];
        match (row, slot.keeping) {
            (Row::Keep(_), Keeping::Storing) if !slot.out.keep => {
                slot.keeping = if done { Keeping::Stored } else { Keeping::No };
                if slot.stage == Stage::Over {
                    // The origin was quicker: the row is not needed any more.
                    if done {
                        slot.keeping = Keeping::Dropping;
                        slot.out.drop = true;
                    }
                } else if done {
                    // It can't be lost any more: the consumer is done and its place is free (P1).
                    slot.result = Answered::Done;
                    slot.out.answered = slot.asked.is_some();
                    let service = slot.consumer.map(|c| self.consumers[c].service);
                    self.detach(d);
                    if let Some(service) = service {
                        self.match_service(service);
                    }
                } else if !matches!(slot.source, Source::Peer(peer) if self.peers[peer].link.is_some()) {
                    self.give_back(d);
                }
            }
            (Row::Drop(_), Keeping::Dropping) if !slot.out.drop => {
                if done {
                    slot.keeping = Keeping::No;
                } else {
                    slot.wake = Some(self.now + self.config.timing.store_retry);
                    self.set_timer(Entity::Delivery(d), self.deliveries[d].wake);
                }
            }
            _ => return Err(misuse),
        }
        self.touch(Entity::Delivery(d));
        Ok(())
    }

    /// Neither the origin nor the disk could take the answer: the consumer holds the message as before.
    fn give_back(&mut self, d: Ix) {
        self.not_stored(d);
        self.set_stage(d, Stage::Held);
        let slot = &mut self.deliveries[d];
        slot.verb = None;
        slot.wake = Some(self.now + slot.lease);
        if let Some(body) = slot.answer.take() {
            self.say(Pending::Free(body));
        }
        self.time_delivery(d);
    }

    /// The way of a delivery whose own is not known any more: its origin may be a peer.
    fn direct(origin: crate::id::NodeId) -> Path {
        let mut path = Path::new();
        let _ = path.push(origin);
        path
    }

    pub(super) fn recover_reply(&mut self, stored: &StoredReply) -> Result<Kept, Refused> {
        if self.deliveries.is_full() {
            return Err(Refused::Full(Bound::Deliveries));
        }
        let slot = Delivery {
            stage: Stage::Answering,
            deadline: Some(self.now + stored.remaining),
            verb: Some(stored.verb),
            answer: stored.body,
            keeping: Keeping::Stored,
            path: Self::direct(stored.token.message.node),
            ..Self::blank_delivery(stored.token, Source::Absent, self.config.lease)
        };
        if let Some(d) = self.insert_delivery(slot, None) {
            self.time_delivery(d);
        }
        Ok(kept(stored.body))
    }
}
