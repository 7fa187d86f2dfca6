//! Dead letters: a message's row moves, its file changes its owner, and there is never more or less than one of it.

use super::*;
use crate::store::{Letter, LetterLimits, LettersFrom, Requeue};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// The message ends as a dead letter.
fn die(sequence: u64) -> Op {
    let mut op = settle(sequence, Some(content("no such word")));
    if let Op::Settle { outcome, letter, .. } = &mut op {
        *outcome = Outcome::Failed;
        *letter = Some(Letter {
            attempts: 3,
            failure: Some("no such word".into()),
        });
    }
    op
}

/// A new message from a dead letter; with its payload, or with one of its own.
fn requeue(sequence: u64, letter: u64, own: Option<Content>) -> Op {
    let keeps_payload = own.is_none();
    let mut op = insert_with(sequence, own.unwrap_or_default());
    if let Op::Insert(message) = &mut op {
        message.requeue = Some(Requeue {
            letter,
            keeps_payload,
        });
    }
    op
}

impl Rig {
    fn letter(&self, sequence: u64) -> Option<crate::store::StoredLetter> {
        self.runtime.block_on(self.opened.store.letter(sequence)).unwrap()
    }

    fn letter_payload(&self, sequence: u64) -> Option<Content> {
        self.runtime
            .block_on(self.opened.store.letter_payload(sequence))
            .unwrap()
    }

    /// Their numbers, the youngest first.
    fn letters(&self) -> Vec<u64> {
        let from = LettersFrom::Before(u64::MAX);
        let found = self
            .runtime
            .block_on(self.opened.store.letters(from, 1_000))
            .unwrap();
        found.iter().map(|letter| letter.sequence).collect()
    }

    fn delete_letters(&self, sequences: &[u64]) -> Vec<u64> {
        let delete = self.opened.store.delete_letters(sequences.to_vec());
        self.runtime.block_on(delete).unwrap()
    }

    fn until_letters(&self, wanted: &[u64]) {
        let start = std::time::Instant::now();
        while self.letters() != wanted {
            assert!(start.elapsed() < PATIENCE, "{:?}", self.letters());
            std::thread::yield_now();
        }
    }
}

fn bodies() -> [(u64, Content); 3] {
    [
        (1, content("small")),
        (2, content(large(2))),
        (3, content(Vec::new())),
    ]
}

#[test]
fn a_message_that_dies_is_a_letter_with_all_that_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    for (sequence, body) in bodies() {
        let Op::Insert(mut message) = insert_with(sequence, body) else {
            unreachable!("insert gives an insert")
        };
        message.owner = Owner::Program("shop".into());
        message.alternate = Some(Alternate {
            service: "resize-slow".into(),
            after: redlink_core::Duration::from_secs(10),
        });
        message.terms = Terms {
            priority: 9,
            ett: None,
            send_only: true,
            max_attempts: 3,
            direct: true,
            ..Terms::default()
        };
        rig.did([Op::Insert(message)]);
        rig.did([die(sequence)]);
    }
    rig.did([insert(4)]);
    for _ in 0..2 {
        assert_eq!(rig.letters(), [3, 2, 1]);
        assert_eq!(files(dir.path()), 1);
        for (sequence, body) in bodies() {
            assert_eq!(rig.payload(sequence), None);
            assert_eq!(rig.letter_payload(sequence), Some(body.clone()));
            assert_eq!(rig.outcome(sequence).unwrap().outcome, Outcome::Failed);
            let letter = rig.letter(sequence).unwrap();
            assert_eq!(letter.outcome, Outcome::Failed);
            assert_eq!((letter.attempts, letter.size), (3, body.bytes.len() as u64));
            assert_eq!(letter.failure.as_deref(), Some("no such word"));
            assert_eq!(letter.program.as_deref(), Some("shop"));
            assert_eq!((letter.terms.priority, letter.terms.ett), (9, None));
            assert!(letter.terms.send_only && letter.terms.direct && letter.terms.max_attempts == 3);
            assert_eq!(letter.alternate.unwrap().service.as_ref(), "resize-slow");
            assert_eq!(letter.content_type.as_deref(), Some("text/plain"));
            assert_eq!(letter.submitted_at, 1_700_000_000_000_000);
            assert_eq!(letter.died_at, 1_700_000_001_000_000);
            assert_eq!(letter.requeued_from, None);
        }
        assert_eq!((rig.letter(4), rig.letter(u64::MAX)), (None, None));
        assert_eq!(rig.stats().dead_letters, 3);
        rig.close();
        rig = Rig::open(dir.path());
    }
    // The outcomes go as always, and leave the letters alone.
    rig.did((1..=3).map(|sequence| Op::Delete { sequence }));
    assert_eq!(rig.delete_letters(&[2, 3, 7, u64::MAX]), [2, 3]);
    assert_eq!((rig.letters(), rig.stats().dead_letters), (vec![1], 1));
    rig.assert_sound();
    rig.close();
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn a_letter_becomes_a_message_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    for (sequence, body) in bodies() {
        rig.did([insert_with(sequence, body)]);
        rig.did([die(sequence)]);
    }
    // Two at the same time: one of them has it.
    let answers = rig.all((1..=3).flat_map(|letter| [0, 10].map(|n| requeue(10 + n + letter, letter, None))));
    for letter in 1..=3 {
        let ways = [10 + letter, 20 + letter].map(|sequence| {
            let done = answers.iter().find(|done| done.row == Row::Insert(sequence));
            done.unwrap().done
        });
        assert_eq!(ways, [true, false], "letter {letter}");
    }
    assert_eq!((rig.letters(), rig.stats().dead_letters), (Vec::new(), 0));
    assert_eq!((rig.stats().messages, files(dir.path())), (3, 1));
    // One of them dies again, and goes on with a payload of its own; the file of the one before goes.
    rig.did([die(12)]);
    assert_eq!(rig.letter(12).unwrap().requeued_from, Some(2));
    rig.did([requeue(31, 12, Some(content("fixed")))]);
    for _ in 0..2 {
        for (sequence, body) in bodies() {
            let wanted = (sequence != 2).then_some(body);
            assert_eq!(rig.payload(10 + sequence), wanted);
            assert_eq!(rig.payload(20 + sequence), None);
        }
        assert_eq!(rig.payload(31), Some(content("fixed")));
        rig.assert_sound();
        rig.close();
        assert_eq!(files(dir.path()), 0);
        rig = Rig::open(dir.path());
        assert_eq!(
            rig.opened.recovered.requeued,
            [(11, 1), (12, 2), (13, 3), (31, 12)]
        );
    }
    rig.did([settle(11, None), Op::Delete { sequence: 12 }]);
    rig.did([Op::Delete { sequence: 11 }]);
    rig.close();
    let rig = Rig::open(dir.path());
    assert_eq!(rig.opened.recovered.requeued, [(13, 3), (31, 12)]);
}

