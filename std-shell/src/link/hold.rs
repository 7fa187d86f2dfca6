//! One link to a north, from the connection to the end, either way that it can travel.

use super::choice::{Choice, Fate};
use super::connect::{ConnectError, Connection, Target, Version, connect, random};
use super::dial::Dialler;
use super::how::{How, Mode};
use super::mover;
use super::outbox::{OutStream, Outbox, outbox};
use super::pieces::{Outgoing, incoming};
use super::poll::{self, Line};
use super::probe::probe;
use super::revocations::Way;
use super::session::{Over, Session};
use super::shown::Shown;
use super::transfer::Job;
use super::{PATH, REVOKED, revocations};
use crate::driver::{Handle, Refusal};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use redlink_core::Name;
use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Why a link ended that the north never said anything on.
const SILENT: &str = "the north's hello did not come";

/// Why a link ended that polled without need.
const PROBED: &str = "streams pass again";

/// Why a link could not be, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("this node has no room for the peer `{peer}`: {refusal}")]
    Here { peer: Name, refusal: Refusal },
    #[error("no session can be opened: {0}")]
    Polling(poll::Failed),
    #[error("{0}")]
    After(Arc<str>),
    #[error("{url} is the node `{found}`, and the settings call it `{expected}`; correct one of the two")]
    OtherName {
        url: String,
        expected: String,
        found: String,
    },
}

/// Dials and holds one link; `up` becomes the moment when it came up.
pub(super) async fn hold(
    handle: &Handle,
    dialler: &Dialler,
    choice: &mut Choice,
    up: &mut Option<Instant>,
) -> (Ended, Fate) {
    let result = match choice.mode() {
        Mode::Stream => stream(handle, dialler, up).await,
        Mode::Poll => polling(handle, dialler, choice, up).await,
    };
    match result {
        Ok(over) => {
            let held = up.map_or(Duration::ZERO, |since| since.elapsed());
            let fate = match &*over.why {
                SILENT => Fate::Blocked,
                PROBED => Fate::Probed,
                _ if over.broken => Fate::Cut(held),
                _ => Fate::Ended(held),
            };
            (Ended::After(over.why), fate)
        }
        Err(failed) => failed,
    }
}

/// What an error while the connection was made says of the way.
fn fate(error: &ConnectError) -> Fate {
    match error {
        ConnectError::NoStream { .. } => Fate::Blocked,
        ConnectError::TimeOut { .. } => Fate::Strange,
        // That is TLS itself: the nodes do not trust each other.
        ConnectError::Tls { source, .. } if source.kind() == io::ErrorKind::InvalidData => Fate::None,
        ConnectError::Tls { .. } => Fate::Strange,
        ConnectError::Http { source, .. } if is_of_tls(source) => Fate::None,
        ConnectError::Http { .. } => Fate::Strange,
        _ => Fate::None,
    }
}

/// Whether TLS is why a request failed: a node's certificate is refused only when it is used.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(io) = current.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::InvalidData
        {
            return true;
        }
        next = current.source();
    }
    false
}

fn how(target: &Target, mode: Mode) -> How {
    How {
        mode,
        proxy: target.proxy.as_ref().map(|proxy| Arc::from(proxy.to_string())),
    }
}

fn stopped() -> Over {
    Over {
        why: Arc::from("this node stopped"),
        broken: false,
    }
}

