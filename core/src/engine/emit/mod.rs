//! Outputs, built when they are polled.
//!
//! Each slot says in its `out` what is to be told about it; one poll takes one thing, in a fixed order, and builds it
//! from the state that is true now. A frame for a peer without a session is dropped: the next session says
//! everything anew.

mod delivery;
mod mesh;
mod message;

use crate::data::slab::Ix;
use crate::engine::tables::Entity;
use crate::engine::{Core, Pending};
use crate::id::GrantToken;
use crate::input::{LinkId, Part};
use crate::output::{Attached, Output, Payload};
use crate::time::{Duration, Instant};
use crate::wire::Frame;

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
                Entity::Reservation(ix) => self.emit_reservation(ix, buffer),
                Entity::Relay(ix) => self.emit_relay(ix, buffer),
                Entity::Consumer(ix) => {
                    if let Some(consumer) = self.consumers.get(ix) {
                        self.match_service(consumer.service);
                    }
                    Said::Nothing
                }
                Entity::Core => Said::Nothing,
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
            Pending::Retract { peer, offer } => self.send(peer, &Frame::Retract { offer }, buffer),
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
            Pending::NoRoom { peer, offer } => self.send(peer, &Frame::NoRoom { offer }, buffer),
            Pending::Decline { peer, offer, floor } => {
                self.send(peer, &Frame::Decline { offer, floor }, buffer)
            }
            Pending::Settled { peer, token, taken } => {
                self.send(peer, &Frame::Settled { token, taken }, buffer)
            }
            Pending::Release { peer, token, verb } => {
                let frame = Frame::Answer {
                    token,
                    verb,
                    size: 0,
                    inline: true,
                    direct: false,
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
    pub(super) fn send(&mut self, peer: Ix, frame: &Frame, buffer: &mut [u8]) -> Option<Output> {
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
        // A peer that pings must not keep this end from its own rounds, in which it also tells of room.
        if *frame != Frame::Pong {
            self.peers[peer].sent = self.now;
        }
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

    fn attach(&self, payload: Payload, size: u64, token: GrantToken, part: Part) -> (Attached, bool) {
        if size == 0 {
            (Attached::Nothing, true)
        } else if size <= self.config.inline_max {
            (Attached::Inline(payload), true)
        } else {
            (Attached::Apart { payload, token, part }, false)
        }
    }
}
