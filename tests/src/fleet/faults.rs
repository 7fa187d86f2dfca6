//! What goes wrong in a run, and when: drawn from a seed beforehand, so that it can be had again.

use super::Fleet;
use super::ledger::Ledger;
use super::topology::Topology;
use crate::{Seed, Weather};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Something that goes wrong. Nodes and links are indices of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`; started again on its disk.
    Kill(usize),
    /// `kill -9`; started again with an empty disk.
    Wipe(usize),
    /// SIGSTOP, then SIGCONT.
    StandStill(usize),
    /// A link breaks, and can't be made anew.
    Cut(usize),
    /// A link breaks after so many more bytes.
    CutAfter(usize, usize),
    /// A link has this weather.
    Weather(usize, Weather),
}

/// One fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When it begins.
    pub at: Duration,
    /// When it ends.
    pub until: Duration,
    /// What.
    pub fault: Fault,
}

/// All faults of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In the order of their beginning.
    pub steps: Vec<Step>,
}

/// What a fault keeps busy: one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Node(usize),
    Link(usize),
}

impl Plan {
    /// So many faults, spread over a time. Nothing has two of them at once, and none lasts longer than `longest`.
    pub fn random(
        seed: &mut Seed,
        topology: &Topology,
        faults: usize,
        time: Duration,
        longest: Duration,
    ) -> Self {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut busy: HashMap<Place, Vec<(Duration, Duration)>> = HashMap::new();
        let mut steps = Vec::new();
        for _ in 0..faults {
            // Where nothing is free at that moment another is looked for, not for ever.
            for _ in 0..100 {
                let fault = draw(seed, topology);
                let at = Duration::from_millis(seed.below(millis(time)));
                let lasts = Duration::from_millis(seed.below(millis(longest)));
                let until = at + lasts;
                let taken = busy.entry(fault.place()).or_default();
                if taken.iter().any(|(from, to)| at <= *to && *from <= until) {
                    continue;
                }
                taken.push((at, until));
                steps.push(Step { at, until, fault });
                break;
            }
        }
        steps.sort_by_key(|step| step.at);
        Self { steps }
    }

    /// Carries it out; at the end everything is whole, and all nodes run.
    ///
    /// # Panics
    /// A node does not start again.
    #[track_caller]
    pub fn run(&self, fleet: &mut Fleet, ledger: &Ledger) {
        let begins = self.steps.iter().map(|step| (step.at, true, step));
        let ends = self.steps.iter().map(|step| (step.until, false, step));
        let mut events: Vec<_> = begins.chain(ends).collect();
        events.sort_by_key(|(at, begins, _)| (*at, !begins));
        let start = Instant::now();
        for (at, begins, step) in events {
            std::thread::sleep(at.saturating_sub(start.elapsed()));
            let fault = step.fault;
            if begins {
                println!(
                    "{at:?}: {} for {:?}",
                    fault.text(&fleet.topology),
                    step.until - step.at
                );
                fault.begin(fleet, ledger);
            } else {
                fault.end(fleet, ledger);
            }
        }
    }
}

fn draw(seed: &mut Seed, topology: &Topology) -> Fault {
    let node = seed.below(topology.names.len() as u64) as usize;
    if topology.links.is_empty() || seed.percent(45) {
        return match seed.below(20) {
            0..10 => Fault::Kill(node),
            10..13 => Fault::Wipe(node),
            _ => Fault::StandStill(node),
        };
    }
    let link = seed.below(topology.links.len() as u64) as usize;
    let some = Weather::default();
    match seed.below(20) {
        0..5 => Fault::Cut(link),
        5..9 => Fault::CutAfter(link, 1 + seed.below(100_000) as usize),
        9..12 => Fault::Weather(
            link,
            Weather {
                delay: Duration::from_millis(seed.below(300)),
                ..some
            },
        ),
        12..14 => Fault::Weather(
            link,
            Weather {
                delay: Duration::from_millis(seed.below(40)),
                loss: 1 + seed.below(10) as u8,
                ..some
            },
        ),
        14..16 => Fault::Weather(
            link,
            Weather {
                bytes_per_second: Some(10_000 + seed.below(100_000) as u32),
                ..some
            },
        ),
        _ => {
            let ways = seed.below(3);
            Fault::Weather(
                link,
                Weather {
                    no_way_there: ways != 0,
                    no_way_back: ways != 1,
                    ..some
                },
            )
        }
    }
}

impl Fault {
    fn place(self) -> Place {
        match self {
            Self::Kill(node) | Self::Wipe(node) | Self::StandStill(node) => Place::Node(node),
            Self::Cut(link) | Self::CutAfter(link, _) | Self::Weather(link, _) => Place::Link(link),
        }
    }

    /// Lets it begin.
    ///
    /// # Panics
    /// It can't.
    #[track_caller]
    pub fn begin(self, fleet: &mut Fleet, ledger: &Ledger) {
        match self {
            Self::Kill(node) => {
                ledger.disturbed(node, true);
                fleet.nodes[node].kill();
            }
            Self::Wipe(node) => {
                ledger.disturbed(node, true);
                fleet.nodes[node].kill();
                fleet.nodes[node].wipe();
                ledger.wiped(node);
            }
            Self::StandStill(node) => {
                ledger.disturbed(node, true);
                fleet.nodes[node].stand_still(true);
            }
            Self::Cut(link) => fleet.cables[link].cut(),
            Self::CutAfter(link, bytes) => fleet.cables[link].cut_after(bytes),
            Self::Weather(link, weather) => fleet.cables[link].set_weather(weather),
        }
    }

    /// Makes it good again.
    ///
    /// # Panics
    /// It can't.
    #[track_caller]
    pub fn end(self, fleet: &mut Fleet, ledger: &Ledger) {
        match self {
            Self::Kill(node) | Self::Wipe(node) => {
                fleet.nodes[node].restart();
                ledger.disturbed(node, false);
            }
            Self::StandStill(node) => {
                fleet.nodes[node].stand_still(false);
                ledger.disturbed(node, false);
            }
            Self::Cut(link) | Self::CutAfter(link, _) => fleet.cables[link].restore(),
            Self::Weather(link, _) => fleet.cables[link].set_weather(Weather::default()),
        }
    }

    /// Itself, with names.
    pub fn text(self, topology: &Topology) -> String {
        let node = |at: usize| topology.names[at].as_str();
        let link = |at: usize| {
            let (south, north) = topology.links[at];
            format!("the link {} to {}", node(south), node(north))
        };
        match self {
            Self::Kill(at) => format!("{} is killed", node(at)),
            Self::Wipe(at) => format!("{} is killed and loses its disk", node(at)),
            Self::StandStill(at) => format!("{} stands still", node(at)),
            Self::Cut(at) => format!("{} is cut", link(at)),
            Self::CutAfter(at, bytes) => format!("{} is cut after {bytes} bytes", link(at)),
            Self::Weather(at, weather) => format!("{} has {weather:?}", link(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_can_be_had_again_and_nothing_has_two_faults_at_once() {
        for number in 1..100 {
            let plan = || {
                let mut seed = Seed::new(number);
                let topology = Topology::random(&mut seed, 6);
                let (time, longest) = (Duration::from_secs(12), Duration::from_secs(3));
                Plan::random(&mut seed, &topology, 12, time, longest)
            };
            assert_eq!(plan(), plan());
            let steps = plan().steps;
            assert!(!steps.is_empty());
            for (at, step) in steps.iter().enumerate() {
                for other in &steps[at + 1..] {
                    let apart = step.fault.place() != other.fault.place() || step.until < other.at;
                    assert!(apart, "{step:?} {other:?}");
                }
            }
        }
    }
}
