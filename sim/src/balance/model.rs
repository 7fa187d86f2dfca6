//! Known policies as small models of the plain star: one dispatcher at the hub, nodes with consumers one link away.
//!
//! How the link is charged: a message that is sent to a node arrives a link's delay later, queues there for one of the
//! node's consumers, and its outcome reaches the hub a link's delay after the work is done. What the dispatcher knows
//! is what it sent and what it has heard back by then. The central queue knows everything at once and is charged the
//! way there and back for each message, but no consumer ever waits for a link: the ideal.

use super::sample::Sample;
use super::setting::{Setting, Span};
use crate::rng::Rng;
use crate::scenario::Time;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A way to choose who gets a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Policy {
    /// One queue for all consumers; the fastest free one gets the oldest message.
    Central,
    /// The same without the slow consumers.
    CentralFast,
    /// The node with the fewest outstanding messages for each of its consumers.
    LeastLoaded,
    /// A node that said that a consumer is idle; if there is none, a random one.
    JoinIdle,
    /// The better one of two random nodes.
    TwoChoices,
    /// A random node.
    Random,
}

impl Policy {
    pub(crate) const ALL: [Self; 6] = [
        Self::Central,
        Self::CentralFast,
        Self::LeastLoaded,
        Self::JoinIdle,
        Self::TwoChoices,
        Self::Random,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Central => "central queue",
            Self::CentralFast => "central queue, fast consumers only",
            Self::LeastLoaded => "least loaded",
            Self::JoinIdle => "join-idle-queue",
            Self::TwoChoices => "power of two choices",
            Self::Random => "random",
        }
    }

    const fn is_central(self) -> bool {
        matches!(self, Self::Central | Self::CentralFast)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Job {
    at: Time,
    work: Time,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    /// A message comes to a node.
    Come(u32, Job),
    /// A node's consumer, of this factor, is done with a message.
    Done(u32, u32),
    /// The dispatcher hears of that.
    Heard(u32),
    /// The dispatcher hears of an idle consumer.
    Idle(u32),
}

/// A node, or the central queue with everybody behind it.
#[derive(Clone, Debug, Default)]
struct Station {
    queue: VecDeque<Job>,
    /// Factors of the idle consumers, the fastest last.
    idle: Vec<u32>,
    consumers: u32,
    /// What the dispatcher sent there and has not heard back of.
    outstanding: u32,
    /// Idle consumers that the dispatcher knows of or will hear of.
    told: u32,
}

struct Run<'a> {
    policy: Policy,
    setting: &'a Setting,
    stations: Vec<Station>,
    known_idle: VecDeque<u32>,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    order: u64,
    rng: Rng,
    now: Time,
    count: (Time, Time),
    open: u64,
    outstanding: usize,
    sample: Sample,
}

/// Runs one replication; `None` if the queue grows without end.
pub(crate) fn run(
    policy: Policy,
    setting: &Setting,
    (seed, replication): (u64, u32),
    span: Span,
) -> Option<Sample> {
    let mut run = Run {
        policy,
        setting,
        stations: stations(policy, setting),
        known_idle: VecDeque::new(),
        events: BinaryHeap::new(),
        order: 0,
        rng: Rng::new(seed, &format!("{} {replication}", policy.name())),
        now: 0,
        count: (span.warm, span.warm + span.counted),
        open: 0,
        outstanding: 0,
        sample: Sample::new(),
    };
    for node in 0..run.stations.len() as u32 {
        let station = &mut run.stations[node as usize];
        station.told = station.consumers;
        run.known_idle.extend((0..station.consumers).map(|_| node));
    }
    for arrival in setting.arrivals(seed, replication) {
        while let Some(&Reverse((at, _, event))) = run.events.peek().filter(|next| next.0.0 <= arrival.at) {
            run.events.pop();
            run.now = at;
            run.happen(event);
        }
        run.now = arrival.at;
        if run.now >= run.count.1 && run.open == 0 {
            break;
        }
        if run.outstanding > setting.endless() {
            return None;
        }
        run.outstanding += 1;
        run.open += u64::from(run.counts(arrival.at));
        let job = Job {
            at: arrival.at,
            work: arrival.work,
        };
        let to = run.choose();
        run.stations[to as usize].outstanding += 1;
        if policy.is_central() {
            run.happen(Event::Come(to, job));
        } else {
            run.after(setting.delay, Event::Come(to, job));
        }
    }
    Some(run.sample)
}

