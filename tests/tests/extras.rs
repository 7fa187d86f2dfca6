//! What a producer says of a message beside its terms, over links and restarts, as a user sees it.

use redlink_tests::{Mesh, Node, Worker};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The worker is at another node; the message waits on disk over a restart of its own.
#[test]
fn a_worker_elsewhere_is_told_the_trace_of_its_message() {
    let mut mesh = Mesh::start();
    let headers = [("traceparent", PARENT), ("tracestate", "a=1")];
    let large = vec![b'x'; 100_000];
    let payloads = [&b"small"[..], b"", &large];
    let ids = payloads.map(|payload| mesh.south.submit("who", &headers, payload));
    let plain = mesh.south.submit("who", &[("traceparent", "00-malformed")], b"x");
    mesh.south.kill();
    mesh.south.restart();
    let script = "cat >/dev/null; echo ${TRACEPARENT-none} ${TRACESTATE-none}";
    let _worker = Worker::script(&mesh.north, "who", "w1", &[], script);
    for id in ids {
        assert_eq!(mesh.south.collect(&id).text().trim(), format!("{PARENT} a=1"));
    }
    assert_eq!(mesh.south.collect(&plain).text().trim(), "none none");
}

/// What a program started by a worker sends on belongs to the same trace.
#[test]
fn a_worker_that_calls_on_hands_the_trace_on() {
    let mesh = Mesh::start();
    let inner = "cat >/dev/null; echo ${TRACEPARENT-none}";
    let _inner = Worker::script(&mesh.north, "inner", "w1", &[], inner);
    mesh.south.wait_service("inner");
    let outer = format!(
        "cat >/dev/null; '{}' call inner </dev/null",
        redlink_tests::binary().display()
    );
    let _outer = Worker::script(&mesh.south, "outer", "w2", &[], &outer);
    let id = mesh.south.submit("outer", &[("traceparent", PARENT)], b"x");
    assert_eq!(mesh.south.collect(&id).text().trim(), PARENT);
}

/// `order 17`
const DATA: &str = "b3JkZXIgMTc=";

#[test]
fn preserved_data_comes_back_over_a_restart() {
    let mut mesh = Mesh::start();
    let sent = mesh
        .south
        .cli(&["send", "wc", "--preserved", "order 17"], b"a b")
        .ok()
        .text();
    let refused = mesh.south.submit("broken", &[("Redlink-Preserved", DATA)], b"x");
    mesh.south.kill();
    mesh.south.restart();
    let script = "cat >/dev/null; env | grep -i -e preserved -e b3Jk >&2; exit 1";
    let _broken = Worker::script(&mesh.north, "broken", "w2", &[], script);
    let outcome = mesh.south.outcome(&refused).problem(424, "failed");
    assert_eq!(outcome.header("redlink-preserved"), Some(DATA));
    assert!(!outcome.text().contains("b3Jk"), "{}", outcome.text());
    let _worker = Worker::start(&mesh.north, "wc", "w1", &[], &["wc", "-w"]);
    mesh.south.outcome(&sent);
    mesh.south.kill();
    mesh.south.restart();
    let file = mesh.south.dir().join("preserved");
    let to = file.to_str().expect("a path that is text");
    let shown = mesh.south.cli(&["collect", &sent, "--keep", "--json"], b"").ok();
    let shown: serde_json::Value = serde_json::from_slice(&shown.out).expect("JSON");
    assert_eq!(shown["preserved"], "order 17");
    assert_eq!(
        mesh.south
            .cli(&["collect", &sent, "--preserved-to", to], b"")
            .ok()
            .text(),
        "2"
    );
    assert_eq!(
        std::fs::read_to_string(&file).expect("what was preserved"),
        "order 17"
    );
    let called = mesh
        .south
        .cli(
            &["call", "wc", "--preserved", "17", "--preserved-to", to],
            b"a b c",
        )
        .ok();
    assert_eq!(called.text(), "3");
    assert_eq!(std::fs::read_to_string(&file).expect("what was preserved"), "17");
}

/// Many programs submit the same at once, again and again, and the node is killed in between.
#[test]
fn the_same_submit_is_one_message_whatever_happens_to_the_node() {
    let mut node = Node::first("only");
    let path = "/v1/services/jobs/messages";
    for round in 0..3 {
        let key = format!("\"job-{round}\"");
        let mut ids = Vec::new();
        for again in 0..2 {
            let submit = node
                .curl("POST", path)
                .header("Idempotency-Key", &key)
                .body("job");
            let answers: Vec<_> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(|| submit.send())).collect();
                // The first time some are cut off.
                if again == 0 {
                    node.kill();
                }
                all.into_iter().map(|one| one.join().expect("a thread")).collect()
            });
            for answer in answers.into_iter().flatten() {
                let id = answer.status(202).json()["id"].as_str().map(str::to_owned);
                ids.push(id.expect("an id"));
            }
            if again == 0 {
                node.restart();
            }
        }
        assert!(ids.len() >= 8, "{ids:?}");
        ids.dedup();
        assert_eq!(ids.len(), 1, "round {round}: {ids:?}");
        let all = node.json("/v1/messages?service=jobs");
        assert_eq!(all.as_array().map(Vec::len), Some(round + 1), "{all}");
    }
    node.kill();
    node.check_database();
}

#[test]
fn a_repeated_command_is_the_same_message() {
    let node = Node::first("only");
    let send = |payload: &[u8]| node.cli(&["send", "wc", "--idempotency-key", "k\"1"], payload);
    let id = send(b"a b").ok().text();
    assert_eq!(send(b"a b").ok().text(), id);
    send(b"other").code(1).says(&["idempotency key", "new"]);
    let _worker = Worker::start(&node, "wc", "w1", &[], &["wc", "-w"]);
    let call = || node.cli(&["call", "wc", "--idempotency-key", "k\"1"], b"a b");
    assert_eq!(call().ok().text(), "2");
    call()
        .code(1)
        .says(&["collected already", "another idempotency key"]);
}

/// What is kept in memory passes links and is gone with its node; what is on disk stays.
#[test]
fn a_message_in_memory_is_done_elsewhere_and_gone_with_its_node() {
    let mut mesh = Mesh::start();
    let _worker = Worker::start(&mesh.north, "wc", "w1", &[], &["wc", "-w"]);
    mesh.south.wait_service("wc");
    for payload in [&b"a b"[..], &[b"x ".repeat(50_000), b"y".to_vec()].concat()] {
        let said = mesh
            .south
            .cli(&["call", "wc", "--durability", "memory"], payload)
            .ok();
        assert!(["2", "50001"].contains(&said.text().as_str()), "{}", said.text());
    }
    let send = |service: &str, more: &[&str]| {
        let line = [&["send", service][..], more].concat();
        mesh.south.cli(&line, b"x").ok().text()
    };
    let (gone, stays) = (send("nobody", &["--durability", "memory"]), send("nobody", &[]));
    let shown = mesh.south.cli(&["message", "show", &gone], b"").ok().text();
    assert!(shown.contains("memory only"), "{shown}");
    mesh.south.stop();
    let log = std::fs::read_to_string(mesh.south.log()).expect("its log");
    assert!(
        log.contains("kept in memory only") && log.contains("messages=1"),
        "{log}"
    );
    mesh.south.restart();
    mesh.south
        .curl("GET", &format!("/v1/messages/{gone}"))
        .get()
        .problem(404, "unknown-message");
    mesh.south.wait_state(&stays, "queued");
    mesh.south.stop();
    mesh.south.check_database();
}
