//! What a service manager, a scraper and a log collector see of a node.

use redlink_tests::{Mesh, Node, Worker, run, shell};
use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        let bound = redlink_tests::BOUND;
        socket.set_read_timeout(Some(bound)).expect("a bound");
        Self { socket, dir }
    }

    /// The next datagram that is no sign of life.
    #[track_caller]
    fn told(&self) -> Vec<String> {
        loop {
            let lines = self.next().expect("the node tells something");
            if lines != ["WATCHDOG=1"] {
                return lines;
            }
        }
    }

    fn next(&self) -> std::io::Result<Vec<String>> {
        let mut bytes = [0; 4_096];
        let length = self.socket.recv(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        Ok(text.lines().map(str::to_owned).collect())
    }
}

#[test]
fn a_service_manager_is_told_of_each_change() {
    let manager = Manager::new();
    let mut node = Node::prepare("one");
    let socket = manager.dir.path().join("notify");
    node.set_variable("NOTIFY_SOCKET", &socket.display().to_string());
    node.set_variable("WATCHDOG_USEC", "400000");
    node.launch(&[]);
    assert_eq!(manager.told(), ["STATUS=starts"]);
    let ready = manager.told();
    assert_eq!(ready[0], "READY=1", "{ready:?}");
    assert!(ready[1].contains(&node.url()), "{ready:?}");
    // It is as it says.
    assert_eq!(node.curl("GET", "/readyz").get().status, 200);

    node.process().signal(Signal::HUP);
    let reloading = manager.told();
    assert_eq!(reloading[0], "RELOADING=1", "{reloading:?}");
    let micros = reloading[1].strip_prefix("MONOTONIC_USEC=").expect("when");
    assert!(micros.parse::<u64>().expect("a number") > 0);
    assert_eq!(manager.told()[0], "READY=1");

    for _ in 0..3 {
        assert_eq!(manager.next().expect("a sign of life"), ["WATCHDOG=1"]);
    }
    // It says nothing while it stands still, and goes on afterwards.
    node.stand_still(true);
    let short = Some(Duration::from_millis(800));
    manager.socket.set_read_timeout(short).expect("a bound");
    // One may have been on its way.
    while manager.next().is_ok() {}
    node.stand_still(false);
    manager
        .socket
        .set_read_timeout(Some(redlink_tests::BOUND))
        .expect("a bound");
    assert_eq!(manager.next().expect("a sign of life"), ["WATCHDOG=1"]);

    node.process().signal(Signal::TERM);
    let stopping = manager.told();
    assert_eq!(stopping[0], "STOPPING=1", "{stopping:?}");
    node.wait_stopped();
}

/// The unit file is one that systemd takes, and the node's directory is where it says.
#[test]
fn the_unit_is_well_formed() {
    let unit = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../packaging/systemd/redlink.service"
    );
    let dir = tempfile::tempdir().expect("a temporary directory");
    if run(shell(dir.path(), "command -v systemd-analyze"), b"").code != 0 {
        println!("skipped: there is no systemd-analyze here");
        return;
    }
    // With the binary that is tested, since none is installed.
    let text = std::fs::read_to_string(unit).expect("the unit");
    let binary = redlink_tests::binary().display().to_string();
    assert!(text.contains("ExecStart=/usr/bin/redlink node"), "{text}");
    let text = text.replace("/usr/bin/redlink", &binary);
    let text = text.replace("Documentation=man:redlink-node(1)\n", "");
    std::fs::write(dir.path().join("redlink.service"), text).expect("a copy");
    let said = run(
        shell(dir.path(), "systemd-analyze verify --man=no ./redlink.service"),
        b"",
    )
    .ok();
    assert_eq!(said.err, "", "{}", said.text());
}

