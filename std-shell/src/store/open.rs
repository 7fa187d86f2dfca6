//! From a directory to a running store.

use super::engine::{EngineError, Recovery, Started, Store};
use super::handle::StoreHandle;
use super::lock::DirectoryLock;
use super::payload::{FileId, Folder, make_dir, sync_dir};
use super::snapshot;
use super::thread::{Keeper, Parts};
use super::turso::{self, Turso};
use super::types::{Done, NodeRecord, OpenError, Recovered};
use redlink_core::{Boot, NodeId};
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use tokio::sync::mpsc::UnboundedSender;

/// A store that was opened, and what was in it.
#[derive(Debug)]
pub struct Opened {
    /// Takes operations and reads.
    pub store: StoreHandle,
    /// Who this node is.
    pub identity: NodeRecord,
    /// This life of it; on disk by now.
    pub boot: Boot,
    /// The first sequence number that was never used.
    pub next_sequence: u64,
    /// What is on disk.
    pub recovered: Recovered,
}

/// Opens the store in `dir`, or makes one there, and commits a boot record. Answers to operations go to `done`, one
/// list for each commit. Blocks until everything on disk is read.
///
/// # Errors
/// Why it can't be used; nothing was changed if the directory is in use or the file is not ours.
pub fn open(dir: &Path, done: UnboundedSender<Vec<Done>>) -> Result<Opened, OpenError> {
    open_with(dir, done, Box::new(|dir| Ok(Box::new(Turso::open(dir)?))))
}

/// How a database is opened, the first time and after an error.
pub(super) type Opener = Box<dyn FnMut(&Path) -> Result<Box<dyn Store>, OpenError> + Send>;

/// [`open`] with another engine.
pub(super) fn open_with(
    dir: &Path,
    done: UnboundedSender<Vec<Done>>,
    mut opener: Opener,
) -> Result<Opened, OpenError> {
    let io = |error| OpenError::Io {
        path: dir.to_owned(),
        error,
    };
    make_dir(dir).map_err(io)?;
    let lock = DirectoryLock::take(dir)?;
    let folder = Arc::new(Folder::open(dir)?);
    let (commands, inbox) = channel();
    let (jobs, job_inbox) = channel();
    let (ready, answer) = channel();
    let dir_of_thread = dir.to_owned();
    let folder_of_thread = folder.clone();
    let jobs_of_thread = jobs.clone();
    let keeper = spawn("redlink-store", move || {
        let dir = dir_of_thread;
        let (engine, started, recovery) = match begin(&dir, &mut opener, &folder_of_thread) {
            Ok(begun) => begun,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let parts = Parts {
            dir,
            folder: folder_of_thread,
            opener,
            engine,
            inbox,
            jobs: jobs_of_thread,
            done,
            files: recovery.files,
            letters: recovery.letters,
            lock,
        };
        let rows = recovery.rows;
        let keeper = Keeper::new(parts, &started, &rows);
        if ready.send(Ok((started, rows))).is_ok() {
            keeper.run();
        }
    })
    .map_err(io)?;
    // The thread sends before it ends, and a panic in it ends the process.
    let (started, recovered) = answer
        .recv()
        .map_err(|_| io(std::io::Error::other("the store thread ended")))??;
    let boot = started.boot;
    let of_files = (folder.clone(), commands.clone());
    let files = spawn("redlink-files", move || {
        let (folder, commands) = of_files;
        super::payload::run(&folder, boot.counter, &job_inbox, &commands);
    })
    .map_err(io)?;
    Ok(Opened {
        store: StoreHandle::new(dir.to_owned(), commands, jobs, [keeper, files]),
        identity: started.identity,
        boot,
        next_sequence: started.next_sequence,
        recovered,
    })
}

fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// Ends the process when its thread panics, before anything else learns of it: what the thread holds may be half
/// changed, and what is on disk is whole.
pub(super) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::thread::current().name().unwrap_or("store").to_owned();
            let text = format!(
                "redlink: the thread {name} panicked; stopping, so that the next start recovers from disk\n"
            );
            // In one piece; if nobody can read it, the exit says enough.
            let _ = std::io::stderr().write_all(text.as_bytes());
            std::process::abort();
        }
    }
}

fn begin(
    dir: &Path,
    opener: &mut Opener,
    folder: &Folder,
) -> Result<(Box<dyn Store>, Started, Recovery), OpenError> {
    let _guard = AbortOnPanic;
    let path = dir.join(turso::FILE);
    let io = |error| OpenError::Io {
        path: path.clone(),
        error,
    };
    let engine_error = |error| match error {
        EngineError::Broken(detail) => OpenError::Engine {
            path: path.clone(),
            detail,
        },
        EngineError::Value(detail) => OpenError::Engine {
            path: path.clone(),
            detail: format!("bad value: {detail}"),
        },
    };
    snapshot::sweep(dir).map_err(io)?;
    let mut engine = opener(dir)?;
    let fresh = NodeRecord {
        node: NodeId(u64::from_le_bytes(random().map_err(io)?)),
        key: random().map_err(io)?,
    };
    let bits = u32::from_le_bytes(random().map_err(io)?);
    let started = engine.start(&fresh, bits).map_err(engine_error)?;
    // The engine never syncs the directory; without this a power loss could take the new files' names.
    sync_dir(dir).map_err(io)?;
    let recovery = engine.recover().map_err(engine_error)?;
    let named: HashSet<FileId> = recovery.files.ids().collect();
    let swept = folder.sweep(&named).map_err(io)?;
    if swept > 0 {
        tracing::info!(swept, "removed payload files that no row names");
    }
    Ok((engine, started, recovery))
}

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source
        .fill(&mut bytes)
        .map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
    Ok(bytes)
}
