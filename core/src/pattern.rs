//! Patterns of service names, for what may pass over a link.

use crate::name::{NAME_MAX, Name, NameError};
use core::fmt;

/// A name in which `*` stands for any run of characters, also an empty one, and `?` for any one.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern(heapless::String<NAME_MAX, u8>);

impl Pattern {
    /// Checks and copies.
    ///
    /// # Errors
    /// What is wrong with the text; the rules are those of names, with `*` and `?` anywhere.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let bad = text.bytes().position(|b| {
            !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.' | b'-' | b'*' | b'?'))
        });
        if let Some(at) = bad {
            return Err(NameError::Character(u16::try_from(at).unwrap_or(u16::MAX)));
        }
        heapless::String::try_from(text)
            .map(Self)
            .map_err(|_| NameError::TooLong)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for this name. Takes at most as many steps as both lengths multiplied.
    pub fn matches(&self, name: &Name) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // The last star, and how much of the name it stands for so far.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(&b) if b == b'?' || b == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((at, taken)) = star else { return false };
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
            }
        }
        pattern[p..].iter().all(|&b| b == b'*')
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl core::str::FromStr for Pattern {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// Reads rules as a [`Policy`](crate::Policy) has them: patterns between blanks, each allowed, or with a `!` before it
/// denied.
///
/// # Errors
/// The first that is no pattern.
pub(crate) fn rules(text: &str) -> impl Iterator<Item = Result<(bool, Pattern), NameError>> {
    text.split_ascii_whitespace().map(|word| {
        let (allow, pattern) = word.strip_prefix('!').map_or((true, word), |rest| (false, rest));
        Pattern::new(pattern).map(|pattern| (allow, pattern))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_what_they_say() {
        let hits =
            |pattern: &str, name: &str| Pattern::new(pattern).unwrap().matches(&Name::new(name).unwrap());
        for (pattern, name) in [
            ("*", "a"),
            ("a", "a"),
            ("a*", "a"),
            ("*a", "a"),
            ("jobs.*", "jobs.resize"),
            ("*.x", "a.b.x"),
            ("a*b*c", "a-b-b-c"),
            ("a**c", "abc"),
            ("?", "a"),
            ("a?c*", "abc"),
            ("*aab", "aaaaaaab"),
        ] {
            assert!(hits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "b"),
            ("a", "ab"),
            ("jobs.*", "jobs"),
            ("*.x", "a.xy"),
            ("?", "ab"),
            ("a?c", "ac"),
            ("A*", "abc"),
            ("*aab", "aaaaaa"),
        ] {
            assert!(!hits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn nothing_else_is_a_pattern() {
        for bad in ["", "a/b", "a b", "[a]", "caf\u{e9}", "!a"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        let long = [b'*'; NAME_MAX + 1];
        assert_eq!(
            Pattern::new(core::str::from_utf8(&long).unwrap()),
            Err(NameError::TooLong)
        );
    }

    #[test]
    fn rules_are_words() {
        let mut found = rules(" !secret.*  * ");
        assert_eq!(found.next(), Some(Ok((false, Pattern::new("secret.*").unwrap()))));
        assert_eq!(found.next(), Some(Ok((true, Pattern::new("*").unwrap()))));
        assert_eq!(found.next(), None);
        assert!(rules("a !").nth(1).unwrap().is_err());
    }
}
