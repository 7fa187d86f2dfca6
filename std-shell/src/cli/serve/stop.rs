//! Ctrl-C and SIGTERM: the first one drains, the second one kills.

use crate::cli::exit::Failure;
use crate::cli::output::note;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How far the end has come. Only grows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Stage {
    Serving,
    Draining,
    Killing,
}

/// Tells when to stop.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    stage: watch::Sender<Stage>,
}

impl Stop {
    /// Listens for signals from now on.
    pub(super) fn listen() -> Result<Self, Failure> {
        let refuse = |e| Failure::failed(format!("can't listen for signals: {e}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(refuse)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(refuse)?;
        let stop = Self {
            stage: watch::Sender::new(Stage::Serving),
        };
        let told = stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if told.reached(Stage::Draining) {
                    note("killing what runs");
                    told.advance(Stage::Killing);
                } else {
                    note("stopping: what runs may finish; once more kills it");
                    told.advance(Stage::Draining);
                }
            }
        });
        Ok(stop)
    }

    /// Takes no more messages, as after a first signal.
    pub(super) fn drain(&self) {
        self.advance(Stage::Draining);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.reached(Stage::Draining)
    }

    pub(super) fn is_killing(&self) -> bool {
        self.reached(Stage::Killing)
    }

    /// Until nothing more is to be taken.
    pub(super) async fn draining(&self) {
        self.until(Stage::Draining).await;
    }

    /// Until what runs is to be killed.
    pub(super) async fn killing(&self) {
        self.until(Stage::Killing).await;
    }

    fn reached(&self, stage: Stage) -> bool {
        *self.stage.borrow() >= stage
    }

    fn advance(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let later = stage > *now;
            if later {
                *now = stage;
            }
            later
        });
    }

    async fn until(&self, stage: Stage) {
        // The sender is `self`: it outlives the wait.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_only_go_forward() {
        let stop = Stop {
            stage: watch::Sender::new(Stage::Serving),
        };
        stop.advance(Stage::Killing);
        stop.drain();
        assert!(stop.is_killing());
        stop.draining().await;
        stop.killing().await;
    }
}
