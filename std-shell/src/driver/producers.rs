//! Outcomes by the names that they are collected under.
//!
//! A name is one of its owner: two programs may use the same and see nothing of each other (P12). Without a name a message
//! is under its owner's own. What is here follows from the messages' table and is bounded by it.

use super::command::Command;
use super::handle::{Handle, Settlement};
use super::refusal::Refusal;
use super::take::READS;
use super::turn::Driver;
use crate::owner::Owner;
use crate::store::Short;
use futures_util::future::join_all;
use redlink_core::{MessageId, State};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// An owner, and a name of his; none is his own.
pub(super) type Whose = (Owner, Option<Arc<str>>);

/// Outcomes that nobody has collected yet.
#[derive(Debug, Default)]
pub(super) struct Producers {
    /// Messages under other names than their owners' own.
    named: HashMap<u64, Arc<str>>,
    /// Those that have their outcome on disk.
    settled: HashMap<Whose, BTreeSet<u64>>,
    /// Who waits for one.
    waiting: HashMap<Whose, Vec<oneshot::Sender<()>>>,
}

/// What can be collected now.
#[derive(Debug)]
pub(super) enum Collectable {
    /// Of these messages, oldest first; with the outcomes of those that are kept in memory only.
    These(Vec<(u64, Option<Settlement>)>),
    /// Nothing; this says when there is something.
    Later(oneshot::Receiver<()>),
}

impl Producers {
    /// A message is under this name, up to [`Producers::remove`].
    pub(super) fn add(&mut self, sequence: u64, producer: Option<&Arc<str>>) {
        if let Some(producer) = producer {
            self.named.insert(sequence, producer.clone());
        }
    }

    fn whose(&self, owner: &Owner, sequence: u64) -> Whose {
        (owner.clone(), self.named.get(&sequence).cloned())
    }

    /// Its outcome is on disk.
    pub(super) fn settled(&mut self, owner: &Owner, sequence: u64) {
        let whose = self.whose(owner, sequence);
        for waiting in self.waiting.remove(&whose).into_iter().flatten() {
            // Whoever has gone does not mind.
            let _ = waiting.send(());
        }
        self.settled.entry(whose).or_default().insert(sequence);
    }

    /// The message and its outcome are gone.
    pub(super) fn remove(&mut self, owner: &Owner, sequence: u64) {
        let whose = self.whose(owner, sequence);
        self.named.remove(&sequence);
        if let Some(all) = self.settled.get_mut(&whose) {
            all.remove(&sequence);
            if all.is_empty() {
                self.settled.remove(&whose);
            }
        }
    }

    /// Under a name, oldest message first.
    fn of(&self, whose: &Whose) -> impl Iterator<Item = u64> {
        self.settled.get(whose).into_iter().flatten().copied()
    }

    fn wait(&mut self, whose: Whose) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let waiting = self.waiting.entry(whose).or_default();
        // Pollers come and go while nothing is settled for hours.
        waiting.retain(|waiting| !waiting.is_closed());
        waiting.push(tell);
        told
    }

    /// Names that nobody waits under any more are forgotten when so many are known.
    fn sweep(&mut self, most: usize) {
        if self.waiting.len() > most {
            self.waiting.retain(|_, all| {
                all.retain(|waiting| !waiting.is_closed());
                !all.is_empty()
            });
        }
    }
}

/// Names with waiting callers, beyond which those whose callers have gone are looked for.
const WAITING: usize = 1_024;

impl Driver {
    /// What is being deleted is not collected again.
    pub(super) fn collectable(&mut self, whose: Whose, max: usize) -> Collectable {
        let is_settled = |sequence: &u64| {
            let message = self.core.message(*sequence);
            message.is_some_and(|message| message.state == State::Settled)
        };
        let these: Vec<_> = self
            .producers
            .of(&whose)
            .filter(is_settled)
            .take(max)
            .map(|sequence| (sequence, self.kept_outcome(sequence)))
            .collect();
        match these.is_empty() {
            false => Collectable::These(these),
            true => {
                self.producers.sweep(WAITING);
                Collectable::Later(self.producers.wait(whose))
            }
        }
    }
}

/// An outcome that nobody has collected yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncollected {
    /// What became of which message.
    pub settlement: Settlement,
    /// Length in bytes of a content that was too long to come along, and that the settlement does not have: it is asked
    /// for with [`Handle::outcome`].
    pub long: Option<u64>,
}

