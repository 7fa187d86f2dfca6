//! Every message is accounted for: what was asked, what was answered, and what became of it.
//!
//! The rules, checked whenever somebody is told something and again at the end:
//!
//! - a message that was answered with 202 has one outcome, the same for everybody who asks (P1, P2);
//! - a reply, ack or failure is one that a worker gave to this very message, and gave before its deadline (P2, P3);
//! - what a worker of the origin's own node was told to count is the outcome (P6);
//! - nothing expires early, nothing is open later than [`SLACK`] after its deadline while its origin runs well, and
//!   nothing whose deadline is far expires at all (P3);
//! - a worker that no way leads to gets nothing (P8);
//! - a message whose origin lost its disk is lost with it, by design, and is only counted.

use super::payload::{self, Said};
use super::topology::Topology;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after its deadline an outcome may become known: a machine may be slow, and looking takes time too. Counted
/// from when the origin runs well again if it was disturbed.
const SLACK: Duration = Duration::from_secs(5);
/// How much clocks may differ.
const CLOCK: Duration = Duration::from_millis(50);
/// A deadline beyond this is not reached in any run that heals.
pub(super) const FAR: Duration = Duration::from_secs(600);
/// Faults after which nothing more is noted.
const NOTED: usize = 20;

/// What a producer asks for.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) origin: usize,
    pub(super) service: String,
    pub(super) ett: Option<Duration>,
    pub(super) send_only: bool,
    pub(super) priority: u8,
    pub(super) filler: usize,
    /// Somewhere is a worker that a way leads to.
    pub(super) reachable: bool,
}

/// How a submit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Submitted {
    Accepted(String),
    Refused,
    /// No answer: it may have been accepted.
    Unknown,
}

/// What a worker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Reply,
    Ack,
    Fail,
}

/// An outcome, as somebody was told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) word: String,
    pub(super) payload: Bytes,
}

#[derive(Debug)]
struct Entry {
    key: u64,
    order: Order,
    /// Disks that its origin had had before the submit.
    disk: u32,
    asked: Instant,
    /// When the submit's answer was there.
    given: Option<Instant>,
    submitted: Option<Submitted>,
    answers: Vec<Answer>,
    told: Option<Told>,
    collected: bool,
}

#[derive(Debug)]
struct Answer {
    verb: Verb,
    at: Instant,
    worker: usize,
    /// The node said that it counts.
    counts: bool,
}

/// How a node is.
#[derive(Debug, Clone, Copy)]
struct Health {
    /// Disks that it lost.
    disk: u32,
    /// Since when it runs undisturbed; none: it does not.
    well: Option<Instant>,
    /// Messages whose outcome is not known yet.
    open: usize,
}

/// All messages of a run.
#[derive(Debug)]
pub struct Ledger {
    topology: Topology,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    entries: Vec<Entry>,
    ids: HashMap<String, u64>,
    health: Vec<Health>,
    faults: Vec<String>,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Answered with 202.
    pub accepted: usize,
    /// Refused, which is an answer.
    pub refused: usize,
    /// Submits without an answer.
    pub unanswered: usize,
    /// Lost with their origin's disk.
    pub lost: usize,
    /// Answers that workers gave.
    pub answers: usize,
    /// Messages by outcome.
    pub outcomes: BTreeMap<String, usize>,
}

