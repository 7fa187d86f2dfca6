//! What the API refuses, and how: always as a problem document with a name of its own.

use redlink_tests::{Curl, Mesh, Node};

#[test]
fn a_request_that_can_not_be_understood_is_refused_by_name() {
    let node = Node::first("alone");
    let submit = || node.curl("POST", "/v1/services/x/messages").body("payload");
    for (name, value) in [
        ("Redlink-Pririty", "1"),
        ("Redlink-Priority", "256"),
        ("Redlink-Ett", "5"),
        ("Redlink-Ett", "0s"),
        ("Redlink-Send-Only", "yes"),
        ("Redlink-Path", "direct"),
        ("Idempotency-Key", "\"\""),
    ] {
        let answer = submit().header(name, value).get().problem(400, "bad-header");
        let detail = answer.json()["detail"].as_str().map(str::to_ascii_lowercase);
        assert!(
            detail.is_some_and(|text| text.contains(&name.to_ascii_lowercase())),
            "{name}"
        );
    }
    for path in ["?wait=5", "?wait=2h", "?wiat=5s"] {
        let path = format!("/v1/services/x/messages{path}");
        node.curl("POST", &path)
            .body("x")
            .get()
            .problem(400, "bad-request");
    }
    node.curl("GET", "/v1/messages?max=0")
        .get()
        .problem(400, "bad-request");
    node.curl("POST", &format!("/v1/services/{}/messages", "n".repeat(300)))
        .get()
        .problem(400, "bad-name");
    let register = |body: &str| node.curl("PUT", "/v1/services/x/consumers/c").body(body).get();
    register("{\"lease\":\"1ms\"}").problem(400, "bad-request");
    register("{\"limit\":0}").problem(400, "bad-request");
    register("{\"rate\":1}").problem(400, "bad-request");
    register("not json").problem(400, "bad-request");
    let typed = node
        .curl("PUT", "/v1/services/x/consumers/c")
        .body("{}")
        .header("Content-Type", "text/xml");
    typed.get().problem(415, "unsupported-type");
    assert_eq!(
        node.json("/v1/messages"),
        serde_json::json!([]),
        "nothing was accepted"
    );
    assert_eq!(
        node.json("/v1/consumers"),
        serde_json::json!([]),
        "nobody was registered"
    );
}

#[test]
fn paths_and_methods_that_there_are_not() {
    let node = Node::first("alone");
    node.curl("GET", "/v2").get().problem(404, "no-such-route");
    node.curl("GET", "/v1/services/x/consumers/c/take")
        .get()
        .problem(405, "method-not-allowed");
    let answer = node
        .curl("PUT", "/v1/messages")
        .body("x")
        .get()
        .problem(405, "method-not-allowed");
    assert!(
        answer
            .header("allow")
            .is_some_and(|methods| methods.contains("GET")),
        "{:?}",
        answer.headers
    );
    for version in ["--http1.1", "--http2"] {
        let answer = node.curl("GET", "/v1/node").argument(version).get().status(200);
        assert_eq!(answer.json()["name"], "alone");
    }
}

#[test]
fn ids_that_nobody_knows() {
    let mesh = Mesh::start();
    let id = mesh.south.submit("x", &[], b"payload");
    for path in [format!("/v1/messages/{id}"), format!("/v1/messages/{id}/outcome")] {
        // The message is the other node's.
        mesh.north.curl("GET", &path).get().problem(404, "other-node");
        mesh.north.curl("DELETE", &path).get().problem(404, "other-node");
    }
    let (node, _) = id.split_once('-').expect("an id is node and number");
    for unknown in [format!("{node}-999999"), "17".into(), "nonsense".into()] {
        for path in [
            format!("/v1/messages/{unknown}"),
            format!("/v1/messages/{unknown}/outcome"),
        ] {
            mesh.south
                .curl("GET", &path)
                .get()
                .problem(404, "unknown-message");
            mesh.south
                .curl("DELETE", &path)
                .get()
                .problem(404, "unknown-message");
        }
    }
    mesh.south
        .curl("DELETE", &format!("/v1/messages/{id}/outcome"))
        .get()
        .problem(409, "wrong-state");
    mesh.south
        .curl("DELETE", "/v1/services/x/consumers/c")
        .get()
        .problem(404, "unknown-consumer");
    mesh.south
        .answer("/v1/deliveries/AAAA", "reply", b"x")
        .problem(404, "unknown-delivery");
    assert_eq!(
        mesh.south.json(&format!("/v1/messages/{id}"))["state"],
        "queued",
        "none of this did it harm"
    );
}

