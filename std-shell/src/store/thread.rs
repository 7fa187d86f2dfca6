//! The store thread: group commit, reads in between, and what happens after an error.
//!
//! ```text
//!            ┌── op, read ──┐
//!            ▼              │
//!          up ──────────────┘   a group: reads, BEGIN, operations, COMMIT, answers, unlinks
//!           │ error of COMMIT or I/O
//!           ▼
//!         down: the group is unresolved; new operations are answered false, reads with an error
//!           │ opened again; what is there was looked up and, if any of it is, synced by a checkpoint
//!           ▼
//!          up, and the group answered by what is on disk
//! ```

use super::engine::{ApplyError, EngineError, Entry, Files, Found, Place, Recovery, Started, Store};
use super::handle::StoreHandle;
use super::lock::DirectoryLock;
use super::payload::{FileId, Folder, Job, make_dir, sync_dir};
use super::turso::{self, Turso};
use super::types::{Done, NodeRecord, Op, OpenError, ReadError, Recovered, StoreStats};
use redlink_core::{AttemptId, Boot, NodeId, Outcome, Row, Verb};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

/// Most operations of one commit.
pub const GROUP_MAX: usize = 1_024;
/// About the most bytes of one commit: so that many long rows don't make all others wait.
const GROUP_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most reads between two commits: so neither waits for more than one round of the other.
const READS_MAX: usize = 256;
/// An idle store empties its log after this.
const IDLE: Duration = Duration::from_secs(1);
/// The mark is raised by so many sequence numbers at once; that many at most are skipped after a crash.
const MARK_BLOCK: u64 = 1_000_000;
/// Keys are signed in the tables.
const SEQUENCE_MAX: u64 = i64::MAX as u64;
/// The first and the longest pause between attempts to open the database again.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

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
        let (engine, started, rows, files) = match begin(&dir, &mut opener, &folder_of_thread) {
            Ok((engine, started, recovery)) => (engine, started, recovery.rows, recovery.files),
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let stats = StoreStats {
            up: true,
            messages: rows.messages.len() as u64,
            outcomes: rows.outcomes.len() as u64,
            replies: rows.replies.len() as u64,
            ..StoreStats::default()
        };
        let keeper = Keeper {
            dir,
            folder: folder_of_thread,
            opener,
            engine: Some(engine),
            inbox,
            jobs: jobs_of_thread,
            done,
            files,
            mark: started.mark,
            used: started.next_sequence,
            held_over: None,
            unresolved: Vec::new(),
            fault: String::new(),
            retry_at: None,
            backoff: BACKOFF_MIN,
            checkpoint_at: None,
            stats,
            _lock: lock,
        };
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
        store: StoreHandle::new(commands, jobs, [keeper, files]),
        identity: started.identity,
        boot,
        next_sequence: started.next_sequence,
        recovered,
    })
}

/// A thread whose panic ends the process: what it holds may be half changed, and what is on disk is whole.
fn spawn(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err() {
            eprintln!(
                "redlink: the thread {name} panicked; stopping, so that the next start recovers from disk"
            );
            std::process::abort();
        }
    })
}

