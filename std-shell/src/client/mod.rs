//! The HTTPS client of a node's API, as the command line uses it.
//!
//! [`Context`] says which node and with which rights, [`Client`] holds the connections to it, and [`Error`] says what
//! went wrong and what to do about it. It knows the API, nothing of the node behind it.

mod calls;
mod context;
mod error;
mod peers;
mod transport;

pub use calls::{Fate, Given, Settled, Submission, Taken};
pub use context::{Context, Place};
pub use error::{Error, Problem};
pub use transport::{Answer, Client, Request};
