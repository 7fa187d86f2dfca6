//! `redlink node`: the node itself, in this process.

use super::args;
use super::exit::{Done, Exit, Failure};
use super::output::{Stream, Tone, note, paint};
use crate::client::{Client, Context, Place};
use crate::config::{ConfigError, Logging, Partial};
use crate::driver::NodeStatus;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Run a node in this directory
///
/// The first start makes all that a node needs, in ./.redlink: authority, certificate, admin token, settings, store.
/// With --north and --token the first start joins the mesh of another node instead; the token is needed only then. Its
/// certificate renews itself while the node runs; SIGHUP makes it look at its certificate files at once.
///
/// Ctrl-C or SIGTERM: no new work, what runs may finish for a while. A second one ends it now.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink node
  redlink node --dir /var/lib/redlink --name hall-3 --listen 0.0.0.0:7411
  redlink node --north https://HOST:7411 --token TOKEN
  redlink node --log debug --drain 1m

Settings are kept in .redlink/redlink.toml. A flag counts more than the environment (REDLINK_LISTEN and so on), that \
more than the file. `redlink config show` prints all settings, `redlink config check` finds mistakes. SIGHUP reads the \
file again; what needs a restart is said in the log.")]
pub(super) struct Options {
    /// Where its .redlink directory is or is made
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    #[command(flatten)]
    settings: SettingFlags,

    /// Join token, made by `redlink token create` at any node of the mesh
    #[arg(
        long,
        env = "REDLINK_JOIN_TOKEN",
        hide_env_values = true,
        requires = "north",
        conflicts_with = "mesh"
    )]
    token: Option<String>,
}

/// Settings that have a flag; the table of settings says which.
#[derive(Args, Debug, Default)]
pub(super) struct SettingFlags {
    /// Its name, unique in its mesh [default: this machine's name]
    #[arg(long, value_parser = args::name)]
    name: Option<String>,

    /// The name of a new mesh [default: mesh]
    #[arg(long, value_parser = args::name)]
    mesh: Option<String>,

    /// Where it listens, repeatable [default: localhost:7411]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<String>,

    /// Host name or address under which other machines dial it, for its certificate; repeatable
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,

    /// For each such time that a message has waited at this node it gains one level of priority, so that low priority is
    /// not starved; or none [default: none]
    #[arg(long, value_name = "TIME")]
    ageing: Option<String>,

    /// URL at which nodes elsewhere reach this one, so that large payloads may go straight, around the nodes between
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,

    /// How large payloads of this node's messages go: reverse, along the way of their offers, or direct [default: reverse]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// A node to link with, repeatable
    #[arg(long, value_name = "URL")]
    north: Vec<String>,

    /// HTTP proxy to the norths, or `none` [default: as HTTPS_PROXY, ALL_PROXY and NO_PROXY say]
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,

    /// How links to the norths travel: auto, stream or poll [default: auto]
    #[arg(long, value_name = "MODE")]
    link: Option<String>,

    /// How long work that is under way may go on after SIGTERM or Ctrl-C [default: 10s]
    #[arg(long, value_name = "TIME")]
    drain: Option<String>,

    /// What is logged: error, warn, info, debug, trace, off, or a list of TARGET=LEVEL [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,

    /// How the log looks: text, json, or auto, which is text on a terminal and JSON elsewhere [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl From<SettingFlags> for Partial {
    fn from(flags: SettingFlags) -> Self {
        let list = |values: Vec<String>| (!values.is_empty()).then_some(values);
        Self {
            name: flags.name,
            mesh: flags.mesh,
            listen: list(flags.listen),
            hosts: list(flags.host),
            north: list(flags.north).map(|urls| urls.into_iter().map(Into::into).collect()),
            proxy: flags.proxy.map(Into::into),
            link: flags.link,
            ageing: flags.ageing,
            advertise: flags.advertise,
            path: flags.path,
            drain: flags.drain,
            log: flags.log,
            log_format: flags.log_format,
            ..Self::default()
        }
    }
}

/// Runs the verb.
pub(super) async fn run(options: Options) -> Done {
    let flags: Partial = options.settings.into();
    let directory = options.dir.join(crate::config::DIRECTORY);
    // A wrong word for it is complained of where the node starts. In the midst of JSON a greeting is noise.
    let greets = Logging::load(&directory, &flags).is_ok_and(|logging| logging.is_text());
    let running = crate::node::run(&directory, flags, options.token);
    let greeting = async {
        if greets {
            greet(&options.dir).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        ended = running => match ended {
            Ok(()) => Ok(Exit::Done),
            Err(error) => Err(match error.downcast_ref() {
                Some(ConfigError::File(faults)) => super::config::report(faults),
                Some(ConfigError::Value(_)) => Failure::usage(format!("{error:#}")),
                _ => Failure::failed(format!("{error:#}")),
            }),
        },
        () = greeting => Ok(Exit::Done),
    }
}

/// How often the node is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(50);

/// Says where the node is and what to do next, as soon as a program like this one can reach it.
async fn greet(dir: &Path) {
    let place = Place::Directory(dir.to_owned());
    let start = Instant::now();
    let (client, status) = loop {
        tokio::time::sleep(LOOK).await;
        // Until it is ready the files may be missing, or tell of an earlier life.
        let found = Context::find(Some(&place), None, None, Path::new("/"));
        let Ok(client) = found.and_then(|found| Client::new(&found)) else {
            continue;
        };
        match client.get::<NodeStatus>("/v1/node").await {
            // Not another process's node in this directory, which this one is about to complain of.
            Ok(status) if status.ready && Duration::from_millis(status.uptime_ms) < start.elapsed() => {
                break (client, status);
            }
            _ => {}
        }
    };
    let here = dir == Path::new(".");
    let node = if here {
        String::new()
    } else {
        format!(" --node {}", super::demo::quote(dir.as_os_str()))
    };
    let curlrc = dir.join(crate::config::DIRECTORY).join(crate::trust::CURLRC_FILE);
    let curlrc = if here {
        curlrc.strip_prefix(".").unwrap_or(&curlrc).to_owned()
    } else {
        curlrc
    };
    let head = format!(
        "node {} of mesh {} is ready at {}",
        status.name,
        status.mesh,
        client.url()
    );
    note(&format!(
        "{}. Try, in another terminal:
  redlink serve wc{node} -- wc -w           a worker: payload on stdin, reply on stdout
  redlink call wc FILE{node}                call it
  redlink status{node}
  redlink token create{node}                let another node join
  curl -K {} {}/v1/node",
        paint(Stream::Err, Tone::Good, &head),
        super::demo::quote(curlrc.as_os_str()),
        client.url()
    ));
}
