//! Every error that the API answers with, in one table. The documentation of them is made from it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of a problem document (RFC 9457).
pub const MEDIA_TYPE: &str = "application/problem+json";
/// What each `type` begins with.
pub const URN: &str = "urn:redlink:problem:";

macro_rules! kinds {
    ($($(#[doc = $about:literal])* $kind:ident = $status:literal $name:literal $title:literal;)*) => {
        /// What went wrong. Names are stable: programs tell problems apart by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[doc = $about])* $kind,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The last part of `type`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The same text each time.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }

            /// When it is answered.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$kind => concat!($($about,)*),)* }
            }

            const fn code(self) -> u16 {
                match self { $(Self::$kind => $status,)* }
            }
        }
    };
}

kinds! {
    /// Path parameters, query or JSON.
    BadRequest = 400 "bad-request" "The request can't be understood";
    /// SQL that may not be asked, or is none.
    BadQuery = 400 "bad-query" "The query can't be run";
    /// A `Redlink-` header.
    BadHeader = 400 "bad-header" "A header is unknown here, or its value is out of range";
    /// A batch that can't be read any further.
    BadBatch = 400 "bad-batch" "The batch can't be read";
    /// One entry of a batch.
    BadEntry = 400 "bad-entry" "An entry of the batch can't be taken";
    /// A service's, consumer's or node's.
    BadName = 400 "bad-name" "Not a name";
    /// No token and no certificate, or a wrong token.
    Unauthorized = 401 "unauthorized" "Who are you?";
    /// Known, but not for this.
    Forbidden = 403 "forbidden" "Not yours to do";
    /// Consumer of another program.
    ConsumerTaken = 403 "consumer-taken" "The consumer's name is another program's";
    /// Join token.
    TokenRefused = 403 "token-refused" "The join token lets nobody in";
    /// Renewal, or a token made at another node.
    CertificateRefused = 403 "certificate-refused" "The node's certificate is not accepted";
    /// A service whose name begins with `redlink:`.
    Reserved = 403 "reserved" "The service belongs to the nodes themselves";
    /// Path.
    NoSuchRoute = 404 "no-such-route" "There is nothing at this path";
    /// Message.
    UnknownMessage = 404 "unknown-message" "No such message here";
    /// Message of another origin.
    OtherNode = 404 "other-node" "The message belongs to another node";
    /// Consumer.
    UnknownConsumer = 404 "unknown-consumer" "No such consumer here";
    /// Dead letter.
    UnknownLetter = 404 "unknown-dead-letter" "No such dead letter here";
    /// A program's token.
    UnknownToken = 404 "unknown-token" "No such token here";
    /// Delivery.
    UnknownDelivery = 404 "unknown-delivery" "No such delivery here";
    /// Revocation.
    UnknownNode = 404 "unknown-node" "No such node was let in";
    /// Peer.
    UnknownPeer = 404 "unknown-peer" "No such peer here";
    /// Method.
    MethodNotAllowed = 405 "method-not-allowed" "This path has other methods";
    /// `Accept`.
    NotAcceptable = 406 "not-acceptable" "There is no answer of the types that are accepted";
    /// Body that does not come.
    TooSlow = 408 "too-slow" "The request's body stopped coming";
    /// Cancel after the end, collect before it.
    WrongState = 409 "wrong-state" "The message is in a state where this can't be";
    /// Fenced (P6).
    StaleAttempt = 409 "stale-attempt" "A newer attempt at this message was granted";
    /// A lower number than the last.
    StaleExchange = 409 "stale-exchange" "A later exchange of this consumer has begun";
    /// Two answers at once.
    AnswerUnderWay = 409 "answer-under-way" "An answer to this delivery is being written";
    /// Reply to send-only, or ack to a call.
    WrongVerb = 409 "wrong-verb" "This delivery wants another kind of answer";
    /// A URL that is dialled already.
    PeerThere = 409 "peer-there" "The peer is there already";
    /// Enrolment.
    NameTaken = 409 "name-taken" "The name belongs to another node";
    /// Only the first node of a mesh keeps the book of its nodes.
    NoAuthority = 409 "no-authority" "This node does not hold the mesh's authority";
    /// Revocation.
    NotRevocable = 409 "not-revocable" "This node can't be put out";
    /// Past its deadline, cancelled, or settled by another answer.
    MessageOver = 410 "message-over" "The message is over";
    /// Idempotency key of a message whose outcome is gone.
    OutcomeCollected = 410 "outcome-collected" "The outcome was collected already";
    /// Body over the limit.
    TooLarge = 413 "too-large" "The payload is too large";
    /// Idempotency key.
    KeyReused = 422 "key-reused" "The idempotency key belongs to another message";
    /// Not JSON where JSON is wanted.
    UnsupportedType = 415 "unsupported-type" "The body is of another type than this call takes";
    /// SQL that took more than 5 s or too much memory.
    QueryStopped = 422 "query-stopped" "The query was stopped";
    /// `Range`.
    NoSuchRange = 416 "no-such-range" "The payload has no such range of bytes";
    /// Outcome.
    Failed = 424 "failed" "The consumer could not process the message";
    /// Outcome.
    Expired = 424 "expired" "The message's deadline passed";
    /// Outcome.
    Dead = 424 "dead" "All attempts at the message were used up";
    /// Outcome.
    Cancelled = 424 "cancelled" "The message was taken back";
    /// A table (P7).
    Full = 429 "full" "A table of the node is full";
    /// One is made at a time.
    BackupBusy = 429 "backup-busy" "Another backup is being made";
    /// One runs at a time.
    QueryBusy = 429 "query-busy" "Another query runs";
    /// Memory for payloads (P7).
    MemoryFull = 429 "memory-full" "The node's memory for payloads is full";
    /// This program's mistake.
    Internal = 500 "internal" "The node made a mistake of its own";
    /// A settings file that can't be written, or has an error.
    SettingsFailed = 500 "settings-failed" "The settings can't be changed";
    /// Stopping.
    Draining = 503 "draining" "The node is stopping";
    /// Starting.
    NotReady = 503 "not-ready" "The node is not ready";
    /// Disk.
    StoreFailed = 503 "store-failed" "The node's store refused";
    /// Joining and inviting.
    AuthorityUnreachable = 503 "authority-unreachable" "The mesh's authority can't be reached";
    /// What is left is for accepted work.
    DiskFull = 507 "disk-full" "The node's disk is nearly full";
    /// Connections.
    TooManyConnections = 503 "too-many-connections" "The node has as many connections as it takes";
}

