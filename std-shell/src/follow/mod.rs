//! Following a message over all nodes that it touched, from whichever of them is asked.
//!
//! Each node remembers its own steps of a message (the driver's `trace`), and they name the peers that it exchanged
//! frames about it with. A node that is asked tells its steps, and asks those peers in turn, hop by hop, so that a
//! program needs to reach one node only. Question and answer are asides: they pass over links beside the frames, streamed
//! or polled, and the cores don't hear of them.
//!
//! | file | what is there |
//! |---|---|
//! | `wire` | what is said, in bytes |
//! | `desk` | what is under way, and its bounds |
//! | `ask` | asks peers, and hears what they say until all have ended or time is over |
//! | `answer` | answers a peer's question |
//! | `gather` | follows for an operator: steps of all nodes, by time |
//! | `clocks` | puts what happened at other nodes on this node's clock |
//!
//! **Nothing is left out unsaid.** A node that did not answer, is not linked, keeps no steps or has forgotten them is
//! named, with who asked it ([`Fate`]).
//!
//! **Loops.** A question has a ticket that no other has, and a number of links that it may still go over. A node tells its
//! steps once for each ticket; who asks it again hears at once that they come another way.
//!
//! **Who may know (P12).** A node tells a peer of a message only if its own steps show that both had to do with it: it
//! told the peer of it, or claimed it there, or knows of it by the peer's offer in the first place. A frame that the peer
//! just sent proves nothing. To all others it says what it says of a message that it never saw.
//!
//! **Bounds (P11).** Questions under way, peers asked, pieces, steps and time are bounded, asides have a few places in
//! each outbox behind all frames, and the rings are walked for peers one at a time.

mod answer;
mod ask;
mod clocks;
mod desk;
mod gather;
mod wire;

pub(crate) use desk::Desk;

use std::time::Duration;

/// How long all of an answer may take. Each node gives those that it asks 7/8 of the time that it has, so that it can
/// still tell who did not answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Most steps of one message that a node tells a peer, the latest ones.
const STEPS_MAX: usize = 1_000;

/// What became of a question at a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Fate {
    /// Something that it told, or those behind it, was lost because too much came at once.
    Cut,
    /// It told its steps.
    Told,
    /// It tells its steps another way.
    Elsewhere,
    /// It knows nothing of the message, or nothing that the one who asked may know.
    Unknown,
    /// It keeps no steps.
    Off,
    /// It had too many questions under way.
    Busy,
    /// It did not answer in time.
    Silent,
    /// It was not linked with the node that would have asked it.
    NotLinked,
    /// It is more links away than a message may go.
    TooFar,
    /// There were more peers than are asked for one message.
    NotAsked,
    /// Something that a later version says.
    Other,
}

impl Fate {
    /// With its number on the wire and its word in the API. What is first says the most, if one node has several.
    const ALL: [(Self, u8, &'static str); 11] = [
        (Self::Cut, 1, "cut"),
        (Self::Told, 0, "told"),
        (Self::Elsewhere, 9, "elsewhere"),
        (Self::Unknown, 2, "unknown"),
        (Self::Off, 3, "off"),
        (Self::Busy, 4, "busy"),
        (Self::Silent, 5, "silent"),
        (Self::NotLinked, 6, "not-linked"),
        (Self::TooFar, 7, "too-far"),
        (Self::NotAsked, 8, "not-asked"),
        (Self::Other, 255, "other"),
    ];

    fn number(self) -> u8 {
        Self::ALL
            .iter()
            .find(|(fate, ..)| *fate == self)
            .map_or(255, |(_, number, _)| *number)
    }

    fn of(number: u8) -> Self {
        Self::ALL
            .iter()
            .find(|(_, known, _)| *known == number)
            .map_or(Self::Other, |(fate, ..)| *fate)
    }

    fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(fate, ..)| *fate == self)
            .map_or("other", |(.., word)| word)
    }
}
