//! The shell worker of the README, as it stands there.

use redlink_tests::{Node, Process, shell};
use std::net::TcpListener;

/// The block after the comment that marks it.
fn block() -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = std::fs::read_to_string(readme).expect("the README");
    let (_, after) = text
        .split_once("<!-- test: shell-worker -->")
        .expect("the mark of the shell worker");
    let (between, after) = after.split_once("```sh\n").expect("a block after the mark");
    assert_eq!(between.trim(), "", "the block follows its mark");
    after
        .split_once("```")
        .expect("the end of the block")
        .0
        .to_owned()
}

#[test]
fn the_shell_worker_of_the_readme_works_as_it_stands() {
    const PORT: u16 = 7411;
    let mut script = block();
    let mut node = Node::prepare("alone");
    let free = ["127.0.0.1", "::1"].iter().all(|host| {
        // Where there is no IPv6, IPv4 alone counts.
        match TcpListener::bind((*host, PORT)) {
            Ok(_) => true,
            Err(e) => e.kind() != std::io::ErrorKind::AddrInUse,
        }
    });
    if free {
        node.set_port(PORT);
    } else {
        assert!(
            script.contains(&format!(":{PORT}")),
            "the port of the README:\n{script}"
        );
        script = script.replace(&PORT.to_string(), &node.port().to_string());
        println!(
            "port {PORT} is taken on this machine: {} is put in its place",
            node.port()
        );
    }
    node.start_with(&[]);

    let log = node.dir().join("shell-worker.log");
    let mut worker = Process::start("the shell worker", shell(node.dir(), &script), &log);
    for (payload, words) in [("one two three\n", "3"), ("", "0"), ("a b", "2")] {
        let said = node.cli(&["call", "wc"], payload.as_bytes()).ok();
        assert_eq!(said.text(), words);
    }
    assert!(worker.ended().is_none(), "it goes on:\n{}", worker.output());
    worker.kill();

    // The same worker with a program that fails.
    let failing = script.replace("wc -w <in >out", "false");
    assert_ne!(failing, script, "the program in the block:\n{script}");
    let _worker = Process::start("the failing shell worker", shell(node.dir(), &failing), &log);
    let said = node.cli(&["call", "wc"], b"x").code(1);
    said.says(&["failed"]);
}

/// And the producer that stands beside it.
#[test]
fn the_producer_of_the_readme_works() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = std::fs::read_to_string(readme).expect("the README");
    let line = text
        .lines()
        .find(|line| line.starts_with("curl -K .redlink/curlrc --data-binary"));
    let line = line.expect("the producer of the README");
    let node = Node::first("alone");
    let _worker = redlink_tests::Worker::start(&node, "wc", "w1", &[], &["wc", "-w"]);
    std::fs::write(node.dir().join("report.txt"), "all is well").expect("a file");
    let line = line.replace("7411", &node.port().to_string());
    let said = redlink_tests::run(shell(node.dir(), &line), b"").ok();
    assert_eq!(said.text(), "3");
}
