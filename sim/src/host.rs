//! A node: a core, its disk, the bytes that the shell would hold for it, and the crank that turns it.

use crate::check::leases;
use crate::disk::{Content, Disk, StoreQueue};
use crate::people::Saying;
use crate::rng::Rng;
use crate::scenario::{SECOND, Time};
use crate::world::{Event, World};
use redlink_core::{
    AttemptId, Body, Boot, Bound, Config, Core, Duration, Input, Instant, Kept, LinkId, Misuse, Name, NodeId,
    Outcome, Part, Payload, Refused, StoredMessage, StoredOutcome, StoredReply, Tag, Terms, wire,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A node, dead or alive.
pub(crate) struct Host {
    pub(crate) number: usize,
    pub(crate) node: NodeId,
    pub(crate) key: [u8; 16],
    pub(crate) disk: Disk,
    /// Lives of its process so far, wiped disks included.
    pub(crate) life: u32,
    pub(crate) live: Option<Live>,
    pub(crate) frozen_until: Time,
    /// What happened to it while it stood still, in order.
    pub(crate) backlog: VecDeque<Event>,
    pub(crate) late_drain: bool,
    /// Until then, so many of a thousand store operations fail.
    pub(crate) store_fails: (Time, u64),
    /// Until then, the disk takes this much longer.
    pub(crate) store_slow: (Time, Time),
    pub(crate) wipes: u32,
}

/// A submit that was taken and has no answer yet.
#[derive(Clone, Debug)]
pub(crate) struct Submitting {
    pub(crate) service: usize,
    pub(crate) terms: Terms,
    pub(crate) content: Content,
    pub(crate) at: Time,
    /// Set when the core asks for the insert.
    pub(crate) sequence: Option<u64>,
}

/// A take that is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taking {
    pub(crate) worker: usize,
    pub(crate) left: u16,
}

/// What dies with the process.
pub(crate) struct Live {
    pub(crate) core: Core<'static>,
    /// The node's clock minus the world's.
    pub(crate) offset: Time,
    pub(crate) since: Time,
    pub(crate) store: StoreQueue,
    /// Bytes that the core owns or that are being handed to it.
    pub(crate) bodies: BTreeMap<u64, Content>,
    pub(crate) links: BTreeMap<LinkId, (usize, usize)>,
    pub(crate) next_link: u32,
    pub(crate) submits: BTreeMap<Tag, Submitting>,
    pub(crate) takes: BTreeMap<Tag, Taking>,
    pub(crate) sayings: BTreeMap<Tag, Saying>,
    /// Payloads that may be fetched beside the frames.
    pub(crate) apart: BTreeMap<(AttemptId, Part), Payload>,
    /// Messages that certainly take room in the core's table.
    pub(crate) rows: BTreeSet<u64>,
    /// Until when each grant that arrived may be delivered, by this node's clock.
    pub(crate) grant_deadline: BTreeMap<AttemptId, Option<Time>>,
    wake: Option<Time>,
    turn: u64,
    /// The event at which all outputs had been polled.
    pub(crate) drained: u64,
}

