//! Dead letters: which messages become one, what operators see of them, and how they are put back.

use super::command::Command;
use super::handle::{Handle, NewMessage, Submitted};
use super::looks::outcome_word;
use super::refusal::Refusal;
use super::turn::Driver;
use crate::Content;
use crate::clock;
use crate::http::headers::format_time;
use crate::owner::Owner;
use crate::store::{self, Alternate, Letter, LettersFrom, ReadError, StoredLetter};
use futures_util::StreamExt;
use redlink_core::{MessageId, Outcome, Terms};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How much of a failure's text a dead letter keeps, in bytes.
const FAILURE_MAX: usize = 4_096;
/// Letters that are looked through between two commits of the store.
const PIECE: usize = 256;
/// Letters that are put back at once.
const ABREAST: usize = 64;

/// A dead letter, as the API's JSON has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterInfo {
    /// The id of the message that it was.
    pub id: String,
    /// Its place among all: larger ones are younger. `after=` takes it.
    pub place: u64,
    /// The message was addressed to this service.
    pub service: String,
    /// What became of it: `dead` or `failed`.
    pub outcome: String,
    /// What its consumer said of it, if one did; the first 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Times that it was granted, as far as that is known.
    pub attempts: u32,
    /// Times that its lease could run out before it was dead; 0 is no limit.
    pub max_attempts: u16,
    /// 0 to 255, higher first.
    pub priority: u8,
    /// No reply was wanted.
    pub send_only: bool,
    /// How long its outcome was waited for; none if there was no end.
    pub ett_ms: Option<u64>,
    /// Payload length in bytes.
    pub size: u64,
    /// What its payload is said to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// When it was accepted, RFC 3339.
    pub submitted: Option<String>,
    /// When it ended, RFC 3339.
    pub died: Option<String>,
    /// The program that submitted it; none if it was the administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Its alternate service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternate: Option<String>,
    /// The dead letter that it came from itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeued_from: Option<String>,
}

/// How a dead letter becomes a message again, where that is not to be as it was.
#[derive(Clone, Debug, Default)]
pub struct Requeue {
    /// For this service.
    pub service: Option<String>,
    /// With these settings.
    pub terms: Option<Terms>,
    /// With this second service.
    pub alternate: Option<Alternate>,
    /// With this payload.
    pub content: Option<Content>,
}

/// What was done with many dead letters in one call.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Passed {
    /// So many were requeued, or deleted.
    pub count: u64,
    /// There are more for another call.
    pub more: bool,
    /// That goes up to this place, so that what comes meanwhile is left alone.
    pub until: u64,
    /// Why it ended before its time, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// A submit's dead letter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requeuing {
    pub(super) letter: u64,
    /// The length of its payload, if the message takes it over.
    pub(super) kept: Option<u64>,
}

impl Requeuing {
    pub(super) fn requeue(self) -> store::Requeue {
        store::Requeue {
            letter: self.letter,
            keeps_payload: self.kept.is_some(),
        }
    }
}

impl Driver {
    /// What a message that gets this outcome is kept with: if its attempts are used up, or if it failed and no producer
    /// waits to hear of that. What nodes have for themselves is not kept.
    pub(super) fn letter(
        &self,
        sequence: u64,
        outcome: Outcome,
        content: Option<&Content>,
    ) -> Option<Letter> {
        let view = self.core.message(sequence)?;
        let kept = match outcome {
            Outcome::Dead => true,
            Outcome::Failed => view.send_only,
            Outcome::Replied | Outcome::Delivered | Outcome::Expired | Outcome::Cancelled => false,
        };
        let failure = content
            .map(|content| &content.bytes[..])
            .filter(|text| !text.is_empty());
        let failure = failure.map(|text| text.get(..FAILURE_MAX).unwrap_or(text));
        (kept && !view.service.is_reserved()).then(|| Letter {
            // Those before a restart are not numbered in this life.
            attempts: view.attempt.max(view.tries.into()),
            failure: failure.map(|text| String::from_utf8_lossy(text).into()),
        })
    }
}

fn trouble(error: &ReadError) -> Refusal {
    match error {
        ReadError::Closed => Refusal::Stopped,
        error => {
            tracing::warn!(%error, "dead letters can't be read or deleted");
            Refusal::Store
        }
    }
}

