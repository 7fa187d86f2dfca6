//! Bytes as entries, as they come.

use super::line::Object;
use super::{Entry, Format};
use bytes::{Buf, Bytes, BytesMut};
use std::fmt;

/// Longest parts of an entry, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Its members.
    pub header: usize,
    /// Its payload.
    pub payload: u64,
}

impl Limits {
    /// With room for the longest member, 1 MiB as base64.
    pub const fn with_payload(payload: u64) -> Self {
        Self {
            header: 2 << 20,
            payload,
        }
    }

    /// A payload in a line is longer there: base64 by a third, text by what is escaped in it.
    fn line(self) -> u64 {
        self.payload.saturating_mul(2).saturating_add(self.header as u64)
    }
}

/// What is wrong with one entry; the next can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its payload is longer than the limit.
    TooLarge,
    /// It is something else than an entry, in whole sentences.
    Bad(String),
}

impl Fault {
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self::Bad(why.into())
    }
}

/// Where the bytes stop making sense: nothing behind can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The entry's number, from 1.
    pub entry: u64,
    /// Where it begins: its line, from 1, or its offset in bytes.
    pub at: Place,
    /// What is wrong there.
    pub why: String,
}

/// A place in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Number of a line, from 1.
    Line(u64),
    /// Bytes in front of it.
    Offset(u64),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Place::Line(line) => write!(f, "Entry {} (line {line}): {}", self.entry, self.why),
            Place::Offset(offset) => write!(f, "Entry {} (offset {offset}): {}", self.entry, self.why),
        }
    }
}

/// Cuts what comes in into entries. It holds no more than what was pushed and not read yet.
#[derive(Debug)]
pub struct Decoder {
    format: Format,
    limits: Limits,
    pub(super) buffer: BytesMut,
    /// Of the buffer: no line ends in it.
    searched: usize,
    /// Still to come of a line or body that is too long, and not kept.
    skip: Skip,
    /// Entries begun so far.
    entries: u64,
    /// Lines ended so far.
    lines: u64,
    /// Bytes read so far.
    offset: u64,
    broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    Nothing,
    Line,
    Bytes(u64),
}

/// An entry, or what is wrong with it.
pub type Item = Result<Entry, Fault>;

impl Decoder {
    /// For what comes in this format.
    pub fn new(format: Format, limits: Limits) -> Self {
        Self {
            format,
            limits,
            buffer: BytesMut::new(),
            searched: 0,
            skip: Skip::Nothing,
            entries: 0,
            lines: 0,
            offset: 0,
            broken: false,
        }
    }

    /// More has come.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next entry; none if more has to come first.
    ///
    /// # Errors
    /// There is none, and nothing behind can be read: said once, then there is nothing more.
    pub fn take(&mut self) -> Result<Option<Item>, Broken> {
        if self.broken {
            return Ok(None);
        }
        match self.format {
            Format::Ndjson => self.line(false),
            Format::Framed => self.frame(),
        }
    }

    /// Nothing more comes: what is left, after [`Decoder::take`] has given none.
    ///
    /// # Errors
    /// It ends within an entry.
    pub fn finish(&mut self) -> Result<Option<Item>, Broken> {
        if self.broken {
            return Ok(None);
        }
        match self.format {
            // The last line may lack its end.
            Format::Ndjson => self.line(true),
            Format::Framed if self.skip != Skip::Nothing => Err(self.cut()),
            Format::Framed if !self.buffer.is_empty() => {
                self.entries += 1;
                Err(self.cut())
            }
            Format::Framed => Ok(None),
        }
    }

    fn cut(&mut self) -> Broken {
        let at = Place::Offset(self.offset);
        self.breaks(at, "the body ends within it.".to_owned())
    }

    fn breaks(&mut self, at: Place, why: String) -> Broken {
        self.broken = true;
        self.buffer = BytesMut::new();
        Broken {
            entry: self.entries,
            at,
            why,
        }
    }

    fn cut_off(&mut self, length: usize) -> Bytes {
        self.searched = 0;
        self.offset += length as u64;
        self.buffer.split_to(length).freeze()
    }

    fn line(&mut self, last: bool) -> Result<Option<Item>, Broken> {
        loop {
            let unseen = self.buffer.get(self.searched..).unwrap_or_default();
            let end = unseen.iter().position(|byte| *byte == b'\n');
            let Some(end) = end.map(|end| self.searched + end + 1).or_else(|| {
                let rest = last && !self.buffer.is_empty();
                rest.then_some(self.buffer.len())
            }) else {
                self.searched = self.buffer.len();
                if self.skip == Skip::Line {
                    drop(self.cut_off(self.buffer.len()));
                } else if self.buffer.len() as u64 > self.limits.line() {
                    drop(self.cut_off(self.buffer.len()));
                    self.skip = Skip::Line;
                    self.entries += 1;
                    return Ok(Some(Err(Fault::TooLarge)));
                }
                return Ok(None);
            };
            let line = self.cut_off(end);
            self.lines += 1;
            if std::mem::replace(&mut self.skip, Skip::Nothing) == Skip::Line {
                continue;
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            self.entries += 1;
            if line.len() as u64 > self.limits.line() {
                return Ok(Some(Err(Fault::TooLarge)));
            }
            return match serde_json::from_slice::<Object<'_>>(text) {
                Ok(object) => Ok(Some(object.entry(self.limits.payload))),
                Err(error) => {
                    let why = format!("it is not one JSON object: {error}.");
                    Err(self.breaks(Place::Line(self.lines), why))
                }
            };
        }
    }

    fn frame(&mut self) -> Result<Option<Item>, Broken> {
        if let Skip::Bytes(left) = self.skip {
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            drop(self.cut_off(here));
            match left - here as u64 {
                0 => self.skip = Skip::Nothing,
                more => {
                    self.skip = Skip::Bytes(more);
                    return Ok(None);
                }
            }
        }
        let mut lengths = self.buffer.get(..8).unwrap_or_default();
        if lengths.is_empty() {
            return Ok(None);
        }
        let (header, body) = (u64::from(lengths.get_u32()), u64::from(lengths.get_u32()));
        let at = Place::Offset(self.offset);
        if header > self.limits.header as u64 {
            self.entries += 1;
            let most = self.limits.header;
            return Err(self.breaks(
                at,
                format!("its header has {header} bytes; at most {most} are taken."),
            ));
        }
        let whole = 8 + header + body;
        if body > self.limits.payload {
            self.entries += 1;
            self.skip = Skip::Bytes(whole);
            return Ok(Some(Err(Fault::TooLarge)));
        }
        let Some(whole) = usize::try_from(whole)
            .ok()
            .filter(|whole| self.buffer.len() >= *whole)
        else {
            return Ok(None);
        };
        self.entries += 1;
        let frame = self.cut_off(whole);
        let (head, payload) = frame
            .get(8..)
            .unwrap_or_default()
            .split_at_checked(usize::try_from(header).unwrap_or_default())
            .unwrap_or_default();
        match serde_json::from_slice::<Object<'_>>(head) {
            // A copy: a slice would keep all of the batch in memory as long as one of its payloads lives.
            Ok(object) => Ok(Some(object.entry_with(Bytes::copy_from_slice(payload)))),
            Err(error) => Err(self.breaks(at, format!("its header is not one JSON object: {error}."))),
        }
    }
}
