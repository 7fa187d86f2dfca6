//! The driver: the one owner of the core.
//!
//! Everybody else holds a [`Handle`]: HTTP, links and the CLI's in-process node ask by one bounded channel and are answered
//! by oneshots. The driver takes what has come in as a batch, gives it to the core, does what the core says, and only
//! then looks for more; so frames to a peer leave together, and the rows of a batch reach the store together.
//!
//! It runs on a thread of its own with a runtime of one thread. A task among others would wait behind TLS handshakes
//! and large bodies for its turn, and every message of the node passes through here; on its own thread the system's scheduler
//! is fair to it. It never waits for anything but its next input: payloads that must be read from disk are read by
//! whoever needs them, a peer that does not read fills its own outbox, and the store's queue takes all.
//!
//! | file | what is there |
//! |---|---|
//! | `handle`, `many`, `take`, `refusal`, `info` | what others see |
//! | `command` | what they ask |
//! | `start` | recovery, and the thread |
//! | `turn` | the loop: waiting, batches, time |
//! | `inputs`, `outputs` | commands to core inputs; core outputs to deeds |
//! | `links` | frames to peers |
//! | `transfers` | the large payloads beside them |
//! | `floor`, `flush` | when the disk is too full for submits; an operator cancels what waits |
//! | `letters` | dead letters, and messages that come from them |
//! | `contents` | payload bytes in memory |
//! | `owners` | whose messages and consumers are |
//! | `memory` | messages that are kept in memory only |
//! | `keys` | by which repeated submits are known |
//! | `health` | whether it takes work, and why not |
//! | `owners`, `producers` | whose messages and consumers are; who collects which outcomes |
//! | `looks`, `pages` | what operators see |
//! | `trace`, `seen` | what happened to messages lately; what is shown of it |
//! | `tally`, `measure`, `taken` | what the driver counts, what it measures, what consumers took |

mod command;
mod contents;
mod direct;
mod floor;
mod flush;
mod handle;
mod health;
mod info;
mod inputs;
mod keys;
mod letters;
mod links;
mod looks;
mod many;
mod measure;
mod memory;
mod outputs;
mod owners;
mod pace;
mod pages;
mod producers;
mod refusal;
mod seen;
mod start;
mod take;
mod taken;
mod tally;
#[cfg(test)]
mod tests;
mod trace;
mod transfers;
mod turn;

pub use flush::Flushed;
pub use handle::{Called, Delivery, Handle, NewMessage, Settlement, Submitted};
pub use health::Check;
pub use info::{
    ConsumerInfo, MessageInfo, MessageTrace, NodeBasics, NodeStatus, PathNode, PeerInfo, RouteInfo,
    ServiceInfo, TableFill, TraceNode, TraceStep,
};
pub use letters::{DeadLetterInfo, Passed, Requeue};
pub use many::Answering;
pub use pages::{Page, STATES, Wanted};
pub use producers::Uncollected;
pub use refusal::Refusal;
pub use start::{Running, Settings, StartError, start};

pub(crate) use contents::{Outgoing, Source};
pub(crate) use handle::Direction;
pub(crate) use seen::Seen;
pub(crate) use transfers::Destination;
