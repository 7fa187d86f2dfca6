//! What is compared: nodes, consumers, links and load.

use super::load::{Load, WORK, Work};
use crate::scenario::{MS, SECOND, Time};

/// How the nodes are linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// One hub, which every node with consumers dials. The producers are at the hub.
    Star,
    /// The same, and producers at every node.
    StarEverywhere,
    /// Two hubs, and every node with consumers dials both. The producers are at the hubs.
    TwoHubs,
    /// A root, nodes in the middle that dial it, and nodes with consumers that dial those. The producers are at the root.
    Tree,
}

impl Shape {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Star => "star",
            Self::StarEverywhere => "star, producers everywhere",
            Self::TwoHubs => "two hubs",
            Self::Tree => "tree",
        }
    }
}

/// Which consumers are ten times slower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slow {
    Nobody,
    /// All consumers of one in ten nodes.
    Nodes,
    /// One in ten consumers of each node.
    Consumers,
}

/// How much longer a slow consumer takes.
pub(crate) const SLOW: u32 = 10;

/// One experiment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Setting {
    pub(crate) shape: Shape,
    /// Nodes with consumers.
    pub(crate) nodes: u32,
    /// Consumers at each.
    pub(crate) consumers: u32,
    pub(crate) slow: Slow,
    pub(crate) work: Work,
    /// Load in percent of what all consumers together can do.
    pub(crate) load: u32,
    /// Every link takes this long.
    pub(crate) delay: Time,
}

/// How long a replication runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    /// From the begin of the load until it counts.
    pub(crate) warm: Time,
    /// How long messages that are submitted count.
    pub(crate) counted: Time,
}

impl Setting {
    /// The plain one: a star, 1 ms links, exponential work, all consumers alike.
    pub(crate) const fn star(nodes: u32, consumers: u32, load: u32) -> Self {
        Self {
            shape: Shape::Star,
            nodes,
            consumers,
            slow: Slow::Nobody,
            work: Work::Exponential,
            load,
            delay: MS,
        }
    }

    /// How much longer than normal the consumer of this number at a node takes.
    pub(crate) fn factor(&self, node: u32, consumer: u32) -> u32 {
        let slow = match self.slow {
            Slow::Nobody => false,
            Slow::Nodes => node.is_multiple_of(10),
            Slow::Consumers => consumer.is_multiple_of(10),
        };
        if slow { SLOW } else { 1 }
    }

    fn factors(&self) -> impl Iterator<Item = u32> {
        (0..self.nodes).flat_map(move |n| (0..self.consumers).map(move |c| self.factor(n, c)))
    }

    /// Messages a second.
    pub(crate) fn rate(&self) -> f64 {
        let capacity: f64 = self.factors().map(|factor| 1.0 / f64::from(factor)).sum();
        capacity * f64::from(self.load) / 100.0 * SECOND as f64 / WORK as f64
    }

    /// Nodes that have producers.
    pub(crate) fn producers(&self) -> u32 {
        match self.shape {
            Shape::Star | Shape::Tree => 1,
            Shape::TwoHubs => 2,
            Shape::StarEverywhere => self.nodes + 1,
        }
    }

    pub(crate) fn arrivals(&self, seed: u64, replication: u32) -> Load {
        Load::new(seed, replication, self.rate(), self.producers(), self.work)
    }

    /// Outstanding messages beyond which a queue is taken to grow without end.
    pub(crate) fn endless(&self) -> usize {
        1_000 + 200 * (self.nodes * self.consumers) as usize
    }
}