impl Host {
    pub(crate) fn new(seed: u64, number: usize, wipes: u32) -> Self {
        let mut rng = Rng::new(seed, &format!("node {number} {wipes}"));
        Self {
            number,
            node: NodeId(rng.bits()),
            key: core::array::from_fn(|_| rng.bits() as u8),
            disk: Disk::default(),
            life: 0,
            live: None,
            frozen_until: 0,
            backlog: VecDeque::new(),
            late_drain: false,
            store_fails: (0, 0),
            store_slow: (0, 0),
            wipes,
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("n{}", self.number)
    }

    /// Since when its process runs without a stop; none if it doesn't.
    pub(crate) fn running_since(&self, now: Time) -> Option<Time> {
        let live = self.live.as_ref()?;
        (self.frozen_until <= now).then(|| live.since.max(self.frozen_until))
    }

    fn local(&self, now: Time) -> Instant {
        Instant::from_micros(now + self.live.as_ref().map_or(0, |live| live.offset))
    }

    /// The bytes that a core points at, if they are there.
    pub(crate) fn resolve(&self, payload: Payload) -> Option<Content> {
        match payload {
            Payload::Own { sequence, size } => self
                .disk
                .messages
                .get(&sequence)
                .map(|row| row.content)
                .filter(|content| content.size == size),
            // What is empty has no bytes to hold.
            Payload::Empty => Some(Content::EMPTY),
            Payload::Held(body) => {
                let content = self.live.as_ref()?.bodies.get(&body.id)?;
                Some(*content).filter(|content| content.size == body.size)
            }
        }
    }
}

/// The body that an input hands over, and whether it is the core's in any case.
fn body_of(input: &Input<'_>) -> Option<(Body, bool)> {
    match input {
        Input::Answer { body, .. } | Input::Frame { body, .. } | Input::Fetched { body, .. } => {
            body.map(|body| (body, false))
        }
        Input::RecoverReply(StoredReply { body, .. }) => body.map(|body| (body, true)),
        _ => None,
    }
}

impl World {
    /// Starts a node's process from what is on its disk.
    pub(crate) fn boot(&mut self, h: usize) {
        if self.hosts[h].live.is_some() {
            return;
        }
        let random = self.rng.faults.bits();
        let offset = self.rng.faults.spread(1, 1 << 40);
        let plan = self.plan.hosts[h].clone();
        let now = self.now;
        let host = &mut self.hosts[h];
        host.life += 1;
        host.disk.boots += 1;
        host.late_drain = false;
        let (Ok(name), Ok(mesh)) = (Name::new(&host.name()), Name::new("sim")) else {
            return;
        };
        let config = Config {
            boot: Boot {
                counter: host.disk.boots,
                random: random as u32,
            },
            seed: random.rotate_left(32),
            key: host.key,
            next_sequence: host.disk.high + 1,
            inline_max: self.plan.inline_max,
            window: plan.window,
            limit: 1,
            lease: Duration::from_micros(5 * SECOND),
            delivered_kept: plan.delivered_kept,
            timing: self.plan.timing,
            ..Config::new(host.node, name, mesh)
        };
        let (id, boots) = (host.node, host.disk.boots);
        self.log
            .line(now, format_args!("{h} boots as {id}, boot {boots}"));
        host.live = Some(Live {
            core: Core::new(config, plan.capacity),
            offset,
            since: now,
            store: StoreQueue::default(),
            bodies: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 1,
            submits: BTreeMap::new(),
            takes: BTreeMap::new(),
            sayings: BTreeMap::new(),
            apart: BTreeMap::new(),
            rows: BTreeSet::new(),
            grant_deadline: BTreeMap::new(),
            wake: None,
            turn: 0,
            drained: self.events,
        });
        self.recover(h);
        for cable in 0..self.cables.len() {
            if self.cables[cable].south == h {
                let delay = self.rng.net.range(0, SECOND);
                self.after(delay, Event::Dial { cable, extra: false });
            }
        }
        self.workers_of(h);
    }

