//! What can happen to a core: everything comes in through [`Input`].

use crate::id::{AttemptId, Fence, GrantToken};
use crate::rate::Rate;
use crate::time::Duration;
use crate::wire::Path;
use serde::{Deserialize, Serialize};

/// The caller's own number for a request; answers to it carry the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Tag(pub u64);

/// One transport connection to a peer. The caller never uses a number twice in one life of the core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
pub struct LinkId(pub u32);

/// Payload bytes that the caller holds for the core, which only knows their number and length.
///
/// A body given in with an input that was taken with [`Kept::Body`] belongs to the core until
/// [`Output::Free`](crate::Output::Free) names it; in every other case the caller may drop it at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Body {
    /// The caller's number for it.
    pub id: u64,
    /// Length in bytes.
    pub size: u64,
}

/// Whether an input's body is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// There was no body, or the core has no use for it.
    Nothing,
    /// The core holds on to the body until it says [`Output::Free`](crate::Output::Free).
    Body,
}

/// The one end of a message (promise P2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// A consumer replied.
    Replied,
    /// A consumer took a send-only message and acknowledged it.
    Delivered,
    /// A consumer said that it can't be processed; or, without an attempt, it was to be delivered at most once and was
    /// not answered.
    Failed,
    /// The deadline passed.
    Expired,
    /// All attempts were used up.
    Dead,
    /// Its producer took it back.
    Cancelled,
}

/// What a consumer says about a delivery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// Done, and here is the reply.
    Reply,
    /// A send-only message is done.
    Ack,
    /// It can't be processed, and here is why.
    Fail,
    /// Still working: renew the lease.
    Extend,
    /// Give it back, untouched.
    Release,
    /// Its node gives it back, and no consumer can have seen it: as if it had not been granted. Only a node says so, to
    /// another one; from a consumer it is a [`Release`](Self::Release).
    Return,
}

/// A new message, as its producer wants it treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Submit<'a> {
    /// Comes back in [`Output::Accepted`](crate::Output::Accepted) or [`Output::Rejected`](crate::Output::Rejected).
    pub tag: Tag,
    /// Addressed to this service.
    pub service: &'a str,
    /// The message's settings.
    pub terms: Terms,
    /// A second service; such a message takes two places in the table.
    pub alternate: Option<Alternate<'a>>,
    /// Payload length in bytes.
    pub size: u64,
}

/// Where else a message is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alternate<'a> {
    /// Another service than its own.
    pub service: &'a str,
    /// Counted from its acceptance: while nobody has claimed it by then, it is offered there too.
    pub after: Duration,
}

/// A message's settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// 0 to 255, higher first.
    pub priority: u8,
    /// Expected end-to-end transaction time; none means no deadline.
    pub ett: Option<Duration>,
    /// How long an unclaimed offer waits before it is offered again.
    pub reoffer: Duration,
    /// No reply is wanted: an acknowledgement ends it.
    pub send_only: bool,
    /// Counted from its acceptance: it is offered to nobody before. Its ETT counts from its acceptance too, and must be
    /// longer.
    pub not_before: Duration,
    /// An attempt that ends without an answer is the only one: then it has failed. No limit of attempts counts.
    pub at_most_once: bool,
    /// Attempts whose lease may run out before the message is dead; 0 means no limit.
    pub max_attempts: u16,
    /// How long its outcome waits to be collected.
    pub retention: Duration,
    /// Large payloads go straight between its origin and the consumer's node, if that can reach the origin.
    pub direct: bool,
}

impl Default for Terms {
    /// The defaults of the API (design, section 7).
    fn default() -> Self {
        Self {
            priority: 0,
            ett: Some(Duration::from_secs(300)),
            reoffer: Duration::from_secs(15),
            send_only: false,
            not_before: Duration::ZERO,
            at_most_once: false,
            max_attempts: 5,
            retention: Duration::from_secs(3_600),
            direct: false,
        }
    }
}

