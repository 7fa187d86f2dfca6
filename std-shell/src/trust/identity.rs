//! What a node is to others: its certificate and key, and how it checks theirs.

use super::admin::{AdminError, AdminToken};
use super::authority::{Authority, AuthorityError, CA_FILE, CA_KEY_FILE, NODE_FILE, NODE_KEY_FILE};
use super::certificate::{self, CertificateError, NODE_LIFE, Subject};
use super::files::{self, FileError};
use super::tls::{self, Credential};
use rcgen::{KeyPair, PublicKeyData};
use redlink_core::Name;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// What a node proves its name with, and how it lets others in.
pub struct Identity {
    /// The node's name.
    pub name: Name,
    /// Its mesh.
    pub mesh: Name,
    /// For the listener: HTTP/2 and 1.1; a client certificate is optional and, if shown, one of the mesh.
    pub server: Arc<rustls::ServerConfig>,
    /// For links to peers: HTTP/2; shows this node's certificate, trusts the mesh's authority only.
    pub client: Arc<rustls::ClientConfig>,
    /// Lets programs and people of this machine in.
    pub admin: AdminToken,
    /// Lets nodes join; only on the node that made the mesh.
    pub authority: Option<Arc<Authority>>,
    /// Host names and addresses in the certificate.
    pub hosts: Vec<String>,
    /// When the certificate ends.
    pub until: SystemTime,
    /// Whether the mesh was made just now.
    pub created: bool,
}

/// A node's identity can't be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The administrator's token.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A certificate.
    #[error("{}: {cause}", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: CertificateError,
    },
    /// The key and the certificate are no pair, or one of them is damaged.
    #[error("{} and {NODE_KEY_FILE} beside it can't be used: {cause}; remove both, then start again (the mesh's first node) or join again", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
    /// The directory belongs to a node of another name or mesh.
    #[error(
        "{} belongs to {stored}, but is to be that of {wanted}; leave the name and the mesh as they were, or start the \
         new node in another directory", dir.display()
    )]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        stored: String,
        /// What was asked for.
        wanted: String,
    },
    /// Joining was cut short.
    #[error("{} has the authority of a mesh but no certificate of its own: joining was cut short; join again", .0.display())]
    Interrupted(PathBuf),
    /// The node was away longer than its certificate lived, and holds no key to renew it.
    #[error("the certificate in {} has ended; make a token on the first node of the mesh and join again with it", .0.display())]
    Ended(PathBuf),
}

/// The name and the mesh of the node that a directory belongs to, if it belongs to one.
///
/// # Errors
/// There is a certificate, but it can't be read.
pub fn stored_name(dir: &Path) -> Result<Option<(Name, Name)>, IdentityError> {
    Ok(stored(dir)?.map(|(_, subject)| (subject.name, subject.mesh)))
}

pub(super) fn stored(dir: &Path) -> Result<Option<(CertificateDer<'static>, Subject)>, IdentityError> {
    let Some(pem) = files::read(dir, NODE_FILE)? else {
        return Ok(None);
    };
    let bad = |cause| IdentityError::Certificate {
        path: dir.join(NODE_FILE),
        cause,
    };
    let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_| bad(CertificateError::Malformed))?;
    let subject = certificate::read(&certificate).map_err(bad)?;
    Ok(Some((certificate, subject)))
}

impl Identity {
    /// Reads the node's identity from its directory, or makes a mesh there, of which this is the first node.
    ///
    /// `hosts` are names and addresses under which other machines dial this node, besides `localhost` and the
    /// machine's own name. On the node that holds the authority the certificate is renewed when less than a third of
    /// its life is left, or when a host is missing in it.
    ///
    /// # Errors
    /// Files that can't be read, written or understood, or that belong to a node of another name.
    pub fn load_or_create(
        dir: &Path,
        name: &Name,
        mesh: &Name,
        hosts: &[String],
    ) -> Result<Self, IdentityError> {
        Self::load_or_create_at(dir, name, mesh, hosts, SystemTime::now())
    }