impl Handle {
    /// Up to `max` outcomes under a name of `owner`, those of the oldest messages first; none is its own. Returns as soon
    /// as there is one, and empty if there was none in time. They stay until [`Handle::collect_many`] says that the
    /// producer has them. The answer has room for `all` bytes of contents and for `each` of one.
    ///
    /// # Errors
    /// The store can't be read, or the node has stopped.
    pub async fn outcomes(
        &self,
        owner: Owner,
        producer: Option<Arc<str>>,
        max: usize,
        wait: Duration,
        (each, mut all): (usize, usize),
    ) -> Result<Vec<Uncollected>, Refusal> {
        let whose = (owner, producer);
        let until = Instant::now() + wait;
        loop {
            let whose = whose.clone();
            let found = self
                .look(|answer| Command::Settled { whose, max, answer })
                .await
                .ok_or(Refusal::Stopped)?;
            let these = match found {
                Collectable::These(these) => these,
                Collectable::Later(told) => match tokio::time::timeout_at(until, told).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) => return Err(Refusal::Stopped),
                    Err(_) => return Ok(Vec::new()),
                },
            };
            let mut found = Vec::with_capacity(these.len());
            for part in these.chunks(READS) {
                let most = each.min(all);
                for (settlement, long) in join_all(part.iter().map(|one| self.read(one, most)))
                    .await
                    .into_iter()
                    .filter_map(Result::transpose)
                    .collect::<Result<Vec<_>, _>>()?
                {
                    all = all.saturating_sub(settlement.content.bytes.len());
                    found.push(Uncollected { settlement, long });
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }

    /// An outcome, and the length of its content if that is longer than `most`; none if it is gone.
    async fn read(
        &self,
        (sequence, kept): &(u64, Option<Settlement>),
        most: usize,
    ) -> Result<Option<(Settlement, Option<u64>)>, Refusal> {
        if let Some(kept) = kept {
            let (content, long) = Short::of(kept.content.clone(), most).into_parts();
            let settlement = Settlement {
                content,
                ..kept.clone()
            };
            return Ok(Some((settlement, long)));
        }
        let id = MessageId {
            node: self.node(),
            sequence: *sequence,
        };
        match self.store().short_outcome(*sequence, most).await {
            Ok(stored) => Ok(stored.map(|(stored, long)| {
                let settlement = Settlement {
                    id,
                    outcome: stored.outcome,
                    content: stored.content.unwrap_or_default(),
                    preserved: stored.preserved,
                };
                (settlement, long)
            })),
            Err(error) => {
                tracing::warn!(message = %id, %error, "an outcome could not be read");
                Err(Refusal::Store)
            }
        }
    }

    /// The producer has these outcomes. When this returns, they are deleted on disk; each as [`Handle::collect`] does.
    pub async fn collect_many(&self, ids: Vec<MessageId>) -> Vec<Result<(), Refusal>> {
        let who = self.who();
        // Another node's number is nobody's here.
        let own = ids.into_iter().map(|id| self.own(id));
        let (own, foreign): (Vec<_>, Vec<_>) = own.partition(Result::is_ok);
        let sequences = own.into_iter().flatten().collect();
        let mut results = self
            .many(sequences, |sequences| Command::CollectMany {
                who: who.clone(),
                sequences,
            })
            .await;
        results.extend(foreign.into_iter().map(|refused| refused.map(drop)));
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_its_owner_and_nothing_is_left_over() {
        let mut producers = Producers::default();
        let (a, name) = (Owner::Program("a".into()), Arc::<str>::from("n"));
        let admin = Owner::Administrator;
        for (owner, sequence, producer) in [
            (&a, 1, None),
            (&a, 3, Some(&name)),
            (&a, 2, Some(&name)),
            (&admin, 4, Some(&name)),
        ] {
            producers.add(sequence, producer);
            producers.settled(owner, sequence);
        }
        let of = |producers: &Producers, owner: &Owner, name: Option<&Arc<str>>| {
            producers.of(&(owner.clone(), name.cloned())).collect::<Vec<_>>()
        };
        assert_eq!(of(&producers, &a, None), [1]);
        assert_eq!(of(&producers, &a, Some(&name)), [2, 3]);
        assert_eq!(of(&producers, &admin, Some(&name)), [4]);
        assert!(of(&producers, &admin, None).is_empty());
        let mut told = producers.wait((a.clone(), None));
        let gone = producers.wait((admin.clone(), None));
        drop(gone);
        producers.sweep(0);
        assert_eq!(producers.waiting.len(), 1);
        producers.settled(&a, 5);
        assert_eq!(told.try_recv(), Ok(()));
        for (owner, sequence) in [(&a, 1), (&a, 2), (&a, 3), (&admin, 4), (&a, 5), (&a, 5), (&a, 6)] {
            producers.remove(owner, sequence);
        }
        assert!(producers.named.is_empty() && producers.settled.is_empty() && producers.waiting.is_empty());
    }
}
