//! What the whole-system tests stand on: real `redlink` processes with real TLS and real disk, a cable between them that
//! can be cut, and real `curl`.
//!
//! Start with [`Node`] and [`Mesh`]. Nothing here is a stand-in for a part of Redlink: a node is the binary, started as
//! its user would; [`Relay`] is a cable; requests go through the `curl` of the system.
//!
//! Everything panics with a text that says what was waited for, and the logs of all processes that took part are printed
//! when a test fails. Every wait is for an event and ends after [`BOUND`], which is generous: a machine may be slow.
//!
//! Environment: `REDLINK_TEST_BIN` names the binary to test instead of building it; `REDLINK_TEST_LOG` is the `RUST_LOG`
//! of the nodes; `REDLINK_TEST_SHOTS` is a folder for pictures of the page.

mod binary;
mod browser;
mod curl;
mod docs;
mod fleet;
mod mesh;
mod node;
mod page;
mod process;
mod proxy;
mod relay;
mod seed;
mod worker;

pub use binary::binary;
pub use browser::{Browser, Page};
pub use curl::{Curl, Response};
pub use docs::Document;
pub use fleet::{Account, Fault, Fleet, Ledger, Load, LoadPlan, Plan, Topology, WorkerPlan};
pub use mesh::Mesh;
pub use node::{Node, Taken};
pub use page::{HOSTILE, WIDTHS};
pub use process::{Process, Said, run, shell};
pub use proxy::Proxy;
pub use relay::{Relay, Weather};
pub use seed::Seed;
pub use worker::Worker;

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
pub const BOUND: Duration = Duration::from_secs(60);

/// How often a state that nobody reports is asked for.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// Asks until there is an answer, and hands it over. `what` completes "waited in vain for …".
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            start.elapsed() < BOUND,
            "waited in vain for {what}, {} s",
            BOUND.as_secs()
        );
        std::thread::sleep(LOOK);
    }
}

/// Every byte value, over and over: `length` bytes that no text handling would leave alone.
pub fn all_bytes(length: usize) -> Vec<u8> {
    // Not a multiple of 256 long, so that a piece lost or moved by a whole buffer shows.
    let period: Vec<u8> = (0..=255_u8).chain([0, 0xff, b'\n', b'\r', 0]).collect();
    period.into_iter().cycle().take(length).collect()
}

/// Compares long payloads without printing them.
#[track_caller]
pub fn assert_same(what: &str, found: &[u8], expected: &[u8]) {
    if found != expected {
        let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
        panic!(
            "{what}: {} bytes instead of {}, different from byte {at} on; there it is {:?}",
            found.len(),
            expected.len(),
            String::from_utf8_lossy(&found[at..found.len().min(at + 200)])
        );
    }
}
