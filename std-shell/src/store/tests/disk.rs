//! Files, locks, versions: what is in the directory, and what must not be.

use super::*;
use crate::store::schema;
use std::fs;

#[test]
fn a_large_body_is_a_file_as_long_as_its_row_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    let [payload, reply, kept] = [1, 2, 3].map(|seed| content(large(seed)));
    rig.did([insert_with(1, payload.clone()), keep(9, Some(kept.clone()))]);
    assert_eq!(files(dir.path()), 2);
    assert_eq!(rig.payload(1), Some(payload.clone()));
    assert_eq!(rig.reply(token(9).attempt()).unwrap().content, Some(kept.clone()));
    drop(rig);

    let mut rig = Rig::open(dir.path());
    assert_eq!(files(dir.path()), 2, "rows name them");
    assert_eq!(rig.opened.recovered.messages[0].size, payload.bytes.len() as u64);
    assert_eq!(
        rig.opened.recovered.replies[0].size,
        Some(kept.bytes.len() as u64)
    );
    assert_eq!(rig.payload(1), Some(payload));
    rig.did([
        settle(1, Some(reply.clone())),
        Op::Drop {
            attempt: token(9).attempt(),
        },
    ]);
    assert_eq!(rig.outcome(1).unwrap().content, Some(reply.clone()));
    rig.did([keep(9, Some(kept.clone()))]);
    assert_eq!(
        rig.reply(token(9).attempt()).unwrap().content,
        Some(kept),
        "not removed with the one before"
    );
    rig.did([
        Op::Delete { sequence: 1 },
        Op::Drop {
            attempt: token(9).attempt(),
        },
    ]);
    rig.close();
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn a_body_at_the_limit_is_in_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    let at_limit = content(vec![1; crate::store::INLINE_MAX]);
    rig.did([insert_with(1, at_limit.clone())]);
    assert_eq!(files(dir.path()), 0);
    assert_eq!(rig.payload(1), Some(at_limit));
}

#[test]
fn a_refused_operation_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did([insert(1), insert_with(2, content(large(2)))]);
    assert_eq!(
        rig.all([insert_with(1, content(large(1)))]),
        [Done {
            row: Row::Insert(1),
            done: false
        }]
    );
    rig.did([settle(1, Some(content(large(1))))]);
    rig.did([settle(1, Some(content(large(1))))]);
    rig.close();
    assert_eq!(files(dir.path()), 2, "the payload of 2 and the outcome of 1");
}

#[test]
fn a_start_sweeps_files_without_a_row_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did([insert_with(1, content(large(1)))]);
    drop(rig);
    let folder = dir.path().join("payload");
    for name in ["0000000100000077", "notes.txt", "0000000100000078.tmp", "1"] {
        fs::write(folder.join(name), "left behind").unwrap();
    }
    let rig = Rig::open(dir.path());
    assert_eq!(rig.payload(1), Some(content(large(1))));
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["0000000100000000", "0000000100000078.tmp", "1", "notes.txt"]
    );
}

#[test]
fn a_lost_file_is_an_error_and_not_an_empty_payload() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did([insert_with(1, content(large(1)))]);
    let folder = dir.path().join("payload");
    fs::remove_file(folder.join("0000000100000000")).unwrap();
    let error = rig.runtime.block_on(rig.opened.store.payload(1)).unwrap_err();
    assert!(error.to_string().contains("0000000100000000"), "{error}");
}

#[test]
fn a_body_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    fs::remove_dir(dir.path().join("payload")).unwrap();
    assert_eq!(
        rig.all([insert_with(1, content(large(1)))]),
        [Done {
            row: Row::Insert(1),
            done: false
        }]
    );
    rig.did([insert(2)]);
    assert_eq!(rig.payload(1), None);
}

#[test]
fn a_second_node_is_refused_and_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::open(dir.path());
    let refusal = Rig::refusal(dir.path());
    assert!(
        matches!(&refusal, OpenError::Locked { dir: d, pid: Some(pid) } if d == dir.path() && *pid == std::process::id())
    );
    let text = refusal.to_string();
    assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    drop(rig);
    Rig::open(dir.path());
}

#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("a").join("b");
    let _rig = Rig::open(&dir);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("redlink.db")), 0o600);
    assert_eq!(mode(&dir.join("redlink.db-wal")), 0o600);
    assert_eq!(mode(&dir.join("payload")), 0o700);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    Rig::open(dir.path()).close();
    edit(dir.path(), "UPDATE meta SET version = 99");
    let before = fs::read(dir.path().join("redlink.db")).unwrap();
    let refusal = Rig::refusal(dir.path());
    assert!(
        matches!(
            refusal,
            OpenError::Newer { found: 99, known, .. } if known == schema::VERSION
        ),
        "{refusal}"
    );
    assert!(refusal.to_string().contains("newer Redlink"), "{refusal}");
    assert_eq!(fs::read(dir.path().join("redlink.db")).unwrap(), before);
}

