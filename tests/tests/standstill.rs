//! A transit node that stands still harms only what goes through it (P11).
//!
//! With `REDLINK_TEST_STANDSTILL=1` it stands still for longer than the 30 s after which a silent link is given up.

use redlink::client::{Client, Fate, Submission};
use redlink_tests::{BOUND, Fleet, Topology, Worker, until};
use std::time::{Duration, Instant};

/// Calls, one after the other; the longest time that one took.
fn calls(runtime: &tokio::runtime::Runtime, client: &Client, count: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for n in 0..count {
        let submission = Submission {
            service: "echo".to_owned(),
            headers: vec![("redlink-reoffer", "1s".to_owned())],
            payload: n.to_string().into(),
        };
        let start = Instant::now();
        match runtime.block_on(client.call(&submission, BOUND)) {
            Ok(Fate::Settled(settled)) if settled.good => assert_eq!(settled.payload, n.to_string()),
            other => panic!("call {n}: {other:?}"),
        }
        longest = longest.max(start.elapsed());
    }
    longest
}

#[test]
fn others_go_on() {
    let mut fleet = Fleet::start(Topology::written(&[
        ("north", &[]),
        ("still", &["north"]),
        ("other", &["north"]),
        ("both", &["still", "other"]),
        ("beside", &["other"]),
        ("behind", &["still"]),
    ]));
    let _worker = Worker::start(
        fleet.node("north"),
        "echo",
        "w1",
        &["--concurrency", "4"],
        &["cat"],
    );
    let north = fleet.topology.index("north");
    fleet.wait_services(&[("echo", vec![north])]);
    let [both, beside, behind] = ["both", "beside", "behind"].map(|name| fleet.node(name).client());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for client in [&both, &beside, &behind] {
        calls(&runtime, client, 2);
    }

    fleet.node("still").stand_still(true);
    // What has another way, or never came here, is served while it stands still: it is not let go before.
    let longest = calls(&runtime, &beside, 20);
    println!("beside it: 20 calls, the longest took {longest:?}");
    let longest = calls(&runtime, &both, 20);
    println!("with another way: 20 calls, the longest took {longest:?}");
    // What has no other way waits, and is accepted all the same.
    let waiting = fleet.node("behind").submit("echo", &[], b"waits");
    if std::env::var_os("REDLINK_TEST_STANDSTILL").is_some() {
        for name in ["both", "behind"] {
            let node = fleet.node(name);
            until(&format!("{name} to give up its link"), || {
                let peers = node.json("/v1/peers");
                let still = peers.as_array()?.iter().find(|peer| peer["name"] == "still")?;
                (still["connected"] == false).then_some(())
            });
        }
        let longest = calls(&runtime, &both, 20);
        println!("after its links were given up: 20 calls, the longest took {longest:?}");
    }
    let state = fleet.node("behind").json(&format!("/v1/messages/{waiting}"));
    assert!(state["outcome"].is_null(), "{state}");
    fleet.node("still").stand_still(false);
    assert_eq!(fleet.node("behind").collect(&waiting).status(200).text(), "waits");
    fleet.wait_linked();
    fleet.stop();
}
