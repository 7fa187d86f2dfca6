//! What is on disk of a message's attempts: those that ended without an answer are counted over restarts, and what is to
//! be delivered at most once is (P6).

use super::duo::Pair;
use super::support::{Node, StoreMode, small};
use redlink_core::wire::Frame;
use redlink_core::{Answered, Attempts, Deliver, Duration, Input, Outcome, State, Terms, Verb};

const LEASE: Duration = Duration::from_secs(10);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn limited() -> Terms {
    Terms {
        max_attempts: 2,
        ett: None,
        ..Terms::default()
    }
}

fn once() -> Terms {
    Terms {
        at_most_once: true,
        ett: None,
        ..Terms::default()
    }
}

/// A node with a worker of its own that takes one message at a time.
fn alone() -> Node {
    let mut node = Node::new(1, small());
    node.register("a", "w", 1, LEASE);
    node.take("a", "w", 1);
    node
}

fn ended(node: &Node, sequence: u64) -> Option<u16> {
    node.disk.attempts.get(&sequence).map(|attempts| attempts.ended)
}

/// A worker at the north takes the message of the south.
fn delivered(pair: &mut Pair, terms: Terms) -> (u64, Deliver) {
    pair.north.register("a", "w", 1, LEASE);
    pair.north.take("a", "w", 1);
    pair.drive();
    let sequence = pair.south.submit("a", terms, b"abc");
    pair.drive();
    (sequence, pair.north.only_delivery())
}

fn reconnect_restarted_south(pair: &mut Pair) {
    pair.cut();
    pair.south.restart(Duration::ZERO);
    pair.connect();
    pair.drive();
}

#[test]
fn attempts_are_counted_over_a_restart_of_the_origin() {
    let mut node = alone();
    let sequence = node.submit("a", limited(), b"abc");
    assert_eq!(node.told.delivered.len(), 1);
    assert_eq!(ended(&node, sequence), None, "nothing has ended");
    node.pass(LEASE);
    assert_eq!(ended(&node, sequence), Some(1));
    node.restart(secs(1));
    node.register("a", "w", 1, LEASE);
    node.take("a", "w", 1);
    node.pass(secs(6));
    assert_eq!(node.told.delivered.len(), 1);
    node.pass(LEASE);
    assert_eq!(node.outcome(sequence), Some(Outcome::Dead));
    assert_eq!(ended(&node, sequence), None, "it went with its message");
}

#[test]
fn an_attempt_that_is_asserted_again_after_a_restart_is_counted_once() {
    let mut node = alone();
    let sequence = node.submit("a", limited(), b"abc");
    let first = node.only_delivery();
    node.pass(LEASE);
    node.restart(secs(1));
    node.register("a", "w", 1, LEASE);
    let tag = node.answer(first.token, Verb::Extend, None);
    assert_eq!(node.result(tag), Some(Answered::Done));
    node.pass(LEASE);
    assert_eq!((node.outcome(sequence), ended(&node, sequence)), (None, Some(1)));
}

#[test]
fn what_could_not_be_written_is_written_later_and_nothing_waits_for_it() {
    let mut node = alone();
    let sequence = node.submit("a", limited(), b"abc");
    node.take("a", "w", 1);
    node.store = StoreMode::Fails;
    node.pass(LEASE);
    assert_eq!(node.told.delivered.len(), 2, "the next attempt is out");
    assert_eq!(ended(&node, sequence), None);
    node.store = StoreMode::Done;
    node.pass(secs(5));
    assert_eq!(ended(&node, sequence), Some(1));
}

#[test]
fn an_outcome_waits_for_what_is_being_written_and_ends_it() {
    let mut node = alone();
    let sequence = node.submit("a", limited(), b"abc");
    node.store = StoreMode::Waits;
    node.pass(LEASE);
    assert_eq!(node.store_waiting(), 1);
    node.must(Input::Cancel { sequence });
    assert_eq!(node.store_waiting(), 1, "one change of a message at a time");
    assert_eq!(
        node.core.message(sequence).expect("it is there").state,
        State::Settling
    );
    node.store_now(StoreMode::Done);
    assert_eq!(node.outcome(sequence), Some(Outcome::Cancelled));
    assert_eq!(ended(&node, sequence), None);
}

