//! One whole core against a naive reference (`support/reference.rs`), with random commands at random times: everything
//! that the core does must be right, and nothing that it had to do may be missing.

#[path = "support/reference.rs"]
mod reference;

use proptest::prelude::*;
use redlink_core::wire::HEADER_MAX;
use redlink_core::{
    Alternate, Attempts, Body, Boot, Bound, Capacity, Config, Core, Duration, GrantToken, Input, Instant,
    Kept, Misuse, Name, NodeId, Outcome, Output, Rate, Refused, Row, StoreOp, StoredMessage, StoredOutcome,
    Submit, Tag, Terms, Verb,
};
use reference::{Consumer, Member, Message, OpenTake, Place, Reference};
use std::collections::BTreeMap;

const RECOVERY: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(30);
const MESSAGES: u32 = 6;
const TAKES: u32 = 4;

#[derive(Clone, Debug)]
enum Command {
    /// To a service, and perhaps after a while to the other one.
    Submit(usize, Option<Duration>, Terms, u64),
    Register(Consumer, u16, Duration, Option<Rate>),
    Unregister(Consumer),
    Take(Consumer, u16),
    EndTake(usize),
    /// Which of all deliveries so far, counted from the last.
    Unseen(usize),
    /// The same; and whether the token is spoilt first.
    Answer(usize, Verb, bool),
    Cancel(usize),
    Collect(usize),
    Pass(Duration),
    Store(Mode),
    Restart,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    Done,
    Fails,
    Waits,
}

/// The core keeps leases and retentions in whole milliseconds.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1u64..2_000).prop_map(Duration::from_millis),
        (1u64..40).prop_map(Duration::from_secs),
    ]
}

fn ett() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::from_micros(1)), duration()]
}

fn terms() -> impl Strategy<Value = Terms> {
    let delay = prop_oneof![3 => Just(Duration::ZERO), 1 => duration()];
    (
        0u8..3,
        proptest::option::of(ett()),
        any::<(bool, bool)>(),
        delay,
        0u16..4,
        duration(),
    )
        .prop_map(
            |(priority, ett, (send_only, at_most_once), not_before, max_attempts, retention)| Terms {
                priority,
                ett,
                send_only,
                at_most_once,
                not_before,
                max_attempts,
                // Short ones end while the test looks on, long ones wait to be collected.
                retention: if retention < Duration::from_secs(5) {
                    retention
                } else {
                    Duration::from_secs(1_000)
                },
                ..Terms::default()
            },
        )
}

/// Rates for which the commands' times are long and short.
fn rate() -> impl Strategy<Value = Option<Rate>> {
    let rates =
        ["1/s", "3/s", "7/m", "200/m", "1000000/s", "90/h", "2/d"].map(|text| text.parse().expect(text));
    proptest::option::of(proptest::sample::select(rates.to_vec()))
}

fn alternate() -> impl Strategy<Value = Option<Duration>> {
    let after = prop_oneof![Just(Duration::ZERO), duration()];
    proptest::option::weighted(0.3, after)
}

fn command() -> impl Strategy<Value = Command> {
    let consumer = || (0usize..2, 0usize..2);
    let verb = prop_oneof![
        4 => Just(Verb::Reply),
        3 => Just(Verb::Ack),
        1 => Just(Verb::Fail),
        2 => Just(Verb::Extend),
        2 => Just(Verb::Release),
    ];
    let mode = prop_oneof![2 => Just(Mode::Done), 1 => Just(Mode::Fails), 1 => Just(Mode::Waits)];
    prop_oneof![
        6 => (0usize..2, alternate(), terms(), 0u64..50).prop_map(|(s, a, t, size)| Command::Submit(s, a, t, size)),
        2 => (consumer(), 1u16..4, duration(), rate()).prop_map(|(c, n, d, r)| Command::Register(c, n, d, r)),
        1 => (0usize..4).prop_map(Command::Unseen),
        1 => consumer().prop_map(Command::Unregister),
        6 => (consumer(), 1u16..4).prop_map(|(c, n)| Command::Take(c, n)),
        1 => (0usize..3).prop_map(Command::EndTake),
        8 => (0usize..4, verb, proptest::bool::weighted(0.1)).prop_map(|(n, v, f)| Command::Answer(n, v, f)),
        1 => (0usize..5).prop_map(Command::Cancel),
        3 => (0usize..5).prop_map(Command::Collect),
        5 => duration().prop_map(Command::Pass),
        2 => mode.prop_map(Command::Store),
        1 => Just(Command::Restart),
    ]
}

