//! What a node is to others: its certificate and key, and how it checks theirs.
//!
//! All of that may change while the node runs: the certificate is renewed, the authority revokes others, somebody puts
//! other files into the directory. What is true now is one [`Current`], replaced as a whole; whoever makes or takes a
//! connection asks for the configuration of that moment, so nothing that is up is touched.

use super::admin::{AdminError, AdminToken};
use super::authority::{Authority, AuthorityError, CA_FILE, CA_KEY_FILE, NODE_FILE, NODE_KEY_FILE};
use super::certificate::{self, CertificateError, LIFE_DEFAULT, Subject};
use super::current::{Current, ca, fingerprint, malformed};
use super::files::{self, FileError};
use super::own::{OwnError, OwnFiles};
use super::revocation::{RevocationError, Revocations};
use rcgen::{KeyPair, PublicKeyData};
use redlink_core::Name;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// What the settings say about a node's trust.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Names and addresses under which other machines dial this node, besides `localhost` and the machine's own name.
    pub hosts: Vec<String>,
    /// How long the certificates live that this node signs, if it holds the authority.
    pub certificate_life: Duration,
    /// Certificates of another authority than the mesh's own; none for that.
    pub own: Option<OwnFiles>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            certificate_life: LIFE_DEFAULT,
            own: None,
        }
    }
}

