//! What an operator asks in SQL: read-only, bounded, and beside everything else.

use super::readers::{Lent, Readers};
use super::types::ReadError;
use crate::metrics::resident;
use base64::Engine as _;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A query is stopped after this time.
pub(super) const QUERY_TIME: Duration = Duration::from_secs(5);
/// Most rows of an answer.
pub(super) const QUERY_ROWS: usize = 10_000;
/// About the most bytes of an answer.
pub(super) const QUERY_BYTES: usize = 8 << 20;
/// Longest text of a query, in bytes.
pub(super) const QUERY_TEXT: usize = 16 * 1024;
/// How much the process may grow meanwhile, in bytes: sorting and joining take memory that no row shows.
const MEMORY: u64 = 512 << 20;
/// The engine's parser and planner go as deep as an expression does.
const STACK: usize = 64 << 20;

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct QueryAnswer {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Values, row by row.
    #[schema(value_type = Vec<Vec<Object>>)]
    pub rows: Vec<Vec<Cell>>,
    /// There were more rows than an answer may have, or more bytes.
    pub truncated: bool,
    /// How long it took, in microseconds.
    pub micros: u64,
}

/// A value, with its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// Another number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Serialize for Cell {
    /// JSON's own types, and `{"base64": ...}` for bytes.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Integer(value) => to.serialize_i64(*value),
            Self::Real(value) => to.serialize_f64(*value),
            Self::Text(value) => to.serialize_str(value),
            Self::Blob(value) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("base64", &base64::engine::general_purpose::STANDARD.encode(value))?;
                map.end()
            }
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It may not be asked, or is no SQL.
    #[error("{0}")]
    Bad(String),
    /// It took too long, or too much.
    #[error("the query was stopped: {0}")]
    Stopped(&'static str),
    /// Another one runs.
    #[error("another query runs; one runs at a time")]
    Busy,
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// When to stop.
pub(super) struct Watch {
    until: Instant,
    /// Resident bytes of this process at which it takes too much; none where that can't be told.
    memory: Option<u64>,
    readers: Arc<Readers>,
    answer: Arc<oneshot::Sender<Result<QueryAnswer, QueryError>>>,
}

impl Watch {
    /// Why to stop now, if so.
    pub(super) fn over(&self) -> Option<&'static str> {
        if self.readers.is_over() {
            return Some("the store opens its database again, or is closed");
        }
        if self.answer.is_closed() {
            return Some("nobody waits for it any more");
        }
        if Instant::now() >= self.until {
            return Some("it took longer than 5 s");
        }
        let much = self.memory.zip(resident()).is_some_and(|(most, now)| now > most);
        much.then_some("it took too much memory")
    }

    pub(super) fn share(&self) -> Self {
        Self {
            until: self.until,
            memory: self.memory,
            readers: self.readers.clone(),
            answer: self.answer.clone(),
        }
    }
}

/// Runs a query on a thread of its own.
pub(super) async fn run(
    lent: Lent,
    turn: OwnedSemaphorePermit,
    sql: String,
) -> Result<QueryAnswer, QueryError> {
    let (answer, answered) = oneshot::channel();
    let body = move || {
        let answer = Arc::new(answer);
        let watch = Watch {
            until: Instant::now() + QUERY_TIME,
            memory: resident().map(|now| now + MEMORY),
            readers: lent.hurry(),
            answer: answer.clone(),
        };
        let result = lent.reader().query(&sql, &watch);
        // Its connection holds up the emptying of the log.
        drop(lent);
        drop(watch);
        drop(turn);
        if let Some(answer) = Arc::into_inner(answer) {
            let _ = answer.send(result);
        }
    };
    let thread = std::thread::Builder::new()
        .name("redlink-query".to_owned())
        .stack_size(STACK);
    thread
        .spawn(body)
        .map_err(|e| ReadError::Engine(format!("no thread for it: {e}")))?;
    // A panic in it is one of the engine's; only this query is lost by it.
    answered.await.unwrap_or(Err(QueryError::Bad(
        "the engine can't run this query; the node's log says why".into(),
    )))
}

/// Whether a statement may be run, by its first words: nothing is prepared before, since some statements do their work
/// when they are.
pub(super) fn check(sql: &str) -> Result<(), QueryError> {
    let bad = |why: &str| Err(QueryError::Bad(why.to_owned()));
    if sql.len() > QUERY_TEXT {
        return bad("the query is longer than 16 KiB");
    }
    if sql.contains('\0') {
        return bad("the query has a character that no SQL has");
    }
    let mut rest = sql;
    let mut word = take_word(&mut rest);
    if word == "EXPLAIN" {
        word = take_word(&mut rest);
        if word == "QUERY" {
            let _plan = take_word(&mut rest);
            word = take_word(&mut rest);
        }
    }
    match word.as_str() {
        "SELECT" | "WITH" | "VALUES" => Ok(()),
        "" => bad("the query is empty; it is one SELECT, such as SELECT state, count(*) FROM message"),
        _ => bad("only SELECT, WITH … SELECT, VALUES and EXPLAIN of these may be asked; nothing was run"),
    }
}

/// The statement behind EXPLAIN, or all of it.
pub(super) fn explained(sql: &str) -> &str {
    let mut rest = sql;
    if take_word(&mut rest) != "EXPLAIN" {
        return sql;
    }
    let plain = rest;
    if take_word(&mut rest) == "QUERY" && take_word(&mut rest) == "PLAN" {
        rest
    } else {
        plain
    }
}

/// The next word in capitals, behind spaces and comments; empty if there is none.
fn take_word(rest: &mut &str) -> String {
    *rest = skip(rest);
    let end = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word.to_ascii_uppercase()
}

/// What follows after spaces and comments.
pub(super) fn skip(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        text = if let Some(comment) = text.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = text.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else {
            return text;
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_passes() {
        for good in [
            "SELECT 1",
            " -- why\n select 1",
            "/* a */ WITH t AS (SELECT 1) SELECT * FROM t",
            "values (1)",
            "EXPLAIN SELECT 1",
            "explain query plan select 1",
            "SELECT(1)",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = format!("SELECT {}", "1".repeat(QUERY_TEXT));
        for bad in [
            "",
            "  -- SELECT 1",
            "/* SELECT",
            "PRAGMA query_only = 0",
            "EXPLAIN PRAGMA synchronous = 0",
            "EXPLAIN QUERY PLAN PRAGMA x",
            "ATTACH 'x' AS y",
            "INSERT INTO message VALUES (1)",
            "(SELECT 1)",
            "VACUUM INTO 'x'",
            "BEGIN",
            "SELECT\0 1",
            "EXPLAIN EXPLAIN SELECT 1",
            ";SELECT 1",
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
