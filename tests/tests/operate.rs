//! Peers that are changed while the nodes run, and what operators see of it.

use redlink_tests::{Mesh, Node, Worker, until};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;

fn peer(node: &Node, name: &str) -> Option<Value> {
    let peers = node.json("/v1/peers");
    peers
        .as_array()?
        .iter()
        .find(|peer| peer["name"] == name)
        .cloned()
}

/// The routes of a service that lead somewhere.
fn ways(node: &Node, service: &str) -> Vec<Value> {
    let routes = node.json("/v1/routes");
    let found = routes.as_array().into_iter().flatten();
    found
        .filter(|route| route["service"] == service && route["reachable"] == true)
        .cloned()
        .collect()
}

fn edit(dir: &Path, change: impl FnOnce(String) -> String) {
    let file = dir.join(".redlink/redlink.toml");
    let text = std::fs::read_to_string(&file).expect("its settings");
    std::fs::write(&file, change(text)).expect("its settings");
}

/// What was submitted while there was no way waits, and goes on when the peer is added again; a restart keeps that.
#[test]
fn a_peer_goes_and_comes_while_calls_go_on() {
    let mut mesh = Mesh::start();
    let _worker = Worker::start(&mesh.north, "up", "w", &["--concurrency", "2"], &["cat"]);
    mesh.south.wait_service("up");
    let url = mesh.cable.url();
    edit(mesh.south.dir(), |text| format!("# kept\n{text}"));
    let mut ids = Vec::new();
    for round in 0..3 {
        ids.push(mesh.south.submit("up", &[], b"before"));
        let which = if round == 1 { url.as_str() } else { "north" };
        mesh.south
            .cli(&["peer", "remove", which], b"")
            .ok()
            .says(&["removed"]);
        assert_eq!(mesh.south.json("/v1/peers"), serde_json::json!([]));
        until("the way to be forgotten", || {
            ways(&mesh.south, "up").is_empty().then_some(())
        });
        ids.push(mesh.south.submit("up", &[], b"meanwhile"));
        mesh.south
            .cli(&["peer", "remove", which], b"")
            .code(1)
            .says(&["no peer", "redlink peer list"]);
        mesh.south
            .cli(&["peer", "add", &url, "--wait", "30s"], b"")
            .ok()
            .says(&["linked with north"]);
        mesh.south
            .cli(&["peer", "add", &url], b"")
            .code(1)
            .says(&["already"]);
    }
    for id in &ids {
        let reply = mesh.south.collect(id).status(200);
        assert!(
            matches!(reply.body.as_slice(), b"before" | b"meanwhile"),
            "{}",
            reply.text()
        );
    }
    mesh.south.stop();
    // As at the first start, without the flag that named it.
    mesh.south.restart();
    mesh.south.wait_link(true);
    let id = mesh.south.submit("up", &[], b"after");
    assert_eq!(mesh.south.collect(&id).status(200).text(), "after");
    let text = std::fs::read_to_string(mesh.south.dir().join(".redlink/redlink.toml")).expect("its settings");
    assert!(text.starts_with("# kept\n"), "{text}");
}

