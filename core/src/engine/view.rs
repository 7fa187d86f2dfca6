//! Looking in from outside: what status pages, lists and checks show.

use super::slots::{Direction, Message, Peer, Service, State};
use super::{Capacity, Core};
use crate::data::slab::{Ix, Link, Slab};
use crate::id::{MessageId, NodeId};
use crate::input::{LinkId, Outcome};
use crate::name::Name;
use crate::rate::Rate;
use crate::time::Duration;
use crate::wire::Path;
use core::ops::Range;

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
    /// Its first attempt is its only one.
    pub at_most_once: bool,
    /// Payload length in bytes.
    pub size: u64,
    /// Time since it was inserted.
    pub age: Duration,
    /// Time until its deadline.
    pub remaining: Option<Duration>,
    /// Time until it may be offered, while that has not come.
    pub delayed: Option<Duration>,
    /// While it is open: its alternate service, and the time until it is offered there too.
    pub alternate: Option<(&'a Name, Duration)>,
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
    /// Messages of this node that a consumer holds, here or elsewhere.
    pub granted: u32,
    /// Peers' messages that wait here.
    pub reserved: u32,
    /// Places of this node's consumers that are taken.
    pub held: u32,
    /// Messages that they would be handed at once.
    pub room: u32,
    /// Messages of this node in any state, outcomes included.
    pub messages: u32,
    /// Peers that have consumers of it.
    pub peers: u32,
    /// Age of the message that is served next of those that wait for a consumer, own and peers' ones: of the highest priority
    /// the oldest, unless priority rises with age. None if none waits.
    pub oldest: Option<Duration>,
}

/// What a peer and this node told each other about a service.
#[derive(Clone, Debug)]
pub struct RouteView<'a> {
    /// The service.
    pub service: &'a Name,
    /// The peer.
    pub peer: &'a Name,
    /// This node dialled the peer: it is to the north.
    pub dialled: bool,
    /// The way to the nearest consumers, the peer first; empty if the peer has announced none.
    pub path: &'a [NodeId],
    /// Offers that may wait at the peer; none if it has announced no consumers.
    pub window: Option<u16>,
    /// Only higher priorities find room there.
    pub floor: Option<u8>,
    /// Offers of this node, own and forwarded ones, that wait there.
    pub placed: u32,
    /// Its offers that wait here.
    pub reserved: u32,
    /// This node has announced the service to the peer.
    pub told: bool,
}

/// Where a walk over a table goes on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cursor(Link);

impl Cursor {
    /// As a number, for somebody who goes on later; 0 is the beginning.
    pub fn number(self) -> u32 {
        self.0.map_or(0, Ix::get)
    }

    /// From such a number. Any is good: one that no walk gave goes on somewhere, or finds nothing.
    pub fn from_number(number: u32) -> Self {
        Self(number.checked_sub(1).map(|position| Ix::new(position as usize)))
    }
}

