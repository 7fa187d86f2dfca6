//! Processes that `redlink demo` and `redlink bench` start, and that must not outlive them.

use super::exit::Failure;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Holds the starter's process id.
const FOLLOW: &str = "REDLINK_FOLLOW_PARENT";
/// How long a process has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How often an ending process is looked at; there is no call that waits for one with a bound.
const LOOK: Duration = Duration::from_millis(10);

/// In a process started by a [`Family`]: ends with its starter, even if that is killed with no chance to clean up.
pub(super) fn follow_parent() {
    #[cfg(target_os = "linux")]
    {
        let starter = std::env::var(FOLLOW)
            .ok()
            .and_then(|id| id.parse().ok())
            .and_then(Pid::from_raw);
        // What a worker runs inherits the variable, but its parent is another process.
        if starter.is_some() && starter == rustix::process::getppid() {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
        }
    }
}

/// A process and its output.
#[derive(Debug)]
struct Member {
    name: String,
    process: Child,
    log: PathBuf,
}

/// Processes that end with this value, the youngest first.
#[derive(Debug, Default)]
pub(super) struct Family {
    members: Vec<Member>,
}

impl Family {
    /// Starts a command that runs on, with its output in a file. Its process id.
    ///
    /// Must be called on a thread that lives as long as this process: [`follow_parent`] follows the thread.
    pub(super) fn start(&mut self, name: &str, line: &mut Command, log: &Path) -> Result<u32, Failure> {
        let refuse = |e: std::io::Error| Failure::failed(format!("can't start {name}: {e}"));
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(refuse)?;
        let process = line
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(refuse)?)
            .stderr(out)
            // Ctrl-C is for this process, which then ends the others in order.
            .process_group(0)
            .env(FOLLOW, std::process::id().to_string())
            .spawn()
            .map_err(refuse)?;
        let id = process.id();
        self.members.push(Member {
            name: name.to_owned(),
            process,
            log: log.to_owned(),
        });
        Ok(id)
    }

    /// An error with its last words if any process has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        for member in &mut self.members {
            if let Ok(Some(status)) = member.process.try_wait() {
                let log = std::fs::read_to_string(&member.log).unwrap_or_default();
                let lines: Vec<&str> = log.trim_end().lines().collect();
                let last = lines[lines.len().saturating_sub(8)..].join("\n  ");
                return Err(Failure::failed(format!(
                    "{} ended with {status}:\n  {last}",
                    member.name
                )));
            }
        }
        Ok(())
    }

    /// Ends one process.
    pub(super) fn end(&mut self, name: &str) {
        if let Some(at) = self.members.iter().rposition(|member| member.name == name) {
            let mut member = self.members.remove(at);
            member.end();
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        while let Some(mut member) = self.members.pop() {
            member.end();
        }
    }
}

impl Member {
    /// SIGTERM, and SIGKILL where that doesn't help. Only a process that was not waited for yet is signalled: its id
    /// can't be another's.
    fn end(&mut self) {
        let until = Instant::now() + GRACE;
        if let (Ok(None), Some(id)) = (
            self.process.try_wait(),
            Pid::from_raw(self.process.id().cast_signed()),
        ) {
            let _ = kill_process(id, Signal::TERM);
        }
        while let Ok(None) = self.process.try_wait() {
            if Instant::now() > until {
                let _ = self.process.kill();
                let _ = self.process.wait();
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut line = Command::new("/bin/sh");
        line.args(["-c", script]);
        line
    }

    #[test]
    fn a_family_ends_with_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let mut family = Family::default();
        let id = family
            .start("sleeper", &mut shell("exec sleep 1000"), &dir.path().join("log"))
            .unwrap();
        family.check().unwrap();
        drop(family);
        let gone = rustix::process::test_kill_process(Pid::from_raw(id.cast_signed()).unwrap());
        assert_eq!(gone, Err(rustix::io::Errno::SRCH));
    }

    #[test]
    fn the_last_words_of_a_fallen_member_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut family = Family::default();
        family
            .start(
                "broken",
                &mut shell("echo no disk >&2; exit 3"),
                &dir.path().join("log"),
            )
            .unwrap();
        family.members[0].process.wait().unwrap();
        let failure = family.check().unwrap_err();
        assert!(
            failure.what.contains("broken") && failure.what.contains("no disk"),
            "{}",
            failure.what
        );
    }
}
