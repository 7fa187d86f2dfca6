//! Peers, and which services each has consumers of.

use super::{OfPeer, OfService, OfState, Starved};
use crate::data::list::{List, ListLinks, ListNode};
use crate::data::slab::Ix;
use crate::id::{Boot, NodeId};
use crate::input::LinkId;
use crate::name::Name;
use crate::pattern::Pattern;
use crate::time::Instant;
use crate::wire::Path;

/// A peer, known by its certificate's name.
#[derive(Debug)]
pub struct Peer {
    /// Its name.
    pub(crate) name: Name,
    /// Its identity, once a session told it.
    pub(crate) node: Option<NodeId>,
    /// Its life in the last session.
    pub(crate) boot: Option<Boot>,
    /// Its generation in the last session.
    pub(crate) their_generation: u32,
    /// This node's generation with it.
    pub(crate) our_generation: u32,
    /// Sessions so far.
    pub(crate) session: u32,
    /// The link of the session that is up.
    pub(crate) link: Option<LinkId>,
    /// A link whose hello has not come yet.
    pub(crate) greeting: Option<LinkId>,
    /// Whether this node dialled the newest link: then the peer is to the north.
    pub(crate) dialled: bool,
    /// Of a north peer: what it announces may be told to south peers.
    pub(crate) redistribute: bool,
    /// Of a south peer: what it announces is taken.
    pub(crate) accept_from_south: bool,
    /// Which services may pass over its links, in the order in which they count.
    pub(crate) rules: List<OfPeer>,
    /// Last frame that came over `link`.
    pub(crate) heard: Instant,
    /// When `greeting` came up.
    pub(crate) greeted: Instant,
    /// Last frame sent on `link`.
    pub(crate) sent: Instant,
    /// Holdings still to be said in this session.
    pub(crate) unsaid: u32,
    /// It announced something that there was no room for.
    pub(crate) missed: bool,
    /// It is to the north and also below this node.
    pub(crate) cycle: bool,
    /// When it was asked last to announce all anew.
    pub(crate) asked: Option<Instant>,
    /// When it asked last for that.
    pub(crate) refreshed: Option<Instant>,
    /// Routes to it.
    pub(crate) routes: List<OfPeer>,
    /// Its offers that wait here.
    pub(crate) reservations: List<OfPeer>,
    /// Its messages that consumers of this node hold.
    pub(crate) deliveries: List<OfPeer>,
    /// This node's messages that its consumers hold.
    pub(crate) granted: List<OfState>,
    /// In the list of those that were declined for want of room and are to be invited.
    pub(crate) starved: ListLinks,
    /// What is to be told to it, beside the news of services (`told`).
    pub(crate) out: PeerOut,
}

impl ListNode<Starved> for Peer {
    fn links(&self) -> &ListLinks {
        &self.starved
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.starved
    }
}

/// Pending outputs of a peer, in the order they are polled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct PeerOut {
    /// Send a hello on `greeting`.
    pub(crate) hello: bool,
    /// Say that all holdings were said.
    pub(crate) holding_end: bool,
    /// Send a ping.
    pub(crate) ping: bool,
    /// Send a pong.
    pub(crate) pong: bool,
    /// Ask it to announce all anew.
    pub(crate) ask: bool,
    /// Send it what looks for a holder.
    pub(crate) seek: bool,
    /// Tell the operator of the ring that it closes.
    pub(crate) cycle: bool,
}

/// A peer's consumers of one service: what it announced, and what is placed there. Goes with the announcement.
#[derive(Debug)]
pub struct Route {
    /// The service.
    pub(crate) service: Ix,
    /// The peer.
    pub(crate) peer: Ix,
    /// The peer takes this many offers; none once it was lost, for the moment until its slot is free.
    pub(crate) window: Option<u16>,
    /// The peer said that only higher priorities find room.
    pub(crate) floor: Option<u8>,
    /// Offers that consumers behind the peer would claim at once, as far as this node knows.
    pub(crate) room: u16,
    /// This node's copies that are placed there.
    pub(crate) placed: u32,
    /// The way to the nearest consumers that the peer has announced.
    pub(crate) path: Path,
    /// In its service's list.
    pub(crate) of_service: ListLinks,
    /// In its peer's list.
    pub(crate) of_peer: ListLinks,
}

/// Which services may pass over a peer's links: one rule of them.
#[derive(Debug)]
pub struct Rule {
    /// Whose announcements it is about.
    pub(crate) direction: Direction,
    /// Services that match may pass, or else may not.
    pub(crate) allow: bool,
    /// What it matches.
    pub(crate) pattern: Pattern,
    /// In its peer's list.
    pub(crate) of_peer: ListLinks,
}

/// Whose announcements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// The peer's.
    Import,
    /// This node's.
    Export,
}

impl ListNode<OfPeer> for Rule {
    fn links(&self) -> &ListLinks {
        &self.of_peer
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.of_peer
    }
}

impl ListNode<OfService> for Route {
    fn links(&self) -> &ListLinks {
        &self.of_service
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.of_service
    }
}

impl ListNode<OfPeer> for Route {
    fn links(&self) -> &ListLinks {
        &self.of_peer
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.of_peer
    }
}

impl Route {
    /// Whether an offer of this priority may be placed at the peer now.
    pub(crate) fn takes(&self, priority: u8) -> bool {
        self.has_window() && self.floor.is_none_or(|floor| priority > floor)
    }

    /// Whether the peer's window has room.
    pub(crate) fn has_window(&self) -> bool {
        self.window.is_some_and(|window| self.placed < u32::from(window))
    }
}