/// What a node proves its name with, and how it lets others in.
pub struct Identity {
    /// The node's name.
    pub name: Name,
    /// Its mesh.
    pub mesh: Name,
    /// Lets programs and people of this machine in.
    pub admin: AdminToken,
    /// Lets nodes join; only on the node that made the mesh.
    pub authority: Option<Arc<Authority>>,
    /// Whether the mesh was made just now.
    pub created: bool,
    pub(super) dir: PathBuf,
    pub(super) wishes: Wishes,
    pub(super) current: watch::Sender<Arc<Current>>,
    /// One change of the files at a time.
    pub(super) changing: Mutex<()>,
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
    #[error(
        "the certificate in {} has ended, because this node was away for long; make a token with `redlink token create` at \
         a node of the mesh, and start this one with --token to join again: it keeps its messages", .0.display()
    )]
    Ended(PathBuf),
    /// The authority has revoked it.
    #[error(
        "the certificate in {} was revoked: this node was put out of its mesh; to let it in again, make a token with \
         `redlink token create` at a node of the mesh, and start this one with --token", .0.display()
    )]
    Revoked(PathBuf),
    /// The list of revoked certificates.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// Certificates of another authority.
    #[error(transparent)]
    Own(#[from] OwnError),
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
    /// On the node that holds the authority the certificate is renewed when less than a third of its life is left, or
    /// when a host is missing in it.
    ///
    /// # Errors
    /// Files that can't be read, written or understood, or that belong to a node of another name.
    pub fn load_or_create(
        dir: &Path,
        name: &Name,
        mesh: &Name,
        wishes: &Wishes,
    ) -> Result<Self, IdentityError> {
        Self::load_or_create_at(dir, name, mesh, wishes, SystemTime::now())
    }

    /// The node's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn load_or_create_at(
        dir: &Path,
        name: &Name,
        mesh: &Name,
        wishes: &Wishes,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        files::make_directory(dir)?;
        let mut created = false;
        let mut authority = None;
        if wishes.own.is_none() {
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
            created = stored.is_none() && files::read(dir, CA_FILE)?.is_none();
            if created {
                Authority::create(dir, mesh, now)?;
            }
            authority = Authority::load(dir, mesh, name, wishes.certificate_life)?;
            match (&stored, &authority) {
                (_, Some(authority)) => renew_own(dir, authority, &wishes.hosts, now)?,
                (Some((_, subject)), None) if now > subject.not_after => {
                    return Err(IdentityError::Ended(dir.join(NODE_FILE)));
                }
                (Some(_), None) => {}
                (None, None) => return Err(IdentityError::Interrupted(dir.to_owned())),
            }
        }
        let current = Current::load(dir, name, mesh, wishes, now)?;
        if current.revoked {
            return Err(IdentityError::Revoked(dir.join(NODE_FILE)));
        }
        let ca = wishes
            .own
            .as_ref()
            .map_or(dir.join(CA_FILE), |own| own.ca.clone());
        let admin = AdminToken::load_or_create(dir, &ca)?;
        Ok(Self {
            name: name.clone(),
            mesh: mesh.clone(),
            admin,
            authority: authority.map(Arc::new),
            created,
            dir: dir.to_owned(),
            wishes: wishes.clone(),
            current: watch::Sender::new(Arc::new(current)),
            changing: Mutex::new(()),
        })
    }

    fn now(&self) -> Arc<Current> {
        self.current.borrow().clone()
    }

    /// For the next connection that comes in: HTTP/2 and 1.1; a client certificate is optional and, if shown, one of
    /// the mesh.
    pub fn server(&self) -> Arc<rustls::ServerConfig> {
        self.now().server.clone()
    }

    /// For the next connection to a peer: HTTP/2; shows this node's certificate, trusts the mesh's authority only.
    pub fn client(&self) -> Arc<rustls::ClientConfig> {
        self.now().client.clone()
    }

    /// Host names and addresses in the certificate.
    pub fn hosts(&self) -> Vec<String> {
        self.now().subject.hosts.clone()
    }

    /// When the certificate ends.
    pub fn until(&self) -> SystemTime {
        self.now().subject.not_after
    }

    /// From when on the certificate should be renewed; none if that is not this program's to do.
    pub(super) fn renewal(&self) -> Option<SystemTime> {
        self.wishes.own.is_none().then(|| self.now().subject.renewal())
    }

    /// Whether a host of the settings is missing in the certificate.
    pub(super) fn lacks_hosts(&self) -> bool {
        let current = self.now();
        let mut wanted = self
            .wishes
            .hosts
            .iter()
            .filter_map(|h| certificate::valid_host(h));
        wanted.any(|host| !current.subject.hosts.contains(&host))
    }

    /// Whether its certificates are of an authority of somebody's own.
    pub(crate) fn has_own_files(&self) -> bool {
        self.wishes.own.is_some()
    }

    /// Whether this node's certificate was revoked.
    pub(super) fn is_revoked(&self) -> bool {
        self.now().revoked
    }

    /// The newest list of revoked certificates that this node has.
    pub fn revocations(&self) -> Arc<Revocations> {
        self.now().revocations.clone()
    }

    /// Told of each change.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Current>> {
        self.current.subscribe()
    }

    /// Waits until the list of revoked certificates has a number over `after`, and gives it.
    pub async fn newer_revocations(&self, after: u64) -> Arc<Revocations> {
        let mut changes = self.changes();
        // The sender lives in `self`, so this is not an error.
        let newer = changes.wait_for(|now| now.revocations.number() > after).await;
        if newer.map(drop).is_err() {
            return std::future::pending().await;
        }
        self.revocations()
    }

    /// The name that a peer's certificate proves. `certificates` is the chain that the TLS connection has verified
    /// already, the peer's own first.
    ///
    /// # Errors
    /// The certificate is of another mesh, of no node, out of its time, or revoked.
    pub fn peer_name(&self, certificates: &[CertificateDer<'_>]) -> Result<Name, CertificateError> {
        let name = certificate::peer_name(&self.mesh, certificates, SystemTime::now())?;
        // The list may have come since the handshake began.
        let revocations = self.revocations();
        if certificates.first().is_some_and(|own| revocations.holds(own)) {
            return Err(CertificateError::Revoked);
        }
        Ok(name)
    }

    /// Waits until the first certificate of a peer's chain is revoked; for ever if there is none.
    pub async fn until_revoked(&self, certificates: &[CertificateDer<'_>]) {
        let Some(Ok(serial)) = certificates.first().map(certificate::serial) else {
            return std::future::pending().await;
        };
        let mut changes = self.changes();
        let revoked = changes
            .wait_for(|now| now.revocations.revoked(&serial).is_some())
            .await;
        if revoked.map(drop).is_err() {
            std::future::pending().await
        }
    }

    /// Looks at the files again, and goes by them from now on if something in them has changed; whether it has. A state
    /// in between, such as a key without its certificate, changes nothing.
    ///
    /// # Errors
    /// They can't be used. What was true stays true.
    pub fn reload(&self) -> Result<bool, IdentityError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload_now()
    }

    pub(super) fn reload_now(&self) -> Result<bool, IdentityError> {
        if fingerprint(&self.dir, &self.wishes)? == self.now().made_of {
            return Ok(false);
        }
        let new = Current::load(&self.dir, &self.name, &self.mesh, &self.wishes, SystemTime::now())?;
        self.current.send_replace(Arc::new(new));
        Ok(true)
    }

    /// Takes a list of revoked certificates that a peer has, if it is newer than this node's; whether it was. Reads and
    /// writes files.
    ///
    /// # Errors
    /// It is not this mesh's authority's, or can't be written.
    pub fn learn_revocations(&self, der: &[u8]) -> Result<bool, IdentityError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.wishes.own.is_some() {
            return Ok(false);
        }
        let list = Revocations::read(der, &ca(&self.dir)?)?;
        if list.number() <= self.now().revocations.number() {
            return Ok(false);
        }
        list.save(&self.dir)?;
        self.reload_now()
    }

    /// Renews the certificate of the authority's own node.
    pub(super) fn renew_own(&self, authority: &Authority) -> Result<(), IdentityError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        renew_own(&self.dir, authority, &self.wishes.hosts, SystemTime::now())?;
        self.reload_now()?;
        Ok(())
    }
}

