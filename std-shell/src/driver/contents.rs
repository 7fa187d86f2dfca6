//! The payload bytes that are in memory, and where the others are.
//!
//! Three kinds: contents of messages whose row is not on disk yet; a cache of those that are, so that a grant right
//! after the insert reads nothing; and bodies that the core holds by number. All but the cache count against the
//! node's limit (P7); the cache has a limit of its own and gives way. A body that passes through this node is a pipe, and
//! counts as what that may hold, as long as something moves in it.

use crate::Content;
use crate::link::pipe::{Pipe, Standing};
use crate::store::{ReadError, Short, StoreHandle};
use redlink_core::{AttemptId, Body};
use std::collections::{BTreeMap, HashMap};

/// Where payload bytes are found.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// In memory.
    Memory(Content),
    /// In the row of this node's own message.
    Message(u64),
    /// In the row of a reply to another node's message.
    Reply(AttemptId),
}

impl Source {
    /// The bytes; `None` if their row has gone.
    pub(crate) async fn load(self, store: &StoreHandle) -> Result<Option<Content>, ReadError> {
        match self {
            Self::Memory(content) => Ok(Some(content)),
            Self::Message(sequence) => store.payload(sequence).await,
            Self::Reply(attempt) => Ok(store.reply(attempt).await?.and_then(|stored| stored.content)),
        }
    }
}

impl Source {
    /// As [`Source::load`], without the bytes if there are more than `most`.
    pub(crate) async fn load_short(
        self,
        store: &StoreHandle,
        most: usize,
    ) -> Result<Option<Short>, ReadError> {
        match self {
            Self::Message(sequence) => store.short_payload(sequence, most).await,
            other => Ok(other.load(store).await?.map(|content| Short::of(content, most))),
        }
    }
}

/// What a transfer takes its bytes from.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    /// All of them are somewhere.
    Whole(Source),
    /// They pass through this node.
    Pipe(Pipe),
}

impl Outgoing {
    /// Whether there is nothing more to be had.
    pub(crate) fn is_broken(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Pipe(pipe) => pipe.standing() == Standing::Broken,
        }
    }
}

/// Bytes that the core knows by a number.
#[derive(Debug)]
struct Held {
    source: Outgoing,
    /// What it adds to `used`: nothing if the bytes are on disk.
    counted: u64,
}

#[derive(Debug)]
pub(super) struct Contents {
    limit: u64,
    used: u64,
    bodies: HashMap<u64, Held>,
    next_body: u64,
    /// Messages that are not on disk yet, by sequence number.
    fresh: HashMap<u64, Content>,
    /// Messages that are on disk, by sequence number and so by age.
    cache: BTreeMap<u64, Content>,
    cached: u64,
    cache_max: u64,
}

/// What a content costs: its bytes and what is said of them.
pub(super) fn cost(content: &Content) -> u64 {
    let said = content.content_type.as_ref().map_or(0, |text| text.len() as u64);
    let context = content.trace_context.as_ref().map_or(0, |context| context.cost());
    content.bytes.len() as u64 + said + context
}

