//! One run of the command.

use super::command::Command;
use crate::client::Taken;
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much of standard error is kept: its end.
const STDERR_MAX: usize = 4_096;
/// How much of standard output is taken for a reply; a command that writes without end must not fill the machine.
const REPLY_MAX: usize = 256 << 20;
/// How long a command has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// All of standard output; none if it was more than is taken.
    pub(super) reply: Option<Bytes>,
    /// The end of standard error.
    pub(super) stderr: Vec<u8>,
}

/// A running command, in a process group of its own: a signal meant for this process doesn't reach it, and one sent
/// to it reaches what it started.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    group: Option<Pid>,
}

impl Child {
    /// Starts the command on a message.
    pub(super) fn start(command: &Command, taken: &Taken) -> io::Result<Self> {
        let mut line = tokio::process::Command::new(&command.program);
        line.args(&command.arguments)
            .stdin(Stdio::from(payload_file(&taken.payload)?))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        for (name, value) in environment(taken) {
            match value {
                Some(value) => line.env(name, value),
                // A worker in a worker's environment must not show the outer message's.
                None => line.env_remove(name),
            };
        }
        let process = line.spawn()?;
        let group = process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { process, group })
    }

    /// Until it and all that it left its standard output to have ended.
    pub(super) async fn ended(&mut self) -> io::Result<Ended> {
        // Lent, not taken: if this is given up, the command must still find its pipes open while it cleans up.
        let (stdout, stderr) = (self.process.stdout.as_mut(), self.process.stderr.as_mut());
        let (reply, stderr) = tokio::try_join!(whole(stdout), tail(stderr))?;
        let status = self.process.wait().await?;
        Ok(Ended {
            status,
            reply,
            stderr,
        })
    }

    /// Asks it to end, and ends it where it doesn't.
    pub(super) async fn end(&mut self) {
        self.signal(Signal::TERM);
        let (stdout, stderr) = (self.process.stdout.take(), self.process.stderr.take());
        // What it still says is of no use, but it must be able to say it.
        let listen = async {
            let _ = tokio::join!(tail(stdout), tail(stderr));
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = tokio::time::timeout(GRACE, self.process.wait()) => ended.is_ok(),
            () = listen => false,
        };
        if ended {
            // What it started and left behind.
            self.signal(Signal::KILL);
        } else {
            self.kill().await;
        }
    }

    /// Ends it now.
    pub(super) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.process.wait().await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // That the group is gone already is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// The payload as a file without a name, read from its start. Unlike a pipe that this process would have to feed, it
/// is complete whatever happens to this process: a cut payload never looks like the end of one.
fn payload_file(payload: &[u8]) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    let mut file: File = rustix::fs::memfd_create("redlink-payload", rustix::fs::MemfdFlags::CLOEXEC)?.into();
    #[cfg(not(target_os = "linux"))]
    let mut file = tempfile::tempfile()?;
    file.write_all(payload)?;
    file.rewind()?;
    Ok(file)
}

fn environment(taken: &Taken) -> [(&'static str, Option<&str>); 6] {
    [
        ("REDLINK_MESSAGE_ID", Some(&taken.message)),
        ("REDLINK_ATTEMPT", Some(&taken.attempt)),
        ("REDLINK_DEADLINE", taken.deadline.as_deref()),
        ("REDLINK_CONTENT_TYPE", taken.content_type.as_deref()),
        ("TRACEPARENT", taken.traceparent.as_deref()),
        ("TRACESTATE", taken.tracestate.as_deref()),
    ]
}

/// All of a pipe. Of more than is taken nothing is returned, but it is read all the same, so that the command ends.
async fn whole(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Option<Bytes>> {
    let Some(mut pipe) = pipe else {
        return Ok(Some(Bytes::new()));
    };
    let mut all = Vec::new();
    (&mut pipe)
        .take(REPLY_MAX as u64 + 1)
        .read_to_end(&mut all)
        .await?;
    if all.len() <= REPLY_MAX {
        return Ok(Some(all.into()));
    }
    drop(all);
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(None)
}

/// The end of a pipe.
async fn tail(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let Some(mut pipe) = pipe else {
        return Ok(Vec::new());
    };
    let mut kept = Vec::new();
    let mut piece = [0; STDERR_MAX];
    loop {
        let n = pipe.read(&mut piece).await?;
        if n == 0 {
            return Ok(kept);
        }
        kept.extend_from_slice(&piece[..n]);
        if kept.len() > STDERR_MAX {
            kept.drain(..kept.len() - STDERR_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Taken;

    fn taken(payload: impl Into<Bytes>) -> Taken {
        Taken {
            delivery: "/v1/deliveries/x".into(),
            message: "0000000000000abc-17".into(),
            attempt: "2".into(),
            deadline: None,
            lease: Duration::from_secs(30),
            send_only: false,
            content_type: Some("text/plain".into()),
            traceparent: Some("00-1-2-01".into()),
            tracestate: None,
            payload: payload.into(),
        }
    }

    fn shell(script: &str) -> Command {
        Command {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
        }
    }

    async fn run(script: &str, payload: impl Into<Bytes>) -> Ended {
        Child::start(&shell(script), &taken(payload))
            .unwrap()
            .ended()
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_payload_comes_in_and_the_reply_goes_out_as_they_are() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        let ended = run("cat", bytes.clone()).await;
        assert!(ended.status.success());
        assert_eq!(ended.reply.unwrap(), bytes);
    }

    #[tokio::test]
    async fn a_command_that_reads_nothing_is_no_error() {
        let ended = run("exit 0", vec![0; 1 << 20]).await;
        assert!(ended.status.success());
        assert_eq!(ended.reply.unwrap(), "");
    }

    #[tokio::test]
    async fn the_environment_tells_about_the_message() {
        let script = "echo $REDLINK_MESSAGE_ID $REDLINK_ATTEMPT ${REDLINK_DEADLINE-none} $REDLINK_CONTENT_TYPE $TRACEPARENT ${TRACESTATE-none}";
        let ended = run(script, "").await;
        assert_eq!(
            ended.reply.unwrap(),
            "0000000000000abc-17 2 none text/plain 00-1-2-01 none\n"
        );
    }

    #[tokio::test]
    async fn only_the_end_of_stderr_is_kept() {
        let ended = run(
            "head -c 100000 /dev/zero | tr '\\0' x >&2; echo why >&2; exit 3",
            "",
        )
        .await;
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.stderr.len(), STDERR_MAX);
        assert!(ended.stderr.ends_with(b"why\n"));
    }

    #[tokio::test]
    async fn ending_it_reaches_what_it_started() {
        let mut child = Child::start(&shell("sleep 1000 & echo $!; wait"), &taken("")).unwrap();
        let mut stdout = child.process.stdout.take().unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.push(stdout.read_u8().await.unwrap());
        }
        let sleeper: i32 = String::from_utf8(line).unwrap().trim().parse().unwrap();
        child.end().await;
        // The pipe closes when the last process that holds it is gone.
        let rest = tokio::time::timeout(Duration::from_secs(20), stdout.read_u8())
            .await
            .unwrap();
        assert!(rest.is_err(), "process {sleeper} still writes");
    }
}