fn begin(
    dir: &Path,
    opener: &mut Opener,
    folder: &Folder,
) -> Result<(Box<dyn Store>, Started, Recovery), OpenError> {
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

fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut have = 0;
    while have < N {
        have += rustix::rand::getrandom(&mut bytes[have..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// What the store thread is asked.
pub(super) enum Command {
    /// Do it, and answer on the channel.
    Op(Entry),
    /// Its file can't be written: answer that it is not done.
    Refused(Op),
    /// Read something.
    Read(Read),
    /// Finish what came before, and end.
    Close {
        /// Empty the log first, and note exactly which sequence numbers are used.
        tidy: bool,
    },
}

/// Something to read, and whom to tell.
pub(super) enum Read {
    Payload(u64, Reply<Option<Body>>),
    Outcome(u64, Reply<Option<(Outcome, Option<Body>)>>),
    Reply(AttemptId, Reply<Option<(Verb, Option<Body>)>>),
    Integrity(Reply<Vec<String>>),
    Stats(oneshot::Sender<StoreStats>),
}

type Reply<T> = oneshot::Sender<Result<T, ReadError>>;

/// A body that was looked up. A file is opened on the store thread, so that its removal can't come in between, and
/// read elsewhere.
pub(super) struct Body {
    pub(super) content_type: Option<Arc<str>>,
    pub(super) bytes: BodyBytes,
}

pub(super) enum BodyBytes {
    Here(bytes::Bytes),
    File(std::fs::File, PathBuf),
}

/// Names what an operation is about; a group has at most one about each.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Message(u64),
    Attempt(AttemptId),
}

impl Key {
    fn of(op: &Op) -> Self {
        match op.row() {
            Row::Insert(sequence) | Row::Settle(sequence) | Row::Delete(sequence) => Self::Message(sequence),
            Row::Keep(attempt) | Row::Drop(attempt) => Self::Attempt(attempt),
        }
    }
}

/// The state of the store thread.
struct Keeper {
    dir: PathBuf,
    folder: Arc<Folder>,
    opener: Opener,
    /// None while down.
    engine: Option<Box<dyn Store>>,
    inbox: Receiver<Command>,
    jobs: Sender<Job>,
    done: UnboundedSender<Vec<Done>>,
    /// Which rows have their body in a file.
    files: Files,
    /// Inserts below it need no new mark on disk.
    mark: u64,
    /// One more than the highest sequence number that was asked for.
    used: u64,
    /// An entry that did not fit in the group before.
    held_over: Option<Entry>,
    /// A group of which it isn't known whether it is on disk. Nothing of it is answered before that is known.
    unresolved: Vec<Entry>,
    /// Why the store is down.
    fault: String,
    retry_at: Option<Instant>,
    backoff: Duration,
    /// When the log is to be emptied.
    checkpoint_at: Option<Instant>,
    stats: StoreStats,
    _lock: DirectoryLock,
}

/// What one round of the thread has to do.
#[derive(Default)]
struct Round {
    group: Vec<Entry>,
    /// Bytes of the bodies that are in the group's rows.
    bytes: u64,
    refused: Vec<Op>,
    reads: Vec<Read>,
    close: Option<bool>,
}

impl Round {
    fn take(&mut self, entry: Entry) {
        if entry.file.is_none() {
            self.bytes += entry.size;
        }
        self.group.push(entry);
    }
}

impl Keeper {
    fn run(mut self) {
        loop {
            let mut round = Round::default();
            if !self.gather(&mut round) {
                break;
            }
            for read in round.reads {
                self.read(read);
            }
            self.refuse(&round.refused);
            let now = Instant::now();
            if self.retry_at.is_some_and(|at| at <= now) {
                self.resolve();
            }
            if !round.group.is_empty() {
                self.commit(round.group);
            } else if self.checkpoint_at.is_some_and(|at| at <= now) {
                self.empty_log();
            }
            if let Some(tidy) = round.close {
                self.end(tidy);
                break;
            }
        }
        let _ = self.jobs.send(Job::Stop);
    }

    /// Waits for work, then takes all that is there, within bounds. False when nobody can ask any more.
    fn gather(&mut self, round: &mut Round) -> bool {
        let mut keys = HashSet::new();
        if let Some(entry) = self.held_over.take() {
            keys.insert(Key::of(&entry.op));
            round.take(entry);
        } else {
            let wake = [self.retry_at, self.checkpoint_at].into_iter().flatten().min();
            let first = match wake {
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => self
                    .inbox
                    .recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(command) => self.sort(command, &mut keys, round),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        while round.group.len() < GROUP_MAX
            && round.bytes < GROUP_BYTES_MAX
            && round.reads.len() < READS_MAX
            && self.held_over.is_none()
            && round.close.is_none()
        {
            match self.inbox.try_recv() {
                Ok(command) => self.sort(command, &mut keys, round),
                Err(_) => break,
            }
        }
        true
    }

    fn sort(&mut self, command: Command, keys: &mut HashSet<Key>, round: &mut Round) {
        match command {
            // Two operations about one row are never in one group, so that afterwards each can be told from what is
            // on disk.
            Command::Op(entry) if !keys.insert(Key::of(&entry.op)) => self.held_over = Some(entry),
            Command::Op(entry) => round.take(entry),
            Command::Refused(op) => round.refused.push(op),
            Command::Read(read) => round.reads.push(read),
            Command::Close { tidy } => round.close = Some(tidy),
        }
    }

    /// After a while without work, so that it costs nobody's time, and a start has less to read.
    fn empty_log(&mut self) {
        self.checkpoint_at = None;
        if let Some(engine) = &mut self.engine
            && let Err(error) = engine.checkpoint()
        {
            self.down("emptying the log", error);
            self.resolve();
        }
    }

    fn end(&mut self, tidy: bool) {
        if let Some(entry) = self.held_over.take() {
            self.commit(vec![entry]);
        }
        if self.retry_at.is_some() {
            self.resolve();
        }
        let Some(engine) = self.engine.as_mut().filter(|_| tidy) else {
            return;
        };
        // Neither is needed for what was promised: the log is read at the next start, and numbers may be skipped.
        let tidied = if self.mark > self.used {
            engine.set_mark(self.used)
        } else {
            Ok(())
        };
        if let Err(EngineError::Broken(error) | EngineError::Value(error)) =
            tidied.and_then(|()| engine.checkpoint())
        {
            tracing::warn!(error, "the store could not empty its log");
        }
    }

    fn commit(&mut self, group: Vec<Entry>) {
        for entry in &group {
            self.note_used(&entry.op);
        }
        let mut answers = Vec::with_capacity(group.len());
        let mut parts = vec![group];
        while let Some(mut group) = parts.pop() {
            if group.is_empty() {
                continue;
            }
            let Some(engine) = &mut self.engine else {
                self.fail(group, &mut answers);
                continue;
            };
            let mark =
                (self.used > self.mark).then(|| self.used.saturating_add(MARK_BLOCK).min(SEQUENCE_MAX));
            let began = Instant::now();
            match engine.apply(&group, mark) {
                Ok(()) => {
                    self.mark = mark.unwrap_or(self.mark);
                    self.stats.groups += 1;
                    self.stats.commit_micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                    self.checkpoint_at = Some(Instant::now() + IDLE);
                    for entry in group {
                        answers.push(Done {
                            row: entry.op.row(),
                            done: true,
                        });
                        self.committed(&entry);
                    }
                }
                Err(ApplyError::Entry { at, detail }) => {
                    // Set aside, and the group goes on in two parts: so nothing is done more than twice.
                    parts.push(group.split_off(at + 1));
                    if let Some(entry) = group.pop() {
                        self.set_aside(entry, &detail, &mut answers);
                    }
                    parts.push(group);
                }
                Err(ApplyError::Unknown(detail)) => {
                    self.unresolved = group;
                    self.down("a commit", EngineError::Broken(detail));
                }
            }
        }
        self.answer(answers);
        if !self.unresolved.is_empty() {
            self.resolve();
        }
    }

    /// One entry can't be done, and the engine is well.
    fn set_aside(&mut self, entry: Entry, detail: &str, answers: &mut Vec<Done>) {
        // A repeated settle or keep finds its row there, which is as good as done; an insert that does would lose a
        // message if it were called done.
        let there = !matches!(entry.op, Op::Insert(_))
            && matches!(
                self.engine.as_mut().map(|engine| engine.holds(&entry.op)),
                Some(Ok(true))
            );
        tracing::error!(row = ?entry.op.row(), there, detail, "the store can't do this");
        if there {
            self.forget_file(entry.file);
            answers.push(Done {
                row: entry.op.row(),
                done: true,
            });
        } else {
            self.fail([entry], answers);
        }
    }

    /// The number of a message that is refused is not given out again either.
    fn note_used(&mut self, op: &Op) {
        // Larger ones are not keys; the engine refuses them.
        if let Op::Insert(message) = op
            && message.sequence < SEQUENCE_MAX
        {
            self.used = self.used.max(message.sequence + 1);
        }
    }

    fn refuse(&mut self, ops: &[Op]) {
        for op in ops {
            self.note_used(op);
        }
        self.stats.failed += ops.len() as u64;
        self.answer(
            ops.iter()
                .map(|op| Done {
                    row: op.row(),
                    done: false,
                })
                .collect(),
        );
    }

    /// These certainly did not happen.
    fn fail(&mut self, entries: impl IntoIterator<Item = Entry>, answers: &mut Vec<Done>) {
        for entry in entries {
            self.forget_file(entry.file);
            self.stats.failed += 1;
            answers.push(Done {
                row: entry.op.row(),
                done: false,
            });
        }
    }

    /// Tells the caller; if there is none any more, there is nobody to tell.
    fn answer(&self, answers: Vec<Done>) {
        if !answers.is_empty() {
            let _ = self.done.send(answers);
        }
    }

    /// Notes what is on disk now.
    fn committed(&mut self, entry: &Entry) {
        self.stats.done += 1;
        let gone = match &entry.op {
            Op::Insert(message) => {
                self.stats.messages += 1;
                self.files
                    .messages
                    .extend(entry.file.map(|file| (message.sequence, file)));
                None
            }
            Op::Settle { sequence, .. } => {
                self.stats.messages = self.stats.messages.saturating_sub(1);
                self.stats.outcomes += 1;
                self.files
                    .outcomes
                    .extend(entry.file.map(|file| (*sequence, file)));
                self.files.messages.remove(sequence)
            }
            Op::Delete { sequence } => {
                self.stats.outcomes = self.stats.outcomes.saturating_sub(1);
                self.files.outcomes.remove(sequence)
            }
            Op::Keep { token, .. } => {
                self.stats.replies += 1;
                self.files
                    .replies
                    .extend(entry.file.map(|file| (token.attempt(), file)));
                None
            }
            Op::Drop { attempt } => {
                self.stats.replies = self.stats.replies.saturating_sub(1);
                self.files.replies.remove(attempt)
            }
        };
        self.forget_file(gone);
    }

    fn forget_file(&self, file: Option<FileId>) {
        if let Some(file) = file {
            // The file thread goes after this one.
            let _ = self.jobs.send(Job::Remove(file));
        }
    }

    /// The engine may not be used any more.
    fn down(&mut self, during: &str, error: EngineError) {
        let (EngineError::Broken(detail) | EngineError::Value(detail)) = error;
        self.fault = format!("{during} failed: {detail}");
        tracing::error!(fault = self.fault, "the store opens its database again");
        // Dropped before it is opened again: the engine shares what is open in one process.
        self.engine = None;
        self.stats.up = false;
        self.checkpoint_at = None;
    }

    /// Opens the database again and answers the unresolved group by what is on disk; if that fails, later.
    fn resolve(&mut self) {
        match self.look() {
            Ok(held) => {
                let mut answers = Vec::with_capacity(held.len());
                for (entry, held) in std::mem::take(&mut self.unresolved).into_iter().zip(held) {
                    if held {
                        answers.push(Done {
                            row: entry.op.row(),
                            done: true,
                        });
                        self.committed(&entry);
                    } else {
                        self.fail([entry], &mut answers);
                    }
                }
                self.retry_at = None;
                self.backoff = BACKOFF_MIN;
                self.stats.up = true;
                self.stats.reopened += 1;
                self.answer(answers);
            }
            Err(error) => {
                self.down("opening it again", error);
                self.retry_at = Some(Instant::now() + self.backoff);
                self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            }
        }
    }

    /// For each entry of the unresolved group, whether it is on disk, for good.
    fn look(&mut self) -> Result<Vec<bool>, EngineError> {
        self.engine = None;
        let mut engine = (self.opener)(&self.dir).map_err(|error| EngineError::Broken(error.to_string()))?;
        sync_dir(&self.dir).map_err(|error| EngineError::Broken(error.to_string()))?;
        let mut held = Vec::with_capacity(self.unresolved.len());
        for entry in &self.unresolved {
            held.push(engine.holds(&entry.op)?);
        }
        // What is read here may be in the system's cache only: a failed fsync can leave pages that were never
        // written and are never tried again. A checkpoint writes them anew, elsewhere, and syncs them.
        if held.contains(&true) {
            engine.checkpoint()?;
        }
        // A mark that the group may or may not have raised: the next insert raises it again.
        self.mark = 0;
        self.engine = Some(engine);
        Ok(held)
    }

    fn read(&mut self, read: Read) {
        // Whoever asked may have gone; then the answer is for nobody.
        match read {
            Read::Payload(sequence, to) => {
                let found = self.ask(|engine| engine.payload(sequence));
                let _ = to.send(found.and_then(|found| found.map(|found| self.body(found)).transpose()));
            }
            Read::Outcome(sequence, to) => {
                let found = self.ask(|engine| engine.outcome(sequence));
                let _ = to.send(found.and_then(|found| {
                    let with_body = |(outcome, found): (Outcome, Option<Found>)| {
                        Ok((outcome, found.map(|found| self.body(found)).transpose()?))
                    };
                    found.map(with_body).transpose()
                }));
            }
            Read::Reply(attempt, to) => {
                let found = self.ask(|engine| engine.reply(attempt));
                let _ = to.send(found.and_then(|found| {
                    let with_body = |(verb, found): (Verb, Option<Found>)| {
                        Ok((verb, found.map(|found| self.body(found)).transpose()?))
                    };
                    found.map(with_body).transpose()
                }));
            }
            Read::Integrity(to) => {
                let _ = to.send(self.ask(|engine| engine.integrity()));
            }
            Read::Stats(to) => {
                let _ = to.send(self.stats());
            }
        }
    }

    fn ask<T>(&mut self, of: impl FnOnce(&mut dyn Store) -> Result<T, EngineError>) -> Result<T, ReadError> {
        let Some(engine) = &mut self.engine else {
            return Err(ReadError::Down(self.fault.clone()));
        };
        of(engine.as_mut()).map_err(|error| match error {
            EngineError::Value(detail) => ReadError::Value(detail),
            EngineError::Broken(detail) => {
                self.down("a read", EngineError::Broken(detail.clone()));
                // At the end of this round.
                self.retry_at = Some(Instant::now());
                ReadError::Engine(detail)
            }
        })
    }

    fn body(&self, found: Found) -> Result<Body, ReadError> {
        let bytes = match found.place {
            Place::Row(bytes) => BodyBytes::Here(bytes),
            Place::File(id) => {
                let path = self.folder.path_of(id);
                match std::fs::File::open(&path) {
                    Ok(file) => BodyBytes::File(file, path),
                    Err(error) => {
                        return Err(ReadError::File {
                            path,
                            detail: error.to_string(),
                        });
                    }
                }
            }
        };
        Ok(Body {
            content_type: found.content_type,
            bytes,
        })
    }

    fn stats(&self) -> StoreStats {
        // By name: opening the database file would drop the engine's lock on it.
        let size = |name| std::fs::metadata(self.dir.join(name)).map_or(0, |of| of.len());
        StoreStats {
            database_bytes: size(turso::FILE),
            log_bytes: size(turso::LOG_FILE),
            free_bytes: rustix::fs::statvfs(&self.dir)
                .map_or(0, |of| of.f_bavail.saturating_mul(of.f_frsize)),
            ..self.stats.clone()
        }
    }
}
