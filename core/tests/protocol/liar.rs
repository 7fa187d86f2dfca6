//! Peers that lie or are silent harm only what needs them (P11), and nothing is done twice for it (P6).

use super::net::Mesh;
use redlink_core::wire::{Frame, Path};
use redlink_core::{ConsumerKey, Duration, MessageId, Name, Outcome, State, Terms, Verb};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A worker behind a transit node goes silent: when its lease is over at the origin the message is offered again, and
/// the next worker has it at once. The transit node must not take the new offer for one that crossed a claim.
#[test]
fn a_lost_lease_behind_a_transit_node_costs_a_lease_and_no_more() {
    let mut mesh = Mesh::new(&["S", "T", "N"], &[("S", "T"), ("T", "N")]);
    // Its lease is 10 s, and the origin's copy of it 5 s longer.
    mesh.worker("N", "s");
    mesh.run(secs(1));
    let terms = Terms {
        ett: Some(secs(300)),
        reoffer: secs(1),
        ..Terms::default()
    };
    let sequence = mesh.node("S").submit("s", terms, b"abc");
    mesh.run(secs(1));
    assert_eq!(mesh.node("N").told.delivered.len(), 1);
    // The worker says nothing.
    mesh.node("N").told.delivered.clear();
    mesh.run(secs(16));
    assert_eq!(mesh.work(), 1, "the second attempt, 17 s after the first one");
    mesh.run(secs(1));
    assert_eq!(mesh.node("S").outcome(sequence), Some(Outcome::Replied));
}

/// A peer claims with a lease of years and is silent: the message is free again after the longest lease there is.
#[test]
fn no_lease_is_longer_than_the_longest() {
    let mut mesh = Mesh::new(&["S", "N"], &[("S", "N")]);
    mesh.node("N").register("s", "w", 1, secs(60));
    mesh.run(secs(1));
    let terms = Terms {
        ett: None,
        ..Terms::default()
    };
    let sequence = mesh.node("S").submit("s", terms, b"abc");
    mesh.run(secs(1));
    let message = MessageId {
        node: mesh.node("S").config.node,
        sequence,
    };
    let claim = Frame::Claim {
        offer: message.offer(),
        node: mesh.node("N").config.node,
        consumer: ConsumerKey(1),
        lease: secs(100_000_000),
    };
    mesh.freeze("N");
    mesh.send("N", "S", &claim);
    mesh.run(secs(1));
    let state = |mesh: &mut Mesh| mesh.node("S").core.message(sequence).map(|m| m.state);
    assert_eq!(state(&mut mesh), Some(State::Granted));
    mesh.run(secs(86_500));
    assert_eq!(state(&mut mesh), Some(State::Waiting));
}

/// Who offers another node's message before that does itself does not keep it from getting through.
#[test]
fn a_squatter_gives_way_to_the_origin() {
    let mut mesh = Mesh::new(&["S", "L", "N"], &[("S", "N"), ("L", "N")]);
    mesh.node("N").register("s", "w", 1, secs(60));
    mesh.run(secs(1));
    let origin = mesh.node("S").config.node;
    let message = MessageId {
        node: origin,
        sequence: 1,
    };
    let offer = Frame::Offer {
        offer: message.offer(),
        service: Name::new("s").unwrap(),
        priority: 255,
        age: secs(1_000),
        remaining: None,
        path: Path::from_slice(&[origin, mesh.node("L").config.node]).unwrap(),
        copies: 2,
        sure: false,
    };
    mesh.send("L", "N", &offer);
    mesh.run(secs(1));
    assert_eq!(mesh.node("N").core.usage().reservations, 1);
    let sequence = mesh.node("S").submit("s", Terms::default(), b"abc");
    assert_eq!(sequence, message.sequence);
    mesh.run(secs(1));
    mesh.node("N").take("s", "w", 1);
    mesh.run(secs(1));
    assert_eq!(mesh.work(), 1);
    mesh.run(secs(1));
    assert_eq!(mesh.node("S").outcome(sequence), Some(Outcome::Replied));
}

