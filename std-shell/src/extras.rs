//! What a producer may want of a message beside its terms: things that only its own node has to do with.

use crate::Content;
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// What a producer wants of a message beside its terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Makes a repeated submit the same message.
    pub idempotency: Option<Idempotency>,
    /// Where its node keeps it.
    pub durability: Durability,
    /// Given back with the outcome; never sent to a consumer. How long it may be is for the caller to check.
    pub preserved: Option<Bytes>,
}

/// Where a message and its outcome are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On disk, before anybody is told.
    #[default]
    Disk,
    /// In the memory of its node only, as long as that runs.
    Memory,
}

/// By what a repeated submit is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The producer's key. It counts for one owner and one service.
    pub key: Box<str>,
    /// What the submit says: under one key only the same may come again.
    pub request: Fingerprint,
}

/// SHA-256 of all that a submit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Makes a [`Fingerprint`]. Each part is hashed with its length, so that no two requests look alike.
#[derive(Clone, Debug, Default)]
pub struct Fingerprinting(Sha256);

impl Fingerprinting {
    /// A setting, in an order that does not depend on the request.
    pub fn setting(&mut self, name: &str, value: &str) {
        self.part(name.as_bytes());
        self.part(value.as_bytes());
    }

    /// With the payload, which comes last. Its trace context is not part of what is asked for.
    pub fn finish(mut self, content: &Content) -> Fingerprint {
        // No setting has an empty name.
        self.part(b"");
        self.0.update([u8::from(content.content_type.is_some())]);
        self.part(content.content_type.as_deref().unwrap_or_default().as_bytes());
        self.part(&content.bytes);
        Fingerprint(self.0.finalize().into())
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &[(&str, &str)], content_type: Option<&str>, bytes: &'static str) -> Fingerprint {
        let mut making = Fingerprinting::default();
        for (name, value) in settings {
            making.setting(name, value);
        }
        making.finish(&Content {
            content_type: content_type.map(Into::into),
            bytes: bytes.into(),
            ..Content::default()
        })
    }

    #[test]
    fn whatever_differs_shows() {
        let all = [
            of(&[], None, ""),
            of(&[], Some(""), ""),
            of(&[], None, "a"),
            of(&[], Some("a"), ""),
            of(&[("a", "b")], None, ""),
            of(&[("ab", "")], None, ""),
            of(&[("a", "bc")], None, ""),
            of(&[("ab", "c")], None, ""),
            of(&[("a", "b"), ("c", "")], None, ""),
        ];
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert_eq!(one == other, at == other_at, "{at} {other_at}");
            }
        }
        assert_eq!(
            of(&[("a", "b")], Some("t"), "x"),
            of(&[("a", "b")], Some("t"), "x")
        );
    }
}
