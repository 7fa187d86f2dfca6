//! Two real cores and one link: every case of the link protocol, each in a few lines.
//!
//! Time jumps to the next wake-up, so that no test waits and none is a matter of luck.

use super::duo::Pair;
use super::support::{Node, StoreMode, small};
use redlink_core::wire::{Frame, Hello, Taken, VERSION};
use redlink_core::{
    Answered, Boot, Capacity, Deliver, Duration, Fault, GrantToken, Input, LinkId, LostWhy, Name, NodeId,
    Outcome, Terms, Verb,
};

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(30);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn terms() -> Terms {
    Terms {
        ett: Some(secs(300)),
        ..Terms::default()
    }
}

/// A worker waits at the north node; the south node submits and the message gets there.
fn delivered(pair: &mut Pair, terms: Terms, payload: &[u8]) -> (u64, Deliver) {
    pair.north.register("wc", "w", 1, LEASE);
    pair.north.take("wc", "w", 1);
    pair.drive();
    let sequence = pair.south.submit("wc", terms, payload);
    pair.drive();
    let deliver = pair.north.only_delivery();
    assert_eq!(deliver.token.message.sequence, sequence);
    assert_eq!(pair.north.payload(&deliver), payload);
    (sequence, deliver)
}

/// What is on the south node's disk as the outcome.
fn on_disk(node: &Node, sequence: u64) -> Option<(Outcome, Option<Vec<u8>>)> {
    node.disk
        .outcomes
        .get(&sequence)
        .map(|row| (row.outcome, row.body.clone()))
}

#[test]
fn a_call_crosses_the_link_northward() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"some words");
    assert!(!deliver.send_only);
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"2"));
    assert_eq!(
        pair.north.result(tag),
        None,
        "not before the origin has it on disk"
    );
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
    assert_eq!(
        on_disk(&pair.south, sequence),
        Some((Outcome::Replied, Some(b"2".to_vec())))
    );
    // Nothing is left anywhere once it is collected.
    pair.south.must(Input::Collect { sequence });
    pair.drive();
    assert!(pair.south.disk.outcomes.is_empty());
    assert!(pair.south.bodies.is_empty() && pair.north.bodies.is_empty());
    assert!(pair.south.core.message(sequence).is_none());
    let usage = (pair.south.core.usage(), pair.north.core.usage());
    assert_eq!(
        (usage.0.messages, usage.1.reservations, usage.1.deliveries),
        (0, 0, 0)
    );
}

