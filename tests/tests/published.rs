//! The meshes of the published examples, with real processes: isolation, high availability, and a ring of norths.
//!
//! `REDLINK_TEST_MESH_SEED` repeats which links are cut; with `REDLINK_TEST_MESH_ALL=1` every one is.

use bytes::Bytes;
use redlink::client::{Client, Fate, Submission};
use redlink_tests::{BOUND, Fault, Fleet, Ledger, Load, LoadPlan, Node, Seed, Topology, Worker, WorkerPlan};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls with an ETT; the outcome and what was said.
async fn call(client: Client, service: &str, ett: &str) -> (String, String) {
    let submission = Submission {
        service: service.to_owned(),
        headers: vec![("redlink-ett", ett.to_owned())],
        payload: Bytes::from_static(b"x"),
    };
    match client.call(&submission, BOUND).await {
        Ok(Fate::Settled(settled)) => {
            let text = String::from_utf8_lossy(&settled.payload).trim().to_owned();
            (settled.outcome, text)
        }
        other => panic!("a call of {service}: {other:?}"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

/// S1 does not join what is behind S10 with what is behind S11.
#[test]
fn isolation() {
    let mut fleet = Fleet::start(Topology::written(&[
        ("S12", &[]),
        ("S10", &[]),
        ("S11", &[]),
        ("S1", &["S10", "S11"]),
        ("S2", &["S10"]),
        ("S3", &["S11"]),
    ]));
    let served = [
        ("C1", vec!["S1"]),
        ("C2", vec!["S12"]),
        ("C3", vec!["S2"]),
        ("C4", vec!["S2", "S12"]),
        ("C5", vec!["S3", "S12"]),
        ("C6", vec!["S3"]),
    ];
    let mut workers = Vec::new();
    for (service, nodes) in &served {
        for node in nodes {
            let name = format!("{service}-{node}");
            let script = format!("echo {node}");
            workers.push(Worker::script(fleet.node(node), service, &name, &[], &script));
        }
    }
    let places: Vec<(&str, Vec<usize>)> = served
        .iter()
        .map(|(service, nodes)| {
            (
                *service,
                nodes.iter().map(|node| fleet.topology.index(node)).collect(),
            )
        })
        .collect();
    fleet.wait_services(&places);

    let reached: [(&str, &[(&str, &str)]); 6] = [
        (
            "S1",
            &[
                ("C1", "S1"),
                ("C3", "S2"),
                ("C4", "S2"),
                ("C5", "S3"),
                ("C6", "S3"),
            ],
        ),
        ("S10", &[("C1", "S1"), ("C3", "S2"), ("C4", "S2")]),
        ("S11", &[("C1", "S1"), ("C5", "S3"), ("C6", "S3")]),
        ("S2", &[("C1", "S1"), ("C3", "S2"), ("C4", "S2")]),
        ("S3", &[("C1", "S1"), ("C5", "S3"), ("C6", "S3")]),
        ("S12", &[("C2", "S12"), ("C4", "S12"), ("C5", "S12")]),
    ];
    let runtime = runtime();
    let mut calls = Vec::new();
    for (from, expected) in reached {
        let client = fleet.node(from).client();
        for (service, _) in served.iter() {
            let by = expected
                .iter()
                .find(|(known, _)| known == service)
                .map(|(_, by)| *by);
            let (service, client) = ((*service).to_owned(), client.clone());
            let ett = if by.is_some() { "300s" } else { "2s" };
            let call = runtime.spawn(async move { (call(client, &service, ett).await, service) });
            calls.push((from, by, call));
        }
    }
    for (from, by, call) in calls {
        let ((outcome, text), service) = runtime.block_on(call).expect("a call");
        match by {
            Some(by) => assert_eq!(
                (outcome.as_str(), text.as_str()),
                ("replied", by),
                "{service} from {from}"
            ),
            None => assert_eq!(outcome, "expired", "{service} from {from}: {text}"),
        }
    }
    drop(workers);
    fleet.stop();
}

const TRANSIT: [&str; 4] = ["S10", "S11", "S20", "S21"];

/// Calls go on while any one transit node is killed, and while any one link is cut. They have to come through while
/// it lasts, and at the end every message of the load beside them is accounted for.
#[test]
fn high_availability() {
    let mut seed = Seed::from_env("REDLINK_TEST_MESH_SEED");
    let mut fleet = Fleet::start(Topology::written(&[
        ("S21", &[]),
        ("S11", &["S21"]),
        ("S20", &["S21", "S11"]),
        ("S10", &["S20", "S11", "S21"]),
        ("S1", &["S10", "S11"]),
        ("S2", &["S20", "S21"]),
    ]));
    let (s1, s2) = (fleet.topology.index("S1"), fleet.topology.index("S2"));
    let worker = |node, service: &str| WorkerPlan {
        node,
        service: service.to_owned(),
        limit: 4,
        takes: Duration::ZERO,
        moody: false,
    };
    let services = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    let all = ["C1", "C2", "C3", "C4"].map(str::to_owned).to_vec();
    let transit = TRANSIT.map(|name| (fleet.topology.index(name), all.clone()));
    let plan = LoadPlan {
        workers: vec![
            worker(s1, "C1"),
            worker(s1, "C2"),
            worker(s2, "C3"),
            worker(s2, "C4"),
        ],
        producers: [(s1, services(["C3", "C4"])), (s2, services(["C1", "C2"]))]
            .into_iter()
            .chain(transit)
            .collect(),
        rate: 100,
        mixed: false,
    };
    let mut faults: Vec<Fault> = TRANSIT
        .map(|name| Fault::Kill(fleet.topology.index(name)))
        .to_vec();
    let mut links: Vec<usize> = (0..fleet.topology.links.len()).collect();
    if std::env::var_os("REDLINK_TEST_MESH_ALL").is_none() {
        while links.len() > 4 {
            links.swap_remove(seed.below(links.len() as u64) as usize);
        }
    }
    faults.extend(links.into_iter().map(Fault::Cut));

    let ledger = Arc::new(Ledger::new(&fleet.topology));
    let mut load = Load::start(&fleet, &plan, &ledger, &seed.part(0));
    let probe = |load: &Load, what: &str| {
        let start = Instant::now();
        load.probe(&[(s1, "C3"), (s1, "C4"), (s2, "C1"), (s2, "C2")]);
        println!("{what}: four calls came through after {:?}", start.elapsed());
    };
    for fault in faults {
        let text = fault.text(&fleet.topology);
        fault.begin(&mut fleet, &ledger);
        probe(&load, &text);
        fault.end(&mut fleet, &ledger);
        fleet.wait_linked();
    }
    load.settle(&fleet);
    load.stop(&fleet);
    let account = ledger.account();
    println!("{account:?}");
    assert_eq!(
        account.outcomes.keys().collect::<Vec<_>>(),
        ["replied"],
        "nothing was lost, failed or late"
    );
    fleet.stop();
}

/// A mistake of whoever set it up: it is bounded, without a storm, and what can work works.
#[test]
fn a_ring_of_norths() {
    let mut fleet = Fleet::start(Topology::written(&[
        ("A", &["B"]),
        ("B", &["C"]),
        ("C", &["A"]),
        ("S", &["A"]),
    ]));
    let _worker = Worker::script(fleet.node("S"), "s", "w", &[], "echo S");
    let at_s = fleet.topology.index("S");
    fleet.wait_services(&[("s", vec![at_s])]);
    let runtime = runtime();
    for node in &fleet.nodes {
        let (outcome, text) = runtime.block_on(call(node.client(), "s", "300s"));
        assert_eq!(
            (outcome.as_str(), text.as_str()),
            ("replied", "S"),
            "from {}",
            node.name()
        );
    }
    let frames = |fleet: &Fleet| -> u64 {
        let both = |node: &Node| {
            let counters = &node.json("/v1/node")["counters"];
            ["frames_in", "frames_out"].map(|name| counters[name].as_u64().expect("a count"))
        };
        fleet.nodes.iter().flat_map(both).sum()
    };
    // How many frames is the question, not when: this is no wait for something.
    const IDLE: Duration = Duration::from_secs(4);
    let before = frames(&fleet);
    std::thread::sleep(IDLE);
    let idle = frames(&fleet) - before;
    println!("{idle} frames of four nodes in {IDLE:?}");
    assert!(idle < 100, "{idle} frames in {IDLE:?} in which nothing happened");
    for node in &fleet.nodes {
        let routes = node.json("/v1/services");
        assert!(
            routes.as_array().is_some_and(|known| known.len() == 1),
            "{}: {routes}",
            node.name()
        );
    }
}
