//! What a core wants done: everything leaves through [`Output`].

use crate::id::{AttemptId, GrantToken, NodeId};
use crate::input::{Attempts, Body, LinkId, Outcome, Part, Tag, Verb};
use crate::name::NameError;
use crate::time::Duration;
use crate::wire::Path;
use serde::{Deserialize, Serialize};

/// A change on disk that the core asks for and, unless said otherwise, waits for.
/// Answered by [`Input::Stored`](crate::Input::Stored) with the matching [`Row`](crate::Row).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StoreOp {
    /// Insert the message that was submitted under `tag`.
    Insert {
        /// The submit.
        tag: Tag,
        /// Its key.
        sequence: u64,
    },
    /// Write what became of the message's attempts, in place of what was written of them before. It goes with the message.
    /// Never asked for while another change of the message is under way.
    Attempts {
        /// The message.
        sequence: u64,
        /// What is to be known of them after a restart.
        attempts: Attempts,
    },
    /// In one transaction: insert the outcome, delete the message and what is written of its attempts.
    Settle {
        /// The message.
        sequence: u64,
        /// What became of it.
        outcome: Outcome,
        /// The attempt that brought it about.
        token: Option<GrantToken>,
        /// Payload of the reply or text of the failure.
        body: Option<Body>,
        /// How long the outcome is kept.
        retention: Duration,
    },
    /// Delete an outcome.
    Delete {
        /// The message.
        sequence: u64,
    },
    /// Insert a reply to another node's message.
    Keep {
        /// The grant it answers; [`GrantToken::attempt`] is the key.
        token: GrantToken,
        /// `Reply`, `Ack` or `Fail`.
        verb: Verb,
        /// Its payload.
        body: Option<Body>,
        /// How long it is worth sending.
        remaining: Duration,
        /// Nodes on its way: the origin first, a peer of this node last.
        path: Path,
    },
    /// Delete such a reply.
    Drop {
        /// Its key.
        attempt: AttemptId,
    },
}

/// Where payload bytes are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Payload {
    /// There are none.
    Empty,
    /// The payload of this node's own message.
    Own {
        /// Its sequence number.
        sequence: u64,
        /// Length in bytes.
        size: u64,
    },
    /// Bytes that the caller holds for the core.
    Held(Body),
}

/// How a frame's payload travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Attached {
    /// The frame has none.
    Nothing,
    /// In the frame itself, behind its header.
    Inline(Payload),
    /// On its own, so that no frame queues behind it: the dialling side moves it, whichever way it goes.
    Apart {
        /// The bytes.
        payload: Payload,
        /// Which transfer it is.
        token: GrantToken,
        /// Which half.
        part: Part,
    },
    /// As [`Attached::Inline`], with the address of this node beside it.
    Addressed {
        /// The bytes.
        payload: Payload,
        /// They are too large for the frame: whoever shows this grant may have them here.
        apart: Option<GrantToken>,
    },
    /// The answer's payload is to be brought to the origin of this grant, at its address; if that can't be,
    /// [`Input::NotDirect`](crate::Input::NotDirect).
    Direct {
        /// The bytes.
        payload: Payload,
        /// Which grant it answers.
        token: GrantToken,
    },
}

/// How an answer of a consumer was taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Answered {
    /// Done; a reply, ack or failure is on disk, at the origin or here.
    Done,
    /// Another attempt was granted since: this one no longer counts (409).
    Stale,
    /// The message is over: past its deadline, cancelled, or settled by another answer (410).
    Over,
    /// No such delivery: it was never granted, or its message is forgotten (404).
    Unknown,
    /// An answer to this delivery is under way already (409).
    Busy,
    /// A send-only message wants `ack`, any other wants `reply` (409).
    WrongVerb,
    /// Neither the origin nor this node's disk could take it; the consumer holds the delivery as before (503).
    StoreFailed,
}

/// Why a consumer no longer holds a delivery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum LostWhy {
    /// Its lease ran out.
    Lease,
    /// The message's deadline passed.
    Deadline,
    /// The origin says that it is over, or granted elsewhere.
    Revoked,
    /// The consumer was unregistered.
    Unregistered,
}

/// A take's message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Deliver {
    /// The take that it answers.
    pub take: Tag,
    /// What the consumer answers with.
    pub token: GrantToken,
    /// The bytes.
    pub payload: Payload,
    /// An ack is wanted, not a reply.
    pub send_only: bool,
    /// The message's priority.
    pub priority: u8,
    /// Time left until the message's deadline.
    pub remaining: Option<Duration>,
    /// Time until the lease runs out unless it is renewed.
    pub lease: Duration,
}

