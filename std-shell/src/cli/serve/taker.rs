//! One loop of take, run, answer.

use super::Worker;
use super::backoff::Backoff;
use super::delivery;
use crate::cli::exit::Failure;
use crate::cli::output::note;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long one take waits at the node.
const TAKE_WAIT: Duration = Duration::from_secs(30);

/// Takes until it is told to stop, or until trying again is of no use.
pub(super) async fn run(worker: &Worker) -> Result<(), Failure> {
    let mut backoff = Backoff::new();
    let mut known = true;
    while !worker.stop.is_draining() {
        let take = async {
            if !known {
                worker.register().await?;
            }
            worker
                .client
                .take(&worker.service, &worker.consumer, TAKE_WAIT)
                .await
        };
        let taken = tokio::select! {
            biased;
            // First: what has arrived is held by this process already.
            taken = take => taken,
            () = worker.stop.draining() => return Ok(()),
        };
        match taken {
            Ok(taken) => {
                backoff.reset();
                known = true;
                if worker.away.swap(false, Ordering::Relaxed) {
                    note("the node is back");
                }
                if let Some(taken) = taken {
                    delivery::run(worker, &taken).await?;
                }
            }
            Err(error) if error.is_passing() => {
                // A node that was restarted doesn't know this consumer any more.
                known = false;
                if !worker.away.swap(true, Ordering::Relaxed) {
                    note(&format!("{error}; trying until it is back"));
                }
                tokio::select! {
                    () = worker.stop.draining() => return Ok(()),
                    () = tokio::time::sleep(backoff.wait()) => {}
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
