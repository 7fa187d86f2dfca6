//! The store's rows in turso, the engine formerly published as `limbo`.
//!
//! Everything here blocks and runs on the store thread. The synchronous interface of the engine's core is used: a
//! statement is run where it stands, and a blob is copied once on its way in and once on its way out.
//!
//! Rules, each learned from what the engine does: one connection; `BEGIN IMMEDIATE` and held statements; every
//! parameter bound, because a missing one would be NULL without an error; after an error of COMMIT or of I/O the
//! connection is given up; the database file is never opened by any other means, which would drop its lock.

mod cells;
mod letters;
mod migrate;
mod reader;
mod statements;
mod values;

use self::cells::Cells;
use self::migrate::{migrate, open_error, private};
use self::reader::TursoReader;
use self::statements::{bad, bind, broken, each, exists, first, prepare, run};
use self::values::{
    attempt_key, body, content_type, file, key, micros, number, path_bytes, row_key, some, some_micros, text,
};
use super::engine::{ApplyError, EngineError, Entry, Found, Recovery, Started, Store};
use super::letters::{LettersFrom, StoredLetter};
use super::readers::Reader;
use super::schema::{self, outcome_code, verb_code};
use super::types::{
    Alternate, NewMessage, NodeRecord, Op, OpenError, RecoveredKey, RecoveredMessage, RecoveredOutcome,
    RecoveredReply,
};
use crate::trace_context::TraceContext;
use bytes::Bytes;
use limbo::core::{
    CheckpointMode, Connection, Database, IO, LimboError, OpenOptions, SqliteDialect, Statement, UnixIO,
    Value,
};
use redlink_core::{AttemptId, Attempts, Boot, GrantToken, NodeId, Outcome, Terms, Verb};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Name of the database file in the store's directory.
pub(super) const FILE: &str = "redlink.db";
/// Name of its write-ahead log.
pub(super) const LOG_FILE: &str = "redlink.db-wal";

/// An open database.
pub(super) struct Turso {
    begin: Statement,
    commit: Statement,
    rollback: Statement,
    mark: Statement,
    insert_message: Statement,
    delete_message: Statement,
    has_message: Statement,
    payload: Statement,
    insert_outcome: Statement,
    delete_outcome: Statement,
    outcome: Statement,
    outcome_key: Statement,
    insert_reply: Statement,
    delete_reply: Statement,
    reply: Statement,
    insert_owner: Statement,
    write_attempts: Statement,
    delete_attempts: Statement,
    attempts: Statement,
    /// Messages that may have a row about their attempts: for the others nothing has to be deleted.
    attempted: HashSet<u64>,
    delete_owner: Statement,
    insert_preserved: Statement,
    delete_preserved: Statement,
    preserved: Statement,
    insert_key: Statement,
    delete_keys: Statement,
    insert_letter: Statement,
    insert_requeued: Statement,
    delete_letter: Statement,
    has_letter: Statement,
    insert_requeued_from: Statement,
    delete_requeued_from: Statement,
    // Behind the statements, so that they go first: the file is closed when the last of them has let go of it.
    connection: Arc<Connection>,
    database: Arc<Database>,
}

