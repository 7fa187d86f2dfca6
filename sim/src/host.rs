//! A node: a core, its disk, the bytes that the shell would hold for it, and the crank that turns it.

use crate::check::leases;
use crate::disk::{Content, Disk, StoreQueue};
use crate::liar::Liar;
use crate::people::Saying;
use crate::rng::Rng;
use crate::scenario::{SECOND, Time};
use crate::world::{Event, World};
use redlink_core::{
    Alternate, AttemptId, Body, Boot, Bound, Config, Core, Duration, Input, Instant, Kept, LinkId, Misuse,
    Name, NodeId, Outcome, Part, Payload, Refused, StoredMessage, StoredOutcome, StoredReply, Tag, Terms,
    wire,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One in so many polls of a core is followed by a look at all its tables; every one where the run is logged.
const INVARIANTS_EVERY: u64 = 16;

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
    /// How much faster its clock runs than the world's, in millionths.
    pub(crate) drift: i64,
    /// What runs here instead of a core.
    pub(crate) liar: Option<Liar>,
}

/// A submit that was taken and has no answer yet.
#[derive(Clone, Debug)]
pub(crate) struct Submitting {
    pub(crate) service: usize,
    pub(crate) alternate: Option<(usize, Time)>,
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
    /// Answers that are to be brought here by their consumers' nodes.
    pub(crate) expected: BTreeSet<AttemptId>,
    /// Messages that certainly take room in the core's table.
    pub(crate) rows: BTreeSet<u64>,
    /// Until when each grant that arrived may be delivered, by this node's clock.
    pub(crate) grant_deadline: BTreeMap<AttemptId, Option<Time>>,
    /// It stops taking work, and will be stopped.
    pub(crate) draining: bool,
    wake: Option<Time>,
    turn: u64,
    /// The event at which all outputs had been polled.
    pub(crate) drained: u64,
    /// Since when there may be outputs that were not polled: what they tell was decided then at the earliest.
    pub(crate) untold: Option<Time>,
}

