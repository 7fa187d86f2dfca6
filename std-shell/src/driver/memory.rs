//! Messages that are kept in memory only, because their producers want them so: P1 to P3 hold for them as long as this
//! process lives, and neither they nor their outcomes are ever written.
//!
//! To the core they are messages like any: what it asks of the store is answered here at once, in the order in which it
//! asks. This is a disk of a fixed size, so to say: what is submitted has to fit, an outcome may use a quarter more, and one
//! that does not fit even there waits, with its bytes where the core's bodies are, until others were collected or their
//! retention is over (P7: nothing accepted is lost for room). An outcome that is no larger than what was submitted always
//! fits, since it takes the payload's place.
//!
//! Only their numbers are on disk: below a mark, so that no later life gives one to another message.

use super::contents::cost;
use super::turn::{Driver, Next};
use crate::Content;
use crate::store::Op;
use bytes::Bytes;
use redlink_core::{Outcome, Row};
use std::collections::{BTreeMap, HashMap};

/// So many numbers are kept from later lives at once.
const RESERVE: u64 = 100_000;

#[derive(Debug)]
struct Kept {
    content: Content,
    outcome: Option<(Outcome, Option<Content>)>,
    preserved: Option<Bytes>,
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct Memory {
    limit: u64,
    used: u64,
    kept: BTreeMap<u64, Kept>,
    /// How many of them have their outcome.
    outcomes: usize,
    /// Numbers below it are given to no message of a later life.
    reserved: u64,
    /// Marks under way, by the message that waits for them.
    reserving: HashMap<u64, u64>,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: 0,
            kept: BTreeMap::new(),
            outcomes: 0,
            reserved: 0,
            reserving: HashMap::new(),
        }
    }

    /// Bytes of all of them, and of those that are being submitted.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// How many have no outcome yet, and how many have one.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.kept.len() - self.outcomes, self.outcomes)
    }

    /// Whether it could ever be kept.
    pub(super) fn could_fit(&self, bytes: u64) -> bool {
        bytes <= self.limit
    }

    /// Whether a submit of this size may come in.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.used.saturating_add(bytes) <= self.limit
    }

    /// A submit of this size is under way.
    pub(super) fn charge(&mut self, bytes: u64) {
        self.used += bytes;
    }

    /// It came to nothing.
    pub(super) fn discharge(&mut self, bytes: u64) {
        debug_assert!(self.used >= bytes, "{bytes} of {} are to go", self.used);
        self.used = self.used.saturating_sub(bytes);
    }

    /// What was charged gets its number.
    fn insert(&mut self, sequence: u64, content: Content, preserved: Option<Bytes>) {
        let bytes = cost(&content) + preserved.as_ref().map_or(0, |data| data.len() as u64);
        let kept = Kept {
            content,
            outcome: None,
            preserved,
            bytes,
        };
        self.kept.insert(sequence, kept);
    }

    pub(super) fn holds(&self, sequence: u64) -> bool {
        self.kept.contains_key(&sequence)
    }

    /// The payload of a message that has no outcome yet.
    pub(super) fn payload(&self, sequence: u64) -> Option<&Content> {
        let kept = self.kept.get(&sequence)?;
        kept.outcome.is_none().then_some(&kept.content)
    }

    pub(super) fn preserved(&self, sequence: u64) -> Option<&Bytes> {
        self.kept.get(&sequence)?.preserved.as_ref()
    }

    pub(super) fn outcome(&self, sequence: u64) -> Option<&(Outcome, Option<Content>)> {
        self.kept.get(&sequence)?.outcome.as_ref()
    }

    /// The outcome takes the payload's place; false if there is no room for it now.
    fn settle(&mut self, sequence: u64, outcome: Outcome, content: Option<Content>) -> bool {
        let Some(kept) = self.kept.get_mut(&sequence) else {
            return false;
        };
        let preserved = kept.preserved.as_ref().map_or(0, |data| data.len() as u64);
        let bytes = preserved + content.as_ref().map_or(0, cost);
        let after = self.used - kept.bytes + bytes;
        if bytes > kept.bytes && after > self.limit.saturating_add(self.limit / 4) {
            return false;
        }
        self.used = after;
        self.outcomes += usize::from(kept.outcome.is_none());
        *kept = Kept {
            content: Content::default(),
            outcome: Some((outcome, content)),
            preserved: kept.preserved.take(),
            bytes,
        };
        true
    }

    pub(super) fn remove(&mut self, sequence: u64) {
        if let Some(kept) = self.kept.remove(&sequence) {
            self.outcomes -= usize::from(kept.outcome.is_some());
            self.discharge(kept.bytes);
        }
    }

    /// The mark that a message waited for is on disk, or could not be written.
    pub(super) fn marked(&mut self, sequence: u64, done: bool) {
        if let (Some(below), true) = (self.reserving.remove(&sequence), done) {
            self.reserved = self.reserved.max(below);
        }
    }
}

