//! Makes a failing seed smaller: fewer kinds of trouble, and an earlier end of it.

use crate::log::Log;
use crate::run::run;
use crate::scenario::{Kind, Reduced};

/// The smallest set of options found with which the seed still breaks the same rule. Every step runs the seed once.
pub fn shrink(seed: u64, given: &Reduced, rule: &str, event: u64) -> Reduced {
    let fails = |reduced: &Reduced| {
        run(seed, reduced, Log::off())
            .violation
            .filter(|found| found.rule == rule)
    };
    let mut best = given.clone();
    for &kind in Kind::all() {
        let mut next = best.clone();
        next.without.push(kind);
        if fails(&next).is_some() {
            best = next;
        }
    }
    // Then the earliest end of the trouble that is early enough to matter, by halving.
    let (mut low, mut high) = (0, event);
    while high - low > 1 + high / 50 {
        let middle = low.midpoint(high);
        let next = Reduced {
            until: Some(middle),
            ..best.clone()
        };
        match fails(&next) {
            Some(_) => {
                high = middle;
                best = next;
            }
            None => low = middle,
        }
    }
    best
}

/// The command that replays a seed.
pub fn command(seed: u64, reduced: &Reduced) -> String {
    let mut text = format!("redlink-sim replay {seed}");
    if reduced.first {
        text += " --first";
    }
    if let Some(nodes) = reduced.nodes {
        text += &format!(" --nodes {nodes}");
    }
    if let Some(written) = reduced.written {
        text += &format!(" --mesh {}", written.name());
    }
    if !reduced.without.is_empty() {
        let names: Vec<String> = reduced.without.iter().map(|kind| kind.name()).collect();
        text += &format!(" --without {}", names.join(","));
    }
    if let Some(until) = reduced.until {
        text += &format!(" --until {until}");
    }
    text
}
