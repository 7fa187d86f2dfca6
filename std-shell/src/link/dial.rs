//! The dialling side of links: keeps one up to each north peer.

use super::backoff::Backoff;
use super::choice::{Choice, Fate};
use super::connect::{ConnectError, Target, random};
use super::hold::{Ended, hold};
use super::how::Wish;
use crate::driver::Handle;
use crate::proxy::Proxy;
use crate::trust::Identity;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where one north peer is, and how this node trusts it.
#[derive(Clone)]
pub struct Dialler {
    target: Target,
    wish: Wish,
}

impl Dialler {
    /// For the node at `url` (`https://host:port`), of this mesh, behind a proxy perhaps. `identity` is what this node
    /// shows there, and whom it believes.
    ///
    /// # Errors
    /// [`ConnectError::Url`] if that is no URL of a node.
    pub fn new(
        url: &str,
        proxy: Option<Proxy>,
        wish: Wish,
        identity: Arc<Identity>,
    ) -> Result<Self, ConnectError> {
        Target::new(url, proxy, identity).map(|target| Self { target, wish })
    }

    /// The same, with other times.
    #[cfg(test)]
    pub(crate) fn with_times(mut self, change: impl FnOnce(&mut super::Times)) -> Self {
        change(&mut self.target.times);
        self
    }

    /// The URL, as it was given.
    pub fn url(&self) -> String {
        self.target.url.to_string()
    }
}

/// Keeps a link to a north peer up, for ever: dials, holds, and dials again. Dropping the future closes the link.
pub async fn keep(handle: Handle, dialler: Dialler) {
    let Dialler { target, wish } = dialler;
    let mut choice = Choice::new(wish, target.times.stable, target.times.probe_after);
    let mut backoff = Backoff::new();
    let mut reported = String::new();
    loop {
        let mut up = None;
        let (ended, fate) = hold(&handle, &target, &mut choice, &mut up).await;
        let held = up.map_or(Duration::ZERO, |since: Instant| since.elapsed());
        let wait = backoff.next(held, u64::from_le_bytes(random(&target.identity)));
        // A north that is away for a night is one line in the log, not one every ten seconds.
        let text = ended.to_string();
        match &ended {
            Ended::After(_) => reported.clear(),
            _ if text != reported => {
                tracing::warn!(north = %target.url, reason = %text, "no link; trying again until there is one");
                reported = text;
            }
            _ => tracing::debug!(north = %target.url, reason = %text, "no link"),
        }
        if let Some(why) = choice.heard(fate) {
            tracing::info!(north = %target.url, mode = %choice.mode(), why, "the link travels another way from now on");
        }
        if fate != Fate::Probed {
            tokio::time::sleep(wait).await;
        }
    }
}
