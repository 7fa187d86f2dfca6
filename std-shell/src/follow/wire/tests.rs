//! What is said reads back, and any bytes are understood or refused.

use super::*;
use proptest::prelude::*;

const TICKET: Ticket = *b"0123456789abcdef";

fn name() -> impl Strategy<Value = Name> {
    "[a-zA-Z0-9_:][a-zA-Z0-9._:-]{0,63}".prop_map(|text| Name::new(&text).unwrap())
}

fn step() -> impl Strategy<Value = Step> {
    let peers = (proptest::option::of(name()), proptest::option::of(name()));
    let rest = (any::<Option<u32>>(), any::<Option<u64>>());
    let text = proptest::option::of("[ -~é]{0,128}");
    (any::<u64>(), "[a-z ]{1,16}", peers, rest, text).prop_map(
        |(age_us, step, (to, from), (attempt, consumer), detail)| Step {
            age_us,
            step,
            to,
            from,
            attempt,
            consumer: consumer.map(NodeId),
            detail,
        },
    )
}

fn steps_of(pieces: &[Bytes]) -> Vec<Step> {
    let mut all = Vec::new();
    for body in pieces {
        assert!(body.len() <= ASIDE_MAX);
        assert_eq!(kind(body), Ok((Kind::Piece, TICKET)));
        match piece(body) {
            Ok(Piece::Steps { steps, .. }) => all.extend(steps),
            other => panic!("{other:?}"),
        }
    }
    all
}

proptest! {
    #[test]
    fn steps_read_back_in_as_many_pieces_as_they_need(
        name in name(), steps in proptest::collection::vec(step(), 0..60)
    ) {
        let pieces = put_steps(TICKET, &name, &steps);
        prop_assert_eq!(steps_of(&pieces), steps);
    }

    #[test]
    fn any_bytes_are_understood_or_refused(
        first in 0_u8..6, rest in proptest::collection::vec(any::<u8>(), 0..400)
    ) {
        let body = [&[first], &rest[..]].concat();
        let _ = (kind(&body), question(&body), piece(&body), passed_on(&body, Duration::MAX));
    }

    #[test]
    fn damage_never_panics(steps in proptest::collection::vec(step(), 1..9), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        for body in put_steps(TICKET, &Name::new("n").unwrap(), &steps) {
            let mut body = body.to_vec();
            let at = at.index(body.len());
            body[at] = to;
            let _ = (kind(&body), piece(&body));
            let _ = piece(&body[..at]);
        }
    }
}

#[test]
fn questions_and_ends_read_back_also_with_more_behind_them() {
    let asked = Question {
        message: MessageId {
            node: NodeId(7),
            sequence: 9,
        },
        hops: 8,
        patience_ms: 5_000,
    };
    let report = Report {
        name: Name::new("hub").unwrap(),
        node: Some(NodeId(1)),
        by: Name::new("s1").unwrap(),
        fate: 5,
        left_out: 3,
    };
    let more = |body: Bytes| [&body[..], b"of a later version"].concat();
    let body = more(put_question(TICKET, &asked));
    assert_eq!(kind(&body), Ok((Kind::Question, TICKET)));
    assert_eq!(question(&body), Ok(asked));
    let body = more(put_report(TICKET, &report));
    assert_eq!(piece(&body), Ok(Piece::Report(report)));
    assert_eq!(piece(&more(put_end(TICKET))), Ok(Piece::End));
}

#[test]
fn what_is_not_known_is_ignored_and_what_is_cut_refused() {
    assert_eq!(kind(&[77]), Ok((Kind::Unknown, Ticket::default())));
    assert_eq!(kind(&[]), Err(Junk));
    assert_eq!(kind(&[QUESTION, 1, 2]), Err(Junk));
    assert_eq!(question(&put_end(TICKET)[..HEAD]), Err(Junk));
    assert_eq!(piece(&put_end(TICKET)[..HEAD + 3]), Err(Junk));
}

#[test]
fn texts_that_would_steer_a_terminal_are_refused() {
    let step = |text: &str| Step {
        age_us: 0,
        step: "offer".into(),
        to: None,
        from: None,
        attempt: None,
        consumer: None,
        detail: Some(text.to_owned()),
    };
    let name = Name::new("n").unwrap();
    for text in ["\u{1b}[2J", "a\nb", &"x".repeat(TEXT_MAX + 1)] {
        let pieces = put_steps(TICKET, &name, &[step(text)]);
        assert_eq!(piece(&pieces[0]), Err(Junk), "{text:?}");
    }
}

#[test]
fn what_waits_grows_older() {
    let name = Name::new("n").unwrap();
    let step = Step {
        age_us: 40,
        step: "offer".into(),
        to: None,
        from: None,
        attempt: None,
        consumer: None,
        detail: None,
    };
    let first = put_steps(TICKET, &name, std::slice::from_ref(&step)).remove(0);
    let waited = Duration::from_micros(70);
    let passed = passed_on(&passed_on(&first, waited), waited);
    let expected = Piece::Steps {
        name,
        age: Duration::from_micros(140),
        steps: vec![step],
    };
    assert_eq!(piece(&passed), Ok(expected));
}
