//! A leaf and a node to its north, joined by a serial line without delay, in virtual time.

use super::*;
use crate::memory::MESSAGES;
use redlink_core::{Capacity, Name, NodeId, Outcome, Payload};
use std::boxed::Box;
use std::vec::Vec;

fn config(node: u64, name: &str) -> Config {
    Config::new(NodeId(node), Name::new(name).unwrap(), Name::new("home").unwrap())
}

/// The northern end, with what it was told.
struct North {
    core: Core<'static>,
    bodies: Bodies,
    line: Line,
    sequence: u64,
    replies: Vec<(Outcome, Vec<u8>)>,
    delivered: Vec<Vec<u8>>,
}

const LINK: LinkId = LinkId(1);

impl North {
    fn new() -> Self {
        let capacity = Capacity {
            messages: 32,
            services: 8,
            peers: 2,
            ..Capacity::default()
        };
        let mut core = Core::new(config(2, "north"), capacity);
        let now = Instant::ZERO;
        core.handle_input(now, Input::Start).unwrap();
        core.handle_input(
            now,
            Input::LinkUp {
                link: LINK,
                peer: "leaf",
                dialled: false,
                policy: redlink_core::Policy::default(),
            },
        )
        .unwrap();
        let (bodies, line) = (Bodies::new(), Line::new());
        Self {
            core,
            bodies,
            line,
            sequence: 0,
            replies: Vec::new(),
            delivered: Vec::new(),
        }
    }

    fn submit(&mut self, now: Instant, service: &str, payload: &[u8]) {
        let tag = Tag(1_000 + self.sequence);
        assert!(self.bodies.submit(tag, payload));
        let submit = Submit {
            tag,
            service,
            terms: Terms::default(),
            alternate: None,
            size: payload.len() as u64,
        };
        self.core.handle_input(now, Input::Submit(submit)).unwrap();
        self.sequence += 1;
    }

    fn take(&mut self, now: Instant, service: &str) {
        let tag = Tag(self.delivered.len() as u64);
        self.core
            .handle_input(
                now,
                Input::Take {
                    tag,
                    service,
                    consumer: "log",
                    max: 1,
                },
            )
            .unwrap();
    }

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        for &byte in bytes {
            let Ok(frame) = self.line.take(byte) else {
                panic!("the leaf sent no frame")
            };
            if let Some(Received { header, body }) = frame {
                let body = body.and_then(|bytes| self.bodies.keep(bytes));
                let kept = self
                    .core
                    .handle_input(
                        now,
                        Input::Frame {
                            link: LINK,
                            bytes: header,
                            body,
                        },
                    )
                    .unwrap();
                if let (Some(body), Kept::Nothing) = (body, kept) {
                    self.bodies.free(body);
                }
            }
        }
    }

    fn poll(&mut self, now: Instant) -> Vec<u8> {
        let mut sent = Vec::new();
        self.core.handle_timeout(now);
        let mut header = [0; HEADER_MAX];
        while let Some(output) = self.core.poll_output(now, &mut header) {
            match output {
                Output::Store(op) => self.store(now, op),
                Output::Deliver(delivery) => {
                    self.delivered
                        .push(self.bodies.get(delivery.payload).unwrap_or_default().to_vec());
                    let answer = Input::Answer {
                        tag: Tag(77),
                        token: delivery.token,
                        verb: Verb::Ack,
                        body: None,
                        direct: false,
                    };
                    self.core.handle_input(now, answer).unwrap();
                }
                Output::Frame { len, attached, .. } => {
                    let body = match attached {
                        Attached::Inline(payload) => self.bodies.get(payload).unwrap(),
                        _ => &[],
                    };
                    sent.extend_from_slice(&(len as u32).to_be_bytes());
                    sent.extend_from_slice(&(body.len() as u32).to_be_bytes());
                    sent.extend_from_slice(&header[..len]);
                    sent.extend_from_slice(body);
                }
                Output::Free(body) => self.bodies.free(body),
                Output::CloseLink { fault, .. } => panic!("the leaf broke the protocol: {fault:?}"),
                _ => {}
            }
        }
        sent
    }

    fn store(&mut self, now: Instant, op: StoreOp) {
        let row = match op {
            StoreOp::Insert { tag, sequence } => {
                self.bodies.number(tag, sequence);
                Row::Insert(sequence)
            }
            StoreOp::Settle {
                sequence,
                outcome,
                body,
                ..
            } => {
                let reply = body
                    .and_then(|body| self.bodies.get(Payload::Held(body)))
                    .unwrap_or_default();
                self.replies.push((outcome, reply.to_vec()));
                self.bodies.drop_message(sequence);
                Row::Settle(sequence)
            }
            StoreOp::Attempts { sequence, .. } => Row::Attempts(sequence),
            StoreOp::Delete { sequence } => Row::Delete(sequence),
            StoreOp::Keep { token, .. } => Row::Keep(token.attempt()),
            StoreOp::Drop { attempt } => Row::Drop(attempt),
        };
        self.core
            .handle_input(now, Input::Stored { row, done: true })
            .unwrap();
    }
}

