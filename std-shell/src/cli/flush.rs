//! `redlink flush`.

use super::args::{self, Target};
use super::exit::{Done, Exit};
use super::output;
use crate::client::{Client, Request};
use crate::driver::Flushed;
use clap::Args;
use http::Method;

/// Cancel all open messages of a service, or of all services
///
/// Each gets the outcome `cancelled`, which its producer can collect as any other; what is being worked on no longer
/// counts. Only messages that were submitted at this node are its to cancel.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink flush --service wc --dry-run
  redlink flush --service wc
  redlink flush --all")]
pub(super) struct Options {
    /// Those for this service
    #[arg(long, value_parser = args::name, required_unless_present = "all", conflicts_with = "all")]
    service: Option<String>,

    /// Those of all services
    #[arg(long)]
    all: bool,

    /// Only say how many there are
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let which = match &options.service {
        Some(service) => format!("service={service}"),
        None => "all=true".into(),
    };
    let path = format!("/v1/flush?{which}&max=10000&dry_run={}", options.dry_run);
    let mut total = Flushed::default();
    loop {
        let answer = client.request(Request::new(Method::POST, path.as_str())).await?;
        let flushed: Flushed = client.read(&answer)?;
        let done = !flushed.more || flushed.count == 0;
        total = Flushed {
            count: total.count + flushed.count,
            ..flushed
        };
        if done {
            break;
        }
    }
    match (options.json, total.dry_run) {
        (true, _) => output::json(&total)?,
        (false, true) => output::note(&format!("{} would be cancelled", total.count)),
        (false, false) => output::note(&format!("{} cancelled", total.count)),
    }
    Ok(Exit::Done)
}
