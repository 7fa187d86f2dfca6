//! What the tables hold: one slot type each, with the links that put it into lists, trees and the timer heap.
//!
//! A slot holds metadata only. Its place in the timer heap and the dirty queue is by entity number (`Tables`).

use crate::data::list::{List, ListLinks, ListNode};
use crate::data::slab::{Ix, Link};
use crate::data::tree::{Tree, TreeLinks, TreeNode};
use crate::id::{Boot, ConsumerKey, Fence, GrantToken, MessageId, NodeId};
use crate::input::{Body, LinkId, Outcome, Policy, Tag, Verb};
use crate::name::Name;
use crate::output::{Answered, LostWhy, Payload};
use crate::time::{Duration, Instant};
use crate::wire::{Path, Taken};

/// Markers: which of its lists a slot's links belong to.
#[derive(Debug)]
pub(crate) struct OfState;
/// In its consumer's list.
#[derive(Debug)]
pub(crate) struct OfConsumer;
/// In its peer's list.
#[derive(Debug)]
pub(crate) struct OfPeer;
/// In its service's list.
#[derive(Debug)]
pub(crate) struct OfService;
/// Among the consumers of a service that have room and a waiting take.
#[derive(Debug)]
pub(crate) struct Hungry;
/// Among the routes whose peer was declined and is to be invited when a reservation comes free.
#[derive(Debug)]
pub(crate) struct Starved;
/// In order of priority, then age.
#[derive(Debug)]
pub(crate) struct ByRank;

/// Where a message of this node stands.
///
/// ```text
///  submit ─▶ Storing ──stored──▶ Waiting ◀──────────────┐
///  recovered ─▶ Recovering ─────▶  │ ▲                  │ lease over, released, not re-asserted
///                   │       offer  ▼ │ retract, decline │
///                   │             Offered ──claim──▶ Granted ◀─ holding, extend (from Recovering, Waiting, Offered)
///                   │                │  local take ────▲ │
///                   ▼                ▼                   ▼
///                 Settling ──stored──▶ Settled ──collect, retention──▶ Deleting ──stored──▶ (gone)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// Its insert is on the way to the disk.
    Storing,
    /// Found on disk; nodes have a while to say that they hold it.
    Recovering,
    /// Placed nowhere.
    Waiting,
    /// Reserved at one or two peers.
    Offered,
    /// A consumer has it.
    Granted,
    /// Its outcome is on the way to the disk; nothing else can end it.
    Settling,
    /// Its outcome is on disk.
    Settled,
    /// The outcome's deletion is on the way to the disk.
    Deleting,
}

impl State {
    /// All of them, in order.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 8] = [
        Self::Storing,
        Self::Recovering,
        Self::Waiting,
        Self::Offered,
        Self::Granted,
        Self::Settling,
        Self::Settled,
        Self::Deleting,
    ];

    /// Whether a message may go from here to there. Checked at every change.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        use State::{Deleting, Granted, Offered, Recovering, Settled, Settling, Storing, Waiting};
        matches!(
            (self, next),
            (Storing, Waiting | Settling)
                | (Recovering, Waiting | Granted | Settling)
                | (Waiting, Offered | Granted | Settling)
                | (Offered, Waiting | Granted | Settling)
                | (Granted, Waiting | Granted | Settling)
                | (Settling, Settled)
                | (Settled, Deleting)
        )
    }

    /// Whether the message still waits for an outcome to be chosen.
    pub(crate) const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Storing | Self::Recovering | Self::Waiting | Self::Offered | Self::Granted
        )
    }
}

/// One copy of an offer, placed at a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Copy {
    /// The route that it was placed over; a retract may outlive it.
    pub(crate) route: Ix,
    /// The peer it was placed at.
    pub(crate) peer: Ix,
    /// How far it is.
    pub(crate) state: CopyState,
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
}

/// Copies of one message that may be placed at the same time (the copy budget).
pub(crate) const COPIES: usize = 2;

