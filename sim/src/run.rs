//! One seed from its first event to the verdict.

use crate::check::{Class, Violation};
use crate::log::Log;
use crate::scenario::{Reduced, SECOND, Scenario, Time};
use crate::world::World;
use redlink_core::wire::HOPS;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What came of a run.
#[derive(Debug)]
pub struct Verdict {
    /// The first promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// Number of events.
    pub events: u64,
    /// Virtual time that passed, in microseconds.
    pub time: Time,
    /// How often each thing was seen, to know what a run reaches.
    pub seen: Seen,
    /// Which node reached which service in the healed mesh, by what people call them.
    pub reached: Vec<(String, String)>,
    /// The log.
    pub log: Log,
}

/// What happened in a run, in numbers.
#[derive(Clone, Copy, Default, Debug)]
pub struct Seen {
    /// Messages that were accepted.
    pub accepted: u64,
    /// Attempts that were granted.
    pub granted: u64,
    /// Attempts that were granted to another node.
    pub granted_away: u64,
    /// Outcomes by kind: replied, delivered, failed, expired, dead, cancelled.
    pub outcomes: [u64; 6],
    /// Connections.
    pub connections: u64,
    /// Lives of nodes.
    pub lives: u64,
    /// Nodes, and liars among them.
    pub nodes: [u64; 2],
    /// Calls in the healed mesh that were answered, and calls for nobody.
    pub calls: [u64; 2],
    /// Worst time from the end of the trouble until every node knew what it reaches, in microseconds.
    pub settled: Time,
    /// Slowest call in the healed mesh, and slowest one beside a liar, in microseconds.
    pub slowest: [Time; 2],
}

impl Seen {
    /// Adds another run's numbers.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.granted += other.granted;
        self.granted_away += other.granted_away;
        self.connections += other.connections;
        self.lives += other.lives;
        self.settled = self.settled.max(other.settled);
        for at in 0..2 {
            self.nodes[at] += other.nodes[at];
            self.calls[at] += other.calls[at];
            self.slowest[at] = self.slowest[at].max(other.slowest[at]);
        }
        for (sum, one) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += one;
        }
    }
}

/// Runs a seed.
pub fn run(seed: u64, reduced: &Reduced, log: Log) -> Verdict {
    let mut world = World::new(Scenario::draw(seed, reduced), log);
    // A panic of the core ends the run, not the search. The world is only looked at afterwards.
    let ended = catch_unwind(AssertUnwindSafe(|| drive(&mut world)));
    if let Err(panic) = ended {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        // Nothing else counts beside a panic.
        world.check.found = None;
        world.check.fail_as(Class::Crash, "panic", text);
    }
    let seen = world.seen();
    let (nodes, services) = &world.plan.labels;
    let label = |names: &[String], number: usize, letter: char| {
        names
            .get(number)
            .cloned()
            .unwrap_or_else(|| format!("{letter}{number}"))
    };
    let name = |&(node, service): &(usize, usize)| (label(nodes, node, 'n'), label(services, service, 's'));
    let reached = world.quiet.reached.iter().map(name).collect();
    if let Some(found) = &world.check.found {
        world.log.line(world.now, format_args!("{found}"));
    }
    Verdict {
        violation: world.check.found,
        events: world.events,
        time: world.now,
        seen,
        reached,
        log: world.log,
    }
}

fn drive(world: &mut World) {
    // Far more than any scenario needs; what gets there goes in circles.
    const EVENTS_MAX: u64 = 5_000_000;
    // So many events at one instant can't be progress.
    const INSTANT_MAX: u64 = 200_000;
    let mut instant = (0, 0);
    while world.check.found.is_none() {
        if world.plan.until.is_some_and(|until| world.events >= until) {
            world.heal();
        }
        if !world.step(Time::MAX) {
            world
                .check
                .fail_as(Class::Liveness, "stuck", "nothing is left to happen");
        }
        if world.now != instant.0 {
            instant = (world.now, 0);
        }
        instant.1 += 1;
        if instant.1 > INSTANT_MAX || world.events > EVENTS_MAX {
            world
                .check
                .fail_as(Class::Liveness, "busy", "the mesh never comes to rest");
        }
        if !world.healed {
            continue;
        }
        if world.look() {
            break;
        }
    }
    if world.check.found.is_none() {
        world.sweep();
        world.empty();
    }
}