#[test]
fn what_is_answered_at_once_is_never_counted() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, limited());
    pair.north.answer(deliver.token, Verb::Reply, Some(b"done"));
    assert_eq!(pair.south.disk.attempts.len(), 0);
    pair.drive();
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn at_most_once_the_grant_is_on_disk_before_the_payload_leaves() {
    let mut pair = Pair::new();
    pair.north.register("a", "w", 1, LEASE);
    pair.drive();
    let sequence = pair.south.submit("a", once(), b"abc");
    pair.drive();
    pair.south.store = StoreMode::Waits;
    pair.north.take("a", "w", 1);
    pair.drive();
    let granted = |pair: &Pair| pair.count(|frame| matches!(frame, Frame::Grant { .. }));
    assert_eq!((pair.south.store_waiting(), granted(&pair)), (1, 0));
    assert_eq!(
        pair.south.core.message(sequence).expect("it is there").state,
        State::Granting
    );
    pair.south.store_now(StoreMode::Done);
    pair.drive();
    let deliver = pair.north.only_delivery();
    let row = Attempts {
        ended: 0,
        newest: Some(deliver.token.fence),
        counted: false,
    };
    assert_eq!(pair.south.disk.attempts.get(&sequence), Some(&row));
    pair.north.answer(deliver.token, Verb::Reply, Some(b"done"));
    pair.drive();
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
    assert_eq!(pair.south.disk.attempts.len(), 0);
}

#[test]
fn at_most_once_an_end_while_the_grant_is_written_is_told_to_the_claimer() {
    for expires in [false, true] {
        let mut pair = Pair::new();
        pair.north.register("a", "w", 1, LEASE);
        pair.drive();
        let terms = Terms {
            ett: Some(secs(2)),
            ..once()
        };
        let sequence = pair.south.submit("a", terms, b"abc");
        pair.drive();
        pair.south.store = StoreMode::Waits;
        pair.north.take("a", "w", 1);
        pair.drive();
        if expires {
            pair.pass(secs(2));
        } else {
            pair.south.must(Input::Cancel { sequence });
        }
        pair.drive();
        assert_eq!(pair.count(|frame| matches!(frame, Frame::Gone { .. })), 1);
        assert_eq!(pair.north.core.usage().deliveries, 0, "its place is free");
        pair.south.store_now(StoreMode::Done);
        pair.drive();
        let outcome = if expires {
            Outcome::Expired
        } else {
            Outcome::Cancelled
        };
        assert_eq!(pair.south.outcome(sequence), Some(outcome));
        assert!(pair.north.told.delivered.is_empty());
    }
}

#[test]
fn at_most_once_an_attempt_without_an_answer_has_failed() {
    for release in [false, true] {
        let mut pair = Pair::new();
        let (sequence, deliver) = delivered(&mut pair, once());
        pair.north.take("a", "w", 1);
        if release {
            pair.north.answer(deliver.token, Verb::Release, None);
        } else {
            pair.pass(secs(60));
        }
        pair.drive();
        assert_eq!(pair.south.outcome(sequence), Some(Outcome::Failed));
        assert_eq!(pair.south.disk.outcomes[&sequence].token, None);
        assert_eq!(pair.north.told.delivered.len(), 1);
        let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"late"));
        pair.drive();
        assert_eq!(pair.north.result(tag), Some(Answered::Over));
    }
}

