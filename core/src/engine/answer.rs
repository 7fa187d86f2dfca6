//! What consumers of this node say about their deliveries.

use super::slots::{Delivery, Holder, Keeping, Source, Stage, State};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::Ix;
use crate::id::GrantToken;
use crate::input::{Body, Kept, Outcome, Tag, Verb};
use crate::output::{Answered, Bound, LostWhy, Refused};

/// The outcome that an answer brings about. A send-only message needs no reply, so any success is `Delivered`.
pub(super) fn outcome_of(verb: Verb, send_only: bool) -> Outcome {
    match verb {
        Verb::Fail => Outcome::Failed,
        _ if send_only => Outcome::Delivered,
        _ => Outcome::Replied,
    }
}

/// A send-only message wants `ack`, any other `reply`; both may fail.
pub(super) fn is_wrong(verb: Verb, send_only: bool) -> bool {
    match verb {
        Verb::Reply => send_only,
        Verb::Ack => !send_only,
        Verb::Fail | Verb::Extend | Verb::Release | Verb::Return => false,
    }
}

pub(super) fn ends(verb: Verb) -> bool {
    matches!(verb, Verb::Reply | Verb::Ack | Verb::Fail)
}

/// The consumer, or its node, will not process it.
pub(super) fn gives_back(verb: Verb) -> bool {
    matches!(verb, Verb::Release | Verb::Return)
}

pub(super) fn kept(body: Option<Body>) -> Kept {
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
        direct: bool,
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
            // That nobody has seen it is not a program's to say.
            Verb::Release | Verb::Return => {
                self.let_go(d, false);
                said(self, Answered::Done)
            }
            Verb::Reply | Verb::Ack | Verb::Fail => {
                let body = body.filter(|_| verb != Verb::Ack);
                self.deliveries[d].direct = direct;
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
        let served = self.deliveries[d].consumer;
        if let Some(c) = served {
            self.consumers[c].answering += 1;
            self.refresh_consumer(c);
        }
        let slot = &mut self.deliveries[d];
        slot.verb = Some(verb);
        // An extension that waited for the origin's word is overtaken by the end of the work.
        let overtaken = slot.asked.replace(tag);
        slot.out.answered = false;
        slot.out.deliver = false;
        slot.out.extend = false;
        let token = slot.token;
        if let Some(tag) = overtaken {
            self.say(Pending::Answered {
                tag,
                result: Answered::Done,
            });
        }
        let slot = &mut self.deliveries[d];
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
        if let Some(c) = served {
            self.match_service(self.consumers[c].service);
        }
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
            Ok(_) if !gives_back(verb) && self.deliveries.is_full() => {
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
    pub(super) fn judge(&self, token: &GrantToken) -> Result<Option<Ix>, Answered> {
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
        if gives_back(verb) {
            if matches!(self.messages[ix].state, State::Recovering | State::Granted) {
                if self.messages[ix].holder == Holder::Local {
                    self.lose_local(ix, LostWhy::Revoked);
                }
                self.newest(ix, token.fence);
                // Whatever it says, nobody here knows whether a consumer has seen it.
                self.unanswered(ix);
            }
            self.say(Pending::Answered {
                tag,
                result: Answered::Done,
            });
            return Kept::Nothing;
        }
        self.take_back(ix);
        self.newest(ix, token.fence);
        let m = &mut self.messages[ix];
        m.holder_node = token.node;
        m.holder_key = token.consumer;
        self.hold_here(ix, State::Granted);
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
    pub(super) fn take_back(&mut self, ix: Ix) {
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
        if gives_back(verb) {
            if let Some(peer) = peer {
                let verb = Verb::Release;
                self.say(Pending::Release { peer, token, verb });
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
                // Only the origin can judge it, and it speaks up only if it does not agree: it is given a moment.
                let slot = &mut self.deliveries[d];
                slot.asked = Some(tag);
                slot.wake = Some(self.now + self.config.timing.ready);
            } else {
                self.say(Pending::Answered {
                    tag,
                    result: Answered::Done,
                });
            }
            self.time_delivery(d);
            self.touch(Entity::Delivery(d));
            return Kept::Nothing;
        }
        let body = body.filter(|_| verb != Verb::Ack);
        self.begin_answer(d, tag, verb, body);
        kept(body)
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
}