#[test]
fn a_call_crosses_the_link_southward() {
    let mut pair = Pair::new();
    pair.south.take("wc", "w", 1);
    pair.drive();
    let sequence = pair.north.submit("wc", terms(), b"from above");
    pair.drive();
    let deliver = pair.south.only_delivery();
    let tag = pair.south.answer(deliver.token, Verb::Reply, Some(b"ok"));
    pair.drive();
    assert_eq!(pair.south.result(tag), Some(Answered::Done));
    assert_eq!(pair.north.outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn a_consumer_that_comes_later_gets_what_waits() {
    let mut pair = Pair::new();
    let sequence = pair.south.submit("wc", terms(), b"early");
    pair.drive();
    assert_eq!(
        pair.count(|frame| matches!(frame, Frame::Offer { .. })),
        0,
        "nobody to offer it to"
    );
    pair.north.take("wc", "w", 1);
    pair.drive();
    assert_eq!(pair.north.only_delivery().token.message.sequence, sequence);
}

#[test]
fn payload_moves_only_to_the_claimer_and_once() {
    let mut pair = Pair::new();
    pair.north.register("wc", "w", 1, LEASE);
    pair.drive();
    pair.south.submit("wc", terms(), b"bytes");
    pair.drive();
    // Announced and offered, but nobody takes: the payload stays.
    assert_eq!(pair.count(|frame| matches!(frame, Frame::Offer { .. })), 1);
    assert_eq!(pair.count(|frame| matches!(frame, Frame::Grant { .. })), 0);
    pair.north.take("wc", "w", 1);
    pair.drive();
    assert_eq!(pair.count(|frame| matches!(frame, Frame::Grant { .. })), 1);
}

#[test]
fn send_only_wants_an_ack() {
    let mut pair = Pair::new();
    let send = Terms {
        send_only: true,
        ..terms()
    };
    let (sequence, deliver) = delivered(&mut pair, send, b"note");
    assert!(deliver.send_only);
    let wrong = pair.north.answer(deliver.token, Verb::Reply, Some(b"no"));
    pair.drive();
    assert_eq!(pair.north.result(wrong), Some(Answered::WrongVerb));
    let tag = pair.north.answer(deliver.token, Verb::Ack, None);
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(on_disk(&pair.south, sequence), Some((Outcome::Delivered, None)));
}

#[test]
fn a_failure_is_an_outcome_with_its_text() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"bad");
    let tag = pair
        .north
        .answer(deliver.token, Verb::Fail, Some(b"can't read it"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(
        on_disk(&pair.south, sequence),
        Some((Outcome::Failed, Some(b"can't read it".to_vec())))
    );
}

#[test]
fn a_released_message_goes_to_the_next_consumer() {
    let mut pair = Pair::new();
    let (sequence, first) = delivered(&mut pair, terms(), b"x");
    let tag = pair.north.answer(first.token, Verb::Release, None);
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    pair.north.take("wc", "other", 1);
    pair.drive();
    let second = pair.north.told.delivered[1];
    assert_eq!(second.token.message.sequence, sequence);
    assert!(second.token.fence > first.token.fence, "P6: a new attempt");
}

#[test]
fn a_lease_that_runs_out_is_granted_again_and_the_stale_answer_is_refused() {
    let mut pair = Pair::new();
    let (sequence, first) = delivered(&mut pair, terms(), b"slow");
    pair.until(secs(60), "the loss of the lease", |pair| {
        !pair.north.told.lost.is_empty()
    });
    assert_eq!(pair.north.told.lost, [(first.token, LostWhy::Lease)]);
    pair.north.take("wc", "second", 1);
    pair.until(secs(60), "the second attempt", |pair| {
        pair.north.told.delivered.len() == 2
    });
    let second = pair.north.told.delivered[1];
    assert_eq!(second.token.message.sequence, sequence);
    assert!(second.token.fence > first.token.fence);
    // P6: the first one comes after all, and no longer counts.
    let late = pair.north.answer(first.token, Verb::Reply, Some(b"late"));
    pair.drive();
    assert_eq!(pair.north.result(late), Some(Answered::Stale));
    assert_eq!(pair.south.outcome(sequence), None);
    let tag = pair.north.answer(second.token, Verb::Reply, Some(b"right"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(
        on_disk(&pair.south, sequence),
        Some((Outcome::Replied, Some(b"right".to_vec())))
    );
}

#[test]
fn a_late_answer_counts_while_nobody_else_has_the_message() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"slow");
    pair.pass(secs(40));
    let tag = pair
        .north
        .answer(deliver.token, Verb::Reply, Some(b"late, but there"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn extensions_keep_a_lease_alive_at_both_ends() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"long");
    for _ in 0..6 {
        pair.pass(secs(20));
        let tag = pair.north.answer(deliver.token, Verb::Extend, None);
        pair.drive();
        assert_eq!(pair.north.result(tag), Some(Answered::Done));
    }
    assert!(pair.north.told.lost.is_empty());
    pair.north.answer(deliver.token, Verb::Reply, Some(b"done"));
    pair.drive();
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
    assert_eq!(
        pair.count(|frame| matches!(frame, Frame::Grant { .. })),
        1,
        "one attempt was enough"
    );
}

#[test]
fn attempts_used_up_make_it_dead() {
    let mut pair = Pair::new();
    let poison = Terms {
        max_attempts: 2,
        ett: None,
        ..terms()
    };
    let (sequence, _) = delivered(&mut pair, poison, b"poison");
    pair.until(secs(60), "the loss of the first", |pair| {
        !pair.north.told.lost.is_empty()
    });
    pair.north.take("wc", "w", 1);
    pair.until(secs(120), "the end", |pair| {
        pair.south.outcome(sequence).is_some()
    });
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Dead));
    assert_eq!(pair.north.told.delivered.len(), 2);
}

#[test]
fn it_expires_while_it_is_offered() {
    let mut pair = Pair::new();
    pair.north.register("wc", "w", 1, LEASE);
    pair.drive();
    let sequence = pair.south.submit(
        "wc",
        Terms {
            ett: Some(secs(2)),
            ..terms()
        },
        b"x",
    );
    pair.drive();
    assert_eq!(pair.north.core.usage().reservations, 1);
    pair.pass(secs(3));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Expired));
    assert_eq!(
        pair.north.core.usage().reservations,
        0,
        "the offer is gone with it"
    );
    pair.north.take("wc", "w", 1);
    pair.drive();
    assert!(
        pair.north.told.delivered.is_empty(),
        "P3: nothing is granted after the deadline"
    );
}

