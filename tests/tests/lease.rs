//! A consumer that goes silent loses its message, and its late answer does not count (P6).

use redlink_tests::{Mesh, Worker, until};

#[test]
fn a_lease_that_runs_out_makes_the_next_attempt() {
    let mesh = Mesh::start();
    for origin in [&mesh.south, &mesh.north] {
        mesh.north.register("work", "silent", 1, "1s");
        let id = origin.submit("work", &[], b"payload");
        let first = mesh.north.take("work", "silent");
        assert_eq!((first.message.as_str(), first.attempt), (id.as_str(), 1));
        assert_eq!(first.response.header("redlink-lease"), Some("1s"));

        let second = mesh.north.take("work", "other");
        assert_eq!((second.message.as_str(), second.attempt), (id.as_str(), 2));
        assert_eq!(second.response.body, b"payload");

        for verb in ["reply", "fail"] {
            let late = mesh.north.answer(&first.delivery, verb, b"from the first");
            late.problem(409, "stale-attempt");
        }
        // The consumer's node may have to ask the origin first, and takes an extension on trust meanwhile.
        until("an extension to be refused", || {
            let late = mesh.north.answer(&first.delivery, "extend", b"");
            (late.status != 204).then(|| late.problem(409, "stale-attempt"))
        });
        mesh.north
            .answer(&second.delivery, "reply", b"from the second")
            .status(204);
        assert_eq!(origin.collect(&id).status(200).text(), "from the second");
        let late = mesh.north.answer(&first.delivery, "reply", b"from the first");
        assert!(
            matches!(late.status, 404 | 409 | 410),
            "{}: {}",
            late.status,
            late.text()
        );
        mesh.north
            .curl("DELETE", "/v1/services/work/consumers/silent")
            .get()
            .status(204);
        mesh.north
            .curl("DELETE", "/v1/services/work/consumers/other")
            .get()
            .status(204);
    }
}

/// A late reply counts as long as nobody else was given the message: no work is thrown away that nobody does again.
#[test]
fn a_late_reply_counts_while_nobody_else_has_the_message() {
    let mesh = Mesh::start();
    mesh.north.register("work", "late", 1, "1s");
    let id = mesh.south.submit("work", &[], b"x");
    let taken = mesh.north.take("work", "late");
    // The lease is over as soon as the origin has the message back.
    until("the lease to run out", || {
        let state = mesh.south.json(&format!("/v1/messages/{id}"))["state"].clone();
        (state != "granted").then_some(())
    });
    mesh.north.answer(&taken.delivery, "reply", b"late").status(204);
    assert_eq!(mesh.south.collect(&id).status(200).text(), "late");
}

/// `redlink serve` keeps its lease while the command runs, however short that is.
#[test]
fn a_slow_command_keeps_its_lease() {
    let mesh = Mesh::start();
    let script = "sleep 4; echo attempt $REDLINK_ATTEMPT";
    let _worker = Worker::script(
        &mesh.north,
        "slow",
        "w1",
        &["--lease", "1s", "--concurrency", "2"],
        script,
    );
    let id = mesh.south.submit("slow", &[], b"");
    assert_eq!(mesh.south.collect(&id).text().trim(), "attempt 1");
}

#[test]
fn attempts_that_are_used_up_make_it_dead() {
    let mesh = Mesh::start();
    mesh.north.register("poison", "victim", 1, "1s");
    let id = mesh
        .south
        .submit("poison", &[("Redlink-Max-Attempts", "2")], b"x");
    for attempt in 1..=2 {
        let taken = mesh.north.take("poison", "victim");
        assert_eq!((taken.message.as_str(), taken.attempt), (id.as_str(), attempt));
    }
    let outcome = mesh.south.collect(&id).problem(424, "dead");
    assert_eq!(outcome.header("redlink-outcome"), Some("dead"));
}
