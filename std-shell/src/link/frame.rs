//! Frames as they lie in the two streams of a link.
//!
//! ```text
//!  0        4        8
//!  +--------+--------+-----------------+----------------------------------------------------+
//!  | header | body   | header          | body                                               |
//!  | length | length | (postcard,      |  flags | type | origin | parent | state | payload  |
//!  | u32 BE | u32 BE |  wire::Frame)   |  u8    |      |        |        |       |          |
//!  +--------+--------+-----------------+----------------------------------------------------+
//! ```
//!
//! A body length of 0 means that the frame has none; a body that is there has its flags at least. Flag 1: there is a content
//! type, as u16 BE length and UTF-8 text. Flag 2: there is the URL of the payload's origin, in the same form. Flags 4 and 8:
//! there are the `traceparent` and the `tracestate` of its distributed trace, in the same form; what is malformed in them is
//! left out. Any other flag, or a length beyond its limit, closes the link: there is no way to find the next frame after
//! a lie.
//!
//! A header length of 0 is an **aside**: what one shell says to the other, past the cores. Its body, 1 to [`ASIDE_MAX`]
//! bytes, is [`crate::follow`]'s.

use crate::Content;
use crate::trace_context::{PARENT_LEN, STATE_MAX, TraceContext};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use redlink_core::wire::HEADER_MAX;
use std::sync::Arc;

/// Payloads up to this many bytes ride in a frame; larger ones travel apart. Both ends of a link must agree on it, so
/// it belongs to the protocol and is no setting.
pub const INLINE_MAX: u64 = 8 * 1024;

/// Longest content type that a node takes, in bytes; more than any registered one with parameters.
pub const CONTENT_TYPE_MAX: usize = 1_024;

/// Longest URL of an origin, in bytes.
pub const ORIGIN_MAX: usize = 255;

/// Length of the two lengths before each frame.
pub const PREFIX: usize = 8;

/// Longest body of a frame: flags, lengths and texts, payload.
pub const BODY_MAX: usize = 9 + CONTENT_TYPE_MAX + ORIGIN_MAX + PARENT_LEN + STATE_MAX + INLINE_MAX as usize;

const HAS_TYPE: u8 = 1;
const HAS_ORIGIN: u8 = 2;
const HAS_PARENT: u8 = 4;
const HAS_STATE: u8 = 8;

/// Longest body of an aside, in bytes. Small: frames that come meanwhile wait for no more than one of them.
pub const ASIDE_MAX: usize = 4 * 1024;

/// Bytes that could not have come from a node of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Broken {
    /// The header is longer than any.
    #[error("a frame's header has {0} bytes, and at most {HEADER_MAX} are allowed")]
    Header(u32),
    /// It has no header, and its body is empty or longer than any aside.
    #[error("an aside has {0} bytes, and 1 to {ASIDE_MAX} are allowed")]
    Aside(u32),
    /// The body is longer than any.
    #[error("a frame's body has {0} bytes, and at most {BODY_MAX} are allowed")]
    Body(u32),
    /// The flags, or a length or text behind them, make no sense.
    #[error("a frame's body does not start with a content type, an origin and a trace context as it should")]
    ContentType,
}

/// What comes next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A frame, for the core.
    Frame(Received),
    /// An aside, for the shell.
    Aside(Bytes),
}

/// One frame that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its header, for the core.
    pub header: Bytes,
    /// The payload that rode in it.
    pub content: Option<Content>,
}

/// Length of a content's wire form.
pub fn body_len(content: &Content) -> usize {
    let texts = texts(content).into_iter().filter_map(|(text, _)| text);
    1 + texts.map(|text| 2 + text.len()).sum::<usize>() + content.bytes.len()
}

/// What stands before the bytes, each with its flag.
fn texts(content: &Content) -> [(Option<&str>, u8); 4] {
    let context = content.trace_context.as_deref();
    [
        (content.content_type.as_deref(), HAS_TYPE),
        (content.origin.as_deref(), HAS_ORIGIN),
        (context.map(TraceContext::parent), HAS_PARENT),
        (context.and_then(TraceContext::state), HAS_STATE),
    ]
}