#[test]
fn it_expires_while_it_is_held() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(
        &mut pair,
        Terms {
            ett: Some(secs(2)),
            ..terms()
        },
        b"x",
    );
    assert!(deliver.remaining.is_some_and(|left| left <= secs(2)));
    pair.pass(secs(3));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Expired));
    // The north node's own clock and the origin's word arrive at about the same time.
    assert_eq!(pair.north.told.lost.len(), 1);
    assert_eq!(pair.north.told.lost[0].0, deliver.token);
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"late"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Over));
    // An extension is taken on trust only until the origin has had its word (and for no longer than a moment).
    let tag = pair.north.answer(deliver.token, Verb::Extend, None);
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Over));
}

#[test]
fn cancel_while_it_is_offered_withdraws_the_offer() {
    let mut pair = Pair::new();
    pair.north.register("wc", "w", 1, LEASE);
    pair.drive();
    let sequence = pair.south.submit("wc", terms(), b"x");
    pair.drive();
    pair.south.must(Input::Cancel { sequence });
    pair.drive();
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Cancelled));
    assert_eq!(pair.north.core.usage().reservations, 0);
}

#[test]
fn cancel_while_it_is_held_tells_the_consumer() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    pair.south.must(Input::Cancel { sequence });
    pair.drive();
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Cancelled));
    assert_eq!(pair.north.told.lost, [(deliver.token, LostWhy::Revoked)]);
    let tag = pair
        .north
        .answer(deliver.token, Verb::Reply, Some(b"for nothing"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Over));
    assert_eq!(pair.south.disk.outcomes[&sequence].outcome, Outcome::Cancelled);
}

#[test]
fn a_small_node_is_offered_no_more_than_it_has_room_for() {
    let tight = Capacity {
        reservations: 2,
        ..small()
    };
    let mut pair = Pair::sized(small(), tight);
    pair.north.register("wc", "w", 1, LEASE);
    pair.drive();
    let all: Vec<u64> = (0..6).map(|n| pair.south.submit("wc", terms(), &[n])).collect();
    pair.drive();
    assert_eq!(pair.count(|frame| matches!(frame, Frame::Offer { .. })), 2);
    assert_eq!(pair.north.core.usage().reservations, 2);
    // All of them get through within a few link delays, long before the re-offer interval.
    let start = pair.now;
    for sequence in all {
        pair.north.take("wc", "w", 1);
        pair.drive();
        let deliver = *pair.north.told.delivered.last().expect("a delivery");
        assert_eq!(deliver.token.message.sequence, sequence, "oldest first");
        pair.north.answer(deliver.token, Verb::Reply, None);
        pair.drive();
        assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
    }
    assert!(pair.now.since(start) < secs(15));
}

#[test]
fn a_full_node_declines_and_asks_again_when_it_has_room() {
    let tight = Capacity {
        reservations: 2,
        ..small()
    };
    let mut pair = Pair::sized(small(), tight);
    // Each service may fill the table, together they can't.
    let services = ["wc", "tr"];
    for service in services {
        pair.north.register(service, "w", 1, LEASE);
    }
    pair.drive();
    for n in 0..6 {
        pair.south.submit(services[usize::from(n % 2)], terms(), &[n]);
    }
    pair.drive();
    assert!(
        pair.count(|frame| matches!(frame, Frame::Decline { .. })) > 0,
        "P7: full is an answer"
    );
    assert_eq!(pair.north.core.usage().reservations, 2);
    let start = pair.now;
    let mut done = 0;
    for turn in 0..30 {
        for service in services {
            pair.north.take(service, "w", 1);
        }
        pair.drive();
        for deliver in pair.north.told.delivered.split_off(0) {
            pair.north.answer(deliver.token, Verb::Reply, None);
            done += 1;
        }
        pair.drive();
        if done == 6 {
            break;
        }
        assert!(turn < 29, "only {done} of 6 were delivered");
    }
    assert!(
        pair.now.since(start) < secs(15),
        "freed room was used before the re-offer interval"
    );
}

