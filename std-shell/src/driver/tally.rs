//! What the driver counts, beside what the core does, and what it says of what the core counts.

use redlink_core::{Counters, Duration, Instant};

/// Since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    /// Links that came up.
    pub(super) links_up: u64,
    /// Links that ended by themselves, or because an operator wanted it.
    pub(super) links_down: u64,
    /// Links that were closed because of what the peer did, or did not.
    pub(super) links_closed: u64,
    /// Links that were closed because their peer did not read.
    pub(super) links_overflowed: u64,
    /// Submits that the store refused.
    pub(super) submits_rejected: u64,
    /// Deliveries that consumers of this node lost: leases over, deadlines passed, attempts revoked.
    pub(super) deliveries_lost: u64,
    /// Large payloads that were turned down for their size.
    pub(super) payloads_too_large: u64,
    /// Large payloads that came straight here from an origin or a consumer's node, and those of here that could not go so.
    pub(super) payloads_direct: u64,
    pub(super) payloads_not_direct: u64,
}

/// How often a full table is complained of.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// What was said in the log about tables that are full.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Complaints {
    routes: (u64, Option<Instant>),
    relays: (u64, Option<Instant>),
}

impl Complaints {
    /// Says so, if something found a table full since it was said last.
    pub(super) fn look(&mut self, counters: &Counters, now: Instant) {
        if is_news(&mut self.routes, counters.routes_full, now) {
            tracing::warn!(
                times = counters.routes_full,
                "the table of routes or of services is full: this node does not hear of some services, nor does who would \
                 hear of them here; raise `capacity.routes` and `capacity.services`"
            );
        }
        if is_news(&mut self.relays, counters.relays_full, now) {
            tracing::warn!(
                times = counters.relays_full,
                "the table of relays is full: claims of nodes behind this one are turned down; raise `capacity.relays`"
            );
        }
    }
}

fn is_news((said, at): &mut (u64, Option<Instant>), count: u64, now: Instant) -> bool {
    let news = count > *said && at.is_none_or(|at| at + COMPLAINTS <= now);
    if news {
        (*said, *at) = (count, Some(now));
    }
    news
}

impl Tally {
    /// By name.
    pub(super) fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("links_up", self.links_up),
            ("links_down", self.links_down),
            ("links_closed", self.links_closed),
            ("links_overflowed", self.links_overflowed),
            ("submits_rejected", self.submits_rejected),
            ("deliveries_lost", self.deliveries_lost),
            ("payloads_too_large", self.payloads_too_large),
            ("payloads_direct", self.payloads_direct),
            ("payloads_not_direct", self.payloads_not_direct),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_is_complained_of_once_a_minute() {
        let mut at = (0, None);
        let second = Instant::from_micros;
        assert!(!is_news(&mut at, 0, second(1)));
        assert!(is_news(&mut at, 3, second(2)));
        assert!(!is_news(&mut at, 4, second(3)));
        let later = second(2) + COMPLAINTS;
        assert!(is_news(&mut at, 4, later));
        assert!(!is_news(&mut at, 4, later + COMPLAINTS));
    }
}
