//! The HTTPS client of a node's API, as the command line uses it.
//!
//! [`Context`] says which node and with which rights, [`Client`] holds the connections to it, and [`Error`] says what
//! went wrong and what to do about it. It knows the API, nothing of the node behind it.

mod calls;
mod context;
mod error;
mod many;
mod peers;
mod saved;
mod transport;
mod upload;

pub use calls::{Fate, Given, Settled, Submission, Taken};
pub use context::{Context, Place};
pub use error::{Error, Problem};
pub use many::{Exchanged, Uncollected, Verdict};
pub use saved::{Contexts, Saved, VARIABLE as SAVED_VARIABLE};
pub use transport::{Answer, Client, Request};
pub use upload::{Onlooker, Progress};
