//! What is to be told to peers: hellos, routes, and what passes.

use super::Said;
use crate::data::slab::Ix;
use crate::engine::Core;
use crate::engine::slots::{Copies, Copy, CopyState, Passing};
use crate::engine::tables::Entity;
use crate::id::{GrantToken, OfferId};
use crate::input::{LinkId, Part, Verb};
use crate::output::{Attached, Notice, Output, Payload};
use crate::wire::{Frame, Hello, VERSION};

/// Services of which a peer is told in one turn, while others wait.
const TURN: u8 = 16;

impl Core<'_> {
    /// The same for a reservation that goes on from here; a place less for each that it passes.
    pub(super) fn emit_reservation(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
        let Some(r) = self.reservations.get_mut(ix) else {
            return Said::Nothing;
        };
        let Some(copy) = next_copy(&mut r.copies) else {
            if r.over {
                if r.copies.iter().all(Option::is_none) {
                    self.current = None;
                    self.reservations.remove(ix);
                }
            } else if r.copies.iter().any(Option::is_none) {
                self.forward(ix);
                // Placed once more: that is to be said.
                if next_copy(&mut self.reservations[ix].copies.clone()).is_some() {
                    return Said::Again;
                }
            }
            return Said::Nothing;
        };
        let offer = r.offer();
        if r.over {
            return self.emit_placing(copy, offer, &Frame::Retract { offer }, buffer);
        }
        let r = &self.reservations[ix];
        let mut path = r.path;
        let _ = path.push(self.config.node);
        let live = r.copies.iter().flatten().filter(|copy| copy.is_live()).count();
        let frame = Frame::Offer {
            offer,
            service: self.services[r.service].name.clone(),
            priority: r.priority,
            age: self.now.since(self.born(r.rank, r.priority)),
            remaining: r.deadline.map(|at| self.now.until(at)),
            path,
            copies: if live > 1 { 1 } else { r.budget },
            sure: copy.sure,
        };
        self.emit_placing(copy, offer, &frame, buffer)
    }

    pub(super) fn emit_placing(
        &mut self,
        copy: Copy,
        offer: OfferId,
        frame: &Frame,
        buffer: &mut [u8],
    ) -> Said {
        let out = if copy.state == CopyState::ToRetract {
            self.send(copy.peer, &Frame::Retract { offer }, buffer)
        } else {
            self.counters.offers += 1;
            self.send(copy.peer, frame, buffer)
        };
        Self::say_or_again(out)
    }

    pub(super) fn emit_peer(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
        let Some(p) = self.peers.get_mut(ix) else {
            return Said::Nothing;
        };
        if p.out.hello {
            p.out.hello = false;
            let (Some(link), generation) = (p.greeting, p.our_generation) else {
                return Said::Again;
            };
            return Said::Out(self.emit_hello(link, generation, buffer));
        }
        let frame = if p.out.holding_end && p.unsaid == 0 {
            p.out.holding_end = false;
            Frame::HoldingEnd
        } else if p.out.ping {
            p.out.ping = false;
            Frame::Ping
        } else if p.out.pong {
            p.out.pong = false;
            Frame::Pong
        } else if p.out.ask {
            p.out.ask = false;
            Frame::Refresh
        } else if p.out.seek {
            self.unmark_seek(ix);
            return Self::say_or_again(self.emit_seek(ix, buffer));
        } else if p.out.cycle {
            p.out.cycle = false;
            let (Some(link), Some(node)) = (p.link, p.node) else {
                return Said::Again;
            };
            return Said::Out(Output::Notice(Notice::Cycle { link, node }));
        } else {
            return self.emit_news(ix, buffer);
        };
        Self::say_or_again(self.send(ix, &frame, buffer))
    }

    /// What there is to tell the peer of a service, one at a time. When it has heard of some, others have their turn.
    fn emit_news(&mut self, peer: Ix, buffer: &mut [u8]) -> Said {
        if !self.told.is_marked(peer) {
            self.turn = 0;
            return Said::Nothing;
        }
        if self.turn == TURN {
            self.turn = 0;
            self.current = None;
            self.touch(Entity::Peer(peer));
            return Said::Again;
        }
        self.turn += 1;
        let Some(service) = self.told.take_mark(peer) else {
            return Said::Again;
        };
        let frame = self.news_for(service, peer);
        if self.services.get(service).is_some() {
            self.drop_idle_service(service);
        }
        Self::say_or_again(frame.and_then(|frame| self.send(peer, &frame, buffer)))
    }

    pub(super) fn emit_hello(&mut self, link: LinkId, generation: u32, buffer: &mut [u8]) -> Output {
        let hello = Frame::Hello(Hello {
            version: VERSION,
            mesh: self.config.mesh.clone(),
            name: self.config.name.clone(),
            node: self.config.node,
            boot: self.config.boot,
            generation,
        });
        self.send_on(link, &hello, Attached::Nothing, buffer)
    }

    pub(super) fn emit_relay(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
        let Some(r) = self.relays.get_mut(ix) else {
            return Said::Nothing;
        };
        let (token, up, down, size) = (r.token, r.up, r.down, r.size);
        let out = &mut r.out;
        if core::mem::take(&mut out.claim) {
            let frame = Frame::Claim {
                offer: OfferId {
                    message: token.message,
                    alternate: r.alternate,
                },
                node: token.node,
                consumer: token.consumer,
                lease: r.lease,
            };
            return Self::say_or_again(self.send(up, &frame, buffer));
        }
        if core::mem::take(&mut out.fetch_payload) {
            return self.emit_fetch(up, token, Part::Payload, size);
        }
        if core::mem::take(&mut out.fetch_answer) {
            return self.emit_fetch(down, token, Part::Reply, size);
        }
        if core::mem::take(&mut out.grant) {
            let (payload, remaining) = (r.body.map(Payload::Held), r.deadline.map(|at| self.now.until(at)));
            let (priority, send_only, direct) = (r.priority, r.send_only, r.direct);
            let (mut attached, inline) =
                self.attach(payload.unwrap_or(Payload::Empty), size, token, Part::Payload);
            // However short it is: what is not here can't ride in the frame.
            let inline = inline && !direct;
            if let Some(payload) = payload.filter(|_| inline || direct) {
                // Also if it has no bytes: the origin's address may be beside it.
                attached = Attached::Inline(payload);
            }
            self.relays[ix].out.free = (inline || direct) && payload.is_some();
            let frame = Frame::Grant {
                token,
                priority,
                remaining,
                size,
                send_only,
                inline,
                direct,
            };
            return Self::say_or_again(self.send_with(down, &frame, attached, buffer));
        }
        if core::mem::take(&mut out.reverse) {
            return Self::say_or_again(self.send(up, &Frame::Reverse { token }, buffer));
        }
        if core::mem::take(&mut out.holding) {
            let (lease, path) = (r.lease, r.path);
            return Self::say_or_again(self.send(up, &Frame::Holding { token, lease, path }, buffer));
        }
        if core::mem::take(&mut out.extend) {
            return self.emit_verb(up, token, Verb::Extend, buffer);
        }
        if core::mem::take(&mut out.answer) {
            let (Some(verb), payload, direct) = (r.verb, r.body.map(Payload::Held), r.direct) else {
                return Said::Again;
            };
            let (attached, inline) = if direct {
                (Attached::Nothing, false)
            } else {
                self.attach(payload.unwrap_or(Payload::Empty), size, token, Part::Reply)
            };
            self.relays[ix].out.free = inline && payload.is_some();
            let frame = Frame::Answer {
                token,
                verb,
                size,
                inline,
                direct,
            };
            return Self::say_or_again(self.send_with(up, &frame, attached, buffer));
        }
        if core::mem::take(&mut out.release) {
            let verb = if out.unseen { Verb::Return } else { Verb::Release };
            return self.emit_verb(up, token, verb, buffer);
        }
        if core::mem::take(&mut out.settled) {
            let taken = r.taken;
            return Self::say_or_again(self.send(down, &Frame::Settled { token, taken }, buffer));
        }
        if core::mem::take(&mut out.gone) {
            let frame = Frame::Gone {
                message: token.message,
                node: token.node,
                consumer: token.consumer,
            };
            return Self::say_or_again(self.send(down, &frame, buffer));
        }
        if core::mem::take(&mut out.no_path_up) {
            return Self::say_or_again(self.send(up, &Frame::NoPath { token }, buffer));
        }
        if core::mem::take(&mut out.no_path_down) {
            return Self::say_or_again(self.send(down, &Frame::NoPath { token }, buffer));
        }
        if core::mem::take(&mut out.free) {
            return r
                .body
                .take()
                .map_or(Said::Again, |body| Said::Out(Output::Free(body)));
        }
        if r.stage == Passing::Over {
            self.current = None;
            self.free_relay(ix);
        }
        Said::Nothing
    }

    pub(super) fn emit_fetch(&mut self, peer: Ix, token: GrantToken, part: Part, size: u64) -> Said {
        let link = self.peers.get(peer).and_then(|peer| peer.link);
        link.map_or(Said::Again, |link| {
            Said::Out(Output::Fetch {
                link,
                token,
                part,
                size,
                direct: false,
            })
        })
    }

    pub(super) fn emit_verb(&mut self, peer: Ix, token: GrantToken, verb: Verb, buffer: &mut [u8]) -> Said {
        let frame = Frame::Answer {
            token,
            verb,
            size: 0,
            inline: true,
            direct: false,
        };
        Self::say_or_again(self.send(peer, &frame, buffer))
    }
}

/// The next copy that is to be offered or retracted, marked as done: placed, or gone.
pub(super) fn next_copy(copies: &mut Copies) -> Option<Copy> {
    let next = copies.iter_mut().find(|copy| {
        copy.is_some_and(|copy| matches!(copy.state, CopyState::ToOffer | CopyState::ToRetract))
    })?;
    let copy = (*next)?;
    *next = (copy.state == CopyState::ToOffer).then_some(Copy {
        state: CopyState::Placed,
        ..copy
    });
    Some(copy)
}
