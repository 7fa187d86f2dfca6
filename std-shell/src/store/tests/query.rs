//! An operator's queries: what they see, what they may not, and what they cost others.

use super::*;
use crate::store::{Cell, QueryAnswer, QueryError, StoreHandle};
use std::time::Instant;

impl Rig {
    fn query(&self, sql: &str) -> Result<QueryAnswer, QueryError> {
        self.runtime.block_on(self.opened.store.query(sql.to_owned()))
    }

    fn rows(&self, sql: &str) -> Vec<Vec<Cell>> {
        self.query(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).rows
    }

    fn refused(&self, sql: &str) {
        match self.query(sql) {
            Err(QueryError::Bad(_)) => {}
            other => panic!("{sql}: {other:?}"),
        }
    }
}

/// Never ends by itself, and never gives a row.
const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

/// Asks again while a short one is running; says how long the query itself took.
fn insist(runtime: &Runtime, store: &StoreHandle, sql: &str) -> (Result<QueryAnswer, QueryError>, Duration) {
    loop {
        let began = Instant::now();
        match runtime.block_on(store.query(sql.to_owned())) {
            Err(QueryError::Busy) => {}
            other => return (other, began.elapsed()),
        }
    }
}

#[test]
fn values_keep_their_types() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did((1..=20).map(insert));
    rig.did([settle(1, Some(content("r")))]);
    let answer = rig
        .query("SELECT 1 AS one, 1.5 AS half, 'a' || 'b' AS text, x'00ff' AS bytes, NULL AS none; -- behind")
        .unwrap();
    assert_eq!(answer.columns, ["one", "half", "text", "bytes", "none"]);
    let wanted = [
        Cell::Integer(1),
        Cell::Real(1.5),
        Cell::Text("ab".into()),
        Cell::Blob(vec![0, 255]),
        Cell::Null,
    ];
    assert_eq!(answer.rows, [wanted]);
    assert!(!answer.truncated);
    let json = serde_json::to_string(&answer.rows).unwrap();
    assert_eq!(json, r#"[[1,1.5,"ab",{"base64":"AP8="},null]]"#);
    assert_eq!(
        rig.rows("SELECT service, count(*), max(sequence) FROM message GROUP BY service"),
        [[Cell::Text("resize".into()), Cell::Integer(19), Cell::Integer(20)]]
    );
    assert_eq!(
        rig.rows("SELECT payload FROM message WHERE sequence = 7"),
        [[Cell::Blob(b"payload 7".to_vec())]]
    );
    // What was committed since the last one is seen.
    rig.did([insert(21)]);
    assert_eq!(rig.rows("SELECT count(*) FROM message"), [[Cell::Integer(20)]]);
    assert!(!rig.rows("EXPLAIN QUERY PLAN SELECT * FROM message").is_empty());
    let many = rig
        .query("SELECT a.sequence FROM message a, message b, message c, message d")
        .unwrap();
    assert_eq!((many.rows.len(), many.truncated), (10_000, true));
    let fat = rig
        .query("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT hex(printf('%100000d', x)) FROM n")
        .unwrap();
    assert!(fat.truncated && fat.rows.len() < 100, "{}", fat.rows.len());
    rig.assert_sound();
    rig.close();
}

