//! Dead letters: messages that came to nothing and that an operator may look at, put back or delete.
//!
//! A message becomes one in the transaction that writes its outcome, and is a message again, under a new number, in the
//! one that inserts that. Its payload never lies there twice: a row moves, and a file only changes its owner. There are
//! at most as many as [`LetterLimits`] allow; the oldest gives way.

use super::engine::EngineError;
use super::reads::{Body, Reply};
use super::thread::Keeper;
use super::types::{Alternate, ReadError};
use crate::clock;
use redlink_core::{Outcome, Terms};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a message is kept with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Times that it was granted, as far as that is known.
    pub attempts: u32,
    /// What its consumer said of it, or the beginning of that.
    pub failure: Option<Box<str>>,
}

/// Which dead letter a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requeue {
    /// The dead letter's message.
    pub letter: u64,
    /// The payload is the letter's, and not the message's own content.
    pub keeps_payload: bool,
}

/// A dead letter, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLetter {
    /// Its place among all: larger ones are younger.
    pub place: u64,
    /// The message's key.
    pub sequence: u64,
    /// What became of the message.
    pub outcome: Outcome,
    /// Times that it was granted, as far as that is known.
    pub attempts: u32,
    /// When it ended.
    pub died_at: i64,
    /// What its consumer said of it.
    pub failure: Option<String>,
    /// The program that submitted it; none if it was the administrator.
    pub program: Option<Arc<str>>,
    /// The dead letter that it came from itself.
    pub requeued_from: Option<u64>,
    /// It was addressed to this service.
    pub service: String,
    /// Its settings as they were submitted.
    pub terms: Terms,
    /// When it was accepted.
    pub submitted_at: i64,
    /// A second service.
    pub alternate: Option<Alternate>,
    /// Payload length in bytes.
    pub size: u64,
    /// What its payload is said to be.
    pub content_type: Option<String>,
}

/// Where a look at dead letters begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LettersFrom {
    /// With the youngest before this place, and then back to the oldest.
    Before(u64),
    /// With the oldest after this place, and then on to the youngest.
    After(u64),
}

/// How many dead letters there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterLimits {
    /// At most so many.
    pub max: u32,
    /// None is kept longer than this.
    pub keep: Duration,
}

impl Default for LetterLimits {
    /// 10,000, for 30 days.
    fn default() -> Self {
        Self {
            max: 10_000,
            keep: Duration::from_secs(30 * 86_400),
        }
    }
}

/// Most letters that one transaction deletes, and that one look reads: so that commits wait no longer than for a group.
pub(super) const LETTERS_AT_ONCE: usize = 1_000;
/// How far apart looks for letters that are too old are, at least and at most.
const LOOK_MIN: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_secs(3_600);

/// What is asked about dead letters.
pub(super) enum Ask {
    One(u64, Reply<Option<StoredLetter>>),
    /// At most so many.
    Some(LettersFrom, usize, Reply<Vec<StoredLetter>>),
    Payload(u64, Reply<Option<Body>>),
    /// At most [`LETTERS_AT_ONCE`]; the answer names those that were there.
    Delete(Vec<u64>, Reply<Vec<u64>>),
    Limits(LetterLimits),
}

impl Keeper {
    /// Answers, between two commits.
    pub(super) fn letters(&mut self, ask: Ask) {
        // Whoever asked may have gone; then the answer is for nobody.
        match ask {
            Ask::One(sequence, to) => {
                let _ = to.send(self.ask(|engine| engine.letter(sequence)));
            }
            Ask::Some(from, most, to) => {
                let _ = to.send(self.ask(|engine| engine.letters(from, most.min(LETTERS_AT_ONCE))));
            }
            Ask::Payload(sequence, to) => {
                let found = self.ask(|engine| engine.letter_payload(sequence));
                let _ = to.send(found.and_then(|found| found.map(|found| self.body(found)).transpose()));
            }
            Ask::Delete(sequences, to) => {
                let _ = to.send(self.delete_letters(&sequences));
            }
            Ask::Limits(limits) => {
                self.letter_limits = Some(limits);
                self.letters_at = Some(Instant::now());
            }
        }
    }

