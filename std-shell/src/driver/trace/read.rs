//! Steps, understood for who asks.

use super::super::info::{PathNode, TraceStep};
use super::{FRAME_IN, FRAME_OUT, HEAD, STEP, Step, Trace, shown};
use redlink_core::wire::Frame;
use redlink_core::{LinkId, MessageId, NodeId};

/// Records that one piece of a walk looks at.
const PIECE: usize = 2_048;

/// A message that is looked for.
struct Wanted {
    message: MessageId,
    /// As it lies in frames.
    bytes: ([u8; 20], usize),
}

impl Wanted {
    fn new(message: MessageId) -> Self {
        let mut bytes = [0; 20];
        // Two numbers of 64 bits take 10 bytes each at the most.
        let length = postcard::to_slice(&message, &mut bytes).map_or(0, |used| used.len());
        Self {
            message,
            bytes: (bytes, length),
        }
    }

    /// Whether a frame may be about it: what it is about follows its kind. Almost all of a ring is about others, and need
    /// not be understood.
    fn is_in(&self, header: &[u8]) -> bool {
        let (bytes, length) = &self.bytes;
        header
            .get(1..)
            .is_some_and(|rest| rest.starts_with(&bytes[..*length]))
    }
}

impl Trace {
    /// Steps of a message from a place in the ring on, oldest first; where to go on if there may be more.
    pub(in super::super) fn of(&self, message: MessageId, from: u64) -> (Vec<TraceStep>, Option<u64>) {
        let mut steps = Vec::new();
        if !self.is_on() {
            return (steps, None);
        }
        let wanted = Wanted::new(message);
        // What was there may have made room meanwhile.
        let mut at = from.max(self.tail);
        for _ in 0..PIECE {
            if at >= self.head {
                return (steps, None);
            }
            let length = self.length_at(at);
            let position = (at % self.ring.len() as u64) as usize;
            at += length;
            if self.ring[position] != 0 {
                let record = &self.ring[position..position + length as usize];
                steps.extend(self.read(record, &wanted));
            }
        }
        (steps, Some(at))
    }

    fn read(&self, record: &[u8], wanted: &Wanted) -> Option<TraceStep> {
        let kind = *record.get(1)?;
        let at = i64::from_le_bytes(record.get(4..HEAD)?.try_into().ok()?);
        let body = record.get(HEAD..)?;
        let mut found = match kind {
            STEP => step(body, wanted.message)?,
            FRAME_IN | FRAME_OUT => {
                let link = LinkId(u32::from_le_bytes(body.get(..4)?.try_into().ok()?));
                let length = usize::from(u16::from_le_bytes(body.get(4..6)?.try_into().ok()?));
                let header = body.get(6..6 + length)?;
                let frame = wanted.is_in(header).then(|| Frame::decode(header))??;
                let mut found = frame_step(&frame, wanted.message)?;
                let peer = self.peer(link).map(ToString::to_string);
                match kind {
                    FRAME_IN => found.from = peer,
                    _ => found.to = peer,
                }
                found
            }
            _ => return None,
        };
        found.at_micros = at;
        Some(found)
    }
}

fn step(body: &[u8], wanted: MessageId) -> Option<TraceStep> {
    let word = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
    let message = MessageId {
        node: NodeId(word(0)?),
        sequence: word(8)?,
    };
    if message != wanted {
        return None;
    }
    let attempt = u32::from_le_bytes(body.get(16..20)?.try_into().ok()?);
    let (_, name) = Step::ALL.get(usize::from(*body.get(20)?))?;
    let length = usize::from(*body.get(21)?);
    let text = std::str::from_utf8(body.get(22..22 + length)?).ok()?;
    Some(TraceStep {
        step: (*name).to_owned(),
        attempt: (attempt > 0).then_some(attempt),
        detail: (!text.is_empty()).then(|| text.to_owned()),
        ..TraceStep::default()
    })
}

/// What a frame says about the message; none if it is about another.
fn frame_step(frame: &Frame, wanted: MessageId) -> Option<TraceStep> {
    let (message, name, attempt, node, detail) = match frame {
        Frame::Offer {
            offer,
            service,
            priority,
            ..
        } => {
            // What the message's own service is, the steps before say.
            let under = if offer.alternate {
                format!(", as {service}")
            } else {
                String::new()
            };
            let text = format!("priority {priority}{under}");
            (offer.message, "offer", None, None, text)
        }
        Frame::NoRoom { offer } => (offer.message, "no room", None, None, String::new()),
        Frame::Retract { offer } => (offer.message, "retract", None, None, String::new()),
        Frame::Decline { offer, floor } => {
            let why = floor.map_or("not for lack of room".to_owned(), |floor| {
                format!("room only above priority {floor}")
            });
            (offer.message, "decline", None, None, why)
        }
        Frame::Claim { offer, node, .. } => (offer.message, "claim", None, Some(*node), String::new()),
        Frame::Reverse { token } => (
            token.message,
            "reverse",
            Some(token.fence.attempt),
            Some(token.node),
            "its origin can't be reached: along the way".to_owned(),
        ),
        Frame::Grant {
            token,
            size,
            inline,
            direct,
            ..
        } => {
            let how = match (inline, direct) {
                (true, _) => "in the frame",
                (false, false) => "apart",
                (false, true) => "at its origin",
            };
            let text = format!("payload of {size} B {how}");
            (
                token.message,
                "grant",
                Some(token.fence.attempt),
                Some(token.node),
                text,
            )
        }
        Frame::Gone { message, node, .. } => (*message, "gone", None, Some(*node), String::new()),
        Frame::Answer {
            token, verb, size, ..
        } => {
            let text = match size {
                0 => format!("{verb:?}").to_lowercase(),
                size => format!("{} of {size} B", format!("{verb:?}").to_lowercase()),
            };
            (
                token.message,
                "answer",
                Some(token.fence.attempt),
                Some(token.node),
                text,
            )
        }
        Frame::Settled { token, taken } => {
            let text = format!("{taken:?}").to_lowercase();
            (
                token.message,
                "settled",
                Some(token.fence.attempt),
                Some(token.node),
                text,
            )
        }
        Frame::Holding { token, .. } => (
            token.message,
            "holding",
            Some(token.fence.attempt),
            Some(token.node),
            String::new(),
        ),
        Frame::Seek { token, .. } => (
            token.message,
            "seek",
            Some(token.fence.attempt),
            Some(token.node),
            String::new(),
        ),
        Frame::NoPath { token } => (
            token.message,
            "no path",
            Some(token.fence.attempt),
            Some(token.node),
            String::new(),
        ),
        Frame::Hello(_)
        | Frame::Ping
        | Frame::Pong
        | Frame::Announce { .. }
        | Frame::Withdraw { .. }
        | Frame::HoldingEnd
        | Frame::Refresh => return None,
    };
    (message == wanted).then(|| TraceStep {
        step: name.to_owned(),
        attempt,
        node: node.map(|node| PathNode {
            node: shown(node),
            name: None,
        }),
        detail: (!detail.is_empty()).then_some(detail),
        ..TraceStep::default()
    })
}
