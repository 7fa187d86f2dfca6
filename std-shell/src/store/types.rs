//! What goes into the store and what comes out. Wall times are microseconds since the Unix epoch.

use super::letters::{Letter, Requeue};
use crate::Content;
use crate::metrics::Histogram;
use crate::owner::Owner;
use bytes::Bytes;
use redlink_core::wire::Path;
use redlink_core::{AttemptId, Attempts, Duration, Fence, GrantToken, NodeId, Outcome, Row, Terms, Verb};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A change to make. Each is answered by one [`Done`], once.
#[derive(Clone, Debug)]
pub enum Op {
    /// Insert a message.
    Insert(NewMessage),
    /// Write nothing, but see to it that no later life gives a message a number below `below`: answered as the insert of
    /// the message that waits for that.
    Reserve {
        /// The message, which is kept elsewhere.
        sequence: u64,
        /// At least one more than `sequence`.
        below: u64,
    },
    /// Write what became of a message's attempts, in place of what was written before.
    Attempts {
        /// The message.
        sequence: u64,
        /// What is to be known of them.
        attempts: Attempts,
    },
    /// In one transaction: insert the outcome, delete the message, with what is known of its attempts, or make it a dead
    /// letter. An outcome that is there already stays (P2).
    Settle {
        /// The message.
        sequence: u64,
        /// What became of it.
        outcome: Outcome,
        /// The attempt that brought it about.
        token: Option<GrantToken>,
        /// Payload of the reply or text of the failure.
        content: Option<Content>,
        /// Now.
        settled_at: i64,
        /// When its retention ends.
        retain_until: i64,
        /// The message is kept as a dead letter.
        letter: Option<Letter>,
    },
    /// Delete an outcome, whose it was, and what was preserved. Done also if there is none.
    Delete {
        /// The message.
        sequence: u64,
    },
    /// Insert a reply to another node's message. One that is there for the same attempt stays.
    Keep {
        /// The grant it answers.
        token: GrantToken,
        /// `Reply`, `Ack` or `Fail`.
        verb: Verb,
        /// Its payload.
        content: Option<Content>,
        /// When it is no longer worth sending.
        until: i64,
        /// Nodes on its way.
        path: Path,
    },
    /// Delete such a reply. Done also if there is none.
    Drop {
        /// The attempt it answered.
        attempt: AttemptId,
    },
}

/// A message as it goes to disk.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its key; below 2^63, and never one that was used before.
    pub sequence: u64,
    /// Boot counter of the life that accepts it.
    pub inserted: u32,
    /// Whose it is.
    pub owner: Owner,
    /// The name that its outcome is collected under, where that is not its owner's own.
    pub producer: Option<Arc<str>>,
    /// Addressed to this service.
    pub service: Box<str>,
    /// A second service.
    pub alternate: Option<Alternate>,
    /// Its settings.
    pub terms: Terms,
    /// Its payload; empty if it has that of a dead letter.
    pub content: Content,
    /// To be given back with its outcome. Lies in a row of its own, whatever its length.
    pub preserved: Option<Bytes>,
    /// By which a repeated submit is known.
    pub key: Option<StoredKey>,
    /// Now.
    pub submitted_at: i64,
    /// When its ETT is over.
    pub deadline_at: Option<i64>,
    /// The dead letter that it comes from, which goes in the same transaction.
    pub requeue: Option<Requeue>,
}

/// An idempotency key as it lies on disk; see `driver/keys.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// MAC of owner, service and key.
    pub scope: [u8; 16],
    /// SHA-256 of what was submitted.
    pub request: [u8; 32],
    /// When it no longer counts.
    pub kept_until: i64,
}

/// Where else a message is offered while nobody has claimed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternate {
    /// Another service than its own.
    pub service: Box<str>,
    /// Counted from its acceptance.
    pub after: Duration,
}

impl Alternate {
    /// As the core takes it.
    pub fn view(&self) -> redlink_core::Alternate<'_> {
        redlink_core::Alternate {
            service: &self.service,
            after: self.after,
        }
    }
}

impl Op {
    /// What its [`Done`] will name.
    pub fn row(&self) -> Row {
        match self {
            Self::Insert(message) => Row::Insert(message.sequence),
            Self::Reserve { sequence, .. } => Row::Insert(*sequence),
            Self::Attempts { sequence, .. } => Row::Attempts(*sequence),
            Self::Settle { sequence, .. } => Row::Settle(*sequence),
            Self::Delete { sequence } => Row::Delete(*sequence),
            Self::Keep { token, .. } => Row::Keep(token.attempt()),
            Self::Drop { attempt } => Row::Drop(*attempt),
        }
    }