impl Contents {
    /// With room for `limit` bytes, and a quarter of that for the cache.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: 0,
            bodies: HashMap::new(),
            next_body: 1,
            fresh: HashMap::new(),
            cache: BTreeMap::new(),
            cached: 0,
            cache_max: limit / 4,
        }
    }

    /// Bytes in memory that count.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Whether a submit of this size may come in.
    pub(super) fn fits_submit(&self, size: u64) -> bool {
        self.used.saturating_add(size) <= self.limit
    }

    /// Whether what ends or moves accepted work may come in. It has a quarter more room than submits, so that a flood of
    /// those never stops the replies that would drain it.
    pub(super) fn fits_work(&self, size: u64) -> bool {
        self.used.saturating_add(size) <= self.limit.saturating_add(self.limit / 4)
    }

    /// Counts bytes that are kept elsewhere in the driver.
    pub(super) fn charge(&mut self, bytes: u64) {
        self.used += bytes;
    }

    /// Takes back [`Contents::charge`].
    pub(super) fn discharge(&mut self, bytes: u64) {
        debug_assert!(
            self.used >= bytes,
            "{} bytes are to be freed and only {} are counted",
            bytes,
            self.used
        );
        self.used = self.used.saturating_sub(bytes);
    }

    /// Gives a content a number. It stays until [`Contents::free`].
    pub(super) fn hold(&mut self, content: Content) -> Body {
        let counted = cost(&content);
        let size = content.bytes.len() as u64;
        self.charge(counted);
        self.insert(
            Held {
                source: Outgoing::Whole(Source::Memory(content)),
                counted,
            },
            size,
        )
    }

    /// Gives a recovered reply, which stays on disk, a number.
    pub(super) fn hold_stored(&mut self, attempt: AttemptId, size: u64) -> Body {
        self.insert(
            Held {
                source: Outgoing::Whole(Source::Reply(attempt)),
                counted: 0,
            },
            size,
        )
    }

    /// Gives what passes through this node a number.
    pub(super) fn hold_pipe(&mut self, pipe: Pipe) -> Body {
        let (counted, size) = (pipe.cap(), pipe.size());
        self.charge(counted);
        self.insert(
            Held {
                source: Outgoing::Pipe(pipe),
                counted,
            },
            size,
        )
    }

    /// How far a pipe is; counts it as long as something moves in it.
    pub(super) fn look_at(&mut self, body: Body) -> Option<Standing> {
        let held = self.bodies.get_mut(&body.id)?;
        let Outgoing::Pipe(pipe) = &held.source else {
            return None;
        };
        let standing = pipe.standing();
        let counts = if standing == Standing::Moving {
            pipe.cap()
        } else {
            0
        };
        let before = std::mem::replace(&mut held.counted, counts);
        self.charge(counts);
        self.discharge(before);
        Some(standing)
    }

    /// The node stops: nothing passes any more.
    pub(super) fn close(&self) {
        for held in self.bodies.values() {
            if let Outgoing::Pipe(pipe) = &held.source {
                pipe.close();
            }
        }
    }

    fn insert(&mut self, held: Held, size: u64) -> Body {
        let id = self.next_body;
        self.next_body += 1;
        self.bodies.insert(id, held);
        Body { id, size }
    }

    /// The core, or the driver, is done with these bytes.
    pub(super) fn free(&mut self, body: Body) {
        let held = self.bodies.remove(&body.id);
        debug_assert!(held.is_some(), "{body:?} was freed twice");
        if let Some(held) = held {
            self.discharge(held.counted);
            if let Outgoing::Pipe(pipe) = held.source {
                pipe.close();
            }
        }
    }

    /// Where these bytes are; `None` once they were freed, or if they only pass.
    pub(super) fn body(&self, body: Body) -> Option<Source> {
        match self.outgoing(body)? {
            Outgoing::Whole(source) => Some(source),
            Outgoing::Pipe(_) => None,
        }
    }

    /// The same for a transfer, which may also take what passes.
    pub(super) fn outgoing(&self, body: Body) -> Option<Outgoing> {
        self.bodies.get(&body.id).map(|held| held.source.clone())
    }

    /// A message's content, until its row is on disk. The caller has charged it.
    pub(super) fn insert_fresh(&mut self, sequence: u64, content: Content) {
        self.fresh.insert(sequence, content);
    }

    /// The row is on disk: the content may go when room is needed.
    pub(super) fn stored(&mut self, sequence: u64) {
        let Some(content) = self.fresh.remove(&sequence) else {
            return;
        };
        let size = cost(&content);
        self.discharge(size);
        self.cached += size;
        self.cache.insert(sequence, content);
        // The oldest goes first: what the cache is for is the grant that comes right after the insert.
        while self.cached > self.cache_max {
            let Some((_, oldest)) = self.cache.pop_first() else {
                break;
            };
            self.cached -= cost(&oldest);
        }
    }

    /// The message's payload is no longer needed, or never came on disk.
    pub(super) fn forget(&mut self, sequence: u64) {
        if let Some(content) = self.fresh.remove(&sequence) {
            self.discharge(cost(&content));
        }
        if let Some(content) = self.cache.remove(&sequence) {
            self.cached -= cost(&content);
        }
    }

    /// Where the payload of this node's own message will be for as long as it is needed, without memory that the cache
    /// could not give away.
    pub(super) fn own_later(&self, sequence: u64) -> Source {
        match self.fresh.get(&sequence) {
            Some(content) => Source::Memory(content.clone()),
            None => Source::Message(sequence),
        }
    }

    /// Where the payload of this node's own message is.
    pub(super) fn own(&self, sequence: u64) -> Source {
        match self.fresh.get(&sequence).or_else(|| self.cache.get(&sequence)) {
            Some(content) => Source::Memory(content.clone()),
            None => Source::Message(sequence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn content(size: usize) -> Content {
        Content {
            origin: None,
            trace_context: None,
            content_type: None,
            bytes: Bytes::from(vec![0; size]),
        }
    }

    #[test]
    fn bodies_count_until_they_are_freed() {
        let mut contents = Contents::new(100);
        let body = contents.hold(content(60));
        assert_eq!((body.size, contents.used()), (60, 60));
        assert!(contents.fits_submit(40));
        assert!(!contents.fits_submit(41));
        assert!(contents.fits_work(65));
        assert!(!contents.fits_work(66));
        contents.free(body);
        assert_eq!(contents.used(), 0);
        assert!(contents.body(body).is_none());
    }

    #[test]
    fn a_content_is_found_before_and_after_its_row_is_on_disk() {
        let mut contents = Contents::new(400);
        contents.charge(60);
        contents.insert_fresh(1, content(60));
        assert!(matches!(contents.own(1), Source::Memory(_)));
        contents.stored(1);
        assert_eq!(contents.used(), 0);
        assert!(matches!(contents.own(1), Source::Memory(_)));
        // A second one of this size is more than the cache holds: the older one goes.
        contents.charge(60);
        contents.insert_fresh(2, content(60));
        contents.stored(2);
        assert!(matches!(contents.own(1), Source::Message(1)));
        assert!(matches!(contents.own(2), Source::Memory(_)));
        contents.forget(2);
        assert!(matches!(contents.own(2), Source::Message(2)));
        assert_eq!(contents.cached, 0);
    }

    #[test]
    fn a_content_larger_than_the_cache_is_not_kept() {
        let mut contents = Contents::new(100);
        contents.charge(80);
        contents.insert_fresh(1, content(80));
        contents.stored(1);
        assert_eq!((contents.cached, contents.used()), (0, 0));
        assert!(matches!(contents.own(1), Source::Message(1)));
    }
}
