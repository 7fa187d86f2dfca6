//! Payload bytes with their content type.

use crate::trace_context::TraceContext;
use bytes::Bytes;
use std::sync::Arc;

/// Longest payload that there can be, in bytes: the bound of the protocol. What a node takes for itself is its setting; what
/// passes through it has this bound only.
pub(crate) const PAYLOAD_MAX: u64 = 1 << 30;

/// A payload as a producer or consumer gave it: bytes that are never looked into, and what they are said to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The `Content-Type` it came with, if any.
    pub content_type: Option<Arc<str>>,
    /// The bytes; cloning shares them.
    pub bytes: Bytes,
    /// Of a payload that came from another node: where that can be reached, if it said so.
    pub origin: Option<Arc<str>>,
    /// Of a message's payload: the distributed trace that its producer sent it in. Beside the bytes wherever they go.
    pub trace_context: Option<Arc<TraceContext>>,
}

impl Content {
    /// The text of a failure that no consumer told: it was to be delivered at most once.
    pub(crate) fn unanswered() -> Self {
        Self {
            content_type: Some("text/plain".into()),
            bytes: Bytes::from_static(b"the attempt ended without an answer; delivered at most once"),
            ..Self::default()
        }
    }
}