impl Kind {
    /// The HTTP status that it comes with.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// `urn:redlink:problem:<name>`.
    pub fn urn(self) -> String {
        format!("{URN}{}", self.name())
    }

    /// Seconds after which another try makes sense, where waiting helps.
    pub(crate) const fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::Full
            | Self::MemoryFull
            | Self::QueryBusy
            | Self::BackupBusy
            | Self::NotReady
            | Self::StoreFailed => Some("1"),
            Self::Draining | Self::DiskFull | Self::TooManyConnections | Self::AuthorityUnreachable => {
                Some("5")
            }
            _ => None,
        }
    }
}

/// A problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document<'a> {
    /// What it is; programs tell problems apart by this. Later versions may have more of them.
    #[serde(rename = "type")]
    urn: String,
    /// The same in words, the same each time.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What it was this time, and what to do.
    detail: &'a str,
}

/// A problem as it is answered.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: Kind,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// `detail` says what it was this time and what to do next, in whole sentences.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    /// Adds a header. Text that no header may have is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers
            .extend(HeaderValue::from_str(value).map(|value| (name, value)));
        self
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it was this time.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The document.
    pub(super) fn document(&self) -> Vec<u8> {
        // Texts and a number: this can't fail.
        serde_json::to_vec(&self.members()).unwrap_or_default()
    }

    /// The document's members, for an entry of a batch.
    pub(super) fn members(&self) -> Document<'_> {
        let kind = self.kind;
        Document {
            urn: kind.urn(),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: &self.detail,
        }
    }

    /// Status and headers, for a body of the caller's.
    pub(super) fn head(&self) -> http::response::Builder {
        let mut head = http::Response::builder()
            .status(self.kind.status())
            .header(CONTENT_TYPE, MEDIA_TYPE);
        if let Some(seconds) = self.kind.retry_after() {
            head = head.header(RETRY_AFTER, seconds);
        }
        if self.kind == Kind::Unauthorized {
            head = head.header(WWW_AUTHENTICATE, "Bearer realm=\"redlink\"");
        }
        self.headers
            .iter()
            .fold(head, |head, (name, value)| head.header(name, value))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.document();
        self.head()
            .body(Body::from(body))
            .unwrap_or_else(|_| self.kind.status().into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        let mut names = HashSet::new();
        for kind in Kind::ALL {
            assert!(names.insert(kind.name()), "{kind:?}");
            assert!(
                kind.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{kind:?}"
            );
            let status = kind.status();
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
            // P7: whoever may come again is told when.
            let waits = matches!(status.as_u16(), 429 | 503 | 507);
            assert_eq!(kind.retry_after().is_some(), waits, "{kind:?}");
        }
    }

    #[test]
    fn a_problem_has_all_its_parts() {
        let response = Problem::new(Kind::Full, "Wait.").into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let json: serde_json::Value =
            serde_json::from_slice(&Problem::new(Kind::Full, "Wait.").document()).unwrap();
        assert_eq!(json["type"], "urn:redlink:problem:full");
        assert_eq!(
            (json["status"].as_u64(), json["detail"].as_str()),
            (Some(429), Some("Wait."))
        );
        assert!(
            Problem::new(Kind::Unauthorized, "")
                .into_response()
                .headers()
                .contains_key(WWW_AUTHENTICATE)
        );
    }
}
