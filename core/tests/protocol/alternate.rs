//! A message that nobody claims for a while is offered under its alternate service too; the first claim wins.

use super::net::Mesh;
use super::support::{Node, small};
use redlink_core::{Bound, Capacity, Duration, Misuse, Outcome, Refused, Terms, Verb};

const LEASE: Duration = Duration::from_secs(10);
const AFTER: Duration = Duration::from_secs(2);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn submit(node: &mut Node, after: Duration) -> u64 {
    let tag = node
        .submit_for("a", Some(("b", after)), Terms::default(), b"abc")
        .expect("the submit is taken");
    node.accepted(tag)
}

/// A worker of the service that takes one message at a time.
fn worker(mesh: &mut Mesh, node: &str, service: &str) {
    let node = mesh.node(node);
    node.register(service, "w", 1, LEASE);
    node.take(service, "w", 1);
}

fn delivered(mesh: &mut Mesh, node: &str) -> usize {
    mesh.node(node).told.delivered.len()
}

/// Nothing waits at a node for anybody else.
fn reserved(mesh: &mut Mesh, node: &str) -> u32 {
    mesh.node(node).core.usage().reservations
}

/// An origin south of a hub, with two more nodes south of that.
fn star() -> Mesh {
    Mesh::new(&["O", "H", "A", "B"], &[("O", "H"), ("A", "H"), ("B", "H")])
}

