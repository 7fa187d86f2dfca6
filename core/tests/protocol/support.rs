//! One node and an in-memory pair of nodes: real cores, a store and payload bytes that a test can look into, and a
//! link that a test can cut. Time jumps from one wake-up to the next; nothing waits.

use redlink_core::wire::{Frame, HEADER_MAX, Path};
use redlink_core::{
    Alternate, Answered, Attached, AttemptId, Attempts, Body, Boot, Bound, Capacity, Config, Core, Deliver,
    Duration, Fault, GrantToken, Input, Instant, Kept, LinkId, LostWhy, Name, NodeId, Notice, Outcome,
    Output, Part, Payload, Refused, Row, StoreOp, StoredMessage, StoredOutcome, StoredReply, Submit, Tag,
    Terms, Verb,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What the store does with what it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoreMode {
    /// Everything is on disk at once.
    Done,
    /// Everything fails.
    Fails,
    /// Nothing is answered until the mode changes.
    Waits,
}

#[derive(Clone, Debug)]
pub(crate) struct DiskMessage {
    pub(crate) inserted: u32,
    pub(crate) service: String,
    pub(crate) alternate: Option<(String, Duration)>,
    pub(crate) terms: Terms,
    pub(crate) size: u64,
    pub(crate) at: Instant,
    /// Time before that, which this clock knows nothing of.
    pub(crate) waited: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct DiskOutcome {
    pub(crate) outcome: Outcome,
    pub(crate) token: Option<GrantToken>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) until: Instant,
}

#[derive(Clone, Debug)]
pub(crate) struct DiskReply {
    pub(crate) token: GrantToken,
    pub(crate) verb: Verb,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) until: Instant,
    pub(crate) path: Path,
}

/// What survives a restart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) boots: u32,
    pub(crate) high: u64,
    pub(crate) messages: BTreeMap<u64, DiskMessage>,
    pub(crate) attempts: BTreeMap<u64, Attempts>,
    pub(crate) outcomes: BTreeMap<u64, DiskOutcome>,
    pub(crate) replies: BTreeMap<AttemptId, DiskReply>,
}

/// Everything that a core told its caller, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) accepted: Vec<(Tag, u64)>,
    pub(crate) rejected: Vec<Tag>,
    pub(crate) settled: Vec<(u64, Outcome)>,
    pub(crate) delivered: Vec<Deliver>,
    pub(crate) answered: Vec<(Tag, Answered)>,
    pub(crate) lost: Vec<(GrantToken, LostWhy)>,
    pub(crate) closed: Vec<Fault>,
    pub(crate) cycles: Vec<NodeId>,
}

/// A frame that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) link: LinkId,
    pub(crate) header: Vec<u8>,
    pub(crate) body: Option<Vec<u8>>,
}

/// One node.
pub(crate) struct Node {
    pub(crate) core: Core<'static>,
    pub(crate) config: Config,
    pub(crate) capacity: Capacity,
    pub(crate) now: Instant,
    pub(crate) store: StoreMode,
    pub(crate) disk: Disk,
    pub(crate) told: Told,
    /// Payload bytes of this node's messages, by sequence number.
    pub(crate) payloads: BTreeMap<u64, Vec<u8>>,
    pub(crate) bodies: BTreeMap<u64, Vec<u8>>,
    pub(crate) sent: VecDeque<Sent>,
    /// Transfers beside the frames: what can be had here, and what this node asked for.
    pub(crate) apart: BTreeMap<(AttemptId, Part), Vec<u8>>,
    pub(crate) fetches: Vec<(LinkId, GrantToken, Part, u64)>,
    /// Payloads that it wants from their origins themselves, and answers that it wants to bring there.
    pub(crate) straight: Vec<(GrantToken, u64)>,
    pub(crate) brings: Vec<(GrantToken, Vec<u8>)>,
    /// Answers that are to be brought here.
    pub(crate) expected: BTreeSet<AttemptId>,
    /// It can bring answers to their origins.
    pub(crate) knows_origins: bool,
    waiting: Vec<StoreOp>,
    submits: BTreeMap<Tag, Submitted>,
    next: u64,
}