/// The copies of one offer that are placed at next hops.
pub(crate) type Copies = [Option<Copy>; COPIES];

/// Whether one of them counts.
pub(crate) fn any_live(copies: &Copies) -> bool {
    copies
        .iter()
        .flatten()
        .any(|copy| copy.state != CopyState::ToRetract)
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
    /// A consumer of a node that no path leads to just now.
    Away,
}

/// A message of this node, from submit until its outcome was deleted.
#[derive(Debug)]
pub struct Message {
    /// Its sequence number.
    pub(crate) sequence: u64,
    /// When it was inserted; for a recovered one, counted back by its age.
    pub(crate) born: Instant,
    /// When it expires.
    pub(crate) deadline: Option<Instant>,
    /// When its state wants to be looked at: re-offer, lease, retention, store retry.
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
    /// When the holder's lease runs out; `wake` may be sooner, to look for it.
    pub(crate) lease_until: Instant,
    /// The session with the holder's peer in which the grant was sent or asserted.
    pub(crate) session: u32,
    /// Where it stands.
    pub(crate) state: State,
    /// Priority, higher first.
    pub(crate) priority: u8,
    /// Ended by an ack.
    pub(crate) send_only: bool,
    /// Leases that ran out.
    pub(crate) tries: u16,
    /// As many may; 0 is no limit.
    pub(crate) max_attempts: u16,
    /// What became of it, from `Settling` on.
    pub(crate) outcome: Option<Outcome>,
    /// The verb of a large reply that is being fetched.
    pub(crate) reply_verb: Option<Verb>,
    /// The outcome was brought about by the holder's answer.
    pub(crate) answered: bool,
    /// Found overdue at start: the node is not ready before its outcome is on disk.
    pub(crate) overdue: bool,
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

impl TreeNode<ByRank> for Message {
    type Key = (u8, Instant, u64);
    fn key(&self) -> Self::Key {
        (u8::MAX - self.priority, self.born, self.sequence)
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

/// A peer's offer that waits here, for a consumer with room or for a next hop that has one.
#[derive(Debug)]
pub struct Reservation {
    /// The message.
    pub(crate) message: MessageId,
    /// When it was born, by this node's clock.
    pub(crate) born: Instant,
    /// Breaks ties: order of arrival.
    pub(crate) order: u64,
    /// When it expires.
    pub(crate) deadline: Option<Instant>,
    /// Its priority.
    pub(crate) priority: u8,
    /// Next hops that it may be placed at from here.
    pub(crate) budget: u8,
    /// How it came, and its service.
    pub(crate) route: Ix,
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

impl TreeNode<ByRank> for Reservation {
    type Key = (u8, Instant, u64);
    fn key(&self) -> Self::Key {
        (u8::MAX - self.priority, self.born, self.order)
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
    /// Room is taken, the origin was asked.
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
    /// Hand it to its take.
    pub(crate) deliver: bool,
    /// Tell its consumer that it is lost.
    pub(crate) lost: bool,
    /// Send a release to the origin.
    pub(crate) release: bool,
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

/// A message that passes through this node: claimed by a node behind it, and then held there.
///
/// Made by a claim or by a holding that passes; ends when the origin has settled the attempt, or when either
/// side's session does.
#[derive(Debug)]
pub struct Relay {
    /// Which attempt; before the grant only its message, node and consumer are set.
    pub(crate) token: GrantToken,
    /// The peer towards the origin.
    pub(crate) up: Ix,
    /// The peer towards the consumer.
    pub(crate) down: Ix,
    /// How far it is.
    pub(crate) stage: Passing,
    /// When the message expires; a settled one is forgotten at the latest then.
    pub(crate) deadline: Option<Instant>,
    /// When it is forgotten if nothing passes.
    pub(crate) wake: Instant,
    /// The consumer's lease.
    pub(crate) lease: Duration,
    /// Nodes that a holding still has to pass: the origin first, the peer towards it last.
    pub(crate) path: Path,
    /// The message's priority.
    pub(crate) priority: u8,
    /// Ended by an ack.
    pub(crate) send_only: bool,
    /// Length of what is passing, payload or answer.
    pub(crate) size: u64,
    /// Its bytes.
    pub(crate) body: Option<Body>,
    /// What the consumer said.
    pub(crate) verb: Option<Verb>,
    /// How the origin took it.
    pub(crate) taken: Taken,
    /// What is to be passed on.
    pub(crate) out: RelayOut,
}

/// How far a message that passes is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Passing {
    /// The claim went up.
    Claimed,
    /// The grant went down.
    Granted,
    /// Over; what is pending is still to be passed on.
    Over,
}

/// Pending outputs of a relay, in the order they are polled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct RelayOut {
    /// Claim, upwards.
    pub(crate) claim: bool,
    /// Fetch a large payload from above.
    pub(crate) fetch_payload: bool,
    /// Fetch a large answer from below.
    pub(crate) fetch_answer: bool,
    /// Grant, downwards.
    pub(crate) grant: bool,
    /// Holding, upwards.
    pub(crate) holding: bool,
    /// Extension, upwards.
    pub(crate) extend: bool,
    /// Answer, upwards.
    pub(crate) answer: bool,
    /// Release, upwards.
    pub(crate) release: bool,
    /// How the origin took it, downwards.
    pub(crate) settled: bool,
    /// Gone, downwards.
    pub(crate) gone: bool,
    /// The way is broken, upwards.
    pub(crate) no_path_up: bool,
    /// The way is broken, downwards.
    pub(crate) no_path_down: bool,
    /// Free the bytes.
    pub(crate) free: bool,
}

/// A service that someone here offers, addresses or has heard of.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub(crate) name: Name,
    /// Consumers of this node.
    pub(crate) consumers: List<OfService>,
    /// Those of them that have room and a waiting take; the front is next.
    pub(crate) hungry: List<Hungry>,
    /// Routes to and from peers.
    pub(crate) routes: List<OfService>,
    /// This node's messages that are placed nowhere.
    pub(crate) waiting: Tree<ByRank>,
    /// This node's messages that are placed at peers.
    pub(crate) offered: Tree<ByRank>,
    /// Peers' messages that wait here and are placed nowhere.
    pub(crate) reserved: Tree<ByRank>,
    /// Peers' messages that wait here and are placed at next hops.
    pub(crate) forwarded: Tree<ByRank>,
    /// Messages of this node in any state.
    pub(crate) messages: u32,
}

/// A program that takes messages of one service from this node.
#[derive(Debug)]
pub struct Consumer {
    /// Its service.
    pub(crate) service: Ix,
    /// Its name.
    pub(crate) name: Name,
    /// As the origins know it.
    pub(crate) key: ConsumerKey,
    /// Leases that it may hold.
    pub(crate) limit: u16,
    /// Deliveries that take room.
    pub(crate) held: u16,
    /// Of those, the ones that no take has been used for yet.
    pub(crate) coming: u16,
    /// Messages that its waiting takes ask for.
    pub(crate) wanted: u32,
    /// Its lease.
    pub(crate) lease: Duration,
    /// Waiting takes, oldest first.
    pub(crate) takes: List<OfConsumer>,
    /// What it holds.
    pub(crate) deliveries: List<OfConsumer>,
    /// In its service's list.
    pub(crate) of_service: ListLinks,
    /// In its service's list of hungry ones.
    pub(crate) hungry: ListLinks,
}

impl ListNode<OfService> for Consumer {
    fn links(&self) -> &ListLinks {
        &self.of_service
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.of_service
    }
}

impl ListNode<Hungry> for Consumer {
    fn links(&self) -> &ListLinks {
        &self.hungry
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.hungry
    }
}

/// A waiting take.
#[derive(Debug)]
pub struct Take {
    /// The caller's number for it.
    pub(crate) tag: Tag,
    /// Who asks.
    pub(crate) consumer: Ix,
    /// For how many more.
    pub(crate) left: u16,
    /// In its consumer's list.
    pub(crate) of_consumer: ListLinks,
}

impl ListNode<OfConsumer> for Take {
    fn links(&self) -> &ListLinks {
        &self.of_consumer
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.of_consumer
    }
}

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
    /// What may pass over its links.
    pub(crate) policy: Policy,
    /// Last frame that came over `link`.
    pub(crate) heard: Instant,
    /// When `greeting` came up.
    pub(crate) greeted: Instant,
    /// Last frame sent on `link`.
    pub(crate) sent: Instant,
    /// Holdings still to be said in this session.
    pub(crate) unsaid: u32,
    /// Routes to it.
    pub(crate) routes: List<OfPeer>,
    /// Its offers that wait here.
    pub(crate) reservations: List<OfPeer>,
    /// Its messages that consumers of this node hold.
    pub(crate) deliveries: List<OfPeer>,
    /// This node's messages that its consumers hold.
    pub(crate) granted: List<OfState>,
    /// What is to be told to it.
    pub(crate) out: PeerOut,
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
}

/// What one peer and this node told each other about one service.
#[derive(Debug)]
pub struct Route {
    /// The service.
    pub(crate) service: Ix,
    /// The peer.
    pub(crate) peer: Ix,
    /// The peer has consumers and takes this many offers.
    pub(crate) window: Option<u16>,
    /// The peer said that only higher priorities find room.
    pub(crate) floor: Option<u8>,
    /// This node's copies that are placed there.
    pub(crate) placed: u32,
    /// The peer's offers that wait here.
    pub(crate) reserved: u32,
    /// The way to the nearest consumers that the peer has announced.
    pub(crate) path: Path,
    /// What the peer was told last: a mark of the path and the window, `None` if nothing.
    pub(crate) told: Option<u64>,
    /// What is to be told to it.
    pub(crate) out: RouteOut,
    /// In its service's list.
    pub(crate) of_service: ListLinks,
    /// In its peer's list.
    pub(crate) of_peer: ListLinks,
    /// In the list of those to be invited.
    pub(crate) starved: ListLinks,
}

/// Pending outputs of a route. What there is to announce is found out when it is polled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct RouteOut {
    /// Something has changed that the peer may have to be told.
    pub(crate) refresh: bool,
    /// Room came free: the peer is told even if nothing else has changed.
    pub(crate) invite: bool,
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

impl ListNode<Starved> for Route {
    fn links(&self) -> &ListLinks {
        &self.starved
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.starved
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

impl Consumer {
    /// Whether one more message may be claimed for it (P4), and a take waits for it.
    pub(crate) fn has_room(&self) -> bool {
        self.held < self.limit && self.wanted > u32::from(self.coming)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::format;
    use std::string::String;

    fn table<T: core::fmt::Debug + core::marker::Copy>(all: &[T], may: impl Fn(T, T) -> bool) -> String {
        let mut text = String::new();
        for &from in all {
            let next: std::vec::Vec<_> = all
                .iter()
                .filter(|&&to| may(from, to))
                .map(|to| format!("{to:?}"))
                .collect();
            text += &format!("{from:?} -> {}\n", next.join(" "));
        }
        text
    }

    /// A changed transition can't slip by.
    #[test]
    fn the_transition_tables_are_these() {
        assert_eq!(
            table(&State::ALL, State::may_become),
            "Storing -> Waiting Settling\n\
             Recovering -> Waiting Granted Settling\n\
             Waiting -> Offered Granted Settling\n\
             Offered -> Waiting Granted Settling\n\
             Granted -> Waiting Granted Settling\n\
             Settling -> Settled\n\
             Settled -> Deleting\n\
             Deleting -> \n"
        );
        assert_eq!(
            table(&Stage::ALL, Stage::may_become),
            "Claiming -> Fetching Ready Over\n\
             Fetching -> Ready Over\n\
             Ready -> Held Answering Over\n\
             Held -> Answering Over\n\
             Answering -> Held Over\n\
             Over -> \n"
        );
    }
}
