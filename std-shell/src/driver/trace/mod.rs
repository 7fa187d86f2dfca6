//! What happened to messages lately: a ring of bytes in memory, written by the driver as things happen.
//!
//! A step costs one copy of some dozens of bytes and no allocation: frames are kept as they came or went, and understood
//! only when somebody asks. The oldest steps make room for the newest.

mod read;

#[cfg(test)]
mod tests;

use redlink_core::wire::{Frame, HEADER_MAX};
use redlink_core::{LinkId, MessageId, Name, NodeId};
use std::collections::VecDeque;

/// A record: its length in [`UNIT`]s, what it is, the wall time in microseconds; then what it says.
const HEAD: usize = 12;
/// Records begin at multiples of this, so that the mark of an unused end always has room.
const UNIT: usize = 8;
/// Names of links that are remembered.
const LINKS: usize = 1_024;
/// Longest text of a step, in bytes: two names.
const TEXT: usize = 130;

const FRAME_IN: u8 = 1;
const FRAME_OUT: u8 = 2;
const STEP: u8 = 3;

/// A step that no frame shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Accepted,
    Delivered,
    Answered,
    Lost,
    Released,
    Payload,
    Settling,
    Outcome,
    Collected,
    Cancel,
}

impl Step {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Accepted, "accepted"),
        (Self::Delivered, "delivered"),
        (Self::Answered, "answered"),
        (Self::Lost, "lost"),
        (Self::Released, "released"),
        (Self::Payload, "payload"),
        (Self::Settling, "settling"),
        (Self::Outcome, "outcome"),
        (Self::Collected, "collected"),
        (Self::Cancel, "cancel"),
    ];
}

/// The ring.
#[derive(Debug)]
pub(super) struct Trace {
    ring: Vec<u8>,
    /// Bytes written since the start, and where among them the oldest record is.
    head: u64,
    tail: u64,
    links: VecDeque<(LinkId, Name)>,
    /// First bytes of frames that are about no message.
    silent: [bool; 256],
}

impl Trace {
    /// With this much memory; 0 turns it off.
    pub(super) fn new(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX) / UNIT * UNIT;
        // Less than a few records is nothing.
        let bytes = if bytes < 4_096 { 0 } else { bytes };
        let mut silent = [false; 256];
        let withdraw = Name::new("s").ok().map(|service| Frame::Withdraw { service });
        let announce = Name::new("s").ok().map(|service| Frame::Announce {
            service,
            window: 0,
            room: 0,
            path: Default::default(),
        });
        let mut buffer = [0; HEADER_MAX];
        for frame in [
            Some(Frame::Ping),
            Some(Frame::Pong),
            Some(Frame::HoldingEnd),
            Some(Frame::Refresh),
            withdraw,
            announce,
        ] {
            if frame.is_some_and(|frame| frame.encode(&mut buffer).is_some()) {
                silent[usize::from(buffer[0])] = true;
            }
        }
        Self {
            ring: vec![0; bytes],
            head: 0,
            tail: 0,
            links: VecDeque::new(),
            silent,
        }
    }

    /// Whether steps are kept.
    pub(super) fn is_on(&self) -> bool {
        !self.ring.is_empty()
    }

    /// A link has come up.
    pub(super) fn link(&mut self, link: LinkId, peer: &Name) {
        if self.is_on() {
            if self.links.len() == LINKS {
                self.links.pop_front();
            }
            self.links.push_back((link, peer.clone()));
        }
    }

    /// A frame came in.
    pub(super) fn frame_in(&mut self, at: i64, link: LinkId, header: &[u8]) {
        self.frame(FRAME_IN, at, link, header);
    }

    /// A frame goes out.
    pub(super) fn frame_out(&mut self, at: i64, link: LinkId, header: &[u8]) {
        self.frame(FRAME_OUT, at, link, header);
    }

    fn frame(&mut self, kind: u8, at: i64, link: LinkId, header: &[u8]) {
        let about = header
            .first()
            .is_some_and(|&first| !self.silent[usize::from(first)]);
        // Longer ones are none.
        if about && header.len() <= HEADER_MAX {
            self.put(
                kind,
                at,
                &[
                    &link.0.to_le_bytes(),
                    &(header.len() as u16).to_le_bytes(),
                    header,
                ],
            );
        }
    }

    /// Something else happened. `attempt` is 0 where there is none, `texts` are joined by a blank.
    pub(super) fn step(&mut self, at: i64, step: Step, message: MessageId, attempt: u32, texts: [&str; 2]) {
        let [a, b] = texts;
        let blank: &str = if a.is_empty() || b.is_empty() { "" } else { " " };
        let length = a.len() + blank.len() + b.len();
        if length > TEXT {
            return;
        }
        self.put(
            STEP,
            at,
            &[
                &message.node.0.to_le_bytes(),
                &message.sequence.to_le_bytes(),
                &attempt.to_le_bytes(),
                &[step as u8, length as u8],
                a.as_bytes(),
                blank.as_bytes(),
                b.as_bytes(),
            ],
        );
    }

    fn put(&mut self, kind: u8, at: i64, parts: &[&[u8]]) {
        if self.ring.is_empty() {
            return;
        }
        let length = HEAD + parts.iter().map(|part| part.len()).sum::<usize>();
        let length = length.next_multiple_of(UNIT);
        let capacity = self.ring.len() as u64;
        let mut position = (self.head % capacity) as usize;
        let left = self.ring.len() - position;
        if length > left {
            self.make_room(left);
            self.ring[position] = 0;
            self.head += left as u64;
            position = 0;
        }
        self.make_room(length);
        self.ring[position] = (length / UNIT) as u8;
        self.ring[position + 1] = kind;
        self.ring[position + 4..position + HEAD].copy_from_slice(&at.to_le_bytes());
        let mut to = position + HEAD;
        for part in parts {
            self.ring[to..to + part.len()].copy_from_slice(part);
            to += part.len();
        }
        self.head += length as u64;
    }

    /// Forgets the oldest records until `length` bytes may be written.
    fn make_room(&mut self, length: usize) {
        let capacity = self.ring.len() as u64;
        while self.head + length as u64 - self.tail > capacity {
            self.tail += self.length_at(self.tail);
        }
    }

    /// Length of the record there, or of the unused end.
    fn length_at(&self, at: u64) -> u64 {
        let position = (at % self.ring.len() as u64) as usize;
        match usize::from(self.ring[position]) {
            0 => (self.ring.len() - position) as u64,
            units => (units * UNIT) as u64,
        }
    }

    fn peer(&self, link: LinkId) -> Option<&Name> {
        self.links
            .iter()
            .rev()
            .find(|(known, _)| *known == link)
            .map(|(_, peer)| peer)
    }
}

/// A node's id as it is shown.
fn shown(node: NodeId) -> String {
    node.to_string()
}