fn other_name(
    dialler: &Dialler,
    expected: &(impl ToString + ?Sized),
    found: &(impl ToString + ?Sized),
) -> Ended {
    Ended::OtherName {
        url: dialler.target.url.to_string(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

fn put_out(peer: &Name) -> Arc<str> {
    tracing::warn!(%peer, "the link is closed: {REVOKED}");
    Arc::from(REVOKED)
}

async fn open(
    handle: &Handle,
    dialler: &Dialler,
    peer: Name,
    outbox: Outbox,
) -> Result<(Session, mpsc::UnboundedReceiver<Job>), (Ended, Fate)> {
    let (jobs, queue) = mpsc::unbounded_channel();
    let dialled = Some((jobs, dialler.policy.clone()));
    match Session::open(handle, peer.clone(), outbox, dialled).await {
        Ok(session) => Ok((session, queue)),
        Err(refusal) => Err((Ended::Here { peer, refusal }, Fate::None)),
    }
}

async fn stream(handle: &Handle, dialler: &Dialler, up: &mut Option<Instant>) -> Result<Over, (Ended, Fate)> {
    let target = &dialler.target;
    let failed = |error: ConnectError| {
        let fate = fate(&error);
        (error.into(), fate)
    };
    let mut connection = connect::<OutStream>(target).await.map_err(failed)?;
    if let Some(expected) = dialler.name.as_ref().filter(|name| **name != connection.peer) {
        return Err((other_name(dialler, expected, &connection.peer), Fate::None));
    }
    dialler.dialling.met(&connection.peer);
    let (outbox, stream) = outbox(handle.store().clone(), how(target, Mode::Stream));
    let incoming = request(target, &mut connection, stream).await?;
    let (session, jobs) = open(handle, dialler, connection.peer.clone(), outbox).await?;
    *up = Some(Instant::now());
    dialler.dialling.linked();
    // Ends with the link: the driver knows that what it had under way went with it.
    let moving = mover::run(handle.clone(), target.clone(), connection.peer.clone(), jobs);
    let heard = Arc::new(AtomicBool::new(false));
    let outbox = session.outbox().clone();
    let hello = async {
        sleep(target.times.answer).await;
        if !heard.load(Ordering::Relaxed) {
            outbox.close(SILENT);
        }
        pending::<Infallible>().await
    };
    let incoming = Heard {
        body: incoming,
        heard: heard.clone(),
    };
    let following = revocations::follow(target, Way::Link(handle.clone(), connection.sender.clone()));
    let revoked = async {
        target.identity.until_revoked(&connection.certificates).await;
        put_out(&connection.peer)
    };
    Ok(tokio::select! {
        over = session.run(incoming, revoked) => over,
        () = moving => stopped(),
        never = following => match never {},
        never = hello => match never {},
    })
}

/// Makes the request that holds the link, and gives the answer's body.
async fn request(
    target: &Target,
    connection: &mut Connection<OutStream>,
    stream: OutStream,
) -> Result<Incoming, (Ended, Fate)> {
    let host = || target.host.clone();
    let request = target.at(PATH).and_then(|uri| {
        Request::post(uri)
            .header(http::header::CONTENT_TYPE, "application/octet-stream")
            .body(stream)
    });
    let request = request.map_err(|_| {
        let why = "no request can be made for it";
        let url = target.url.to_string();
        (ConnectError::Url { url, why }.into(), Fate::None)
    })?;
    let answer = target.times.answer;
    let response = timeout(answer, connection.sender.send_request(request))
        .await
        // The connection is there, and the north answers at once if it has the request.
        .map_err(|_| (ConnectError::TimeOut { host: host() }.into(), Fate::Blocked))?
        .map_err(|source| {
            let error = ConnectError::Http { host: host(), source };
            let fate = match fate(&error) {
                Fate::Strange => Fate::Cut(Duration::ZERO),
                other => other,
            };
            (error.into(), fate)
        })?;
    if response.status() == StatusCode::OK {
        return Ok(response.into_body());
    }
    let status = response.status();
    let text = timeout(answer, Limited::new(response.into_body(), 1_024).collect()).await;
    let bytes = text
        .ok()
        .and_then(Result::ok)
        .map_or_else(Bytes::new, |all| all.to_bytes());
    let text = String::from_utf8_lossy(&bytes)
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let host = host();
    Err((ConnectError::Refused { host, status, text }.into(), Fate::None))
}

/// A body that remembers whether anything came.
struct Heard {
    body: Incoming,
    heard: Arc<AtomicBool>,
}

impl Body for Heard {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(_))) = polled {
            self.heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

async fn polling(
    handle: &Handle,
    dialler: &Dialler,
    choice: &mut Choice,
    up: &mut Option<Instant>,
) -> Result<Over, (Ended, Fate)> {
    let target = Target {
        version: Version::One,
        ..dialler.target.clone()
    };
    let id = URL_SAFE_NO_PAD.encode(random::<16>(&target.identity));
    let shown = Arc::new(Shown::new(Arc::default()));
    let mut sends = Line::new(&target, dialler.name.clone(), &shown);
    let peer = sends.open(&id).await.map_err(|failed| match failed {
        poll::Failed::Connect(ConnectError::OtherNode { expected, found, .. }) => {
            (other_name(dialler, &expected, &found), Fate::None)
        }
        poll::Failed::Connect(error) => {
            let fate = fate(&error);
            (error.into(), fate)
        }
        poll::Failed::Status { status, .. } if status == StatusCode::NOT_FOUND => {
            (Ended::Polling(failed), Fate::Unknown)
        }
        poll::Failed::Http(ref error) if !is_of_tls(error) => (Ended::Polling(failed), Fate::Strange),
        poll::Failed::Late => (Ended::Polling(failed), Fate::Strange),
        _ => (Ended::Polling(failed), Fate::None),
    })?;
    dialler.dialling.met(&peer);
    let farewell = Farewell {
        target: target.clone(),
        peer: peer.clone(),
        shown: shown.clone(),
        id: id.clone(),
    };
    let mut polls = Line::new(&target, Some(peer.clone()), &shown);
    let (outbox, stream) = outbox(handle.store().clone(), how(&target, Mode::Poll));
    let (session, jobs) = open(handle, dialler, peer.clone(), outbox.clone()).await?;
    *up = Some(Instant::now());
    dialler.dialling.linked();
    let moving = mover::run(handle.clone(), target.clone(), peer.clone(), jobs);
    let following = revocations::follow(&target, Way::Own(None));
    let revoked = async {
        shown.until_revoked(&target.identity).await;
        put_out(&peer)
    };
    let mut outgoing = Outgoing::new(stream);
    let (mut into, pieces) = incoming();
    let lines = async {
        let mut sending = pin!(sends.bring(&id, &mut outgoing));
        let mut polling = pin!(polls.fetch(&id, &mut into));
        let failed = tokio::select! {
            failed = sending.as_mut() => failed,
            failed = polling.as_mut() => failed,
        };
        outbox.close(&failed.to_string());
        pending::<Infallible>().await
    };
    let probing = async {
        while let Some(after) = choice.probe_after() {
            // Nodes that began together should not look together.
            let random = u32::from_le_bytes(random(&target.identity));
            sleep(after.mul_f64(0.75 + 0.5 * f64::from(random) / f64::from(u32::MAX))).await;
            match probe(&target).await {
                Ok(()) => {
                    outbox.close(PROBED);
                    break;
                }
                Err(error) => {
                    tracing::debug!(north = %target.url, %error, "streams do not pass yet");
                    choice.probe_failed();
                }
            }
        }
        pending::<Infallible>().await
    };
    let over = tokio::select! {
        over = session.run(pieces, revoked) => over,
        () = moving => stopped(),
        never = following => match never {},
        never = lines => match never {},
        never = probing => match never {},
    };
    drop(farewell);
    Ok(over)
}

/// Tells the north that a session is over, whatever ended it here; else it finds that out after half a minute.
struct Farewell {
    target: Target,
    peer: Name,
    shown: Arc<Shown>,
    id: String,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut line = Line::new(&self.target, Some(self.peer.clone()), &self.shown);
        let id = std::mem::take(&mut self.id);
        runtime.spawn(async move { line.close(&id).await });
    }
}
