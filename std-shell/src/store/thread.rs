//! The store thread: group commit.
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

use super::engine::{ApplyError, EngineError, Entry, Files, Started, Store};
use super::letters::{self, LetterLimits, Requeue};
use super::lock::DirectoryLock;
use super::open::{AbortOnPanic, Opener};
use super::payload::{FileId, Folder, Job};
use super::readers::{Lent, Readers};
use super::reads::{Read, Reply};
use super::repair::BACKOFF_MIN;
use super::snapshot::KeptFiles;
use super::types::{Done, Op, Recovered, StoreStats};
use redlink_core::{AttemptId, Row};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Most operations of one commit.
pub const GROUP_MAX: usize = 1_024;
/// About the most bytes of one commit: so that many long rows don't make all others wait.
const GROUP_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most reads between two commits: so neither waits for more than one round of the other.
const READS_MAX: usize = 256;
/// An idle store empties its log after this.
pub(super) const IDLE: Duration = Duration::from_secs(1);
/// The mark is raised by so many sequence numbers at once; that many at most are skipped after a crash.
const MARK_BLOCK: u64 = 1_000_000;
/// Keys are signed in the tables.
const SEQUENCE_MAX: u64 = i64::MAX as u64;

/// What the store thread is asked.
pub(super) enum Command {
    /// Do it, and answer on the channel.
    Op(Entry),
    /// Its file can't be written: answer that it is not done.
    Refused(Op),
    /// Read something.
    Read(Read),
    /// Delete the idempotency keys of messages up to this one.
    ForgetKeys(u64),
    /// Look at dead letters, or delete some.
    Letters(letters::Ask),
    /// Lend a connection.
    Reader(Reply<Lent>),
    /// The same, and keep payload files as long as the token lives.
    Hold(Reply<(Lent, Arc<()>)>),
    /// Finish what came before, and end.
    Close {
        /// Empty the log first, and note exactly which sequence numbers are used.
        tidy: bool,
    },
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
            Row::Insert(sequence)
            | Row::Attempts(sequence)
            | Row::Settle(sequence)
            | Row::Delete(sequence) => Self::Message(sequence),
            Row::Keep(attempt) | Row::Drop(attempt) => Self::Attempt(attempt),
        }
    }
}

/// The state of the store thread.
pub(super) struct Keeper {
    pub(super) dir: PathBuf,
    pub(super) folder: Arc<Folder>,
    pub(super) opener: Opener,
    /// None while down.
    pub(super) engine: Option<Box<dyn Store>>,
    inbox: Receiver<Command>,
    jobs: Sender<Job>,
    done: UnboundedSender<Vec<Done>>,
    /// Which rows have their body in a file.
    pub(super) files: Files,
    /// None until they are told: before that no dead letter gives way.
    pub(super) letter_limits: Option<LetterLimits>,
    /// When to look for dead letters that are too old.
    pub(super) letters_at: Option<Instant>,
    /// Inserts below it need no new mark on disk.
    pub(super) mark: u64,
    /// One more than the highest sequence number that was asked for.
    used: u64,
    /// An entry that did not fit in the group before.
    held_over: Option<Entry>,
    /// A group of which it isn't known whether it is on disk. Nothing of it is answered before that is known.
    pub(super) unresolved: Vec<Entry>,
    /// Why the store is down.
    pub(super) fault: String,
    pub(super) retry_at: Option<Instant>,
    pub(super) backoff: Duration,
    /// When the log is to be emptied.
    pub(super) checkpoint_at: Option<Instant>,
    pub(super) stats: StoreStats,
    pub(super) readers: Arc<Readers>,
    pub(super) kept: KeptFiles,
    _lock: DirectoryLock,
}

/// What a [`Keeper`] is made of.
pub(super) struct Parts {
    pub(super) dir: PathBuf,
    pub(super) folder: Arc<Folder>,
    pub(super) opener: Opener,
    pub(super) engine: Box<dyn Store>,
    pub(super) inbox: Receiver<Command>,
    pub(super) jobs: Sender<Job>,
    pub(super) done: UnboundedSender<Vec<Done>>,
    pub(super) files: Files,
    /// How many dead letters there are.
    pub(super) letters: u64,
    pub(super) lock: DirectoryLock,
}

/// What one round of the thread has to do.
#[derive(Default)]
struct Round {
    group: Vec<Entry>,
    /// Bytes of the bodies that are in the group's rows.
    bytes: u64,
    refused: Vec<Op>,
    reads: Vec<Read>,
    forget: Option<u64>,
    letters: Vec<letters::Ask>,
    close: Option<bool>,
}

impl Round {
    fn take(&mut self, entry: Entry) {
        if entry.file.is_none() {
            self.bytes += entry.size;
        }
        self.bytes += entry.op.beside();
        self.group.push(entry);
    }
}