pub(super) fn whose(name: &Name, mesh: &Name) -> String {
    format!("the node `{name}` of the mesh `{mesh}`")
}

/// The authority's own node gets its certificate without a token, when it has none, when a third of its life is left or
/// when a host is missing in it. Its key stays.
fn renew_own(
    dir: &Path,
    authority: &Authority,
    hosts: &[String],
    now: SystemTime,
) -> Result<(), IdentityError> {
    let mut wanted = certificate::LOCAL_HOSTS.map(str::to_owned).to_vec();
    wanted.extend(certificate::node_host(&authority.own));
    wanted.extend(certificate::own_host_name());
    wanted.extend(hosts.iter().filter_map(|h| certificate::valid_host(h)));
    wanted.sort();
    wanted.dedup();
    let fresh = stored(dir)?.is_some_and(|(_, subject)| {
        subject.not_before <= now
            && now < subject.renewal()
            && wanted.iter().all(|h| subject.hosts.contains(h))
    });
    if fresh {
        return Ok(());
    }
    let key = load_or_make_key(dir, NODE_KEY_FILE)?;
    let mut state = authority.state();
    let signed = authority.issue(&mut state, &authority.own, &wanted, &key, &authority.own, now)?;
    files::write_private(dir, NODE_FILE, signed.pem().as_bytes())?;
    Ok(())
}

/// The key in a file; made, and on disk, if there is none.
pub(super) fn load_or_make_key(dir: &Path, file: &str) -> Result<KeyPair, IdentityError> {
    if let Some(pem) = files::read_secret(dir, file)? {
        let key = String::from_utf8(pem)
            .ok()
            .and_then(|pem| KeyPair::from_pem(&pem).ok());
        return key.ok_or_else(|| malformed(dir, "private key", file));
    }
    let key = KeyPair::generate().map_err(AuthorityError::from)?;
    files::write_private(dir, file, key.serialize_pem().as_bytes())?;
    Ok(key)
}

/// Whether a certificate is for this key.
pub(super) fn is_pair(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    certificate::public_key(certificate).is_ok_and(|public| public == key.subject_public_key_info())
}

/// Whether this directory's node made its mesh.
pub(super) fn has_authority(dir: &Path) -> Result<bool, FileError> {
    Ok(files::read(dir, CA_KEY_FILE)?.is_some())
}
