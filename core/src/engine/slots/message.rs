//! Messages of this node.

use super::{ByRank, OfState};
use crate::data::list::{ListLinks, ListNode};
use crate::data::slab::{Ix, Link};
use crate::data::tree::{TreeLinks, TreeNode};
use crate::id::{ConsumerKey, Fence, NodeId};
use crate::input::{Body, Outcome, Tag, Verb};
use crate::time::Instant;

/// Where a message of this node stands.
///
/// ```text
///  submit ─▶ Storing ──stored──▶ [Delayed ─▶] Waiting ◀──────────────┐
///  recovered ─▶ Recovering ────▶ [Delayed ─▶]   │ ▲                  │ lease over, released, not re-asserted
///                   │                    offer  ▼ │ retract, decline │
///                   │                          Offered ─claim─▶ [Granting ─▶] Granted ◀─ holding, extend (from Recovering, Waiting,
///                   │                             │  local take ────▲ │       Offered)
///                   ▼                             ▼                   ▼
///                 Settling ──stored──▶ Settled ──collect, retention──▶ Deleting ──stored──▶ (gone)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// Its insert is on the way to the disk.
    Storing,
    /// Found on disk; nodes have a while to say that they hold it.
    Recovering,
    /// Not to be offered yet.
    Delayed,
    /// Placed nowhere.
    Waiting,
    /// Reserved at one or two peers.
    Offered,
    /// It is to be a consumer's, and that is on the way to the disk: it is delivered at most once.
    Granting,
    /// A consumer has it.
    Granted,
    /// Its outcome is on the way to the disk; nothing else can end it.
    Settling,
    /// Its outcome is on disk.
    Settled,
    /// The outcome's deletion is on the way to the disk.
    Deleting,
    /// A second offer that is not to be claimed now (`alternate.rs`).
    Aside,
}

impl State {
    /// All of them, in order.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 11] = [
        Self::Storing,
        Self::Recovering,
        Self::Delayed,
        Self::Waiting,
        Self::Offered,
        Self::Granting,
        Self::Granted,
        Self::Settling,
        Self::Settled,
        Self::Deleting,
        Self::Aside,
    ];

    /// Whether a message may go from here to there. Checked at every change.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        use State::{
            Aside, Delayed, Deleting, Granted, Granting, Offered, Recovering, Settled, Settling, Storing,
            Waiting,
        };
        matches!(
            (self, next),
            (Storing, Delayed | Waiting | Settling)
                | (Recovering, Delayed | Waiting | Granted | Settling)
                // Granted before a restart, and then the wall clock went back.
                | (Delayed, Waiting | Granted | Settling)
                | (Waiting, Offered | Granting | Granted | Settling)
                | (Offered, Waiting | Granting | Granted | Settling)
                | (Granting, Waiting | Granted | Settling)
                | (Granted, Waiting | Granted | Settling)
                | (Settling, Settled)
                | (Settled, Deleting)
                // Only the second offer of a message.
                | (Aside, Waiting)
                | (Waiting | Offered, Aside)
        )
    }

    /// Whether the message still waits for an outcome to be chosen.
    pub(crate) const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Storing
                | Self::Recovering
                | Self::Delayed
                | Self::Waiting
                | Self::Offered
                | Self::Granting
                | Self::Granted
        )
    }
}

/// One copy of an offer, placed at a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Copy {
    /// The route that it was placed over; one that does not count may outlive it.
    pub(crate) route: Ix,
    /// The peer it was placed at.
    pub(crate) peer: Ix,
    /// How far it is.
    pub(crate) state: CopyState,
    /// The peer should claim it at once: no other is asked before [`Timing::hedge`](crate::Timing::hedge) is over.
    pub(crate) sure: bool,
}

/// How far a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CopyState {
    /// The offer is to be sent.
    ToOffer,
    /// The peer has it.
    Placed,
    /// The retract is to be sent; the copy no longer counts.
    ToRetract,
    /// The peer declined it, and not for want of room: it is not asked again before the re-offer. Does not count.
    Declined,
}

impl Copy {
    /// Whether it was placed at this peer over this route. One that does not count may outlive its route, whose slot may be
    /// another peer's by now.
    pub(crate) fn is_at(&self, route: Ix, peer: Ix) -> bool {
        (self.route, self.peer) == (route, peer)
    }

    /// Whether it counts: it is at the peer, or goes there.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.state, CopyState::ToOffer | CopyState::Placed)
    }
}

/// Copies of one message that may be placed at the same time (the copy budget).
pub(crate) const COPIES: usize = 2;

/// The copies of one offer that are placed at next hops.
pub(crate) type Copies = [Option<Copy>; COPIES];

/// Whether one of them counts.
pub(crate) fn any_live(copies: &Copies) -> bool {
    copies.iter().flatten().any(Copy::is_live)
}

/// Who holds a granted message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    /// Nobody, or nobody known.
    None,
    /// A consumer of this node.
    Local,
    /// A consumer of a peer, or of a node that is reached through it.
    Peer(Ix),
    /// A consumer of a node that no path leads to just now; the last one began at this peer.
    Away(Link),
}

/// How far the writing of what became of a message's attempts is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Writing {
    /// Nothing is under way.
    No,
    /// The store was asked: nothing else is asked of it about the message.
    Asked,
    /// The store failed, and is asked again a little later (`attempts.rs`).
    Failed,
}

