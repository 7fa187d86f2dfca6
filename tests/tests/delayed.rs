//! A message that is not to be offered yet waits at its node, over a `kill -9` too.

use redlink_tests::{Mesh, until};
use std::time::{Duration, Instant};

const DELAY: Duration = Duration::from_secs(12);

#[test]
fn a_delayed_message_comes_when_its_time_has_come_also_after_a_kill() {
    let mut mesh = Mesh::start();
    mesh.north.register("later", "w1", 2, "30s");
    mesh.south.wait_service("later");
    let before = Instant::now();
    let send = ["send", "later", "--not-before", "12s", "--json"];
    let given = mesh.south.cli(&send, b"work").ok();
    let given: serde_json::Value = serde_json::from_slice(&given.out).expect("JSON");
    let id = given["id"].as_str().expect("an id").to_owned();
    let shown = mesh.south.cli(&["message", "show", &id], b"").ok().text();
    assert!(
        shown.contains("delayed") && shown.contains("offered in"),
        "{shown}"
    );
    mesh.south.kill();
    mesh.south.restart();
    let shown = mesh.south.json(&format!("/v1/messages/{id}"));
    assert_eq!(shown["state"], "delayed", "{shown}");
    assert!(shown["delayed_ms"].as_u64() < Some(12_000), "{shown}");
    let taken = mesh.north.take("later", "w1");
    println!("{:?} after it was sent", before.elapsed());
    assert_eq!((taken.message.as_str(), taken.attempt), (id.as_str(), 1));
    assert!(before.elapsed() >= DELAY, "{:?}", before.elapsed());
    mesh.north.answer(&taken.delivery, "reply", b"done").status(204);
    assert_eq!(mesh.south.collect(&id).status(200).text(), "done");
}

#[test]
fn a_delayed_message_is_listed_and_can_be_taken_back() {
    let mesh = Mesh::start();
    mesh.north.register("later", "w1", 2, "30s");
    mesh.south.wait_service("later");
    let send = ["send", "later", "--not-before", "2h", "--ett", "3h"];
    let id = mesh.south.cli(&send, b"work").ok().text().trim().to_owned();
    let list = mesh.south.cli(&["message", "list"], b"").ok().text();
    assert!(list.contains("delayed"), "{list}");
    mesh.south.cli(&["message", "cancel", &id], b"").ok();
    until("it to be over", || {
        let state = mesh.south.json(&format!("/v1/messages/{id}"))["state"].clone();
        (state == "cancelled").then_some(())
    });
    let refused = mesh.south.cli(&["send", "later", "--not-before", "10m"], b"work");
    refused.code(1).says(&["comes 5m after its acceptance"]);
}
