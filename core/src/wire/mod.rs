//! The frames of one link: what two cores say to each other, encoded with postcard.
//!
//! A frame on the wire is `u32 header length, u32 body length, header, body`, big-endian lengths; the core makes and
//! reads headers, bodies are payloads that only the shell touches. Decoding checks everything: any bytes are either a
//! valid [`Frame`] or `None`.

mod path;

use crate::id::{Boot, ConsumerKey, GrantToken, MessageId, NodeId, OfferId};
use crate::input::Verb;
use crate::name::Name;
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// Version of the link protocol; peers must speak the same one.
pub const VERSION: u16 = 4;

/// No encoded header is longer: a `Hello` with two longest names, and room to spare.
pub const HEADER_MAX: usize = 256;

/// First frame of each side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the sender.
    pub version: u16,
    /// The mesh it belongs to.
    pub mesh: Name,
    /// Its name; must be its certificate's.
    pub name: Name,
    /// Its identity.
    pub node: NodeId,
    /// This life of it.
    pub boot: Boot,
    /// Counts its sessions with this peer in this life; a newer hello closes an older session.
    pub generation: u32,
}

/// Most links between an origin and a consumer's node (the hop limit).
pub const HOPS: usize = 8;

pub use path::Path;

/// How an origin took an answer that came over a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Taken {
    /// It is the outcome, and on disk; or, for a release or an extension, done.
    Done,
    /// Another attempt was granted since.
    Stale,
    /// The message has another outcome, or none will come any more.
    Over,
    /// Never granted like this, or forgotten.
    Unknown,
    /// A send-only message wants an ack, any other a reply.
    WrongVerb,
}

/// Everything that two nodes say to each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Frame {
    /// First, from both sides.
    Hello(Hello),
    /// Still there?
    Ping,
    /// Still here.
    Pong,
    /// I reach consumers of this service: offer me up to `window` messages at a time. It replaces what I announced of
    /// it before; said again, it also means that room came free: after a [`Frame::Decline`], or at consumers.
    Announce {
        /// The service.
        service: Name,
        /// Most offers of it that may wait here.
        window: u16,
        /// Offers that would be claimed at once; each offer after this announcement takes one of them.
        room: u16,
        /// The way to the nearest consumers: me first, their node last.
        path: Path,
    },
    /// I no longer reach consumers of this service.
    Withdraw {
        /// The service.
        service: Name,
    },
    /// I hold a message for this service.
    Offer {
        /// Which one.
        offer: OfferId,
        /// Its service, or its alternate one.
        service: Name,
        /// Its priority.
        priority: u8,
        /// How long it has waited.
        age: Duration,
        /// Time left until its deadline.
        remaining: Option<Duration>,
        /// Nodes that it has passed: its origin first, me last.
        path: Path,
        /// Next hops that it may be placed at from here at the same time.
        copies: u8,
        /// As far as I know you have room for it: say [`Frame::NoRoom`] if not.
        sure: bool,
    },
    /// That offer waits here: there is no room for any more just now, whatever I announced.
    NoRoom {
        /// Which one.
        offer: OfferId,
    },
    /// That offer is withdrawn.
    Retract {
        /// Which one.
        offer: OfferId,
    },
    /// I can't keep that offer.
    Decline {
        /// Which one.
        offer: OfferId,
        /// Only an offer of a higher priority than this would find room now. `None` if room is not the reason: the
        /// message is here already, or no consumer of it can be reached from you through me.
        floor: Option<u8>,
    },
    /// I have room for it now.
    Claim {
        /// Which offer.
        offer: OfferId,
        /// The consumer's node.
        node: NodeId,
        /// The consumer that it is for.
        consumer: ConsumerKey,
        /// The consumer's lease.
        lease: Duration,
    },
    /// It is yours.
    Grant {
        /// Names and proves the attempt.
        token: GrantToken,
        /// Its priority.
        priority: u8,
        /// Time left until its deadline.
        remaining: Option<Duration>,
        /// Payload length in bytes.
        size: u64,
        /// An ack is wanted, not a reply.
        send_only: bool,
        /// Whether the payload rides in this frame.
        inline: bool,
        /// It does not, and is to be had at its origin itself, whose address the frame's body says.
        direct: bool,
    },
    /// The payload of that grant can't be had at its origin itself: send it along this way.
    Reverse {
        /// Which grant.
        token: GrantToken,
    },
    /// Somebody else has it, or it is over.
    Gone {
        /// Which message.
        message: MessageId,
        /// The node that claimed it.
        node: NodeId,
        /// The consumer that it was claimed for.
        consumer: ConsumerKey,
    },
    /// A consumer answers.
    Answer {
        /// Which attempt.
        token: GrantToken,
        /// What it says.
        verb: Verb,
        /// Length of its payload in bytes.
        size: u64,
        /// Whether the payload rides in this frame; if not, and there is one, it comes apart.
        inline: bool,
        /// It does not, and its node brings it to the origin itself.
        direct: bool,
    },
    /// How the origin took a reply, ack or failure; or, unasked, that the attempt no longer counts.
    Settled {
        /// Which attempt.
        token: GrantToken,
        /// How.
        taken: Taken,
    },
    /// One of my consumers, or of a node behind me, holds this attempt. Said after a hello, and when a way to the origin
    /// has to be found anew: nodes on `path` let answers pass along it from then on.
    Holding {
        /// Which one.
        token: GrantToken,
        /// Its lease.
        lease: Duration,
        /// Nodes still to pass on the way to the origin: the origin first, you last.
        path: Path,
    },
    /// The way of this attempt is broken behind me: its answers and its settling do not pass here any more.
    NoPath {
        /// Which one.
        token: GrantToken,
    },
    /// After a hello: that was all that I hold.
    HoldingEnd,
    /// The origin looks for the holder of an attempt, whose way is broken. The holder's node answers with
    /// [`Frame::Holding`] along the path that this one came by, and with a release behind it if it does not hold it.
    Seek {
        /// Which attempt. Only its origin and those on its old way know it (P12).
        token: GrantToken,
        /// Its service: nodes pass this on to where that is reached.
        service: Name,
        /// Nodes that this has passed: the origin first, me last.
        path: Path,
    },
    /// I had no room for some of what you announced and have some now: say it all again.
    Refresh,
}

impl Frame {
    /// Writes the header; its length, or `None` if the buffer is too short ([`HEADER_MAX`] always does).
    pub fn encode(&self, into: &mut [u8]) -> Option<usize> {
        postcard::to_slice(self, into).ok().map(|used| used.len())
    }

    /// Reads a header. All bytes must be used.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes::<Self>(bytes) {
            Ok((frame, [])) => Some(frame),
            _ => None,
        }
    }
}
