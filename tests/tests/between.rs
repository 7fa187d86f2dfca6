//! What can be between two nodes: an HTTP proxy, and a firewall that lets no connection grow old.

use redlink_tests::{Node, Proxy, Relay, Worker, all_bytes, assert_same, until};
use std::time::Duration;

/// The north's name is one that only the proxy can look up: what reaches it went through that. Joining, the link and
/// large payloads do, and the link comes back when the proxy does.
#[test]
fn a_node_behind_a_proxy_joins_links_and_moves_payloads_through_it() {
    let mut north = Node::prepare("north");
    north.start_with(&["--host", "north.invalid"]);
    // `user:pass word`
    let mut proxy = Proxy::with_authorization("Basic dXNlcjpwYXNzIHdvcmQ=");
    let url = format!("https://north.invalid:{}", north.port());
    let to = format!("north.invalid:{}", north.port());

    let mut south = Node::prepare("south");
    let through = format!("http://user:pass%20word@{}", proxy.address());
    south.set_variable("HTTPS_PROXY", &through);
    south.set_variable("NO_PROXY", "south.invalid,10.0.0.0/8");
    south.start_with(&["--north", &url, "--token", &north.token()]);
    south.wait_link(true);
    assert_eq!(
        proxy.tunnels(),
        [to.as_str(), &to],
        "one to join and one for the link"
    );

    let _up = Worker::start(&north, "up", "w1", &[], &["cat"]);
    let _down = Worker::start(&south, "down", "w2", &[], &["cat"]);
    south.wait_service("up");
    north.wait_service("down");
    for length in [5, 3 << 20] {
        let payload = all_bytes(length);
        for (node, service) in [(&south, "up"), (&north, "down")] {
            let id = node.submit(service, &[], &payload);
            assert_same(service, &node.collect(&id).status(200).body, &payload);
        }
    }
    assert!(
        proxy.tunnels().len() > 2,
        "large payloads have a way of their own"
    );
    assert_eq!(proxy.refused(), 0);

    proxy.stop();
    south.wait_link(false);
    let id = south.submit("up", &[], b"meanwhile");
    proxy.restart();
    assert_same("meanwhile", &south.collect(&id).status(200).body, b"meanwhile");
    assert!(!proxy.tunnels().is_empty());

    // The setting counts more than the environment.
    south.stop();
    south.set_variable("REDLINK_PROXY", "none");
    south.restart();
    until("a failure to look up the name", || {
        let straight = format!("can't connect to {to}");
        south.process().output().contains(&straight).then_some(())
    });
    let log = std::fs::read_to_string(south.log()).expect("its log");
    assert!(!log.contains("pass"), "the password is in the log:\n{log}");
}

#[test]
fn a_proxy_that_wants_a_password_is_named_with_what_to_do() {
    let north = Node::first("north");
    let proxy = Proxy::with_authorization("Basic dXNlcjpwYXNzIHdvcmQ=");
    let mut south = Node::prepare("south");
    let through = format!("http://{}", proxy.address());
    let arguments = [
        "--north",
        &north.url(),
        "--token",
        &north.token(),
        "--proxy",
        &through,
    ];
    south.launch(&arguments);
    assert!(!south.process().wait().success());
    let said = south.process().output();
    for part in ["407", &through, "USER:PASSWORD", "`proxy`"] {
        assert!(said.contains(part), "no {part} in:\n{said}");
    }
    // A setting counts for this machine too, though the environment's would not.
    assert_eq!(proxy.refused(), 1);
}

/// How a node's link travels.
fn mode(node: &Node) -> Option<String> {
    let peers = node.json("/v1/peers");
    peers[0]["mode"].as_str().map(str::to_owned)
}

/// No connection lives for more than three seconds. The link is a stream first, and then polls by itself; calls go on
/// throughout, and once it polls, no cut is so much as noticed by a worker.
#[test]
fn where_every_connection_is_cut_after_three_seconds_calls_go_on() {
    let north = Node::first("north");
    let cable = Relay::new(north.port());
    cable.limit_lives(Duration::from_secs(3));
    let south = Node::join("south", &cable.url(), &north.token());
    south.wait_link(true);
    assert_eq!(mode(&south).as_deref(), Some("stream"));
    let _up = Worker::script(&north, "up", "w1", &[], "tee -a seen; echo >>seen");
    let _down = Worker::script(&south, "down", "w2", &[], "tee -a seen; echo >>seen");
    south.wait_service("up");
    north.wait_service("down");
    let mut count = 0;
    let mut calls = |most: usize, done: &dyn Fn() -> bool| {
        let mut made = Vec::new();
        while !done() && made.len() < most {
            for (node, service) in [(&south, "up"), (&north, "down")] {
                count += 1;
                let payload = format!("{service}-{count}");
                let headers = [("Redlink-Max-Attempts", "0"), ("Redlink-Reoffer", "1s")];
                let id = node.submit(service, &headers, payload.as_bytes());
                let reply = node.collect(&id).status(200);
                assert_same(&payload, &reply.body, payload.as_bytes());
                made.push(payload);
            }
        }
        made
    };
    // While it streams a grant can be lost with its connection, and is made again.
    let polls = || mode(&south).as_deref() == Some("poll") && mode(&north).as_deref() == Some("poll");
    let early = calls(10_000, &polls);
    assert!(polls(), "it did not turn to polling in {} calls", early.len());

    let before = cable.cuts();
    let late = calls(10_000, &|| cable.cuts() >= before + 4);
    assert!(
        cable.cuts() >= before + 4,
        "nothing was cut in {} calls",
        late.len()
    );
    let seen: String = [&north, &south]
        .iter()
        .map(|node| std::fs::read_to_string(node.dir().join("seen")).expect("what its worker saw"))
        .collect();
    for payload in &early {
        assert!(seen.lines().any(|line| line == payload), "{payload}");
    }
    for payload in &late {
        assert_eq!(
            seen.lines().filter(|line| line == payload).count(),
            1,
            "{payload}"
        );
    }
    assert_eq!(south.json("/v1/peers")[0]["mode"], "poll");
    // A payload that goes apart from the frames does too.
    let large = all_bytes(2 << 20);
    let _echo = Worker::start(&north, "echo", "w3", &[], &["cat"]);
    south.wait_service("echo");
    let headers = [("Redlink-Max-Attempts", "0"), ("Redlink-Reoffer", "1s")];
    let id = south.submit("echo", &headers, &large);
    assert_same("large", &south.collect(&id).status(200).body, &large);
    let said = south.cli(&["peer", "list"], b"").ok();
    assert!(said.text().contains("poll"), "{}", said.text());
}