impl Keeper {
    /// With what was found on disk.
    pub(super) fn new(parts: Parts, started: &Started, rows: &Recovered) -> Self {
        let stats = StoreStats {
            up: true,
            messages: rows.messages.len() as u64,
            outcomes: rows.outcomes.len() as u64,
            replies: rows.replies.len() as u64,
            dead_letters: parts.letters,
            ..StoreStats::default()
        };
        Self {
            dir: parts.dir,
            folder: parts.folder,
            opener: parts.opener,
            engine: Some(parts.engine),
            inbox: parts.inbox,
            jobs: parts.jobs,
            done: parts.done,
            files: parts.files,
            letter_limits: None,
            letters_at: None,
            mark: started.mark,
            used: started.next_sequence,
            held_over: None,
            unresolved: Vec::new(),
            fault: String::new(),
            retry_at: None,
            backoff: BACKOFF_MIN,
            checkpoint_at: None,
            stats,
            readers: Arc::default(),
            kept: KeptFiles::default(),
            _lock: parts.lock,
        }
    }

    /// Until it is closed or nobody can ask any more.
    pub(super) fn run(mut self) {
        let _guard = AbortOnPanic;
        loop {
            let mut round = Round::default();
            if !self.gather(&mut round) {
                break;
            }
            for read in round.reads {
                self.read(read);
            }
            for ask in round.letters {
                self.letters(ask);
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
            if let Some(through) = round.forget {
                self.forget_keys(through);
            }
            self.prune_letters();
            self.let_go();
            if let Some(tidy) = round.close {
                self.end(tidy);
                break;
            }
        }
        self.call_back_readers();
        let _ = self.jobs.send(Job::Stop);
    }

    /// Waits for work, then takes all that is there, within bounds. False when nobody can ask any more.
    fn gather(&mut self, round: &mut Round) -> bool {
        let mut keys = HashSet::new();
        if let Some(entry) = self.held_over.take() {
            keys.insert(Key::of(&entry.op));
            round.take(entry);
        } else {
            let wake = [
                self.retry_at,
                self.checkpoint_at,
                self.letters_at,
                self.kept.look_at(),
            ];
            let wake = wake.into_iter().flatten().min();
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
            && round.letters.is_empty()
            && self.held_over.is_none()
            && round.forget.is_none()
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
            Command::ForgetKeys(through) => round.forget = round.forget.max(Some(through)),
            Command::Reader(to) => {
                // Given back at once if nobody waits for it any more.
                let _ = to.send(self.lend());
            }
            Command::Hold(to) => {
                let _ = to.send(self.hold());
            }
            Command::Letters(ask) => round.letters.push(ask),
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

    /// What is not deleted now is found at the next start, and deleted then.
    fn forget_keys(&mut self, through: u64) {
        let Some(engine) = &mut self.engine else { return };
        match engine.forget_keys(through) {
            Ok(()) => self.checkpoint_at = Some(Instant::now() + IDLE),
            Err(error) => {
                self.down("deleting idempotency keys", error);
                self.resolve();
            }
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
                    self.stats.commits.add_micros(self.stats.commit_micros);
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
        let used = match op {
            Op::Insert(message) => message.sequence.saturating_add(1),
            Op::Reserve { below, .. } => *below,
            Op::Attempts { .. }
            | Op::Settle { .. }
            | Op::Delete { .. }
            | Op::Keep { .. }
            | Op::Drop { .. } => return,
        };
        if used <= SEQUENCE_MAX {
            self.used = self.used.max(used);
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
    pub(super) fn fail(&mut self, entries: impl IntoIterator<Item = Entry>, answers: &mut Vec<Done>) {
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
    pub(super) fn answer(&self, answers: Vec<Done>) {
        if !answers.is_empty() {
            let _ = self.done.send(answers);
        }
    }

    /// Notes what is on disk now.
    pub(super) fn committed(&mut self, entry: &Entry) {
        self.stats.done += 1;
        let gone = match &entry.op {
            Op::Insert(message) => {
                self.stats.messages += 1;
                self.files
                    .messages
                    .extend(entry.file.map(|file| (message.sequence, file)));
                message.requeue.and_then(
                    |Requeue {
                         letter,
                         keeps_payload,
                     }| {
                        self.stats.dead_letters = self.stats.dead_letters.saturating_sub(1);
                        let file = self.files.letters.remove(&letter);
                        if !keeps_payload {
                            return file;
                        }
                        self.files
                            .messages
                            .extend(file.map(|file| (message.sequence, file)));
                        None
                    },
                )
            }
            Op::Reserve { .. } | Op::Attempts { .. } => None,
            Op::Settle { sequence, letter, .. } => {
                self.stats.messages = self.stats.messages.saturating_sub(1);
                self.stats.outcomes += 1;
                self.files
                    .outcomes
                    .extend(entry.file.map(|file| (*sequence, file)));
                let file = self.files.messages.remove(sequence);
                if letter.is_none() {
                    file
                } else {
                    self.letter_came();
                    self.files.letters.extend(file.map(|file| (*sequence, file)));
                    None
                }
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

    pub(super) fn forget_file(&mut self, file: Option<FileId>) {
        if let Some(file) = file
            && !self.keeps(file)
        {
            // The file thread goes after this one.
            let _ = self.jobs.send(Job::Remove(file));
        }
    }
}
