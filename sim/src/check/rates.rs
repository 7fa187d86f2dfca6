//! What each consumer is handed in a time: never more than its rate (P4), in the promise's own words.
//!
//! With n in a period, any span t may have n + n·t/period, and the time t since it came 1 + n·t/period. When its rate
//! changes, what it may have at once is what it could have had by the old one. Time is the node's own, in which its
//! core counts. A delivery that its client never saw does not count.

use super::leases::Key;
use super::{Verdict, require};
use redlink_core::{AttemptId, Instant, Rate};
use std::collections::{BTreeMap, BTreeSet};

/// One message, in parts of which every period has a whole number: a day's microseconds.
const ONE: i128 = 86_400_000_000;

#[derive(Debug)]
struct Paced {
    rate: Rate,
    /// From then on it may have so much, and what time brings.
    since: (Instant, i128),
    got: Vec<(Instant, AttemptId)>,
    /// What it got by another rate.
    before: BTreeSet<AttemptId>,
}

impl Paced {
    fn whole(&self) -> i128 {
        i128::from(self.rate.count()) * ONE
    }

    fn brings(&self, from: Instant, now: Instant) -> i128 {
        let each = i128::from(self.rate.count()) * ONE / i128::from(self.rate.period().as_micros());
        i128::from(from.until(now).as_micros()) * each
    }

    /// What it may be handed now: the least that any span up to now leaves.
    fn left(&self, now: Instant) -> i128 {
        let (since, first) = self.since;
        let mut left = self.whole();
        for (from, (then, _)) in self.got.iter().enumerate() {
            let got = (self.got.len() - from) as i128 * ONE;
            left = left.min(self.whole() + self.brings(*then, now) - got);
        }
        left.min(first + self.brings(since, now) - self.got.len() as i128 * ONE)
    }
}

/// All consumers that have a rate.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    consumers: BTreeMap<Key, Paced>,
}

impl Rates {
    pub(crate) fn registered(&mut self, key: &Key, rate: Option<Rate>, now: Instant) {
        let Some(rate) = rate else {
            self.consumers.remove(key);
            return;
        };
        let old = self.consumers.get(key);
        if old.is_some_and(|old| old.rate == rate) {
            return;
        }
        let first = old.map_or(ONE, |old| old.left(now));
        let mut new = Paced {
            rate,
            since: (now, 0),
            got: Vec::new(),
            before: BTreeSet::new(),
        };
        new.since.1 = first.min(new.whole());
        if let Some(old) = self.consumers.remove(key) {
            new.before = old.before;
            new.before.extend(old.got.into_iter().map(|(_, attempt)| attempt));
        }
        self.consumers.insert(key.clone(), new);
    }

    pub(crate) fn delivered(&mut self, key: &Key, attempt: AttemptId, now: Instant) -> Verdict {
        let Some(paced) = self.consumers.get_mut(key) else {
            return Ok(());
        };
        let left = paced.left(now);
        if left == paced.whole() {
            // Whatever was before no longer matters.
            paced.since = (now, left);
            paced.got.clear();
        }
        paced.got.push((now, attempt));
        require!(
            left >= ONE,
            "P4",
            "{key:?} is handed more than its {}: {} parts of a message in {ONE} are left",
            paced.rate,
            left
        );
        Ok(())
    }

    pub(crate) fn unseen(&mut self, key: &Key, attempt: AttemptId) {
        let Some(paced) = self.consumers.get_mut(key) else {
            return;
        };
        paced.got.retain(|(_, got)| *got != attempt);
        if paced.before.remove(&attempt) {
            paced.since.1 = (paced.since.1 + ONE).min(paced.whole());
        }
    }

    pub(crate) fn unregistered(&mut self, key: &Key) {
        self.consumers.remove(key);
    }

    /// The node restarted.
    pub(crate) fn forgot(&mut self, host: usize) {
        self.consumers.retain(|key, _| key.0 != host);
    }
}
