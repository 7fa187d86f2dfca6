//! The disk floor: what is left of the disk is for work that was accepted, so submits end before it does (P1, P7).

use super::handle::Handle;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The floor unless said otherwise: this, or a twentieth of the disk if that is less.
const DEFAULT: u64 = 256 << 20;
const DEFAULT_SHARE: u64 = 20;
/// Once it was reached, so much of it has to come free on top before submits go on: an eighth.
const BACK: u64 = 8;
/// How far apart looks at the disk are. Between two of them submits are counted.
const LOOK: Duration = Duration::from_millis(500);
/// About what a message takes on the disk beside its payload.
const ROW: u64 = 1_024;

/// How much room the disk has, and how much of it submits may not take.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// In bytes; 0 if there is none, or before the first look.
    floor: AtomicU64,
    /// Free bytes at the last look, less what was submitted since.
    free: AtomicU64,
    low: AtomicBool,
}

impl Floor {
    /// Whether a submit with a payload of this size may come in; counts it if so.
    pub(super) fn admits(&self, size: u64) -> bool {
        let floor = self.floor.load(Ordering::Relaxed);
        if floor == 0 {
            return true;
        }
        // Once in the log and once in its place.
        let takes = size.saturating_add(ROW).saturating_mul(2);
        let left = self.free.load(Ordering::Relaxed).checked_sub(takes);
        let Some(left) = left.filter(|left| !self.is_low() && *left >= floor) else {
            return false;
        };
        // Only the driver counts; a look in between is the newer truth by half a second at most.
        self.free.store(left, Ordering::Relaxed);
        true
    }

    /// Whether submits are refused, whatever their size.
    pub(super) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// In bytes; 0 if there is none.
    pub(super) fn bytes(&self) -> u64 {
        self.floor.load(Ordering::Relaxed)
    }

    /// The disk has so much free, of so much. `wish` is the setting.
    fn look(&self, wish: Option<u64>, free: u64, all: u64) {
        let floor = wish.unwrap_or_else(|| DEFAULT.min(all / DEFAULT_SHARE));
        self.free.store(free, Ordering::Relaxed);
        self.floor.store(floor, Ordering::Relaxed);
        let was = self.is_low();
        let enough = if was {
            floor.saturating_add(floor / BACK)
        } else {
            floor
        };
        let low = free < enough;
        self.low.store(low, Ordering::Relaxed);
        match (was, low) {
            (false, true) => tracing::warn!(
                free,
                floor,
                "the disk is nearly full: no new messages are accepted, and all other work goes on; make room, or lower `disk_floor`"
            ),
            (true, false) => tracing::info!(free, floor, "the disk has room again: messages are accepted"),
            _ => {}
        }
    }
}

impl Handle {
    /// Whether no new messages are accepted because the disk is nearly full.
    pub fn is_disk_low(&self) -> bool {
        self.floor().is_low()
    }

    /// Keeps looking at the disk; `wish` is the floor in bytes, 0 for none, or nothing for the default.
    pub(crate) async fn watch_disk(self, wish: Option<u64>) {
        loop {
            let store = self.store().clone();
            // A disk that hangs holds up this look only.
            let room = tokio::task::spawn_blocking(move || store.room()).await;
            if let Ok(Some((free, all))) = room {
                self.floor().look(wish, free, all);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_floor_is_reached_and_left_again_with_room_to_spare() {
        let floor = Floor::default();
        assert!(floor.admits(u64::MAX), "before the first look nothing is known");
        floor.look(Some(80 * MIB), 100 * MIB, 1_000 * MIB);
        assert!(floor.admits(MIB));
        // What was submitted since the look counts.
        let more = (0..100).take_while(|_| floor.admits(MIB)).count();
        assert_eq!(more, 8);
        assert!(!floor.is_low() && !floor.admits(MIB));
        floor.look(Some(80 * MIB), 79 * MIB, 1_000 * MIB);
        assert!(floor.is_low() && !floor.admits(0));
        for (free, low) in [(85, true), (89, true), (90, false), (81, false), (79, true)] {
            floor.look(Some(80 * MIB), free * MIB, 1_000 * MIB);
            assert_eq!(floor.is_low(), low, "{free}");
        }
        floor.look(Some(0), 0, 1_000 * MIB);
        assert!(!floor.is_low() && floor.admits(u64::MAX), "0 is none");
    }

    #[test]
    fn by_default_it_is_small_on_a_small_disk() {
        let floor = Floor::default();
        floor.look(None, 50 * MIB, 100 * MIB);
        assert_eq!(floor.bytes(), 5 * MIB);
        floor.look(None, 50 * MIB, 1 << 40);
        assert_eq!((floor.bytes(), floor.is_low()), (DEFAULT, true));
    }
}