/// A message of this node, from submit until its outcome was deleted.
#[derive(Debug)]
pub struct Message {
    /// Its sequence number.
    pub(crate) sequence: u64,
    /// What it ranks by, sooner first (`rank.rs`): from when it was inserted, which for a recovered one is counted back by its
    /// age.
    pub(crate) rank: Instant,
    /// When it expires.
    pub(crate) deadline: Option<Instant>,
    /// When its state wants to be looked at: its time to be offered, re-offer, lease, retention, store retry.
    pub(crate) wake: Option<Instant>,
    /// Payload length in bytes.
    pub(crate) size: u64,
    /// The submit's tag, while `Storing`.
    pub(crate) tag: Tag,
    /// Reply or failure text, while `Settling`.
    pub(crate) body: Option<Body>,
    /// The newest attempt.
    pub(crate) fence: Fence,
    /// Whose attempt that is.
    pub(crate) holder_node: NodeId,
    /// Which consumer's.
    pub(crate) holder_key: ConsumerKey,
    /// Length of a large reply that is being fetched.
    pub(crate) reply_size: u64,
    /// The boot that inserted it.
    pub(crate) inserted: u32,
    /// Its service.
    pub(crate) service: Ix,
    /// Re-offer interval in milliseconds.
    pub(crate) reoffer_ms: u32,
    /// Retention of its outcome in milliseconds.
    pub(crate) retention_ms: u32,
    /// The holder's lease in milliseconds.
    pub(crate) lease_ms: u32,
    /// When the holder's lease runs out; `wake` may be sooner, to look for it. What is held by nobody yet is offered from
    /// then on: a second offer, and a message that may not be offered before.
    pub(crate) lease_until: Instant,
    /// The session with the holder's peer in which the grant was sent or asserted.
    pub(crate) session: u32,
    /// Where it stands.
    pub(crate) state: State,
    /// Priority, higher first.
    pub(crate) priority: u8,
    /// Ended by an ack.
    pub(crate) send_only: bool,
    /// Its first attempt is its only one.
    pub(crate) at_most_once: bool,
    /// Attempts whose lease ran out.
    pub(crate) tries: u16,
    /// The newest attempt is among them: one that is asserted again counts once.
    pub(crate) counted: bool,
    /// As many may; 0 is no limit.
    pub(crate) max_attempts: u16,
    /// What is written of its attempts.
    pub(crate) writing: Writing,
    /// What became of it, from `Settling` on.
    pub(crate) outcome: Option<Outcome>,
    /// The verb of a large reply that is being fetched.
    pub(crate) reply_verb: Option<Verb>,
    /// The outcome was brought about by the holder's answer.
    pub(crate) answered: bool,
    /// Found overdue at start: the node is not ready before its outcome is on disk.
    pub(crate) overdue: bool,
    /// This is the second offer of a message, under its alternate service (`alternate.rs`).
    pub(crate) alternate: bool,
    /// The newest grant went to one who claimed that.
    pub(crate) by_alternate: bool,
    /// Large payloads may go straight.
    pub(crate) direct: bool,
    /// The holder could not have the payload straight.
    pub(crate) reversed: bool,
    /// The large reply that is being fetched is brought straight.
    pub(crate) reply_direct: bool,
    /// A message's second offer; of that one, the message.
    pub(crate) twin: Link,
    /// Who holds it.
    pub(crate) holder: Holder,
    /// Where it was placed.
    pub(crate) copies: Copies,
    /// What is to be told about it.
    pub(crate) out: MessageOut,
    /// In its service's tree of waiting or of offered messages.
    pub(crate) tree: TreeLinks,
    /// In the list that its state has.
    pub(crate) list: ListLinks,
}

/// Pending outputs of a message, in the order they are polled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct MessageOut {
    /// Insert it.
    pub(crate) insert: bool,
    /// It was accepted.
    pub(crate) accepted: bool,
    /// Write what became of its attempts.
    pub(crate) attempts: bool,
    /// Send the grant.
    pub(crate) grant: bool,
    /// Fetch the large reply.
    pub(crate) fetch: bool,
    /// Store its outcome.
    pub(crate) settle: bool,
    /// The outcome is on disk.
    pub(crate) settled: bool,
    /// Tell the holder's node how it ended.
    pub(crate) tell: bool,
    /// Free the outcome's body.
    pub(crate) free: bool,
    /// Delete the outcome.
    pub(crate) delete: bool,
    /// Some copy is to be offered or retracted.
    pub(crate) copies: bool,
}

impl Message {
    /// Whether programs may see it: it was accepted, and is not the second offer of another.
    pub(crate) const fn is_shown(&self) -> bool {
        !self.alternate && !matches!(self.state, State::Storing)
    }
}

impl TreeNode<ByRank> for Message {
    type Key = (Instant, u64);
    fn key(&self) -> Self::Key {
        (self.rank, self.sequence)
    }
    fn tree(&self) -> &TreeLinks {
        &self.tree
    }
    fn tree_mut(&mut self) -> &mut TreeLinks {
        &mut self.tree
    }
}

impl ListNode<OfState> for Message {
    fn links(&self) -> &ListLinks {
        &self.list
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.list
    }
}
