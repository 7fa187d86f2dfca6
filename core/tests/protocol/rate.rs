//! No consumer gets more than its rate (P4), and what it can't have now is for others.

use super::duo::Pair;
use super::net::Mesh;
use super::support::{Node, small};
use redlink_core::wire::Frame;
use redlink_core::{Answered, Duration, Input, Outcome, Terms, Verb};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn terms() -> Terms {
    Terms {
        ett: None,
        send_only: true,
        ..Terms::default()
    }
}

fn submit(node: &mut Node, messages: usize) {
    for _ in 0..messages {
        node.submit("s", terms(), b"x");
    }
}

fn got(node: &Node) -> usize {
    node.told.delivered.len()
}

#[test]
fn a_consumer_gets_one_at_first_and_then_as_its_rate_says() {
    let mut node = Node::new(1, small());
    submit(&mut node, 20);
    node.register_rate("s", "4/s");
    node.take("s", "w", 20);
    assert_eq!(got(&node), 1);
    for n in 1..10 {
        node.pass(ms(249));
        assert_eq!(got(&node), n, "not before its time");
        node.pass(ms(1));
        assert_eq!(got(&node), n + 1);
    }
}

#[test]
fn what_was_not_used_is_there_later_up_to_one_period() {
    let mut node = Node::new(1, small());
    node.register_rate("s", "3/s");
    submit(&mut node, 20);
    node.pass(ms(30_000));
    node.take("s", "w", 20);
    assert_eq!(got(&node), 3);
    node.pass(ms(1_000));
    assert_eq!(got(&node), 6);
}

#[test]
fn whoever_registers_again_gains_nothing() {
    let mut node = Node::new(1, small());
    submit(&mut node, 20);
    node.register_rate("s", "2/m");
    node.take("s", "w", 20);
    for rate in ["2/m", "1000/s", "2/m", "5/d", "2/m"] {
        node.register_rate("s", rate);
        assert_eq!(got(&node), 1, "{rate}");
    }
    // Nor does it lose what it has waited.
    node.pass(ms(15_000));
    node.register_rate("s", "2/m");
    node.pass(ms(15_000));
    assert_eq!(got(&node), 2);
    // Another rate counts at once.
    node.register_rate("s", "10/s");
    node.pass(ms(100));
    assert_eq!(got(&node), 3);
    node.register("s", "w", 100, Duration::from_secs(30));
    assert_eq!(got(&node), 20);
}

#[test]
fn a_delivery_that_nobody_saw_costs_nothing() {
    let mut node = Node::new(1, small());
    submit(&mut node, 3);
    node.register_rate("s", "1/h");
    node.take("s", "w", 1);
    let first = node.only_delivery();
    node.must(Input::Unseen { token: first.token });
    // It waits again, and its token is there.
    node.take("s", "w", 1);
    assert_eq!(got(&node), 2);
    let again = node.told.delivered[1];
    assert_eq!(again.token.message, first.token.message);
    // Saying so twice, or of what is over, changes nothing.
    node.must(Input::Unseen { token: first.token });
    node.take("s", "w", 1);
    assert_eq!(got(&node), 2);
    // What the consumer itself gives back it has had.
    let tag = node.answer(again.token, Verb::Release, None);
    node.pass(ms(1_000));
    assert_eq!(node.result(tag), Some(Answered::Done));
    assert_eq!(got(&node), 2);
    node.pass(Duration::from_secs(3_600));
    assert_eq!(got(&node), 3);
}

/// The worker is at the other node: it claims no more than it may have.
#[test]
fn a_claim_needs_a_token_and_room_is_told_in_tokens() {
    let mut pair = Pair::new();
    pair.north.register_rate("s", "5/s");
    pair.north.take("s", "w", 100);
    pair.drive();
    let rooms = |pair: &Pair| {
        let frames = pair.heard.iter();
        let rooms = frames.filter_map(|(_, frame)| match frame {
            Frame::Announce { room, .. } => Some(*room),
            _ => None,
        });
        rooms.collect::<Vec<_>>()
    };
    // Before its take it had none, since then one token.
    assert_eq!(rooms(&pair).last(), Some(&1), "{:?}", rooms(&pair));
    submit(&mut pair.south, 20);
    let start = pair.north.now;
    for n in 1..=10 {
        // A token each 200 ms, and a claim and a grant on the way.
        let (end, here) = (ms(200 * (n - 1) + 50), start.until(pair.north.now));
        pair.pass(Duration::from_micros(end.as_micros() - here.as_micros()));
        assert_eq!(got(&pair.north) as u64, n);
    }
    let claims = pair.count(|frame| matches!(frame, Frame::Claim { .. }));
    assert_eq!(claims, 10, "nothing is claimed that can't be handed out");
}

