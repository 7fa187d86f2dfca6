//! The mesh's certificate authority, on the node that made the mesh.

use super::certificate::{self, CertificateError};
use super::files::{self, FileError};
use super::text::{JoinToken, Kind};
use super::tls;
use super::tokens::{NewToken, TokenError, Tokens};
use rcgen::{Certificate, Issuer, KeyPair, PublicKeyData};
use redlink_core::Name;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The authority's certificate.
pub const CA_FILE: &str = "ca.pem";
/// The authority's key; only on the node that made the mesh.
pub const CA_KEY_FILE: &str = "ca-key.pem";
/// This node's certificate.
pub const NODE_FILE: &str = "node.pem";
/// This node's key.
pub const NODE_KEY_FILE: &str = "node-key.pem";

/// The authority can't be made or read, or can't sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds something else.
    #[error("{} holds no {what}; restore it from a backup", path.display())]
    Malformed {
        /// What it should hold.
        what: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// A certificate can't be made.
    #[error("can't make a certificate: {0}")]
    Sign(#[from] rcgen::Error),
    /// A certificate that was just made can't be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] rustls::Error),
}

/// What was signed for a node, as far as later decisions need it.
#[derive(Serialize, Deserialize)]
pub(super) struct Issued {
    pub(super) hosts: Vec<String>,
    /// End of the certificate, in seconds since the Unix epoch.
    pub(super) until: u64,
}

pub(super) struct State {
    pub(super) tokens: Tokens,
    pub(super) issued: BTreeMap<Name, Issued>,
}

/// Signs what belongs to the mesh. Its methods read and write files: call them where blocking is allowed.
pub struct Authority {
    pub(super) mesh: Name,
    /// The node that it lives on, whose name nobody else may get.
    pub(super) own: Name,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
    dir: PathBuf,
    state: Mutex<State>,
}

impl Authority {
    /// Makes a mesh. The key is on disk before the certificate: a key alone is a start that was cut short, from which
    /// nothing has been signed, and is replaced.
    pub(super) fn create(dir: &Path, mesh: &Name, now: SystemTime) -> Result<(), AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = certificate::authority(mesh, tls::random()?, now).self_signed(&key)?;
        files::write_private(dir, CA_KEY_FILE, key.serialize_pem().as_bytes())?;
        files::write_private(dir, CA_FILE, certificate.pem().as_bytes())?;
        Ok(())
    }

    /// Reads the authority of a directory; none if this node's mesh was made elsewhere.
    pub(super) fn load(dir: &Path, mesh: &Name, own: &Name) -> Result<Option<Self>, AuthorityError> {
        let Some(key) = files::read_secret(dir, CA_KEY_FILE)? else {
            return Ok(None);
        };
        let malformed = |what, file| AuthorityError::Malformed {
            what,
            path: dir.join(file),
        };
        let key = String::from_utf8(key)
            .ok()
            .and_then(|pem| KeyPair::from_pem(&pem).ok());
        let key = key.ok_or_else(|| malformed("private key", CA_KEY_FILE))?;
        let pem = String::from_utf8(files::read(dir, CA_FILE)?.unwrap_or_default()).unwrap_or_default();
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
        let certificate = certificate.map_err(|_| malformed("certificate", CA_FILE))?;
        if certificate::public_key(&certificate)? != key.subject_public_key_info() {
            return Err(malformed("certificate for the key beside it", CA_FILE));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let state = Mutex::new(State {
            tokens: Tokens::open(dir)?,
            issued: load_issued(dir)?,
        });
        Ok(Some(Self {
            mesh: mesh.clone(),
            own: own.clone(),
            certificate,
            pem,
            issuer,
            dir: dir.to_owned(),
            state,
        }))
    }

    /// The mesh that it signs for.
    pub fn mesh(&self) -> &Name {
        &self.mesh
    }

    /// Gives out a token with which one node can join within `ttl`.
    ///
    /// # Errors
    /// `ttl` is out of range, too many tokens are out, or it can't be written down.
    pub fn new_token(&self, ttl: Duration) -> Result<NewToken, TokenError> {
        let (secret, expires) = self.state().tokens.make(ttl, SystemTime::now())?;
        let authority = tls::sha256(&self.certificate);
        let token = JoinToken {
            kind: Kind::Node,
            mesh: self.mesh.clone(),
            authority,
            secret,
        };
        Ok(NewToken {
            token: token.to_string(),
            expires,
        })
    }

    /// Signs a key for a node, and writes down which hosts it may be.
    pub(super) fn issue(
        &self,
        state: &mut State,
        name: &Name,
        hosts: &[String],
        key: &impl PublicKeyData,
        now: SystemTime,
    ) -> Result<Certificate, AuthorityError> {
        let params = certificate::node(&self.mesh, name, hosts, tls::random()?, now);
        let certificate = params.signed_by(key, &self.issuer)?;
        let until = super::tokens::seconds(certificate::read(certificate.der())?.not_after);
        let issued = Issued {
            hosts: hosts.to_vec(),
            until,
        };
        // Both members are plain values: this can't fail.
        let json = serde_json::to_vec(&issued).unwrap_or_default();
        files::write_private(&self.dir.join(ISSUED), &format!("{name}.json"), &json)?;
        state.issued.insert(name.clone(), issued);
        Ok(certificate)
    }

    /// What changes. A holder that panicked has left nothing half done in it: each member is changed by one insert or
    /// remove, after its file.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ISSUED: &str = "issued";

fn load_issued(dir: &Path) -> Result<BTreeMap<Name, Issued>, FileError> {
    let dir = dir.join(ISSUED);
    files::make_directory(&dir)?;
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(&dir).map_err(files::at("read", &dir))? {
        let file = entry.map_err(files::at("read", &dir))?.file_name();
        let Some(file) = file.to_str() else { continue };
        let Some(name) = file.strip_suffix(".json").and_then(|n| Name::new(n).ok()) else {
            continue;
        };
        let bytes = files::read(&dir, file)?.unwrap_or_default();
        if let Ok(issued) = serde_json::from_slice(&bytes) {
            all.insert(name, issued);
        }
    }
    Ok(all)
}
