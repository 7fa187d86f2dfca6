//! Certificates of an authority that is not the mesh's own: somebody has a public key infrastructure already, or wants
//! to sign by hand.

use super::certificate::{self, CertificateError, Subject};
use super::files::{self, FileError};
use super::tls::Credential;
use redlink_core::Name;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where such certificates are. Each is looked at again when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFiles {
    /// Certificates of the authorities that may sign for the mesh's nodes (PEM, one or more).
    pub ca: PathBuf,
    /// The node's certificate (PEM), and behind it those that lead to an authority.
    pub certificate: PathBuf,
    /// Its private key (PEM), for its owner's eyes only.
    pub key: PathBuf,
}

/// Certificates of another authority can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// A file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not there.
    #[error("the setting `tls.{setting}`: there is no file {}", path.display())]
    Missing {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// A file holds something else.
    #[error("the setting `tls.{setting}`: {} holds no {what} in PEM", path.display())]
    Malformed {
        /// Which setting.
        setting: &'static str,
        /// What it should hold.
        what: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// The certificate is not one that a node can use.
    #[error("{} can't be this node's certificate: {}\n{recipe}", path.display(), lacks.join("; "))]
    Lacks {
        /// Which file.
        path: PathBuf,
        /// All that is wrong with it.
        lacks: Vec<String>,
        /// How to make one that has everything.
        recipe: String,
    },
}

/// How to make a certificate that has everything.
fn recipe(name: &Name, mesh: &Name) -> String {
    format!(
        "One that has everything is made like this (HOST is the name under which others dial this node):\n\
         \x20 openssl ecparam -name prime256v1 -genkey -noout -out node-key.pem && chmod 600 node-key.pem\n\
         \x20 openssl req -new -key node-key.pem -subj /CN={name} -out node.csr\n\
         \x20 printf '%s\\n' 'keyUsage=critical,digitalSignature' 'extendedKeyUsage=serverAuth,clientAuth' \\\n\
         \x20   'subjectAltName=DNS:HOST,DNS:localhost,IP:127.0.0.1,URI:redlink:{mesh}/node/{name}' > node.ext\n\
         \x20 openssl x509 -req -in node.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 90 -extfile node.ext -out node.pem"
    )
}

impl OwnFiles {
    fn file(path: &Path, setting: &'static str, secret: bool) -> Result<Vec<u8>, OwnError> {
        let dir = path.parent().unwrap_or(Path::new("."));
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let bytes = if secret {
            files::read_secret(dir, name)?
        } else {
            files::read(dir, name)?
        };
        bytes.ok_or_else(|| OwnError::Missing {
            setting,
            path: path.to_owned(),
        })
    }

    /// Each by the name of its setting.
    pub(crate) fn each(&self) -> [(&'static str, &Path); 3] {
        [
            ("ca", &self.ca),
            ("certificate", &self.certificate),
            ("key", &self.key),
        ]
    }

    /// The name and the mesh in the certificate, if it can be read; what is wrong otherwise shows when it is loaded.
    pub(crate) fn name(&self) -> Option<(Name, Name)> {
        let certificate = CertificateDer::from_pem_file(&self.certificate).ok()?;
        let subject = certificate::read(&certificate).ok()?;
        Some((subject.name, subject.mesh))
    }

    /// What is in the files; nothing for one that is not there.
    pub(super) fn read(&self) -> Result<Vec<Vec<u8>>, FileError> {
        let read = |path: &PathBuf| match std::fs::read(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(files::at("read", path)(e)),
            other => Ok(other.unwrap_or_default()),
        };
        [&self.ca, &self.certificate, &self.key]
            .into_iter()
            .map(read)
            .collect()
    }

    /// Reads them and checks that the certificate is one that peers will accept of this node.
    pub(super) fn load(
        &self,
        name: &Name,
        mesh: &Name,
        now: SystemTime,
    ) -> Result<(Credential, Subject), OwnError> {
        let certificates = |path: &PathBuf, setting| {
            let pem = Self::file(path, setting, false)?;
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            all.ok()
                .filter(|all| !all.is_empty())
                .ok_or_else(|| OwnError::Malformed {
                    setting,
                    what: "certificate",
                    path: path.clone(),
                })
        };
        let roots = certificates(&self.ca, "ca")?;
        let chain = certificates(&self.certificate, "certificate")?;
        let key = Self::file(&self.key, "key", true)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| OwnError::Malformed {
            setting: "key",
            what: "private key",
            path: self.key.clone(),
        })?;
        let credential = Credential { chain, roots, key };
        let mut lacks = lacks(&credential, name, mesh, now);
        let subject = credential.chain.first().map(certificate::read);
        match subject {
            Some(Ok(subject)) if lacks.is_empty() => Ok((credential, subject)),
            other => {
                if lacks.is_empty() {
                    let cause = other.and_then(Result::err).unwrap_or(CertificateError::Malformed);
                    lacks.push(cause.to_string());
                }
                Err(OwnError::Lacks {
                    path: self.certificate.clone(),
                    lacks,
                    recipe: recipe(name, mesh),
                })
            }
        }
    }
}

/// All that keeps a certificate from being a node's.
fn lacks(credential: &Credential, name: &Name, mesh: &Name, now: SystemTime) -> Vec<String> {
    let Some(own) = credential.chain.first() else {
        return vec![CertificateError::Malformed.to_string()];
    };
    let mut lacks = Vec::new();
    match certificate::read(own) {
        Ok(subject) => {
            if subject.name != *name || subject.mesh != *mesh {
                lacks.push(format!(
                    "it is of {}, and this is {}",
                    super::identity::whose(&subject.name, &subject.mesh),
                    super::identity::whose(name, mesh)
                ));
            }
            if now < subject.not_before || now > subject.not_after {
                lacks.push("it is not valid now; is a clock wrong, or has it ended?".into());
            }
            if subject.hosts.is_empty() {
                lacks.push("it names no host (DNS or IP) under which the node can be dialled".into());
            }
        }
        Err(CertificateError::NotANode) => {
            lacks.push(format!(
                "it has no single URI among its subject alternative names, which should be `redlink:{mesh}/node/{name}`"
            ));
        }
        Err(other) => lacks.push(other.to_string()),
    }
    if let Ok((_, x509)) = x509_parser::parse_x509_certificate(own) {
        let usage = x509.extended_key_usage().ok().flatten().map(|usage| usage.value);
        let (server, client) =
            usage.map_or((true, true), |u| (u.any || u.server_auth, u.any || u.client_auth));
        if !server {
            lacks.push("its extended key usage lacks serverAuth".into());
        }
        if !client {
            lacks.push("its extended key usage lacks clientAuth".into());
        }
        if x509.is_ca() {
            lacks.push("it is an authority's certificate, not a node's".into());
        }
    }
    if let Err(cause) = super::tls::verify(credential, now) {
        lacks.push(format!("it does not lead to an authority of `tls.ca`: {cause}"));
    }
    if let Err(cause) = super::tls::check_pair(credential) {
        lacks.push(format!("`tls.key` is not its key: {cause}"));
    }
    lacks
}
