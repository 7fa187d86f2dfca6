//! The disk fails: what is answered is what is on disk, and the store comes back.

use super::*;
use crate::store::turso::Turso;
use limbo::core::io::FileSyncType;
use limbo::core::{
    Buffer, Clock, Completion, CompletionError, File, IO, LimboError, MonotonicInstant, OpenFlags, UnixIO,
    WallClockInstant,
};
use std::io::ErrorKind;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What goes wrong, until told otherwise.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    None,
    /// Nothing can be written to files whose name ends like this: the disk is full.
    Full(&'static str),
    /// Syncing fails and does not sync.
    Sync(&'static str),
    /// Syncing syncs, and reports failure.
    LyingSync(&'static str),
}

type Switch = Arc<Mutex<Fault>>;

struct FaultyIo {
    inner: UnixIO,
    switch: Switch,
}

impl Clock for FaultyIo {
    fn current_time_monotonic(&self) -> MonotonicInstant {
        self.inner.current_time_monotonic()
    }
    fn current_time_wall_clock(&self) -> WallClockInstant {
        self.inner.current_time_wall_clock()
    }
}

impl IO for FaultyIo {
    fn open_file(&self, path: &str, flags: OpenFlags, direct: bool) -> limbo::core::Result<Arc<dyn File>> {
        let inner = self.inner.open_file(path, flags, direct)?;
        Ok(Arc::new(FaultyFile {
            inner,
            path: path.to_owned(),
            switch: self.switch.clone(),
        }))
    }
    fn remove_file(&self, path: &str) -> limbo::core::Result<()> {
        self.inner.remove_file(path)
    }
    fn step(&self) -> limbo::core::Result<()> {
        self.inner.step()
    }
}

struct FaultyFile {
    inner: Arc<dyn File>,
    path: String,
    switch: Switch,
}

impl FaultyFile {
    fn room(&self) -> limbo::core::Result<()> {
        match *self.switch.lock().unwrap() {
            Fault::Full(end) if self.path.ends_with(end) => Err(LimboError::CompletionError(
                CompletionError::IOError(ErrorKind::StorageFull, "pwrite"),
            )),
            _ => Ok(()),
        }
    }
}

impl File for FaultyFile {
    fn lock_file(&self, exclusive: bool) -> limbo::core::Result<()> {
        self.inner.lock_file(exclusive)
    }
    fn unlock_file(&self) -> limbo::core::Result<()> {
        self.inner.unlock_file()
    }
    fn pread(&self, at: u64, c: Completion) -> limbo::core::Result<Completion> {
        self.inner.pread(at, c)
    }
    fn pwrite(&self, at: u64, buffer: Arc<Buffer>, c: Completion) -> limbo::core::Result<Completion> {
        self.room()?;
        self.inner.pwrite(at, buffer, c)
    }
    fn pwritev(&self, at: u64, buffers: Vec<Arc<Buffer>>, c: Completion) -> limbo::core::Result<Completion> {
        self.room()?;
        self.inner.pwritev(at, buffers, c)
    }
    fn sync(&self, c: Completion, how: FileSyncType) -> limbo::core::Result<Completion> {
        let failure = || LimboError::CompletionError(CompletionError::IOError(ErrorKind::Other, "sync"));
        let fault = *self.switch.lock().unwrap();
        match fault {
            Fault::Sync(end) if self.path.ends_with(end) => Err(failure()),
            Fault::LyingSync(end) if self.path.ends_with(end) => {
                let _synced = self.inner.sync(c, how)?;
                Err(failure())
            }
            _ => self.inner.sync(c, how),
        }
    }
    fn size(&self) -> limbo::core::Result<u64> {
        self.inner.size()
    }
    fn truncate(&self, len: u64, c: Completion) -> limbo::core::Result<Completion> {
        self.inner.truncate(len, c)
    }
}

/// An opener whose database sees the switch's faults, and a count of how often it was used.
fn faulty(switch: &Switch) -> (open::Opener, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let (switch, count) = (switch.clone(), opened.clone());
    let opener: open::Opener = Box::new(move |dir| {
        count.fetch_add(1, Ordering::Relaxed);
        let io = FaultyIo {
            inner: UnixIO::new().unwrap(),
            switch: switch.clone(),
        };
        Ok(Box::new(Turso::open_with(dir, Arc::new(io))?))
    });
    (opener, opened)
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
    for fault in [Fault::Sync("-wal"), Fault::LyingSync("-wal")] {
        let dir = tempfile::tempdir().unwrap();
        let switch = switch();
        let (opener, opened) = faulty(&switch);
        let mut rig = Rig::open_with(dir.path(), opener);
        rig.did([insert(1), insert_with(2, content(large(2)))]);
        set(&switch, fault);
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
        if fault == Fault::LyingSync("-wal") {
            assert!(
                answers
                    .iter()
                    .all(|answer| answer.done || answer.row == Row::Insert(4)),
                "{answers:?}"
            );
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
    set(&switch, Fault::Sync("-wal"));
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
    set(&switch, Fault::Sync("-wal"));
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
