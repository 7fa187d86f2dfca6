//! Payloads that are too large for a frame: what names a transfer, and the listening side of it.
//!
//! `PUT` and `GET /v1/link/payloads/{token}/{payload|reply}`: the token is the grant's, in unpadded base64url; the body is the
//! payload as it is, with its content type and its trace context. Both ends know the transfer from the frame that announced it, so only the
//! peer that the frame came from, or went to, can move it (P9, P12); one that goes straight (`direct`) may be moved by any
//! node of the mesh that shows the grant. A `GET` may ask for the rest from an offset. The body
//! of a `PUT` is not read before its frame is there, so what comes early waits at its sender.

use super::pass::{Short, feed};
use super::pipe::{Broke, Inflow, Limits, Pipe, Reader};
use crate::Content;
use crate::driver::{Destination, Direction, Handle, Outgoing};
use crate::trace_context::{TRACEPARENT, TRACESTATE, TraceContext};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use redlink_core::{GrantToken, Name, Part};
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A transfer that brings nothing for this long has failed.
pub(super) const STALL: Duration = Duration::from_secs(20);

/// How often the core hears that a transfer goes on. Shorter than any sensible lease.
pub(crate) const PROGRESS: Duration = Duration::from_secs(1);

/// Longest that a peer may take to begin an answer, beside the time that a request's payload needs; so long that only a
/// dead transfer ends by it.
pub(super) const ANSWER: Duration = Duration::from_secs(60);

/// Slowest that a payload may move, in bytes a millisecond.
const SLOWEST: u64 = 16;

/// Longest that a payload of this length in bytes may take from one node to the next.
pub(super) fn longest(size: u64) -> Duration {
    ANSWER + Duration::from_millis(size / SLOWEST)
}

/// Names one transfer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct TransferKey {
    /// The grant.
    pub token: GrantToken,
    /// Which half of it.
    pub part: Part,
}

impl TransferKey {
    /// Reads the two last segments of a transfer's path.
    pub fn parse(token: &str, part: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let bytes = <&[u8; GrantToken::BYTES]>::try_from(bytes.as_slice()).ok()?;
        let part = match part {
            "payload" => Part::Payload,
            "reply" => Part::Reply,
            _ => return None,
        };
        Some(Self {
            token: GrantToken::from_bytes(bytes),
            part,
        })
    }

    /// The path of the transfer.
    pub fn path(&self) -> String {
        let part = match self.part {
            Part::Payload => "payload",
            Part::Reply => "reply",
        };
        format!(
            "{}/payloads/{}/{part}",
            super::PATH,
            URL_SAFE_NO_PAD.encode(self.token.to_bytes())
        )
    }
}

/// What the dialling side has to move.
#[derive(Debug)]
pub(crate) enum Job {
    /// Bring it to the peer.
    Put {
        /// Which one.
        key: TransferKey,
        /// Where its bytes are.
        source: Outgoing,
    },
    /// Get it from the peer, and say so to the driver.
    Get {
        /// Which one.
        key: TransferKey,
        /// Its length in bytes.
        size: u64,
        /// It is not for this node, and goes on while it comes.
        passes: bool,
    },
}

/// Why a transfer can't be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransferRefusal {
    /// No frame announced it, or it is over.
    #[error("no such transfer between this node and you")]
    Unknown,
    /// It is longer than announced, or than this node takes.
    #[error("the payload is larger than announced or allowed")]
    TooLarge,
    /// It has no length, or stops before its end.
    #[error("the payload has no length, or was cut")]
    Cut,
    /// No memory for it at the moment.
    #[error("no room for the payload at the moment; try again")]
    Busy,
    /// What passes here is needed once more.
    #[error("the payload passes here to a node that has lost some of it; bring it again")]
    Again,
    /// The store can't read it at the moment.
    #[error("the store can't read the payload at the moment; try again")]
    Store,
    /// The node is gone.
    #[error("the node has stopped")]
    Stopped,
}

impl TransferRefusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Cut => StatusCode::BAD_REQUEST,
            Self::Busy | Self::Again | Self::Store | Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Answers a request under `/v1/link/payloads/`. `token` and `part` are its path's last segments; the caller has checked the
/// client certificate, and `peer` is the name that it proves.
pub async fn payload<B>(
    handle: &Handle,
    peer: &Name,
    token: &str,
    part: &str,
    request: Request<B>,
) -> Response<Outflow>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let Some(key) = TransferKey::parse(token, part) else {
        return refused(TransferRefusal::Unknown);
    };
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::PUT => match put(handle, peer, key, &parts.headers, body).await {
            Ok(()) => empty(StatusCode::NO_CONTENT),
            Err(refusal) => refused(refusal),
        },
        Method::GET => match get(handle, peer, key, &parts.headers).await {
            Ok(response) => response,
            Err(refusal) => refused(refusal),
        },
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    }
}

