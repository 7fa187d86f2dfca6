//! The dialling side of transfers: brings and gets large payloads on a connection of their own.

use super::connect::{ConnectError, Connection, Sender, Target, causes, connect};
use super::transfer::{Job, Receiving, TransferKey, content_type, receive};
use crate::Content;
use crate::driver::{Handle, Source};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use redlink_core::Name;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Transfers of one link that go at once. More would share the same wire, and hold more memory.
const AT_ONCE: usize = 4;

/// Tries, each after twice the wait of the one before.
const TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Longest that a peer may take to begin an answer, beside the time that a request's payload needs; so long that only a
/// dead transfer ends by it.
const ANSWER: Duration = Duration::from_secs(60);

/// Slowest that a payload may move, in bytes a millisecond.
const SLOWEST: u64 = 16;

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
            Self::Connect(_) | Self::Http(_) | Self::Late | Self::Store(_) => true,
        }
    }
}

struct Mover {
    handle: Handle,
    target: Target,
    peer: Name,
    connection: Mutex<Option<Connection<Full<Bytes>>>>,
}

/// Works off the jobs of one link until their sender is gone. Dropping the future drops what is under way.
pub(super) async fn run(handle: Handle, target: Target, peer: Name, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mover = Arc::new(Mover {
        handle,
        target,
        peer,
        connection: Mutex::new(None),
    });
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            job = jobs.recv(), if under_way.len() < AT_ONCE => {
                let Some(job) = job else { return };
                let mover = mover.clone();
                under_way.spawn(async move { mover.job(job).await });
            }
            Some(_) = under_way.join_next() => {}
        }
    }
}

impl Mover {
    async fn job(&self, job: Job) {
        match job {
            Job::Put { key, source } => self.bring(key, source).await,
            Job::Get { key, size } => {
                let content = self.fetch(key, size).await;
                self.handle.fetched(key, content).await;
            }
        }
    }

    async fn bring(&self, key: TransferKey, source: Source) {
        let mut wait = FIRST_WAIT;
        for left in (0..TRIES).rev() {
            match self.put(key, source.clone()).await {
                Ok(()) => return,
                Err(error) if left == 0 || !error.is_passing() => {
                    // The other side gives up waiting for it, and its core tries again in its own way.
                    tracing::warn!(peer = %self.peer, message = %key.token.message, %error, "a payload could not be brought");
                    return;
                }
                Err(error) => tracing::debug!(peer = %self.peer, %error, "bringing a payload again"),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    async fn put(&self, key: TransferKey, source: Source) -> Result<(), Failed> {
        // Gone from the store: the message has its outcome, and the frame about that is on its way.
        let Some(content) = source.load(self.handle.store()).await? else {
            return Ok(());
        };
        let mut request = Request::put(self.target.at(&key.path())?);
        if let Some(text) = &content.content_type {
            request = request.header(header::CONTENT_TYPE, &**text);
        }
        let response = self.send(request.body(Full::new(content.bytes))?).await?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(Failed::Status(response.status()))
        }
    }

    async fn fetch(&self, key: TransferKey, size: u64) -> Option<Content> {
        let _room = match self.handle.incoming_room(size).await {
            Ok(room) => room,
            Err(error) => {
                tracing::warn!(peer = %self.peer, message = %key.token.message, size, %error, "a payload was not fetched");
                return None;
            }
        };
        let mut receiving = Receiving::new(size);
        let mut wait = FIRST_WAIT;
        for left in (0..TRIES).rev() {
            match self.get(key, &mut receiving).await {
                Ok(content_type) => {
                    return Some(Content {
                        content_type,
                        bytes: receiving.bytes.freeze(),
                    });
                }
                Err(error) if left == 0 || !error.is_passing() => {
                    tracing::warn!(peer = %self.peer, message = %key.token.message, %error, "a payload could not be fetched");
                    return None;
                }
                Err(error) => tracing::debug!(peer = %self.peer, %error, "fetching the rest of a payload"),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        None
    }

    /// Gets what is missing; its content type once it is complete.
    async fn get(&self, key: TransferKey, receiving: &mut Receiving) -> Result<Option<Arc<str>>, Failed> {
        if receiving.is_complete() {
            // All came, but not the end of the answer; there is no rest to ask for.
            receiving.bytes.clear();
        }
        let have = receiving.bytes.len();
        let mut request = Request::get(self.target.at(&key.path())?);
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let response = self.send(request.body(Full::default())?).await?;
        match response.status() {
            // The whole, though a part was asked for.
            StatusCode::OK => receiving.bytes.clear(),
            StatusCode::PARTIAL_CONTENT if have > 0 => {}
            status => return Err(Failed::Status(status)),
        }
        let content_type = content_type(response.headers());
        receive(receiving, response.into_body(), &self.handle, key).await?;
        if receiving.is_complete() {
            Ok(content_type)
        } else {
            Err(super::transfer::TransferRefusal::Cut.into())
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failed> {
        let mut sender = self.sender().await?;
        let size = request.body().size_hint().exact().unwrap_or_default();
        let most = ANSWER + Duration::from_millis(size / SLOWEST);
        Ok(timeout(most, sender.send_request(request))
            .await
            .map_err(|_| Failed::Late)??)
    }

    async fn sender(&self) -> Result<Sender<Full<Bytes>>, ConnectError> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = connection.as_ref().filter(|open| !open.sender.is_closed()) {
            return Ok(open.sender.clone());
        }
        let fresh = connect(&self.target).await?;
        // Behind one URL may be several nodes; the transfer is with this one.
        if fresh.peer != self.peer {
            return Err(ConnectError::OtherNode {
                host: self.target.host.clone(),
                expected: self.peer.to_string(),
                found: fresh.peer.to_string(),
            });
        }
        let sender = fresh.sender.clone();
        *connection = Some(fresh);
        Ok(sender)
    }
}
