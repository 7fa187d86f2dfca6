//! Virtual time: what happens next, and to whom.

use crate::check::Checker;
use crate::host::Host;
use crate::log::Log;
use crate::net::{Cable, Conn, Parcel};
use crate::people::{Act, Worker};
use crate::producers::Producer;
use crate::quiet::Quiet;
use crate::rng::Rng;
use crate::scenario::{Scenario, Time};
use crate::straight::Straight;
use redlink_core::{GrantToken, LinkId, Part, Row};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Everything that can happen. `life` numbers the lives of a node's process; what was meant for an earlier one is
/// void.
#[derive(Debug)]
pub(crate) enum Event {
    /// The core asked to be woken.
    Wake { host: usize, life: u32, turn: u64 },
    /// Outputs are polled late.
    Drain { host: usize, life: u32 },
    /// The disk has finished a group.
    Commit { host: usize, life: u32 },
    /// The core hears what became of a group.
    Report {
        host: usize,
        life: u32,
        rows: Vec<(Row, bool)>,
    },
    /// The south end of a cable tries to connect; `extra` beside a live connection.
    Dial { cable: usize, extra: bool },
    /// One end of a connection is up.
    Up { conn: usize, side: usize },
    /// One end learns that it is gone.
    Down { conn: usize, side: usize },
    /// A frame arrives at that end.
    Arrive {
        conn: usize,
        side: usize,
        parcel: Parcel,
    },
    /// A payload that travels apart makes progress, or is there.
    Transfer(Transfer),
    /// A payload that goes around the nodes between has come a step further.
    Straight(Straight),
    /// A producer submits.
    Produce { producer: usize },
    /// A producer takes a message back.
    Cancel { host: usize, life: u32, sequence: u64 },
    /// The producers of a node collect.
    Collect { host: usize },
    /// A worker does something; `epoch` numbers its lives.
    Work { worker: usize, epoch: u32, act: Act },
    /// Something breaks.
    Fault,
    /// A process starts.
    Boot { host: usize },
    /// A node that drained is stopped.
    Stop { host: usize, life: u32 },
    /// A liar has something to say.
    Lie { host: usize, life: u32 },
    /// A node that stood still goes on.
    Thaw { host: usize },
    /// Everything is repaired and stays so.
    Heal,
}

/// A payload on its way beside the frames.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) host: usize,
    pub(crate) life: u32,
    pub(crate) link: LinkId,
    pub(crate) token: GrantToken,
    pub(crate) part: Part,
    pub(crate) size: u64,
    /// Pieces still to come.
    pub(crate) pieces: u64,
}

struct Scheduled {
    at: Time,
    id: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.id).cmp(&(other.at, other.id))
    }
}

/// One stream of randomness per concern.
pub(crate) struct Streams {
    pub(crate) net: Rng,
    pub(crate) store: Rng,
    pub(crate) people: Rng,
    pub(crate) faults: Rng,
    pub(crate) clock: Rng,
    pub(crate) liar: Rng,
}

/// The whole simulated world.
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) events: u64,
    next_id: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    pub(crate) plan: Scenario,
    pub(crate) hosts: Vec<Host>,
    pub(crate) cables: Vec<Cable>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) producers: Vec<Producer>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) check: Checker,
    pub(crate) log: Log,
    pub(crate) rng: Streams,
    pub(crate) healed: bool,
    /// All work is done and the workers are leaving.
    pub(crate) closing: bool,
    /// What is looked at after the trouble.
    pub(crate) quiet: Quiet,
    /// Polls of all cores so far.
    pub(crate) drains: u64,
    /// Nodes whose core had an input in this event.
    pub(crate) touched: BTreeSet<usize>,
    next_number: u64,
}

impl World {
    pub(crate) fn new(plan: Scenario, log: Log) -> Self {
        let seed = plan.seed;
        let rng = Streams {
            net: Rng::new(seed, "net"),
            store: Rng::new(seed, "store"),
            people: Rng::new(seed, "people"),
            faults: Rng::new(seed, "faults"),
            clock: Rng::new(seed, "clock"),
            liar: Rng::new(seed, "liar"),
        };
        let mut world = Self {
            now: 0,
            events: 0,
            next_id: 0,
            queue: BinaryHeap::new(),
            hosts: (0..plan.hosts.len())
                .map(|host| Host::new(seed, host, 0, plan.drift[host]))
                .collect(),
            cables: plan
                .cables
                .iter()
                .zip(&plan.policies)
                .map(|(&(south, north), policies)| Cable::new(south, north, policies.clone()))
                .collect(),
            conns: Vec::new(),
            producers: plan.producers.iter().map(Producer::new).collect(),
            workers: plan.workers.iter().map(Worker::new).collect(),
            check: Checker::default(),
            log,
            rng,
            healed: false,
            closing: false,
            quiet: Quiet::new(&plan),
            drains: 0,
            touched: BTreeSet::new(),
            next_number: 0,
            plan,
        };
        let text = world.plan.describe();
        world.log.line(0, format_args!("seed {seed}: {text}"));
        for host in 0..world.hosts.len() {
            world.after(0, Event::Boot { host });
            world.after(crate::scenario::SECOND, Event::Collect { host });
        }
        for producer in 0..world.producers.len() {
            world.after(0, Event::Produce { producer });
        }
        for worker in 0..world.workers.len() {
            world.after(
                0,
                Event::Work {
                    worker,
                    epoch: 0,
                    act: Act::Begin,
                },
            );
        }
        world.after(world.plan.fault_every, Event::Fault);
        world.after(world.plan.trouble, Event::Heal);
        world
    }

