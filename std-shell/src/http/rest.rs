//! The rest of a body that its call had no use for.
//!
//! A refusal often comes before the body has been read. If nobody read on, the system would answer what still comes in
//! with a reset, and the client, in the middle of sending, might see that instead of the reason. So the rest is read and
//! thrown away for a while, beside the answer.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// For this long. Whoever sends longer than that to be refused has been told, or does not listen.
const TIME: Duration = Duration::from_secs(5);

/// Where a body goes that was dropped before its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest(Arc<Mutex<Option<Incoming>>>);

impl Rest {
    /// Reads on, if anything was left.
    pub(super) fn discard(&self) {
        let Some(mut body) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        tokio::spawn(timeout(TIME, async move {
            while let Some(Ok(_)) = body.frame().await {}
        }));
    }
}

/// A request's body that leaves its rest.
#[derive(Debug)]
pub(super) struct Leaving {
    body: Option<Incoming>,
    rest: Rest,
    /// The client waits to be told to go on, which reading does: a refusal saves it the sending.
    asks: bool,
}

impl Leaving {
    pub(super) fn new(body: Incoming, asks: bool) -> (Self, Rest) {
        let rest = Rest::default();
        (
            Self {
                body: Some(body),
                rest: rest.clone(),
                asks,
            },
            rest,
        )
    }
}

impl Body for Leaving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.asks = false;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let left = self
            .body
            .take()
            .filter(|body| !self.asks && !body.is_end_stream());
        *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}