/// What is on disk of a message's attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Attempts {
    /// How many ended without an answer.
    pub ended: u16,
    /// The newest of all; an answer to an older one does not count. Of a message that is delivered at most once, the one
    /// that somebody may have seen.
    pub newest: Option<Fence>,
    /// That one is among those that ended.
    pub counted: bool,
}

/// A message that was found on disk at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredMessage<'a> {
    /// Its sequence number.
    pub sequence: u64,
    /// The boot that inserted it.
    pub inserted: u32,
    /// Addressed to this service.
    pub service: &'a str,
    /// Its settings; `ett` holds what is left of it, zero if it is overdue.
    pub terms: Terms,
    /// A second service, as it was submitted.
    #[serde(borrow)]
    pub alternate: Option<Alternate<'a>>,
    /// How long ago it was inserted.
    pub age: Duration,
    /// What the last [`StoreOp::Attempts`](crate::StoreOp::Attempts) said of it, if there was one.
    pub attempts: Attempts,
    /// Payload length in bytes.
    pub size: u64,
}

/// An outcome that was found on disk at start and has not been collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredOutcome {
    /// The message's sequence number.
    pub sequence: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// The attempt that brought it about, if one did.
    pub fence: Option<Fence>,
    /// What is left of its retention.
    pub retention: Duration,
}

/// A reply to another node's message that was stored here because it could not be handed over before the stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredReply {
    /// The grant that it answers.
    pub token: GrantToken,
    /// `Reply`, `Ack` or `Fail`.
    pub verb: Verb,
    /// Its payload; belongs to the core as with [`Kept::Body`].
    pub body: Option<Body>,
    /// How long it is still worth sending.
    pub remaining: Duration,
    /// Nodes on its way, as they were stored with it.
    pub path: Path,
}

/// Which row of the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Row {
    /// A message was to be inserted.
    Insert(u64),
    /// What became of a message's attempts was to be written.
    Attempts(u64),
    /// An outcome was to be inserted and its message deleted, together.
    Settle(u64),
    /// An outcome was to be deleted.
    Delete(u64),
    /// A reply to another node's message was to be inserted.
    Keep(AttemptId),
    /// Such a reply was to be deleted.
    Drop(AttemptId),
}

/// Which half of a large payload transfer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Part {
    /// The message's payload, from origin to consumer.
    Payload,
    /// The reply's, from consumer to origin.
    Reply,
}

/// What may pass over a link, as this end wants it (P12).
///
/// Rules are patterns of services between blanks, each allowed, or denied with a `!` before it. The first that matches
/// counts; where none does, the service may pass if the rules are only denials, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy<'a> {
    /// Of a north peer: what it announces may be told to this node's south peers.
    pub redistribute: bool,
    /// Of a south peer: what it announces is taken.
    pub accept_from_south: bool,
    /// Rules for what the peer may announce to this node, and so for what is offered to it.
    pub import: &'a str,
    /// Rules for what this node announces to the peer, and so for what the peer may offer here.
    pub export: &'a str,
}

impl Default for Policy<'_> {
    fn default() -> Self {
        Self {
            redistribute: true,
            accept_from_south: true,
            import: "",
            export: "",
        }
    }
}

