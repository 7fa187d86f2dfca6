//! `redlink bench`: how many, how fast, beside the bare echo of the same bytes on the same machine in the same run.

mod batches;
mod echo;
mod load;
mod report;
mod site;
mod workers;

use super::args::{self, Target, Terms};
use super::exit::{Done, Exit, Failure};
use super::output::note;
use crate::client::{Client, Error, Fate, Request, Submission};
use bytes::Bytes;
use clap::Args;
use load::{Amount, Load, Measured};
use report::{Report, Row};
use std::sync::Arc;
use std::time::Duration;
use workers::Workers;

/// Measure calls and sends of a node, beside a bare HTTPS echo
///
/// Uses the node of this directory (or --node); without one it starts a node in a temporary directory and removes it
/// afterwards. Workers that echo the payload run in this process and talk to the node as any client does, over HTTPS.
/// Clients, workers, node and echo share this machine's cores: ratios say more than absolute figures.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink bench
  redlink bench --in-flight 1 --messages 1000
  redlink bench --links 1 --in-flight 256
  redlink bench --batch 64
  redlink bench --payload 64KiB --duration 10s --json")]
pub(super) struct Options {
    /// Requests that wait for an answer at any time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,

    /// How long each part takes
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = args::duration)]
    duration: Duration,

    /// How many requests each part makes, instead of a time
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,

    /// Payload of each message and each reply
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = args::bytes)]
    payload: usize,

    /// Workers that take and answer at once [default: as many as in flight, at most 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    workers: Option<u16>,

    /// Where messages are kept: disk, or memory
    #[arg(long, value_name = "WHERE", default_value = "disk", value_parser = ["disk", "memory"])]
    durability: String,

    /// Also measure batches of so many: submits, exchanges of workers and collected outcomes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=1024))]
    batch: Option<u16>,

    /// Links between producers and workers: starts a chain of one node more, and measures the producers' own node too
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=7))]
    links: u8,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Workers unless said otherwise, at most.
const WORKERS_MAX: u16 = 64;
/// How long the outcomes of sends are kept: nobody collects them, and a full table would end the measurement.
const RETENTION: &str = "1s";
/// How long one call may take before it counts as failed.
const WAIT: Duration = Duration::from_secs(60);

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    tokio::select! {
        done = measure(options) => done,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

async fn measure(options: Options) -> Done {
    if cfg!(debug_assertions) {
        note("this is a build without optimisation: its figures mean little (use --release)");
    }
    let site = site::Site::find(&options.target, options.links).await?;
    let amount = options
        .messages
        .map_or(Amount::For(options.duration), Amount::Count);
    let load = Load {
        in_flight: options.in_flight,
        amount,
    };
    let worker_count = options.workers.unwrap_or(options.in_flight.min(WORKERS_MAX));
    // Bytes that don't compress, should anything on the way try.
    let payload: Bytes = (0..options.payload)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();

    let echo = bare_echo(&load, &payload).await?;
    let mut rows = vec![Row::timed("bare HTTPS echo", &echo, None)];
    let service = format!("redlink-bench-{}", std::process::id());
    let near = Place {
        site: &site,
        workers: &site.client,
        service: &service,
        durability: &options.durability,
        names: match options.durability.as_str() {
            "memory" => [
                "calls in memory",
                "sends, in memory",
                "sends in memory, processed",
            ],
            _ => ["calls, reply waited for", "sends, on disk", "sends, processed"],
        },
    };
    rows.extend(near.measure(&load, worker_count, &payload, &echo).await?);
    if let Some(far) = &site.far {
        let far = Place {
            site: &site,
            workers: far,
            service: &format!("{service}-far"),
            durability: &options.durability,
            names: [
                "calls over the links",
                match options.durability.as_str() {
                    "memory" => "sends over the links, in memory",
                    _ => "sends over the links, on disk",
                },
                "sends over the links, processed",
            ],
        };
        rows.extend(far.measure(&load, worker_count, &payload, &echo).await?);
    }
    if let Some(batch) = options.batch {
        let batches = batches::Batches {
            client: &site.client,
            workers: site.far.as_ref().unwrap_or(&site.client),
            service: format!("{service}-batch"),
            size: batch,
            durability: &options.durability,
            payload: &payload,
        };
        rows.extend(batches.measure(&load, &echo).await?);
    }
    let report = Report {
        node: site.name.clone(),
        url: site.client.url().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        optimised: !cfg!(debug_assertions),
        payload: options.payload,
        in_flight: options.in_flight,
        workers: worker_count,
        batch: options.batch,
        links: options.links,
        rows,
    };
    report.print(options.json)?;
    Ok(Exit::Done)
}

/// Where the workers are, and what the rows of their measurement are called.
struct Place<'a> {
    site: &'a site::Site,
    workers: &'a Client,
    service: &'a str,
    durability: &'a str,
    names: [&'static str; 3],
}

impl Place<'_> {
    async fn measure(
        &self,
        load: &Load,
        worker_count: u16,
        payload: &Bytes,
        echo: &Measured,
    ) -> Result<Vec<Row>, Failure> {
        let client = &self.site.client;
        let workers = Workers::start(self.workers, self.service, worker_count).await?;
        let before = self.site.link_traffic().await?;
        let submission = |send_only| {
            Terms {
                durability: Some(self.durability.to_owned()),
                ..Terms::default()
            }
            .submission(self.service, send_only, payload.clone())
        };
        let calls = calls(load, client, submission(false)).await?;
        let traffic = self.site.link_traffic().await?.since(&before);
        let handled = workers.handled();
        let sends = sends(load, client, submission(true)).await?;
        let delivered = workers
            .until_handled(handled, sends.accepted(), sends.started)
            .await?;
        workers.stop().await?;
        let [called, sent, processed] = self.names;
        Ok(vec![
            Row::timed(called, &calls, Some(echo)).with_traffic(traffic.each(calls.accepted())),
            Row::timed(sent, &sends, Some(echo)),
            Row::counted(processed, sends.accepted(), delivered, echo),
        ])
    }
}

