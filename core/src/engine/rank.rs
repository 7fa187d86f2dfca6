//! Who is served first (P5): the highest priority, and within one the oldest; or with ageing, whoever's priority has
//! risen highest by waiting.
//!
//! With ageing a message gains a level of priority for each [`Config::ageing`](crate::Config::ageing) that it has waited.
//! All of them gain alike, so who is before whom never changes while they wait: it is decided by the moment at which each
//! would come to the highest level, its birth and one step of time for each level that it lacks. That moment is what slots
//! keep and what every tree and comparison goes by; nothing is ever sorted anew. Without ageing a step is longer than any
//! message waits, and the same sum orders by priority, then age.
//!
//! Each node ranks by its own setting what waits at it: offers carry priority and age, not ranks. Where neighbours differ, one
//! may place first what the other claims last, or decline what it had placed; each such refusal names a floor that is
//! not below the refused, so that nothing goes to and fro (`hold.rs`).

use super::Core;
use crate::time::{Duration, Instant};

/// A step without ageing: 2^55 microseconds, above a thousand years. 255 of them and as long a life still fit an instant.
const NEVER: Duration = Duration::from_micros(1 << 55);

impl Core<'_> {
    fn lacking(&self, priority: u8) -> Duration {
        let step = self.config.ageing.map_or(NEVER, |step| step.min(NEVER));
        Duration::from_micros(step.as_micros() * u64::from(u8::MAX - priority))
    }

    /// What a message of this priority, born then, ranks by: sooner first.
    pub(super) fn rank(&self, born: Instant, priority: u8) -> Instant {
        born + self.lacking(priority)
    }

    /// When a message of that rank was born.
    pub(super) fn born(&self, rank: Instant, priority: u8) -> Instant {
        rank - self.lacking(priority)
    }
}
