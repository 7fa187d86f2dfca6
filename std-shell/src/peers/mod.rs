//! The peers that a node is told of: whom it dials, and what may pass over links; changed while it runs.
//!
//! A change is first in the settings file and then in force, so that a restart finds what was answered. Whoever asks for a
//! change may go away meanwhile: it is carried out all the same, one after the other.

mod change;
mod list;

use crate::config::{ConfigError, NodeConfig, North, Partial, ProxyText, Rules};
use crate::driver::Handle;
use crate::link::{ConnectError, Dialling};
use crate::trust::Identity;
use redlink_core::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// What is asked for a peer; what it does not say is the default, but for the way to a north, which stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Where to dial it; none for a peer that dials this node, or a north that is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Of a north: what it announces may be told to this node's south peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redistribute: Option<bool>,
    /// Of a south: what it announces is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_from_south: Option<bool>,
    /// What the peer may announce to this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub import: Option<Rules>,
    /// What this node announces to the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub export: Option<Rules>,
    /// Of a north: the HTTP proxy to it, or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub proxy: Option<ProxyText>,
    /// Of a north: how its link travels: `auto`, `stream` or `poll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A change that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Changed {
    /// The peer's name, if it is known.
    pub name: Option<String>,
    /// Where it is dialled, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the operator should know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Nobody of that name or URL.
    #[error("there is no peer `{0}`; `redlink peer list` shows those that there are")]
    Unknown(String),
    /// It is dialled already.
    #[error("`{0}` is dialled already; `redlink peer set NAME` or PUT /v1/peers/NAME changes it")]
    There(String),
    /// The wish makes no sense.
    #[error("{0}")]
    Wrong(String),
    /// The settings file can't be changed, or is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No dialler can be made for that URL.
    #[error(transparent)]
    Dial(#[from] ConnectError),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// The peers that a node is told of.
pub struct Peers {
    handle: Handle,
    identity: Arc<Identity>,
    dir: PathBuf,
    flags: Partial,
    state: Mutex<State>,
}

struct State {
    config: NodeConfig,
    norths: Vec<Dialled>,
    /// Norths are what the file says, whatever flags and environment said at the start.
    file_counts: bool,
    /// Removed, and not met again.
    removed: BTreeSet<String>,
    stopped: bool,
}

/// A north, and who dials it.
struct Dialled {
    north: North,
    dialling: Arc<Dialling>,
    task: JoinHandle<()>,
}

impl Dialled {
    /// Whether it goes by this name.
    fn is(&self, name: &Name) -> bool {
        match &self.north.name {
            Some(told) => told == name,
            None => self.dialling.known().peer.as_ref() == Some(name),
        }
    }
}

impl Peers {
    /// Starts to dial the norths of the settings. `flags` are those that the settings were loaded with.
    ///
    /// # Errors
    /// A URL can't be dialled.
    pub fn start(
        handle: Handle,
        identity: Arc<Identity>,
        dir: &Path,
        flags: &Partial,
        config: NodeConfig,
    ) -> Result<Arc<Self>, ConnectError> {
        let mut norths = Vec::new();
        for north in &config.north {
            norths.push(change::dial(&handle, &identity, north)?);
        }
        Ok(Arc::new(Self {
            handle,
            identity,
            dir: dir.to_owned(),
            flags: flags.clone(),
            state: Mutex::new(State {
                config,
                norths,
                file_counts: false,
                removed: BTreeSet::new(),
                stopped: false,
            }),
        }))
    }

    /// Ends all dialling, for good.
    pub async fn stop(&self) {
        let mut state = self.state.lock().await;
        state.stopped = true;
        for dialled in state.norths.drain(..) {
            dialled.task.abort();
            let _ = dialled.task.await;
        }
    }

    /// Dials one more node.
    ///
    /// # Errors
    /// It is dialled already, the wish makes no sense, or the settings file can't be changed.
    pub async fn add(self: &Arc<Self>, wish: Wish) -> Result<Changed, PeerError> {
        self.ask(Ask::Add(wish)).await
    }

    /// Says what counts for the peer of this name: a north that is dialled at the wish's URL, or has been; else a peer that
    /// dials this node.
    ///
    /// # Errors
    /// The wish makes no sense, or the settings file can't be changed.
    pub async fn put(self: &Arc<Self>, name: Name, wish: Wish) -> Result<Changed, PeerError> {
        self.ask(Ask::Put(name, wish)).await
    }

    /// Forgets the peer of this name or URL: it is dialled no more, its link ends. One that dials this node is let in
    /// again when it does, as any other.
    ///
    /// # Errors
    /// There is none of that name or URL, or the settings file can't be changed.
    pub async fn remove(self: &Arc<Self>, which: String) -> Result<Changed, PeerError> {
        self.ask(Ask::Remove(which)).await
    }

    /// Reads the settings again and does what can be done without a restart.
    ///
    /// # Errors
    /// The settings have an error; nothing has changed.
    pub async fn reload(self: &Arc<Self>) -> Result<(), PeerError> {
        self.ask(Ask::Reload).await.map(drop)
    }

    /// The settings that are in force.
    pub async fn settings(&self) -> NodeConfig {
        self.state.lock().await.config.clone()
    }

    /// One change after the other, each to its end.
    async fn ask(self: &Arc<Self>, ask: Ask) -> Result<Changed, PeerError> {
        let peers = self.clone();
        let doing = tokio::spawn(async move {
            let mut guard = peers.state.lock().await;
            let state = &mut *guard;
            if state.stopped {
                return Err(PeerError::Stopped);
            }
            match ask {
                Ask::Add(wish) => peers.do_add(state, wish).await,
                Ask::Put(name, wish) => peers.do_put(state, name, wish).await,
                Ask::Remove(which) => peers.do_remove(state, which).await,
                Ask::Reload => peers.do_reload(state).await,
            }
        });
        doing.await.unwrap_or(Err(PeerError::Stopped))
    }
}

/// What is asked.
enum Ask {
    Add(Wish),
    Put(Name, Wish),
    Remove(String),
    Reload,
}
