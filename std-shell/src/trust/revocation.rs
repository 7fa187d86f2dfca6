//! Certificates that count no more before they end: the authority's list of them, an X.509 CRL.
//!
//! The list is one file, signed by the authority and numbered; each node has the newest that it has heard of. Whoever
//! passes it on can't change it, and nobody takes an older one for a newer one.

use super::authority::AuthorityError;
use super::certificate::{self, LIFE_MAX};
use super::files::{self, FileError};
use super::tokens::seconds;
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevocationReason, RevokedCertParams,
    SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// The newest list that a node has heard of.
pub const CRL_FILE: &str = "crl.pem";
/// Certificates that one list may hold (promise P7). What was revoked longer ago than a certificate lives is left out.
const REVOKED_MAX: usize = 10_000;
/// Longest list that is looked at, in bytes.
pub const CRL_MAX: usize = 1 << 20;
/// A list says when the next is due. A new one is made when there is something to add, so this only has to be far.
const NEXT: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A list of revoked certificates can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// Not a list.
    #[error("this is no list of revoked certificates")]
    Malformed,
    /// Not of this mesh's authority.
    #[error("the list of revoked certificates was not signed by this mesh's authority")]
    Forged,
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds something else.
    #[error("{}: {cause}; remove it, and a peer brings a good one", path.display())]
    Stored {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: Box<Self>,
    },
    /// There would be too many.
    #[error("{REVOKED_MAX} revoked certificates are listed; the oldest drop out when their time is over")]
    Full,
}

/// The authority's list, checked; or none yet.
#[derive(Debug, Default)]
pub struct Revocations {
    number: u64,
    der: Vec<u8>,
    /// Serial number, and when it was revoked.
    serials: BTreeMap<Vec<u8>, SystemTime>,
}

impl Revocations {
    /// Reads a list, if this authority has signed it.
    ///
    /// # Errors
    /// It is no list, or another's.
    pub(super) fn read(der: &[u8], authority: &CertificateDer<'_>) -> Result<Self, RevocationError> {
        let malformed = |_| RevocationError::Malformed;
        let (rest, list) = CertificateRevocationList::from_der(der).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(RevocationError::Malformed);
        }
        let (_, ca) = x509_parser::parse_x509_certificate(authority).map_err(|_| RevocationError::Forged)?;
        list.verify_signature(ca.public_key())
            .map_err(|_| RevocationError::Forged)?;
        if list.issuer().as_raw() != ca.subject().as_raw() {
            return Err(RevocationError::Forged);
        }
        let number = list.crl_number().map(|n| n.to_u64_digits());
        let number = match number.as_deref() {
            Some([]) => 0,
            Some([number]) => *number,
            _ => return Err(RevocationError::Malformed),
        };
        let serials = list.iter_revoked_certificates().map(|revoked| {
            let at = revoked.revocation_date.to_datetime().into();
            (certificate::trimmed(revoked.raw_serial()), at)
        });
        Ok(Self {
            number,
            serials: serials.collect(),
            der: der.to_vec(),
        })
    }

    /// The list of a directory; an empty one if it has none.
    pub(super) fn load(dir: &Path, authority: &CertificateDer<'_>) -> Result<Self, RevocationError> {
        let Some(pem) = files::read(dir, CRL_FILE)? else {
            return Ok(Self::default());
        };
        let read = CertificateRevocationListDer::from_pem_slice(&pem)
            .map_err(|_| RevocationError::Malformed)
            .and_then(|der| Self::read(&der, authority));
        read.map_err(|cause| RevocationError::Stored {
            path: dir.join(CRL_FILE),
            cause: Box::new(cause),
        })
    }

    /// Writes it down.
    pub(super) fn save(&self, dir: &Path) -> Result<(), FileError> {
        let pem = super::text::pem("X509 CRL", &self.der);
        files::write_private(dir, CRL_FILE, pem.as_bytes())
    }

    /// A list with these serial numbers too.
    pub(super) fn with(
        &self,
        more: impl Iterator<Item = Vec<u8>>,
        issuer: &Issuer<'_, KeyPair>,
        authority: &CertificateDer<'_>,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let mut serials = self.serials.clone();
        serials.retain(|_, at| *at + LIFE_MAX + certificate::CLOCK_SLACK > now);
        for serial in more {
            serials.entry(serial).or_insert(now);
        }
        if serials.len() > REVOKED_MAX {
            return Err(RevocationError::Full.into());
        }
        // It follows the clock, so that it grows although the authority was restored from a backup.
        let number = seconds(now).max(self.number + 1);
        let revoked = serials.iter().map(|(serial, at)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: OffsetDateTime::from(*at),
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: OffsetDateTime::from(now),
            next_update: OffsetDateTime::from(now + NEXT),
            crl_number: SerialNumber::from_slice(&certificate::trimmed(&number.to_be_bytes())),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let der = params.signed_by(issuer)?;
        Ok(Self::read(der.der(), authority)?)
    }

    /// Which list it is; higher is newer, and 0 is none.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The list as it travels; empty if there is none.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What verifiers take.
    pub(super) fn for_tls(&self) -> Option<CertificateRevocationListDer<'static>> {
        (!self.der.is_empty()).then(|| self.der.clone().into())
    }

    /// When a serial number was revoked, if it was.
    pub(super) fn revoked(&self, serial: &[u8]) -> Option<SystemTime> {
        self.serials.get(serial).copied()
    }

    /// Whether a certificate is revoked. One that can't be read is.
    pub(super) fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        certificate::serial(certificate).map_or(true, |serial| self.serials.contains_key(&serial))
    }

    /// How many certificates it names.
    pub fn len(&self) -> usize {
        self.serials.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.serials.is_empty()
    }
}
