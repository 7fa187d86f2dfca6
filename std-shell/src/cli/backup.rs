//! `redlink backup` and `redlink restore`.

use super::args::{self, Target};
use super::exit::{Done, Exit, Failure};
use super::output;
use crate::client::{Client, Request};
use crate::driver::NodeBasics;
use clap::Args;
use http::Method;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Longest that a backup may take.
const PATIENCE: Duration = Duration::from_secs(24 * 3_600);

/// Make a backup of a node, one tar file, while it works
///
/// Messages, outcomes and dead letters as of one moment, settings, certificates, keys and tokens: the file is a secret,
/// readable for its owner only. The database in it is read by the sqlite3 program. The node may be another machine's.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink backup /var/backups/hall-3.tar
  redlink backup /var/backups          a new file there, by node and time
  redlink backup - --node https://HOST:7411 | ssh vault 'cat > hall-3.tar'")]
pub(super) struct BackupOptions {
    /// The file, which must not be there yet; a directory for a new file in it; `-` for standard output
    #[arg(value_name = "FILE|DIR")]
    to: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Make a node of a backup
///
/// The new node has an identity of its own and goes on with the messages of the backup. With the name of before it takes
/// that one's place, so the old one must not run any more. With --name both may run: a node that holds its mesh's
/// authority makes itself a new certificate, another has to join again (redlink node --north URL --token TOKEN).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink restore hall-3.tar --dir /var/lib/redlink
  redlink restore hall-3.tar --dir look --name look-3")]
pub(super) struct RestoreOptions {
    /// The backup; `-` for standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,

    /// Where its .redlink directory is made
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Another name than before
    #[arg(long, value_parser = args::name)]
    name: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `redlink backup`.
pub(super) async fn backup(options: BackupOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let request = Request::new(Method::POST, "/v1/backup").within(PATIENCE);
    if options.to == Path::new("-") {
        let mut out = std::io::stdout();
        let written = client.download(request, |piece| out.write_all(piece)).await?;
        written
            .and_then(|_| out.flush())
            .map_err(|e| Failure::failed(format!("can't write to standard output: {e}")))?;
        return Ok(Exit::Done);
    }
    let file = if options.to.is_dir() {
        let node: NodeBasics = client.get("/v1/node").await?;
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        options
            .to
            .join(format!("{}-{}.tar", node.name, now.replace(':', "")))
    } else {
        options.to
    };
    let failed = |e: std::io::Error| Failure::failed(format!("can't write {}: {e}", file.display()));
    if file.exists() {
        return Err(Failure::usage(format!("{} is there already", file.display())).hint("name another file"));
    }
    let dir = file
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // For its owner only, and under its name only when it is whole and on disk.
    let mut new = tempfile::Builder::new()
        .prefix(".redlink-backup-")
        .tempfile_in(dir)
        .map_err(failed)?;
    let written = client.download(request, |piece| new.write_all(piece)).await?;
    let bytes = written.map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist_noclobber(&file).map_err(|e| failed(e.error))?;
    match options.json {
        true => output::json(&serde_json::json!({ "file": file, "bytes": bytes }))?,
        false => output::note(&format!("{} written, {}", file.display(), output::size(bytes))),
    }
    Ok(Exit::Done)
}

/// Runs `redlink restore`.
pub(super) async fn restore(options: RestoreOptions) -> Done {
    let name = options.name.as_deref().map(redlink_core::Name::new).transpose();
    let name = name.map_err(|e| Failure::usage(e.to_string()))?;
    let restored = match options.from == Path::new("-") {
        true => crate::backup::restore(std::io::stdin().lock(), &options.dir, name.as_ref()),
        false => {
            let file = std::fs::File::open(&options.from)
                .map_err(|e| Failure::usage(format!("can't read {}: {e}", options.from.display())))?;
            crate::backup::restore(std::io::BufReader::new(file), &options.dir, name.as_ref())
        }
    };
    let restored = restored.map_err(|e| Failure::failed(e.to_string()))?;
    match options.json {
        true => output::json(&restored)?,
        false => output::note(&format!(
            "node {} of mesh {} is restored with the new identity {}; `redlink node --dir {}` starts it",
            restored.name,
            restored.mesh,
            restored.node,
            options.dir.display()
        )),
    }
    Ok(Exit::Done)
}
