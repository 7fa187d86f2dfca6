//! What can be between two nodes: an HTTP proxy.

use redlink_tests::{Node, Proxy, Worker, all_bytes, assert_same, until};

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
