//! Two nodes and the link between them.

use super::support::{Node, Sent, small};
use redlink_core::wire::Frame;
use redlink_core::{Capacity, Duration, Fault, Input, Instant, LinkId, Policy};
use std::collections::VecDeque;

/// The south node dials the north one.
pub(crate) struct Pair {
    pub(crate) south: Node,
    pub(crate) north: Node,
    pub(crate) now: Instant,
    /// Time that a frame needs.
    pub(crate) latency: Duration,
    /// The link's number, at both ends the same; none if it is cut.
    pub(crate) link: Option<LinkId>,
    next_link: u32,
    /// Frames under way to the south and to the north.
    flying: [VecDeque<(Instant, Sent)>; 2],
    /// Every frame that arrived, for tests that look at the wire: true if it went north.
    pub(crate) heard: Vec<(bool, Frame)>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::sized(small(), small())
    }

    pub(crate) fn sized(south: Capacity, north: Capacity) -> Self {
        let south = Node::new(1, south);
        let mut pair = Self {
            now: south.now,
            south,
            north: Node::new(2, north),
            latency: Duration::from_millis(10),
            link: None,
            next_link: 0,
            flying: [VecDeque::new(), VecDeque::new()],
            heard: Vec::new(),
        };
        pair.connect();
        pair.drive();
        pair
    }

    /// A new connection.
    pub(crate) fn connect(&mut self) {
        self.next_link += 1;
        let link = LinkId(self.next_link);
        self.link = Some(link);
        self.set_clocks();
        self.north.must(Input::LinkUp {
            link,
            peer: "n1",
            dialled: false,
            policy: Policy::default(),
        });
        self.south.must(Input::LinkUp {
            link,
            peer: "n2",
            dialled: true,
            policy: Policy::default(),
        });
    }

    /// The connection breaks: what is under way is lost, both ends know at once.
    pub(crate) fn cut(&mut self) {
        self.set_clocks();
        self.collect();
        self.flying.iter_mut().for_each(VecDeque::clear);
        if let Some(link) = self.link.take() {
            self.south.must(Input::LinkDown { link });
            self.north.must(Input::LinkDown { link });
        }
    }

    pub(crate) fn cut_south_only(&mut self) {
        self.set_clocks();
        if let Some(link) = self.link {
            self.south.must(Input::LinkDown { link });
        }
    }

    fn set_clocks(&mut self) {
        self.south.now = self.now;
        self.north.now = self.now;
    }

    /// Takes what was sent and puts it on its way.
    fn collect(&mut self) {
        let at = self.now + self.latency;
        for (node, to) in [(&mut self.south, 1), (&mut self.north, 0)] {
            for sent in node.sent.drain(..) {
                if Some(sent.link) == self.link {
                    self.flying[to].push_back((at, sent));
                }
            }
        }
    }

    /// Transfers beside the frames end at once.
    fn transfer(&mut self) {
        for north in [false, true] {
            let (node, other) = if north {
                (&mut self.north, &mut self.south)
            } else {
                (&mut self.south, &mut self.north)
            };
            for (link, token, part, size) in std::mem::take(&mut node.fetches) {
                let bytes = other.apart.get(&(token.attempt(), part)).cloned();
                let bytes = bytes.filter(|bytes| Some(link) == self.link && bytes.len() as u64 == size);
                let body = bytes.map(|bytes| node.body(bytes));
                node.must(Input::Fetched { token, part, body });
            }
        }
    }

    fn deliver(&mut self) {
        for to in 0..2 {
            while self.flying[to].front().is_some_and(|(at, _)| *at <= self.now) {
                let Some((_, sent)) = self.flying[to].pop_front() else {
                    break;
                };
                let node = if to == 1 { &mut self.north } else { &mut self.south };
                if let Some(frame) = Frame::decode(&sent.header) {
                    self.heard.push((to == 1, frame));
                }
                let body = sent.body.map(|bytes| node.body(bytes));
                node.must(Input::Frame {
                    link: sent.link,
                    bytes: &sent.header,
                    body,
                });
            }
        }
    }

    fn settle(&mut self) {
        self.set_clocks();
        self.deliver();
        self.transfer();
        self.south.time();
        self.north.time();
        self.transfer();
        self.collect();
    }

    /// Does what is due, then jumps to the next wake-up, but not past `end`. False if there is none before.
    pub(crate) fn step(&mut self, end: Instant) -> bool {
        self.settle();
        let arrivals = self
            .flying
            .iter()
            .filter_map(|flying| flying.front().map(|(at, _)| *at));
        let next = arrivals.chain(self.south.due()).chain(self.north.due()).min();
        match next.filter(|next| *next <= end) {
            Some(next) => {
                self.now = self.now.max(next);
                true
            }
            None => false,
        }
    }

    /// Runs until no frame is under way. Timers fire only if they are due by then.
    pub(crate) fn drive(&mut self) {
        for turn in 0.. {
            assert!(turn < 10_000, "the nodes never stop talking");
            self.settle();
            let Some(next) = self
                .flying
                .iter()
                .filter_map(|f| f.front().map(|(at, _)| *at))
                .min()
            else {
                return;
            };
            self.now = self.now.max(next);
        }
    }

    /// Runs for so long.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for turn in 0.. {
            assert!(turn < 100_000, "the nodes never come to rest");
            if !self.step(end) {
                break;
            }
        }
        self.now = end;
        self.settle();
    }

    /// Runs until something holds, at most for so long.
    pub(crate) fn until(&mut self, limit: Duration, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = self.now + limit;
        for turn in 0.. {
            assert!(turn < 100_000, "the nodes never come to rest");
            self.settle();
            if holds(self) {
                return;
            }
            assert!(self.step(end), "{what} did not happen");
        }
    }

    /// How often a frame like this arrived.
    pub(crate) fn count(&self, mut like: impl FnMut(&Frame) -> bool) -> usize {
        self.heard.iter().filter(|(_, frame)| like(frame)).count()
    }

    pub(crate) fn closed(&self) -> Vec<Fault> {
        self.south
            .told
            .closed
            .iter()
            .chain(&self.north.told.closed)
            .copied()
            .collect()
    }
}
