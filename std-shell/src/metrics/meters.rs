//! What the driver counts, by service and by peer.

use super::{Histogram, PEERS_MAX, SERVICES_MAX};
use redlink_core::{Duration, Instant, Outcome, Verb};
use std::collections::HashMap;

/// Of one service, since it has a row.
#[derive(Clone, Debug, Default)]
pub struct ServiceRow {
    /// Its name.
    pub name: Box<str>,
    /// Messages accepted here.
    pub accepted: u64,
    /// Outcomes of this node's messages, as in [`ServiceRow::OUTCOMES`].
    pub settled: [u64; 6],
    /// Deliveries handed to consumers of this node.
    pub delivered: u64,
    /// Answers of theirs that were taken, as in [`ServiceRow::VERBS`].
    pub answered: [u64; 4],
    /// Deliveries that they lost.
    pub lost: u64,
    /// From the submit to the outcome on disk.
    pub whole: Histogram,
    /// From the submit to the first grant.
    pub queued: Histogram,
    /// From the delivery to the answer, of consumers of this node.
    pub work: Histogram,
    /// Time that was left until the deadline when the outcome was on disk; none for those that expired.
    pub slack: Histogram,
}

impl ServiceRow {
    /// Words for [`ServiceRow::settled`].
    pub const OUTCOMES: [&str; 6] = ["replied", "delivered", "failed", "expired", "dead", "cancelled"];
    /// Words for [`ServiceRow::answered`].
    pub const VERBS: [&str; 4] = ["reply", "ack", "fail", "release"];

    /// One more outcome.
    pub fn settle(&mut self, outcome: Outcome) {
        let at = match outcome {
            Outcome::Replied => 0,
            Outcome::Delivered => 1,
            Outcome::Failed => 2,
            Outcome::Expired => 3,
            Outcome::Dead => 4,
            Outcome::Cancelled => 5,
        };
        self.settled[at] += 1;
    }

    /// One more answer; extensions are none.
    pub fn answer(&mut self, verb: Verb) {
        let at = match verb {
            Verb::Reply => 0,
            Verb::Ack => 1,
            Verb::Fail => 2,
            Verb::Release | Verb::Return => 3,
            Verb::Extend => return,
        };
        self.answered[at] += 1;
    }
}

/// Of the links with one peer, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Sessions that came up.
    pub sessions: u64,
    /// Frames received.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Bytes of frames, with the payloads in them.
    pub bytes_in: u64,
    /// The same, sent.
    pub bytes_out: u64,
    /// Links closed because the peer did not read.
    pub overflows: u64,
    /// How long the last ping was on its way, there and back.
    pub rtt: Option<Duration>,
}

impl Traffic {
    /// Adds what another link counted, which is the newer one.
    pub fn merge(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.frames_in += other.frames_in;
        self.frames_out += other.frames_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.overflows += other.overflows;
        self.rtt = other.rtt.or(self.rtt);
    }
}

/// How often rows of services that nobody knows any more are given to others.
const TIDY: Duration = Duration::from_secs(60);

/// The driver's numbers. A row is found by one look into a hash table; nothing is allocated but for a service's first
/// message.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    rows: Vec<ServiceRow>,
    /// Places in `rows` by name.
    places: HashMap<Box<str>, usize>,
    /// Places that are not in use.
    free: Vec<usize>,
    /// Of all services without a row of their own.
    other: ServiceRow,
    /// Something went to the row of all others since the last tidying.
    crowded: bool,
    tidied: Option<Instant>,
    /// Submits that were refused, by reason.
    refused: Vec<(&'static str, u64)>,
    /// What went over links that are gone, by peer and whether it was dialled.
    gone: HashMap<(String, bool), Traffic>,
}

impl Meters {
    /// A service's row, or the one of all others.
    pub fn row(&mut self, service: &str) -> &mut ServiceRow {
        let at = self.place(service);
        self.at(at)
    }

