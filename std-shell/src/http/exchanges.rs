//! Numbered exchanges: the last answer of each consumer, kept so that a client that lost it can ask for it again.

use super::problem::{Kind, Problem};
use super::routes::Record;
use crate::owner::Owner;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

/// Results and deliveries that are kept at once, of all consumers: about 100 MiB at most.
const ENTRIES_MAX: usize = 256 * 1_024;
/// An answer is kept for as long as its leases, and not shorter than this.
const KEPT_MIN: Duration = Duration::from_secs(30);

/// Whose consumer, of which service, of which name.
pub(super) type Key = (Owner, String, String);

/// A record, once there is one.
type Recorded = watch::Receiver<Option<Arc<Record>>>;

/// The last numbered exchange of each consumer.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchanges(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    slots: HashMap<Key, Slot>,
    /// Of all of them.
    entries: usize,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    /// Most entries that its record has.
    weight: usize,
    record: Recorded,
    task: AbortHandle,
    /// None while it is under way.
    until: Option<Instant>,
}

/// How an exchange of a number goes on.
pub(super) enum Begun<T> {
    /// It is new.
    Now(JoinHandle<T>),
    /// It has begun, and perhaps ended, before.
    Before(Recorded),
}

/// What the work of a new exchange ends with.
pub(super) struct Task {
    exchanges: Exchanges,
    key: Key,
    number: u64,
    done: watch::Sender<Option<Arc<Record>>>,
}

impl Task {
    /// From now on this is what is told.
    pub(super) fn finish(self, record: Record) -> Arc<Record> {
        let record = Arc::new(record);
        if let Some(slot) = self.exchanges.lock().slots.get_mut(&self.key)
            && slot.number == self.number
        {
            slot.until = Some(Instant::now() + record.lease().max(KEPT_MIN));
        }
        self.done.send_replace(Some(record.clone()));
        record
    }
}

impl Exchanges {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a new exchange, which goes on also without its client, or finds the one that has the number. A new one of the
    /// same consumer ends the one before: its client has the answer, or has given up on it.
    ///
    /// # Errors
    /// A higher number was used, or there is no room to keep the answer of `weight` entries.
    pub(super) fn begin<F: Future<Output: Send> + Send + 'static>(
        &self,
        key: Key,
        number: u64,
        weight: usize,
        work: impl FnOnce(Task) -> F,
    ) -> Result<Begun<F::Output>, Problem> {
        let mut kept = self.lock();
        let (known, free) = match kept.slots.get(&key) {
            Some(slot) if slot.number == number => return Ok(Begun::Before(slot.record.clone())),
            Some(slot) if slot.number > number => {
                let detail = format!(
                    "Exchange {} of this consumer came before {number}: each new one has a higher number.",
                    slot.number
                );
                return Err(Problem::new(Kind::StaleExchange, detail));
            }
            Some(slot) => (true, slot.weight),
            None => (false, 0),
        };
        let entries = kept.entries - free + weight;
        if entries > ENTRIES_MAX {
            let detail =
                "The answers of numbered exchanges that are kept fill the room for them; try again later.";
            return Err(Problem::new(Kind::Full, detail));
        }
        let (done, record) = watch::channel(None);
        let task = tokio::spawn(work(Task {
            exchanges: self.clone(),
            key: key.clone(),
            number,
            done,
        }));
        let slot = Slot {
            number,
            weight,
            record,
            task: task.abort_handle(),
            until: None,
        };
        kept.entries = entries;
        if let Some(before) = kept.slots.insert(key.clone(), slot) {
            before.task.abort();
        }
        drop(kept);
        if !known {
            tokio::spawn(self.clone().forget_in_time(key));
        }
        Ok(Begun::Now(task))
    }

    /// One for each consumer that has a slot.
    async fn forget_in_time(self, key: Key) {
        let mut next = Instant::now() + KEPT_MIN;
        loop {
            tokio::time::sleep_until(next).await;
            let mut kept = self.lock();
            let Some(slot) = kept.slots.get(&key) else { return };
            next = match slot.until {
                Some(until) if until <= Instant::now() => return kept.remove(&key),
                Some(until) => until,
                // One that came to nothing has no time of its own.
                None if slot.task.is_finished() => return kept.remove(&key),
                None => Instant::now() + KEPT_MIN,
            };
        }
    }

    /// The consumer has gone.
    pub(super) fn forget(&self, service: &str, consumer: &str) {
        let mut kept = self.lock();
        let is = |key: &&Key| key.1 == service && key.2 == consumer;
        let gone: Vec<Key> = kept.slots.keys().filter(is).cloned().collect();
        for key in gone {
            kept.remove(&key);
        }
    }
}

impl Kept {
    fn remove(&mut self, key: &Key) {
        if let Some(slot) = self.slots.remove(key) {
            slot.task.abort();
            self.entries -= slot.weight;
        }
    }
}
