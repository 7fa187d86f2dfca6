//! What the authority is asked for: to let a node in, to renew its certificate, to let its administrator invite others.
//!
//! Each request passes through nodes that must not gain by it, so it proves by a signature who made it, and what comes
//! back is of use to that one only: a certificate for a key that never leaves its node.

use super::authority::{Authority, AuthorityError, State};
use super::certificate::{self, CLOCK_SLACK, CertificateError, Subject};
use super::files::FileError;
use super::revocation::Revocations;
use super::sign::{self, SignError};
use super::text::JoinToken;
use super::tls;
use super::tokens::{self, Presented, TokenError, TokenRefused};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateSigningRequestParams, KeyPair, PublicKeyData, SubjectPublicKeyInfo};
use redlink_core::{Name, NameError};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Host names and addresses that one certificate may carry besides those of its own machine.
const HOSTS_MAX: usize = 16;

/// Body of `POST /v1/enrol`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// Which token, by the public half of its key; base64url.
    pub token: String,
    /// The node's name.
    pub name: String,
    /// A certificate signing request, PEM. Its signature proves that the sender has the key; of what it asks for only
    /// the public key is looked at.
    pub csr: String,
    /// Host names and addresses under which other machines may dial the node.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The token's signature of all of this, for this authority; base64url.
    pub proof: String,
}

/// Answer to `POST /v1/enrol`, and to a renewal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Enrolled {
    /// The node's certificate, PEM.
    pub certificate: String,
    /// The authority's certificate, PEM.
    pub authority: String,
    /// Of the hosts that were asked for, those that belong to another node of the mesh already.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// Who asks, by a certificate that is good now.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voucher {
    /// Its certificate, PEM.
    pub certificate: String,
    /// When it asked, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The signature of the certificate's key; base64url.
    pub proof: String,
}

/// Asks for another certificate of the same name and key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// As in [`EnrolRequest`].
    pub hosts: Vec<String>,
    /// By the certificate that is to be renewed.
    pub by: Voucher,
}

/// Asks that a token may let a node in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// The public half of the token's key; base64url. The other half stays where it was made.
    pub token: String,
    /// How long it is good for, in milliseconds.
    pub ttl: u64,
    /// By the node whose administrator wants it.
    pub by: Voucher,
}

