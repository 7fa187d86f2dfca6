//! Why the node said no.

use redlink_core::{Bound, NameError, Refused};

/// Why the node said no. It changed nothing, except that [`Refusal::Stopped`] leaves open what became of a request
/// that was under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// A table is full; try later (P7).
    #[error("the table of {} is full; try again later", bound(*.0))]
    Full(Bound),
    /// The payloads that are in memory fill the room set for them; try later (P7).
    #[error("the memory for payloads is full; try again later, or raise the node's limit")]
    Memory,
    /// The messages that are kept in memory only fill the room set for them; try later (P7).
    #[error(
        "the memory for messages with durability `memory` is full; try again later, keep this one on disk, or raise the node's limit (`memory_messages`)"
    )]
    MemoryMessages,
    /// As many idempotency keys are known as there may be; try later, or without one (P7).
    #[error(
        "the table of idempotency keys is full; try again later, submit without a key, or raise the node's limit"
    )]
    Keys,
    /// The idempotency key was used for something else.
    #[error(
        "this idempotency key was given to another message for this service within the last 24 hours; use a new key for a new message"
    )]
    KeyReused,
    /// A repeated call whose outcome is gone.
    #[error("this message was submitted before, and its outcome was collected or its retention is over")]
    Collected,
    /// The disk is nearly full; what is left is for work that was accepted (P7).
    #[error("the node's disk is nearly full; try again later, make room, or lower its `disk_floor`")]
    Disk,
    /// Not a name.
    #[error("{0}")]
    Name(NameError),
    /// The node is stopping: it accepts and hands out nothing any more.
    #[error("the node is stopping; use another one or wait until it is back")]
    Draining,
    /// There is no such message.
    #[error("there is no such message, or its outcome was collected already")]
    Unknown,
    /// The message is in a state where this can't be: an outcome that is not there yet, or one that is there already.
    #[error("the message is not in a state where this can be done")]
    State,
    /// The store could not write or read; nothing was changed.
    #[error("the node's store refused; its log says why")]
    Store,
    /// The consumer's name is in use by another program.
    #[error("another program has registered a consumer of this name for the service; choose another name")]
    Taken,
    /// There is no such dead letter.
    #[error("there is no such dead letter: it was requeued, deleted, or gave way to newer ones")]
    UnknownLetter,
    /// The id is another node's; only that one can tell.
    #[error("the message belongs to another node; ask that one")]
    Foreign,
    /// The payload, or its content type, is longer than this node takes.
    #[error("the payload or its content type is too large for this node")]
    TooLarge,
    /// A number that must be at least one is zero.
    #[error("a number that must be at least 1 is 0")]
    Zero,
    /// The node ended before it could answer.
    #[error("the node has stopped")]
    Stopped,
    /// A mistake of this program; please report it.
    #[error("the node made a mistake of its own; its log says more")]
    Mistake,
}

fn bound(bound: Bound) -> &'static str {
    match bound {
        Bound::Messages => "messages and uncollected outcomes",
        Bound::Services => "services",
        Bound::Consumers => "consumers",
        Bound::Takes => "waiting takes",
        Bound::Deliveries => "deliveries",
        Bound::Peers => "peers",
        Bound::Rules => "rules of links",
        Bound::Answers => "answers",
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full(what) => Self::Full(what),
            Refused::Name(error) => Self::Name(error),
            Refused::Draining => Self::Draining,
            Refused::Unknown => Self::Unknown,
            Refused::State => Self::State,
            Refused::Misuse(redlink_core::Misuse::Zero) => Self::Zero,
            Refused::Misuse(misuse) => {
                tracing::error!(?misuse, "the driver used the core wrongly; please report this");
                Self::Mistake
            }
        }
    }
}