    /// What it carries.
    pub(super) fn content(&self) -> Option<&Content> {
        match self {
            Self::Insert(message) => Some(&message.content),
            Self::Settle { content, .. } | Self::Keep { content, .. } => content.as_ref(),
            Self::Reserve { .. } | Self::Attempts { .. } | Self::Delete { .. } | Self::Drop { .. } => None,
        }
    }

    /// Bytes that go into rows beside its content.
    pub(super) fn beside(&self) -> u64 {
        match self {
            Self::Insert(message) => message.preserved.as_ref().map_or(0, |data| data.len() as u64),
            Self::Reserve { .. }
            | Self::Attempts { .. }
            | Self::Settle { .. }
            | Self::Delete { .. }
            | Self::Keep { .. }
            | Self::Drop { .. } => 0,
        }
    }

    /// Lets go of the bytes that it carries; their content type stays.
    pub(super) fn take_bytes(&mut self) -> bytes::Bytes {
        match self {
            Self::Insert(message) => std::mem::take(&mut message.content.bytes),
            Self::Settle { content, .. } | Self::Keep { content, .. } => content
                .as_mut()
                .map(|content| std::mem::take(&mut content.bytes))
                .unwrap_or_default(),
            Self::Reserve { .. } | Self::Attempts { .. } | Self::Delete { .. } | Self::Drop { .. } => {
                bytes::Bytes::new()
            }
        }
    }
}

/// The answer to one [`Op`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    /// Which one.
    pub row: Row,
    /// True: it is on disk. False: it certainly is not (or, for deletions, the row still is there).
    pub done: bool,
}

/// Who this node is: made with the database, the same in every life.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its identity, 64 random bits.
    pub node: NodeId,
    /// Key of its grants' MACs. Secret.
    pub key: [u8; 16],
}

impl fmt::Debug for NodeRecord {
    /// Without the key, so that it never gets into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeRecord")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// What was on disk at start, without the bodies, each list in the order of its keys. Overdue ones are there too:
/// the core decides about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Messages without an outcome, by sequence number.
    pub messages: Vec<RecoveredMessage>,
    /// Outcomes that were not collected, by sequence number.
    pub outcomes: Vec<RecoveredOutcome>,
    /// Replies to other nodes' messages that were not handed over, oldest first.
    pub replies: Vec<RecoveredReply>,
    /// Whose messages and outcomes are, by sequence number, where they are a program's; each program's name once.
    pub owners: Vec<(u64, Arc<str>)>,
    /// Messages and outcomes with preserved data, by sequence number.
    pub preserved: Vec<u64>,
    /// Idempotency keys, by sequence number; also those that no longer count.
    pub keys: Vec<RecoveredKey>,
    /// Messages and outcomes that come from a dead letter, with its number.
    pub requeued: Vec<(u64, u64)>,
    /// The names that outcomes are collected under, by sequence number, where those are not their owners' own.
    pub producers: Vec<(u64, Arc<str>)>,
}

/// An idempotency key found on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredKey {
    /// The message that was submitted with it; that and its outcome may be gone.
    pub sequence: u64,
    /// MAC of owner, service and key.
    pub scope: [u8; 16],
    /// SHA-256 of what was submitted.
    pub request: [u8; 32],
    /// When the message's ETT was over.
    pub deadline_at: Option<i64>,
    /// When it no longer counts.
    pub kept_until: i64,
}

/// A message found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredMessage {
    /// Its key.
    pub sequence: u64,
    /// Boot counter of the life that accepted it.
    pub inserted: u32,
    /// Addressed to this service; messages for one service share it.
    pub service: Arc<str>,
    /// A second service.
    pub alternate: Option<Alternate>,
    /// Its settings as they were submitted; what is left of the ETT follows from `deadline_at`.
    pub terms: Terms,
    /// When it was accepted.
    pub submitted_at: i64,
    /// When its ETT is over.
    pub deadline_at: Option<i64>,
    /// What is known of its attempts.
    pub attempts: Attempts,
    /// Payload length in bytes.
    pub size: u64,
}

/// An outcome found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredOutcome {
    /// The message's key.
    pub sequence: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// The attempt that brought it about.
    pub fence: Option<Fence>,
    /// When that was.
    pub settled_at: i64,
    /// When its retention ends.
    pub retain_until: i64,
    /// Length of its content in bytes, if it has any.
    pub size: Option<u64>,
}