#[test]
fn a_higher_offer_takes_the_place_of_a_lower_one() {
    let tight = Capacity {
        reservations: 1,
        ..small()
    };
    let mut pair = Pair::sized(small(), tight);
    pair.north.register("wc", "w", 1, LEASE);
    pair.drive();
    let low = pair.south.submit("wc", terms(), b"low");
    pair.drive();
    let high = pair.south.submit(
        "wc",
        Terms {
            priority: 9,
            ..terms()
        },
        b"high",
    );
    pair.drive();
    pair.north.take("wc", "w", 1);
    pair.drive();
    let first = pair.north.only_delivery();
    assert_eq!(first.token.message.sequence, high, "P5");
    pair.north.answer(first.token, Verb::Reply, None);
    pair.north.take("wc", "w", 1);
    pair.until(secs(20), "the lower one", |pair| {
        pair.north.told.delivered.len() == 2
    });
    assert_eq!(pair.north.told.delivered[1].token.message.sequence, low);
}

#[test]
fn priority_decides_over_the_link_too() {
    let mut pair = Pair::new();
    pair.north.register("wc", "w", 1, LEASE);
    pair.drive();
    for priority in [0, 200, 100] {
        pair.south
            .submit("wc", Terms { priority, ..terms() }, &[priority]);
    }
    pair.drive();
    for priority in [200, 100, 0] {
        pair.north.take("wc", "w", 1);
        pair.drive();
        let deliver = *pair.north.told.delivered.last().expect("a delivery");
        assert_eq!(deliver.priority, priority);
        pair.north.answer(deliver.token, Verb::Reply, None);
        pair.drive();
    }
}

#[test]
fn a_consumer_never_holds_more_than_its_limit() {
    let mut pair = Pair::new();
    pair.north.register("wc", "w", 2, LEASE);
    for n in 0..5 {
        pair.south.submit("wc", terms(), &[n]);
        pair.north.submit("wc", terms(), &[n]);
    }
    pair.north.take("wc", "w", 5);
    pair.north.take("wc", "w", 5);
    pair.drive();
    assert_eq!(pair.north.told.delivered.len(), 2, "P4");
    let first = pair.north.told.delivered[0];
    pair.north.answer(first.token, Verb::Reply, None);
    pair.drive();
    assert_eq!(pair.north.told.delivered.len(), 3, "its room is used at once");
}

#[test]
fn the_link_breaks_while_it_is_offered() {
    let mut pair = Pair::new();
    pair.north.register("wc", "w", 1, LEASE);
    pair.drive();
    let sequence = pair.south.submit("wc", terms(), b"x");
    pair.drive();
    pair.cut();
    assert_eq!(
        pair.north.core.usage().reservations,
        0,
        "what a lost peer had placed is forgotten"
    );
    pair.north.take("wc", "w", 1);
    pair.connect();
    pair.drive();
    assert_eq!(pair.north.only_delivery().token.message.sequence, sequence);
}

#[test]
fn the_link_breaks_between_claim_and_grant() {
    let mut pair = Pair::new();
    pair.north.register("wc", "w", 1, LEASE);
    pair.drive();
    let sequence = pair.south.submit("wc", terms(), b"x");
    pair.drive();
    pair.north.take("wc", "w", 1);
    // The claim arrives, its grant is lost.
    let end = pair.now + pair.latency;
    pair.step(end);
    pair.step(end);
    pair.cut();
    assert!(pair.north.told.delivered.is_empty());
    pair.connect();
    pair.until(secs(60), "a delivery", |pair| {
        !pair.north.told.delivered.is_empty()
    });
    assert_eq!(pair.north.only_delivery().token.message.sequence, sequence);
}

#[test]
fn a_held_message_survives_a_broken_link() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    pair.cut();
    pair.pass(SECOND);
    pair.connect();
    pair.drive();
    assert_eq!(
        pair.count(|frame| matches!(frame, Frame::Holding { .. })),
        1,
        "it says what it holds"
    );
    pair.north.take("wc", "w", 1);
    pair.drive();
    assert_eq!(pair.north.told.delivered.len(), 1, "nobody else gets it");
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"y"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn a_reply_without_a_link_is_stored_first_and_sent_when_the_link_is_back() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    pair.cut();
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"kept"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(pair.north.disk.replies.len(), 1, "done means: it is on a disk");
    pair.pass(secs(5));
    pair.connect();
    pair.drive();
    assert_eq!(
        on_disk(&pair.south, sequence),
        Some((Outcome::Replied, Some(b"kept".to_vec())))
    );
    assert!(pair.north.disk.replies.is_empty() && pair.north.bodies.is_empty());
}

