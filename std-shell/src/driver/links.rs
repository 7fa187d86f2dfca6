//! The driver's side of links: frames to peers, and the large payloads beside them.
//!
//! A large payload and the frame that announces it go by different connections, so either may be first. At the side that was
//! dialled, what a frame announces is waited for in `fetches`, what comes before its frame is kept in `early`, and what
//! this node announced can be got as long as it is in `offered`. The dialling side moves everything itself.

use super::contents::{Contents, Source, cost};
use super::turn::Next;
use crate::Content;
use crate::link::frame;
use crate::link::how::How;
use crate::link::outbox::{Item, Outbox};
use crate::link::transfer::{Job, TransferKey, TransferRefusal};
use bytes::{Bytes, BytesMut};
use redlink_core::{
    Body, ConsumerKey, Duration, Fence, GrantToken, Instant, LinkId, MessageId, Name, NodeId, Part, Payload,
};
use std::collections::{BTreeMap, HashMap, VecDeque};
use tokio::sync::mpsc;

/// Frames leave in pieces of about this size: large enough to fill TLS records, small enough to start early.
const CHUNK: usize = 64 << 10;

/// How long a payload that was announced may take to begin, or to go on.
const FETCH: Duration = Duration::from_secs(60);

/// How long a payload waits for the frame that announces it, and how much of that there may be in bytes.
const EARLY: Duration = Duration::from_secs(10);
const EARLY_MAX: u64 = 32 << 20;

/// One connection to a peer.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Name,
    outbox: Outbox,
    /// Frames of this turn.
    buffer: BytesMut,
    dirty: bool,
    /// Takes the transfers that this side has to move: it dialled.
    pub(super) jobs: Option<mpsc::UnboundedSender<Job>>,
}

/// How a frame's payload goes.
pub(super) enum Sending {
    Nothing,
    /// In the frame; `later` is where its bytes are found when its turn comes.
    Inline {
        source: Source,
        later: Source,
    },
    Apart {
        key: TransferKey,
        payload: Payload,
        source: Source,
    },
}

#[derive(Debug)]
struct Fetch {
    link: LinkId,
    peer: Name,
    size: u64,
    /// None if this side gets it: that ends by itself.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Early {
    peer: Name,
    content: Content,
    until: Instant,
}

#[derive(Debug)]
struct Offered {
    peer: Name,
    payload: Payload,
}

