//! The tables, their version, and how the core's values are written in them.
//!
//! Keys are integers that grow, rows are inserted once and deleted once, and what recovery reads stands before the
//! bodies. Only `boot` is ever updated: once per start and once per block of sequence numbers.

use redlink_core::{Outcome, Verb};

/// Marks the database file as ours (`RDLK`).
pub(super) const APPLICATION_ID: i64 = 0x5244_4c4b;

/// Version that [`STEPS`] lead to.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// What brings a database from each version to the next one.
pub(super) const STEPS: &[&[&str]] = &[
    &[
        "CREATE TABLE meta (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)",
        "INSERT INTO meta (id, version) VALUES (1, 0)",
        // `node` is the identity as a signed number, `key` the 16 bytes of the grants' MAC key.
        "CREATE TABLE node (id INTEGER PRIMARY KEY, node INTEGER NOT NULL, key BLOB NOT NULL)",
        // No row had the sequence number `next_sequence` or a higher one, in any life.
        "CREATE TABLE boot (
        id INTEGER PRIMARY KEY,
        counter INTEGER NOT NULL,
        random INTEGER NOT NULL,
        next_sequence INTEGER NOT NULL)",
        // Durations are in microseconds, times in microseconds since the Unix epoch. `file` is set instead of `payload`
        // where the bytes are a file.
        "CREATE TABLE message (
        sequence INTEGER PRIMARY KEY,
        inserted INTEGER NOT NULL,
        service TEXT NOT NULL,
        priority INTEGER NOT NULL,
        ett INTEGER,
        reoffer INTEGER NOT NULL,
        send_only INTEGER NOT NULL,
        max_attempts INTEGER NOT NULL,
        retention INTEGER NOT NULL,
        submitted_at INTEGER NOT NULL,
        deadline_at INTEGER,
        size INTEGER NOT NULL,
        file INTEGER,
        content_type TEXT,
        payload BLOB)",
        // `boot` and `attempt` are the fence of the attempt that brought it about; `size` is set if there is a content.
        "CREATE TABLE outcome (
        sequence INTEGER PRIMARY KEY,
        outcome INTEGER NOT NULL,
        boot INTEGER,
        attempt INTEGER,
        settled_at INTEGER NOT NULL,
        retain_until INTEGER NOT NULL,
        size INTEGER,
        file INTEGER,
        content_type TEXT,
        body BLOB)",
        // An undelivered reply; `node`, `sequence`, `boot` and `attempt` name the attempt it answers, `token` is its grant.
        "CREATE TABLE reply (
        id INTEGER PRIMARY KEY,
        node INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        boot INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        token BLOB NOT NULL,
        verb INTEGER NOT NULL,
        until INTEGER NOT NULL,
        size INTEGER,
        file INTEGER,
        content_type TEXT,
        body BLOB)",
        "CREATE UNIQUE INDEX reply_attempt ON reply (node, sequence, boot, attempt)",
    ],
    &[
        // The nodes on the reply's way, eight bytes each: the origin first.
        "ALTER TABLE reply ADD COLUMN path BLOB",
    ],
    &[
        // Whose a message and then its outcome is, from the insert of the one to the deletion of the other; the
        // administrator's have no row. Apart from both, so that it is written once, and old messages stay as they are.
        "CREATE TABLE owner (sequence INTEGER PRIMARY KEY, program TEXT NOT NULL)",
    ],
    &[
        // A second service, and after how many microseconds the message is offered there; most have none.
        "ALTER TABLE message ADD COLUMN alternate TEXT",
        "ALTER TABLE message ADD COLUMN alternate_after INTEGER",
        // Large payloads go straight; nothing means no.
        "ALTER TABLE message ADD COLUMN direct INTEGER",
    ],
    &[
        // Messages that came to nothing and that nobody may have noticed: what `message` held of them, what became of
        // them, and whose they were. `id` grows, so that the oldest goes first; `sequence` is the message's.
        "CREATE TABLE dead_letter (
        id INTEGER PRIMARY KEY,
        sequence INTEGER NOT NULL,
        outcome INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        died_at INTEGER NOT NULL,
        failure TEXT,
        program TEXT,
        requeued_from INTEGER,
        service TEXT NOT NULL,
        priority INTEGER NOT NULL,
        ett INTEGER,
        reoffer INTEGER NOT NULL,
        send_only INTEGER NOT NULL,
        max_attempts INTEGER NOT NULL,
        retention INTEGER NOT NULL,
        submitted_at INTEGER NOT NULL,
        alternate TEXT,
        alternate_after INTEGER,
        direct INTEGER,
        size INTEGER NOT NULL,
        file INTEGER,
        content_type TEXT,
        payload BLOB)",
        "CREATE UNIQUE INDEX dead_letter_sequence ON dead_letter (sequence)",
        // From which dead letter a message comes, from the insert of the one to the deletion of its outcome.
        "CREATE TABLE requeued (sequence INTEGER PRIMARY KEY, letter INTEGER NOT NULL)",
    ],
    &[
        // After how many microseconds the message may be offered; nothing means at once.
        "ALTER TABLE message ADD COLUMN not_before INTEGER",
    ],
    &[
        // The name that the outcome is collected under, where that is not its owner's own. A message of the administrator
        // has a row for it, with no program.
        "ALTER TABLE owner ADD COLUMN producer TEXT",
    ],
    &[
        // The distributed trace that it was sent in, as its two headers; most have none.
        "ALTER TABLE message ADD COLUMN traceparent TEXT",
        "ALTER TABLE message ADD COLUMN tracestate TEXT",
        "ALTER TABLE dead_letter ADD COLUMN traceparent TEXT",
        "ALTER TABLE dead_letter ADD COLUMN tracestate TEXT",
    ],
    &[
        // What a producer wants back with its outcome; there from the insert of the message to the deletion of that, and
        // apart from both, so that it is written once.
        "CREATE TABLE preserved (sequence INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    ],
    &[
        // By which a repeated submit is known; outlives message and outcome. `scope` is a MAC of owner, service and key,
        // `request` the SHA-256 of what was submitted.
        "CREATE TABLE idempotency (
        sequence INTEGER PRIMARY KEY,
        scope BLOB NOT NULL,
        request BLOB NOT NULL,
        deadline_at INTEGER,
        kept_until INTEGER NOT NULL)",
    ],
    &[
        // What became of messages' attempts; `boot` and `attempt` are the fence of the newest. Apart from the messages,
        // since most never have a row: one is written when an attempt has ended without an answer, and before a message is
        // handed over that is delivered at most once.
        "CREATE TABLE attempts (
        sequence INTEGER PRIMARY KEY,
        ended INTEGER NOT NULL,
        boot INTEGER,
        attempt INTEGER,
        counted INTEGER NOT NULL)",
        // Delivered at most once; nothing means no.
        "ALTER TABLE message ADD COLUMN at_most_once INTEGER",
        "ALTER TABLE dead_letter ADD COLUMN at_most_once INTEGER",
    ],
];

pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

pub(super) const MARK: &str = "UPDATE boot SET next_sequence = ?1 WHERE id = 1";

pub(super) const INSERT_MESSAGE: &str = "INSERT INTO message (sequence, inserted, service, priority, ett, reoffer, \
    send_only, max_attempts, retention, submitted_at, deadline_at, size, file, content_type, payload, alternate, \
    alternate_after, direct, not_before, traceparent, tracestate, at_most_once) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)";
pub(super) const DELETE_MESSAGE: &str = "DELETE FROM message WHERE sequence = ?1";
pub(super) const HAS_MESSAGE: &str = "SELECT 1 FROM message WHERE sequence = ?1";
pub(super) const PAYLOAD: &str =
    "SELECT file, content_type, payload, traceparent, tracestate FROM message WHERE sequence = ?1";
pub(super) const ALL_MESSAGES: &str = "SELECT sequence, inserted, service, priority, ett, reoffer, send_only, \
    max_attempts, retention, submitted_at, deadline_at, size, file, alternate, alternate_after, direct, not_before, \
    at_most_once FROM message ORDER BY sequence";

pub(super) const INSERT_OWNER: &str = "INSERT INTO owner (sequence, program, producer) VALUES (?1, ?2, ?3)";
pub(super) const DELETE_OWNER: &str = "DELETE FROM owner WHERE sequence = ?1";
pub(super) const ALL_OWNERS: &str = "SELECT sequence, program, producer FROM owner ORDER BY sequence";

