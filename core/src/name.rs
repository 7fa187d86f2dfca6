//! Names of nodes, meshes, services and consumers.

use core::fmt;
use core::ops::Deref;
use serde::{Deserialize, Deserializer, Serialize};

/// Longest name, in bytes.
pub const NAME_MAX: usize = 64;

/// What the names of the mesh's own services begin with.
pub const RESERVED: &str = "redlink:";

/// A name: 1 to [`NAME_MAX`] bytes of `A-Z a-z 0-9 . _ : -`, not starting with `.` or `-`.
///
/// So a name is never a path, a flag, a glob or a piece of a URL that needs escaping.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(heapless::String<NAME_MAX, u8>);

/// Why a text is not a [`Name`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NameError {
    /// It has no characters.
    Empty,
    /// It is longer than [`NAME_MAX`] bytes.
    TooLong,
    /// It has a character that names may not have, or not at this place; the byte's position.
    Character(u16),
}

impl Name {
    /// Checks and copies.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        let bad = text.bytes().enumerate().find(|&(at, b)| {
            let word = b.is_ascii_alphanumeric() || b == b'_' || b == b':';
            !(word || (at > 0 && (b == b'.' || b == b'-')))
        });
        if let Some((at, _)) = bad {
            return Err(NameError::Character(at as u16));
        }
        heapless::String::try_from(text)
            .map(Self)
            .map_err(|_| NameError::TooLong)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names something of the mesh itself, such as the service by which certificates are renewed: no program's,
    /// and no link's policy keeps it back.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED)
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl core::str::FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = heapless::String::<NAME_MAX, u8>::deserialize(from)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name needs at least one character"),
            Self::TooLong => write!(f, "a name has at most {NAME_MAX} bytes"),
            Self::Character(at) => write!(
                f,
                "byte {at} of the name is not allowed: names have A-Z a-z 0-9 . _ : - and start with none of . -"
            ),
        }
    }
}

impl core::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        for good in ["a", "wc", "resize:v2", "_x", "A.b-c_9"] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        let long = [b'a'; NAME_MAX + 1];
        assert_eq!(
            Name::new(core::str::from_utf8(&long).unwrap()),
            Err(NameError::TooLong)
        );
        assert_eq!(Name::new(""), Err(NameError::Empty));
        for (bad, at) in [
            ("..", 0),
            ("-rf", 0),
            ("a/b", 1),
            ("a b", 1),
            ("caf\u{e9}", 3),
            ("a\n", 1),
            ("x*", 1),
        ] {
            assert_eq!(Name::new(bad), Err(NameError::Character(at)), "{bad:?}");
        }
    }
}
