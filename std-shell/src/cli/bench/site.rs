//! The node that is measured: one that runs, or one for the purpose.

use crate::cli::args::Target;
use crate::cli::exit::Failure;
use crate::cli::family::Family;
use crate::cli::output::note;
use crate::client::{Client, Context, Place, Request};
use crate::driver::NodeStatus;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a node may take to be ready.
const BOUND: Duration = Duration::from_secs(60);

/// A node to measure.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) client: Client,
    pub(super) name: String,
    // Dropped in this order: the process, then its directory.
    _node: Family,
    _directory: Option<tempfile::TempDir>,
}

impl Site {
    /// The node that `target` names, or a throw-away one.
    pub(super) async fn find(target: &Target) -> Result<Self, Failure> {
        match target.context_if_any()? {
            Some(context) => {
                let client = Client::new(&context)?;
                let status: NodeStatus = client.get("/v1/node").await?;
                Ok(Self {
                    client,
                    name: status.name,
                    _node: Family::default(),
                    _directory: None,
                })
            }
            None => Self::throw_away().await,
        }
    }

    async fn throw_away() -> Result<Self, Failure> {
        let refuse = |what: &str, e: std::io::Error| Failure::failed(format!("can't {what}: {e}"));
        let directory = tempfile::Builder::new()
            .prefix("redlink-bench-")
            .tempdir()
            .map_err(|e| {
                refuse("make a temporary directory", e).hint("set TMPDIR to one that you may write to")
            })?;
        note(&format!(
            "no node here: measuring one in {}, on this machine",
            directory.path().display()
        ));
        if in_memory(directory.path()) {
            note("that directory is in memory: what is kept costs less there than on a disk (set TMPDIR)");
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|e| refuse("find a free port", e))?
            .port();
        let program = std::env::current_exe().map_err(|e| refuse("tell where this program is", e))?;
        let mut line = Command::new(program);
        line.args([
            "node",
            "--name",
            "bench",
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--dir",
        ]);
        line.arg(directory.path());
        let mut node = Family::default();
        node.start("the node", &mut line, &directory.path().join("node.log"))?;
        let place = Place::Directory(directory.path().to_owned());
        let start = Instant::now();
        let client = loop {
            let found =
                Context::find(Some(&place), None, None, Path::new("/")).and_then(|found| Client::new(&found));
            let error = match found {
                Ok(client) => match client.request(Request::new(http::Method::GET, "/readyz")).await {
                    Ok(_) => break client,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            node.check()?;
            if start.elapsed() > BOUND {
                return Err(error.into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Ok(Self {
            client,
            name: "throw-away".into(),
            _node: node,
            _directory: Some(directory),
        })
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