pub(super) const INSERT_PRESERVED: &str = "INSERT INTO preserved (sequence, data) VALUES (?1, ?2)";
pub(super) const DELETE_PRESERVED: &str = "DELETE FROM preserved WHERE sequence = ?1";
pub(super) const PRESERVED: &str = "SELECT data FROM preserved WHERE sequence = ?1";
pub(super) const ALL_PRESERVED: &str = "SELECT sequence FROM preserved ORDER BY sequence";

pub(super) const INSERT_KEY: &str = "INSERT INTO idempotency (sequence, scope, request, deadline_at, kept_until) \
    VALUES (?1, ?2, ?3, ?4, ?5)";
pub(super) const DELETE_KEYS: &str = "DELETE FROM idempotency WHERE sequence <= ?1";
pub(super) const ALL_KEYS: &str =
    "SELECT sequence, scope, request, deadline_at, kept_until FROM idempotency ORDER BY sequence";

pub(super) const INSERT_LETTER: &str = "INSERT INTO dead_letter (sequence, outcome, attempts, died_at, failure, \
    program, requeued_from, service, priority, ett, reoffer, send_only, max_attempts, retention, submitted_at, \
    alternate, alternate_after, direct, size, file, content_type, payload, traceparent, tracestate, at_most_once) \
    SELECT sequence, ?2, ?3, ?4, ?5, (SELECT nullif(program, '') FROM owner WHERE owner.sequence = ?1), \
    (SELECT letter FROM requeued WHERE requeued.sequence = ?1), service, priority, ett, reoffer, send_only, \
    max_attempts, retention, submitted_at, alternate, alternate_after, direct, size, file, content_type, payload, \
    traceparent, tracestate, at_most_once FROM message WHERE sequence = ?1";
/// As [`INSERT_MESSAGE`], with the payload of a dead letter.
pub(super) const INSERT_REQUEUED: &str = "INSERT INTO message (sequence, inserted, service, priority, ett, reoffer, \
    send_only, max_attempts, retention, submitted_at, deadline_at, alternate, alternate_after, direct, not_before, \
    at_most_once, size, file, content_type, payload, traceparent, tracestate) \
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, size, file, content_type, payload, \
    traceparent, tracestate FROM dead_letter WHERE sequence = ?17";
pub(super) const DELETE_LETTER: &str = "DELETE FROM dead_letter WHERE sequence = ?1";
pub(super) const HAS_LETTER: &str = "SELECT 1 FROM dead_letter WHERE sequence = ?1";
pub(super) const LETTER_PAYLOAD: &str =
    "SELECT file, content_type, payload FROM dead_letter WHERE sequence = ?1";
