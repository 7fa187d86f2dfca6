//! Payload bytes with their content type.

use bytes::Bytes;
use std::sync::Arc;

/// A payload as a producer or consumer gave it: bytes that are never looked into, and what they are said to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The `Content-Type` it came with, if any.
    pub content_type: Option<Arc<str>>,
    /// The bytes; cloning shares them.
    pub bytes: Bytes,
}