#[test]
fn a_message_is_answered_once() {
    let mesh = Mesh::start();
    for origin in [&mesh.north, &mesh.south] {
        let id = origin.submit("work", &[], b"x");
        let taken = mesh.north.take("work", "c1");
        mesh.north
            .answer(&taken.delivery, "ack", b"")
            .problem(409, "wrong-verb");
        mesh.north.answer(&taken.delivery, "reply", b"first").status(204);
        // A repeated answer is told that it is done already, or that it is too late; it changes nothing.
        let again = mesh.north.answer(&taken.delivery, "reply", b"second");
        assert!(
            matches!(again.status, 204 | 409 | 410),
            "{}: {}",
            again.status,
            again.text()
        );
        let again = mesh.north.answer(&taken.delivery, "fail", b"third");
        assert!(
            matches!(again.status, 204 | 409 | 410),
            "{}: {}",
            again.status,
            again.text()
        );
        assert_eq!(origin.collect(&id).status(200).text(), "first");
    }
}

#[test]
fn a_send_only_message_takes_no_reply() {
    let mesh = Mesh::start();
    for origin in [&mesh.north, &mesh.south] {
        let id = origin.submit("log", &[("Redlink-Send-Only", "true")], b"x");
        let taken = mesh.north.take("log", "c1");
        assert_eq!(taken.response.header("redlink-send-only"), Some("true"));
        mesh.north
            .answer(&taken.delivery, "reply", b"why")
            .problem(409, "wrong-verb");
        mesh.north.answer(&taken.delivery, "ack", b"").status(204);
        let outcome = origin.collect(&id).status(200);
        assert_eq!(outcome.header("redlink-outcome"), Some("delivered"));
    }
}

/// A delivery belongs to the node that gave it out: its path is of no use elsewhere, or with a changed letter.
#[test]
fn a_delivery_is_worth_nothing_elsewhere() {
    let mesh = Mesh::start();
    let id = mesh.south.submit("work", &[], b"x");
    let taken = mesh.north.take("work", "c1");
    mesh.south
        .answer(&taken.delivery, "reply", b"stolen")
        .problem(404, "unknown-delivery");
    let mut forged = taken.delivery.clone();
    let last = if forged.pop() == Some('A') { 'Q' } else { 'A' };
    forged.push(last);
    let answer = mesh.north.answer(&forged, "reply", b"forged");
    assert!(
        matches!(answer.status, 404 | 409),
        "{}: {}",
        answer.status,
        answer.text()
    );
    mesh.north.answer(&taken.delivery, "reply", b"true").status(204);
    assert_eq!(mesh.south.collect(&id).text(), "true");
}

#[test]
fn nobody_comes_in_uninvited() {
    let mesh = Mesh::start();
    let node = &mesh.north;
    let ca = node.dir().join(".redlink/ca.pem").display().to_string();
    let stranger = |method: &str, path: &str| {
        let request = Curl::new(method, format!("{}{path}", node.url()), None);
        request.argument("--cacert").argument(&ca)
    };
    for (method, path) in [
        ("GET", "/v1/node"),
        ("GET", "/v1/messages"),
        ("POST", "/v1/services/x/messages"),
        ("POST", "/v1/services/x/consumers/c/take"),
        ("POST", "/v1/tokens"),
        ("POST", "/v1/link"),
    ] {
        let answer = stranger(method, path).get().problem(401, "unauthorized");
        assert!(answer.header("www-authenticate").is_some(), "{path}");
    }
    let wrong = stranger("GET", "/v1/node").header("Authorization", "Bearer wrong");
    wrong.get().problem(401, "unauthorized");
    // The other node's token is for that node.
    let token = std::fs::read_to_string(mesh.south.dir().join(".redlink/admin-token")).expect("its token");
    let other = stranger("GET", "/v1/node").header("Authorization", &format!("Bearer {}", token.trim()));
    other.get().problem(401, "unauthorized");
    // A node's certificate opens links, and nothing else.
    let home = mesh.south.dir().join(".redlink");
    let file = |name: &str| home.join(name).display().to_string();
    let peer = stranger("GET", "/v1/node")
        .argument("--cert")
        .argument(&file("node.pem"))
        .argument("--key")
        .argument(&file("node-key.pem"));
    peer.get().problem(403, "forbidden");
    let nobody = stranger("POST", "/v1/enrol").body("{\"token\":\"x\"}").get();
    assert!(
        matches!(nobody.status, 400 | 403),
        "{}: {}",
        nobody.status,
        nobody.text()
    );
    // Probes may ask.
    stranger("GET", "/livez").get().status(200);
    stranger("GET", "/readyz").get().status(200);
    // And whoever does not know the mesh's authority trusts nobody here.
    let blind = Curl::new("GET", format!("{}/livez", node.url()), None).send();
    assert!(blind.is_err(), "the certificate is of the mesh's own authority");
    // The old, clear way is closed.
    let clear = Curl::new("GET", format!("http://localhost:{}/livez", node.port()), None).send();
    assert!(clear.is_err() || clear.is_ok_and(|answer| answer.status >= 400));
    // Secrets are for their owner.
    use std::os::unix::fs::PermissionsExt;
    for name in ["", "admin-token", "curlrc", "ca-key.pem", "node-key.pem", "data"] {
        let path = node.dir().join(".redlink").join(name);
        let mode = std::fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{} is open to others: {mode:o}", path.display());
    }
}

