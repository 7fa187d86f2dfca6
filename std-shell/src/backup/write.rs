//! From a running node to a tar file.

use super::{END, FORMAT, MANIFEST, Manifest};
use crate::http::ADDRESS_FILE;
use crate::node::DATA;
use crate::store::Snapshot;
use crate::trust::{CURLRC_FILE, Identity};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Most entries of the node's directory, beside the payloads.
const KEPT_MAX: usize = 100_000;
/// What the next start makes anew.
const LEFT_OUT: &[&str] = &[DATA, ADDRESS_FILE, CURLRC_FILE];

/// Writes all that the node keeps. Blocks, as long as it takes to write it.
pub(crate) fn write(
    snapshot: &Snapshot,
    identity: &Identity,
    node: String,
    to: impl Write,
) -> io::Result<()> {
    let mut tar = tar::Builder::new(to);
    let manifest = Manifest {
        format: FORMAT,
        name: identity.name.to_string(),
        mesh: identity.mesh.to_string(),
        node,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made: crate::http::headers::format_time(std::time::SystemTime::now()),
    };
    let manifest = serde_json::to_vec_pretty(&manifest)?;
    add(
        &mut tar,
        Path::new(MANIFEST),
        manifest.len() as u64,
        &manifest[..],
    )?;
    let mut kept = Vec::new();
    list(identity.dir(), Path::new(""), &mut kept)?;
    for name in kept {
        // Small, and replaced as wholes: what is read is one state of them.
        match fs::read(identity.dir().join(&name)) {
            Ok(bytes) => add(&mut tar, &name, bytes.len() as u64, &bytes[..])?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let data = Path::new(DATA);
    add_file(&mut tar, &data.join(crate::store::DATABASE), &snapshot.database())?;
    for entry in fs::read_dir(snapshot.payloads())? {
        let entry = entry?;
        let name = data.join(crate::store::PAYLOADS).join(entry.file_name());
        // One that was just refused may go; what a row names stays as long as the snapshot does.
        match add_file(&mut tar, &name, &entry.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    add(&mut tar, Path::new(END), 0, io::empty())?;
    tar.into_inner()?.flush()
}

/// Regular files, those in directories too.
fn list(dir: &Path, below: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir.join(below))? {
        let entry = entry?;
        let name = entry.file_name();
        let left_out = below.as_os_str().is_empty() && LEFT_OUT.iter().any(|left| name == *left);
        // Such as are being written right now.
        if left_out || name.to_string_lossy().starts_with(".new-") {
            continue;
        }
        let (kind, path) = (entry.file_type()?, below.join(&name));
        if kind.is_dir() {
            list(dir, &path, into)?;
        } else if kind.is_file() {
            into.push(path);
        }
        if into.len() > KEPT_MAX {
            return Err(io::Error::other("the node's directory holds too many files"));
        }
    }
    Ok(())
}

fn add_file(tar: &mut tar::Builder<impl Write>, name: &Path, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    // Neither more nor less than was said, whatever happens to the file.
    add(tar, name, size, file.take(size).chain(io::repeat(0)).take(size))
}

fn add(tar: &mut tar::Builder<impl Write>, name: &Path, size: u64, bytes: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_entry_type(tar::EntryType::Regular);
    tar.append_data(&mut header, name, bytes)
}
