//! A take that a caller waits for, and what happens when it no longer does.

use super::command::{Cleanup, Handed};
use super::handle::Delivery;
use super::refusal::Refusal;
use crate::Content;
use crate::store::{Short, StoreHandle};
use futures_util::future::join_all;
use redlink_core::{GrantToken, Tag};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Between the command and the return of [`super::Handle::take`]: wherever the future is dropped, the take ends and
/// what it was given goes back, so that a client that went away holds nothing until its lease runs out.
pub(super) struct PendingTake {
    tag: Tag,
    cleanup: mpsc::UnboundedSender<Cleanup>,
    answer: oneshot::Receiver<Result<Vec<Handed>, Refusal>>,
    /// Given, and not returned yet.
    given: Vec<GrantToken>,
    /// The driver has answered, so the take is over at its side.
    answered: bool,
}

/// Payloads that are asked for at once: what is read together waits for one commit of the store, not for one each.
pub(super) const READS: usize = 64;

/// How many payload bytes may be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Of each payload.
    pub(super) each: usize,
    /// Of all that are still to come.
    pub(super) all: usize,
}

impl Room {
    /// All of whatever comes.
    pub(super) const WHOLE: Self = Self {
        each: usize::MAX,
        all: usize::MAX,
    };

    fn next(&self) -> usize {
        self.each.min(self.all)
    }

    fn taken(&mut self, payload: Short) -> (Content, Option<u64>) {
        let (content, long) = payload.into_parts();
        self.all = self.all.saturating_sub(content.bytes.len());
        (content, long)
    }
}

impl PendingTake {
    pub(super) fn new(
        tag: Tag,
        cleanup: mpsc::UnboundedSender<Cleanup>,
        answer: oneshot::Receiver<Result<Vec<Handed>, Refusal>>,
    ) -> Self {
        Self {
            tag,
            cleanup,
            answer,
            given: Vec::new(),
            answered: false,
        }
    }

    /// Waits for what comes, and reads the payloads that are not in memory; `room` says how much of them.
    pub(super) async fn finish(
        mut self,
        wait: Duration,
        store: &StoreHandle,
        mut room: Room,
    ) -> Result<Vec<Delivery>, Refusal> {
        let answer = if wait.is_zero() {
            // The driver answers such a take at the end of its turn.
            (&mut self.answer).await.unwrap_or(Err(Refusal::Stopped))
        } else {
            match tokio::time::timeout(wait, &mut self.answer).await {
                Ok(answer) => answer.unwrap_or(Err(Refusal::Stopped)),
                Err(_) => {
                    self.answer.close();
                    // It may have come at the last moment.
                    match self.answer.try_recv() {
                        Ok(answer) => answer,
                        Err(_) => return Ok(Vec::new()),
                    }
                }
            }
        };
        self.answered = true;
        let handed = answer?;
        self.given = handed.iter().map(|one| one.token).collect();
        let mut deliveries = Vec::with_capacity(handed.len());
        let mut handed = handed.into_iter();
        while handed.len() > 0 {
            let part: Vec<_> = handed.by_ref().take(READS).collect();
            let most = room.next();
            let reads = part.iter().map(|one| one.source.clone().load_short(store, most));
            for (one, read) in part.iter().zip(join_all(reads).await) {
                match read {
                    Ok(Some(payload)) => {
                        let (content, long) = room.taken(payload);
                        deliveries.push(Delivery {
                            token: one.token,
                            content,
                            long,
                            attempt: one.token.fence.attempt,
                            send_only: one.send_only,
                            priority: one.priority,
                            remaining: one.remaining,
                            lease: one.lease,
                        });
                    }
                    // The message got its outcome meanwhile; there is nothing to give back.
                    Ok(None) => self.given.retain(|token| *token != one.token),
                    Err(error) => {
                        tracing::warn!(message = %one.token.message, %error, "a payload could not be read");
                        return Err(Refusal::Store);
                    }
                }
            }
        }
        self.given.clear();
        Ok(deliveries)
    }
}

impl Drop for PendingTake {
    fn drop(&mut self) {
        // Closed before the driver is told: either it sees the closed channel when it comes to the take, or the take is
        // known when it comes to this.
        self.answer.close();
        if !self.answered {
            if let Ok(Ok(handed)) = self.answer.try_recv() {
                self.given.extend(handed.iter().map(|one| one.token));
            }
            // A driver that is gone has no takes.
            let _ = self.cleanup.send(Cleanup::TakeEnded(self.tag));
        }
        for token in self.given.drain(..) {
            let _ = self.cleanup.send(Cleanup::Release(token));
        }
    }
}
