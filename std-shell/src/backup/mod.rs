//! Copies of a whole node, and nodes made of them.
//!
//! A backup is one tar file: [`MANIFEST`] first, then the database as the `sqlite3` program reads it, the payloads that are
//! files, everything else that the node keeps (settings, certificates, keys, tokens: secrets, so the file is its
//! owner's alone), and [`END`] last, so that a cut one is known. A node that is restored has a new identity: its
//! messages go on under it, and the one that the backup is of may still run.

mod restore;
mod write;

pub use restore::{RestoreError, Restored, restore};
pub(crate) use write::write;

use serde::{Deserialize, Serialize};

/// Name of the first entry.
const MANIFEST: &str = "redlink-backup.json";
/// Name of the last entry, which is empty.
const END: &str = "end";
/// Version of the form.
const FORMAT: u32 = 1;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Version of the form.
    pub(crate) format: u32,
    /// The node's name.
    pub(crate) name: String,
    /// Its mesh.
    pub(crate) mesh: String,
    /// Its identity.
    pub(crate) node: String,
    /// The program's version.
    pub(crate) version: String,
    /// When it was made, RFC 3339.
    pub(crate) made: Option<String>,
}
