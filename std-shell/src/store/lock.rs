//! Keeps a second node off the directory.
//!
//! The engine's own lock on the database file is not enough: it is a POSIX lock, which any other opening and closing
//! of that file in this process would drop.

use super::types::OpenError;
use rustix::fs::FlockOperation;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an owner that is just going is waited for, as in a restart by a supervisor.
const PATIENCE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(10);

/// Held as long as the store is open; the system drops it with the process, however that ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock on `dir`, which must exist, and leaves this process's id in it for others to report.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        let io = |error| OpenError::Io {
            path: path.clone(),
            error,
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        let patience_over = Instant::now() + PATIENCE;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() >= patience_over {
                        let mut text = String::new();
                        // The pid only helps the reader of the message; without it the refusal is as right.
                        let pid = file
                            .read_to_string(&mut text)
                            .ok()
                            .and_then(|_| text.trim().parse().ok());
                        return Err(OpenError::Locked {
                            dir: dir.to_owned(),
                            pid,
                        });
                    }
                    std::thread::sleep(PAUSE);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io(error.into())),
            }
        }
        // Best effort: a full disk must not keep a node from starting.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}
