//! `redlink serve`: any command becomes a consumer.
//!
//! N takers share one consumer name with in-transit limit N; each takes a message, runs the command with the payload
//! on its standard input, answers, and takes the next one over the same connection.

mod backoff;
mod child;
mod command;
mod delivery;
mod stop;
mod taker;

use super::args::{self, Target};
use super::exit::{Done, Exit, Failure};
use super::output::note;
use crate::client::Client;
use clap::Args;
use redlink_core::{Name, Rate};
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use stop::Stop;
use tokio::task::JoinSet;

/// Run a command for every message of a service
///
/// The command gets the payload on standard input and what it writes to standard output is the reply. Exit status 0
/// replies (or acknowledges a send-only message), 75 gives the message back untouched, anything else fails it with the
/// end of standard error. While it runs its lease is extended; when the message is lost to it (deadline passed,
/// cancelled, granted again) it gets SIGTERM, and SIGKILL 5 s later.
///
/// In its environment: REDLINK_MESSAGE_ID, REDLINK_ATTEMPT, and where there are any REDLINK_DEADLINE (RFC 3339),
/// REDLINK_CONTENT_TYPE, TRACEPARENT and TRACESTATE (W3C Trace Context).
///
/// Ctrl-C or SIGTERM: no new messages, what runs may finish. A second one kills and gives back.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink serve wc -- wc -w
  redlink serve resize --concurrency 4 -- convert - -resize 640x -
  redlink serve mail --rate 100/h -- sendmail -t
  redlink serve order -- sh -c 'curl -sfd @- https://erp.example || exit 75'")]
pub(super) struct Options {
    /// The service that it offers
    #[arg(value_parser = args::name)]
    service: String,

    /// How many commands run at once
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,

    /// Name of this consumer; processes that share one share its limit [default: HOST-PID]
    #[arg(long, value_parser = args::name)]
    name: Option<String>,

    /// How long the node waits for a sign of life before it gives the message to another [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = lease)]
    lease: Option<Duration>,

    /// Take no more messages than so many in a second, minute, hour or day, such as 100/s or 5/d [default: no limit]
    ///
    /// What is not used adds up to one period's worth, so that many may come at once; a consumer that was registered just
    /// now begins with one. For an even flow name a short period: 10/s rather than 600/m.
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,

    /// What the replies are, e.g. application/json [default: not said]
    #[arg(long, value_name = "TYPE", value_parser = args::content_type)]
    content_type: Option<String>,

    /// Say on standard error what becomes of each message
    #[arg(long, short)]
    verbose: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    #[command(flatten)]
    target: Target,
}

/// Shortest lease that leaves time for three extensions over a slow network.
const LEASE_MIN: Duration = Duration::from_secs(1);

fn lease(text: &str) -> Result<Duration, String> {
    let lease = args::duration(text)?;
    match lease < LEASE_MIN {
        true => Err("a lease is at least 1s: it is extended three times in its length".into()),
        false => Ok(lease),
    }
}

/// What all takers of this process share.
struct Worker {
    client: Client,
    service: String,
    consumer: String,
    limit: u16,
    lease: Option<Duration>,
    rate: Option<Rate>,
    content_type: Option<String>,
    verbose: bool,
    command: command::Command,
    stop: Stop,
    /// The node did not answer last time; said once, not by every taker.
    away: AtomicBool,
}

/// How often the registration is repeated: a node that was restarted forgot it, and its limit with it.
const REGISTER_EVERY: Duration = Duration::from_secs(10);

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    let command = command::Command::find(&options.command)?;
    let client = Client::new(&options.target.context()?)?;
    let worker = Arc::new(Worker {
        client,
        service: options.service,
        consumer: options.name.clone().unwrap_or_else(own_name),
        limit: options.concurrency,
        lease: options.lease,
        rate: options.rate,
        content_type: options.content_type,
        verbose: options.verbose,
        command,
        stop: Stop::listen()?,
        away: AtomicBool::new(false),
    });
    worker.register().await?;
    note(&format!(
        "serving {} as {} at {}",
        worker.service,
        worker.consumer,
        worker.client.url()
    ));

    let mut takers = JoinSet::new();
    for _ in 0..worker.limit {
        let worker = Arc::clone(&worker);
        takers.spawn(async move { taker::run(&worker).await });
    }
    let done = tokio::select! {
        done = finish(&worker, &mut takers) => done,
        never = keep_registered(&worker) => match never {},
    };
    // A name of its own dies with the process; a given one may be another process's too and is left to its liveness.
    if options.name.is_none() {
        let leave = worker.client.unregister(&worker.service, &worker.consumer);
        let _ = tokio::time::timeout(Duration::from_secs(2), leave).await;
    }
    done
}

/// Waits for all takers; the first that fails stops the others.
async fn finish(worker: &Worker, takers: &mut JoinSet<Result<(), Failure>>) -> Done {
    let mut done = Ok(if worker.stop.is_killing() {
        Exit::Interrupted
    } else {
        Exit::Done
    });
    while let Some(taker) = takers.join_next().await {
        let failure = match taker {
            Ok(Ok(())) => continue,
            Ok(Err(failure)) => failure,
            Err(panic) => Failure::failed(format!("a worker broke down: {panic}")),
        };
        worker.stop.drain();
        if done.is_ok() {
            done = Err(failure);
        }
    }
    match done {
        Ok(_) if worker.stop.is_killing() => Ok(Exit::Interrupted),
        other => other,
    }
}

async fn keep_registered(worker: &Worker) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(REGISTER_EVERY).await;
        // Whether the node is there is for the takers to say.
        let _ = worker.register().await;
    }
}

impl Worker {
    async fn register(&self) -> Result<(), crate::client::Error> {
        self.client
            .register(&self.service, &self.consumer, self.limit, self.lease, self.rate)
            .await
    }
}

/// `HOST-PID`, as far as names go.
fn own_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name_for(&host, std::process::id())
}

fn name_for(host: &str, pid: u32) -> String {
    let tail = format!("-{pid}");
    let plain = host.chars().map(|c| {
        if c.is_ascii_alphanumeric() || ".-_".contains(c) {
            c
        } else {
            '_'
        }
    });
    let plain: String = plain.take(redlink_core::NAME_MAX - tail.len()).collect();
    let name = format!("{}{tail}", plain.trim_start_matches(['.', '-']));
    Name::new(&name).map_or_else(|_| format!("worker{tail}"), |name| name.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_name_gives_a_consumer_name() {
        assert_eq!(name_for("pi-3.local", 7), "pi-3.local-7");
        assert_eq!(name_for("B\u{fc}ro", 7), "B_ro-7");
        assert_eq!(name_for("", 7), "worker-7");
        assert_eq!(name_for("-.x", 7), "x-7");
        let long = name_for(&"h".repeat(300), u32::MAX);
        assert_eq!(long.len(), redlink_core::NAME_MAX);
        assert!(long.ends_with("-4294967295"));
        assert!(Name::new(&own_name()).is_ok());
    }

    #[test]
    fn a_lease_leaves_time_to_extend_it() {
        assert_eq!(lease("30s"), Ok(Duration::from_secs(30)));
        assert!(lease("10ms").is_err());
    }
}
