//! When a way between origin and holder is gone for good, another is found.

use super::net::Mesh;
use redlink_core::{Duration, Outcome, Terms, Verb};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// O and H are joined by T and by U; both dial.
fn diamond() -> Mesh {
    let mut mesh = Mesh::new(
        &["O", "H", "T", "U"],
        &[("O", "T"), ("O", "U"), ("H", "T"), ("H", "U")],
    );
    let node = mesh.node("H");
    node.register("s", "w", 8, secs(10));
    node.take("s", "w", 8);
    mesh.run(secs(1));
    mesh
}

fn terms() -> Terms {
    Terms {
        ett: Some(secs(300)),
        max_attempts: 1,
        ..Terms::default()
    }
}

/// Which of the two the message went through.
fn way(mesh: &mut Mesh) -> &'static str {
    if mesh.node("T").core.usage().relays > 0 {
        "T"
    } else {
        "U"
    }
}

#[test]
fn a_reply_finds_another_way_when_the_node_between_is_gone() {
    let mut mesh = diamond();
    let sequence = mesh.node("O").submit("s", terms(), b"abc");
    mesh.run(secs(1));
    let dead = way(&mut mesh);
    mesh.kill(dead);
    mesh.run(secs(1));
    assert_eq!(mesh.work(), 1, "the worker holds it all the time");
    mesh.run(secs(5));
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Replied));
    assert_eq!(mesh.node("O").core.counters().granted, 1, "in the same attempt");
    assert!(
        mesh.node("H").disk.replies.is_empty(),
        "what was kept there is dropped"
    );
    assert_eq!(mesh.faults(), []);
}

/// The worker goes on working over the new way: its lease is renewed, however long it takes.
#[test]
fn a_worker_keeps_its_message_while_the_way_changes() {
    let mut mesh = diamond();
    let sequence = mesh.node("O").submit("s", terms(), b"abc");
    mesh.run(secs(1));
    let delivery = mesh.node("H").only_delivery();
    let dead = way(&mut mesh);
    mesh.kill(dead);
    for _ in 0..20 {
        mesh.node("H").answer(delivery.token, Verb::Extend, None);
        mesh.run(secs(4));
    }
    mesh.node("H").answer(delivery.token, Verb::Reply, Some(b"done"));
    mesh.run(secs(1));
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Replied));
    assert_eq!(mesh.node("O").core.counters().granted, 1);
}

/// What never arrived is given back as soon as its holder is found, and not when the lease is over.
#[test]
fn a_payload_cut_under_way_goes_by_another_way_soon() {
    let mut mesh = diamond();
    mesh.hold_transfers(true);
    let sequence = mesh.node("O").submit(
        "s",
        Terms {
            max_attempts: 0,
            ..terms()
        },
        &[7; 100_000],
    );
    mesh.run(secs(1));
    let dead = way(&mut mesh);
    mesh.kill(dead);
    mesh.hold_transfers(false);
    // Longer than the recovery window of a node that was just started.
    mesh.run(secs(6));
    assert_eq!(mesh.work(), 1);
    mesh.run(secs(1));
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Replied));
}

/// A reply that was stored at the consumer's node goes to an origin behind other nodes, also after a restart in which
/// nobody offers the service any more.
#[test]
fn a_stored_reply_finds_its_origin_after_a_restart() {
    let mut mesh = Mesh::new(&["O", "T", "H"], &[("O", "T"), ("H", "T")]);
    let node = mesh.node("H");
    node.register("s", "w", 8, secs(200));
    node.take("s", "w", 8);
    mesh.run(secs(1));
    let sequence = mesh.node("O").submit("s", terms(), b"abc");
    mesh.run(secs(1));
    mesh.cut("H", "T");
    assert_eq!(mesh.work(), 1);
    mesh.run(secs(1));
    assert_eq!(mesh.node("H").disk.replies.len(), 1);
    mesh.restart("H");
    mesh.run(secs(20));
    mesh.restore("H", "T");
    mesh.run(secs(3));
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Replied));
    assert_eq!(mesh.node("O").core.counters().granted, 1);
    mesh.run(secs(1));
    assert!(mesh.node("H").disk.replies.is_empty());
}

/// The same by another way than the one that the offer came by, which is gone for good.
#[test]
fn a_stored_reply_finds_another_way_after_a_restart() {
    let mut mesh = diamond();
    let node = mesh.node("H");
    node.register("s", "w", 8, secs(200));
    let sequence = mesh.node("O").submit("s", terms(), b"abc");
    mesh.run(secs(1));
    let dead = way(&mut mesh);
    mesh.kill(dead);
    let other = if dead == "T" { "U" } else { "T" };
    mesh.cut("H", other);
    assert_eq!(mesh.work(), 1);
    mesh.run(secs(1));
    mesh.restart("H");
    mesh.run(secs(1));
    mesh.restore("H", other);
    mesh.run(secs(10));
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Replied));
    assert_eq!(mesh.node("O").core.counters().granted, 1);
}

/// Many messages whose way breaks at once cost an asking of each holder's node now and then, and not one each.
#[test]
fn seeking_is_no_storm() {
    let mut mesh = diamond();
    let node = mesh.node("H");
    node.register("s", "w", 50, secs(60));
    node.take("s", "w", 50);
    mesh.run(secs(1));
    for _ in 0..40 {
        mesh.node("O").submit("s", terms(), b"abc");
    }
    mesh.run(secs(1));
    assert_eq!(mesh.node("H").told.delivered.len(), 40);
    // No way at all for a while.
    mesh.kill("T");
    mesh.cut("O", "U");
    mesh.run(secs(1));
    let before = mesh.frames;
    mesh.run(secs(20));
    assert!(mesh.frames - before < 100, "{} frames", mesh.frames - before);
    mesh.restore("O", "U");
    mesh.run(secs(5));
    assert_eq!(mesh.work(), 40);
    mesh.run(secs(1));
    let node = mesh.node("O");
    assert_eq!(node.disk.outcomes.len(), 40);
    assert_eq!(node.core.counters().granted, 40);
}

/// P12: without a true grant nobody draws answers to himself.
#[test]
fn a_forged_asking_moves_nothing() {
    use redlink_core::wire::{Frame, Path};
    let mut mesh = diamond();
    let sequence = mesh.node("O").submit("s", terms(), b"abc");
    mesh.run(secs(1));
    let mut token = mesh.node("H").only_delivery().token;
    let dead = way(&mut mesh);
    let other = if dead == "T" { "U" } else { "T" };
    mesh.kill(dead);
    mesh.cut("O", other);
    mesh.run(secs(1));
    token.mac[3] ^= 1;
    let liar = mesh.node(other).config.node;
    let path = Path::from_slice(&[token.message.node, liar]).unwrap();
    let seek = Frame::Seek {
        token,
        service: redlink_core::Name::new("s").unwrap(),
        path,
    };
    mesh.send(other, "H", &seek);
    mesh.run(Duration::from_millis(10));
    assert_eq!(mesh.node(other).core.usage().relays, 0);
    mesh.restore("O", other);
    mesh.run(secs(5));
    assert_eq!(mesh.work(), 1);
    mesh.run(secs(1));
    assert_eq!(mesh.node("O").outcome(sequence), Some(Outcome::Replied));
}