impl Turso {
    /// Opens the database in `dir`, or makes it, and brings its schema up to date.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        let io = UnixIO::new().map_err(|error| OpenError::Engine {
            path,
            detail: error.to_string(),
        })?;
        Self::open_with(dir, Arc::new(io))
    }

    /// The same over other I/O.
    pub(super) fn open_with(dir: &Path, io: Arc<dyn IO>) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        let text = path
            .to_str()
            .ok_or_else(|| OpenError::PathNotText { dir: dir.to_owned() })?;
        let at = |error| open_error(&path, error);
        let database = Database::open(io, text, OpenOptions::new(Arc::new(SqliteDialect))).map_err(at)?;
        for path in [path.clone(), dir.join(LOG_FILE)] {
            private(&path).map_err(|error| OpenError::Io { path, error })?;
        }
        let connection = database.connect().map_err(at)?;
        // Without `data_sync_retry` a failed fsync would be a panic; ours is to close, reopen and look. Without
        // `temp_store` each start would make and sync a database in the system's folder for temporary files, and fail
        // where that can't be written.
        for setting in [
            "PRAGMA synchronous = FULL",
            "PRAGMA data_sync_retry = ON",
            "PRAGMA temp_store = MEMORY",
        ] {
            connection.execute(setting).map_err(at)?;
        }
        migrate(&connection, &path)?;
        let prepare = |sql| connection.prepare(sql).map_err(at);
        let mut turso = Self {
            begin: prepare(schema::BEGIN)?,
            commit: prepare(schema::COMMIT)?,
            rollback: prepare(schema::ROLLBACK)?,
            mark: prepare(schema::MARK)?,
            insert_message: prepare(schema::INSERT_MESSAGE)?,
            delete_message: prepare(schema::DELETE_MESSAGE)?,
            has_message: prepare(schema::HAS_MESSAGE)?,
            payload: prepare(schema::PAYLOAD)?,
            insert_outcome: prepare(schema::INSERT_OUTCOME)?,
            delete_outcome: prepare(schema::DELETE_OUTCOME)?,
            outcome: prepare(schema::OUTCOME)?,
            outcome_key: prepare(schema::OUTCOME_KEY)?,
            insert_reply: prepare(schema::INSERT_REPLY)?,
            delete_reply: prepare(schema::DELETE_REPLY)?,
            reply: prepare(schema::REPLY)?,
            insert_owner: prepare(schema::INSERT_OWNER)?,
            write_attempts: prepare(schema::WRITE_ATTEMPTS)?,
            delete_attempts: prepare(schema::DELETE_ATTEMPTS)?,
            attempts: prepare(schema::ATTEMPTS)?,
            attempted: HashSet::new(),
            delete_owner: prepare(schema::DELETE_OWNER)?,
            insert_preserved: prepare(schema::INSERT_PRESERVED)?,
            delete_preserved: prepare(schema::DELETE_PRESERVED)?,
            preserved: prepare(schema::PRESERVED)?,
            insert_key: prepare(schema::INSERT_KEY)?,
            delete_keys: prepare(schema::DELETE_KEYS)?,
            insert_letter: prepare(schema::INSERT_LETTER)?,
            insert_requeued: prepare(schema::INSERT_REQUEUED)?,
            delete_letter: prepare(schema::DELETE_LETTER)?,
            has_letter: prepare(schema::HAS_LETTER)?,
            insert_requeued_from: prepare(schema::INSERT_REQUEUED_FROM)?,
            delete_requeued_from: prepare(schema::DELETE_REQUEUED_FROM)?,
            connection,
            database,
        };
        let known = turso.all_attempts().map_err(|error| match error {
            EngineError::Broken(detail) | EngineError::Value(detail) => OpenError::Engine { path, detail },
        })?;
        turso.attempted = known.into_keys().collect();
        Ok(turso)
    }

    /// What is known of attempts, by message.
    fn all_attempts(&self) -> Result<HashMap<u64, Attempts>, EngineError> {
        let mut found = HashMap::new();
        each(&mut prepare(&self.connection, schema::ALL_ATTEMPTS)?, |row| {
            found.insert(row.unsigned(0)?, row.attempts(1)?);
            Ok(())
        })?;
        Ok(found)
    }

    fn put(&mut self, entry: &Entry) -> Result<(), LimboError> {
        match &entry.op {
            Op::Insert(message) => {
                if let Some(requeue) = message.requeue {
                    self.take_letter(message, requeue)?;
                    if requeue.keeps_payload {
                        self.insert_requeued(message, requeue.letter)?;
                        run(&mut self.delete_letter, [key(requeue.letter)?])?;
                        return self.insert_owner(message);
                    }
                    run(&mut self.delete_letter, [key(requeue.letter)?])?;
                }
                let (terms, alternate) = (&message.terms, message.alternate.as_ref());
                let trace = message.content.trace_context.as_deref();
                let values = [
                    key(message.sequence)?,
                    number(message.inserted),
                    text(&message.service),
                    number(terms.priority),
                    terms.ett.map_or(Value::Null, micros),
                    micros(terms.reoffer),
                    number(u8::from(terms.send_only)),
                    number(terms.max_attempts),
                    micros(terms.retention),
                    number(message.submitted_at),
                    message.deadline_at.map_or(Value::Null, number),
                    Value::from_i64(entry.size.cast_signed()),
                    file(entry),
                    message.content.content_type.as_deref().map_or(Value::Null, text),
                    body(entry)?,
                    alternate.map_or(Value::Null, |alternate| text(&alternate.service)),
                    alternate.map_or(Value::Null, |alternate| micros(alternate.after)),
                    some(terms.direct),
                    some_micros(terms.not_before),
                    trace.map_or(Value::Null, |trace| text(trace.parent())),
                    trace.and_then(TraceContext::state).map_or(Value::Null, text),
                    some(terms.at_most_once),
                ];
                run(&mut self.insert_message, values)?;
                self.insert_owner(message)?;
                self.insert_beside(message)
            }
            // What it asks for is the mark, which the group raises.
            Op::Reserve { .. } => Ok(()),
            Op::Attempts { sequence, attempts } => {
                let newest = attempts.newest;
                let values = [
                    key(*sequence)?,
                    number(attempts.ended),
                    newest.map_or(Value::Null, |fence| number(fence.boot)),
                    newest.map_or(Value::Null, |fence| number(fence.attempt)),
                    number(u8::from(attempts.counted)),
                ];
                self.attempted.insert(*sequence);
                run(&mut self.write_attempts, values)
            }
            Op::Settle {
                sequence,
                outcome,
                token,
                content,
                settled_at,
                retain_until,
                letter,
            } => {
                let fence = token.map(|token| token.fence);
                let values = [
                    key(*sequence)?,
                    number(outcome_code(*outcome)),
                    fence.map_or(Value::Null, |fence| number(fence.boot)),
                    fence.map_or(Value::Null, |fence| number(fence.attempt)),
                    number(*settled_at),
                    number(*retain_until),
                    content
                        .as_ref()
                        .map_or(Value::Null, |_| Value::from_i64(entry.size.cast_signed())),
                    file(entry),
                    content_type(content.as_ref()),
                    body(entry)?,
                ];
                run(&mut self.insert_outcome, values)?;
                if let Some(letter) = letter {
                    self.insert_letter(*sequence, *outcome, *settled_at, letter)?;
                }
                if self.attempted.contains(sequence) {
                    run(&mut self.delete_attempts, [key(*sequence)?])?;
                }
                run(&mut self.delete_message, [key(*sequence)?])
            }
            Op::Delete { sequence } => {
                run(&mut self.delete_outcome, [key(*sequence)?])?;
                run(&mut self.delete_owner, [key(*sequence)?])?;
                run(&mut self.delete_preserved, [key(*sequence)?])?;
                run(&mut self.delete_requeued_from, [key(*sequence)?])
            }
            Op::Keep {
                token,
                verb,
                content,
                until,
                path,
            } => {
                let [node, sequence, boot, attempt] = attempt_key(token.attempt());
                let values = [
                    node,
                    sequence,
                    boot,
                    attempt,
                    Value::from_slice(&token.to_bytes())?,
                    number(verb_code(*verb)),
                    number(*until),
                    content
                        .as_ref()
                        .map_or(Value::Null, |_| Value::from_i64(entry.size.cast_signed())),
                    file(entry),
                    content_type(content.as_ref()),
                    body(entry)?,
                    path_bytes(path)?,
                ];
                run(&mut self.insert_reply, values)
            }
            Op::Drop { attempt } => run(&mut self.delete_reply, attempt_key(*attempt)),
        }
    }

    /// Makes the database another node's, if it is well.
    pub(super) fn rebirth(&mut self, fresh: &NodeRecord) -> Result<(), EngineError> {
        let wrong = self.integrity()?;
        if let Some(first) = wrong.first() {
            return Err(EngineError::Value(format!("it is damaged: {first}")));
        }
        self.transaction(|connection| {
            let sql = "UPDATE node SET node = ?1, key = ?2 WHERE id = 1";
            let values = [number(fresh.node.0.cast_signed()), Value::from_slice(&fresh.key)?];
            run(&mut connection.prepare(sql)?, values)
        })?;
        self.checkpoint()
    }

    /// Whose a message is; the administrator's have no row.
    fn insert_owner(&mut self, message: &NewMessage) -> Result<(), LimboError> {
        let (program, producer) = (message.owner.program(), message.producer.as_deref());
        if program.is_none() && producer.is_none() {
            return Ok(());
        }
        let values = [
            key(message.sequence)?,
            text(program.map_or("", |program| program)),
            producer.map_or(Value::Null, text),
        ];
        run(&mut self.insert_owner, values)
    }

    /// What lies beside a message: preserved data, and its idempotency key.
    fn insert_beside(&mut self, message: &NewMessage) -> Result<(), LimboError> {
        if let Some(data) = &message.preserved {
            let values = [key(message.sequence)?, Value::from_slice(data)?];
            run(&mut self.insert_preserved, values)?;
        }
        if let Some(known) = &message.key {
            let values = [
                key(message.sequence)?,
                Value::from_slice(&known.scope)?,
                Value::from_slice(&known.request)?,
                message.deadline_at.map_or(Value::Null, number),
                number(known.kept_until),
            ];
            run(&mut self.insert_key, values)?;
        }
        Ok(())
    }

    /// Leaves the transaction after an error in it.
    fn roll_back(&mut self, at: usize, error: &LimboError) -> ApplyError {
        // The engine has left it by itself after some errors.
        if !self.connection.get_auto_commit()
            && let Err(second) = run(&mut self.rollback, [])
        {
            return ApplyError::Unknown(format!("{error}; rollback also failed: {second}"));
        }
        match error {
            LimboError::Constraint(_)
            | LimboError::TooBig
            | LimboError::IntegerOverflow
            | LimboError::DatabaseFull => ApplyError::Entry {
                at,
                detail: error.to_string(),
            },
            other => ApplyError::Unknown(other.to_string()),
        }
    }

    /// Runs `within` as one transaction.
    fn transaction(
        &mut self,
        within: impl FnOnce(&Arc<Connection>) -> Result<(), LimboError>,
    ) -> Result<(), EngineError> {
        run(&mut self.begin, []).map_err(broken)?;
        within(&self.connection).map_err(broken)?;
        run(&mut self.commit, []).map_err(broken)
    }
}

