//! Large payloads that go straight between an origin and the worker's node, and along the way where they can't.

use redlink_tests::{Node, Worker, all_bytes, assert_same, until};

const LARGE: usize = 3 << 20;

/// An origin that says it is at this port, a hub, and a node with a worker: a line of two links.
struct Line {
    origin: Node,
    hub: Node,
    far: Node,
    _worker: Worker,
}

fn line(advertise: impl FnOnce(&Node) -> u16, flags: &[&str]) -> Line {
    let hub = Node::first("hub");
    let token = hub.token();
    let mut origin = Node::prepare("origin");
    let url = format!("https://localhost:{}", advertise(&origin));
    let north = hub.url();
    let mut line = vec!["--north", &north, "--token", &token, "--advertise", &url];
    line.extend(flags);
    origin.start_with(&line);
    let far = Node::join("far", &hub.url(), &hub.token());
    let worker = Worker::start(&far, "echo", "w1", &[], &["cat"]);
    origin.wait_service("echo");
    Line {
        origin,
        hub,
        far,
        _worker: worker,
    }
}

fn counter(node: &Node, name: &str) -> u64 {
    node.json("/v1/node")["counters"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("no counter {name}"))
}

/// Bytes that the node has sent to others, as far as it says.
fn echoes(line: &Line, flags: &[&str]) {
    let payload = all_bytes(LARGE);
    let mut call = vec!["call", "echo", "-"];
    call.extend(flags);
    let said = line.origin.cli(&call, &payload).ok();
    assert_same("the echo", &said.out, &payload);
}

#[test]
fn they_go_around_the_node_between() {
    let line = line(Node::port, &["--path", "direct"]);
    echoes(&line, &[]);
    // Payload and reply went straight, and the hub had neither.
    assert_eq!(counter(&line.far, "payloads_direct"), 1);
    assert_eq!(counter(&line.far, "payloads_not_direct"), 0);
    let id = line.origin.submit("echo", &[], &all_bytes(LARGE));
    let outcome = line.origin.collect(&id);
    assert_same("the reply", &outcome.body, &all_bytes(LARGE));
    let steps = line
        .hub
        .cli(&["message", "trace", &id, "--here"], b"")
        .ok()
        .text();
    assert!(!steps.contains("came"), "the hub had the payload: {steps}");
    // A message can say otherwise.
    echoes(&line, &["--path", "reverse"]);
    assert_eq!(counter(&line.far, "payloads_direct"), 2);
}

/// A small payload with a large reply: the reply alone goes straight.
#[test]
fn a_large_reply_to_a_small_message_goes_straight_too() {
    let mut line = line(Node::port, &[]);
    drop(line._worker);
    let script = "head -c 3000000 /dev/zero";
    line._worker = Worker::start(&line.far, "zeroes", "w2", &[], &["sh", "-c", script]);
    line.origin.wait_service("zeroes");
    let said = line
        .origin
        .cli(&["call", "zeroes", "-", "--path", "direct"], b"go")
        .ok();
    assert_same("zeroes", &said.out, &vec![0; 3_000_000]);
    let through_hub = line.hub.json("/v1/node")["counters"].clone();
    assert_eq!(counter(&line.far, "payloads_not_direct"), 0, "{through_hub}");
    assert_eq!(counter(&line.origin, "payloads_direct"), 1);
}

/// It says that it is where nobody is, as behind a firewall: all goes along the way, and is not held up each time.
#[test]
fn where_the_origin_can_not_be_reached_they_go_along_the_way() {
    // Nobody listens there, as far as anybody knows.
    let line = line(|_| 1, &["--path", "direct"]);
    for _ in 0..3 {
        echoes(&line, &[]);
    }
    assert_eq!(counter(&line.far, "payloads_direct"), 0);
    until("the far node to say so", || {
        (counter(&line.far, "payloads_not_direct") >= 3).then_some(())
    });
}

/// Whoever is there instead gets nothing: it is no node of this mesh.
#[test]
fn a_stranger_at_the_address_gets_nothing() {
    let stranger = Node::first("stranger");
    let line = line(|_| stranger.port(), &["--path", "direct"]);
    echoes(&line, &[]);
    assert_eq!(counter(&line.far, "payloads_direct"), 0);
    assert!(counter(&line.far, "payloads_not_direct") >= 1);
}

#[test]
fn direct_needs_an_address() {
    let node = Node::prepare("node");
    let said = node.cli(&["node", "--path", "direct"], b"");
    assert_ne!(said.code, 0);
    said.says(&["advertise"]);
}
