//! Time as the caller tells it: microseconds from an origin of the caller's choice.
//!
//! The core never reads a clock. Every entry that needs the time takes `now`; an earlier `now` than the last one
//! is clamped to it and counted (`Counters::clock_back`). The node's clock counts suspend (promise P3).

use core::num::NonZeroU64;
use core::ops::{Add, AddAssign, Sub};
use serde::{Deserialize, Serialize};

/// A moment, in microseconds since the caller's origin; the last one is `u64::MAX - 1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Instant(
    /// One more than the microseconds: so that an optional one, of which every slot has some, takes no more room.
    NonZeroU64,
);

/// A length of time in microseconds; at most about 584,000 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Hash, Serialize, Deserialize)]
pub struct Duration(u64);

impl Instant {
    /// The caller's origin.
    pub const ZERO: Self = Self::from_micros(0);

    /// The moment `micros` microseconds after the origin, or the last one if that is later.
    pub const fn from_micros(micros: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(micros))
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0.get() - 1
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// How long until `later`; zero if it has passed.
    pub const fn until(self, later: Self) -> Duration {
        later.since(self)
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `n` microseconds.
    pub const fn from_micros(n: u64) -> Self {
        Self(n)
    }

    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }

    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }

    /// In microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// In whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(d.0))
    }
}

impl Default for Instant {
    fn default() -> Self {
        Self::ZERO
    }
}

impl core::fmt::Debug for Instant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Instant").field(&self.as_micros()).finish()
    }
}

impl From<u64> for Instant {
    fn from(micros: u64) -> Self {
        Self::from_micros(micros)
    }
}

impl From<Instant> for u64 {
    fn from(at: Instant) -> Self {
        at.as_micros()
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, d: Duration) -> Self {
        Self::from_micros(self.as_micros().saturating_sub(d.0))
    }
}

impl Add for Duration {
    type Output = Self;
    fn add(self, d: Self) -> Self {
        Self(self.0.saturating_add(d.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_end_where_the_numbers_do_and_an_optional_one_is_free() {
        let last = Instant::from_micros(u64::MAX);
        assert_eq!(last.as_micros(), u64::MAX - 1);
        assert_eq!(last + Duration::from_secs(1), last);
        assert_eq!(Instant::ZERO - Duration::from_secs(1), Instant::ZERO);
        assert_eq!(last.since(Instant::ZERO), Duration::from_micros(u64::MAX - 1));
        assert_eq!(Instant::default(), Instant::ZERO);
        assert_eq!(size_of::<Option<Instant>>(), size_of::<Instant>());
    }
}