    fn recover(&mut self, h: usize) {
        let now = self.now;
        let left = |until: Time| Duration::from_micros(until.saturating_sub(now));
        let disk = self.hosts[h].disk.clone();
        for (&sequence, row) in &disk.messages {
            let service = service_name(row.service);
            let stored = StoredMessage {
                sequence,
                inserted: row.inserted,
                service: &service,
                terms: Terms {
                    ett: row.deadline_at.map(left),
                    ..row.terms
                },
                age: Duration::from_micros(now - row.submitted_at),
                size: row.content.size,
            };
            self.must(h, Input::RecoverMessage(stored));
        }
        for (&sequence, row) in &disk.outcomes {
            let stored = StoredOutcome {
                sequence,
                outcome: row.outcome,
                fence: row.token.map(|token| token.fence),
                retention: left(row.retain_until),
            };
            self.must(h, Input::RecoverOutcome(stored));
        }
        for row in disk.replies.values() {
            let body = row.content.map(|content| self.new_body(h, content));
            let stored = StoredReply {
                token: row.token,
                verb: row.verb,
                body,
                remaining: left(row.until),
                path: row.path,
            };
            self.must(h, Input::RecoverReply(stored));
        }
        self.must(h, Input::Start);
        if let Some(live) = self.hosts[h].live.as_mut() {
            live.rows.extend(disk.messages.keys().chain(disk.outcomes.keys()));
        }
        for (sequence, row) in disk.outcomes {
            let id = redlink_core::MessageId {
                node: self.hosts[h].node,
                sequence,
            };
            // After a start the shell answers from the disk.
            let verdict = self.check.ledger.told(id, row.outcome);
            self.check.verdict(verdict);
        }
    }

    /// Ends a node's process at once.
    pub(crate) fn crash(&mut self, h: usize) {
        let Some(live) = self.hosts[h].live.take() else {
            return;
        };
        self.log.line(self.now, format_args!("{h} crashes"));
        self.touched.remove(&h);
        // What waited for it finds another life, or none, and is void.
        self.hosts[h].frozen_until = self.now;
        self.after(0, Event::Thaw { host: h });
        self.crash_store(h, &live);
        self.check.ledger.forgot(h);
        self.check.leases.forgot(h);
        self.check.order.forgot(h);
        for (conn, side) in live.links.into_values() {
            self.lose_end(conn, side);
        }
        for cable in &mut self.cables {
            // Connections that were not up yet, too; the next life dials anew.
            if cable.south == h {
                cable.current = None;
            }
        }
        for worker in &mut self.workers {
            if worker.plan.host == h {
                worker.node_died();
            }
        }
    }

    /// Bytes for the core; it may refuse them, then they are gone.
    pub(crate) fn new_body(&mut self, h: usize, content: Content) -> Body {
        let id = self.number();
        if let Some(live) = self.hosts[h].live.as_mut() {
            live.bodies.insert(id, content);
        }
        Body {
            id,
            size: content.size,
        }
    }

    /// An input that can't be refused.
    fn must(&mut self, h: usize, input: Input<'_>) {
        if let Err(why) = self.input(h, input) {
            self.check
                .fail("contract", format!("{input:?} was refused: {why:?}"));
        }
    }

    /// Hands an input to a core. Outputs are polled when the event is over.
    pub(crate) fn input(&mut self, h: usize, input: Input<'_>) -> Result<Kept, Refused> {
        let now = self.hosts[h].local(self.now);
        let Some(live) = self.hosts[h].live.as_mut() else {
            return Err(Refused::Draining);
        };
        self.log.line(self.now, format_args!("{h} < {input:?}"));
        let mut answer = live.core.handle_input(now, input);
        if answer == Err(Refused::Full(Bound::Answers)) {
            // Outputs were left to wait for too long: polling makes room, and then it must be taken.
            self.drain(h);
            let Some(live) = self.hosts[h].live.as_mut() else {
                return answer;
            };
            answer = live.core.handle_input(now, input);
            if answer == Err(Refused::Full(Bound::Answers)) {
                self.check.fail(
                    "P7",
                    format!("{input:?} is refused right after all outputs were polled"),
                );
            }
        }
        let Some(live) = self.hosts[h].live.as_mut() else {
            return answer;
        };
        if !matches!(answer, Ok(Kept::Nothing)) {
            self.log.line(self.now, format_args!("{h} = {answer:?}"));
        }
        let body = body_of(&input);
        if let Some((body, false)) = body
            && answer != Ok(Kept::Body)
        {
            live.bodies.remove(&body.id);
        }
        if body.is_none() && answer == Ok(Kept::Body) {
            self.check
                .fail("contract", format!("{input:?} has no body to keep"));
        }
        if let Err(Refused::Misuse(misuse)) = answer
            && misuse != Misuse::Link
        {
            self.check
                .fail("contract", format!("{input:?} was taken for misuse: {misuse:?}"));
        }
        self.touched.insert(h);
        answer
    }

