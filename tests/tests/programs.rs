//! Programs with tokens of their own work side by side, and none can see or harm another, over `kill -9` too (P12).

use redlink_tests::{Curl, Node, Response, Taken, Worker, until};
use std::path::{Path, PathBuf};

/// A program with a token of its own, that uses curl.
struct Program {
    url: String,
    token: PathBuf,
    curlrc: PathBuf,
}

impl Program {
    /// Makes its token on the command line, with these permissions.
    fn new(node: &Node, name: &str, permissions: &[&str]) -> Self {
        let line = ["token", "create", "--program", name];
        let line: Vec<&str> = line.iter().chain(permissions).copied().collect();
        let made = node.cli(&line, b"").ok().says(&[name, "redlink token revoke"]);
        let text = made.text();
        assert!(text.trim().starts_with("redlink-program-1."), "{text}");
        let token = node.dir().join(format!("{name}.token"));
        std::fs::write(&token, &text).expect("a file");
        let ca = node.dir().join(".redlink/ca.pem");
        let curlrc = node.dir().join(format!("{name}.curlrc"));
        let lines = format!(
            "cacert = \"{}\"\nheader = \"Authorization: Bearer {}\"\n",
            ca.display(),
            text.trim()
        );
        std::fs::write(&curlrc, lines).expect("a file");
        Self {
            url: node.url(),
            token,
            curlrc,
        }
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Response {
        Curl::new(method, format!("{}{path}", self.url), Some(&self.curlrc))
            .body(body)
            .get()
    }

    #[track_caller]
    fn submit(&self, service: &str, payload: &[u8]) -> String {
        let accepted = self
            .ask("POST", &format!("/v1/services/{service}/messages"), payload)
            .status(202);
        accepted.header("location").expect("a location").to_owned()
    }

    fn token(&self) -> &str {
        self.token.to_str().expect("a path")
    }
}

/// All that is not its own is nothing to this one.
fn sees_nothing(thief: &Program, message: &str, delivery: &str) {
    for (method, path) in [
        ("GET", message.to_owned()),
        ("GET", format!("{message}/outcome?wait=30s")),
        ("DELETE", format!("{message}/outcome")),
        ("DELETE", message.to_owned()),
    ] {
        thief.ask(method, &path, b"").problem(404, "unknown-message");
    }
    thief
        .ask("GET", &format!("{delivery}/payload"), b"")
        .problem(404, "unknown-delivery");
    for verb in ["reply", "ack", "fail", "extend", "release"] {
        thief
            .ask("POST", &format!("{delivery}/{verb}"), b"")
            .problem(404, "unknown-delivery");
    }
    assert_eq!(
        thief.ask("GET", "/v1/messages", b"").status(200).json(),
        serde_json::json!([])
    );
    for path in ["/v1/consumers", "/v1/services", "/v1/peers", "/v1/tokens"] {
        thief.ask("GET", path, b"").problem(403, "forbidden");
    }
}

#[test]
fn two_programs_work_side_by_side_and_a_third_gets_nothing_of_theirs() {
    let mut node = Node::first("alone");
    let shop = Program::new(&node, "shop", &["--produce", "jobs.*"]);
    let worker = Program::new(&node, "worker", &["--consume", "jobs.*", "--ttl", "30d"]);
    let thief = Program::new(&node, "thief", &["--produce", "*", "--consume", "*"]);

    // Each does its part, and that only.
    let wc = Worker::start(
        &node,
        "jobs.wc",
        "w1",
        &["--token-file", worker.token()],
        &["wc", "-w"],
    );
    let called = node.cli(
        &["call", "jobs.wc", "--verbose", "--token-file", shop.token()],
        b"one two three",
    );
    assert_eq!(called.ok().text().trim(), "3");
    drop(wc);
    shop.ask("POST", "/v1/services/mail/messages", b"x")
        .problem(403, "forbidden");
    let refused = shop.ask("POST", "/v1/services/jobs.wc/consumers/c/take", b"");
    assert!(
        refused
            .problem(403, "forbidden")
            .text()
            .contains("--consume jobs.wc")
    );
    worker
        .ask("POST", "/v1/services/jobs.wc/messages", b"x")
        .problem(403, "forbidden");
    worker
        .ask("PUT", "/v1/services/mail/consumers/c", b"")
        .problem(403, "forbidden");
    node.cli(&["send", "mail", "--token-file", shop.token()], b"x")
        .code(1)
        .says(&["may not produce to `mail`"]);
    node.cli(&["tokens", "--token-file", shop.token()], b"")
        .code(1)
        .says(&["may not administer"]);
    assert!(
        node.cli(&["status", "--token-file", shop.token()], b"")
            .ok()
            .text()
            .contains("alone of mesh")
    );

    // One message is under way, one has its outcome, when somebody else comes along.
    let settled = shop.submit("jobs.settled", b"a");
    let open = shop.submit("jobs.open", b"b");
    let take = |service: &str| {
        let path = format!("/v1/services/{service}/consumers/w/take?wait=60s");
        Taken::read(&worker.ask("POST", &path, b"").status(200))
    };
    let done = take("jobs.settled");
    worker
        .ask("POST", &format!("{}/reply", done.delivery), b"A")
        .status(204);
    shop.ask("GET", &format!("{settled}/outcome?wait=60s"), b"")
        .status(200);
    let held = take("jobs.open");
    for (method, path) in [("PUT", ""), ("DELETE", ""), ("POST", "/take")] {
        let path = format!("/v1/services/jobs.open/consumers/w{path}");
        thief.ask(method, &path, b"").problem(403, "consumer-taken");
    }
    for restarted in [false, true] {
        if restarted {
            node.kill();
            node.restart();
        }
        sees_nothing(&thief, &open, &held.delivery);
        sees_nothing(&thief, &settled, &done.delivery);
        shop.ask("POST", &format!("{}/reply", held.delivery), b"")
            .problem(404, "unknown-delivery");
        worker.ask("GET", &open, b"").problem(404, "unknown-message");
        let own = shop.ask("GET", "/v1/messages", b"").status(200).json();
        assert_eq!(own.as_array().map(Vec::len), Some(2), "{own}");
    }
    // What was theirs is as it was: the worker's answer from before the crash, the shop's two outcomes.
    worker
        .ask("POST", &format!("{}/reply", held.delivery), b"B")
        .status(204);
    for (path, reply) in [(&settled, "A"), (&open, "B")] {
        let outcome = format!("{path}/outcome");
        assert_eq!(
            shop.ask("GET", &format!("{outcome}?wait=60s"), b"")
                .status(200)
                .text(),
            reply
        );
        thief.ask("GET", &outcome, b"").problem(404, "unknown-message");
        shop.ask("DELETE", &outcome, b"").status(204);
        shop.ask("DELETE", &outcome, b"").problem(404, "unknown-message");
    }
    until("both to be forgotten", || {
        (node.json("/v1/messages") == serde_json::json!([])).then_some(())
    });
    node.stop();
    node.check_database();
}

#[test]
fn a_revoked_worker_ends_at_once_and_stays_out_after_a_crash() {
    let mut node = Node::first("alone");
    let worker = Program::new(&node, "worker", &["--consume", "jobs"]);
    let other = Program::new(&node, "other", &["--consume", "jobs", "--produce", "jobs"]);
    let mut serving = Worker::start(&node, "jobs", "w1", &["--token-file", worker.token()], &["cat"]);
    let list = node.cli(&["token", "list", "--json"], b"").ok().text();
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let id = list
        .as_array()
        .into_iter()
        .flatten()
        .find(|token| token["program"] == "worker");
    let id = id.and_then(|token| token["id"].as_str()).expect("its id");
    assert!(node.cli(&["tokens"], b"").ok().text().contains(id));

    // It waits with its token; what it is told ends it.
    until("the worker to wait", || {
        let consumers = node.json("/v1/consumers");
        (consumers[0]["wanted"].as_u64() == Some(1)).then_some(())
    });
    node.cli(&["token", "revoke", id], b"").ok();
    node.cli(&["token", "revoke", id], b"")
        .code(1)
        .says(&["redlink token list"]);
    let status = serving.process.wait();
    assert_eq!(status.code(), Some(1));
    let said = serving.process.output();
    assert!(said.contains("revoked"), "{said}");

    for _ in 0..2 {
        worker.ask("GET", "/v1/node", b"").problem(401, "unauthorized");
        other.ask("GET", "/v1/node", b"").status(200);
        node.kill();
        node.restart();
    }
    // No token lies about in the node's directory.
    let secrets =
        [&worker, &other].map(|program| std::fs::read_to_string(&program.token).expect("its token"));
    no_file_has(&node.dir().join(".redlink"), &secrets);
    let log = std::fs::read_to_string(node.log()).expect("the log");
    assert!(
        secrets.iter().all(|secret| !log.contains(secret.trim())),
        "a token is in the log"
    );
}

fn no_file_has(directory: &Path, secrets: &[String]) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            no_file_has(&path, secrets);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        for secret in secrets {
            // Its end is the secret part; what is before that is the id.
            let tail = &secret.trim()[40..];
            assert!(!text.contains(tail), "{} has a token in it", path.display());
        }
    }
}