/// Appends one frame. The content type must have passed [`content_type_fits`], which the driver checks where content
/// comes in; an origin is as long as the settings or another node's frame let it be.
pub fn put(into: &mut BytesMut, header: &[u8], content: Option<&Content>) {
    let body = content.map_or(0, body_len);
    into.reserve(PREFIX + header.len() + body);
    into.put_u32(header.len() as u32);
    into.put_u32(body as u32);
    into.put_slice(header);
    if let Some(content) = content {
        let texts = texts(content);
        let there = texts.iter().filter(|(text, _)| text.is_some());
        into.put_u8(there.fold(0, |flags, (_, flag)| flags | flag));
        for text in texts.into_iter().filter_map(|(text, _)| text) {
            into.put_u16(text.len() as u16);
            into.put_slice(text.as_bytes());
        }
        into.put_slice(&content.bytes);
    }
}

/// Appends one aside, of 1 to [`ASIDE_MAX`] bytes.
pub fn put_aside(into: &mut BytesMut, body: &[u8]) {
    debug_assert!(
        (1..=ASIDE_MAX).contains(&body.len()),
        "the other side closes on it"
    );
    into.reserve(PREFIX + body.len());
    into.put_u32(0);
    into.put_u32(body.len() as u32);
    into.put_slice(body);
}

/// Whether a content type is short enough to travel.
pub fn content_type_fits(content: &Content) -> bool {
    content
        .content_type
        .as_ref()
        .is_none_or(|text| text.len() <= CONTENT_TYPE_MAX)
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Adds bytes as they came. The buffer holds at most one incomplete frame beside them, as long as
    /// [`Decoder::next_part`] is called until it has no more.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame or aside, if there is one.
    ///
    /// # Errors
    /// The stream is broken; it stays so.
    pub fn next_part(&mut self) -> Result<Option<Part>, Broken> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [h0, h1, h2, h3, b0, b1, b2, b3] = *prefix;
        let (header, body) = (
            u32::from_be_bytes([h0, h1, h2, h3]),
            u32::from_be_bytes([b0, b1, b2, b3]),
        );
        // Checked before anything is waited for: a lying length must not make this buffer grow.
        if header == 0 && !(1..=ASIDE_MAX).contains(&(body as usize)) {
            return Err(Broken::Aside(body));
        }
        if header as usize > HEADER_MAX {
            return Err(Broken::Header(header));
        }
        if body as usize > BODY_MAX {
            return Err(Broken::Body(body));
        }
        let (header, body) = (header as usize, body as usize);
        if self.buffer.len() < PREFIX + header + body {
            self.buffer.reserve(PREFIX + header + body - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        if header == 0 {
            // Its own allocation, for the reason that is said below.
            let body = Bytes::copy_from_slice(&self.buffer.split_to(body));
            return Ok(Some(Part::Aside(body)));
        }
        let header = self.buffer.split_to(header).freeze();
        let content = match body {
            0 => None,
            // Its own allocation: a slice would keep the whole chunk that it came in alive for as long as the core
            // keeps a small payload.
            _ => Some(read_body(&mut Bytes::copy_from_slice(
                &self.buffer.split_to(body),
            ))?),
        };
        Ok(Some(Part::Frame(Received { header, content })))
    }

    /// Whether the stream may end here: no part of a frame is waiting for its rest.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

fn read_body(body: &mut Bytes) -> Result<Content, Broken> {
    let flags = body.try_get_u8().map_err(|_| Broken::ContentType)?;
    if flags & !(HAS_TYPE | HAS_ORIGIN | HAS_PARENT | HAS_STATE) != 0 {
        return Err(Broken::ContentType);
    }
    let mut text = |flag, most| match flags & flag {
        0 => Ok(None),
        _ => read_text(body, most).map(Some),
    };
    let (content_type, origin) = (text(HAS_TYPE, CONTENT_TYPE_MAX)?, text(HAS_ORIGIN, ORIGIN_MAX)?);
    let (parent, state) = (text(HAS_PARENT, PARENT_LEN)?, text(HAS_STATE, STATE_MAX)?);
    Ok(Content {
        content_type,
        origin,
        trace_context: parent.and_then(|parent| TraceContext::read(&parent, state.as_deref())),
        bytes: body.split_off(0),
    })
}

fn read_text(body: &mut Bytes, most: usize) -> Result<Arc<str>, Broken> {
    let len = usize::from(body.try_get_u16().map_err(|_| Broken::ContentType)?);
    if len > most || len > body.len() {
        return Err(Broken::ContentType);
    }
    let text = body.split_to(len);
    let text = std::str::from_utf8(&text).map_err(|_| Broken::ContentType)?;
    // It will be a header of an HTTP answer, or a URL, some day.
    if text.bytes().any(|b| b.is_ascii_control()) {
        return Err(Broken::ContentType);
    }
    Ok(Arc::from(text))
}

#[cfg(test)]
mod tests;
