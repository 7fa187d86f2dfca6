//! The dialling side of links that are carried by polling; `polled` is the other side and has the table of requests.
//!
//! One request brings what this node has to say, another one waits for what the north has: each on an HTTP/1.1 connection
//! of its own that is made anew whenever it breaks. Of HTTP/2 nothing is needed, and much that minds long streams minds
//! it too. A request that failed is made again, with less in it, and asks for a shorter wait.

use super::backoff::Backoff;
use super::connect::{ConnectError, Connection, Target, causes, connect, random};
use super::pieces::{Incoming, Lost, Outgoing, PIECE_MAX};
use super::polled::{RECEIVED, WAIT_MAX};
use super::shown::Shown;
use crate::trust::Identity;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming as Answer;
use redlink_core::Name;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Path of the sessions.
const SESSIONS: &str = "/v1/link/sessions";

/// Least that a request is made small to, in bytes, and short to.
const PIECE_MIN: usize = 4 << 10;
const WAIT_MIN: Duration = Duration::from_secs(1);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", causes(.0))]
    Http(#[from] hyper::Error),
    #[error("no request can be made: {0}")]
    Request(#[from] http::Error),
    #[error("the north did not answer in time")]
    Late,
    /// The session is over; what the north said.
    #[error("{0}")]
    Gone(String),
    /// The north answered so.
    #[error("the north answered {status} {text}")]
    Status { status: StatusCode, text: String },
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("the answer makes no sense")]
    Nonsense,
}

impl Failed {
    /// Whether making the same request again may help.
    fn is_passing(&self) -> bool {
        match self {
            Self::Connect(ConnectError::OtherNode { .. }) => false,
            Self::Connect(_) | Self::Http(_) | Self::Late => true,
            Self::Status { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::BAD_REQUEST
                            | StatusCode::UNAUTHORIZED
                            | StatusCode::CONFLICT
                            | StatusCode::REQUEST_TIMEOUT
                    )
            }
            Self::Request(_) | Self::Gone(_) | Self::Lost(_) | Self::Nonsense => false,
        }
    }
}

/// Makes requests to one north, one at a time.
pub(super) struct Line {
    target: Target,
    peer: Option<Name>,
    shown: Arc<Shown>,
    connection: Option<Connection<Full<Bytes>>>,
}

impl Line {
    /// To the north that answers, or to this one and no other. What it shows goes to `shown`.
    pub(super) fn new(target: &Target, peer: Option<Name>, shown: &Arc<Shown>) -> Self {
        Self {
            target: target.clone(),
            peer,
            shown: shown.clone(),
            connection: None,
        }
    }

    async fn connection(&mut self) -> Result<&mut Connection<Full<Bytes>>, Failed> {
        // A connection may live longer than the certificate that it began with, and that is worth no more then.
        let identity = &self.target.identity;
        let good =
            |open: &Connection<_>| !open.sender.is_closed() && identity.peer_name(&open.certificates).is_ok();
        let open = self.connection.take().filter(good);
        let open = match open {
            Some(open) => open,
            None => connect(&self.target).await?,
        };
        let peer = self.peer.get_or_insert_with(|| open.peer.clone());
        if *peer != open.peer {
            return Err(ConnectError::OtherNode {
                host: self.target.host.clone(),
                expected: peer.to_string(),
                found: open.peer.to_string(),
            }
            .into());
        }
        self.shown.show(&open.certificates);
        Ok(self.connection.insert(open))
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Response<Answer>, Failed> {
        let request = Request::builder()
            .method(method)
            .uri(self.target.at(path)?)
            .header(http::header::CONTENT_TYPE, "application/octet-stream")
            .body(Full::new(body))?;
        let connection = self.connection().await?;
        let sent = timeout(patience, connection.sender.send_request(request)).await;
        let answered = match sent {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Failed::Late),
        };
        let response = answered.inspect_err(|_| self.connection = None)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status == StatusCode::UNAUTHORIZED {
            // The certificate that this connection began with has ended; the next one shows its successor.
            self.connection = None;
        }
        let body = timeout(patience, Limited::new(response.into_body(), 1_024).collect()).await;
        let bytes = body
            .ok()
            .and_then(Result::ok)
            .map_or_else(Bytes::new, |all| all.to_bytes());
        let text = String::from_utf8_lossy(&bytes);
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        match status {
            StatusCode::GONE => Err(Failed::Gone(text)),
            _ => Err(Failed::Status { status, text }),
        }
    }

    /// Opens a session, and says who the north is. Repeating it is harmless.
    pub(super) async fn open(&mut self, id: &str) -> Result<Name, Failed> {
        let patience = self.target.times.answer;
        self.request(Method::PUT, &format!("{SESSIONS}/{id}"), Bytes::new(), patience)
            .await?;
        self.peer.clone().ok_or(Failed::Nonsense)
    }

