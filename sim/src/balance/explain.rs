//! Where waiting comes from: looks at every frame, and counts the time that messages waited while some consumer that
//! could have had them was free.

use super::sample::Kinds;
use crate::scenario::Time;
use redlink_core::wire::Frame;
use redlink_core::{GrantToken, MessageId, NodeId};
use std::collections::BTreeMap;
use std::fmt;

/// Steps of a message that are kept.
const STEPS: usize = 24;
/// Messages whose steps are shown.
const WORST: usize = 5;

/// Something that happened to a message.
#[derive(Clone, Copy, Debug)]
enum Step {
    Offer { from: u32, to: u32 },
    Retract { from: u32, to: u32 },
    Decline { from: u32, to: u32 },
    Claim { by: u32 },
    Gone { at: u32 },
    Deliver { worker: u32 },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer { from, to } => write!(f, "offered by {from} to {to}"),
            Self::Retract { from, to } => write!(f, "taken back by {from} from {to}"),
            Self::Decline { from, to } => write!(f, "declined by {from} to {to}"),
            Self::Claim { by } => write!(f, "claimed by {by}"),
            Self::Gone { at } => write!(f, "gone for {at}"),
            Self::Deliver { worker } => write!(f, "begun by worker {worker}"),
        }
    }
}

/// A message that nobody works on yet.
#[derive(Clone, Debug)]
struct Trace {
    submitted: Time,
    /// The clock of free consumers when it was submitted, first offered, last claimed.
    free_at: Time,
    free_offered: Option<Time>,
    offered: Option<Time>,
    claimed: Option<(Time, Time)>,
    steps: Vec<(Time, Step)>,
}

/// A message that waited in vain.
#[derive(Clone, Debug)]
struct Waited {
    message: MessageId,
    vain: Time,
    trace: Trace,
}

/// What consumers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Waiting,
    Working,
    Answering,
}

/// Looks at everything that passes; changes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    begin: Time,
    now: Time,
    workers: Vec<(u32, Doing)>,
    /// Claims without an answer, by node.
    claims: Vec<u32>,
    /// Consumers that wait, claims that are under way, consumers whose answer is not settled.
    waiting: u32,
    claiming: u32,
    answering: u32,
    /// Time in which some consumer was free: waiting, and nothing claimed for it.
    free: Time,
    /// Consumer-time: free, claiming, answering.
    spent: [u128; 3],
    traces: BTreeMap<MessageId, Trace>,
    /// Messages begun, and where their time until then went.
    begun: u64,
    before_offer: u128,
    offered: u128,
    claimed: u128,
    vain: u128,
    vain_placed: u128,
    /// Messages that waited in vain for more than 5 ms.
    long: u64,
    worst: Vec<Waited>,
    pub(crate) kinds: Kinds,
}

impl Probe {
    /// For workers at these nodes; counts from `begin` on.
    pub(crate) fn new(workers: impl Iterator<Item = u32>, nodes: usize, begin: Time) -> Self {
        let workers: Vec<_> = workers.map(|host| (host, Doing::Waiting)).collect();
        Self {
            begin,
            now: 0,
            waiting: workers.len() as u32,
            workers,
            claims: vec![0; nodes],
            claiming: 0,
            answering: 0,
            free: 0,
            spent: [0; 3],
            traces: BTreeMap::new(),
            begun: 0,
            before_offer: 0,
            offered: 0,
            claimed: 0,
            vain: 0,
            vain_placed: 0,
            long: 0,
            worst: Vec::new(),
            kinds: Kinds::default(),
        }
    }

    /// Messages that a consumer has begun while it counted.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// Consumers' time: free, claiming, answering; in percent.
    fn shares(&self) -> [f64; 3] {
        let all = (self.now - self.begin) as f64 * self.workers.len() as f64;
        self.spent.map(|spent| 100.0 * spent as f64 / all)
    }

    /// Mean of the messages that were begun, in milliseconds.
    fn mean(&self, total: u128) -> f64 {
        total as f64 / self.begun as f64 / 1e3
    }

    /// The same as it shows itself, in the cells of a table.
    pub(crate) fn row(&self) -> String {
        let [free, claiming, answering] = self.shares();
        format!(
            "{answering:.1} % | {claiming:.1} % | {free:.1} % | {:.1} | {:.1} | {:.1}",
            self.mean(self.before_offer + self.offered),
            self.mean(self.claimed),
            self.mean(self.vain)
        )
    }

    fn advance(&mut self, now: Time) {
        let passed = now - self.now;
        self.now = now;
        let free = self.waiting.saturating_sub(self.claiming);
        if free > 0 {
            self.free += passed;
        }
        if now >= self.begin {
            for (spent, count) in self.spent.iter_mut().zip([free, self.claiming, self.answering]) {
                *spent += u128::from(passed) * u128::from(count);
            }
        }
    }

    fn step(&mut self, message: MessageId, step: Step) {
        let now = self.now;
        if let Some(trace) = self.traces.get_mut(&message)
            && trace.steps.len() < STEPS
        {
            trace.steps.push((now, step));
        }
    }

