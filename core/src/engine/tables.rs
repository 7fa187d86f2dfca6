//! The tables of a core: their capacities, their storage, and the numbering of their slots as entities.

use super::slots::{Consumer, Delivery, Message, Peer, Relay, Reservation, Route, Rule, Service, Take};
use crate::data::index::Index;
use crate::data::marks::Marks;
use crate::data::slab::{Entry, Ix};
use crate::data::slots::Slots;
use crate::data::timers::TimerCell;
use core::mem::size_of;

/// How many of each a core has room for. Its memory is taken at start and never grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Messages of this node, up to the collection of their outcomes.
    pub messages: u32,
    /// Peers' offers that wait here.
    pub reservations: u32,
    /// Messages that consumers of this node hold, and their answers until the origin has them.
    pub deliveries: u32,
    /// Services that are offered, addressed or heard of here.
    pub services: u32,
    /// Consumers of this node.
    pub consumers: u32,
    /// Takes that wait.
    pub takes: u32,
    /// Peers.
    pub peers: u32,
    /// Pairs of a service and a peer that has announced it.
    pub routes: u32,
    /// Messages that pass between a peer and another.
    pub relays: u32,
    /// Rules of all links together for what may pass over them.
    pub rules: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            messages: 100_000,
            reservations: 16_384,
            deliveries: 16_384,
            services: 1_024,
            consumers: 4_096,
            takes: 4_096,
            peers: 256,
            routes: 32_768,
            relays: 16_384,
            rules: 2_048,
        }
    }
}

impl Capacity {
    /// Slots that have a timer and a place in the dirty queue: all but services, takes, routes and rules, and the core
    /// itself.
    pub const fn entities(&self) -> usize {
        self.messages as usize
            + self.reservations as usize
            + self.deliveries as usize
            + self.consumers as usize
            + self.peers as usize
            + self.relays as usize
            + 1
    }

    /// Pairs of a service and a peer: what was told of each to each.
    pub const fn pairs(&self) -> usize {
        self.peers as usize * self.services as usize
    }

    /// Memory of the tables of pairs, in bytes: what was told and what waits, marks of news and of starved ones.
    pub const fn pair_bytes(&self) -> usize {
        let marks = Marks::words_for(self.peers as usize, self.services as usize);
        self.pairs() * (size_of::<u8>() + size_of::<u16>()) + 2 * marks * size_of::<u32>()
    }

    /// Memory that the tables take, in bytes.
    pub const fn bytes(&self) -> usize {
        const fn table<T>(slots: u32) -> usize {
            slots as usize * size_of::<Entry<T>>()
        }
        const fn index(slots: u32) -> usize {
            Index::cells_for(slots as usize) * size_of::<u32>()
        }
        table::<Message>(self.messages)
            + table::<Reservation>(self.reservations)
            + table::<Delivery>(self.deliveries)
            + table::<Service>(self.services)
            + table::<Consumer>(self.consumers)
            + table::<Take>(self.takes)
            + table::<Peer>(self.peers)
            + table::<Route>(self.routes)
            + table::<Relay>(self.relays)
            + table::<Rule>(self.rules)
            + index(self.relays)
            + index(self.messages)
            + index(self.reservations)
            + index(self.deliveries)
            + index(self.services)
            + index(self.consumers)
            + index(self.takes)
            + index(self.peers)
            + index(self.peers)
            + self.pair_bytes()
            // Timer cell, its place in the heap, its place in the dirty queue.
            + self.entities() * (size_of::<TimerCell>() + 2 * size_of::<u32>())
    }
}

/// Memory of a core, lent by the caller or boxed. Lengths say the capacity: each index has
/// [`Storage::cells_for`] its table's length (`link_index` is the peers' second one), `told` and `reserved` have a cell for
/// each pair of a service and a peer, `marks` and `starved` the words of [`Storage::marks_for`] peers and services.
#[allow(
    missing_docs,
    reason = "each is the table of the same name in `Capacity`, or its index"
)]
pub struct Storage<'s> {
    pub messages: Slots<'s, Entry<Message>>,
    pub reservations: Slots<'s, Entry<Reservation>>,
    pub deliveries: Slots<'s, Entry<Delivery>>,
    pub services: Slots<'s, Entry<Service>>,
    pub consumers: Slots<'s, Entry<Consumer>>,
    pub takes: Slots<'s, Entry<Take>>,
    pub peers: Slots<'s, Entry<Peer>>,
    pub routes: Slots<'s, Entry<Route>>,
    pub relays: Slots<'s, Entry<Relay>>,
    pub rules: Slots<'s, Entry<Rule>>,
    pub relay_index: Slots<'s, u32>,
    pub message_index: Slots<'s, u32>,
    pub reservation_index: Slots<'s, u32>,
    pub delivery_index: Slots<'s, u32>,
    pub service_index: Slots<'s, u32>,
    pub consumer_index: Slots<'s, u32>,
    pub take_index: Slots<'s, u32>,
    pub peer_index: Slots<'s, u32>,
    pub link_index: Slots<'s, u32>,
    pub told: Slots<'s, u8>,
    pub reserved: Slots<'s, u16>,
    pub marks: Slots<'s, u32>,
    pub starved: Slots<'s, u32>,
    pub timer_heap: Slots<'s, u32>,
    pub timer_cells: Slots<'s, TimerCell>,
    pub dirty: Slots<'s, u32>,
}