impl Handle {
    fn letter_info(&self, letter: StoredLetter) -> DeadLetterInfo {
        let id = |sequence| {
            MessageId {
                node: self.node(),
                sequence,
            }
            .to_string()
        };
        let time = |wall| format_time(clock::system_time(wall));
        DeadLetterInfo {
            id: id(letter.sequence),
            place: letter.place,
            service: letter.service,
            outcome: outcome_word(letter.outcome).to_owned(),
            failure: letter.failure,
            attempts: letter.attempts,
            max_attempts: letter.terms.max_attempts,
            priority: letter.terms.priority,
            send_only: letter.terms.send_only,
            ett_ms: letter.terms.ett.map(redlink_core::Duration::as_millis),
            size: letter.size,
            content_type: letter.content_type,
            submitted: time(letter.submitted_at),
            died: time(letter.died_at),
            program: letter.program.map(|name| name.to_string()),
            alternate: letter.alternate.map(|alternate| alternate.service.into()),
            requeued_from: letter.requeued_from.map(id),
        }
    }

    /// At most `max` dead letters, of one service or of all: the youngest first, from the one behind `after` on.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn dead_letters(
        &self,
        max: usize,
        service: Option<&str>,
        after: Option<u64>,
    ) -> Result<Vec<DeadLetterInfo>, Refusal> {
        let from = LettersFrom::Before(after.unwrap_or(u64::MAX));
        let found = self.find_letters(from, max, service, u64::MAX).await?;
        Ok(found.into_iter().map(|letter| self.letter_info(letter)).collect())
    }

    /// Looks through the letters piece by piece, so that commits wait for one piece only (P11).
    async fn find_letters(
        &self,
        mut from: LettersFrom,
        max: usize,
        service: Option<&str>,
        until: u64,
    ) -> Result<Vec<StoredLetter>, Refusal> {
        let mut found = Vec::new();
        loop {
            let piece = self.store().letters(from, PIECE).await.map_err(|e| trouble(&e))?;
            let last = piece
                .last()
                .map(|letter| letter.place)
                .filter(|_| piece.len() == PIECE);
            let wanted = |letter: &StoredLetter| {
                letter.place <= until && service.is_none_or(|name| name == letter.service)
            };
            found.extend(piece.into_iter().filter(wanted));
            match last {
                Some(place) if found.len() < max && place <= until => {
                    from = match from {
                        LettersFrom::Before(_) => LettersFrom::Before(place),
                        LettersFrom::After(_) => LettersFrom::After(place),
                    };
                }
                _ => break,
            }
        }
        found.truncate(max);
        Ok(found)
    }

    /// A dead letter as it is kept.
    ///
    /// # Errors
    /// There is none of this id, or the store can't be read.
    pub async fn stored_letter(&self, id: MessageId) -> Result<StoredLetter, Refusal> {
        let sequence = self.own(id)?;
        let found = self.store().letter(sequence).await.map_err(|e| trouble(&e))?;
        found.ok_or(Refusal::UnknownLetter)
    }

    /// A dead letter.
    ///
    /// # Errors
    /// As with [`Handle::stored_letter`].
    pub async fn dead_letter(&self, id: MessageId) -> Result<DeadLetterInfo, Refusal> {
        Ok(self.letter_info(self.stored_letter(id).await?))
    }

    /// A dead letter's payload.
    ///
    /// # Errors
    /// As with [`Handle::stored_letter`].
    pub async fn dead_letter_payload(&self, id: MessageId) -> Result<Content, Refusal> {
        let sequence = self.own(id)?;
        let found = self
            .store()
            .letter_payload(sequence)
            .await
            .map_err(|e| trouble(&e))?;
        found.ok_or(Refusal::UnknownLetter)
    }

    /// Deletes a dead letter. When this returns, it is gone on disk.
    ///
    /// # Errors
    /// As with [`Handle::stored_letter`].
    pub async fn delete_dead_letter(&self, id: MessageId) -> Result<(), Refusal> {
        let sequence = self.own(id)?;
        let gone = self
            .store()
            .delete_letters(vec![sequence])
            .await
            .map_err(|e| trouble(&e))?;
        match gone.is_empty() {
            true => Err(Refusal::UnknownLetter),
            false => Ok(()),
        }
    }

    /// Makes a message of a dead letter, with the settings that it had and all of its time anew. When this returns, the
    /// message is on disk and the letter is gone, in one.
    ///
    /// # Errors
    /// As with [`Handle::submit`] and [`Handle::stored_letter`]; the letter stays.
    pub async fn requeue(&self, id: MessageId, how: Requeue) -> Result<Submitted, Refusal> {
        let letter = self.stored_letter(id).await?;
        let result = self.requeue_stored(letter, how).await;
        match result {
            // Somebody else may have had it first.
            Err(Refusal::Store) => match self.stored_letter(id).await {
                Err(Refusal::UnknownLetter) => Err(Refusal::UnknownLetter),
                _ => Err(Refusal::Store),
            },
            other => other,
        }
    }

    async fn requeue_stored(&self, letter: StoredLetter, how: Requeue) -> Result<Submitted, Refusal> {
        let service = how.service.unwrap_or(letter.service);
        let alternate = how.alternate.or(letter.alternate);
        let new = NewMessage {
            // One that is its service already is no second one.
            alternate: alternate.filter(|alternate| *alternate.service != *service),
            service,
            terms: how.terms.unwrap_or(letter.terms),
            content: how.content.clone().unwrap_or_default(),
            extras: crate::Extras::default(),
            producer: None,
        };
        let requeue = Requeuing {
            letter: letter.sequence,
            kept: how.content.is_none().then_some(letter.size),
        };
        self.ask(|answer| Command::Submit {
            owner: letter.program.map_or(Owner::Administrator, Owner::Program),
            new,
            requeue: Some(requeue),
            answer,
            settled: None,
        })
        .await
    }

    /// The place of the youngest dead letter.
    async fn youngest_letter(&self) -> Result<u64, Refusal> {
        let youngest = self.store().letters(LettersFrom::Before(u64::MAX), 1).await;
        let youngest = youngest.map_err(|e| trouble(&e))?;
        Ok(youngest.first().map_or(0, |letter| letter.place))
    }

    /// Requeues up to `max` dead letters, of one service or of all, to another service or to their own: the oldest
    /// first, up to a place.
    ///
    /// # Errors
    /// The store can't be read, or none could be requeued.
    pub async fn requeue_dead_letters(
        &self,
        max: usize,
        service: Option<&str>,
        until: Option<u64>,
        to: Option<&str>,
    ) -> Result<Passed, Refusal> {
        let until = match until {
            Some(until) => until,
            None => self.youngest_letter().await?,
        };
        let found = self
            .find_letters(LettersFrom::After(0), max, service, until)
            .await?;
        let mut passed = Passed {
            more: found.len() == max,
            until,
            ..Passed::default()
        };
        let requeues = found.into_iter().map(|letter| {
            let id = MessageId {
                node: self.node(),
                sequence: letter.sequence,
            };
            let service = to.map(str::to_owned);
            self.requeue(
                id,
                Requeue {
                    service,
                    ..Requeue::default()
                },
            )
        });
        let mut requeues = futures_util::stream::iter(requeues).buffered(ABREAST);
        let mut refused = None;
        while let Some(result) = requeues.next().await {
            match result {
                Ok(_) => passed.count += 1,
                // Another was faster.
                Err(Refusal::UnknownLetter) => {}
                Err(refusal) => refused = Some(refusal),
            }
        }
        match refused {
            Some(refusal) if passed.count == 0 => Err(refusal),
            refused => Ok(Passed {
                stopped: refused.map(|refusal| refusal.to_string()),
                ..passed
            }),
        }
    }

    /// Deletes up to `max` dead letters, of one service or of all: the oldest first, up to a place.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub async fn delete_dead_letters(
        &self,
        max: usize,
        service: Option<&str>,
        until: Option<u64>,
    ) -> Result<Passed, Refusal> {
        let until = match until {
            Some(until) => until,
            None => self.youngest_letter().await?,
        };
        let found = self
            .find_letters(LettersFrom::After(0), max, service, until)
            .await?;
        let more = found.len() == max;
        let found = found.into_iter().map(|letter| letter.sequence).collect();
        let gone = self
            .store()
            .delete_letters(found)
            .await
            .map_err(|e| trouble(&e))?;
        Ok(Passed {
            count: gone.len() as u64,
            more,
            until,
            stopped: None,
        })
    }
}
