//! The loop: wait, take a batch from every source, let the core work, do what it says, and again.

use super::command::{Answer, Cleanup, Command, Handed};
use super::contents::{Contents, cost};
use super::handle::{Settlement, Shared, Submitted};
use super::keys::{Joined, Keys, Scope};
use super::letters::Requeuing;
use super::links::Links;
use super::measure::{Marks, Work};
use super::memory::Memory;
use super::owners::Owners;
use super::producers::Producers;
use super::refusal::Refusal;
use super::start::Settings;
use super::taken::Taken;
use super::tally::{Complaints, Tally};
use super::trace::{Step, Trace};
use super::transfers::Transfers;
use crate::Content;
use crate::clock;
use crate::extras::{Durability, Fingerprint};
use crate::link::direct::Job;
use crate::link::transfer::TransferKey;
use crate::metrics::Meters;
use crate::owner::Owner;
use crate::store::Alternate;
use crate::store::{Done, Op, StoreHandle};
use bytes::Bytes;
use redlink_core::{
    Answered, AttemptId, Body, Boot, Bound, Core, GrantToken, Input, Instant, Kept, MessageId, Part, Payload,
    Refused, Row, Tag, Terms, Verb,
};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, oneshot};

/// Most that one turn takes from each source, so that none of them waits long for another (P11).
const COMMANDS: usize = 256;
const CLEANUPS: usize = 256;
const GROUPS: usize = 4;
/// Outputs that one turn does before it looks for new inputs.
const OUTPUTS: usize = 8_192;
/// As many answers as the core may have waiting.
const ANSWERS: usize = 64;
/// Timer calls of one turn; each is a bounded batch itself.
const TIMEOUTS: usize = 8;

/// Where inputs come from.
pub(super) struct Inbox {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) cleanup: mpsc::UnboundedReceiver<Cleanup>,
    pub(super) done: mpsc::UnboundedReceiver<Vec<Done>>,
    pub(super) stop: oneshot::Receiver<()>,
}

/// A submit whose row is not on disk yet.
pub(super) struct Submitting {
    pub(super) owner: Owner,
    pub(super) service: String,
    pub(super) producer: Option<Arc<str>>,
    /// Until the row is given to the store.
    pub(super) alternate: Option<Alternate>,
    pub(super) terms: Terms,
    /// Until the row is given to the store; from then on `contents` has it.
    pub(super) content: Option<Content>,
    /// Where it is to be kept.
    pub(super) durability: Durability,
    /// Until the row is given to the store.
    pub(super) preserved: Option<Bytes>,
    /// What that counts in memory until the row is on disk.
    pub(super) beside: u64,
    /// Its idempotency key, and what is submitted with it.
    pub(super) key: Option<(Scope, Fingerprint)>,
    /// Who has submitted the same meanwhile.
    pub(super) joined: Vec<Joined>,
    /// The dead letter that it comes from.
    pub(super) requeue: Option<Requeuing>,
    /// From then on: its sequence number, and its deadline by the wall clock.
    pub(super) stored_as: Option<(u64, Option<i64>)>,
    pub(super) answer: Answer<Submitted>,
    pub(super) settled: Option<oneshot::Sender<Settlement>>,
}

/// A take that waits.
pub(super) struct Taking {
    pub(super) service: String,
    pub(super) consumer: String,
    pub(super) max: u16,
    pub(super) got: Vec<Handed>,
    pub(super) answer: Answer<Vec<Handed>>,
}

/// A collect whose deletion is not on disk yet.
pub(super) struct Collecting {
    pub(super) answer: Answer<()>,
    /// What it is told then.
    pub(super) result: Result<(), Refusal>,
}

/// A delivery that a consumer of this node holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) token: GrantToken,
    pub(super) payload: Payload,
    pub(super) work: Work,
}

/// An answer that the core has not taken yet.
pub(super) struct Answering {
    pub(super) token: GrantToken,
    pub(super) verb: Verb,
    pub(super) answer: Answer<Answered>,
}

/// What the driver gives the core by itself.
pub(super) enum Next {
    TakeEnded(Tag),
    Release(GrantToken),
    LinkDown(redlink_core::LinkId),
    Fetched(TransferKey, Option<Content>),
    NotDirect(TransferKey),
    /// What the store would have answered of a message that is kept in memory only.
    Stored(Row, bool),
    /// What is for another node comes, under this number.
    Passes(TransferKey, Body),
}

