//! `redlink peer list|add|set|remove`.

use super::args::{self, Target};
use super::exit::{Done, Exit};
use super::list;
use super::output;
use crate::client::Client;
use crate::config::{NorthUrl, Rules};
use crate::driver::PeerInfo;
use crate::peers::{Changed, Wish};
use clap::{Args, Subcommand};
use std::time::{Duration, Instant};

/// See and change which nodes this one is linked with
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// List the nodes that this one is linked with
    #[command(after_help = "Examples:\n  redlink peer list\n  redlink peers --json")]
    List(list::Options),
    Add(AddOptions),
    Set(SetOptions),
    Remove(RemoveOptions),
}

/// What may pass over the link.
#[derive(Args, Debug)]
struct Policy {
    /// Of a north: tell its services to this node's south peers [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "What may pass")]
    redistribute: Option<bool>,

    /// Rule for services that the peer may announce here, repeatable; `!` denies, the first that matches counts
    #[arg(long, value_name = "PATTERN", value_parser = rule, help_heading = "What may pass")]
    import: Vec<String>,

    /// Rule for services that this node announces to the peer, repeatable
    #[arg(long, value_name = "PATTERN", value_parser = rule, help_heading = "What may pass")]
    export: Vec<String>,
}

/// How a node that is dialled is reached.
#[derive(Args, Debug)]
struct Way {
    /// HTTP proxy to it, or `none` [default: as for all norths]
    #[arg(long, value_name = "URL|none", help_heading = "How to get there")]
    proxy: Option<String>,

    /// How its link travels: `stream`, `poll`, or `auto`, which finds out [default: as for all norths]
    #[arg(long, value_name = "WAY", help_heading = "How to get there")]
    link: Option<String>,
}

impl Policy {
    fn wish(&self, way: Way) -> Result<Wish, String> {
        let rules = |list: &[String]| (!list.is_empty()).then(|| Rules::new(list)).transpose();
        Ok(Wish {
            redistribute: self.redistribute,
            import: rules(&self.import)?,
            export: rules(&self.export)?,
            proxy: way.proxy.map(Into::into),
            link: way.link,
            ..Wish::default()
        })
    }
}

/// Dial one more node, now and at each start
///
/// This node and that one must be of one mesh. The settings file is changed; what else is in it stays as it is.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink peer add https://hub.example:7411
  redlink peer add https://hub:7411 --name hub --redistribute false
  redlink peer add https://hub:7411 --import 'jobs.*' --export '*'")]
pub(super) struct AddOptions {
    /// Where it listens
    #[arg(value_name = "URL", value_parser = url)]
    url: String,

    /// The name that its certificate must prove [default: any of the mesh; it is learned]
    #[arg(long, value_parser = args::name)]
    name: Option<String>,

    /// How long to wait for the link before saying how it went; it is dialled for good in any case
    #[arg(long, value_name = "TIME", value_parser = args::duration, default_value = "5s")]
    wait: Duration,

    #[command(flatten)]
    policy: Policy,

    #[command(flatten)]
    way: Way,

    #[command(flatten)]
    target: Target,
}

/// Say what may pass over the links with a peer, and how it is reached
///
/// Of what may pass, what is not said is the default; the way to a node that is dialled stays as it is.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink peer set branch-7 --accept-from-south false
  redlink peer set hub --redistribute false --import 'jobs.*'
  redlink peer set hub --proxy http://proxy:3128 --link poll")]
pub(super) struct SetOptions {
    /// The peer's name
    #[arg(value_parser = args::name)]
    name: String,

    /// Of a peer that dials this node: take what it announces [default: true]
    #[arg(
        long,
        value_name = "BOOL",
        conflicts_with = "redistribute",
        help_heading = "What may pass"
    )]
    accept_from_south: Option<bool>,

    #[command(flatten)]
    policy: Policy,

    #[command(flatten)]
    way: Way,

    #[command(flatten)]
    target: Target,
}

/// Dial a node no more, and end the link with it
///
/// One that dials this node is let in again as soon as it does, unless its policy or its certificate says no; what was
/// set for it is forgotten. Revoking its certificate keeps it out.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  redlink peer remove hub
  redlink peer remove https://hub.example:7411")]
pub(super) struct RemoveOptions {
    /// Its name, or the URL that is dialled
    #[arg(value_name = "NAME|URL", value_parser = which)]
    peer: String,

    #[command(flatten)]
    target: Target,
}

/// Runs the verb.
pub(super) async fn run(verb: Verb) -> Done {
    match verb {
        Verb::List(options) => list::peers(options).await,
        Verb::Add(options) => add(options).await,
        Verb::Set(options) => {
            let client = Client::new(&options.target.context()?)?;
            let wish = options.policy.wish(options.way);
            let mut wish = wish.map_err(super::exit::Failure::usage)?;
            wish.accept_from_south = options.accept_from_south;
            let changed = client.set_peer(&options.name, &wish).await?;
            output::note(&format!("what counts for the links with {} is set", options.name));
            tell(&changed);
            Ok(Exit::Done)
        }
        Verb::Remove(options) => {
            let client = Client::new(&options.target.context()?)?;
            let changed = client.remove_peer(&options.peer).await?;
            output::note(&format!("{} removed", options.peer));
            tell(&changed);
            Ok(Exit::Done)
        }
    }
}

async fn add(options: AddOptions) -> Done {
    let client = Client::new(&options.target.context()?)?;
    let wish = options.policy.wish(options.way);
    let mut wish = wish.map_err(super::exit::Failure::usage)?;
    wish.url = Some(options.url);
    let changed = match &options.name {
        Some(name) => client.set_peer(name, &wish).await?,
        None => client.add_peer(&wish).await?,
    };
    tell(&changed);
    let until = Instant::now() + options.wait;
    loop {
        let peers: Vec<PeerInfo> = client.get("/v1/peers").await?;
        let peer = peers.iter().find(|peer| peer.url == changed.url);
        match peer {
            Some(peer) if peer.connected => {
                let name = peer.name.as_deref().unwrap_or("?");
                output::note(&format!("linked with {name}"));
                return Ok(Exit::Done);
            }
            Some(peer) if Instant::now() >= until => {
                let why = peer.error.as_deref().unwrap_or("it has not answered yet");
                output::note(&format!(
                    "no link yet: {why}\nit is dialled until there is one; `redlink peers` shows how it goes"
                ));
                return Ok(Exit::Done);
            }
            None => {
                output::note("it was removed meanwhile");
                return Ok(Exit::Failed);
            }
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// How often the node is asked for the link.
const LOOK: Duration = Duration::from_millis(50);

fn tell(changed: &Changed) {
    if let Some(note) = &changed.note {
        output::note(&format!("note: {note}"));
    }
}

fn rule(text: &str) -> Result<String, String> {
    Rules::new(&[text]).map(|_| text.to_owned())
}

fn url(text: &str) -> Result<String, String> {
    text.parse::<NorthUrl>().map(|url| url.to_string())
}

fn which(text: &str) -> Result<String, String> {
    match text.contains("://") {
        true => url(text),
        false => args::name(text),
    }
}
