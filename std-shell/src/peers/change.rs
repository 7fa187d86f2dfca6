//! Carrying changes out.

use super::{Changed, Dialled, PeerError, Peers, State, Wish};
use crate::config::{Change, ConfigError, NodeConfig, North, NorthUrl, OwnWay, PeerPolicy, Way};
use crate::driver::{Handle, PeerInfo};
use crate::link::{self, ConnectError, Dialler};
use crate::trust::Identity;
use redlink_core::Name;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// What is to be known when the settings file does not have the last word.
const TOLD_ELSEWHERE: &str = "it is written down; but this node was started with --north or REDLINK_NORTH, which count more \
                              than the settings file: start it without them from now on";
/// What is to be known about the removal of a south.
const COMES_AGAIN: &str =
    "it dials this node and is let in again when it does; revoking its certificate keeps it out";

/// Starts to dial.
pub(super) fn dial(
    handle: &Handle,
    identity: &Arc<Identity>,
    north: &North,
) -> Result<Dialled, ConnectError> {
    let dialler = Dialler::new(north, identity.clone())?;
    tracing::info!(north = dialler.url(), "dialling");
    Ok(Dialled {
        north: north.clone(),
        dialling: dialler.dialling(),
        task: tokio::spawn(link::keep(handle.clone(), dialler)),
    })
}

fn parse(url: &str) -> Result<NorthUrl, PeerError> {
    url.parse()
        .map_err(|e| PeerError::Wrong(format!("`{url}` can't be dialled: {e}")))
}

fn north_policy(wish: &Wish) -> Result<PeerPolicy, PeerError> {
    if wish.accept_from_south.is_some() {
        let what = "`accept_from_south` is about peers that dial this node, and this one is dialled by it";
        return Err(PeerError::Wrong(what.into()));
    }
    Ok(PeerPolicy {
        redistribute: wish.redistribute.unwrap_or(true),
        import: wish.import.clone().unwrap_or_default(),
        export: wish.export.clone().unwrap_or_default(),
        ..PeerPolicy::default()
    })
}

impl State {
    /// The way to a north, of which `known` was said so far.
    fn way(&self, url: &NorthUrl, known: &OwnWay, wish: &Wish) -> Result<(OwnWay, Way), PeerError> {
        let own = OwnWay {
            proxy: wish.proxy.clone().or_else(|| known.proxy.clone()),
            link: wish.link.clone().or_else(|| known.link.clone()),
        };
        let way = self.config.ways.to(url, &own);
        let way = way.map_err(|e| PeerError::Wrong(e.to_string()))?;
        Ok((own, way))
    }

    /// Gone from lists until it comes again.
    pub(super) fn hides(&self, peer: &PeerInfo) -> bool {
        !peer.connected && peer.name.as_ref().is_some_and(|name| self.removed.contains(name))
    }
}

impl Peers {
    pub(super) async fn do_add(&self, state: &mut State, wish: Wish) -> Result<Changed, PeerError> {
        let url = wish.url.as_deref();
        let url = url.ok_or_else(|| PeerError::Wrong("a node to dial has a `url`".into()))?;
        let url = parse(url)?;
        if state.norths.iter().any(|d| d.north.url == url) {
            return Err(PeerError::There(url.to_string()));
        }
        let policy = north_policy(&wish)?;
        let (own, way) = state.way(&url, &OwnWay::default(), &wish)?;
        let mut norths = state.config.north.clone();
        norths.push(North {
            url: url.clone(),
            name: None,
            policy,
            own,
            way,
        });
        Ok(Changed {
            name: None,
            url: Some(url.to_string()),
            note: self.set_norths(state, norths).await?,
        })
    }

