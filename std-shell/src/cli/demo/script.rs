//! The show, step by step.

use super::files;
use super::stage::{Stage, print_command, quote};
use crate::cli::exit::Failure;
use crate::cli::output::{self, Stream, Tone, paint, size, span};
use crate::client::{Client, Request};
use crate::driver::{MessageInfo, PeerInfo, ServiceInfo};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The service of the demo and the program behind it.
const SERVICE: &str = "wordcount";
/// The way of a call and its reply.
const PATH: &str = "south → north → wc → north → south";
/// The process between the nodes.
const RELAY: &str = "relay";
/// Files that are called with while the link is up.
const CALLS: usize = 6;
/// Files that are sent while it is down.
const SENDS: usize = 3;

/// Runs all steps.
pub(super) async fn run(stage: &mut Stage) -> Result<(), Failure> {
    output::line(&format!(
        "Everything below runs in {} on this machine. The commands work in another terminal, too.",
        stage.path("").display()
    ))?;
    let current = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let files = files::choose(&current, &stage.path(""), CALLS)
        .map_err(|e| Failure::failed(format!("can't make files to send: {e}")))?;
    north(stage).await?;
    let (south, cable) = join(stage).await?;
    worker(stage, &south).await?;
    call(stage, &files).await?;
    cut(stage, &south, cable).await?;
    let waiting = send(stage, &south, &files).await?;
    restore(stage, &south, waiting).await
}

/// Says what can be tried, and stays until the future is dropped or a process falls.
pub(super) async fn stay(stage: &mut Stage) -> Result<(), Failure> {
    title("It stays up until Ctrl-C. Try:")?;
    let curlrc = stage.path("south/.redlink/curlrc");
    let url = format!(
        "https://localhost:{}/v1/services/{SERVICE}/messages?wait=30s",
        stage.ports.south
    );
    output::line(&format!(
        "  curl -sS -K {} -d 'how many words are these' '{url}'",
        quote(curlrc.as_os_str())
    ))?;
    let south = stage.path("south");
    for verb in [&["status"][..], &["services"], &["peers"]] {
        let mut line = stage.redlink(&[]);
        line.extend(verb.iter().map(OsString::from));
        line.extend(["--node".into(), south.clone().into_os_string()]);
        let words: Vec<String> = line.iter().map(|word| quote(word)).collect();
        output::line(&format!("  {}", words.join(" ")))?;
    }
    loop {
        stage.pause().await?;
    }
}

/// A first node.
async fn north(stage: &mut Stage) -> Result<(), Failure> {
    title("A node, called north. It makes its own mesh: authority, certificate, admin token, store.")?;
    let start = Instant::now();
    let directory = stage.path("north");
    make(&directory)?;
    let listen = format!("127.0.0.1:{}", stage.ports.north);
    let line = stage.redlink(&[
        &"node",
        &"--dir",
        &directory,
        &"--name",
        &"north",
        &"--listen",
        &listen,
    ]);
    stage.start("north", &line)?;
    ready(stage, "north").await?;
    done(
        &format!("ready at https://localhost:{}", stage.ports.north),
        start,
    )
}

/// A second node that joins the first one, over a relay; the relay's process id comes with it.
async fn join(stage: &mut Stage) -> Result<(Client, u32), Failure> {
    title("A token lets one other node join, once.")?;
    let start = Instant::now();
    let north = stage.path("north");
    let said = stage
        .run(&stage.redlink(&[&"token", &"create", &"--node", &north]))
        .await?;
    let token = said.out.trim().to_owned();
    done("made", start)?;

    title("Between the two nodes a relay, so that there is a cable to pull.")?;
    let start = Instant::now();
    let cable = relay(stage).await?;
    done("relaying", start)?;

    title("A second node, called south. It dials north; nothing needs to reach it.")?;
    let start = Instant::now();
    let directory = stage.path("south");
    make(&directory)?;
    let listen = format!("127.0.0.1:{}", stage.ports.south);
    let url = format!("https://localhost:{}", stage.ports.relay);
    let line = stage.redlink(&[
        &"node",
        &"--dir",
        &directory,
        &"--name",
        &"south",
        &"--listen",
        &listen,
        &"--north",
        &url,
        &"--token",
        &token,
    ]);
    stage.start("south", &line)?;
    let south = ready(stage, "south").await?;
    stage
        .until("the link between south and north", || linked(&south, true))
        .await?;
    done("enrolled, and linked over mutual TLS: south → north", start)?;
    Ok((south, cable))
}

/// A worker at the north node.
async fn worker(stage: &mut Stage, south: &Client) -> Result<(), Failure> {
    title("A worker at north: any program that reads stdin and writes stdout.")?;
    let start = Instant::now();
    let north = stage.path("north");
    let line = stage.redlink(&[&"serve", &SERVICE, &"--node", &north, &"--", &"wc", &"-w"]);
    stage.start("worker", &line)?;
    stage
        .until("that south learns of the service", || async {
            let services: Vec<ServiceInfo> = south.get("/v1/services").await.ok()?;
            Some(
                services
                    .iter()
                    .any(|service| service.name == SERVICE && service.peers > 0),
            )
        })
        .await?;
    done(&format!("south knows of {SERVICE}: wc → north → south"), start)
}

