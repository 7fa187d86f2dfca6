//! Real cores under load, light enough for a thousand of them and millions of messages: no faults, no checks after each
//! event, and a store that answers at once.

use super::cores::Cores;
use super::explain::Probe;
use super::load::{Arrival, Load};
use super::people::{Open, Worker};
use super::sample::{Cost, Sample};
use super::setting::{Setting, Span};
use super::shape::Plan;
use crate::scenario::{SECOND, Time};
use anyhow::{Result, bail};
use redlink_core::{
    Answered, Deliver, Duration, Input, Outcome, Output, Row, StoreOp, Submit, Tag, Terms, Verb,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// When the load begins: by then all links are up and all routes are told.
pub(crate) const BEGIN: Time = 5 * SECOND;
/// The one service.
const SERVICE: &str = "work";
/// Longer than any work takes: here nobody renews a lease.
const LEASE: Duration = Duration::from_secs(86_400);

/// What a core wants answered by its store or its producer.
enum Then {
    Stored(Row),
    Collect(u64),
}

/// All nodes, what is between them, and the people.
struct Mesh {
    cores: Cores,
    /// The messages of each node.
    open: Vec<Open>,
    workers: Vec<Worker>,
    /// When which worker is done.
    done: BinaryHeap<Reverse<(Time, u32)>>,
    then: Vec<Then>,
    /// Counted messages without an outcome yet.
    waiting: u64,
    /// Messages without an outcome.
    outstanding: usize,
    endless: usize,
    sample: Sample,
}

/// What a replication came to.
pub(crate) struct Done {
    pub(crate) sample: Sample,
    /// Of the time that counts.
    pub(crate) cost: Cost,
    /// Events of the whole replication.
    pub(crate) events: u64,
    pub(crate) probe: Option<Probe>,
}

/// Runs one replication, with a look at every frame if there is a probe; `None` if the queue grows without end.
pub(crate) fn run(
    setting: &Setting,
    (seed, replication): (u64, u32),
    span: Span,
    probe: Option<Probe>,
) -> Result<Option<Done>> {
    let plan = Plan::of(setting);
    let mut mesh = Mesh::new(&plan, setting, seed, probe)?;
    mesh.cores.counted = (BEGIN + span.warm, BEGIN + span.warm + span.counted);
    mesh.until(BEGIN)?;
    let mut load = setting.arrivals(seed, replication);
    if !mesh.work_off(&mut load, &plan)? {
        return Ok(None);
    }
    Ok(Some(Done {
        sample: mesh.sample,
        cost: mesh.cores.cost,
        events: mesh.cores.events,
        probe: mesh.cores.probe,
    }))
}

impl Mesh {
    /// Starts the nodes, links them, and lets every consumer wait for work.
    fn new(plan: &Plan, setting: &Setting, seed: u64, probe: Option<Probe>) -> Result<Self> {
        let mut mesh = Self {
            cores: Cores::new(setting.delay, seed, probe),
            open: Vec::new(),
            workers: Vec::new(),
            done: BinaryHeap::new(),
            then: Vec::new(),
            waiting: 0,
            outstanding: 0,
            endless: setting.endless(),
            sample: Sample::new(),
        };
        for capacity in &plan.capacities {
            mesh.cores.add(*capacity)?;
            mesh.open.push(Open::default());
        }
        for &(south, north) in &plan.dials {
            mesh.cores.link(south, north)?;
            mesh.drain(south)?;
            mesh.drain(north)?;
        }
        for (place, &host) in plan.places.iter().enumerate() {
            for consumer in 0..setting.consumers {
                mesh.employ(host, setting.factor(place as u32, consumer))?;
            }
        }
        Ok(mesh)
    }

    fn employ(&mut self, host: u32, factor: u32) -> Result<()> {
        let worker = self.workers.len() as u32;
        let name = format!("w{worker}");
        let register = Input::Register {
            service: SERVICE,
            consumer: &name,
            limit: 1,
            lease: LEASE,
            rate: None,
        };
        self.cores.feed(host, register)?;
        self.workers.push(Worker::new(host, name, factor));
        self.ask(worker)?;
        self.drain(host)
    }

    /// A worker asks for its next message.
    fn ask(&mut self, worker: u32) -> Result<()> {
        let w = &self.workers[worker as usize];
        let take = Input::Take {
            tag: Tag(u64::from(worker)),
            service: SERVICE,
            consumer: &w.name,
            max: 1,
        };
        self.cores.feed(w.host, take)
    }

    /// Lets everything happen that is due by then.
    fn until(&mut self, end: Time) -> Result<()> {
        loop {
            let worker = self.done.peek().map(|&Reverse((at, _))| at);
            let core = self.cores.next();
            // Frames of an instant arrive before workers are done at it.
            if let Some(at) = core.filter(|&at| at <= end && worker.is_none_or(|done| at <= done)) {
                if let Some(host) = self.cores.step(at)? {
                    self.drain(host)?;
                }
            } else if let Some(at) = worker.filter(|&at| at <= end)
                && let Some(Reverse((_, worker))) = self.done.pop()
            {
                self.cores.now = at;
                self.done(worker)?;
            } else {
                self.cores.now = end;
                return Ok(());
            }
        }
    }

    /// Runs until all counted messages have their outcomes; false if their number grows without end.
    fn work_off(&mut self, load: &mut Load, plan: &Plan) -> Result<bool> {
        for arrival in load {
            self.until(BEGIN + arrival.at)?;
            if self.cores.now >= self.cores.counted.1 && self.waiting == 0 {
                return Ok(true);
            }
            if self.outstanding > self.endless {
                return Ok(false);
            }
            self.submit(plan.producers[arrival.producer as usize], &arrival)?;
        }
        Ok(false)
    }

    fn submit(&mut self, host: u32, arrival: &Arrival) -> Result<()> {
        let now = self.cores.now;
        self.outstanding += 1;
        self.waiting += u64::from(self.cores.counts(now));
        let sequence = self.open[host as usize].push(now, arrival.work);
        if let Some(probe) = &mut self.cores.probe {
            probe.submitted(host, sequence, now);
        }
        let submit = Submit {
            tag: Tag(sequence),
            service: SERVICE,
            alternate: None,
            terms: Terms {
                ett: None,
                ..Terms::default()
            },
            size: 0,
        };
        self.cores.feed(host, Input::Submit(submit))?;
        self.drain(host)
    }

    /// A worker answers, and asks for the next in the same breath.
    fn done(&mut self, worker: u32) -> Result<()> {
        let w = &mut self.workers[worker as usize];
        let host = w.host;
        let Some(token) = w.holds.take() else {
            bail!("worker {worker} is done with nothing")
        };
        let answer = Input::Answer {
            tag: Tag(u64::from(worker)),
            token,
            verb: Verb::Reply,
            body: None,
            direct: false,
        };
        if let Some(probe) = &mut self.cores.probe {
            probe.answering(worker, self.cores.now);
        }
        self.cores.feed(host, answer)?;
        self.ask(worker)?;
        self.drain(host)
    }

    /// Does what a core wants done, until it wants nothing more.
    fn drain(&mut self, host: u32) -> Result<()> {
        loop {
            while let Some(output) = self.cores.poll(host)? {
                self.output(host, output)?;
            }
            let Some(then) = self.then.pop() else {
                return Ok(());
            };
            let input = match then {
                Then::Stored(row) => Input::Stored { row, done: true },
                Then::Collect(sequence) => Input::Collect { sequence },
            };
            self.cores.feed(host, input)?;
        }
    }

    fn output(&mut self, host: u32, output: Output) -> Result<()> {
        match output {
            Output::Store(op) => {
                let row = match op {
                    StoreOp::Insert { tag, sequence } => {
                        if tag != Tag(sequence) {
                            bail!("node {host} gives {sequence} to {tag:?}: numbers are to follow submits")
                        }
                        Row::Insert(sequence)
                    }
                    StoreOp::Settle { sequence, .. } => Row::Settle(sequence),
                    StoreOp::Attempts { sequence, .. } => Row::Attempts(sequence),
                    StoreOp::Delete { sequence } => Row::Delete(sequence),
                    StoreOp::Keep { token, .. } => Row::Keep(token.attempt()),
                    StoreOp::Drop { attempt } => Row::Drop(attempt),
                };
                self.then.push(Then::Stored(row));
            }
            Output::Deliver(deliver) => self.deliver(&deliver)?,
            Output::Settled { sequence, outcome } => self.settled(host, sequence, outcome)?,
            Output::Answered { tag, result } => {
                if let Some(probe) = &mut self.cores.probe {
                    probe.answered(tag.0 as u32, self.cores.now);
                }
                if result != Answered::Done {
                    bail!(
                        "node {host}: the answer of worker {} was taken as {result:?}",
                        tag.0
                    )
                }
            }
            Output::Accepted { .. } => {}
            _ => {
                let now = self.cores.now;
                bail!("node {host} says {output:?} at {now} us, where nothing goes wrong")
            }
        }
        Ok(())
    }

    fn deliver(&mut self, deliver: &Deliver) -> Result<()> {
        let (worker, now) = (deliver.take.0 as u32, self.cores.now);
        let message = deliver.token.message;
        let origin = (message.node.0 - 1) as usize;
        let Some(record) = self
            .open
            .get_mut(origin)
            .and_then(|open| open.get(message.sequence))
        else {
            bail!("worker {worker} gets {message}, which is not open")
        };
        if let Some(probe) = &mut self.cores.probe {
            probe.delivered(worker, &deliver.token, now);
        }
        let w = &mut self.workers[worker as usize];
        w.holds = Some(deliver.token);
        self.done
            .push(Reverse((now + record.work * Time::from(w.factor), worker)));
        Ok(())
    }

    fn settled(&mut self, host: u32, sequence: u64, outcome: Outcome) -> Result<()> {
        let record = self.open[host as usize].end(sequence);
        let (Some(record), Outcome::Replied) = (record, outcome) else {
            bail!("message {sequence} of node {host} ends as {outcome:?}")
        };
        let now = self.cores.now;
        self.outstanding -= 1;
        if self.cores.counts(record.at) {
            self.waiting -= 1;
            self.sample.add(now - record.at);
        }
        self.cores.cost.messages += u64::from(self.cores.counts(now));
        self.then.push(Then::Collect(sequence));
        Ok(())
    }
}