pub(super) struct Driver {
    pub(super) core: Core<'static>,
    /// The time of the last input.
    pub(super) now: Instant,
    /// This turn's time by the wall clock.
    pub(super) wall: i64,
    pub(super) started: Instant,
    pub(super) boot: Boot,
    pub(super) store: StoreHandle,
    pub(super) shared: Arc<Shared>,
    pub(super) contents: Contents,
    pub(super) owners: Owners,
    pub(super) memory: Memory,
    pub(super) keys: Keys,
    /// Messages and outcomes that have preserved data on disk.
    pub(super) preserved: HashSet<u64>,
    /// Messages and outcomes that come from a dead letter, with its number.
    pub(super) requeued: HashMap<u64, u64>,
    pub(super) producers: Producers,
    pub(super) settings: Settings,
    pub(super) ready: bool,
    pub(super) draining: bool,
    /// Who waits until nothing is under way.
    pub(super) drainers: Vec<oneshot::Sender<()>>,
    pub(super) submits: HashMap<Tag, Submitting>,
    /// Who waits for a message's outcome.
    pub(super) waiters: HashMap<u64, Vec<oneshot::Sender<Settlement>>>,
    /// Who collected an outcome, and what they are told once its deletion is on disk.
    pub(super) collecting: HashMap<u64, Vec<Collecting>>,
    /// Contents of outcomes that are on their way to the disk.
    pub(super) settling: HashMap<u64, Content>,
    pub(super) answers: HashMap<Tag, Answering>,
    pub(super) takes: HashMap<Tag, Taking>,
    /// Takes that got something, or do not wait, in this turn.
    pub(super) given: Vec<Tag>,
    /// What consumers of this node hold, as far as its payload can be asked for again.
    pub(super) deliveries: BTreeMap<AttemptId, Held>,
    pub(super) links: Links,
    pub(super) transfers: Transfers,
    /// Takes what is to go straight between this node and another.
    pub(super) direct: mpsc::UnboundedSender<Job>,
    pub(super) tally: Tally,
    pub(super) taken: Taken,
    pub(super) complaints: Complaints,
    pub(super) trace: Trace,
    pub(super) meters: Meters,
    pub(super) marks: Marks,
    pub(super) next: VecDeque<Next>,
    /// For the store, at the end of the turn: together they make one group.
    pub(super) ops: Vec<Op>,
    /// Operations that the store has not answered.
    pub(super) store_ops: u64,
}

impl Driver {
    /// Until it is told to stop, or nobody holds a handle any more.
    pub(super) async fn run(mut self, mut inbox: Inbox) {
        let mut commands = Vec::with_capacity(COMMANDS);
        let mut done = Vec::new();
        let mut cleanups = Vec::new();
        let mut more = true;
        loop {
            if more {
                // Something is left to do; still, timers and channels get their turn.
                tokio::task::yield_now().await;
                if !matches!(inbox.stop.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
                    break;
                }
            } else {
                let wait = self.wait();
                tokio::select! {
                    biased;
                    _ = &mut inbox.stop => break,
                    Some(group) = inbox.done.recv() => done.push(group),
                    Some(cleanup) = inbox.cleanup.recv() => cleanups.push(cleanup),
                    taken = inbox.commands.recv_many(&mut commands, COMMANDS) => {
                        if taken == 0 {
                            break;
                        }
                    }
                    () = tokio::time::sleep(wait) => {}
                }
            }
            fill(&mut commands, COMMANDS, || inbox.commands.try_recv().ok());
            fill(&mut cleanups, CLEANUPS, || inbox.cleanup.try_recv().ok());
            fill(&mut done, GROUPS, || inbox.done.try_recv().ok());

            self.shared.turns.fetch_add(1, Ordering::Relaxed);
            self.now = clock::now();
            self.wall = clock::wall();
            self.follow();
            for group in done.drain(..) {
                self.stored(&group);
            }
            // Before the commands, so that nothing new is given to a take that has ended.
            for cleanup in cleanups.drain(..) {
                self.give(match cleanup {
                    Cleanup::TakeEnded(tag) => Next::TakeEnded(tag),
                    Cleanup::Release(token) => Next::Release(token),
                });
            }
            for command in commands.drain(..) {
                self.command(command);
            }
            more = self.work();
        }
        self.shared.ready.store(false, Ordering::Release);
        self.tell_what_is_lost();
        self.links.close_all("this node stops");
        self.contents.close();
    }

