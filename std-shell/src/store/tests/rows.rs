//! Every operation, there and back, and across lives.

use super::*;
use redlink_core::Duration as Length;

#[test]
fn a_message_comes_back_as_it_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let terms = Terms {
        direct: true,
        priority: 255,
        ett: None,
        reoffer: Length::from_micros(u64::MAX),
        send_only: true,
        not_before: Length::from_micros(7),
        max_attempts: u16::MAX,
        retention: Length::ZERO,
    };
    let message = NewMessage {
        sequence: 41,
        inserted: u32::MAX,
        owner: Owner::Administrator,
        service: "resize".into(),
        producer: Some("shop".into()),
        alternate: Some(Alternate {
            service: "resize-slow".into(),
            after: Length::from_secs(10),
        }),
        terms,
        content: Content {
            origin: None,
            trace_context: crate::TraceContext::read(
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                ["a=1"],
            ),
            content_type: None,
            bytes: vec![0, 255, b'\'', b';'].into(),
        },
        preserved: None,
        key: None,
        submitted_at: -5,
        deadline_at: None,
        requeue: None,
    };
    let mut rig = Rig::open(dir.path());
    rig.did([Op::Insert(message.clone())]);
    assert_eq!(rig.payload(41), Some(message.content.clone()));
    assert_eq!(rig.payload(42), None);
    assert_eq!(rig.payload(u64::MAX), None);
    drop(rig);
    let rig = Rig::open(dir.path());
    let found = &rig.opened.recovered.messages;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].sequence, 41);
    assert_eq!(found[0].inserted, u32::MAX);
    assert_eq!(&*found[0].service, "resize");
    assert_eq!(found[0].alternate, message.alternate);
    // The administrator's, under a name: nobody's is its owner.
    assert_eq!(rig.opened.recovered.owners, []);
    assert_eq!(rig.opened.recovered.producers, [(41, "shop".into())]);
    assert_eq!(
        found[0].terms,
        Terms {
            reoffer: Length::from_micros(i64::MAX as u64),
            ..terms
        }
    );
    assert_eq!(
        (found[0].submitted_at, found[0].deadline_at, found[0].size),
        (-5, None, 4)
    );
    assert_eq!(rig.payload(41), Some(message.content));
    assert_eq!((rig.stats().messages, rig.stats().outcomes), (1, 0));
}

#[test]
fn a_settled_message_is_an_outcome_until_it_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    let expired = Op::Settle {
        sequence: 2,
        outcome: Outcome::Expired,
        token: None,
        content: None,
        settled_at: 10,
        retain_until: 20,
        letter: None,
    };
    rig.did([insert(1), insert(2), insert(3)]);
    rig.did([
        settle(1, Some(content("reply"))),
        expired,
        settle(3, Some(content(""))),
    ]);
    assert_eq!(rig.payload(1), None);
    let replied = |text: &'static str| StoredOutcomeContent {
        outcome: Outcome::Replied,
        content: Some(content(text)),
        preserved: None,
    };
    assert_eq!(rig.outcome(1), Some(replied("reply")));
    assert_eq!(
        rig.outcome(2),
        Some(StoredOutcomeContent {
            outcome: Outcome::Expired,
            content: None,
            preserved: None,
        })
    );
    assert_eq!(rig.outcome(3), Some(replied("")));
    drop(rig);

    let mut rig = Rig::open(dir.path());
    assert_eq!(rig.opened.recovered.messages, []);
    let found: Vec<_> = rig
        .opened
        .recovered
        .outcomes
        .iter()
        .map(|o| (o.sequence, o.outcome, o.fence, o.size))
        .collect();
    let fence = Some(token(0).fence);
    assert_eq!(
        found,
        [
            (1, Outcome::Replied, fence, Some(5)),
            (2, Outcome::Expired, None, None),
            (3, Outcome::Replied, fence, Some(0)),
        ]
    );
    assert_eq!(rig.opened.recovered.outcomes[1].settled_at, 10);
    assert_eq!(rig.opened.recovered.outcomes[1].retain_until, 20);
    rig.did([
        Op::Delete { sequence: 1 },
        Op::Delete { sequence: 2 },
        Op::Delete { sequence: 99 },
    ]);
    assert_eq!(rig.outcome(1), None);
    assert!(rig.opened.next_sequence > 3);
    drop(rig);
    let rig = Rig::open(dir.path());
    assert_eq!(
        rig.opened
            .recovered
            .outcomes
            .iter()
            .map(|o| o.sequence)
            .collect::<Vec<_>>(),
        [3]
    );
}

