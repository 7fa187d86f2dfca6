//! Links to peers: the streams of frames, and the transfers of payloads that are too large for a frame.
//!
//! The south node dials (`dial`) and holds one HTTP/2 `POST /v1/link` whose bodies are both streams of frames
//! (`frame`); the north node takes that request in with [`accept`]. From there on both are the same `session`: it reads
//! frames into the driver, and hyper sends what the driver puts into the link's `outbox`. Payloads over
//! [`frame::INLINE_MAX`] bytes never ride in that stream: the dialling side moves them, whichever way they go, on a
//! connection of their own (`transfer`, `mover`), so that no frame queues behind them. What is for another node passes
//! through a `pipe` while it comes.

mod backoff;
mod connect;
mod dial;
pub mod frame;
mod mover;
mod north;
pub(crate) mod outbox;
mod pass;
pub(crate) mod pipe;
mod revocations;
mod session;
pub mod transfer;

pub use connect::ConnectError;
pub use dial::{Dialler, keep};
pub use north::{Dialling, Known};
pub use outbox::OutStream;
pub use transfer::payload;

use crate::driver::{Handle, Refusal};
use bytes::Bytes;
use hyper::body::Body;
use redlink_core::Name;
use std::error::Error;

/// Where a peer's list of revoked certificates is.
pub const REVOCATIONS_PATH: &str = "/v1/revocations";
/// Its number, in answers.
pub const REVOCATIONS_HEADER: &str = "redlink-revocations";

/// Path of the request that holds a link.
pub const PATH: &str = "/v1/link";

/// Takes in a link of a south peer: `incoming` is the body of its `POST /v1/link`, and the answer is the body of the
/// 200 that must be sent at once. The caller has checked the client certificate; `peer` is the name that it proves.
///
/// # Errors
/// The node has no room for another peer ([`Refusal::Full`]), or is stopping.
pub async fn accept<B>(handle: &Handle, peer: Name, incoming: B) -> Result<OutStream, Refusal>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>> + Send,
{
    let (outbox, stream) = outbox::outbox(handle.store().clone());
    let session = session::Session::open(handle, peer, outbox, None).await?;
    tokio::spawn(session.run(incoming));
    Ok(stream)
}
