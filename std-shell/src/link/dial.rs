//! The dialling side of links: keeps one up to each north peer.

use super::backoff::Backoff;
use super::choice::{Choice, Fate};
use super::connect::{ConnectError, Target, random};
use super::hold::{Ended, hold};
use super::how::Wish;
use super::north::Dialling;
use crate::config::{North, PeerPolicy};
use crate::driver::Handle;
use crate::trust::Identity;
use redlink_core::Name;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where one north peer is, and how this node trusts it.
#[derive(Clone)]
pub struct Dialler {
    pub(super) target: Target,
    /// Its name, if the settings say it.
    pub(super) name: Option<Name>,
    pub(super) policy: PeerPolicy,
    pub(super) dialling: Arc<Dialling>,
    wish: Wish,
}

impl Dialler {
    /// For a node of this mesh that must have the name that the settings say, if they do. `identity` is what this node
    /// shows there, and whom it believes.
    ///
    /// # Errors
    /// [`ConnectError::Url`] if its URL is none of a node.
    pub fn new(north: &North, identity: Arc<Identity>) -> Result<Self, ConnectError> {
        let target = Target::new(&north.url.to_string(), north.way.proxy.clone(), identity)?;
        Ok(Self {
            target,
            name: north.name.clone(),
            policy: north.policy.clone(),
            dialling: Arc::default(),
            wish: north.way.link,
        })
    }

    /// The same, with other times.
    #[cfg(test)]
    pub(crate) fn with_times(mut self, change: impl FnOnce(&mut super::Times)) -> Self {
        change(&mut self.target.times);
        self
    }

    /// How the dialling goes.
    pub fn dialling(&self) -> Arc<Dialling> {
        self.dialling.clone()
    }

    /// The URL, as it was given.
    pub fn url(&self) -> String {
        self.target.url.to_string()
    }
}

/// Keeps a link to a north peer up, for ever: dials, holds, and dials again. Dropping the future closes the link.
pub async fn keep(handle: Handle, dialler: Dialler) {
    let target = &dialler.target;
    let mut choice = Choice::new(dialler.wish, target.times.stable, target.times.probe_after);
    let mut backoff = Backoff::new();
    let mut reported = String::new();
    loop {
        let mut up = None;
        let (ended, fate) = hold(&handle, &dialler, &mut choice, &mut up).await;
        let held = up.map_or(Duration::ZERO, |since: Instant| since.elapsed());
        let wait = match fate {
            // Nothing was wrong with it.
            Fate::Probed => Duration::ZERO,
            _ => backoff.next(held, u64::from_le_bytes(random(&target.identity))),
        };
        // A north that is away for a night is one line in the log, not one every ten seconds.
        let text = ended.to_string();
        match &ended {
            Ended::After(_) => reported.clear(),
            _ if text != reported => {
                tracing::warn!(north = %target.url, reason = %text, "no link; trying again until there is one");
                reported.clone_from(&text);
            }
            _ => tracing::debug!(north = %target.url, reason = %text, "no link"),
        }
        if let Some(why) = choice.heard(fate) {
            tracing::info!(north = %target.url, mode = %choice.mode(), why, "the link travels another way from now on");
        }
        dialler.dialling.failed(text, up.is_some(), wait);
        tokio::time::sleep(wait).await;
        dialler.dialling.dials();
    }
}
