//! Bodies that are too large for a row: one file each, and the thread that writes and removes them.
//!
//! A file is written and synced, and its folder synced, before the row that names it is inserted; it is removed
//! after the row's deletion is committed. So a row always finds its file, and what a crash leaves behind is a file
//! without a row, which the next start sweeps away.

use super::engine::Entry;
use super::open::AbortOnPanic;
use super::thread::Command;
use super::types::{Op, OpenError};
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender};

/// Bodies up to this many bytes are in their row.
pub const INLINE_MAX: usize = 64 * 1024;

/// Name of their folder.
pub(super) const FOLDER: &str = "payload";

/// How many jobs share one sync of the folder.
const BATCH_MAX: usize = 64;

/// Names a body's file: the boot that wrote it and its number in there, so that no name is used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct FileId(u64);

impl FileId {
    /// As it is stored in a row.
    pub(super) fn to_row(self) -> i64 {
        self.0.cast_signed()
    }

    /// Reads [`FileId::to_row`] back.
    pub(super) fn from_row(value: i64) -> Self {
        Self(value.cast_unsigned())
    }

    fn from_name(name: &str) -> Option<Self> {
        let id = u64::from_str_radix(name, 16).ok().map(Self)?;
        // Only the one spelling, so that nothing else in the folder is taken for ours.
        (id.to_string() == name).then_some(id)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The folder of the files.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens or makes `payload` in the store's directory.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FOLDER);
        make_dir(&path).map_err(|error| OpenError::Io {
            path: path.clone(),
            error,
        })?;
        Ok(Self { path })
    }

    pub(super) fn path_of(&self, id: FileId) -> PathBuf {
        self.path.join(id.to_string())
    }

    /// Writes a file, and gives it back to be synced.
    fn write(&self, id: FileId, bytes: &[u8]) -> io::Result<File> {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path_of(id))?;
        file.write_all(bytes)?;
        Ok(file)
    }

    fn remove(&self, id: FileId) {
        match fs::remove_file(self.path_of(id)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It costs room until the next start sweeps it.
            Err(error) => {
                tracing::warn!(file = %self.path_of(id).display(), %error, "can't remove a payload file")
            }
        }
    }

    /// Removes every file that no row names.
    pub(super) fn sweep(&self, named: &HashSet<FileId>) -> io::Result<usize> {
        let mut swept = 0;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(FileId::from_name) else {
                continue;
            };
            if !named.contains(&id) {
                fs::remove_file(entry.path())?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

/// Makes a directory that only its owner can enter, if it is not there.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match path.parent() {
        // A new name is only safe from power loss when the directory that holds it is synced.
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Makes names in a directory safe from power loss.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Work for the file thread, done in order.
pub(super) enum Job {
    /// Write the operation's body to a file, then pass the operation on.
    Write(Op),
    /// Pass it on, behind what was given before it.
    Forward(Command),
    /// Remove a file that no row names any more.
    Remove(FileId),
    /// Nothing comes any more.
    Stop,
}

/// What a job has become, to be passed on in order.
enum Outgoing {
    Command(Command),
    /// Written, and not yet synced.
    Written(Op, u64, FileId, File),
}

/// The file thread: runs until told to stop.
pub(super) fn run(folder: &Folder, boot: u32, jobs: &Receiver<Job>, commands: &Sender<Command>) {
    let _guard = AbortOnPanic;
    let mut next = u64::from(boot) << 32;
    let mut batch = Vec::new();
    let mut going = true;
    while going {
        let Ok(first) = jobs.recv() else { return };
        let mut job = Some(first);
        while let Some(now) = job.take() {
            match now {
                Job::Write(op) => {
                    batch.push(write(folder, FileId(next), op));
                    next += 1;
                }
                Job::Forward(command) => batch.push(Outgoing::Command(command)),
                Job::Remove(id) => folder.remove(id),
                Job::Stop => {
                    going = false;
                    break;
                }
            }
            if batch.len() < BATCH_MAX {
                job = jobs.try_recv().ok();
            }
        }
        for command in sync(folder, &mut batch) {
            // The store thread only goes after this one was told to stop.
            let _ = commands.send(command);
        }
    }
}

fn write(folder: &Folder, id: FileId, mut op: Op) -> Outgoing {
    let bytes = op.take_bytes();
    match folder.write(id, &bytes) {
        Ok(file) => Outgoing::Written(op, bytes.len() as u64, id, file),
        Err(error) => Outgoing::Command(refuse(folder, id, op, &error)),
    }
}

/// Syncs all files of a batch after all were written, so that the file system can write them together, then their
/// names.
fn sync(folder: &Folder, batch: &mut Vec<Outgoing>) -> Vec<Command> {
    let mut synced = Vec::with_capacity(batch.len());
    let mut files = 0;
    for outgoing in batch.drain(..) {
        synced.push(match outgoing {
            Outgoing::Command(command) => command,
            Outgoing::Written(op, size, id, file) => match file.sync_all() {
                Ok(()) => {
                    files += 1;
                    Command::Op(Entry {
                        op,
                        size,
                        file: Some(id),
                    })
                }
                Err(error) => refuse(folder, id, op, &error),
            },
        });
    }
    let Err(error) = (if files > 0 { sync_dir(&folder.path) } else { Ok(()) }) else {
        return synced;
    };
    let refused = synced.into_iter().map(|command| match command {
        Command::Op(Entry {
            op, file: Some(id), ..
        }) => refuse(folder, id, op, &error),
        other => other,
    });
    refused.collect()
}

fn refuse(folder: &Folder, id: FileId, op: Op, error: &io::Error) -> Command {
    tracing::error!(file = %folder.path_of(id).display(), %error, "can't write a payload file");
    folder.remove(id);
    Command::Refused(op)
}
