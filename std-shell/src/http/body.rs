//! Payloads on their way in and out.

use super::problem::{Kind, Problem};
use crate::Content;
use crate::driver::Handle;
use crate::link::transfer::TransferRefusal;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// A body that brings nothing for this long is given up: it holds memory.
const STALL: Duration = Duration::from_secs(30);
/// Bodies up to this size come in without asking for room; the number of connections bounds them.
const SMALL: u64 = 64 * 1024;
/// Longest JSON body.
const JSON_MAX: u64 = 64 * 1024;
/// A body goes out in pieces of this size, so that what hyper has taken is little more than what has left.
const PIECE: usize = 32 * 1024;

/// A payload that has come in, and its claim on the memory for payloads on their way.
pub(super) struct Payload {
    pub(super) content: Content,
    /// Held until the driver, which has a count of its own, has the bytes.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// Reads a payload of at most the node's limit.
pub(super) async fn payload(handle: &Handle, headers: &HeaderMap, body: Body) -> Result<Payload, Problem> {
    let content_type = match headers.get(CONTENT_TYPE).map(|value| value.to_str()) {
        Some(Ok(text)) => Some(text.into()),
        Some(Err(_)) => {
            return Err(Problem::new(
                Kind::BadHeader,
                "`content-type` has characters that are not ASCII.",
            ));
        }
        None => None,
    };
    let (bytes, room) = read(body, handle.payload_max(), STALL, Some(handle)).await?;
    Ok(Payload {
        content: Content {
            origin: None,
            trace_context: None,
            content_type,
            bytes,
        },
        _room: room,
    })
}

/// Claims memory for a body that is coming in, among all that are.
async fn claim(handle: &Handle, size: u64) -> Result<OwnedSemaphorePermit, Problem> {
    room(handle.incoming_room(size).await, handle.payload_max())
}

fn room(
    got: Result<OwnedSemaphorePermit, TransferRefusal>,
    max: u64,
) -> Result<OwnedSemaphorePermit, Problem> {
    got.map_err(|refusal| match refusal {
        TransferRefusal::TooLarge => too_large(max),
        TransferRefusal::Stopped => Problem::new(Kind::Draining, "The node is stopping; go to another."),
        _ => Problem::new(
            Kind::MemoryFull,
            "Many large payloads are coming in; try again in a while.",
        ),
    })
}

/// Reads a batch piece by piece; a long one only when there is room for it in memory.
pub(super) async fn pieces(
    handle: &Handle,
    mut body: Body,
    mut each: impl FnMut(&[u8]) -> Result<(), Problem>,
) -> Result<Option<OwnedSemaphorePermit>, Problem> {
    use hyper::body::Body as _;
    let max = handle.batch_max();
    let too_long = || {
        let detail = format!("This node takes batches of at most {max} bytes; send it in parts.");
        Problem::new(Kind::TooLarge, detail)
    };
    let said = body.size_hint().exact();
    // Before a byte is read: a client that asked with `Expect: 100-continue` then sends none.
    if said.is_some_and(|size| size > max) {
        return Err(too_long());
    }
    let mut held = None;
    if let Some(size) = said.filter(|size| *size > SMALL) {
        held = Some(room(handle.batch_room(size).await, max)?);
    }
    let mut all = 0;
    while let Some(data) = piece(&mut body, STALL).await? {
        all += data.len() as u64;
        if all > max {
            return Err(too_long());
        }
        if held.is_none() && all > SMALL {
            // Of unknown length: it may become the longest.
            held = Some(room(handle.batch_room(max).await, max)?);
        }
        each(&data)?;
    }
    Ok(held)
}

/// The next bytes of a body; none at its end.
async fn piece(body: &mut Body, stall: Duration) -> Result<Option<Bytes>, Problem> {
    loop {
        match timeout(stall, body.frame()).await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                // Trailers say nothing here.
                Err(_) => continue,
            },
            Ok(Some(Err(e))) => {
                return Err(Problem::new(
                    Kind::BadRequest,
                    format!("The body broke off: {e}."),
                ));
            }
            Ok(None) => return Ok(None),
            Err(_) => return Err(too_slow(stall)),
        }
    }
}

/// Reads a body that is no payload: JSON, at most 64 KiB. Strangers may send one, so all of it has to come in time.
pub(super) async fn small(body: Body) -> Result<Bytes, Problem> {
    match timeout(STALL, read(body, JSON_MAX, STALL, None)).await {
        Ok(read) => read.map(|(bytes, _)| bytes),
        Err(_) => Err(too_slow(STALL)),
    }
}

fn too_slow(limit: Duration) -> Problem {
    Problem::new(
        Kind::TooSlow,
        format!(
            "It took more than {} s; send the body without pauses.",
            limit.as_secs()
        ),
    )
}

pub(super) fn too_large(max: u64) -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!("This node takes at most {max} bytes here; `max_payload` is its setting."),
    )
}

