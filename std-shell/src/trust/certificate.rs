//! What a certificate of a mesh says: made here, read here.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use redlink_core::Name;
use rustls_pki_types::{CertificateDer, DnsName};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;

/// How long an authority lives.
const AUTHORITY_LIFE: Duration = Duration::from_secs(3_650 * 86_400);
/// How long a node's certificate lives unless said otherwise.
pub const LIFE_DEFAULT: Duration = Duration::from_secs(30 * 86_400);
/// The shortest life of a node's certificate.
pub const LIFE_MIN: Duration = Duration::from_secs(10);
/// The longest life of a node's certificate. What was revoked is forgotten after it.
pub const LIFE_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Clocks of two machines may differ by this much before a fresh certificate looks as if it were not valid yet.
pub(super) const CLOCK_SLACK: Duration = Duration::from_secs(3_600);

/// A certificate is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It can't be read.
    #[error("the certificate can't be read")]
    Malformed,
    /// It names no node.
    #[error("the certificate names no node (it has no single URI `redlink:<mesh>/node/<name>`)")]
    NotANode,
    /// It names a node of another mesh.
    #[error("the certificate is of the mesh `{0}`")]
    OtherMesh(Name),
    /// Its time is over, or has not come.
    #[error("the certificate is not valid now; is a clock wrong, or was it not renewed?")]
    NotNow,
    /// Another authority has signed it.
    #[error("the certificate was not signed by the authority beside it")]
    OtherAuthority,
    /// The authority has revoked it.
    #[error("the certificate was revoked; join again with a new token (redlink token create)")]
    Revoked,
}

/// What a node's certificate says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) mesh: Name,
    pub(super) name: Name,
    /// DNS names and addresses under which it may be dialled, as text.
    pub(super) hosts: Vec<String>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Subject {
    /// From when on it should be renewed: when a third of its life is left. It was made later than it says, because of
    /// clocks that differ.
    pub(super) fn renewal(&self) -> SystemTime {
        let all = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_after - all.saturating_sub(CLOCK_SLACK) / 3
    }
}

/// The name that a peer's certificate proves.
///
/// `certificates` is the chain that the TLS connection has verified already, the peer's own first. Validity is checked
/// once more because a resumed session repeats an earlier verification.
///
/// # Errors
/// The certificate is of another mesh, of no node, or out of its time.
pub(super) fn peer_name(
    mesh: &Name,
    certificates: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<Name, CertificateError> {
    let subject = read(certificates.first().ok_or(CertificateError::Malformed)?)?;
    if subject.mesh != *mesh {
        return Err(CertificateError::OtherMesh(subject.mesh));
    }
    if now < subject.not_before || now > subject.not_after {
        return Err(CertificateError::NotNow);
    }
    Ok(subject.name)
}

/// Reads a node's certificate.
pub(super) fn read(certificate: &CertificateDer<'_>) -> Result<Subject, CertificateError> {
    let (_, x509) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::Malformed)?;
    let names = x509
        .subject_alternative_name()
        .map_err(|_| CertificateError::Malformed)?;
    let names = names.ok_or(CertificateError::NotANode)?;
    let mut hosts = Vec::new();
    let mut uris = Vec::new();
    for name in &names.value.general_names {
        match name {
            GeneralName::DNSName(host) => hosts.push((*host).to_owned()),
            GeneralName::IPAddress(bytes) => hosts.extend(address(bytes).map(|a| a.to_string())),
            GeneralName::URI(uri) => uris.push(*uri),
            _ => {}
        }
    }
    // A second name would let one certificate pass for two nodes.
    let [uri] = uris[..] else {
        return Err(CertificateError::NotANode);
    };
    let (mesh, name) = parse_uri(uri).ok_or(CertificateError::NotANode)?;
    let validity = x509.validity();
    Ok(Subject {
        mesh,
        name,
        hosts,
        not_before: validity.not_before.to_datetime().into(),
        not_after: validity.not_after.to_datetime().into(),
    })
}

/// The public key in a certificate, as DER.
pub(super) fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, CertificateError> {
    let (_, x509) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::Malformed)?;
    Ok(x509.public_key().raw.to_vec())
}

/// The bits of the public key in a certificate, without what kind of key it is.
pub(super) fn key_bits(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, CertificateError> {
    let (_, x509) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::Malformed)?;
    Ok(x509.public_key().subject_public_key.data.to_vec())
}