#[test]
fn a_filter_that_is_changed_and_read_again_withdraws_a_service_at_the_other_side() {
    let mut mesh = Mesh::start();
    mesh.north.register("jobs.a", "w", 1, "30s");
    mesh.north.register("secret.b", "w", 1, "30s");
    mesh.south.wait_service("jobs.a");
    mesh.south.wait_service("secret.b");
    let routes = ways(&mesh.south, "secret.b");
    assert_eq!(
        (&routes[0]["path"][0]["name"], &routes[0]["hops"]),
        (&"north".into(), &1.into())
    );
    let shown = mesh.south.cli(&["route", "list"], b"").ok().text();
    assert!(shown.contains("secret.b") && shown.contains("north"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");

    let before =
        std::fs::read_to_string(mesh.north.dir().join(".redlink/redlink.toml")).expect("its settings");
    edit(mesh.north.dir(), |text| {
        format!("{text}\n[south_default]\nexport = [\"!secret.*\"]\n")
    });
    mesh.north.process().signal(Signal::HUP);
    until("the service to be withdrawn", || {
        ways(&mesh.south, "secret.b").is_empty().then_some(())
    });
    until("the other to stay", || {
        (!ways(&mesh.south, "jobs.a").is_empty()).then_some(())
    });

    // A mistake changes nothing and is in the log.
    edit(mesh.north.dir(), |text| format!("{text}naem = 1\n"));
    mesh.north.process().signal(Signal::HUP);
    until("the mistake to be logged", || {
        mesh.north.process().output().contains("naem").then_some(())
    });
    assert!(ways(&mesh.south, "secret.b").is_empty() && !ways(&mesh.south, "jobs.a").is_empty());

    edit(mesh.north.dir(), |_| format!("max_payload = \"1MiB\"\n{before}"));
    mesh.north.process().signal(Signal::HUP);
    until("the service to be back", || {
        (!ways(&mesh.south, "secret.b").is_empty()).then_some(())
    });
    let log = mesh.north.process().output();
    assert!(
        log.contains("`max_payload` has changed: restart the node"),
        "{log}"
    );
}

#[test]
fn a_south_s_word_is_taken_or_not() {
    let mesh = Mesh::start();
    mesh.south.register("s", "w", 1, "30s");
    mesh.north.wait_service("s");
    let id = mesh.north.submit("s", &[], b"x");
    mesh.north
        .cli(&["peer", "set", "south", "--accept-from-south", "false"], b"")
        .ok();
    until("the way to be closed", || {
        ways(&mesh.north, "s").is_empty().then_some(())
    });
    let shown = peer(&mesh.north, "south").expect("it dials again");
    assert_eq!(shown["policy"]["accept_from_south"], false);
    mesh.north.wait_link(true);
    let shown = mesh.north.cli(&["peers"], b"").ok().text();
    assert!(shown.contains("not accepted"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    mesh.north
        .cli(&["peer", "remove", "south"], b"")
        .ok()
        .says(&["let in again"]);
    let taken = mesh.south.take("s", "w");
    assert_eq!(taken.message, id);
    mesh.south.answer(&taken.delivery, "reply", b"y").status(204);
    assert_eq!(mesh.north.collect(&id).status(200).text(), "y");
}

/// The words of a message's steps at a node.
fn steps(node: &Node, id: &str) -> Vec<String> {
    let trace = node.json(&format!("/v1/messages/{id}/trace"));
    let steps = trace["steps"].as_array().into_iter().flatten();
    steps
        .filter_map(|step| step["step"].as_str().map(str::to_owned))
        .collect()
}

/// From a south through the node above both to another south: each of the three remembers its part.
#[test]
fn a_message_is_traced_where_it_begins_passes_and_ends() {
    let mesh = Mesh::start();
    let other = Node::join("other", &mesh.north.url(), &mesh.north.token());
    other.register("s", "w", 1, "30s");
    mesh.south.wait_service("s");
    let id = mesh.south.submit("s", &[], b"x");
    let taken = other.take("s", "w");
    other.answer(&taken.delivery, "reply", b"y").status(204);
    mesh.south.collect(&id).status(200);
    let has = |node: &Node, words: &[&str]| {
        let found = steps(node, &id);
        for word in words {
            assert!(
                found.iter().any(|step| step == word),
                "no {word} at {}: {found:?}",
                node.name()
            );
        }
    };
    has(
        &mesh.south,
        &[
            "accepted",
            "offer",
            "claim",
            "grant",
            "answer",
            "outcome",
            "collected",
        ],
    );
    has(&mesh.north, &["offer", "claim", "grant", "answer", "settled"]);
    has(
        &other,
        &["offer", "claim", "grant", "delivered", "answer", "answered"],
    );
    let shown = mesh.north.cli(&["message", "trace", &id], b"").ok().text();
    println!("{shown}");
    assert!(
        shown.contains("from south") && shown.contains("to other"),
        "{shown}"
    );
    let never = format!("{}-99999", id.split('-').next().expect("an id"));
    mesh.south.cli(&["message", "trace", &never], b"").code(1);
}

#[test]
fn a_frame_of_top_fits_a_small_terminal() {
    let mesh = Mesh::start();
    mesh.south.submit("nobody-serves-this", &[], b"x");
    let shown = mesh
        .south
        .cli(&["top", "--once", "--interval", "200ms"], b"")
        .ok()
        .text();
    println!("{shown}");
    assert!(shown.starts_with("south of mesh  ready"), "{shown}");
    assert!(
        shown.contains("LINKS 1 of 1") && shown.contains("nobody-serves-this"),
        "{shown}"
    );
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    // Its output is a file here.
    mesh.south
        .cli(&["top"], b"")
        .code(2)
        .says(&["terminal", "--once"]);
}
