//! What operators do with a node's store: ask it, flush it, and see that its disk does not fill up.

use redlink_tests::{Node, until};
use serde_json::{Value, json};

fn set(node: &mut Node, line: &str) {
    node.stop();
    let file = node.dir().join(".redlink/redlink.toml");
    let text = std::fs::read_to_string(&file).expect("its settings");
    std::fs::write(&file, format!("{line}\n{text}")).expect("its settings");
    node.restart();
}

#[test]
fn an_administrator_asks_in_sql_and_nobody_else() {
    let node = Node::first("alone");
    for _ in 0..3 {
        node.submit("mail", &[("content-type", "text/plain")], b"\0\xff");
    }
    let sql = "SELECT service, count(*) AS waiting FROM message GROUP BY service";
    let shown = node.cli(&["query", sql], b"").ok().text();
    assert!(shown.contains("waiting") && shown.contains("mail"), "{shown}");
    let answer = node
        .cli(
            &["query", "--json", "SELECT payload, NULL FROM message LIMIT 1"],
            b"",
        )
        .ok();
    let answer: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!(answer["rows"], json!([[{ "base64": "AP8=" }, null]]));
    node.cli(&["query", "DELETE FROM message"], b"")
        .code(1)
        .says(&["nothing was run"]);
    node.cli(&["query", "SELECT key FROM node"], b"")
        .code(1)
        .says(&["secrets"]);
    // By a program's token instead of the administrator's.
    let ask = |permission: &[&str]| {
        let line = [&["token", "create", "--program", "p"], permission].concat();
        let file = node.dir().join("token");
        std::fs::write(&file, node.cli(&line, b"").ok().text()).expect("a file");
        let file = file.to_str().expect("a name");
        node.cli(&["query", "SELECT 1 AS one", "--token-file", file], b"")
    };
    ask(&["--produce", "mail", "--consume", "mail"])
        .code(1)
        .says(&["--administer"]);
    assert!(ask(&["--administer"]).ok().text().contains("one"));
}

#[test]
fn a_flush_gives_every_open_message_its_outcome() {
    let node = Node::first("alone");
    let mail: Vec<_> = (0..5).map(|_| node.submit("mail", &[], b"x")).collect();
    let other = node.submit("other", &[], b"x");
    let held = node.take("mail", "w");
    node.cli(&["flush"], b"").code(2);
    node.curl("POST", "/v1/flush").get().problem(400, "bad-request");
    node.cli(&["flush", "--service", "mail", "--dry-run"], b"")
        .ok()
        .says(&["5 would be cancelled"]);
    assert_eq!(node.json(&format!("/v1/messages/{other}"))["state"], "queued");
    let passed = node
        .curl("POST", "/v1/flush?service=mail&max=2")
        .get()
        .status(200)
        .json();
    assert_eq!((&passed["count"], &passed["more"]), (&2.into(), &true.into()));
    node.cli(&["flush", "--service", "mail"], b"")
        .ok()
        .says(&["3 cancelled"]);
    for id in &mail {
        let outcome = node.collect(id).status(424);
        assert_eq!(outcome.header("redlink-outcome"), Some("cancelled"));
    }
    let late = node.answer(&held.delivery, "reply", b"late");
    assert!(matches!(late.status, 404 | 409 | 410), "{}", late.status);
    assert_eq!(node.json(&format!("/v1/messages/{other}"))["state"], "queued");
    node.cli(&["flush", "--all"], b"").ok().says(&["1 cancelled"]);
    node.cli(&["flush", "--all"], b"").ok().says(&["0 cancelled"]);
}

#[test]
fn below_the_disk_floor_submits_end_and_all_else_goes_on() {
    let mut node = Node::first("alone");
    let before = node.submit("mail", &[], b"before");
    // No disk has that much room.
    set(&mut node, "disk_floor = \"100000000GiB\"");
    until("the node to see it", || {
        (node.json("/v1/node")["disk_low"] == true).then_some(())
    });
    let refused = node.curl("POST", "/v1/services/mail/messages").body("x").get();
    assert_eq!(refused.header("retry-after"), Some("5"));
    refused.problem(507, "disk-full");
    let ready = node.curl("GET", "/readyz").get().status(200);
    assert!(ready.text().contains("nearly full"), "{}", ready.text());
    let taken = node.take("mail", "w");
    assert_eq!(taken.message, before);
    node.answer(&taken.delivery, "reply", b"done").status(204);
    assert_eq!(node.collect(&before).status(200).text(), "done");
    node.stop();
    let file = node.dir().join(".redlink/redlink.toml");
    let text = std::fs::read_to_string(&file).expect("its settings");
    std::fs::write(&file, text.replace("100000000GiB", "0")).expect("its settings");
    node.restart();
    node.submit("mail", &[], b"after");
    assert_eq!(node.json("/v1/node")["disk_low"], false);
    node.stop();
}
