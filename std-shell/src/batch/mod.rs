//! Many messages, answers or outcomes in one body: the two formats of a batch. Pure: bytes in, entries out, and back.
//!
//! | media type | an entry |
//! |---|---|
//! | [`NDJSON`] | one JSON object a line; the payload is its member `json`, `text` or `base64` |
//! | [`FRAMED`] | header length and body length, a `u32` each, big-endian; a JSON object; the payload as it is |
//!
//! An entry's members are what headers are to a single call: `Redlink-Max-Attempts` is `max_attempts`, and the content
//! type is `content_type`. Which format is meant, `choose` reads from `Content-Type` and `Accept`.
//!
//! What comes in is cut into entries as it comes ([`Decoder`]), and never believed: every length has a bound, what is
//! wrong with one entry is told of that entry, and only what leaves open where the next one begins ends the reading.

mod choose;
mod decode;
mod encode;
mod line;
#[cfg(test)]
mod tests;

pub use choose::{accepted, accepted_by_name, of_content_type};
pub use decode::{Broken, Decoder, Fault, Item, Limits, Place};
pub use encode::encode;

use crate::Content;
use serde_json::{Map, Value};

/// Media type of lines of JSON.
pub const NDJSON: &str = "application/x-ndjson";
/// Media type of entries with lengths in front.
pub const FRAMED: &str = "application/vnd.redlink.batch";

/// Most entries of one batch.
pub const ENTRIES_MAX: usize = 1_024;
/// Longest payload that an answer has in itself; longer ones come as a link.
pub const PAYLOAD_MAX: usize = 64 * 1_024;
/// Payload bytes of one answer. Where it is full, the other payloads come as links too.
pub const ANSWER_MAX: usize = 4 << 20;

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`NDJSON`]
    Ndjson,
    /// [`FRAMED`]
    Framed,
}

impl Format {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => NDJSON,
            Self::Framed => FRAMED,
        }
    }
}

/// One entry of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// What it says beside its payload.
    pub members: Map<String, Value>,
    /// Its payload and what that is said to be. Without either: empty.
    pub content: Content,
}

impl Entry {
    /// A member that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }
}
