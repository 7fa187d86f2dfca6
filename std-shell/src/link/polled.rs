//! The dialled side of links that are carried by polling.
//!
//! | request below `/v1/link/sessions` | what it does |
//! |---|---|
//! | `PUT /{id}` | opens a session; again: nothing. An older one of the same peer ends |
//! | `POST /{id}/frames?from=N` | brings bytes, the first at offset N; the answer's `Redlink-Received` says up to where all came |
//! | `POST /{id}/poll?from=N&max=M&wait=T` | has all before N; gets up to M bytes from there, once there are any, or 204 after T |
//! | `DELETE /{id}` | ends it |
//!
//! The dialling side makes the id, so that an opening whose answer was lost can be repeated; it counts for the peer
//! that made it only. Whatever is amiss with a session is 410: it is over, and the dialling side opens another, which
//! resynchronises as every session does. A session of which nothing is heard ends after [`EXPIRES`], and one whose peer
//! was put out of the mesh at once. Who makes these requests has checked for each of them what the peer's certificate is
//! worth at that moment.

use super::REVOKED;
use super::how::{How, Mode};
use super::outbox::{Outbox, outbox};
use super::pieces::{Incoming, Lost, Outgoing, PIECE_MAX, incoming};
use super::session::Session;
use super::shown::{Chain, Shown};
use crate::driver::{Handle, Refusal};
use crate::trust::Identity;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use redlink_core::Name;
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as Turns, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// Longest that a poll is kept waiting.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(20);

/// A session without a request for this long is over. Between two polls there is a new connection at the worst.
pub(super) const EXPIRES: Duration = Duration::from_secs(30);

/// Time that a request's body has to come.
const BODY: Duration = Duration::from_secs(20);

/// Header of an answer: up to where all has come.
pub(super) const RECEIVED: &str = "redlink-received";

/// Lengths of a session's id, in characters of base64url.
const ID: std::ops::RangeInclusive<usize> = 16..=64;

/// Whose request it is.
pub struct Asking {
    /// The name that the chain proves.
    pub name: Name,
    /// What was shown when the request's connection was made, and is worth something still.
    pub chain: Chain,
}

/// The sessions of all peers that poll, one each.
#[derive(Clone, Default)]
pub struct Polled {
    sessions: Arc<Mutex<HashMap<Name, Arc<Polling>>>>,
    /// One opening at a time, so that one that was repeated meanwhile finds the other's session.
    opening: Arc<Turns<()>>,
}

struct Polling {
    id: String,
    outbox: Outbox,
    outgoing: Turns<Outgoing>,
    incoming: Turns<Incoming>,
    /// One request of each kind at a time: a newer one sends the older away, whose connection may be dead.
    polls: Newest,
    sends: Newest,
    presence: Mutex<Presence>,
    shown: Shown,
}

struct Presence {
    requests: usize,
    last: Instant,
}

#[derive(Default)]
struct Newest(Mutex<Option<oneshot::Sender<()>>>);

impl Newest {
    /// Resolves when a newer one comes.
    fn begin(&self) -> oneshot::Receiver<()> {
        let (replaced, receiver) = oneshot::channel();
        *unpoisoned(&self.0) = Some(replaced);
        receiver
    }
}