#[test]
fn a_local_worker_of_the_alternate_gets_it_when_its_time_has_come() {
    let mut mesh = star();
    worker(&mut mesh, "O", "b");
    let sequence = submit(mesh.node("O"), AFTER);
    mesh.run(ms(1_999));
    assert_eq!(delivered(&mut mesh, "O"), 0);
    mesh.run(ms(2));
    let delivery = mesh.node("O").only_delivery();
    mesh.node("O").answer(delivery.token, Verb::Reply, Some(b"done"));
    mesh.run(ms(10));
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn its_own_service_has_it_before_and_after() {
    let mut mesh = star();
    worker(&mut mesh, "A", "a");
    worker(&mut mesh, "B", "b");
    mesh.run(ms(100));
    submit(mesh.node("O"), AFTER);
    mesh.run(ms(100));
    assert_eq!((delivered(&mut mesh, "A"), delivered(&mut mesh, "B")), (1, 0));
    // The next one waits for A's worker; by then B's is asked as well.
    submit(mesh.node("O"), AFTER);
    mesh.run(ms(1_990));
    assert_eq!(delivered(&mut mesh, "B"), 0);
    mesh.run(ms(100));
    assert_eq!((delivered(&mut mesh, "A"), delivered(&mut mesh, "B")), (1, 1));
    // B's worker is busy, and A's comes free first.
    submit(mesh.node("O"), AFTER);
    mesh.run(AFTER + ms(100));
    let done = mesh.node("A").told.delivered.remove(0);
    mesh.node("A").answer(done.token, Verb::Reply, Some(b"done"));
    mesh.node("A").take("a", "w", 1);
    mesh.run(ms(100));
    assert_eq!((delivered(&mut mesh, "A"), delivered(&mut mesh, "B")), (1, 1));
    for node in ["H", "A", "B"] {
        assert_eq!(reserved(&mut mesh, node), 0, "{node} still has an offer of it");
    }
}

#[test]
fn both_offers_may_wait_at_the_same_node() {
    let mut mesh = star();
    worker(&mut mesh, "A", "a");
    worker(&mut mesh, "A", "b");
    mesh.run(ms(100));
    for _ in 0..2 {
        submit(mesh.node("O"), Duration::ZERO);
        mesh.run(ms(100));
    }
    assert_eq!(delivered(&mut mesh, "A"), 2, "one for each of the two services");
    let last = submit(mesh.node("O"), Duration::ZERO);
    mesh.run(secs(1));
    assert_eq!(reserved(&mut mesh, "A"), 2, "it waits there for both");
    // Both workers come free in the same instant: one of them gets it, and the other has room.
    let done = std::mem::take(&mut mesh.node("A").told.delivered);
    for delivery in done {
        mesh.node("A").answer(delivery.token, Verb::Reply, Some(b"done"));
    }
    mesh.node("A").take("a", "w", 1);
    mesh.node("A").take("b", "w", 1);
    mesh.run(secs(1));
    let delivery = mesh.node("A").only_delivery();
    assert_eq!(delivery.token.message.sequence, last);
    for service in ["a", "b"] {
        let tag = mesh
            .node("O")
            .submit_as(service, Terms::default(), b"abc")
            .expect("the submit is taken");
        mesh.node("O").accepted(tag);
    }
    mesh.run(ms(100));
    assert_eq!(
        delivered(&mut mesh, "A"),
        2,
        "the worker that lost the claim took the next"
    );
    assert_eq!(mesh.faults(), []);
}

#[test]
fn after_a_lost_lease_both_services_may_have_it_again() {
    let mut mesh = star();
    worker(&mut mesh, "B", "b");
    mesh.run(ms(100));
    let sequence = submit(mesh.node("O"), Duration::ZERO);
    mesh.run(ms(100));
    assert_eq!(delivered(&mut mesh, "B"), 1);
    mesh.run(LEASE + secs(10));
    worker(&mut mesh, "A", "a");
    mesh.run(ms(100));
    let delivery = mesh.node("A").only_delivery();
    assert_eq!(
        (delivery.token.message.sequence, delivery.token.fence.attempt),
        (sequence, 2)
    );
    mesh.node("A").answer(delivery.token, Verb::Reply, Some(b"done"));
    mesh.run(ms(100));
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn a_link_that_comes_back_is_told_of_both() {
    let mut mesh = star();
    worker(&mut mesh, "B", "b");
    mesh.run(ms(100));
    mesh.cut("O", "H");
    submit(mesh.node("O"), ms(10));
    mesh.run(secs(1));
    mesh.restore("O", "H");
    mesh.run(ms(100));
    assert_eq!(delivered(&mut mesh, "B"), 1);
}

#[test]
fn over_a_restart_the_time_goes_on() {
    let mut mesh = star();
    worker(&mut mesh, "B", "b");
    mesh.run(ms(100));
    submit(mesh.node("O"), secs(30));
    mesh.run(secs(10));
    mesh.restart("O");
    mesh.restore("O", "H");
    mesh.run(secs(19));
    assert_eq!(delivered(&mut mesh, "B"), 0);
    mesh.run(secs(2));
    assert_eq!(delivered(&mut mesh, "B"), 1);
}

#[test]
fn when_it_is_over_nothing_of_it_stays_anywhere() {
    let mut mesh = star();
    for (node, service) in [("A", "a"), ("B", "b")] {
        worker(&mut mesh, node, service);
        // Busy from now on.
        mesh.run(ms(100));
        mesh.node("O").submit(service, Terms::default(), b"abc");
        mesh.run(ms(100));
    }
    let cancelled = submit(mesh.node("O"), Duration::ZERO);
    let terms = Terms {
        ett: Some(secs(3)),
        ..Terms::default()
    };
    let tag = mesh.node("O").submit_for("a", Some(("b", ms(1))), terms, b"abc");
    let expired = tag
        .map(|tag| mesh.node("O").accepted(tag))
        .expect("the submit is taken");
    mesh.run(secs(1));
    assert!(reserved(&mut mesh, "A") > 0 && reserved(&mut mesh, "B") > 0);
    mesh.node("O")
        .must(redlink_core::Input::Cancel { sequence: cancelled });
    mesh.run(secs(3));
    for node in ["O", "H", "A", "B"] {
        assert_eq!(reserved(&mut mesh, node), 0, "{node} still has an offer");
    }
    assert_eq!(mesh.node("O").outcome(cancelled), Some(Outcome::Cancelled));
    assert_eq!(mesh.node("O").outcome(expired), Some(Outcome::Expired));
    assert_eq!(
        mesh.node("O").core.usage().messages,
        4,
        "two that are held, two outcomes"
    );
}

#[test]
fn it_takes_two_places_or_none() {
    let mut node = Node::new(
        1,
        Capacity {
            messages: 3,
            ..small()
        },
    );
    let refused = node.submit_for("a", Some(("a", AFTER)), Terms::default(), b"");
    assert_eq!(refused, Err(Refused::Misuse(Misuse::Alternate)));
    submit(&mut node, AFTER);
    let full = node.submit_for("a", Some(("b", AFTER)), Terms::default(), b"");
    assert_eq!(full, Err(Refused::Full(Bound::Messages)));
    node.submit("a", Terms::default(), b"");
    assert_eq!(node.core.messages().count(), 2, "a message is shown once");
}

/// The machine was started anew: its clock knows nothing of the time that the message has waited.
#[test]
fn a_time_that_is_over_at_the_start_is_over() {
    let mut mesh = star();
    worker(&mut mesh, "B", "b");
    mesh.run(ms(100));
    let node = mesh.node("O");
    submit(node, secs(60));
    let row = node.disk.messages.values_mut().next().expect("its row");
    // It was inserted long before this clock began.
    row.waited = secs(3_600);
    mesh.restart("O");
    mesh.restore("O", "H");
    mesh.run(secs(10));
    assert_eq!(delivered(&mut mesh, "B"), 1);
}

/// What waits behind a full window goes there as soon as a worker of the alternate service takes what stood before it.
#[test]
fn a_claim_by_the_alternate_makes_room_for_others_of_its_own_service() {
    let mut mesh = star();
    worker(&mut mesh, "A", "a");
    mesh.run(ms(100));
    for name in ["H", "A"] {
        mesh.node(name).config.window = 1;
        mesh.restart(name);
    }
    for (south, north) in [("O", "H"), ("A", "H"), ("B", "H")] {
        mesh.restore(south, north);
    }
    worker(&mut mesh, "A", "a");
    mesh.run(secs(6));
    mesh.node("O").submit("a", Terms::default(), b"held");
    mesh.run(ms(100));
    assert_eq!(delivered(&mut mesh, "A"), 1);
    let urgent = Terms {
        priority: 9,
        ..Terms::default()
    };
    let tag = mesh
        .node("O")
        .submit_for("a", Some(("b", ms(500))), urgent, b"first");
    tag.expect("the submit is taken");
    mesh.node("O").submit("a", Terms::default(), b"second");
    mesh.run(ms(100));
    assert_eq!(reserved(&mut mesh, "H"), 1, "the window is one");
    worker(&mut mesh, "O", "b");
    mesh.run(secs(1));
    assert_eq!(delivered(&mut mesh, "O"), 1);
    assert_eq!(reserved(&mut mesh, "H"), 1, "the second has its place");
}