/// An undelivered reply found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredReply {
    /// The grant it answers.
    pub token: GrantToken,
    /// `Reply`, `Ack` or `Fail`.
    pub verb: Verb,
    /// When it is no longer worth sending.
    pub until: i64,
    /// Length of its content in bytes, if it has any.
    pub size: Option<u64>,
    /// Nodes on its way.
    pub path: Path,
}

/// An outcome with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOutcomeContent {
    /// What became of the message.
    pub outcome: Outcome,
    /// Payload of the reply or text of the failure.
    pub content: Option<Content>,
    /// What the producer wants back with it.
    pub preserved: Option<Bytes>,
}

/// An undelivered reply with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReplyContent {
    /// `Reply`, `Ack` or `Fail`.
    pub verb: Verb,
    /// Its payload.
    pub content: Option<Content>,
}

/// A content, or what is known of one that is too long to be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Short {
    /// All of it.
    Whole(Content),
    /// Its bytes were left where they are.
    Long {
        /// What is said of it: a content without its bytes.
        head: Content,
        /// Its length in bytes.
        size: u64,
    },
}

impl Short {
    /// What there is of it, and its length if that is not all.
    pub(crate) fn into_parts(self) -> (Content, Option<u64>) {
        match self {
            Self::Whole(content) => (content, None),
            Self::Long { head, size } => (head, Some(size)),
        }
    }

    /// What is at hand already, if it is not too long.
    pub(crate) fn of(content: Content, most: usize) -> Self {
        match content.bytes.len() <= most {
            true => Self::Whole(content),
            false => Self::Long {
                size: content.bytes.len() as u64,
                head: Content {
                    bytes: bytes::Bytes::new(),
                    ..content
                },
            },
        }
    }
}

/// How the store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct StoreStats {
    /// False while the database can't be used and the store tries to open it again.
    pub up: bool,
    /// Messages on disk.
    pub messages: u64,
    /// Outcomes on disk.
    pub outcomes: u64,
    /// Undelivered replies on disk.
    pub replies: u64,
    /// Dead letters on disk.
    #[serde(default)]
    pub dead_letters: u64,
    /// Messages that became dead letters since start.
    #[serde(default)]
    pub dead_letters_total: u64,
    /// Dead letters that gave way since start because there were too many, or they were too old.
    #[serde(default)]
    pub dead_letters_dropped: u64,
    /// Commits since start.
    pub groups: u64,
    /// Operations done since start.
    pub done: u64,
    /// Operations that were answered with false since start.
    pub failed: u64,
    /// How often the database had to be opened again since start.
    pub reopened: u64,
    /// How long the last commit took, in microseconds.
    pub commit_micros: u64,
    /// How long all of them took, for `GET /metrics`.
    #[serde(skip)]
    pub commits: Box<Histogram>,
    /// Size of the database in bytes, without the bodies in files.
    pub database_bytes: u64,
    /// Size of its write-ahead log in bytes.
    pub log_bytes: u64,
    /// Free space where it lies, in bytes; 0 if it can't be told.
    pub free_bytes: u64,
}

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it can't be used.
    #[error("can't use {path} as a store: {error}")]
    Io {
        /// What was tried.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "{dir} is in use by another node{}; stop that one first, or give this one another directory",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who, if that is known.
        pid: Option<u32>,
    },
    /// The engine takes paths as text.
    #[error("{dir:?} can't be a store: its path is not valid UTF-8")]
    PathNotText {
        /// The directory.
        dir: PathBuf,
    },
    /// The file is not ours.
    #[error("{path} is not a Redlink store ({detail}); move it away, or give the node another directory")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A later Redlink made it.
    #[error(
        "{path} has schema version {found}, and this Redlink knows versions up to {known}; \
         run the newer Redlink, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The engine can't open or read it.
    #[error("can't open the store {path}: {detail}")]
    Engine {
        /// The file.
        path: PathBuf,
        /// What the engine said.
        detail: String,
    },
}

/// Why something could not be read. None of these means that it is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The database has to be opened again, and that has not succeeded yet.
    #[error("the store can't be read at the moment ({0}); it is being opened again")]
    Down(String),
    /// The engine failed.
    #[error("the store could not be read: {0}")]
    Engine(String),
    /// A row holds what no Redlink wrote.
    #[error("the store holds a bad value: {0}")]
    Value(String),
    /// A body's file is missing or unreadable.
    #[error("can't read {path}: {detail}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
}