#[test]
fn a_stored_reply_survives_a_restart_of_its_node() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    pair.cut();
    pair.north.answer(deliver.token, Verb::Reply, Some(b"kept"));
    pair.north.restart(Duration::ZERO);
    pair.connect();
    pair.drive();
    assert_eq!(
        on_disk(&pair.south, sequence),
        Some((Outcome::Replied, Some(b"kept".to_vec())))
    );
    assert!(pair.north.disk.replies.is_empty());
}

#[test]
fn the_link_breaks_while_the_reply_is_under_way() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"y"));
    pair.cut();
    pair.connect();
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn the_link_breaks_before_the_reply_is_acknowledged() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"y"));
    pair.until(secs(1), "the outcome", |pair| {
        pair.south.outcome(sequence).is_some()
    });
    pair.cut();
    pair.connect();
    pair.drive();
    assert_eq!(
        pair.north.result(tag),
        Some(Answered::Done),
        "the origin knows that this very answer counted"
    );
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
    assert!(pair.north.bodies.is_empty() && pair.north.disk.replies.is_empty());
}

#[test]
fn a_restarted_origin_waits_for_what_is_held() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    pair.cut();
    pair.south.restart(Duration::ZERO);
    pair.pass(SECOND);
    pair.connect();
    pair.drive();
    // Someone else has room, but the message is held and that was said in time.
    pair.north.take("wc", "other", 1);
    pair.south.take("wc", "local", 1);
    pair.pass(secs(10));
    assert!(
        pair.south.told.delivered.is_empty(),
        "the recovery window was used"
    );
    assert_eq!(pair.north.told.delivered.len(), 1);
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"y"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn a_restarted_origin_offers_again_what_nobody_holds() {
    let mut pair = Pair::new();
    pair.north.register("wc", "w", 1, LEASE);
    pair.drive();
    let sequence = pair.south.submit("wc", terms(), b"x");
    pair.drive();
    pair.cut();
    pair.south.restart(Duration::ZERO);
    pair.connect();
    pair.north.take("wc", "w", 1);
    pair.until(secs(10), "a delivery", |pair| {
        !pair.north.told.delivered.is_empty()
    });
    assert_eq!(pair.north.only_delivery().token.message.sequence, sequence);
}

#[test]
fn an_overdue_message_expires_at_restart() {
    let mut pair = Pair::new();
    pair.cut();
    let sequence = pair.south.submit(
        "wc",
        Terms {
            ett: Some(secs(5)),
            ..terms()
        },
        b"x",
    );
    pair.pass(secs(1));
    // The clock of the node goes on while it is down.
    pair.now += secs(60);
    pair.south.now = pair.now;
    pair.south.restart(Duration::ZERO);
    pair.pass(SECOND);
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Expired));
}

#[test]
fn a_worker_answers_by_token_after_its_node_restarted() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    pair.cut();
    pair.north.restart(Duration::ZERO);
    pair.connect();
    pair.drive();
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"y"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(
        on_disk(&pair.south, sequence),
        Some((Outcome::Replied, Some(b"y".to_vec())))
    );
}

#[test]
fn a_worker_says_what_it_holds_after_its_node_restarted() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    pair.cut();
    pair.north.restart(Duration::ZERO);
    pair.north.register("wc", "w", 1, LEASE);
    let tag = pair.north.answer(deliver.token, Verb::Extend, None);
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    pair.connect();
    pair.drive();
    // It takes its place of the limit, and nobody else is given the message.
    pair.north.take("wc", "w", 1);
    pair.north.take("wc", "other", 1);
    pair.pass(secs(20));
    assert!(pair.north.told.delivered.is_empty());
    pair.north.answer(deliver.token, Verb::Reply, Some(b"y"));
    pair.drive();
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn a_node_that_restarts_and_says_nothing_loses_what_it_held() {
    let mut pair = Pair::new();
    let (sequence, first) = delivered(&mut pair, terms(), b"x");
    pair.cut();
    pair.north.restart(Duration::ZERO);
    pair.connect();
    pair.north.take("wc", "w", 1);
    pair.until(secs(45), "the next attempt", |pair| {
        !pair.north.told.delivered.is_empty()
    });
    let second = pair.north.only_delivery();
    assert_eq!(second.token.message.sequence, sequence);
    assert!(second.token.fence > first.token.fence);
}

