//! Rate limits of consumers (P4), as a worker and its operator see them.

use redlink_tests::{Mesh, Node, Worker, until};
use std::time::Instant;

/// What the node says of the consumer's rate.
fn rate(node: &Node) -> Option<String> {
    let consumers = node.json("/v1/consumers");
    consumers[0]["rate"].as_str().map(str::to_owned)
}

/// With this rate, or none, and limits that are in nobody's way.
fn register(node: &Node, name: &str, rate: &str) {
    let wish = format!(r#"{{"limit": 100, "lease": "1h"{rate}}}"#);
    let path = format!("/v1/services/work/consumers/{name}");
    node.curl("PUT", &path).body(wish).get().status(204);
}

/// By the node's own answers: one at first, and then no more than four a second, from another node and from its own.
#[test]
fn a_consumer_gets_no_more_than_it_asked_for() {
    let mesh = Mesh::start();
    for (n, node) in [&mesh.south, &mesh.north].iter().cycle().take(9).enumerate() {
        node.submit("work", &[], n.to_string().as_bytes());
    }
    let begun = Instant::now();
    register(&mesh.north, "w", r#", "rate": "4/s""#);
    for n in 0u32..9 {
        mesh.north.take("work", "w");
        let may = 1.0 + 4.0 * begun.elapsed().as_secs_f64();
        assert!(f64::from(n + 1) <= may, "{} after {:?}", n + 1, begun.elapsed());
    }
    let list = mesh.north.cli(&["consumer", "list"], b"").ok().text();
    assert!(list.contains("RATE") && list.contains("4/s"), "{list}");
}

/// With rates so low that no time that a test takes brings another message.
#[test]
fn who_registers_again_gains_nothing() {
    let node = Node::first("alone");
    for payload in ["first", "second"] {
        node.submit("work", &[], payload.as_bytes());
    }
    register(&node, "w", r#", "rate": "2/d""#);
    assert_eq!(node.take("work", "w").response.text(), "first");
    for rate in ["2/d", "3/d", "2/d"] {
        register(&node, "w", &format!(r#", "rate": "{rate}""#));
        let empty = "/v1/services/work/consumers/w/take";
        node.curl("POST", empty).get().status(204);
    }
    // Without a rate it is free.
    register(&node, "w", "");
    assert_eq!(node.take("work", "w").response.text(), "second");
}

/// `redlink serve` says its rate again to a node that was restarted.
#[test]
fn a_worker_keeps_its_rate_over_a_restart_of_its_node() {
    let mut node = Node::first("alone");
    let worker = Worker::start(
        &node,
        "work",
        "w",
        &["--rate", "600/m", "--concurrency", "4"],
        &["cat"],
    );
    assert_eq!(rate(&node).as_deref(), Some("600/m"));
    node.kill();
    node.restart();
    until("the worker to be back", || {
        (rate(&node)? == "600/m").then_some(())
    });
    let id = node.submit("work", &[], b"payload");
    assert_eq!(node.collect(&id).status(200).text(), "payload");
    drop(worker);
    let bad = node
        .cli(&["serve", "work", "--rate", "fast", "--", "cat"], b"")
        .code(2);
    bad.says(&["from 1 to 1000000 per s, m, h or d"]);
}
