//! A chain of nodes: who joins where, what renews itself, and how one is put out. And nodes with certificates of
//! somebody's own authority.

use redlink_tests::{Node, Worker, run, shell, until};
use rustix::process::Signal;
use std::path::Path;
use std::time::Instant;

/// A directory whose node will have these settings.
fn prepare(name: &str, settings: &str) -> Node {
    let node = Node::prepare(name);
    let dir = node.dir().join(".redlink");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(dir.join("redlink.toml"), settings).expect("a settings file");
    node
}

fn is_linked(node: &Node, with: &str) -> bool {
    let peers = node.json("/v1/peers");
    let mut all = peers.as_array().into_iter().flatten();
    all.any(|p| p["name"] == with && p["connected"] == true)
}

fn wait_linked(node: &Node, with: &str) {
    until(&format!("{} to be linked with {with}", node.name()), || {
        is_linked(node, with).then_some(())
    });
}

fn count(node: &mut Node, text: &str) -> usize {
    node.process().output().matches(text).count()
}

#[test]
fn nodes_join_renew_and_are_put_out_along_a_chain() {
    let mut a = prepare("a", "certificate_life = '10s'\n");
    a.start_with(&[]);
    let mut b = Node::join("b", &a.url(), &a.token());
    // These two never learn where the authority is.
    let mut c = Node::join("c", &b.url(), &b.token());
    let mut d = Node::prepare("d");
    d.start_with(&["--north", &c.url(), "--north", &b.url(), "--token", &c.token()]);
    wait_linked(&d, "c");
    wait_linked(&d, "b");
    wait_linked(&b, "a");
    let said = a.cli(&["ca", "show"], b"").ok().text();
    for (node, by) in [("b", "a"), ("c", "b"), ("d", "c")] {
        let line = said.lines().find(|line| line.trim_start().starts_with(node));
        let line = line.unwrap_or_else(|| panic!("no {node} in:\n{said}"));
        assert!(line.split_whitespace().any(|word| word == by), "{line}");
    }

    // Three certificates live their lives while calls go on; no link is dropped for that.
    let _worker = Worker::start(&a, "echo", "w", &[], &["cat"]);
    d.wait_service("echo");
    let start = Instant::now();
    let mut calls = 0;
    loop {
        calls += 1;
        let payload = format!("call {calls}");
        let reply = d.cli(&["call", "echo"], payload.as_bytes()).ok().text();
        assert_eq!(reply, payload);
        let renewed =
            [&mut a, &mut b, &mut c, &mut d].map(|node| count(node, "renewed this node's certificate"));
        if renewed.iter().all(|renewed| *renewed >= 3) {
            break;
        }
        assert!(
            start.elapsed() < 2 * redlink_tests::BOUND,
            "not renewed: {renewed:?}"
        );
    }
    println!("{calls} calls in {:?}", start.elapsed());
    for node in [&mut a, &mut b, &mut c, &mut d] {
        assert_eq!(count(node, "a link is down"), 0, "{}", node.name());
        assert_eq!(count(node, "could not be renewed"), 0, "{}", node.name());
    }

    // c is put out: everybody closes their links with it, and the rest goes on.
    a.cli(&["ca", "revoke", "c"], b"")
        .ok()
        .says(&["c is put out", "new token"]);
    for node in [&b, &d] {
        until(&format!("{} to have no link with c", node.name()), || {
            (!is_linked(node, "c")).then_some(())
        });
    }
    until("c to be told why", || {
        (count(&mut c, "Revoked") + count(&mut c, "was revoked") > 0).then_some(())
    });
    assert!(is_linked(&b, "a") && is_linked(&d, "b"));
    assert_eq!(d.cli(&["call", "echo"], b"on").ok().text(), "on");
    // Nor after a restart, when it has ended too; it is told how to come in again.
    until("c to see its certificate end", || {
        (count(&mut c, "certificate has ended or was revoked") > 0).then_some(())
    });
    let north = b.url();
    c.kill();
    let before = std::fs::read_to_string(c.log()).expect("a log").len();
    c.launch(&[]);
    assert!(!c.process().wait().success());
    let said = c.process().output().split_off(before);
    let why = said.contains("has ended") || said.contains("was revoked");
    assert!(why && said.contains("redlink token create"), "{said}");
    c.kill();
    assert!(!is_linked(&b, "c") && !is_linked(&d, "c"));
    // A new token lets it in again, with the messages that it had.
    let token = b.token();
    c.start_with(&["--north", &north, "--token", &token]);
    wait_linked(&b, "c");
    assert_eq!(c.cli(&["call", "echo"], b"back").ok().text(), "back");
}