    pub(super) async fn do_put(
        &self,
        state: &mut State,
        name: Name,
        wish: Wish,
    ) -> Result<Changed, PeerError> {
        let url = wish.url.as_deref().map(parse).transpose()?;
        let named = state.norths.iter().position(|d| d.is(&name));
        let located = url
            .as_ref()
            .and_then(|url| state.norths.iter().position(|d| d.north.url == *url));
        if let (Some(named), Some(located)) = (named, located)
            && named != located
        {
            return Err(PeerError::There(state.norths[located].north.url.to_string()));
        }
        let at = named.or(located);
        let Some(url) = url.or_else(|| at.map(|at| state.norths[at].north.url.clone())) else {
            return self.put_south(state, name, &wish).await;
        };
        let known = at
            .map(|at| &state.norths[at].north)
            .filter(|north| north.url == url)
            .map_or_else(OwnWay::default, |north| north.own.clone());
        let (own, way) = state.way(&url, &known, &wish)?;
        let north = North {
            url,
            name: Some(name.clone()),
            policy: north_policy(&wish)?,
            own,
            way,
        };
        let url = north.url.to_string();
        let mut norths = state.config.north.clone();
        match at {
            Some(at) => norths[at] = north,
            None => norths.push(north),
        }
        Ok(Changed {
            name: Some(name.to_string()),
            url: Some(url),
            note: self.set_norths(state, norths).await?,
        })
    }

    async fn put_south(&self, state: &mut State, name: Name, wish: &Wish) -> Result<Changed, PeerError> {
        let of_norths = [
            ("redistribute", wish.redistribute.is_some()),
            ("proxy", wish.proxy.is_some()),
            ("link", wish.link.is_some()),
        ];
        if let Some((what, _)) = of_norths.into_iter().find(|(_, said)| *said) {
            let what = format!("`{what}` is about nodes that are dialled; give the `url` of {name} too");
            return Err(PeerError::Wrong(what));
        }
        let others = &state.config.south.others;
        let policy = PeerPolicy {
            redistribute: true,
            accept_from_south: wish.accept_from_south.unwrap_or(others.accept_from_south),
            import: wish.import.clone().unwrap_or_else(|| others.import.clone()),
            export: wish.export.clone().unwrap_or_else(|| others.export.clone()),
        };
        self.write_south(name.clone(), Some(policy.clone())).await?;
        tracing::info!(peer = %name, "the policy for a south peer has changed");
        let changed = name.to_string();
        state.config.south.named.insert(name, policy);
        self.handle.set_souths(state.config.south.clone()).await;
        Ok(Changed {
            name: Some(changed),
            url: None,
            note: None,
        })
    }

    pub(super) async fn do_remove(&self, state: &mut State, which: String) -> Result<Changed, PeerError> {
        let url: Option<NorthUrl> = which.parse().ok();
        let name = Name::new(&which).ok();
        let at = state
            .norths
            .iter()
            .position(|d| Some(&d.north.url) == url.as_ref() || name.as_ref().is_some_and(|name| d.is(name)));
        if let Some(at) = at {
            let known = state.norths[at].dialling.known().peer;
            let mut norths = state.config.north.clone();
            let gone = norths.remove(at);
            let note = self.set_norths(state, norths).await?;
            let name = known.or(gone.name).map(|name| name.to_string());
            state.removed.extend(name.clone());
            return Ok(Changed {
                name,
                url: Some(gone.url.to_string()),
                note,
            });
        }
        let Some(name) = name else {
            return Err(PeerError::Unknown(which));
        };
        let met = self.handle.peers().await.into_iter();
        let mut met = met.filter(|peer| !state.hides(peer));
        let told = state.config.south.named.contains_key(&name);
        if !told && !met.any(|peer| peer.name.as_deref() == Some(name.as_str())) {
            return Err(PeerError::Unknown(which));
        }
        if told {
            self.write_south(name.clone(), None).await?;
            state.config.south.named.remove(&name);
            self.handle.set_souths(state.config.south.clone()).await;
        }
        state.removed.insert(name.to_string());
        self.handle.unlink(name.clone(), false, "it was removed").await;
        tracing::info!(peer = %name, "a south peer was removed; it is let in again if it dials");
        Ok(Changed {
            name: Some(name.to_string()),
            url: None,
            note: Some(COMES_AGAIN.into()),
        })
    }

