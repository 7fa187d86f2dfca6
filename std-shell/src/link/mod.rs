//! Links to peers: the streams of frames, and the transfers of payloads that are too large for a frame.
//!
//! The south node dials (`dial`) and holds one HTTP/2 `POST /v1/link` whose bodies are both streams of frames
//! (`frame`); the north node takes that request in with [`accept`]. Where something in between breaks such streams, the
//! same bytes go in pieces (`pieces`), by requests that end (`poll`, `polled`); the dialling side finds that out
//! (`choice`, `probe`). From there on it is the same `session` on both sides: it reads frames into the driver, and sends
//! what the driver puts into the link's `outbox`. Between the frames are asides, which are [`crate::follow`]'s. Payloads
//! over [`frame::INLINE_MAX`] bytes never ride in that stream: the dialling side moves them, whichever way they go, on a
//! connection of their own (`transfer`, `mover`), so that no frame queues behind them. What is for another node passes
//! through a `pipe` while it comes, or goes around this one (`direct`).

mod backoff;
mod choice;
mod connect;
mod dial;
pub(crate) mod direct;
pub mod frame;
mod hold;
pub(crate) mod how;
mod mover;
mod north;
pub(crate) mod outbox;
mod pass;
mod pieces;
pub(crate) mod pipe;
mod poll;
mod polled;
mod probe;
mod revocations;
mod session;
mod shown;
pub mod transfer;

pub use connect::ConnectError;
#[cfg(test)]
pub(crate) use connect::Times;
pub(crate) use connect::causes;
pub use dial::{Dialler, keep};
pub use how::{Mode, Wish};
pub use north::{Dialling, Known};
pub use outbox::OutStream;
pub use polled::{Asking, Polled};
pub use probe::PROBE_MAX;
pub(crate) use shown::Chain;
pub use transfer::payload;

use crate::driver::{Handle, Refusal};
use bytes::Bytes;
use how::How;
use hyper::body::Body;
use redlink_core::Name;
use std::error::Error;

/// Where a peer's list of revoked certificates is.
pub const REVOCATIONS_PATH: &str = "/v1/revocations";
/// Its number, in answers.
pub const REVOCATIONS_HEADER: &str = "redlink-revocations";

/// Why a link ended whose peer was put out of the mesh.
const REVOKED: &str = "the peer's certificate was revoked";

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
    let (outbox, stream) = outbox::outbox(handle.store().clone(), How::taken_in(Mode::Stream));
    let session = session::Session::open(handle, peer, outbox, None).await?;
    // A certificate that is revoked ends the connection, and with it what comes in.
    tokio::spawn(session.run(incoming, std::future::pending()));
    Ok(stream)
}