/// The same while the worker's node waits for the squatter to grant what it has claimed from it.
#[test]
fn a_squatter_that_does_not_grant_gives_way_too() {
    let mut mesh = Mesh::new(&["S", "L", "N"], &[("S", "N"), ("L", "N")]);
    mesh.worker("N", "s");
    mesh.run(secs(1));
    mesh.freeze("L");
    let origin = mesh.node("S").config.node;
    let message = MessageId {
        node: origin,
        sequence: 1,
    };
    let offer = Frame::Offer {
        offer: message.offer(),
        service: Name::new("s").unwrap(),
        priority: 255,
        age: secs(1_000),
        remaining: None,
        path: Path::from_slice(&[origin, mesh.node("L").config.node]).unwrap(),
        copies: 2,
        sure: false,
    };
    mesh.send("L", "N", &offer);
    mesh.run(secs(1));
    let sequence = mesh.node("S").submit("s", Terms::default(), b"abc");
    mesh.run(secs(1));
    assert_eq!(mesh.work(), 1);
    mesh.run(secs(1));
    assert_eq!(mesh.node("S").outcome(sequence), Some(Outcome::Replied));
}

/// A claim that crosses the word of its consumer's node that it holds the message is no new one: the attempt is not
/// handed out again, also if its answer was no good meanwhile.
#[test]
fn no_attempt_is_delivered_twice() {
    let mut mesh = Mesh::new(&["O", "H"], &[("H", "O")]);
    mesh.worker("H", "s");
    mesh.run(secs(1));
    let terms = Terms {
        ett: None,
        max_attempts: 0,
        ..Terms::default()
    };
    let sequence = mesh.node("O").submit("s", terms, b"abc");
    mesh.run(secs(1));
    let first = mesh.node("H").only_delivery().token;
    mesh.node("H").told.delivered.clear();
    mesh.restart("H");
    // Its node can't know that this is the wrong verb, and keeps it for the origin.
    mesh.node("H").answer(first, Verb::Ack, None);
    mesh.worker("H", "s");
    // The lease is over at the origin: what the node says comes with a claim for the next attempt.
    mesh.run(secs(20));
    mesh.restore("H", "O");
    mesh.run(secs(60));
    let again: Vec<_> = mesh
        .node("H")
        .told
        .delivered
        .iter()
        .map(|d| d.token.fence)
        .collect();
    assert!(!again.is_empty() && !again.contains(&first.fence), "{again:?}");
    let last = mesh.node("H").told.delivered.pop().map(|d| d.token);
    mesh.node("H").answer(last.unwrap(), Verb::Reply, Some(b"cba"));
    mesh.run(secs(1));
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Replied));
}

/// A claim in the name of the node that it comes to would be passed on, and its grant would go nowhere.
#[test]
fn nobody_claims_in_the_name_of_the_node_between() {
    let mut mesh = Mesh::new(&["O", "T", "L"], &[("O", "T"), ("L", "T")]);
    mesh.worker("T", "s");
    mesh.worker("L", "s");
    mesh.run(Duration::from_secs(1));
    // T's worker takes eight; the ninth waits there, and at L's.
    for _ in 0..17 {
        mesh.node("O").submit("s", Terms::default(), b"abc");
    }
    mesh.run(Duration::from_secs(1));
    let last = MessageId {
        node: mesh.node("O").config.node,
        sequence: 17,
    };
    let claim = Frame::Claim {
        offer: last.offer(),
        node: mesh.node("T").config.node,
        consumer: ConsumerKey(3),
        lease: Duration::from_secs(100),
    };
    mesh.send("L", "T", &claim);
    mesh.run(Duration::from_secs(1));
    assert_eq!(mesh.node("O").core.counters().granted, 16);
    assert_eq!(mesh.node("T").core.usage().relays, 8, "those of L's worker");
}
