//! Statements that pass through nodes which must not be able to make or change them: what is signed, and with what.
//!
//! A join token holds the seed of an Ed25519 key whose public half the authority has; so whoever sees a request on its
//! way, or the authority's disk, can't make another. A node that has a certificate signs with the key of that.

use super::certificate::{self, CertificateError};
use super::files::FileError;
use rcgen::{KeyPair, SigningKey};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls_pki_types::CertificateDer;
use serde::Serialize;

/// What is signed: what kind of statement it is, and each of its parts with its length, so that no two statements have
/// the same bytes.
pub(super) fn statement(kind: &str, parts: &impl Serialize) -> Vec<u8> {
    // Plain values: this can't fail. If it did, the statement would be one that nobody accepts.
    let parts = postcard::to_allocvec(parts).unwrap_or_default();
    [b"redlink statement 1: ", kind.as_bytes(), b"\0", &parts].concat()
}

/// The key of a join token.
pub(super) struct TokenKey(Ed25519KeyPair);

impl TokenKey {
    /// Any 32 bytes are a seed.
    pub(super) fn new(seed: &[u8; 32]) -> Result<Self, rustls::Error> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|e| rustls::Error::General(format!("the token's key can't be used: {e}")))
    }

    /// The public half: names the token, and lets nobody in.
    pub(super) fn id(&self) -> [u8; 32] {
        let mut id = [0; 32];
        // An Ed25519 key has 32 bytes.
        id.copy_from_slice(self.0.public_key().as_ref());
        id
    }

    pub(super) fn sign(&self, statement: &[u8]) -> Vec<u8> {
        self.0.sign(statement).as_ref().to_vec()
    }
}

/// Whether a statement was signed with the token that has this public half.
pub(super) fn by_token(id: &[u8; 32], statement: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, id)
        .verify(statement, signature)
        .is_ok()
}

/// Signs with a node's key.
pub(super) fn with_node_key(key: &KeyPair, statement: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
    key.sign(statement)
}

/// Whether a statement was signed with the key of a certificate. That certificate has to be checked apart.
pub(super) fn by_certificate(
    certificate: &CertificateDer<'_>,
    statement: &[u8],
    signature: &[u8],
) -> Result<bool, CertificateError> {
    let point = certificate::key_bits(certificate)?;
    Ok(UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(statement, signature)
        .is_ok())
}

/// Why this node can't sign something.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Its files.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its key.
    #[error("this node's key can't sign: {0}")]
    Key(#[from] rcgen::Error),
    /// The token's key.
    #[error(transparent)]
    Token(#[from] rustls::Error),
    /// There is no key, or none that can be read.
    #[error("this node has no key of its own that it could sign with")]
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_statement_and_key_only() {
        let key = TokenKey::new(&[7; 32]).unwrap();
        let said = statement("enrol", &("a", ["b", "c"]));
        let signature = key.sign(&said);
        assert!(by_token(&key.id(), &said, &signature));
        for other in [
            statement("renew", &("a", ["b", "c"])),
            statement("enrol", &("a", ["bc", ""])),
            statement("enrol", &("ab", ["", "c"])),
        ] {
            assert!(!by_token(&key.id(), &other, &signature));
        }
        let stranger = TokenKey::new(&[8; 32]).unwrap();
        assert!(!by_token(&stranger.id(), &said, &signature));
        assert!(!by_token(&key.id(), &said, &[]));
        assert_ne!(key.id(), [7; 32]);
    }
}