#[test]
fn large_payloads_travel_apart_both_ways() {
    let mut pair = Pair::new();
    let big = vec![7; 9_000];
    let (sequence, deliver) = delivered(&mut pair, terms(), &big);
    assert_eq!(
        pair.count(|frame| matches!(frame, Frame::Grant { inline: false, .. })),
        1
    );
    let reply = vec![8; 20_000];
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(&reply));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(
        on_disk(&pair.south, sequence),
        Some((Outcome::Replied, Some(reply)))
    );
    assert!(pair.north.bodies.is_empty() && pair.south.bodies.is_empty());
}

#[test]
fn a_silent_peer_is_cut_off_and_its_offers_forgotten() {
    let mut pair = Pair::new();
    pair.north.register("wc", "w", 1, LEASE);
    pair.drive();
    pair.south.submit("wc", Terms { ett: None, ..terms() }, b"x");
    pair.drive();
    // Half open: the south end is gone, the north end is not told.
    pair.cut_south_only();
    pair.south.sent.clear();
    pair.link = None;
    pair.north.pass(secs(40));
    assert_eq!(pair.north.told.closed, [Fault::Silent]);
    assert_eq!(pair.north.core.usage().reservations, 0);
}

#[test]
fn an_idle_link_stays_up() {
    let mut pair = Pair::new();
    pair.pass(secs(600));
    assert_eq!(pair.closed(), []);
    assert!(pair.count(|frame| matches!(frame, Frame::Ping)) > 0);
}

#[test]
fn a_newer_link_of_the_same_peer_takes_over() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    // The south end lost its connection and dials again before the north end knows.
    pair.cut_south_only();
    pair.connect();
    pair.drive();
    assert!(pair.north.told.closed.contains(&Fault::Superseded));
    pair.north.answer(deliver.token, Verb::Reply, Some(b"y"));
    pair.drive();
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
}

/// A hello that the north node must not accept, and what it says to it.
fn refused(change: impl FnOnce(&mut Hello)) -> Vec<Fault> {
    let mut north = Node::new(2, small());
    let link = LinkId(1);
    north.must(Input::LinkUp {
        link,
        peer: "n1",
        dialled: false,
        policy: redlink_core::Policy::default(),
    });
    let name = |text| Name::new(text).expect("a name");
    let mut hello = Hello {
        version: VERSION,
        mesh: name("mesh"),
        name: name("n1"),
        node: NodeId(1),
        boot: Boot {
            counter: 1,
            random: 0,
        },
        generation: 1,
    };
    change(&mut hello);
    frame(&mut north, link, &Frame::Hello(hello));
    north.told.closed
}

fn frame(node: &mut Node, link: LinkId, frame: &Frame) {
    let mut buffer = [0; redlink_core::wire::HEADER_MAX];
    let len = frame.encode(&mut buffer).expect("it fits");
    node.must(Input::Frame {
        link,
        bytes: &buffer[..len],
        body: None,
    });
}

#[test]
fn only_the_right_hello_opens_a_session() {
    let name = |text| Name::new(text).expect("a name");
    assert_eq!(refused(|_| {}), []);
    assert_eq!(refused(|hello| hello.version += 1), [Fault::Version]);
    assert_eq!(refused(|hello| hello.mesh = name("other")), [Fault::Mesh]);
    assert_eq!(refused(|hello| hello.name = name("n3")), [Fault::Name]);
    assert_eq!(refused(|hello| hello.node = NodeId(2)), [Fault::Twin]);
}

#[test]
fn nothing_but_a_hello_comes_first_and_only_one() {
    let mut north = Node::new(2, small());
    north.must(Input::LinkUp {
        link: LinkId(1),
        peer: "n1",
        dialled: false,
        policy: redlink_core::Policy::default(),
    });
    frame(&mut north, LinkId(1), &Frame::Ping);
    assert_eq!(north.told.closed, [Fault::Order]);

    let mut pair = Pair::new();
    let link = pair.link.expect("a link");
    let again = pair
        .heard
        .iter()
        .find(|(north, frame)| *north && matches!(frame, Frame::Hello(_)));
    let again = again.map(|(_, frame)| frame.clone()).expect("a hello");
    frame(&mut pair.north, link, &again);
    assert_eq!(pair.north.told.closed, [Fault::Order]);
}