impl Host {
    pub(crate) fn new(seed: u64, number: usize, wipes: u32, drift: i64) -> Self {
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
            drift,
            liar: None,
        }
    }

    /// Whether something runs there, honest or not.
    pub(crate) fn is_up(&self) -> bool {
        self.live.is_some() || self.liar.is_some()
    }

    pub(crate) fn name(&self) -> String {
        format!("n{}", self.number)
    }

    /// Since when its process runs without a stop; none if it doesn't.
    pub(crate) fn running_since(&self, now: Time) -> Option<Time> {
        let live = self.live.as_ref()?;
        (self.frozen_until <= now).then(|| live.since.max(self.frozen_until))
    }

    /// What its clock shows.
    pub(crate) fn local(&self, now: Time) -> Instant {
        let offset = self.live.as_ref().map_or(0, |live| live.offset);
        Instant::from_micros(offset + passes(self.drift, now))
    }

    /// How long a time of this node's clock takes, never too much and at most some microseconds too little.
    pub(crate) fn span(&self, local: Time) -> Time {
        span(self.drift, local)
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
        // One that was to be back in the trouble, and was healed sooner, may have vanished since.
        if self.hosts[h].is_up() || self.quiet.is_away(h) {
            return;
        }
        if self.plan.liar == Some(h) && !self.quiet.liar_left() {
            return self.begin_to_lie(h);
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
            direct: true,
            window: plan.window,
            limit: 1,
            lease: Duration::from_micros(5 * SECOND),
            delivered_kept: plan.delivered_kept,
            ageing: plan.ageing,
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
            expected: BTreeSet::new(),
            rows: BTreeSet::new(),
            grant_deadline: BTreeMap::new(),
            draining: false,
            wake: None,
            turn: 0,
            drained: self.events,
            untold: None,
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
        self.redate(h);
        let disk = self.hosts[h].disk.clone();
        let drift = self.hosts[h].drift;
        let left = |until: Time| Duration::from_micros(passes(drift, until.saturating_sub(now)));
        for (&sequence, row) in &disk.messages {
            let service = service_name(row.service);
            let other = row.alternate.map(|(other, after)| (service_name(other), after));
            let stored = StoredMessage {
                sequence,
                inserted: row.inserted,
                service: &service,
                terms: Terms {
                    ett: row.deadline_at.map(left),
                    ..row.terms
                },
                alternate: other.as_ref().map(|(service, after)| Alternate {
                    service,
                    after: Duration::from_micros(*after),
                }),
                age: Duration::from_micros(now - row.submitted_at),
                attempts: disk.attempts.get(&sequence).copied().unwrap_or_default(),
                size: row.content.size,
            };
            let waited = now - row.submitted_at;
            let left = row.terms.not_before.as_micros().saturating_sub(waited);
            let id = self.own(h, sequence);
            self.check.ledger.delay(id, now + span(drift, left));
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

    /// Wall time is all that a node has over a restart, and it may have jumped. What is on its disk is due by it, but a
    /// message never gets more time than its producer gave it.
    fn redate(&mut self, h: usize) {
        let jumps = self.plan.has(crate::scenario::Kind::ClockJump) && !self.healed;
        let jump = self.rng.clock.range(0, 20 * SECOND) as i64 - 10 * SECOND as i64;
        let jump = if jumps && self.rng.clock.chance(500) {
            jump
        } else {
            0
        };
        let now = self.now;
        let host = &mut self.hosts[h];
        let drift = host.drift;
        if jump == 0 && drift == 0 {
            return;
        }
        self.log
            .line(now, format_args!("{h} finds its wall clock {jump} us on"));
        let left = |until: Time, most: Time| {
            let left = (until as i64 - now as i64 - jump).clamp(0, most as i64) as Time;
            now + span(drift, passes(drift, left))
        };
        for (sequence, row) in &mut host.disk.messages {
            let ett = row.terms.ett.map_or(0, Duration::as_micros);
            row.deadline_at = row.deadline_at.map(|at| left(at, ett));
            let id = redlink_core::MessageId {
                node: host.node,
                sequence: *sequence,
            };
            // Rounded once more when the core is told.
            let due = row
                .deadline_at
                .map(|at| at.saturating_sub(if drift == 0 { 0 } else { 4 }));
            self.check.ledger.redate(id, due);
        }
        for (sequence, row) in &mut host.disk.outcomes {
            row.retain_until = left(row.retain_until, i64::MAX as Time);
            let id = redlink_core::MessageId {
                node: host.node,
                sequence: *sequence,
            };
            self.check.ledger.retain(id, row.retain_until);
        }
        for row in host.disk.replies.values_mut() {
            row.until = left(row.until, i64::MAX as Time);
        }
    }

    /// What the crash may cost of the count of attempts: those whose end was not on disk yet.
    fn forgive(&mut self, h: usize) {
        // By then the store has long done what it was asked, if it and the node were well.
        const LONG: Time = 30 * SECOND;
        let host = &self.hosts[h];
        let trouble = [host.store_fails.0, host.store_slow.0, host.frozen_until];
        let well = trouble.iter().all(|until| until + LONG < self.now);
        let before = if well { self.now.saturating_sub(LONG) } else { 0 };
        let rows = &host.disk.attempts;
        let verdict = self.check.ledger.forgive(h, before, |sequence| {
            rows.get(&sequence).map_or(0, |attempts| attempts.ended)
        });
        self.check.verdict(verdict);
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
        self.forgive(h);
        self.check.ledger.forgot(h);
        self.check.leases.forgot(h);
        self.check.rates.forgot(h);
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
    pub(crate) fn must(&mut self, h: usize, input: Input<'_>) {
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
        live.untold.get_or_insert(self.now);
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
        live.untold.get_or_insert(self.now);
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

    /// How late something may be, by all that a run has for it: outputs that wait, and clocks that are rounded.
    pub(crate) fn slack(&self) -> Time {
        let rounding = if self.plan.has(crate::scenario::Kind::Drift) {
            16
        } else {
            0
        };
        self.late() + rounding
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
        let (events, life, drift) = (self.events, self.hosts[h].life, self.hosts[h].drift);
        self.drains += 1;
        // All of it after every poll would take more time than everything else.
        let thorough = self.drains.is_multiple_of(INVARIANTS_EVERY) || self.log.is_on();
        let Some(live) = self.hosts[h].live.as_mut() else {
            return;
        };
        live.drained = events;
        live.untold = None;
        if thorough {
            live.core.check_invariants();
        }
        let due = live
            .core
            .poll_timeout()
            .map(|due| world_at(drift, due.at, live.offset).max(self.now));
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

/// What a clock of this drift makes of a time of the world.
fn passes(drift: i64, world: Time) -> Time {
    if drift == 0 {
        return world;
    }
    (i128::from(world) * i128::from(1_000_000 + drift) / 1_000_000) as Time
}

/// How long a time of such a clock takes, never too much and at most some microseconds too little.
pub(crate) fn span(drift: i64, local: Time) -> Time {
    if drift == 0 {
        return local;
    }
    let world = i128::from(local) * 1_000_000 / i128::from(1_000_000 + drift);
    (world as Time).saturating_sub(4)
}

/// When such a clock, ahead by `offset`, shows that instant.
fn world_at(drift: i64, due: Instant, offset: Time) -> Time {
    let local = due.as_micros().saturating_sub(offset);
    let mut at = span(drift, local);
    while passes(drift, at) < local {
        at += 1;
    }
    at
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
