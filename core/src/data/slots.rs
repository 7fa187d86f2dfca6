//! A run of slots that is either lent by the caller or boxed once at start.

use core::ops::{Deref, DerefMut};

/// Storage of a fixed number of slots; it never grows.
///
/// A small device lends a `static` array. A server boxes one at start and needs no lifetime.
#[derive(Debug)]
pub enum Slots<'s, T> {
    /// Lent by the caller for as long as the core lives.
    Lent(&'s mut [T]),
    /// Owned.
    #[cfg(feature = "alloc")]
    Boxed(alloc::boxed::Box<[T]>),
}

#[cfg(feature = "alloc")]
impl<T> Slots<'_, T> {
    /// Boxes `n` slots, each filled by `make`.
    pub fn boxed(n: usize, mut make: impl FnMut() -> T) -> Self {
        Self::Boxed((0..n).map(|_| make()).collect())
    }
}

impl<T> Deref for Slots<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match self {
            Self::Lent(slots) => slots,
            #[cfg(feature = "alloc")]
            Self::Boxed(slots) => slots,
        }
    }
}

impl<T> DerefMut for Slots<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Lent(slots) => slots,
            #[cfg(feature = "alloc")]
            Self::Boxed(slots) => slots,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lent_slots_are_the_callers() {
        let mut array = [1, 2, 3];
        let mut slots = Slots::Lent(&mut array);
        slots[1] = 7;
        assert_eq!(slots.len(), 3);
        assert_eq!(array, [1, 7, 3]);
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn boxed_slots_are_filled_in_order() {
        let mut next = 0;
        let mut slots = Slots::boxed(3, || {
            next += 1;
            next
        });
        slots[0] = 9;
        assert_eq!(*slots, [9, 2, 3]);
    }
}
