//! What a database has to do for the store: narrow, so that another one can stand behind it.

use super::letters::{LettersFrom, StoredLetter};
use super::payload::FileId;
use super::readers::Reader;
use super::types::{NodeRecord, Op, Recovered};
use crate::trace_context::TraceContext;
use bytes::Bytes;
use redlink_core::{AttemptId, Boot, Outcome, Verb};
use std::collections::HashMap;
use std::sync::Arc;

/// An operation with its body where the engine expects it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The operation; its content has no bytes if `file` is set.
    pub(super) op: Op,
    /// Length of its body in bytes.
    pub(super) size: u64,
    /// Where its body is, if not in the operation itself.
    pub(super) file: Option<FileId>,
}

/// A database that holds the store's rows. One thread uses it.
pub(super) trait Store {
    /// Takes `fresh` as the identity if there is none, and commits the next boot record, with these random bits.
    fn start(&mut self, fresh: &NodeRecord, random: u32) -> Result<Started, EngineError>;

    /// Reads everything but the bodies.
    fn recover(&mut self) -> Result<Recovery, EngineError>;

    /// Does all of the group, in one transaction that is on disk when this returns. With `mark`, raises the first
    /// sequence number that the next life may use to it.
    fn apply(&mut self, group: &[Entry], mark: Option<u64>) -> Result<(), ApplyError>;

    /// Whether the state on disk is the one that `op` was to bring about.
    fn holds(&mut self, op: &Op) -> Result<bool, EngineError>;

    /// A message's payload.
    fn payload(&mut self, sequence: u64) -> Result<Option<Found>, EngineError>;

    /// An outcome and its content.
    fn outcome(&mut self, sequence: u64) -> Result<Option<(Outcome, Option<Found>)>, EngineError>;

    /// What was preserved of a message.
    fn preserved(&mut self, sequence: u64) -> Result<Option<Bytes>, EngineError>;

    /// Deletes the idempotency keys of messages up to this one, in a transaction of its own.
    fn forget_keys(&mut self, through: u64) -> Result<(), EngineError>;

    /// An undelivered reply and its content.
    fn reply(&mut self, attempt: AttemptId) -> Result<Option<(Verb, Option<Found>)>, EngineError>;

    /// A dead letter, by its message's number.
    fn letter(&mut self, sequence: u64) -> Result<Option<StoredLetter>, EngineError>;

    /// At most `most` dead letters, from a place on.
    fn letters(&mut self, from: LettersFrom, most: usize) -> Result<Vec<StoredLetter>, EngineError>;

    /// A dead letter's payload.
    fn letter_payload(&mut self, sequence: u64) -> Result<Option<Found>, EngineError>;

    /// The numbers of the oldest dead letters, and when they died.
    fn oldest_letters(&mut self, most: usize) -> Result<Vec<(u64, i64)>, EngineError>;

    /// Deletes dead letters, in one transaction that is on disk when this returns; says which of them were there.
    fn delete_letters(&mut self, sequences: &[u64]) -> Result<Vec<u64>, EngineError>;

    /// How many dead letters there are.
    fn count_letters(&mut self) -> Result<u64, EngineError>;

    /// Another connection, which only reads.
    fn reader(&mut self) -> Result<Box<dyn Reader>, EngineError>;

    /// Writes everything to its final place and syncs it; afterwards the log is empty.
    fn checkpoint(&mut self) -> Result<(), EngineError>;

    /// Sets the first sequence number that the next life may use.
    fn set_mark(&mut self, mark: u64) -> Result<(), EngineError>;

    /// Examines the whole database; what is wrong with it, one line each.
    fn integrity(&mut self) -> Result<Vec<String>, EngineError>;
}

/// What [`Store::start`] found or made.
pub(super) struct Started {
    pub(super) identity: NodeRecord,
    pub(super) boot: Boot,
    /// No row had this sequence number or a higher one, in any life.
    pub(super) next_sequence: u64,
    /// Inserts below it need no new mark.
    pub(super) mark: u64,
}

/// What [`Store::recover`] read.
#[derive(Default)]
pub(super) struct Recovery {
    pub(super) rows: Recovered,
    /// Which of them have their body in a file.
    pub(super) files: Files,
    /// How many dead letters there are.
    pub(super) letters: u64,
}

/// Rows whose body is a file.
#[derive(Default)]
pub(super) struct Files {
    pub(super) messages: HashMap<u64, FileId>,
    pub(super) outcomes: HashMap<u64, FileId>,
    pub(super) replies: HashMap<AttemptId, FileId>,
    /// Dead letters, by their messages' numbers.
    pub(super) letters: HashMap<u64, FileId>,
}

impl Files {
    /// All of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = FileId> {
        self.messages
            .values()
            .chain(self.outcomes.values())
            .chain(self.replies.values())
            .chain(self.letters.values())
            .copied()
    }
}

/// A body on disk.
pub(super) struct Found {
    pub(super) content_type: Option<Arc<str>>,
    /// Of a message's payload only.
    pub(super) trace_context: Option<Arc<TraceContext>>,
    pub(super) place: Place,
}

/// Where its bytes are.
pub(super) enum Place {
    Row(Bytes),
    File(FileId),
}

/// Why the engine could not do something.
#[derive(Debug)]
pub(super) enum EngineError {
    /// It failed, and may not be used any more: open it again.
    Broken(String),
    /// A row holds what no Redlink wrote; the engine is well.
    Value(String),
}

/// Why a group could not be committed.
#[derive(Debug)]
pub(super) enum ApplyError {
    /// This entry of the group can't be done; nothing of the group is on disk, and the engine is well.
    Entry {
        /// Its place in the group.
        at: usize,
        /// What was wrong with it.
        detail: String,
    },
    /// It can't be told what is on disk. The engine may not be used any more.
    Unknown(String),
}
