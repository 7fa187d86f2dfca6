//! Random operations against a plain map, with stops and starts in between.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Short, so that a failing case can be read.
#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u64, Bytes),
    Attempts(u64, u16),
    Settle(u64, Outcome, Option<Bytes>),
    Delete(u64),
    Keep(u64, Option<Bytes>),
    Drop(u64),
    /// All that was sent is answered.
    Wait,
    /// Another life; in order or not.
    Restart(bool),
}

/// So many bytes of this value.
#[derive(Clone, Copy, Debug)]
struct Bytes(usize, u8);

impl Bytes {
    fn content(self) -> Content {
        content(vec![self.1; self.0])
    }
}

impl Step {
    fn op(self) -> Option<Op> {
        Some(match self {
            Self::Insert(sequence, body) => {
                let Op::Insert(mut message) = insert_with(sequence, body.content()) else {
                    unreachable!("insert gives an insert")
                };
                // Some are a program's, each time another one's.
                if !body.1.is_multiple_of(3) {
                    message.owner = Owner::Program(format!("p{}", body.1).into());
                }
                Op::Insert(message)
            }
            Self::Attempts(sequence, ended) => Op::Attempts {
                sequence,
                attempts: Attempts {
                    ended,
                    newest: None,
                    counted: ended.is_multiple_of(2),
                },
            },
            Self::Settle(sequence, outcome, body) => Op::Settle {
                sequence,
                outcome,
                token: None,
                content: body.map(Bytes::content),
                settled_at: 1,
                retain_until: 2,
                letter: None,
            },
            Self::Delete(sequence) => Op::Delete { sequence },
            Self::Keep(sequence, body) => keep(sequence, body.map(Bytes::content)),
            Self::Drop(sequence) => Op::Drop {
                attempt: token(sequence).attempt(),
            },
            Self::Wait | Self::Restart(_) => return None,
        })
    }
}

/// What should be there.
#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, Content>,
    outcomes: BTreeMap<u64, (Outcome, Option<Content>)>,
    replies: BTreeMap<u64, Option<Content>>,
    owners: BTreeMap<u64, String>,
    attempts: BTreeMap<u64, Attempts>,
}

impl Model {
    /// Makes the change, and says whether it can be made.
    fn take(&mut self, op: &Op) -> bool {
        match op {
            Op::Reserve { .. } => true,
            Op::Insert(message) => {
                let program = message.owner.program().map(ToString::to_string);
                // An outcome under the same number keeps its owner; in a node's life no number comes twice.
                let owned = program.is_some() && self.owners.contains_key(&message.sequence);
                let free = !owned && !self.messages.contains_key(&message.sequence);
                if free {
                    self.owners
                        .extend(program.map(|program| (message.sequence, program)));
                    self.messages.insert(message.sequence, message.content.clone());
                }
                free
            }
            Op::Attempts { sequence, attempts } => {
                self.attempts.insert(*sequence, *attempts);
                true
            }
            Op::Settle {
                sequence,
                outcome,
                content,
                ..
            } => match self.outcomes.get(sequence) {
                Some((there, _)) => there == outcome && !self.messages.contains_key(sequence),
                None => {
                    self.messages.remove(sequence);
                    self.attempts.remove(sequence);
                    self.outcomes.insert(*sequence, (*outcome, content.clone()));
                    true
                }
            },
            Op::Delete { sequence } => {
                self.outcomes.remove(sequence);
                self.owners.remove(sequence);
                true
            }
            Op::Keep { token, content, .. } => {
                self.replies
                    .entry(token.message.sequence)
                    .or_insert_with(|| content.clone());
                true
            }
            Op::Drop { attempt } => {
                self.replies.remove(&attempt.message.sequence);
                true
            }
        }
    }
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    let size = prop_oneof![8 => 0_usize..200, 2 => 3_000_usize..9_000, 1 => 65_500_usize..65_600];
    (size, any::<u8>()).prop_map(|(size, value)| Bytes(size, value))
}

