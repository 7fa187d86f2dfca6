//! A message that may not be offered yet waits at its origin, whatever room there is for it.

use super::net::Mesh;
use super::support::{Node, StoreMode};
use redlink_core::{Duration, Misuse, Outcome, Refused, State, Terms, Verb};

const LEASE: Duration = Duration::from_secs(10);
const DELAY_MS: u64 = 20_000;
const DELAY: Duration = Duration::from_millis(DELAY_MS);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn delayed() -> Terms {
    Terms {
        not_before: DELAY,
        ..Terms::default()
    }
}

/// An origin south of a hub, with two more nodes south of that; a worker of `a` at A, and of `b` at B.
fn star() -> Mesh {
    let mut mesh = Mesh::new(&["O", "H", "A", "B"], &[("O", "H"), ("A", "H"), ("B", "H")]);
    for (node, service) in [("A", "a"), ("B", "b")] {
        let node = mesh.node(node);
        node.register(service, "w", 4, LEASE);
        node.take(service, "w", 4);
    }
    mesh.run(ms(100));
    mesh
}

fn submit(node: &mut Node, alternate: Option<Duration>, terms: Terms) -> u64 {
    let tag = node
        .submit_for("a", alternate.map(|after| ("b", after)), terms, b"abc")
        .expect("the submit is taken");
    node.accepted(tag)
}

fn delivered(mesh: &mut Mesh) -> (usize, usize) {
    (
        mesh.node("A").told.delivered.len(),
        mesh.node("B").told.delivered.len(),
    )
}

fn state(mesh: &mut Mesh, sequence: u64) -> State {
    let node = mesh.node("O");
    node.core.message(sequence).expect("it is there").state
}

#[test]
fn it_is_offered_when_its_time_has_come_and_not_before() {
    let mut mesh = star();
    let sequence = submit(mesh.node("O"), None, delayed());
    mesh.run(ms(DELAY_MS - 1));
    assert_eq!(delivered(&mut mesh), (0, 0));
    assert_eq!(state(&mut mesh, sequence), State::Delayed);
    assert_eq!(
        mesh.node("H").core.usage().reservations,
        0,
        "it is placed nowhere"
    );
    mesh.run(ms(100));
    assert_eq!(delivered(&mut mesh), (1, 0));
    let delivery = mesh.node("A").only_delivery();
    mesh.node("A").answer(delivery.token, Verb::Reply, Some(b"done"));
    mesh.run(ms(100));
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn a_worker_beside_it_has_to_wait_as_well() {
    let mut mesh = star();
    mesh.node("O").register("a", "w", 1, LEASE);
    mesh.node("O").take("a", "w", 1);
    submit(mesh.node("O"), None, delayed());
    mesh.run(ms(DELAY_MS - 1));
    assert_eq!(mesh.node("O").told.delivered.len(), 0);
    mesh.run(ms(2));
    assert_eq!(mesh.node("O").told.delivered.len(), 1);
}

#[test]
fn its_alternate_service_waits_for_the_later_of_both_times() {
    for (after, first) in [(1, DELAY_MS), (2 * DELAY_MS, 2 * DELAY_MS)] {
        let mut mesh = star();
        // Nobody serves its own service.
        mesh.node("A").must(redlink_core::Input::Unregister {
            service: "a",
            consumer: "w",
        });
        mesh.run(ms(100));
        submit(mesh.node("O"), Some(ms(after)), delayed());
        mesh.run(ms(first - 1));
        assert_eq!(delivered(&mut mesh), (0, 0));
        mesh.run(ms(100));
        assert_eq!(delivered(&mut mesh), (0, 1), "after {after} ms");
    }
}

#[test]
fn what_it_waited_counts_over_a_restart() {
    let mut mesh = star();
    let early = submit(mesh.node("O"), None, delayed());
    mesh.run(ms(5_000));
    mesh.restart("O");
    mesh.restore("O", "H");
    mesh.run(ms(14_900));
    assert_eq!(delivered(&mut mesh), (0, 0));
    assert_eq!(state(&mut mesh, early), State::Delayed);
    mesh.run(ms(200));
    assert_eq!(delivered(&mut mesh), (1, 0));
    // One whose time comes in the recovery window waits for its end, as any other does.
    let late = submit(mesh.node("O"), None, delayed());
    mesh.run(ms(DELAY_MS - 1_000));
    mesh.restart("O");
    mesh.restore("O", "H");
    mesh.run(ms(4_900));
    assert_eq!(state(&mut mesh, late), State::Recovering);
    mesh.run(ms(300));
    assert_eq!(state(&mut mesh, late), State::Granted);
}

#[test]
fn it_can_be_cancelled_and_it_expires() {
    let mut mesh = star();
    let sequence = submit(mesh.node("O"), None, delayed());
    mesh.node("O").must(redlink_core::Input::Cancel { sequence });
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Cancelled));
    // Its insert takes long enough for its time to come meanwhile; then it may be had at once.
    mesh.node("O").store = StoreMode::Waits;
    let tag = mesh.node("O").submit_as("a", delayed(), b"abc");
    mesh.run(DELAY);
    mesh.node("O").store_now(StoreMode::Done);
    mesh.node("O").accepted(tag.expect("the submit is taken"));
    mesh.run(ms(100));
    assert_eq!(delivered(&mut mesh), (1, 0));
    let short = Terms {
        ett: Some(ms(DELAY_MS + 1)),
        ..delayed()
    };
    let nobody = mesh.node("O").submit_as("nobody", short, b"abc");
    let nobody = mesh.node("O").accepted(nobody.expect("the submit is taken"));
    mesh.run(ms(DELAY_MS + 2));
    assert_eq!(mesh.node("O").outcome(nobody), Some(Outcome::Expired));
}

#[test]
fn one_that_could_never_be_offered_is_refused() {
    let mut mesh = star();
    for ett in [DELAY, ms(1)] {
        let terms = Terms {
            ett: Some(ett),
            ..delayed()
        };
        let answer = mesh.node("O").submit_as("a", terms, b"abc");
        assert_eq!(answer, Err(Refused::Misuse(Misuse::NotBefore)));
    }
}
