//! What shells say to each other about a message, as it lies in the body of an aside.
//!
//! ```text
//!  0      1               17
//!  +------+---------------+----------------------+
//!  | kind | ticket        | the rest             |   a question: what it asks, postcard
//!  | u8   | 16 bytes      |                      |   a piece of an answer: its age, u64 BE in µs; then postcard
//!  +------+---------------+----------------------+
//! ```
//!
//! A kind that this version does not know is ignored, and so is what follows what it does know: later versions may say
//! more. Texts are checked, since an operator's terminal will show them.

use crate::link::frame::ASIDE_MAX;
use bytes::Bytes;
use redlink_core::{MessageId, Name, NodeId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const QUESTION: u8 = 1;
const STEPS: u8 = 2;
const REPORT: u8 = 3;
const END: u8 = 4;

/// Length of kind and ticket, and of a piece's age behind them.
const HEAD: usize = 17;
const AGE: usize = 8;

/// Longest text of a step, in bytes: two names, and some words.
const TEXT_MAX: usize = 256;

/// Steps are packed into pieces of about this many bytes.
const PIECE: usize = 3 * 1024;

/// Names one following of one message, for all nodes on its way. Nobody can guess it.
pub(super) type Ticket = [u8; 16];

/// "What do you know of this message?"
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Question {
    /// The message.
    pub(super) message: MessageId,
    /// Links that the question may still go over.
    pub(super) hops: u8,
    /// How long the answer may take, in milliseconds.
    pub(super) patience_ms: u32,
}

/// A step of a message at the node that tells of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Step {
    /// How long ago it was when its piece was built, in microseconds.
    pub(super) age_us: u64,
    /// What it was.
    pub(super) step: String,
    /// The peer that a frame went to.
    pub(super) to: Option<Name>,
    /// The peer that a frame came from.
    pub(super) from: Option<Name>,
    /// Which attempt.
    pub(super) attempt: Option<u32>,
    /// The node of the consumer that it is about.
    pub(super) consumer: Option<NodeId>,
    /// The rest, in words.
    pub(super) detail: Option<String>,
}

/// What became of the question at a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// The node.
    pub(super) name: Name,
    /// Its identity, where it is known.
    pub(super) node: Option<NodeId>,
    /// The node that says so: itself, or who asked it.
    pub(super) by: Name,
    /// A [`Fate`](super::Fate)'s number.
    pub(super) fate: u8,
    /// Steps that it did not tell, because they were too many.
    pub(super) left_out: u64,
}

/// A piece of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    /// Steps of one node, in order.
    Steps {
        /// The node.
        name: Name,
        /// They are this old by now, in addition to what they say themselves, as far as who passed them on knows.
        age: Duration,
        /// Oldest first.
        steps: Vec<Step>,
    },
    /// One node's own end, or one that did not answer.
    Report(Report),
    /// Who was asked has told all that it knows, and what those behind it know.
    End,
}

/// What an aside is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A question.
    Question,
    /// A piece of an answer.
    Piece,
    /// Something of a later version.
    Unknown,
}

/// Bytes that no node of ours says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Junk;

/// What an aside is about, and its ticket.
pub(super) fn kind(body: &[u8]) -> Result<(Kind, Ticket), Junk> {
    let (&kind, rest) = body.split_first().ok_or(Junk)?;
    let kind = match kind {
        QUESTION => Kind::Question,
        STEPS | REPORT | END => Kind::Piece,
        _ => return Ok((Kind::Unknown, Ticket::default())),
    };
    let ticket = rest.first_chunk().ok_or(Junk)?;
    Ok((kind, *ticket))
}

/// Reads a question.
pub(super) fn question(body: &[u8]) -> Result<Question, Junk> {
    read(body.get(HEAD..).ok_or(Junk)?)
}