#[test]
fn messages_of_a_schema_without_owners_go_on_as_the_administrators() {
    let dir = tempfile::tempdir().unwrap();
    // As the second schema left it: without what came since, and with rows in the tables.
    let mut rig = Rig::open(dir.path());
    rig.did([insert(1), insert_with(2, content(large(2))), insert(3)]);
    rig.did([settle(3, Some(content("reply")))]);
    let (identity, counter) = (rig.opened.identity, rig.opened.boot.counter);
    rig.close();
    for table in [
        "owner",
        "dead_letter",
        "requeued",
        "preserved",
        "idempotency",
        "attempts",
    ] {
        edit(dir.path(), &format!("DROP TABLE {table}"));
    }
    for column in [
        "alternate",
        "alternate_after",
        "direct",
        "not_before",
        "traceparent",
        "tracestate",
        "at_most_once",
    ] {
        edit(dir.path(), &format!("ALTER TABLE message DROP COLUMN {column}"));
    }
    edit(dir.path(), "UPDATE meta SET version = 2");

    let mut rig = Rig::open(dir.path());
    assert_eq!(
        (rig.opened.identity, rig.opened.boot.counter),
        (identity, counter + 1)
    );
    assert_eq!(rig.opened.recovered.owners, []);
    let found = &rig.opened.recovered;
    assert_eq!((found.messages.len(), found.outcomes.len()), (2, 1));
    assert_eq!(rig.payload(2), Some(content(large(2))));
    assert_eq!(rig.outcome(3).unwrap().content, Some(content("reply")));
    rig.did([insert_of(4, "p"), settle(1, None), Op::Delete { sequence: 3 }]);
    rig.assert_sound();
    drop(rig);
    let rig = Rig::open(dir.path());
    assert_eq!(rig.opened.recovered.owners, [(4, "p".into())]);
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redlink.db");
    let text = b"this is a diary, not a database; ".repeat(300);
    fs::write(&path, &text).unwrap();
    let refusal = Rig::refusal(dir.path());
    assert!(refusal.to_string().contains("not a Redlink store"), "{refusal}");
    assert_eq!(fs::read(&path).unwrap(), text);

    let dir = tempfile::tempdir().unwrap();
    edit(
        dir.path(),
        "CREATE TABLE meta (id INTEGER PRIMARY KEY, version INTEGER)",
    );
    let refusal = Rig::refusal(dir.path());
    assert!(
        refusal.to_string().contains("another program's database"),
        "{refusal}"
    );
}

#[test]
fn a_bad_value_stops_the_start_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.did([insert(1)]);
    rig.close();
    edit(dir.path(), "UPDATE message SET priority = 256");
    let refusal = Rig::refusal(dir.path());
    assert!(refusal.to_string().contains("256"), "{refusal}");
}

/// A store that an older Redlink has left is brought to this one's schema, with all that is in it.
#[test]
fn an_older_schema_is_brought_up_to_date() {
    for version in 1..schema::STEPS.len() {
        let dir = tempfile::tempdir().unwrap();
        let mut old = vec![format!("PRAGMA application_id = {}", schema::APPLICATION_ID)];
        old.extend(
            schema::STEPS[..version]
                .concat()
                .iter()
                .map(|sql| (*sql).to_owned()),
        );
        old.push(format!("UPDATE meta SET version = {version}"));
        old.push(
            "INSERT INTO node (id, node, key) VALUES (1, 7, x'00112233445566778899aabbccddeeff')".into(),
        );
        old.push("INSERT INTO boot (id, counter, random, next_sequence) VALUES (1, 3, 4, 100)".into());
        let hex: String = token(5).to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        old.push(format!(
            "INSERT INTO reply (node, sequence, boot, attempt, token, verb, until, size, content_type, body) \
             VALUES (-2, 5, 1, 1, x'{hex}', 1, 9, 4, NULL, x'646f6e65')"
        ));
        old.push(
            "INSERT INTO message (sequence, inserted, service, priority, ett, reoffer, send_only, max_attempts, \
             retention, submitted_at, size, payload) VALUES (5, 1, 's', 0, NULL, 1, 0, 0, 1, 1, 1, x'00')"
                .into(),
        );
        edit_all(dir.path(), &old);
        let mut rig = Rig::open(dir.path());
        let replies = &rig.opened.recovered.replies;
        assert_eq!(replies.len(), 1, "from version {version}");
        assert_eq!((replies[0].token, replies[0].size), (token(5), Some(4)));
        assert!(replies[0].path.is_empty());
        assert_eq!(rig.opened.recovered.messages.len(), 1);
        rig.did([keep(6, None), insert(200)]);
        rig.close();
        assert_eq!(Rig::open(dir.path()).opened.recovered.replies.len(), 2);
    }
}

/// Changes a closed store behind its back.
pub(super) fn edit(dir: &Path, sql: &str) {
    edit_all(dir, &[sql.to_owned()]);
}

fn edit_all(dir: &Path, all: &[String]) {
    use limbo::core::{Database, OpenOptions, SqliteDialect, UnixIO};
    use std::sync::Arc;
    let path = dir.join("redlink.db");
    let options = OpenOptions::new(Arc::new(SqliteDialect));
    let database = Database::open(Arc::new(UnixIO::new().unwrap()), path.to_str().unwrap(), options).unwrap();
    let connection = database.connect().unwrap();
    for sql in all {
        connection
            .execute(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    connection.close().unwrap();
}
