//! A node whose uplink is down for long: it accepts up to its bounds, says what waits and for how long, and goes on by
//! itself when the link is back (P1, P3, P5, P7).

use redlink_tests::{Fleet, Mesh, Topology, until};
use serde_json::Value;

/// Messages and uncollected outcomes that the south node holds at most.
const BOUND: usize = 24;

fn count(status: &Value, name: &str) -> u64 {
    let counters = &status["counters"];
    counters[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {status}"))
}

#[test]
fn it_fills_up_expires_in_time_and_goes_on_by_itself() {
    let mut mesh = Mesh::start();
    mesh.south.stop();
    mesh.south
        .change_settings(|settings| settings.capacity.get_or_insert_default().messages = Some(BOUND as u32));
    mesh.south.restart();
    mesh.south.wait_link(true);
    mesh.north.register("work", "w1", 1, "30s");
    mesh.south.wait_service("work");
    mesh.cable.cut();
    mesh.south.wait_link(false);

    // Some with a deadline that passes while the link is down, the oldest of all among them.
    let short: Vec<String> = (0..4)
        .map(|_| mesh.south.submit("work", &[("Redlink-Ett", "2s")], b"short"))
        .collect();
    let mut long: Vec<(u8, usize, String)> = Vec::new();
    for at in 0..BOUND - short.len() {
        let priority = [0, 200, 7, 99, 200][at % 5];
        let text = priority.to_string();
        let headers = [("Redlink-Priority", text.as_str()), ("Redlink-Ett", "10m")];
        let id = mesh.south.submit("work", &headers, at.to_string().as_bytes());
        long.push((priority, at, id));
    }

    // It is full, and says of what and when to come again.
    let path = "/v1/services/work/messages";
    let refused = mesh.south.curl("POST", path).body("one more").get();
    assert_eq!(refused.header("retry-after"), Some("1"));
    let refused = refused.problem(429, "full").json();
    let detail = refused["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("messages and uncollected outcomes"), "{detail}");

    // It says how much waits, and how old it is.
    let status = mesh.south.json("/v1/node");
    assert_eq!(
        (&status["messages"], &status["messages_max"]),
        (&BOUND.into(), &BOUND.into())
    );
    assert_eq!(mesh.south.json("/v1/services")[0]["name"], "work");
    let listed = mesh.south.json("/v1/messages?max=1000");
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), BOUND);
    for message in listed {
        assert!(
            message["age_ms"].is_u64() && message["remaining_ms"].is_u64(),
            "{message}"
        );
    }

    // Those whose time is over end while the link is down. Their outcomes keep their room until they are collected.
    for id in &short {
        mesh.south.outcome(id).problem(424, "expired");
    }
    assert!(mesh.cable.is_cut());
    mesh.south
        .curl("POST", path)
        .body("one more")
        .get()
        .problem(429, "full");
    mesh.south.collect(&short[0]).status(424);
    let late = mesh.south.submit(
        "work",
        &[("Redlink-Priority", "8"), ("Redlink-Ett", "10m")],
        b"late",
    );
    long.push((8, BOUND, late));

    // It goes on by itself, the highest priority first and the oldest first within one.
    let before = mesh.south.json("/v1/node");
    mesh.cable.restore();
    long.sort_by_key(|(priority, at, _)| (std::cmp::Reverse(*priority), *at));
    for (priority, at, id) in &long {
        let taken = mesh.north.take("work", "w1");
        assert_eq!(&taken.message, id, "the one of priority {priority}, number {at}");
        mesh.north
            .answer(&taken.delivery, "reply", id.as_bytes())
            .status(204);
    }
    for (_, _, id) in &long {
        assert_eq!(&mesh.south.outcome(id).status(200).text(), id);
    }

    // Offer, claim, grant, answer, settled; a session's beginning, and an announcement for each change of the room.
    let after = mesh.south.json("/v1/node");
    let frames: u64 = ["frames_in", "frames_out"]
        .iter()
        .map(|name| count(&after, name) - count(&before, name))
        .sum();
    println!(
        "{frames} frames for {} messages at the return of the link",
        long.len()
    );
    assert!(
        frames <= 7 * long.len() as u64 + 30,
        "{frames} frames for {} messages",
        long.len()
    );
    assert_eq!(
        count(&after, "offers") - count(&before, "offers"),
        long.len() as u64,
        "each is offered once"
    );
}

/// A worker's reply is made while the way back is broken, and its node is killed before that is whole again.
#[test]
fn a_reply_waits_for_the_way_back() {
    let mut fleet = Fleet::start(Topology::written(&[
        ("north", &[]),
        ("middle", &["north"]),
        ("south", &["middle"]),
    ]));
    fleet.node("north").register("work", "w1", 4, "60s");
    fleet.node("south").wait_service("work");
    let ids: Vec<String> = (0..3)
        .map(|n| fleet.node("south").submit("work", &[], &[n]))
        .collect();
    let taken: Vec<_> = ids
        .iter()
        .map(|_| fleet.node("north").take("work", "w1"))
        .collect();
    for id in &ids {
        fleet.node("south").wait_state(id, "granted");
    }
    fleet.cable("south", "middle").cut();
    until("the link to be down", || {
        let peers = fleet.nodes[fleet.topology.index("middle")].json("/v1/node")["peers"].as_u64();
        (peers == Some(1)).then_some(())
    });
    for (n, taken) in taken.iter().enumerate() {
        let reply = format!("reply to {}", taken.message);
        let north = fleet.node("north");
        north
            .answer(&taken.delivery, "reply", reply.as_bytes())
            .status(204);
        if n == 0 {
            // With one reply on its disk.
            north.kill();
            north.restart();
        }
    }
    fleet.cable("south", "middle").restore();
    for id in &ids {
        let outcome = fleet.node("south").collect(id).status(200);
        assert_eq!(outcome.text(), format!("reply to {id}"));
    }
}
