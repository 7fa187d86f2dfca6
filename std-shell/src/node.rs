//! A node, put together: directory, trust, store, driver, listener, links; and taken apart again.
//!
//! The order of a start is the order of what a stop must not lose. The store's lock keeps a second node out of the
//! directory before anything in it is changed; what was on disk is in the core before the first socket listens; and
//! the norths are dialled last, when there is something to tell them.

use crate::config::{Logging, NodeConfig, Partial};
use crate::driver::{self, Handle, Running, Settings};
use crate::http::{Limits, Listener};
use crate::logs::Logs;
use crate::peers::Peers;
use crate::store::{self, Opened, StoreHandle};
use crate::systemd::Manager;
use crate::trust::programs::Programs;
use crate::trust::{self, Identity, JoinToken, Joined};
use anyhow::{Context, anyhow, bail};
use redlink_core::Capacity;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

/// The store's directory in the node's.
pub const DATA: &str = "data";

/// What closing the store may take, as a service manager is told.
const CLOSING: Duration = Duration::from_secs(30);

/// How long answers may take to reach their clients after that.
const GRACE_ANSWERS: Duration = Duration::from_secs(2);

/// A node that runs.
pub struct Node {
    running: Running,
    store: StoreHandle,
    identity: Arc<Identity>,
    url: String,
    listening: JoinHandle<()>,
    stop_listening: oneshot::Sender<()>,
    /// Keeps the links to the norths.
    peers: Arc<Peers>,
    /// What programs may do.
    programs: Arc<Programs>,
    /// Keeps the certificate good, and the authority's desk.
    trusting: JoinSet<()>,
}

/// How often it is looked whether the node is ready.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the node of a directory until SIGTERM or SIGINT, and then lets what is under way end, as long as the setting
/// `drain` says. SIGHUP reads the settings again. A second signal ends the process at once, with 128 and the signal's
/// number as its exit code; the next start finds on disk whatever was accepted (P1). A service manager that wants to is
/// told of all that.
///
/// `flags` count more than the directory's settings; `token` lets a new node join the mesh of the first of its norths
/// that takes it.
///
/// # Errors
/// The node can't start, or ended by itself; what is wrong and what to do about it.
pub async fn run(dir: &Path, flags: Partial, token: Option<String>) -> anyhow::Result<()> {
    let logs = Logs::start(&Logging::load(dir, &flags)?);
    let manager = Manager::of_environment();
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("can't listen for signals")?;
    manager.status("starts");
    let mut node = tokio::select! {
        node = Node::start(dir, &flags, token.as_deref()) => node?,
        _ = interrupt.recv() => bail!("interrupted while it started"),
        _ = terminate.recv() => bail!("told to stop while it started"),
    };
    let handle = node.handle().clone();
    let mut alive = pin!(manager.keep_alive(&handle));
    let status = format!("takes work at {}", node.url());
    let mut ready = false;
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = is_ready(&handle), if !ready => {
                ready = true;
                manager.ready(&status);
            }
            Some(()) = hangup.recv() => {
                manager.reloading();
                node.reload().await;
                logs.set_level(node.settings().await.logging.level.as_deref());
                if ready {
                    manager.ready(&status);
                }
            }
            () = &mut alive => {}
            why = node.failed() => {
                // Its state can't be trusted any more, and what was accepted is on disk.
                node.abandon().await;
                bail!("{why}; the log says more, and the next start recovers from disk");
            }
        }
    }
    let drain = node.settings().await.drain;
    let at_most = humantime::format_duration(drain).to_string();
    tracing::info!(
        at_most,
        "told to stop: letting work end; a second signal ends it now"
    );
    manager.stopping(drain + GRACE_ANSWERS + CLOSING);
    tokio::select! {
        () = node.stop(drain) => {
            tracing::info!("stopped");
            Ok(())
        }
        _ = interrupt.recv() => end_now(2),
        _ = terminate.recv() => end_now(15),
        () = &mut alive => Ok(()),
    }
}

