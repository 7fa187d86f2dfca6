//! Peers as operators see them: what the driver knows, beside what the settings say and how dialling goes.

use super::Peers;
use crate::config::PeerPolicy;
use crate::driver::PeerInfo;
use redlink_core::Name;
use std::time::Instant;

impl Peers {
    /// All peers: those that are or were linked, and the norths that are dialled.
    pub async fn list(&self) -> Vec<PeerInfo> {
        let mut state = self.state.lock().await;
        let mut peers = self.handle.peers().await;
        for peer in peers.iter().filter(|peer| peer.connected) {
            if let Some(name) = &peer.name {
                state.removed.remove(name);
            }
        }
        peers.retain(|peer| !state.hides(peer));
        for peer in peers.iter_mut().filter(|peer| peer.direction == "south") {
            let name = peer.name.as_deref().and_then(|name| Name::new(name).ok());
            peer.policy = name.map(|name| state.config.south.policy(&name).clone());
        }
        for dialled in &state.norths {
            let known = dialled.dialling.known();
            let name = known.peer.as_ref().or(dialled.north.name.as_ref());
            let name = name.map(ToString::to_string);
            let met = peers
                .iter_mut()
                .find(|peer| name.is_some() && peer.name == name && peer.direction == "north");
            let peer = match met {
                Some(peer) => peer,
                None => {
                    peers.push(PeerInfo {
                        name,
                        direction: "north".into(),
                        ..PeerInfo::default()
                    });
                    let Some(last) = peers.last_mut() else { continue };
                    last
                }
            };
            peer.url = Some(dialled.north.url.to_string());
            peer.policy = Some(PeerPolicy::clone(&dialled.north.policy));
            if !peer.connected {
                peer.error = known.error;
                let left = known
                    .again
                    .map(|again| again.saturating_duration_since(Instant::now()));
                peer.retry_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            }
        }
        peers.sort_by(|a, b| (&a.direction, &a.name, &a.url).cmp(&(&b.direction, &b.name, &b.url)));
        peers
    }

    /// Links that diallers have made, and dials that came to none, of the norths that there are now.
    pub async fn dials(&self) -> (u64, u64) {
        let state = self.state.lock().await;
        let known = state.norths.iter().map(|dialled| dialled.dialling.known());
        known.fold((0, 0), |(links, failures), known| {
            (links + known.links, failures + known.failures)
        })
    }
}
