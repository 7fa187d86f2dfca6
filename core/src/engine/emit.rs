//! Outputs, built when they are polled.
//!
//! Each slot says in its `out` what is to be told about it; one poll takes one thing, in a fixed order, and builds it
//! from the state that is true now. A frame for a peer without a session is dropped: the next session says
//! everything anew.

use super::slots::{
    COPIES, Copies, Copy, CopyState, Holder, Keeping, Passing, RouteOut, Source, Stage, State,
};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::Ix;
use crate::id::{GrantToken, MessageId};
use crate::input::{LinkId, Part, Verb};
use crate::output::{Attached, Deliver, Output, Payload, StoreOp};
use crate::time::{Duration, Instant};
use crate::wire::{Frame, Hello, Path, Taken, VERSION};

/// What a slot had to say.
enum Said {
    /// This.
    Out(Output),
    /// Something that is no longer worth saying; ask again.
    Again,
    /// Nothing more.
    Nothing,
}

impl Core<'_> {
    /// The next thing that the core wants done, or `None` when there is nothing left until the next input or timer.
    ///
    /// `buffer` receives the header of an [`Output::Frame`]; [`HEADER_MAX`](crate::wire::HEADER_MAX) bytes always do.
    ///
    /// # Panics
    /// If the buffer is too short for a frame.
    pub fn poll_output(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Output> {
        self.clock(now);
        while let Some(pending) = self.answers.pop_front() {
            if let Some(out) = self.emit_pending(pending, buffer) {
                return Some(out);
            }
        }
        if !self.started {
            return None;
        }
        loop {
            let number = self.current.or_else(|| self.dirty.pop())?;
            self.current = Some(number);
            let said = match Entity::of(number, &self.capacity) {
                Entity::Message(ix) => self.emit_message(ix, buffer),
                Entity::Delivery(ix) => self.emit_delivery(ix, buffer),
                Entity::Peer(ix) => self.emit_peer(ix, buffer),
                Entity::Route(ix) => self.emit_route(ix, buffer),
                Entity::Reservation(ix) => self.emit_reservation(ix, buffer),
                Entity::Relay(ix) => self.emit_relay(ix, buffer),
                Entity::Consumer(_) | Entity::Core => Said::Nothing,
            };
            match said {
                Said::Out(out) => return Some(out),
                Said::Again => {}
                Said::Nothing => self.current = None,
            }
        }
    }

    fn emit_pending(&mut self, pending: Pending, buffer: &mut [u8]) -> Option<Output> {
        match pending {
            Pending::Hello { link, generation } => {
                self.find_link(link)?;
                Some(self.emit_hello(link, generation, buffer))
            }
            Pending::Retract { peer, message } => self.send(peer, &Frame::Retract { message }, buffer),
            Pending::Gone {
                peer,
                message,
                node,
                consumer,
            } => {
                let frame = Frame::Gone {
                    message,
                    node,
                    consumer,
                };
                self.send(peer, &frame, buffer)
            }
            Pending::NoPath { peer, token } => self.send(peer, &Frame::NoPath { token }, buffer),
            Pending::Decline { peer, message, floor } => {
                self.send(peer, &Frame::Decline { message, floor }, buffer)
            }
            Pending::Settled { peer, token, taken } => {
                self.send(peer, &Frame::Settled { token, taken }, buffer)
            }
            Pending::Release { peer, token } => {
                let frame = Frame::Answer {
                    token,
                    verb: Verb::Release,
                    size: 0,
                    inline: true,
                };
                self.send(peer, &frame, buffer)
            }
            Pending::Answered { tag, result } => Some(Output::Answered { tag, result }),
            Pending::Rejected { tag } => Some(Output::Rejected { tag }),
            Pending::Free(body) => Some(Output::Free(body)),
            Pending::CloseLink { link, fault } => Some(Output::CloseLink { link, fault }),
            Pending::Notice(notice) => Some(Output::Notice(notice)),
        }
    }

    /// A frame to a peer with a session; `None` without one.
    fn send(&mut self, peer: Ix, frame: &Frame, buffer: &mut [u8]) -> Option<Output> {
        self.send_with(peer, frame, Attached::Nothing, buffer)
    }

    fn send_with(
        &mut self,
        peer: Ix,
        frame: &Frame,
        attached: Attached,
        buffer: &mut [u8],
    ) -> Option<Output> {
        // A peer that is not linked may have been forgotten.
        let link = self.peers.get(peer)?.link?;
        self.peers[peer].sent = self.now;
        Some(self.send_on(link, frame, attached, buffer))
    }

    fn send_on(&mut self, link: LinkId, frame: &Frame, attached: Attached, buffer: &mut [u8]) -> Output {
        self.counters.frames_out += 1;
        // The longest frame is a constant, and the buffer is the caller's to size.
        let len = frame
            .encode(buffer)
            .expect("a buffer of HEADER_MAX bytes holds any frame");
        Output::Frame { link, len, attached }
    }

    fn say_or_again(out: Option<Output>) -> Said {
        out.map_or(Said::Again, Said::Out)
    }

    fn left(&self, deadline: Option<Instant>) -> Option<Duration> {
        deadline.map(|at| self.now.until(at))
    }

    fn emit_message(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
        let Some(m) = self.messages.get_mut(ix) else {
            return Said::Nothing;
        };
        let (sequence, size) = (m.sequence, m.size);
        if m.out.insert {
            m.out.insert = false;
            return Said::Out(Output::Store(StoreOp::Insert { tag: m.tag, sequence }));
        }
        if m.out.accepted {
            m.out.accepted = false;
            return Said::Out(Output::Accepted { tag: m.tag, sequence });
        }
        if m.out.copies {
            return self.emit_copy(ix, buffer);
        }
        if m.out.grant {
            m.out.grant = false;
            return self.emit_grant(ix, size, buffer);
        }
        if m.out.fetch {
            m.out.fetch = false;
            let (holder, size) = (m.holder, m.reply_size);
            let token = self.token_of(ix);
            let Holder::Peer(peer) = holder else {
                return Said::Again;
            };
            let Some(link) = self.peers[peer].link else {
                return Said::Again;
            };
            return Said::Out(Output::Fetch {
                link,
                token,
                part: Part::Reply,
                size,
            });
        }
        if m.out.settle {
            m.out.settle = false;
            let (outcome, answered, body) = (m.outcome, m.answered, m.body);
            let retention = super::origin::from_millis(m.retention_ms);
            let Some(outcome) = outcome else {
                return Said::Again;
            };
            let token = answered.then(|| self.token_of(ix));
            return Said::Out(Output::Store(StoreOp::Settle {
                sequence,
                outcome,
                token,
                body,
                retention,
            }));
        }
        if m.out.settled {
            m.out.settled = false;
            let Some(outcome) = m.outcome else {
                return Said::Again;
            };
            return Said::Out(Output::Settled { sequence, outcome });
        }
        if m.out.tell {
            m.out.tell = false;
            let taken = if m.answered { Taken::Done } else { Taken::Over };
            let Holder::Peer(peer) = m.holder else {
                return Said::Again;
            };
            let token = self.token_of(ix);
            return Self::say_or_again(self.send(peer, &Frame::Settled { token, taken }, buffer));
        }
        if m.out.free {
            m.out.free = false;
            return m
                .body
                .take()
                .map_or(Said::Again, |body| Said::Out(Output::Free(body)));
        }
        if m.out.delete {
            m.out.delete = false;
            return Said::Out(Output::Store(StoreOp::Delete { sequence }));
        }
        Said::Nothing
    }

    /// The next copy of a message that is to be offered or retracted.
    fn emit_copy(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
        let m = &mut self.messages[ix];
        let Some(copy) = next_copy(&mut m.copies) else {
            m.out.copies = false;
            // A place that a retract held is free now.
            if matches!(m.state, State::Waiting | State::Offered) {
                self.place(ix);
            }
            return Said::Again;
        };
        let message = MessageId {
            node: self.config.node,
            sequence: m.sequence,
        };
        let mut path = Path::new();
        let _ = path.push(self.config.node);
        let offer = Frame::Offer {
            message,
            service: self.services[m.service].name.clone(),
            priority: m.priority,
            age: self.now.since(m.born),
            remaining: m.deadline.map(|at| self.now.until(at)),
            path,
            copies: COPIES as u8,
        };
        self.emit_placing(copy, message, &offer, buffer)
    }

    /// The same for a reservation that goes on from here; a place less for each that it passes.
    fn emit_reservation(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
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
        let message = r.message;
        if r.over {
            return self.emit_placing(copy, message, &Frame::Retract { message }, buffer);
        }
        let mut path = r.path.clone();
        let _ = path.push(self.config.node);
        let live = r.copies.iter().flatten().count();
        let offer = Frame::Offer {
            message,
            service: self.services[self.routes[r.route].service].name.clone(),
            priority: r.priority,
            age: self.now.since(r.born),
            remaining: r.deadline.map(|at| self.now.until(at)),
            path,
            copies: if live > 1 { 1 } else { r.budget },
        };
        self.emit_placing(copy, message, &offer, buffer)
    }

    fn emit_placing(&mut self, copy: Copy, message: MessageId, offer: &Frame, buffer: &mut [u8]) -> Said {
        let out = if copy.state == CopyState::ToRetract {
            self.send(copy.peer, &Frame::Retract { message }, buffer)
        } else {
            self.counters.offers += 1;
            self.send(copy.peer, offer, buffer)
        };
        Self::say_or_again(out)
    }

    fn attach(&self, payload: Payload, size: u64, token: GrantToken, part: Part) -> (Attached, bool) {
        if size == 0 {
            (Attached::Nothing, true)
        } else if size <= self.config.inline_max {
            (Attached::Inline(payload), true)
        } else {
            (Attached::Apart { payload, token, part }, false)
        }
    }

    fn emit_grant(&mut self, ix: Ix, size: u64, buffer: &mut [u8]) -> Said {
        let m = &self.messages[ix];
        let Holder::Peer(peer) = m.holder else {
            return Said::Again;
        };
        // P3: nothing is granted after the deadline; the timer that is due settles it.
        if m.state != State::Granted || self.is_late(m.deadline) {
            return Said::Again;
        }
        let token = self.token_of(ix);
        let (attached, inline) = self.attach(
            Payload::Own {
                sequence: m.sequence,
                size,
            },
            size,
            token,
            Part::Payload,
        );
        let frame = Frame::Grant {
            token,
            priority: m.priority,
            remaining: self.left(m.deadline),
            size,
            send_only: m.send_only,
            inline,
        };
        Self::say_or_again(self.send_with(peer, &frame, attached, buffer))
    }

    fn emit_delivery(&mut self, d: Ix, buffer: &mut [u8]) -> Said {
        let Some(slot) = self.deliveries.get_mut(d) else {
            return Said::Nothing;
        };
        let (token, source, lease) = (slot.token, slot.source, slot.lease);
        let out = &mut slot.out;
        if out.claim {
            out.claim = false;
            let Source::Peer(peer) = source else {
                return Said::Again;
            };
            let frame = Frame::Claim {
                message: token.message,
                node: token.node,
                consumer: token.consumer,
                lease,
            };
            return Self::say_or_again(self.send(peer, &frame, buffer));
        }
        if out.fetch {
            out.fetch = false;
            let size = slot.size;
            let Source::Peer(peer) = source else {
                return Said::Again;
            };
            let Some(link) = self.peers[peer].link else {
                return Said::Again;
            };
            return Said::Out(Output::Fetch {
                link,
                token,
                part: Part::Payload,
                size,
            });
        }
        if out.deliver {
            out.deliver = false;
            return self.emit_deliver(d);
        }
        if out.lost {
            out.lost = false;
            return Said::Out(Output::Lost {
                token,
                why: slot.lost,
            });
        }
        if out.release || out.extend {
            let verb = if out.release { Verb::Release } else { Verb::Extend };
            out.release = false;
            out.extend = false;
            let Source::Peer(peer) = source else {
                return Said::Again;
            };
            let frame = Frame::Answer {
                token,
                verb,
                size: 0,
                inline: true,
            };
            return Self::say_or_again(self.send(peer, &frame, buffer));
        }
        if out.say {
            out.say = false;
            let Source::Peer(peer) = source else {
                return Said::Again;
            };
            let path = slot.path.clone();
            self.said(peer);
            return Self::say_or_again(self.send(peer, &Frame::Holding { token, lease, path }, buffer));
        }
        if out.answer {
            out.answer = false;
            return self.emit_answer(d, buffer);
        }
        if out.keep {
            out.keep = false;
            let (Some(verb), body, deadline) = (slot.verb, slot.answer, slot.deadline) else {
                return Said::Again;
            };
            let remaining = self.left(deadline).unwrap_or(self.config.timing.reply_life);
            return Said::Out(Output::Store(StoreOp::Keep {
                token,
                verb,
                body,
                remaining,
            }));
        }
        if out.drop {
            out.drop = false;
            return Said::Out(Output::Store(StoreOp::Drop {
                attempt: token.attempt(),
            }));
        }
        if out.answered {
            out.answered = false;
            let result = slot.result;
            return match slot.asked.take() {
                Some(tag) => Said::Out(Output::Answered { tag, result }),
                None => Said::Again,
            };
        }
        if out.free_payload {
            out.free_payload = false;
            return match slot.payload.take() {
                Some(Payload::Held(body)) => Said::Out(Output::Free(body)),
                _ => Said::Again,
            };
        }
        // While the store may still read it, the answer's body stays.
        let storing = matches!(slot.keeping, Keeping::Storing);
        if out.free_answer && !storing {
            out.free_answer = false;
            return slot
                .answer
                .take()
                .map_or(Said::Again, |body| Said::Out(Output::Free(body)));
        }
        if slot.stage == Stage::Over && slot.keeping == Keeping::No {
            self.current = None;
            self.free_delivery(d);
        }
        Said::Nothing
    }

    fn emit_deliver(&mut self, d: Ix) -> Said {
        let slot = &self.deliveries[d];
        let Some(c) = slot.consumer.filter(|_| slot.stage == Stage::Ready) else {
            return Said::Again;
        };
        // P3: what is late is ended by the timer that is due.
        if self.is_late(slot.deadline) {
            return Said::Again;
        }
        let Some(take) = self.use_take(c) else {
            return Said::Again;
        };
        self.consumers[c].coming -= 1;
        self.set_stage(d, Stage::Held);
        let slot = &mut self.deliveries[d];
        slot.wake = Some(self.now + slot.lease);
        self.time_delivery(d);
        self.refresh_consumer(c);
        let slot = &self.deliveries[d];
        let sequence = slot.token.message.sequence;
        let payload = match (slot.source, slot.payload) {
            _ if slot.size == 0 => Payload::Empty,
            (Source::Local, _) => Payload::Own {
                sequence,
                size: slot.size,
            },
            (_, payload) => payload.unwrap_or(Payload::Empty),
        };
        Said::Out(Output::Deliver(Deliver {
            take,
            token: slot.token,
            payload,
            send_only: slot.send_only,
            priority: slot.priority,
            remaining: self.left(slot.deadline),
            lease: slot.lease,
        }))
    }

    fn emit_answer(&mut self, d: Ix, buffer: &mut [u8]) -> Said {
        let slot = &self.deliveries[d];
        let (token, body) = (slot.token, slot.answer);
        let (Source::Peer(peer), Some(verb)) = (slot.source, slot.verb) else {
            return Said::Again;
        };
        let size = body.map_or(0, |body| body.size);
        let (attached, inline) = match body {
            Some(body) => self.attach(Payload::Held(body), size, token, Part::Reply),
            None => (Attached::Nothing, true),
        };
        let frame = Frame::Answer {
            token,
            verb,
            size,
            inline,
        };
        Self::say_or_again(self.send_with(peer, &frame, attached, buffer))
    }

    fn emit_peer(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
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
        } else {
            return Said::Nothing;
        };
        Self::say_or_again(self.send(ix, &frame, buffer))
    }

    fn emit_hello(&mut self, link: LinkId, generation: u32, buffer: &mut [u8]) -> Output {
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

    fn emit_route(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
        let Some(r) = self.routes.get_mut(ix) else {
            return Said::Nothing;
        };
        let (peer, told) = (r.peer, r.told);
        if r.out == RouteOut::default() {
            self.current = None;
            self.drop_idle_route(ix);
            return Said::Nothing;
        }
        let invite = core::mem::take(&mut r.out).invite;
        let service = self.services[self.routes[ix].service].name.clone();
        let frame = match self.announcement(ix) {
            Some(a) => {
                let mark = Some(self.announcement_mark(&a));
                if told == mark && !invite {
                    return Said::Again;
                }
                self.routes[ix].told = mark;
                if a.short {
                    // It hears of it when more room comes free.
                    self.starve(ix);
                } else if invite {
                    // One that has nothing to offer must not swallow the room that another waits for.
                    self.invite_one();
                }
                Frame::Announce {
                    service,
                    window: a.window,
                    path: a.path,
                }
            }
            None if told.is_some() => {
                self.routes[ix].told = None;
                self.forget_offers_of(ix);
                Frame::Withdraw { service }
            }
            None => return Said::Again,
        };
        Self::say_or_again(self.send(peer, &frame, buffer))
    }

    fn emit_relay(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
        let Some(r) = self.relays.get_mut(ix) else {
            return Said::Nothing;
        };
        let (token, up, down, size) = (r.token, r.up, r.down, r.size);
        let out = &mut r.out;
        if core::mem::take(&mut out.claim) {
            let frame = Frame::Claim {
                message: token.message,
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
            let (priority, send_only) = (r.priority, r.send_only);
            let (attached, inline) =
                self.attach(payload.unwrap_or(Payload::Empty), size, token, Part::Payload);
            self.relays[ix].out.free = inline && payload.is_some();
            let frame = Frame::Grant {
                token,
                priority,
                remaining,
                size,
                send_only,
                inline,
            };
            return Self::say_or_again(self.send_with(down, &frame, attached, buffer));
        }
        if core::mem::take(&mut out.holding) {
            let (lease, path) = (r.lease, r.path.clone());
            return Self::say_or_again(self.send(up, &Frame::Holding { token, lease, path }, buffer));
        }
        if core::mem::take(&mut out.extend) {
            return self.emit_verb(up, token, Verb::Extend, buffer);
        }
        if core::mem::take(&mut out.answer) {
            let (Some(verb), payload) = (r.verb, r.body.map(Payload::Held)) else {
                return Said::Again;
            };
            let (attached, inline) = self.attach(payload.unwrap_or(Payload::Empty), size, token, Part::Reply);
            self.relays[ix].out.free = inline && payload.is_some();
            let frame = Frame::Answer {
                token,
                verb,
                size,
                inline,
            };
            return Self::say_or_again(self.send_with(up, &frame, attached, buffer));
        }
        if core::mem::take(&mut out.release) {
            return self.emit_verb(up, token, Verb::Release, buffer);
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

    fn emit_fetch(&mut self, peer: Ix, token: GrantToken, part: Part, size: u64) -> Said {
        let link = self.peers.get(peer).and_then(|peer| peer.link);
        link.map_or(Said::Again, |link| {
            Said::Out(Output::Fetch {
                link,
                token,
                part,
                size,
            })
        })
    }

    fn emit_verb(&mut self, peer: Ix, token: GrantToken, verb: Verb, buffer: &mut [u8]) -> Said {
        let frame = Frame::Answer {
            token,
            verb,
            size: 0,
            inline: true,
        };
        Self::say_or_again(self.send(peer, &frame, buffer))
    }
}

/// The next copy that is to be offered or retracted, marked as done: placed, or gone.
fn next_copy(copies: &mut Copies) -> Option<Copy> {
    let next = copies
        .iter_mut()
        .find(|copy| copy.is_some_and(|copy| copy.state != CopyState::Placed))?;
    let copy = (*next)?;
    *next = (copy.state == CopyState::ToOffer).then_some(Copy {
        state: CopyState::Placed,
        ..copy
    });
    Some(copy)
}