/// The serial number of a certificate, without leading zeros.
pub(super) fn serial(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, CertificateError> {
    let (_, x509) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::Malformed)?;
    Ok(trimmed(x509.raw_serial()))
}

/// A number's bytes, big-endian, without leading zeros: encoders put one in front of a number whose first bit is set.
pub(super) fn trimmed(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    number[zeros..].to_vec()
}

/// Whether an authority's key has signed a certificate.
pub(super) fn is_signed_by(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> bool {
    let Ok((_, x509)) = x509_parser::parse_x509_certificate(certificate) else {
        return false;
    };
    let Ok((_, ca)) = x509_parser::parse_x509_certificate(authority) else {
        return false;
    };
    x509.verify_signature(Some(ca.public_key())).is_ok()
}

fn parse_uri(uri: &str) -> Option<(Name, Name)> {
    let (mesh, rest) = uri.strip_prefix("redlink:")?.split_once('/')?;
    Some((
        Name::new(mesh).ok()?,
        Name::new(rest.strip_prefix("node/")?).ok()?,
    ))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|v6| Ipv6Addr::from(v6).into())
}

/// A mesh's authority.
pub(super) fn authority(mesh: &Name, serial: [u8; 16], now: SystemTime) -> CertificateParams {
    let mut params = common(&format!("Redlink mesh {mesh}"), serial, now, AUTHORITY_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A node's certificate: both ends of a link, so both usages. Hosts that are no DNS name and no address are left out.
pub(super) fn node(
    mesh: &Name,
    name: &Name,
    hosts: &[String],
    serial: [u8; 16],
    now: SystemTime,
    life: Duration,
) -> CertificateParams {
    let mut params = common(name, serial, now, life);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let names = hosts.iter().filter_map(|host| match host.parse() {
        Ok(address) => Some(SanType::IpAddress(address)),
        Err(_) => host.clone().try_into().ok().map(SanType::DnsName),
    });
    let uri = format!("redlink:{mesh}/node/{name}")
        .try_into()
        .ok()
        .map(SanType::URI);
    params.subject_alt_names = names.chain(uri).collect();
    params
}

fn common(name: &str, serial: [u8; 16], now: SystemTime, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Random, not derived from the key: a renewed certificate keeps its key and still needs a serial of its own. The
    // top bit stays clear because serials are signed, the next is set so that its length is fixed.
    let mut serial = serial;
    serial[0] = (serial[0] & 0x3f) | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = OffsetDateTime::from(now - CLOCK_SLACK);
    params.not_after = OffsetDateTime::from(now + life);
    params
}

/// Names under which every node may be dialled from its own machine.
pub(super) const LOCAL_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Stands for a node where no host name does. Some names, one with a colon for example, are none here.
pub(super) fn node_host(name: &Name) -> Option<String> {
    valid_host(&format!("{name}{NODE_DOMAIN}"))
}

/// What names of nodes end in when they stand for hosts.
pub(super) const NODE_DOMAIN: &str = ".node.redlink";

/// The text in its one form, if it is a DNS name or an address.
pub(super) fn valid_host(host: &str) -> Option<String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    DnsName::try_from(host.as_str()).is_ok().then_some(host)
}

/// Whether a text is a DNS name or an address.
pub fn is_host(text: &str) -> bool {
    valid_host(text).is_some()
}

/// This machine's name, if it is one that others could use.
pub fn own_host_name() -> Option<String> {
    let uname = rustix::system::uname();
    valid_host(uname.nodename().to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_uri_names_a_node() {
        let name = |t| Name::new(t).unwrap();
        assert_eq!(
            parse_uri("redlink:mesh/node/a:b"),
            Some((name("mesh"), name("a:b")))
        );
        for bad in [
            "redlink:mesh/program/a",
            "redlink:mesh/node/",
            "redlink:mesh/node/a/b",
            "redlink:/node/a",
            "redlink:mesh/node/..",
            "REDLINK:mesh/node/a",
            "https://mesh/node/a",
        ] {
            assert_eq!(parse_uri(bad), None, "{bad}");
        }
    }

    #[test]
    fn hosts_have_one_form() {
        assert_eq!(valid_host("Example.COM.").as_deref(), Some("example.com"));
        assert_eq!(valid_host("0:0::1").as_deref(), Some("::1"));
        assert_eq!(valid_host("10.0.0.1").as_deref(), Some("10.0.0.1"));
        for bad in ["", "a b", "*.example.com", "a/b", "ex\u{e4}mple"] {
            assert_eq!(valid_host(bad), None, "{bad}");
        }
    }
}
