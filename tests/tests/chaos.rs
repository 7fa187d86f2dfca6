//! `kill -9` of either node at random moments under load: every message that was accepted has exactly one outcome, told
//! the same to everybody who asks, and collected once (P1, P2, P6).
//!
//! `REDLINK_TEST_CHAOS_SEED` repeats a run's choices; `REDLINK_TEST_CHAOS_KILLS` (20) makes it longer.

use redlink_tests::{BOUND, Curl, Mesh, Node, Response, Seed, Worker, until};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Submits under way at once, half of them at each node.
const IN_FLIGHT: usize = 16;

/// Each attempt answers something of its own, so that a second outcome shows.
const SCRIPT: &str = "cat; echo \" attempt $REDLINK_ATTEMPT by $$\"";

/// A message that was accepted.
struct Sent {
    id: String,
    payload: String,
    /// What the first who asked was told.
    told: Option<(u16, Vec<u8>)>,
    collected: bool,
}

/// All messages of one node.
struct Origin {
    /// For its curlrc and its port.
    requests: Requests,
    sent: Mutex<Vec<Sent>>,
}

/// Requests to a node that is killed now and then.
struct Requests {
    base: Curl,
    url: String,
}

impl Requests {
    fn new(node: &Node) -> Self {
        Self {
            base: node.curl("GET", ""),
            url: node.url(),
        }
    }

    fn curl(&self, method: &str, path: &str) -> Curl {
        self.base.at(method, format!("{}{path}", self.url))
    }
}

#[test]
fn every_accepted_message_has_exactly_one_outcome() {
    let kills: u64 = match std::env::var("REDLINK_TEST_CHAOS_KILLS") {
        Ok(text) => text.parse().expect("REDLINK_TEST_CHAOS_KILLS is a number"),
        Err(_) => 20,
    };
    let mut seed = Seed::from_env("REDLINK_TEST_CHAOS_SEED");
    let mut mesh = Mesh::start();
    let flags = ["--lease", "2s", "--concurrency", "4"];
    let _up = Worker::script(&mesh.north, "up", "w1", &flags, SCRIPT);
    let _down = Worker::script(&mesh.south, "down", "w2", &flags, SCRIPT);
    let origins = [(&mesh.south, "up"), (&mesh.north, "down")].map(|(node, service)| {
        let origin = Origin {
            requests: Requests::new(node),
            sent: Mutex::new(Vec::new()),
        };
        (origin, service)
    });
    let over = AtomicBool::new(false);
    let unanswered = AtomicU64::new(0);

    std::thread::scope(|scope| {
        for at in 0..IN_FLIGHT {
            let ((origin, service), over, unanswered) = (&origins[at % 2], &over, &unanswered);
            scope.spawn(move || produce(origin, service, at, over, unanswered));
        }
        for (origin, _) in &origins {
            let over = &over;
            scope.spawn(move || collect_some(origin, over));
        }
        // A producer that panics must not leave the others running for ever.
        let stop = StopOnDrop(&over);
        for kill in 1..=kills {
            let moment = Duration::from_millis(seed.below(700));
            let which = seed.below(3);
            std::thread::sleep(moment);
            let victims = match which {
                0 => vec![&mut mesh.south],
                1 => vec![&mut mesh.north],
                _ => vec![&mut mesh.south, &mut mesh.north],
            };
            let names: Vec<&str> = ["south", "north", "both"].to_vec();
            println!(
                "kill {kill} of {kills}: {} after {moment:?}",
                names[which as usize]
            );
            let mut victims = victims;
            for node in &mut victims {
                node.kill();
            }
            for node in victims {
                node.launch(&[]);
            }
            mesh.south.wait_ready();
            mesh.north.wait_ready();
        }
        drop(stop);
    });

    let start = Instant::now();
    let mut accepted = 0;
    let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let nodes = [&mesh.south, &mesh.north];
    for ((origin, service), node) in origins.iter().zip(nodes) {
        let mut sent = origin.sent.lock().expect("the list");
        accepted += sent.len();
        for message in sent.iter() {
            let first = known.entry(service).or_default().insert(message.id.clone());
            assert!(first, "{} was given to two messages", message.id);
        }
        // Several at once, because most of the time goes into starting curl.
        let share = sent.len().div_ceil(IN_FLIGHT / 2).max(1);
        std::thread::scope(|scope| {
            for share in sent.chunks_mut(share) {
                scope.spawn(move || share.iter_mut().for_each(|message| collect_last(node, message)));
            }
        });
    }
    assert!(
        accepted as u64 > kills,
        "no load: {accepted} messages for {kills} kills"
    );

    // What was accepted without its producer hearing of it has an outcome too.
    let mut more = 0;
    for node in nodes {
        until("all others to be settled", || {
            let listed = node.json("/v1/messages?max=1000");
            let ids: Vec<_> = listed
                .as_array()?
                .iter()
                .filter_map(|m| m["id"].as_str())
                .collect();
            for id in &ids {
                assert!(
                    !known.values().any(|all| all.contains(*id)),
                    "{id} was collected and is there"
                );
                assert_eq!(node.collect(id).status, 200, "{id}");
                more += 1;
            }
            ids.is_empty().then_some(())
        });
    }
    println!(
        "{accepted} accepted, {} submits without an answer of which {more} were accepted; all settled {:?} after the last kill",
        unanswered.load(Ordering::Relaxed),
        start.elapsed()
    );
    assert!(
        more <= unanswered.load(Ordering::Relaxed),
        "more messages than were submitted"
    );
    mesh.south.stop();
    mesh.north.stop();
    mesh.south.check_database();
    mesh.north.check_database();
}

