//! The same in batches: many messages in each request, of producers and workers.

use super::RETENTION;
use super::load::{Load, Measured, Trouble};
use super::report::Row;
use crate::cli::args::Terms;
use crate::cli::exit::Failure;
use crate::client::{Client, Error, Submission, Verdict};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Batches in flight, at least: so that producers, node and workers work at the same time.
const LANES_MIN: u16 = 4;
/// How long an exchange and a collecting wait.
const WAIT: Duration = Duration::from_secs(10);
/// How long nothing may come before the measurement gives up.
const STALL: Duration = Duration::from_secs(60);
/// Pause after the node said that it is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Who measures what.
pub(super) struct Batches<'a> {
    pub(super) client: &'a Client,
    pub(super) workers: &'a Client,
    pub(super) service: String,
    pub(super) size: u16,
    pub(super) durability: &'a str,
    pub(super) payload: &'a Bytes,
}

impl Batches<'_> {
    /// As many messages in flight as with single ones, if that is enough.
    pub(super) async fn measure(&self, load: &Load, echo: &Measured) -> Result<Vec<Row>, Failure> {
        let lanes = (load.in_flight / self.size).max(LANES_MIN);
        let load = Load {
            in_flight: lanes,
            amount: load.amount.in_parts(self.size),
        };
        let workers = Exchangers::start(self.workers, &self.service, lanes, self.size).await?;
        let before = workers.handled();
        let sends = self.sends(&load).await?;
        let sent = sends.accepted() * u64::from(self.size);
        let processed = workers.until(before + sent, sends.started).await?;
        let calls = self.calls(&load).await?;
        workers.stop().await?;
        Ok(vec![
            Row::timed(
                match self.durability {
                    "memory" => "sends in batches, in memory",
                    _ => "sends in batches, on disk",
                },
                &sends,
                Some(echo),
            )
            .each_of(self.size),
            Row::counted("sends in batches, processed", sent, processed, echo),
            Row::timed("calls in batches, collected", &calls, Some(echo)).each_of(self.size),
        ])
    }

    fn batch(&self, send_only: bool) -> Vec<Submission> {
        let terms = Terms {
            durability: Some(self.durability.to_owned()),
            ..Terms::default()
        };
        let mut one = terms.submission(&self.service, send_only, self.payload.clone());
        if send_only {
            // Nobody collects them.
            one.headers.push(("redlink-retention", RETENTION.into()));
        }
        vec![one; self.size.into()]
    }

    async fn sends(&self, load: &Load) -> Result<Measured, Failure> {
        let (client, batch) = (self.client.clone(), Arc::new(self.batch(true)));
        load.run("sends in batches", move || {
            let (client, batch) = (client.clone(), Arc::clone(&batch));
            async move { submit(&client, &batch).await.map(drop) }
        })
        .await
    }

    /// Each is submitted under a name of its own, and over when all its outcomes were collected.
    async fn calls(&self, load: &Load) -> Result<Measured, Failure> {
        let (client, batch) = (self.client.clone(), Arc::new(self.batch(false)));
        let (name, next) = (self.service.clone(), Arc::new(AtomicU64::new(0)));
        load.run("calls in batches", move || {
            let (client, mut batch) = (client.clone(), Vec::clone(&batch));
            let producer = format!("{name}-{}", next.fetch_add(1, Ordering::Relaxed));
            async move {
                for one in &mut batch {
                    one.headers.push(("redlink-producer", producer.clone()));
                }
                let mut open: HashSet<String> = submit(&client, &batch).await?.into_iter().collect();
                let mut received = Vec::new();
                while !open.is_empty() {
                    let found = client.outcomes(&producer, &received, 1_024, STALL).await?;
                    if found.is_empty() {
                        return Err(Failure::failed("a call had no outcome within 60 s").into());
                    }
                    if let Some(bad) = found.iter().find(|one| !one.good) {
                        return Err(Failure::failed(format!("a call ended as {}", bad.outcome)).into());
                    }
                    received = found.into_iter().map(|one| one.id).collect();
                    for id in &received {
                        open.remove(id);
                    }
                }
                client.outcomes(&producer, &received, 0, Duration::ZERO).await?;
                Ok(())
            }
        })
        .await
    }
}

/// Submits all of a batch, what finds the node full a little later; the ids.
async fn submit(client: &Client, batch: &[Submission]) -> Result<Vec<String>, Trouble> {
    let mut ids = Vec::with_capacity(batch.len());
    while ids.len() < batch.len() {
        let left = batch.get(ids.len()..).unwrap_or_default();
        for result in client.submit_many(left).await? {
            match result {
                Ok(given) => ids.push(given.id),
                Err(problem) if problem.status == 429 => {}
                Err(problem) => return Err(Error::Refused(problem).into()),
            }
        }
        if ids.len() < batch.len() {
            tokio::time::sleep(FULL_PAUSE).await;
        }
    }
    Ok(ids)
}

/// Loops of exchanges that answer each message with its own payload.
struct Exchangers {
    client: Client,
    service: String,
    loops: JoinSet<Failure>,
    handled: watch::Sender<u64>,
}

impl Exchangers {
    async fn start(client: &Client, service: &str, lanes: u16, size: u16) -> Result<Self, Failure> {
        client
            .register(service, service, lanes.saturating_mul(size), None, None)
            .await?;
        let handled = watch::Sender::new(0);
        let mut loops = JoinSet::new();
        for _ in 0..lanes {
            let (client, service, handled) = (client.clone(), service.to_owned(), handled.clone());
            loops.spawn(async move {
                match work(&client, &service, size, &handled).await {
                    Ok(never) => match never {},
                    Err(error) => error.into(),
                }
            });
        }
        Ok(Self {
            client: client.clone(),
            service: service.to_owned(),
            loops,
            handled,
        })
    }

    fn handled(&self) -> u64 {
        *self.handled.borrow()
    }

    /// Until so many were answered; how long that took since `start`.
    async fn until(&self, count: u64, start: Instant) -> Result<Duration, Failure> {
        let mut handled = self.handled.subscribe();
        while *handled.borrow_and_update() < count {
            let changed = tokio::time::timeout(STALL, handled.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let what = "messages in batches were not processed; the node's log may say why";
                return Err(Failure::failed(what));
            }
        }
        Ok(start.elapsed())
    }

    async fn stop(mut self) -> Result<(), Failure> {
        if let Some(Ok(failure)) = self.loops.try_join_next() {
            return Err(failure);
        }
        self.loops.shutdown().await;
        Ok(self.client.unregister(&self.service, &self.service).await?)
    }
}

async fn work(
    client: &Client,
    service: &str,
    size: u16,
    handled: &watch::Sender<u64>,
) -> Result<std::convert::Infallible, Error> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    loop {
        // Results must not wait for messages that don't come while there are any to tell.
        let wait = if verdicts.is_empty() {
            WAIT
        } else {
            Duration::from_millis(1)
        };
        let exchanged = client
            .exchange_deliveries((service, service), None, &verdicts, size, wait)
            .await?;
        let done = exchanged.results.iter().filter(|result| result.is_ok()).count();
        handled.send_modify(|n| *n += done as u64);
        verdicts = exchanged
            .taken
            .into_iter()
            .map(|taken| Verdict {
                delivery: taken.delivery,
                verb: if taken.send_only { "ack" } else { "reply" },
                content_type: None,
                payload: if taken.send_only {
                    Bytes::new()
                } else {
                    taken.payload
                },
            })
            .collect();
    }
}