/// Of two workers the one without a token leaves the work to the other.
#[test]
fn messages_go_where_they_may_be_had_now() {
    let mut mesh = Mesh::new(&["H", "A", "B"], &[("A", "H"), ("B", "H")]);
    mesh.node("A").register_rate("s", "1/h");
    mesh.node("A").take("s", "w", 100);
    mesh.node("B").register("s", "w", 100, Duration::from_secs(60));
    mesh.node("B").take("s", "w", 100);
    mesh.run(ms(100));
    submit(mesh.node("H"), 20);
    mesh.run(ms(50));
    let (a, b) = (got(mesh.node("A")), got(mesh.node("B")));
    assert!(a <= 1, "{a}");
    assert_eq!(a + b, 20, "all are at work at once");
}

/// A claim that comes too late costs no token.
#[test]
fn a_claim_for_nothing_costs_nothing() {
    let mut pair = Pair::new();
    pair.north.register_rate("s", "1/h");
    pair.north.register_rate("s", "1/h");
    pair.drive();
    let first = pair.south.submit("s", terms(), b"x");
    pair.drive();
    // It waits there as an offer. While the claim is under way the producer takes it back.
    pair.north.take("s", "w", 1);
    pair.south.must(Input::Cancel { sequence: first });
    pair.drive();
    assert_eq!(pair.south.outcome(first), Some(Outcome::Cancelled));
    assert_eq!(got(&pair.north), 0);
    pair.south.submit("s", terms(), b"x");
    pair.drive();
    assert_eq!(got(&pair.north), 1);
}

/// Claims are under way when the rate is lowered: what can't be handed out goes back to its origin.
#[test]
fn what_comes_for_a_higher_rate_than_there_is_now_goes_back() {
    let mut pair = Pair::new();
    pair.north.register_rate("s", "10/s");
    pair.pass(ms(2_000));
    submit(&mut pair.south, 10);
    pair.drive();
    pair.north.take("s", "w", 100);
    // Ten claims are on their way.
    pair.north.register_rate("s", "2/m");
    pair.drive();
    assert_eq!(got(&pair.north), 2, "P4");
    pair.pass(ms(5_000));
    assert_eq!(got(&pair.north), 2);
    let granted = pair.south.core.messages().filter(|m| m.attempt > 0);
    assert_eq!(granted.count(), 10);
    // The others are free for whoever comes.
    pair.south.register("s", "near", 100, Duration::from_secs(30));
    pair.south.take("s", "near", 100);
    pair.drive();
    assert_eq!(got(&pair.south), 8);
    // And time brings the first its next one.
    submit(&mut pair.south, 1);
    pair.drive();
    assert_eq!(got(&pair.south) + got(&pair.north), 11);
}

/// One that is here and lacks its token gets it if that comes soon.
#[test]
fn what_is_here_waits_a_little_for_its_token() {
    let mut pair = Pair::new();
    pair.north.register_rate("s", "10/s");
    pair.pass(ms(2_000));
    submit(&mut pair.south, 3);
    pair.drive();
    pair.north.take("s", "w", 100);
    pair.north.register_rate("s", "1/s");
    pair.drive();
    assert_eq!(got(&pair.north), 1);
    pair.pass(ms(1_000));
    assert_eq!(got(&pair.north), 2);
    let grants = pair.count(|frame| matches!(frame, Frame::Grant { .. }));
    assert_eq!(grants, 3, "the same grant");
}

#[test]
fn a_rate_is_gone_with_its_consumer_and_its_node() {
    let mut node = Node::new(1, small());
    submit(&mut node, 10);
    node.register_rate("s", "1/d");
    node.take("s", "w", 1);
    node.must(Input::Unregister {
        service: "s",
        consumer: "w",
    });
    // What it held waits again; who comes under its name begins with one as anybody.
    node.register_rate("s", "1/d");
    node.take("s", "w", 5);
    assert_eq!(got(&node), 2);
    let view = node.core.consumers().next().expect("it is registered");
    assert_eq!(view.rate, Some("1/d".parse().expect("a rate")));
    node.restart(ms(100));
    node.pass(Duration::from_secs(10));
    node.told.delivered.clear();
    node.take("s", "w", 3);
    assert_eq!(
        got(&node),
        1,
        "one that never registered has no rate, and a limit of one"
    );
    let view = node.core.consumers().next().expect("it is registered");
    assert_eq!(view.rate, None);
}