#[test]
fn a_payload_that_is_too_large_is_refused_before_it_comes() {
    let mut node = Node::prepare("alone");
    node.launch(&[]);
    node.wait_ready();
    node.stop();
    let settings = node.dir().join(".redlink/redlink.toml");
    let text = std::fs::read_to_string(&settings).expect("its settings");
    std::fs::write(&settings, format!("max_payload = \"100KiB\"\n{text}")).expect("its settings");
    node.restart();
    let limit = 100 * 1024;
    let submit = |length: usize| {
        node.curl("POST", "/v1/services/x/messages")
            .body(vec![b'x'; length])
    };
    submit(limit).get().status(202);
    for request in [
        submit(limit + 1),
        submit(limit + 1).header("Transfer-Encoding", "chunked"),
    ] {
        request.get().problem(413, "too-large");
    }
    let id = node.take("x", "c1");
    node.answer(&id.delivery, "reply", &vec![b'y'; limit + 1])
        .problem(413, "too-large");
    node.answer(&id.delivery, "reply", b"short").status(204);
}

/// Full is an answer, and what was accepted is kept (P7).
#[test]
fn a_full_node_says_what_is_full() {
    let mut node = Node::prepare("alone");
    node.start_with(&[]);
    node.stop();
    let settings = node.dir().join(".redlink/redlink.toml");
    let text = std::fs::read_to_string(&settings).expect("its settings");
    std::fs::write(&settings, format!("{text}\n[capacity]\nmessages = 3\n")).expect("its settings");
    node.restart();
    let ids: Vec<String> = (0..3).map(|_| node.submit("x", &[], b"x")).collect();
    let answer = node
        .curl("POST", "/v1/services/x/messages")
        .body("x")
        .get()
        .problem(429, "full");
    assert!(answer.header("retry-after").is_some());
    assert!(answer.text().contains("messages"), "{}", answer.text());
    let said = node.cli(&["send", "x"], b"x").code(1);
    said.says(&["full"]);
    // Room comes with the first outcome that is collected.
    node.curl("DELETE", &format!("/v1/messages/{}", ids[0]))
        .get()
        .status(204);
    node.collect(&ids[0]).problem(424, "cancelled");
    node.submit("x", &[], b"x");
}

/// The highest priority first, oldest first within one (P5); never more than the limit (P4).
#[test]
fn a_consumer_gets_the_most_important_first_and_no_more_than_it_may() {
    let mesh = Mesh::start();
    let mut expected = Vec::new();
    for (priority, name) in [("1", "c"), ("9", "a"), ("1", "d"), ("5", "b")] {
        mesh.north
            .submit("work", &[("Redlink-Priority", priority)], name.as_bytes());
        expected.push(name);
    }
    expected.sort_unstable();
    mesh.north.register("work", "c1", 2, "30s");
    let take = |wait: &str| {
        let path = format!("/v1/services/work/consumers/c1/take?wait={wait}");
        mesh.north.curl("POST", &path).get()
    };
    let mut held = vec![redlink_tests::Taken::read(&take("60s").status(200))];
    held.push(redlink_tests::Taken::read(&take("60s").status(200)));
    take("1s").status(204);
    let mut found: Vec<String> = held.iter().map(|taken| taken.response.text()).collect();
    while let Some(taken) = held.pop() {
        mesh.north.answer(&taken.delivery, "reply", b"").status(204);
        if found.len() < expected.len() {
            held.push(redlink_tests::Taken::read(&take("60s").status(200)));
            found.extend(held.last().map(|taken| taken.response.text()));
        }
    }
    assert_eq!(found, expected);
}