#[test]
fn the_oldest_give_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    for sequence in 1..=6 {
        let body = if sequence == 1 {
            content(large(1))
        } else {
            content("x")
        };
        rig.did([insert_with(sequence, body)]);
        rig.did([die(sequence)]);
    }
    // Nobody has said how many may be there.
    assert_eq!(rig.letters(), [6, 5, 4, 3, 2, 1]);
    let mut limits = LetterLimits {
        max: 4,
        keep: Duration::from_secs(100 * 365 * 86_400),
    };
    rig.opened.store.limit_letters(limits);
    rig.until_letters(&[6, 5, 4, 3]);
    let mut young = die(7);
    if let Op::Settle { settled_at, .. } = &mut young {
        *settled_at = crate::clock::wall();
    }
    rig.did([insert(7)]);
    rig.did([young]);
    rig.until_letters(&[7, 6, 5, 4]);
    assert_eq!(rig.stats().dead_letters_dropped, 3);
    limits.keep = Duration::from_secs(86_400);
    rig.opened.store.limit_letters(limits);
    rig.until_letters(&[7]);
    let stats = rig.stats();
    assert_eq!((stats.dead_letters, stats.dead_letters_total), (1, 7));
    assert_eq!(stats.dead_letters_dropped, 6);
    rig.assert_sound();
    rig.close();
    assert_eq!(files(dir.path()), 0);
}

/// Where the writer writes; the test that is the writer does nothing without it.
const DIR: &str = "REDLINK_TEST_LETTERS_DIR";

fn body(sequence: u64) -> Content {
    match sequence % 41 {
        0 => content(large(sequence)),
        _ => content(format!("payload {sequence}")),
    }
}

/// Not a test by itself: inserts, lets die, and requeues until it is killed, and says what was acknowledged.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mut rig = Rig::open(Path::new(&dir));
    let mut next = rig.opened.next_sequence;
    let requeued = rig
        .opened
        .recovered
        .requeued
        .iter()
        .map(|(sequence, _)| *sequence);
    let mut requeued: BTreeSet<u64> = requeued.collect();
    let mut out = std::io::stdout().lock();
    for _ in 0..100 {
        rig.send(insert_with(next, body(next)));
        next += 1;
    }
    loop {
        for Done { row, done } in rig.answers() {
            assert!(done, "{row:?}");
            let new = |next: &mut u64| {
                *next += 1;
                *next - 1
            };
            match row {
                Row::Insert(sequence) if !requeued.contains(&sequence) => {
                    writeln!(out, "i{sequence}").unwrap();
                    rig.send(die(sequence));
                }
                Row::Settle(sequence) => {
                    writeln!(out, "k{sequence}").unwrap();
                    let again = new(&mut next);
                    requeued.insert(again);
                    rig.send(requeue(again, sequence, None));
                }
                _ => {
                    let fresh = new(&mut next);
                    rig.send(insert_with(fresh, body(fresh)));
                }
            }
        }
        out.flush().unwrap();
    }
}

#[test]
fn a_kill_leaves_the_letter_or_the_message() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..4 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args([
                "store::tests::letters::writer",
                "--exact",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let enough = 300 + round * 577;
        let mut seen = 0;
        for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some(sequence) = line.get(1..).and_then(|digits| digits.parse::<u64>().ok()) else {
                continue;
            };
            acknowledged.insert(sequence, line.as_bytes()[0]);
            seen += 1;
            if seen == enough {
                writer.kill().unwrap();
            }
        }
        assert!(seen >= enough, "the writer ended by itself");
        writer.wait().unwrap();

        let rig = Rig::open(dir.path());
        let later: BTreeMap<u64, u64> = rig
            .opened
            .recovered
            .requeued
            .iter()
            .map(|(new, old)| (*old, *new))
            .collect();
        let mut in_files = 0;
        for (&sequence, &what) in &acknowledged {
            let message = rig.payload(sequence);
            let letter = rig.letter_payload(sequence);
            let again = later.get(&sequence).and_then(|new| rig.payload(*new));
            let there: Vec<Content> = [&message, &letter, &again]
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            assert_eq!(there, [body(sequence)], "{}{sequence}", what as char);
            assert!(what != b'k' || message.is_none(), "{sequence} came back");
            in_files += usize::from(body(sequence).bytes.len() > crate::store::INLINE_MAX);
        }
        // Those that were not acknowledged may have files too.
        assert!(in_files > 0 && files(dir.path()) >= in_files);
        rig.assert_sound();
    }
}
