//! Payloads that go straight between an origin and the consumer's node, around the nodes between.
//!
//! The consumer's node dials the origin at the URL that came with the grant, as a link would (P12: both must be of the mesh), and
//! shows the grant, which nobody but the two and those between them knows (P9). Where it gets no connection in a short while
//! the payload goes along the way of the offer, and that URL is not tried again for a while.

use super::connect::{Target, Version};
use super::mover::{Brought, Mover};
use super::transfer::TransferKey;
use crate::config::{NorthUrl, OwnWay, Ways};
use crate::driver::{Handle, Outgoing};
use crate::trust::Identity;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long an origin has to answer the dial.
const DIAL: Duration = Duration::from_secs(2);
/// How long an origin that did not is left alone.
const APART: Duration = Duration::from_secs(60);
/// Origins that are remembered, and transfers with all of them that go at once. More wait for their turn.
const ORIGINS: usize = 256;
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

/// What is known of an origin.
enum Known {
    Reached(Arc<Mover>),
    /// Not to be tried before then.
    Away(Instant),
}

/// Works off the jobs until their sender is gone.
pub(crate) async fn run(
    handle: Handle,
    ways: Ways,
    identity: Arc<Identity>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
) {
    let mut origins: HashMap<Arc<str>, Known> = HashMap::new();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            job = jobs.recv() => {
                let Some(job) = job else { return };
                let origin = match &job {
                    Job::Get { origin, .. } | Job::Bring { origin, .. } => origin.clone(),
                };
                match find(&mut origins, &origin, &handle, &ways, &identity) {
                    Some(mover) => {
                        let (handle, turns) = (handle.clone(), turns.clone());
                        under_way.spawn(async move {
                            // Never closed.
                            let _turn = turns.acquire_owned().await;
                            (origin, work(job, &mover, &handle).await)
                        });
                    }
                    None => handle.not_direct(job.key()).await,
                }
            }
            Some(ended) = under_way.join_next() => {
                if let Ok((origin, false)) = ended {
                    origins.insert(origin, Known::Away(Instant::now() + APART));
                }
            }
        }
    }
}

impl Job {
    fn key(&self) -> TransferKey {
        match self {
            Self::Get { key, .. } | Self::Bring { key, .. } => *key,
        }
    }
}

/// Who moves what goes to this origin, if that may be tried.
fn find(
    origins: &mut HashMap<Arc<str>, Known>,
    origin: &Arc<str>,
    handle: &Handle,
    ways: &Ways,
    identity: &Arc<Identity>,
) -> Option<Arc<Mover>> {
    let now = Instant::now();
    match origins.get(origin) {
        Some(Known::Reached(mover)) => return Some(mover.clone()),
        Some(Known::Away(until)) if now < *until => return None,
        _ => {}
    }
    if origins.len() >= ORIGINS {
        // Whoever is not known costs a dial, and no more.
        origins.clear();
    }
    let known = match target(origin, ways, identity) {
        Ok(target) => Known::Reached(Arc::new(Mover::to_anybody(handle.clone(), target))),
        Err(error) => {
            tracing::warn!(%origin, %error, "an origin says that it is where it can't be");
            Known::Away(now + APART)
        }
    };
    let mover = match &known {
        Known::Reached(mover) => Some(mover.clone()),
        Known::Away(_) => None,
    };
    origins.insert(origin.clone(), known);
    mover
}

fn target(origin: &str, ways: &Ways, identity: &Arc<Identity>) -> Result<Target, String> {
    let url: NorthUrl = origin.parse()?;
    let way = ways.to(&url, &OwnWay::default()).map_err(|e| e.to_string())?;
    let mut target = Target::new(origin, way.proxy, identity.clone()).map_err(|e| e.to_string())?;
    target.version = Version::One;
    Ok(target)
}

/// Moves one; false if the origin can't be reached.
async fn work(job: Job, mover: &Mover, handle: &Handle) -> bool {
    let key = job.key();
    let reached = match timeout(DIAL, mover.warm_up()).await {
        Ok(dialled) => dialled.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    };
    if let Err(why) = reached {
        tracing::info!(origin = mover.host(), %why, "an origin can't be reached straight; its payloads go along the way of their offers");
        handle.not_direct(key).await;
        return false;
    }
    let moved = match job {
        Job::Get { key, size, origin } => match mover.fetch(key, size).await {
            Some(mut content) => {
                // The answer can go the same way.
                content.origin = Some(origin);
                handle.straight(key, content).await;
                Brought::Yes
            }
            None => Brought::No,
        },
        Job::Bring { key, source, .. } => mover.bring_once(key, source).await,
    };
    if moved == Brought::No {
        handle.not_direct(key).await;
    }
    true
}