/// A node is not let in, or gets no other certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// Not a name.
    #[error("the node's name: {0}")]
    Name(#[from] NameError),
    /// The name of the node that holds the authority.
    #[error("the name `{0}` belongs to the node that made the mesh; choose another with --name")]
    Taken(Name),
    /// The name of another machine that is in, and the token was not made where the authority is.
    #[error(
        "another machine is in the mesh as `{0}`; choose another name with --name, or, if that machine is gone, put it \
         out first (redlink ca revoke {0}, at the first node of the mesh) or use a token that was made there"
    )]
    Occupied(Name),
    /// A host is no host name and no address, or there are too many.
    #[error("`{0}` is no host name and no address, or there are more than {HOSTS_MAX} of them")]
    Host(String),
    /// Not a signing request, or its signature is wrong.
    #[error("the certificate signing request can't be used: {0}")]
    Request(rcgen::Error),
    /// The certificate that vouches for the request does not.
    #[error("the node's certificate is not accepted: {0}")]
    Voucher(#[from] VoucherError),
    /// A token can't be made.
    #[error(transparent)]
    Invite(#[from] TokenError),
    /// The authority's own trouble.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// A certificate does not vouch for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoucherError {
    /// It can't be read, is of another mesh, or is out of its time.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Somebody else signed it.
    #[error("it was not signed by this mesh's authority")]
    Stranger,
    /// Another key signed the request, or it was changed on its way.
    #[error("the request was not signed with its key, or was changed on its way")]
    Forged,
    /// The request is too old, or of the future, or was made before the last one.
    #[error("the request was not made just now; is a clock wrong?")]
    NotNow,
    /// The name was given to another key since.
    #[error("another machine has joined as `{0}` since; join again with a new token, under another name")]
    Superseded(Name),
}

impl From<FileError> for EnrolError {
    fn from(error: FileError) -> Self {
        Self::Authority(error.into())
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

impl EnrolRequest {
    /// Asks with a token.
    pub(crate) fn new(
        token: &JoinToken,
        name: &str,
        csr: String,
        hosts: Vec<String>,
    ) -> Result<Self, SignError> {
        let key = sign::TokenKey::new(&token.secret)?;
        let mut request = Self {
            token: URL_SAFE_NO_PAD.encode(key.id()),
            name: name.to_owned(),
            csr,
            hosts,
            proof: String::new(),
        };
        let proof = key.sign(&request.statement(&token.mesh, &token.authority));
        request.proof = URL_SAFE_NO_PAD.encode(proof);
        Ok(request)
    }

    fn statement(&self, mesh: &Name, authority: &[u8; 32]) -> Vec<u8> {
        sign::statement("enrol", &(mesh, authority, &self.name, &self.hosts, &self.csr))
    }

    /// Checks that it was made with the token that it names, whether or not that is good for anything; the token.
    ///
    /// # Errors
    /// It was not.
    pub(super) fn proved(&self, mesh: &Name, authority: &[u8; 32]) -> Result<[u8; 32], TokenRefused> {
        let id = decode::<32>(&self.token).ok_or(TokenRefused::Unknown)?;
        let proof = decode::<64>(&self.proof).ok_or(TokenRefused::Forged)?;
        if sign::by_token(&id, &self.statement(mesh, authority), &proof) {
            Ok(id)
        } else {
            Err(TokenRefused::Forged)
        }
    }
}

impl Voucher {
    /// Signs what is asked for with this node's key.
    fn new(
        kind: &str,
        asked: &impl Serialize,
        certificate: String,
        key: &KeyPair,
        now: SystemTime,
    ) -> Result<Self, SignError> {
        let at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        let proof = sign::with_node_key(key, &sign::statement(kind, &(at, asked)))?;
        Ok(Self {
            certificate,
            at,
            proof: URL_SAFE_NO_PAD.encode(proof),
        })
    }

    fn check(
        &self,
        kind: &str,
        asked: &impl Serialize,
        authority: &Authority,
        now: SystemTime,
    ) -> Result<(CertificateDer<'static>, Subject), EnrolError> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())
            .map_err(|_| VoucherError::Certificate(CertificateError::Malformed))?;
        if !certificate::is_signed_by(&certificate, &authority.certificate) {
            return Err(VoucherError::Stranger.into());
        }
        certificate::peer_name(&authority.mesh, std::slice::from_ref(&certificate), now)
            .map_err(VoucherError::Certificate)?;
        let revoked =
            Revocations::load(&authority.dir, &authority.certificate).map_err(AuthorityError::from)?;
        if revoked.holds(&certificate) {
            return Err(VoucherError::Certificate(CertificateError::Revoked).into());
        }
        let proof = URL_SAFE_NO_PAD
            .decode(&self.proof)
            .map_err(|_| VoucherError::Forged)?;
        let statement = sign::statement(kind, &(self.at, asked));
        if !sign::by_certificate(&certificate, &statement, &proof).map_err(VoucherError::Certificate)? {
            return Err(VoucherError::Forged.into());
        }
        let at = UNIX_EPOCH.checked_add(Duration::from_millis(self.at));
        let near = at.is_some_and(|at| at <= now + CLOCK_SLACK && now <= at + CLOCK_SLACK);
        if !near {
            return Err(VoucherError::NotNow.into());
        }
        let subject = certificate::read(&certificate).map_err(VoucherError::Certificate)?;
        Ok((certificate, subject))
    }
}

impl RenewRequest {
    pub(super) fn new(
        hosts: Vec<String>,
        certificate: String,
        key: &KeyPair,
        now: SystemTime,
    ) -> Result<Self, SignError> {
        let by = Voucher::new("renew", &hosts, certificate, key, now)?;
        Ok(Self { hosts, by })
    }
}

impl InviteRequest {
    pub(super) fn new(
        token: &[u8; 32],
        ttl: Duration,
        certificate: String,
        key: &KeyPair,
        now: SystemTime,
    ) -> Result<Self, SignError> {
        let token = URL_SAFE_NO_PAD.encode(sign::TokenKey::new(token)?.id());
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let by = Voucher::new("invite", &(&token, ttl), certificate, key, now)?;
        Ok(Self { token, ttl, by })
    }
}

impl Authority {
    /// Lets a node in. A name that was enrolled before is given again, for another key as well: a machine that lost its
    /// disk joins again with a new token. While the older certificate is good, only a token that was made here does so:
    /// another node's administrator must not be able to take over a node that is there. The older certificate stays
    /// good until it ends or is revoked, and is not renewed; two live nodes of one name are told apart, and one is
    /// refused, when they open a link.
    ///
    /// # Errors
    /// The token, the name, a host or the request is no good; then the token stays as it is. Or a file can't be
    /// written.
    pub fn enrol(&self, request: &EnrolRequest) -> Result<Enrolled, EnrolError> {
        self.enrol_at(request, SystemTime::now())
    }

    pub(super) fn enrol_at(&self, request: &EnrolRequest, now: SystemTime) -> Result<Enrolled, EnrolError> {
        // First of all: nothing else of a stranger's is looked at.
        let id = request.proved(&self.mesh, &tls::sha256(&self.certificate))?;
        let mut state = self.state();
        let csr = CertificateSigningRequestParams::from_pem(&request.csr);
        // The signature in a signing request differs each time; who asks again asks for the same key.
        let key = csr
            .as_ref()
            .map_or_else(|_| Vec::new(), |csr| csr.public_key.subject_public_key_info());
        let digest = tls::sha256(&sign::statement("asked", &(&request.name, &request.hosts, &key)));
        let (at, by) = match state.tokens.check(&id, &digest, now)? {
            Presented::Repeated(answer) => return Ok(*answer),
            Presented::Fresh { at, by } => (at, by),
        };
        let name = Name::new(&request.name)?;
        if name == self.own {
            return Err(EnrolError::Taken(name));
        }
        let csr = csr.map_err(EnrolError::Request)?;
        let asked_key = super::admin::hex(&tls::sha256(&key));
        let occupied = state.issued.get(&name).is_some_and(|issued| {
            issued.key != asked_key && issued.revoked.is_none() && issued.until() > tokens::seconds(now)
        });
        if occupied && by != *self.own {
            return Err(EnrolError::Occupied(name));
        }
        let (hosts, left_out) = share_out(&state, &name, &request.hosts, now)?;
        let certificate = self.issue(&mut state, &name, &hosts, &csr.public_key, &by, now)?;
        let enrolled = Enrolled {
            certificate: certificate.pem(),
            authority: self.pem.clone(),
            left_out,
        };
        state.tokens.spend(at, digest, &enrolled, now)?;
        tracing::info!(node = %name, ?hosts, invited_by = by, "enrolled");
        Ok(enrolled)
    }

    /// Gives a node another certificate for the name and the key that it has one for.
    ///
    /// # Errors
    /// Its certificate is not good any more, or the name was given to another key since; or a file can't be written.
    pub fn renew(&self, request: &RenewRequest) -> Result<Enrolled, EnrolError> {
        self.renew_at(request, SystemTime::now())
    }

    pub(super) fn renew_at(&self, request: &RenewRequest, now: SystemTime) -> Result<Enrolled, EnrolError> {
        let (certificate, subject) = request.by.check("renew", &request.hosts, self, now)?;
        let name = subject.name;
        if name == self.own {
            return Err(EnrolError::Taken(name));
        }
        let key = certificate::public_key(&certificate).map_err(VoucherError::Certificate)?;
        let mut state = self.state();
        self.adopt(&mut state, &name, &certificate)?;
        let by = match state.issued.get(&name) {
            Some(issued) if issued.key != super::admin::hex(&tls::sha256(&key)) => {
                return Err(VoucherError::Superseded(name).into());
            }
            // A request that somebody kept must not undo a later one.
            Some(issued) if issued.asked >= request.by.at => return Err(VoucherError::NotNow.into()),
            Some(issued) => issued.by.clone(),
            None => return Err(VoucherError::Stranger.into()),
        };
        let (hosts, left_out) = share_out(&state, &name, &request.hosts, now)?;
        let key = SubjectPublicKeyInfo::from_der(&key).map_err(EnrolError::Request)?;
        let certificate = self.issue(&mut state, &name, &hosts, &key, &by, now)?;
        if let Some(issued) = state.issued.get_mut(&name) {
            // In memory only: after a restart a kept request could at most bring back hosts of an hour ago.
            issued.asked = request.by.at;
        }
        tracing::info!(node = %name, "renewed a certificate");
        Ok(Enrolled {
            certificate: certificate.pem(),
            authority: self.pem.clone(),
            left_out,
        })
    }

    /// Takes note of a token that the administrator of another node of the mesh gives out; when it ends, in seconds
    /// since the Unix epoch.
    ///
    /// # Errors
    /// That node's certificate is not good, the time is out of range, too many tokens are out, or it can't be written
    /// down.
    pub fn invite(&self, request: &InviteRequest) -> Result<u64, EnrolError> {
        let now = SystemTime::now();
        let asked = (&request.token, request.ttl);
        let (_, subject) = request.by.check("invite", &asked, self, now)?;
        let id = decode::<32>(&request.token).ok_or(TokenRefused::Unknown)?;
        let ttl = Duration::from_millis(request.ttl);
        let expires = self.state().tokens.add(id, ttl, &subject.name, now)?;
        tracing::info!(by = %subject.name, "a join token was made at another node");
        Ok(expires)
    }
}

/// Splits hosts into those that `name` may be and those that are another node's: who joins must not be able to pass for
/// a node that is there. Names of the own machine are everybody's, and always given.
fn share_out(
    state: &State,
    name: &Name,
    asked: &[String],
    now: SystemTime,
) -> Result<(Vec<String>, Vec<String>), EnrolError> {
    if let Some(over) = asked.get(HOSTS_MAX) {
        return Err(EnrolError::Host(over.clone()));
    }
    let own = certificate::node_host(name);
    let mut given = certificate::LOCAL_HOSTS.map(str::to_owned).to_vec();
    let mut left_out = Vec::new();
    for host in asked.iter().chain(&own) {
        let host = certificate::valid_host(host).ok_or_else(|| EnrolError::Host(host.clone()))?;
        if given.contains(&host) || left_out.contains(&host) {
            continue;
        }
        // Such a name stands for the node of that name and for no other. Two nodes may share one, if their names
        // differ in case only: then it stays the first one's.
        let reserved = host.ends_with(certificate::NODE_DOMAIN) && Some(&host) != own.as_ref();
        let another = state.issued.iter().any(|(other, issued)| {
            other != name && issued.until() > tokens::seconds(now) && issued.hosts.contains(&host)
        });
        if another || reserved {
            left_out.push(host)
        } else {
            given.push(host)
        }
    }
    Ok((given, left_out))
}