/// Everything that can happen to a core. Names in it are checked; a peer's bytes are never trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Input<'a> {
    /// Before [`Input::Start`]: a message on disk.
    RecoverMessage(StoredMessage<'a>),
    /// Before [`Input::Start`]: an uncollected outcome on disk.
    RecoverOutcome(StoredOutcome),
    /// Before [`Input::Start`]: an undelivered reply on disk.
    RecoverReply(StoredReply),
    /// All that was on disk has been told; begin.
    Start,
    /// Stop accepting and granting; what is under way goes on. There is no way back.
    Drain,

    /// A producer hands over a message.
    Submit(Submit<'a>),
    /// A producer takes a message back. Its outcome is `Cancelled`, or `Expired` if its deadline has passed.
    Cancel {
        /// The message.
        sequence: u64,
    },
    /// A producer has its outcome; it may be deleted.
    Collect {
        /// The message.
        sequence: u64,
    },

    /// A consumer comes, or changes its limits.
    Register {
        /// What it offers.
        service: &'a str,
        /// Its name, unique for the service at this node.
        consumer: &'a str,
        /// In-transit limit: leases it may hold at once, at least 1. A lower one counts from the next claim on; what is
        /// claimed or held already stays.
        limit: u16,
        /// How long a grant holds without a sign of life.
        lease: Duration,
        /// How many it wants at most in a time; none is no limit. Another one counts at once, and what the old one had left
        /// stays as far as it fits.
        rate: Option<Rate>,
    },
    /// A consumer goes; what it holds is offered again at once.
    Unregister {
        /// What it offered.
        service: &'a str,
        /// Its name.
        consumer: &'a str,
    },
    /// A consumer asks for up to `max` messages; registers it with the defaults if it is unknown.
    Take {
        /// Comes back in each [`Output::Deliver`](crate::Output::Deliver) for it.
        tag: Tag,
        /// What it offers.
        service: &'a str,
        /// Its name.
        consumer: &'a str,
        /// How many it has room for now, at least 1.
        max: u16,
    },
    /// The caller no longer waits with that take: it was answered, timed out, or its client went.
    /// A take that has had its `max` is over by itself; ending it again does no harm.
    TakeEnded {
        /// The take.
        tag: Tag,
    },
    /// The client that a delivery was handed to never had it: it went before. The message is offered again at once, and
    /// what is left of its token of the consumer's rate is put back.
    Unseen {
        /// Its delivery.
        token: GrantToken,
    },
    /// A consumer answers a delivery.
    Answer {
        /// Comes back in [`Output::Answered`](crate::Output::Answered).
        tag: Tag,
        /// Its delivery.
        token: GrantToken,
        /// What it says.
        verb: Verb,
        /// Payload of a reply, or text of a failure.
        body: Option<Body>,
        /// The caller knows where the delivery's origin is, and could bring it a large payload.
        direct: bool,
    },

    /// The store has answered. `done` false means that the row is certainly not there (or, for deletions, still is).
    Stored {
        /// Which row.
        row: Row,
        /// Whether it is on disk.
        done: bool,
    },

    /// A connection to a peer is up, in both directions; its certificate bears this name.
    LinkUp {
        /// The caller's number for it.
        link: LinkId,
        /// The peer's name, as proved by its certificate.
        peer: &'a str,
        /// True if this node dialled: then the peer is to the north.
        dialled: bool,
        /// What may pass over it. It counts at once, also for a session that an older link of the peer still has.
        #[serde(borrow)]
        policy: Policy<'a>,
    },
    /// That connection is gone.
    LinkDown {
        /// Which one.
        link: LinkId,
    },
    /// A frame came in.
    Frame {
        /// Over which link.
        link: LinkId,
        /// Its postcard header.
        bytes: &'a [u8],
        /// The payload that rode in it.
        body: Option<Body>,
    },
    /// A large payload, asked for by [`Output::Fetch`](crate::Output::Fetch), is complete, or can't be had (`None`). What
    /// is for another node may be given as soon as it begins to come, and taken back by `None` if it breaks off.
    Fetched {
        /// For which grant.
        token: GrantToken,
        /// Which half.
        part: Part,
        /// The bytes.
        body: Option<Body>,
    },
    /// What [`Output::FetchDirect`](crate::Output::FetchDirect) or
    /// [`Attached::Direct`](crate::Attached::Direct) asked for can't be: the payload goes along the way of the offer.
    NotDirect {
        /// For which grant.
        token: GrantToken,
        /// Which half.
        part: Part,
    },
    /// A part of a large payload of a grant came in: the lease at the origin is to be renewed.
    Progress {
        /// For which grant.
        token: GrantToken,
    },
}
