//! What waits to be sent to one peer.
//!
//! The driver puts frames in without ever waiting; hyper takes them out as an HTTP body, as fast as the peer reads.
//! A peer that does not read fills its outbox, and that closes its link and harms nobody else (P11).

use super::frame;
use super::how::How;
use crate::Content;
use crate::driver::Source;
use crate::store::{ReadError, StoreHandle};
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Most bytes that wait in one outbox. Headers alone never come near it: a session's offers, all windows full, are a few
/// hundred KiB.
const BYTES_MAX: usize = 8 << 20;

/// Above this, payloads are not copied into the outbox any more but named ([`Item::Later`]): a slow link with many grants
/// under way is no reason to close it.
const FULL: usize = 1 << 20;

/// Asides that wait in one outbox; beyond it their senders wait.
const ASIDES: usize = 16;

/// Why an outbox is closed whose stream is gone.
pub(super) const CUT: &str = "the connection ended";

/// Something to send.
#[derive(Debug)]
pub(crate) enum Item {
    /// Frames as they go on the wire.
    Frames(Bytes),
    /// One frame whose payload is had when its turn comes, from the store perhaps. Everything behind it waits: frames
    /// keep their order.
    Later {
        /// Its header.
        header: Bytes,
        /// Where the payload is.
        source: Source,
    },
}

impl Item {
    fn cost(&self) -> usize {
        match self {
            Self::Frames(bytes) => bytes.len(),
            // A payload in memory is counted where the core's bodies are.
            Self::Later { header, .. } => header.len() + size_of::<Self>(),
        }
    }
}

/// More waits than a peer that reads could cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overflow;

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    cost: usize,
    /// Each with its place among the [`ASIDES`].
    asides: VecDeque<(Bytes, OwnedSemaphorePermit)>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    places: Arc<Semaphore>,
    /// Why it was closed.
    closed: watch::Sender<Option<Arc<str>>>,
    /// Bytes that came over the link, and that went.
    came: AtomicU64,
    went: AtomicU64,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics with the lock held, so a poisoned one is as good as any.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, why: &str) {
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            if first {
                *closed = Some(Arc::from(why));
            }
            first
        });
        self.places.close();
        let waker = {
            let mut queue = self.queue();
            queue.items.clear();
            queue.asides.clear();
            queue.cost = 0;
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The driver's end.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    how: How,
}

impl Outbox {
    /// Puts something in. After it was closed, nothing happens.
    ///
    /// # Errors
    /// The peer does not read: close it.
    pub(crate) fn push(&self, item: Item) -> Result<(), Overflow> {
        if self.shared.closed.borrow().is_some() {
            return Ok(());
        }
        let waker = {
            let mut queue = self.shared.queue();
            let cost = item.cost();
            if queue.cost + cost > BYTES_MAX {
                return Err(Overflow);
            }
            queue.cost += cost;
            queue.items.push_back(item);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Puts an aside behind all frames, those that are put in later too: it leaves when none waits. Waits while
    /// [`ASIDES`] wait already; it is made when it has its place. After the outbox was closed, nothing happens.
    pub(crate) async fn aside(&self, make: impl FnOnce() -> Bytes) {
        if let Ok(place) = self.shared.places.clone().acquire_owned().await {
            self.put_aside(&make(), place);
        }
    }

    /// The same, and gives up if it would have to wait.
    pub(crate) fn try_aside(&self, body: &[u8]) {
        if let Ok(place) = self.shared.places.clone().try_acquire_owned() {
            self.put_aside(body, place);
        }
    }

    fn put_aside(&self, body: &[u8], place: OwnedSemaphorePermit) {
        let mut bytes = BytesMut::new();
        frame::put_aside(&mut bytes, body);
        let waker = {
            let mut queue = self.shared.queue();
            // Whoever closes it does so before it empties the queue.
            if self.shared.places.is_closed() {
                return;
            }
            queue.asides.push_back((bytes.freeze(), place));
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How what is put in travels.
    pub(crate) fn how(&self) -> &How {
        &self.how
    }

    /// Bytes have come over the link.
    pub(crate) fn came(&self, bytes: usize) {
        self.shared.came.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that came over the link, and those that went.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let Shared { came, went, .. } = &*self.shared;
        (came.load(Ordering::Relaxed), went.load(Ordering::Relaxed))
    }

    /// Whether so much waits that payloads should not be copied into it.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.queue().cost > FULL
    }

    /// Ends the link from this side. What waits is dropped; the first reason stays.
    pub(crate) fn close(&self, why: &str) {
        self.shared.close(why);
    }

    /// Waits until it is closed, from whichever side, and says why.
    pub(crate) async fn closed(&self) -> Arc<str> {
        let mut closed = self.shared.closed.subscribe();
        match closed.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_else(|| Arc::from("closed")),
            // The sender lives in `shared`, which `self` holds.
            Err(_) => Arc::from("closed"),
        }
    }
}

type Reading = Pin<Box<dyn Future<Output = (Bytes, Result<Option<Content>, ReadError>)> + Send>>;

/// The wire's end: a request's or a response's body.
pub struct OutStream {
    shared: Arc<Shared>,
    store: StoreHandle,
    reading: Option<Reading>,
}

/// An outbox and the body that it feeds.
pub(crate) fn outbox(store: StoreHandle, how: How) -> (Outbox, OutStream) {
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        places: Arc::new(Semaphore::new(ASIDES)),
        closed: watch::Sender::new(None),
        came: AtomicU64::new(0),
        went: AtomicU64::new(0),
    });
    (
        Outbox {
            shared: shared.clone(),
            how,
        },
        OutStream {
            shared,
            store,
            reading: None,
        },
    )
}

impl OutStream {
    fn goes(&self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.shared.went.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn poll_item(&self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        // The waker is left before `closed` is looked at: who closes looks for it after having closed.
        let mut queue = self.shared.queue();
        if let Some(item) = queue.items.pop_front() {
            queue.cost -= item.cost();
            return Poll::Ready(Some(item));
        }
        if let Some((bytes, _place)) = queue.asides.pop_front() {
            return Poll::Ready(Some(Item::Frames(bytes)));
        }
        queue.waker = Some(context.waker().clone());
        drop(queue);
        if self.shared.closed.borrow().is_some() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

impl Body for OutStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let Poll::Ready((header, read)) = reading.as_mut().poll(context) else {
                    return Poll::Pending;
                };
                self.reading = None;
                match read {
                    Ok(Some(content)) => {
                        let mut bytes = BytesMut::new();
                        frame::put(&mut bytes, &header, Some(&content));
                        return self.goes(bytes.freeze());
                    }
                    // The message got its outcome meanwhile. Nobody needs the frame, and the one that says so follows.
                    Ok(None) => {}
                    // The receiver's timer gives the claim or the answer up, and it comes again.
                    Err(error) => tracing::warn!(%error, "a payload could not be read for a frame; not sent"),
                }
            }
            match self.poll_item(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Item::Frames(bytes))) => return self.goes(bytes),
                Poll::Ready(Some(Item::Later { header, source })) => {
                    let store = self.store.clone();
                    self.reading = Some(Box::pin(async move { (header, source.load(&store).await) }));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for OutStream {
    fn drop(&mut self) {
        self.shared.close(CUT);
    }
}

impl std::fmt::Debug for OutStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutStream")
            .field("reading", &self.reading.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
