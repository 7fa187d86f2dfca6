//! The cable between two nodes is cut, also in the middle of a frame.

use redlink_tests::{Mesh, Seed, Worker, all_bytes, assert_same, until};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn what_is_submitted_while_it_is_cut_arrives_afterwards() {
    let mesh = Mesh::start();
    let _worker = Worker::start(&mesh.north, "echo", "w1", &["--concurrency", "2"], &["cat"]);
    mesh.south.wait_service("echo");
    mesh.cable.cut();
    mesh.south.wait_link(false);
    let payloads: Vec<Vec<u8>> = (0..6).map(|n| all_bytes(n * 20_000)).collect();
    let ids: Vec<String> = payloads
        .iter()
        .map(|payload| mesh.south.submit("echo", &[], payload))
        .collect();
    for id in &ids {
        let state = mesh.south.json(&format!("/v1/messages/{id}"))["state"].clone();
        assert_eq!(state, "queued", "{id}");
    }
    mesh.cable.restore();
    for (id, payload) in ids.iter().zip(&payloads) {
        assert_same(id, &mesh.south.collect(id).status(200).body, payload);
    }
}

/// Under load in both directions the cable is cut wherever in a frame, a TLS record or a handshake that happens to be.
#[test]
fn cuts_in_the_middle_of_frames_lose_and_double_nothing() {
    const CUTS: usize = 12;
    const PRODUCERS: usize = 4;
    let mut seed = Seed::from_env("REDLINK_TEST_CUT_SEED");
    let mesh = Mesh::start();
    let _up = Worker::start(&mesh.north, "up", "w1", &["--concurrency", "3"], &["cat"]);
    let _down = Worker::start(&mesh.south, "down", "w2", &["--concurrency", "3"], &["cat"]);
    mesh.south.wait_service("up");
    mesh.north.wait_service("down");

    let cuts = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (cuts, mesh) = (&cuts, &mesh);
                scope.spawn(move || {
                    let (node, service) = match producer % 2 {
                        0 => (&mesh.south, "up"),
                        _ => (&mesh.north, "down"),
                    };
                    let mut sent = Vec::new();
                    // In frames and apart from them.
                    for length in [10, 5_000, 30, 12_000, 100_000].into_iter().cycle() {
                        if cuts.load(Ordering::Relaxed) == CUTS {
                            break;
                        }
                        let mut payload = format!("{producer} {} ", sent.len()).into_bytes();
                        payload.extend(all_bytes(length));
                        let headers = [("Redlink-Max-Attempts", "0"), ("Redlink-Reoffer", "1s")];
                        let id = node.submit(service, &headers, &payload);
                        sent.push((id, payload));
                        // A few stay under way.
                        if let Some((id, payload)) = sent.len().checked_sub(8).and_then(|at| sent.get(at)) {
                            assert_same(id, &node.collect(id).status(200).body, payload);
                        }
                    }
                    (node, sent)
                })
            })
            .collect();
        while cuts.load(Ordering::Relaxed) < CUTS {
            // Many are small enough to hit the handshake.
            let limit = [400, 5_000, 50_000, 500_000][seed.below(4) as usize];
            mesh.cable.cut_after(1 + seed.below(limit) as usize);
            until("the cable to be cut", || mesh.cable.is_cut().then_some(()));
            mesh.cable.restore();
            cuts.fetch_add(1, Ordering::Relaxed);
        }
        let mut all = 0;
        for producer in producers {
            let (node, sent) = producer.join().expect("a producer that is content");
            all += sent.len();
            for (id, payload) in sent.iter().skip(sent.len().saturating_sub(7)) {
                assert_same(id, &node.collect(id).status(200).body, payload);
            }
        }
        println!(
            "{all} messages, {CUTS} cuts, {} bytes over the cable",
            mesh.cable.passed()
        );
    });
    for node in [&mesh.south, &mesh.north] {
        assert_eq!(
            node.json("/v1/messages"),
            serde_json::json!([]),
            "{}",
            node.name()
        );
    }
}

/// A large payload whose way breaks goes on, or goes again; it never arrives cut short.
#[test]
fn a_large_payload_survives_a_cut_in_its_middle() {
    const MIB: usize = 1 << 20;
    let mesh = Mesh::start();
    let _worker = Worker::start(&mesh.north, "echo", "w1", &["--lease", "2s"], &["cat"]);
    mesh.south.wait_service("echo");
    let payload = all_bytes(8 * MIB);
    // On its way there, and on the reply's way back.
    for after in [3 * MIB, 11 * MIB] {
        mesh.cable.cut_after(after);
        let headers = [("Redlink-Max-Attempts", "0"), ("Redlink-Reoffer", "1s")];
        let id = mesh.south.submit("echo", &headers, &payload);
        until("the cable to be cut", || mesh.cable.is_cut().then_some(()));
        mesh.south.wait_link(false);
        mesh.cable.restore();
        assert_same(&id, &mesh.south.collect(&id).status(200).body, &payload);
    }
}
