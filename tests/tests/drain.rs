//! SIGTERM under load: nothing that was accepted is lost, what consumers hold is answered, and the rest goes on after a
//! restart (P1, P2).

use redlink_tests::{Fleet, Ledger, Load, LoadPlan, Node, Seed, Topology, WorkerPlan, until};
use rustix::process::Signal;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn workers(node: usize) -> WorkerPlan {
    WorkerPlan {
        node,
        service: "work".to_owned(),
        limit: 6,
        takes: Duration::from_millis(150),
        moody: false,
    }
}

/// Lets a node stop and start again in the middle of a load.
fn drained(topology: &[(&str, &[&str])], which: &str, at: &[&str]) {
    let seed = Seed::new(1);
    let mut fleet = Fleet::start(Topology::written(topology));
    let ledger = Arc::new(Ledger::new(&fleet.topology));
    let plan = LoadPlan {
        workers: at
            .iter()
            .map(|name| workers(fleet.topology.index(name)))
            .collect(),
        producers: (0..topology.len())
            .map(|node| (node, vec!["work".to_owned()]))
            .collect(),
        // More than the workers do, so that there is always something that waits.
        rate: 60 * at.len() as u32,
        mixed: false,
    };
    let mut load = Load::start(&fleet, &plan, &ledger, &seed.part(0));
    for _ in 0..2 {
        let node = fleet.node(which);
        until("work to be under way and some to wait", || {
            let services = node.json("/v1/services");
            let work = services.as_array()?.iter().find(|s| s["name"] == "work")?;
            let waits = work["queued"].as_u64()? + work["reserved"].as_u64()?;
            let settled = node.json("/v1/node")["counters"]["settled"].as_u64()?;
            (waits > 0 && settled > 15).then_some(())
        });
        let start = Instant::now();
        node.process().signal(Signal::TERM);
        node.wait_stopped();
        println!("{which} stopped after {:?}", start.elapsed());
        node.check_database();
        let log = node.log();
        node.restart();
        let said = std::fs::read_to_string(log).expect("its log");
        assert!(
            !said.contains("did not end in time"),
            "work of 150 ms had 10 s:\n{said}"
        );
    }
    let start = Instant::now();
    load.settle(&fleet);
    println!("all settled after {:?} more", start.elapsed());
    fleet.wait_linked();
    load.stop(&fleet);
    let account = ledger.account();
    fleet.stop();
    println!("{account:?}");
    assert!(account.accepted > 30, "no load: {account:?}");
    // Whose connection the node had not taken yet when it went has no answer, and no message either.
    assert_eq!(account.lost, 0, "{account:?}");
    // Each delivery was answered before its node went: none was handed out twice.
    assert_eq!(account.answers, account.accepted, "{account:?}");
}

#[test]
fn one_node_lets_its_work_end() {
    drained(&[("one", &[])], "one", &["one"]);
}

#[test]
fn a_node_in_the_middle_lets_pass_what_passes_through_it() {
    let chain: [(&str, &[&str]); 3] = [("north", &[]), ("middle", &["north"]), ("south", &["middle"])];
    drained(&chain, "middle", &["north", "middle"]);
}

/// While it lets work end it says so, takes nothing new, and takes the answer; a second signal ends it at once.
#[test]
fn a_second_signal_does_not_wait() {
    let mut node = Node::first("one");
    let id = node.submit("work", &[("redlink-ett", "10m")], b"long");
    let taken = node.take("work", "w");
    node.process().signal(Signal::TERM);
    until("it not to be ready", || {
        let answer = node.curl("GET", "/readyz?verbose").send().ok()?;
        (answer.status == 503).then(|| {
            let answer = answer.problem(503, "not-ready");
            assert!(answer.text().contains("stopping"), "{}", answer.text());
        })
    });
    node.curl("GET", "/livez").get().status(200);
    node.curl("POST", "/v1/services/work/messages")
        .body(b"x")
        .get()
        .problem(503, "draining");
    node.curl("POST", "/v1/services/work/consumers/w/take?wait=1s")
        .get()
        .problem(503, "draining");
    node.answer(&taken.delivery, "extend", b"").status(204);
    let start = Instant::now();
    node.process().signal(Signal::TERM);
    let status = node.process().wait();
    assert_eq!(status.code(), Some(143), "as a shell has it for SIGTERM");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    node.kill();
    node.restart();
    // The worker holds it still.
    node.answer(&taken.delivery, "reply", b"done").status(204);
    assert_eq!(node.collect(&id).status(200).text(), "done");
    node.stop();
}

/// Work that does not end holds up the stop as long as the setting says.
#[test]
fn work_that_goes_on_is_waited_for_as_long_as_the_setting_says() {
    let mut node = Node::prepare("one");
    node.start_with(&["--drain", "1s"]);
    let id = node.submit("work", &[("redlink-ett", "10m")], b"long");
    let taken = node.take("work", "w");
    let start = Instant::now();
    node.stop();
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(8),
        "{took:?}"
    );
    node.restart();
    node.answer(&taken.delivery, "reply", b"late").status(204);
    assert_eq!(node.collect(&id).status(200).text(), "late");
    // The setting was kept.
    let settings = std::fs::read_to_string(node.dir().join(".redlink/redlink.toml")).expect("its settings");
    assert!(settings.contains("drain = \"1s\""), "{settings}");
}
