//! The std shell of Redlink: runs the core as a node, and is its command line.
//!
//! It moves bytes and makes no decisions; those are `redlink_core`'s.

pub mod backup;
pub mod batch;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
mod content;
pub mod driver;
mod extras;
mod follow;
pub mod http;
pub mod link;
pub mod logs;
pub mod metrics;
pub mod node;
pub mod owner;
pub mod peers;
pub mod proxy;
#[cfg(test)]
mod reference;
pub mod store;
pub mod systemd;
mod trace_context;
pub mod trust;

pub use content::Content;
pub use extras::{Durability, Extras, Fingerprint, Fingerprinting, Idempotency};
pub use trace_context::TraceContext;
