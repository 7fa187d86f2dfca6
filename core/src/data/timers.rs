//! One timer per id: an index heap with four children per parent.
//!
//! Each id knows its place in the heap, so a timer is moved or cancelled where it stands and the heap never holds
//! more entries than there are ids.

use super::slots::Slots;
use crate::time::Instant;

/// Four children share a cache line of ids and halve the height of a binary heap.
const CHILDREN: usize = 4;

/// One id's timer.
#[derive(Clone, Copy, Default, Debug)]
pub struct TimerCell {
    at: u64,
    /// Number of the call that set it: timers of one moment are due in the order they were set.
    order: u64,
    /// Place in the heap, from 1; 0 if it is not set.
    position: u32,
}

impl TimerCell {
    /// Not set.
    pub const EMPTY: Self = Self {
        at: 0,
        order: 0,
        position: 0,
    };
}

/// At most one timer for each id from 0 to the number of cells less one.
pub(crate) struct Timers<'s> {
    /// The first `len` are in use.
    heap: Slots<'s, u32>,
    cells: Slots<'s, TimerCell>,
    len: u32,
    /// Goes into the next cell that is set.
    order: u64,
}

impl<'s> Timers<'s> {
    /// No timer is set. The cells must be empty; what is in the heap counts for nothing.
    ///
    /// # Panics
    /// If there are fewer places in the heap than cells, or 2^32 cells or more.
    pub(crate) fn new(heap: Slots<'s, u32>, cells: Slots<'s, TimerCell>) -> Self {
        assert!(
            heap.len() >= cells.len(),
            "a heap with room for {} of {} timers",
            heap.len(),
            cells.len()
        );
        assert!(u32::try_from(cells.len()).is_ok(), "too many timers");
        Self {
            heap,
            cells,
            len: 0,
            order: 0,
        }
    }

    /// Sets or moves a timer. One that is set to this moment already keeps its turn.
    ///
    /// # Panics
    /// If there is no such id.
    #[track_caller]
    pub(crate) fn set(&mut self, id: u32, at: Instant) {
        let at = at.as_micros();
        let cell = &mut self.cells[id as usize];
        let place = match cell.position.checked_sub(1) {
            Some(_) if cell.at == at => return,
            Some(place) => place,
            None => {
                self.len += 1;
                self.len - 1
            }
        };
        cell.at = at;
        cell.order = self.order;
        self.order += 1;
        self.settle(id, place as usize);
    }

    /// Makes sure that a timer is not set.
    ///
    /// # Panics
    /// If there is no such id.
    #[track_caller]
    pub(crate) fn cancel(&mut self, id: u32) {
        let Some(place) = self.cells[id as usize].position.checked_sub(1) else {
            return;
        };
        self.cells[id as usize] = TimerCell::EMPTY;
        self.len -= 1;
        if place != self.len {
            let moved = self.heap[self.len as usize];
            self.settle(moved, place as usize);
        }
    }

    /// When a timer is due, if it is set.
    ///
    /// # Panics
    /// If there is no such id.
    #[track_caller]
    pub(crate) fn at(&self, id: u32) -> Option<Instant> {
        let cell = self.cells[id as usize];
        (cell.position != 0).then_some(Instant::from_micros(cell.at))
    }

    /// The timer that is due next, in constant time.
    pub(crate) fn peek(&self) -> Option<(Instant, u32)> {
        let &id = self.heap[..self.len as usize].first()?;
        Some((Instant::from_micros(self.cells[id as usize].at), id))
    }

    /// Unsets the timer that is due next, if that is now or was earlier.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let (at, id) = self.peek()?;
        if at > now {
            return None;
        }
        self.cancel(id);
        Some(id)
    }

    /// Timers that are set.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Walks the whole heap and all cells.
    ///
    /// # Panics
    /// If they are broken.
    pub(crate) fn check(&self) {
        for (place, &id) in self.heap[..self.len()].iter().enumerate() {
            assert_eq!(
                self.cells[id as usize].position as usize,
                place + 1,
                "timer {id} is elsewhere"
            );
            assert!(
                place == 0 || self.key(self.heap[(place - 1) / CHILDREN]) < self.key(id),
                "timer {id} is late"
            );
        }
        let set = self.cells.iter().filter(|cell| cell.position != 0);
        assert_eq!(set.count(), self.len(), "timers miscounted");
    }

    fn key(&self, id: u32) -> (u64, u64) {
        let cell = &self.cells[id as usize];
        (cell.at, cell.order)
    }

    /// Finds the place of `id`, whose time may have changed, from the vacant `place` on, up or down.
    fn settle(&mut self, id: u32, mut place: usize) {
        let key = self.key(id);
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.key(self.heap[parent]) <= key {
                break;
            }
            self.put(self.heap[parent], place);
            place = parent;
        }
        // After a way up nothing below is earlier, and the first look ends this.
        while let Some((child, child_key)) = self.earliest_child(place)
            && child_key < key
        {
            self.put(self.heap[child], place);
            place = child;
        }
        self.put(id, place);
    }

    fn earliest_child(&self, place: usize) -> Option<(usize, (u64, u64))> {
        let start = place * CHILDREN + 1;
        let end = (start + CHILDREN).min(self.len());
        (start..end)
            .map(|child| (child, self.key(self.heap[child])))
            .min_by_key(|&(_, key)| key)
    }

    fn put(&mut self, id: u32, place: usize) {
        self.heap[place] = id;
        self.cells[id as usize].position = place as u32 + 1;
    }
}

#[cfg(test)]
mod tests;
