//! Each checker finds what it is there for: a promise that nobody could see broken would be kept by accident only.

use super::Verdict;
use super::leases::Leases;
use super::ledger::Ledger;
use super::order::{Choice, Order, Reserved};
use super::rates::Rates;
use crate::disk::{Content, MessageRow, OutcomeRow};
use crate::scenario::{SECOND, Time};
use redlink_core::{
    Attempts, ConsumerKey, Duration, Fence, GrantToken, Instant, LinkId, MessageId, NodeId, Outcome, Terms,
    Verb,
};

const ID: MessageId = MessageId {
    node: NodeId(1),
    sequence: 1,
};
const REPLY: Content = Content { mark: 2, size: 5 };

fn rule(verdict: Verdict) -> Option<&'static str> {
    verdict.err().map(|(rule, _)| rule)
}

fn token(attempt: u32) -> GrantToken {
    GrantToken {
        message: ID,
        inserted: 1,
        fence: Fence { boot: 1, attempt },
        node: NodeId(2),
        consumer: ConsumerKey(3),
        mac: [0; 16],
    }
}

fn outcome(outcome: Outcome, by: Option<GrantToken>) -> OutcomeRow {
    OutcomeRow {
        outcome,
        token: by,
        content: by.map(|_| REPLY),
        retain_until: 1_000 * SECOND,
    }
}

/// A ledger with one message that is on disk and due at ten seconds.
fn stored() -> Ledger {
    stored_with(Terms {
        max_attempts: 0,
        ..Terms::default()
    })
}

fn stored_with(terms: Terms) -> Ledger {
    let mut ledger = Ledger::default();
    let row = MessageRow {
        inserted: 1,
        service: 0,
        alternate: None,
        terms: Terms {
            ett: Some(Duration::from_secs(10)),
            ..terms
        },
        content: Content { mark: 1, size: 1 },
        submitted_at: 0,
        deadline_at: Some(10 * SECOND),
        from: terms.not_before.as_micros(),
    };
    assert_eq!(rule(ledger.inserting(ID, 0, &row)), None);
    ledger.inserted(ID, 1);
    ledger
}

fn decide(ledger: &mut Ledger, row: &OutcomeRow, now: Time) -> Option<&'static str> {
    rule(ledger.deciding(ID, row, 1, (now, now, 0), &super::lies::Lies::default()))
}

#[test]
fn an_accepted_message_must_be_on_disk_and_stay_there() {
    let mut ledger = Ledger::default();
    assert_eq!(rule(ledger.accepted(ID)), Some("P1"));
    let mut ledger = stored();
    assert_eq!(rule(ledger.accepted(ID)), None);
    assert_eq!(rule(ledger.sweep(|_, _| true)), None);
    assert_eq!(rule(ledger.sweep(|_, _| false)), Some("P1"));
}

#[test]
fn there_is_one_outcome_and_it_is_told_when_it_is_on_disk() {
    let mut ledger = stored();
    assert_eq!(rule(ledger.granted(&token(1), SECOND, 0)), None);
    ledger.said(&token(1), Verb::Reply, Some(REPLY));
    let row = outcome(Outcome::Replied, Some(token(1)));
    assert_eq!(decide(&mut ledger, &row, SECOND), None);
    assert_eq!(rule(ledger.told(ID, Outcome::Replied)), Some("P2"));
    ledger.settled(ID, &row);
    assert_eq!(rule(ledger.told(ID, Outcome::Expired)), Some("P2"));
    assert_eq!(rule(ledger.told(ID, Outcome::Replied)), None);
    assert_eq!(
        decide(&mut ledger, &outcome(Outcome::Expired, None), 11 * SECOND),
        Some("P2")
    );
    assert_eq!(
        rule(ledger.deleting(ID, SECOND, false)),
        Some("P2"),
        "nobody has collected it"
    );
}

#[test]
fn nothing_is_offered_or_granted_before_its_time() {
    let mut ledger = stored_with(Terms {
        not_before: Duration::from_secs(2),
        ..Terms::default()
    });
    assert_eq!(rule(ledger.offering(ID, 2 * SECOND - 1)), Some("not-before"));
    assert_eq!(
        rule(ledger.granted(&token(1), 2 * SECOND - 1, 0)),
        Some("not-before")
    );
    assert_eq!(rule(ledger.offering(ID, 2 * SECOND)), None);
    assert_eq!(rule(ledger.granted(&token(1), 2 * SECOND, 0)), None);
}

