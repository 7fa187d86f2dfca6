//! What the demo plays on: a directory, ports, processes; and how its commands are printed and run.

use crate::cli::exit::Failure;
use crate::cli::family::Family;
use crate::cli::output::{self, Stream, Tone, paint, span};
use crate::client::{Client, Context, Place};
use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before the demo gives up: generous, for slow machines under load.
const BOUND: Duration = Duration::from_secs(60);
/// How often a state is asked for.
const LOOK: Duration = Duration::from_millis(10);

/// The north node, the south node and the relay between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) north: u16,
    pub(super) south: u16,
    pub(super) relay: u16,
}

/// All that the demo started and made. Dropping it ends the processes, then removes the directory.
#[derive(Debug)]
pub(super) struct Stage {
    // Before the directory: they write into it until they end.
    family: Family,
    directory: tempfile::TempDir,
    program: PathBuf,
    pub(super) ports: Ports,
}

/// What a command that ran to its end said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) out: String,
    pub(super) err: String,
}

impl Stage {
    pub(super) fn new() -> Result<Self, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("redlink-demo-")
            .tempdir()
            .map_err(|e| {
                Failure::failed(format!(
                    "can't make a directory in {}: {e}",
                    std::env::temp_dir().display()
                ))
                .hint("set TMPDIR to a directory that you may write to")
            })?;
        let program = std::env::current_exe()
            .map_err(|e| Failure::failed(format!("can't tell where this program is: {e}")))?;
        let ports = free_ports().map_err(|e| Failure::failed(format!("can't find free ports: {e}")))?;
        Ok(Self {
            family: Family::default(),
            directory,
            program,
            ports,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A `redlink` command line, for printing and for running.
    pub(super) fn redlink(&self, arguments: &[&dyn AsRef<OsStr>]) -> Vec<OsString> {
        let mut line = vec![self.program.clone().into_os_string()];
        line.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        line
    }

    /// Starts what runs on. Its process id.
    pub(super) fn start(&mut self, name: &str, line: &[OsString]) -> Result<u32, Failure> {
        print_command(line)?;
        let log = self.path(&format!("{name}.log"));
        self.family.start(name, &mut command(line), &log)
    }

    /// Ends a process that [`Stage::start`] started, as `kill` does.
    pub(super) fn end(&mut self, name: &str) {
        self.family.end(name);
    }

    /// Prints a command, runs it to its end and hands over what it said.
    pub(super) async fn run(&self, line: &[OsString]) -> Result<Said, Failure> {
        print_command(line)?;
        let mut process = tokio::process::Command::from(command(line));
        process.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(BOUND, process.output())
            .await
            .map_err(|_| Failure::failed(format!("the command above did not end within {}", span(BOUND))))?
            .map_err(|e| Failure::failed(format!("can't run the command above: {e}")))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = Said {
            out: text(&output.stdout),
            err: text(&output.stderr),
        };
        match output.status.success() {
            true => Ok(said),
            false => Err(Failure::failed(format!(
                "the command above ended with {}:\n{}",
                output.status, said.err
            ))),
        }
    }

    /// The API of one of the nodes, once it has written down where it listens.
    pub(super) async fn client(&mut self, name: &str) -> Result<Client, Failure> {
        let place = Place::Directory(self.path(name));
        let start = Instant::now();
        loop {
            let found =
                Context::find(Some(&place), None, None, Path::new("/")).and_then(|found| Client::new(&found));
            match found {
                Ok(client) => return Ok(client),
                Err(error) if start.elapsed() > BOUND => return Err(error.into()),
                Err(_) => self.pause().await?,
            }
        }
    }

    /// Asks until the answer is yes. `what` completes the sentence "…did not happen".
    pub(super) async fn until<F: Future<Output = Option<bool>>>(
        &mut self,
        what: &str,
        ask: impl Fn() -> F,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        while ask().await != Some(true) {
            if start.elapsed() > BOUND {
                return Err(Failure::failed(format!(
                    "{what} did not happen within {}",
                    span(BOUND)
                )));
            }
            self.pause().await?;
        }
        Ok(())
    }

    /// A moment until the next look; an error if a process has fallen meanwhile.
    pub(super) async fn pause(&mut self) -> Result<(), Failure> {
        self.family.check()?;
        tokio::time::sleep(LOOK).await;
        Ok(())
    }
}

/// Three ports that are free now. Held together while they are chosen, so that they differ.
fn free_ports() -> std::io::Result<Ports> {
    let any = || TcpListener::bind("127.0.0.1:0");
    let (north, south, relay) = (any()?, any()?, any()?);
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    Ok(Ports {
        north: port(&north)?,
        south: port(&south)?,
        relay: port(&relay)?,
    })
}

fn command(line: &[OsString]) -> Command {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]);
    // The commands name their node; what this shell is set to must not get in between.
    for name in [
        "REDLINK_NODE",
        "REDLINK_CONTEXT",
        "REDLINK_CA",
        "REDLINK_TOKEN",
        "REDLINK_TOKEN_FILE",
    ] {
        command.env_remove(name);
    }
    command
}

/// Prints a command that can be pasted into a shell.
pub(super) fn print_command(line: &[OsString]) -> Result<(), Failure> {
    let text: Vec<String> = line.iter().map(|word| quote(word)).collect();
    output::line(&format!(
        "  {} {}",
        paint(Stream::Out, Tone::Faint, "$"),
        text.join(" ")
    ))
}

/// A word as a shell reads it back.
pub(in crate::cli) fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, quoted) in [
            ("/a/b-c.d", "/a/b-c.d"),
            ("https://localhost:7411", "https://localhost:7411"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quote(OsStr::new(word)), quoted);
        }
    }

    #[test]
    fn ports_differ() {
        let ports = free_ports().unwrap();
        assert!(ports.north != ports.south && ports.south != ports.relay && ports.north != ports.relay);
    }

    #[test]
    fn nothing_stays_behind() {
        let mut stage = Stage::new().unwrap();
        let directory = stage.directory.path().to_owned();
        stage.start("sleeper", &["sleep".into(), "1000".into()]).unwrap();
        assert!(stage.path("sleeper.log").exists());
        drop(stage);
        assert!(!directory.exists());
    }
}
