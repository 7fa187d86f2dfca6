//! Processes: those that run on, and those that are waited for.

use crate::{BOUND, LOOK, binary};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A process that runs on, with its output in a file. Dropping it ends it; in a test that fails its output is shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` without input; what it writes is added to the end of `log`.
    ///
    /// # Panics
    /// It can't be started.
    #[track_caller]
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let open = || File::options().create(true).append(true).open(log);
        let output = || open().unwrap_or_else(|e| panic!("can't open {}: {e}", log.display()));
        let child = command
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .spawn()
            .unwrap_or_else(|e| panic!("can't start {name}, {command:?}: {e}"));
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; none while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// All that it wrote so far.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// `kill -9`, and waits for its end. It can have ended before.
    pub fn kill(&mut self) {
        // Only a process that was not waited for yet is signalled: its id can't be another's.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// The process has ended already.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        assert!(
            self.ended().is_none(),
            "{} has ended already:\n{}",
            self.name,
            self.output()
        );
        let id = Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
        kill_process(id, signal).expect("a child can be signalled");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        crate::until(&what, || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} wrote:\n{}---", self.name, tail(&self.output()));
        }
    }
}

/// The end of a long text.
fn tail(text: &str) -> &str {
    const LINES: usize = 150;
    let start = text.rmatch_indices('\n').nth(LINES).map_or(0, |(at, _)| at + 1);
    &text[start..]
}

/// What a process that ran to its end said.
#[derive(Debug)]
pub struct Said {
    /// The command, for messages.
    pub command: String,
    /// Its exit code; 128 and the signal's number if it was killed.
    pub code: i32,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
    /// How long it ran.
    pub took: Duration,
}

impl Said {
    /// Standard output as text without the white space around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).trim().to_owned()
    }

    /// Itself, if the exit code is 0.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Itself, if the exit code is this.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            code,
            "{} ended with {}, not {code}\n--- stdout:\n{}\n--- stderr:\n{}",
            self.command,
            self.code,
            String::from_utf8_lossy(&self.out[..self.out.len().min(2_000)]),
            self.err
        );
        self
    }

    /// Itself, if standard error has each of these.
    ///
    /// # Panics
    /// One is missing.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.err.contains(text),
                "{}: no {text:?} in\n{}",
                self.command,
                self.err
            );
        }
        self
    }

    /// Itself, if each of these is in what it wrote to standard output.
    ///
    /// # Panics
    /// One is missing.
    #[track_caller]
    pub fn says_out(self, texts: &[&str]) -> Self {
        let out = self.text();
        for text in texts {
            assert!(out.contains(text), "{}: no {text:?} in\n{out}", self.command);
        }
        self
    }
}

/// Runs a command to its end, with this on its standard input, for at most [`BOUND`].
///
/// # Panics
/// It can't be started, or does not end.
#[track_caller]
pub fn run(mut command: Command, input: &[u8]) -> Said {
    // Files, not pipes: nothing can block, and nobody has to feed or to read meanwhile.
    let mut stdin = tempfile::tempfile().expect("a temporary file");
    stdin.write_all(input).expect("a temporary file can be written");
    stdin.rewind().expect("a temporary file can be rewound");
    let mut outputs = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file"));
    let [out, err] = outputs
        .each_ref()
        .map(|file| file.try_clone().expect("one more file number"));
    let text = format!("{command:?}");
    let start = Instant::now();
    let mut child = command
        .stdin(stdin)
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap_or_else(|e| panic!("can't start {text}: {e}"));
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            break Some(status);
        }
        if start.elapsed() > 2 * BOUND {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(LOOK / 5);
    };
    let took = start.elapsed();
    let [out, err] = outputs.each_mut().map(|file| {
        let mut bytes = Vec::new();
        file.rewind().expect("a temporary file can be rewound");
        file.read_to_end(&mut bytes)
            .expect("a temporary file can be read");
        bytes
    });
    let err = String::from_utf8_lossy(&err).into_owned();
    let Some(status) = status else {
        panic!("{text} did not end within {} s:\n{err}", (2 * BOUND).as_secs());
    };
    Said {
        command: text,
        code: status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        out,
        err,
        took,
    }
}

/// A `redlink` command line, in an environment that says nothing about nodes.
pub(crate) fn redlink<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(directory: &Path, arguments: I) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments);
    clean(&mut command, directory);
    command
}

/// `sh -c script` in a directory, with `redlink` on the path.
pub fn shell(directory: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let beside = binary().parent().map(Path::to_owned);
    let there = std::env::var_os("PATH").unwrap_or_default();
    let path = beside.into_iter().chain(std::env::split_paths(&there));
    let path: OsString = std::env::join_paths(path).expect("a path without colons");
    clean(&mut command, directory);
    command.env("PATH", path);
    command
}

fn clean(command: &mut Command, directory: &Path) {
    command.current_dir(directory);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        // What the machine's own way to the world is has nothing to do with these nodes.
        if text.starts_with("REDLINK_") || text.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    // For whoever reads it when a test fails.
    command.env("REDLINK_LOG_FORMAT", "text");
    command.env_remove("RUST_LOG");
    if let Some(filter) = std::env::var_os("REDLINK_TEST_LOG") {
        command.env("RUST_LOG", filter);
    }
    // Everything is on this machine.
    command.env("no_proxy", "*").env("NO_COLOR", "1");
}
