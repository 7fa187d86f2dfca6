//! How long to wait before dialling again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(10);
/// A link that held this long was a good one.
const STABLE: Duration = Duration::from_secs(60);

/// Doubles from 100 ms to 10 s, each drawn anew between nothing and the whole ("full jitter"), so that the many souths
/// of a north that restarted do not come back in step.
#[derive(Debug)]
pub(super) struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { ceiling: FIRST }
    }

    /// The next wait, after a link that was up for `held`.
    pub(super) fn next(&mut self, held: Duration, random: u64) -> Duration {
        if held >= STABLE {
            self.ceiling = FIRST;
        }
        let most = u64::try_from(self.ceiling.as_micros()).unwrap_or(u64::MAX);
        self.ceiling = (self.ceiling * 2).min(MOST);
        Duration::from_micros(random % (most + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_ten_seconds_and_starts_again_after_a_stable_minute() {
        let mut backoff = Backoff::new();
        let longest = |backoff: &mut Backoff, held| {
            let at = backoff.ceiling;
            let wait = backoff.next(held, u64::try_from(at.as_micros()).unwrap());
            (wait, at)
        };
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            let (wait, ceiling) = longest(&mut backoff, Duration::ZERO);
            assert_eq!(wait, ceiling);
            assert!(wait >= last);
            last = wait;
        }
        assert_eq!(last, MOST);
        backoff.next(STABLE, 0);
        assert_eq!(backoff.ceiling, FIRST * 2);
        // Anything random stays below the ceiling.
        assert!(Backoff::new().next(Duration::ZERO, u64::MAX) <= FIRST);
    }
}
