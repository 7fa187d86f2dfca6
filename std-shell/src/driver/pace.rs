//! When the frames of a link are handed over: at once, or together with those of the next moment.
//!
//! A write costs more than the frames in it: the system call, a TLS record, the reader's wake-up. Where turns bring several
//! frames for a link each, a thousandth of a second makes little difference to any of them and gathers those of some turns
//! in one write. Where they come one by one, or all at once and then none, as with few messages under way, they would wait
//! for nothing: that is found out by waiting now and then, and looking at what came of it.

use redlink_core::{Duration, Instant};

/// How long frames may wait for others.
const HOLD: Duration = Duration::from_millis(1);
/// So many frames in a write on the average are worth it.
const WORTH: u32 = 4;
/// The average is over about so many writes.
const WRITES: u32 = 8;
/// After a wait in which less than a quarter as many came again, so many writes are not waited with.
const REST: u32 = 16;
/// With so many bytes there is no sense in waiting.
const FULL: usize = 16 << 10;

/// The pace of one link.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the last write was.
    last: Instant,
    /// Frames since then.
    frames: u32,
    /// Frames in a write on the average, times [`WRITES`].
    average: u32,
    /// Frames that began to wait.
    waiting: Option<u32>,
    /// Writes until waiting is tried again.
    rest: u32,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: now,
            frames: 0,
            average: 0,
            waiting: None,
            rest: 0,
        }
    }

    /// A frame is there to be written.
    pub(super) fn frame(&mut self) {
        self.frames = self.frames.saturating_add(1);
    }

    /// Until when the frames, this many bytes, should wait for others; nothing if they should not.
    pub(super) fn hold(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let until = self.last + HOLD;
        if self.rest > 0 || self.average < WORTH * WRITES || bytes >= FULL || now >= until {
            return None;
        }
        self.waiting.get_or_insert(self.frames);
        Some(until)
    }

    /// They are written.
    pub(super) fn written(&mut self, now: Instant) {
        self.rest = self.rest.saturating_sub(1);
        if let Some(waiting) = self.waiting.take()
            && self.frames < waiting + waiting / 4
        {
            self.rest = REST;
        }
        self.average = self.average - self.average / WRITES + self.frames.min(1 << 16);
        self.frames = 0;
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// Writes of so many frames each, 100 us apart.
    fn writes(pace: &mut Pace, frames: u32, times: u64, from: u64) -> u64 {
        for n in 1..=times {
            (0..frames).for_each(|_| pace.frame());
            pace.written(at(from + n * 100));
        }
        from + times * 100
    }

    #[test]
    fn single_frames_never_wait() {
        let mut pace = Pace::new(at(0));
        let now = writes(&mut pace, 1, 1_000, 0);
        pace.frame();
        assert_eq!(pace.hold(100, at(now + 1)), None);
    }

    #[test]
    fn where_many_come_they_wait_for_a_moment_and_not_longer() {
        let mut pace = Pace::new(at(0));
        let now = writes(&mut pace, 12, 100, 0);
        pace.frame();
        assert_eq!(pace.hold(100, at(now + 1)), Some(at(now + 1_000)));
        assert_eq!(pace.hold(100, at(now + 1_000)), None);
        assert_eq!(pace.hold(FULL, at(now + 1)), None, "enough for a write");
    }

    #[test]
    fn where_nothing_comes_meanwhile_they_do_not_wait_again_soon() {
        let mut pace = Pace::new(at(0));
        let now = writes(&mut pace, 12, 100, 0);
        (0..12).for_each(|_| pace.frame());
        assert!(pace.hold(100, at(now + 1)).is_some());
        pace.written(at(now + 1_000));
        let now = writes(&mut pace, 12, 10, now + 1_000);
        (0..12).for_each(|_| pace.frame());
        assert_eq!(pace.hold(100, at(now + 1)), None);
        // After a while that is tried again; and if it was of use, it goes on.
        let now = writes(&mut pace, 12, 60, now);
        (0..12).for_each(|_| pace.frame());
        assert!(pace.hold(100, at(now + 1)).is_some());
        (0..6).for_each(|_| pace.frame());
        pace.written(at(now + 1_000));
        pace.frame();
        assert!(pace.hold(100, at(now + 1_001)).is_some());
    }

    #[test]
    fn when_the_load_is_over_they_stop_waiting() {
        let mut pace = Pace::new(at(0));
        let now = writes(&mut pace, 100, 100, 0);
        let now = writes(&mut pace, 1, 40, now);
        assert_eq!(pace.hold(100, at(now + 1)), None);
    }
}