macro_rules! letter_columns {
    () => {
        "SELECT id, sequence, outcome, attempts, died_at, failure, program, requeued_from, service, priority, ett, \
         reoffer, send_only, max_attempts, retention, submitted_at, alternate, alternate_after, direct, size, \
         content_type, at_most_once FROM dead_letter "
    };
}
pub(super) const LETTER: &str = concat!(letter_columns!(), "WHERE sequence = ?1");
pub(super) const LETTERS: &str = concat!(letter_columns!(), "WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
pub(super) const LETTERS_UP: &str = concat!(letter_columns!(), "WHERE id > ?1 ORDER BY id LIMIT ?2");
pub(super) const OLDEST_LETTERS: &str = "SELECT sequence, died_at FROM dead_letter ORDER BY id LIMIT ?1";
pub(super) const COUNT_LETTERS: &str = "SELECT count(*) FROM dead_letter";
pub(super) const LETTER_FILES: &str = "SELECT sequence, file FROM dead_letter WHERE file IS NOT NULL";

pub(super) const INSERT_REQUEUED_FROM: &str = "INSERT INTO requeued (sequence, letter) VALUES (?1, ?2)";
pub(super) const DELETE_REQUEUED_FROM: &str = "DELETE FROM requeued WHERE sequence = ?1";
pub(super) const ALL_REQUEUED: &str = "SELECT sequence, letter FROM requeued ORDER BY sequence";

pub(super) const WRITE_ATTEMPTS: &str = "INSERT INTO attempts (sequence, ended, boot, attempt, counted) \
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (sequence) DO UPDATE SET ended = excluded.ended, boot = excluded.boot, \
    attempt = excluded.attempt, counted = excluded.counted";
pub(super) const DELETE_ATTEMPTS: &str = "DELETE FROM attempts WHERE sequence = ?1";
pub(super) const ATTEMPTS: &str = "SELECT ended, boot, attempt, counted FROM attempts WHERE sequence = ?1";
pub(super) const ALL_ATTEMPTS: &str =
    "SELECT sequence, ended, boot, attempt, counted FROM attempts ORDER BY sequence";

pub(super) const INSERT_OUTCOME: &str = "INSERT INTO outcome (sequence, outcome, boot, attempt, settled_at, \
    retain_until, size, file, content_type, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
pub(super) const DELETE_OUTCOME: &str = "DELETE FROM outcome WHERE sequence = ?1";
pub(super) const OUTCOME: &str =
    "SELECT outcome, boot, attempt, size, file, content_type, body FROM outcome WHERE sequence = ?1";
pub(super) const OUTCOME_KEY: &str = "SELECT outcome, boot, attempt FROM outcome WHERE sequence = ?1";
pub(super) const ALL_OUTCOMES: &str = "SELECT sequence, outcome, boot, attempt, settled_at, retain_until, size, file \
    FROM outcome ORDER BY sequence";

pub(super) const INSERT_REPLY: &str = "INSERT INTO reply (node, sequence, boot, attempt, token, verb, until, size, \
    file, content_type, body, path) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
pub(super) const DELETE_REPLY: &str =
    "DELETE FROM reply WHERE node = ?1 AND sequence = ?2 AND boot = ?3 AND attempt = ?4";
pub(super) const REPLY: &str = "SELECT verb, size, file, content_type, body FROM reply \
    WHERE node = ?1 AND sequence = ?2 AND boot = ?3 AND attempt = ?4";
pub(super) const ALL_REPLIES: &str = "SELECT token, verb, until, size, file, path FROM reply ORDER BY id";

/// The number of an outcome in the tables. Never change one.
pub(super) fn outcome_code(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Replied => 1,
        Outcome::Delivered => 2,
        Outcome::Failed => 3,
        Outcome::Expired => 4,
        Outcome::Dead => 5,
        Outcome::Cancelled => 6,
    }
}

pub(super) fn outcome_of(code: i64) -> Option<Outcome> {
    [
        Outcome::Replied,
        Outcome::Delivered,
        Outcome::Failed,
        Outcome::Expired,
        Outcome::Dead,
        Outcome::Cancelled,
    ]
    .into_iter()
    .find(|&outcome| outcome_code(outcome) == code)
}

/// The number of a verb in the tables. Never change one.
pub(super) fn verb_code(verb: Verb) -> i64 {
    match verb {
        Verb::Reply => 1,
        Verb::Ack => 2,
        Verb::Fail => 3,
        Verb::Extend => 4,
        Verb::Release => 5,
        Verb::Return => 6,
    }
}

pub(super) fn verb_of(code: i64) -> Option<Verb> {
    let all = [
        Verb::Reply,
        Verb::Ack,
        Verb::Fail,
        Verb::Extend,
        Verb::Release,
        Verb::Return,
    ];
    all.into_iter().find(|&verb| verb_code(verb) == code)
}