    pub(crate) fn after(&mut self, delay: Time, event: Event) -> Time {
        self.at(self.now + delay, event)
    }

    pub(crate) fn at(&mut self, at: Time, event: Event) -> Time {
        self.next_id += 1;
        self.queue.push(Reverse(Scheduled {
            at,
            id: self.next_id,
            event,
        }));
        at
    }

    /// A number that is never given twice: for tags, bodies and payload marks.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Does the next thing; false if there is nothing left to do before `until`.
    pub(crate) fn step(&mut self, until: Time) -> bool {
        match self.queue.peek() {
            Some(Reverse(next)) if next.at <= until => {}
            Some(_) | None => return false,
        }
        let Some(Reverse(next)) = self.queue.pop() else {
            return false;
        };
        debug_assert!(next.at >= self.now, "time went back");
        self.now = next.at;
        match (self.frozen(&next.event), next.event) {
            (Some(host), event) => self.hosts[host].backlog.push_back(event),
            (None, Event::Thaw { host }) => self.thaw(host),
            (None, event) => self.happen(event),
        }
        true
    }

    fn happen(&mut self, event: Event) {
        self.events += 1;
        self.check.now = self.now;
        self.check.event = self.events;
        self.dispatch(event);
        self.settle_down();
    }

    /// A node stands still: what happens to it waits, in order.
    pub(crate) fn freeze(&mut self, host: usize, until: Time) {
        let until = until.max(self.hosts[host].frozen_until);
        self.hosts[host].frozen_until = until;
        self.log
            .line(self.now, format_args!("{host} stands still until {until}"));
        self.at(until, Event::Thaw { host });
    }

    fn thaw(&mut self, host: usize) {
        while self.hosts[host].frozen_until <= self.now && self.check.found.is_none() {
            let Some(event) = self.hosts[host].backlog.pop_front() else {
                return;
            };
            self.happen(event);
        }
    }

    /// The node that stands still and so can't have this event yet.
    fn frozen(&self, event: &Event) -> Option<usize> {
        let host = match event {
            Event::Wake { host, .. }
            | Event::Drain { host, .. }
            | Event::Commit { host, .. }
            | Event::Report { host, .. }
            | Event::Collect { host }
            | Event::Cancel { host, .. } => *host,
            Event::Transfer(transfer) => transfer.host,
            Event::Straight(straight) => straight.host,
            Event::Up { conn, side } | Event::Down { conn, side } | Event::Arrive { conn, side, .. } => {
                self.conns[*conn].ends[*side].host
            }
            Event::Produce { producer } => self.producers[*producer].plan.host,
            Event::Work { worker, .. } => self.workers[*worker].plan.host,
            Event::Dial { .. }
            | Event::Fault
            | Event::Boot { .. }
            | Event::Thaw { .. }
            | Event::Stop { .. }
            | Event::Lie { .. }
            | Event::Heal => {
                return None;
            }
        };
        let still = &self.hosts[host];
        (still.frozen_until > self.now || !still.backlog.is_empty()).then_some(host)
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Wake { host, life, turn } => self.on_wake(host, life, turn),
            Event::Drain { host, life } => {
                if self.is_life(host, life) {
                    self.hosts[host].late_drain = false;
                    self.drain(host);
                }
            }
            Event::Commit { host, life } => self.on_commit(host, life),
            Event::Report { host, life, rows } => self.on_report(host, life, &rows),
            Event::Dial { cable, extra } => self.on_dial(cable, extra),
            Event::Up { conn, side } => self.on_up(conn, side),
            Event::Down { conn, side } => self.on_down(conn, side),
            Event::Arrive { conn, side, parcel } => self.on_arrive(conn, side, &parcel),
            Event::Transfer(transfer) => self.on_transfer(transfer),
            Event::Straight(straight) => self.on_straight(straight),
            Event::Produce { producer } => self.on_produce(producer),
            Event::Cancel { host, life, sequence } => self.on_cancel(host, life, sequence),
            Event::Collect { host } => self.on_collect(host),
            Event::Work { worker, epoch, act } => self.on_work(worker, epoch, act),
            Event::Fault => self.on_fault(),
            Event::Boot { host } => self.boot(host),
            Event::Stop { host, life } => self.on_stop(host, life),
            Event::Lie { host, life } => self.on_lie(host, life),
            Event::Thaw { host } => self.thaw(host),
            Event::Heal => self.heal(),
        }
    }

    /// Polls the cores that had an input, then looks at the promises that hold at any time.
    fn settle_down(&mut self) {
        while let Some(host) = self.touched.pop_first() {
            self.drain_soon(host);
        }
        let hosts = &self.hosts;
        let now = self.now;
        let verdict = self
            .check
            .ledger
            .overdue(now, |host| hosts[host].running_since(now));
        self.check.verdict(verdict);
        if self.events.is_multiple_of(256) {
            self.sweep();
        }
    }

    /// P1 in whole.
    pub(crate) fn sweep(&mut self) {
        let hosts = &self.hosts;
        let verdict = self.check.ledger.sweep(|host, id| {
            let host = &hosts[host];
            host.node == id.node
                && (host.disk.messages.contains_key(&id.sequence)
                    || host.disk.outcomes.contains_key(&id.sequence))
        });
        self.check.verdict(verdict);
    }

    pub(crate) fn is_life(&self, host: usize, life: u32) -> bool {
        self.hosts[host].is_up() && self.hosts[host].life == life
    }
}