impl Storage<'_> {
    /// Cells that an index over `slots` entries needs.
    pub const fn cells_for(slots: usize) -> usize {
        Index::cells_for(slots)
    }

    /// Words that the marks of so many peers over so many services need.
    pub const fn marks_for(peers: usize, services: usize) -> usize {
        Marks::words_for(peers, services)
    }

    /// What fits.
    pub fn capacity(&self) -> Capacity {
        Capacity {
            messages: self.messages.len() as u32,
            reservations: self.reservations.len() as u32,
            deliveries: self.deliveries.len() as u32,
            services: self.services.len() as u32,
            consumers: self.consumers.len() as u32,
            takes: self.takes.len() as u32,
            peers: self.peers.len() as u32,
            routes: self.routes.len() as u32,
            relays: self.relays.len() as u32,
            rules: self.rules.len() as u32,
        }
    }
}

#[cfg(feature = "alloc")]
impl Storage<'static> {
    /// Takes the memory for `capacity`.
    pub fn boxed(capacity: &Capacity) -> Self {
        fn table<T>(slots: u32) -> Slots<'static, Entry<T>> {
            Slots::boxed(slots as usize, || Entry::EMPTY)
        }
        fn words(slots: usize) -> Slots<'static, u32> {
            Slots::boxed(slots, || 0)
        }
        let index = |slots: u32| words(Index::cells_for(slots as usize));
        let marks = || {
            words(Marks::words_for(
                capacity.peers as usize,
                capacity.services as usize,
            ))
        };
        Self {
            messages: table(capacity.messages),
            reservations: table(capacity.reservations),
            deliveries: table(capacity.deliveries),
            services: table(capacity.services),
            consumers: table(capacity.consumers),
            takes: table(capacity.takes),
            peers: table(capacity.peers),
            routes: table(capacity.routes),
            relays: table(capacity.relays),
            rules: table(capacity.rules),
            relay_index: index(capacity.relays),
            message_index: index(capacity.messages),
            reservation_index: index(capacity.reservations),
            delivery_index: index(capacity.deliveries),
            service_index: index(capacity.services),
            consumer_index: index(capacity.consumers),
            take_index: index(capacity.takes),
            peer_index: index(capacity.peers),
            link_index: index(capacity.peers),
            told: Slots::boxed(capacity.pairs(), || 0),
            reserved: Slots::boxed(capacity.pairs(), || 0),
            marks: marks(),
            starved: marks(),
            timer_heap: words(capacity.entities()),
            timer_cells: Slots::boxed(capacity.entities(), || TimerCell::EMPTY),
            dirty: words(capacity.entities()),
        }
    }
}

/// Something that has a timer or something to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entity {
    Message(Ix),
    Reservation(Ix),
    Delivery(Ix),
    Consumer(Ix),
    Peer(Ix),
    Relay(Ix),
    /// The end of the recovery window.
    Core,
}

impl Entity {
    /// Its number among all entities.
    pub(crate) fn number(self, c: &Capacity) -> u32 {
        let at = |ix: Ix| ix.position() as u32;
        match self {
            Self::Message(ix) => at(ix),
            Self::Reservation(ix) => c.messages + at(ix),
            Self::Delivery(ix) => c.messages + c.reservations + at(ix),
            Self::Consumer(ix) => c.messages + c.reservations + c.deliveries + at(ix),
            Self::Peer(ix) => c.messages + c.reservations + c.deliveries + c.consumers + at(ix),
            Self::Relay(ix) => Self::Core.number(c) - c.relays + at(ix),
            Self::Core => c.entities() as u32 - 1,
        }
    }

    /// The entity of that number.
    pub(crate) fn of(number: u32, c: &Capacity) -> Self {
        let mut left = number;
        let mut is_in = |slots: u32| {
            let here = left < slots;
            if !here {
                left -= slots;
            }
            here
        };
        let make: fn(Ix) -> Self = if is_in(c.messages) {
            Self::Message
        } else if is_in(c.reservations) {
            Self::Reservation
        } else if is_in(c.deliveries) {
            Self::Delivery
        } else if is_in(c.consumers) {
            Self::Consumer
        } else if is_in(c.peers) {
            Self::Peer
        } else if is_in(c.relays) {
            Self::Relay
        } else {
            return Self::Core;
        };
        make(Ix::new(left as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_numbers_are_dense_and_reversible() {
        let c = Capacity {
            messages: 3,
            reservations: 2,
            deliveries: 2,
            services: 9,
            consumers: 1,
            takes: 9,
            peers: 2,
            routes: 4,
            relays: 3,
            rules: 9,
        };
        for number in 0..c.entities() as u32 {
            assert_eq!(Entity::of(number, &c).number(&c), number);
        }
        assert_eq!(Entity::of(c.entities() as u32 - 1, &c), Entity::Core);
    }

    /// A root of a large mesh: each service is announced to it by two of its peers.
    #[test]
    fn a_thousand_peers_and_ten_thousand_services_fit_their_budget() {
        let root = Capacity {
            peers: 1_000,
            services: 10_000,
            routes: 20_000,
            ..Capacity::default()
        };
        let none = Capacity {
            peers: 0,
            services: 0,
            routes: 0,
            ..root
        };
        let bytes = root.bytes() - none.bytes();
        assert!(bytes < 48 << 20, "{bytes} bytes");
    }

    /// A message slot is most of a large core's memory; growing it is a decision.
    #[test]
    fn a_million_messages_fit_their_budget() {
        let c = Capacity {
            messages: 1_000_000,
            ..Capacity::default()
        };
        let without = Capacity { messages: 0, ..c };
        let each = (c.bytes() - without.bytes()) / 1_000_000;
        assert!(each <= 320, "{each} bytes a message");
    }
}
