//! Looking in from outside: what status pages, lists and checks show.

use super::slots::{Message, State};
use super::{Capacity, Core};
use crate::data::slab::Ix;
use crate::id::{MessageId, NodeId};
use crate::input::{LinkId, Outcome};
use crate::name::Name;
use crate::time::Duration;

/// What happened so far in this life of the core.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Submits taken.
    pub submitted: u64,
    /// Submits that got onto the disk.
    pub accepted: u64,
    /// Outcomes that got onto the disk.
    pub settled: u64,
    /// Attempts granted.
    pub granted: u64,
    /// Leases of this node's messages that ran out.
    pub leases_over: u64,
    /// Offers sent to peers.
    pub offers: u64,
    /// Frames received and decoded.
    pub frames_in: u64,
    /// Frames built.
    pub frames_out: u64,
    /// Links closed because of what the peer did.
    pub peer_faults: u64,
    /// Announcements that found the table of routes or services full.
    pub routes_full: u64,
    /// Claims of nodes behind this one that found the table of relays full.
    pub relays_full: u64,
    /// Times that the caller's clock went back.
    pub clock_back: u64,
}

/// How full the tables are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[allow(missing_docs, reason = "each is the table of the same name in `Capacity`")]
pub struct Usage {
    pub messages: u32,
    pub reservations: u32,
    pub deliveries: u32,
    pub services: u32,
    pub consumers: u32,
    pub takes: u32,
    pub peers: u32,
    pub routes: u32,
    pub relays: u32,
    /// Timers that are set.
    pub timers: u32,
    /// Recovered messages whose overdue outcome is not on disk yet. The node is not ready before this is zero (P3).
    pub overdue: u32,
}

/// One message of this node.
#[derive(Clone, Debug)]
pub struct MessageView<'a> {
    /// Its id.
    pub id: MessageId,
    /// Its service; `_` for one of which only the outcome was recovered.
    pub service: &'a Name,
    /// Where it stands.
    pub state: State,
    /// What became of it, once that is on disk.
    pub outcome: Option<Outcome>,
    /// Its priority.
    pub priority: u8,
    /// Ended by an ack.
    pub send_only: bool,
    /// Number of the newest attempt in this boot, 0 before the first.
    pub attempt: u32,
    /// Leases that ran out.
    pub tries: u16,
    /// Payload length in bytes.
    pub size: u64,
    /// Time since it was inserted.
    pub age: Duration,
    /// Time until its deadline.
    pub remaining: Option<Duration>,
}

/// One service that is known here.
#[derive(Clone, Debug)]
pub struct ServiceView<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Consumers of this node.
    pub consumers: u32,
    /// Messages of this node that are placed nowhere.
    pub waiting: u32,
    /// Messages of this node that are placed at peers.
    pub offered: u32,
    /// Peers' messages that wait here.
    pub reserved: u32,
    /// Messages of this node in any state, outcomes included.
    pub messages: u32,
    /// Peers that have consumers of it.
    pub peers: u32,
}

/// One consumer of this node.
#[derive(Clone, Debug)]
pub struct ConsumerView<'a> {
    /// Its service.
    pub service: &'a Name,
    /// Its name.
    pub name: &'a Name,
    /// Leases that it may hold.
    pub limit: u16,
    /// Places that are taken.
    pub held: u16,
    /// Messages that its waiting takes ask for.
    pub wanted: u32,
    /// Its lease.
    pub lease: Duration,
}

/// One peer.
#[derive(Clone, Debug)]
pub struct PeerView<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Its identity, once a session told it.
    pub node: Option<NodeId>,
    /// The link of the session that is up.
    pub link: Option<LinkId>,
    /// This node dialled: the peer is to the north.
    pub dialled: bool,
    /// Services that the peer has consumers of.
    pub services: u32,
    /// Its offers that wait here.
    pub reservations: u32,
    /// Its messages that consumers here hold.
    pub deliveries: u32,
    /// This node's messages that its consumers hold.
    pub granted: u32,
}

impl Core<'_> {
    fn view_message(&self, m: &Message) -> MessageView<'_> {
        let on_disk = matches!(m.state, State::Settled | State::Deleting);
        MessageView {
            id: self.message_id(m.sequence),
            service: &self.services[m.service].name,
            state: m.state,
            outcome: m.outcome.filter(|_| on_disk),
            priority: m.priority,
            send_only: m.send_only,
            attempt: m.fence.attempt,
            tries: m.tries,
            size: m.size,
            age: self.now.since(m.born),
            remaining: m.deadline.map(|at| self.now.until(at)),
        }
    }

    /// The message of that sequence number, from acceptance to the deletion of its outcome.
    pub fn message(&self, sequence: u64) -> Option<MessageView<'_>> {
        let m = &self.messages[self.find_message(sequence)?];
        (m.state != State::Storing).then(|| self.view_message(m))
    }

    /// All messages, in the order of their slots.
    pub fn messages(&self) -> impl Iterator<Item = MessageView<'_>> {
        let shown = self.messages.iter().filter(|(_, m)| m.state != State::Storing);
        shown.map(|(_, m)| self.view_message(m))
    }

    /// All services, in the order of their slots.
    pub fn services(&self) -> impl Iterator<Item = ServiceView<'_>> {
        self.services.iter().map(|(_, s)| ServiceView {
            name: &s.name,
            consumers: s.consumers.len() as u32,
            waiting: s.waiting.len() as u32,
            offered: s.offered.len() as u32,
            reserved: (s.reserved.len() + s.forwarded.len()) as u32,
            messages: s.messages,
            peers: self.peers_of(s.routes.front(), |ix| s.routes.next(&self.routes, ix)),
        })
    }

    fn peers_of(&self, first: Option<Ix>, next: impl Fn(Ix) -> Option<Ix>) -> u32 {
        let routes = core::iter::successors(first, |&ix| next(ix));
        routes.filter(|&ix| self.routes[ix].window.is_some()).count() as u32
    }

    /// All consumers, in the order of their slots.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerView<'_>> {
        self.consumers.iter().map(|(_, c)| ConsumerView {
            service: &self.services[c.service].name,
            name: &c.name,
            limit: c.limit,
            held: c.held,
            wanted: c.wanted,
            lease: c.lease,
        })
    }

    /// All peers, in the order of their slots.
    pub fn peers(&self) -> impl Iterator<Item = PeerView<'_>> {
        self.peers.iter().map(|(_, p)| PeerView {
            name: &p.name,
            node: p.node,
            link: p.link,
            dialled: p.dialled,
            services: self.peers_of(p.routes.front(), |ix| p.routes.next(&self.routes, ix)),
            reservations: p.reservations.len() as u32,
            deliveries: p.deliveries.len() as u32,
            granted: p.granted.len() as u32,
        })
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What it was made for.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// How full the tables are.
    pub fn usage(&self) -> Usage {
        Usage {
            messages: self.messages.len() as u32,
            reservations: self.reservations.len() as u32,
            deliveries: self.deliveries.len() as u32,
            services: self.services.len() as u32,
            consumers: self.consumers.len() as u32,
            takes: self.takes.len() as u32,
            peers: self.peers.len() as u32,
            routes: self.routes.len() as u32,
            relays: self.relays.len() as u32,
            timers: self.timers.len() as u32,
            overdue: self.overdue,
        }
    }
}
