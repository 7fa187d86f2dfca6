//! What everybody else holds of the driver.

use super::command::{Cleanup, Command, LinkUp, OutcomeNow};
use super::contents::Outgoing;
use super::floor::Floor;
use super::info::{ConsumerInfo, MessageInfo, NodeStatus};
use super::links::Line;
use super::refusal::Refusal;
use super::take::{PendingTake, Room};
use super::transfers::Destination;
use crate::config::{PeerPolicy, Souths};
use crate::follow::Desk;
use crate::link::frame::Received;
use crate::link::outbox::Outbox;
use crate::link::pipe::Pipe;
use crate::link::transfer::{Job, PROGRESS, TransferKey, TransferRefusal};
use crate::owner::Who;
use crate::store::{Alternate, QueryAnswer, QueryError, Short, Snapshot, StoreHandle};
use crate::{Content, Extras};
use bytes::Bytes;
use redlink_core::{Answered, GrantToken, LinkId, MessageId, Name, NodeId, Outcome, Rate, Tag, Terms, Verb};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// A message that a producer hands over.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Addressed to this service.
    pub service: String,
    /// The name that its outcome is collected under; none: its owner's own.
    pub producer: Option<Arc<str>>,
    /// A second service.
    pub alternate: Option<Alternate>,
    /// Its settings.
    pub terms: Terms,
    /// Its payload.
    pub content: Content,
    /// What else its producer wants.
    pub extras: Extras,
}

/// A message that is on disk (P1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Submitted {
    /// Its id.
    pub id: MessageId,
    /// When it expires, by the wall clock; none if it has no deadline.
    pub deadline: Option<SystemTime>,
    /// It was accepted before, under the same idempotency key.
    pub repeated: bool,
}

/// How a call went.
#[derive(Clone, Debug)]
pub enum Called {
    /// It has its outcome, which stays until it is collected.
    Settled(Settlement),
    /// It has none yet.
    Open(Submitted),
}

/// A message's outcome, which is on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// The message.
    pub id: MessageId,
    /// What became of it.
    pub outcome: Outcome,
    /// The reply, or the text of a failure; empty if there is none.
    pub content: Content,
    /// What its producer wanted back with it.
    pub preserved: Option<Bytes>,
}

/// A message that a consumer got.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What it answers with.
    pub token: GrantToken,
    /// The message's payload.
    pub content: Content,
    /// Length in bytes of a payload that was too long to come along, and that `content` does not have: it is asked for
    /// with [`Handle::payload`].
    pub long: Option<u64>,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// An ack is wanted, not a reply.
    pub send_only: bool,
    /// 0 to 255, higher first.
    pub priority: u8,
    /// Time left until its deadline; none if it has none.
    pub remaining: Option<Duration>,
    /// Time until the lease runs out unless it is renewed.
    pub lease: Duration,
}

/// What the driver and all handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: NodeId,
    pub(super) name: Name,
    pub(super) desk: Arc<Desk>,
    pub(super) tags: AtomicU64,
    pub(super) ready: AtomicBool,
    pub(super) floor: Floor,
    /// Held by the one backup that is made.
    pub(super) backing_up: Arc<Semaphore>,
    /// How often the driver has gone round.
    pub(super) turns: AtomicU64,
    /// Room for large payloads that are coming in, one permit for each KiB of it or part of one.
    pub(super) incoming: Arc<Semaphore>,
    pub(super) incoming_max: u32,
    pub(super) payload_max: u64,
    /// Payloads that pass through at once, by where they come from.
    pub(super) from_north: Arc<Semaphore>,
    pub(super) from_south: Arc<Semaphore>,
}

/// Where a payload that passes through comes from. Each direction has slots of its own. All ways go up and then down,
/// so what comes from the south waits only for slots further north or for what goes down, and that only for slots
/// further south: there is no circle in which nodes could wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// This node dialled the peer, and gets it there.
    FromNorth,
    /// The peer dialled this node, and brings it.
    FromSouth,
}