/// Reads a body of at most `max` bytes; a large one only when `memory` has room for it.
async fn read(
    mut body: Body,
    max: u64,
    stall: Duration,
    memory: Option<&Handle>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
    use hyper::body::Body as _;
    let said = body.size_hint().exact();
    // Before a byte is read: a client that asked with `Expect: 100-continue` then sends none.
    if said.is_some_and(|size| size > max) {
        return Err(too_large(max));
    }
    let mut held = None;
    if let (Some(size), Some(handle)) = (said.filter(|size| *size > SMALL), memory) {
        held = Some(claim(handle, size).await?);
    }
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    while let Some(data) = piece(&mut body, stall).await? {
        let have = more.as_ref().map_or(first.len(), BytesMut::len) as u64;
        let all = have + data.len() as u64;
        if all > max {
            return Err(too_large(max));
        }
        if let (None, Some(handle)) = (&held, memory.filter(|_| all > SMALL)) {
            // Of unknown length: it may become the longest.
            held = Some(claim(handle, max).await?);
        }
        match &mut more {
            Some(more) => more.extend_from_slice(&data),
            // The usual payload is one piece, and is never copied.
            None if first.is_empty() => first = data,
            None => {
                // All of it at once if its length is said, which there is room for: nothing is copied because more
                // comes, and the system gives the memory as it is written to.
                let expect = said.unwrap_or((2 * all).min(1 << 20)).min(max);
                let mut buffer = BytesMut::with_capacity(usize::try_from(expect).unwrap_or(0));
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&data);
                more = Some(buffer);
            }
        }
    }
    Ok((more.map_or(first, BytesMut::freeze), held))
}

type OnEnd = Box<dyn FnOnce(Sent) + Send + Sync>;

/// How much of a body was taken to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// So many bytes.
    pub(super) bytes: usize,
    /// To its end.
    pub(super) all: bool,
}

/// A body that reports whether all of it was taken to be sent: what hangs on an answer (the collection of an outcome,
/// the release of a delivery) must know if there was still somebody.
pub(super) struct Handed {
    bytes: Bytes,
    sent: Sent,
    end: Option<OnEnd>,
}

impl Handed {
    /// `end` is called once, when nothing more is taken.
    pub(super) fn new(bytes: Bytes, end: impl FnOnce(Sent) + Send + Sync + 'static) -> Self {
        Self {
            bytes,
            sent: Sent { bytes: 0, all: false },
            end: Some(Box::new(end)),
        }
    }
}

impl hyper::body::Body for Handed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.bytes.len().min(PIECE);
        let piece = self.bytes.split_to(piece);
        self.sent.bytes += piece.len();
        self.sent.all = self.bytes.is_empty();
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent.all
    }

    fn size_hint(&self) -> SizeHint {
        // An empty body of known length would be dropped unseen, as if nobody had been there.
        match (self.bytes.len(), self.sent.all) {
            (0, false) => SizeHint::default(),
            (length, _) => SizeHint::with_exact(length as u64),
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end(self.sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    fn watched(bytes: &'static [u8]) -> (Handed, Arc<AtomicU8>) {
        let seen = Arc::new(AtomicU8::new(0));
        let to = seen.clone();
        (
            Handed::new(Bytes::from_static(bytes), move |sent: Sent| {
                assert!(sent.bytes <= bytes.len() && sent.all == (sent.bytes == bytes.len() && sent.all));
                to.store(1 + u8::from(sent.all), Ordering::Relaxed)
            }),
            seen,
        )
    }

    #[tokio::test]
    async fn a_body_knows_whether_it_was_taken() {
        for bytes in [&b""[..], b"x", &[7; PIECE], &[7; 3 * PIECE + 1]] {
            let (body, seen) = watched(bytes);
            assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
            assert_eq!(seen.load(Ordering::Relaxed), 2);
            let (body, seen) = watched(bytes);
            drop(body);
            assert_eq!(seen.load(Ordering::Relaxed), 1);
        }
        let (mut body, seen) = watched(&[7; PIECE + 1]);
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(seen.load(Ordering::Relaxed), 1, "the last piece was not taken");
    }

    #[tokio::test]
    async fn too_much_is_refused_before_or_while_it_comes() {
        let read = |body: Body| read(body, 10, STALL, None);
        assert_eq!(read(Body::from(vec![1; 10])).await.unwrap().0.len(), 10);
        assert_eq!(
            read(Body::from(vec![1; 11])).await.unwrap_err().kind(),
            Kind::TooLarge
        );
        let stream = |n: usize| {
            let pieces = (0..n).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"1234")));
            Body::from_stream(futures_util::stream::iter(pieces))
        };
        assert_eq!(read(stream(2)).await.unwrap().0, "12341234");
        assert_eq!(read(stream(3)).await.unwrap_err().kind(), Kind::TooLarge);
    }

    #[tokio::test]
    async fn a_body_that_stops_coming_is_given_up() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(
            read(body, 10, Duration::from_millis(5), None)
                .await
                .unwrap_err()
                .kind(),
            Kind::TooSlow
        );
    }
}
