//! What each consumer holds: never more unexpired leases than its limit (P4).

use super::{Verdict, require};
use crate::scenario::Time;
use redlink_core::{AttemptId, GrantToken};
use std::collections::BTreeMap;

/// A consumer: node, service and name.
pub(crate) type Key = (usize, usize, String);

#[derive(Clone, Debug)]
struct Lease {
    until: Time,
    length: Time,
    /// Answers that the worker has given and that have not come back to it: meanwhile it does not hold it.
    answers: u32,
    over: bool,
}

#[derive(Debug, Default)]
struct Held {
    limit: u16,
    /// What was claimed under an earlier, higher limit may still arrive until then.
    before: (Time, u16),
    leases: BTreeMap<AttemptId, Lease>,
}

/// All leases, as the workers see them.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    consumers: BTreeMap<Key, Held>,
    owner: BTreeMap<(usize, AttemptId), Key>,
}

impl Leases {
    pub(crate) fn limited(&mut self, key: &Key, limit: u16, now: Time, grace: Time) {
        let held = self.consumers.entry(key.clone()).or_default();
        if limit < held.limit {
            held.before = (now + grace, held.limit);
        }
        held.limit = limit;
    }

    pub(crate) fn limit(&self, key: &Key) -> Option<u16> {
        self.consumers
            .get(key)
            .map(|held| held.limit)
            .filter(|limit| *limit > 0)
    }

    pub(crate) fn delivered(
        &mut self,
        key: &Key,
        token: &GrantToken,
        (now, length): (Time, Time),
        lied: bool,
    ) -> Verdict {
        let held = self.consumers.entry(key.clone()).or_default();
        let attempt = token.attempt();
        require!(
            lied || !held.leases.contains_key(&attempt),
            "P6",
            "{attempt:?} was delivered twice to {key:?}"
        );
        held.leases.retain(|_, lease| lease.until > now && !lease.over);
        held.leases.insert(
            attempt,
            Lease {
                until: now + length,
                length,
                answers: 0,
                over: false,
            },
        );
        self.owner.insert((key.0, attempt), key.clone());
        let count = held.leases.values().filter(|lease| lease.answers == 0).count();
        let (until, before) = held.before;
        let limit = if now < until {
            held.limit.max(before)
        } else {
            held.limit
        };
        require!(
            count <= usize::from(limit),
            "P4",
            "{key:?} holds {count} of {limit}"
        );
        Ok(())
    }

    fn find(&mut self, host: usize, attempt: AttemptId) -> Option<&mut Lease> {
        let key = self.owner.get(&(host, attempt))?;
        self.consumers.get_mut(key)?.leases.get_mut(&attempt)
    }

    /// The worker lets go of it by an answer.
    pub(crate) fn answering(&mut self, host: usize, attempt: AttemptId) {
        if let Some(lease) = self.find(host, attempt) {
            lease.answers += 1;
        }
    }

    /// That answer came to nothing: it is the worker's again.
    pub(crate) fn given_back(&mut self, host: usize, attempt: AttemptId) {
        if let Some(lease) = self.find(host, attempt) {
            lease.answers = lease.answers.saturating_sub(1);
        }
    }

    pub(crate) fn renewed(&mut self, host: usize, attempt: AttemptId, now: Time) {
        // One that was lost and is asserted anew has the lease that its consumer has by now, which may be another.
        if let Some(lease) = self.find(host, attempt).filter(|lease| !lease.over) {
            lease.until = lease.until.max(now + lease.length);
        }
    }

    /// Until when the worker may believe that it holds it.
    pub(crate) fn until(&mut self, host: usize, attempt: AttemptId) -> Option<Time> {
        self.find(host, attempt).map(|lease| lease.until)
    }

    pub(crate) fn over(&mut self, host: usize, attempt: AttemptId) {
        if let Some(lease) = self.find(host, attempt) {
            // Kept until the next delivery, so that a second delivery of the same attempt is seen.
            lease.over = true;
        }
    }

    /// The node restarted: it knows of no lease until its workers say what they hold.
    pub(crate) fn forgot(&mut self, host: usize) {
        self.consumers.retain(|key, _| key.0 != host);
        self.owner.retain(|(owner, _), _| *owner != host);
    }

    /// The consumer is gone from its node's table.
    pub(crate) fn unregistered(&mut self, key: &Key) {
        if let Some(held) = self.consumers.get_mut(key) {
            held.leases.clear();
            held.limit = 0;
        }
    }
}
