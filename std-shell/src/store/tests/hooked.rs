//! The engine's I/O with a test in between.

use crate::store::open::Opener;
use crate::store::turso::Turso;
use limbo::core::io::FileSyncType;
use limbo::core::{
    Buffer, Clock, Completion, CompletionError, File, IO, LimboError, MonotonicInstant, OpenFlags, Result,
    UnixIO, WallClockInstant,
};
use std::io::ErrorKind;
use std::sync::Arc;

/// Told of what the engine does to its files, by their paths.
pub(super) trait Hooks: Send + Sync + 'static {
    /// About to write `bytes` at `at`; may refuse.
    fn write(&self, path: &str, at: u64, bytes: &[u8]) -> std::result::Result<(), ErrorKind>;
    /// About to cut it to `len` bytes.
    fn truncate(&self, path: &str, len: u64);
    /// About to sync it: whether that is done, and whether it is said to have worked.
    fn sync(&self, path: &str) -> Synced;
}

/// What becomes of a sync.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Synced {
    Yes,
    No,
    /// It worked, and is said to have failed.
    Denied,
}

/// Opens the store's database over these hooks.
pub(super) fn opener(hooks: Arc<impl Hooks>) -> Opener {
    Box::new(move |dir| {
        let inner = UnixIO::new().unwrap();
        let hooks = hooks.clone();
        Ok(Box::new(Turso::open_with(
            dir,
            Arc::new(HookedIo { inner, hooks }),
        )?))
    })
}

struct HookedIo<H> {
    inner: UnixIO,
    hooks: Arc<H>,
}

impl<H: Hooks> Clock for HookedIo<H> {
    fn current_time_monotonic(&self) -> MonotonicInstant {
        self.inner.current_time_monotonic()
    }
    fn current_time_wall_clock(&self) -> WallClockInstant {
        self.inner.current_time_wall_clock()
    }
}

impl<H: Hooks> IO for HookedIo<H> {
    fn open_file(&self, path: &str, flags: OpenFlags, direct: bool) -> Result<Arc<dyn File>> {
        let inner = self.inner.open_file(path, flags, direct)?;
        Ok(Arc::new(HookedFile {
            inner,
            path: path.to_owned(),
            hooks: self.hooks.clone(),
        }))
    }
    fn remove_file(&self, path: &str) -> Result<()> {
        self.inner.remove_file(path)
    }
    fn step(&self) -> Result<()> {
        self.inner.step()
    }
}

struct HookedFile<H> {
    inner: Arc<dyn File>,
    path: String,
    hooks: Arc<H>,
}

fn failure(kind: ErrorKind, doing: &'static str) -> LimboError {
    LimboError::CompletionError(CompletionError::IOError(kind, doing))
}

impl<H: Hooks> HookedFile<H> {
    fn tell_write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.hooks
            .write(&self.path, at, bytes)
            .map_err(|kind| failure(kind, "pwrite"))
    }
}

impl<H: Hooks> File for HookedFile<H> {
    fn lock_file(&self, exclusive: bool) -> Result<()> {
        self.inner.lock_file(exclusive)
    }
    fn unlock_file(&self) -> Result<()> {
        self.inner.unlock_file()
    }
    fn pread(&self, at: u64, c: Completion) -> Result<Completion> {
        self.inner.pread(at, c)
    }
    fn pwrite(&self, at: u64, buffer: Arc<Buffer>, c: Completion) -> Result<Completion> {
        self.tell_write(at, buffer.as_slice())?;
        self.inner.pwrite(at, buffer, c)
    }
    fn pwritev(&self, at: u64, buffers: Vec<Arc<Buffer>>, c: Completion) -> Result<Completion> {
        let mut place = at;
        for buffer in &buffers {
            self.tell_write(place, buffer.as_slice())?;
            place += buffer.len() as u64;
        }
        self.inner.pwritev(at, buffers, c)
    }
    fn sync(&self, c: Completion, how: FileSyncType) -> Result<Completion> {
        match self.hooks.sync(&self.path) {
            Synced::Yes => self.inner.sync(c, how),
            Synced::No => Err(failure(ErrorKind::Other, "sync")),
            Synced::Denied => {
                let _done = self.inner.sync(c, how)?;
                Err(failure(ErrorKind::Other, "sync"))
            }
        }
    }
    fn size(&self) -> Result<u64> {
        self.inner.size()
    }
    fn truncate(&self, len: u64, c: Completion) -> Result<Completion> {
        self.hooks.truncate(&self.path, len);
        self.inner.truncate(len, c)
    }
}
