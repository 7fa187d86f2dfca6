//! Connections that only read, each on a thread of its own, so that nobody's commit waits for them (P11).
//!
//! The engine shares what is open in one process. So before the store opens its database again, or lets go of its
//! directory, all that were lent have to be back; they are told to hurry.

use super::engine::EngineError;
use super::query::{QueryAnswer, QueryError, Watch};
use super::thread::Keeper;
use super::types::ReadError;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A connection that only reads.
pub(super) trait Reader: Send {
    /// Runs one statement that changes nothing.
    fn query(&self, sql: &str, watch: &Watch) -> Result<QueryAnswer, QueryError>;

    /// Writes a copy of the whole database, as of now, to a file that is not there.
    fn copy_to(&self, file: &Path, readers: Arc<Readers>) -> Result<(), EngineError>;
}

/// Those that are lent.
#[derive(Default)]
pub(super) struct Readers {
    hurry: AtomicBool,
    out: Mutex<usize>,
    back: Condvar,
}

/// One that is lent.
pub(super) struct Lent {
    // Before the other, so that its connection has ended when it counts as back.
    reader: Box<dyn Reader>,
    readers: Back,
}

struct Back(Arc<Readers>);

impl Drop for Back {
    fn drop(&mut self) {
        *self.0.out.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.back.notify_all();
    }
}

impl Lent {
    pub(super) fn reader(&self) -> &dyn Reader {
        self.reader.as_ref()
    }

    /// Whether it is wanted back.
    pub(super) fn hurry(&self) -> Arc<Readers> {
        self.readers.0.clone()
    }
}

impl Readers {
    /// Whether all are wanted back.
    pub(super) fn is_over(&self) -> bool {
        self.hurry.load(Ordering::Relaxed)
    }

    /// Waits until all are back. Nobody lends meanwhile: that is the caller's.
    fn call_back(&self) {
        self.hurry.store(true, Ordering::Relaxed);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        while *out > 0 {
            out = self.back.wait(out).unwrap_or_else(PoisonError::into_inner);
        }
        self.hurry.store(false, Ordering::Relaxed);
    }
}

impl Keeper {
    /// Lends a connection to a thread that is not this one.
    pub(super) fn lend(&mut self) -> Result<Lent, ReadError> {
        let reader = self.ask(|engine| engine.reader())?;
        *self.readers.out.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Ok(Lent {
            reader,
            readers: Back(self.readers.clone()),
        })
    }

    /// Before the database is opened again, or for the last time closed.
    pub(super) fn call_back_readers(&self) {
        self.readers.call_back();
    }
}
