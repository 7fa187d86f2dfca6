//! P1 under power loss: everything the engine writes is recorded; then the power goes at random moments, what was not
//! synced by then is lost, kept or torn, and what was acknowledged by then must be there.

use super::hooked::{Hooks, Synced};
use super::*;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

enum Event {
    Write {
        file: String,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        len: u64,
    },
    Sync {
        file: String,
    },
    /// The store has answered.
    Done(Row),
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Recorder {
    fn note(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

fn name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

impl Hooks for Recorder {
    fn write(&self, path: &str, at: u64, bytes: &[u8]) -> Result<(), ErrorKind> {
        self.note(Event::Write {
            file: name(path),
            at,
            bytes: bytes.to_owned(),
        });
        Ok(())
    }
    fn truncate(&self, path: &str, len: u64) {
        self.note(Event::Truncate {
            file: name(path),
            len,
        });
    }
    fn sync(&self, path: &str) -> Synced {
        // Noted before it is done: the log holds no write that came in between, since one thread does both.
        self.note(Event::Sync { file: name(path) });
        Synced::Yes
    }
}

/// A small generator, so that a failure names its seed and comes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// A file's content, and what was done to it since its last sync.
#[derive(Default)]
struct Disk<'e> {
    safe: Vec<u8>,
    pending: Vec<&'e Event>,
}

impl<'e> Disk<'e> {
    fn apply(safe: &mut Vec<u8>, event: &Event, cut: usize) {
        match event {
            Event::Write { at, bytes, .. } => {
                let (at, bytes) = (usize::try_from(*at).unwrap(), &bytes[..cut.min(bytes.len())]);
                if safe.len() < at + bytes.len() {
                    safe.resize(at + bytes.len(), 0);
                }
                safe[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Event::Truncate { len, .. } => safe.resize(usize::try_from(*len).unwrap(), 0),
            Event::Sync { .. } | Event::Done(_) => {}
        }
    }

    fn sync(&mut self) {
        for event in self.pending.drain(..) {
            Self::apply(&mut self.safe, event, usize::MAX);
        }
    }

    /// The power goes.
    fn lose(mut self, dice: &mut Dice) -> Vec<u8> {
        for event in self.pending {
            match dice.below(3) {
                0 => {}
                1 => Self::apply(&mut self.safe, event, usize::MAX),
                _ => Self::apply(&mut self.safe, event, 512 * dice.below(9)),
            }
        }
        self.safe
    }
}

fn body(sequence: u64) -> Content {
    let bytes: Vec<u8> = (0..1_500 + sequence % 700)
        .map(|at| (at + sequence) as u8)
        .collect();
    content(bytes)
}

/// Inserts all; settles every second; deletes every fourth. Enough for the engine to empty its log several times.
fn work(rig: &mut Rig, recorder: &Recorder) {
    const LAST: u64 = 3_000;
    let mut dice = Dice(1);
    let mut next = 1;
    let mut under_way = 0;
    while next <= LAST || under_way > 0 {
        let most = 1 + dice.below(60);
        while next <= LAST && under_way < most {
            rig.send(insert_with(next, body(next)));
            (next, under_way) = (next + 1, under_way + 1);
        }
        for Done { row, done } in rig.answers() {
            assert!(done, "{row:?}");
            recorder.note(Event::Done(row));
            match row {
                Row::Insert(sequence) if sequence % 2 == 0 => {
                    rig.send(settle(sequence, Some(body(sequence))))
                }
                Row::Settle(sequence) if sequence % 4 == 0 => rig.send(Op::Delete { sequence }),
                _ => under_way -= 1,
            }
        }
    }
}

#[test]
fn what_was_acknowledged_survives_a_power_loss() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let mut rig = Rig::open_with(dir.path(), hooked::opener(recorder.clone()));
    work(&mut rig, &recorder);
    rig.close();
    let events = recorder.0.lock().unwrap();
    let truncated = events
        .iter()
        .filter(|event| matches!(event, Event::Truncate { .. }))
        .count();
    assert!(truncated > 0, "the log was emptied");
    // Before the first answer there is nothing to lose.
    let first = events
        .iter()
        .position(|event| matches!(event, Event::Done(_)))
        .unwrap();
    for seed in 0..25 {
        let mut dice = Dice(seed);
        let end = first + dice.below(events.len() - first);
        let mut disks: HashMap<&str, Disk<'_>> = HashMap::new();
        let mut known = HashMap::new();
        for event in &events[..end] {
            match event {
                Event::Write { file, .. } | Event::Truncate { file, .. } => {
                    disks.entry(file).or_default().pending.push(event);
                }
                Event::Sync { file } => disks.entry(file).or_default().sync(),
                Event::Done(Row::Insert(sequence)) => _ = known.insert(*sequence, 'i'),
                Event::Done(Row::Settle(sequence)) => _ = known.insert(*sequence, 's'),
                Event::Done(Row::Delete(sequence)) => _ = known.insert(*sequence, 'd'),
                Event::Done(Row::Attempts(_) | Row::Keep(_) | Row::Drop(_)) => {}
            }
        }
        let after = tempfile::tempdir().unwrap();
        let mut names: Vec<_> = disks.keys().copied().collect();
        names.sort_unstable();
        for name in names {
            let bytes = disks.remove(name).unwrap().lose(&mut dice);
            std::fs::write(after.path().join(name), bytes).unwrap();
        }
        check(after.path(), &known, seed);
    }
}

fn check(dir: &Path, known: &HashMap<u64, char>, seed: u64) {
    let rig = Rig::open(dir);
    rig.assert_sound();
    let found = &rig.opened.recovered;
    let messages: HashMap<_, _> = found.messages.iter().map(|of| (of.sequence, of.size)).collect();
    let outcomes: HashMap<_, _> = found.outcomes.iter().map(|of| (of.sequence, of.size)).collect();
    for (&sequence, &what) in known {
        let size = body(sequence).bytes.len() as u64;
        let message = messages.get(&sequence) == Some(&size);
        let outcome = outcomes.get(&sequence) == Some(&Some(size));
        assert!(!(message && outcome), "seed {seed}: {sequence} is there twice");
        let right = match what {
            'i' => message || sequence.is_multiple_of(2) && outcome,
            's' => outcome || sequence.is_multiple_of(4) && !message,
            _ => !message && !outcome,
        };
        assert!(
            right,
            "seed {seed}: {what}{sequence}: message {message}, outcome {outcome}"
        );
        if sequence % 37 == 0 && message {
            assert_eq!(rig.payload(sequence), Some(body(sequence)), "seed {seed}");
        }
    }
    let highest = known.keys().max().copied().unwrap_or(0);
    assert!(rig.opened.next_sequence > highest, "seed {seed}");
}
