//! Many at once: what a batch asks reaches the driver together, and so shares its turns and the store's commits.

use super::command::Command;
use super::handle::{Delivery, Handle, NewMessage, Submitted};
use super::refusal::Refusal;
use super::take::Room;
use crate::Content;
use crate::link::transfer::TransferRefusal;
use redlink_core::{Answered, GrantToken, Verb};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Entries of one command: as much as the driver does at once for somebody while others wait (P11).
const PART: usize = 64;
/// What a batch may be longer than twice the longest payload: so that one of those fits, as base64 too, and many short
/// ones do where payloads have to be short.
const BATCH_MORE: u64 = 1 << 20;

/// What a consumer says of one delivery.
#[derive(Clone, Debug)]
pub struct Answering {
    /// The delivery.
    pub token: GrantToken,
    /// What becomes of it.
    pub verb: Verb,
    /// Payload of a reply, or text of a failure.
    pub content: Option<Content>,
}

impl Handle {
    /// Hands many messages over, in this order. Each is accepted or refused for itself, as [`Handle::submit`] does.
    pub async fn submit_many(&self, news: Vec<NewMessage>) -> Vec<Result<Submitted, Refusal>> {
        let owner = self.who().owner;
        self.many(news, |news| Command::SubmitMany {
            owner: owner.clone(),
            news,
        })
        .await
    }

    /// Answers many deliveries, in this order; each as [`Handle::answer`] does.
    pub async fn answer_many(&self, answers: Vec<Answering>) -> Vec<Result<Answered, Refusal>> {
        self.many(answers, |answers| Command::AnswerMany { answers })
            .await
    }

    /// Asks in parts, all of them before it waits for the first answer.
    pub(super) async fn many<T, A>(
        &self,
        items: Vec<T>,
        make: impl Fn(Vec<(T, oneshot::Sender<Result<A, Refusal>>)>) -> Command,
    ) -> Vec<Result<A, Refusal>> {
        let mut waiting = Vec::with_capacity(items.len());
        let mut items = items.into_iter();
        while items.len() > 0 {
            let part = items.by_ref().take(PART).map(|item| {
                let (answer, answered) = oneshot::channel();
                waiting.push(answered);
                (item, answer)
            });
            // One that does not reach the driver is answered by being dropped.
            let _ = self.send(make(part.collect())).await;
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for answered in waiting {
            answers.push(answered.await.unwrap_or(Err(Refusal::Stopped)));
        }
        answers
    }

    /// As [`Handle::take`], for one answer that has room for `all` payload bytes and for `each` of one payload.
    ///
    /// # Errors
    /// As with [`Handle::take`].
    pub async fn take_many(
        &self,
        service: String,
        consumer: String,
        max: u16,
        wait: Duration,
        (each, all): (usize, usize),
    ) -> Result<Vec<Delivery>, Refusal> {
        self.take_with(service, consumer, max, wait, Room { each, all })
            .await
    }

    /// Longest batch that this node takes, in bytes.
    pub fn batch_max(&self) -> u64 {
        self.payload_max()
            .saturating_mul(2)
            .saturating_add(BATCH_MORE)
            .min(self.incoming_max())
    }

    /// As `incoming_room`, for a batch.
    pub(crate) async fn batch_room(&self, size: u64) -> Result<OwnedSemaphorePermit, TransferRefusal> {
        self.room(size, self.batch_max()).await
    }
}