impl Driver {
    /// Takes a message in, which the caller has charged. Gives what the disk has to do first, if it has to.
    pub(super) fn insert_in_memory(
        &mut self,
        sequence: u64,
        content: Content,
        preserved: Option<Bytes>,
    ) -> Option<Op> {
        self.memory.insert(sequence, content, preserved);
        if sequence < self.memory.reserved {
            self.next.push_back(Next::Stored(Row::Insert(sequence), true));
            return None;
        }
        let below = sequence + RESERVE;
        self.memory.reserving.insert(sequence, below);
        Some(Op::Reserve { sequence, below })
    }

    /// Keeps an outcome. One without room is not done, and the core asks again.
    pub(super) fn settle_in_memory(&mut self, sequence: u64, outcome: Outcome, content: Option<Content>) {
        let done = self.memory.settle(sequence, outcome, content);
        if !done {
            tracing::debug!(sequence, "an outcome waits for room in the memory for messages");
        }
        self.next.push_back(Next::Stored(Row::Settle(sequence), done));
    }

    /// Says what goes with this process.
    pub(super) fn tell_what_is_lost(&self) {
        let (messages, outcomes) = self.memory.counts();
        if messages + outcomes > 0 {
            tracing::warn!(
                messages,
                outcomes,
                "kept in memory only, and gone with this process"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(size: usize) -> Content {
        Content {
            bytes: vec![0; size].into(),
            ..Content::default()
        }
    }

    fn put(memory: &mut Memory, sequence: u64, size: usize, preserved: Option<&'static [u8]>) {
        memory.charge((size + preserved.map_or(0, <[u8]>::len)) as u64);
        memory.insert(sequence, content(size), preserved.map(Bytes::from_static));
    }

    #[test]
    fn an_outcome_takes_the_place_of_its_payload() {
        let mut memory = Memory::new(100);
        put(&mut memory, 1, 60, Some(b"0123456789"));
        assert!(memory.fits(30) && !memory.fits(31));
        assert_eq!(memory.payload(1), Some(&content(60)));
        assert!(memory.settle(1, Outcome::Replied, Some(content(20))));
        assert_eq!((memory.used(), memory.counts()), (30, (0, 1)));
        assert_eq!(memory.payload(1), None);
        assert_eq!(
            memory.preserved(1).map(|data| &data[..]),
            Some(&b"0123456789"[..])
        );
        let expected = (Outcome::Replied, Some(content(20)));
        assert_eq!(memory.outcome(1), Some(&expected));
        memory.remove(1);
        memory.remove(1);
        assert_eq!((memory.used(), memory.counts()), (0, (0, 0)));
    }

    #[test]
    fn an_outcome_without_room_waits_and_one_that_is_small_never_does() {
        let mut memory = Memory::new(100);
        for sequence in 1..=2 {
            put(&mut memory, sequence, 50, None);
        }
        // Up to a quarter more than what submits may use.
        assert!(!memory.settle(1, Outcome::Replied, Some(content(76))));
        assert_eq!((memory.payload(1), memory.used()), (Some(&content(50)), 100));
        assert!(memory.settle(1, Outcome::Replied, Some(content(75))));
        assert_eq!(memory.used(), 125);
        assert!(!memory.settle(2, Outcome::Replied, Some(content(51))));
        assert!(!memory.fits(0));
        assert!(memory.settle(2, Outcome::Replied, Some(content(50))));
        memory.remove(1);
        assert!(memory.fits(50));
    }

    #[test]
    fn a_number_counts_as_reserved_when_the_disk_says_so() {
        let mut memory = Memory::new(100);
        memory.reserving.extend([(1, 11), (2, 12)]);
        memory.marked(1, false);
        assert_eq!(memory.reserved, 0);
        memory.marked(2, true);
        memory.marked(3, true);
        assert_eq!((memory.reserved, memory.reserving.len()), (12, 0));
    }
}
