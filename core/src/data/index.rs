//! From a hash to a slot: open addressing over a slice.
//!
//! A cell holds only a slot number; keys stay in the slots. So the table can neither compare nor rehash by itself and
//! each call is given what it needs for that. It offers no iteration: hash order is no order.

use super::mix;
use super::slab::Ix;
use super::slots::Slots;
use core::hash::Hasher;
use siphasher::sip::SipHasher13;

/// Makes hashes differ from node to node, so that nobody outside can choose ids that collide.
#[derive(Clone, Copy)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    fn hasher(self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, mix(self.0, 1))
    }
}

/// Hash of a key made of numbers.
pub(crate) fn hash_words(seed: Seed, words: &[u64]) -> u64 {
    let mut hasher = seed.hasher();
    for word in words {
        hasher.write(&word.to_le_bytes());
    }
    hasher.finish()
}

/// Hash of a key made of bytes.
pub(crate) fn hash_bytes(seed: Seed, bytes: &[u8]) -> u64 {
    let mut hasher = seed.hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Slots by hash.
///
/// Linear probing: from its home, the cell that its hash says, an entry sits in the first cell that was vacant, and
/// no cell between the two is. Half of all cells at least are vacant, so ways are short.
pub(crate) struct Index<'s> {
    /// Slot numbers; 0 is vacant.
    cells: Slots<'s, u32>,
    mask: usize,
    len: usize,
}

impl<'s> Index<'s> {
    /// Cells that are needed for so many entries.
    pub(crate) const fn cells_for(entries: usize) -> usize {
        (entries * 2).next_power_of_two()
    }

    /// An empty index. The cells must be zero.
    ///
    /// # Panics
    /// If their number is not a power of two.
    pub(crate) fn new(cells: Slots<'s, u32>) -> Self {
        assert!(
            cells.len().is_power_of_two(),
            "an index of {} cells: need a power of two",
            cells.len()
        );
        Self {
            mask: cells.len() - 1,
            cells,
            len: 0,
        }
    }

    /// The entry of this hash for which `same` is true. It is asked about others too, whose hashes are near.
    pub(crate) fn find(&self, hash: u64, mut same: impl FnMut(Ix) -> bool) -> Option<Ix> {
        let mut cell = self.home(hash);
        while let Some(ix) = self.entry(cell) {
            if same(ix) {
                return Some(ix);
            }
            cell = self.after(cell);
        }
        None
    }

    /// Adds an entry, which must not be in the index yet. `hash_of` must give `hash` for it: it is what will find the
    /// entry again when others are removed.
    ///
    /// # Panics
    /// If half of the cells are taken.
    #[track_caller]
    pub(crate) fn insert(&mut self, hash: u64, ix: Ix, hash_of: impl Fn(Ix) -> u64) {
        assert!(
            (self.len + 1) * 2 <= self.cells.len(),
            "an index of {} cells is full",
            self.cells.len()
        );
        debug_assert_eq!(hash_of(ix), hash, "slot {} has two hashes", ix.get());
        let mut cell = self.home(hash);
        while let Some(other) = self.entry(cell) {
            debug_assert_ne!(other, ix, "slot {} is in the index already", ix.get());
            cell = self.after(cell);
        }
        self.cells[cell] = ix.get();
        self.len += 1;
    }

    /// Takes out an entry. `hash_of` is asked about others only, so the entry's slot may be empty already.
    ///
    /// # Panics
    /// If it is not in the index under this hash.
    #[track_caller]
    pub(crate) fn remove(&mut self, hash: u64, ix: Ix, hash_of: impl Fn(Ix) -> u64) {
        let mut hole = self.home(hash);
        while let Some(other) = self.entry(hole)
            && other != ix
        {
            hole = self.after(hole);
        }
        assert_eq!(
            self.entry(hole),
            Some(ix),
            "slot {} is not in the index",
            ix.get()
        );
        // What lies behind, up to a vacant cell, moves back into the hole if its way from home led over it. So no
        // marks of removed entries pile up.
        let mut cell = self.after(hole);
        while let Some(other) = self.entry(cell) {
            let way = cell.wrapping_sub(self.home(hash_of(other))) & self.mask;
            if way >= cell.wrapping_sub(hole) & self.mask {
                self.cells[hole] = other.get();
                hole = cell;
            }
            cell = self.after(cell);
        }
        self.cells[hole] = 0;
        self.len -= 1;
    }

    /// Walks all cells.
    ///
    /// # Panics
    /// If an entry would not be found.
    pub(crate) fn check(&self, hash_of: impl Fn(Ix) -> u64) {
        let entries = (0..self.cells.len()).filter_map(|cell| self.entry(cell));
        assert_eq!(entries.clone().count(), self.len, "entries miscounted");
        assert!(
            self.len * 2 <= self.cells.len(),
            "more than half of the cells are taken"
        );
        for ix in entries {
            assert_eq!(
                self.find(hash_of(ix), |other| other == ix),
                Some(ix),
                "slot {} can't be found",
                ix.get()
            );
        }
    }

    /// Where an entry of this hash would like to sit. The cut to 32 bits on a small device costs nothing: it has
    /// fewer cells.
    const fn home(&self, hash: u64) -> usize {
        hash as usize & self.mask
    }

    const fn after(&self, cell: usize) -> usize {
        (cell + 1) & self.mask
    }

    fn entry(&self, cell: usize) -> Option<Ix> {
        self.cells[cell]
            .checked_sub(1)
            .map(|position| Ix::new(position as usize))
    }
}

#[cfg(test)]
mod tests;