/// What survives a restart.
struct DiskRow {
    service: usize,
    alternate: Option<(usize, Instant)>,
    terms: Terms,
    size: u64,
    inserted: u32,
    at: Instant,
    attempts: Attempts,
}

struct Bench {
    core: Core<'static>,
    config: Config,
    now: Instant,
    model: Reference,
    mode: Mode,
    waiting: Vec<StoreOp>,
    disk: BTreeMap<u64, DiskRow>,
    outcomes: BTreeMap<u64, (Outcome, Option<GrantToken>, Instant)>,
    high: u64,
    bodies: BTreeMap<u64, u64>,
    /// Every delivery so far, with who got it.
    deliveries: Vec<(GrantToken, Consumer)>,
    next: u64,
}

fn capacity() -> Capacity {
    Capacity {
        messages: MESSAGES,
        reservations: 4,
        deliveries: 64,
        services: 4,
        consumers: 8,
        takes: TAKES,
        peers: 2,
        routes: 4,
        relays: 4,
        rules: 4,
    }
}

fn service(number: usize) -> String {
    format!("s{number}")
}

fn consumer(number: usize) -> String {
    format!("c{number}")
}

impl Bench {
    fn new(ageing: Option<Duration>) -> Self {
        let name = |text: &str| Name::new(text).expect("a name");
        let mut config = Config::new(NodeId(1), name("n1"), name("mesh"));
        config.key = [9; 16];
        config.lease = LEASE;
        config.ageing = ageing;
        config.timing.recovery = RECOVERY;
        // Consumers stay until they leave: liveness has a test of its own.
        config.timing.liveness = Duration::from_secs(1_000_000);
        let now = Instant::from_micros(50);
        let mut bench = Self {
            core: Core::new(config.clone(), capacity()),
            config,
            now,
            model: Reference::new(now),
            mode: Mode::Done,
            waiting: Vec::new(),
            disk: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            high: 0,
            bodies: BTreeMap::new(),
            deliveries: Vec::new(),
            next: 0,
        };
        bench.model.ageing = ageing;
        bench.must(Input::Start);
        bench
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn input(&mut self, input: Input<'_>) -> Result<Kept, Refused> {
        self.core.handle_input(self.now, input)
    }

    fn must(&mut self, input: Input<'_>) {
        let answer = self.input(input);
        assert!(answer.is_ok(), "{input:?}: {answer:?}");
    }

    fn step(&mut self, act: impl FnOnce(&mut Self)) {
        self.model.now = self.now;
        self.model.begin_step();
        act(self);
        self.drain();
        // What has become due by that is part of it.
        for turn in 0.. {
            assert!(turn < 100, "the timers never end");
            if self.core.poll_timeout().is_none_or(|due| due.at > self.now) {
                break;
            }
            self.model.recovered();
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.model.end_step();
        self.compare();
    }

    fn drain(&mut self) {
        let mut buffer = [0; HEADER_MAX];
        while let Some(output) = self.core.poll_output(self.now, &mut buffer) {
            self.output(output);
        }
        self.core.check_invariants();
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Store(op) => {
                self.model.store(&op);
                match self.mode {
                    Mode::Done => self.stored(op, true),
                    Mode::Fails => self.stored(op, false),
                    // Rare enough to be answered at once; what happens meanwhile is for tests of its own.
                    Mode::Waits if matches!(op, StoreOp::Attempts { .. }) => self.stored(op, true),
                    Mode::Waits => self.waiting.push(op),
                }
            }
            Output::Accepted { tag, .. } => self.model.accepted(tag),
            Output::Rejected { tag } => self.model.rejected(tag),
            Output::Settled { sequence, outcome } => self.model.settled(sequence, outcome),
            Output::Deliver(deliver) => {
                let take = self.model.takes.iter().find(|take| take.tag == deliver.take);
                let by = take.expect("an open take").consumer;
                self.model.delivered(&deliver);
                self.deliveries.push((deliver.token, by));
            }
            Output::Answered { tag, result } => self.model.answered(tag, result),
            Output::Lost { token, why } => self.model.lost(token, why),
            Output::Free(body) => {
                assert_eq!(
                    self.bodies.remove(&body.id),
                    Some(body.size),
                    "{body:?} is freed once"
                );
            }
            other => panic!("there is no link: {other:?}"),
        }
    }

    fn stored(&mut self, op: StoreOp, done: bool) {
        let row = match op {
            StoreOp::Insert { sequence, .. } => {
                if done {
                    assert!(sequence > self.high, "the number {sequence} was used before");
                    self.high = sequence;
                    let m = self.model.message(sequence).expect("it is known");
                    let row = DiskRow {
                        service: m.service,
                        alternate: m.alternate,
                        terms: m.terms,
                        size: m.size,
                        inserted: m.inserted,
                        at: m.submitted,
                        attempts: Attempts::default(),
                    };
                    self.disk.insert(sequence, row);
                }
                Row::Insert(sequence)
            }
            StoreOp::Attempts { sequence, attempts } => {
                if done {
                    self.disk.get_mut(&sequence).expect("a row").attempts = attempts;
                }
                Row::Attempts(sequence)
            }
            StoreOp::Settle {
                sequence,
                outcome,
                token,
                body,
                retention,
            } => {
                assert!(
                    body.is_none_or(|body| self.bodies.contains_key(&body.id)),
                    "a body that is not held"
                );
                if done {
                    assert!(self.disk.remove(&sequence).is_some(), "P2");
                    self.outcomes
                        .insert(sequence, (outcome, token, self.now + retention));
                }
                Row::Settle(sequence)
            }
            StoreOp::Delete { sequence } => {
                if done {
                    assert!(self.outcomes.remove(&sequence).is_some(), "P1");
                }
                Row::Delete(sequence)
            }
            StoreOp::Keep { .. } | StoreOp::Drop { .. } => panic!("no reply here is another node's"),
        };
        self.model.stored(row, done);
        self.must(Input::Stored { row, done });
    }

    fn store_now(&mut self, mode: Mode) {
        self.mode = mode;
        if mode != Mode::Waits {
            for op in std::mem::take(&mut self.waiting) {
                self.stored(op, mode == Mode::Done);
                self.drain();
            }
        }
    }

    /// The core and the reference see the same.
    fn compare(&self) {
        let mut known: Vec<_> = self
            .core
            .messages()
            .map(|view| (view.id.sequence, view.state, view.outcome))
            .collect();
        known.sort_by_key(|view| view.0);
        let mut right: Vec<_> = self
            .model
            .messages
            .iter()
            // Before it is on disk there is no such message for anybody.
            .filter(|m| !matches!(m.place, Place::Storing(_)))
            .map(|m| {
                (
                    m.sequence,
                    self.model.state(m),
                    m.outcome.map(|(outcome, _)| outcome),
                )
            })
            .collect();
        right.sort_by_key(|view| view.0);
        assert_eq!(known, right);
        let usage = self.core.usage();
        assert_eq!(usage.takes as usize, self.model.takes.len());
        assert_eq!(usage.consumers as usize, self.model.members.len());
        for view in self.core.messages() {
            let m = self.model.message(view.id.sequence).expect("compared above");
            if !matches!(m.place, Place::Settled | Place::Deleting) {
                let left = m.deadline().map(|deadline| self.now.until(deadline));
                assert_eq!(view.remaining, left);
                assert_eq!((view.priority, view.size), (m.terms.priority, m.size));
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for turn in 0.. {
            assert!(turn < 1_000, "the timers never end");
            let due = self
                .core
                .poll_timeout()
                .map(|due| due.at)
                .filter(|due| *due <= end);
            let Some(due) = due else { break };
            self.now = self.now.max(due);
            self.step(|bench| {
                bench.model.recovered();
                bench.core.handle_timeout(bench.now);
            });
        }
        self.now = end;
    }

    fn submit(&mut self, number: usize, after: Option<Duration>, terms: Terms, size: u64) {
        let tag = Tag(self.number());
        let (name, other) = (service(number), service(1 - number));
        let alternate = after.map(|after| (1 - number, self.now + after));
        let taken: usize = self.model.messages.iter().map(Message::places).sum();
        let full = taken + 1 + usize::from(after.is_some()) > MESSAGES as usize;
        let message = Message {
            sequence: 0,
            service: number,
            alternate,
            terms,
            size,
            inserted: self.config.boot.counter,
            submitted: self.now,
            from: self.now + terms.not_before,
            place: Place::Storing(tag),
            newest: None,
            chosen: false,
            disk: Attempts::default(),
            asked: Attempts::default(),
            tries: 0,
            counted: None,
            waited: false,
            outcome: None,
            settled: None,
        };
        self.step(|bench| {
            let answer = bench.input(Input::Submit(Submit {
                tag,
                service: &name,
                terms,
                alternate: after.map(|after| Alternate {
                    service: &other,
                    after,
                }),
                size,
            }));
            let never =
                terms.not_before > Duration::ZERO && terms.ett.is_some_and(|ett| ett <= terms.not_before);
            // P7: full exactly when it is full.
            let refused = if never {
                Some(Refused::Misuse(Misuse::NotBefore))
            } else {
                full.then_some(Refused::Full(Bound::Messages))
            };
            assert_eq!(answer.err(), refused);
            if refused.is_none() {
                bench.model.messages.push(message);
            }
        });
    }

    fn take(&mut self, key: Consumer, max: u16) {
        let tag = Tag(self.number());
        let (name, by) = (service(key.0), consumer(key.1));
        self.step(|bench| {
            let full = bench.model.takes.len() >= TAKES as usize;
            if !full && bench.model.member(key).is_none() {
                bench.model.members.push(Member {
                    key,
                    limit: 1,
                    lease: LEASE,
                    level: None,
                });
            }
            let answer = bench.input(Input::Take {
                tag,
                service: &name,
                consumer: &by,
                max,
            });
            assert_eq!(answer.err(), full.then_some(Refused::Full(Bound::Takes)));
            if !full {
                bench.model.takes.push(OpenTake {
                    tag,
                    consumer: key,
                    left: max,
                });
            }
        });
    }

    fn answer(&mut self, back: usize, verb: Verb, forged: bool) {
        let Some(&(mut token, by)) = self.deliveries.iter().rev().nth(back) else {
            return;
        };
        if forged {
            token.mac[0] ^= 1;
        }
        let tag = Tag(self.number());
        let body = matches!(verb, Verb::Reply | Verb::Fail).then(|| Body {
            id: self.number(),
            size: 3,
        });
        self.step(|bench| {
            bench.model.answer(tag, token, verb, by, !forged);
            if let Some(body) = body {
                bench.bodies.insert(body.id, body.size);
            }
            let answer = bench.input(Input::Answer {
                tag,
                token,
                verb,
                body,
                direct: false,
            });
            assert!(answer.is_ok(), "{answer:?}");
            if let Some(body) = body.filter(|_| answer == Ok(Kept::Nothing)) {
                bench.bodies.remove(&body.id);
            }
        });
    }

    fn restart(&mut self) {
        self.waiting.clear();
        self.bodies.clear();
        self.mode = Mode::Done;
        self.config.boot.counter += 1;
        self.config.boot = Boot {
            random: 77,
            ..self.config.boot
        };
        self.config.next_sequence = self.high + 1;
        self.core = Core::new(self.config.clone(), capacity());
        self.model.now = self.now;
        self.model.restart(self.config.boot.counter, RECOVERY);
        for (&sequence, row) in &self.disk {
            let (name, other) = (service(row.service), service(1 - row.service));
            let terms = Terms {
                ett: row.terms.ett.map(|ett| self.now.until(row.at + ett)),
                ..row.terms
            };
            let age = self.now.since(row.at);
            let stored = StoredMessage {
                sequence,
                inserted: row.inserted,
                service: &name,
                terms,
                alternate: row.alternate.map(|(_, from)| Alternate {
                    service: &other,
                    after: row.at.until(from),
                }),
                age,
                attempts: row.attempts,
                size: row.size,
            };
            let answer = self.core.handle_input(self.now, Input::RecoverMessage(stored));
            assert!(answer.is_ok(), "{answer:?}");
        }
        for (&sequence, &(outcome, token, until)) in &self.outcomes {
            let fence = token.map(|token| token.fence);
            let retention = self.now.until(until);
            let stored = StoredOutcome {
                sequence,
                outcome,
                fence,
                retention,
            };
            let answer = self.core.handle_input(self.now, Input::RecoverOutcome(stored));
            assert!(answer.is_ok(), "{answer:?}");
        }
        self.must(Input::Start);
        self.drain();
        // What is due at once is timers' work.
        self.pass(Duration::ZERO);
    }

    fn run(&mut self, command: Command) {
        match command {
            Command::Submit(number, after, terms, size) => self.submit(number, after, terms, size),
            Command::Register(key, limit, lease, rate) => self.step(|bench| {
                let (name, by) = (service(key.0), consumer(key.1));
                bench.must(Input::Register {
                    service: &name,
                    consumer: &by,
                    limit,
                    lease,
                    rate,
                });
                bench.model.register(key, limit, lease, rate);
            }),
            Command::Unregister(key) => self.step(|bench| {
                let (name, by) = (service(key.0), consumer(key.1));
                let known = bench.model.member(key).is_some();
                let answer = bench.input(Input::Unregister {
                    service: &name,
                    consumer: &by,
                });
                assert!(answer.is_ok() || !known, "{answer:?}");
                bench.model.unregister(key);
            }),
            Command::Take(key, max) => self.take(key, max),
            Command::EndTake(number) => self.step(|bench| {
                if let Some(take) = bench.model.takes.get(number) {
                    let tag = take.tag;
                    bench.model.takes.remove(number);
                    bench.must(Input::TakeEnded { tag });
                }
            }),
            Command::Unseen(back) => {
                let known = self.deliveries.iter().rev().nth(back).copied();
                // Of an earlier life the caller has none.
                let known = known.filter(|(token, _)| token.fence.boot == self.config.boot.counter);
                if let Some((token, _)) = known {
                    self.step(|bench| {
                        bench.model.unseen(token);
                        bench.must(Input::Unseen { token });
                    });
                }
            }
            Command::Answer(back, verb, forged) => self.answer(back, verb, forged),
            Command::Cancel(number) => self.step(|bench| {
                if let Some(sequence) = bench.model.messages.get(number).map(|m| m.sequence) {
                    let storing = matches!(bench.model.messages[number].place, Place::Storing(_));
                    if !storing {
                        let open = bench.model.cancel(sequence);
                        let answer = bench.input(Input::Cancel { sequence });
                        assert_eq!(answer.is_ok(), open, "{answer:?}");
                    }
                }
            }),
            Command::Collect(number) => self.step(|bench| {
                if let Some(sequence) = bench.model.messages.get(number).map(|m| m.sequence) {
                    let there = bench.model.collect(sequence);
                    let answer = bench.input(Input::Collect { sequence });
                    assert_eq!(answer.is_ok(), there, "{answer:?}");
                }
            }),
            Command::Pass(time) => self.pass(time),
            Command::Store(mode) => self.step(|bench| bench.store_now(mode)),
            Command::Restart => self.restart(),
        }
    }
}

/// `PROPTEST_CASES` asks for more than the usual number.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases.max(400),
        ..usual
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_core_does_what_the_reference_allows_and_owes_nothing(
        ageing in proptest::option::of(duration()),
        commands in proptest::collection::vec(command(), 1..120),
    ) {
        let mut bench = Bench::new(ageing);
        for command in commands {
            bench.run(command);
        }
        // In the end the store works, everybody collects, and nothing is left.
        bench.run(Command::Store(Mode::Done));
        bench.pass(Duration::from_secs(2_000));
        for number in (0..bench.model.messages.len()).rev() {
            bench.run(Command::Cancel(number));
        }
        bench.pass(Duration::from_secs(2_000));
        assert_eq!(bench.core.usage().messages, 0);
        assert!(bench.bodies.is_empty(), "bodies that were never freed: {:?}", bench.bodies);
    }
}