/// Payloads that pass through a node at once in each direction. With what HTTP holds of each, both together take less
/// than 64 MiB.
pub(super) const PASSING: usize = 8;

/// How long one may wait for its turn. A peer that brings it comes again, and must not think that it has stalled.
const TURN: Duration = Duration::from_secs(40);
const TURN_BROUGHT: Duration = Duration::from_secs(15);

impl Shared {
    pub(super) fn tag(&self) -> Tag {
        Tag(self.tags.fetch_add(1, Ordering::Relaxed))
    }
}

/// How long a large payload waits for room before it is turned away.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// The node, for everybody but the driver: cheap to clone, and every call is an input to the core or a look at it.
///
/// It acts for the administrator unless it is made to act for somebody else by [`Handle::acting_for`]: what a program
/// submits and registers is its own, and of messages it knows only those (P12). Whether it may submit or consume at
/// all, and whose a delivery is, has been looked at before.
///
/// All calls are safe to drop half-way. What a dropped submit, answer, cancel or collect has asked for may still happen.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    cleanup: mpsc::UnboundedSender<Cleanup>,
    store: StoreHandle,
    shared: Arc<Shared>,
    who: Who,
}

impl Handle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        cleanup: mpsc::UnboundedSender<Cleanup>,
        store: StoreHandle,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            commands,
            cleanup,
            store,
            shared,
            who: Who::ADMINISTRATOR,
        }
    }

    /// The same node, for somebody else.
    #[must_use]
    pub fn acting_for(&self, who: Who) -> Self {
        Self { who, ..self.clone() }
    }

    pub(super) fn who(&self) -> Who {
        self.who.clone()
    }

    pub(super) async fn send(&self, command: Command) -> Result<(), Refusal> {
        self.commands.send(command).await.map_err(|_| Refusal::Stopped)
    }

    pub(super) async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Command,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.send(make(answer)).await?;
        answered.await.unwrap_or(Err(Refusal::Stopped))
    }

    pub(super) async fn look<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.send(make(answer)).await.ok()?;
        answered.await.ok()
    }

    pub(super) fn own(&self, id: MessageId) -> Result<u64, Refusal> {
        if id.node == self.shared.node {
            Ok(id.sequence)
        } else {
            Err(Refusal::Foreign)
        }
    }

    /// This node's identity.
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// This node's name.
    pub fn name(&self) -> &Name {
        &self.shared.name
    }

    /// Longest payload that this node takes, in bytes.
    pub fn payload_max(&self) -> u64 {
        self.shared.payload_max
    }

    /// Hands a message over. When this returns, its row is on disk (P1), unless it is to be kept in memory only.
    ///
    /// # Errors
    /// It was not accepted, and left no trace; after [`Refusal::Stopped`] that is not known.
    pub async fn submit(&self, new: NewMessage) -> Result<Submitted, Refusal> {
        self.ask(|answer| Command::Submit {
            owner: self.who().owner,
            new,
            requeue: None,
            answer,
            settled: None,
        })
        .await
    }

    /// Hands a message over and waits up to `wait` for its outcome. That stays until [`Handle::collect`] is told that it
    /// reached the producer. A repeated one, by its idempotency key, waits for the same outcome.
    ///
    /// # Errors
    /// As with [`Handle::submit`]; [`Refusal::Collected`] if it is repeated and its outcome is gone.
    pub async fn call(&self, new: NewMessage, wait: Duration) -> Result<Called, Refusal> {
        let (settled, outcome) = oneshot::channel();
        let preserved = new.extras.preserved.clone();
        let submitted = self
            .ask(|answer| Command::Submit {
                owner: self.who().owner,
                new,
                requeue: None,
                answer,
                settled: Some(settled),
            })
            .await?;
        if submitted.repeated {
            return match self.outcome(submitted.id, wait).await {
                Ok(Some(settlement)) => Ok(Called::Settled(settlement)),
                Ok(None) => Ok(Called::Open(submitted)),
                Err(Refusal::Unknown) => Err(Refusal::Collected),
                Err(refusal) => Err(refusal),
            };
        }
        Ok(match tokio::time::timeout(wait, outcome).await {
            Ok(Ok(settlement)) => Called::Settled(Settlement {
                preserved,
                ..settlement
            }),
            // Too late, or the node stops; it has accepted the message all the same.
            Ok(Err(_)) | Err(_) => Called::Open(submitted),
        })
    }

    /// A message's state.
    ///
    /// # Errors
    /// It is not known here (any more), or another node's.
    pub async fn message(&self, id: MessageId) -> Result<MessageInfo, Refusal> {
        let sequence = self.own(id)?;
        let who = self.who();
        self.ask(|answer| Command::Message {
            who,
            sequence,
            answer,
        })
        .await
    }

    /// A message's outcome; `None` if it has none when `wait` is over. Never collects.
    ///
    /// # Errors
    /// The message is not known here (any more), is another node's, or the store can't be read.
    pub async fn outcome(&self, id: MessageId, wait: Duration) -> Result<Option<Settlement>, Refusal> {
        let sequence = self.own(id)?;
        let who = self.who();
        match self
            .ask(|answer| Command::Outcome {
                who,
                sequence,
                answer,
            })
            .await?
        {
            OutcomeNow::Stored => self.read_outcome(id).await.map(Some),
            OutcomeNow::Kept(settlement) => Ok(Some(settlement)),
            OutcomeNow::Open { settled, preserves } => match tokio::time::timeout(wait, settled).await {
                // What was preserved lies on disk only.
                Ok(Ok(settlement)) if preserves => self.read_outcome(settlement.id).await.map(Some),
                Ok(Ok(settlement)) => Ok(Some(settlement)),
                Ok(Err(_)) => Err(Refusal::Stopped),
                Err(_) => Ok(None),
            },
        }
    }

    async fn read_outcome(&self, id: MessageId) -> Result<Settlement, Refusal> {
        match self.store.outcome(id.sequence).await {
            Ok(Some(stored)) => Ok(Settlement {
                id,
                outcome: stored.outcome,
                content: stored.content.unwrap_or_default(),
                preserved: stored.preserved,
            }),
            // Collected meanwhile, or its retention ended.
            Ok(None) => Err(Refusal::Unknown),
            Err(error) => {
                tracing::warn!(message = %id, %error, "an outcome could not be read");
                Err(Refusal::Store)
            }
        }
    }

    /// The producer has the outcome: it may be deleted. When this returns, it is deleted on disk.
    ///
    /// # Errors
    /// [`Refusal::State`] if there is no outcome yet; [`Refusal::Unknown`] if it was collected already.
    pub async fn collect(&self, id: MessageId) -> Result<(), Refusal> {
        let sequence = self.own(id)?;
        let who = self.who();
        self.ask(|answer| Command::Collect {
            who,
            sequence,
            answer,
        })
        .await
    }

    /// Takes a message back. When this returns, the outcome `Cancelled` is on disk.
    ///
    /// # Errors
    /// [`Refusal::State`] if it has, or is getting, another outcome.
    pub async fn cancel(&self, id: MessageId) -> Result<(), Refusal> {
        let sequence = self.own(id)?;
        let who = self.who();
        let settled = self
            .ask(|answer| Command::Cancel {
                who,
                sequence,
                answer,
            })
            .await?;
        match settled.await {
            Ok(Settlement {
                outcome: Outcome::Cancelled,
                ..
            }) => Ok(()),
            Ok(_) => Err(Refusal::State),
            Err(_) => Err(Refusal::Stopped),
        }
    }

    /// A consumer comes, or changes its limits.
    ///
    /// # Errors
    /// A bad name, a zero, a full table, or [`Refusal::Taken`]: another program's consumer has the name.
    pub async fn register(
        &self,
        service: impl Into<String>,
        consumer: impl Into<String>,
        limit: u16,
        lease: Duration,
        rate: Option<Rate>,
    ) -> Result<(), Refusal> {
        let (service, consumer) = (service.into(), consumer.into());
        self.ask(|answer| Command::Register {
            who: self.who(),
            service,
            consumer,
            limit,
            lease,
            rate,
            answer,
        })
        .await
    }

    /// The client that this delivery was handed to went before it had it: it is offered again at once, and its token of the
    /// consumer's rate is put back.
    pub fn unseen(&self, token: GrantToken) {
        // A driver that is gone has no deliveries.
        let _ = self.cleanup.send(Cleanup::Release(token));
    }

    /// A consumer goes; what it holds is offered again at once.
    ///
    /// # Errors
    /// It is not registered, or another program's.
    pub async fn unregister(
        &self,
        service: impl Into<String>,
        consumer: impl Into<String>,
    ) -> Result<(), Refusal> {
        let (service, consumer) = (service.into(), consumer.into());
        self.ask(|answer| Command::Unregister {
            who: self.who(),
            service,
            consumer,
            answer,
        })
        .await
    }

    /// Gets up to `max` messages for a consumer, with all of their payloads. Returns as soon as there is one, and empty if there was none in time; with
    /// no `wait` only what lies at this node counts. Registers an unknown consumer with the node's defaults.
    ///
    /// A dropped future ends the take, and releases what it was given but had not returned.
    ///
    /// # Errors
    /// A bad name, a zero, a full table, another program's consumer, a node that is stopping, or a store that can't be
    /// read.
    pub async fn take(
        &self,
        service: impl Into<String>,
        consumer: impl Into<String>,
        max: u16,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Refusal> {
        self.take_with(service.into(), consumer.into(), max, wait, Room::WHOLE)
            .await
    }

    pub(super) async fn take_with(
        &self,
        service: String,
        consumer: String,
        max: u16,
        wait: Duration,
        room: Room,
    ) -> Result<Vec<Delivery>, Refusal> {
        let (answer, answered) = oneshot::channel();
        let tag = self.shared.tag();
        let pending = PendingTake::new(tag, self.cleanup.clone(), answered);
        self.send(Command::Take {
            who: self.who(),
            tag,
            service,
            consumer,
            max,
            waits: !wait.is_zero(),
            answer,
        })
        .await?;
        pending.finish(wait, &self.store, room).await
    }

    /// A consumer answers a delivery. When a reply, ack or failure is `Done`, it is on disk, at the origin or here.
    ///
    /// # Errors
    /// It was not taken in; nothing has changed.
    pub async fn answer(
        &self,
        token: GrantToken,
        verb: Verb,
        content: Option<Content>,
    ) -> Result<Answered, Refusal> {
        self.ask(|answer| Command::Answer {
            token,
            verb,
            content,
            answer,
        })
        .await
    }

    /// The payload of a delivery that a consumer of this node holds; `None` if it is not held here.
    ///
    /// # Errors
    /// The store can't be read, or the node has stopped.
    pub async fn payload(&self, token: GrantToken) -> Result<Option<Content>, Refusal> {
        let found = self.payload_up_to(token, usize::MAX).await?;
        Ok(found.map(|(content, _)| content))
    }

    /// As [`Handle::payload`]; one of more than `most` bytes without them, and with their number.
    ///
    /// # Errors
    /// As with [`Handle::payload`].
    pub async fn payload_up_to(
        &self,
        token: GrantToken,
        most: usize,
    ) -> Result<Option<(Content, Option<u64>)>, Refusal> {
        let source = self
            .look(|answer| Command::Payload { token, answer })
            .await
            .ok_or(Refusal::Stopped)?;
        let Some(source) = source else { return Ok(None) };
        let found = source.load_short(&self.store, most).await.map_err(|error| {
            tracing::warn!(message = %token.message, %error, "a payload could not be read");
            Refusal::Store
        })?;
        Ok(found.map(Short::into_parts))
    }

    /// The consumers of this node.
    pub async fn consumers(&self) -> Vec<ConsumerInfo> {
        self.look(|answer| Command::Consumers { answer })
            .await
            .unwrap_or_default()
    }

    /// The node in a few numbers; all zero if it has stopped.
    pub async fn status(&self) -> NodeStatus {
        let mut status = self
            .look(|answer| Command::Status { answer })
            .await
            .unwrap_or_default();
        status.store = self.store.stats().await;
        status
    }

    /// Asks the store in SQL, for an administrator.
    ///
    /// # Errors
    /// It may not be asked, was stopped, or another query runs.
    pub async fn query(&self, sql: String) -> Result<QueryAnswer, QueryError> {
        self.store.query(sql).await
    }

    /// The turn of one backup; none while another is made.
    pub(crate) fn backup_turn(&self) -> Option<OwnedSemaphorePermit> {
        self.shared.backing_up.clone().try_acquire_owned().ok()
    }

    /// Copies the store, beside everything else.
    ///
    /// # Errors
    /// There is too little room for it, or the store can't be read.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Refusal> {
        let stats = self.store.stats().await;
        let takes = stats.database_bytes.saturating_add(stats.log_bytes);
        if stats.free_bytes != 0 && stats.free_bytes < takes.saturating_add(self.floor().bytes()) {
            return Err(Refusal::Disk);
        }
        self.store.snapshot().await.map_err(|error| {
            tracing::warn!(%error, "the store can't be copied");
            Refusal::Store
        })
    }

    /// Whether the node takes work: it has recovered, and is not stopping.
    pub fn ready(&self) -> bool {
        self.shared.ready.load(Ordering::Acquire)
    }

    /// How often the driver has gone round. It does so at least twice a second, unless it hangs.
    pub fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::Relaxed)
    }

    /// Stops accepting and granting; returns when nothing is under way any more, which may be never: give it a limit.
    pub async fn drain(&self) {
        let _ = self.look(|over| Command::Drain { over }).await;
    }

    // What links use.

    /// What is asked and answered beside the frames.
    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.shared.desk
    }

    /// The ways to these peers; those without a session are left out.
    pub(crate) async fn lines(&self, peers: Vec<Name>) -> BTreeMap<Name, Line> {
        self.look(|answer| Command::Lines { peers, answer })
            .await
            .unwrap_or_default()
    }

    pub(super) fn floor(&self) -> &Floor {
        &self.shared.floor
    }

    pub(crate) fn store(&self) -> &StoreHandle {
        &self.store
    }

    pub(crate) async fn link_up(
        &self,
        peer: Name,
        outbox: Outbox,
        dialled: Option<(mpsc::UnboundedSender<Job>, PeerPolicy)>,
    ) -> Result<LinkId, Refusal> {
        let (jobs, policy) = dialled.unzip();
        self.ask(|answer| {
            Command::LinkUp(LinkUp {
                peer,
                outbox,
                jobs,
                policy,
                answer,
            })
        })
        .await
    }

    pub(crate) async fn frames(
        &self,
        link: LinkId,
        frames: Vec<Received>,
        permit: OwnedSemaphorePermit,
    ) -> Result<(), Refusal> {
        self.send(Command::Frames {
            link,
            frames,
            _permit: permit,
        })
        .await
    }

    /// From now on these policies count for the peers that dial this node. Links with those for whom it makes a
    /// difference are closed; they dial again.
    pub(crate) async fn set_souths(&self, souths: Souths) {
        let _ = self.look(|done| Command::Souths { souths, done }).await;
    }

    /// Ends the links with a peer that this node dialled, or that the peer did.
    pub(crate) async fn unlink(&self, peer: Name, dialled: bool, reason: &'static str) {
        let _ = self
            .look(|done| Command::Unlink {
                peer,
                dialled,
                reason,
                done,
            })
            .await;
    }

    /// A payload has come straight from its origin.
    pub(crate) async fn straight(&self, key: TransferKey, content: Content) {
        // A driver that is gone waits for nothing.
        let _ = self.send(Command::Straight { key, content }).await;
    }

    /// An answer has been brought to its origin.
    pub(crate) async fn brought(&self, key: TransferKey) {
        let _ = self.send(Command::Brought { key }).await;
    }

    /// A payload can't go straight.
    pub(crate) async fn not_direct(&self, key: TransferKey) {
        let _ = self.send(Command::NotDirect { key }).await;
    }

    pub(crate) async fn link_down(&self, link: LinkId, reason: &str) {
        // A driver that is gone has no links.
        let _ = self
            .send(Command::LinkDown {
                link,
                reason: reason.to_owned(),
            })
            .await;
    }

    /// Room for a large payload that is coming in; give it back when the driver has it. Bounds what is in memory before
    /// the driver can count it.
    pub(crate) async fn incoming_room(&self, size: u64) -> Result<OwnedSemaphorePermit, TransferRefusal> {
        self.room(size, self.shared.payload_max).await
    }

    /// All the room that there is for what comes in, in bytes.
    pub(super) fn incoming_max(&self) -> u64 {
        u64::from(self.shared.incoming_max) * 1_024
    }

    pub(super) async fn room(&self, size: u64, most: u64) -> Result<OwnedSemaphorePermit, TransferRefusal> {
        let permits = u32::try_from(size.div_ceil(1_024)).unwrap_or(u32::MAX);
        if size > most || permits > self.shared.incoming_max {
            return Err(TransferRefusal::TooLarge);
        }
        let room = self.shared.incoming.clone().acquire_many_owned(permits);
        match tokio::time::timeout(ROOM_WAIT, room).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(TransferRefusal::Stopped),
            Err(_) => Err(TransferRefusal::Busy),
        }
    }

    /// A turn to let a payload pass. Its lease stays alive meanwhile.
    pub(crate) async fn slot(
        &self,
        direction: Direction,
        key: TransferKey,
    ) -> Result<OwnedSemaphorePermit, TransferRefusal> {
        let (slots, wait) = match direction {
            Direction::FromNorth => (&self.shared.from_north, TURN),
            Direction::FromSouth => (&self.shared.from_south, TURN_BROUGHT),
        };
        let mut turn = std::pin::pin!(slots.clone().acquire_owned());
        let until = tokio::time::Instant::now() + wait;
        while tokio::time::Instant::now() < until {
            match tokio::time::timeout(PROGRESS, &mut turn).await {
                Ok(Ok(slot)) => return Ok(slot),
                Ok(Err(_)) => return Err(TransferRefusal::Stopped),
                Err(_) => self.progress(key).await,
            }
        }
        Err(TransferRefusal::Busy)
    }

    /// Where to with what a peer is about to bring; waits until that has been announced.
    pub(crate) async fn arriving(
        &self,
        peer: Name,
        key: TransferKey,
        size: u64,
    ) -> Result<Destination, TransferRefusal> {
        self.look(|answer| Command::Arriving {
            peer,
            key,
            size,
            answer,
        })
        .await
        .unwrap_or(Err(TransferRefusal::Stopped))
    }

    /// What is for another node begins to come, and may go on.
    pub(crate) async fn passes(
        &self,
        peer: Name,
        key: TransferKey,
        pipe: Pipe,
    ) -> Result<(), TransferRefusal> {
        self.look(|answer| Command::Passes {
            peer,
            key,
            pipe,
            answer,
        })
        .await
        .unwrap_or(Err(TransferRefusal::Stopped))
    }

    pub(crate) async fn fetched(&self, key: TransferKey, content: Option<Content>) {
        let _ = self.send(Command::Fetched { key, content }).await;
    }

    pub(crate) async fn progress(&self, key: TransferKey) {
        let _ = self.send(Command::Progress { key }).await;
    }

    pub(crate) async fn arrived(
        &self,
        peer: Name,
        key: TransferKey,
        content: Content,
    ) -> Result<(), TransferRefusal> {
        self.look(|answer| Command::Arrived {
            peer,
            key,
            content,
            answer,
        })
        .await
        .unwrap_or(Err(TransferRefusal::Stopped))
    }

    pub(crate) async fn offered(&self, peer: Name, key: TransferKey) -> Option<Outgoing> {
        self.look(|answer| Command::Offered { peer, key, answer })
            .await
            .flatten()
    }
}
