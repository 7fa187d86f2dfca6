//! A copy of the store while it goes on, and a store that becomes another node's.

use super::engine::EngineError;
use super::handle::StoreHandle;
use super::lock::DirectoryLock;
use super::open::random;
use super::payload::{FOLDER, FileId};
use super::readers::Lent;
use super::thread::{Command, Keeper};
use super::turso::{self, Turso};
use super::types::{NodeRecord, OpenError, ReadError};
use redlink_core::NodeId;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What the directories of copies begin with; those that are left are removed at the next start.
const PREFIX: &str = ".backup-";
/// How often it is looked whether payload files that were kept for a copy may go.
const LOOK: Duration = Duration::from_secs(1);

/// The database as of one moment, and the payload files that it names, which stay as long as this does.
#[derive(Debug)]
pub struct Snapshot {
    copy: tempfile::TempDir,
    payloads: PathBuf,
    _files: Arc<()>,
}

impl Snapshot {
    /// The copy, which the `sqlite3` program reads.
    pub fn database(&self) -> PathBuf {
        self.copy.path().join(turso::FILE)
    }

    /// The folder of the payload files; it may hold more than the copy names.
    pub fn payloads(&self) -> &Path {
        &self.payloads
    }
}

/// Payload files that no row names any more and that a copy may.
#[derive(Default)]
pub(super) struct KeptFiles {
    copies: Vec<Weak<()>>,
    files: Vec<FileId>,
}

impl KeptFiles {
    /// When to look again.
    pub(super) fn look_at(&self) -> Option<Instant> {
        (!self.files.is_empty()).then(|| Instant::now() + LOOK)
    }
}

impl Keeper {
    /// Lends a connection, and from now on keeps payload files as long as the token lives.
    pub(super) fn hold(&mut self) -> Result<(Lent, Arc<()>), ReadError> {
        let lent = self.lend()?;
        let token = Arc::new(());
        self.kept.copies.push(Arc::downgrade(&token));
        Ok((lent, token))
    }

    /// Keeps a file that no row names, if a copy may name it.
    pub(super) fn keeps(&mut self, file: FileId) -> bool {
        let keeps = !self.kept.copies.is_empty();
        if keeps {
            self.kept.files.push(file);
        }
        keeps
    }

    /// Lets go of files that no copy needs any more.
    pub(super) fn let_go(&mut self) {
        self.kept.copies.retain(|copy| copy.strong_count() > 0);
        if self.kept.copies.is_empty() {
            for file in std::mem::take(&mut self.kept.files) {
                self.forget_file(Some(file));
            }
        }
    }
}

impl StoreHandle {
    /// Copies the database, beside everything else. The copy goes when this is dropped. Takes as much room as the
    /// database, and as long as reading and writing it.
    ///
    /// # Errors
    /// It can't be read, or the copy can't be written.
    pub async fn snapshot(&self) -> Result<Snapshot, ReadError> {
        let (to, answer) = oneshot::channel();
        self.ask_thread(Command::Hold(to))?;
        let (lent, files) = answer.await.unwrap_or(Err(ReadError::Closed))?;
        let dir = self.dir().to_owned();
        let copying = tokio::task::spawn_blocking(move || {
            let file = |error: std::io::Error| ReadError::File {
                path: dir.clone(),
                detail: error.to_string(),
            };
            let copy = tempfile::Builder::new()
                .prefix(PREFIX)
                .tempdir_in(&dir)
                .map_err(file)?;
            let hurry = lent.hurry();
            let copied = lent.reader().copy_to(&copy.path().join(turso::FILE), hurry);
            copied.map_err(|error| {
                let (EngineError::Broken(detail) | EngineError::Value(detail)) = error;
                ReadError::Engine(detail)
            })?;
            Ok(Snapshot {
                copy,
                payloads: dir.join(FOLDER),
                _files: files,
            })
        });
        // The runtime is shutting down.
        copying.await.unwrap_or(Err(ReadError::Closed))
    }
}

/// Removes copies that a crash has left.
pub(super) fn sweep(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Gives the store in `dir`, a copy of another's, an identity of its own: both may go on. Examines it first.
///
/// # Errors
/// It is no store, or not whole.
pub fn rebirth(dir: &Path) -> Result<NodeId, OpenError> {
    let io = |error| OpenError::Io {
        path: dir.to_owned(),
        error,
    };
    if !dir.join(turso::FILE).is_file() {
        return Err(OpenError::Foreign {
            path: dir.join(turso::FILE),
            detail: "there is none".to_owned(),
        });
    }
    let lock = DirectoryLock::take(dir)?;
    let fresh = NodeRecord {
        node: NodeId(u64::from_le_bytes(random().map_err(io)?)),
        key: random().map_err(io)?,
    };
    let mut engine = Turso::open(dir)?;
    engine.rebirth(&fresh).map_err(|error| {
        let (EngineError::Broken(detail) | EngineError::Value(detail)) = error;
        OpenError::Engine {
            path: dir.join(turso::FILE),
            detail,
        }
    })?;
    drop(engine);
    drop(lock);
    Ok(fresh.node)
}