#[test]
fn a_message_and_its_outcome_are_its_owners_until_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did([
        insert_of(1, "billing"),
        insert(2),
        insert_of(3, "billing"),
        insert_of(4, "x'); --"),
    ]);
    rig.did([settle(1, None), settle(2, None)]);
    let owners = |rig: &Rig| -> Vec<(u64, String)> {
        let found = rig.opened.recovered.owners.iter();
        found
            .map(|(sequence, program)| (*sequence, program.to_string()))
            .collect()
    };
    let owned = |wanted: &[(u64, &str)]| -> Vec<(u64, String)> {
        wanted
            .iter()
            .map(|(sequence, program)| (*sequence, (*program).to_owned()))
            .collect()
    };
    assert_eq!(owners(&rig), [], "it was new");
    drop(rig);
    let mut rig = Rig::open(dir.path());
    assert_eq!(
        owners(&rig),
        owned(&[(1, "billing"), (3, "billing"), (4, "x'); --")])
    );
    rig.did([
        settle(3, None),
        Op::Delete { sequence: 1 },
        Op::Delete { sequence: 2 },
    ]);
    // One that can't be done leaves nothing behind.
    assert!(!rig.all([insert_of(4, "thief")])[0].done);
    drop(rig);
    let mut rig = Rig::open(dir.path());
    assert_eq!(owners(&rig), owned(&[(3, "billing"), (4, "x'); --")]));
    rig.did([settle(4, None), Op::Delete { sequence: 3 }]);
    rig.did([Op::Delete { sequence: 4 }]);
    drop(rig);
    assert_eq!(owners(&Rig::open(dir.path())), []);
}

#[test]
fn an_undelivered_reply_stays_until_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    let ack = Op::Keep {
        token: token(u64::MAX),
        verb: Verb::Ack,
        content: None,
        until: 9,
        path: way(8),
    };
    rig.did([keep(1, Some(content("done"))), ack]);
    drop(rig);
    let mut rig = Rig::open(dir.path());
    let expected = [
        RecoveredReply {
            token: token(1),
            verb: Verb::Reply,
            until: 1_700_000_300_000_000,
            size: Some(4),
            path: way(1),
        },
        RecoveredReply {
            token: token(u64::MAX),
            verb: Verb::Ack,
            until: 9,
            size: None,
            path: way(8),
        },
    ];
    assert_eq!(rig.opened.recovered.replies, expected);
    let first = token(1).attempt();
    assert_eq!(
        rig.reply(first),
        Some(StoredReplyContent {
            verb: Verb::Reply,
            content: Some(content("done"))
        })
    );
    let second = token(u64::MAX).attempt();
    assert_eq!(
        rig.reply(second),
        Some(StoredReplyContent {
            verb: Verb::Ack,
            content: None
        })
    );
    rig.did([Op::Drop { attempt: first }, Op::Drop { attempt: first }]);
    assert_eq!(rig.reply(first), None);
    drop(rig);
    assert_eq!(Rig::open(dir.path()).opened.recovered.replies, expected[1..]);
}

