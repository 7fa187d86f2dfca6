//! A worker that is killed in the middle of its work costs a lease, and nothing else.

use redlink_tests::{Mesh, Worker, until};

#[test]
fn another_worker_does_it() {
    let mesh = Mesh::start();
    let begun = mesh.north.dir().join("begun");
    // Nobody ends a killed worker's command; this one ends with the test's directory.
    let script = "echo >begun; while [ -e begun ]; do sleep 0.1; done";
    let mut first = Worker::script(&mesh.north, "work", "first", &["--lease", "1s"], script);
    let id = mesh.south.submit("work", &[], b"payload");
    until("the first worker to begin", || begun.exists().then_some(()));
    mesh.south.wait_state(&id, "granted");
    first.process.kill();

    let script = "cat; echo , attempt $REDLINK_ATTEMPT";
    let _second = Worker::script(&mesh.north, "work", "second", &["--lease", "1s"], script);
    assert_eq!(mesh.south.collect(&id).status(200).text(), "payload, attempt 2\n");
}

/// A worker that is killed while it waits for work has taken nothing with it.
#[test]
fn a_take_that_breaks_off_loses_nothing() {
    let mesh = Mesh::start();
    let mut first = Worker::start(&mesh.north, "work", "first", &["--concurrency", "4"], &["cat"]);
    until("the worker to wait", || {
        let consumers = mesh.north.json("/v1/consumers");
        (consumers[0]["wanted"] == 4).then_some(())
    });
    first.process.kill();
    let ids: Vec<String> = (0..8)
        .map(|n| mesh.south.submit("work", &[], format!("{n}").as_bytes()))
        .collect();
    let _second = Worker::start(&mesh.north, "work", "second", &[], &["cat"]);
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(mesh.south.collect(id).status(200).text(), n.to_string());
    }
}

/// SIGTERM lets the command that runs finish.
#[test]
fn a_worker_that_is_told_to_stop_finishes() {
    let mesh = Mesh::start();
    let begun = mesh.north.dir().join("begun");
    let script = "echo >begun; while [ ! -e go ]; do sleep 0.1; done; echo finished";
    let mut worker = Worker::script(&mesh.north, "work", "w1", &[], script);
    let id = mesh.south.submit("work", &[], b"");
    until("the worker to begin", || begun.exists().then_some(()));
    worker.process.signal(rustix::process::Signal::TERM);
    until("the worker to hear of it", || {
        worker.process.output().contains("stopping").then_some(())
    });
    std::fs::write(mesh.north.dir().join("go"), "").expect("a file");
    assert!(worker.process.wait().success(), "{}", worker.process.output());
    assert_eq!(mesh.south.collect(&id).text(), "finished\n");
}
