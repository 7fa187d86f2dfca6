//! What is true of a node's trust at one moment, as its files say.

use super::authority::{AuthorityError, CA_FILE, NODE_FILE, NODE_KEY_FILE};
use super::certificate::{self, CertificateError, Subject};
use super::files::{self, FileError};
use super::identity::{IdentityError, Wishes, stored, whose};
use super::revocation::{CRL_FILE, Revocations};
use super::tls::{self, Credential};
use redlink_core::Name;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// What a node proves itself with at the moment, and whom it lets in.
pub(super) struct Current {
    pub(super) server: Arc<rustls::ServerConfig>,
    pub(super) client: Arc<rustls::ClientConfig>,
    pub(super) subject: Subject,
    pub(super) revocations: Arc<Revocations>,
    /// Whether its own certificate is in that list.
    pub(super) revoked: bool,
    /// SHA-256 of the files that it was made from.
    pub(super) made_of: [u8; 32],
}

impl Current {
    pub(super) fn load(
        dir: &Path,
        name: &Name,
        mesh: &Name,
        wishes: &Wishes,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        // Before the files are read: if one changes meanwhile, the next look sees another print.
        let made_of = fingerprint(dir, wishes)?;
        let (credential, subject, revocations, path) = match &wishes.own {
            Some(own) => {
                let (credential, subject) = own.load(name, mesh, now)?;
                (
                    credential,
                    subject,
                    Revocations::default(),
                    own.certificate.clone(),
                )
            }
            None => {
                let path = dir.join(NODE_FILE);
                let (certificate, subject) =
                    stored(dir)?.ok_or_else(|| IdentityError::Interrupted(dir.to_owned()))?;
                if subject.name != *name || subject.mesh != *mesh {
                    return Err(IdentityError::OtherNode {
                        dir: dir.to_owned(),
                        stored: whose(&subject.name, &subject.mesh),
                        wanted: whose(name, mesh),
                    });
                }
                let ca = ca(dir)?;
                if !certificate::is_signed_by(&certificate, &ca) {
                    return Err(IdentityError::Certificate {
                        path,
                        cause: CertificateError::OtherAuthority,
                    });
                }
                let revocations = Revocations::load(dir, &ca)?;
                (credential(dir, certificate, ca)?, subject, revocations, path)
            }
        };
        let unusable = |cause| IdentityError::Unusable {
            path: path.clone(),
            cause,
        };
        let revoked = credential.chain.first().is_some_and(|own| revocations.holds(own));
        Ok(Self {
            server: Arc::new(tls::server(&credential, &revocations).map_err(unusable)?),
            client: Arc::new(tls::client(&credential, &revocations).map_err(unusable)?),
            subject,
            revocations: Arc::new(revocations),
            revoked,
            made_of,
        })
    }
}

/// What is in the files that an identity is made of.
pub(super) fn fingerprint(dir: &Path, wishes: &Wishes) -> Result<[u8; 32], FileError> {
    let all = match &wishes.own {
        Some(own) => own.read()?,
        None => [CA_FILE, NODE_FILE, NODE_KEY_FILE, CRL_FILE]
            .iter()
            .map(|file| Ok(files::read(dir, file)?.unwrap_or_default()))
            .collect::<Result<Vec<_>, FileError>>()?,
    };
    let hashes: Vec<u8> = all.iter().flat_map(|bytes| tls::sha256(bytes)).collect();
    Ok(tls::sha256(&hashes))
}

/// The authority's certificate of a directory.
pub(super) fn ca(dir: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    let pem = files::read(dir, CA_FILE)?.unwrap_or_default();
    CertificateDer::from_pem_slice(&pem).map_err(|_| malformed(dir, "certificate", CA_FILE))
}

pub(super) fn malformed(dir: &Path, what: &'static str, file: &str) -> IdentityError {
    let path = dir.join(file);
    AuthorityError::Malformed { what, path }.into()
}

fn credential(
    dir: &Path,
    certificate: CertificateDer<'static>,
    ca: CertificateDer<'static>,
) -> Result<Credential, IdentityError> {
    let key = files::read_secret(dir, NODE_KEY_FILE)?.unwrap_or_default();
    let key =
        PrivateKeyDer::from_pem_slice(&key).map_err(|_| malformed(dir, "private key", NODE_KEY_FILE))?;
    // The authority's certificate goes along, though a verifier has it already: one that has only its hash, a joining
    // node, finds it there.
    Ok(Credential {
        chain: vec![certificate, ca.clone()],
        roots: vec![ca],
        key,
    })
}
