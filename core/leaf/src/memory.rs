//! All memory of a leaf. Every table starts as zeroes, so that a `static` of it costs no flash.

use super::bodies::Bodies;
use super::line::Line;
use core::mem::MaybeUninit;
use redlink_core::slots::{
    Consumer, Delivery, Message, Peer, Relay, Reservation, Route, Rule, Service, Take,
};
use redlink_core::{Capacity, Config, Core, Entry, Slots, Storage, TimerCell};

/// Messages of this node, up to the collection of their outcomes.
pub const MESSAGES: usize = 16;
/// Services that it offers or addresses.
pub const SERVICES: usize = 4;
/// Its peer to the north.
pub const PEERS: usize = 1;
const RESERVATIONS: usize = 3;
const DELIVERIES: usize = 2;
const CONSUMERS: usize = 1;
const TAKES: usize = 1;
/// The peer may have announced each service.
const ROUTES: usize = SERVICES * PEERS;
/// A leaf is on nobody's way.
const RELAYS: usize = 0;
/// Everything that it has may pass over its one link.
const RULES: usize = 0;
const ENTITIES: usize = CAPACITY.entities();
const PAIRS: usize = CAPACITY.pairs();
const MARKS: usize = Storage::marks_for(PEERS, SERVICES);

const CAPACITY: Capacity = Capacity {
    messages: MESSAGES as u32,
    reservations: RESERVATIONS as u32,
    deliveries: DELIVERIES as u32,
    services: SERVICES as u32,
    consumers: CONSUMERS as u32,
    takes: TAKES as u32,
    peers: PEERS as u32,
    routes: ROUTES as u32,
    relays: RELAYS as u32,
    rules: RULES as u32,
};

const fn cells(slots: usize) -> usize {
    Storage::cells_for(slots)
}

/// What a leaf is lent.
pub struct Memory {
    messages: [Entry<Message>; MESSAGES],
    reservations: [Entry<Reservation>; RESERVATIONS],
    deliveries: [Entry<Delivery>; DELIVERIES],
    services: [Entry<Service>; SERVICES],
    consumers: [Entry<Consumer>; CONSUMERS],
    takes: [Entry<Take>; TAKES],
    peers: [Entry<Peer>; PEERS],
    routes: [Entry<Route>; ROUTES],
    message_index: [u32; cells(MESSAGES)],
    reservation_index: [u32; cells(RESERVATIONS)],
    delivery_index: [u32; cells(DELIVERIES)],
    service_index: [u32; cells(SERVICES)],
    consumer_index: [u32; cells(CONSUMERS)],
    take_index: [u32; cells(TAKES)],
    peer_index: [u32; cells(PEERS)],
    link_index: [u32; cells(PEERS)],
    relays: [Entry<Relay>; RELAYS],
    rules: [Entry<Rule>; RULES],
    relay_index: [u32; cells(RELAYS)],
    told: [u8; PAIRS],
    reserved: [u16; PAIRS],
    marks: [u32; MARKS],
    starved: [u32; MARKS],
    timer_heap: [u32; ENTITIES],
    timer_cells: [TimerCell; ENTITIES],
    dirty: [u32; ENTITIES],
    bodies: Bodies,
    line: Line,
}

impl Memory {
    /// Nothing in it.
    pub const fn new() -> Self {
        Self {
            messages: [const { Entry::EMPTY }; MESSAGES],
            reservations: [const { Entry::EMPTY }; RESERVATIONS],
            deliveries: [const { Entry::EMPTY }; DELIVERIES],
            services: [const { Entry::EMPTY }; SERVICES],
            consumers: [const { Entry::EMPTY }; CONSUMERS],
            takes: [const { Entry::EMPTY }; TAKES],
            peers: [const { Entry::EMPTY }; PEERS],
            routes: [const { Entry::EMPTY }; ROUTES],
            message_index: [0; cells(MESSAGES)],
            reservation_index: [0; cells(RESERVATIONS)],
            delivery_index: [0; cells(DELIVERIES)],
            service_index: [0; cells(SERVICES)],
            consumer_index: [0; cells(CONSUMERS)],
            take_index: [0; cells(TAKES)],
            peer_index: [0; cells(PEERS)],
            link_index: [0; cells(PEERS)],
            relays: [],
            rules: [],
            relay_index: [0; cells(RELAYS)],
            told: [0; PAIRS],
            reserved: [0; PAIRS],
            marks: [0; MARKS],
            starved: [0; MARKS],
            timer_heap: [0; ENTITIES],
            timer_cells: [const { TimerCell::EMPTY }; ENTITIES],
            dirty: [0; ENTITIES],
            bodies: Bodies::new(),
            line: Line::new(),
        }
    }

    /// Lends it: a core, and what its shell needs beside it.
    pub(crate) fn lend<'m>(
        &'m mut self,
        place: &'m mut MaybeUninit<Core<'m>>,
        config: Config,
    ) -> (&'m mut Core<'m>, &'m mut Bodies, &'m mut Line) {
        let storage = Storage {
            messages: Slots::Lent(&mut self.messages),
            reservations: Slots::Lent(&mut self.reservations),
            deliveries: Slots::Lent(&mut self.deliveries),
            services: Slots::Lent(&mut self.services),
            consumers: Slots::Lent(&mut self.consumers),
            takes: Slots::Lent(&mut self.takes),
            peers: Slots::Lent(&mut self.peers),
            routes: Slots::Lent(&mut self.routes),
            message_index: Slots::Lent(&mut self.message_index),
            reservation_index: Slots::Lent(&mut self.reservation_index),
            delivery_index: Slots::Lent(&mut self.delivery_index),
            service_index: Slots::Lent(&mut self.service_index),
            consumer_index: Slots::Lent(&mut self.consumer_index),
            take_index: Slots::Lent(&mut self.take_index),
            peer_index: Slots::Lent(&mut self.peer_index),
            link_index: Slots::Lent(&mut self.link_index),
            relays: Slots::Lent(&mut self.relays),
            rules: Slots::Lent(&mut self.rules),
            relay_index: Slots::Lent(&mut self.relay_index),
            told: Slots::Lent(&mut self.told),
            reserved: Slots::Lent(&mut self.reserved),
            marks: Slots::Lent(&mut self.marks),
            starved: Slots::Lent(&mut self.starved),
            timer_heap: Slots::Lent(&mut self.timer_heap),
            timer_cells: Slots::Lent(&mut self.timer_cells),
            dirty: Slots::Lent(&mut self.dirty),
        };
        (
            place.write(Core::with_storage(config, storage)),
            &mut self.bodies,
            &mut self.line,
        )
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}
