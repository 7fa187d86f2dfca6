//! Priority that rises with waiting (P5): nobody is starved, and nothing goes to and fro where nodes differ.

use super::hub::{Hub, announce, name, offer, path};
use super::net::Mesh;
use super::support::{Node, small};
use redlink_core::wire::Frame;
use redlink_core::{Capacity, Duration, Input, Terms, Verb};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn terms(priority: u8) -> Terms {
    Terms {
        priority,
        ett: None,
        ..Terms::default()
    }
}

/// A new life with this setting, late enough for what is offered to be old.
fn set(node: &mut Node, ageing: Option<Duration>) {
    node.config.ageing = ageing;
    node.restart(Duration::from_secs(1_000));
}

/// A worker does one message in 100 ms, and as many of high priority come, so that some always wait. When one of low
/// priority, which came with the first, is worked on; none if it is not in five minutes.
fn starved(ageing: Option<Duration>) -> Option<u64> {
    let mut node = Node::new(1, small());
    set(&mut node, ageing);
    let high = |node: &mut Node| node.submit("s", terms(5), b"x");
    node.take("s", "w", 1);
    high(&mut node);
    high(&mut node);
    let low = node.submit("s", terms(0), b"x");
    for turn in 1..=3_000 {
        high(&mut node);
        node.pass(ms(100));
        let held = node.told.delivered.pop().expect("one is held");
        let sequence = held.token.message.sequence;
        if sequence == low {
            return Some(100 * (turn - 1));
        }
        node.answer(held.token, Verb::Reply, None);
        node.must(Input::Collect { sequence });
        node.take("s", "w", 1);
    }
    None
}

#[test]
fn a_stream_of_high_priority_starves_no_one_with_ageing() {
    assert_eq!(starved(None), None, "without it, for ever");
    // Five levels: it goes before those that come five steps after it, the oldest of which has waited 200 ms by then.
    assert_eq!(starved(Some(ms(1_000))), Some(5_200));
    assert_eq!(starved(Some(ms(10_000))), Some(50_200));
}

/// The same at another node than its own, and at a node between.
#[test]
fn what_waits_at_other_nodes_rises_too() {
    for aged in [false, true] {
        let mut mesh = Mesh::new(&["A", "B", "C"], &[("A", "B"), ("C", "B")]);
        let ageing = aged.then(|| ms(1_000));
        for node in ["A", "B", "C"] {
            mesh.node(node).config.ageing = ageing;
            mesh.restart(node);
        }
        mesh.restore("A", "B");
        mesh.restore("C", "B");
        mesh.node("C").register("s", "w", 1, Duration::from_secs(600));
        mesh.run(ms(3_000));
        let low = mesh.node("A").submit("s", terms(1), b"x");
        // Four levels are four seconds.
        mesh.run(ms(3_900));
        mesh.node("A").submit("s", terms(5), b"x");
        mesh.run(ms(500));
        let late = mesh.node("A").submit("s", terms(5), b"x");
        mesh.run(ms(500));
        let mut order = Vec::new();
        for _ in 0..3 {
            mesh.node("C").take("s", "w", 1);
            mesh.run(ms(100));
            let held = mesh.node("C").told.delivered.pop();
            let held = held.unwrap_or_else(|| panic!("one is held: {order:?}, {aged}"));
            order.push(held.token.message.sequence);
            mesh.node("C").answer(held.token, Verb::Reply, None);
            mesh.run(ms(100));
        }
        let place = |sequence| order.iter().position(|&other| other == sequence);
        assert!(place(low) > Some(0), "{order:?}");
        assert_eq!(place(low) < place(late), aged, "{order:?}");
    }
}

/// A node with little room, and a service that nobody takes from.
fn crowded(ageing: Option<Duration>) -> Hub {
    let mut hub = Hub::new(Capacity {
        reservations: 2,
        ..small()
    });
    set(&mut hub.node, ageing);
    hub.up(1, false);
    hub.up(2, false);
    hub.node.register("s", "w", 1, Duration::from_secs(60));
    hub.sent();
    hub
}

