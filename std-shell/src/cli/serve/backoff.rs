//! How long to leave a node alone that did not answer.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
/// Short enough that a worker is back soon after its node.
const LONGEST: Duration = Duration::from_secs(2);

/// Doubles with each try, up to a bound; up to half of it is random, so that many workers don't come at once.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The node answered.
    pub(super) const fn reset(&mut self) {
        self.next = FIRST;
    }

    /// How long to wait now.
    pub(super) fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        // Freshly keyed for each value: random enough to spread tries.
        let share = RandomState::new().hash_one(0_u8) % 512;
        whole * 512 / 1_024 + whole * share as u32 / 1_024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_again() {
        let mut backoff = Backoff::new();
        let mut expected = FIRST;
        for _ in 0..20 {
            let wait = backoff.wait();
            assert!(
                wait >= expected / 2 && wait <= expected,
                "{wait:?} of {expected:?}"
            );
            expected = (expected * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
