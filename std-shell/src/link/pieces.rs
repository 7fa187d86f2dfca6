//! The two streams of a link where they are carried in pieces: in bodies that end.
//!
//! A piece is found by the offset of its first byte in its stream, as in TCP. Whoever sends keeps what it sent until the
//! other side has said up to where it has all; so a request that was cut, at whatever point, is simply made again,
//! with as many bytes as it pleases. Bytes that came twice are known by their offset, and none is lost or doubled.

use super::outbox::OutStream;
use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body, Frame};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Most bytes of one piece. What is kept is at most one more of the outbox's items.
pub(super) const PIECE_MAX: usize = 256 << 10;

/// Pieces that came in and wait for the driver; beyond them the other side waits for its answer.
const WAITING: usize = 2;

/// The offsets of the two sides do not go together: bytes are lost, and the session with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the two sides do not agree on what was sent")]
pub(super) struct Lost;

/// The stream that goes out.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: OutStream,
    /// Taken from the outbox, and not known to have arrived.
    kept: BytesMut,
    /// Offset of the first byte of `kept`.
    base: u64,
    over: bool,
}

impl Outgoing {
    pub(super) fn new(stream: OutStream) -> Self {
        Self {
            stream,
            kept: BytesMut::new(),
            base: 0,
            over: false,
        }
    }

    /// Offset of the first byte that is not known to have arrived.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The other side has all before `offset`.
    pub(super) fn acknowledge(&mut self, offset: u64) -> Result<(), Lost> {
        let count = offset.checked_sub(self.base).ok_or(Lost)?;
        let count = usize::try_from(count).map_err(|_| Lost)?;
        if count > self.kept.len() {
            return Err(Lost);
        }
        self.kept.advance(count);
        self.base = offset;
        Ok(())
    }

    /// Waits until there is something, and gives up to `most` bytes from [`Outgoing::base`] on; none at the stream's end.
    /// Nothing is lost if the future is dropped.
    pub(super) async fn piece(&mut self, most: usize) -> Option<Bytes> {
        poll_fn(|context| self.poll_piece(context, most)).await
    }

    fn poll_piece(&mut self, context: &mut Context<'_>, most: usize) -> Poll<Option<Bytes>> {
        while !self.over && self.kept.len() < most {
            match Pin::new(&mut self.stream).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.kept.extend_from_slice(&bytes);
                    }
                }
                Poll::Ready(None) => self.over = true,
                Poll::Ready(Some(Err(never))) => match never {},
                Poll::Pending => break,
            }
        }
        match (self.kept.is_empty(), self.over) {
            (true, false) => Poll::Pending,
            (true, true) => Poll::Ready(None),
            (false, _) => {
                let length = self.kept.len().min(most);
                Poll::Ready(Some(Bytes::copy_from_slice(&self.kept[..length])))
            }
        }
    }
}

/// The stream that comes in: this end is filled, [`Pieces`] is read.
#[derive(Debug)]
pub(super) struct Incoming {
    pieces: mpsc::Sender<Bytes>,
    received: u64,
}

/// What came in, as a body for the session to read.
#[derive(Debug)]
pub(super) struct Pieces(mpsc::Receiver<Bytes>);

pub(super) fn incoming() -> (Incoming, Pieces) {
    let (pieces, read) = mpsc::channel(WAITING);
    (Incoming { pieces, received: 0 }, Pieces(read))
}

impl Incoming {
    /// Offset after the last byte that came.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Takes in bytes whose first is at `from`, except for those that are known; waits while too much waits already.
    /// All or nothing: if the future is dropped, nothing was taken. False: nobody reads any more.
    pub(super) async fn take(&mut self, from: u64, mut bytes: Bytes) -> Result<bool, Lost> {
        let known = self.received.checked_sub(from).ok_or(Lost)?;
        if known >= bytes.len() as u64 {
            return Ok(!self.pieces.is_closed());
        }
        let Ok(room) = self.pieces.reserve().await else {
            return Ok(false);
        };
        // It fits: it is less than a length.
        bytes.advance(usize::try_from(known).unwrap_or(bytes.len()));
        self.received += bytes.len() as u64;
        room.send(bytes);
        Ok(true)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests;