/// Counts as a sign of life while it is alive.
struct Visit<'p>(&'p Polling);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut presence = unpoisoned(&self.0.presence);
        presence.requests -= 1;
        presence.last = Instant::now();
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics with one of these locks held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Polling {
    fn visit(&self) -> Visit<'_> {
        unpoisoned(&self.presence).requests += 1;
        Visit(self)
    }

    /// Waits until nothing was heard for too long.
    async fn silence(&self) {
        loop {
            let until = {
                let presence = unpoisoned(&self.presence);
                let since = match presence.requests {
                    0 => presence.last,
                    _ => Instant::now(),
                };
                since + EXPIRES
            };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl Polled {
    fn find(&self, peer: &Asking, id: &str) -> Option<Arc<Polling>> {
        let sessions = unpoisoned(&self.sessions);
        let found = sessions.get(&peer.name).filter(|found| found.id == id)?;
        found.shown.show(&peer.chain);
        Some(found.clone())
    }

    fn forget(&self, peer: &Name, id: &str) {
        let mut sessions = unpoisoned(&self.sessions);
        if sessions.get(peer).is_some_and(|found| found.id == id) {
            sessions.remove(peer);
        }
    }

    /// Opens a session of a peer under the id that it made.
    ///
    /// # Errors
    /// The node has no room for another peer ([`Refusal::Full`]), or is stopping.
    pub async fn open(
        &self,
        handle: &Handle,
        identity: &Arc<Identity>,
        peer: &Asking,
        id: &str,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !ID.contains(&id.len()) || !id.bytes().all(plain) {
            return Ok(text(
                StatusCode::BAD_REQUEST,
                "a session's id is 16 to 64 characters of base64url",
            ));
        }
        let _turn = self.opening.lock().await;
        if self.find(peer, id).is_some() {
            return Ok(text(StatusCode::NO_CONTENT, ""));
        }
        let (outbox, stream) = outbox(handle.store().clone(), How::taken_in(Mode::Poll));
        let session = Session::open(handle, peer.name.clone(), outbox.clone(), None).await?;
        let (into, pieces) = incoming();
        let polling = Arc::new(Polling {
            id: id.to_owned(),
            outbox,
            outgoing: Turns::new(Outgoing::new(stream)),
            incoming: Turns::new(into),
            polls: Newest::default(),
            sends: Newest::default(),
            presence: Mutex::new(Presence {
                requests: 0,
                last: Instant::now(),
            }),
            shown: Shown::new(peer.chain.clone()),
        });
        let older = unpoisoned(&self.sessions).insert(peer.name.clone(), polling.clone());
        if let Some(older) = older {
            older.outbox.close("the peer opened a newer one");
        }
        let (sessions, identity, peer) = (self.clone(), identity.clone(), peer.name.clone());
        tokio::spawn(async move {
            let end = async {
                tokio::select! {
                    () = polling.shown.until_revoked(&identity) => {
                        tracing::warn!(%peer, "the link is closed: {REVOKED}");
                        Arc::from(REVOKED)
                    }
                    () = polling.silence() => {
                        Arc::from(format!("nothing was heard for {} s", EXPIRES.as_secs()))
                    }
                }
            };
            session.run(pieces, end).await;
            sessions.forget(&peer, &polling.id);
        });
        Ok(text(StatusCode::NO_CONTENT, ""))
    }

    /// Takes in bytes of a session, the first of them at the offset `from`.
    pub async fn take<B>(&self, peer: &Asking, id: &str, from: u64, body: B) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Some(polling) = self.find(peer, id) else {
            return gone("no such session");
        };
        let _visit = polling.visit();
        let replaced = polling.sends.begin();
        let take = async {
            let bytes = match timeout(BODY, Limited::new(body, PIECE_MAX).collect()).await {
                Ok(Ok(all)) => all.to_bytes(),
                Ok(Err(error)) => {
                    let status = match error.is::<http_body_util::LengthLimitError>() {
                        true => StatusCode::PAYLOAD_TOO_LARGE,
                        false => StatusCode::BAD_REQUEST,
                    };
                    return text(status, &format!("the bytes did not all come: {error}"));
                }
                Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the bytes did not come in time"),
            };
            let mut incoming = polling.incoming.lock().await;
            match incoming.take(from, bytes).await {
                Ok(true) => {
                    let mut response = text(StatusCode::NO_CONTENT, "");
                    let received = HeaderValue::from(incoming.received());
                    response.headers_mut().insert(RECEIVED, received);
                    response
                }
                Ok(false) => gone("the session is over"),
                Err(Lost) => lost(&polling),
            }
        };
        tokio::select! {
            response = take => response,
            _ = replaced => text(StatusCode::CONFLICT, "a newer request of this session has come"),
        }
    }

    /// The peer has all before `from`; gives it what comes next, at most `most` bytes, once there are any.
    pub async fn poll(
        &self,
        peer: &Asking,
        id: &str,
        from: u64,
        most: usize,
        wait: Duration,
    ) -> Response<Full<Bytes>> {
        let Some(polling) = self.find(peer, id) else {
            return gone("no such session");
        };
        let _visit = polling.visit();
        let replaced = polling.polls.begin();
        let next = async {
            let mut outgoing = polling.outgoing.lock().await;
            if outgoing.acknowledge(from).is_err() {
                return lost(&polling);
            }
            let piece = outgoing.piece(most.clamp(1, PIECE_MAX));
            match timeout(wait.min(WAIT_MAX), piece).await {
                Err(_) => text(StatusCode::NO_CONTENT, ""),
                Ok(Some(bytes)) => Response::new(Full::new(bytes)),
                Ok(None) => gone(&polling.outbox.closed().await),
            }
        };
        tokio::select! {
            response = next => response,
            _ = replaced => text(StatusCode::CONFLICT, "a newer request of this session has come"),
        }
    }

    /// Ends a session, if there is one.
    pub fn close(&self, peer: &Asking, id: &str) -> Response<Full<Bytes>> {
        if let Some(polling) = self.find(peer, id) {
            polling.outbox.close("the peer closed it");
        }
        text(StatusCode::NO_CONTENT, "")
    }
}

fn lost(polling: &Polling) -> Response<Full<Bytes>> {
    let why = Lost.to_string();
    polling.outbox.close(&why);
    gone(&why)
}

fn gone(why: &str) -> Response<Full<Bytes>> {
    text(StatusCode::GONE, why)
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    response
}
