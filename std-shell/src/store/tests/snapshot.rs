//! Copies while the store goes on, and stores that are made of them.

use super::*;
use crate::store::rebirth;
use std::time::Instant;

/// How many messages there are when the copy is made; more to measure what commits wait.
const MANY: &str = "REDLINK_TEST_SNAPSHOT_MESSAGES";

#[test]
fn a_copy_is_of_one_moment_and_holds_up_no_commit() {
    let many = std::env::var(MANY)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3_000);
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    for first in (1..=many).step_by(1_000) {
        let last = many.min(first + 999);
        rig.did((first..=last).map(|sequence| insert_with(sequence, content(vec![b'x'; 1_024]))));
    }
    rig.did([
        insert_with(many + 1, content(large(1))),
        insert_with(many + 2, content(large(2))),
    ]);
    let store = rig.opened.store.clone();
    let copying = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let began = Instant::now();
        (runtime.block_on(store.snapshot()).unwrap(), began.elapsed())
    });
    let mut next = many + 3;
    let (mut worst, mut commits) = (Duration::ZERO, 0);
    while !copying.is_finished() || commits < 10 {
        let began = Instant::now();
        rig.did([insert(next)]);
        (worst, commits, next) = (worst.max(began.elapsed()), commits + 1, next + 1);
    }
    let (snapshot, took) = copying.join().unwrap();
    println!("{many} messages copied in {took:?}; {commits} commits meanwhile, the slowest {worst:?}");
    // What goes now is in the copy, with its file, as long as that is there.
    rig.did([settle(many + 1, None), Op::Delete { sequence: 5 }]);
    assert_eq!(files(dir.path()), 2);

    let other = tempfile::tempdir().unwrap();
    std::fs::copy(snapshot.database(), other.path().join("redlink.db")).unwrap();
    std::fs::create_dir(other.path().join("payload")).unwrap();
    for entry in std::fs::read_dir(snapshot.payloads()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), other.path().join("payload").join(entry.file_name())).unwrap();
    }
    let node = rebirth(other.path()).unwrap();
    let copy = Rig::open(other.path());
    copy.assert_sound();
    assert_eq!(copy.opened.identity.node, node);
    assert_ne!(copy.opened.identity.node, rig.opened.identity.node);
    assert_ne!(copy.opened.identity.key, rig.opened.identity.key);
    let found = copy.opened.recovered.messages.len() as u64;
    assert!((many + 2..next).contains(&found), "{found}");
    // A beginning of what was committed, with no gap.
    let numbers: Vec<u64> = copy
        .opened
        .recovered
        .messages
        .iter()
        .map(|m| m.sequence)
        .collect();
    assert_eq!(numbers, (1..=found).collect::<Vec<_>>());
    assert_eq!(copy.payload(many + 1), Some(content(large(1))));
    assert_eq!(copy.payload(many + 2), Some(content(large(2))));
    assert!(copy.opened.next_sequence > found);
    copy.close();

    drop(snapshot);
    rig.did([insert(next)]);
    let began = Instant::now();
    while files(dir.path()) != 1 {
        assert!(began.elapsed() < PATIENCE, "the file of the settled one goes");
        std::thread::yield_now();
    }
    let left = std::fs::read_dir(dir.path()).unwrap();
    let left = left.filter(|e| {
        e.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".backup-")
    });
    assert_eq!(left.count(), 0);
    rig.assert_sound();
    rig.close();
}

#[test]
fn what_a_crash_leaves_of_a_copy_goes_and_no_store_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join(".backup-x");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("redlink.db"), b"half").unwrap();
    let rig = Rig::open(dir.path());
    assert!(!left.exists());
    rig.close();
    let empty = tempfile::tempdir().unwrap();
    assert!(rebirth(empty.path()).is_err());
    std::fs::write(empty.path().join("redlink.db"), b"no database".repeat(1_000)).unwrap();
    assert!(rebirth(empty.path()).is_err());
}