/// The one copy of a text that many rows have.
fn shared(known: &mut HashSet<Arc<str>>, text: &str) -> Arc<str> {
    known.get(text).cloned().unwrap_or_else(|| {
        let text: Arc<str> = text.into();
        known.insert(text.clone());
        text
    })
}

impl Store for Turso {
    fn start(&mut self, fresh: &NodeRecord, random: u32) -> Result<Started, EngineError> {
        let known = first(
            &self.connection,
            "SELECT node, key FROM node WHERE id = 1",
            |row| {
                let key = row
                    .blob(1)?
                    .try_into()
                    .map_err(|_| bad("node.key does not have 16 bytes"))?;
                Ok(NodeRecord {
                    node: NodeId(row.int(0)?.cast_unsigned()),
                    key,
                })
            },
        )?;
        let last = first(
            &self.connection,
            "SELECT counter, next_sequence FROM boot WHERE id = 1",
            |row| Ok((row.narrow::<u32>(0)?, row.unsigned(1)?)),
        )?;
        let mut next_sequence = last.map_or(1, |(_, mark)| mark);
        for sql in [
            "SELECT sequence FROM message ORDER BY sequence DESC LIMIT 1",
            "SELECT sequence FROM outcome ORDER BY sequence DESC LIMIT 1",
            "SELECT sequence FROM dead_letter ORDER BY sequence DESC LIMIT 1",
        ] {
            let highest = first(&self.connection, sql, |row| row.unsigned(0))?;
            next_sequence = next_sequence.max(highest.map_or(1, |highest| highest + 1));
        }
        let counter = last
            .map_or(Some(1), |(counter, _)| counter.checked_add(1))
            .ok_or_else(|| bad("boot.counter is at its end"))?;
        let boot = Boot { counter, random };
        self.transaction(|connection| {
            if known.is_none() {
                let sql = "INSERT INTO node (id, node, key) VALUES (1, ?1, ?2)";
                let values = [number(fresh.node.0.cast_signed()), Value::from_slice(&fresh.key)?];
                run(&mut connection.prepare(sql)?, values)?;
            }
            let sql = if last.is_none() {
                "INSERT INTO boot (id, counter, random, next_sequence) VALUES (1, ?1, ?2, ?3)"
            } else {
                "UPDATE boot SET counter = ?1, random = ?2, next_sequence = ?3 WHERE id = 1"
            };
            let values = [number(boot.counter), number(boot.random), key(next_sequence)?];
            run(&mut connection.prepare(sql)?, values)
        })?;
        Ok(Started {
            identity: known.unwrap_or(*fresh),
            boot,
            next_sequence,
            mark: next_sequence,
        })
    }

