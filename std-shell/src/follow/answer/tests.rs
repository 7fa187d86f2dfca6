//! Who may know (P12).

use super::*;

fn step(word: &str, to: Option<&str>, from: Option<&str>) -> TraceStep {
    TraceStep {
        step: word.into(),
        to: to.map(str::to_owned),
        from: from.map(str::to_owned),
        ..TraceStep::default()
    }
}

fn may_know(steps: &[TraceStep], peer: &str) -> bool {
    let peer = Name::new(peer).unwrap();
    let mut steps = steps.iter().enumerate();
    steps.any(|(at, step)| shows(step, at == 0, &peer))
}

#[test]
fn those_on_the_way_may_know_and_others_may_not() {
    let hub = [
        step("offer", None, Some("s1")),
        step("offer", Some("s2"), None),
        step("claim", None, Some("s2")),
        step("claim", Some("s1"), None),
    ];
    assert!(may_know(&hub, "s1") && may_know(&hub, "s2"));
    assert!(!may_know(&hub, "s3"));
    // Nobody has claimed it yet.
    assert!(may_know(&hub[..1], "s1"));
    let origin = [step("accepted", None, None), step("offer", Some("hub"), None)];
    assert!(may_know(&origin, "hub") && !may_know(&origin, "s2"));
    assert!(!may_know(&[], "hub"));
}

#[test]
fn a_guess_is_no_proof() {
    let mut origin = vec![step("accepted", None, None), step("offer", Some("hub"), None)];
    // All that a peer can send about a message that it has only guessed, and what that leads to.
    for word in [
        "offer", "claim", "grant", "answer", "retract", "holding", "seek", "settled",
    ] {
        origin.push(step(word, None, Some("liar")));
    }
    for word in ["gone", "decline", "no path", "no room", "settled"] {
        origin.push(step(word, Some("liar"), None));
    }
    assert!(!may_know(&origin, "liar"));
    let mut settled = step("settled", Some("liar"), None);
    settled.detail = Some("unknown".into());
    origin.push(settled.clone());
    assert!(!may_know(&origin, "liar"));
    // With a true grant it was done.
    settled.detail = Some("done".into());
    origin.push(settled);
    assert!(may_know(&origin, "liar"));
}
