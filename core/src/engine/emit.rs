//! Outputs, built when they are polled.
//!
//! Each slot says in its `out` what is to be told about it; one poll takes one thing, in a fixed order, and builds it
//! from the state that is true now. A frame for a peer without a session is dropped: the next session says
//! everything anew.

use super::slots::{CopyState, Holder, Keeping, Source, Stage, State};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::slab::Ix;
use crate::id::GrantToken;
use crate::input::{LinkId, Part, Verb};
use crate::output::{Attached, Deliver, Output, Payload, StoreOp};
use crate::time::{Duration, Instant};
use crate::wire::{Frame, Hello, Taken, VERSION};

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
                Entity::Reservation(_) | Entity::Consumer(_) | Entity::Core => Said::Nothing,
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
            Pending::Hello { link, generation } => Some(self.emit_hello(link, generation, buffer)),
            Pending::Retract { peer, message } => self.send(peer, &Frame::Retract { message }, buffer),
            Pending::Gone {
                peer,
                message,
                consumer,
            } => self.send(peer, &Frame::Gone { message, consumer }, buffer),
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

    /// The next copy that is to be offered or retracted.
    fn emit_copy(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
        let wants = |state| matches!(state, CopyState::ToOffer | CopyState::ToRetract);
        let m = &self.messages[ix];
        let next = m
            .copies
            .iter()
            .position(|copy| copy.is_some_and(|copy| wants(copy.state)));
        let Some((at, copy)) = next.and_then(|at| m.copies[at].map(|copy| (at, copy))) else {
            self.messages[ix].out.copies = false;
            // A place that a retract held is free now.
            if matches!(self.messages[ix].state, State::Waiting | State::Offered) {
                self.place(ix);
            }
            return Said::Again;
        };
        let message = self.message_id(m.sequence);
        let out = if copy.state == CopyState::ToRetract {
            self.messages[ix].copies[at] = None;
            self.send(copy.peer, &Frame::Retract { message }, buffer)
        } else {
            let offer = Frame::Offer {
                message,
                service: self.services[m.service].name.clone(),
                priority: m.priority,
                age: self.now.since(m.born),
                remaining: self.left(m.deadline),
                size: m.size,
            };
            if let Some(copy) = &mut self.messages[ix].copies[at] {
                copy.state = CopyState::Placed;
            }
            self.counters.offers += 1;
            self.send(copy.peer, &offer, buffer)
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
            self.said(peer);
            return Self::say_or_again(self.send(peer, &Frame::Holding { token, lease }, buffer));
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
        let peer = r.peer;
        let service = self.services[r.service].name.clone();
        let frame = if r.out.withdraw {
            r.out.withdraw = false;
            Frame::Withdraw { service }
        } else if r.out.announce {
            r.out.announce = false;
            let window = self.window_for(ix);
            Frame::Announce { service, window }
        } else {
            self.current = None;
            self.drop_idle_route(ix);
            return Said::Nothing;
        };
        Self::say_or_again(self.send(peer, &frame, buffer))
    }

    /// How many offers the route's peer may have waiting here: the configured window, or what the table has room for.
    /// A peer that gets less hears of it when more comes free.
    fn window_for(&mut self, route: Ix) -> u16 {
        let free = self.reservations.capacity() - self.reservations.len();
        let room = free + self.routes[route].reserved as usize;
        if room >= usize::from(self.config.window) {
            return self.config.window;
        }
        self.starve(route);
        u16::try_from(room).unwrap_or(u16::MAX)
    }
}