    fn recover(&mut self) -> Result<Recovery, EngineError> {
        let mut found = Recovery::default();
        let attempts = self.all_attempts()?;
        let mut services: HashSet<Arc<str>> = HashSet::new();
        each(&mut prepare(&self.connection, schema::ALL_MESSAGES)?, |row| {
            let sequence = row.unsigned(0)?;
            let service = shared(&mut services, row.text(2)?);
            let terms = Terms {
                priority: row.narrow(3)?,
                ett: row.optional(4, Cells::duration)?,
                reoffer: row.duration(5)?,
                send_only: row.int(6)? != 0,
                max_attempts: row.narrow(7)?,
                retention: row.duration(8)?,
                direct: row.optional(15, Cells::int)?.is_some(),
                not_before: row.optional(16, Cells::duration)?.unwrap_or_default(),
                at_most_once: row.optional(17, Cells::int)?.is_some(),
            };
            let alternate = match row.optional(13, Cells::text)? {
                Some(service) => Some(Alternate {
                    service: service.into(),
                    after: row.duration(14)?,
                }),
                None => None,
            };
            found.rows.messages.push(RecoveredMessage {
                sequence,
                inserted: row.narrow(1)?,
                service,
                alternate,
                terms,
                submitted_at: row.int(9)?,
                deadline_at: row.optional(10, Cells::int)?,
                attempts: attempts.get(&sequence).copied().unwrap_or_default(),
                size: row.unsigned(11)?,
            });
            found
                .files
                .messages
                .extend(row.optional(12, Cells::file)?.map(|file| (sequence, file)));
            Ok(())
        })?;
        each(&mut prepare(&self.connection, schema::ALL_OUTCOMES)?, |row| {
            let sequence = row.unsigned(0)?;
            found.rows.outcomes.push(RecoveredOutcome {
                sequence,
                outcome: row.outcome(1)?,
                fence: row.fence(2)?,
                settled_at: row.int(4)?,
                retain_until: row.int(5)?,
                size: row.optional(6, Cells::unsigned)?,
            });
            found
                .files
                .outcomes
                .extend(row.optional(7, Cells::file)?.map(|file| (sequence, file)));
            Ok(())
        })?;
        each(&mut prepare(&self.connection, schema::ALL_REPLIES)?, |row| {
            let bytes = row
                .blob(0)?
                .try_into()
                .map_err(|_| bad("reply.token has the wrong length"))?;
            let token = GrantToken::from_bytes(bytes);
            let (verb, until) = (row.verb(1)?, row.int(2)?);
            found.rows.replies.push(RecoveredReply {
                token,
                verb,
                until,
                size: row.optional(3, Cells::unsigned)?,
                path: row.optional(5, Cells::path)?.unwrap_or_default(),
            });
            found
                .files
                .replies
                .extend(row.optional(4, Cells::file)?.map(|file| (token.attempt(), file)));
            Ok(())
        })?;
        let mut programs: HashSet<Arc<str>> = HashSet::new();
        each(&mut prepare(&self.connection, schema::ALL_OWNERS)?, |row| {
            let sequence = row.unsigned(0)?;
            let program = row.text(1)?;
            // No program has an empty name.
            if !program.is_empty() {
                found.rows.owners.push((sequence, shared(&mut programs, program)));
            }
            if let Some(producer) = row.optional(2, Cells::text)? {
                let producer = shared(&mut programs, producer);
                found.rows.producers.push((sequence, producer));
            }
            Ok(())
        })?;
        each(&mut prepare(&self.connection, schema::ALL_PRESERVED)?, |row| {
            found.rows.preserved.push(row.unsigned(0)?);
            Ok(())
        })?;
        each(&mut prepare(&self.connection, schema::ALL_KEYS)?, |row| {
            found.rows.keys.push(RecoveredKey {
                sequence: row.unsigned(0)?,
                scope: row.bytes(1)?,
                request: row.bytes(2)?,
                deadline_at: row.optional(3, Cells::int)?,
                kept_until: row.int(4)?,
            });
            Ok(())
        })?;
        each(&mut prepare(&self.connection, schema::ALL_REQUEUED)?, |row| {
            found.rows.requeued.push((row.unsigned(0)?, row.unsigned(1)?));
            Ok(())
        })?;
        each(&mut prepare(&self.connection, schema::LETTER_FILES)?, |row| {
            found.files.letters.insert(row.unsigned(0)?, row.file(1)?);
            Ok(())
        })?;
        found.letters = self.count_letters()?;
        Ok(found)
    }

