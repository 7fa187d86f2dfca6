//! A node's disk and the queue in front of it: group commit, latency, failures, and what a crash leaves.

use crate::scenario::Time;
use redlink_core::{AttemptId, Attempts, GrantToken, Outcome, Row, Terms, Verb};
use std::collections::BTreeMap;

/// Payload bytes: whose they are and how many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Content {
    /// Never used twice in a run, so that mixed-up payloads show.
    pub(crate) mark: u64,
    pub(crate) size: u64,
}

impl Content {
    /// No bytes: any two of them are the same.
    pub(crate) const EMPTY: Self = Self { mark: 0, size: 0 };

    pub(crate) fn same(self, other: Self) -> bool {
        self == other || (self.size == 0 && other.size == 0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct MessageRow {
    pub(crate) inserted: u32,
    pub(crate) service: usize,
    /// Its alternate service, and after what time it is offered there.
    pub(crate) alternate: Option<(usize, Time)>,
    pub(crate) terms: Terms,
    pub(crate) content: Content,
    pub(crate) submitted_at: Time,
    pub(crate) deadline_at: Option<Time>,
    /// When it may be offered, if its node is not restarted before.
    pub(crate) from: Time,
}

#[derive(Clone, Debug)]
pub(crate) struct OutcomeRow {
    pub(crate) outcome: Outcome,
    pub(crate) token: Option<GrantToken>,
    pub(crate) content: Option<Content>,
    pub(crate) retain_until: Time,
}

#[derive(Clone, Debug)]
pub(crate) struct ReplyRow {
    pub(crate) token: GrantToken,
    pub(crate) verb: Verb,
    pub(crate) content: Option<Content>,
    pub(crate) until: Time,
    pub(crate) path: redlink_core::wire::Path,
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) boots: u32,
    /// Highest sequence number that was ever committed.
    pub(crate) high: u64,
    pub(crate) messages: BTreeMap<u64, MessageRow>,
    /// What was written of messages' attempts.
    pub(crate) attempts: BTreeMap<u64, Attempts>,
    pub(crate) outcomes: BTreeMap<u64, OutcomeRow>,
    pub(crate) replies: BTreeMap<AttemptId, ReplyRow>,
}

/// One change, with everything it needs resolved when the core asked for it.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Insert(u64, MessageRow),
    Attempts(u64, Attempts),
    Settle(u64, OutcomeRow),
    Delete(u64),
    Keep(ReplyRow),
    Drop(AttemptId),
}

impl Write {
    pub(crate) fn row(&self) -> Row {
        match self {
            Self::Insert(sequence, _) => Row::Insert(*sequence),
            Self::Attempts(sequence, _) => Row::Attempts(*sequence),
            Self::Settle(sequence, _) => Row::Settle(*sequence),
            Self::Delete(sequence) => Row::Delete(*sequence),
            Self::Keep(reply) => Row::Keep(reply.token.attempt()),
            Self::Drop(attempt) => Row::Drop(*attempt),
        }
    }
}

/// What waits for the disk, and what it is busy with.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreQueue {
    pub(crate) waiting: Vec<Write>,
    /// The group whose commit is under way; empty if the store is idle.
    pub(crate) group: Vec<Write>,
}

impl Disk {
    /// Applies a change, or says why a real database would have refused it.
    pub(crate) fn apply(&mut self, write: &Write) -> Result<(), String> {
        match write {
            Write::Insert(sequence, row) => {
                if *sequence <= self.high {
                    return Err(format!(
                        "insert of message {sequence}, but {} was used already",
                        self.high
                    ));
                }
                self.high = *sequence;
                self.messages.insert(*sequence, row.clone());
            }
            Write::Attempts(sequence, attempts) => {
                if !self.messages.contains_key(sequence) {
                    return Err(format!("attempts at message {sequence}, which is not on disk"));
                }
                self.attempts.insert(*sequence, *attempts);
            }
            Write::Settle(sequence, row) => {
                self.attempts.remove(sequence);
                if self.outcomes.contains_key(sequence) {
                    return Err(format!("message {sequence} has an outcome already"));
                }
                if self.messages.remove(sequence).is_none() {
                    return Err(format!("outcome of message {sequence}, which is not on disk"));
                }
                self.outcomes.insert(*sequence, row.clone());
            }
            Write::Delete(sequence) => {
                if self.outcomes.remove(sequence).is_none() {
                    return Err(format!("deletion of outcome {sequence}, which is not on disk"));
                }
            }
            Write::Keep(reply) => {
                if self
                    .replies
                    .insert(reply.token.attempt(), reply.clone())
                    .is_some()
                {
                    return Err(format!(
                        "a reply to {:?} is on disk already",
                        reply.token.attempt()
                    ));
                }
            }
            Write::Drop(attempt) => {
                if self.replies.remove(attempt).is_none() {
                    return Err(format!(
                        "deletion of the reply to {attempt:?}, which is not on disk"
                    ));
                }
            }
        }
        Ok(())
    }
}
