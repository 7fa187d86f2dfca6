//! What consumers of other nodes say about messages of this one.

use super::answer::{ends, gives_back, is_wrong, kept, outcome_of};
use super::slots::{Holder, State};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::Ix;
use crate::id::GrantToken;
use crate::input::{Body, Kept, Verb};
use crate::output::Answered;
use crate::time::Duration;
use crate::wire::Taken;

/// An answer that came over a link.
pub(super) struct PeerAnswer {
    pub(super) token: GrantToken,
    pub(super) verb: Verb,
    pub(super) size: u64,
    pub(super) inline: bool,
    pub(super) direct: bool,
    pub(super) body: Option<Body>,
}

impl Core<'_> {
    /// A consumer of a peer answers. `Err` if the frame contradicts itself.
    pub(super) fn peer_answered(&mut self, peer: Ix, answer: &PeerAnswer) -> Result<Kept, ()> {
        let PeerAnswer {
            token,
            verb,
            size,
            inline,
            direct,
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
            Err(_) if gives_back(verb) => return Ok(Kept::Nothing),
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
                self.unanswered(ix);
                Ok(Kept::Nothing)
            }
            Verb::Return if holds => {
                self.ungranted(ix);
                Ok(Kept::Nothing)
            }
            Verb::Release | Verb::Return => Ok(Kept::Nothing),
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
                // What should have been brought straight and could not be is announced anew.
                if m.reply_verb.is_none() || (m.reply_direct && !direct) {
                    m.reply_verb = Some(verb);
                    m.reply_size = size;
                    m.reply_direct = direct;
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
        self.newest(ix, token.fence);
        self.hold_at_peer(ix, State::Granted, peer, token.node, token.consumer, lease);
        self.fill(service);
    }

    /// The holder's node can't have the payload of a grant straight: it goes along the way of the offer.
    pub(super) fn reverse(&mut self, peer: Ix, token: &GrantToken) {
        let Some(ix) = self.own(token.message).filter(|_| self.is_mine(token)) else {
            return;
        };
        let m = &mut self.messages[ix];
        let held = m.state == State::Granted && m.holder == Holder::Peer(peer) && m.fence == token.fence;
        if held && m.direct && !m.reversed {
            m.reversed = true;
            m.out.grant = true;
            self.touch(Entity::Message(ix));
        }
    }

    /// No way leads to the holder of an attempt any more, as the peer says that it led through.
    pub(super) fn path_lost(&mut self, ix: Ix, peer: Ix, token: &GrantToken) {
        let m = &self.messages[ix];
        if m.state == State::Granted && m.holder == Holder::Peer(peer) && m.fence == token.fence {
            self.hold_away(ix);
        }
    }

    /// A message that is held behind a peer stays held until the lease is over. Its holder's node looks for this one along
    /// the way that the offer came by, and this one for it by others.
    pub(super) fn hold_away(&mut self, ix: Ix) {
        let m = &self.messages[ix];
        if m.at_most_once && (m.state == State::Granting || (m.out.grant && !m.reversed)) {
            // The grant was never sent.
            return self.ungranted(ix);
        }
        let mut way = None;
        if let Holder::Peer(peer) = self.messages[ix].holder {
            self.peers[peer].granted.remove(&mut self.messages, ix);
            way = Some(peer);
        }
        self.away.push_back(&mut self.messages, ix);
        let m = &mut self.messages[ix];
        m.holder = Holder::Away(way);
        m.out.grant = false;
        // What is being brought straight needs no way.
        if core::mem::take(&mut m.out.fetch) || !m.reply_direct {
            m.reply_verb = None;
        }
        self.seek_holder(ix);
    }
}