/// What a submit that was not stored yet said.
struct Submitted {
    service: String,
    alternate: Option<(String, Duration)>,
    terms: Terms,
    payload: Vec<u8>,
}

fn alternate(of: &Option<(String, Duration)>) -> Option<Alternate<'_>> {
    let (service, after) = of.as_ref()?;
    Some(Alternate {
        service,
        after: *after,
    })
}

pub(crate) fn small() -> Capacity {
    Capacity {
        messages: 64,
        reservations: 32,
        deliveries: 32,
        services: 8,
        consumers: 8,
        takes: 16,
        peers: 4,
        routes: 16,
        relays: 32,
        rules: 8,
    }
}

impl Node {
    pub(crate) fn new(number: u64, capacity: Capacity) -> Self {
        let name = Name::new(&format!("n{number}")).expect("a name");
        let mut config = Config::new(NodeId(number), name, Name::new("mesh").expect("a name"));
        config.key = [number as u8; 16];
        config.seed = number;
        let now = Instant::from_micros(1_000_000);
        let mut node = Self {
            core: Core::new(config.clone(), capacity),
            config,
            capacity,
            now,
            store: StoreMode::Done,
            disk: Disk {
                boots: 1,
                ..Disk::default()
            },
            told: Told::default(),
            payloads: BTreeMap::new(),
            bodies: BTreeMap::new(),
            sent: VecDeque::new(),
            apart: BTreeMap::new(),
            fetches: Vec::new(),
            straight: Vec::new(),
            brings: Vec::new(),
            expected: BTreeSet::new(),
            knows_origins: false,
            waiting: Vec::new(),
            submits: BTreeMap::new(),
            next: 0,
        };
        node.must(Input::Start);
        node
    }

    /// Ends the process and starts it again from its disk, `away` later. What the store had not done is lost.
    pub(crate) fn restart(&mut self, away: Duration) {
        self.now += away;
        self.disk.boots += 1;
        self.config.boot = Boot {
            counter: self.disk.boots,
            random: self.disk.boots * 7,
        };
        self.config.next_sequence = self.disk.high + 1;
        self.core = Core::new(self.config.clone(), self.capacity);
        self.told = Told::default();
        self.bodies.clear();
        self.sent.clear();
        self.apart.clear();
        self.fetches.clear();
        self.straight.clear();
        self.brings.clear();
        self.expected.clear();
        self.waiting.clear();
        self.submits.clear();
        let disk = self.disk.clone();
        for (sequence, row) in disk.messages {
            let age = row.at.until(self.now) + row.waited;
            let left = |ett: Duration| self.now.until(row.at + ett);
            let terms = Terms {
                ett: row.terms.ett.map(left),
                ..row.terms
            };
            let stored = StoredMessage {
                sequence,
                inserted: row.inserted,
                service: &row.service,
                terms,
                alternate: alternate(&row.alternate),
                age,
                attempts: disk.attempts.get(&sequence).copied().unwrap_or_default(),
                size: row.size,
            };
            self.must(Input::RecoverMessage(stored));
        }
        for (sequence, row) in disk.outcomes {
            let fence = row.token.map(|token| token.fence);
            let retention = self.now.until(row.until);
            self.must(Input::RecoverOutcome(StoredOutcome {
                sequence,
                outcome: row.outcome,
                fence,
                retention,
            }));
        }
        for row in disk.replies.into_values() {
            let body = row.body.map(|bytes| self.body(bytes));
            let remaining = self.now.until(row.until);
            self.must(Input::RecoverReply(StoredReply {
                token: row.token,
                verb: row.verb,
                body,
                remaining,
                path: row.path,
            }));
        }
        self.must(Input::Start);
    }

    /// A new number, for tags.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Bytes for the core.
    pub(crate) fn body(&mut self, bytes: Vec<u8>) -> Body {
        let id = self.number();
        let size = bytes.len() as u64;
        self.bodies.insert(id, bytes);
        Body { id, size }
    }