/// Reads a piece of an answer.
pub(super) fn piece(body: &[u8]) -> Result<Piece, Junk> {
    let age = *body.get(HEAD..).and_then(|rest| rest.first_chunk()).ok_or(Junk)?;
    let rest = body.get(HEAD + AGE..).ok_or(Junk)?;
    match body.first() {
        Some(&STEPS) => {
            let (name, steps): (Name, Vec<Step>) = read(rest)?;
            if !steps.iter().all(is_showable) {
                return Err(Junk);
            }
            let age = Duration::from_micros(u64::from_be_bytes(age));
            Ok(Piece::Steps { name, age, steps })
        }
        Some(&REPORT) => Ok(Piece::Report(read(rest)?)),
        Some(&END) => Ok(Piece::End),
        _ => Err(Junk),
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Junk> {
    postcard::take_from_bytes(bytes)
        .map(|(read, _)| read)
        .map_err(|_| Junk)
}

fn is_showable(step: &Step) -> bool {
    let good = |text: &str| text.len() <= TEXT_MAX && !text.chars().any(char::is_control);
    good(&step.step) && step.detail.as_deref().is_none_or(good)
}

/// Writes a question.
pub(super) fn put_question(ticket: Ticket, question: &Question) -> Bytes {
    let mut body = head(QUESTION, ticket);
    append(&mut body, question);
    body.into()
}

/// Writes steps of a node, in as many pieces as they need.
pub(super) fn put_steps(ticket: Ticket, name: &Name, steps: &[Step]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut rest = steps;
    while !rest.is_empty() {
        let mut left = PIECE;
        let fits = |step: &&Step| {
            let fits = left >= longest(step);
            left = left.saturating_sub(longest(step));
            fits
        };
        // One fits always.
        let count = rest.iter().take_while(fits).count().max(1);
        let (now, later) = rest.split_at(count);
        let mut body = piece_head(STEPS, ticket);
        append(&mut body, &(name, now));
        pieces.push(body.into());
        rest = later;
    }
    pieces
}

/// Most bytes that a step takes.
fn longest(step: &Step) -> usize {
    let name = |name: &Option<Name>| name.as_ref().map_or(1, |name| name.len() + 2);
    let detail = step.detail.as_ref().map_or(1, |text| text.len() + 3);
    let numbers = 10 + 6 + 11;
    numbers + step.step.len() + 2 + name(&step.to) + name(&step.from) + detail
}

/// Writes what became of the question at a node.
pub(super) fn put_report(ticket: Ticket, report: &Report) -> Bytes {
    let mut body = piece_head(REPORT, ticket);
    append(&mut body, report);
    body.into()
}

/// Writes that nothing more comes.
pub(super) fn put_end(ticket: Ticket) -> Bytes {
    piece_head(END, ticket).into()
}

/// A piece of an answer as it goes on after it has waited here for so long.
pub(super) fn passed_on(body: &[u8], waited: Duration) -> Bytes {
    let mut body = body.to_vec();
    if let Some(age) = body
        .get_mut(HEAD..)
        .and_then(|rest| rest.first_chunk_mut::<AGE>())
    {
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        *age = u64::from_be_bytes(*age).saturating_add(waited).to_be_bytes();
    }
    body.into()
}

fn head(kind: u8, ticket: Ticket) -> Vec<u8> {
    let mut body = vec![kind];
    body.extend_from_slice(&ticket);
    body
}

fn piece_head(kind: u8, ticket: Ticket) -> Vec<u8> {
    let mut body = head(kind, ticket);
    body.extend_from_slice(&[0; AGE]);
    body
}

fn append(body: &mut Vec<u8>, what: &impl Serialize) {
    // Into memory nothing can fail but a value that postcard can't say, and there is none of those here.
    if let Ok(bytes) = postcard::to_allocvec(what) {
        body.extend_from_slice(&bytes);
    }
    debug_assert!(body.len() <= ASIDE_MAX, "the other side closes on it");
}

#[cfg(test)]
mod tests;