    fn apply(&mut self, group: &[Entry], mark: Option<u64>) -> Result<(), ApplyError> {
        let unknown = |error: LimboError| ApplyError::Unknown(error.to_string());
        run(&mut self.begin, []).map_err(unknown)?;
        for (at, entry) in group.iter().enumerate() {
            if let Err(error) = self.put(entry) {
                return Err(self.roll_back(at, &error));
            }
        }
        if let Some(mark) = mark {
            let raised = key(mark).and_then(|mark| run(&mut self.mark, [mark]));
            raised.map_err(unknown)?;
        }
        run(&mut self.commit, []).map_err(unknown)?;
        // Not sooner: what is rolled back is tried again.
        if !self.attempted.is_empty() {
            for entry in group {
                if let Op::Settle { sequence, .. } = &entry.op {
                    self.attempted.remove(sequence);
                }
            }
        }
        Ok(())
    }

    fn holds(&mut self, op: &Op) -> Result<bool, EngineError> {
        match op {
            Op::Insert(message) => exists(&mut self.has_message, [row_key(message.sequence)?]),
            // Nothing shows it; it is asked for anew.
            Op::Reserve { .. } => Ok(false),
            Op::Attempts { sequence, attempts } => {
                let mut held = None;
                bind(&mut self.attempts, [row_key(*sequence)?]).map_err(broken)?;
                each(&mut self.attempts, |row| {
                    held = Some(row.attempts(0)?);
                    Ok(())
                })?;
                Ok(held == Some(*attempts))
            }
            Op::Settle {
                sequence,
                outcome,
                token,
                ..
            } => {
                let mut held = None;
                bind(&mut self.outcome_key, [row_key(*sequence)?]).map_err(broken)?;
                each(&mut self.outcome_key, |row| {
                    held = Some((row.outcome(0)?, row.fence(1)?));
                    Ok(())
                })?;
                Ok(held == Some((*outcome, token.map(|token| token.fence)))
                    && !exists(&mut self.has_message, [row_key(*sequence)?])?)
            }
            Op::Delete { sequence } => exists(&mut self.outcome_key, [row_key(*sequence)?]).map(|is| !is),
            Op::Keep { token, .. } => exists(&mut self.reply, attempt_key(token.attempt())),
            Op::Drop { attempt } => exists(&mut self.reply, attempt_key(*attempt)).map(|is| !is),
        }
    }