async fn is_ready(handle: &Handle) {
    while !handle.ready() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends the process as a shell has it for that signal.
fn end_now(signal: i32) -> ! {
    tracing::warn!("ended by a second signal");
    std::process::exit(128 + signal)
}

impl Node {
    /// Starts the node of a directory: makes what is missing there, reads what is on disk, listens and dials.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub async fn start(dir: &Path, flags: &Partial, token: Option<&str>) -> anyhow::Result<Self> {
        let dir = std::path::absolute(dir).with_context(|| format!("can't use {}", dir.display()))?;
        // Only for its owner: keys and payloads lie in it.
        let make = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir);
        make.with_context(|| format!("can't make {}", dir.display()))?;
        let data = dir.join(DATA);
        let (done_in, done) = mpsc::unbounded_channel();
        let opened = spawn_blocking(move || store::open(&data, done_in)).await??;
        let store = opened.store.clone();
        let started = Self::start_on(&dir, flags, token, opened, done).await;
        if started.is_err() {
            close(store).await;
        }
        started
    }

    async fn start_on(
        dir: &Path,
        flags: &Partial,
        token: Option<&str>,
        opened: Opened,
        done: mpsc::UnboundedReceiver<Vec<store::Done>>,
    ) -> anyhow::Result<Self> {
        let config = join(dir, flags, token).await?;
        let identity = Identity::load_or_create(dir, &config.name, &config.mesh, &config.wishes())?;
        let identity = Arc::new(identity);
        config.remember(flags)?;
        if identity.created {
            tracing::info!(mesh = %identity.mesh, dir = %dir.display(), "made a mesh of which this is the first node");
        }
        let programs = Arc::new(Programs::open(dir, &config.programs)?);
        let listener = Listener::bind(&config.listen).await?;

        let mut settings = Settings::new(identity.name.clone(), identity.mesh.clone());
        settings.capacity = capacity(&config);
        settings.payload_max = config.max_payload;
        if let Some(most) = config.capacity.idempotency_keys {
            settings.idempotency_keys = most;
        }
        settings.trace_memory = config.trace_memory;
        settings.memory_messages = config.memory_messages;
        settings.ageing = config.ageing;
        settings.south = config.south.clone();
        settings.advertise = config.advertise.as_ref().map(|url| url.to_string().into());
        settings.memory_max = settings.memory_max.max(config.max_payload.saturating_mul(4));
        let store = opened.store.clone();
        store.limit_letters(config.dead_letters);
        tracing::info!(
            name = %identity.name,
            mesh = %identity.mesh,
            node = %opened.identity.node,
            boot = opened.boot.counter,
            dir = %dir.display(),
            messages = opened.recovered.messages.len(),
            outcomes = opened.recovered.outcomes.len(),
            replies = opened.recovered.replies.len(),
            version = env!("CARGO_PKG_VERSION"),
            "started"
        );
        let mut running = spawn_blocking(move || driver::start(opened, done, settings)).await??;
        let url = listener.url();
        tracing::info!(%url, addresses = ?listener.addresses(), "listening");
        listener.announce(dir)?;
        let (stop_listening, stop) = oneshot::channel();
        let peers = Peers::start(
            running.handle.clone(),
            identity.clone(),
            dir,
            flags,
            config.clone(),
        )?;
        let mut trusting = JoinSet::new();
        if let Some(jobs) = running.direct.take() {
            let (handle, ways) = (running.handle.clone(), config.ways.clone());
            trusting.spawn(crate::link::direct::run(handle, ways, identity.clone(), jobs));
        }
        trusting.spawn(running.handle.clone().watch_disk(config.disk_floor));
        let http = crate::http::Node {
            handle: running.handle.clone(),
            identity: identity.clone(),
            programs: programs.clone(),
            peers: peers.clone(),
            web: Arc::default(),
            direct: config.direct,
            advertises: config.advertise.is_some(),
        };
        let listening = tokio::spawn(async move {
            let limits = Limits {
                grace: GRACE_ANSWERS,
                ..Limits::default()
            };
            let stop = async { drop(stop.await) };
            listener.serve(http, &config, limits, stop).await;
        });
        trusting.spawn(trust::keep(identity.clone(), running.handle.clone()));
        if let Some(authority) = identity.authority.clone() {
            trusting.spawn(trust::serve(authority, running.handle.clone()));
        }
        Ok(Self {
            running,
            store,
            identity,
            url,
            listening,
            stop_listening,
            peers,
            programs,
            trusting,
        })
    }

    /// The node, for everybody in this process.
    pub fn handle(&self) -> &Handle {
        &self.running.handle
    }

    /// Who it is, and whom it lets in.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where it listens, for programs of this machine.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The peers that it is told of.
    pub fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// Reads the settings again. With an error in them all stays as it is; the log says which.
    pub async fn reload(&self) {
        if let Err(error) = self.peers.reload().await {
            tracing::error!(%error, "the settings were not read again; all stays as it is");
            return;
        }
        self.programs.set_certified(&self.settings().await.programs);
    }

    /// The settings that are in force.
    pub async fn settings(&self) -> NodeConfig {
        self.peers.settings().await
    }

    /// Waits until a part of it that should never end has ended; says which.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            () = self.running.ended() => "the driver ended",
            _ = &mut self.listening => "the listener ended",
        }
    }

    /// Stops it: no new work from now on, and what is under way may end for up to `grace`. Then all connections are
    /// closed, and everything is on disk.
    pub async fn stop(self, grace: Duration) {
        // Links and listener stay up meanwhile: answers come in by them.
        if tokio::time::timeout(grace, self.running.handle.drain())
            .await
            .is_err()
        {
            tracing::info!(
                "some work did not end in time; it is on disk, or comes again when its lease is over"
            );
        }
        self.abandon().await;
    }

    /// Takes it apart as it is.
    async fn abandon(self) {
        self.peers.stop().await;
        drop(self.trusting);
        // Ends the links and all waits, so that the listener finds its connections idle.
        self.running.stop().await;
        let _ = self.stop_listening.send(());
        if !self.listening.is_finished() {
            let _ = self.listening.await;
        }
        close(self.store).await;
    }
}

