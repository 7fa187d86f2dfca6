//! What the rest of the node holds of the store.

use super::engine::Entry;
use super::letters::{Ask, LetterLimits, LettersFrom, StoredLetter};
use super::payload::{INLINE_MAX, Job};
use super::query::{self, QueryAnswer, QueryError};
use super::readers::Lent;
use super::reads::{Body, BodyBytes, Read};
use super::thread::Command;
use super::types::{Op, ReadError, Short, StoreStats, StoredOutcomeContent, StoredReplyContent};
use crate::Content;
use redlink_core::AttemptId;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, oneshot};

/// Gives operations to the store and reads from it. Clones share it; the last one to go ends it, without tidying up.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    commands: Sender<Command>,
    jobs: Sender<Job>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// One query runs at a time.
    querying: Arc<Semaphore>,
}

impl StoreHandle {
    pub(super) fn new(
        dir: PathBuf,
        commands: Sender<Command>,
        jobs: Sender<Job>,
        threads: [JoinHandle<()>; 2],
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                dir,
                commands,
                jobs,
                threads: Mutex::new(threads.into()),
                querying: Arc::new(Semaphore::new(1)),
            }),
        }
    }

    /// Gives an operation to the store; never blocks. Its [`Done`](super::Done) comes on the channel given to
    /// [`open`](super::open()). The queue has no bound of its own: the core asks for no more than its tables hold.
    /// Operations about one row have no order among them: give the next one when the one before is answered.
    /// After [`StoreHandle::close`] nothing happens.
    pub fn send(&self, op: Op) {
        let size = op.content().map_or(0, |content| content.bytes.len());
        // A closed store answers nobody.
        if size > INLINE_MAX {
            let _ = self.inner.jobs.send(Job::Write(op));
        } else {
            let _ = self.inner.commands.send(Command::Op(Entry {
                op,
                size: size as u64,
                file: None,
            }));
        }
    }

    /// Deletes the idempotency keys of messages up to this one, at most some thousand; never blocks. What can't be deleted
    /// now is found at the next start.
    pub fn forget_keys(&self, through: u64) {
        // A closed store has nothing to forget.
        let _ = self.inner.commands.send(Command::ForgetKeys(through));
    }

    /// The payload of one of this node's messages; none if it is not on disk (any more).
    ///
    /// # Errors
    /// It can't be told.
    pub async fn payload(&self, sequence: u64) -> Result<Option<Content>, ReadError> {
        match self.ask(|to| Read::Payload(sequence, to)).await? {
            Some(body) => load(body).await.map(Some),
            None => Ok(None),
        }
    }

    /// As [`StoreHandle::payload`], without its bytes if there are more than `most`.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn short_payload(&self, sequence: u64, most: usize) -> Result<Option<Short>, ReadError> {
        match self.ask(|to| Read::Payload(sequence, to)).await? {
            Some(body) => load_short(body, most).await.map(Some),
            None => Ok(None),
        }
    }

    /// As [`StoreHandle::outcome`], without the bytes of its content if there are more than `most`: then with their number.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn short_outcome(
        &self,
        sequence: u64,
        most: usize,
    ) -> Result<Option<(StoredOutcomeContent, Option<u64>)>, ReadError> {
        let Some((outcome, body, preserved)) = self.ask(|to| Read::Outcome(sequence, to)).await? else {
            return Ok(None);
        };
        let (content, long) = match body {
            Some(body) => {
                let (content, long) = load_short(body, most).await?.into_parts();
                (Some(content), long)
            }
            None => (None, None),
        };
        let stored = StoredOutcomeContent {
            outcome,
            content,
            preserved,
        };
        Ok(Some((stored, long)))
    }

    /// A message's outcome; none if it is not on disk (yet, or any more).
    ///
    /// # Errors
    /// It can't be told.
    pub async fn outcome(&self, sequence: u64) -> Result<Option<StoredOutcomeContent>, ReadError> {
        match self.ask(|to| Read::Outcome(sequence, to)).await? {
            Some((outcome, body, preserved)) => Ok(Some(StoredOutcomeContent {
                outcome,
                content: load_some(body).await?,
                preserved,
            })),
            None => Ok(None),
        }
    }

    /// An undelivered reply to another node's message; none if it is not on disk.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn reply(&self, attempt: AttemptId) -> Result<Option<StoredReplyContent>, ReadError> {
        match self.ask(|to| Read::Reply(attempt, to)).await? {
            Some((verb, body)) => Ok(Some(StoredReplyContent {
                verb,
                content: load_some(body).await?,
            })),
            None => Ok(None),
        }
    }

    /// A dead letter, by its message's number.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn letter(&self, sequence: u64) -> Result<Option<StoredLetter>, ReadError> {
        self.ask_letters(|to| Ask::One(sequence, to)).await
    }

    /// At most `most` dead letters, and no more than 1,000.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn letters(&self, from: LettersFrom, most: usize) -> Result<Vec<StoredLetter>, ReadError> {
        self.ask_letters(|to| Ask::Some(from, most, to)).await
    }

    /// A dead letter's payload; none if there is no such letter.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn letter_payload(&self, sequence: u64) -> Result<Option<Content>, ReadError> {
        load_some(self.ask_letters(|to| Ask::Payload(sequence, to)).await?).await
    }

    /// Deletes the first 1,000 of these dead letters; says which of them were there. When this returns, they are gone
    /// on disk.
    ///
    /// # Errors
    /// What became of them can't be told.
    pub async fn delete_letters(&self, sequences: Vec<u64>) -> Result<Vec<u64>, ReadError> {
        self.ask_letters(|to| Ask::Delete(sequences, to)).await
    }

    /// From now on the oldest dead letters give way to these limits. Before the first call none does.
    pub fn limit_letters(&self, limits: LetterLimits) {
        // A closed store has nothing to delete any more.
        let _ = self.inner.commands.send(Command::Letters(Ask::Limits(limits)));
    }

    /// Runs an operator's query: one statement that changes nothing, for at most 5 s, beside everything else.
    ///
    /// # Errors
    /// It may not be asked, was stopped, or another one runs.
    pub async fn query(&self, sql: String) -> Result<QueryAnswer, QueryError> {
        query::check(&sql)?;
        let Ok(turn) = self.inner.querying.clone().try_acquire_owned() else {
            return Err(QueryError::Busy);
        };
        query::run(self.lend().await?, turn, sql).await
    }

    pub(super) fn dir(&self) -> &Path {
        &self.inner.dir
    }

    pub(super) fn ask_thread(&self, command: Command) -> Result<(), ReadError> {
        self.inner.commands.send(command).map_err(|_| ReadError::Closed)
    }

    async fn lend(&self) -> Result<Lent, ReadError> {
        let (to, answer) = oneshot::channel();
        let sent = self.inner.commands.send(Command::Reader(to));
        sent.map_err(|_| ReadError::Closed)?;
        answer.await.unwrap_or(Err(ReadError::Closed))
    }

    /// Examines the whole database, and says what is wrong with it: nothing, if it is well. Everything else waits
    /// for it.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn integrity(&self) -> Result<Vec<String>, ReadError> {
        self.ask(Read::Integrity).await
    }

    /// Free and all bytes of the disk that it lies on, as others than root see it; none if that can't be told. Blocks.
    pub fn room(&self) -> Option<(u64, u64)> {
        let disk = rustix::fs::statvfs(&self.inner.dir).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Some((bytes(disk.f_bavail), bytes(disk.f_blocks)))
    }

    /// How the store is doing; all zero once it is closed.
    pub async fn stats(&self) -> StoreStats {
        let (to, answer) = oneshot::channel();
        let _ = self.inner.commands.send(Command::Read(Read::Stats(to)));
        answer.await.unwrap_or_default()
    }

    /// Does what was sent so far, empties the log and ends the store. Blocks until that is done, so an async caller
    /// puts it on a thread of its own. Clones of the handle are of no use afterwards.
    pub fn close(self) {
        self.inner.end(true);
    }

    async fn ask_letters<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, ReadError>>) -> Ask,
    ) -> Result<T, ReadError> {
        let (to, answer) = oneshot::channel();
        let sent = self.inner.commands.send(Command::Letters(ask(to)));
        sent.map_err(|_| ReadError::Closed)?;
        answer.await.unwrap_or(Err(ReadError::Closed))
    }

    async fn ask<T>(
        &self,
        read: impl FnOnce(oneshot::Sender<Result<T, ReadError>>) -> Read,
    ) -> Result<T, ReadError> {
        let (to, answer) = oneshot::channel();
        self.inner
            .commands
            .send(Command::Read(read(to)))
            .map_err(|_| ReadError::Closed)?;
        answer.await.unwrap_or(Err(ReadError::Closed))
    }
}