    fn payload(&mut self, sequence: u64) -> Result<Option<Found>, EngineError> {
        let Ok(sequence) = key(sequence) else {
            return Ok(None);
        };
        let mut found = None;
        bind(&mut self.payload, [sequence]).map_err(broken)?;
        each(&mut self.payload, |row| {
            found = Some(Found {
                trace_context: row.trace_context(3)?,
                ..row.body(0)?
            });
            Ok(())
        })?;
        Ok(found)
    }

    fn outcome(&mut self, sequence: u64) -> Result<Option<(Outcome, Option<Found>)>, EngineError> {
        let Ok(sequence) = key(sequence) else {
            return Ok(None);
        };
        let mut found = None;
        bind(&mut self.outcome, [sequence]).map_err(broken)?;
        each(&mut self.outcome, |row| {
            let body = row
                .optional(3, Cells::unsigned)?
                .map(|_| row.body(4))
                .transpose()?;
            found = Some((row.outcome(0)?, body));
            Ok(())
        })?;
        Ok(found)
    }

    fn preserved(&mut self, sequence: u64) -> Result<Option<Bytes>, EngineError> {
        let mut found = None;
        bind(&mut self.preserved, [row_key(sequence)?]).map_err(broken)?;
        each(&mut self.preserved, |row| {
            found = Some(Bytes::copy_from_slice(row.blob(0)?));
            Ok(())
        })?;
        Ok(found)
    }