    pub(crate) fn submitted(&mut self, host: u32, sequence: u64, now: Time) {
        self.advance(now);
        let message = MessageId {
            node: NodeId(u64::from(host) + 1),
            sequence,
        };
        let trace = Trace {
            submitted: now,
            free_at: self.free,
            free_offered: None,
            offered: None,
            claimed: None,
            steps: Vec::new(),
        };
        self.traces.insert(message, trace);
    }

    pub(crate) fn sent(&mut self, from: u32, to: u32, header: &[u8], now: Time) {
        self.advance(now);
        let counts = u64::from(now >= self.begin);
        match Frame::decode(header) {
            Some(Frame::Offer { offer, .. }) => {
                let message = offer.message;
                self.kinds.offers += counts;
                self.step(message, Step::Offer { from, to });
                let free = self.free;
                if let Some(trace) = self.traces.get_mut(&message) {
                    trace.offered.get_or_insert(now);
                    trace.free_offered.get_or_insert(free);
                }
            }
            Some(Frame::Retract { offer }) => {
                let message = offer.message;
                self.kinds.retracts += counts;
                self.step(message, Step::Retract { from, to });
            }
            Some(Frame::Decline { offer, .. }) => {
                let message = offer.message;
                self.step(message, Step::Decline { from, to });
            }
            Some(Frame::Claim { offer, node, .. }) => {
                let message = offer.message;
                self.kinds.claims += counts;
                if node.0 == u64::from(from) + 1 {
                    self.claims[from as usize] += 1;
                    self.claiming += 1;
                    self.step(message, Step::Claim { by: from });
                    let free = self.free;
                    if let Some(trace) = self.traces.get_mut(&message) {
                        trace.claimed = Some((now, free));
                    }
                }
            }
            Some(Frame::Gone { .. }) => self.kinds.gone += counts,
            Some(Frame::Announce { .. }) => self.kinds.announcements += counts,
            _ => {}
        }
    }

    pub(crate) fn arrived(&mut self, to: u32, header: &[u8], now: Time) {
        if let Some(Frame::Gone { message, node, .. }) = Frame::decode(header)
            && node.0 == u64::from(to) + 1
        {
            self.advance(now);
            self.claims[to as usize] -= 1;
            self.claiming -= 1;
            self.step(message, Step::Gone { at: to });
        }
    }

    pub(crate) fn delivered(&mut self, worker: u32, token: &GrantToken, now: Time) {
        self.advance(now);
        let (host, _) = self.workers[worker as usize];
        if token.message.node.0 != u64::from(host) + 1 {
            self.claims[host as usize] -= 1;
            self.claiming -= 1;
        }
        match std::mem::replace(&mut self.workers[worker as usize].1, Doing::Working) {
            Doing::Waiting => self.waiting -= 1,
            // It answered, and has its next message before that is settled.
            Doing::Answering => self.answering -= 1,
            Doing::Working => {}
        }
        self.step(token.message, Step::Deliver { worker });
        let Some(trace) = self.traces.remove(&token.message) else {
            return;
        };
        if trace.submitted < self.begin {
            return;
        }
        self.begun += 1;
        let (claimed, free) = trace.claimed.unwrap_or((now, self.free));
        let offered = trace.offered.unwrap_or(claimed).min(claimed);
        self.before_offer += u128::from(offered - trace.submitted);
        self.offered += u128::from(claimed - offered);
        self.claimed += u128::from(now - claimed);
        let vain = free - trace.free_at;
        self.vain += u128::from(vain);
        self.vain_placed += u128::from(free - trace.free_offered.unwrap_or(free).min(free));
        self.long += u64::from(vain > 5_000);
        let place = self.worst.partition_point(|other| other.vain >= vain);
        if place < WORST {
            let message = token.message;
            self.worst.insert(place, Waited { message, vain, trace });
            self.worst.truncate(WORST);
        }
    }

    pub(crate) fn answering(&mut self, worker: u32, now: Time) {
        self.advance(now);
        self.workers[worker as usize].1 = Doing::Answering;
        self.answering += 1;
    }

    pub(crate) fn answered(&mut self, worker: u32, now: Time) {
        self.advance(now);
        let doing = &mut self.workers[worker as usize].1;
        if *doing == Doing::Answering {
            *doing = Doing::Waiting;
            self.answering -= 1;
            self.waiting += 1;
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [free, claiming, answering] = self.shares();
        let mean = |total| self.mean(total);
        writeln!(
            f,
            "consumers: {free:.2} % free, {claiming:.2} % until a claim is answered, {answering:.2} % until an answer is settled"
        )?;
        writeln!(
            f,
            "messages: {:.2} ms until offered, {:.2} ms until claimed, {:.2} ms until begun",
            mean(self.before_offer),
            mean(self.offered),
            mean(self.claimed)
        )?;
        writeln!(
            f,
            "in vain, while a consumer was free: {:.2} ms, {:.2} ms of it while offered; more than 5 ms: {:.2} % of messages",
            mean(self.vain),
            mean(self.vain_placed),
            100.0 * self.long as f64 / self.begun as f64
        )?;
        for Waited { message, vain, trace } in &self.worst {
            writeln!(
                f,
                "{message}: {} us in vain, submitted at {}",
                vain, trace.submitted
            )?;
            for (at, step) in &trace.steps {
                writeln!(f, "  +{:>8} {step}", at - trace.submitted)?;
            }
        }
        Ok(())
    }
}
