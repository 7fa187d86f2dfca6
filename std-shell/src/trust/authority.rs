//! The mesh's certificate authority, on the node that made the mesh.

use super::admin::hex;
use super::certificate::{self, CLOCK_SLACK, CertificateError};
use super::files::{self, FileError};
use super::revocation::{RevocationError, Revocations};
use super::sign::TokenKey;
use super::text::JoinToken;
use super::tls;
use super::tokens::{NewToken, TokenError, Tokens, seconds};
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
    /// The list of revoked certificates.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] rustls::Error),
}

/// One certificate that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Signed {
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// When it was signed, in seconds since the Unix epoch.
    pub from: u64,
    /// When it ends, in seconds since the Unix epoch.
    pub until: u64,
}

/// What was signed for a node, as far as later decisions need it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Issued {
    pub(super) hosts: Vec<String>,
    /// SHA-256 of the public key, in hexadecimal digits.
    pub(super) key: String,
    /// The node whose administrator let it in.
    pub(super) by: String,
    /// Those that may still be good, the newest last.
    pub(super) certificates: Vec<Signed>,
    /// When they were all revoked; none if the name was let in again since.
    pub(super) revoked: Option<u64>,
    /// When the last renewal was asked for, in milliseconds since the Unix epoch.
    #[serde(skip)]
    pub(super) asked: u64,
}

impl Issued {
    /// When the last of its certificates ends, in seconds since the Unix epoch.
    pub(super) fn until(&self) -> u64 {
        self.certificates.iter().map(|c| c.until).max().unwrap_or(0)
    }
}

/// What the authority knows of a node, as `GET /v1/ca` tells it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// Host names and addresses in its certificate.
    pub hosts: Vec<String>,
    /// The node whose administrator let it in.
    pub invited_by: String,
    /// Its certificates that have not ended, the newest last.
    pub certificates: Vec<Signed>,
    /// When they were revoked, in seconds since the Unix epoch, if they were.
    pub revoked: Option<u64>,
}