async fn put<B>(
    handle: &Handle,
    peer: &Name,
    key: TransferKey,
    headers: &HeaderMap,
    body: B,
) -> Result<(), TransferRefusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let size = body.size_hint().exact().ok_or(TransferRefusal::Cut)?;
    match handle.arriving(peer.clone(), key, size).await? {
        Destination::Memory => {
            let _room = handle.incoming_room(size).await?;
            let mut receiving = Receiving::new(size);
            receive(&mut receiving, body, handle, key).await?;
            if !receiving.is_complete() {
                return Err(TransferRefusal::Cut);
            }
            let mut content = head(headers);
            content.bytes = receiving.bytes.freeze();
            handle.arrived(peer.clone(), key, content).await
        }
        Destination::New => {
            let slot = handle.slot(Direction::FromSouth, key).await?;
            let pipe = Pipe::new(size, head(headers), Limits::of(size), Inflow::Brought, slot);
            handle.passes(peer.clone(), key, pipe.clone()).await?;
            fill(&pipe, body, handle, key).await
        }
        Destination::Pipe(pipe) => fill(&pipe, body, handle, key).await,
        Destination::Nothing => Ok(()),
    }
}

/// A peer brings what passes here, from its start.
async fn fill<B>(pipe: &Pipe, body: B, handle: &Handle, key: TransferKey) -> Result<(), TransferRefusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let refusal = |broke| match broke {
        Broke::Again => TransferRefusal::Again,
        Broke::TooLong => TransferRefusal::TooLarge,
        Broke::Stalled | Broke::Closed => TransferRefusal::Unknown,
    };
    let writer = pipe.writer().map_err(refusal)?;
    let skip = writer.from();
    feed(writer, skip, body, handle, key)
        .await
        .map_err(|short| match short {
            Short::Pipe(broke) => refusal(broke),
            Short::Cut => TransferRefusal::Cut,
        })
}

async fn get(
    handle: &Handle,
    peer: &Name,
    key: TransferKey,
    headers: &HeaderMap,
) -> Result<Response<Outflow>, TransferRefusal> {
    let outgoing = handle
        .offered(peer.clone(), key)
        .await
        .ok_or(TransferRefusal::Unknown)?;
    let from = offset(headers).unwrap_or(0);
    match outgoing {
        Outgoing::Pipe(pipe) => {
            let size = pipe.size();
            let open = |from| pipe.reader(from, false).map(Outflow::Passing);
            part(from, size, pipe.head(), open).map_err(|_| TransferRefusal::Unknown)
        }
        Outgoing::Whole(source) => match source.load(handle.store()).await {
            Ok(Some(content)) => {
                let size = content.bytes.len() as u64;
                // It was found to be less than the length, which is a usize.
                let open = |from| Ok(Outflow::whole(content.bytes.slice(from as usize..)));
                part(from, size, &content, open)
            }
            Ok(None) => Err(TransferRefusal::Unknown),
            Err(error) => {
                tracing::warn!(%error, "a payload could not be read for a transfer");
                Err(TransferRefusal::Store)
            }
        },
    }
}

/// A payload's bytes on their way out.
#[derive(Debug)]
pub enum Outflow {
    /// All that is to be sent is here.
    Whole(Full<Bytes>),
    /// It comes as it goes.
    Passing(Reader),
}

impl Outflow {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Body for Outflow {
    type Data = Bytes;
    type Error = Broke;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        match &mut *self {
            Self::Whole(bytes) => Pin::new(bytes)
                .poll_frame(context)
                .map_err(|never| match never {}),
            Self::Passing(reader) => Pin::new(reader).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_end_stream(),
            Self::Passing(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => bytes.size_hint(),
            Self::Passing(reader) => reader.size_hint(),
        }
    }
}

/// Bytes as they come in, never more than were announced.
pub(super) struct Receiving {
    pub(super) bytes: BytesMut,
    size: u64,
}

impl Receiving {
    /// The caller has room for `size` bytes. They are taken at once, so that none is copied because more come; the
    /// system gives the memory as it is written to.
    pub(super) fn new(size: u64) -> Self {
        Self {
            bytes: BytesMut::with_capacity(usize::try_from(size).unwrap_or(0)),
            size,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.bytes.len() as u64 == self.size
    }
}

/// Reads a body to its end. What came stays in `receiving` also after an error, so that a `GET` can go on from there.
pub(super) async fn receive<B>(
    receiving: &mut Receiving,
    mut body: B,
    handle: &Handle,
    key: TransferKey,
) -> Result<(), TransferRefusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let mut told = Instant::now();
    while let Some(piece) = timeout(STALL, body.frame())
        .await
        .map_err(|_| TransferRefusal::Cut)?
    {
        let piece = piece.map_err(|_| TransferRefusal::Cut)?;
        let Ok(bytes) = piece.into_data() else { continue };
        if (receiving.bytes.len() + bytes.len()) as u64 > receiving.size {
            return Err(TransferRefusal::TooLarge);
        }
        receiving.bytes.extend_from_slice(&bytes);
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            handle.progress(key).await;
        }
    }
    Ok(())
}