#[test]
fn what_is_repeated_is_done_once_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did([insert(1), insert(2)]);
    rig.did([settle(1, Some(content("first"))), keep(5, Some(content("first")))]);
    // The same again is done already.
    rig.did([
        settle(1, Some(content("second"))),
        keep(5, Some(content("second"))),
    ]);
    assert_eq!(rig.outcome(1).unwrap().content, Some(content("first")));
    assert_eq!(
        rig.reply(token(5).attempt()).unwrap().content,
        Some(content("first"))
    );
    // Another outcome, or another message under a used number, is refused, and takes nothing else with it.
    let failed = Op::Settle {
        sequence: 1,
        outcome: Outcome::Failed,
        token: None,
        content: None,
        settled_at: 0,
        retain_until: 0,
        letter: None,
    };
    let answers = rig.all([
        failed,
        insert_with(2, content("other")),
        insert(3),
        insert(u64::MAX),
    ]);
    let refused = [Row::Settle(1), Row::Insert(2), Row::Insert(u64::MAX)];
    for Done { row, done } in answers {
        assert_eq!(done, !refused.contains(&row), "{row:?}");
    }
    assert_eq!(rig.outcome(1).unwrap().outcome, Outcome::Replied);
    assert_eq!(rig.payload(2), Some(content("payload 2")));
    assert_eq!(rig.payload(3), Some(content("payload 3")));
    rig.assert_sound();
}

#[test]
fn names_are_bound_and_never_become_sql() {
    let dir = tempfile::tempdir().unwrap();
    let names = [
        "'; DROP TABLE message; --",
        "\"x\" OR 1=1",
        "a\0b",
        "?1",
        "größe\u{202e}",
        "",
    ];
    let mut rig = Rig::open(dir.path());
    rig.did(names.iter().zip(1..).map(|(name, sequence)| {
        let Op::Insert(mut message) = insert(sequence) else {
            unreachable!("insert gives an insert")
        };
        message.service = (*name).into();
        message.content.content_type = Some((*name).into());
        Op::Insert(message)
    }));
    drop(rig);
    let rig = Rig::open(dir.path());
    for (at, name) in names.iter().enumerate() {
        assert_eq!(&*rig.opened.recovered.messages[at].service, *name);
        assert_eq!(
            rig.payload(at as u64 + 1).unwrap().content_type.as_deref(),
            Some(*name)
        );
    }
    rig.assert_sound();
}

#[test]
fn identity_stays_and_each_life_has_its_own_boot() {
    let dir = tempfile::tempdir().unwrap();
    let first = Rig::open(dir.path());
    let (identity, boot) = (first.opened.identity, first.opened.boot);
    assert_eq!(boot.counter, 1);
    assert_eq!(first.opened.next_sequence, 1);
    assert!(
        !format!("{identity:?}").contains("key"),
        "the key stays out of logs"
    );
    first.close();
    let second = Rig::open(dir.path());
    assert_eq!(second.opened.identity, identity);
    assert_eq!(second.opened.boot.counter, 2);
    assert_ne!(second.opened.boot.random, boot.random);
    let other = tempfile::tempdir().unwrap();
    let other = Rig::open(other.path());
    assert_ne!(other.opened.identity.node, identity.node);
    assert_ne!(other.opened.identity.key, identity.key);
}

#[test]
fn a_sequence_number_never_repeats() {
    let dir = tempfile::tempdir().unwrap();
    let mut highest = 0;
    // Closed in order, or dropped with all rows deleted: no number comes again.
    for life in 0..4 {
        let mut rig = Rig::open(dir.path());
        let next = rig.opened.next_sequence;
        assert!(next > highest, "life {life}: {next} after {highest}");
        if life == 1 {
            assert_eq!(next, highest + 1, "nothing is skipped after an orderly stop");
        }
        rig.did([insert(next), insert(next + 1)]);
        highest = next + 1;
        rig.did([settle(next, None), settle(next + 1, None)]);
        rig.did([Op::Delete { sequence: next }, Op::Delete { sequence: next + 1 }]);
        if life == 2 {
            // Past the block that was reserved.
            highest = next + 3_000_000;
            rig.did([insert(highest)]);
            rig.did([settle(highest, None)]);
            rig.did([Op::Delete { sequence: highest }]);
        }
        if life == 0 { rig.close() } else { drop(rig) }
    }
}

