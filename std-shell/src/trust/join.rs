//! Enrolment, the joining node's side.

use super::authority::{CA_FILE, NODE_FILE, NODE_KEY_FILE};
use super::certificate::{self, CertificateError};
use super::enrol::{EnrolRequest, Enrolled};
use super::files::{self, FileError};
use super::identity::{self, IdentityError};
use super::revocation::Revocations;
use super::text::{self, JoinToken};
use super::tls;
use crate::proxy::{Proxy, ReachError, reach};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use redlink_core::Name;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const CONNECT_TIME: Duration = Duration::from_secs(10);
const ANSWER_TIME: Duration = Duration::from_secs(30);
const ANSWER_MAX: usize = 64 * 1024;

/// The key of a join that is under way. It stays until the certificate for it is there, so that a join that is tried
/// again asks for the same, and a lost answer is no lost token.
const NEW_KEY_FILE: &str = "node-key.new.pem";

/// How joining ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// This node has a certificate of the token's mesh and needs no other yet: the token was not used.
    Already,
    /// It has one now.
    New {
        /// Hosts that were asked for and belong to another node.
        left_out: Vec<String>,
    },
}

/// A node could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The directory belongs to a node of another mesh or name, or to the first node of one.
    #[error("{} already belongs to {whose}; join from another directory", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        whose: String,
    },
    /// The node can't be reached.
    #[error("can't reach {north}: {cause}")]
    Unreachable {
        /// `host:port`.
        north: String,
        /// Why.
        cause: io::Error,
    },
    /// What answers there is not of the token's mesh.
    #[error(
        "{north} is not a node of the token's mesh: it can't show the authority that the token names; is the URL right, and is the token of this mesh?"
    )]
    OtherMesh {
        /// `host:port`.
        north: String,
    },
    /// It is of the mesh, but its certificate is not for this host.
    #[error(
        "{north} is of the token's mesh, but its certificate is not good for that name: {cause}; dial it by a name that it knows, or set `hosts` in its configuration"
    )]
    NotTrusted {
        /// `host:port`.
        north: String,
        /// What TLS says.
        cause: rustls::Error,
    },
    /// There is no connection to it.
    #[error(transparent)]
    NoWay(#[from] ReachError),
    /// Something broke while they talked.
    #[error("talking to {north} failed: {what}")]
    Broken {
        /// `host:port`.
        north: String,
        /// What.
        what: String,
    },
    /// It said no.
    #[error("{north} refused: {detail}")]
    Refused {
        /// `host:port`.
        north: String,
        /// Its reason.
        detail: String,
    },
    /// Its certificate for us is not what was asked for.
    #[error("{north} answered with a certificate that is not for this node's key, name and mesh")]
    WrongCertificate {
        /// `host:port`.
        north: String,
    },
    /// This node's files.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<FileError> for JoinError {
    fn from(error: FileError) -> Self {
        Self::Identity(error.into())
    }
}

/// Makes the directory that of a node called `name` in the token's mesh, with a certificate from the node at
/// `host:port`, behind a proxy perhaps, which can be any of the mesh that reaches the one with the authority.
///
/// Nothing is told to a node that can't show the authority whose hash is in the token, and nobody is told the token:
/// the request is signed with it. With the same token again, as a service file may hold it for ever, nothing happens
/// unless the certificate has ended or was revoked.
///
/// # Errors
/// See [`JoinError`]; the directory then is as usable as it was.
pub async fn join(
    dir: &Path,
    host: &str,
    port: u16,
    proxy: Option<&Proxy>,
    token: &JoinToken,
    name: &Name,
    hosts: &[String],
) -> Result<Joined, JoinError> {
    files::make_directory(dir)?;
    if holds_good_certificate(dir, token, name)? {
        return Ok(Joined::Already);
    }
    let north = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let (mut sender, authority) = connect(&north, host, port, proxy, token).await?;

    let key = identity::load_or_make_key(dir, NEW_KEY_FILE)?;
    // The machine's own name is tried as well, and not missed if another node of the machine has it.
    let own = certificate::own_host_name().filter(|own| !hosts.contains(own));
    let broken = |what: String| JoinError::Broken {
        north: north.clone(),
        what,
    };
    let hosts = hosts.iter().chain(&own).cloned().collect();
    let body = EnrolRequest::new(token, name, signing_request(&key, name)?, hosts)
        .map_err(|e| broken(e.to_string()))?;
    let json = serde_json::to_vec(&body).map_err(|e| broken(e.to_string()))?;
    let request = Request::post("/v1/enrol")
        .header("host", &north)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(json)))
        .map_err(|e| broken(e.to_string()))?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(|e| e.to_string())?;
        Ok((status, body.to_bytes()))
    };
    let (status, body) = match timeout(ANSWER_TIME, talk).await {
        Ok(answer) => answer.map_err(broken)?,
        Err(_) => return Err(broken(format!("no answer within {} s", ANSWER_TIME.as_secs()))),
    };
    if status != StatusCode::OK {
        return Err(JoinError::Refused {
            north,
            detail: refusal(status, &body),
        });
    }
    let enrolled: Enrolled = serde_json::from_slice(&body).map_err(|e| broken(e.to_string()))?;
    let certificate =
        checked(&enrolled, token, name, &key, &authority).ok_or(JoinError::WrongCertificate { north })?;
    let pem = text::pem("CERTIFICATE", &authority);
    // Cut short between any two of these, the node joins again, with the key that is still pending.
    files::write_private(dir, CA_FILE, pem.as_bytes())?;
    files::write_private(dir, NODE_KEY_FILE, key.serialize_pem().as_bytes())?;
    files::write_private(dir, NODE_FILE, certificate.as_bytes())?;
    files::remove(dir, NEW_KEY_FILE)?;
    let mut left_out = enrolled.left_out;
    left_out.retain(|host| Some(host) != own.as_ref());
    Ok(Joined::New { left_out })
}

