//! Offers go where there is room, and freed room is used at once (late binding).

use super::net::Mesh;
use redlink_core::{Duration, Outcome, Terms, Verb};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A hub with the producer, and four workers of one message each, each at a node of its own that dials the hub.
const WORKERS: [&str; 4] = ["A", "B", "C", "D"];

fn star() -> Mesh {
    let mut mesh = Mesh::new(
        &["H", "A", "B", "C", "D"],
        &[("A", "H"), ("B", "H"), ("C", "H"), ("D", "H")],
    );
    for node in WORKERS {
        let node = mesh.node(node);
        node.register("s", "w", 1, Duration::from_secs(60));
        node.take("s", "w", 1);
    }
    mesh.run(ms(100));
    mesh
}

fn held(mesh: &mut Mesh) -> [usize; 4] {
    WORKERS.map(|name| mesh.node(name).told.delivered.len())
}

/// The worker of this node is done with what it holds, and asks for more.
fn finish(mesh: &mut Mesh, name: &str) {
    let node = mesh.node(name);
    let delivery = node.told.delivered.remove(0);
    node.answer(delivery.token, Verb::Reply, Some(b"done"));
    node.take("s", "w", 1);
}

#[test]
fn each_message_goes_where_a_worker_is_free() {
    let mut mesh = star();
    for _ in 0..4 {
        mesh.node("H").submit("s", Terms::default(), b"abc");
        // Offer, claim, grant: three links' delays.
        mesh.run(ms(3));
    }
    assert_eq!(held(&mut mesh), [1; 4]);
}

#[test]
fn a_burst_finds_all_free_workers() {
    let mut mesh = star();
    for _ in 0..4 {
        mesh.node("H").submit("s", Terms::default(), b"abc");
    }
    mesh.run(ms(3));
    assert_eq!(held(&mut mesh), [1; 4]);
}

/// Messages wait at two busy nodes each; whichever worker is free first gets one of them.
#[test]
fn freed_room_is_used_at_once_wherever_it_is() {
    for first in WORKERS {
        let mut mesh = star();
        for _ in 0..8 {
            mesh.node("H").submit("s", Terms::default(), b"abc");
            mesh.run(ms(5));
        }
        assert_eq!(held(&mut mesh), [1; 4]);
        for (n, waiting) in (1..=4).rev().enumerate() {
            finish(&mut mesh, first);
            // Its place is free when the origin has settled. What waits there is claimed at once; or room is told, the
            // offer comes, is claimed and granted: six links' delays at the most.
            mesh.run(ms(6));
            assert_eq!(held(&mut mesh), [1; 4], "{first} has done {} of 8", n + 1);
            let open = mesh
                .node("H")
                .core
                .services()
                .map(|s| s.waiting + s.offered)
                .sum::<u32>();
            assert_eq!(open, waiting - 1);
        }
    }
}

/// A node that stands still was believed to have room. What was offered to it goes elsewhere soon, long before the
/// re-offer interval (P11).
#[test]
fn a_silent_node_with_room_is_not_waited_for() {
    let mut mesh = star();
    // Nobody reads what arrives there any more.
    mesh.freeze("A");
    mesh.freeze("B");
    let all: Vec<u64> = (0..2)
        .map(|_| mesh.node("H").submit("s", Terms::default(), b"abc"))
        .collect();
    mesh.run(ms(1_100));
    for name in ["C", "D"] {
        for delivery in std::mem::take(&mut mesh.node(name).told.delivered) {
            mesh.node(name).answer(delivery.token, Verb::Reply, Some(b"done"));
        }
    }
    mesh.run(ms(10));
    for sequence in all {
        assert_eq!(mesh.node("H").outcome(sequence), Some(Outcome::Replied));
    }
}

/// Room is told to those who have used up what they were told, and to nobody else; one announcement an offer at most.
#[test]
fn telling_of_room_is_paid_for_by_offers() {
    let mut mesh = star();
    mesh.run(ms(100));
    let before = mesh.frames;
    for _ in 0..20 {
        mesh.node("H").submit("s", Terms::default(), b"abc");
        mesh.run(ms(5));
        for name in WORKERS {
            while !mesh.node(name).told.delivered.is_empty() {
                finish(&mut mesh, name);
            }
        }
        mesh.run(ms(5));
    }
    let each = (mesh.frames - before) as f64 / 20.0;
    assert!(
        each <= 6.0,
        "offer, claim, grant, answer, settled and an announcement, not {each}"
    );
}

/// Through a hub between: its room is that of the nodes behind it.
#[test]
fn room_behind_a_transit_node_is_found() {
    let mut mesh = Mesh::new(
        &["N", "H", "A", "B", "C"],
        &[("H", "N"), ("A", "H"), ("B", "H"), ("C", "H")],
    );
    for node in ["A", "B", "C"] {
        let node = mesh.node(node);
        node.register("s", "w", 1, Duration::from_secs(60));
        node.take("s", "w", 1);
    }
    mesh.run(ms(100));
    for _ in 0..6 {
        mesh.node("N").submit("s", Terms::default(), b"abc");
        mesh.run(ms(7));
    }
    let held = |mesh: &mut Mesh| ["A", "B", "C"].map(|name| mesh.node(name).told.delivered.len());
    assert_eq!(held(&mut mesh), [1; 3]);
    for name in ["B", "C", "C"] {
        finish(&mut mesh, name);
        mesh.run(ms(12));
        assert_eq!(held(&mut mesh), [1; 3], "after {name}");
    }
}

/// Two hubs know of the same room: whoever comes too late hears so at once, and asks the other node.
#[test]
fn room_that_others_have_used_is_not_waited_for() {
    let mut mesh = Mesh::new(
        &["H", "I", "A", "B"],
        &[("A", "H"), ("B", "H"), ("A", "I"), ("B", "I")],
    );
    for name in ["A", "B"] {
        let node = mesh.node(name);
        node.register("s", "w", 1, Duration::from_secs(60));
        node.take("s", "w", 1);
    }
    mesh.run(ms(100));
    mesh.node("H").submit("s", Terms::default(), b"abc");
    mesh.run(ms(5));
    mesh.node("I").submit("s", Terms::default(), b"abc");
    // Offer, no room, offer elsewhere, claim, grant.
    mesh.run(ms(5));
    assert_eq!(
        ["A", "B"].map(|name| mesh.node(name).told.delivered.len()),
        [1; 2]
    );
}
