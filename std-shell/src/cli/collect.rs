//! `redlink collect`: an outcome, once; or all of a producer's.

mod all;

use super::args::{self, Target};
use super::exit::Done;
use super::submit::{Showing, hand_over};
use crate::client::Client;
use clap::Args;
use redlink_core::MessageId;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Wait for a message's outcome, print it, let the node forget it
///
/// The reply goes to standard output as it is, a failure's text to standard error. The node forgets the outcome after
/// it was printed, not before. With --producer all outcomes under that name are printed, one a line: id, outcome and
/// text, or with --json one object each; those that were printed are forgotten.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink collect 0000000000000abc-17
  redlink collect 0000000000000abc-17 --wait 0s     look without waiting
  redlink collect 0000000000000abc-17 --keep        look without collecting
  redlink collect --producer shop --json            all outcomes of that name
  redlink collect --producer shop --follow          and those that come")]
pub(super) struct Options {
    /// The message's id, as `redlink send` printed it
    #[arg(value_parser = args::message_id, required_unless_present = "producer", conflicts_with = "producer")]
    id: Option<MessageId>,

    /// All outcomes that are collected under this name, those of the oldest messages first
    #[arg(long, value_name = "NAME", value_parser = args::name)]
    producer: Option<String>,

    /// Go on with those that come, until interrupted
    #[arg(long, requires = "producer", conflicts_with_all = ["wait", "keep"])]
    follow: bool,

    /// How long to wait for the outcome
    #[arg(long, value_name = "TIME", value_parser = args::duration, default_value = "60s")]
    wait: Duration,

    /// Leave the outcome at the node
    #[arg(long)]
    keep: bool,

    /// Write what was preserved to a file; `-` is standard error
    #[arg(long, value_name = "FILE")]
    preserved_to: Option<PathBuf>,

    /// Print JSON: id, outcome, time waited and the reply as `text` or, if it isn't text, `base64`; `reason` of a failure;
    /// `preserved` or `preserved_base64`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    let client = super::progress::watched(Client::new(&options.target.context()?)?);
    let id = match (options.id, options.producer) {
        (Some(id), _) => id,
        (None, producer) => {
            let all = all::Collect {
                producer: producer.unwrap_or_default(),
                wait: options.wait,
                follow: options.follow,
                keep: options.keep,
                json: options.json,
            };
            return all.run(&client).await;
        }
    };
    let start = Instant::now();
    let fate = client.outcome(id, options.wait).await?;
    let how = Showing {
        json: options.json.then(|| start.elapsed()),
        keep: options.keep,
        preserved_to: options.preserved_to.as_deref(),
    };
    hand_over(&client, fate, how).await
}
