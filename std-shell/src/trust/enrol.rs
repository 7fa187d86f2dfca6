//! Enrolment, the authority's side: a token and a public key come in, a certificate goes out.

use super::authority::{Authority, AuthorityError, State};
use super::certificate;
use super::files::FileError;
use super::tokens::{self, TokenRefused};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::CertificateSigningRequestParams;
use redlink_core::{Name, NameError};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// Host names and addresses that one certificate may carry besides those of its own machine.
const HOSTS_MAX: usize = 16;

/// Body of `POST /v1/enrol`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The join token's secret, base64url. Not the whole token: what else is in it the authority knows.
    pub secret: String,
    /// The node's name.
    pub name: String,
    /// A certificate signing request, PEM. Its signature proves that the sender has the key; of what it asks for only
    /// the public key is looked at.
    pub csr: String,
    /// Host names and addresses under which other machines may dial the node.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// Answer to `POST /v1/enrol`.
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

/// A node is not let in.
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
    /// A host is no host name and no address, or there are too many.
    #[error("`{0}` is no host name and no address, or there are more than {HOSTS_MAX} of them")]
    Host(String),
    /// Not a signing request, or its signature is wrong.
    #[error("the certificate signing request can't be used: {0}")]
    Request(rcgen::Error),
    /// The authority's own trouble.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl From<FileError> for EnrolError {
    fn from(error: FileError) -> Self {
        Self::Authority(error.into())
    }
}

impl Authority {
    /// Lets a node in. A name that was enrolled before is given again, for another key as well: a machine that lost its
    /// disk joins again with a new token, and it is the administrator who made that. The older certificate stays good
    /// until it ends; two live nodes of one name are told apart, and one is refused, when they open a link.
    ///
    /// # Errors
    /// The token, the name, a host or the request is no good; then the token stays as it is. Or a file can't be
    /// written.
    pub fn enrol(&self, request: &EnrolRequest) -> Result<Enrolled, EnrolError> {
        self.enrol_at(request, SystemTime::now())
    }

    pub(super) fn enrol_at(&self, request: &EnrolRequest, now: SystemTime) -> Result<Enrolled, EnrolError> {
        let mut state = self.state();
        let secret = URL_SAFE_NO_PAD
            .decode(&request.secret)
            .map_err(|_| TokenRefused::Unknown)?;
        // First of all: nothing else of a stranger's is looked at.
        let token = state.tokens.check(&secret, now)?;
        let name = Name::new(&request.name)?;
        if name == self.own {
            return Err(EnrolError::Taken(name));
        }
        let (hosts, left_out) = share_out(&state, &name, &request.hosts, now)?;
        let csr = CertificateSigningRequestParams::from_pem(&request.csr).map_err(EnrolError::Request)?;

        state.tokens.spend(token)?;
        let certificate = self.issue(&mut state, &name, &hosts, &csr.public_key, now)?;
        tracing::info!(node = %name, ?hosts, "enrolled");
        Ok(Enrolled {
            certificate: certificate.pem(),
            authority: self.pem.clone(),
            left_out,
        })
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
            other != name && issued.until > tokens::seconds(now) && issued.hosts.contains(&host)
        });
        if another || reserved {
            left_out.push(host)
        } else {
            given.push(host)
        }
    }
    Ok((given, left_out))
}
