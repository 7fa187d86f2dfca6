//! Payloads that are too large for a frame: what names a transfer, and the listening side of it.
//!
//! `PUT` and `GET /v1/link/payloads/{token}/{payload|reply}`: the token is the grant's, in unpadded base64url; the body is the
//! payload as it is, with its content type. Both ends know the transfer from the frame that announced it, so only the
//! peer that the frame came from, or went to, can move it (P9, P12). A `GET` may ask for the rest from an offset.

use crate::Content;
use crate::driver::{Handle, Source};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use redlink_core::{GrantToken, Name, Part};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A transfer that brings nothing for this long has failed.
pub(super) const STALL: Duration = Duration::from_secs(20);

/// How often the core hears that a transfer goes on. Shorter than any sensible lease.
const PROGRESS: Duration = Duration::from_secs(1);

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
        source: Source,
    },
    /// Get it from the peer, and say so to the driver.
    Get {
        /// Which one.
        key: TransferKey,
        /// Its length in bytes.
        size: u64,
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
            Self::Busy | Self::Store | Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
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
) -> Response<Full<Bytes>>
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
        Method::GET => match get(handle, peer, key).await {
            Ok(content) => rest(content, &parts.headers),
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
    let _room = handle.incoming_room(size).await?;
    let mut receiving = Receiving::new(size);
    receive(&mut receiving, body, handle, key).await?;
    if !receiving.is_complete() {
        return Err(TransferRefusal::Cut);
    }
    let content = Content {
        content_type: content_type(headers),
        bytes: receiving.bytes.freeze(),
    };
    handle.arrived(peer.clone(), key, content).await
}

async fn get(handle: &Handle, peer: &Name, key: TransferKey) -> Result<Content, TransferRefusal> {
    let source = handle
        .offered(peer.clone(), key)
        .await
        .ok_or(TransferRefusal::Unknown)?;
    match source.load(handle.store()).await {
        Ok(Some(content)) => Ok(content),
        Ok(None) => Err(TransferRefusal::Unknown),
        Err(error) => {
            tracing::warn!(%error, "a payload could not be read for a transfer");
            Err(TransferRefusal::Store)
        }
    }
}

/// Bytes as they come in, never more than were announced.
pub(super) struct Receiving {
    pub(super) bytes: BytesMut,
    size: u64,
}

impl Receiving {
    pub(super) fn new(size: u64) -> Self {
        Self {
            bytes: BytesMut::new(),
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

/// The content type of a transfer's headers.
pub(super) fn content_type(headers: &HeaderMap) -> Option<Arc<str>> {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(Arc::from)
}

/// The content, or the rest of it from the offset that was asked for.
fn rest(content: Content, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let total = content.bytes.len();
    let mut response = match offset(headers) {
        None | Some(0) => Response::new(Full::new(content.bytes)),
        Some(from) if from < total => {
            let mut response = Response::new(Full::new(content.bytes.slice(from..)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {from}-{}/{total}", total - 1);
            if let Ok(range) = HeaderValue::from_str(&range) {
                response.headers_mut().insert(header::CONTENT_RANGE, range);
            }
            response
        }
        Some(_) => return empty(StatusCode::RANGE_NOT_SATISFIABLE),
    };
    if let Some(value) = content
        .content_type
        .and_then(|text| HeaderValue::from_str(&text).ok())
    {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

/// `Range: bytes=N-`. Any other range is ignored, as HTTP allows: the answer is the whole.
fn offset(headers: &HeaderMap) -> Option<usize> {
    let range = headers.get(header::RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn refused(refusal: TransferRefusal) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(refusal.to_string()));
    *response.status_mut() = refusal.status();
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
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
        let content = Content {
            content_type: Some(Arc::from("text/plain")),
            bytes: Bytes::from_static(b"0123456789"),
        };
        let ask = |range: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_str(range).unwrap());
            rest(content.clone(), &headers)
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
