//! Dead letters: kept over a kill, looked at, put back as they were or changed, deleted.

use redlink_tests::{Node, until};
use serde_json::Value;

/// Submits a send-only message and fails it.
fn fail(node: &Node, service: &str, payload: &[u8], why: &str) -> String {
    let headers = [
        ("redlink-send-only", "true"),
        ("content-type", "text/x-note"),
        ("redlink-priority", "4"),
    ];
    let id = node.submit(service, &headers, payload);
    let taken = node.take(service, "w");
    assert_eq!(taken.message, id);
    node.answer(&taken.delivery, "fail", why.as_bytes()).status(204);
    node.outcome(&id);
    id
}

fn letters(node: &Node) -> Vec<Value> {
    let all = node.json("/v1/dead-letters");
    all.as_array().expect("a list").clone()
}

/// The file that the payloads are in that are too large for a row.
fn files(node: &Node) -> usize {
    let folder = node.dir().join(".redlink/data/payload");
    std::fs::read_dir(folder).expect("its payloads").count()
}

#[test]
fn what_dies_is_kept_over_a_kill_and_goes_back_as_it_was_or_changed() {
    let mut node = Node::first("alone");
    let large = vec![b'l'; 200_000];
    let small = fail(&node, "mail", b"to nobody", "no such address");
    let big = fail(&node, "mail", &large, "too large");
    // A call that fails is told to its producer, and leaves nothing.
    let call = node.submit("mail", &[], b"x");
    let taken = node.take("mail", "w");
    node.answer(&taken.delivery, "fail", b"no").status(204);
    node.outcome(&call).status(424);
    // One whose attempts are used up.
    node.register("slow", "silent", 1, "1s");
    let dead = node.submit(
        "slow",
        &[("redlink-max-attempts", "1"), ("redlink-ett", "none")],
        b"poison",
    );
    let _held = node.take("slow", "silent");
    node.outcome(&dead).status(424);
    until("the letter", || (letters(&node).len() == 3).then_some(()));

    node.kill();
    node.restart();
    let all = letters(&node);
    let ids: Vec<_> = all
        .iter()
        .map(|letter| letter["id"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(ids, [&dead, &big, &small]);
    assert_eq!(files(&node), 1, "the file has no second copy");
    let letter = node.json(&format!("/v1/dead-letters/{small}"));
    assert_eq!(letter["failure"], "no such address");
    assert_eq!(
        (&letter["outcome"], &letter["send_only"]),
        (&"failed".into(), &true.into())
    );
    assert_eq!(
        (&letter["priority"], &letter["content_type"]),
        (&4.into(), &"text/x-note".into())
    );
    assert_eq!(node.json(&format!("/v1/dead-letters/{dead}"))["outcome"], "dead");
    assert_eq!(
        node.json("/v1/dead-letters?service=slow")
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let after = all[0]["place"].clone();
    let rest = node.json(&format!("/v1/dead-letters?max=1&after={after}"));
    assert_eq!(rest[0]["id"], big);
    let shown = node.cli(&["dead-letters"], b"").ok().text();
    assert!(
        shown.contains("no such address") && shown.contains(&dead),
        "{shown}"
    );
    node.cli(&["dead-letter", "show", &small], b"").ok().text();
    let payload = node.cli(&["dead-letter", "show", &big, "--payload"], b"").ok();
    assert_eq!(payload.text().len(), large.len());

    // As it was: a new message that names the old one, with the file of before.
    let again = node
        .cli(&["dead-letter", "requeue", &big], b"")
        .ok()
        .text()
        .trim()
        .to_owned();
    assert_eq!(node.json(&format!("/v1/messages/{again}"))["requeued_from"], big);
    node.cli(&["message", "show", &again], b"").ok();
    assert_eq!(files(&node), 1);
    node.curl("GET", &format!("/v1/dead-letters/{big}"))
        .get()
        .problem(404, "unknown-dead-letter");
    node.curl("POST", &format!("/v1/dead-letters/{big}/requeue"))
        .get()
        .problem(404, "unknown-dead-letter");
    node.kill();
    node.restart();
    assert_eq!(node.json(&format!("/v1/messages/{again}"))["requeued_from"], big);
    let taken = node.take("mail", "w");
    assert_eq!((&taken.message, taken.response.body.len()), (&again, large.len()));
    assert_eq!(taken.response.header("content-type"), Some("text/x-note"));
    assert_eq!(taken.response.header("redlink-priority"), Some("4"));
    node.answer(&taken.delivery, "ack", b"").status(204);
    node.collect(&again);
    until("the file to go", || (files(&node) == 0).then_some(()));

    // Edited, under other terms, for another service.
    let request = node
        .curl("POST", &format!("/v1/dead-letters/{small}/requeue?service=post"))
        .header("redlink-priority", "9")
        .header("content-type", "text/plain")
        .body("to somebody");
    let accepted = request.get().status(202);
    let edited = accepted.json()["id"].as_str().expect("an id").to_owned();
    let taken = node.take("post", "w");
    assert_eq!(
        (&taken.message, &*taken.response.text()),
        (&edited, "to somebody")
    );
    assert_eq!(taken.response.header("redlink-priority"), Some("9"));
    assert_eq!(taken.response.header("redlink-send-only"), Some("true"));
    node.answer(&taken.delivery, "fail", b"still not").status(204);
    node.outcome(&edited);
    // It dies again, and the letter tells of the one before.
    assert_eq!(
        node.json(&format!("/v1/dead-letters/{edited}"))["requeued_from"],
        small
    );

    // Many at once.
    for n in 0..5 {
        fail(&node, "mail", format!("{n}").as_bytes(), "no");
    }
    node.curl("POST", "/v1/dead-letters/requeue")
        .get()
        .problem(400, "bad-request");
    let passed = node
        .curl("POST", "/v1/dead-letters/requeue?service=mail&max=2")
        .get()
        .status(200)
        .json();
    assert_eq!((&passed["count"], &passed["more"]), (&2.into(), &true.into()));
    node.cli(&["dead-letter", "requeue", "--all", "--service", "mail"], b"")
        .ok()
        .says(&["3 requeued"]);
    for n in 0..5 {
        let taken = node.take("mail", "w");
        assert_eq!(taken.response.text(), format!("{n}"), "the oldest first");
        node.answer(&taken.delivery, "ack", b"").status(204);
    }
    node.cli(&["dead-letter", "delete", &dead], b"").ok();
    node.cli(&["dead-letter", "delete", &dead], b"")
        .code(1)
        .says(&["no such dead letter"]);
    let gone = node
        .cli(&["dead-letter", "delete", "--all", "--json"], b"")
        .ok()
        .text();
    let gone: Value = serde_json::from_str(&gone).expect("JSON");
    assert_eq!(gone["deleted"], 1);
    assert_eq!(letters(&node), Vec::<Value>::new());
    let store = node.json("/v1/node")["store"].clone();
    assert_eq!(
        (&store["dead_letters"], &store["dead_letters_dropped"]),
        (&0.into(), &0.into())
    );
    node.stop();
}

#[test]
fn the_oldest_give_way_to_the_settings_and_programs_see_none() {
    let mut node = Node::first("alone");
    for n in 0..4 {
        fail(&node, "mail", format!("{n}").as_bytes(), "no");
    }
    node.stop();
    let file = node.dir().join(".redlink/redlink.toml");
    let text = std::fs::read_to_string(&file).expect("its settings");
    std::fs::write(
        &file,
        format!("dead_letters = {{ max = 2, keep = \"30d\" }}\n{text}"),
    )
    .expect("its settings");
    node.restart();
    until("the oldest to go", || (letters(&node).len() == 2).then_some(()));
    let newest = fail(&node, "mail", b"4", "no");
    until("one more to go", || (letters(&node).len() == 2).then_some(()));
    assert_eq!(letters(&node)[0]["id"], newest);
    assert_eq!(node.json("/v1/node")["store"]["dead_letters_dropped"], 3);
    node.stop();
}
