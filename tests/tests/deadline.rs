//! The outcome is there in time (P3).

use redlink_tests::{BOUND, Mesh, Node, Worker, until};
use std::time::Duration;

#[test]
fn without_a_worker_it_expires_at_its_deadline() {
    let mesh = Mesh::start();
    for node in [&mesh.south, &mesh.north] {
        let request = node
            .curl("POST", "/v1/services/nobody/messages?wait=50s")
            .body("x");
        let answer = request.header("Redlink-Ett", "1s").get().problem(424, "expired");
        assert_eq!(answer.header("redlink-outcome"), Some("expired"));
        println!("{}: expired after {:?}", node.name(), answer.took);
        assert!(
            answer.took >= Duration::from_secs(1),
            "{:?} is before its deadline",
            answer.took
        );
        // The promise is a second; what more is allowed is the machine's.
        assert!(answer.took < Duration::from_secs(10), "{:?}", answer.took);
    }
    let said = mesh.south.cli(&["call", "nobody", "--ett", "1s"], b"x").code(1);
    said.says(&["expired", "redlink services"]);
}

#[test]
fn a_reply_after_the_deadline_is_refused() {
    let mesh = Mesh::start();
    for origin in [&mesh.south, &mesh.north] {
        let id = origin.submit("slow", &[("Redlink-Ett", "3s")], b"x");
        let taken = mesh.north.take("slow", "c1");
        assert_eq!(taken.message, id);
        assert!(taken.response.header("redlink-deadline").is_some());
        origin.outcome(&id).problem(424, "expired");
        mesh.north
            .answer(&taken.delivery, "reply", b"late")
            .problem(410, "message-over");
        let late = mesh.north.answer(&taken.delivery, "extend", b"");
        late.problem(410, "message-over");
        origin.collect(&id).problem(424, "expired");
    }
}

/// A worker's command that is too slow is told to end.
#[test]
fn a_late_command_is_ended() {
    let node = Node::first("alone");
    let script = "trap 'echo ended >end; exit' TERM; echo >begin; while [ -e begin ]; do sleep 0.1; done";
    let _worker = Worker::script(&node, "slow", "w1", &[], script);
    let id = node.submit("slow", &[("Redlink-Ett", "2s")], b"x");
    let (begin, end) = (node.dir().join("begin"), node.dir().join("end"));
    until("the command to begin", || begin.exists().then_some(()));
    node.collect(&id).problem(424, "expired");
    until("the command to be ended", || end.exists().then_some(()));
}

/// What expired while its node was down is settled before that answers anything.
#[test]
fn what_expired_during_an_outage_is_settled_at_the_start() {
    let mut node = Node::first("alone");
    let id = node.submit("nobody", &[("Redlink-Ett", "1s")], b"x");
    let long = node.submit("nobody", &[("Redlink-Ett", "1h")], b"y");
    let submitted = std::time::Instant::now();
    node.kill();
    until("the deadline to pass", || {
        (submitted.elapsed() > Duration::from_secs(1)).then_some(())
    });
    assert!(submitted.elapsed() < BOUND);
    node.restart();
    // Not waited for: it has to be there with the first answer.
    node.curl("GET", &format!("/v1/messages/{id}/outcome"))
        .get()
        .problem(424, "expired");
    node.curl("GET", &format!("/v1/messages/{long}/outcome"))
        .get()
        .status(202);
}
