//! Large payloads that go straight between an origin and the consumer's node, around the nodes between.

use super::net::Mesh;
use redlink_core::{Duration, Input, Outcome, Part, Terms, Verb};

const LARGE: usize = 100_000;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A worker two links from the origin.
fn line() -> Mesh {
    let mut mesh = Mesh::new(&["S", "T", "N"], &[("S", "T"), ("T", "N")]);
    for name in ["S", "N"] {
        // As a node's settings say it: from its next start on.
        mesh.node(name).config.direct = true;
        mesh.restart(name);
    }
    mesh.restore("S", "T");
    mesh.restore("T", "N");
    mesh.worker("N", "s");
    mesh.node("N").knows_origins = true;
    mesh.run(secs(1));
    mesh
}

fn terms() -> Terms {
    Terms {
        direct: true,
        ..Terms::default()
    }
}

/// The worker has this, and answers with that much; then nothing is left anywhere.
fn answered(mesh: &mut Mesh, sequence: u64, payload: &[u8], reply: usize) {
    mesh.run(ms(100));
    let delivery = mesh.node("N").only_delivery();
    let node = mesh.node("N");
    assert_eq!(node.payload(&delivery), payload);
    node.answer(delivery.token, Verb::Reply, Some(&vec![9; reply]));
    mesh.run(ms(100));
    let origin = mesh.node("S");
    assert_eq!(origin.outcome(sequence), Some(Outcome::Replied));
    assert_eq!(origin.core.counters().granted, 1);
    assert_eq!(
        origin.disk.outcomes[&sequence].body.as_deref(),
        Some(&vec![9; reply][..])
    );
    mesh.run(secs(1));
    for name in ["T", "N"] {
        assert!(mesh.node(name).bodies.is_empty(), "{name} holds bytes");
    }
    assert_eq!(mesh.node("T").core.usage().relays, 0);
    assert_eq!(mesh.faults(), []);
}

#[test]
fn payload_and_reply_go_around_the_node_between() {
    for (size, reply) in [(LARGE, LARGE), (LARGE, 3), (3, LARGE), (0, LARGE)] {
        let mut mesh = line();
        let payload = vec![7; size];
        let sequence = mesh.node("S").submit("s", terms(), &payload);
        answered(&mut mesh, sequence, &payload, reply);
        assert!(
            mesh.node("T").apart.is_empty(),
            "the node between had {size} there, {reply} back"
        );
    }
}

#[test]
fn what_can_not_go_straight_goes_along_the_way() {
    for (size, reply) in [(LARGE, LARGE), (3, LARGE)] {
        let mut mesh = line();
        mesh.straight = false;
        let payload = vec![7; size];
        let sequence = mesh.node("S").submit("s", terms(), &payload);
        answered(&mut mesh, sequence, &payload, reply);
        assert!(
            !mesh.node("T").apart.is_empty(),
            "it went through the node between"
        );
    }
}

#[test]
fn a_message_that_does_not_ask_for_it_goes_along_the_way() {
    let mut mesh = line();
    mesh.straight = true;
    mesh.node("N").knows_origins = false;
    let payload = vec![7; LARGE];
    let sequence = mesh.node("S").submit("s", Terms::default(), &payload);
    answered(&mut mesh, sequence, &payload, LARGE);
    assert!(!mesh.node("T").apart.is_empty());
}

/// The worker's node is next to the origin: there is no way around anything.
#[test]
fn a_neighbour_has_the_shortest_way_already() {
    let mut mesh = line();
    mesh.worker("T", "t");
    mesh.run(secs(1));
    mesh.node("S").submit("t", terms(), &vec![7; LARGE]);
    mesh.run(ms(100));
    assert_eq!(mesh.node("T").told.delivered.len(), 1);
    assert!(mesh.node("T").straight.is_empty());
}

/// The node between goes down while the payload comes: the message is offered again when a way is there again.
#[test]
fn the_way_breaks_while_it_comes() {
    let mut mesh = line();
    mesh.hold_transfers(true);
    let payload = vec![7; LARGE];
    let sequence = mesh.node("S").submit("s", terms(), &payload);
    mesh.run(ms(100));
    let [(token, _)] = mesh.node("N").straight[..] else {
        panic!("N gets it from S")
    };
    mesh.cut("S", "T");
    mesh.run(ms(100));
    // It comes after all, and nobody waits for it.
    let node = mesh.node("N");
    let body = Some(node.body(payload.clone()));
    node.must(Input::Fetched {
        token,
        part: Part::Payload,
        body,
    });
    node.straight.clear();
    mesh.restore("S", "T");
    mesh.hold_transfers(false);
    for _ in 0..60 {
        mesh.run(secs(1));
        mesh.work();
    }
    assert_eq!(mesh.node("S").outcome(sequence), Some(Outcome::Replied));
    assert!(mesh.node("N").bodies.is_empty());
}

/// The worker's link goes down while its answer goes straight: it is there, and counts.
#[test]
fn an_answer_that_is_brought_straight_needs_no_way() {
    let mut mesh = line();
    let sequence = mesh.node("S").submit("s", terms(), b"abc");
    mesh.run(ms(100));
    let delivery = mesh.node("N").only_delivery();
    mesh.hold_transfers(true);
    mesh.node("N")
        .answer(delivery.token, Verb::Reply, Some(&[9; LARGE]));
    mesh.run(ms(100));
    mesh.cut("T", "N");
    mesh.run(ms(100));
    mesh.hold_transfers(false);
    mesh.run(ms(100));
    assert_eq!(mesh.node("S").outcome(sequence), Some(Outcome::Replied));
    assert_eq!(mesh.node("S").core.counters().granted, 1);
}

/// The node can't reach the origin and says so at once: both announcements come to the node between in one breath.
#[test]
fn an_answer_that_is_announced_anew_at_once_is_not_held_up() {
    let mut mesh = line();
    mesh.straight = false;
    let sequence = mesh.node("S").submit("s", terms(), b"abc");
    mesh.run(ms(100));
    let delivery = mesh.node("N").only_delivery();
    let node = mesh.node("N");
    node.answer(delivery.token, Verb::Reply, Some(&[9; LARGE]));
    node.brings.clear();
    node.must(Input::NotDirect {
        token: delivery.token,
        part: Part::Reply,
    });
    mesh.run(ms(100));
    assert_eq!(mesh.node("S").outcome(sequence), Some(Outcome::Replied));
}
