//! After an error of COMMIT or of I/O: nothing is taken for granted, and what is on disk decides.

use super::engine::EngineError;
use super::payload::sync_dir;
use super::thread::Keeper;
use super::types::Done;
use std::time::{Duration, Instant};

/// The first and the longest pause between attempts to open the database again.
pub(super) const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

impl Keeper {
    /// The engine may not be used any more.
    pub(super) fn down(&mut self, during: &str, error: EngineError) {
        let (EngineError::Broken(detail) | EngineError::Value(detail)) = error;
        self.fault = format!("{during} failed: {detail}");
        tracing::error!(fault = self.fault, "the store opens its database again");
        // Dropped before it is opened again: the engine shares what is open in one process.
        self.call_back_readers();
        self.engine = None;
        self.stats.up = false;
        self.checkpoint_at = None;
    }

    /// Opens the database again and answers the unresolved group by what is on disk; if that fails, later.
    pub(super) fn resolve(&mut self) {
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
                // Some may be gone of which that was not known.
                if let Some(Ok(count)) = self.engine.as_mut().map(|engine| engine.count_letters()) {
                    self.stats.dead_letters = count;
                }
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
}
