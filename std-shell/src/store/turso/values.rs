//! Our values as the engine binds them.

use crate::store::engine::{EngineError, Entry};
use limbo::core::{LimboError, Value};
use redlink_core::wire::Path;
use redlink_core::{AttemptId, Duration};

pub(super) fn number(value: impl Into<i64>) -> Value {
    Value::from_i64(value.into())
}

/// Longer than 292,000 years is as good as that.
pub(super) fn micros(length: Duration) -> Value {
    Value::from_i64(i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

/// What most rows don't have.
pub(super) fn some(there: bool) -> Value {
    if there { number(1u8) } else { Value::Null }
}

/// A length of time, where most rows have none.
pub(super) fn some_micros(length: Duration) -> Value {
    if length == Duration::ZERO {
        Value::Null
    } else {
        micros(length)
    }
}

pub(super) fn text(value: &str) -> Value {
    Value::build_text(value.to_owned())
}

pub(super) fn key(sequence: u64) -> Result<Value, LimboError> {
    i64::try_from(sequence)
        .map(Value::from_i64)
        .map_err(|_| LimboError::IntegerOverflow)
}

pub(super) fn row_key(sequence: u64) -> Result<Value, EngineError> {
    key(sequence).map_err(|error| EngineError::Value(error.to_string()))
}

/// Another node's numbers, any of them: as signed, none is too large.
pub(super) fn attempt_key(attempt: AttemptId) -> [Value; 4] {
    [
        Value::from_i64(attempt.message.node.0.cast_signed()),
        Value::from_i64(attempt.message.sequence.cast_signed()),
        number(attempt.fence.boot),
        number(attempt.fence.attempt),
    ]
}

/// A way's node ids, each as eight bytes.
pub(super) fn path_bytes(path: &Path) -> Result<Value, LimboError> {
    let bytes: Vec<u8> = path.iter().flat_map(|node| node.0.to_le_bytes()).collect();
    Ok(Value::from_slice(&bytes)?)
}

pub(super) fn file(entry: &Entry) -> Value {
    entry
        .file
        .map_or(Value::Null, |file| Value::from_i64(file.to_row()))
}

pub(super) fn content_type(content: Option<&crate::Content>) -> Value {
    content
        .and_then(|content| content.content_type.as_deref())
        .map_or(Value::Null, text)
}

/// The one copy that the engine's owned values ask for.
pub(super) fn body(entry: &Entry) -> Result<Value, LimboError> {
    match entry.op.content() {
        Some(content) if entry.file.is_none() => Ok(Value::from_slice(&content.bytes)?),
        _ => Ok(Value::Null),
    }
}