/// What an operator may want to know; nothing depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Notice {
    /// A session with a peer is established.
    SessionUp {
        /// Over this link.
        link: LinkId,
        /// With this node.
        node: NodeId,
    },
    /// The north links form a ring: the peer at the other end of this one is also below this node. Messages don't go round,
    /// but the hierarchy is not what it should be.
    Cycle {
        /// The link to the peer, which this node dials.
        link: LinkId,
        /// The peer.
        node: NodeId,
    },
    /// A session is over.
    SessionDown {
        /// It ran over this link.
        link: LinkId,
    },
}

/// Why a link is to be closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// A frame could not be decoded.
    Malformed,
    /// A frame came before the peer's hello, or a second hello after it.
    Order,
    /// The peer speaks another version of the protocol.
    Version,
    /// The peer is of another mesh.
    Mesh,
    /// The hello's name is not the certificate's.
    Name,
    /// The peer has this node's own identity.
    Twin,
    /// Another live node has the same name.
    NameTaken,
    /// Nothing was heard from the peer for too long.
    Silent,
    /// A newer link of the same peer took over.
    Superseded,
    /// The peer dials this node and is dialled by it: one of the two is too much.
    BothDial,
    /// The table of peers is full.
    Full,
}

/// Everything that a core wants done. `poll_output` until it says `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Output {
    /// Change the store.
    Store(StoreOp),
    /// The submit is on disk: answer 202.
    Accepted {
        /// The submit.
        tag: Tag,
        /// Its message.
        sequence: u64,
    },
    /// The store refused the submit; it left no trace.
    Rejected {
        /// The submit.
        tag: Tag,
    },
    /// A message's outcome is on disk: answer whoever waits for it.
    Settled {
        /// The message.
        sequence: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// Hand a message to a waiting take.
    Deliver(Deliver),
    /// Answer a consumer's answer.
    Answered {
        /// The answer.
        tag: Tag,
        /// How it was taken.
        result: Answered,
    },
    /// Tell the consumer that it no longer holds this delivery.
    Lost {
        /// The delivery.
        token: GrantToken,
        /// Why.
        why: LostWhy,
    },
    /// Send a frame: the first `len` bytes of the buffer given to `poll_output` are its header.
    Frame {
        /// Over this link.
        link: LinkId,
        /// Length of the header.
        len: usize,
        /// Its payload.
        attached: Attached,
    },
    /// A large payload is on its way from this link's peer: get it (the dialling side) or wait for it.
    /// Answered by [`Input::Fetched`](crate::Input::Fetched).
    Fetch {
        /// From there; if it is `direct`, from whoever shows the grant.
        link: LinkId,
        /// For this grant.
        token: GrantToken,
        /// Which half.
        part: Part,
        /// Its length in bytes.
        size: u64,
        /// Its node brings it to this one itself.
        direct: bool,
    },
    /// A large payload is to be had at its origin. Answered by [`Input::Fetched`](crate::Input::Fetched), or by
    /// [`Input::NotDirect`](crate::Input::NotDirect) if the origin can't be reached.
    FetchDirect {
        /// For this grant.
        token: GrantToken,
        /// Its length in bytes.
        size: u64,
        /// What came with the grant, and says where.
        address: Body,
    },
    /// Close a link.
    CloseLink {
        /// Which one.
        link: LinkId,
        /// Why, for the log.
        fault: Fault,
    },
    /// The core is done with these bytes.
    Free(Body),
    /// For the log.
    Notice(Notice),
}

/// Which table is full (promise P7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Bound {
    /// Messages and outcomes that wait to be collected.
    Messages,
    /// Services known here.
    Services,
    /// Consumers registered here.
    Consumers,
    /// Takes that wait.
    Takes,
    /// Deliveries that consumers of this node hold.
    Deliveries,
    /// Peers.
    Peers,
    /// Rules of links.
    Rules,
    /// Answers that wait to be polled.
    Answers,
}

/// The caller's mistake: nothing that untrusted data could cause.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub enum Misuse {
    /// A recovery input after `Start`, or any other before it.
    Order,
    /// A sequence number at or above the configured next one, or one that was told twice.
    Sequence,
    /// An unknown link, or a link number used twice.
    Link,
    /// A tag that is in use.
    Tag,
    /// A stored answer that nothing waits for.
    Row,
    /// A limit or number of zero where at least one is needed.
    Zero,
    /// An alternate service that is the message's own.
    Alternate,
    /// A message that may not be offered before its deadline.
    NotBefore,
}

/// Why an input was not taken; it changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refused {
    /// A table is full; try later.
    Full(Bound),
    /// Not a name.
    Name(NameError),
    /// The node is draining.
    Draining,
    /// There is no such message, or it is not this node's.
    Unknown,
    /// The message is in a state where this can't be: an outcome that is not there yet, or one being written.
    State,
    /// The caller's mistake.
    Misuse(Misuse),
}
