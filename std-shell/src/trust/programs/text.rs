//! A program's token as text.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// What the text begins with, so that people, and scanners for leaked secrets, see what it is.
pub const PREFIX: &str = "redlink-program-1.";
/// Length of a token's id.
pub(super) const ID: usize = 8;
const SECRET: usize = 32;
const CHECK: usize = 4;

/// What a program shows. Who has its text is that program.
#[derive(Clone, PartialEq, Eq)]
pub struct ProgramToken {
    /// Names the token in lists; no secret.
    pub(super) id: [u8; ID],
    pub(super) secret: [u8; SECRET],
}

/// Why a text is no program's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProgramTokenTextError {
    /// It is something else, or of a version that this program doesn't know.
    #[error("this is no program's token: one begins with `{PREFIX}`")]
    Prefix,
    /// Characters are missing or changed.
    #[error("the token is damaged; copy the whole line again")]
    Damaged,
}

impl fmt::Display for ProgramToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [self.id.as_slice(), self.secret.as_slice()].concat();
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..CHECK]);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for ProgramToken {
    /// Without the secret: debug texts end in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramToken").finish_non_exhaustive()
    }
}

impl FromStr for ProgramToken {
    type Err = ProgramTokenTextError;
    fn from_str(text: &str) -> Result<Self, ProgramTokenTextError> {
        let text = text.strip_prefix(PREFIX).ok_or(ProgramTokenTextError::Prefix)?;
        let damaged = |_| ProgramTokenTextError::Damaged;
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| ProgramTokenTextError::Damaged)?;
        let bytes =
            <[u8; ID + SECRET + CHECK]>::try_from(bytes).map_err(|_| ProgramTokenTextError::Damaged)?;
        let (content, check) = bytes.split_at(ID + SECRET);
        if Sha256::digest(content)[..CHECK] != *check {
            return Err(ProgramTokenTextError::Damaged);
        }
        let (id, secret) = content.split_at(ID);
        Ok(Self {
            id: id.try_into().map_err(damaged)?,
            secret: secret.try_into().map_err(damaged)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".*", tail in "[A-Za-z0-9_-]{0,80}") {
            let _ = text.parse::<ProgramToken>();
            let made_up = format!("{PREFIX}{tail}").parse::<ProgramToken>();
            proptest::prop_assert!(made_up.is_err());
        }
    }

    #[test]
    fn the_text_reads_back_and_a_damaged_one_is_called_that() {
        let token = ProgramToken {
            id: [3; ID],
            secret: [9; SECRET],
        };
        let text = token.to_string();
        assert!(text.starts_with("redlink-program-1."), "{text}");
        assert_eq!(text.parse::<ProgramToken>(), Ok(token.clone()));
        assert_eq!(
            "redlink-program-2.x".parse::<ProgramToken>(),
            Err(ProgramTokenTextError::Prefix)
        );
        assert_eq!(
            format!(" {text}").parse::<ProgramToken>(),
            Err(ProgramTokenTextError::Prefix)
        );
        for end in PREFIX.len()..text.len() {
            assert_eq!(
                text[..end].parse::<ProgramToken>(),
                Err(ProgramTokenTextError::Damaged)
            );
        }
        for more in ["=", "A", " ", "\n"] {
            assert_eq!(
                format!("{text}{more}").parse::<ProgramToken>(),
                Err(ProgramTokenTextError::Damaged)
            );
        }
        let debug = format!("{token:?}");
        assert!(!debug.contains('9') && !debug.contains("CQ"), "{debug}");
    }
}
