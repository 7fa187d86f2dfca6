//! The join token as text: what a joining node has to know, in one line that can be pasted.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redlink_core::Name;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "redlink-join-1.";
const CHECK: usize = 4;

/// What a token lets in. More kinds may follow; a node of today refuses a token of a kind that it doesn't know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Kind {
    Node,
}

/// A one-time, expiring permission to join a mesh. Its text is shown once; who has it can join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    pub(super) kind: Kind,
    /// The mesh that it lets into.
    pub mesh: Name,
    /// SHA-256 of the authority's certificate, so that the joining node knows whom it lets tell it who it is.
    pub authority: [u8; 32],
    /// Seed of the key that the request is signed with; told to nobody.
    pub(super) secret: [u8; 32],
}

impl JoinToken {
    pub(super) fn new(mesh: &Name, authority: &CertificateDer<'_>, secret: [u8; 32]) -> Self {
        Self {
            kind: Kind::Node,
            mesh: mesh.clone(),
            authority: Sha256::digest(authority).into(),
            secret,
        }
    }
}

/// Why a text is no join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// It is something else, or of a version that this program doesn't know.
    #[error(
        "this is no join token: one begins with `{PREFIX}`; make one with `redlink token create` on any node of the mesh"
    )]
    Prefix,
    /// Characters are missing or changed.
    #[error("the join token is damaged; copy the whole line again")]
    Damaged,
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = postcard::to_allocvec(self).map_err(|_| fmt::Error)?;
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..CHECK]);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for JoinToken {
    /// Without the secret: debug texts end in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("mesh", &self.mesh)
            .finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = TokenTextError;
    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(TokenTextError::Prefix)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| TokenTextError::Damaged)?;
        let (content, check) = bytes.split_last_chunk::<CHECK>().ok_or(TokenTextError::Damaged)?;
        if Sha256::digest(content)[..CHECK] != check[..] {
            return Err(TokenTextError::Damaged);
        }
        postcard::from_bytes(content).map_err(|_| TokenTextError::Damaged)
    }
}

/// Bytes between PEM's lines.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        // Base64 is ASCII.
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".*", tail in "[A-Za-z0-9_-]{0,200}") {
            let _ = text.parse::<JoinToken>();
            let _ = format!("{PREFIX}{text}").parse::<JoinToken>();
            let made_up = format!("{PREFIX}{tail}").parse::<JoinToken>();
            proptest::prop_assert!(made_up.is_err());
        }
    }

    #[test]
    fn the_text_reads_back_and_a_damaged_one_is_called_that() {
        let token = JoinToken {
            kind: Kind::Node,
            mesh: Name::new("mesh").unwrap(),
            authority: [7; 32],
            secret: [9; 32],
        };
        let text = token.to_string();
        assert!(text.starts_with("redlink-join-1."), "{text}");
        assert!(text.parse::<JoinToken>().unwrap() == token);
        assert!(format!(" {text}\n").parse::<JoinToken>().unwrap() == token);
        assert_eq!("x".parse::<JoinToken>().unwrap_err(), TokenTextError::Prefix);
        assert_eq!(
            "redlink-join-2.AAAA".parse::<JoinToken>().unwrap_err(),
            TokenTextError::Prefix
        );
        for end in 0..text.len() - PREFIX.len() {
            let cut = &text[..PREFIX.len() + end];
            assert_eq!(
                cut.parse::<JoinToken>().unwrap_err(),
                TokenTextError::Damaged,
                "{cut}"
            );
        }
        let swapped = text.replacen('B', "C", 1);
        assert!(swapped == text || swapped.parse::<JoinToken>().is_err());
        assert!(
            !format!("{token:?}").contains("9"),
            "the secret is not in debug texts"
        );
    }
}
