//! An alternate service over a link, as a user says it.

use redlink_tests::{Mesh, Worker};

/// The only worker of the service is busy at another node; one of the alternate service, there too, is free.
#[test]
fn a_worker_of_another_service_helps_out() {
    let mut mesh = Mesh::start();
    let busy = mesh.south.submit("quick", &[], b"first");
    let held = mesh.north.take("quick", "w1");
    assert_eq!(held.message, busy);
    let said = mesh
        .south
        .cli(&["send", "quick", "--alternate", "slow=1h"], b"never");
    let waits = said.ok().text().trim().to_owned();
    let shown = mesh.south.cli(&["message", "show", &waits], b"").ok().text();
    assert!(shown.contains("offered as slow too in"), "{shown}");

    // It is on disk: after a restart of its node it is still offered there.
    let id = mesh
        .south
        .submit("quick", &[("Redlink-Alternate", "slow;after=200ms")], b"one two");
    mesh.south.kill();
    mesh.south.restart();
    let _slow = Worker::start(&mesh.north, "slow", "w2", &[], &["wc", "-w"]);
    assert_eq!(mesh.south.collect(&id).text().trim(), "2");
    mesh.south.wait_state(&waits, "offered");
    mesh.north.answer(&held.delivery, "reply", b"done").status(204);
}

#[test]
fn what_can_not_be_an_alternate_is_said() {
    let mesh = Mesh::start();
    for (said, why) in [
        ("slow", "SERVICE=TIME"),
        ("a/b=1s", "a/b"),
        ("quick=1s", "needs another one"),
    ] {
        let said = mesh.south.cli(&["send", "quick", "--alternate", said], b"x");
        assert_ne!(said.code, 0);
        said.says(&[why]);
    }
}
