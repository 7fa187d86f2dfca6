//! A queue of ids that have something to do, each in it once.

use super::slots::Slots;

/// First in, first out, over ids from 0 to the number of slots less one.
pub(crate) struct Dirty<'s> {
    /// For each id the one behind it, from 1. The last one has itself, and 0 is not in the queue: so membership needs
    /// no mark of its own.
    next: Slots<'s, u32>,
    /// From 1; 0 if the queue is empty.
    head: u32,
    /// From 1; 0 if the queue is empty.
    tail: u32,
    len: u32,
}

impl<'s> Dirty<'s> {
    /// An empty queue. The slots must be zero.
    ///
    /// # Panics
    /// If there are 2^32 slots or more.
    pub(crate) fn new(next: Slots<'s, u32>) -> Self {
        assert!(u32::try_from(next.len()).is_ok(), "too many ids");
        Self {
            next,
            head: 0,
            tail: 0,
            len: 0,
        }
    }

    /// Appends an id; false if it is in the queue already, where it keeps its turn.
    ///
    /// # Panics
    /// If there is no such id.
    #[track_caller]
    pub(crate) fn push(&mut self, id: u32) -> bool {
        if self.contains(id) {
            return false;
        }
        let link = id + 1;
        self.next[id as usize] = link;
        match self.tail.checked_sub(1) {
            Some(tail) => self.next[tail as usize] = link,
            None => self.head = link,
        }
        self.tail = link;
        self.len += 1;
        true
    }

    /// Takes out the first id.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let id = self.head.checked_sub(1)?;
        let next = core::mem::take(&mut self.next[id as usize]);
        if next == self.head {
            (self.head, self.tail) = (0, 0);
        } else {
            self.head = next;
        }
        self.len -= 1;
        Some(id)
    }

    /// Whether an id is in the queue.
    ///
    /// # Panics
    /// If there is no such id.
    #[track_caller]
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.next[id as usize] != 0
    }

    /// Ids in the queue.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Walks the whole queue and all slots.
    ///
    /// # Panics
    /// If they are broken.
    pub(crate) fn check(&self) {
        let waiting = self.next.iter().filter(|&&next| next != 0).count();
        assert_eq!(waiting, self.len(), "ids miscounted");
        let mut at = self.head;
        for _ in 1..self.len {
            let next = self.next[at as usize - 1];
            assert_ne!(next, at, "the queue ends early");
            at = next;
        }
        assert_eq!(at, self.tail, "the queue ends elsewhere");
        assert!(
            at == 0 || self.next[at as usize - 1] == at,
            "the queue does not end"
        );
    }
}

#[cfg(test)]
mod tests;
