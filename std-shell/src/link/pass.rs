//! From a peer's transfer into a [`Pipe`](super::pipe::Pipe), whichever side has dialled.

use super::pipe::{Broke, Writer};
use super::transfer::{PROGRESS, STALL, TransferKey};
use crate::driver::Handle;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use std::fmt::Display;
use std::time::Instant;
use tokio::time::timeout;

/// Why a transfer did not bring all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Short {
    /// The pipe takes no more from it.
    #[error(transparent)]
    Pipe(#[from] Broke),
    /// It brought nothing for too long, or ended before its end.
    #[error("the payload was cut")]
    Cut,
}

/// Reads a body into a pipe and waits until the other side has all of it. `skip`: so many bytes come that the reader has
/// already.
pub(super) async fn feed<B>(
    mut writer: Writer,
    mut skip: u64,
    mut body: B,
    handle: &Handle,
    key: TransferKey,
) -> Result<(), Short>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let mut told = Instant::now();
    while let Some(piece) = timeout(STALL, body.frame()).await.map_err(|_| Short::Cut)? {
        let piece = piece.map_err(|_| Short::Cut)?;
        let Ok(mut bytes) = piece.into_data() else {
            continue;
        };
        let known = usize::try_from(skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        let _ = bytes.split_to(known);
        skip -= known as u64;
        writer.write(bytes).await?;
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            handle.progress(key).await;
        }
    }
    if !writer.is_complete() {
        return Err(Short::Cut);
    }
    writer.finish().await.map_err(Short::Pipe)
}
