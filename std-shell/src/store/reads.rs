//! What the store thread reads for others, between two commits.

use super::engine::{EngineError, Found, Place, Store};
use super::thread::Keeper;
use super::turso;
use super::types::{ReadError, StoreStats};
use crate::trace_context::TraceContext;
use bytes::Bytes;
use redlink_core::{AttemptId, Outcome, Verb};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// Something to read, and whom to tell.
pub(super) enum Read {
    Payload(u64, Reply<Option<Body>>),
    Outcome(u64, Reply<Option<SettledBody>>),
    Reply(AttemptId, Reply<Option<(Verb, Option<Body>)>>),
    Integrity(Reply<Vec<String>>),
    Stats(oneshot::Sender<StoreStats>),
}

/// An outcome, its content, and what was preserved of its message.
pub(super) type SettledBody = (Outcome, Option<Body>, Option<Bytes>);

pub(super) type Reply<T> = oneshot::Sender<Result<T, ReadError>>;

/// A body that was looked up. A file is opened on the store thread, so that its removal can't come in between, and
/// read elsewhere.
pub(super) struct Body {
    pub(super) content_type: Option<Arc<str>>,
    pub(super) trace_context: Option<Arc<TraceContext>>,
    pub(super) bytes: BodyBytes,
}

pub(super) enum BodyBytes {
    Here(bytes::Bytes),
    File(std::fs::File, PathBuf),
}

impl Keeper {
    pub(super) fn read(&mut self, read: Read) {
        // Whoever asked may have gone; then the answer is for nobody.
        match read {
            Read::Payload(sequence, to) => {
                let found = self.ask(|engine| engine.payload(sequence));
                let _ = to.send(found.and_then(|found| found.map(|found| self.body(found)).transpose()));
            }
            Read::Outcome(sequence, to) => {
                let found = self.ask(|engine| {
                    let found = engine.outcome(sequence)?;
                    let preserved = match found {
                        Some(_) => engine.preserved(sequence)?,
                        None => None,
                    };
                    Ok(found.map(|(outcome, found)| (outcome, found, preserved)))
                });
                let _ = to.send(found.and_then(|found| {
                    let with_body = |(outcome, found, preserved): (Outcome, Option<Found>, _)| {
                        let body = found.map(|found| self.body(found)).transpose()?;
                        Ok((outcome, body, preserved))
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

    pub(super) fn ask<T>(
        &mut self,
        of: impl FnOnce(&mut dyn Store) -> Result<T, EngineError>,
    ) -> Result<T, ReadError> {
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

    pub(super) fn body(&self, found: Found) -> Result<Body, ReadError> {
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
            trace_context: found.trace_context,
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
