//! What a node asks of the authority, signed with its own key, and what it does with the answer.

use super::authority::{NODE_FILE, NODE_KEY_FILE};
use super::certificate::{self, CertificateError};
use super::current::ca;
use super::enrol::{EnrolRequest, Enrolled, InviteRequest, RenewRequest};
use super::files;
use super::identity::{Identity, IdentityError, is_pair, load_or_make_key};
use super::sign::SignError;
use super::text::JoinToken;
use super::tls;
use super::tokens::TokenRefused;
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

impl Identity {
    /// What a renewal asks for, signed with this node's key. Reads files.
    ///
    /// # Errors
    /// There is no key of its own.
    pub(crate) fn renewal_request(&self) -> Result<RenewRequest, SignError> {
        let (certificate, key) = self.pair()?;
        let mut hosts = self.wishes.hosts.clone();
        // The machine's own name is kept if it could be had at the join.
        let own = certificate::own_host_name().filter(|own| !hosts.contains(own));
        hosts.extend(own);
        RenewRequest::new(hosts, certificate, &key, SystemTime::now())
    }

    /// A new token, and what the authority has to be asked so that it is good. Reads files.
    ///
    /// # Errors
    /// There is no key of its own, or no random bytes.
    pub(crate) fn invitation(&self, ttl: Duration) -> Result<(String, InviteRequest), SignError> {
        let secret = tls::random::<32>()?;
        let (certificate, key) = self.pair()?;
        let request = InviteRequest::new(&secret, ttl, certificate, &key, SystemTime::now())?;
        let authority = ca(&self.dir).map_err(|_| SignError::None)?;
        let token = JoinToken::new(&self.mesh, &authority, secret);
        Ok((token.to_string(), request))
    }

    /// Checks that a request to join this mesh was made with the token that it names, whether or not that is good for
    /// anything. Reads a file.
    ///
    /// # Errors
    /// It was not.
    pub(crate) fn proved(&self, request: &EnrolRequest) -> Result<(), TokenRefused> {
        let authority = ca(&self.dir).map_err(|_| TokenRefused::Unknown)?;
        request.proved(&self.mesh, &tls::sha256(&authority)).map(drop)
    }

    fn pair(&self) -> Result<(String, KeyPair), SignError> {
        if self.wishes.own.is_some() {
            return Err(SignError::None);
        }
        let certificate = files::read(&self.dir, NODE_FILE)?.and_then(|pem| String::from_utf8(pem).ok());
        let key = files::read_secret(&self.dir, NODE_KEY_FILE)?.and_then(|pem| String::from_utf8(pem).ok());
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok((certificate, KeyPair::from_pem(&key)?)),
            _ => Err(SignError::None),
        }
    }

    /// Takes a renewed certificate, if it is for this node's key, name and mesh.
    ///
    /// # Errors
    /// It is not, or can't be written.
    pub(crate) fn install(&self, enrolled: &Enrolled) -> Result<(), IdentityError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.dir.join(NODE_FILE);
        let bad = |cause| IdentityError::Certificate {
            path: path.clone(),
            cause,
        };
        let certificate = CertificateDer::from_pem_slice(enrolled.certificate.as_bytes())
            .map_err(|_| bad(CertificateError::Malformed))?;
        let subject = certificate::read(&certificate).map_err(bad)?;
        let key = load_or_make_key(&self.dir, NODE_KEY_FILE)?;
        let ours = subject.name == self.name
            && subject.mesh == self.mesh
            && is_pair(&certificate, &key)
            && certificate::is_signed_by(&certificate, &ca(&self.dir)?);
        if !ours {
            return Err(bad(CertificateError::NotANode));
        }
        files::write_private(&self.dir, NODE_FILE, enrolled.certificate.as_bytes())?;
        self.reload_now()?;
        Ok(())
    }
}