#[test]
fn garbage_closes_the_link_and_nothing_else() {
    let mut pair = Pair::new();
    let link = pair.link.expect("a link");
    let sequence = pair.north.submit("wc", terms(), b"x");
    pair.north.must(Input::Frame {
        link,
        bytes: &[255, 255, 255],
        body: None,
    });
    assert_eq!(pair.north.told.closed, [Fault::Malformed]);
    pair.north.take("wc", "w", 1);
    assert_eq!(pair.north.only_delivery().token.message.sequence, sequence);
}

#[test]
fn two_live_nodes_with_one_name_are_refused() {
    let mut pair = Pair::new();
    // Another database under the name of the south node.
    let link = LinkId(100);
    pair.north.must(Input::LinkUp {
        link,
        peer: "n1",
        dialled: false,
        policy: redlink_core::Policy::default(),
    });
    let hello = Hello {
        version: VERSION,
        mesh: Name::new("mesh").expect("a name"),
        name: Name::new("n1").expect("a name"),
        node: NodeId(77),
        boot: Boot {
            counter: 1,
            random: 5,
        },
        generation: 1,
    };
    frame(&mut pair.north, link, &Frame::Hello(hello));
    assert_eq!(pair.north.told.closed, [Fault::NameTaken]);
    pair.drive();
    pair.north.take("wc", "w", 1);
    pair.drive();
    let sequence = pair.south.submit("wc", terms(), b"still linked");
    pair.drive();
    assert_eq!(pair.north.only_delivery().token.message.sequence, sequence);
}

#[test]
fn forged_tokens_count_for_nothing() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    let real = deliver.token;
    let mut forged: Vec<GrantToken> = vec![real; 5];
    forged[0].mac[3] ^= 1;
    forged[1].fence.attempt += 1;
    forged[2].consumer.0 ^= 1;
    forged[3].node = NodeId(9);
    forged[4].inserted += 1;
    for token in forged {
        let tag = pair.north.answer(token, Verb::Reply, Some(b"evil"));
        pair.until(secs(30), "a refusal", |pair| pair.north.result(tag).is_some());
        assert_eq!(pair.north.result(tag), Some(Answered::Unknown), "{token:?}");
    }
    assert_eq!(pair.south.outcome(sequence), None);
    let tag = pair.north.answer(real, Verb::Reply, Some(b"good"));
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
}

#[test]
fn a_peer_can_claim_only_what_was_offered_to_it() {
    let mut pair = Pair::new();
    let sequence = pair.south.submit("secret", terms(), b"x");
    let link = pair.link.expect("a link");
    let message = redlink_core::MessageId {
        node: NodeId(1),
        sequence,
    };
    let consumer = redlink_core::ConsumerKey(1);
    frame(
        &mut pair.south,
        link,
        &Frame::Claim {
            offer: message.offer(),
            node: NodeId(2),
            consumer,
            lease: LEASE,
        },
    );
    pair.drive();
    assert_eq!(pair.count(|frame| matches!(frame, Frame::Grant { .. })), 0, "P9");
}

#[test]
fn the_origin_tells_no_outcome_before_it_is_on_disk() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    pair.south.store = StoreMode::Waits;
    let tag = pair.north.answer(deliver.token, Verb::Reply, Some(b"y"));
    pair.drive();
    assert_eq!(pair.south.store_waiting(), 1);
    assert_eq!(pair.north.result(tag), None);
    assert_eq!(
        pair.count(|frame| matches!(
            frame,
            Frame::Settled {
                taken: Taken::Done,
                ..
            }
        )),
        0
    );
    pair.south.store_now(StoreMode::Done);
    pair.drive();
    assert_eq!(pair.north.result(tag), Some(Answered::Done));
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
}

#[test]
fn a_failing_store_is_tried_again() {
    let mut pair = Pair::new();
    let (sequence, deliver) = delivered(&mut pair, terms(), b"x");
    pair.south.store = StoreMode::Fails;
    pair.north.answer(deliver.token, Verb::Reply, Some(b"y"));
    pair.drive();
    assert_eq!(pair.south.outcome(sequence), None);
    pair.south.store = StoreMode::Done;
    pair.until(secs(60), "the outcome", |pair| {
        pair.south.outcome(sequence).is_some()
    });
    assert_eq!(pair.south.outcome(sequence), Some(Outcome::Replied));
    assert!(pair.south.bodies.is_empty());
}
