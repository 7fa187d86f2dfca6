//! The one port of a node: HTTPS for programs, peers and people.
//!
//! [`Listener`] takes connections, HTTP/1.1 and HTTP/2 over TLS ([`listen`], [`connection`]); [`routes`] says what each
//! path does and [`api`] tells the world of it; [`problem`] holds every error that an answer may be. A payload is a body as it is, coming and going;
//! its settings are headers ([`headers`]).

mod api;
mod auth;
mod batch;
mod body;
mod connection;
mod exchanges;
mod extras;
pub mod headers;
mod listen;
mod options;
mod page;
pub mod problem;
mod query;
mod range;
mod rest;
mod routes;

pub use listen::{ADDRESS_FILE, BindError, Limits, Listener};
pub use problem::{Kind, Problem};

use crate::driver::Handle;
use crate::metrics::WebMeters;
use crate::peers::Peers;
use crate::trust::Identity;
use crate::trust::programs::Programs;
use std::sync::Arc;

/// What the routes work with.
#[derive(Clone)]
pub struct Node {
    /// The driver.
    pub handle: Handle,
    /// Who this node is and whom it lets in.
    pub identity: Arc<Identity>,
    /// What programs may do.
    pub programs: Arc<Programs>,
    /// Whom this node is linked with.
    pub peers: Arc<Peers>,
    /// What is counted of requests.
    pub web: Arc<WebMeters>,
    /// Large payloads of its messages go straight, unless they say it themselves.
    pub direct: bool,
    /// Other nodes know where to reach this one, so that they may.
    pub advertises: bool,
}

/// The document of the API, for the reference that is made of it.
#[cfg(test)]
pub(crate) fn api_document() -> serde_json::Value {
    serde_json::to_value(api::complete(routes::documented(), routes::DOCUMENTED)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