    /// Hands an input over and does what comes out of it.
    pub(crate) fn input(&mut self, input: Input<'_>) -> Result<Kept, Refused> {
        let answer = self.core.handle_input(self.now, input);
        let body = match input {
            Input::Answer { body, .. } | Input::Frame { body, .. } | Input::Fetched { body, .. } => body,
            Input::RecoverReply(reply) => reply.body,
            _ => None,
        };
        if let Some(body) = body
            && answer != Ok(Kept::Body)
        {
            self.bodies.remove(&body.id);
        }
        assert!(
            body.is_some() || answer != Ok(Kept::Body),
            "{input:?} has no body to keep"
        );
        self.drain();
        answer
    }

    pub(crate) fn must(&mut self, input: Input<'_>) {
        let answer = self.input(input);
        assert!(answer.is_ok(), "{input:?} was refused: {answer:?}");
    }

    /// Polls everything out and does it.
    pub(crate) fn drain(&mut self) {
        let mut buffer = [0; HEADER_MAX];
        for turn in 0.. {
            assert!(turn < 10_000, "the outputs never end");
            let Some(output) = self.core.poll_output(self.now, &mut buffer) else {
                break;
            };
            self.output(output, &buffer);
        }
        self.core.check_invariants();
    }

    /// Lets its timers fire that are due.
    pub(crate) fn time(&mut self) {
        for turn in 0.. {
            assert!(turn < 10_000, "the timers never end");
            if self.due().is_none_or(|due| due > self.now) {
                return;
            }
            self.core.handle_timeout(self.now);
            self.drain();
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.core.poll_timeout().map(|due| due.at)
    }

    /// Lets time pass for this node alone.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.time();
        }
        self.now = end;
    }

    fn bytes(&self, payload: Payload) -> Vec<u8> {
        let (bytes, size) = match payload {
            Payload::Own { sequence, size } => {
                assert!(
                    self.disk.messages.contains_key(&sequence),
                    "message {sequence} is not on disk"
                );
                (self.payloads[&sequence].clone(), size)
            }
            Payload::Held(body) => (self.held(body).clone(), body.size),
            Payload::Empty => (Vec::new(), 0),
        };
        assert_eq!(bytes.len() as u64, size, "{payload:?} has another length");
        bytes
    }

    fn held(&self, body: Body) -> &Vec<u8> {
        self.bodies
            .get(&body.id)
            .unwrap_or_else(|| panic!("{body:?} is not held"))
    }

    /// The bytes of a delivery.
    pub(crate) fn payload(&self, deliver: &Deliver) -> Vec<u8> {
        self.bytes(deliver.payload)
    }

    fn output(&mut self, output: Output, buffer: &[u8]) {
        match output {
            Output::Store(op) => self.store(op),
            Output::Accepted { tag, sequence } => {
                assert!(
                    self.disk.messages.contains_key(&sequence),
                    "P1: accepted before it is on disk"
                );
                self.told.accepted.push((tag, sequence));
            }
            Output::Rejected { tag } => self.told.rejected.push(tag),
            Output::Settled { sequence, outcome } => {
                let row = self.disk.outcomes.get(&sequence).map(|row| row.outcome);
                assert_eq!(row, Some(outcome), "P2: told before it is on disk");
                self.told.settled.push((sequence, outcome));
            }
            Output::Deliver(deliver) => {
                self.bytes(deliver.payload);
                self.told.delivered.push(deliver);
            }
            Output::Answered { tag, result } => self.told.answered.push((tag, result)),
            Output::Lost { token, why } => self.told.lost.push((token, why)),
            Output::Frame { link, len, attached } => {
                let header = buffer[..len].to_vec();
                assert!(Frame::decode(&header).is_some(), "a frame that can't be read");
                let body = match attached {
                    Attached::Nothing => None,
                    Attached::Inline(payload) => Some(self.bytes(payload)),
                    Attached::Apart { payload, token, part } => {
                        let bytes = self.bytes(payload);
                        self.apart.insert((token.attempt(), part), bytes);
                        None
                    }
                    Attached::Addressed { payload, apart: None } => Some(self.bytes(payload)),
                    Attached::Addressed {
                        payload,
                        apart: Some(token),
                    } => {
                        let bytes = self.bytes(payload);
                        self.apart.insert((token.attempt(), Part::Payload), bytes);
                        Some(Vec::new())
                    }
                    Attached::Direct { payload, token } => {
                        let bytes = self.bytes(payload);
                        self.brings.push((token, bytes));
                        None
                    }
                };
                self.sent.push_back(Sent { link, header, body });
            }
            Output::Fetch {
                link,
                token,
                part,
                size,
                direct: false,
            } => self.fetches.push((link, token, part, size)),
            Output::Fetch {
                token,
                part: Part::Reply,
                direct: true,
                ..
            } => drop(self.expected.insert(token.attempt())),
            Output::Fetch { .. } => panic!("only answers are brought"),
            Output::FetchDirect { token, size, address } => {
                self.held(address);
                self.straight.push((token, size));
            }
            Output::CloseLink { fault, .. } => self.told.closed.push(fault),
            Output::Free(body) => {
                self.bodies
                    .remove(&body.id)
                    .unwrap_or_else(|| panic!("{body:?} is freed and not held"));
            }
            Output::Notice(Notice::Cycle { node, .. }) => self.told.cycles.push(node),
            Output::Notice(_) => {}
        }
    }

    fn store(&mut self, op: StoreOp) {
        match self.store {
            StoreMode::Waits => self.waiting.push(op),
            StoreMode::Done => self.stored(op, true),
            StoreMode::Fails => self.stored(op, false),
        }
    }

    /// The store does, or fails to do, all that waits, and from then on goes on like that.
    pub(crate) fn store_now(&mut self, mode: StoreMode) {
        self.store = mode;
        while mode != StoreMode::Waits && !self.waiting.is_empty() {
            let op = self.waiting.remove(0);
            self.stored(op, mode == StoreMode::Done);
            self.drain();
        }
    }

    /// How many store operations wait.
    pub(crate) fn store_waiting(&self) -> usize {
        self.waiting.len()
    }

    fn stored(&mut self, op: StoreOp, done: bool) {
        let row = match op {
            StoreOp::Insert { tag, sequence } => {
                if done && let Some(submitted) = self.submits.remove(&tag) {
                    let Submitted {
                        service,
                        alternate,
                        terms,
                        payload,
                    } = submitted;
                    assert!(sequence > self.disk.high, "the number {sequence} was used before");
                    self.disk.high = sequence;
                    let (inserted, size, at) = (self.disk.boots, payload.len() as u64, self.now);
                    self.disk.messages.insert(
                        sequence,
                        DiskMessage {
                            inserted,
                            service,
                            alternate,
                            terms,
                            size,
                            at,
                            waited: Duration::ZERO,
                        },
                    );
                    self.payloads.insert(sequence, payload);
                }
                Row::Insert(sequence)
            }
            StoreOp::Attempts { sequence, attempts } => {
                assert!(
                    self.disk.messages.contains_key(&sequence),
                    "attempts at {sequence}, which is not on disk"
                );
                if done {
                    self.disk.attempts.insert(sequence, attempts);
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
                let body = body.map(|body| self.held(body).clone());
                if done {
                    assert!(
                        self.disk.messages.remove(&sequence).is_some(),
                        "no message {sequence} to settle"
                    );
                    self.disk.attempts.remove(&sequence);
                    let row = DiskOutcome {
                        outcome,
                        token,
                        body,
                        until: self.now + retention,
                    };
                    assert!(
                        self.disk.outcomes.insert(sequence, row).is_none(),
                        "P2: a second outcome"
                    );
                }
                Row::Settle(sequence)
            }
            StoreOp::Delete { sequence } => {
                if done {
                    assert!(
                        self.disk.outcomes.remove(&sequence).is_some(),
                        "no outcome {sequence} to delete"
                    );
                }
                Row::Delete(sequence)
            }
            StoreOp::Keep {
                token,
                verb,
                body,
                remaining,
                path,
            } => {
                let body = body.map(|body| self.held(body).clone());
                if done {
                    let row = DiskReply {
                        token,
                        verb,
                        body,
                        until: self.now + remaining,
                        path,
                    };
                    assert!(
                        self.disk.replies.insert(token.attempt(), row).is_none(),
                        "kept twice"
                    );
                }
                Row::Keep(token.attempt())
            }
            StoreOp::Drop { attempt } => {
                if done {
                    assert!(self.disk.replies.remove(&attempt).is_some(), "no reply to drop");
                }
                Row::Drop(attempt)
            }
        };
        let answer = self.core.handle_input(self.now, Input::Stored { row, done });
        assert!(
            answer != Err(Refused::Full(Bound::Answers)),
            "outputs wait while the store answers"
        );
        assert!(answer.is_ok(), "{row:?} was refused: {answer:?}");
    }

    /// Submits; the message's number if it was accepted.
    pub(crate) fn submit_as(&mut self, service: &str, terms: Terms, payload: &[u8]) -> Result<Tag, Refused> {
        self.submit_for(service, None, terms, payload)
    }

    /// The same, with an alternate service.
    pub(crate) fn submit_for(
        &mut self,
        service: &str,
        other: Option<(&str, Duration)>,
        terms: Terms,
        payload: &[u8],
    ) -> Result<Tag, Refused> {
        let tag = Tag(self.number());
        let other = other.map(|(name, after)| (name.to_owned(), after));
        let submitted = Submitted {
            service: service.to_owned(),
            alternate: other.clone(),
            terms,
            payload: payload.to_vec(),
        };
        self.submits.insert(tag, submitted);
        self.input(Input::Submit(Submit {
            tag,
            service,
            terms,
            alternate: alternate(&other),
            size: payload.len() as u64,
        }))
        .map(|_| tag)
    }

    pub(crate) fn submit(&mut self, service: &str, terms: Terms, payload: &[u8]) -> u64 {
        let tag = self
            .submit_as(service, terms, payload)
            .expect("the submit is taken");
        self.accepted(tag)
    }

    /// The number of the message that was accepted.
    pub(crate) fn accepted(&self, tag: Tag) -> u64 {
        let accepted = self.told.accepted.iter().find(|(known, _)| *known == tag);
        accepted
            .map(|(_, sequence)| *sequence)
            .expect("the submit is accepted")
    }

    pub(crate) fn register(&mut self, service: &str, consumer: &str, limit: u16, lease: Duration) {
        self.must(Input::Register {
            service,
            consumer,
            limit,
            lease,
            rate: None,
        });
    }

    /// Registers `w` with an in-transit limit that is not in the way of its rate.
    pub(crate) fn register_rate(&mut self, service: &str, rate: &str) {
        self.must(Input::Register {
            service,
            consumer: "w",
            limit: 1_000,
            lease: Duration::from_secs(30),
            rate: Some(rate.parse().expect("a rate")),
        });
    }

    pub(crate) fn take(&mut self, service: &str, consumer: &str, max: u16) -> Tag {
        let tag = Tag(self.number());
        self.must(Input::Take {
            tag,
            service,
            consumer,
            max,
        });
        tag
    }

    /// Says something about a delivery; the tag under which the answer comes.
    pub(crate) fn answer(&mut self, token: GrantToken, verb: Verb, payload: Option<&[u8]>) -> Tag {
        let tag = Tag(self.number());
        let body = payload.map(|bytes| self.body(bytes.to_vec()));
        self.must(Input::Answer {
            tag,
            token,
            verb,
            body,
            direct: self.knows_origins,
        });
        tag
    }

    /// How an answer was taken, if that is known.
    pub(crate) fn result(&self, tag: Tag) -> Option<Answered> {
        let mut results = self.told.answered.iter().filter(|(known, _)| *known == tag);
        let result = results.next().map(|(_, result)| *result);
        assert!(results.next().is_none(), "{tag:?} was answered twice");
        result
    }

    /// The outcome that was told, if one was.
    pub(crate) fn outcome(&self, sequence: u64) -> Option<Outcome> {
        let mut told = self.told.settled.iter().filter(|(known, _)| *known == sequence);
        let outcome = told.next().map(|(_, outcome)| *outcome);
        assert!(told.next().is_none(), "{sequence} was told twice");
        outcome
    }

    /// The one delivery so far.
    pub(crate) fn only_delivery(&self) -> Deliver {
        assert_eq!(
            self.told.delivered.len(),
            1,
            "one delivery: {:?}",
            self.told.delivered
        );
        self.told.delivered[0]
    }
}