#[test]
fn ended_attempts_are_counted_and_a_crash_costs_what_was_not_on_disk() {
    let mut ledger = stored_with(Terms {
        max_attempts: 3,
        ..Terms::default()
    });
    let counted = |ended| Attempts {
        ended,
        ..Attempts::default()
    };
    for attempt in 1..=2 {
        assert_eq!(rule(ledger.granted(&token(attempt), SECOND, 0)), None);
        ledger.ended(&token(attempt), SECOND);
    }
    assert_eq!(rule(ledger.counting(ID, counted(2), counted(1))), None);
    assert_eq!(rule(ledger.counting(ID, counted(1), counted(1))), Some("P6"));
    assert_eq!(
        rule(ledger.counting(ID, counted(3), counted(2))),
        Some("P6"),
        "that is its end"
    );
    // Only the first is on disk, and the second has ended long ago.
    assert_eq!(rule(ledger.forgive(0, 2 * SECOND, |_| 1)), Some("P6"));
    let mut ledger = stored_with(Terms {
        max_attempts: 3,
        ..Terms::default()
    });
    for attempt in 1..=3 {
        assert_eq!(rule(ledger.granted(&token(attempt), SECOND, 0)), None);
        ledger.ended(&token(attempt), SECOND);
    }
    assert_eq!(rule(ledger.granted(&token(4), SECOND, 0)), Some("P6"));
    assert_eq!(rule(ledger.forgive(0, 0, |_| 2)), None);
    assert_eq!(
        rule(ledger.granted(&token(4), SECOND, 0)),
        None,
        "one was forgotten"
    );
    ledger.ended(&token(4), SECOND);
    assert_eq!(rule(ledger.granted(&token(5), SECOND, 0)), Some("P6"));
}

#[test]
fn what_is_delivered_at_most_once_is_seen_once_and_granted_on_disk_first() {
    let lies = super::lies::Lies::default();
    let mut ledger = stored_with(Terms {
        at_most_once: true,
        ..Terms::default()
    });
    let failed = outcome(Outcome::Failed, None);
    assert_eq!(
        decide(&mut ledger, &failed, SECOND),
        Some("P6"),
        "it was never granted"
    );
    let fence = token(1).fence;
    assert_eq!(rule(ledger.granted_with(&token(1), None, SECOND, 0)), Some("P6"));
    let granting = Attempts {
        newest: Some(fence),
        ..Attempts::default()
    };
    assert_eq!(
        rule(ledger.counting(ID, granting, Attempts::default())),
        Some("contract")
    );
    ledger.forgot(0);
    assert_eq!(rule(ledger.counting(ID, granting, Attempts::default())), None);
    assert_eq!(rule(ledger.granted_with(&token(1), Some(fence), SECOND, 0)), None);
    assert_eq!(rule(ledger.seen(&token(1), &lies)), None);
    let second = token(2).fence;
    assert_eq!(
        rule(ledger.granted_with(&token(2), Some(second), SECOND, 0)),
        None
    );
    assert_eq!(rule(ledger.seen(&token(2), &lies)), Some("P6"));
    assert_eq!(decide(&mut ledger, &failed, SECOND), None);
}

#[test]
fn nobody_can_put_words_into_a_workers_mouth() {
    let mut ledger = stored();
    let row = outcome(Outcome::Replied, Some(token(1)));
    assert_eq!(decide(&mut ledger, &row, SECOND), Some("P6"), "never granted");
    let mut ledger = stored();
    assert_eq!(rule(ledger.granted(&token(1), SECOND, 0)), None);
    assert_eq!(decide(&mut ledger, &row, SECOND), Some("P2"), "never said");
    assert_eq!(
        decide(&mut ledger, &outcome(Outcome::Cancelled, None), SECOND),
        Some("P2")
    );
}

#[test]
fn the_deadline_decides() {
    let mut ledger = stored();
    assert_eq!(
        decide(&mut ledger, &outcome(Outcome::Expired, None), 9 * SECOND),
        Some("P3")
    );
    let mut ledger = stored();
    assert_eq!(rule(ledger.granted(&token(1), 10 * SECOND, 0)), Some("P3"));
    let up = |_| Some(0);
    assert_eq!(rule(ledger.overdue(10 * SECOND, up)), None);
    assert_eq!(rule(ledger.overdue(12 * SECOND, up)), Some("P3"));
    assert_eq!(
        rule(ledger.overdue(12 * SECOND, |_| None)),
        None,
        "its origin is down"
    );
    assert_eq!(
        rule(ledger.overdue(12 * SECOND, |_| Some(12 * SECOND))),
        None,
        "its origin has just come back"
    );
}

#[test]
fn an_older_attempt_counts_for_nothing() {
    let mut ledger = stored();
    assert_eq!(rule(ledger.granted(&token(1), SECOND, 0)), None);
    ledger.said(&token(1), Verb::Reply, Some(REPLY));
    assert_eq!(rule(ledger.granted(&token(2), SECOND, 0)), None);
    let row = outcome(Outcome::Replied, Some(token(1)));
    assert_eq!(decide(&mut ledger, &row, SECOND), Some("P6"));
    let other = GrantToken {
        node: NodeId(9),
        ..token(2)
    };
    assert_eq!(
        rule(ledger.granted(&other, SECOND, 0)),
        Some("P6"),
        "one fence, two holders"
    );
    assert_eq!(
        rule(ledger.granted(&token(0), SECOND, 0)),
        Some("P6"),
        "not newer"
    );
}

