//! The node's store: messages, outcomes and undelivered replies on disk, and who this node is.
//!
//! One thread owns the database and commits in groups: what arrives during one commit is the next group, so an idle
//! node commits at once and a busy one pays for one fsync per group. Nothing is answered before it is on disk (P1).
//! Bodies over [`INLINE_MAX`] bytes are files, written and read beside that thread, so that a large one holds up
//! nobody's commit (P11).
//!
//! ```text
//!  StoreHandle ── small ops, reads ──▶ store thread ──▶ dyn Store (turso)
//!       │                               ▲       │
//!       └── large ops ──▶ file thread ──┘       └── unlink after commit ──▶ file thread
//! ```
//!
//! Enter at [`open()`]; [`StoreHandle`] is what the rest of the node holds. Inside: `engine` is the narrow trait that a
//! database has to fulfil, `turso` the one that does, `schema` its tables, `thread` the group commit, `letters` the dead
//! letters, `repair` what happens after an error, `payload` the files, `lock` the guard against a second node on one directory.

mod engine;
mod handle;
mod letters;
mod lock;
mod open;
mod payload;
mod query;
mod readers;
mod reads;
mod repair;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;
mod thread;
mod turso;
mod types;

pub use handle::StoreHandle;
pub use letters::{Letter, LetterLimits, LettersFrom, Requeue, StoredLetter};
pub use open::{Opened, open};
pub use payload::INLINE_MAX;
pub use query::{Cell, QueryAnswer, QueryError};
pub use snapshot::{Snapshot, rebirth};
pub use thread::GROUP_MAX;
pub use types::{
    Alternate, Done, NewMessage, NodeRecord, Op, OpenError, ReadError, Recovered, RecoveredKey,
    RecoveredMessage, RecoveredOutcome, RecoveredReply, Short, StoreStats, StoredKey, StoredOutcomeContent,
    StoredReplyContent,
};

/// Name of the database file in the store's directory.
pub(crate) const DATABASE: &str = turso::FILE;
/// Name of the folder of payloads in there.
pub(crate) const PAYLOADS: &str = payload::FOLDER;