    /// Ends a session, if the north can be told.
    pub(super) async fn close(&mut self, id: &str) {
        let patience = self.target.times.answer;
        let path = format!("{SESSIONS}/{id}");
        let told = self.request(Method::DELETE, &path, Bytes::new(), patience).await;
        if let Err(error) = told {
            tracing::debug!(%error, "a north was not told that a session is over");
        }
    }

    /// Brings what comes out of the outbox, until the session is over; says why it is.
    pub(super) async fn bring(&mut self, id: &str, outgoing: &mut Outgoing) -> Failed {
        let mut most = PIECE_MAX;
        let mut again = Again::new(&self.target);
        loop {
            let Some(piece) = outgoing.piece(most).await else {
                return Failed::Gone("this node ended it".to_owned());
            };
            match self.send(id, outgoing.base(), piece).await {
                Ok(received) => {
                    if let Err(error) = outgoing.acknowledge(received) {
                        return error.into();
                    }
                    most = (most * 2).min(PIECE_MAX);
                    again.reset();
                }
                Err(error) if error.is_passing() => {
                    tracing::debug!(%error, most, "frames could not be brought; again");
                    most = (most / 2).max(PIECE_MIN);
                    if !again.wait().await {
                        return error;
                    }
                }
                Err(error) => return error,
            }
        }
    }

    async fn send(&mut self, id: &str, from: u64, piece: Bytes) -> Result<u64, Failed> {
        let path = format!("{SESSIONS}/{id}/frames?from={from}");
        // The north waits where its driver is behind.
        let patience = 2 * self.target.times.answer;
        let response = self.request(Method::POST, &path, piece, patience).await?;
        let received = response.headers().get(RECEIVED).and_then(|v| v.to_str().ok());
        received.and_then(|v| v.parse().ok()).ok_or(Failed::Nonsense)
    }

    /// Gets what the north has to say, until the session is over; says why it is.
    pub(super) async fn fetch(&mut self, id: &str, incoming: &mut Incoming) -> Failed {
        let (mut most, mut wait) = (PIECE_MAX, WAIT_MAX);
        let mut again = Again::new(&self.target);
        loop {
            let before = incoming.received();
            match self.get(id, most, wait, incoming).await {
                Ok(()) => {
                    most = (most * 2).min(PIECE_MAX);
                    wait = (wait + WAIT_MIN).min(WAIT_MAX);
                    again.reset();
                }
                Err(error) if error.is_passing() => {
                    tracing::debug!(%error, most, ?wait, "a poll failed; again");
                    self.connection = None;
                    if incoming.received() > before {
                        again.reset();
                    }
                    most = (most / 2).max(PIECE_MIN);
                    wait = (wait / 2).max(WAIT_MIN);
                    if !again.wait().await {
                        return error;
                    }
                }
                Err(error) => return error,
            }
        }
    }

    /// One poll. What came of an answer that is cut counts.
    async fn get(
        &mut self,
        id: &str,
        most: usize,
        wait: Duration,
        incoming: &mut Incoming,
    ) -> Result<(), Failed> {
        let from = incoming.received();
        let path = format!(
            "{SESSIONS}/{id}/poll?from={from}&max={most}&wait={}ms",
            wait.as_millis()
        );
        let patience = wait + self.target.times.answer;
        let response = self.request(Method::POST, &path, Bytes::new(), patience).await?;
        let mut body = response.into_body();
        let mut left = most;
        while let Some(frame) = timeout(self.target.times.answer, body.frame())
            .await
            .map_err(|_| Failed::Late)?
        {
            let Ok(bytes) = frame?.into_data() else { continue };
            left = left.checked_sub(bytes.len()).ok_or(Failed::Nonsense)?;
            if !incoming.take(incoming.received(), bytes).await? {
                return Err(Failed::Gone("this node ended it".to_owned()));
            }
        }
        Ok(())
    }
}

/// When to make a request again, and when to give up.
struct Again {
    give_up: Duration,
    since: Option<Instant>,
    backoff: Backoff,
    identity: Arc<Identity>,
}

impl Again {
    fn new(target: &Target) -> Self {
        Self {
            give_up: target.times.give_up,
            since: None,
            backoff: Backoff::new(),
            identity: target.identity.clone(),
        }
    }

    fn reset(&mut self) {
        self.since = None;
        self.backoff = Backoff::new();
    }

    /// At once the first time, then after longer and longer waits; false if nothing came through for too long.
    async fn wait(&mut self) -> bool {
        let Some(since) = self.since else {
            self.since = Some(Instant::now());
            return true;
        };
        if since.elapsed() >= self.give_up {
            return false;
        }
        let random = u64::from_le_bytes(random(&self.identity));
        let longest = self.give_up / 8;
        sleep(self.backoff.next(Duration::ZERO, random).min(longest)).await;
        true
    }
}