    pub(super) fn load_or_create_at(
        dir: &Path,
        name: &Name,
        mesh: &Name,
        hosts: &[String],
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        files::make_directory(dir)?;
        let stored = stored(dir)?;
        if let Some((_, subject)) = stored
            .as_ref()
            .filter(|(_, s)| s.name != *name || s.mesh != *mesh)
        {
            return Err(IdentityError::OtherNode {
                dir: dir.to_owned(),
                stored: whose(&subject.name, &subject.mesh),
                wanted: whose(name, mesh),
            });
        }
        let created = stored.is_none() && files::read(dir, CA_FILE)?.is_none();
        if created {
            Authority::create(dir, mesh, now)?;
        }
        let authority = Authority::load(dir, mesh, name)?;
        let mut wanted = certificate::LOCAL_HOSTS.map(str::to_owned).to_vec();
        wanted.extend(certificate::node_host(name));
        wanted.extend(certificate::own_host_name());
        wanted.extend(hosts.iter().filter_map(|h| certificate::valid_host(h)));
        let (certificate, subject) = match (stored, &authority) {
            (Some((certificate, subject)), None) => {
                if now > subject.not_after {
                    return Err(IdentityError::Ended(dir.join(NODE_FILE)));
                }
                warn_of_end(&subject, now);
                warn_of_missing(&subject, hosts);
                (certificate, subject)
            }
            (Some((certificate, subject)), Some(_)) if fresh(&subject, &wanted, now) => {
                (certificate, subject)
            }
            (_, Some(authority)) => sign_own(dir, authority, &wanted, now)?,
            (None, None) => return Err(IdentityError::Interrupted(dir.to_owned())),
        };
        let admin = AdminToken::load_or_create(dir, CA_FILE)?;
        let unusable = |cause| IdentityError::Unusable {
            path: dir.join(NODE_FILE),
            cause,
        };
        let own = credential(dir, certificate)?;
        Ok(Self {
            name: subject.name,
            mesh: subject.mesh,
            server: Arc::new(tls::server(&own).map_err(unusable)?),
            client: Arc::new(tls::client(&own).map_err(unusable)?),
            admin,
            authority: authority.map(Arc::new),
            hosts: subject.hosts,
            until: subject.not_after,
            created,
        })
    }
}

pub(super) fn whose(name: &Name, mesh: &Name) -> String {
    format!("the node `{name}` of the mesh `{mesh}`")
}

fn fresh(subject: &Subject, wanted: &[String], now: SystemTime) -> bool {
    let renewal = subject.not_after - NODE_LIFE / 3;
    subject.not_before <= now && now < renewal && wanted.iter().all(|h| subject.hosts.contains(h))
}

fn warn_of_end(subject: &Subject, now: SystemTime) {
    let left = subject.not_after.duration_since(now).unwrap_or_default();
    if left < NODE_LIFE / 3 {
        let days = left.as_secs() / 86_400;
        tracing::warn!(
            days,
            "this node's certificate ends soon; join again with a new token to renew it"
        );
    }
}

fn warn_of_missing(subject: &Subject, hosts: &[String]) {
    let missing: Vec<_> = hosts
        .iter()
        .filter_map(|h| certificate::valid_host(h))
        .filter(|h| !subject.hosts.contains(h))
        .collect();
    if !missing.is_empty() {
        tracing::warn!(hosts = ?missing, "not in this node's certificate: nobody can dial it by these names");
    }
}

/// The authority's own node gets its certificate without a token; its key stays when it is renewed.
fn sign_own(
    dir: &Path,
    authority: &Authority,
    hosts: &[String],
    now: SystemTime,
) -> Result<(CertificateDer<'static>, Subject), IdentityError> {
    let key = load_or_make_key(dir)?;
    let mut hosts = hosts.to_vec();
    hosts.sort();
    hosts.dedup();
    let signed = authority.issue(&mut authority.state(), &authority.own, &hosts, &key, now)?;
    files::write_private(dir, NODE_FILE, signed.pem().as_bytes())?;
    let certificate = signed.der().clone();
    let subject = certificate::read(&certificate).map_err(|cause| IdentityError::Certificate {
        path: dir.join(NODE_FILE),
        cause,
    })?;
    Ok((certificate, subject))
}

/// This node's key; made, and on disk, if it has none.
pub(super) fn load_or_make_key(dir: &Path) -> Result<KeyPair, IdentityError> {
    if let Some(pem) = files::read_secret(dir, NODE_KEY_FILE)? {
        let malformed = AuthorityError::Malformed {
            what: "private key",
            path: dir.join(NODE_KEY_FILE),
        };
        let key = String::from_utf8(pem)
            .ok()
            .and_then(|pem| KeyPair::from_pem(&pem).ok());
        return Ok(key.ok_or(malformed)?);
    }
    let key = KeyPair::generate().map_err(AuthorityError::from)?;
    files::write_private(dir, NODE_KEY_FILE, key.serialize_pem().as_bytes())?;
    Ok(key)
}

fn credential(dir: &Path, certificate: CertificateDer<'static>) -> Result<Credential, IdentityError> {
    let malformed = |what, file| AuthorityError::Malformed {
        what,
        path: dir.join(file),
    };
    let ca = files::read(dir, CA_FILE)?.unwrap_or_default();
    let ca = CertificateDer::from_pem_slice(&ca).map_err(|_| malformed("certificate", CA_FILE))?;
    let key = files::read_secret(dir, NODE_KEY_FILE)?.unwrap_or_default();
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| malformed("private key", NODE_KEY_FILE))?;
    Ok(Credential { certificate, ca, key })
}

/// Whether a certificate is for this key.
pub(super) fn is_pair(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    certificate::public_key(certificate).is_ok_and(|public| public == key.subject_public_key_info())
}

/// Whether this directory's node made its mesh.
pub(super) fn has_authority(dir: &Path) -> Result<bool, FileError> {
    Ok(files::read(dir, CA_KEY_FILE)?.is_some())
}