async fn close(store: StoreHandle) {
    // A panic in the store has ended the process already.
    let _ = spawn_blocking(move || store.close()).await;
}

/// The node's settings; a new node with a token joins the mesh of that before.
async fn join(dir: &Path, flags: &Partial, token: Option<&str>) -> anyhow::Result<NodeConfig> {
    let Some(token) = token else {
        let config = NodeConfig::load(dir, flags)?;
        if !config.north.is_empty() && config.tls.is_none() && trust::stored_name(dir)?.is_none() {
            bail!(
                "a new node needs a token to join the mesh of its norths; make one at any node of that mesh with \
                 `redlink token create`, and start this one with --token"
            );
        }
        return Ok(config);
    };
    let token: JoinToken = token.parse()?;
    let told = Partial {
        mesh: Some(token.mesh.to_string()),
        ..flags.clone()
    };
    let config = NodeConfig::load(dir, &told)?;
    if config.tls.is_some() {
        bail!(
            "a token is for the mesh's own authority, and this node's settings name certificates of another (`tls`)"
        );
    }
    let mut failure = anyhow!("a token is for joining, and there is no north to join; name one with --north");
    for north in &config.north {
        let hosts = config.certificate_hosts();
        let (url, proxy) = (&north.url, north.way.proxy.as_ref());
        match trust::join(dir, &url.host, url.port, proxy, &token, &config.name, &hosts).await {
            Ok(Joined::Already) => return Ok(config),
            Ok(Joined::New { left_out }) => {
                tracing::info!(%north, name = %config.name, mesh = %config.mesh, "joined");
                if !left_out.is_empty() {
                    tracing::warn!(hosts = ?left_out, "these hosts belong to another node and are not in the certificate");
                }
                return Ok(config);
            }
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// The sizes of the core's tables.
fn capacity(config: &NodeConfig) -> Capacity {
    let told = config.capacity;
    let default = Capacity::default();
    Capacity {
        messages: told.messages.unwrap_or(default.messages),
        reservations: told.reservations.unwrap_or(default.reservations),
        deliveries: told.deliveries.unwrap_or(default.deliveries),
        services: told.services.unwrap_or(default.services),
        consumers: told.consumers.unwrap_or(default.consumers),
        takes: told.takes.unwrap_or(default.takes),
        peers: told.peers.unwrap_or(default.peers),
        routes: told.routes.unwrap_or(default.routes),
        relays: told.relays.unwrap_or(default.relays),
        rules: told.rules.unwrap_or(default.rules),
    }
}

#[cfg(test)]
mod tests;