/// Submits until it is over. What was answered with 202 counts.
fn produce(origin: &Origin, service: &str, at: usize, over: &AtomicBool, unanswered: &AtomicU64) {
    let path = format!("/v1/services/{service}/messages");
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        // Now and then one that is a file on the disk and travels apart from the frames.
        let filler = if n % 10 == 9 { 100_000 } else { n % 300 };
        let payload = format!("{at}-{n} {}", "x".repeat(filler));
        let request = origin.requests.curl("POST", &path).body(payload.as_bytes());
        let request = request
            .header("Redlink-Max-Attempts", "0")
            .header("Redlink-Reoffer", "1s");
        match request.send() {
            Ok(answer) if answer.status == 202 => {
                let id = answer.json()["id"].as_str().map(str::to_owned).expect("an id");
                origin.sent.lock().expect("the list").push(Sent {
                    id,
                    payload,
                    told: None,
                    collected: false,
                });
            }
            Ok(answer) => {
                // Stopping or not yet ready; anything else is a fault.
                assert!(
                    matches!(answer.status, 429 | 503),
                    "{}: {}",
                    answer.status,
                    answer.text()
                );
            }
            Err(_) => {
                unanswered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Looks at outcomes while nodes are killed, and collects every third. What was told once stays so.
fn collect_some(origin: &Origin, over: &AtomicBool) {
    let mut at = 0;
    while !over.load(Ordering::Relaxed) {
        let (id, collect) = {
            let sent = origin.sent.lock().expect("the list");
            let Some(message) = sent.get(at) else {
                drop(sent);
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            (message.id.clone(), at.is_multiple_of(3))
        };
        let path = format!("/v1/messages/{id}/outcome");
        let Ok(outcome) = origin.requests.curl("GET", &format!("{path}?wait=1s")).send() else {
            continue;
        };
        match outcome.status {
            200 => {}
            202 | 503 => continue,
            status => panic!("{id}: {status}: {}", outcome.text()),
        }
        check(&mut origin.sent.lock().expect("the list")[at], &outcome);
        if collect {
            // Without an answer it may be collected or not; a second try tells: then it is unknown.
            let start = Instant::now();
            loop {
                match origin
                    .requests
                    .curl("DELETE", &path)
                    .send()
                    .map(|answer| answer.status)
                {
                    Ok(204 | 404) => break,
                    Ok(503) | Err(_) => assert!(start.elapsed() < BOUND, "{id} can't be collected"),
                    Ok(status) => panic!("{id}: collecting: {status}"),
                }
            }
            origin.sent.lock().expect("the list")[at].collected = true;
        }
        at += 1;
    }
}

/// Collects what was not collected yet; either way it is gone then.
fn collect_last(node: &Node, message: &mut Sent) {
    let path = format!("/v1/messages/{}/outcome", message.id);
    if !message.collected {
        check(message, &node.outcome(&message.id));
        node.curl("DELETE", &path).get().status(204);
    }
    node.curl("GET", &path).get().problem(404, "unknown-message");
}

/// An outcome is that of its message, and the same each time.
fn check(message: &mut Sent, outcome: &Response) {
    let text = outcome.text();
    assert_eq!(outcome.status, 200, "{}: {text}", message.id);
    assert!(
        text.strip_prefix(&message.payload)
            .is_some_and(|rest| rest.starts_with(" attempt ")),
        "{}: the reply is another message's: {:?}",
        message.id,
        &text[..text.len().min(100)]
    );
    let found = (outcome.status, outcome.body.clone());
    match &message.told {
        None => message.told = Some(found),
        Some(told) => assert_eq!(told, &found, "{} has a second outcome", message.id),
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
