//! The driver's side of links: frames to peers. What is too large for them is in `transfers`.

use super::contents::Source;
use super::pace::Pace;
use crate::clock;
use crate::link::frame;
use crate::link::how::How;
use crate::link::outbox::{Item, Outbox};
use crate::link::transfer::Job;
use crate::metrics::{Meters, Traffic};
use bytes::{Bytes, BytesMut};
use redlink_core::{Instant, LinkId, Name, NodeId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio::sync::mpsc;

/// Frames leave in pieces of about this size: large enough to fill TLS records, small enough to start early.
const CHUNK: usize = 64 << 10;

/// One connection to a peer.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Name,
    /// The peer's identity, while a session is up.
    node: Option<NodeId>,
    outbox: Outbox,
    /// Frames of this turn.
    buffer: BytesMut,
    since: Instant,
    dirty: bool,
    pace: Pace,
    /// Without its bytes, which the outbox counts.
    traffic: Traffic,
    /// A ping went out then, and its answer has not come.
    pinged: Option<Instant>,
    /// Takes the transfers that this side has to move: it dialled.
    pub(super) jobs: Option<mpsc::UnboundedSender<Job>>,
}

/// The way to a peer with a session, for what does not go through the core.
#[derive(Debug)]
pub(crate) struct Line {
    /// The peer's identity.
    pub(crate) node: NodeId,
    /// Takes asides.
    pub(crate) outbox: Outbox,
}

/// How a frame's payload goes.
pub(super) enum Sending {
    Nothing,
    /// In the frame; `later` is where its bytes are found when its turn comes.
    Inline {
        source: Source,
        later: Source,
    },
}

#[derive(Debug, Default)]
pub(super) struct Links {
    up: HashMap<LinkId, Link>,
    last: u32,
    dirty: Vec<LinkId>,
    /// When the first of them is to be looked at, if its frames wait for others.
    due: Option<Instant>,
    /// Closed because their peer does not read.
    overflowed: Vec<LinkId>,
    /// Pieces that were handed to links.
    writes: u64,
}

impl Links {
    /// Pieces that were handed to links so far; each is one write at the most.
    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    /// A number that no link has had.
    pub(super) fn next_id(&mut self) -> LinkId {
        self.last += 1;
        LinkId(self.last)
    }

    pub(super) fn add(
        &mut self,
        link: LinkId,
        peer: Name,
        outbox: Outbox,
        jobs: Option<mpsc::UnboundedSender<Job>>,
    ) {
        self.up.insert(link, Link::new(peer, outbox, jobs));
    }

    /// The links with a peer that this node dialled, or that the peer did.
    pub(super) fn with(&self, peer: &Name, dialled: bool) -> Vec<LinkId> {
        let with = self
            .up
            .iter()
            .filter(|(_, l)| l.peer == *peer && l.jobs.is_some() == dialled);
        let mut links: Vec<_> = with.map(|(link, _)| *link).collect();
        links.sort_unstable();
        links
    }

    /// The links that peers dialled.
    pub(super) fn souths(&self) -> impl Iterator<Item = (LinkId, &Name)> {
        let souths = self.up.iter().filter(|(_, link)| link.jobs.is_none());
        souths.map(|(id, link)| (*id, &link.peer))
    }

    /// When a link came up, by the core's clock.
    pub(super) fn since(&self, link: LinkId) -> Option<Instant> {
        self.up.get(&link).map(|link| link.since)
    }

    /// A session has begun or ended on a link.
    pub(super) fn session(&mut self, link: LinkId, node: Option<NodeId>) {
        if let Some(link) = self.up.get_mut(&link) {
            link.traffic.sessions += u64::from(node.is_some());
            link.node = node;
        }
    }

    /// The ways to these peers; those without a session are left out.
    pub(super) fn lines(&self, peers: &[Name]) -> BTreeMap<Name, Line> {
        let wanted = peers.iter().collect::<BTreeSet<_>>();
        let up = self.up.values().filter(|link| wanted.contains(&link.peer));
        let lines = up.filter_map(|link| {
            let (node, outbox) = (link.node?, link.outbox.clone());
            Some((link.peer.clone(), Line { node, outbox }))
        });
        lines.collect()
    }

    /// A frame has come over a link; whether that is up.
    pub(super) fn came(&mut self, link: LinkId, pong: bool, now: Instant) -> bool {
        let Some(link) = self.up.get_mut(&link) else {
            return false;
        };
        link.traffic.frames_in += 1;
        if pong && let Some(since) = link.pinged.take() {
            link.traffic.rtt = Some(now.since(since));
        }
        true
    }

    /// A ping goes out.
    pub(super) fn pinged(&mut self, link: LinkId, now: Instant) {
        if let Some(link) = self.up.get_mut(&link) {
            link.pinged = Some(now);
        }
    }

