//! What consumers of this node hold, or are to hold.

use super::{OfConsumer, OfPeer};
use crate::data::list::{ListLinks, ListNode};
use crate::data::slab::{Ix, Link};
use crate::id::GrantToken;
use crate::input::{Body, Tag, Verb};
use crate::output::{Answered, LostWhy, Payload};
use crate::time::{Duration, Instant};
use crate::wire::Path;

/// Where a delivery at this node stands.
///
/// ```text
///  room ─▶ Claiming ──grant──▶ [Fetching ──fetched──▶] Ready ──take──▶ Held ──answer──▶ Answering ──▶ Over
///            │ gone, lost         │                      │ released      │ lost              ▲
///            ▼                    ▼                      ▼               ▼                   │ answer by token,
///           Over                 Over                   Over            Over                 │ recovered reply
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// Room is taken, the origin was asked; or it is this node, and the grant is on the way to its disk.
    Claiming,
    /// Granted; a large payload is on its way.
    Fetching,
    /// Granted, the payload is here, and no take waits just now.
    Ready,
    /// The consumer has it.
    Held,
    /// The consumer has answered; the origin has not said that this is on disk.
    Answering,
    /// Over; what is pending is still to be told.
    Over,
}

impl Stage {
    /// All of them, in order.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 6] = [
        Self::Claiming,
        Self::Fetching,
        Self::Ready,
        Self::Held,
        Self::Answering,
        Self::Over,
    ];

    /// Whether a delivery may go from here to there. Checked at every change.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        use Stage::{Answering, Claiming, Fetching, Held, Over, Ready};
        matches!(
            (self, next),
            (Claiming, Fetching | Ready | Over)
                | (Fetching, Ready | Over)
                | (Ready, Held | Answering | Over)
                | (Held, Answering | Over)
                | (Answering, Held | Over)
        )
    }

    /// Whether it takes one of its consumer's places.
    pub(crate) const fn takes_room(self) -> bool {
        matches!(
            self,
            Self::Claiming | Self::Fetching | Self::Ready | Self::Held | Self::Answering
        )
    }
}

/// Where the origin of a delivered message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// Here.
    Local,
    /// At this peer.
    Peer(Ix),
    /// At a node that no peer is known to be.
    Absent,
}

/// How far the copy of an answer that is kept at this node is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Keeping {
    /// Not on disk here.
    No,
    /// On its way.
    Storing,
    /// On disk here.
    Stored,
    /// Its deletion is on the way.
    Dropping,
}

/// A message that a consumer of this node holds, or is to hold.
#[derive(Debug)]
pub struct Delivery {
    /// What proves it; while `Claiming` only its message, node and consumer are set.
    pub(crate) token: GrantToken,
    /// It was claimed as offered under its alternate service.
    pub(crate) alternate: bool,
    /// Its large payload, while it is fetched, or its large answer goes straight between this node and the origin.
    pub(crate) direct: bool,
    /// The payload could not be had straight, and its grant is to come once more.
    pub(crate) reversed: bool,
    /// Where the message came from.
    pub(crate) source: Source,
    /// Its consumer, while that is registered.
    pub(crate) consumer: Link,
    /// Where it stands.
    pub(crate) stage: Stage,
    /// When the lease runs out; in other stages when they are to be looked at.
    pub(crate) wake: Option<Instant>,
    /// When the message expires.
    pub(crate) deadline: Option<Instant>,
    /// The lease.
    pub(crate) lease: Duration,
    /// Nodes between its origin and this one: the origin first. Where its answers can go if the way is lost.
    pub(crate) path: Path,
    /// Bytes of a peer's message.
    pub(crate) payload: Option<Payload>,
    /// Payload length in bytes.
    pub(crate) size: u64,
    /// Its priority.
    pub(crate) priority: u8,
    /// Ended by an ack.
    pub(crate) send_only: bool,
    /// What the consumer said.
    pub(crate) verb: Option<Verb>,
    /// With these bytes.
    pub(crate) answer: Option<Body>,
    /// The request that said it, until it is answered.
    pub(crate) asked: Option<Tag>,
    /// How that request is answered.
    pub(crate) result: Answered,
    /// Why it was lost.
    pub(crate) lost: LostWhy,
    /// Its copy on this node's disk.
    pub(crate) keeping: Keeping,
    /// What is to be told about it.
    pub(crate) out: DeliveryOut,
    /// In its consumer's list.
    pub(crate) of_consumer: ListLinks,
    /// In its peer's list.
    pub(crate) of_peer: ListLinks,
}

/// Pending outputs of a delivery, in the order they are polled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct DeliveryOut {
    /// Send the claim.
    pub(crate) claim: bool,
    /// Fetch its large payload.
    pub(crate) fetch: bool,
    /// Say that the payload can't be had straight.
    pub(crate) reverse: bool,
    /// Hand it to its take.
    pub(crate) deliver: bool,
    /// Tell its consumer that it is lost.
    pub(crate) lost: bool,
    /// Send a release to the origin.
    pub(crate) release: bool,
    /// Say in it that no consumer can have seen it.
    pub(crate) unseen: bool,
    /// Send an extension to the origin.
    pub(crate) extend: bool,
    /// Say after a hello that it is held, or answer again.
    pub(crate) say: bool,
    /// Send the answer.
    pub(crate) answer: bool,
    /// Store the answer here.
    pub(crate) keep: bool,
    /// Delete the stored answer.
    pub(crate) drop: bool,
    /// Answer the consumer's request.
    pub(crate) answered: bool,
    /// Free the payload.
    pub(crate) free_payload: bool,
    /// Free the answer's body.
    pub(crate) free_answer: bool,
}

impl ListNode<OfConsumer> for Delivery {
    fn links(&self) -> &ListLinks {
        &self.of_consumer
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.of_consumer
    }
}

impl ListNode<OfPeer> for Delivery {
    fn links(&self) -> &ListLinks {
        &self.of_peer
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.of_peer
    }
}