    pub(super) async fn do_reload(&self, state: &mut State) -> Result<Changed, PeerError> {
        let (dir, flags, file_counts) = (self.dir.clone(), self.flags.clone(), state.file_counts);
        let loaded = spawn_blocking(move || match file_counts {
            true => NodeConfig::load_norths_of_file(&dir, &flags),
            false => NodeConfig::load(&dir, &flags),
        });
        let new = loaded.await.map_err(|_| PeerError::Stopped)??;
        let restart = state.config.needs_restart_for(&new);
        for setting in restart {
            tracing::warn!(
                setting,
                "the setting `{setting}` has changed: restart the node for it to count"
            );
        }
        if !state.file_counts && NodeConfig::norths_are_told_elsewhere(&self.flags) {
            tracing::info!("norths are those of --north or REDLINK_NORTH, which count more than the file");
        }
        state.config.take_over(&new);
        let changes = new.north != state.config.north || new.south != state.config.south;
        self.apply(state, new.north).await?;
        if new.south != state.config.south {
            state.config.south = new.south;
            self.handle.set_souths(state.config.south.clone()).await;
        }
        tracing::info!(peers_changed = changes, "the settings were read again");
        Ok(Changed {
            name: None,
            url: None,
            note: None,
        })
    }

    /// Writes down which norths there are from here on, and dials those; what the operator should know.
    async fn set_norths(&self, state: &mut State, norths: Vec<North>) -> Result<Option<String>, PeerError> {
        let (dir, written) = (self.dir.clone(), norths.clone());
        let writing = spawn_blocking(move || Change::Norths(&written).write(&dir));
        writing.await.map_err(|_| PeerError::Stopped)??;
        state.file_counts = true;
        self.apply(state, norths).await?;
        let elsewhere = NodeConfig::norths_are_told_elsewhere(&self.flags);
        Ok(elsewhere.then(|| TOLD_ELSEWHERE.to_owned()))
    }

    async fn write_south(&self, name: Name, policy: Option<PeerPolicy>) -> Result<(), ConfigError> {
        let dir = self.dir.clone();
        let writing = spawn_blocking(move || Change::South(&name, policy.as_ref()).write(&dir));
        // A panic in there is this program's mistake, and has been reported.
        writing.await.unwrap_or(Ok(()))
    }

    /// Dials these norths and no others. A link whose policy changes is made anew: so the core takes back what may not
    /// pass any more.
    async fn apply(&self, state: &mut State, wanted: Vec<North>) -> Result<(), PeerError> {
        let mut running: HashMap<NorthUrl, Dialled> = HashMap::new();
        for dialled in state.norths.drain(..) {
            if wanted.contains(&dialled.north) {
                running.insert(dialled.north.url.clone(), dialled);
                continue;
            }
            let changed = wanted.iter().any(|north| north.url == dialled.north.url);
            let reason = match changed {
                true => "what the settings say of it has changed",
                false => "it was removed",
            };
            dialled.task.abort();
            // It ended by that.
            let _ = dialled.task.await;
            tracing::info!(north = %dialled.north, reason, "dialling ended");
            if let Some(peer) = dialled.dialling.known().peer {
                self.handle.unlink(peer, true, reason).await;
            }
        }
        let mut failure = None;
        for north in &wanted {
            match running.remove(&north.url) {
                Some(dialled) => state.norths.push(dialled),
                None => match dial(&self.handle, &self.identity, north) {
                    Ok(dialled) => state.norths.push(dialled),
                    Err(error) => failure = Some(error),
                },
            }
        }
        state.config.north = state.norths.iter().map(|dialled| dialled.north.clone()).collect();
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}
