//! A backup that is made under load, read by the sqlite3 program, and restored beside the node that still runs.

use redlink_tests::{Node, Worker, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

fn tar(arguments: &[&str]) -> String {
    let out = Command::new("tar").args(arguments).output().expect("tar");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

#[test]
fn a_backup_under_load_becomes_a_node_beside_its_original() {
    let mut node = Node::first("one");
    let large = vec![b'l'; 300_000];
    let mut before = BTreeSet::new();
    for n in 0..20 {
        let payload = if n % 4 == 0 { large.as_slice() } else { b"small" };
        before.insert(node.submit("keep", &[("redlink-ett", "none")], payload));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("one.tar");
    let path = file.to_str().expect("a name");
    let over = AtomicBool::new(false);
    let answered = std::thread::scope(|scope| {
        // Messages come and go meanwhile, large ones too.
        let load = scope.spawn(|| {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                let id = node.submit("busy", &[], &large);
                let taken = node.take("busy", "w");
                assert_eq!(taken.message, id);
                node.answer(&taken.delivery, "reply", &large).status(204);
                node.collect(&id).status(200);
                answered += 1;
            }
            answered
        });
        for n in 0..3 {
            let other = dir.path().join(format!("{n}.tar"));
            node.cli(&["backup", other.to_str().expect("a name")], b"").ok();
        }
        let said = node.cli(&["backup", path, "--json"], b"").ok().text();
        over.store(true, Ordering::Relaxed);
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(said["bytes"], file.metadata().expect("the file").len());
        load.join().expect("the load")
    });
    assert!(answered > 0);
    let mode = file.metadata().expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
    node.cli(&["backup", path], b"").code(2).says(&["already"]);
    let names = tar(&["tf", path]);
    for name in [
        "redlink-backup.json",
        "data/redlink.db",
        "redlink.toml",
        "ca-key.pem",
        "node-key.pem",
        "end",
    ] {
        assert!(names.lines().any(|line| line == name), "{name} in {names}");
    }
    let unpacked = dir.path().join("unpacked");
    std::fs::create_dir(&unpacked).expect("a directory");
    tar(&["xf", path, "-C", unpacked.to_str().expect("a name")]);
    let database = unpacked.join("data/redlink.db");
    let sql = "PRAGMA integrity_check; SELECT count(*) FROM message WHERE service = 'keep';";
    let out = Command::new("sqlite3").arg(&database).arg(sql).output();
    if let Ok(out) = out {
        assert_eq!(String::from_utf8_lossy(&out.stdout), "ok\n20\n");
    }

    // Restored where a node is, it is refused; cut, too, and nothing is left behind.
    let mut other = Node::prepare("two");
    node.cli(&["restore", path], b"").code(1).says(&["there already"]);
    let bytes = std::fs::read(&file).expect("the file");
    for cut in [0, 100, bytes.len() / 2, bytes.len() - 2_048] {
        other
            .cli(&["restore", "-"], bytes.get(..cut).unwrap_or_default())
            .code(1)
            .says(&["no whole backup"]);
        assert!(!other.dir().join(".redlink").exists());
    }
    let said = other
        .cli(&["restore", path, "--name", "two", "--json"], b"")
        .ok()
        .text();
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let old = node.json("/v1/node")["node"].clone();
    assert_eq!(said["was"], old);
    assert_ne!(said["node"], old);
    other.restart();
    assert_eq!(other.json("/v1/node")["node"], said["node"]);
    assert_eq!(node.json("/v1/node")["node"], old, "the first one still runs");
    let restored = other.json("/v1/messages?service=keep");
    let restored = restored.as_array().expect("a list");
    assert_eq!(restored.len(), 20);
    for message in restored {
        let id = message["id"].as_str().expect("an id");
        let sequence = id.rsplit('-').next().expect("a number");
        assert!(before.iter().any(|id| id.rsplit('-').next() == Some(sequence)));
        assert!(!before.contains(id));
    }
    // Both work off their own.
    for node in [&node, &other] {
        let _worker = Worker::start(node, "keep", "w", &["--concurrency", "4"], &["wc", "-c"]);
        until("all to be done", || {
            let all = node.json("/v1/messages?service=keep");
            let all = all.as_array()?;
            all.iter()
                .all(|message| message["state"] == "replied")
                .then_some(())
        });
    }
    other.stop();
    node.stop();
}
