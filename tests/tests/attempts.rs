//! Attempts that end without an answer are counted over a `kill -9` of the origin, and what is to be delivered at most once
//! is, whoever is killed (P6).

use redlink_tests::{Mesh, Node, until};

const ONCE: &[(&str, &str)] = &[("Redlink-Delivery-Mode", "at-most-once")];
const WHY: &str = "the attempt ended without an answer; delivered at most once";

#[test]
fn attempts_are_counted_over_a_kill() {
    let mut node = Node::first("alone");
    node.register("poison", "victim", 1, "1s");
    let id = node.submit("poison", &[("Redlink-Max-Attempts", "2")], b"x");
    assert_eq!(node.take("poison", "victim").attempt, 1);
    until("the first attempt to be counted", || {
        let shown = node.json(&format!("/v1/messages/{id}"));
        (shown["unanswered"] == 1).then_some(())
    });
    // Its row waits for no answer: the store has done it when it has done what came after it.
    node.submit("other", &[], b"x");
    node.kill();
    node.restart();
    assert_eq!(node.json(&format!("/v1/messages/{id}"))["unanswered"], 1);
    node.register("poison", "victim", 1, "1s");
    assert_eq!(node.take("poison", "victim").message, id);
    node.collect(&id).problem(424, "dead");
    node.stop();
    node.check_database();
}

#[test]
fn at_most_once_a_consumer_that_falls_silent_had_the_only_attempt() {
    let mesh = Mesh::start();
    for origin in [&mesh.south, &mesh.north] {
        mesh.north.register("pay", "silent", 1, "1s");
        origin.wait_service("pay");
        let id = origin.submit("pay", ONCE, b"x");
        let taken = mesh.north.take("pay", "silent");
        assert_eq!((taken.message.as_str(), taken.attempt), (id.as_str(), 1));
        let outcome = origin.outcome(&id).problem(424, "failed");
        assert!(outcome.text().contains(WHY), "{}", outcome.text());
        let late = mesh.north.answer(&taken.delivery, "reply", b"late");
        assert!(
            matches!(late.status, 404 | 410),
            "{}: {}",
            late.status,
            late.text()
        );
        let said = origin.cli(&["collect", &id], b"").code(1);
        said.says(&["failed", WHY]);
    }
}

#[test]
fn at_most_once_an_origin_that_is_killed_hears_from_the_holder() {
    let mut mesh = Mesh::start();
    mesh.north.register("pay", "w1", 1, "30s");
    mesh.south.wait_service("pay");
    let call = ["send", "pay", "--delivery-mode", "at-most-once"];
    let id = mesh.south.cli(&call, b"x").ok().text().trim().to_owned();
    let taken = mesh.north.take("pay", "w1");
    let shown = mesh.south.cli(&["message", "show", &id], b"").ok().text();
    assert!(shown.contains("delivered at most once"), "{shown}");
    mesh.south.kill();
    mesh.south.restart();
    mesh.south.wait_state(&id, "granted");
    mesh.north.answer(&taken.delivery, "reply", b"done").status(204);
    assert_eq!(mesh.south.collect(&id).status(200).text(), "done");
}

#[test]
fn at_most_once_what_nobody_holds_after_a_kill_has_failed() {
    let mut node = Node::first("alone");
    let id = node.submit("pay", ONCE, b"x");
    assert_eq!(node.take("pay", "w1").message, id);
    node.kill();
    node.restart();
    let outcome = node.collect(&id).problem(424, "failed");
    assert!(outcome.text().contains(WHY), "{}", outcome.text());
    node.stop();
    node.check_database();
}

#[test]
fn at_most_once_a_release_is_the_end_and_a_take_that_was_aborted_is_not() {
    let node = Node::first("alone");
    let id = node.submit("pay", ONCE, b"x");
    let taken = node.take("pay", "w1");
    node.answer(&taken.delivery, "release", b"").status(204);
    node.collect(&id).problem(424, "failed");
    // Nobody waits any more when the message comes.
    let path = "/v1/services/pay/consumers/w2/take?wait=60s";
    let aborted = node
        .curl("POST", path)
        .argument("--max-time")
        .argument("1")
        .send();
    assert!(aborted.is_err(), "{aborted:?}");
    let id = node.submit("pay", ONCE, b"x");
    let taken = node.take("pay", "w2");
    assert_eq!(taken.message, id);
    node.answer(&taken.delivery, "reply", b"done").status(204);
    assert_eq!(node.collect(&id).status(200).text(), "done");
}
