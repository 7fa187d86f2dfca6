//! `redlink relay`: a cable between two ports that can be pulled.
//!
//! The demo puts it between its nodes, because ending it cuts their link while both live.

use super::exit::{Done, Exit, Failure};
use super::output::note;
use clap::Args;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

/// Pass TCP connections on, unchanged; ending it cuts them
///
/// For trying out what happens when a link breaks: let a node dial the relay instead of its north node.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  redlink relay 127.0.0.1:7500 127.0.0.1:7411
  redlink node --north https://localhost:7500 --token TOKEN")]
pub(super) struct Options {
    /// Where it listens, e.g. 127.0.0.1:7500
    listen: String,

    /// Where it passes connections on to, e.g. 127.0.0.1:7411
    to: String,
}

/// Runs the verb until Ctrl-C or SIGTERM.
pub(super) async fn run(options: Options) -> Done {
    let listener = TcpListener::bind(&options.listen).await.map_err(|e| {
        Failure::usage(format!("can't listen at {}: {e}", options.listen))
            .hint("give a free address as HOST:PORT")
    })?;
    let refuse = |e| Failure::failed(format!("can't listen for signals: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refuse)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refuse)?;
    note(&format!("relaying {} to {}", options.listen, options.to));
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(Exit::Done),
            _ = terminate.recv() => return Ok(Exit::Done),
            accepted = listener.accept() => match accepted {
                Ok((near, _)) => {
                    tokio::spawn(pass_on(near, options.to.clone()));
                }
                Err(e) => {
                    // Out of file numbers, for instance: connections that end make room.
                    note(&format!("can't accept a connection: {e}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// Until both sides have ended, or one broke.
async fn pass_on(mut near: TcpStream, to: String) {
    match TcpStream::connect(&to).await {
        Ok(mut far) => {
            let _ = near.set_nodelay(true);
            let _ = far.set_nodelay(true);
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
        Err(e) => note(&format!("can't reach {to}: {e}")),
    }
}
