//! Those who use the mesh: messages until their outcomes, and workers.

use crate::scenario::Time;
use redlink_core::GrantToken;
use std::collections::VecDeque;

/// A message from its submit to its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// When it was submitted.
    pub(crate) at: Time,
    /// How long it keeps a consumer of normal speed busy.
    pub(crate) work: Time,
    over: bool,
}

/// Messages of a node that are not over, by their sequence numbers, which follow each other.
#[derive(Debug)]
pub(crate) struct Open {
    first: u64,
    records: VecDeque<Record>,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            first: 1,
            records: VecDeque::new(),
        }
    }
}

impl Open {
    /// A new message; its sequence number.
    pub(crate) fn push(&mut self, at: Time, work: Time) -> u64 {
        self.records.push_back(Record {
            at,
            work,
            over: false,
        });
        self.first + self.records.len() as u64 - 1
    }

    pub(crate) fn get(&mut self, sequence: u64) -> Option<&mut Record> {
        let at = sequence.checked_sub(self.first)?;
        self.records.get_mut(at as usize).filter(|record| !record.over)
    }

    /// The message is over.
    pub(crate) fn end(&mut self, sequence: u64) -> Option<Record> {
        let record = self.get(sequence)?;
        record.over = true;
        let record = *record;
        while self.records.front().is_some_and(|record| record.over) {
            self.records.pop_front();
            self.first += 1;
        }
        Some(record)
    }
}

/// A consumer: takes a message, works on it, answers, takes the next.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) host: u32,
    pub(crate) name: String,
    /// How much longer than normal it takes.
    pub(crate) factor: u32,
    pub(crate) holds: Option<GrantToken>,
}

impl Worker {
    pub(crate) const fn new(host: u32, name: String, factor: u32) -> Self {
        Self {
            host,
            name,
            factor,
            holds: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_until_they_are_over_in_any_order() {
        let mut open = Open::default();
        let all = [open.push(1, 10), open.push(2, 20), open.push(3, 30)];
        assert_eq!(all, [1, 2, 3]);
        assert_eq!(open.end(2).map(|record| record.work), Some(20));
        assert!(open.get(2).is_none() && open.end(2).is_none());
        assert_eq!(open.end(1).map(|record| record.at), Some(1));
        assert_eq!((open.first, open.records.len()), (3, 1));
        assert_eq!(open.push(4, 40), 4);
        assert!(open.get(5).is_none() && open.get(0).is_none());
    }
}
