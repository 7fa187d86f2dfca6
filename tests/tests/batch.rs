//! Batches between real processes: many messages in one request, of producers and workers, with crashes between.

use redlink::batch::{Decoder, Entry, FRAMED, Format, Limits, NDJSON, encode, of_content_type};
use redlink_tests::{Mesh, Node, Response, Worker};
use serde_json::{Value, json};

const MANY: usize = 64;

fn entries(answer: &Response) -> Vec<Entry> {
    let format = of_content_type(answer.header("content-type").expect("a type")).expect("a batch");
    let mut decoder = Decoder::new(format, Limits::with_payload(1 << 20));
    decoder.push(&answer.body);
    let mut found = Vec::new();
    while let Some(item) = decoder.take().expect("entries") {
        found.push(item.expect("an entry"));
    }
    assert_eq!(decoder.finish(), Ok(None));
    found
}

fn lines(all: &[Value]) -> Vec<u8> {
    all.iter()
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect()
}

/// Numbers for the service `square`, under a producer's name.
fn submit(node: &Node, count: usize) -> Vec<String> {
    let all: Vec<_> = (0..count)
        .map(|n| json!({"service": "square", "producer": "sums", "json": n}))
        .collect();
    let answer = node
        .curl("POST", "/v1/messages")
        .body(lines(&all))
        .header("Content-Type", NDJSON)
        .get()
        .status(200);
    let results = entries(&answer);
    results
        .iter()
        .map(|one| one.text("id").expect("accepted").to_owned())
        .collect()
}

/// What a worker says of what it took: each number's square.
fn squares(taken: &[Entry]) -> Vec<u8> {
    let mut body = Vec::new();
    for one in taken {
        let n: u64 = serde_json::from_slice(&one.content.bytes).expect("a number");
        let head = json!({"delivery": one.text("delivery"), "verb": "reply"});
        let content = redlink::Content {
            content_type: Some("application/json".into()),
            bytes: (n * n).to_string().into(),
            origin: None,
            trace_context: None,
        };
        encode(Format::Framed, &head, Some(&content), &mut body).expect("an entry");
    }
    body
}

fn exchange(node: &Node, number: u64, body: &[u8], wait: &str) -> Response {
    let path = format!("/v1/services/square/consumers/w/exchange?max={MANY}&wait={wait}");
    node.curl("POST", &path)
        .body(body)
        .header("Content-Type", FRAMED)
        .header("Accept", FRAMED)
        .header("Redlink-Exchange", &number.to_string())
        .get()
}

#[test]
fn batches_cross_the_mesh_and_outcomes_survive_a_crash_until_they_are_received() {
    let mut mesh = Mesh::start();
    mesh.north.register("square", "w", 64, "1m");
    mesh.south.wait_service("square");
    let ids = submit(&mesh.south, MANY);
    assert_eq!(ids.len(), MANY);
    let mut done = 0;
    let mut body = Vec::new();
    let mut number = 0;
    while done < MANY {
        number += 1;
        let before = exchange(&mesh.north, number, &body, "30s").status(200);
        // As a worker does that lost the answer.
        let answer = exchange(&mesh.north, number, &body, "30s").status(200);
        assert_eq!(before.body, answer.body);
        let (results, taken): (Vec<_>, Vec<_>) = entries(&answer)
            .into_iter()
            .partition(|one| one.members.contains_key("status"));
        for result in &results {
            assert_eq!(result.members["status"], 204, "{result:?}");
        }
        done += results.len();
        body = squares(&taken);
        if done + taken.len() == MANY && !taken.is_empty() {
            number += 1;
            let last = exchange(&mesh.north, number, &body, "0s").status(200);
            done += entries(&last).len();
        }
    }
    for id in &ids {
        mesh.south.outcome(id).status(200);
    }
    mesh.south.kill();
    mesh.south.restart();
    let collect = |received: &[String], max: usize| {
        let path = format!("/v1/producers/sums/outcomes?max={max}");
        mesh.south
            .curl("POST", &path)
            .body(json!(received).to_string())
            .header("Content-Type", "application/json")
            .get()
    };
    let mut found = entries(&collect(&[], MANY).status(200));
    assert_eq!(found.len(), MANY);
    for (n, one) in (0_u64..).zip(&found) {
        assert_eq!(one.text("id"), Some(ids[n as usize].as_str()), "oldest first");
        assert_eq!(one.content.bytes, (n * n).to_string());
    }
    // Half of them were received: deleted before the answer, so that a crash brings none of them back.
    found.truncate(MANY / 2);
    let received: Vec<_> = found
        .iter()
        .map(|one| one.text("id").expect("an id").to_owned())
        .collect();
    collect(&received, 0).status(204);
    mesh.south.kill();
    mesh.south.restart();
    let said = mesh
        .south
        .cli(&["collect", "--producer", "sums", "--json", "--wait", "0s"], b"")
        .ok();
    let printed: Vec<Value> = said
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(printed.len(), MANY / 2);
    assert_eq!(printed[0]["id"], ids[MANY / 2].as_str());
    assert_eq!(printed[0]["text"], (MANY / 2 * (MANY / 2)).to_string());
    mesh.south
        .cli(&["collect", "--producer", "sums", "--wait", "0s"], b"")
        .code(4);
    assert_eq!(mesh.south.json("/v1/messages"), json!([]));
}

#[test]
fn sent_under_a_name_and_collected_by_it() {
    let node = Node::first("alone");
    let _worker = Worker::start(&node, "wc", "w1", &[], &["wc", "-w"]);
    let id = node
        .cli(&["send", "wc", "--producer", "shop"], b"a b c")
        .ok()
        .text();
    let said = node.cli(&["collect", "--producer", "shop"], b"").ok().text();
    assert_eq!(said, format!("{id}\treplied\t3"));
    node.cli(&["collect", &id, "--wait", "0s"], b"").code(1);
}
