//! Puts what happened at other nodes on this node's clock.
//!
//! Steps travel as ages, since nodes' clocks differ, and an age is known only up to the time that the answer was on its
//! way: what another node tells seems later than it was, by nothing at the least and by the time from question to
//! answer at the most. Frames narrow that down. Where both ends remember one, it came in after it went out; so nodes are
//! moved, from the one that was asked outwards, to where their frames agree.

use crate::driver::TraceStep;
use std::collections::{BTreeMap, HashMap};

/// A frame as both of its ends remember it.
#[derive(PartialEq, Eq, Hash)]
struct Frame<'s> {
    ends: (&'s str, &'s str),
    what: &'s str,
    attempt: Option<u32>,
    detail: Option<&'s str>,
}

/// Moves the steps of each node earlier, by at most its `room` in microseconds, and sorts all by time. The node that was
/// asked, `here`, has the right time.
pub(super) fn align(here: &str, steps: &mut [TraceStep], room: &BTreeMap<String, i64>) {
    let shifts = shifts(here, steps, room);
    for step in steps.iter_mut() {
        step.at_micros -= shifts.get(&step.seen_by).copied().unwrap_or(0);
    }
    steps.sort_by_key(|step| step.at_micros);
}

/// How much earlier each node's steps were, as far as frames show it.
fn shifts(here: &str, steps: &[TraceStep], room: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let between = between(steps);
    let mut shifts = BTreeMap::from([(here.to_owned(), 0)]);
    let mut next = vec![here.to_owned()];
    while let Some(near) = next.pop() {
        let by = shifts.get(&near).copied().unwrap_or(0);
        for (far, room) in room {
            let (out, back) = ((&*near, &**far), (&**far, &*near));
            if shifts.contains_key(far) || !(between.contains_key(&out) || between.contains_key(&back)) {
                continue;
            }
            // What went there came in there no earlier, what came from there went out there no later.
            let latest = between.get(&out).map_or(*room, |left| (left + by).min(*room));
            // A frame takes at least a moment.
            let earliest = between.get(&back).map_or(0, |left| (by - left + 1).max(0));
            let shift = match between.contains_key(&out) && between.contains_key(&back) {
                true => i64::midpoint(earliest, latest),
                false => earliest,
            };
            shifts.insert(far.clone(), shift.clamp(0, *room));
            next.push(far.clone());
        }
    }
    shifts
}

/// For each two nodes, the least time that a frame from the first to the second seems to have taken; negative if it seems
/// to have come in before it went out.
fn between(steps: &[TraceStep]) -> HashMap<(&str, &str), i64> {
    let mut times: HashMap<Frame<'_>, [Vec<i64>; 2]> = HashMap::new();
    for step in steps {
        let (ends, end) = match (&step.to, &step.from) {
            (Some(to), _) => ((step.seen_by.as_str(), to.as_str()), 0),
            (_, Some(from)) => ((from.as_str(), step.seen_by.as_str()), 1),
            (None, None) => continue,
        };
        let frame = Frame {
            ends,
            what: &step.step,
            attempt: step.attempt,
            detail: step.detail.as_deref(),
        };
        times.entry(frame).or_default()[end].push(step.at_micros);
    }
    let mut between = HashMap::new();
    for (frame, times) in times {
        // Several that look alike show nothing.
        if let [[out], [back]] = times.each_ref().map(Vec::as_slice) {
            let took = back - out;
            let least = between.entry(frame.ends).or_insert(took);
            *least = took.min(*least);
        }
    }
    between
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at_micros: i64, seen_by: &str, step: &str, to: &str, from: &str) -> TraceStep {
        let peer = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        TraceStep {
            at_micros,
            seen_by: seen_by.into(),
            step: step.into(),
            to: peer(to),
            from: peer(from),
            ..TraceStep::default()
        }
    }

    fn words(steps: &[TraceStep]) -> Vec<(&str, &str)> {
        steps
            .iter()
            .map(|s| (s.seen_by.as_str(), s.step.as_str()))
            .collect()
    }

    #[test]
    fn frames_come_in_after_they_went_out_also_over_two_links() {
        // Each took 10; what b tells seems 500 late, what c tells 900.
        let late = [("a", 0), ("b", 500), ("c", 900)];
        let late = |name: &str| late.iter().find(|(n, _)| *n == name).unwrap().1;
        let mut steps = vec![
            step(100, "a", "offer", "b", ""),
            step(110, "b", "offer", "", "a"),
            step(120, "b", "offer", "c", ""),
            step(130, "c", "offer", "", "b"),
            step(140, "c", "claim", "b", ""),
            step(150, "b", "claim", "", "c"),
            step(160, "b", "claim", "a", ""),
            step(170, "a", "claim", "", "b"),
            step(175, "c", "nothing", "", ""),
        ];
        let expected: Vec<_> = words(&steps)
            .iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect();
        for step in &mut steps {
            step.at_micros += late(&step.seen_by);
        }
        steps.sort_by_key(|step| step.at_micros);
        let room = BTreeMap::from([("b".to_owned(), 1_000), ("c".to_owned(), 1_000)]);
        align("a", &mut steps, &room);
        let found: Vec<_> = words(&steps)
            .iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect();
        assert_eq!(found, expected);
        let times: Vec<i64> = steps.iter().map(|step| step.at_micros).collect();
        assert_eq!(times, [100, 110, 120, 130, 140, 150, 160, 170, 175]);
    }

    #[test]
    fn nothing_is_moved_further_than_it_can_be_wrong() {
        let mut steps = vec![
            step(100, "a", "claim", "", "b"),
            step(5_000, "b", "claim", "a", ""),
            // Told by nobody who was asked, and alike: they show nothing.
            step(7_000, "x", "offer", "b", ""),
            step(1, "b", "offer", "", "x"),
            step(2, "b", "offer", "", "x"),
        ];
        align("a", &mut steps, &BTreeMap::from([("b".to_owned(), 300)]));
        let times: Vec<i64> = steps.iter().map(|step| step.at_micros).collect();
        assert_eq!(times, [-299, -298, 100, 4_700, 7_000]);
        let mut steps = vec![step(100, "a", "claim", "", "b"), step(150, "b", "claim", "a", "")];
        align("a", &mut steps, &BTreeMap::from([("b".to_owned(), 300)]));
        assert_eq!((steps[0].at_micros, steps[0].seen_by.as_str()), (99, "b"));
        align("a", &mut [], &BTreeMap::new());
    }

    #[test]
    fn without_frames_in_common_nothing_is_moved() {
        let mut steps = vec![step(9, "b", "outcome", "", ""), step(5, "a", "accepted", "", "")];
        align("a", &mut steps, &BTreeMap::from([("b".to_owned(), 100)]));
        assert_eq!(words(&steps), [("a", "accepted"), ("b", "outcome")]);
    }
}
