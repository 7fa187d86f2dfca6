//! Elements in fixed slots, named by slot number.

use super::slots::Slots;
use core::num::NonZeroU32;
use core::ops::{Index, IndexMut};

/// A slot of a slab. Counted from 1, so that `None` of a [`Link`] is all zero and an empty table costs no flash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(crate) struct Ix(NonZeroU32);

/// A slot, or the end.
pub(crate) type Link = Option<Ix>;

impl Ix {
    /// The slot at `position`, counted from 0.
    ///
    /// # Panics
    /// If it is beyond the 4,294,967,295 slots that a slab may have.
    pub(crate) fn new(position: usize) -> Self {
        let number = u32::try_from(position)
            .ok()
            .and_then(|p| p.checked_add(1))
            .and_then(NonZeroU32::new);
        Self(number.expect("a slab has fewer than 2^32 slots"))
    }

    /// Where its slot is, counted from 0.
    pub(crate) const fn position(self) -> usize {
        self.0.get() as usize - 1
    }

    /// Its number, from 1.
    pub(crate) const fn get(self) -> u32 {
        self.0.get()
    }
}

/// One slot of a slab's storage.
#[derive(Debug)]
pub struct Entry<T>(State<T>);

/// The explicit tag keeps `Free(None)` all zero. With `Option<T>` the compiler may put the mark of an empty slot into
/// a spare value of some member of `T`, and a `static` table of those has to be copied from flash.
#[derive(Debug)]
#[repr(u8)]
enum State<T> {
    /// Nothing here; the next one in the list of free slots.
    Free(Link),
    Full(T),
}

impl<T> Entry<T> {
    /// A slot with nothing in it.
    pub const EMPTY: Self = Self(State::Free(None));

    /// A slot with nothing in it.
    pub const fn empty() -> Self {
        Self::EMPTY
    }
}

/// A fixed number of slots for elements of one kind.
///
/// Slots are used in order; one that was freed is used again first, the latest first, since it is likely still in
/// the cache.
pub(crate) struct Slab<'s, T> {
    entries: Slots<'s, Entry<T>>,
    /// Slots from here on were never used, whatever is in them: so a start touches none.
    touched: u32,
    free: Link,
    len: u32,
}

impl<'s, T> Slab<'s, T> {
    /// An empty slab with as many slots as are given; what is in them counts for nothing.
    ///
    /// # Panics
    /// If they are 2^32 - 1 or more.
    pub(crate) fn new(entries: Slots<'s, Entry<T>>) -> Self {
        assert!(
            u32::try_from(entries.len()).is_ok_and(|n| n < u32::MAX),
            "too many slots for a slab"
        );
        Self {
            entries,
            touched: 0,
            free: None,
            len: 0,
        }
    }

    /// Puts `value` into a free slot.
    ///
    /// # Errors
    /// Hands it back if there is none.
    pub(crate) fn insert(&mut self, value: T) -> Result<Ix, T> {
        let ix = match self.free {
            Some(ix) => ix,
            None if (self.touched as usize) < self.entries.len() => Ix::new(self.touched as usize),
            None => return Err(value),
        };
        let entry = &mut self.entries[ix.position()].0;
        if self.free.is_some() {
            let State::Free(next) = *entry else {
                panic!("slot {} is free and full", ix.get())
            };
            self.free = next;
        } else {
            self.touched += 1;
        }
        *entry = State::Full(value);
        self.len += 1;
        Ok(ix)
    }

    /// Takes out what is in a slot, which the next insert will use.
    ///
    /// # Panics
    /// If it is empty.
    #[track_caller]
    pub(crate) fn remove(&mut self, ix: Ix) -> T {
        assert!(self.get(ix).is_some(), "slot {} is empty", ix.get());
        let freed = State::Free(self.free);
        let State::Full(value) = core::mem::replace(&mut self.entries[ix.position()].0, freed) else {
            unreachable!("it was full a line ago");
        };
        self.free = Some(ix);
        self.len -= 1;
        value
    }

    /// What is in a slot.
    pub(crate) fn get(&self, ix: Ix) -> Option<&T> {
        match self.entries[..self.touched as usize].get(ix.position()) {
            Some(Entry(State::Full(value))) => Some(value),
            _ => None,
        }
    }

    /// What is in a slot, to change.
    pub(crate) fn get_mut(&mut self, ix: Ix) -> Option<&mut T> {
        match self.entries[..self.touched as usize].get_mut(ix.position()) {
            Some(Entry(State::Full(value))) => Some(value),
            _ => None,
        }
    }

    /// Full slots.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// All slots.
    pub(crate) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Whether an insert would be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Everything, in the order of slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ix, &T)> {
        self.entries[..self.touched as usize]
            .iter()
            .enumerate()
            .filter_map(|(at, entry)| match entry {
                Entry(State::Full(value)) => Some((Ix::new(at), value)),
                Entry(State::Free(_)) => None,
            })
    }

    /// The first full slot behind `after`, or of all: a cursor that outlives changes of the slab.
    ///
    /// It looks at each slot on the way, so a walk over the whole slab costs one look at each slot ever used.
    pub(crate) fn next_live(&self, after: Link) -> Link {
        let touched = self.touched as usize;
        let start = after.map_or(0, |ix| ix.position() + 1).min(touched);
        let full = self.entries[start..touched]
            .iter()
            .position(|entry| matches!(entry.0, State::Full(_)));
        full.map(|at| Ix::new(start + at))
    }

    /// Walks all slots ever used.
    ///
    /// # Panics
    /// If the slab is broken.
    pub(crate) fn check(&self) {
        assert!(
            self.touched as usize <= self.capacity(),
            "more slots used than there are"
        );
        assert_eq!(self.iter().count(), self.len(), "full slots miscounted");
        let mut free = self.free;
        for _ in self.len..self.touched {
            let ix = free.expect("a free slot is not in the list of free slots");
            let State::Free(next) = self.entries[..self.touched as usize][ix.position()].0 else {
                panic!("slot {} is free and full", ix.get());
            };
            free = next;
        }
        assert_eq!(free, None, "the list of free slots has no end");
    }
}

impl<T> Index<Ix> for Slab<'_, T> {
    type Output = T;
    #[track_caller]
    fn index(&self, ix: Ix) -> &T {
        match self.get(ix) {
            Some(value) => value,
            None => panic!("slot {} is empty", ix.get()),
        }
    }
}

impl<T> IndexMut<Ix> for Slab<'_, T> {
    #[track_caller]
    fn index_mut(&mut self, ix: Ix) -> &mut T {
        match self.get_mut(ix) {
            Some(value) => value,
            None => panic!("slot {} is empty", ix.get()),
        }
    }
}

#[cfg(test)]
mod tests;