impl Inner {
    fn end(&self, tidy: bool) {
        // Behind the large bodies that are still being written; the small ones went straight to the store thread.
        let _ = self.jobs.send(Job::Forward(Command::Close { tidy }));
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic in one of them has ended the process.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    /// So that whoever drops the last handle may open the directory again.
    fn drop(&mut self) {
        self.end(false);
    }
}

async fn load_some(body: Option<Body>) -> Result<Option<Content>, ReadError> {
    match body {
        Some(body) => load(body).await.map(Some),
        None => Ok(None),
    }
}

async fn load_short(body: Body, most: usize) -> Result<Short, ReadError> {
    let size = match &body.bytes {
        BodyBytes::Here(bytes) => bytes.len() as u64,
        // Its inode was in use a moment ago: this waits for no disk.
        BodyBytes::File(file, path) => {
            let length = file.metadata().map(|of| of.len());
            length.map_err(|error| ReadError::File {
                path: path.clone(),
                detail: error.to_string(),
            })?
        }
    };
    match size <= most as u64 {
        true => load(body).await.map(Short::Whole),
        false => Ok(Short::Long {
            head: Content {
                content_type: body.content_type,
                trace_context: body.trace_context,
                ..Content::default()
            },
            size,
        }),
    }
}

async fn load(body: Body) -> Result<Content, ReadError> {
    let bytes = match body.bytes {
        BodyBytes::Here(bytes) => bytes,
        BodyBytes::File(mut file, path) => {
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::with_capacity(file.metadata()?.len().try_into().unwrap_or(0));
                file.read_to_end(&mut bytes).map(|_| bytes)
            });
            let bytes = match read.await {
                Ok(bytes) => bytes.map_err(|error| ReadError::File {
                    path,
                    detail: error.to_string(),
                })?,
                // The runtime is shutting down.
                Err(_) => return Err(ReadError::Closed),
            };
            bytes.into()
        }
    };
    Ok(Content {
        origin: None,
        trace_context: body.trace_context,
        content_type: body.content_type,
        bytes,
    })
}
