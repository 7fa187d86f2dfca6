//! What a producer says of a message beside its terms, over links and restarts, as a user sees it.

use redlink_tests::{Mesh, Worker};

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