fn offered(
    hub: &mut Hub,
    peer: u64,
    sequence: u64,
    priority: u8,
    age: Duration,
) -> Vec<(u64, u64, Option<u8>)> {
    let frame = Frame::Offer {
        offer: offer(peer, sequence),
        service: name("s"),
        priority,
        age,
        remaining: None,
        path: path(&[peer]),
        copies: 2,
        sure: false,
    };
    hub.hear(peer, &frame);
    let declined = hub.sent().into_iter().filter_map(|(to, frame)| match frame {
        Frame::Decline { offer, floor } => Some((to, offer.message.sequence, floor)),
        _ => None,
    });
    declined.collect()
}

#[test]
fn a_full_table_gives_up_what_would_be_served_last() {
    for aged in [false, true] {
        let mut hub = crowded(aged.then(|| ms(1_000)));
        assert_eq!(offered(&mut hub, 1, 1, 5, ms(0)), []);
        assert_eq!(offered(&mut hub, 1, 2, 5, ms(100)), []);
        // Of one priority none gives way.
        assert_eq!(offered(&mut hub, 2, 1, 5, ms(9_000)), [(2, 1, Some(5))]);
        assert_eq!(offered(&mut hub, 2, 2, 0, ms(4_900)), [(2, 2, Some(5))]);
        let old = offered(&mut hub, 2, 3, 0, ms(5_050));
        // The younger of the two goes, with ageing.
        assert_eq!(
            old,
            if aged {
                [(1, 1, Some(5))]
            } else {
                [(2, 3, Some(5))]
            }
        );
    }
}

/// Whoever is refused hears of a floor that keeps it from offering the same at once again, whatever waits here.
#[test]
fn a_refused_offer_is_not_above_the_floor() {
    let mut hub = crowded(Some(ms(1_000)));
    assert_eq!(offered(&mut hub, 1, 1, 3, ms(60_000)), []);
    assert_eq!(offered(&mut hub, 1, 2, 2, ms(60_000)), []);
    for (sequence, priority) in [(1, 9), (2, 10), (3, 200)] {
        let refused = offered(&mut hub, 2, sequence, priority, ms(0));
        if priority < 60 {
            assert_eq!(refused, [(2, sequence, Some(priority))]);
        } else {
            assert_eq!(refused, [(1, 2, Some(2))], "the worst of those here");
        }
    }
}

/// A peer without ageing, or with another step, has no room but for high priorities. What has waited longest here is not
/// among them, and keeps nobody back.
#[test]
fn what_a_peer_refuses_keeps_nobody_back() {
    let mut hub = Hub::new(small());
    set(&mut hub.node, Some(ms(1_000)));
    hub.up(1, false);
    hub.hear(1, &announce(1, "s", &[], 1));
    let old = hub.node.submit("s", terms(0), b"x");
    hub.node.pass(ms(9_000));
    let new = hub.node.submit("s", terms(7), b"x");
    let placed = |hub: &mut Hub| -> Vec<u64> {
        let frames = hub.sent().into_iter().filter_map(|(_, frame)| match frame {
            Frame::Offer { offer, .. } => Some(offer.message.sequence),
            _ => None,
        });
        frames.collect()
    };
    assert_eq!(placed(&mut hub), [old], "it has the one place");
    let refusal = Frame::Decline {
        offer: offer(Hub::NUMBER, old),
        floor: Some(3),
    };
    hub.hear(1, &refusal);
    assert_eq!(placed(&mut hub), [new]);
    // Refused again and again it is not offered more often than its re-offer interval says.
    let refusal = Frame::Decline {
        offer: offer(Hub::NUMBER, new),
        floor: Some(7),
    };
    hub.hear(1, &refusal);
    assert_eq!(placed(&mut hub), []);
    // When the peer announces again, the oldest is first.
    hub.hear(1, &announce(1, "s", &[], 1));
    assert_eq!(placed(&mut hub), [old]);
}
