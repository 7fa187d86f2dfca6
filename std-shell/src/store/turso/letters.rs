//! Dead letters in the database.

use super::Turso;
use super::cells::Cells;
use super::statements::{bind, broken, each, exists, prepare, run};
use super::values::{key, micros, number, row_key, some, some_micros, text};
use crate::store::engine::{EngineError, Found};
use crate::store::letters::{Letter, LettersFrom, Requeue, StoredLetter};
use crate::store::schema::{self, outcome_code};
use crate::store::types::{Alternate, NewMessage};
use limbo::core::{LimboError, Value};
use redlink_core::{Duration, Outcome, Terms};
use std::sync::Arc;

impl Turso {
    /// Before its message is deleted: the row moves, a file stays where it is.
    pub(super) fn insert_letter(
        &mut self,
        sequence: u64,
        outcome: Outcome,
        died_at: i64,
        letter: &Letter,
    ) -> Result<(), LimboError> {
        let values = [
            key(sequence)?,
            number(outcome_code(outcome)),
            number(letter.attempts),
            number(died_at),
            letter.failure.as_deref().map_or(Value::Null, text),
        ];
        run(&mut self.insert_letter, values)
    }

    /// Notes where a message comes from. Fails if somebody else has had the letter.
    pub(super) fn take_letter(&mut self, message: &NewMessage, requeue: Requeue) -> Result<(), LimboError> {
        let there = exists(&mut self.has_letter, [key(requeue.letter)?]);
        match there {
            Ok(true) => {}
            Ok(false) => return Err(LimboError::Constraint("the dead letter is gone".to_owned())),
            Err(EngineError::Broken(detail) | EngineError::Value(detail)) => {
                return Err(LimboError::InternalError(detail));
            }
        }
        let values = [key(message.sequence)?, key(requeue.letter)?];
        run(&mut self.insert_requeued_from, values)
    }

    /// A message with the payload of a letter.
    pub(super) fn insert_requeued(&mut self, message: &NewMessage, letter: u64) -> Result<(), LimboError> {
        let (terms, alternate) = (&message.terms, message.alternate.as_ref());
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
            alternate.map_or(Value::Null, |alternate| text(&alternate.service)),
            alternate.map_or(Value::Null, |alternate| micros(alternate.after)),
            some(terms.direct),
            some_micros(terms.not_before),
            some(terms.at_most_once),
            key(letter)?,
        ];
        run(&mut self.insert_requeued, values)
    }

    pub(super) fn read_letter(&mut self, sequence: u64) -> Result<Option<StoredLetter>, EngineError> {
        let Ok(sequence) = key(sequence) else {
            return Ok(None);
        };
        let mut found = None;
        let mut statement = prepare(&self.connection, schema::LETTER)?;
        bind(&mut statement, [sequence]).map_err(broken)?;
        each(&mut statement, |row| {
            found = Some(letter(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    pub(super) fn read_letters(
        &mut self,
        from: LettersFrom,
        most: usize,
    ) -> Result<Vec<StoredLetter>, EngineError> {
        let mut found = Vec::new();
        let (sql, place) = match from {
            LettersFrom::Before(place) => (schema::LETTERS, place),
            LettersFrom::After(place) => (schema::LETTERS_UP, place),
        };
        let mut statement = prepare(&self.connection, sql)?;
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        bind(&mut statement, [number(place), number(most)]).map_err(broken)?;
        each(&mut statement, |row| {
            found.push(letter(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    pub(super) fn read_letter_payload(&mut self, sequence: u64) -> Result<Option<Found>, EngineError> {
        let Ok(sequence) = key(sequence) else {
            return Ok(None);
        };
        let mut found = None;
        let mut statement = prepare(&self.connection, schema::LETTER_PAYLOAD)?;
        bind(&mut statement, [sequence]).map_err(broken)?;
        each(&mut statement, |row| {
            found = Some(row.body(0)?);
            Ok(())
        })?;
        Ok(found)
    }

    pub(super) fn read_oldest_letters(&mut self, most: usize) -> Result<Vec<(u64, i64)>, EngineError> {
        let mut found = Vec::new();
        let mut statement = prepare(&self.connection, schema::OLDEST_LETTERS)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        bind(&mut statement, [number(most)]).map_err(broken)?;
        each(&mut statement, |row| {
            found.push((row.unsigned(0)?, row.int(1)?));
            Ok(())
        })?;
        Ok(found)
    }

    pub(super) fn remove_letters(&mut self, sequences: &[u64]) -> Result<Vec<u64>, EngineError> {
        let mut there = Vec::with_capacity(sequences.len());
        run(&mut self.begin, []).map_err(broken)?;
        for &sequence in sequences {
            // A number that is no key has no letter either.
            let Ok(at) = row_key(sequence) else { continue };
            if exists(&mut self.has_letter, [at])? {
                run(&mut self.delete_letter, [row_key(sequence)?]).map_err(broken)?;
                there.push(sequence);
            }
        }
        run(&mut self.commit, []).map_err(broken)?;
        Ok(there)
    }
}

fn letter(row: Cells<'_>) -> Result<StoredLetter, EngineError> {
    let alternate = match row.optional(16, Cells::text)? {
        Some(service) => Some(Alternate {
            service: service.into(),
            after: row.duration(17)?,
        }),
        None => None,
    };
    Ok(StoredLetter {
        place: row.unsigned(0)?,
        sequence: row.unsigned(1)?,
        outcome: row.outcome(2)?,
        attempts: row.narrow(3)?,
        died_at: row.int(4)?,
        failure: row.optional(5, Cells::text)?.map(str::to_owned),
        program: row.optional(6, Cells::text)?.map(Arc::from),
        requeued_from: row.optional(7, Cells::unsigned)?,
        service: row.text(8)?.to_owned(),
        terms: Terms {
            priority: row.narrow(9)?,
            ett: row.optional(10, Cells::duration)?,
            reoffer: row.duration(11)?,
            send_only: row.int(12)? != 0,
            max_attempts: row.narrow(13)?,
            retention: row.duration(14)?,
            direct: row.optional(18, Cells::int)?.is_some(),
            at_most_once: row.optional(21, Cells::int)?.is_some(),
            // It has been waited for.
            not_before: Duration::ZERO,
        },
        submitted_at: row.int(15)?,
        alternate,
        size: row.unsigned(19)?,
        content_type: row.optional(20, Cells::text)?.map(str::to_owned),
    })
}
