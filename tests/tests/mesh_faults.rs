//! A mesh of several nodes under load and faults: every message is accounted for.
//!
//! One seed draws the topology, the load and the faults, and is printed first and last. By hand, for half an hour:
//!
//! ```sh
//! REDLINK_TEST_MESH_NODES=12 REDLINK_TEST_MESH_FAULTS=600 REDLINK_TEST_MESH_SECONDS=1800 \
//!   cargo test -p redlink-tests --test mesh_faults -- --nocapture
//! ```
//!
//! | variable | what | here |
//! |---|---|---|
//! | `REDLINK_TEST_MESH_SEED` | repeats a run's choices | a new one |
//! | `REDLINK_TEST_MESH_NODES` | nodes, 2 to 12 | 3 to 7, of the seed |
//! | `REDLINK_TEST_MESH_FAULTS` | faults | 14 |
//! | `REDLINK_TEST_MESH_SECONDS` | how long producers submit | 12 |
//! | `REDLINK_TEST_MESH_LONGEST` | longest fault, in seconds | 3 |
//! | `REDLINK_TEST_MESH_RATE` | messages a second, all producers together | 250 |

use redlink_tests::{Fleet, Ledger, Load, LoadPlan, Plan, Seed, Topology};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

/// Prints the seed last, also when the test fails.
struct PrintedLast(u64);

impl Drop for PrintedLast {
    fn drop(&mut self) {
        println!("REDLINK_TEST_MESH_SEED={}", self.0);
    }
}

#[test]
fn every_message_is_accounted_for() {
    let mut seed = Seed::from_env("REDLINK_TEST_MESH_SEED");
    let _last = PrintedLast(seed.number());
    let drawn = 3 + seed.below(5);
    let nodes = setting("REDLINK_TEST_MESH_NODES", drawn);
    let faults = setting("REDLINK_TEST_MESH_FAULTS", 14);
    let time = Duration::from_secs(setting("REDLINK_TEST_MESH_SECONDS", 12));
    let longest = Duration::from_secs(setting("REDLINK_TEST_MESH_LONGEST", 3));
    let rate = setting("REDLINK_TEST_MESH_RATE", 250);
    assert!((2..=12).contains(&nodes), "{nodes} nodes");

    let begin = Instant::now();
    let topology = Topology::random(&mut seed, nodes as usize);
    let plan = Plan::random(&mut seed, &topology, faults as usize, time, longest);
    let work = LoadPlan::random(&mut seed, &topology, rate as u32);
    let mut fleet = Fleet::start(topology);
    let ledger = Arc::new(Ledger::new(&fleet.topology));
    println!("{nodes} nodes linked after {:?}", begin.elapsed());

    let mut load = Load::start(&fleet, &work, &ledger, &seed.part(0));
    let start = Instant::now();
    plan.run(&mut fleet, &ledger);
    std::thread::sleep(time.saturating_sub(start.elapsed()));
    let submitted = start.elapsed();
    let healed = Instant::now();
    load.settle(&fleet);
    let settled = healed.elapsed();
    fleet.wait_linked();
    load.stop(&fleet);
    let account = ledger.account();
    fleet.stop();
    println!(
        "{nodes} nodes, {} faults, {account:?}, {:.0} accepted a second; all settled {settled:?} after the last fault, {:?} in all",
        plan.steps.len(),
        account.accepted as f64 / submitted.as_secs_f64(),
        begin.elapsed()
    );
    assert!(account.accepted > 100, "no load: {account:?}");
}