impl World {
    /// What still has to happen in a healed mesh; none if all is done.
    pub(crate) fn unfinished(&self, away: Option<usize>) -> Option<String> {
        if let Some(id) = self.check.ledger.open.first() {
            return Some(format!(
                "{id} has no outcome: {:?}",
                self.check.ledger.entries.get(id)
            ));
        }
        for (h, host) in self.hosts.iter().enumerate() {
            if away == Some(h) {
                continue;
            }
            let Some(live) = &host.live else {
                return Some(format!("node {h} is down"));
            };
            if let Some((sequence, row)) = host.disk.outcomes.first_key_value() {
                return Some(format!("outcome {sequence} of node {h} is still there: {row:?}"));
            }
            if let Some(reply) = host.disk.replies.values().next() {
                return Some(format!("a reply is still at node {h}: {reply:?}"));
            }
            if let Some(submit) = live.submits.values().next() {
                return Some(format!("a submit at node {h} has no answer: {submit:?}"));
            }
            if let Some(saying) = live.sayings.values().next() {
                return Some(format!("an answer at node {h} has none itself: {saying:?}"));
            }
            if let Some((id, content)) = live.bodies.first_key_value() {
                return Some(format!("body {id} at node {h} is never freed: {content:?}"));
            }
            if !self.store_idle(h) {
                return Some(format!("the store of node {h} is busy"));
            }
        }
        None
    }

    /// Every message is gone and every worker leaves: so does every trace of them in the cores.
    fn empty(&mut self) {
        // Long enough for what is announced, claimed or kept for a late answer to run out.
        const AFTERWARDS: Time = 300 * SECOND;
        self.close();
        // P8: what is withdrawn is forgotten within one delay for each link that the news takes.
        let (_, delay) = self.plan.link_delay;
        let news = self.now + delay * (HOPS as Time + 1) + SECOND / 10;
        while self.check.found.is_none() && self.step(news) {}
        for h in 0..self.hosts.len() {
            let services = self.hosts[h].live.iter().flat_map(|live| live.core.services());
            let known = services
                .filter(|view| view.consumers > 0 || view.peers > 0)
                .count();
            if known > 0 {
                let what = format!("node {h} still knows of {known} services that nobody has");
                self.check.fail_as(Class::Liveness, "P8", what);
            }
        }
        let until = self.now + AFTERWARDS;
        while self.check.found.is_none() && self.step(until) {}
        for h in 0..self.hosts.len() {
            let Some(live) = &self.hosts[h].live else { continue };
            let usage = live.core.usage();
            let left = [
                ("messages", usage.messages),
                ("reservations", usage.reservations),
                ("deliveries", usage.deliveries),
                ("services", usage.services),
                ("consumers", usage.consumers),
                ("takes", usage.takes),
                ("routes", usage.routes),
                ("relays", usage.relays),
            ];
            for (table, used) in left {
                if used > 0 {
                    let what = format!("{used} {table} are left at node {h}: {usage:?}");
                    self.check.fail_as(Class::Liveness, "P7", what);
                }
            }
            if !self.hosts[h]
                .live
                .as_ref()
                .is_none_or(|live| live.bodies.is_empty())
            {
                self.check.fail_as(
                    Class::Liveness,
                    "bodies",
                    format!("node {h} holds bodies at the end"),
                );
            }
        }
    }

    fn seen(&self) -> Seen {
        let mut seen = Seen {
            connections: self.conns.len() as u64,
            nodes: [self.hosts.len() as u64, u64::from(self.plan.liar.is_some())],
            calls: self.quiet.calls,
            settled: self.quiet.settled,
            slowest: self.quiet.slowest,
            ..Seen::default()
        };
        seen.lives = self.hosts.iter().map(|host| u64::from(host.life)).sum();
        for entry in self.check.ledger.entries.values() {
            seen.accepted += u64::from(entry.accepted);
            seen.granted += entry.granted.len() as u64;
            let away = entry
                .granted
                .values()
                .filter(|token| token.node != token.message.node);
            seen.granted_away += away.count() as u64;
            if let Some(row) = &entry.outcome {
                seen.outcomes[row.outcome as usize] += 1;
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::log::Log;
    use crate::scenario::{Kind, Reduced};

    #[test]
    fn a_seed_repeats_byte_for_byte_and_keeps_the_promises() {
        for seed in [2, 6] {
            let lines = || {
                let verdict = run(seed, &Reduced::default(), Log::kept());
                assert_eq!(verdict.violation, None, "seed {seed}");
                verdict.log.into_lines()
            };
            assert_eq!(lines(), lines(), "seed {seed}");
        }
    }

    #[test]
    fn leaving_out_trouble_leaves_the_rest_of_the_run_as_it_is() {
        let calm = Reduced {
            without: Kind::all().to_vec(),
            until: Some(50),
            ..Reduced::default()
        };
        let verdict = run(6, &calm, Log::off());
        assert_eq!(verdict.violation, None);
        assert!(verdict.seen.accepted > 0);
    }
}