    pub(crate) fn on_wake(&mut self, h: usize, life: u32, turn: u64) {
        if !self.is_life(h, life) {
            return;
        }
        let now = self.hosts[h].local(self.now);
        let Some(live) = self.hosts[h].live.as_mut() else {
            return;
        };
        if live.turn != turn {
            return;
        }
        live.wake = None;
        self.log.line(self.now, format_args!("{h} < timeout"));
        live.core.handle_timeout(now);
        self.touched.insert(h);
    }

    /// Polls now, or a little later where the run says so.
    pub(crate) fn drain_soon(&mut self, h: usize) {
        let late = self.plan.has(crate::scenario::Kind::LateDrain) && !self.healed;
        if late && self.rng.faults.chance(300) {
            if !self.hosts[h].late_drain {
                self.hosts[h].late_drain = true;
                let (delay, life) = (self.rng.faults.range(0, self.late()), self.hosts[h].life);
                self.after(delay, Event::Drain { host: h, life });
            }
            return;
        }
        self.drain(h);
    }

    /// How late outputs may be.
    pub(crate) fn late(&self) -> Time {
        if self.plan.has(crate::scenario::Kind::LateDrain) {
            crate::check::ledger::LATE_MAX
        } else {
            0
        }
    }

    /// Polls everything out of a core, checks it, and arranges for its next wake-up.
    pub(crate) fn drain(&mut self, h: usize) {
        // Far more than the largest tables can have to say; a core that never ends is a bug of its own.
        const MOST: u32 = 50_000;
        let mut buffer = [0; wire::HEADER_MAX];
        let now = self.hosts[h].local(self.now);
        for turn in 0.. {
            let Some(live) = self.hosts[h].live.as_mut() else {
                return;
            };
            let Some(output) = live.core.poll_output(now, &mut buffer) else {
                break;
            };
            self.on_output(h, output, &buffer);
            if self.check.found.is_some() {
                return;
            }
            if turn == MOST {
                self.check.fail(
                    "contract",
                    format!("node {h} has more than {MOST} outputs at once"),
                );
                return;
            }
        }
        let (events, life) = (self.events, self.hosts[h].life);
        let Some(live) = self.hosts[h].live.as_mut() else {
            return;
        };
        live.drained = events;
        live.core.check_invariants();
        let due = live
            .core
            .poll_timeout()
            .map(|due| due.at.as_micros().saturating_sub(live.offset).max(self.now));
        if live.wake != due {
            live.wake = due;
            live.turn += 1;
            let turn = live.turn;
            if let Some(at) = due {
                self.at(at, Event::Wake { host: h, life, turn });
            }
        }
    }

    /// The consumer that a worker is, as the checkers name it.
    pub(crate) fn consumer(&self, worker: usize) -> leases::Key {
        let plan = &self.workers[worker].plan;
        (plan.host, plan.service, plan.name.clone())
    }

    /// Whether more `Delivered` outcomes are there than the node keeps.
    pub(crate) fn delivered_full(&self, h: usize) -> bool {
        let host = &self.hosts[h];
        let kept = self.plan.hosts[h].delivered_kept as usize;
        let here = host
            .disk
            .outcomes
            .values()
            .filter(|row| row.outcome == Outcome::Delivered)
            .count();
        here >= kept
    }
}

/// The name of a service by its number.
pub(crate) fn service_name(number: usize) -> String {
    format!("s{number}")
}

/// The number of a service by its name.
pub(crate) fn service_number(name: &str) -> usize {
    name.strip_prefix('s')
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(usize::MAX)
}
