//! Files that only their owner may read, written whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file of the node's directory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("can't {what} {}: {cause}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Its answer.
        cause: io::Error,
    },
    /// A secret that others may read.
    #[error("{} can be read by other users of this machine; run: chmod 600 {}", .0.display(), .0.display())]
    Exposed(PathBuf),
}

/// Puts an operation and a path to an I/O error.
pub(super) fn at<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |cause| FileError::Io {
        what,
        path: path.to_owned(),
        cause,
    }
}

/// Makes the directory, and those above it, so that only its owner may enter; one that exists stays as it is.
pub(super) fn make_directory(dir: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(at("create", dir))
}

/// Replaces `dir/name` by these bytes, mode 0600 from its first moment, and returns when that survives a power loss.
/// A reader sees the old file or the new one, never a part.
pub(crate) fn write_private(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), FileError> {
    let path = dir.join(name);
    let write = || -> io::Result<()> {
        // Made with mode 0600, and removed again if anything below fails.
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .suffix(".tmp")
            .tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|e| e.error)?;
        sync_directory(dir)
    };
    write().map_err(at("write", &path))
}

/// Removes `dir/name` for good. False if there was none.
pub(super) fn remove(dir: &Path, name: &str) -> Result<bool, FileError> {
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Ok(()) => sync_directory(dir).map(|()| true).map_err(at("remove", &path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(at("remove", &path)(e)),
    }
}

/// Reads a file; none if it isn't there.
pub(super) fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, FileError> {
    let path = dir.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(at("read", &path)(e)),
    }
}

/// Reads a secret, and refuses one that has been left open to others.
pub(super) fn read_secret(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, FileError> {
    let path = dir.join(name);
    let Some(bytes) = read(dir, name)? else {
        return Ok(None);
    };
    let mode = fs::metadata(&path)
        .map_err(at("look at", &path))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed(path));
    }
    Ok(Some(bytes))
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_closed_to_others_and_replaced_whole() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("a/b");
        make_directory(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(read_secret(&dir, "s").unwrap(), None);
        write_private(&dir, "s", b"one").unwrap();
        write_private(&dir, "s", b"two").unwrap();
        assert_eq!(
            fs::metadata(dir.join("s")).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(read_secret(&dir, "s").unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no temporary file stays");
        assert!(remove(&dir, "s").unwrap());
        assert!(!remove(&dir, "s").unwrap());
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write_private(dir.path(), "s", b"one").unwrap();
        fs::set_permissions(dir.path().join("s"), fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_secret(dir.path(), "s").unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