#[test]
fn a_lease_too_many_is_seen() {
    let mut leases = Leases::default();
    let key = (0, 0, "w".to_owned());
    leases.limited(&key, 1, 0, 0);
    assert_eq!(rule(leases.delivered(&key, &token(1), (0, SECOND), false)), None);
    assert_eq!(
        rule(leases.delivered(&key, &token(1), (0, SECOND), false)),
        Some("P6"),
        "twice the same"
    );
    assert_eq!(
        rule(leases.delivered(&key, &token(2), (SECOND / 2, SECOND), false)),
        Some("P4")
    );
    let mut leases = Leases::default();
    leases.limited(&key, 1, 0, 0);
    assert_eq!(rule(leases.delivered(&key, &token(1), (0, SECOND), false)), None);
    assert_eq!(
        rule(leases.delivered(&key, &token(2), (SECOND, SECOND), false)),
        None,
        "the first has run out"
    );
}

#[test]
fn a_better_message_that_waits_is_seen() {
    let mut order = Order::default();
    let better = MessageId { sequence: 2, ..ID };
    let reserved = Reserved {
        service: 0,
        priority: 5,
        born: Some(Instant::from_micros(10)),
        deadline: None,
        event: 7,
    };
    order.offered(0, LinkId(1), better.offer(), reserved);
    let chosen = |order: &Order, (service, priority), event| {
        let choice = Choice {
            service,
            priority,
            born: None,
        };
        rule(order.chosen(0, ID, choice, None, (0, event)))
    };
    assert_eq!(chosen(&order, (0, 4), 8), Some("P5"));
    assert_eq!(chosen(&order, (0, 5), 8), None);
    assert_eq!(chosen(&order, (1, 4), 8), None, "another service");
    assert_eq!(chosen(&order, (0, 4), 6), None, "it came later");
    order.claimed(0, LinkId(1), better.offer(), ConsumerKey(1));
    assert_eq!(chosen(&order, (0, 4), 8), None, "it is under way itself");
}

#[test]
fn what_has_waited_for_a_level_counts_as_one_higher() {
    let mut order = Order::default();
    let other = MessageId { sequence: 2, ..ID };
    let reserved = Reserved {
        service: 0,
        priority: 5,
        born: Some(Instant::from_micros(100)),
        deadline: None,
        event: 7,
    };
    order.own(0, other, reserved);
    let chosen = |priority, born: Option<u64>| {
        let born = born.map(Instant::from_micros);
        let choice = Choice {
            service: 0,
            priority,
            born,
        };
        rule(order.chosen(0, ID, choice, Some(Duration::from_micros(10)), (200, 8)))
    };
    assert_eq!(chosen(5, Some(100)), None);
    assert_eq!(chosen(5, Some(101)), Some("P5"), "the older of one priority");
    assert_eq!(chosen(7, Some(120)), None);
    assert_eq!(chosen(7, Some(121)), Some("P5"));
    assert_eq!(chosen(4, Some(90)), None);
    assert_eq!(chosen(4, Some(91)), Some("P5"));
    assert_eq!(chosen(0, None), None, "nobody can tell");
}

#[test]
fn no_consumer_is_handed_more_than_its_rate() {
    let key = (0, 0, "w".to_owned());
    let at = Instant::from_micros;
    let rate = |text: &str| Some(text.parse().expect("a rate"));
    let mut rates = Rates::default();
    let got =
        |rates: &mut Rates, attempt, now| rule(rates.delivered(&key, token(attempt).attempt(), at(now)));
    assert_eq!(got(&mut rates, 1, 0), None, "it has no rate");
    rates.registered(&key, rate("2/s"), at(0));
    assert_eq!(got(&mut rates, 2, 0), None);
    assert_eq!(got(&mut rates, 3, 499_999), Some("P4"));
    // From now on with what it may have; five seconds later it is two at once and no third.
    let mut rates = Rates::default();
    rates.registered(&key, rate("2/s"), at(0));
    assert_eq!(got(&mut rates, 1, 5 * SECOND), None);
    assert_eq!(got(&mut rates, 2, 5 * SECOND), None);
    rates.registered(&key, rate("2/s"), at(5 * SECOND));
    rates.unseen(&key, token(1).attempt());
    assert_eq!(got(&mut rates, 3, 5 * SECOND), None);
    rates.registered(&key, rate("100/s"), at(5 * SECOND));
    assert_eq!(
        got(&mut rates, 4, 5 * SECOND),
        Some("P4"),
        "a new rate is no new start"
    );
    rates.unregistered(&key);
    assert_eq!(got(&mut rates, 5, 5 * SECOND), None);
}
