//! The dialling side of transfers: brings and gets large payloads on connections of their own.

use super::connect::{ConnectError, Connection, Target, causes, connect};
use super::pass::{Short, feed};
use super::pipe::{Broke, Inflow, Limits, Pipe, Refill};
use super::transfer::{Job, Outflow, Receiving, TransferKey, head, longest, put_head, receive};
use crate::Content;
use crate::driver::{Direction, Handle, Outgoing};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use hyper::body::{Body, Incoming};
use redlink_core::Name;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Transfers of one link that go at once, in each direction. More would share the same wire, and hold more memory. The
/// directions don't wait for each other: what passes here to the north may wait for room there, and what passes to the
/// south for room there, and so there is no circle.
const AT_ONCE: usize = 8;

/// Connections that are kept for the next transfer. Each transfer has one for itself, so that a slow one holds up none.
const IDLE: usize = 2;

/// Tries without any progress, each after twice the wait of the one before.
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// So many bytes are worth trying anew from the first wait.
const WORTH: u64 = 1 << 20;

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", causes(.0))]
    Http(#[from] hyper::Error),
    #[error("no request can be made: {0}")]
    Request(#[from] http::Error),
    #[error("the peer answered {0}")]
    Status(StatusCode),
    #[error("the peer did not answer in time")]
    Late,
    #[error("{0}")]
    Cut(#[from] super::transfer::TransferRefusal),
    #[error(transparent)]
    Short(#[from] Short),
    #[error(transparent)]
    Broke(#[from] Broke),
    #[error("the store could not read the payload: {0}")]
    Store(#[from] crate::store::ReadError),
}

impl Failed {
    /// Whether another try could end otherwise.
    fn is_passing(&self) -> bool {
        match self {
            // A PUT may be refused as unknown for a moment only if the peer's session is new; a GET of something
            // unknown stays so.
            Self::Status(status) => status.is_server_error(),
            Self::Request(_) => false,
            Self::Cut(refusal) => *refusal != super::transfer::TransferRefusal::TooLarge,
            Self::Short(Short::Pipe(broke)) | Self::Broke(broke) => *broke == Broke::Again,
            Self::Short(Short::Cut) => true,
            Self::Connect(_) | Self::Http(_) | Self::Late | Self::Store(_) => true,
        }
    }
}

/// Counts tries, and says how long to wait before the next.
struct Tries {
    left: u32,
    wait: Duration,
    reached: u64,
}

impl Tries {
    fn new() -> Self {
        Self {
            left: TRIES,
            wait: FIRST_WAIT,
            reached: 0,
        }
    }

    /// After a failure, with so many bytes there: the wait before another try, if there is one.
    fn next(&mut self, reached: u64) -> Option<Duration> {
        if reached >= self.reached.saturating_add(WORTH) {
            *self = Self {
                reached,
                ..Self::new()
            };
        }
        self.left = self.left.checked_sub(1).filter(|left| *left > 0)?;
        let wait = self.wait;
        self.wait *= 2;
        Some(wait)
    }
}

/// Moves payloads between this node and another.
pub(super) struct Mover {
    handle: Handle,
    target: Target,
    /// With whom the transfers are; whoever it is that is there, if there is none.
    peer: Option<Name>,
    /// For pipes that want something once more.
    again: mpsc::UnboundedSender<Refill>,
    puts: Semaphore,
    gets: Semaphore,
    idle: Mutex<Vec<Connection<Outflow>>>,
    /// What is being brought, so that what is announced once more meanwhile is not brought twice.
    bringing: Mutex<HashSet<TransferKey>>,
}

/// Works off the jobs of one link until their sender is gone. Dropping the future drops what is under way.
pub(super) async fn run(handle: Handle, target: Target, peer: Name, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let (again, mut refills) = mpsc::unbounded_channel();
    let mover = Arc::new(Mover::new(handle, target, Some(peer), again));
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            job = jobs.recv() => {
                let Some(job) = job else { return };
                let mover = mover.clone();
                under_way.spawn(async move { mover.job(job).await });
            }
            Some(Refill { key, pipe }) = refills.recv() => {
                let mover = mover.clone();
                under_way.spawn(async move {
                    // Never closed.
                    let Ok(_turn) = mover.gets.acquire().await else { return };
                    mover.pass(key, pipe.size(), Some(pipe)).await;
                });
            }
            Some(_) = under_way.join_next() => {}
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics with the lock held, so a poisoned one is as good as any.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came of a payload that was to be brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Brought {
    Yes,
    No,
    /// It is being brought already.
    Already,
}

impl Mover {
    fn new(handle: Handle, target: Target, peer: Option<Name>, again: mpsc::UnboundedSender<Refill>) -> Self {
        Self {
            handle,
            target,
            peer,
            again,
            puts: Semaphore::new(AT_ONCE),
            gets: Semaphore::new(AT_ONCE),
            idle: Mutex::default(),
            bringing: Mutex::default(),
        }
    }

    /// For transfers with whichever node of the mesh is there. Nothing passes by it to other nodes.
    pub(super) fn to_anybody(handle: Handle, target: Target) -> Self {
        Self::new(handle, target, None, mpsc::unbounded_channel().0)
    }

    pub(super) fn host(&self) -> &str {
        &self.target.host
    }

    fn peer(&self) -> &str {
        self.peer.as_ref().map_or(self.host(), Name::as_str)
    }

    /// Makes a connection if none is kept.
    pub(super) async fn warm_up(&self) -> Result<(), ConnectError> {
        let connection = self.connection().await?;
        self.keep(connection);
        Ok(())
    }

    async fn job(&self, job: Job) {
        let turns = match &job {
            Job::Put { .. } => &self.puts,
            Job::Get { .. } => &self.gets,
        };
        // Never closed.
        let Ok(_turn) = turns.acquire().await else { return };
        match job {
            Job::Put {
                key,
                source: Outgoing::Pipe(pipe),
            } => drop(self.bring(key, Outgoing::Pipe(pipe)).await),
            Job::Put { key, source } => drop(self.bring_once(key, source).await),
            Job::Get { key, size, passes } if passes => self.pass(key, size, None).await,
            Job::Get { key, size, .. } => {
                let content = self.fetch(key, size).await;
                self.handle.fetched(key, content).await;
            }
        }
    }

    /// Brings it, if that is not under way.
    pub(super) async fn bring_once(&self, key: TransferKey, source: Outgoing) -> Brought {
        if !lock(&self.bringing).insert(key) {
            return Brought::Already;
        }
        let brought = self.bring(key, source).await;
        lock(&self.bringing).remove(&key);
        brought
    }

    async fn bring(&self, key: TransferKey, source: Outgoing) -> Brought {
        let mut tries = Tries::new();
        while let Err(error) = self.put(key, source.clone()).await {
            let wait = tries.next(0).filter(|_| error.is_passing());
            let Some(wait) = wait.filter(|_| !source.is_broken()) else {
                // The other side gives up waiting for it, and its core tries again in its own way.
                tracing::warn!(peer = self.peer(), message = %key.token.message, %error, "a payload could not be brought");
                if let Outgoing::Pipe(pipe) = source {
                    pipe.close();
                }
                return Brought::No;
            };
            tracing::debug!(peer = self.peer(), %error, "bringing a payload again");
            tokio::time::sleep(wait).await;
        }
        Brought::Yes
    }

    async fn put(&self, key: TransferKey, source: Outgoing) -> Result<(), Failed> {
        let (head, body) = match &source {
            Outgoing::Pipe(pipe) => (pipe.head().clone(), Outflow::Passing(pipe.reader(0, true)?)),
            Outgoing::Whole(source) => match source.clone().load(self.handle.store()).await? {
                Some(mut content) => {
                    let bytes = std::mem::take(&mut content.bytes);
                    (content, Outflow::whole(bytes))
                }
                // Gone from the store: the message has its outcome, and the frame about that is on its way.
                None => return Ok(()),
            },
        };
        let mut request = Request::put(self.target.at(&key.path())?);
        if let Some(headers) = request.headers_mut() {
            put_head(&head, headers);
        }
        let (response, connection) = self.send(request.body(body)?).await?;
        if !response.status().is_success() {
            return Err(Failed::Status(response.status()));
        }
        self.keep(connection);
        if let Outgoing::Pipe(pipe) = &source {
            pipe.arrived();
        }
        Ok(())
    }

    /// Gets it into memory; nothing if it can't be had.
    pub(super) async fn fetch(&self, key: TransferKey, size: u64) -> Option<Content> {
        let _room = match self.handle.incoming_room(size).await {
            Ok(room) => room,
            Err(error) => {
                tracing::warn!(peer = self.peer(), message = %key.token.message, size, %error, "a payload was not fetched");
                return None;
            }
        };
        let mut receiving = Receiving::new(size);
        let mut tries = Tries::new();
        loop {
            let error = match self.get(key, &mut receiving).await {
                Ok(head) => {
                    let bytes = receiving.bytes.freeze();
                    return Some(Content { bytes, ..head });
                }
                Err(error) => error,
            };
            let reached = receiving.bytes.len() as u64;
            let Some(wait) = tries.next(reached).filter(|_| error.is_passing()) else {
                tracing::warn!(peer = self.peer(), message = %key.token.message, %error, "a payload could not be fetched");
                return None;
            };
            tracing::debug!(peer = self.peer(), %error, "fetching the rest of a payload");
            tokio::time::sleep(wait).await;
        }
    }

    /// Gets what is missing; what is said of the payload once it is complete.
    async fn get(&self, key: TransferKey, receiving: &mut Receiving) -> Result<Content, Failed> {
        if receiving.is_complete() {
            // All came, but not the end of the answer; there is no rest to ask for.
            receiving.bytes.clear();
        }
        let have = receiving.bytes.len() as u64;
        let (response, whole, connection) = self.get_from(key, have).await?;
        if whole {
            receiving.bytes.clear();
        }
        let head = head(response.headers());
        receive(receiving, response.into_body(), &self.handle, key).await?;
        if !receiving.is_complete() {
            return Err(super::transfer::TransferRefusal::Cut.into());
        }
        self.keep(connection);
        Ok(head)
    }

    /// Gets a payload into a pipe: a new one, which the driver is told of when the first answer is there, or one whose
    /// reader has to begin again.
    async fn pass(&self, key: TransferKey, size: u64, mut pipe: Option<Pipe>) {
        let mut slot = match self.handle.slot(Direction::FromNorth, key).await {
            Ok(slot) => Some(slot),
            Err(error) => {
                tracing::warn!(peer = self.peer(), message = %key.token.message, size, %error, "a payload could not pass");
                return self.give_up(key, pipe).await;
            }
        };
        if let Some(pipe) = &pipe
            && let Some(slot) = slot.take()
        {
            pipe.refill(slot);
        }
        let mut tries = Tries::new();
        loop {
            let error = match self.pass_on(key, size, &mut pipe, &mut slot).await {
                Ok(()) => return,
                Err(error) => error,
            };
            let reached = pipe.as_ref().map_or(0, Pipe::reached);
            if matches!(error, Failed::Short(Short::Pipe(Broke::Again))) {
                // Not this side's failure, and as bounded as the tries of the reader.
                tries = Tries::new();
                tries.reached = reached;
                continue;
            }
            let Some(wait) = tries.next(reached).filter(|_| error.is_passing()) else {
                tracing::warn!(peer = self.peer(), message = %key.token.message, %error, "a payload could not pass");
                return self.give_up(key, pipe).await;
            };
            tracing::debug!(peer = self.peer(), %error, "getting the rest of a payload that passes");
            tokio::time::sleep(wait).await;
        }
    }

    async fn give_up(&self, key: TransferKey, pipe: Option<Pipe>) {
        match pipe {
            // The driver sees it.
            Some(pipe) => pipe.close(),
            None => self.handle.fetched(key, None).await,
        }
    }

    async fn pass_on(
        &self,
        key: TransferKey,
        size: u64,
        pipe: &mut Option<Pipe>,
        slot: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<(), Failed> {
        // Before the request: if the reader begins again meanwhile, what comes is of no use.
        let mut writer = pipe.as_ref().map(Pipe::writer).transpose()?;
        let from = writer.as_ref().map_or(0, |writer| writer.from());
        if from == size
            && let Some(writer) = writer
        {
            return Ok(writer.finish().await?);
        }
        let (response, whole, connection) = self.get_from(key, from).await?;
        let opened = match (&*pipe, slot.take()) {
            (Some(_), _) => None,
            (None, Some(slot)) => {
                let head = head(response.headers());
                let again = self.again.clone();
                let inflow = Inflow::Got { key, again };
                let opened = Pipe::new(size, head, Limits::of(size), inflow, slot);
                let peer = self.peer.clone().ok_or(Broke::Closed)?;
                self.handle.passes(peer, key, opened.clone()).await?;
                writer = Some(opened.writer()?);
                Some(opened)
            }
            (None, None) => return Err(Broke::Closed.into()),
        };
        if opened.is_some() {
            *pipe = opened;
        }
        let Some(writer) = writer else {
            return Err(Broke::Closed.into());
        };
        let skip = if whole { from } else { 0 };
        feed(writer, skip, response.into_body(), &self.handle, key).await?;
        self.keep(connection);
        Ok(())
    }

    /// Asks for a payload from an offset on; whether all of it comes, though a part was asked for.
    async fn get_from(
        &self,
        key: TransferKey,
        from: u64,
    ) -> Result<(Response<Incoming>, bool, Connection<Outflow>), Failed> {
        let mut request = Request::get(self.target.at(&key.path())?);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let request = request.body(Outflow::whole(Bytes::new()))?;
        let (response, connection) = self.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok((response, true, connection)),
            StatusCode::PARTIAL_CONTENT if from > 0 => Ok((response, false, connection)),
            status => Err(Failed::Status(status)),
        }
    }

    /// Sends a request on a connection of its own, which is to be kept until the answer's body is there.
    async fn send(
        &self,
        request: Request<Outflow>,
    ) -> Result<(Response<Incoming>, Connection<Outflow>), Failed> {
        let mut connection = self.connection().await?;
        let most = longest(request.body().size_hint().exact().unwrap_or_default());
        let response = timeout(most, connection.sender.send_request(request))
            .await
            .map_err(|_| Failed::Late)??;
        Ok((response, connection))
    }

    async fn connection(&self) -> Result<Connection<Outflow>, ConnectError> {
        {
            let mut idle = lock(&self.idle);
            while let Some(connection) = idle.pop() {
                if !connection.sender.is_closed() {
                    return Ok(connection);
                }
            }
        }
        let fresh = connect(&self.target).await?;
        // Behind one URL may be several nodes; the transfer is with this one.
        if let Some(peer) = self.peer.as_ref().filter(|peer| **peer != fresh.peer) {
            return Err(ConnectError::OtherNode {
                host: self.target.host.clone(),
                expected: peer.to_string(),
                found: fresh.peer.to_string(),
            });
        }
        Ok(fresh)
    }

    /// For the next transfer.
    fn keep(&self, connection: Connection<Outflow>) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE {
            idle.push(connection);
        }
    }
}
