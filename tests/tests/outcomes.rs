//! The ends that a message can come to, from the command line and from the API.

use redlink_tests::{Mesh, Worker};

#[test]
fn a_send_only_message_is_delivered() {
    let mesh = Mesh::start();
    let _worker = Worker::script(&mesh.north, "log", "w1", &[], "cat >>seen; echo not a reply");
    let id = mesh
        .south
        .cli(&["send", "log", "--send-only"], b"noted\n")
        .ok()
        .text();
    let outcome = mesh.south.collect(&id).status(200);
    assert_eq!(outcome.header("redlink-outcome"), Some("delivered"));
    assert_eq!(outcome.body, b"", "an acknowledgement has no content");
    let seen = std::fs::read_to_string(mesh.north.dir().join("seen"));
    assert_eq!(seen.expect("what the worker wrote"), "noted\n");
}

#[test]
fn a_sent_message_is_collected_once() {
    let mesh = Mesh::start();
    let _worker = Worker::start(&mesh.north, "wc", "w1", &[], &["wc", "-w"]);
    let id = mesh.south.cli(&["send", "wc"], b"a b c d").ok().text();
    assert_eq!(mesh.south.cli(&["collect", &id, "--keep"], b"").ok().text(), "4");
    assert_eq!(mesh.south.cli(&["collect", &id], b"").ok().text(), "4");
    mesh.south
        .cli(&["collect", &id], b"")
        .code(1)
        .says(&["No such message"]);
}

#[test]
fn a_failure_is_told_with_its_reason() {
    let mesh = Mesh::start();
    let script = "cat >/dev/null; echo the toner is empty >&2; exit 3";
    let _worker = Worker::script(&mesh.north, "print", "w1", &[], script);
    let said = mesh.south.cli(&["call", "print"], b"page").code(1);
    let said = said.says(&["failed", "the toner is empty"]);
    assert_eq!(said.out, b"", "a failure is no reply");

    let answer = mesh
        .south
        .curl("POST", "/v1/services/print/messages?wait=60s")
        .body("page")
        .get();
    let answer = answer.problem(424, "failed");
    assert_eq!(answer.header("redlink-outcome"), Some("failed"));
    let detail = answer.json()["detail"].as_str().map(str::to_owned);
    assert!(
        detail
            .as_deref()
            .is_some_and(|text| text.contains("the toner is empty")),
        "{detail:?}"
    );
    assert!(answer.header("redlink-message").is_some());
}

#[test]
fn a_released_message_is_taken_again_as_the_next_attempt() {
    let mesh = Mesh::start();
    let script =
        "[ $REDLINK_ATTEMPT -ge 3 ] || exit 75; echo attempt $REDLINK_ATTEMPT of $REDLINK_MESSAGE_ID";
    let _worker = Worker::script(&mesh.north, "later", "w1", &[], script);
    let id = mesh.south.submit("later", &[], b"");
    let outcome = mesh.south.collect(&id);
    assert_eq!(outcome.text().trim(), format!("attempt 3 of {id}"));
}

#[test]
fn a_cancelled_message_is_over_for_its_worker() {
    let mesh = Mesh::start();
    let id = mesh.south.submit("work", &[], b"x");
    let taken = mesh.north.take("work", "c1");
    mesh.south.cli(&["message", "cancel", &id], b"").ok();
    let outcome = mesh.south.outcome(&id).problem(424, "cancelled");
    assert_eq!(outcome.header("redlink-outcome"), Some("cancelled"));
    mesh.north
        .answer(&taken.delivery, "reply", b"late")
        .problem(410, "message-over");
    mesh.south.collect(&id).problem(424, "cancelled");
}

/// What a user sees of all this without any flag.
#[test]
fn the_lists_tell_what_is_there() {
    let mesh = Mesh::start();
    let _worker = Worker::start(&mesh.north, "wc", "w1", &[], &["wc", "-w"]);
    mesh.south.wait_service("wc");
    let id = mesh.south.submit("nobody", &[], b"x");
    for (verb, texts) in [
        (&["message", "list"][..], &[id.as_str(), "nobody", "queued"][..]),
        (&["messages"], &[&id]),
        (&["service", "list"], &["wc"]),
        (&["peer", "list"], &["north", "up"]),
        (&["status"], &["south", "ready", "north (north, up)"]),
    ] {
        let text = mesh.south.cli(verb, b"").ok().text();
        for wanted in texts {
            assert!(text.contains(wanted), "{verb:?}: no {wanted:?} in\n{text}");
        }
    }
    let text = mesh.north.cli(&["consumer", "list"], b"").ok().text();
    assert!(text.contains("w1"), "{text}");
    for verb in [&["message", "list", "--json"][..], &["status", "--json"]] {
        let text = mesh.south.cli(verb, b"").ok().out;
        serde_json::from_slice::<serde_json::Value>(&text).expect("JSON");
    }
}