    /// What is on disk afterwards decides, also after an error of unknown result.
    fn delete_letters(&mut self, sequences: &[u64]) -> Result<Vec<u64>, ReadError> {
        let sequences = sequences.get(..LETTERS_AT_ONCE).unwrap_or(sequences);
        let Some(engine) = &mut self.engine else {
            return Err(ReadError::Down(self.fault.clone()));
        };
        match engine.delete_letters(sequences) {
            Ok(gone) => {
                self.stats.dead_letters = self.stats.dead_letters.saturating_sub(gone.len() as u64);
                for sequence in &gone {
                    let file = self.files.letters.remove(sequence);
                    self.forget_file(file);
                }
                self.checkpoint_at = Some(Instant::now() + super::thread::IDLE);
                Ok(gone)
            }
            Err(error) => {
                let detail = match &error {
                    EngineError::Broken(detail) | EngineError::Value(detail) => detail.clone(),
                };
                // A file whose letter is gone after all stays until the next start sweeps it.
                self.down("deleting dead letters", error);
                self.resolve();
                Err(ReadError::Engine(detail))
            }
        }
    }

    /// Lets the oldest give way: those over the number that may be there, and those that are too old. At most
    /// [`LETTERS_AT_ONCE`] now, the next ones in the next round.
    pub(super) fn prune_letters(&mut self) {
        let Some(limits) = self.letter_limits else { return };
        let due = self.letters_at.is_some_and(|at| at <= Instant::now());
        let over = self.stats.dead_letters.saturating_sub(limits.max.into());
        if self.engine.is_none() || !(due || over > 0) {
            return;
        }
        self.letters_at = None;
        let oldest = match self.ask(|engine| engine.oldest_letters(LETTERS_AT_ONCE)) {
            Ok(oldest) => oldest,
            Err(error) => {
                tracing::warn!(%error, "dead letters can't be looked at");
                self.letters_at = Some(Instant::now() + LOOK_MAX);
                return;
            }
        };
        let keep = i64::try_from(limits.keep.as_micros()).unwrap_or(i64::MAX);
        let wall = clock::wall();
        let over = usize::try_from(over).unwrap_or(usize::MAX);
        let aged = oldest
            .iter()
            .take_while(|(_, died)| died.saturating_add(keep) <= wall)
            .count();
        let go = over.max(aged).min(oldest.len());
        let next = oldest
            .get(go)
            .map(|(_, died)| died.saturating_add(keep).saturating_sub(wall));
        if go > 0 {
            let sequences: Vec<u64> = oldest[..go].iter().map(|(sequence, _)| *sequence).collect();
            match self.delete_letters(&sequences) {
                Ok(gone) => {
                    self.stats.dead_letters_dropped += gone.len() as u64;
                    tracing::warn!(
                        dropped = gone.len(),
                        left = self.stats.dead_letters,
                        "the oldest dead letters gave way; `dead_letters` sets how many are kept, and how long"
                    );
                }
                Err(error) => tracing::warn!(%error, "dead letters can't be deleted"),
            }
        }
        let wait = match next {
            Some(left) => Duration::from_micros(left.try_into().unwrap_or(0)).clamp(LOOK_MIN, LOOK_MAX),
            // All that was seen went: there may be more behind it.
            None if go == LETTERS_AT_ONCE => Duration::ZERO,
            None => return,
        };
        self.letters_at = Some(Instant::now() + wait);
    }

    /// A message became a dead letter: it will be too old one day.
    pub(super) fn letter_came(&mut self) {
        self.stats.dead_letters += 1;
        self.stats.dead_letters_total += 1;
        if self.letters_at.is_none() {
            self.letters_at = Some(Instant::now() + LOOK_MIN);
        }
    }
}
