//! `redlink demo`: two nodes, a worker and a link that is cut, in a temporary directory, by commands that are printed.

mod files;
mod script;
mod stage;

use super::exit::{Done, Exit, Failure};
use super::output::note;
use clap::Args;
use stage::Stage;

pub(super) use stage::quote;
use tokio::signal::unix::{SignalKind, signal};

/// Show what Redlink does, with two nodes on this machine
///
/// A worker, calls, and a link that is cut and restored.
///
/// Everything runs as processes of their own in a temporary directory on free ports of this machine, by commands that
/// are printed and work in another terminal, too. It stays up until Ctrl-C and leaves nothing behind.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink demo
  redlink demo --exit      end after the show")]
pub(super) struct Options {
    /// End after the show instead of staying up
    #[arg(long)]
    exit: bool,
}

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    let refuse = |e| Failure::failed(format!("can't listen for signals: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refuse)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refuse)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(refuse)?;

    // Owns the processes and the directory: however this function ends, they go with it.
    let mut stage = Stage::new()?;
    let show = async {
        script::run(&mut stage).await?;
        if !options.exit {
            script::stay(&mut stage).await?;
        }
        Ok(Exit::Done)
    };
    let done = tokio::select! {
        done = show => done,
        _ = interrupt.recv() => Ok(Exit::Done),
        _ = terminate.recv() => Ok(Exit::Done),
        _ = hang_up.recv() => Ok(Exit::Done),
    };
    note("\nstopping the processes and removing their directory");
    drop(stage);
    done
}
