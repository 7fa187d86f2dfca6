//! P1 under `kill -9`: this test program starts itself again as a writer and kills it at random moments.

use super::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Where the writer writes; the test that is the writer does nothing without it.
const DIR: &str = "REDLINK_TEST_WRITER_DIR";

/// Every third message is settled, every sixth one deleted again.
fn is_settled(sequence: u64) -> bool {
    sequence.is_multiple_of(3)
}

fn is_deleted(sequence: u64) -> bool {
    sequence.is_multiple_of(6)
}

fn body(sequence: u64) -> Content {
    if sequence.is_multiple_of(97) {
        content(large(sequence))
    } else {
        content(format!("payload {sequence}"))
    }
}

/// Not a test by itself: writes until it is killed, and says what was acknowledged.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mut rig = Rig::open(Path::new(&dir));
    let mut next = rig.opened.next_sequence;
    let mut out = std::io::stdout().lock();
    for _ in 0..200 {
        rig.send(insert_with(next, body(next)));
        next += 1;
    }
    loop {
        for Done { row, done } in rig.answers() {
            assert!(done, "{row:?}");
            let (letter, sequence) = match row {
                Row::Insert(sequence) => ('i', sequence),
                Row::Settle(sequence) => ('s', sequence),
                Row::Delete(sequence) => ('d', sequence),
                Row::Attempts(_) | Row::Keep(_) | Row::Drop(_) => unreachable!("none was sent"),
            };
            writeln!(out, "{letter}{sequence}").unwrap();
            match letter {
                'i' if is_settled(sequence) => rig.send(settle(sequence, Some(body(sequence)))),
                's' if is_deleted(sequence) => rig.send(Op::Delete { sequence }),
                _ => {
                    rig.send(insert_with(next, body(next)));
                    next += 1;
                }
            }
        }
        out.flush().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    // The last thing that was acknowledged about each message.
    let mut acknowledged = BTreeMap::new();
    for round in 0..6 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args([
                "store::tests::crash::writer",
                "--exact",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let enough = 300 + round * 777;
        let mut seen = 0;
        for line in lines {
            let line = line.unwrap();
            // The test harness talks too.
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
        check(dir.path(), &acknowledged);
    }
}

fn check(dir: &Path, acknowledged: &BTreeMap<u64, u8>) {
    let rig = Rig::open(dir);
    for (&sequence, &what) in acknowledged {
        let (message, outcome) = (rig.payload(sequence), rig.outcome(sequence));
        let whole_message = message == Some(body(sequence)) && outcome.is_none();
        let whole_outcome =
            message.is_none() && outcome.as_ref().and_then(|of| of.content.clone()) == Some(body(sequence));
        let gone = message.is_none() && outcome.is_none();
        let right = match what {
            b'i' => whole_message || is_settled(sequence) && whole_outcome,
            b's' => whole_outcome || is_deleted(sequence) && gone,
            b'd' => gone,
            _ => false,
        };
        assert!(
            right,
            "{}{sequence}: message {message:?}, outcome {outcome:?}",
            what as char
        );
    }
    let highest = acknowledged.keys().next_back().copied().unwrap_or(0);
    assert!(rig.opened.next_sequence > highest);
    rig.assert_sound();
}