#[test]
fn nothing_changes_and_no_secret_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did([insert(1), keep(2, Some(content("k")))]);
    let key = rig.opened.identity.key;
    for sql in [
        "SELECT key FROM node",
        "SELECT * FROM node",
        "SELECT * FROM \"node\"",
        "SELECT * FROM [NODE]",
        "SELECT * FROM main.node",
        "SELECT count(*) FROM node",
        "SELECT (SELECT hex(key) FROM node)",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM node WHERE key > x'80')",
        "WITH s AS (SELECT key AS k FROM node) SELECT k FROM s",
        "SELECT m.sequence FROM message m JOIN node n ON n.id = 1 WHERE n.key > x'80'",
        "SELECT 1 UNION ALL SELECT key FROM node",
        "SELECT sum(x) OVER () FROM (SELECT length(key) AS x FROM node)",
        "SELECT token FROM reply",
        "SELECT * FROM reply",
        "SELECT sequence FROM reply ORDER BY token",
        "SELECT max(hex(token)) FROM reply",
        "WITH r AS (SELECT token AS t FROM reply) SELECT count(*) FROM r WHERE t > x'80'",
        "EXPLAIN SELECT key FROM node",
        "SELECT data FROM sqlite_dbpage",
        "SELECT * FROM pragma_table_info('message')",
        "SELECT load_extension('x')",
        "SELECT length(zeroblob(1000000000))",
        "PRAGMA query_only = 0",
        "EXPLAIN PRAGMA query_only = 0",
        "ATTACH 'x' AS x",
        "VACUUM INTO 'x'",
        "DELETE FROM message",
        "WITH x AS (SELECT 1) DELETE FROM message",
        "EXPLAIN DELETE FROM message",
        "SELECT 1; DELETE FROM message",
        "SELECT 1; SELECT 2",
        "SELECT ?1",
        "SELECT",
        "SELECT * FROM nothing",
        "INSERT INTO message (sequence) VALUES (9) RETURNING sequence",
    ] {
        rig.refused(sql);
    }
    for sql in ["(", "-", "NOT ", "SELECT(", "("] {
        // Deep enough for any parser's stack; what is said of it does not matter, only that somebody says it.
        let _ = rig.query(&format!("SELECT {}", sql.repeat(12_000 / sql.len())));
    }
    let _ = rig.query(&format!("SELECT {}1{}", "(".repeat(7_000), ")".repeat(7_000)));
    let _ = rig.query(&format!("SELECT 1{}", "+1".repeat(7_000)));
    // Not by a look at the whole either.
    assert_eq!(rig.rows("SELECT count(*) FROM message"), [[Cell::Integer(1)]]);
    let sequence = rig.rows("SELECT sequence, size FROM reply");
    assert_eq!(sequence, [[Cell::Integer(2), Cell::Integer(1)]]);
    let schema = serde_json::to_string(&rig.rows("SELECT * FROM sqlite_schema")).unwrap();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!schema.contains(&hex));
    rig.did([insert(3)]);
    rig.assert_sound();
    rig.close();
}

#[test]
fn a_query_without_end_is_stopped_and_holds_up_no_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did((1..=2_000).map(insert));
    for sql in [
        ENDLESS,
        "SELECT count(*) FROM message a, message b, message c, message d",
        "SELECT a.payload FROM message a, message b, message c ORDER BY b.sequence, a.payload DESC",
        "WITH RECURSIVE s(x) AS (SELECT 'x' UNION ALL SELECT x || x FROM s) SELECT length(x) FROM s ORDER BY x",
    ] {
        let store = rig.opened.store.clone();
        let asked = sql.to_owned();
        let query = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            insist(&runtime, &store, &asked)
        });
        let mut next = rig.stats().messages + 1;
        let (mut worst, mut commits) = (Duration::ZERO, 0);
        let mut busy = 0;
        while !query.is_finished() {
            let began = Instant::now();
            rig.did([insert(next)]);
            (worst, commits, next) = (worst.max(began.elapsed()), commits + 1, next + 1);
            busy += usize::from(rig.query("SELECT 1") == Err(QueryError::Busy));
        }
        let (result, took) = query.join().unwrap();
        println!("{sql}: {result:?} after {took:?}; {commits} commits meanwhile, the slowest {worst:?}");
        assert!(
            matches!(result, Err(QueryError::Stopped(_) | QueryError::Bad(_))),
            "{sql}: {result:?}"
        );
        assert!(
            took < PATIENCE && commits > 10,
            "{sql}: {commits} commits in {took:?}"
        );
        assert!(busy > 0, "one at a time");
    }
    // The log can be emptied again.
    rig.assert_sound();
    rig.close();
}

#[test]
fn a_query_that_nobody_waits_for_ends_and_a_close_does_not_wait_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did([insert(1)]);
    let store = rig.opened.store.clone();
    let short = async { tokio::time::timeout(Duration::from_millis(50), store.query(ENDLESS.into())).await };
    assert!(rig.runtime.block_on(short).is_err());
    let began = Instant::now();
    while rig.query("SELECT 1").is_err() {
        assert!(began.elapsed() < PATIENCE);
    }
    let store = rig.opened.store.clone();
    let query = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        insist(&runtime, &store, ENDLESS).0
    });
    while rig.query("SELECT 1") != Err(QueryError::Busy) {}
    rig.close();
    assert!(matches!(
        query.join().unwrap(),
        Err(QueryError::Stopped(_) | QueryError::Read(_))
    ));
    let rig = Rig::open(dir.path());
    assert_eq!(rig.rows("SELECT count(*) FROM message"), [[Cell::Integer(1)]]);
}
