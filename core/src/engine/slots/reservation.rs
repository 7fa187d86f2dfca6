//! Offers of peers that wait here.

use super::{ByRank, Copies, OfPeer};
use crate::data::list::{ListLinks, ListNode};
use crate::data::slab::Ix;
use crate::data::tree::{TreeLinks, TreeNode};
use crate::id::{MessageId, OfferId};
use crate::time::Instant;
use crate::wire::Path;

/// A peer's offer that waits here, for a consumer with room or for a next hop that has one.
#[derive(Debug)]
pub struct Reservation {
    /// The message.
    pub(crate) message: MessageId,
    /// It is offered under its alternate service.
    pub(crate) alternate: bool,
    /// What it ranks by here, sooner first (`rank.rs`): from when it was born, by this node's clock.
    pub(crate) rank: Instant,
    /// Breaks ties: order of arrival.
    pub(crate) order: u64,
    /// When it expires.
    pub(crate) deadline: Option<Instant>,
    /// Its priority.
    pub(crate) priority: u8,
    /// Next hops that it may be placed at from here.
    pub(crate) budget: u8,
    /// Its service.
    pub(crate) service: Ix,
    /// Whose offer it is: the peer that it came from.
    pub(crate) peer: Ix,
    /// Nodes that it has passed: its origin first, the peer that it came from last.
    pub(crate) path: Path,
    /// Where it was placed.
    pub(crate) copies: Copies,
    /// It is in the tree of those that are placed at next hops.
    pub(crate) forwarded: bool,
    /// It is over; its slot waits until its copies are retracted.
    pub(crate) over: bool,
    /// In its service's tree of reservations that are placed nowhere, or of those that are.
    pub(crate) tree: TreeLinks,
    /// In its peer's list.
    pub(crate) of_peer: ListLinks,
}

impl Reservation {
    /// What is offered. Its parts stand alone above because that takes less room.
    pub(crate) const fn offer(&self) -> OfferId {
        OfferId {
            message: self.message,
            alternate: self.alternate,
        }
    }
}

impl TreeNode<ByRank> for Reservation {
    type Key = (Instant, u64);
    fn key(&self) -> Self::Key {
        (self.rank, self.order)
    }
    fn tree(&self) -> &TreeLinks {
        &self.tree
    }
    fn tree_mut(&mut self) -> &mut TreeLinks {
        &mut self.tree
    }
}

impl ListNode<OfPeer> for Reservation {
    fn links(&self) -> &ListLinks {
        &self.of_peer
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.of_peer
    }
}