/// A node can't be put out.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Nobody was let in by this name.
    #[error("no node was let in as `{0}`; `redlink ca show` lists them")]
    Unknown(Name),
    /// The authority's own node.
    #[error("`{0}` is the node that holds the authority, and can't be put out; stop it instead")]
    Own(Name),
    /// All of its certificates have ended by themselves.
    #[error("the last certificate of `{0}` has ended already: it can't come in")]
    Ended(Name),
    /// The authority's own trouble.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
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
    pub(super) dir: PathBuf,
    /// How long the certificates live that it signs.
    life: Duration,
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
    pub(super) fn load(
        dir: &Path,
        mesh: &Name,
        own: &Name,
        life: Duration,
    ) -> Result<Option<Self>, AuthorityError> {
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
            life,
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
        let secret = tls::random::<32>()?;
        let id = TokenKey::new(&secret)?.id();
        let expires = self.state().tokens.add(id, ttl, &self.own, SystemTime::now())?;
        let token = JoinToken::new(&self.mesh, &self.certificate, secret);
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
        by: &str,
        now: SystemTime,
    ) -> Result<Certificate, AuthorityError> {
        let params = certificate::node(&self.mesh, name, hosts, tls::random()?, now, self.life);
        let certificate = params.signed_by(key, &self.issuer)?;
        let signed = Signed {
            serial: hex(&certificate::serial(certificate.der())?),
            from: seconds(now),
            until: seconds(certificate::read(certificate.der())?.not_after),
        };
        let mut certificates = match state.issued.get(name) {
            Some(earlier) => earlier.certificates.clone(),
            None => Vec::new(),
        };
        certificates.retain(|c| c.until + CLOCK_SLACK.as_secs() > seconds(now));
        certificates.push(signed);
        let issued = Issued {
            hosts: hosts.to_vec(),
            key: hex(&tls::sha256(&key.subject_public_key_info())),
            by: by.to_owned(),
            certificates,
            revoked: None,
            asked: 0,
        };
        self.record(state, name, issued)?;
        Ok(certificate)
    }

    /// Takes note of a certificate that this authority has signed and, restored from a backup, does not know of.
    pub(super) fn adopt(
        &self,
        state: &mut State,
        name: &Name,
        certificate: &CertificateDer<'_>,
    ) -> Result<(), AuthorityError> {
        let serial = hex(&certificate::serial(certificate)?);
        let subject = certificate::read(certificate)?;
        let mut issued = state.issued.get(name).cloned().map_or_else(
            || {
                Ok::<_, CertificateError>(Issued {
                    hosts: subject.hosts.clone(),
                    key: hex(&tls::sha256(&certificate::public_key(certificate)?)),
                    by: String::new(),
                    certificates: Vec::new(),
                    revoked: None,
                    asked: 0,
                })
            },
            Ok,
        )?;
        if issued.certificates.iter().any(|known| known.serial == serial) {
            return Ok(());
        }
        // In front: it is older than what is known, or the only one.
        let signed = Signed {
            serial,
            from: seconds(subject.not_before + CLOCK_SLACK),
            until: seconds(subject.not_after),
        };
        issued.certificates.insert(0, signed);
        self.record(state, name, issued)
    }

    fn record(&self, state: &mut State, name: &Name, issued: Issued) -> Result<(), AuthorityError> {
        // All members are plain values: this can't fail.
        let json = serde_json::to_vec(&issued).unwrap_or_default();
        files::write_private(&self.dir.join(ISSUED), &format!("{name}.json"), &json)?;
        state.issued.insert(name.clone(), issued);
        Ok(())
    }

    /// Puts a node out: none of its certificates counts any more, wherever the list is known that this makes and
    /// writes into the directory. How many certificates that were.
    ///
    /// # Errors
    /// There is no such node, it is this one, or the list can't be made.
    pub fn revoke(&self, name: &Name) -> Result<usize, RevokeError> {
        self.revoke_at(name, SystemTime::now())
    }

    pub(super) fn revoke_at(&self, name: &Name, now: SystemTime) -> Result<usize, RevokeError> {
        if *name == self.own {
            return Err(RevokeError::Own(name.clone()));
        }
        let mut state = self.state();
        let issued = state.issued.get(name).cloned();
        let mut issued = issued.ok_or_else(|| RevokeError::Unknown(name.clone()))?;
        let serials: Vec<_> = issued
            .certificates
            .iter()
            .filter(|c| c.until + CLOCK_SLACK.as_secs() > seconds(now))
            .filter_map(|c| unhex(&c.serial))
            .collect();
        if serials.is_empty() {
            return Err(RevokeError::Ended(name.clone()));
        }
        let count = serials.len();
        let known = Revocations::load(&self.dir, &self.certificate).map_err(AuthorityError::from)?;
        let list = known.with(serials.into_iter(), &self.issuer, &self.certificate, now)?;
        // The list is what counts; the record only tells people.
        list.save(&self.dir).map_err(AuthorityError::from)?;
        issued.revoked = Some(seconds(now));
        self.record(&mut state, name, issued)?;
        // Else its last deed could be to invite itself.
        let tokens = state.tokens.drop_of(name).map_err(AuthorityError::from)?;
        tracing::warn!(node = %name, certificates = count, tokens, "revoked");
        Ok(count)
    }

    /// The nodes that were let in, and whose certificates have not all ended.
    pub fn nodes(&self) -> Vec<NodeRecord> {
        let now = seconds(SystemTime::now());
        let state = self.state();
        let records = state.issued.iter().map(|(name, issued)| NodeRecord {
            name: name.to_string(),
            hosts: issued.hosts.clone(),
            invited_by: issued.by.clone(),
            certificates: issued
                .certificates
                .iter()
                .filter(|c| c.until > now)
                .cloned()
                .collect(),
            revoked: issued.revoked,
        });
        records.filter(|r| !r.certificates.is_empty()).collect()
    }

    /// What changes. A holder that panicked has left nothing half done in it: each member is changed by one insert or
    /// remove, after its file.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ISSUED: &str = "issued";

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn load_issued(dir: &Path) -> Result<BTreeMap<Name, Issued>, AuthorityError> {
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
        // Without it the node could not be put out.
        let issued = serde_json::from_slice(&bytes).map_err(|_| AuthorityError::Malformed {
            what: "record of what was signed for a node",
            path: dir.join(file),
        })?;
        all.insert(name, issued);
    }
    Ok(all)
}