    /// Lets the core work; whether there is more to do at once.
    fn work(&mut self) -> bool {
        self.now = clock::now();
        self.transfers
            .expire(self.now, &mut self.contents, &mut self.next);
        for _ in 0..TIMEOUTS {
            if !self.is_due() {
                break;
            }
            self.core.handle_timeout(self.now);
        }
        let mut more = self.outputs(OUTPUTS);
        self.answer_takes();
        // What follows from the outputs has outputs of its own; in the same turn, since frames may be among them.
        self.follow();
        more |= self.outputs(OUTPUTS);
        self.answer_takes();
        self.store_ops += self.ops.len() as u64;
        for op in self.ops.drain(..) {
            self.store.send(op);
        }
        for link in self.links.flush(self.now, &mut self.meters) {
            self.tally.links_overflowed += 1;
            self.next.push_back(Next::LinkDown(link));
        }
        self.tidy_meters();
        self.complaints.look(self.core.counters(), self.now);
        self.expire_keys();
        self.answer_drainers();
        // P3: after an outage nothing new comes in before the overdue outcomes are in place.
        if !self.draining && !self.ready && self.core.usage().overdue == 0 {
            self.ready = true;
            self.shared.ready.store(true, Ordering::Release);
        }
        more || self.is_due() || !self.next.is_empty()
    }

    fn is_due(&self) -> bool {
        self.core
            .poll_timeout()
            .is_some_and(|deadline| deadline.at <= self.now)
    }

    /// How long there is nothing to do, unless something comes. Never long: a tokio timer stands still while the machine is
    /// suspended, and the core's clock does not.
    fn wait(&self) -> std::time::Duration {
        let now = clock::now();
        let core = self.core.poll_timeout().map(|deadline| now.until(deadline.at));
        let transfers = self.transfers.deadline().map(|at| now.until(at));
        let links = self.links.deadline().map(|at| now.until(at));
        match core.into_iter().chain(transfers).chain(links).min() {
            Some(left) => clock::std_duration(left).min(clock::RECHECK),
            None => clock::RECHECK,
        }
    }

    /// Gives the core one input. If too many answers wait to be polled, they are polled first; what the input itself
    /// leads to is always polled later, when the caller has noted what it must know for that.
    pub(super) fn feed(&mut self, input: Input<'_>) -> Result<Kept, Refused> {
        // A turn may be long, and nothing may be granted after its deadline by a stale clock (P3).
        self.now = clock::now();
        match self.core.handle_input(self.now, input) {
            Err(Refused::Full(Bound::Answers)) => {
                // They are polled before anything else.
                self.outputs(ANSWERS);
                self.core.handle_input(self.now, input)
            }
            other => other,
        }
    }

    /// Something happened to a message of this node.
    pub(super) fn own_step(&mut self, step: Step, sequence: u64, text: &str) {
        let node = self.shared.node;
        self.trace
            .step(self.wall, step, MessageId { node, sequence }, 0, [text, ""]);
    }

    /// Gives the core an input that it can't refuse unless driver or core is wrong.
    pub(super) fn tell(&mut self, input: Input<'_>) {
        if let Err(refused) = self.feed(input) {
            tracing::error!(
                ?refused,
                ?input,
                "the core did not take an input; please report this"
            );
        }
    }