#[derive(Debug, Default)]
pub(super) struct Links {
    up: HashMap<LinkId, Link>,
    last: u32,
    dirty: Vec<LinkId>,
    /// Closed because their peer does not read.
    overflowed: Vec<LinkId>,
    fetches: BTreeMap<TransferKey, Fetch>,
    early: BTreeMap<TransferKey, Early>,
    early_bytes: u64,
    offered: BTreeMap<TransferKey, Offered>,
    /// Which of those are bytes that the core will free.
    offered_bodies: HashMap<u64, TransferKey>,
    /// Pieces that were handed to links.
    writes: u64,
    /// Nothing in `fetches` and `early` ends before this.
    soonest: Option<Instant>,
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
        self.up.insert(
            link,
            Link {
                peer,
                outbox,
                buffer: BytesMut::new(),
                dirty: false,
                jobs,
            },
        );
    }

    pub(super) fn is_up(&self, link: LinkId) -> bool {
        self.up.contains_key(&link)
    }

    pub(super) fn peer(&self, link: LinkId) -> Option<&Name> {
        self.up.get(&link).map(|link| &link.peer)
    }

    /// How a link travels.
    pub(super) fn how(&self, link: LinkId) -> Option<&How> {
        self.up.get(&link).map(|link| link.outbox.how())
    }

    /// Forgets a link and closes its connection; what is not sent is dropped.
    pub(super) fn remove(&mut self, link: LinkId, why: &str) -> Option<Link> {
        let gone = self.up.remove(&link)?;
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
    pub(super) fn send(&mut self, link: LinkId, header: &[u8], sending: Sending) {
        // A frame for a link that was closed in this turn has no use.
        let Some(to) = self.up.get_mut(&link) else { return };
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
            Sending::Apart { key, payload, source } => {
                frame::put(&mut to.buffer, header, None);
                match &to.jobs {
                    // A mover that is gone takes its link along.
                    Some(jobs) => drop(jobs.send(Job::Put { key, source })),
                    None => {
                        if let Payload::Held(body) = payload {
                            self.offered_bodies.insert(body.id, key);
                        }
                        self.offered.insert(
                            key,
                            Offered {
                                peer: to.peer.clone(),
                                payload,
                            },
                        );
                    }
                }
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
            self.overflow(link);
        }
    }

    fn overflow(&mut self, link: LinkId) {
        const WHY: &str = "the peer does not read";
        if let Some(gone) = self.remove(link, WHY) {
            tracing::warn!(peer = %gone.peer, "a link is closed because its peer does not read what is sent");
            self.overflowed.push(link);
        }
    }

    /// Hands this turn's frames over; the links that had to be closed.
    pub(super) fn flush(&mut self) -> Vec<LinkId> {
        for link in std::mem::take(&mut self.dirty) {
            let Some(to) = self.up.get_mut(&link) else {
                continue;
            };
            to.dirty = false;
            self.writes += 1;
            if !to.flush() {
                self.overflow(link);
            }
        }
        std::mem::take(&mut self.overflowed)
    }

    /// A frame announced a payload: gets it, or waits for it.
    pub(super) fn fetch(
        &mut self,
        link: LinkId,
        key: TransferKey,
        size: u64,
        now: Instant,
        contents: &mut Contents,
    ) -> Option<Next> {
        let Some(from) = self.up.get(&link) else {
            return Some(Next::Fetched(key, None));
        };
        let peer = from.peer.clone();
        if let Some(early) = self.early.remove(&key) {
            let bytes = cost(&early.content);
            self.early_bytes -= bytes;
            contents.discharge(bytes);
            if early.peer == peer && early.content.bytes.len() as u64 == size {
                return Some(Next::Fetched(key, Some(early.content)));
            }
        }
        let until = match &from.jobs {
            Some(jobs) => {
                drop(jobs.send(Job::Get { key, size }));
                None
            }
            None => Some(now + FETCH),
        };
        self.fetches.insert(
            key,
            Fetch {
                link,
                peer,
                size,
                until,
            },
        );
        self.note(until);
        None
    }

    fn note(&mut self, until: Option<Instant>) {
        if let Some(until) = until {
            self.soonest = Some(self.soonest.map_or(until, |soonest| soonest.min(until)));
        }
    }

    /// A fetch by this side has ended; whether anybody still waits for it.
    pub(super) fn got(&mut self, key: &TransferKey) -> bool {
        self.fetches.remove(key).is_some()
    }

    /// A payload that is waited for goes on coming.
    pub(super) fn progress(&mut self, key: &TransferKey, now: Instant) {
        if let Some(until) = self.fetches.get_mut(key).and_then(|fetch| fetch.until.as_mut()) {
            *until = now + FETCH;
        }
    }

    /// A peer has brought a payload: it is given back if it is waited for, and kept a while if its frame has not come yet.
    pub(super) fn arrived(
        &mut self,
        peer: &Name,
        key: TransferKey,
        content: Content,
        now: Instant,
        contents: &mut Contents,
    ) -> Result<Option<Content>, TransferRefusal> {
        let bytes = cost(&content);
        if !frame::content_type_fits(&content) {
            return Err(TransferRefusal::TooLarge);
        }
        if let Some(fetch) = self.fetches.get(&key) {
            if fetch.peer != *peer || fetch.until.is_none() {
                return Err(TransferRefusal::Unknown);
            }
            if fetch.size != content.bytes.len() as u64 {
                return Err(TransferRefusal::TooLarge);
            }
            if !contents.fits_work(bytes) {
                return Err(TransferRefusal::Busy);
            }
            self.fetches.remove(&key);
            return Ok(Some(content));
        }
        if !self.up.values().any(|link| link.peer == *peer) {
            return Err(TransferRefusal::Unknown);
        }
        if self.early_bytes + bytes > EARLY_MAX || !contents.fits_work(bytes) {
            return Err(TransferRefusal::Busy);
        }
        if let Some(known) = self.early.get(&key) {
            // Brought twice because the answer to the first was lost.
            return if known.peer == *peer {
                Ok(None)
            } else {
                Err(TransferRefusal::Unknown)
            };
        }
        contents.charge(bytes);
        self.early_bytes += bytes;
        self.early.insert(
            key,
            Early {
                peer: peer.clone(),
                content,
                until: now + EARLY,
            },
        );
        self.note(Some(now + EARLY));
        Ok(None)
    }

    /// What this peer may get under that key.
    pub(super) fn offered(&self, peer: &Name, key: &TransferKey) -> Option<Payload> {
        self.offered
            .get(key)
            .filter(|offered| offered.peer == *peer)
            .map(|offered| offered.payload)
    }

    /// The core is done with these bytes.
    pub(super) fn freed(&mut self, body: Body) {
        if let Some(key) = self.offered_bodies.remove(&body.id) {
            self.offered.remove(&key);
        }
    }

    /// This node's own message is over.
    pub(super) fn settled(&mut self, message: MessageId) {
        if self.offered.is_empty() {
            return;
        }
        let token = GrantToken {
            message,
            inserted: 0,
            fence: Fence::default(),
            node: NodeId::default(),
            consumer: ConsumerKey::default(),
            mac: [0; 16],
        };
        let first = TransferKey {
            token,
            part: Part::Payload,
        };
        let keys = self
            .offered
            .range(first..)
            .take_while(|(key, _)| key.token.message == message);
        let own = keys.filter(|(_, offered)| matches!(offered.payload, Payload::Own { .. }));
        for key in own.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.offered.remove(&key);
        }
    }

    /// Payloads that can no longer come, because their link is gone.
    pub(super) fn forget_fetches(&mut self, link: LinkId) -> Vec<TransferKey> {
        let lost = self
            .fetches
            .iter()
            .filter(|(_, fetch)| fetch.link == link)
            .map(|(key, _)| *key);
        let lost: Vec<_> = lost.collect();
        for key in &lost {
            self.fetches.remove(key);
        }
        lost
    }

    /// When [`Links::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.soonest
    }

    /// Gives up what did not come in time.
    pub(super) fn expire(&mut self, now: Instant, contents: &mut Contents, next: &mut VecDeque<Next>) {
        if self.soonest.is_none_or(|soonest| now < soonest) {
            return;
        }
        self.fetches.retain(|key, fetch| {
            let late = fetch.until.is_some_and(|until| until <= now);
            if late {
                tracing::warn!(peer = %fetch.peer, message = %key.token.message, "a payload was announced and did not come");
                next.push_back(Next::Fetched(*key, None));
            }
            !late
        });
        let early_bytes = &mut self.early_bytes;
        self.early.retain(|_, early| {
            let late = early.until <= now;
            if late {
                let bytes = cost(&early.content);
                *early_bytes -= bytes;
                contents.discharge(bytes);
            }
            !late
        });
        let fetches = self.fetches.values().filter_map(|fetch| fetch.until);
        self.soonest = fetches.chain(self.early.values().map(|early| early.until)).min();
    }
}

impl Link {
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
