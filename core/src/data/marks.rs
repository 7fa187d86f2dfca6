//! Rows of marks: which of the same columns are marked, for each of some owners.

use super::slab::{Ix, Link};
use super::slots::Slots;

/// Bits in one word.
const BITS: usize = u32::BITS as usize;

/// Words before a row's marks: how many are set, and the column behind the one that was taken last.
const HEAD: usize = 2;

/// A fixed number of rows, each as many marks as there are columns.
///
/// What is marked comes out of a row in turn, and the search goes on where it ended: a walk over all that is marked costs
/// one look at each word of the row, however many are taken in it, and what is marked again and again keeps nothing else
/// waiting.
pub(crate) struct Marks<'s> {
    words: Slots<'s, u32>,
    /// Words of one row.
    stride: usize,
}

impl<'s> Marks<'s> {
    /// Words that so many rows of so many columns need.
    pub(crate) const fn words_for(rows: usize, columns: usize) -> usize {
        rows * (HEAD + columns.div_ceil(BITS))
    }

    /// Rows without marks. The words must be zero.
    ///
    /// # Panics
    /// If the words are too few.
    pub(crate) fn new(words: Slots<'s, u32>, rows: usize, columns: usize) -> Self {
        assert!(
            words.len() >= Self::words_for(rows, columns),
            "{} words for {rows} rows of {columns} marks",
            words.len()
        );
        Self {
            words,
            stride: HEAD + columns.div_ceil(BITS),
        }
    }

    /// Marks a column; false if it was marked.
    ///
    /// # Panics
    /// If there is no such column.
    #[track_caller]
    pub(crate) fn set(&mut self, row: Ix, column: Ix) -> bool {
        let (word, bit) = self.place(column);
        let row = self.row_mut(row);
        if row[word] & bit != 0 {
            return false;
        }
        if row[0] == 0 {
            // A single mark is found without a search.
            row[1] = column.position() as u32;
        }
        row[word] |= bit;
        row[0] += 1;
        true
    }

    /// Takes back a mark, if there is one.
    pub(crate) fn clear(&mut self, row: Ix, column: Ix) {
        let (word, bit) = self.place(column);
        let row = self.row_mut(row);
        if row[word] & bit != 0 {
            row[word] &= !bit;
            row[0] -= 1;
        }
    }

    /// Takes back all marks of a row.
    pub(crate) fn clear_row(&mut self, row: Ix) {
        self.row_mut(row).fill(0);
    }

    /// Takes the next mark of a row, in turn.
    pub(crate) fn take(&mut self, row: Ix) -> Link {
        let row = self.row_mut(row);
        let (head, words) = row.split_at_mut(HEAD);
        if head[0] == 0 {
            return None;
        }
        let start = head[1] as usize;
        let mut at = start / BITS % words.len();
        let mut mask = u32::MAX << (start % BITS);
        // Once round, and what lies before the start in its own word last.
        for _ in 0..=words.len() {
            let found = words[at] & mask;
            if found != 0 {
                let bit = found.trailing_zeros();
                words[at] &= !(1 << bit);
                head[0] -= 1;
                let column = at * BITS + bit as usize;
                head[1] = column as u32 + 1;
                return Some(Ix::new(column));
            }
            at = (at + 1) % words.len();
            mask = u32::MAX;
        }
        None
    }

    /// Whether a column is marked.
    pub(crate) fn contains(&self, row: Ix, column: Ix) -> bool {
        let (word, bit) = self.place(column);
        self.row(row)[word] & bit != 0
    }

    /// Marks of a row.
    pub(crate) fn count(&self, row: Ix) -> usize {
        self.row(row)[0] as usize
    }

    /// Walks one row.
    ///
    /// # Panics
    /// If it is broken.
    pub(crate) fn check(&self, row: Ix) {
        let set = self.row(row)[HEAD..]
            .iter()
            .map(|word| word.count_ones() as usize);
        assert_eq!(set.sum::<usize>(), self.count(row), "marks miscounted");
    }

    #[track_caller]
    fn place(&self, column: Ix) -> (usize, u32) {
        let word = HEAD + column.position() / BITS;
        assert!(word < self.stride, "no column {}", column.get());
        (word, 1 << (column.position() % BITS))
    }

    fn row(&self, row: Ix) -> &[u32] {
        let from = row.position() * self.stride;
        &self.words[from..from + self.stride]
    }

    fn row_mut(&mut self, row: Ix) -> &mut [u32] {
        let from = row.position() * self.stride;
        &mut self.words[from..from + self.stride]
    }
}

#[cfg(test)]
mod tests;