#[test]
fn reads_are_answered_while_groups_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did([insert(1)]);
    for sequence in 2..5_000 {
        rig.send(insert(sequence));
        if sequence % 100 == 0 {
            assert_eq!(rig.payload(1), Some(content("payload 1")));
        }
    }
    let mut answered = 0;
    let mut groups = 0;
    while answered < 4_998 {
        let group = rig.answers();
        assert!(group.len() <= crate::store::GROUP_MAX);
        assert!(group.iter().all(|answer| answer.done));
        answered += group.len();
        groups += 1;
    }
    assert!(groups > 1);
    assert_eq!(rig.payload(4_999), Some(content("payload 4999")));
    assert_eq!(rig.stats().messages, 4_999);
}

#[test]
fn what_was_sent_before_the_close_is_done_and_after_it_nothing_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    let spare = rig.opened.store.clone();
    for sequence in 1..=100 {
        rig.send(insert(sequence));
    }
    rig.send(insert_with(101, content(large(101))));
    let (runtime, mut answers) = (rig.runtime, 0);
    rig.opened.store.close();
    while let Ok(group) = rig.done.try_recv() {
        answers += group.len();
    }
    assert_eq!(answers, 101);
    spare.send(insert(102));
    assert_eq!(runtime.block_on(spare.payload(1)), Err(ReadError::Closed));
    assert_eq!(runtime.block_on(spare.stats()), StoreStats::default());
    assert_eq!(
        std::fs::metadata(dir.path().join("redlink.db-wal"))
            .unwrap()
            .len(),
        0,
        "the log is empty"
    );
    let again = Rig::open(dir.path());
    assert_eq!(again.opened.recovered.messages.len(), 101);
    assert_eq!(again.opened.next_sequence, 102);
}

#[test]
fn preserved_data_is_there_until_the_outcome_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let with = |sequence, data: &'static [u8]| {
        let Op::Insert(mut message) = insert(sequence) else {
            unreachable!("insert gives an insert")
        };
        message.preserved = Some(data.into());
        Op::Insert(message)
    };
    let mut rig = Rig::open(dir.path());
    rig.did([with(1, b"\0one"), with(2, b""), insert(3)]);
    rig.did([settle(1, None), settle(3, None)]);
    let preserved = |rig: &Rig, sequence| rig.outcome(sequence).unwrap().preserved;
    assert_eq!(preserved(&rig, 1).as_deref(), Some(&b"\0one"[..]));
    assert_eq!(preserved(&rig, 3), None);
    drop(rig);
    let mut rig = Rig::open(dir.path());
    assert_eq!(rig.opened.recovered.preserved, [1, 2]);
    rig.did([settle(2, None)]);
    assert_eq!(preserved(&rig, 2).as_deref(), Some(&b""[..]));
    rig.did([1, 2, 3].map(|sequence| Op::Delete { sequence }));
    rig.assert_sound();
    drop(rig);
    assert_eq!(Rig::open(dir.path()).opened.recovered.preserved, [0; 0]);
}

#[test]
fn a_key_outlives_its_message_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let key = |n: u8| StoredKey {
        scope: [n; 16],
        request: [n + 1; 32],
        kept_until: i64::from(n) - 100,
    };
    let with = |n: u8| {
        let Op::Insert(mut message) = insert(n.into()) else {
            unreachable!("insert gives an insert")
        };
        message.key = Some(key(n));
        Op::Insert(message)
    };
    let mut rig = Rig::open(dir.path());
    rig.did([with(1), with(2), insert(3), with(4)]);
    // No row, no key: neither is there without the other.
    assert_eq!(
        rig.all([with(2)]),
        [Done {
            row: Row::Insert(2),
            done: false
        }]
    );
    rig.did([settle(1, None)]);
    rig.did([Op::Delete { sequence: 1 }]);
    drop(rig);
    let rig = Rig::open(dir.path());
    let found = |n: u8| RecoveredKey {
        sequence: n.into(),
        scope: key(n).scope,
        request: key(n).request,
        deadline_at: Some(1_700_000_300_000_000),
        kept_until: key(n).kept_until,
    };
    assert_eq!(rig.opened.recovered.keys, [found(1), found(2), found(4)]);
    rig.opened.store.forget_keys(2);
    rig.assert_sound();
    rig.close();
    assert_eq!(Rig::open(dir.path()).opened.recovered.keys, [found(4)]);
}