#[test]
fn a_join_waits_for_the_authority_and_says_who_is_missing() {
    let mut a = Node::first("a");
    let b = Node::join("b", &a.url(), &a.token());
    wait_linked(&b, "a");
    let token = b.token();
    a.stop();
    let line = format!(
        "redlink node --name c --listen localhost:0 --north {} --token {token}",
        b.url()
    );
    let directory = tempfile::tempdir().expect("a temporary directory");
    run(shell(directory.path(), &line), b"").code(1).says(&[
        "authority",
        "did not answer",
        "token stays good",
    ]);
    a.restart();
    wait_linked(&b, "a");
    let mut c = Node::prepare("c");
    c.start_with(&["--north", &b.url(), "--token", &token]);
    wait_linked(&b, "c");
}

/// Runs lines of shell in a directory; they have to end well.
fn lines(dir: &Path, lines: &str) {
    run(shell(dir, &format!("set -e\n{lines}")), b"").ok();
}

#[test]
fn certificates_of_ones_own_authority_are_made_as_the_error_says_and_reloaded() {
    if std::process::Command::new("openssl")
        .arg("version")
        .output()
        .is_err()
    {
        println!("skipped: openssl is not installed, nobody else makes certificates");
        return;
    }
    let settings = "mesh = 'plant'\n[tls]\nca = 'ca.pem'\ncertificate = 'node.pem'\nkey = 'node-key.pem'\n";
    let authority = tempfile::tempdir().expect("a temporary directory");
    lines(
        authority.path(),
        "openssl ecparam -name prime256v1 -genkey -noout -out ca-key.pem
         printf '%s\\n' '[req]' 'distinguished_name=dn' '[dn]' '[v3]' 'basicConstraints=critical,CA:TRUE' \\
           'keyUsage=critical,keyCertSign,cRLSign' > ca.cnf
         openssl req -x509 -new -key ca-key.pem -subj '/CN=Our own' -days 30 -config ca.cnf -extensions v3 -out ca.pem",
    );
    let make = |node: &mut Node| {
        let dir = node.dir().join(".redlink");
        lines(
            &dir,
            &format!("cp {0}/ca.pem {0}/ca-key.pem .", authority.path().display()),
        );
        // The wrong certificate first, to be told how to make the right one.
        lines(
            &dir,
            "openssl ecparam -name prime256v1 -genkey -noout -out node-key.pem && chmod 600 node-key.pem
             openssl req -new -key node-key.pem -subj /CN=x -out x.csr
             openssl x509 -req -in x.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 1 -out node.pem",
        );
        node.launch(&[]);
        node.process().wait();
        let log = node.process().output();
        node.kill();
        assert!(log.contains("can't be this node's certificate"), "{log}");
        let uri = format!("redlink:plant/node/{}", node.name());
        assert!(log.contains(&uri), "{log}");
        let recipe: Vec<_> = log
            .lines()
            .map(str::trim)
            .skip_while(|line| !line.contains("openssl ecparam"))
            .take_while(|line| !line.is_empty())
            .map(|line| line.replace("HOST", "localhost"))
            .collect();
        assert!(recipe.len() >= 5, "{log}");
        lines(&dir, &recipe.join("\n"));
        recipe.join("\n")
    };
    let mut north = prepare("north", settings);
    make(&mut north);
    north.start_with(&[]);
    let mut south = prepare("south", settings);
    let recipe = make(&mut south);
    south.start_with(&["--north", &north.url()]);
    wait_linked(&north, "south");
    let _worker = Worker::start(&north, "echo", "w", &[], &["cat"]);
    south.wait_service("echo");
    assert_eq!(south.cli(&["call", "echo"], b"x").ok().text(), "x");
    // There is no authority of the mesh's own to ask.
    south
        .cli(&["token", "create"], b"")
        .code(1)
        .says(&["authority of your own"]);

    // Another certificate is taken up, at once when told so, and no link drops.
    lines(&south.dir().join(".redlink"), &recipe);
    south.process().signal(Signal::HUP);
    until("the new certificate", || {
        (count(&mut south, "new connections go by the new ones") > 0).then_some(())
    });
    assert_eq!(south.cli(&["call", "echo"], b"y").ok().text(), "y");
    assert_eq!(count(&mut south, "a link is down"), 0);
}
