//! The disk fails: what is answered is what is on disk, and the store comes back.

use super::hooked::{Hooks, Synced};
use super::*;
use std::io::ErrorKind;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    None,
    /// Nothing can be written to files whose name ends like this: the disk is full.
    Full(&'static str),
    /// So ends a file's name whose sync comes out like this.
    Sync(&'static str, Synced),
}

/// What goes wrong until it is set to something else.
type Switch = Arc<Mutex<Fault>>;

impl Hooks for Mutex<Fault> {
    fn write(&self, path: &str, _at: u64, _bytes: &[u8]) -> Result<(), ErrorKind> {
        match *self.lock().unwrap() {
            Fault::Full(end) if path.ends_with(end) => Err(ErrorKind::StorageFull),
            _ => Ok(()),
        }
    }
    fn truncate(&self, _path: &str, _len: u64) {}
    fn sync(&self, path: &str) -> Synced {
        match *self.lock().unwrap() {
            Fault::Sync(end, how) if path.ends_with(end) => how,
            _ => Synced::Yes,
        }
    }
}

/// An opener whose database sees the switch's faults, and a count of how often it was used.
fn faulty(switch: &Switch) -> (open::Opener, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let mut opener = hooked::opener(switch.clone());
    let counting: open::Opener = Box::new(move |dir| {
        count.fetch_add(1, Ordering::Relaxed);
        opener(dir)
    });
    (counting, opened)
}

fn set(switch: &Switch, fault: Fault) {
    *switch.lock().unwrap() = fault;
}

fn switch() -> Switch {
    Arc::new(Mutex::new(Fault::None))
}

#[test]
fn a_full_disk_refuses_what_is_new_and_reads_go_on() {
    for full in ["-wal", ""] {
        let dir = tempfile::tempdir().unwrap();
        let switch = switch();
        let mut rig = Rig::open_with(dir.path(), faulty(&switch).0);
        rig.did((1..=50).map(insert));
        set(&switch, Fault::Full(full));
        for sequence in 51..=60 {
            let row = Row::Insert(sequence);
            assert_eq!(rig.all([insert(sequence)]), [Done { row, done: false }]);
            assert_eq!(rig.payload(sequence), None);
            assert_eq!(rig.payload(1), Some(content("payload 1")));
        }
        assert_eq!(
            rig.all([settle(1, None)]),
            [Done {
                row: Row::Settle(1),
                done: false
            }]
        );
        assert_eq!(rig.payload(1), Some(content("payload 1")));
        let mut group: Vec<_> = (62..=100).map(insert).collect();
        group.extend((2..=50).map(|sequence| settle(sequence, None)));
        assert!(rig.all(group).iter().all(|answer| !answer.done), "all or nothing");
        set(&switch, Fault::None);
        rig.did([settle(1, None), insert(61)]);
        rig.assert_sound();
        drop(rig);
        let rig = Rig::open(dir.path());
        let found: Vec<_> = rig.opened.recovered.messages.iter().map(|m| m.sequence).collect();
        assert_eq!(found, (2..=50).chain([61]).collect::<Vec<_>>());
    }
}

#[test]
fn a_database_that_cannot_grow_still_accepts_what_its_log_takes() {
    let dir = tempfile::tempdir().unwrap();
    let switch = switch();
    let mut rig = Rig::open_with(dir.path(), faulty(&switch).0);
    set(&switch, Fault::Full(".db"));
    // Twice what the engine lets its log grow to before it writes to the database.
    let body = content(vec![1; 2_000]);
    rig.did((1..=4_000).map(|sequence| insert_with(sequence, body.clone())));
    assert_eq!(rig.payload(4_000), Some(body));
    set(&switch, Fault::None);
    rig.did([settle(1, None)]);
    rig.assert_sound();
    rig.close();
    assert_eq!(
        std::fs::metadata(dir.path().join("redlink.db-wal"))
            .unwrap()
            .len(),
        0
    );
    assert_eq!(Rig::open(dir.path()).opened.recovered.messages.len(), 3_999);
}

#[test]
fn a_failed_sync_is_answered_by_what_is_on_disk() {
    for how in [Synced::No, Synced::Denied] {
        let dir = tempfile::tempdir().unwrap();
        let switch = switch();
        let (opener, opened) = faulty(&switch);
        let mut rig = Rig::open_with(dir.path(), opener);
        rig.did([insert(1), insert_with(2, content(large(2)))]);
        set(&switch, Fault::Sync("-wal", how));
        for op in [
            insert(3),
            settle(1, Some(content("reply"))),
            insert_with(4, content(large(4))),
        ] {
            rig.send(op);
        }
        // It can't be answered before it is known.
        while opened.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        set(&switch, Fault::None);
        let mut answers = Vec::new();
        while answers.len() < 3 {
            answers.extend(rig.answers());
        }
        let done = |row| answers.contains(&Done { row, done: true });
        if how == Synced::Denied {
            // The first is on disk; those behind it may have come when the store was down.
            assert!(done(Row::Insert(3)), "{answers:?}");
        }
        assert_eq!(rig.payload(3).is_some(), done(Row::Insert(3)));
        assert_eq!(rig.payload(4).is_some(), done(Row::Insert(4)));
        assert_eq!(rig.outcome(1).is_some(), done(Row::Settle(1)));
        assert_eq!(rig.payload(1).is_none(), done(Row::Settle(1)));
        assert!(rig.stats().up);
        rig.did([insert(5)]);
        rig.assert_sound();
        drop(rig);
        let rig = Rig::open(dir.path());
        assert_eq!(rig.payload(3).is_some(), done(Row::Insert(3)));
        assert_eq!(rig.payload(5), Some(content("payload 5")));
    }
}

#[test]
fn while_it_cannot_be_opened_again_reads_fail_and_nothing_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let switch = switch();
    let (mut opener, opened) = faulty(&switch);
    let locked_out = Arc::new(AtomicBool::new(false));
    let gate = locked_out.clone();
    let opener: open::Opener = Box::new(move |dir| {
        if gate.load(Ordering::Relaxed) {
            return Err(OpenError::PathNotText { dir: dir.to_owned() });
        }
        opener(dir)
    });
    let mut rig = Rig::open_with(dir.path(), opener);
    rig.did([insert(1)]);
    locked_out.store(true, Ordering::Relaxed);
    set(&switch, Fault::Sync("-wal", Synced::No));
    rig.send(insert(2));
    let error = loop {
        match rig.runtime.block_on(rig.opened.store.payload(1)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::Down(_)), "{error}");
    assert!(!rig.stats().up);
    assert_eq!(
        rig.all([insert(3)]),
        [Done {
            row: Row::Insert(3),
            done: false
        }]
    );
    set(&switch, Fault::None);
    locked_out.store(false, Ordering::Relaxed);
    let answers = rig.answers();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].row, Row::Insert(2));
    assert_eq!(rig.payload(2).is_some(), answers[0].done);
    assert_eq!(rig.payload(1), Some(content("payload 1")));
    assert_eq!(rig.payload(3), None);
    assert_eq!(rig.stats().reopened, 1);
    assert_eq!(opened.load(Ordering::Relaxed), 2);
}

/// Set for the process that is to panic.
const PANIC: &str = "REDLINK_TEST_PANIC_DIR";

/// Not a test by itself: its engine panics when it is opened again.
#[test]
fn panicking() {
    let Some(dir) = std::env::var_os(PANIC) else {
        return;
    };
    let switch = switch();
    let (mut opener, opened) = faulty(&switch);
    let opener: open::Opener = Box::new(move |dir| {
        assert_eq!(opened.load(Ordering::Relaxed), 0, "an engine's bug");
        opener(dir)
    });
    let mut rig = Rig::open_with(Path::new(&dir), opener);
    set(&switch, Fault::Sync("-wal", Synced::No));
    rig.all([insert(1)]);
}

#[test]
fn a_panic_in_the_engine_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    let dir = tempfile::tempdir().unwrap();
    let ended = Command::new(std::env::current_exe().unwrap())
        .args([
            "store::tests::faults::panicking",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(PANIC, dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.signal(), Some(6), "{text}");
    assert!(text.contains("the thread redlink-store panicked"), "{text}");
    Rig::open(dir.path()).assert_sound();
}
