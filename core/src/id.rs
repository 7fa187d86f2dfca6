//! Identities: nodes, boots, messages, attempts, and the token that proves a grant.

use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A node's identity: 64 random bits made with its database. Shown as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// One life of a node's process: a counter that only grows, and random bits that tell two copies of one database
/// apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Boot {
    /// Starts of this database so far, from 1.
    pub counter: u32,
    /// Drawn anew at each start.
    pub random: u32,
}

/// A message, everywhere and for ever: its origin node and a sequence number there that never repeats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The origin.
    pub node: NodeId,
    /// From 1.
    pub sequence: u64,
}

impl MessageId {
    /// Its offer under its own service.
    pub const fn offer(self) -> OfferId {
        OfferId {
            message: self,
            alternate: false,
        }
    }
}

/// One of the offers of a message: under its service, or under its alternate one. Each is placed, claimed and retracted
/// by itself; a grant ends both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
pub struct OfferId {
    /// What is offered.
    pub message: MessageId,
    /// Under its alternate service.
    pub alternate: bool,
}

/// Orders the attempts at one message: by boot of the origin, then by number. The newest wins (promise P6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The origin's boot counter when it granted.
    pub boot: u32,
    /// Number of the attempt, from 1; starts again with each boot.
    pub attempt: u32,
}

/// Which consumer of its node, as the origin needs to know it: a hash of the service's and the consumer's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
pub struct ConsumerKey(pub u64);

/// Proof that the origin granted one attempt at one message to one consumer.
///
/// Self-contained, so that a worker's answer still counts after a restart of any node on the way. Only the origin,
/// which has the key of the `mac`, can make or check one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
pub struct GrantToken {
    /// What was granted.
    pub message: MessageId,
    /// The origin's boot counter when the message was inserted.
    pub inserted: u32,
    /// Which attempt.
    pub fence: Fence,
    /// The consumer's node.
    pub node: NodeId,
    /// The consumer there.
    pub consumer: ConsumerKey,
    /// SipHash-2-4-128 over the other members, keyed by the origin.
    pub mac: [u8; 16],
}

/// Names an attempt in the tables: a message and its fence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The message.
    pub message: MessageId,
    /// The attempt at it.
    pub fence: Fence,
}

impl GrantToken {
    /// Length of [`GrantToken::to_bytes`].
    pub const BYTES: usize = 60;

    /// The attempt that this token is about.
    pub const fn attempt(&self) -> AttemptId {
        AttemptId {
            message: self.message,
            fence: self.fence,
        }
    }

    /// Fixed-width form for delivery ids: little-endian members in order.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..44].copy_from_slice(&self.signed_bytes());
        out[44..].copy_from_slice(&self.mac);
        out
    }

    /// What the MAC covers.
    pub(crate) fn signed_bytes(&self) -> [u8; 44] {
        let mut out = [0; 44];
        out[..8].copy_from_slice(&self.message.node.0.to_le_bytes());
        out[8..16].copy_from_slice(&self.message.sequence.to_le_bytes());
        out[16..20].copy_from_slice(&self.inserted.to_le_bytes());
        out[20..24].copy_from_slice(&self.fence.boot.to_le_bytes());
        out[24..28].copy_from_slice(&self.fence.attempt.to_le_bytes());
        out[28..36].copy_from_slice(&self.node.0.to_le_bytes());
        out[36..].copy_from_slice(&self.consumer.0.to_le_bytes());
        out
    }

    /// Reads what [`GrantToken::to_bytes`] wrote. Any 60 bytes are a token; whether it is a true one only its origin
    /// can tell.
    pub fn from_bytes(b: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| b[at + i]));
        let half = |at: usize| u32::from_le_bytes(core::array::from_fn(|i| b[at + i]));
        Self {
            message: MessageId {
                node: NodeId(word(0)),
                sequence: word(8),
            },
            inserted: half(16),
            fence: Fence {
                boot: half(20),
                attempt: half(24),
            },
            node: NodeId(word(28)),
            consumer: ConsumerKey(word(36)),
            mac: core::array::from_fn(|i| b[44 + i]),
        }
    }
}

/// Not the text of an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadId;

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id: a message id is 16 hex digits of its node, a dash, and a number")
    }
}

impl core::error::Error for BadId {}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadId);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| BadId)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.node, self.sequence)
    }
}

impl FromStr for MessageId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let (node, sequence) = text.split_once('-').ok_or(BadId)?;
        if sequence.is_empty() || !sequence.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadId);
        }
        Ok(Self {
            node: node.parse()?,
            sequence: sequence.parse().map_err(|_| BadId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn ids_read_back_and_nothing_else_does() {
        let id = MessageId {
            node: NodeId(0xabc),
            sequence: 17,
        };
        assert_eq!(id.to_string(), "0000000000000abc-17");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "-",
            "abc-1",
            "0000000000000abc",
            "0000000000000abc-",
            "0000000000000abc-+1",
            "+000000000000abc-1",
        ] {
            assert_eq!(bad.parse::<MessageId>(), Err(BadId), "{bad}");
        }
    }

    #[test]
    fn tokens_keep_every_member() {
        let token = GrantToken {
            message: MessageId {
                node: NodeId(1),
                sequence: 2,
            },
            inserted: 3,
            fence: Fence { boot: 4, attempt: 5 },
            node: NodeId(6),
            consumer: ConsumerKey(7),
            mac: [8; 16],
        };
        assert_eq!(GrantToken::from_bytes(&token.to_bytes()), token);
    }

    #[test]
    fn a_later_boot_fences_any_attempt_of_an_earlier_one() {
        assert!(Fence { boot: 2, attempt: 1 } > Fence { boot: 1, attempt: 9 });
    }
}
