//! From a tar file to a directory in which a node can start.

use super::{END, FORMAT, MANIFEST, Manifest};
use crate::config;
use crate::node::DATA;
use crate::store;
use crate::trust::{NODE_FILE, NODE_KEY_FILE};
use redlink_core::Name;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

/// Longest manifest.
const MANIFEST_MAX: u64 = 64 * 1024;
/// Most directories on the way to a file.
const DEPTH_MAX: usize = 8;

/// Why a backup can't be restored. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is a node already.
    #[error("{} is there already; restore into a directory without a node", .0.display())]
    There(PathBuf),
    /// The file is none of ours, or not whole.
    #[error("this is no whole backup: {0}")]
    Bad(String),
    /// Something of this machine failed.
    #[error("can't write {}: {error}", path.display())]
    Io {
        /// What was written.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The store in it can't be used.
    #[error(transparent)]
    Store(#[from] store::OpenError),
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The node's name.
    pub name: String,
    /// Its mesh.
    pub mesh: String,
    /// Its new identity.
    pub node: String,
    /// The identity of the node that the backup is of.
    pub was: String,
    /// When the backup was made, RFC 3339.
    pub made: Option<String>,
    /// Files that were written.
    pub files: u64,
}

/// Restores a backup into `dir`, which has no node. With another name the certificate is left out: a node that holds its
/// mesh's authority makes itself a new one, another has to join anew.
///
/// # Errors
/// There is a node already, the backup is not whole, or something failed; nothing is left behind then.
pub fn restore(backup: impl Read, dir: &Path, name: Option<&Name>) -> Result<Restored, RestoreError> {
    let home = dir.join(config::DIRECTORY);
    if home.symlink_metadata().is_ok() && !is_empty(&home) {
        return Err(RestoreError::There(home));
    }
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| RestoreError::Io { path, error }
    };
    fs::create_dir_all(dir).map_err(at(dir))?;
    // A node finds all of it or nothing.
    let new = tempfile::Builder::new()
        .prefix(".redlink-restore-")
        .tempdir_in(dir)
        .map_err(at(dir))?;
    let (manifest, files) = unpack(backup, new.path())?;
    if let Some(name) = name.filter(|name| name.as_str() != manifest.name) {
        rename(new.path(), name).map_err(at(new.path()))?;
    }
    let data = new.path().join(DATA);
    let node = store::rebirth(&data)?;
    sync(new.path()).map_err(at(new.path()))?;
    // An empty one gives way.
    fs::rename(new.path(), &home).map_err(at(&home))?;
    let _moved = new.keep();
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))?;
    Ok(Restored {
        name: name.map_or(manifest.name, ToString::to_string),
        mesh: manifest.mesh,
        node: node.to_string(),
        was: manifest.node,
        made: manifest.made,
        files,
    })
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

fn bad(why: impl Into<String>) -> RestoreError {
    RestoreError::Bad(why.into())
}

/// Writes all entries, and nothing anywhere else than below `new`.
fn unpack(backup: impl Read, new: &Path) -> Result<(Manifest, u64), RestoreError> {
    let broken = |error: io::Error| bad(error.to_string());
    let mut archive = tar::Archive::new(backup);
    let mut entries = archive.entries().map_err(broken)?;
    let first = entries
        .next()
        .ok_or_else(|| bad("it is empty"))?
        .map_err(broken)?;
    if first.path_bytes() != MANIFEST.as_bytes() {
        return Err(bad(format!("it does not begin with {MANIFEST}")));
    }
    let manifest: Manifest =
        serde_json::from_reader(first.take(MANIFEST_MAX)).map_err(|e| bad(format!("{MANIFEST}: {e}")))?;
    if manifest.format != FORMAT {
        return Err(bad(format!(
            "its form is of version {}, and this Redlink knows version {FORMAT}; use the Redlink that made it, version {}",
            manifest.format, manifest.version
        )));
    }
    let (mut files, mut ended) = (0, false);
    for entry in entries {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        if ended {
            return Err(bad(format!("{} comes after its end", path.display())));
        }
        if path == Path::new(END) {
            ended = true;
            continue;
        }
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let depth = path.components().count();
        if !plain || depth == 0 || depth > DEPTH_MAX || entry.header().entry_type() != tar::EntryType::Regular
        {
            return Err(bad(format!("{} is not what a backup holds", path.display())));
        }
        let to = new.join(&path);
        write(&to, &mut entry).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => bad("it breaks off"),
            _ => RestoreError::Io { path: to, error },
        })?;
        files += 1;
    }
    if !ended {
        return Err(bad("it breaks off before its end"));
    }
    Ok((manifest, files))
}

fn write(to: &Path, entry: &mut impl Read) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    io::copy(entry, &mut file)?;
    file.sync_all()
}

/// The node is to have another name than its certificate bears.
fn rename(new: &Path, name: &Name) -> io::Result<()> {
    for file in [NODE_FILE, NODE_KEY_FILE] {
        match fs::remove_file(new.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let settings = new.join(config::FILE);
    let text = match fs::read_to_string(&settings) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut document: toml_edit::DocumentMut = text.parse().map_err(io::Error::other)?;
    document["name"] = toml_edit::value(name.as_str());
    fs::write(&settings, document.to_string())
}

/// Names of files are only safe from power loss when their directories are synced.
fn sync(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}