fn any_step() -> impl Strategy<Value = Step> {
    // Few keys, so that they meet.
    let key = || 1_u64..60;
    let outcome = prop_oneof![Just(Outcome::Replied), Just(Outcome::Expired)];
    let maybe = || proptest::option::of(any_bytes());
    prop_oneof![
        40 => (key(), any_bytes()).prop_map(|(at, body)| Step::Insert(at, body)),
        20 => (key(), any::<u16>()).prop_map(|(at, ended)| Step::Attempts(at, ended)),
        30 => (key(), outcome, maybe()).prop_map(|(at, outcome, body)| Step::Settle(at, outcome, body)),
        30 => key().prop_map(Step::Delete),
        10 => (key(), maybe()).prop_map(|(at, body)| Step::Keep(at, body)),
        10 => key().prop_map(Step::Drop),
        12 => Just(Step::Wait),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4,
        max_shrink_time: 20_000,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x5edd),
        ..ProptestConfig::default()
    })]

    #[test]
    fn it_holds_what_a_map_would(steps in proptest::collection::vec(any_step(), 600)) {
        run(steps);
    }
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    let mut model = Model::default();
    let mut sent: Vec<Op> = Vec::new();
    for step in steps
        .into_iter()
        .chain([Step::Restart(true), Step::Restart(false)])
    {
        if let Some(op) = step.op() {
            // About one row one at a time: between a large body and a small one there is no order.
            if sent.iter().any(|other| key_of(other) == key_of(&op)) {
                settle_up(&mut rig, &mut model, &mut sent);
            }
            sent.push(op);
            continue;
        }
        settle_up(&mut rig, &mut model, &mut sent);
        if let Step::Restart(orderly) = step {
            let next = rig.opened.next_sequence;
            if orderly {
                rig.close()
            } else {
                drop(rig)
            }
            rig = Rig::open(dir.path());
            assert!(rig.opened.next_sequence >= next);
            compare(&rig, &model);
        }
    }
    rig.assert_sound();
    rig.close();
    let in_files = |content: &&Content| content.bytes.len() > crate::store::INLINE_MAX;
    let named = model.messages.values().filter(in_files).count()
        + model
            .outcomes
            .values()
            .filter_map(|(_, content)| content.as_ref())
            .filter(in_files)
            .count()
        + model.replies.values().flatten().filter(in_files).count();
    assert_eq!(files(dir.path()), named);
}

fn key_of(op: &Op) -> (bool, u64) {
    match op.row() {
        Row::Insert(sequence) | Row::Attempts(sequence) | Row::Settle(sequence) | Row::Delete(sequence) => {
            (false, sequence)
        }
        Row::Keep(attempt) | Row::Drop(attempt) => (true, attempt.message.sequence),
    }
}

fn settle_up(rig: &mut Rig, model: &mut Model, sent: &mut Vec<Op>) {
    let answers: std::collections::HashMap<Row, bool> = rig
        .all(sent.clone())
        .into_iter()
        .map(|Done { row, done }| (row, done))
        .collect();
    for op in sent.drain(..) {
        assert_eq!(answers[&op.row()], model.take(&op), "{:?}", op.row());
    }
}

fn compare(rig: &Rig, model: &Model) {
    let found = &rig.opened.recovered;
    let sizes: Vec<_> = model
        .messages
        .iter()
        .map(|(key, content)| (*key, content.bytes.len() as u64))
        .collect();
    assert_eq!(
        found
            .messages
            .iter()
            .map(|m| (m.sequence, m.size))
            .collect::<Vec<_>>(),
        sizes
    );
    for message in &found.messages {
        let known = model.attempts.get(&message.sequence).copied();
        assert_eq!(message.attempts, known.unwrap_or_default());
    }
    let size = |content: &Option<Content>| content.as_ref().map(|content| content.bytes.len() as u64);
    let outcomes: Vec<_> = model
        .outcomes
        .iter()
        .map(|(key, (outcome, of))| (*key, *outcome, size(of)))
        .collect();
    assert_eq!(
        found
            .outcomes
            .iter()
            .map(|o| (o.sequence, o.outcome, o.size))
            .collect::<Vec<_>>(),
        outcomes
    );
    let owners = found.owners.iter();
    let owners: Vec<_> = owners.map(|(at, program)| (*at, program.to_string())).collect();
    assert_eq!(owners, model.owners.clone().into_iter().collect::<Vec<_>>());
    let mut replies: Vec<_> = found
        .replies
        .iter()
        .map(|r| (r.token.message.sequence, r.size))
        .collect();
    replies.sort_unstable();
    assert_eq!(
        replies,
        model
            .replies
            .iter()
            .map(|(key, of)| (*key, size(of)))
            .collect::<Vec<_>>()
    );
    for sequence in 0..61 {
        assert_eq!(rig.payload(sequence), model.messages.get(&sequence).cloned());
        let outcome = rig.outcome(sequence).map(|of| (of.outcome, of.content));
        assert_eq!(outcome, model.outcomes.get(&sequence).cloned());
        let reply = rig.reply(token(sequence).attempt()).map(|of| of.content);
        assert_eq!(reply, model.replies.get(&sequence).cloned());
    }
}
