//! Cores and the links between them in virtual time: no faults, links of one delay, encoded frames.

use super::explain::Probe;
use super::sample::Cost;
use crate::scenario::Time;
use anyhow::{Result, bail};
use redlink_core::{
    Attached, Capacity, Config, Core, Input, Instant, LinkId, Name, NodeId, Output, Payload, Policy, wire,
};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A node: only its core.
struct Node {
    core: Core<'static>,
    /// Where each link leads, by its number: a node, and the number of the link there.
    links: Vec<(u32, LinkId)>,
    /// The soonest time for which a wake-up is arranged.
    wake: Option<Time>,
}

/// A frame on its way. All take the same time, so they arrive in the order in which they were sent.
struct Flying {
    at: Time,
    to: u32,
    link: LinkId,
    header: Vec<u8>,
}

/// Cores by their numbers, from 0; their identities are one more.
pub(crate) struct Cores {
    pub(crate) now: Time,
    delay: Time,
    seed: u64,
    nodes: Vec<Node>,
    flying: VecDeque<Flying>,
    /// Headers to use again.
    spare: Vec<Vec<u8>>,
    wakes: BinaryHeap<Reverse<(Time, u32)>>,
    /// When `cost` counts.
    pub(crate) counted: (Time, Time),
    pub(crate) cost: Cost,
    /// Inputs and timeouts so far.
    pub(crate) events: u64,
    /// When the last frame was sent.
    pub(crate) sent: Time,
    pub(crate) probe: Option<Probe>,
}

impl Cores {
    pub(crate) fn new(delay: Time, seed: u64, probe: Option<Probe>) -> Self {
        Self {
            now: 0,
            delay,
            seed,
            nodes: Vec::new(),
            flying: VecDeque::new(),
            spare: Vec::new(),
            wakes: BinaryHeap::new(),
            counted: (Time::MAX, Time::MAX),
            cost: Cost::default(),
            events: 0,
            sent: 0,
            probe,
        }
    }

    /// Adds a core that has started; its number.
    pub(crate) fn add(&mut self, capacity: Capacity) -> Result<u32> {
        let number = self.nodes.len() as u32;
        let node = NodeId(u64::from(number) + 1);
        let config = Config {
            seed: self.seed ^ node.0.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ..Config::new(node, Name::new(&format!("n{number}"))?, Name::new("mesh")?)
        };
        self.nodes.push(Node {
            core: Core::new(config, capacity),
            links: Vec::new(),
            wake: None,
        });
        self.feed(number, Input::Start)?;
        Ok(number)
    }

    pub(crate) fn core(&self, number: u32) -> &Core<'static> {
        &self.nodes[number as usize].core
    }

    /// A link comes up; both are to be polled.
    pub(crate) fn link(&mut self, south: u32, north: u32) -> Result<()> {
        let number = |host: u32| LinkId(self.nodes[host as usize].links.len() as u32);
        let (at_south, at_north) = (number(south), number(north));
        self.nodes[south as usize].links.push((north, at_north));
        self.nodes[north as usize].links.push((south, at_south));
        for (host, link, other, dialled) in [(south, at_south, north, true), (north, at_north, south, false)]
        {
            let up = Input::LinkUp {
                link,
                peer: &format!("n{other}"),
                dialled,
                policy: Policy::default(),
            };
            self.feed(host, up)?;
        }
        Ok(())
    }

    /// Hands an input to a core that was polled not long ago; its outputs are to be polled.
    pub(crate) fn feed(&mut self, host: u32, input: Input<'_>) -> Result<()> {
        self.count_event();
        let now = Instant::from_micros(self.now);
        match self.nodes[host as usize].core.handle_input(now, input) {
            Ok(_) => Ok(()),
            Err(why) => bail!("node {host} refuses {input:?}: {why:?}"),
        }
    }

    /// The next thing other than a frame that a core wants done; frames are sent. After `None` it is at rest.
    pub(crate) fn poll(&mut self, host: u32) -> Result<Option<Output>> {
        let mut buffer = [0; wire::HEADER_MAX];
        let now = Instant::from_micros(self.now);
        while let Some(output) = self.nodes[host as usize].core.poll_output(now, &mut buffer) {
            match output {
                Output::Frame { link, len, attached } => {
                    // What is said of an empty one is nothing here.
                    let nothing = match attached {
                        Attached::Inline(Payload::Own { size, .. }) => size == 0,
                        other => other == Attached::Nothing,
                    };
                    if !nothing {
                        bail!("node {host} sends a payload, and there is none")
                    }
                    self.send(host, link, &buffer[..len]);
                }
                Output::Notice(_) => {}
                _ => return Ok(Some(output)),
            }
        }
        let node = &mut self.nodes[host as usize];
        let due = node
            .core
            .poll_timeout()
            .map(|due| due.at.as_micros().max(self.now));
        if let Some(at) = due
            && node.wake.is_none_or(|wake| at < wake)
        {
            node.wake = Some(at);
            self.wakes.push(Reverse((at, host)));
        }
        Ok(None)
    }

    fn send(&mut self, host: u32, link: LinkId, bytes: &[u8]) {
        let (to, there) = self.nodes[host as usize].links[link.0 as usize];
        let mut header = self.spare.pop().unwrap_or_default();
        header.extend_from_slice(bytes);
        self.sent = self.now;
        if self.counts(self.now) {
            self.cost.frames += 1;
            // Two lengths stand before each frame on the wire.
            self.cost.bytes += header.len() as u64 + 8;
        }
        if let Some(probe) = &mut self.probe {
            probe.sent(host, to, &header, self.now);
        }
        self.flying.push_back(Flying {
            at: self.now + self.delay,
            to,
            link: there,
            header,
        });
    }

    /// When the next frame arrives or a core wants to be woken.
    pub(crate) fn next(&self) -> Option<Time> {
        let flying = self.flying.front().map(|frame| frame.at);
        let wake = self.wakes.peek().map(|Reverse((at, _))| *at);
        match (flying, wake) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether frames are on their way.
    pub(crate) fn busy(&self) -> bool {
        !self.flying.is_empty()
    }

    /// Does the one thing that is due at that time, frames first; the core that it happened to, which is to be polled.
    pub(crate) fn step(&mut self, at: Time) -> Result<Option<u32>> {
        self.now = at;
        if self.flying.front().is_some_and(|frame| frame.at == at)
            && let Some(mut frame) = self.flying.pop_front()
        {
            if let Some(probe) = &mut self.probe {
                probe.arrived(frame.to, &frame.header, at);
            }
            let input = Input::Frame {
                link: frame.link,
                bytes: &frame.header,
                body: None,
            };
            self.feed(frame.to, input)?;
            frame.header.clear();
            self.spare.push(frame.header);
            return Ok(Some(frame.to));
        }
        let Some(Reverse((_, host))) = self.wakes.pop() else {
            return Ok(None);
        };
        let node = &mut self.nodes[host as usize];
        if node.wake != Some(at) {
            // It was arranged before a sooner one, which has looked again since.
            return Ok(None);
        }
        node.wake = None;
        let now = Instant::from_micros(at);
        if node.core.poll_timeout().is_some_and(|due| due.at <= now) {
            node.core.handle_timeout(now);
            self.count_event();
        }
        Ok(Some(host))
    }

    pub(crate) fn counts(&self, at: Time) -> bool {
        (self.counted.0..self.counted.1).contains(&at)
    }

    fn count_event(&mut self) {
        self.events += 1;
        self.cost.events += u64::from(self.counts(self.now));
    }
}
