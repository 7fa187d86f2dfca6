//! The nodes that are measured: one that runs, or some for the purpose.

use crate::cli::args::Target;
use crate::cli::exit::Failure;
use crate::cli::family::Family;
use crate::cli::output::note;
use crate::client::{Client, Context, Place, Request};
use crate::driver::{NodeStatus, PeerInfo};
use serde::{Deserialize, Serialize};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a node may take to be ready, or linked.
const BOUND: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

/// What is measured: a node, or the two ends of a chain of nodes.
#[derive(Debug)]
pub(super) struct Site {
    /// Where messages are submitted.
    pub(super) client: Client,
    /// The node at the other end of the links, if there are any.
    pub(super) far: Option<Client>,
    pub(super) name: String,
    // Dropped in this order: the processes, then their directories.
    _nodes: Family,
    _directories: Vec<TempDir>,
}

impl Site {
    /// The node that `target` names, or a throw-away one; with links always throw-away ones, each of which dials the one
    /// before it.
    pub(super) async fn find(target: &Target, links: u8) -> Result<Self, Failure> {
        match target.context_if_any()? {
            Some(context) if links == 0 => {
                let client = Client::new(&context)?;
                let status: NodeStatus = client.get("/v1/node").await?;
                Ok(Self {
                    client,
                    far: None,
                    name: status.name,
                    _nodes: Family::default(),
                    _directories: Vec::new(),
                })
            }
            Some(_) if target.node.is_some() => Err(Failure::usage(
                "--links starts nodes of its own, and --node names one",
            )
            .hint("leave one of the two out")),
            _ => Self::throw_away(links).await,
        }
    }

    /// What has passed over the links of the producers' and of the workers' node so far.
    pub(super) async fn link_traffic(&self) -> Result<Traffic, Failure> {
        let count = |of: &NodeStatus, name: &str| of.counters.get(name).copied().unwrap_or_default() as f64;
        let near: NodeStatus = self.client.get("/v1/node").await?;
        let far_writes = match &self.far {
            Some(far) => count(&far.get("/v1/node").await?, "link_writes"),
            None => 0.0,
        };
        Ok(Traffic {
            frames: count(&near, "frames_in") + count(&near, "frames_out"),
            writes: count(&near, "link_writes"),
            far_writes,
        })
    }

    async fn throw_away(links: u8) -> Result<Self, Failure> {
        let mut nodes = Family::default();
        let mut directories = Vec::new();
        let mut clients: Vec<Client> = Vec::new();
        for at in 0..=links {
            let directory = directory()?;
            let mut line = node(directory.path(), &format!("bench-{at}"))?;
            if let Some(north) = clients.last() {
                let token: Token = north.post("/v1/tokens", &serde_json::json!({})).await?;
                line.args(["--north", north.url(), "--token", &token.token]);
            }
            nodes.start(
                &format!("node {at}"),
                &mut line,
                &directory.path().join("node.log"),
            )?;
            clients.push(ready(&mut nodes, directory.path()).await?);
            directories.push(directory);
            if at > 0 {
                linked(&mut nodes, &clients[usize::from(at)]).await?;
            }
        }
        if let Some(first) = directories.first() {
            note(&format!(
                "measuring {} of its own in {}, on this machine",
                if links == 0 {
                    "a node".to_owned()
                } else {
                    format!("{} nodes", u16::from(links) + 1)
                },
                first.path().parent().unwrap_or(first.path()).display()
            ));
            if in_memory(first.path()) {
                note(
                    "that directory is in memory: what is kept costs less there than on a disk (set TMPDIR)",
                );
            }
        }
        let far = (links > 0).then(|| clients[0].clone());
        let client = clients
            .pop()
            .ok_or_else(|| Failure::failed("no node was started"))?;
        Ok(Self {
            client,
            far,
            name: "throw-away".into(),
            _nodes: nodes,
            _directories: directories,
        })
    }
}

/// Frames over the links of the producers' node, and the pieces that the sent ones were written in, there and at the workers'
/// node.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Traffic {
    pub(super) frames: f64,
    pub(super) writes: f64,
    pub(super) far_writes: f64,
}

impl Traffic {
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            frames: self.frames - before.frames,
            writes: self.writes - before.writes,
            far_writes: self.far_writes - before.far_writes,
        }
    }

    /// For each of so many messages; none if nothing passed.
    pub(super) fn each(&self, messages: u64) -> Option<Self> {
        let share = |all: f64| all / messages.max(1) as f64;
        (self.frames > 0.0).then(|| Self {
            frames: share(self.frames),
            writes: share(self.writes),
            far_writes: share(self.far_writes),
        })
    }
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

fn directory() -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("redlink-bench-").tempdir();
    made.map_err(|e| {
        Failure::failed(format!("can't make a temporary directory: {e}"))
            .hint("set TMPDIR to one that you may write to")
    })
}

/// The command line of a throw-away node.
fn node(directory: &Path, name: &str) -> Result<Command, Failure> {
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|e| Failure::failed(format!("can't find a free port: {e}")))?
        .port();
    let program = std::env::current_exe()
        .map_err(|e| Failure::failed(format!("can't tell where this program is: {e}")))?;
    let mut line = Command::new(program);
    line.args([
        "node",
        "--name",
        name,
        "--listen",
        &format!("127.0.0.1:{port}"),
        "--dir",
    ]);
    line.arg(directory);
    Ok(line)
}

/// Waits until the node in the directory is ready.
async fn ready(nodes: &mut Family, directory: &Path) -> Result<Client, Failure> {
    let place = Place::Directory(directory.to_owned());
    let start = Instant::now();
    loop {
        let found =
            Context::find(Some(&place), None, None, Path::new("/")).and_then(|found| Client::new(&found));
        let error = match found {
            Ok(client) => match client.request(Request::new(http::Method::GET, "/readyz")).await {
                Ok(_) => return Ok(client),
                Err(error) => error,
            },
            Err(error) => error,
        };
        nodes.check()?;
        if start.elapsed() > BOUND {
            return Err(error.into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the node has its link.
async fn linked(nodes: &mut Family, client: &Client) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let peers: Vec<PeerInfo> = client.get("/v1/peers").await?;
        if peers.iter().any(|peer| peer.connected) {
            return Ok(());
        }
        nodes.check()?;
        if start.elapsed() > BOUND {
            return Err(Failure::failed(format!(
                "{} has no link after {} s",
                client.url(),
                BOUND.as_secs()
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether a directory's file system has no disk behind it.
fn in_memory(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        const TMPFS_MAGIC: i128 = 0x0102_1994;
        rustix::fs::statfs(path).is_ok_and(|found| i128::from(found.f_type) == TMPFS_MAGIC)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}
