//! The TLS configurations, all of one cryptography provider that is passed and never installed globally.

use super::revocation::Revocations;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

static VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()))
        .clone()
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], rustls::Error> {
    let mut bytes = [0; N];
    provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
    Ok(bytes)
}

/// A number for names that should differ; nothing secret hangs on it.
pub(crate) fn random_number() -> u16 {
    u16::from_be_bytes(random().unwrap_or_default())
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    Ok(Arc::new(roots))
}

/// What a node proves itself with, and whom it believes.
pub(super) struct Credential {
    /// Its certificate first, then what leads from that to an authority.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// For the listener: a client may show a certificate; if it does, that has to be one of the mesh, and not revoked.
///
/// Its tickets are its own: a session that began under an earlier configuration is verified anew.
pub(super) fn server(own: &Credential, revocations: &Revocations) -> Result<ServerConfig, rustls::Error> {
    let clients = WebPkiClientVerifier::builder_with_provider(roots(&own.roots)?, provider())
        .with_crls(revocations.for_tls())
        .allow_unauthenticated()
        .build()
        .map_err(|e| rustls::Error::General(e.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(clients)
        .with_single_cert(own.chain.clone(), own.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A program that makes a connection per call resumes without a new signature; no early data, it could be replayed.
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    config.max_early_data_size = 0;
    Ok(config)
}

/// For dialling peers: shows this node's certificate, trusts the mesh's authority and no other.
pub(super) fn client(own: &Credential, revocations: &Revocations) -> Result<ClientConfig, rustls::Error> {
    let servers = WebPkiServerVerifier::builder_with_provider(roots(&own.roots)?, provider())
        .with_crls(revocations.for_tls())
        .build()
        .map_err(|e| rustls::Error::General(e.to_string()))?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .with_webpki_verifier(servers)
        .with_client_auth_cert(own.chain.clone(), own.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// For joining: shows nothing, and trusts the one certificate in the server's chain that has this hash.
pub(super) fn pinned(hash: [u8; 32]) -> Result<(ClientConfig, Arc<Pinned>), rustls::Error> {
    let pinned = Arc::new(Pinned {
        hash,
        found: OnceLock::new(),
    });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(pinned.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, pinned))
}

/// Verifies as usual, with the certificate of a known hash as the only root.
#[derive(Debug)]
pub(super) struct Pinned {
    hash: [u8; 32],
    found: OnceLock<CertificateDer<'static>>,
}

impl Pinned {
    /// The authority's certificate, after a handshake.
    pub(super) fn authority(&self) -> Option<&CertificateDer<'static>> {
        self.found.get()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|c| sha256(c) == self.hash)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?
            .clone()
            .into_owned();
        let verified =
            WebPkiServerVerifier::builder_with_provider(roots(std::slice::from_ref(&authority))?, provider())
                .build()
                .map_err(|e| rustls::Error::General(e.to_string()))?
                .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)?;
        self.found.get_or_init(|| authority);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a verifier that believes the roots would accept this certificate of a client.
pub(super) fn verify(own: &Credential, now: SystemTime) -> Result<(), rustls::Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&own.roots)?, provider())
        .build()
        .map_err(|e| rustls::Error::General(e.to_string()))?;
    let (first, rest) = own
        .chain
        .split_first()
        .ok_or(rustls::Error::NoCertificatesPresented)?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    match verifier.verify_client_cert(first, rest, now) {
        Ok(_) => Ok(()),
        // Told apart from what leads nowhere.
        Err(rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::InvalidPurpose
            | CertificateError::InvalidPurposeContext { .. },
        )) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Whether the key is the certificate's.
pub(super) fn check_pair(own: &Credential) -> Result<(), rustls::Error> {
    let key = provider().key_provider.load_private_key(own.key.clone_key())?;
    rustls::sign::CertifiedKey::new(own.chain.clone(), key).keys_match()
}