#[test]
fn at_most_once_what_nobody_has_seen_is_offered_again() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, once());
    let token = deliver.token;
    pair.north.must(Input::Unseen { token });
    pair.drive();
    assert_eq!(
        pair.south.disk.attempts[&sequence],
        Attempts::default(),
        "nobody has it"
    );
    pair.north.told.delivered.clear();
    pair.north.take("a", "w", 1);
    pair.drive();
    let second = pair.north.only_delivery();
    assert!(second.token.fence > deliver.token.fence);
    let tag = pair.north.answer(second.token, Verb::Reply, Some(b"done"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn at_most_once_a_take_that_ends_while_the_grant_is_written_has_seen_nothing() {
    let mut node = Node::new(1, small());
    node.register("a", "w", 1, LEASE);
    let tag = node.take("a", "w", 1);
    let sequence = {
        let sequence = node.submit_as("a", once(), b"abc").map(|tag| node.accepted(tag));
        sequence.expect("the submit is taken")
    };
    // With a store that answers at once it is out; so once more with one that does not.
    let first = node.only_delivery();
    node.answer(first.token, Verb::Reply, Some(b"done"));
    assert_eq!(node.outcome(sequence), Some(Outcome::Replied));
    node.must(Input::TakeEnded { tag });
    node.told.delivered.clear();
    let second = node.submit("a", once(), b"abc");
    node.store = StoreMode::Waits;
    let tag = node.take("a", "w", 1);
    node.must(Input::TakeEnded { tag });
    node.store_now(StoreMode::Done);
    assert!(node.told.delivered.is_empty());
    node.pass(secs(60));
    assert_eq!(node.outcome(second), None);
    node.take("a", "w", 1);
    assert_eq!(node.only_delivery().token.message.sequence, second);
    // A consumer that goes while it is written has seen nothing either; one that has it may have.
    for (store, end) in [(StoreMode::Waits, None), (StoreMode::Done, Some(Outcome::Failed))] {
        let mut node = Node::new(1, small());
        let sequence = node.submit("a", once(), b"abc");
        node.store = store;
        node.take("a", "w", 1);
        node.must(Input::Unregister {
            service: "a",
            consumer: "w",
        });
        node.store_now(StoreMode::Done);
        assert_eq!(node.outcome(sequence), end);
    }
}

#[test]
fn at_most_once_a_link_that_breaks_while_the_grant_is_written_costs_nothing() {
    let mut pair = Pair::new();
    pair.north.register("a", "w", 1, LEASE);
    pair.drive();
    let sequence = pair.south.submit("a", once(), b"abc");
    pair.drive();
    pair.south.store = StoreMode::Waits;
    pair.north.take("a", "w", 1);
    pair.drive();
    pair.cut();
    pair.south.store_now(StoreMode::Done);
    pair.connect();
    pair.drive();
    assert_eq!(pair.south.outcome(sequence), None);
    assert_eq!(pair.north.only_delivery().token.message.sequence, sequence);
}

#[test]
fn at_most_once_a_store_that_fails_holds_the_grant_back() {
    let mut node = alone();
    let sequence = node.submit("nobody", once(), b"abc");
    node.store = StoreMode::Fails;
    node.take("nobody", "w", 1);
    node.pass(secs(30));
    assert!(node.told.delivered.is_empty());
    node.store = StoreMode::Done;
    node.pass(secs(5));
    assert_eq!(node.only_delivery().token.message.sequence, sequence);
}

#[test]
fn at_most_once_over_a_restart_of_the_origin() {
    // The holder says so in time, and its reply counts.
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, once());
    reconnect_restarted_south(&mut pair);
    pair.pass(secs(7));
    assert_eq!(
        pair.south.core.message(sequence).expect("it is there").state,
        State::Granted
    );
    pair.north.answer(deliver.token, Verb::Reply, Some(b"done"));
    pair.drive();
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
    // Nobody says so.
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, once());
    pair.cut();
    pair.south.restart(Duration::ZERO);
    pair.pass(secs(6));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Failed));
    pair.connect();
    pair.drive();
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"late"));
    pair.pass(ms(500));
    assert_eq!(pair.north.result(tag), Some(Answered::Over));
    // The holder's node is restarted and its worker is gone.
    let mut pair = Pair::new();
    let (sequence, _) = delivered(&mut pair, once());
    pair.cut();
    pair.north.restart(Duration::ZERO);
    pair.connect();
    pair.north.register("a", "w", 1, LEASE);
    pair.north.take("a", "w", 1);
    pair.pass(secs(30));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Failed));
    assert!(pair.north.told.delivered.is_empty());
}
