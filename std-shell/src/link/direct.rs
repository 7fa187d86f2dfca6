//! Payloads that go straight between an origin and the consumer's node, around the nodes between.
//!
//! The consumer's node dials the origin at the URL that came with the grant, as a link would (P12: both must be of the mesh), and
//! shows the grant, which nobody but the two and those between them knows (P9). Where it gets no connection in a short while
//! the payload goes along the way of the offer, and that URL is not tried again for a while.

use super::connect::{Target, Version};
use super::mover::{Brought, Mover};
use super::transfer::{TransferKey, longest};
use crate::config::{NorthUrl, OwnWay, Ways};
use crate::driver::{Handle, Outgoing};
use crate::trust::Identity;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a transfer waits for its turn with an origin, and that has to answer the dial.
const DIAL: Duration = Duration::from_secs(2);
/// How long an origin that did not is left alone.
const APART: Duration = Duration::from_secs(60);
/// Origins that are remembered.
const ORIGINS: usize = 256;
/// Transfers with one origin that go at once. A slow one holds up none with others.
const AT_ONCE: usize = 16;

/// What is to be moved.
#[derive(Debug)]
pub(crate) enum Job {
    /// Get it from there.
    Get {
        /// Which one.
        key: TransferKey,
        /// Its length in bytes.
        size: u64,
        /// Where its origin is.
        origin: Arc<str>,
    },
    /// Bring it there.
    Bring {
        /// Which one.
        key: TransferKey,
        /// Where its bytes are.
        source: Outgoing,
        /// Where its origin is.
        origin: Arc<str>,
    },
}

/// An origin, as far as it is known.
struct Origin {
    mover: Mover,
    turns: Semaphore,
    /// Not to be tried before then.
    away: Mutex<Option<Instant>>,
}

impl Origin {
    fn is_away(&self) -> bool {
        let away = *self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|until| Instant::now() < until)
    }

    fn leave(&self) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + APART);
    }

    /// Waits for a turn and a connection, but not for long; why not, if there is none.
    async fn reach(&self) -> Result<SemaphorePermit<'_>, Option<String>> {
        // Never closed.
        let turn = timeout(DIAL, self.turns.acquire()).await;
        let turn = turn.map_err(|_| None)?.map_err(|_| None)?;
        // It may have been found out meanwhile.
        if self.is_away() {
            return Err(None);
        }
        match timeout(DIAL, self.mover.warm_up()).await {
            Ok(Ok(())) => Ok(turn),
            Ok(Err(error)) => Err(Some(error.to_string())),
            Err(_) => Err(Some("no answer in time".to_owned())),
        }
    }
}

/// Works off the jobs until their sender is gone.
pub(crate) async fn run(
    handle: Handle,
    ways: Ways,
    identity: Arc<Identity>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
) {
    let mut origins: HashMap<Arc<str>, Arc<Origin>> = HashMap::new();
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            job = jobs.recv() => {
                let Some(job) = job else { return };
                match find(&mut origins, job.origin(), &handle, &ways, &identity) {
                    Some(origin) => {
                        let handle = handle.clone();
                        under_way.spawn(async move { work(job, &origin, &handle).await });
                    }
                    None => handle.not_direct(job.key()).await,
                }
            }
            Some(_) = under_way.join_next() => {}
        }
    }
}

impl Job {
    fn key(&self) -> TransferKey {
        match self {
            Self::Get { key, .. } | Self::Bring { key, .. } => *key,
        }
    }

    fn origin(&self) -> &Arc<str> {
        match self {
            Self::Get { origin, .. } | Self::Bring { origin, .. } => origin,
        }
    }
}

/// The origin, if it may be tried.
fn find(
    origins: &mut HashMap<Arc<str>, Arc<Origin>>,
    url: &Arc<str>,
    handle: &Handle,
    ways: &Ways,
    identity: &Arc<Identity>,
) -> Option<Arc<Origin>> {
    if let Some(known) = origins.get(url) {
        return (!known.is_away()).then(|| known.clone());
    }
    if origins.len() >= ORIGINS {
        // Whoever is not known costs a dial, and no more.
        origins.clear();
    }
    match target(url, ways, identity) {
        Ok(target) => {
            let origin = Arc::new(Origin {
                mover: Mover::to_anybody(handle.clone(), target),
                turns: Semaphore::new(AT_ONCE),
                away: Mutex::default(),
            });
            origins.insert(url.clone(), origin.clone());
            Some(origin)
        }
        Err(error) => {
            tracing::warn!(origin = %url, %error, "an origin says that it is where it can't be");
            None
        }
    }
}

fn target(origin: &str, ways: &Ways, identity: &Arc<Identity>) -> Result<Target, String> {
    let url: NorthUrl = origin.parse()?;
    let way = ways.to(&url, &OwnWay::default()).map_err(|e| e.to_string())?;
    let mut target = Target::new(origin, way.proxy, identity.clone()).map_err(|e| e.to_string())?;
    target.version = Version::One;
    Ok(target)
}

/// Moves one, or has it go the other way.
async fn work(job: Job, origin: &Origin, handle: &Handle) {
    let key = job.key();
    let _turn = match origin.reach().await {
        Ok(turn) => turn,
        Err(why) => {
            if let Some(why) = why {
                tracing::info!(
                    origin = %job.origin(),
                    %why,
                    "an origin can't be reached straight; its payloads go along the way of their offers"
                );
                origin.leave();
            }
            return handle.not_direct(key).await;
        }
    };
    let moved = match job {
        Job::Get {
            key,
            size,
            origin: url,
        } => {
            // One that brings a byte now and then must not keep the message for ever.
            match timeout(longest(size), origin.mover.fetch(key, size)).await {
                Ok(Some(mut content)) => {
                    // The answer can go the same way.
                    content.origin = Some(url);
                    return handle.straight(key, content).await;
                }
                Ok(None) | Err(_) => Brought::No,
            }
        }
        Job::Bring { key, source, .. } => origin.mover.bring_once(key, source).await,
    };
    match moved {
        Brought::Yes => handle.brought(key).await,
        Brought::No => handle.not_direct(key).await,
        Brought::Already => {}
    }
}
