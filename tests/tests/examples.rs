//! The examples run.

use redlink_tests::{binary, run};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

#[test]
fn more_workers_do_more() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/scale-out/run");
    let mut command = Command::new(script);
    command.args(["--quick", "--json"]).env("REDLINK", binary());
    let said = run(command, b"").ok();
    let rounds: Vec<Value> = said
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert_eq!(rounds.len(), 2, "{}", said.text());
    for (round, workers) in rounds.iter().zip([1, 2]) {
        assert_eq!(round["workers"], workers);
        assert!(round["messages"].as_u64() > Some(0), "{round}");
        // Nobody is faster than the work takes. How much slower is a matter of the machine.
        assert!(round["of_ideal_percent"].as_u64() <= Some(140), "{round}");
    }
}
