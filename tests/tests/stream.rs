//! Large payloads through a transit node, there and back: it stays small and stores nothing, and it is not slow.
//!
//! `REDLINK_TEST_LARGE=1GiB` is how large; 64 MiB if nothing is said. The figures that are printed are for the log.

use redlink_tests::{Node, Said, run};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const MIB: u64 = 1 << 20;

/// What a transit node may take at most, all in all, and how much of it for what passes.
const MOST: u64 = 100 * MIB;
const GROWTH: u64 = 40 * MIB;

fn size() -> u64 {
    let text = std::env::var("REDLINK_TEST_LARGE").unwrap_or_else(|_| "64MiB".to_owned());
    let (number, unit) = match (text.strip_suffix("GiB"), text.strip_suffix("MiB")) {
        (Some(number), _) => (number, 1_024 * MIB),
        (_, Some(number)) => (number, MIB),
        _ => (&*text, 1),
    };
    let number: u64 = number.parse().unwrap_or_else(|_| {
        panic!("REDLINK_TEST_LARGE=`{text}` is not a number of bytes, such as 64MiB or 1GiB")
    });
    number * unit
}

/// `curl` with the node's settings, a body from a file perhaps, and the answer into a file. Nothing of it is in this
/// process, which shares the machine's memory with the nodes.
fn curl(node: &Node, method: &str, path: &str, body: Option<&Path>, into: &Path) -> Said {
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail-with-body", "--max-time", "110", "-K"]);
    command.arg(node.dir().join(".redlink/curlrc"));
    command
        .args(["-X", method, "-D"])
        .arg(into.with_extension("head"));
    command.arg("-o").arg(into);
    if let Some(body) = body {
        command.arg("-T").arg(body);
    }
    command.arg(format!("{}{path}", node.url())).env("no_proxy", "*");
    run(command, b"").ok()
}

fn header(of: &Path, name: &str) -> String {
    let head = std::fs::read_to_string(of.with_extension("head")).expect("the answer's header");
    let found = head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    found.unwrap_or_else(|| panic!("no {name} in {head}"))
}

fn same(what: &str, one: &Path, other: &Path) {
    let mut command = Command::new("cmp");
    command.arg(one).arg(other);
    let said = run(command, b"");
    assert_eq!(said.code, 0, "{what}: {}{}", said.text(), said.err);
}

/// A message and the same as its reply; MB/s of each, from the take to the last byte at the consumer, and from the
/// answer to its acknowledgement, when it is on disk at the origin.
fn round(from: &Node, to: &Node, service: &str, payload: &Path) -> [f64; 2] {
    let size = payload.metadata().expect("the payload").len();
    let rate = |since: Instant| size as f64 / since.elapsed().as_secs_f64() / 1e6;
    let into = |name: &str| from.dir().join(name);
    let (accepted, taken, answered, outcome) =
        (into("accepted"), into("taken"), into("answered"), into("outcome"));
    to.register(service, "w", 1, "60s");
    from.wait_service(service);
    let path = format!("/v1/services/{service}/messages");
    curl(from, "POST", &path, Some(payload), &accepted);
    let id = header(&accepted, "location");

    let start = Instant::now();
    let path = format!("/v1/services/{service}/consumers/w/take?wait=60s");
    curl(to, "POST", &path, None, &taken);
    let there = rate(start);
    assert_eq!(header(&taken, "redlink-attempt"), "1");
    same("the payload", &taken, payload);

    let start = Instant::now();
    let path = format!("{}/reply", header(&taken, "redlink-delivery"));
    curl(to, "POST", &path, Some(&taken), &answered);
    let path = format!("{id}/outcome");
    curl(from, "GET", &format!("{path}?wait=60s"), None, &outcome);
    let back = rate(start);
    assert_eq!(header(&outcome, "redlink-outcome"), "replied");
    same("the reply", &outcome, payload);
    curl(from, "DELETE", &path, None, &answered);
    for file in [accepted, taken, answered, outcome] {
        let _ = std::fs::remove_file(file);
    }
    [there, back]
}

/// A node that will take payloads up to this size.
fn prepare(name: &str, max_payload: u64, more: &str) -> Node {
    let node = Node::prepare(name);
    let directory = node.dir().join(".redlink");
    std::fs::create_dir(&directory).expect("the node's directory");
    let settings = format!("max_payload = {max_payload}\n{more}");
    std::fs::write(directory.join("redlink.toml"), settings).expect("its settings");
    node
}

/// The most memory that the node's process has had so far, in bytes.
fn peak(node: &mut Node) -> u64 {
    let path = format!("/proc/{}/status", node.process().id());
    let status = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("no VmHWM in {status}")) * 1_024
}

#[test]
fn a_transit_node_stays_small_and_stores_nothing() {
    let size = size();
    let files = tempfile::tempdir().expect("a temporary directory");
    let payload = files.path().join("payload");
    let mut file = BufWriter::new(File::create(&payload).expect("a file for the payload"));
    let mut left = size;
    for number in 0_u64.. {
        let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        let part = left.min(8) as usize;
        file.write_all(&word[..part]).expect("room for the payload");
        left -= part as u64;
        if left == 0 {
            break;
        }
    }
    file.flush().expect("room for the payload");

    let mut north = prepare("north", size, "");
    north.start_with(&[]);
    let mut south = prepare("south", size, "");
    let token = north.token();
    south.start_with(&["--north", &north.url(), "--token", &token]);
    south.wait_link(true);
    let direct = [
        round(&south, &north, "up", &payload),
        round(&north, &south, "down", &payload),
    ];
    south.stop();

    // What it takes for itself has nothing to do with what passes, and it has no messages of its own.
    let tables = "[capacity]\nmessages = 1000\ndeliveries = 1000\n";
    let mut transit = prepare("transit", MIB, tables);
    let token = north.token();
    transit.start_with(&["--north", &north.url(), "--token", &token]);
    transit.wait_link(true);
    let before = peak(&mut transit);
    south.start_with(&["--north", &transit.url()]);
    south.wait_link(true);
    let through = [
        round(&south, &north, "up", &payload),
        round(&north, &south, "down", &payload),
    ];

    let peak = peak(&mut transit);
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    println!(
        "{:.0} MiB; the transit node had {:.1} MiB at its start and {:.1} MiB at the most",
        mib(size),
        mib(before),
        mib(peak)
    );
    for (at, name) in ["south to north", "north to south"].into_iter().enumerate() {
        for (way, part) in ["payload", "reply"].into_iter().enumerate() {
            let (one, two) = (direct[at][way], through[at][way]);
            println!(
                "{name}, {part}: {one:.0} MB/s directly, {two:.0} MB/s through one transit node ({:.2})",
                two / one
            );
        }
    }
    assert!(peak < MOST, "{:.1} MiB", mib(peak));
    assert!(
        peak - before < GROWTH,
        "{:.1} MiB more than before",
        mib(peak - before)
    );
    let stored = transit.dir().join(".redlink/data/payload");
    assert_eq!(
        std::fs::read_dir(stored)
            .expect("its folder for payloads")
            .count(),
        0
    );
    let status = transit.json("/v1/node");
    assert_eq!(status["store"]["done"], 0, "P9: {status}");
    assert_eq!(status["memory_used"], 0, "{status}");
}
