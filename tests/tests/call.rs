//! A call crosses a link, and a payload is what it was.

use redlink_tests::{Mesh, Worker, all_bytes, assert_same};

#[test]
fn a_call_from_south_is_answered_by_a_program_at_north() {
    let mesh = Mesh::start();
    let _worker = Worker::start(&mesh.north, "wordcount", "w1", &[], &["wc", "-w"]);
    mesh.south.wait_service("wordcount");

    let said = mesh.south.cli(&["call", "wordcount"], b"one two three\n").ok();
    assert_eq!(said.text(), "3");

    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let words = std::fs::read_to_string(readme).expect("the README");
    let words = words.split_ascii_whitespace().count();
    let said = mesh
        .south
        .cli(&["call", "wordcount", readme, "--verbose"], b"")
        .ok();
    // `wc` and this program may see words in other alphabets differently.
    let counted: usize = said.text().parse().expect("a number");
    assert!(
        counted.abs_diff(words) <= words / 10,
        "{counted} words, not {words}"
    );
    let said = said.says(&["node south at", "settled in"]);
    println!("a call took {:?} with the start of its process", said.took);
}

#[test]
fn a_call_from_north_is_answered_by_a_program_at_south() {
    let mesh = Mesh::start();
    let _worker = Worker::start(&mesh.south, "wordcount", "w1", &[], &["wc", "-w"]);
    let said = mesh.north.cli(&["call", "wordcount"], b"one two three\n").ok();
    assert_eq!(said.text(), "3");
}

/// A call with nobody to answer it yet waits for a worker, and goes as soon as there is one.
#[test]
fn a_call_waits_for_its_worker() {
    let mesh = Mesh::start();
    let id = mesh.south.submit("later", &[], b"a b");
    mesh.south.wait_state(&id, "queued");
    let _worker = Worker::start(&mesh.north, "later", "w1", &[], &["wc", "-w"]);
    assert_eq!(mesh.south.collect(&id).text().trim(), "2");
}

/// Payloads of every kind there is a path for: in the frame, apart from it, in the row, in a file of its own.
#[test]
fn payloads_arrive_as_they_are_in_both_directions() {
    let mesh = Mesh::start();
    let _up = Worker::start(&mesh.north, "up", "w1", &[], &["cat"]);
    let _down = Worker::start(&mesh.south, "down", "w2", &[], &["cat"]);
    const KIB: usize = 1024;
    for (node, service) in [(&mesh.south, "up"), (&mesh.north, "down")] {
        for length in [
            0,
            1,
            261,
            8 * KIB,
            8 * KIB + 1,
            64 * KIB,
            64 * KIB + 1,
            KIB * KIB,
            5 * KIB * KIB,
        ] {
            let payload = all_bytes(length);
            let said = node.cli(&["call", service, "-"], &payload).ok();
            assert_same(
                &format!("{length} bytes by the command, {service}"),
                &said.out,
                &payload,
            );
            println!("{service}: {length} bytes there and back in {:?}", said.took);
        }
        let payload = all_bytes(5 * KIB * KIB);
        let path = format!("/v1/services/{service}/messages?wait=60s");
        let answer = node.curl("POST", &path).body(payload.clone()).get().status(200);
        assert_eq!(answer.header("redlink-outcome"), Some("replied"));
        assert_same(&format!("5 MiB by curl, {service}"), &answer.body, &payload);
    }
    // A waited reply that was handed over is collected: nothing is left.
    for node in [&mesh.south, &mesh.north] {
        redlink_tests::until("all to be collected", || {
            (node.json("/v1/messages") == serde_json::json!([])).then_some(())
        });
    }
}

/// What a payload is said to be goes with it, and nothing is said where nothing was said.
#[test]
fn content_types_go_along() {
    let mesh = Mesh::start();
    for said in [Some("image/png"), None] {
        let headers: Vec<_> = said.map(|said| ("Content-Type", said)).into_iter().collect();
        let id = mesh.south.submit("look", &headers, b"x");
        let taken = mesh.north.take("look", "c1");
        assert_eq!(taken.message, id);
        assert_eq!(taken.response.header("content-type"), said);
        let mut reply = mesh
            .north
            .curl("POST", &format!("{}/reply", taken.delivery))
            .body("y");
        if let Some(said) = said {
            reply = reply.header("Content-Type", said);
        }
        reply.get().status(204);
        let outcome = mesh.south.collect(&id);
        assert_eq!(
            (outcome.header("content-type"), outcome.text().as_str()),
            (said, "y")
        );
    }
}