/// Runs both until neither has anything to say.
fn settle(now: Instant, leaf: &mut Leaf<'_>, north: &mut North) {
    loop {
        let mut up = Vec::new();
        leaf.poll(now, |bytes| up.extend_from_slice(bytes));
        let down = north.poll(now);
        north.receive(now, &up);
        leaf.receive(now, &down);
        if up.is_empty() && down.is_empty() {
            return;
        }
    }
}

fn joined() -> (Leaf<'static>, North) {
    let (memory, place) = (
        Box::leak(Box::new(Memory::new())),
        Box::leak(Box::new(MaybeUninit::uninit())),
    );
    let (mut leaf, mut north) = (Leaf::new(memory, place, config(1, "leaf")), North::new());
    settle(Instant::ZERO, &mut leaf, &mut north);
    (leaf, north)
}

#[test]
fn calls_from_the_north_are_answered_one_after_the_other() {
    let (mut leaf, mut north) = joined();
    let now = Instant::from_micros(1_000);
    for payload in [&b"one"[..], b"", b"three"] {
        north.submit(now, "echo", payload);
    }
    settle(now, &mut leaf, &mut north);
    let replied = |bytes: &[u8]| (Outcome::Replied, bytes.to_vec());
    assert_eq!(north.replies, [replied(b"one"), replied(b""), replied(b"three")]);
    assert_eq!(
        leaf.progress(),
        Progress {
            served: 3,
            ..Progress::default()
        }
    );
}

#[test]
fn what_is_measured_reaches_the_consumer() {
    let (mut leaf, mut north) = joined();
    let now = Instant::from_micros(1_000);
    leaf.measure(now, "measured", b"21.5").unwrap();
    settle(now, &mut leaf, &mut north);
    assert_eq!(leaf.progress().settled, 0);
    north.take(now, "measured");
    settle(now, &mut leaf, &mut north);
    assert_eq!(north.delivered, [b"21.5"]);
    assert_eq!(
        leaf.progress(),
        Progress {
            accepted: 1,
            settled: 1,
            ..Progress::default()
        }
    );
}

/// P7: a full table is an answer, and room that comes free can be used.
#[test]
fn a_full_leaf_refuses_and_recovers() {
    let (mut leaf, mut north) = joined();
    let now = Instant::from_micros(1_000);
    for n in 0..MESSAGES {
        leaf.measure(now, "measured", &[n as u8]).unwrap();
        settle(now, &mut leaf, &mut north);
    }
    assert_eq!(
        leaf.measure(now, "measured", b"more"),
        Err(Refused::Full(Bound::Messages))
    );
    for _ in 0..MESSAGES {
        north.take(now, "measured");
        settle(now, &mut leaf, &mut north);
    }
    assert_eq!(north.delivered.len(), MESSAGES);
    leaf.measure(now, "measured", b"more").unwrap();
}

/// Polling late is safe: the other side's hello may come before the own one was polled.
#[test]
fn hellos_may_come_before_the_own_is_polled() {
    let (memory, place) = (
        Box::leak(Box::new(Memory::new())),
        Box::leak(Box::new(MaybeUninit::uninit())),
    );
    let (mut leaf, mut north) = (Leaf::new(memory, place, config(1, "leaf")), North::new());
    let mut up = Vec::new();
    leaf.poll(Instant::ZERO, |bytes| up.extend_from_slice(bytes));
    north.take(Instant::ZERO, "measured");
    north.receive(Instant::ZERO, &up);
    let down = north.poll(Instant::ZERO);
    leaf.receive(Instant::ZERO, &down);
    leaf.measure(Instant::ZERO, "measured", b"21.5").unwrap();
    settle(Instant::ZERO, &mut leaf, &mut north);
    assert_eq!(north.delivered, [b"21.5"]);
}

#[test]
fn a_garbled_line_starts_a_new_session() {
    let (mut leaf, _) = joined();
    let before = leaf.link;
    leaf.receive(Instant::from_micros(5), &[0xff; 8]);
    assert!(leaf.link > before);
}