/// What a transfer's headers say of its payload: a content without its bytes.
pub(super) fn head(headers: &HeaderMap) -> Content {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Content {
        content_type: text(header::CONTENT_TYPE.as_str()).map(Arc::from),
        trace_context: text(TRACEPARENT).and_then(|parent| TraceContext::read(parent, text(TRACESTATE))),
        ..Content::default()
    }
}

/// The headers that [`head`] reads. What no header may hold is left out.
pub(super) fn put_head(of: &Content, headers: &mut HeaderMap) {
    let context = of.trace_context.as_deref();
    for (name, text) in [
        (header::CONTENT_TYPE, of.content_type.as_deref()),
        (
            HeaderName::from_static(TRACEPARENT),
            context.map(TraceContext::parent),
        ),
        (
            HeaderName::from_static(TRACESTATE),
            context.and_then(TraceContext::state),
        ),
    ] {
        let value = text.and_then(|text| HeaderValue::from_str(text).ok());
        headers.extend(value.map(|value| (name, value)));
    }
}

/// The answer with a payload of `size` bytes, or with the rest of it from the offset that was asked for.
fn part<E>(
    from: u64,
    size: u64,
    head: &Content,
    open: impl FnOnce(u64) -> Result<Outflow, E>,
) -> Result<Response<Outflow>, E> {
    if from > 0 && from >= size {
        return Ok(empty(StatusCode::RANGE_NOT_SATISFIABLE));
    }
    let mut response = Response::new(open(from)?);
    if from > 0 {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {from}-{}/{size}", size - 1);
        if let Ok(range) = HeaderValue::from_str(&range) {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
    }
    put_head(head, response.headers_mut());
    Ok(response)
}

/// `Range: bytes=N-`. Any other range is ignored, as HTTP allows: the answer is the whole.
fn offset(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn refused(refusal: TransferRefusal) -> Response<Outflow> {
    let mut response = Response::new(Outflow::whole(refusal.to_string().into()));
    *response.status_mut() = refusal.status();
    response
}

fn empty(status: StatusCode) -> Response<Outflow> {
    let mut response = Response::new(Outflow::whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use redlink_core::{ConsumerKey, Fence, MessageId, NodeId};

    fn key() -> TransferKey {
        let token = GrantToken {
            message: MessageId {
                node: NodeId(1),
                sequence: 2,
            },
            inserted: 3,
            fence: Fence { boot: 4, attempt: 5 },
            node: NodeId(6),
            consumer: ConsumerKey(7),
            mac: [0xff; 16],
        };
        TransferKey {
            token,
            part: Part::Reply,
        }
    }

    #[test]
    fn a_path_reads_back() {
        let path = key().path();
        let tail = path.strip_prefix("/v1/link/payloads/").unwrap();
        let (token, part) = tail.split_once('/').unwrap();
        assert_eq!(TransferKey::parse(token, part), Some(key()));
        assert_eq!(TransferKey::parse(token, "other"), None);
        assert_eq!(TransferKey::parse(&token[1..], part), None);
        assert_eq!(TransferKey::parse("", part), None);
        assert_eq!(TransferKey::parse("../../..", part), None);
    }

    #[test]
    fn the_rest_starts_where_it_was_asked_for() {
        let bytes = Bytes::from_static(b"0123456789");
        let ask = |range: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
            let from = offset(&headers).unwrap_or(0);
            let open = |from| Ok::<_, Broke>(Outflow::whole(bytes.slice(from as usize..)));
            let head = Content {
                content_type: Some(Arc::from("text/plain")),
                ..Content::default()
            };
            part(from, 10, &head, open).unwrap()
        };
        let partial = ask("bytes=4-");
        assert_eq!(partial.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(partial.headers()[header::CONTENT_RANGE], "bytes 4-9/10");
        assert_eq!(partial.headers()[header::CONTENT_TYPE], "text/plain");
        assert_eq!(partial.body().size_hint().exact(), Some(6));
        assert_eq!(ask("bytes=0-").status(), StatusCode::OK);
        assert_eq!(ask("bytes=10-").status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(ask("bytes=99999999999999999999-").status(), StatusCode::OK);
        assert_eq!(ask("lines=1-").status(), StatusCode::OK);
    }
}
