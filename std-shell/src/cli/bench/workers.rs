//! Consumers in this process that answer each message with its own payload.

use crate::cli::exit::Failure;
use crate::client::{Client, Error};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long one take waits.
const TAKE_WAIT: Duration = Duration::from_secs(10);
/// How long the backlog may stand still before the measurement gives up.
const STALL: Duration = Duration::from_secs(60);

/// So many loops of take and answer.
#[derive(Debug)]
pub(super) struct Workers {
    client: Client,
    service: String,
    consumer: String,
    loops: JoinSet<Failure>,
    handled: watch::Sender<u64>,
}

impl Workers {
    pub(super) async fn start(client: &Client, service: &str, count: u16) -> Result<Self, Failure> {
        let consumer = service.to_owned();
        client.register(service, &consumer, count, None, None).await?;
        let handled = watch::Sender::new(0);
        let mut loops = JoinSet::new();
        for _ in 0..count {
            let (client, service, consumer, handled) = (
                client.clone(),
                service.to_owned(),
                consumer.clone(),
                handled.clone(),
            );
            loops.spawn(async move {
                loop {
                    if let Err(error) = one(&client, &service, &consumer, &handled).await {
                        return error.into();
                    }
                }
            });
        }
        Ok(Self {
            client: client.clone(),
            service: service.to_owned(),
            consumer,
            loops,
            handled,
        })
    }

    /// Messages that were answered so far.
    pub(super) fn handled(&self) -> u64 {
        *self.handled.borrow()
    }

    /// Until `count` messages more than `before` were answered; how long that took since `start`.
    pub(super) async fn until_handled(
        &self,
        before: u64,
        count: u64,
        start: Instant,
    ) -> Result<Duration, Failure> {
        let mut handled = self.handled.subscribe();
        loop {
            let now = *handled.borrow_and_update();
            if now.saturating_sub(before) >= count {
                return Ok(start.elapsed());
            }
            let changed = tokio::time::timeout(STALL, handled.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let left = count - now.saturating_sub(before);
                return Err(Failure::failed(format!(
                    "{left} messages were not processed; the node's log may say why"
                )));
            }
        }
    }

    /// Ends them; an error if one had ended by itself.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        if let Some(Ok(failure)) = self.loops.try_join_next() {
            return Err(failure);
        }
        self.loops.shutdown().await;
        Ok(self.client.unregister(&self.service, &self.consumer).await?)
    }
}

async fn one(
    client: &Client,
    service: &str,
    consumer: &str,
    handled: &watch::Sender<u64>,
) -> Result<(), Error> {
    let Some(taken) = client.take(service, consumer, TAKE_WAIT).await? else {
        return Ok(());
    };
    let (verb, reply) = match taken.send_only {
        true => ("ack", Bytes::new()),
        false => ("reply", taken.payload),
    };
    match client.answer(&taken.delivery, verb, None, reply).await {
        // Too late is the measured side's to count.
        Err(error) if !error.is_lost_delivery() => Err(error),
        _ => {
            handled.send_modify(|n| *n += 1);
            Ok(())
        }
    }
}