impl Ledger {
    /// An empty one.
    pub fn new(topology: &Topology) -> Self {
        let now = Instant::now();
        let health = topology.names.iter().map(|_| Health {
            disk: 0,
            well: Some(now),
            open: 0,
        });
        Self {
            topology: topology.clone(),
            inner: Mutex::new(Inner {
                entries: Vec::new(),
                ids: HashMap::new(),
                health: health.collect(),
                faults: Vec::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What failed first is the reason; it should be shown.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node is disturbed, or runs well again.
    pub(super) fn disturbed(&self, node: usize, is: bool) {
        self.lock().health[node].well = (!is).then(Instant::now);
    }

    /// A node lost its disk.
    pub(super) fn wiped(&self, node: usize) {
        let health = &mut self.lock().health[node];
        health.disk += 1;
        health.open = 0;
    }

    /// A submit begins; the message's key.
    pub(super) fn asks(&self, order: Order) -> u64 {
        let mut inner = self.lock();
        let disk = inner.health[order.origin].disk;
        let key = inner.entries.len() as u64;
        inner.entries.push(Entry {
            key,
            order,
            disk,
            asked: Instant::now(),
            given: None,
            submitted: None,
            answers: Vec::new(),
            told: None,
            collected: false,
        });
        key
    }

    /// A submit was answered, or will not be.
    pub(super) fn submitted(&self, key: u64, how: Submitted) {
        let mut inner = self.lock();
        if let Submitted::Accepted(id) = &how
            && let Some(other) = inner.ids.insert(id.clone(), key)
        {
            inner.fault(format!("{id} was given to message {key} and to message {other}"));
        }
        let accepted = matches!(how, Submitted::Accepted(_));
        let entry = inner.entry(key);
        entry.given = Some(Instant::now());
        entry.submitted = Some(how);
        let (origin, disk) = (entry.order.origin, entry.disk);
        if accepted && inner.health[origin].disk == disk {
            inner.health[origin].open += 1;
        }
    }

    /// A worker has a message, with this payload, and is about to answer; the answer's number.
    pub(super) fn answering(&self, worker: usize, verb: Verb, payload: &[u8]) -> Option<Said> {
        let mut inner = self.lock();
        let key = match payload::read(payload) {
            Ok(Said { key, number: 0 }) if inner.entries.get(key as usize).is_some() => key,
            Ok(other) => {
                inner.fault(format!("a worker at {worker} was given {other:?}"));
                return None;
            }
            Err(why) => {
                inner.fault(format!("a worker at {worker} was given {why}"));
                return None;
            }
        };
        let origin = inner.entry(key).order.origin;
        if !self.topology.reaches(origin, worker) {
            let names = &self.topology.names;
            let text = format!("message {key} of {} reached {}", names[origin], names[worker]);
            inner.fault(text);
        }
        let entry = inner.entry(key);
        entry.answers.push(Answer {
            verb,
            at: Instant::now(),
            worker,
            counts: false,
        });
        let number = entry.answers.len() as u64;
        Some(Said { key, number })
    }

    /// The worker's node said that an answer counts.
    pub(super) fn counts(&self, said: Said) {
        self.lock().entry(said.key).answers[said.number as usize - 1].counts = true;
    }

    /// Somebody asked for an outcome at `asked` and there was none.
    pub(super) fn open(&self, key: u64, asked: Instant) {
        let mut inner = self.lock();
        let entry = inner.entry(key);
        let (Some(ett), Some(given), origin) = (entry.order.ett, entry.given, entry.order.origin) else {
            return;
        };
        let Health {
            disk,
            well: Some(well),
            ..
        } = inner.health[origin]
        else {
            return;
        };
        let late = asked.saturating_duration_since((given + ett).max(well));
        if late > SLACK && disk == inner.entry(key).disk {
            let name = &self.topology.names[origin];
            inner.fault(format!(
                "message {key} of {name} is open {late:?} after its deadline"
            ));
        }
    }

    /// Somebody was told an outcome.
    pub(super) fn told(&self, key: u64, told: Told) {
        let mut inner = self.lock();
        if let Err(why) = inner.entry(key).check(&told, &self.topology) {
            let entry = inner.entry(key);
            let text = format!(
                "message {key}: {why}\n  {entry:?}\n  {} bytes told",
                told.payload.len()
            );
            inner.fault(text);
        }
        let entry = inner.entry(key);
        if entry.told.is_none() {
            entry.told = Some(told);
            let (origin, disk) = (entry.order.origin, entry.disk);
            let health = &mut inner.health[origin];
            if health.disk == disk {
                health.open = health.open.saturating_sub(1);
            }
        }
    }

    /// Whether somebody was told its outcome.
    pub(super) fn is_over(&self, key: u64) -> bool {
        self.lock().entry(key).told.is_some()
    }

    /// There is no such message any more.
    pub(super) fn gone(&self, key: u64) {
        let mut inner = self.lock();
        let entry = inner.entry(key);
        if entry.collected {
            return;
        }
        let (origin, disk) = (entry.order.origin, entry.disk);
        if inner.health[origin].disk == disk {
            let text = format!("message {key} is gone: {:?}", inner.entry(key));
            inner.fault(text);
        }
    }

    /// Its outcome was, or may have been, collected.
    pub(super) fn collected(&self, key: u64) {
        self.lock().entry(key).collected = true;
    }

    /// Accepted messages of a node that are not lost and whose outcome was not collected, with their ids.
    pub(super) fn left(&self, node: usize) -> Vec<(u64, String)> {
        let inner = self.lock();
        let disk = inner.health[node].disk;
        let entries = inner.entries.iter().enumerate();
        let left =
            entries.filter(|(_, entry)| entry.order.origin == node && entry.disk == disk && !entry.collected);
        left.filter_map(|(key, entry)| match &entry.submitted {
            Some(Submitted::Accepted(id)) => Some((key as u64, id.clone())),
            _ => None,
        })
        .collect()
    }

    /// How many messages of a node are under way, as far as their producers know.
    pub(super) fn under_way(&self, node: usize) -> usize {
        self.lock().health[node].open
    }

    /// A message that nobody knows by its id had this outcome. It has to be one whose producer was not answered, or
    /// was answered around the loss of a disk.
    pub(super) fn unknown(&self, node: usize, id: &str, told: Told) {
        let mut inner = self.lock();
        if let Some(key) = inner.ids.get(id) {
            let text = format!("{id}, message {key}, is there and was collected");
            return inner.fault(text);
        }
        // An outcome without a payload does not say whose it is; the count below has to do.
        let key = payload::read(&told.payload).ok().map(|said| said.key);
        let candidate = |entry: &Entry| {
            entry.order.origin == node && entry.submitted == Some(Submitted::Unknown) && entry.told.is_none()
        };
        let found = match key {
            Some(key) => inner
                .entries
                .get(key as usize)
                .is_some_and(candidate)
                .then_some(key),
            None => inner.entries.iter().position(candidate).map(|at| at as u64),
        };
        match found {
            Some(key) => inner.entry(key).told = Some(told),
            None => inner.fault(format!("{id} ended as {told:?} and nobody submitted it")),
        }
    }

    /// Writes down what is wrong.
    pub(super) fn fault(&self, what: String) {
        self.lock().fault(what);
    }

    /// What was found wrong so far.
    pub fn faults(&self) -> Vec<String> {
        self.lock().faults.clone()
    }

    /// The account of a run that is over.
    ///
    /// # Panics
    /// It does not come out even, or anything was wrong on the way; says what.
    #[track_caller]
    pub fn account(&self) -> Account {
        let inner = self.lock();
        assert!(inner.faults.is_empty(), "{}", inner.faults.join("\n"));
        let mut account = Account::default();
        for (key, entry) in inner.entries.iter().enumerate() {
            account.answers += entry.answers.len();
            let lost = inner.health[entry.order.origin].disk != entry.disk;
            match &entry.submitted {
                Some(Submitted::Accepted(_)) => account.accepted += 1,
                Some(Submitted::Refused) => account.refused += 1,
                Some(Submitted::Unknown) | None => account.unanswered += 1,
            }
            match &entry.told {
                Some(told) => *account.outcomes.entry(told.word.clone()).or_default() += 1,
                None if matches!(entry.submitted, Some(Submitted::Accepted(_))) => {
                    assert!(lost, "message {key} has no outcome: {entry:?}");
                    account.lost += 1;
                }
                None => {}
            }
        }
        account
    }
}

impl Inner {
    fn entry(&mut self, key: u64) -> &mut Entry {
        &mut self.entries[key as usize]
    }

    fn fault(&mut self, what: String) {
        if self.faults.len() < NOTED {
            println!("FAULT: {what}");
            self.faults.push(what);
        }
    }
}

impl Entry {
    fn check(&self, told: &Told, topology: &Topology) -> Result<(), String> {
        if let Some(before) = &self.told
            && before != told
        {
            return Err(format!(
                "was {} and is {} now, or another one",
                before.word, told.word
            ));
        }
        let wanted = match (told.word.as_str(), self.order.send_only) {
            ("replied", false) => Verb::Reply,
            ("delivered", true) => Verb::Ack,
            ("failed", _) => Verb::Fail,
            ("expired", _) => return self.check_expired(),
            (word, send_only) => return Err(format!("is {word}, send-only {send_only}")),
        };
        let answer = match wanted {
            Verb::Ack => self.answers.iter().find(|answer| answer.verb == Verb::Ack),
            _ => {
                let said = payload::read(&told.payload)?;
                let found = self.answers.get((said.number as usize).wrapping_sub(1));
                found.filter(|answer| answer.verb == wanted && said.key == self.key)
            }
        };
        let answer = answer.ok_or_else(|| format!("is {}, which no worker said to it", told.word))?;
        if !self.order.reachable {
            return Err(format!("is {} and no way leads to a worker", told.word));
        }
        let deadline = self
            .given
            .zip(self.order.ett)
            .map(|(given, ett)| given + ett + CLOCK);
        if deadline.is_some_and(|deadline| answer.at > deadline) {
            return Err(format!("is {} by an answer from after its deadline", told.word));
        }
        // A worker at the origin itself hears what the origin decides.
        let decided = self.answers.iter().enumerate();
        let decided = decided.filter(|(_, answer)| answer.counts && answer.worker == self.order.origin);
        for (at, local) in decided {
            if local.verb != wanted
                || (wanted != Verb::Ack && payload::read(&told.payload)?.number != at as u64 + 1)
            {
                let name = &topology.names[local.worker];
                return Err(format!(
                    "is {}, and answer {} at {name} counted",
                    told.word,
                    at + 1
                ));
            }
        }
        Ok(())
    }

    fn check_expired(&self) -> Result<(), String> {
        let ett = self.order.ett.ok_or("is expired without a deadline")?;
        if self.order.reachable && ett >= FAR {
            return Err("is expired although its deadline is far".into());
        }
        if self.asked.elapsed() + CLOCK < ett {
            return Err(format!(
                "is expired {:?} after its submit, with an ETT of {ett:?}",
                self.asked.elapsed()
            ));
        }
        Ok(())
    }
}
