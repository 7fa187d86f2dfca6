//! What somebody new does wrong, and what is said then: what was wrong, where, and what to do next.

use redlink_tests::{Mesh, Node, Said, run, shell, until};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

/// Runs a line in a directory of no node.
fn elsewhere(line: &str) -> Said {
    let directory = tempfile::tempdir().expect("a temporary directory");
    run(shell(directory.path(), line), b"")
}

#[test]
fn there_is_no_node_here() {
    for verb in [
        "status",
        "send x",
        "call x",
        "serve x -- cat",
        "messages",
        "token create",
        "peers",
    ] {
        elsewhere(&format!("redlink {verb}"))
            .code(2)
            .says(&["no node found", "redlink node", "--node"]);
    }
    elsewhere("redlink status --node nowhere")
        .code(2)
        .says(&["nowhere", "no such directory"]);
}

#[test]
fn nobody_answers_there() {
    let mut node = Node::first("alone");
    node.kill();
    node.cli(&["status"], b"")
        .code(3)
        .says(&["no node answers", &node.url(), "redlink node"]);
    node.cli(&["send", "x"], b"payload").code(3).says(&[&node.url()]);
}

#[test]
fn the_token_is_wrong() {
    let node = Node::first("alone");
    let line = format!(
        "REDLINK_TOKEN=wrong redlink status --node {} --ca {}/.redlink/ca.pem",
        node.url(),
        node.dir().display()
    );
    elsewhere(&line).code(1).says(&["token"]);
    // Another mesh's node is not trusted at all.
    let other = Node::first("other");
    let line = format!("redlink status --node {}", node.url());
    run(shell(other.dir(), &line), b"")
        .code(3)
        .says(&["not a node of this mesh", "--ca"]);
}

#[test]
fn a_join_token_is_wrong_used_or_of_another_mesh() {
    let mesh = Mesh::start();
    let join = |token: &str| {
        elsewhere(&format!(
            "redlink node --name third --listen localhost:0 --north {} --token {token}",
            mesh.north.url()
        ))
    };
    join("nonsense").code(1).says(&["token"]);

    let token = mesh.north.token();
    let third = Node::join("third", &mesh.north.url(), &token);
    join(&token)
        .code(1)
        .says(&["token", "used already", "make a new one"]);
    third.cli(&["status"], b"").ok();

    let other = Node::first("other");
    join(&other.token()).code(1).says(&["mesh"]);

    // Only the node that made the mesh knows all of it.
    mesh.south
        .cli(&["ca", "show"], b"")
        .code(1)
        .says(&["first node of the mesh"]);
    mesh.north
        .cli(&["ca", "revoke", "nobody"], b"")
        .code(1)
        .says(&["nobody", "redlink ca show"]);
    // A new node that dials north without a token.
    let line = format!("redlink node --listen localhost:0 --north {}", mesh.north.url());
    elsewhere(&line).code(1).says(&["token", "redlink token create"]);
}

/// The one that was there first keeps its link, and the north's log says what to do about the other.
#[test]
fn there_are_two_nodes_of_one_name() {
    let mut mesh = Mesh::start();
    let token = mesh.north.token();
    let _second = Node::join("south", &mesh.north.url(), &token);
    until("the second one to be refused", || {
        let log = mesh.north.process().output();
        log.contains("another live node has the same name").then_some(())
    });
    mesh.south.wait_link(true);
}

#[test]
fn names_and_values_are_wrong() {
    let node = Node::first("alone");
    for (line, texts) in [
        (&["send", "a/b"][..], &["a/b"][..]),
        (&["send", ""], &[]),
        (&["call", "ünicode"], &["ünicode"]),
        (&["send", "x", "--priority", "256"], &["256", "255"]),
        (&["send", "x", "--ett", "30"], &["30s"]),
        (&["serve", "x"], &[]),
        (&["serve", "x", "--", "/no/such/program"], &["/no/such/program"]),
        (&["collect", "17"], &["17", "redlink message list"]),
        (&["frobnicate"], &["frobnicate", "--help"]),
        (&["status", "--node", "http://localhost:1"], &["https"]),
    ] {
        node.cli(line, b"").code(2).says(texts);
    }
    // curl sends what the command line would not let pass.
    let answer = node.curl("POST", "/v1/services/a%2Fb/messages").body("x").get();
    answer.problem(400, "bad-name");
    let answer = node.curl("POST", "/v1/services/%FF/messages").body("x").get();
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(
        node.json("/v1/messages"),
        serde_json::json!([]),
        "nothing was accepted"
    );
}

#[test]
fn the_file_is_not_there() {
    let node = Node::first("alone");
    for verb in ["send", "call"] {
        let said = node.cli(&[verb, "x", "no-such-file"], b"").code(2);
        said.says(&["no-such-file", "No such file"]);
        let said = node.cli(&[verb, "x", "."], b"").code(2);
        said.says(&["irectory"]);
    }
}

#[test]
fn the_directory_may_not_be_written() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: root may write everywhere");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o500)).expect("its own directory");
    let said = run(shell(path, "redlink node --listen localhost:0"), b"").code(1);
    said.says(&[".redlink", "ermission denied"]);
}

#[test]
fn there_is_a_second_node_on_the_same_directory() {
    let mut node = Node::first("alone");
    let id = node.process().id().to_string();
    let said = node.cli(&["node", "--listen", "localhost:0"], b"").code(1);
    said.says(&[&node.dir().join(".redlink").display().to_string(), &id]);
    // The first one is none the worse, and its address is still its own.
    node.cli(&["status"], b"").ok();
}

#[test]
fn the_port_is_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port();
    let said = elsewhere(&format!("redlink node --listen localhost:{port}")).code(1);
    said.says(&[&format!(":{port}"), "another program", "--listen"]);
}

#[test]
fn the_settings_file_has_a_mistake() {
    let mut node = Node::first("alone");
    node.stop();
    let file = node.dir().join(".redlink/redlink.toml");
    std::fs::write(&file, "naem = \"x\"\n").expect("its settings");
    node.cli(&["node"], b"")
        .code(2)
        .says(&["redlink.toml", "naem", "redlink.toml:1:1"]);
}

/// Without any argument it helps, and each verb has help with an example.
#[test]
fn help_is_there() {
    let said = elsewhere("redlink").code(2);
    assert!(said.err.contains("redlink demo"), "{}", said.err);
    let help = elsewhere("redlink --help").ok().text();
    for verb in [
        "demo", "node", "send", "call", "serve", "collect", "status", "bench",
    ] {
        assert!(help.contains(verb), "{help}");
        let own = elsewhere(&format!("redlink {verb} --help")).ok().text();
        assert!(own.contains("Example"), "{verb}: {own}");
    }
}

/// SIGTERM ends a node well, twice ends it at once; neither loses what was accepted.
#[test]
fn a_node_is_stopped() {
    let mut node = Node::first("alone");
    let id = node.submit("later", &[], b"x");
    node.stop();
    node.check_database();
    node.restart();
    node.curl("GET", &format!("/v1/messages/{id}")).get().status(200);
    // With work under way it waits; the second signal does not.
    let taken = node.take("later", "c1");
    assert_eq!(taken.message, id);
    node.process().signal(rustix::process::Signal::TERM);
    until("the node to hear of it", || {
        node.process().output().contains("told to stop").then_some(())
    });
    node.process().signal(rustix::process::Signal::INT);
    let status = node.process().wait();
    println!("stopped twice: {status}");
    node.kill();
    node.restart();
    node.answer(&taken.delivery, "reply", b"done").status(204);
    assert_eq!(node.collect(&id).status(200).text(), "done");
}