/// What TLS and HTTP alone cost here.
async fn bare_echo(load: &Load, payload: &Bytes) -> Result<Measured, Failure> {
    let echo =
        echo::Echo::start().map_err(|e| Failure::failed(format!("can't start the bare echo: {e:#}")))?;
    let client = echo.client()?;
    let payload = payload.clone();
    load.run("bare HTTPS echo", move || {
        let expected = payload.len();
        let request = Request::new(http::Method::POST, "/").body(payload.clone());
        let client = client.clone();
        async move {
            let answer = client.request(request).await?;
            check_length(answer.body.len(), expected)
        }
    })
    .await
}

async fn calls(load: &Load, client: &Client, submission: Submission) -> Result<Measured, Failure> {
    let (client, expected) = (client.clone(), submission.payload.len());
    let submission = Arc::new(submission);
    load.run("calls", move || {
        let (client, submission) = (client.clone(), Arc::clone(&submission));
        async move {
            match client.call(&submission, WAIT).await? {
                Fate::Settled(settled) if settled.good => check_length(settled.payload.len(), expected),
                Fate::Settled(settled) => {
                    Err(Failure::failed(format!("a call ended as {}", settled.outcome)).into())
                }
                Fate::Open(_) => Err(Failure::failed("a call had no outcome within 60 s").into()),
            }
        }
    })
    .await
}

async fn sends(load: &Load, client: &Client, mut submission: Submission) -> Result<Measured, Failure> {
    submission.headers.push(("redlink-retention", RETENTION.into()));
    let submission = Arc::new(submission);
    let client = client.clone();
    load.run("sends", move || {
        let (client, submission) = (client.clone(), Arc::clone(&submission));
        async move {
            match client.submit(&submission).await {
                Ok(_) => Ok(()),
                // Full: the workers are behind. It is the answer that it should be (P7), and is counted.
                Err(Error::Refused(problem)) if problem.status == 429 => Err(load::Trouble::Full),
                Err(other) => Err(Failure::from(other).into()),
            }
        }
    })
    .await
}

fn check_length(is: usize, expected: usize) -> Result<(), load::Trouble> {
    match is == expected {
        true => Ok(()),
        false => Err(Failure::failed(format!("{is} bytes came back instead of {expected}")).into()),
    }
}