/// Slots that one piece of a walk looks at.
const LOOKS: usize = 4_096;

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
    /// How many it wants at most in a time.
    pub rate: Option<Rate>,
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
            at_most_once: m.at_most_once,
            size: m.size,
            age: self.now.since(self.born(m.rank, m.priority)),
            remaining: m.deadline.map(|at| self.now.until(at)),
            delayed: Some(self.now.until(m.lease_until)).filter(|&left| {
                matches!(m.state, State::Recovering | State::Delayed) && left > Duration::ZERO
            }),
            alternate: m.twin.map(|ix| {
                let twin = &self.messages[ix];
                (
                    &self.services[twin.service].name,
                    self.now.until(twin.lease_until),
                )
            }),
        }
    }

    /// The message of that sequence number, from acceptance to the deletion of its outcome.
    pub fn message(&self, sequence: u64) -> Option<MessageView<'_>> {
        let m = &self.messages[self.find_message(sequence)?];
        m.is_shown().then(|| self.view_message(m))
    }

    /// All messages, in the order of their slots.
    pub fn messages(&self) -> impl Iterator<Item = MessageView<'_>> {
        let shown = self.messages.iter().filter(|(_, m)| m.is_shown());
        shown.map(|(_, m)| self.view_message(m))
    }

    /// All services, in the order of their slots.
    pub fn services(&self) -> impl Iterator<Item = ServiceView<'_>> {
        self.services.iter().map(|(_, s)| self.view_service(s))
    }

    fn view_service<'a>(&'a self, s: &'a Service) -> ServiceView<'a> {
        let own = |first: Link| first.map(|ix| (self.messages[ix].rank, self.messages[ix].priority));
        let peers =
            |first: Link| first.map(|ix| (self.reservations[ix].rank, self.reservations[ix].priority));
        let fronts = [
            own(s.waiting.first()),
            own(s.offered.first()),
            peers(s.reserved.first()),
            peers(s.forwarded.first()),
        ];
        let next = fronts.into_iter().flatten().min_by_key(|(rank, _)| *rank);
        let oldest = next.map(|(rank, priority)| self.born(rank, priority));
        let first = s.consumers.front();
        let consumers = core::iter::successors(first, |&ix| s.consumers.next(&self.consumers, ix));
        let (held, room) = consumers.fold((0, 0), |(held, room), ix| {
            let consumer = &self.consumers[ix];
            (held + u32::from(consumer.held), room + consumer.room(self.now))
        });
        ServiceView {
            name: &s.name,
            consumers: s.consumers.len() as u32,
            waiting: s.waiting.len() as u32,
            offered: s.offered.len() as u32,
            granted: s.granted,
            held,
            room,
            reserved: (s.reserved.len() + s.forwarded.len()) as u32,
            messages: s.messages,
            peers: s.routes.len() as u32,
            oldest: oldest.map(|born| self.now.since(born)),
        }
    }

    /// Whether a service is in the table.
    pub fn knows(&self, service: &Name) -> bool {
        self.find_service(service).is_some()
    }

    /// Some messages, as [`Core::services_from`], each with where to go on behind it.
    pub fn messages_from(
        &self,
        from: Cursor,
        most: usize,
    ) -> (impl Iterator<Item = (Cursor, MessageView<'_>)>, Option<Cursor>) {
        let (found, next) = walk(&self.messages, from, most);
        let shown = found.filter(|(_, m)| m.is_shown());
        (
            shown.map(|(ix, m)| (Cursor(Some(ix)), self.view_message(m))),
            next,
        )
    }

    /// Some services behind `from`, or the first: at most `most`, and where to go on if there may be more. What it costs is
    /// bounded by `most`, the routes of these services and a few thousand slots.
    pub fn services_from(
        &self,
        from: Cursor,
        most: usize,
    ) -> (impl Iterator<Item = ServiceView<'_>>, Option<Cursor>) {
        let (found, next) = walk(&self.services, from, most);
        (found.map(|(_, s)| self.view_service(s)), next)
    }

    /// Some pairs of a service and a peer, as [`Core::services_from`]: first those that the peer has announced, then those
    /// that it was only told of.
    pub fn routes_from(
        &self,
        from: Cursor,
        most: usize,
    ) -> (impl Iterator<Item = RouteView<'_>>, Option<Cursor>) {
        let announced = self.routes.capacity();
        let all = announced + self.capacity.pairs();
        let pair = move |at: usize| {
            if at < announced {
                let (ix, r) = (Ix::new(at), self.routes.get(Ix::new(at))?);
                return Some((r.service, r.peer, Some(ix)));
            }
            let (service, peer) = self.told.pair(at - announced)?;
            let only_told =
                self.told.room(service, peer).is_some() && self.find_route(service, peer).is_none();
            only_told.then_some((service, peer, None))
        };
        let found = piece(from, all, most, |at| pair(at).is_some());
        let next = (found.end < all).then(|| Cursor(found.end.checked_sub(1).map(Ix::new)));
        let views = found.filter_map(pair);
        (
            views.map(|(service, peer, route)| self.view_route(service, peer, route)),
            next,
        )
    }

    fn view_route(&self, service: Ix, peer: Ix, route: Link) -> RouteView<'_> {
        let r = route.map(|ix| &self.routes[ix]);
        RouteView {
            service: &self.services[service].name,
            peer: &self.peers[peer].name,
            dialled: self.peers[peer].dialled,
            path: r.map_or(&[], |r| &r.path),
            window: r.and_then(|r| r.window),
            floor: r.and_then(|r| r.floor),
            placed: r.map_or(0, |r| r.placed),
            reserved: u32::from(self.told.reserved(service, peer)),
            told: self.told.room(service, peer).is_some(),
        }
    }

    /// The way to a service that a peer is to know through this node, which is its first; none if it is to know of none. The peer
    /// does know it when all is told and has arrived. For checks from outside.
    pub fn tells(&self, service: &str, peer: &str) -> Option<Path> {
        let (service, peer) = (self.find_service(service)?, self.find_peer(peer)?);
        let may = self.may_pass_over(peer, Direction::Export, &self.services[service].name);
        let told = self
            .announcement(service, peer)
            .filter(|_| may && self.is_up(peer));
        told.map(|told| told.path)
    }

    /// Some peers, as [`Core::services_from`].
    pub fn peers_from(
        &self,
        from: Cursor,
        most: usize,
    ) -> (impl Iterator<Item = PeerView<'_>>, Option<Cursor>) {
        let (found, next) = walk(&self.peers, from, most);
        (found.map(|(_, p)| self.view_peer(p)), next)
    }

    /// Peers with a session.
    pub fn sessions(&self) -> u32 {
        self.peers.iter().filter(|(_, p)| p.link.is_some()).count() as u32
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
            rate: c.bucket.rate(),
        })
    }

    /// All peers, in the order of their slots.
    pub fn peers(&self) -> impl Iterator<Item = PeerView<'_>> {
        self.peers.iter().map(|(_, p)| self.view_peer(p))
    }

    fn view_peer<'a>(&'a self, p: &'a Peer) -> PeerView<'a> {
        PeerView {
            name: &p.name,
            node: p.node,
            link: p.link,
            dialled: p.dialled,
            services: p.routes.len() as u32,
            reservations: p.reservations.len() as u32,
            deliveries: p.deliveries.len() as u32,
            granted: p.granted.len() as u32,
        }
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

/// Elements behind a cursor: at most `most`, found in [`LOOKS`] slots.
fn walk<'a, T>(
    slab: &'a Slab<'_, T>,
    from: Cursor,
    most: usize,
) -> (impl Iterator<Item = (Ix, &'a T)>, Option<Cursor>) {
    let found = piece(from, slab.capacity(), most, |at| slab.get(Ix::new(at)).is_some());
    let last = found.end.checked_sub(1).map(Ix::new);
    let more = !found.is_empty() && slab.next_live(last).is_some();
    let next = last.filter(|_| more).map(|last| Cursor(Some(last)));
    let found = found.filter_map(|at| slab.get(Ix::new(at)).map(|found| (Ix::new(at), found)));
    (found, next)
}

/// Of so many places those behind a cursor, up to the last that is shown or to the last that was looked at.
fn piece(from: Cursor, places: usize, most: usize, full: impl Fn(usize) -> bool) -> Range<usize> {
    let start = from.0.map_or(0, |ix| ix.position() + 1);
    let places = start..places.min(start + LOOKS);
    let end = places.clone().filter(|&at| full(at)).nth(most);
    start..end.unwrap_or(places.end)
}