    /// Where a service's row is, for [`Meters::at`]: it stays there as long as the core knows the service.
    pub fn place(&mut self, service: &str) -> Option<usize> {
        if let Some(&at) = self.places.get(service) {
            return Some(at);
        }
        let row = ServiceRow {
            name: service.into(),
            ..ServiceRow::default()
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.rows[at] = row;
                at
            }
            None if self.rows.len() < SERVICES_MAX => {
                self.rows.push(row);
                self.rows.len() - 1
            }
            None => {
                self.crowded = true;
                return None;
            }
        };
        self.places.insert(service.into(), at);
        Some(at)
    }

    /// The row at a place, or the one of all others.
    pub fn at(&mut self, place: Option<usize>) -> &mut ServiceRow {
        match place.and_then(|at| self.rows.get_mut(at)) {
            Some(row) => row,
            None => &mut self.other,
        }
    }

    /// If some services had no row: gives those of services away that are not `known` any more. Their numbers end, as
    /// those of a node that is gone do.
    pub fn tidy(&mut self, now: Instant, known: impl Fn(&str) -> bool) {
        if !self.crowded || self.tidied.is_some_and(|at| now < at + TIDY) {
            return;
        }
        self.crowded = false;
        self.tidied = Some(now);
        let (rows, free) = (&mut self.rows, &mut self.free);
        self.places.retain(|name, &mut at| {
            let keeps = known(name);
            if !keeps {
                rows[at] = ServiceRow::default();
                free.push(at);
            }
            keeps
        });
    }

    /// The rows, in no order, and the one of all others.
    pub fn rows(&self) -> (impl Iterator<Item = &ServiceRow>, &ServiceRow) {
        (self.places.values().map(|&at| &self.rows[at]), &self.other)
    }

    /// Messages accepted, outcomes and deliveries of a service; none if no row is its own or would be.
    pub fn sums(&self, service: &str) -> Option<[u64; 3]> {
        let Some(row) = self.places.get(service).and_then(|&at| self.rows.get(at)) else {
            let room = self.rows.len() < SERVICES_MAX || !self.free.is_empty();
            return room.then_some([0; 3]);
        };
        Some([row.accepted, row.settled.iter().sum(), row.delivered])
    }

    /// Whether a service has a row of its own.
    pub fn has(&self, service: &str) -> bool {
        self.places.contains_key(service)
    }

    /// A submit was refused.
    pub fn refuse(&mut self, reason: &'static str) {
        match self.refused.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((reason, 1)),
        }
    }

    /// Submits that were refused, by reason.
    pub fn refusals(&self) -> &[(&'static str, u64)] {
        &self.refused
    }

    /// A link is gone.
    pub fn link_gone(&mut self, peer: &str, dialled: bool, traffic: &Traffic) {
        let mut key = (peer.to_owned(), dialled);
        if self.gone.len() >= PEERS_MAX && !self.gone.contains_key(&key) {
            super::OTHER.clone_into(&mut key.0);
        }
        self.gone.entry(key).or_default().merge(traffic);
    }

    /// What went over links that are gone, by peer and whether it was dialled.
    pub fn links_gone(&self) -> &HashMap<(String, bool), Traffic> {
        &self.gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_bounded_and_change_hands_only_when_their_service_is_gone() {
        let mut meters = Meters::default();
        for n in 0..SERVICES_MAX {
            meters.row(&format!("s{n}")).accepted += 1;
        }
        let held = meters.place("s7");
        for n in 0..3 {
            meters.row(&format!("late{n}")).accepted += 1;
        }
        assert_eq!(meters.rows().1.accepted, 3);
        assert!(!meters.has("late0"));
        let minute = |n: u64| Instant::from_micros(n * 60_000_000);
        meters.tidy(minute(1), |name| name != "s3");
        meters.row("late0").accepted += 1;
        meters.row("late1").accepted += 1;
        assert!(meters.has("late0") && !meters.has("late1") && !meters.has("s3"));
        assert_eq!(meters.row("late0").accepted, 1, "not s3's number");
        assert_eq!(meters.rows().0.count(), SERVICES_MAX);
        assert_eq!(&*meters.at(held).name, "s7");
        meters.tidy(minute(1), |_| false);
        assert!(meters.has("s7"), "at most once a minute");
        meters.tidy(minute(2), |name| name == "s7");
        assert!(meters.has("s7") && meters.rows().0.count() == 1);
        meters.tidy(minute(9), |_| false);
        assert!(meters.has("s7"), "without need no row goes");
    }

    #[test]
    fn peers_are_bounded_too() {
        let mut meters = Meters::default();
        let one = Traffic {
            frames_in: 1,
            ..Traffic::default()
        };
        for n in 0..PEERS_MAX + 5 {
            meters.link_gone(&format!("p{n}"), false, &one);
        }
        meters.link_gone("p1", false, &one);
        assert_eq!(meters.links_gone().len(), PEERS_MAX + 1);
        let of = |name: &str| meters.links_gone()[&(name.to_owned(), false)].frames_in;
        assert_eq!((of("p1"), of(super::super::OTHER)), (2, 5));
    }
}