/// Calls across the link, each by a process of its own.
async fn call(stage: &mut Stage, files: &[PathBuf]) -> Result<(), Failure> {
    title("Calls at south. The payload goes to the worker when it has room, the reply comes back.")?;
    let south = stage.path("south");
    for file in files {
        let line = stage.redlink(&[&"call", &SERVICE, file, &"--verbose", &"--node", &south]);
        let said = stage.run(&line).await?;
        let took = said
            .err
            .rsplit_once("settled in ")
            .map_or("", |(_, took)| took.trim());
        let words = said.out.trim();
        let what = format!("{words:>8} words in {:<18} {:>8}", name(file), length(file));
        result(&what, &format!("{PATH}  {took}"))?;
    }
    Ok(())
}

/// Ends the relay.
async fn cut(stage: &mut Stage, south: &Client, cable: u32) -> Result<(), Failure> {
    title("The cable is pulled: both nodes live, the link is down.")?;
    let start = Instant::now();
    print_command(&["kill".into(), cable.to_string().into()])?;
    stage.end(RELAY);
    stage
        .until("that south notices the cut", || linked(south, false))
        .await?;
    done("south: the link is down", start)
}

/// Submits while nothing can leave. The ids, each with its file.
async fn send(stage: &Stage, south: &Client, files: &[PathBuf]) -> Result<Vec<(String, PathBuf)>, Failure> {
    title("Messages are accepted all the same: they are on south's disk when their id is printed.")?;
    let directory = stage.path("south");
    let mut waiting = Vec::new();
    for file in files.iter().take(SENDS) {
        let start = Instant::now();
        let said = stage
            .run(&stage.redlink(&[&"send", &SERVICE, file, &"--node", &directory]))
            .await?;
        let id = said.out.trim().to_owned();
        result(
            &format!("{id}  {}", name(file)),
            &format!("kept by south  {}", span(start.elapsed())),
        )?;
        waiting.push((id, file.clone()));
    }
    let said = stage
        .run(&stage.redlink(&[&"message", &"list", &"--node", &directory]))
        .await?;
    for line in said.out.lines() {
        output::line(&format!("    {line}"))?;
    }
    for (id, _) in &waiting {
        let message: MessageInfo = south.get(&format!("/v1/messages/{id}")).await?;
        if message.outcome.is_some() {
            return Err(Failure::failed(format!(
                "{id} is {} although the link is cut",
                message.state
            )));
        }
    }
    Ok(waiting)
}

/// Starts the relay again and collects what waited.
async fn restore(stage: &mut Stage, south: &Client, waiting: Vec<(String, PathBuf)>) -> Result<(), Failure> {
    title("The cable is back. South dials again, and the backlog goes through.")?;
    let start = Instant::now();
    relay(stage).await?;
    stage
        .until("that south links again", || linked(south, true))
        .await?;
    done("linked again", start)?;
    let directory = stage.path("south");
    for (id, file) in &waiting {
        let said = stage
            .run(&stage.redlink(&[&"collect", id, &"--node", &directory]))
            .await?;
        let what = format!("{:>8} words in {:<18}", said.out.trim(), name(file));
        result(
            &what,
            &format!("{PATH}  {} after the cable", span(start.elapsed())),
        )?;
    }
    Ok(())
}

/// The cable between the nodes. Its process id.
async fn relay(stage: &mut Stage) -> Result<u32, Failure> {
    let (from, to) = (
        format!("127.0.0.1:{}", stage.ports.relay),
        format!("127.0.0.1:{}", stage.ports.north),
    );
    let line = stage.redlink(&[&"relay", &from, &to]);
    let id = stage.start(RELAY, &line)?;
    stage
        .until("that the relay listens", || async {
            Some(tokio::net::TcpStream::connect(&from).await.is_ok())
        })
        .await?;
    Ok(id)
}

/// Waits until a node takes work.
async fn ready(stage: &mut Stage, name: &str) -> Result<Client, Failure> {
    let client = stage.client(name).await?;
    let what = format!("that {name} is ready");
    stage
        .until(&what, || async {
            client
                .request(Request::new(http::Method::GET, "/readyz"))
                .await
                .ok()
                .map(|_| true)
        })
        .await?;
    Ok(client)
}

/// Whether south's link to north is as wanted.
async fn linked(south: &Client, up: bool) -> Option<bool> {
    let peers: Vec<PeerInfo> = south.get("/v1/peers").await.ok()?;
    Some(peers.iter().any(|peer| peer.connected) == up)
}

fn make(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir(directory)
        .map_err(|e| Failure::failed(format!("can't make {}: {e}", directory.display())))
}

fn name(file: &Path) -> String {
    file.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn length(file: &Path) -> String {
    size(std::fs::metadata(file).map_or(0, |found| found.len()))
}

fn title(text: &str) -> Result<(), Failure> {
    output::line(&format!("\n{}", paint(Stream::Out, Tone::Strong, text)))
}

fn result(what: &str, aside: &str) -> Result<(), Failure> {
    output::line(&format!("    {what}  {}", paint(Stream::Out, Tone::Good, aside)))
}

fn done(what: &str, start: Instant) -> Result<(), Failure> {
    result(what, &span(start.elapsed()))
}
