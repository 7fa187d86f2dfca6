//! The clocks of a node: one that counts suspend, for everything the core decides, and the wall clock, for what
//! must hold across a restart.
//!
//! Nothing else in the shell reads a clock for the core (promise P3): a laptop that slept an hour has deadlines that
//! are an hour nearer.

use redlink_core::{Duration, Instant};
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest time that anybody here waits on a tokio timer before looking at the clock again: those timers stand
/// still while the machine is suspended, so a longer wait could end long after its time (P3 allows a second).
pub const RECHECK: std::time::Duration = std::time::Duration::from_millis(500);

/// Before the machine started: 35 years, so that what a node finds on its disk can be as old as it is.
const BEFORE: u64 = 1 << 50;

/// Microseconds since a moment long before the machine started, suspend included.
pub fn now() -> Instant {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    // Elsewhere the monotonic clock is the best there is; on macOS it counts suspend as well.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let read = rustix::time::clock_gettime(CLOCK);
    let seconds = u64::try_from(read.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(read.tv_nsec).unwrap_or(0);
    let running = seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000);
    Instant::from_micros(running.saturating_add(BEFORE))
}

/// Wall time in microseconds since the Unix epoch; negative if the clock says that it is earlier.
pub fn wall() -> i64 {
    let micros = |d: std::time::Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    }
}

/// The wall time `after` a moment of it, as far as the number reaches.
pub fn wall_after(at: i64, after: Duration) -> i64 {
    at.saturating_add(i64::try_from(after.as_micros()).unwrap_or(i64::MAX))
}

/// A wall time as the standard library has it.
pub fn system_time(wall: i64) -> SystemTime {
    let distance = std::time::Duration::from_micros(wall.unsigned_abs());
    let moment = if wall < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    moment.unwrap_or(UNIX_EPOCH)
}

/// How long until a wall time, as read from disk after a restart; zero if it has passed, and at most `most`, since
/// the wall clock may have been set back meanwhile.
pub fn remaining(until: i64, now: i64, most: Duration) -> Duration {
    let left = u64::try_from(until.saturating_sub(now)).unwrap_or(0);
    Duration::from_micros(left).min(most)
}

/// How long ago a wall time was; zero if it lies ahead.
pub fn age(since: i64, now: i64) -> Duration {
    Duration::from_micros(u64::try_from(now.saturating_sub(since)).unwrap_or(0))
}

/// A core duration as the standard library has it.
pub fn std_duration(d: Duration) -> std::time::Duration {
    std::time::Duration::from_micros(d.as_micros())
}

/// A standard duration as the core has it, at most `u64::MAX` microseconds.
pub fn core_duration(d: std::time::Duration) -> Duration {
    Duration::from_micros(u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_forward() {
        let first = now();
        let second = now();
        assert!(second >= first);
        assert!(first - Duration::from_secs(30 * 365 * 86_400) > Instant::ZERO);
    }

    #[test]
    fn what_remains_is_never_more_than_what_was_asked_for() {
        let ett = Duration::from_secs(300);
        assert_eq!(remaining(1_000_000, 400_000, ett), Duration::from_micros(600_000));
        assert_eq!(remaining(1_000_000, 2_000_000, ett), Duration::ZERO);
        // The wall clock was set back by years while the node was down.
        assert_eq!(remaining(i64::MAX, i64::MIN, ett), ett);
        assert_eq!(age(5, 3), Duration::ZERO);
        assert_eq!(age(3, 5), Duration::from_micros(2));
    }

    #[test]
    fn wall_times_survive_the_conversions() {
        let at = wall();
        assert!(
            at > 1_600_000_000_000_000,
            "the wall clock of a build machine is after 2020"
        );
        assert_eq!(
            system_time(at).duration_since(UNIX_EPOCH).unwrap().as_micros(),
            at as u128
        );
        assert_eq!(system_time(-1), UNIX_EPOCH - std::time::Duration::from_micros(1));
        assert_eq!(wall_after(i64::MAX - 1, Duration::from_secs(1)), i64::MAX);
        let long = std::time::Duration::from_millis(1_234);
        assert_eq!(std_duration(core_duration(long)), long);
    }
}
