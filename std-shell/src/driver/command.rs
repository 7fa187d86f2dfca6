//! What the rest of the shell asks of the driver.

use super::contents::{Outgoing, Source};
use super::handle::{NewMessage, Settlement, Submitted};
use super::health::Health;
use super::info::{ConsumerInfo, MessageInfo, NodeStatus, PeerInfo, RouteInfo, ServiceInfo};
use super::letters::Requeuing;
use super::links::Line;
use super::many::Answering;
use super::pages::{Page, Wanted};
use super::producers::{Collectable, Whose};
use super::refusal::Refusal;
use super::seen::TracePage;
use super::transfers::Arriving;
use crate::Content;
use crate::config::{PeerPolicy, Souths};
use crate::link::frame::Received;
use crate::link::outbox::Outbox;
use crate::link::pipe::Pipe;
use crate::link::transfer::{Job, TransferKey, TransferRefusal};
use crate::metrics::Driven;
use crate::owner::{Owner, Who};
use redlink_core::{Answered, Cursor, GrantToken, LinkId, MessageId, Name, Rate, Tag, Verb};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

pub(super) type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// A message that a take brought, with its bytes still to be read perhaps.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) token: GrantToken,
    pub(super) source: Source,
    pub(super) send_only: bool,
    pub(super) priority: u8,
    pub(super) remaining: Option<Duration>,
    pub(super) lease: Duration,
}

/// What is known of an outcome when somebody asks.
#[derive(Debug)]
pub(super) enum OutcomeNow {
    /// It is on disk.
    Stored,
    /// It is kept in memory only.
    Kept(Settlement),
    /// It is not there yet; here it will come.
    Open {
        settled: oneshot::Receiver<Settlement>,
        /// With it there will be preserved data, which is only on disk.
        preserves: bool,
    },
}

/// A request that came through the bounded channel.
pub(super) enum Command {
    Submit {
        owner: Owner,
        new: NewMessage,
        requeue: Option<Requeuing>,
        answer: Answer<Submitted>,
        settled: Option<oneshot::Sender<Settlement>>,
    },
    SubmitMany {
        owner: Owner,
        news: Vec<(NewMessage, Answer<Submitted>)>,
    },
    Cancel {
        who: Who,
        sequence: u64,
        answer: Answer<oneshot::Receiver<Settlement>>,
    },
    Collect {
        who: Who,
        sequence: u64,
        answer: Answer<()>,
    },
    Outcome {
        who: Who,
        sequence: u64,
        answer: Answer<OutcomeNow>,
    },
    Message {
        who: Who,
        sequence: u64,
        answer: Answer<MessageInfo>,
    },
    Messages {
        who: Who,
        wanted: Wanted,
        /// At most so many.
        max: usize,
        from: Cursor,
        answer: oneshot::Sender<Page<MessageInfo>>,
    },
    Register {
        who: Who,
        service: String,
        consumer: String,
        limit: u16,
        lease: Duration,
        rate: Option<Rate>,
        answer: Answer<()>,
    },
    Unregister {
        who: Who,
        service: String,
        consumer: String,
        answer: Answer<()>,
    },
    Take {
        who: Who,
        tag: Tag,
        service: String,
        consumer: String,
        max: u16,
        waits: bool,
        answer: Answer<Vec<Handed>>,
    },
    Answer {
        token: GrantToken,
        verb: Verb,
        content: Option<Content>,
        answer: Answer<Answered>,
    },
    CollectMany {
        who: Who,
        sequences: Vec<(u64, Answer<()>)>,
    },
    /// What can be collected under a name.
    Settled {
        whose: Whose,
        /// At most so many.
        max: usize,
        answer: oneshot::Sender<Collectable>,
    },
    AnswerMany {
        answers: Vec<(Answering, Answer<Answered>)>,
    },
    Payload {
        token: GrantToken,
        answer: oneshot::Sender<Option<Source>>,
    },
    Services {
        from: Cursor,
        answer: oneshot::Sender<Page<ServiceInfo>>,
    },
    Routes {
        from: Cursor,
        answer: oneshot::Sender<Page<RouteInfo>>,
    },
    Consumers {
        answer: oneshot::Sender<Vec<ConsumerInfo>>,
    },
    Peers {
        from: Cursor,
        answer: oneshot::Sender<Page<PeerInfo>>,
    },
    /// Other policies for the peers that dial this node.
    Souths {
        souths: Souths,
        done: oneshot::Sender<()>,
    },
    /// The links with a peer of one direction end.
    Unlink {
        peer: Name,
        dialled: bool,
        reason: &'static str,
        done: oneshot::Sender<()>,
    },
    Trace {
        message: MessageId,
        from: u64,
        answer: oneshot::Sender<TracePage>,
    },
    /// The ways to peers that have a session.
    Lines {
        peers: Vec<Name>,
        answer: oneshot::Sender<BTreeMap<Name, Line>>,
    },
    Status {
        answer: oneshot::Sender<NodeStatus>,
    },
    Driven {
        answer: oneshot::Sender<Driven>,
    },
    Health {
        answer: oneshot::Sender<Health>,
    },
    Drain {
        over: oneshot::Sender<()>,
    },

    LinkUp(LinkUp),
    Frames {
        link: LinkId,
        frames: Vec<Received>,
        _permit: OwnedSemaphorePermit,
    },
    LinkDown {
        link: LinkId,
        reason: String,
    },
    Fetched {
        key: TransferKey,
        content: Option<Content>,
    },
    /// What went straight has come.
    Straight {
        key: TransferKey,
        content: Content,
    },
    /// What was brought straight is there.
    Brought {
        key: TransferKey,
    },
    /// What was to go straight can't.
    NotDirect {
        key: TransferKey,
    },
    Progress {
        key: TransferKey,
    },
    Arriving {
        peer: Name,
        key: TransferKey,
        size: u64,
        answer: Arriving,
    },
    Passes {
        peer: Name,
        key: TransferKey,
        pipe: Pipe,
        answer: oneshot::Sender<Result<(), TransferRefusal>>,
    },
    Arrived {
        peer: Name,
        key: TransferKey,
        content: Content,
        answer: oneshot::Sender<Result<(), TransferRefusal>>,
    },
    Offered {
        peer: Name,
        key: TransferKey,
        answer: oneshot::Sender<Option<Outgoing>>,
    },
}

/// A connection to a peer that is up.
pub(super) struct LinkUp {
    /// Its name, as its certificate proves.
    pub(super) peer: Name,
    /// Takes what is to be sent.
    pub(super) outbox: Outbox,
    /// What may pass over it; none if the peer dialled, whose policy the driver knows.
    pub(super) policy: Option<PeerPolicy>,
    /// Takes the large payloads that the dialling side has to move; none if the peer dialled.
    pub(super) jobs: Option<mpsc::UnboundedSender<Job>>,
    /// The link's number comes here.
    pub(super) answer: Answer<LinkId>,
}

/// What must reach the driver even if the channel for commands is full: it comes from a `Drop`, which can't wait. At
/// most one for each take and delivery that is alive.
#[derive(Debug)]
pub(super) enum Cleanup {
    /// Nobody waits for this take any more.
    TakeEnded(Tag),
    /// Nobody has seen this delivery.
    Release(GrantToken),
}
