//! A row's columns as our values.

use super::statements::bad;
use crate::store::engine::{EngineError, Found, Place};
use crate::store::payload::FileId;
use crate::store::schema::{outcome_of, verb_of};
use crate::trace_context::TraceContext;
use bytes::Bytes;
use limbo::core::{Numeric, Row, Value};
use redlink_core::wire::Path;
use redlink_core::{Attempts, Duration, Fence, NodeId, Outcome, Verb};
use std::sync::Arc;

/// A row's columns, each read as what it should be. The file may have been edited by hand, so nothing is taken for
/// granted.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a>(pub(super) &'a Row);

impl<'a> Cells<'a> {
    pub(super) fn is_null(self, at: usize) -> bool {
        matches!(self.0.get_value(at), Value::Null)
    }

    pub(super) fn int(self, at: usize) -> Result<i64, EngineError> {
        match self.0.get_value(at) {
            Value::Numeric(Numeric::Integer(value)) => Ok(*value),
            other => Err(bad(&format!("{other} where a number belongs"))),
        }
    }

    pub(super) fn unsigned(self, at: usize) -> Result<u64, EngineError> {
        self.narrow(at)
    }

    pub(super) fn narrow<T: TryFrom<i64>>(self, at: usize) -> Result<T, EngineError> {
        let value = self.int(at)?;
        T::try_from(value).map_err(|_| bad(&format!("{value} is out of its range")))
    }

    pub(super) fn duration(self, at: usize) -> Result<Duration, EngineError> {
        self.unsigned(at).map(Duration::from_micros)
    }

    pub(super) fn text(self, at: usize) -> Result<&'a str, EngineError> {
        match self.0.get_value(at) {
            Value::Text(text) => Ok(text.as_str()),
            other => Err(bad(&format!("{other} where a text belongs"))),
        }
    }

    pub(super) fn blob(self, at: usize) -> Result<&'a [u8], EngineError> {
        self.0
            .get_value(at)
            .to_blob()
            .ok_or_else(|| bad("no bytes where some belong"))
    }

    /// Bytes of a length that is always the same.
    pub(super) fn bytes<const N: usize>(self, at: usize) -> Result<[u8; N], EngineError> {
        self.blob(at)?
            .try_into()
            .map_err(|_| bad(&format!("not {N} bytes where so many belong")))
    }

    pub(super) fn optional<T>(
        self,
        at: usize,
        read: impl FnOnce(Self, usize) -> Result<T, EngineError>,
    ) -> Result<Option<T>, EngineError> {
        if self.is_null(at) {
            Ok(None)
        } else {
            read(self, at).map(Some)
        }
    }

    pub(super) fn outcome(self, at: usize) -> Result<Outcome, EngineError> {
        let code = self.int(at)?;
        outcome_of(code).ok_or_else(|| bad(&format!("there is no outcome {code}")))
    }

    pub(super) fn verb(self, at: usize) -> Result<Verb, EngineError> {
        let code = self.int(at)?;
        verb_of(code).ok_or_else(|| bad(&format!("there is no verb {code}")))
    }

    /// Two columns: boot and attempt.
    pub(super) fn fence(self, at: usize) -> Result<Option<Fence>, EngineError> {
        self.optional(at, |row, at| {
            Ok(Fence {
                boot: row.narrow(at)?,
                attempt: row.narrow(at + 1)?,
            })
        })
    }

    /// Four columns: how many ended, boot and attempt of the newest, and whether that is counted.
    pub(super) fn attempts(self, at: usize) -> Result<Attempts, EngineError> {
        Ok(Attempts {
            ended: self.narrow(at)?,
            newest: self.fence(at + 1)?,
            counted: self.int(at + 3)? != 0,
        })
    }

    /// A way's node ids, each as eight bytes.
    pub(super) fn path(self, at: usize) -> Result<Path, EngineError> {
        let (nodes, rest) = self.blob(at)?.as_chunks();
        let nodes: Vec<_> = nodes
            .iter()
            .map(|node| NodeId(u64::from_le_bytes(*node)))
            .collect();
        let path = Path::from_slice(&nodes).filter(|_| rest.is_empty());
        path.ok_or_else(|| bad("reply.path has a wrong length"))
    }

    pub(super) fn file(self, at: usize) -> Result<FileId, EngineError> {
        self.int(at).map(FileId::from_row)
    }

    /// Three columns: file, content type, bytes.
    pub(super) fn body(self, at: usize) -> Result<Found, EngineError> {
        let place = match self.optional(at, Cells::file)? {
            Some(file) => Place::File(file),
            None => Place::Row(Bytes::copy_from_slice(self.blob(at + 2)?)),
        };
        Ok(Found {
            content_type: self.optional(at + 1, Cells::text)?.map(Arc::from),
            trace_context: None,
            place,
        })
    }

    /// Two columns: `traceparent` and `tracestate`. Taken as from any header: what is malformed is left out.
    pub(super) fn trace_context(self, at: usize) -> Result<Option<Arc<TraceContext>>, EngineError> {
        let (parent, state) = (
            self.optional(at, Cells::text)?,
            self.optional(at + 1, Cells::text)?,
        );
        Ok(parent.and_then(|parent| TraceContext::read(parent, state)))
    }
}