/// Whether the directory has what a join would bring. Refuses a directory that belongs to somebody else.
fn holds_good_certificate(dir: &Path, token: &JoinToken, name: &Name) -> Result<bool, JoinError> {
    let occupied = |whose: String| JoinError::Occupied {
        dir: dir.to_owned(),
        whose,
    };
    let stored = identity::stored(dir)?;
    let whose = |s: &certificate::Subject| identity::whose(&s.name, &s.mesh);
    if identity::has_authority(dir)? && files::read(dir, CA_FILE)?.is_some() {
        return Err(occupied(
            stored.map_or("the first node of a mesh".into(), |(_, s)| whose(&s)),
        ));
    }
    let Some((certificate, subject)) = stored else {
        return Ok(false);
    };
    let ca = files::read(dir, CA_FILE)?.and_then(|pem| CertificateDer::from_pem_slice(&pem).ok());
    let same_authority = ca.as_ref().is_some_and(|ca| tls::sha256(ca) == token.authority);
    if !same_authority || subject.name != *name || subject.mesh != token.mesh {
        return Err(occupied(whose(&subject)));
    }
    // A list that can't be read is a matter of the start.
    let revoked = ca.is_some_and(|ca| Revocations::load(dir, &ca).is_ok_and(|list| list.holds(&certificate)));
    let key = files::read_secret(dir, NODE_KEY_FILE)?.and_then(|pem| String::from_utf8(pem).ok());
    let paired = key
        .and_then(|pem| KeyPair::from_pem(&pem).ok())
        .is_some_and(|key| identity::is_pair(&certificate, &key));
    Ok(paired && !revoked && SystemTime::now() < subject.not_after)
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

async fn connect(
    north: &str,
    host: &str,
    port: u16,
    proxy: Option<&Proxy>,
    token: &JoinToken,
) -> Result<(Sender, CertificateDer<'static>), JoinError> {
    let unreachable = |cause| JoinError::Unreachable {
        north: north.to_owned(),
        cause,
    };
    let broken = |what: String| JoinError::Broken {
        north: north.to_owned(),
        what,
    };
    let server = ServerName::try_from(host.to_owned()).map_err(|e| unreachable(io::Error::other(e)))?;
    let stream = reach(host, port, proxy).await?;
    let (config, pinned) = tls::pinned(token.authority).map_err(|e| broken(e.to_string()))?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = match timeout(CONNECT_TIME, connector.connect(server, stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(tls_error(north, error)),
        Err(_) => return Err(broken("no answer in time".into())),
    };
    let (_, connection) = stream.get_ref();
    let peer = connection.peer_certificates().unwrap_or_default();
    // Only nodes enrol: a program's certificate of the same mesh must not be told a secret.
    certificate::peer_name(&token.mesh, peer, SystemTime::now())
        .map_err(|e: CertificateError| broken(e.to_string()))?;
    let authority = pinned
        .authority()
        .cloned()
        .ok_or_else(|| broken("the handshake showed no chain".into()))?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| broken(e.to_string()))?;
    // Ends with the sender. What it fails with, the request fails with too.
    tokio::spawn(connection);
    Ok((sender, authority))
}

fn tls_error(north: &str, error: io::Error) -> JoinError {
    let north = north.to_owned();
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>())
        .cloned();
    match inner {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            JoinError::OtherMesh { north }
        }
        Some(cause @ rustls::Error::InvalidCertificate(_)) => JoinError::NotTrusted { north, cause },
        _ => JoinError::Unreachable { north, cause: error },
    }
}

fn signing_request(key: &KeyPair, name: &Name) -> Result<String, JoinError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name.as_str());
    let request = params.serialize_request(key).and_then(|csr| csr.pem());
    request.map_err(|e| IdentityError::Authority(e.into()).into())
}

/// The certificate's PEM, if it is ours in every respect.
fn checked(
    enrolled: &Enrolled,
    token: &JoinToken,
    name: &Name,
    key: &KeyPair,
    authority: &CertificateDer<'_>,
) -> Option<String> {
    let certificate = CertificateDer::from_pem_slice(enrolled.certificate.as_bytes()).ok()?;
    let subject = certificate::read(&certificate).ok()?;
    let ours = subject.name == *name
        && subject.mesh == token.mesh
        && identity::is_pair(&certificate, key)
        && certificate::is_signed_by(&certificate, authority);
    ours.then(|| enrolled.certificate.clone())
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
    }
    serde_json::from_slice::<Problem>(body).map_or_else(|_| format!("it answered {status}"), |p| p.detail)
}
