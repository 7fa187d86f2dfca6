//! What was accepted survives `kill -9` of either node, and ends once (P1, P2).

use http::Method;
use redlink::client::Request;
use redlink_tests::{Mesh, Node, Worker, all_bytes, assert_same, until};
use tokio::task::JoinSet;

#[test]
fn south_is_killed_with_accepted_messages() {
    let mut mesh = Mesh::start();
    // Small ones that live in a row, and large ones that are files.
    let payloads: Vec<Vec<u8>> = (0..12)
        .map(|n| all_bytes(if n % 4 == 3 { 200_000 + n } else { n }))
        .collect();
    let ids: Vec<String> = payloads
        .iter()
        .map(|payload| mesh.south.submit("echo", &[], payload))
        .collect();
    mesh.south.kill();
    mesh.south.restart();
    let listed = mesh.south.json("/v1/messages");
    assert_eq!(listed.as_array().map(Vec::len), Some(ids.len()));
    let _worker = Worker::start(&mesh.north, "echo", "w1", &["--concurrency", "2"], &["cat"]);
    for (id, payload) in ids.iter().zip(&payloads) {
        assert_same(id, &mesh.south.collect(id).status(200).body, payload);
    }
    assert_eq!(mesh.south.json("/v1/messages"), serde_json::json!([]));
    mesh.south.stop();
    mesh.south.check_database();
}

#[test]
fn south_is_killed_while_a_worker_at_north_holds_its_message() {
    let mut mesh = Mesh::start();
    let _worker = Worker::script(&mesh.north, "work", "w1", &[], HELD);
    let id = mesh.south.submit("work", &[], b"");
    wait_begun(&mesh);
    mesh.south.kill();
    std::fs::write(mesh.north.dir().join("go"), "").expect("a file");
    mesh.south.restart();
    let outcome = mesh.south.collect(&id).status(200);
    println!("{}", outcome.text());
    assert!(outcome.text().starts_with("done, attempt "), "{}", outcome.text());
}

#[test]
fn north_is_killed_while_its_worker_holds_a_message() {
    let mut mesh = Mesh::start();
    let _worker = Worker::script(&mesh.north, "work", "w1", &[], HELD);
    let id = mesh.south.submit("work", &[], b"");
    wait_begun(&mesh);
    mesh.north.kill();
    mesh.north.restart();
    std::fs::write(mesh.north.dir().join("go"), "").expect("a file");
    let outcome = mesh.south.collect(&id).status(200);
    println!("{}", outcome.text());
    assert!(outcome.text().starts_with("done, attempt "), "{}", outcome.text());
}

/// A reply that can't reach the origin is on the disk of the worker's node before the worker is let go.
#[test]
fn north_is_killed_with_a_reply_for_a_south_that_is_away() {
    let mut mesh = Mesh::start();
    let id = mesh.south.submit("work", &[], b"x");
    let taken = mesh.north.take("work", "c1");
    mesh.south.wait_state(&id, "granted");
    mesh.cable.cut();
    mesh.north.wait_link(false);
    mesh.north.answer(&taken.delivery, "reply", b"kept").status(204);
    mesh.north.kill();
    mesh.north.restart();
    mesh.cable.restore();
    assert_eq!(mesh.south.collect(&id).status(200).text(), "kept");
}

/// An outcome that was told is on disk: it is the same after a crash, and waits to be collected.
#[test]
fn a_told_outcome_survives() {
    let mut mesh = Mesh::start();
    let _worker = Worker::start(&mesh.north, "echo", "w1", &[], &["cat"]);
    let ids: Vec<String> = (0..6)
        .map(|n| mesh.south.submit("echo", &[], &all_bytes(n * 30_000)))
        .collect();
    let told: Vec<_> = ids.iter().map(|id| mesh.south.outcome(id).status(200)).collect();
    mesh.south
        .curl("DELETE", &format!("/v1/messages/{}/outcome", ids[0]))
        .get()
        .status(204);
    mesh.south.kill();
    mesh.south.restart();
    let gone = mesh
        .south
        .curl("GET", &format!("/v1/messages/{}/outcome", ids[0]))
        .get();
    gone.problem(404, "unknown-message");
    for (id, told) in ids.iter().zip(&told).skip(1) {
        assert_same(id, &mesh.south.collect(id).status(200).body, &told.body);
    }
}

/// Whoever was told that an outcome is collected does not find it again, however soon after that the node dies.
#[test]
fn what_was_collected_is_not_there_again() {
    const MESSAGES: usize = 64;
    const ROUNDS: usize = 4;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut node = Node::first("alone");
    let client = node.client();
    // All at once, so that each has a kept connection.
    let all = |method: Method, paths: Vec<String>| {
        let mut requests = JoinSet::new();
        for path in paths {
            let client = client.clone();
            let request = Request::new(method.clone(), path.clone());
            requests.spawn(async move { (path, client.request(request).await) });
        }
        requests
    };
    for round in 0..ROUNDS {
        let paths = runtime.block_on(async {
            let submits = all(
                Method::POST,
                vec!["/v1/services/nobody/messages".to_owned(); MESSAGES],
            );
            let accepted = submits.join_all().await.into_iter().map(|(_, answer)| {
                let answer = answer.expect("an answer");
                answer.header("location").expect("where it is").to_owned()
            });
            let paths: Vec<String> = accepted.collect();
            for (path, cancelled) in all(Method::DELETE, paths.clone()).join_all().await {
                cancelled.unwrap_or_else(|e| panic!("{path}: {e}"));
            }
            paths
        });
        let told = runtime.block_on(async {
            let outcomes = paths.iter().map(|path| format!("{path}/outcome"));
            let mut collects = all(Method::DELETE, outcomes.collect());
            let mut told = Vec::new();
            while let Some(collected) = collects.join_next().await {
                if let (path, Ok(_)) = collected.expect("no panic") {
                    node.kill();
                    told.push(path);
                }
            }
            told
        });
        node.restart();
        println!("round {round}: {} of {MESSAGES} were collected", told.len());
        for path in told {
            node.curl("GET", &path).get().problem(404, "unknown-message");
        }
    }
}

/// A node alone, without links: the same promises.
#[test]
fn a_node_alone_is_killed_while_its_worker_holds_a_message() {
    let mut node = Node::first("alone");
    let _worker = Worker::script(&node, "work", "w1", &[], HELD);
    let id = node.submit("work", &[], b"");
    let begun = node.dir().join("begun");
    until("the worker to begin", || begun.exists().then_some(()));
    node.kill();
    node.restart();
    std::fs::write(node.dir().join("go"), "").expect("a file");
    assert!(node.collect(&id).status(200).text().starts_with("done, attempt "));
}

/// Works until it may end.
const HELD: &str =
    "echo >begun; while [ ! -e go ] && [ -e begun ]; do sleep 0.1; done; echo done, attempt $REDLINK_ATTEMPT";

fn wait_begun(mesh: &Mesh) {
    let begun = mesh.north.dir().join("begun");
    until("the worker to begin", || begun.exists().then_some(()));
}