/// A scraper with a token of its own sees what happened at both ends of a link.
#[test]
fn a_scraper_reads_both_nodes() {
    let mesh = Mesh::start();
    let _worker = Worker::start(&mesh.north, "up", "w", &[], &["cat"]);
    mesh.south.wait_service("up");
    for n in 0..3 {
        let id = mesh.south.submit("up", &[], n.to_string().as_bytes());
        mesh.south.collect(&id).status(200);
    }
    let scrape = |node: &Node| {
        let token = node
            .cli(&["token", "create", "--program", "prom", "--watch"], b"")
            .ok()
            .text();
        let ca = node.dir().join(".redlink/ca.pem").display().to_string();
        let line = format!(
            "curl -sS --fail-with-body --cacert {ca} -H 'Authorization: Bearer {token}' {}/metrics",
            node.url()
        );
        run(shell(node.dir(), &line), b"").ok().text()
    };
    let (south, north) = (scrape(&mesh.south), scrape(&mesh.north));
    let value = |text: &str, series: &str| {
        let line = text.lines().find(|line| line.starts_with(series));
        let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
        line.rsplit(' ')
            .next()
            .and_then(|v| v.parse::<f64>().ok())
            .expect("a number")
    };
    let replied = r#"redlink_messages_settled_total{service="up",outcome="replied"}"#;
    assert_eq!(value(&south, replied), 3.0);
    assert_eq!(
        value(&south, r#"redlink_queue_wait_seconds_count{service="up"}"#),
        3.0
    );
    assert_eq!(value(&north, r#"redlink_deliveries_total{service="up"}"#), 3.0);
    assert_eq!(value(&north, r#"redlink_work_seconds_count{service="up"}"#), 3.0);
    assert_eq!(
        value(&north, r#"redlink_link_up{peer="south",direction="south"}"#),
        1.0
    );
    assert_eq!(
        value(&south, r#"redlink_link_up{peer="north",direction="north"}"#),
        1.0
    );
    for (from, to, peer, back) in [
        (
            &south,
            &north,
            r#"peer="north",direction="north""#,
            r#"peer="south",direction="south""#,
        ),
        (
            &north,
            &south,
            r#"peer="south",direction="south""#,
            r#"peer="north",direction="north""#,
        ),
    ] {
        let sent = value(from, &format!("redlink_link_sent_bytes_total{{{peer}}}"));
        let received = value(to, &format!("redlink_link_received_bytes_total{{{back}}}"));
        assert!(sent > 100.0 && received > 100.0, "{sent} {received}");
        assert!(value(from, &format!("redlink_link_frames_sent_total{{{peer}}}")) >= 5.0);
    }
}

/// Standard error is JSON lines where nobody looks at it, and no secret is in it, however much is logged.
#[test]
fn the_log_is_json_and_holds_no_secret() {
    let mut north = Node::prepare("north");
    for (name, value) in [
        ("REDLINK_LOG_FORMAT", "auto"),
        ("REDLINK_LOG", "trace,h2=trace,hyper=trace,rustls=trace"),
    ] {
        north.set_variable(name, value);
    }
    north.start_with(&[]);
    let join = north.token();
    let mut south = Node::prepare("south");
    for (name, value) in [
        ("REDLINK_LOG_FORMAT", "json"),
        ("REDLINK_LOG", "trace,h2=trace,hyper=trace"),
    ] {
        south.set_variable(name, value);
    }
    south.start_with(&["--north", &north.url(), "--token", &join]);
    let program = north
        .cli(&["token", "create", "--program", "p", "--produce", "*"], b"")
        .ok()
        .text();
    let wrong = format!("{program}x");
    for token in [&program, &wrong] {
        let ca = north.dir().join(".redlink/ca.pem").display().to_string();
        let line = format!(
            "curl -sS --cacert {ca} -H 'Authorization: Bearer {token}' -d secret-payload {}/v1/services/s/messages",
            north.url()
        );
        run(shell(north.dir(), &line), b"").ok();
    }
    let taken = north.take("s", "w");
    north
        .answer(&taken.delivery, "reply", b"secret-reply")
        .status(204);
    let admin = std::fs::read_to_string(north.dir().join(".redlink/admin-token")).expect("its token");
    south.stop();
    north.stop();
    for node in [&north, &south] {
        let log = std::fs::read_to_string(node.log()).expect("its log");
        let mut lines = 0;
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(
                line["timestamp"].is_string() && line["level"].is_string(),
                "{line}"
            );
            lines += 1;
        }
        assert!(lines > 10, "{log}");
        for token in [&join, &program, &admin] {
            // A part would be too much already.
            let token = token.trim();
            let half = &token[token.len() / 2..];
            assert!(!log.contains(half), "a token is in the log of {}", node.name());
        }
        for secret in ["secret-payload", "secret-reply", "PRIVATE KEY"] {
            assert!(!log.contains(secret), "{secret} is in the log of {}", node.name());
        }
    }
}