    /// What went over links, by peer, direction and whether a session is up now.
    pub(super) fn traffic(&self, meters: &Meters) -> Vec<(String, &'static str, bool, Traffic)> {
        let direction = |dialled| if dialled { "north" } else { "south" };
        let gone = meters.links_gone().iter();
        let gone =
            gone.map(|((peer, dialled), traffic)| (peer.clone(), direction(*dialled), false, *traffic));
        let up = self.up.values().map(|link| {
            let dialled = link.jobs.is_some();
            (
                link.peer.to_string(),
                direction(dialled),
                link.node.is_some(),
                link.traffic(),
            )
        });
        gone.chain(up).collect()
    }

    /// Whether there is a link with a peer of this name.
    pub(super) fn has_peer(&self, peer: &Name) -> bool {
        self.up.values().any(|link| link.peer == *peer)
    }

    pub(super) fn get(&self, link: LinkId) -> Option<&Link> {
        self.up.get(&link)
    }

    pub(super) fn peer(&self, link: LinkId) -> Option<&Name> {
        self.up.get(&link).map(|link| &link.peer)
    }

    /// How a link travels.
    pub(super) fn how(&self, link: LinkId) -> Option<&How> {
        self.up.get(&link).map(|link| link.outbox.how())
    }

    /// Forgets a link and closes its connection; what is not sent is dropped.
    pub(super) fn remove(&mut self, link: LinkId, why: &str, meters: &mut Meters) -> Option<Link> {
        let gone = self.up.remove(&link)?;
        meters.link_gone(gone.peer.as_str(), gone.jobs.is_some(), &gone.traffic());
        gone.outbox.close(why);
        Some(gone)
    }

    pub(super) fn close_all(&mut self, why: &str) {
        for link in self.up.values() {
            link.outbox.close(why);
        }
        self.up.clear();
    }

    /// Puts a frame behind those that wait for the end of the turn.
    pub(super) fn send(&mut self, link: LinkId, header: &[u8], sending: Sending, meters: &mut Meters) {
        // A frame for a link that was closed in this turn has no use.
        let Some(to) = self.up.get_mut(&link) else { return };
        to.pace.frame();
        to.traffic.frames_out += 1;
        let mut fits = true;
        match sending {
            Sending::Nothing => frame::put(&mut to.buffer, header, None),
            Sending::Inline {
                source: Source::Memory(content),
                ..
            } if !to.outbox.is_full() => frame::put(&mut to.buffer, header, Some(&content)),
            Sending::Inline { later, .. } => {
                let header = Bytes::copy_from_slice(header);
                fits = to.flush()
                    && to.push(Item::Later {
                        header,
                        source: later,
                    });
            }
        }
        if !to.dirty {
            to.dirty = true;
            self.dirty.push(link);
        }
        if fits && to.buffer.len() >= CHUNK {
            self.writes += 1;
            fits = to.flush();
        }
        if !fits {
            self.overflow(link, meters);
        }
    }

    fn overflow(&mut self, link: LinkId, meters: &mut Meters) {
        const WHY: &str = "the peer does not read";
        if let Some(link) = self.up.get_mut(&link) {
            link.traffic.overflows += 1;
        }
        if let Some(gone) = self.remove(link, WHY, meters) {
            tracing::warn!(peer = %gone.peer, "a link is closed because its peer does not read what is sent");
            self.overflowed.push(link);
        }
    }

    /// When frames that wait for others are to be handed over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Hands this turn's frames over, but for those that wait for others; the links that had to be closed.
    pub(super) fn flush(&mut self, now: Instant, meters: &mut Meters) -> Vec<LinkId> {
        self.due = None;
        for link in std::mem::take(&mut self.dirty) {
            let Some(to) = self.up.get_mut(&link) else {
                continue;
            };
            if let Some(until) = to.pace.hold(to.buffer.len(), now) {
                self.due = Some(self.due.map_or(until, |due| due.min(until)));
                self.dirty.push(link);
                continue;
            }
            to.dirty = false;
            to.pace.written(now);
            self.writes += 1;
            if !to.flush() {
                self.overflow(link, meters);
            }
        }
        std::mem::take(&mut self.overflowed)
    }
}

impl Link {
    pub(super) fn new(peer: Name, outbox: Outbox, jobs: Option<mpsc::UnboundedSender<Job>>) -> Self {
        Self {
            peer,
            node: None,
            outbox,
            buffer: BytesMut::new(),
            since: clock::now(),
            dirty: false,
            pace: Pace::new(clock::now()),
            traffic: Traffic::default(),
            pinged: None,
            jobs,
        }
    }

    /// What went over it.
    fn traffic(&self) -> Traffic {
        let (bytes_in, bytes_out) = self.outbox.bytes();
        Traffic {
            bytes_in,
            bytes_out,
            ..self.traffic
        }
    }

    fn push(&self, item: Item) -> bool {
        self.outbox.push(item).is_ok()
    }

    fn flush(&mut self) -> bool {
        self.buffer.is_empty()
            || self
                .outbox
                .push(Item::Frames(self.buffer.split().freeze()))
                .is_ok()
    }
}
