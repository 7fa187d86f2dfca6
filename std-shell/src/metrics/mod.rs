//! What a node counts and measures, for `GET /metrics`.
//!
//! Whoever does the work counts it in a place of its own, with plain numbers that nothing locks: the driver in its
//! [`Meters`], the store thread in its statistics, the HTTP routes in atomics. Only when somebody asks are the numbers
//! copied ([`Snapshot`]) and written as text ([`text`]). A scrape costs the driver the copying of some hundred KiB at
//! most, and walks over its tables go in pieces (P11).
//!
//! Labels are bounded: [`SERVICES_MAX`] services and [`PEERS_MAX`] peers have rows of their own, all others share one that
//! is called `(other)`. Names of messages, consumers and programs are in no label.

mod histogram;
mod meters;
mod process;
mod text;
mod web;

pub use histogram::{BOUNDS, Histogram};
pub use meters::{Meters, ServiceRow, Traffic};
pub(crate) use process::resident;
pub use text::{Format, write};
pub(crate) use web::RouteMeter;
pub use web::WebMeters;

use crate::driver::{NodeStatus, ServiceInfo};
use process::Process;
use redlink_core::{Capacity, Usage};
use std::sync::Arc;
use web::RouteCount;

/// Services that have numbers of their own at one time.
pub const SERVICES_MAX: usize = 200;

/// Peers that have numbers of their own.
pub const PEERS_MAX: usize = 200;

/// What all the others are called, as no service and no peer can be.
pub const OTHER: &str = "(other)";

/// What the driver tells of itself.
#[derive(Debug, Default)]
pub struct Driven {
    /// What it measured.
    pub meters: Box<Meters>,
    /// How full the core's tables are.
    pub usage: Usage,
    /// How full they may be.
    pub capacity: Capacity,
    /// Operations that the store has not answered.
    pub store_queue: u64,
    /// By peer: its name, `north` or `south`, whether a session is up, and what went over its links.
    pub links: Vec<(String, &'static str, bool, Traffic)>,
}

/// All numbers of a node at about one moment.
#[derive(Debug)]
pub struct Snapshot {
    node: NodeStatus,
    services: Vec<ServiceInfo>,
    driven: Driven,
    web: Vec<RouteCount>,
    process: Process,
}

impl Snapshot {
    /// Asks everybody.
    pub(crate) async fn gather(handle: &crate::driver::Handle, web: &Arc<WebMeters>) -> Self {
        Self {
            node: handle.status().await,
            services: handle.services().await,
            driven: handle.driven().await,
            web: web.counts(),
            process: Process::read(),
        }
    }
}
