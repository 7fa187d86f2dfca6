//! The administrator's token, and the file that hands it to curl.

use super::files::{self, FileError};
use super::tls;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// Holds the token, 64 hex digits and a line end.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";
/// `curl -K` of this file trusts the mesh and shows the token.
pub const CURLRC_FILE: &str = "curlrc";

/// Lets in whoever may read the node's directory. Only its hash is held in memory.
#[derive(Clone)]
pub struct AdminToken {
    hash: [u8; 32],
}

impl AdminToken {
    /// Reads the token, or makes one; and writes `curlrc` for it, with the directory's present place.
    pub(super) fn load_or_create(dir: &Path, ca: &Path) -> Result<Self, AdminError> {
        let text = match files::read_secret(dir, ADMIN_TOKEN_FILE)? {
            Some(bytes) => String::from_utf8(bytes)
                .ok()
                .map(|t| t.trim().to_owned())
                .filter(|t| t.len() >= 32 && t.bytes().all(|b| b.is_ascii_graphic()))
                .ok_or_else(|| AdminError::Malformed(dir.join(ADMIN_TOKEN_FILE)))?,
            None => {
                let text = hex(&tls::random::<32>()?);
                files::write_private(dir, ADMIN_TOKEN_FILE, format!("{text}\n").as_bytes())?;
                text
            }
        };
        let curlrc = curlrc(ca, &text)?;
        if files::read(dir, CURLRC_FILE)?.as_deref() != Some(curlrc.as_bytes()) {
            files::write_private(dir, CURLRC_FILE, curlrc.as_bytes())?;
        }
        Ok(Self {
            hash: tls::sha256(text.as_bytes()),
        })
    }

    /// Whether this is the token. Takes the same time for every wrong one of the same length: hashes are compared, to
    /// the end.
    pub fn matches(&self, presented: &str) -> bool {
        tls::sha256(presented.as_bytes()).ct_eq(&self.hash).into()
    }
}

/// The token can't be had.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds something else.
    #[error("{} holds no token; remove it and the next start makes a new one", .0.display())]
    Malformed(PathBuf),
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] rustls::Error),
}

fn curlrc(ca: &Path, token: &str) -> Result<String, FileError> {
    let ca = std::path::absolute(ca).map_err(files::at("find", ca))?;
    let ca = ca.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!(
        "# For `curl -K`. Written by the node at each start. The token is a secret: it may do everything at this node.\n\
         cacert = \"{ca}\"\nheader = \"Authorization: Bearer {token}\"\n"
    ))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
            // Writing to a string can't fail.
            let _ = write!(text, "{b:02x}");
            text
        })
}