fn stations(policy: Policy, setting: &Setting) -> Vec<Station> {
    let factors = |node| (0..setting.consumers).map(move |c| setting.factor(node, c));
    let station = |mut idle: Vec<u32>| {
        idle.sort_unstable_by_key(|&factor| Reverse(factor));
        Station {
            consumers: idle.len() as u32,
            idle,
            ..Station::default()
        }
    };
    let all = (0..setting.nodes).flat_map(factors);
    match policy {
        Policy::Central => vec![station(all.collect())],
        Policy::CentralFast => vec![station(all.filter(|&factor| factor == 1).collect())],
        Policy::LeastLoaded | Policy::JoinIdle | Policy::TwoChoices | Policy::Random => (0..setting.nodes)
            .map(|node| station(factors(node).collect()))
            .collect(),
    }
}

impl Run<'_> {
    fn counts(&self, submitted: Time) -> bool {
        (self.count.0..self.count.1).contains(&submitted)
    }

    fn after(&mut self, delay: Time, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.now + delay, self.order, event)));
    }

    fn any(&mut self) -> u32 {
        self.rng.below(self.stations.len() as u64) as u32
    }

    /// The one with fewer outstanding messages for each consumer.
    fn better(&self, a: u32, b: u32) -> u32 {
        let load = |node: u32| {
            let s = &self.stations[node as usize];
            (u64::from(s.outstanding), u64::from(s.consumers))
        };
        let ((a_out, a_of), (b_out, b_of)) = (load(a), load(b));
        if b_out * a_of < a_out * b_of { b } else { a }
    }

    fn choose(&mut self) -> u32 {
        match self.policy {
            Policy::Central | Policy::CentralFast => 0,
            Policy::Random => self.any(),
            Policy::TwoChoices => {
                let (a, b) = (self.any(), self.rng.below(self.stations.len() as u64 - 1) as u32);
                // Two different ones.
                let b = if b >= a { b + 1 } else { b };
                self.better(a, b)
            }
            Policy::LeastLoaded => {
                // From a random one on, so that equals have equal chances.
                let (first, n) = (self.any(), self.stations.len() as u32);
                (1..n).fold(first, |best, step| self.better(best, (first + step) % n))
            }
            Policy::JoinIdle => match self.known_idle.pop_front() {
                Some(node) => {
                    self.stations[node as usize].told -= 1;
                    node
                }
                None => self.any(),
            },
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Come(node, job) => {
                let s = &mut self.stations[node as usize];
                s.queue.push_back(job);
                self.serve(node);
            }
            Event::Done(node, factor) => {
                self.outstanding -= 1;
                let s = &mut self.stations[node as usize];
                // Kept in order, the fastest last; there are few.
                let at = s.idle.partition_point(|&other| other > factor);
                s.idle.insert(at, factor);
                self.serve(node);
                let s = &mut self.stations[node as usize];
                if self.policy == Policy::JoinIdle && s.told < s.idle.len() as u32 {
                    s.told += 1;
                    self.after(self.setting.delay, Event::Idle(node));
                }
                self.after(self.setting.delay, Event::Heard(node));
            }
            Event::Heard(node) => self.stations[node as usize].outstanding -= 1,
            Event::Idle(node) => self.known_idle.push_back(node),
        }
    }

    fn serve(&mut self, node: u32) {
        let s = &mut self.stations[node as usize];
        if s.queue.is_empty() {
            return;
        }
        let Some(factor) = s.idle.pop() else { return };
        let Some(job) = s.queue.pop_front() else { return };
        let work = job.work * Time::from(factor);
        let delay = self.setting.delay;
        if self.counts(job.at) {
            self.open -= 1;
            // The central queue has not been charged the way to the consumer yet.
            let there = if self.policy.is_central() { delay } else { 0 };
            self.sample.add(self.now - job.at + there + work + delay);
        }
        self.after(work, Event::Done(node, factor));
    }
}