    fn forget_keys(&mut self, through: u64) -> Result<(), EngineError> {
        run(&mut self.delete_keys, [row_key(through)?]).map_err(broken)
    }

    fn reply(&mut self, attempt: AttemptId) -> Result<Option<(Verb, Option<Found>)>, EngineError> {
        let mut found = None;
        bind(&mut self.reply, attempt_key(attempt)).map_err(broken)?;
        each(&mut self.reply, |row| {
            let body = row
                .optional(1, Cells::unsigned)?
                .map(|_| row.body(2))
                .transpose()?;
            found = Some((row.verb(0)?, body));
            Ok(())
        })?;
        Ok(found)
    }

    fn letter(&mut self, sequence: u64) -> Result<Option<StoredLetter>, EngineError> {
        self.read_letter(sequence)
    }

    fn letters(&mut self, from: LettersFrom, most: usize) -> Result<Vec<StoredLetter>, EngineError> {
        self.read_letters(from, most)
    }

    fn letter_payload(&mut self, sequence: u64) -> Result<Option<Found>, EngineError> {
        self.read_letter_payload(sequence)
    }

    fn oldest_letters(&mut self, most: usize) -> Result<Vec<(u64, i64)>, EngineError> {
        self.read_oldest_letters(most)
    }

    fn delete_letters(&mut self, sequences: &[u64]) -> Result<Vec<u64>, EngineError> {
        self.remove_letters(sequences)
    }

    fn count_letters(&mut self) -> Result<u64, EngineError> {
        let count = first(&self.connection, schema::COUNT_LETTERS, |row| row.unsigned(0))?;
        Ok(count.unwrap_or(0))
    }

    fn reader(&mut self) -> Result<Box<dyn Reader>, EngineError> {
        let connection = self.database.connect().map_err(broken)?;
        Ok(Box::new(TursoReader::new(connection).map_err(broken)?))
    }

    fn checkpoint(&mut self) -> Result<(), EngineError> {
        let mode = CheckpointMode::Truncate {
            upper_bound_inclusive: None,
        };
        self.connection.checkpoint(mode).map_err(broken)?;
        Ok(())
    }

    fn set_mark(&mut self, mark: u64) -> Result<(), EngineError> {
        run(&mut self.mark, [row_key(mark)?]).map_err(broken)
    }

    fn integrity(&mut self) -> Result<Vec<String>, EngineError> {
        let mut wrong = Vec::new();
        each(&mut prepare(&self.connection, "PRAGMA integrity_check")?, |row| {
            let line = row.text(0)?;
            if line != "ok" {
                wrong.push(line.to_owned());
            }
            Ok(())
        })?;
        Ok(wrong)
    }
}