    /// Gives the core an input with a content, which stays here as long as the core wants it.
    pub(super) fn feed_with<'a>(
        &mut self,
        content: Option<Content>,
        input: impl FnOnce(Option<Body>) -> Input<'a>,
    ) -> Result<Kept, Refused> {
        let body = content.map(|content| self.contents.hold(content));
        let result = self.feed(input(body));
        if let (Some(body), Ok(Kept::Nothing) | Err(_)) = (body, result) {
            self.contents.free(body);
        }
        result
    }

    /// Nobody needs these bytes any more.
    pub(super) fn free(&mut self, body: Body) {
        self.transfers.freed(body);
        self.contents.free(body);
    }

    fn stored(&mut self, group: &[Done]) {
        for &Done { row, done } in group {
            self.store_ops = self.store_ops.saturating_sub(1);
            if let Row::Insert(sequence) = row {
                self.memory.marked(sequence, done);
            }
            self.stored_row(row, done);
        }
    }

    fn stored_row(&mut self, row: Row, done: bool) {
        if let (Row::Delete(sequence), true) = (row, done) {
            self.producers.remove(&self.owners.of(sequence), sequence);
            self.owners.remove(sequence);
            self.requeued.remove(&sequence);
            self.preserved.remove(&sequence);
            self.memory.remove(sequence);
        }
        self.tell(Input::Stored { row, done });
        if let (Row::Delete(sequence), true) = (row, done) {
            for Collecting { answer, result } in self.collecting.remove(&sequence).into_iter().flatten() {
                // Whoever has gone does not mind.
                let _ = answer.send(result);
            }
        }
    }

    fn follow(&mut self) {
        // What these lead to comes in the next round.
        for _ in 0..self.next.len() {
            if let Some(next) = self.next.pop_front() {
                self.give(next);
            }
        }
    }

    fn give(&mut self, next: Next) {
        match next {
            Next::TakeEnded(tag) => {
                self.takes.remove(&tag);
                self.tell(Input::TakeEnded { tag });
            }
            Next::Release(token) => {
                self.deliveries.remove(&token.attempt());
                let attempt = token.fence.attempt;
                let why = ["nobody was there to take it", ""];
                self.trace
                    .step(self.wall, Step::Released, token.message, attempt, why);
                self.tell(Input::Unseen { token });
            }
            Next::LinkDown(link) => {
                let lost = self.transfers.forget_fetches(link);
                self.next
                    .extend(lost.into_iter().map(|key| Next::Fetched(key, None)));
                self.tell(Input::LinkDown { link });
            }
            Next::Fetched(key, content) => {
                let TransferKey { token, part } = key;
                let what = match (part, content.is_some()) {
                    (Part::Payload, true) => "came",
                    (Part::Payload, false) => "did not come",
                    (Part::Reply, true) => "of the answer came",
                    (Part::Reply, false) => "of the answer did not come",
                };
                let attempt = token.fence.attempt;
                self.trace
                    .step(self.wall, Step::Payload, token.message, attempt, [what, ""]);
                let result = self.feed_with(content, |body| Input::Fetched { token, part, body });
                if let Err(refused) = result {
                    tracing::error!(?refused, "the core did not take a payload; please report this");
                }
            }
            Next::NotDirect(key) => self.not_direct(key),
            Next::Stored(row, done) => self.stored_row(row, done),
            Next::Passes(key, body) => {
                let TransferKey { token, part } = key;
                let body_in = Some(body);
                let result = self.feed(Input::Fetched {
                    token,
                    part,
                    body: body_in,
                });
                if result != Ok(Kept::Body) {
                    // Its way has gone meanwhile.
                    self.free(body);
                }
            }
        }
    }

    /// Answers the takes that got something in this turn, and those that would not wait.
    fn answer_takes(&mut self) {
        for tag in std::mem::take(&mut self.given) {
            // It may be listed twice.
            let Some(taking) = self.takes.remove(&tag) else {
                continue;
            };
            if taking.got.len() < usize::from(taking.max) {
                self.tell(Input::TakeEnded { tag });
            }
            if let Err(Ok(handed)) = taking.answer.send(Ok(taking.got)) {
                // Nobody is there any more.
                self.next
                    .extend(handed.into_iter().map(|one| Next::Release(one.token)));
            }
        }
    }

    fn answer_drainers(&mut self) {
        if self.drainers.is_empty() || !self.is_idle() {
            return;
        }
        for drainer in self.drainers.drain(..) {
            let _ = drainer.send(());
        }
    }

    /// Takes a content out of a submit that came to nothing.
    pub(super) fn discard(&mut self, submitting: &mut Submitting) {
        if let Some((scope, _)) = &submitting.key {
            self.keys.refused(scope);
        }
        let content = submitting.content.take();
        let bytes = submitting.beside + content.as_ref().map_or(0, cost);
        match (submitting.durability, submitting.stored_as) {
            (Durability::Disk, _) => self.contents.discharge(bytes),
            (Durability::Memory, Some((sequence, _))) => self.memory.remove(sequence),
            (Durability::Memory, None) => self.memory.discharge(bytes),
        }
        if let Some((sequence, _)) = submitting.stored_as {
            self.contents.forget(sequence);
            self.producers.remove(&submitting.owner, sequence);
            self.owners.remove(sequence);
            self.preserved.remove(&sequence);
            self.requeued.remove(&sequence);
        }
    }
}

fn fill<T>(into: &mut Vec<T>, most: usize, mut next: impl FnMut() -> Option<T>) {
    while into.len() < most {
        let Some(one) = next() else { break };
        into.push(one);
    }
}
