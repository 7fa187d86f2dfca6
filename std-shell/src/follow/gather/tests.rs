//! What nodes tell becomes one list.

use super::*;

const WALL: i64 = 1_700_000_000_000_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn step(age_us: u64, word: &str) -> Step {
    Step {
        age_us,
        step: word.into(),
        to: None,
        from: None,
        attempt: None,
        consumer: None,
        detail: None,
    }
}

fn report(name_of: &str, by: &str, fate: Fate) -> Report {
    Report {
        name: name(name_of),
        node: None,
        by: name(by),
        fate: fate.number(),
        left_out: 0,
    }
}

fn gathered() -> Gathered {
    let accepted = TraceStep {
        at_micros: WALL - 1_000,
        step: "accepted".into(),
        seen_by: "here".into(),
        ..TraceStep::default()
    };
    Gathered::new(MessageTrace {
        node: "here".into(),
        on: true,
        steps: vec![accepted],
        ..MessageTrace::default()
    })
}

fn states(trace: &MessageTrace) -> Vec<(&str, &str)> {
    let nodes = trace.nodes.iter();
    nodes.map(|n| (n.name.as_str(), n.state.as_str())).collect()
}

fn micros(of: u64) -> Duration {
    Duration::from_micros(of)
}

#[test]
fn ages_become_times_of_this_clock_and_all_is_sorted() {
    let mut all = gathered();
    let mut of_hub = step(850, "offer");
    of_hub.consumer = Some(NodeId(9));
    all.steps(
        &name("hub"),
        WALL,
        micros(50),
        micros(60),
        vec![of_hub, step(100, "claim")],
    );
    all.steps(
        &name("far"),
        WALL,
        micros(0),
        micros(60),
        vec![step(500, "delivered")],
    );
    let mut far = report("far", "far", Fate::Told);
    far.node = Some(NodeId(9));
    all.report(&far);
    all.report(&report("hub", "hub", Fate::Told));
    let trace = all.finish(NodeId(1));
    let steps = trace.steps.iter();
    let found: Vec<_> = steps
        .map(|s| (WALL - s.at_micros, s.seen_by.as_str(), s.step.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (1_000, "here", "accepted"),
            (900, "hub", "offer"),
            (500, "far", "delivered"),
            (150, "hub", "claim"),
        ]
    );
    let consumer = trace.steps[1].node.as_ref().unwrap();
    assert_eq!(consumer.name.as_deref(), Some("far"));
    assert_eq!(
        states(&trace),
        [("here", "told"), ("far", "told"), ("hub", "told")]
    );
}

#[test]
fn a_node_that_told_is_not_called_silent_by_another_and_nothing_counts_twice() {
    let mut all = gathered();
    all.report(&report("hub", "b", Fate::NotLinked));
    all.report(&report("far", "b", Fate::Silent));
    all.steps(&name("hub"), WALL, micros(0), micros(9), vec![step(5, "offer")]);
    all.report(&report("hub", "hub", Fate::Told));
    all.report(&report("hub", "b", Fate::Silent));
    // Told again, another way; and what this node is said to have told.
    all.steps(&name("hub"), WALL, micros(0), micros(9), vec![step(5, "offer")]);
    all.steps(&name("here"), WALL, micros(0), micros(9), vec![step(5, "offer")]);
    all.report(&report("here", "b", Fate::Silent));
    let trace = all.finish(NodeId(1));
    assert_eq!(trace.steps.len(), 2);
    assert_eq!(
        states(&trace),
        [("here", "told"), ("far", "silent"), ("hub", "told")]
    );
    assert_eq!(trace.nodes[1].asked_by.as_deref(), Some("b"));
    assert_eq!(trace.nodes[2].asked_by, None);
}

#[test]
fn what_was_lost_is_said_even_of_who_told() {
    let mut all = gathered();
    all.report(&report("hub", "hub", Fate::Told));
    all.report(&report("hub", "here", Fate::Cut));
    assert_eq!(states(&all.finish(NodeId(1))), [("here", "told"), ("hub", "cut")]);
}

#[test]
fn liars_fill_no_memory_and_break_no_sums() {
    let mut all = gathered();
    for at in 0..2 * NODES_MAX {
        let name = name(&format!("n{at}"));
        let steps = vec![step(u64::MAX, "x"); 50];
        all.steps(&name, WALL, Duration::MAX, Duration::ZERO, steps);
        let mut lie = report(&name, "liar", Fate::Told);
        lie.left_out = u64::MAX;
        lie.fate = at as u8;
        all.report(&lie);
    }
    assert_eq!(all.nodes.len(), NODES_MAX);
    let trace = all.finish(NodeId(1));
    assert_eq!(trace.steps.len(), STEPS_MAX + 1);
    assert_eq!(trace.left_out as usize, 2 * NODES_MAX * 50 - STEPS_MAX);
}

#[test]
fn fates_keep_their_numbers_and_words() {
    for (fate, number, word) in Fate::ALL {
        assert_eq!(
            (fate.number(), Fate::of(number), fate.word()),
            (number, fate, word)
        );
    }
    assert_eq!(Fate::of(200), Fate::Other);
}
