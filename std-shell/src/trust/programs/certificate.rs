//! Programs by certificate: one of the mesh's authority with the URI `redlink:<mesh>/program/<name>`.

use redlink_core::Name;
use rustls_pki_types::CertificateDer;
use std::time::SystemTime;
use x509_parser::extensions::GeneralName;

/// A program, as its certificate proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Its name.
    pub name: Name,
    /// When the certificate ends.
    pub until: SystemTime,
}

/// The program that a chain names, which the TLS connection has verified already, its own certificate first; none if it
/// names none of this mesh, or is out of its time. That is checked once more because a resumed session repeats an earlier
/// verification.
pub fn certified(mesh: &Name, certificates: &[CertificateDer<'_>], now: SystemTime) -> Option<Certified> {
    let (_, x509) = x509_parser::parse_x509_certificate(certificates.first()?).ok()?;
    let names = x509.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    // A second name would let one certificate pass for two programs, or for a node and a program.
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return None;
    };
    let name = parse_uri(uri, mesh)?;
    let validity = x509.validity();
    let (from, until): (SystemTime, SystemTime) = (
        validity.not_before.to_datetime().into(),
        validity.not_after.to_datetime().into(),
    );
    (from <= now && now <= until).then_some(Certified { name, until })
}

fn parse_uri(uri: &str, mesh: &Name) -> Option<Name> {
    let (of, rest) = uri.strip_prefix("redlink:")?.split_once('/')?;
    if of != mesh.as_str() {
        return None;
    }
    Name::new(rest.strip_prefix("program/")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_uri_of_this_mesh_names_a_program() {
        let name = |text| Name::new(text).unwrap();
        assert_eq!(
            parse_uri("redlink:mesh/program/a:b", &name("mesh")),
            Some(name("a:b"))
        );
        for bad in [
            "redlink:mesh/node/a",
            "redlink:other/program/a",
            "redlink:mesh/program/",
            "redlink:mesh/program/a/b",
            "redlink:mesh/program/..",
            "redlink:/program/a",
            "REDLINK:mesh/program/a",
            "https://mesh/program/a",
        ] {
            assert_eq!(parse_uri(bad, &name("mesh")), None, "{bad}");
        }
    }
}
