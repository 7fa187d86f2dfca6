//! A payload that passes through this node: what one peer brings, at the pace at which another takes it.
//!
//! ```text
//!  peer ──transfer──▶ Writer ─▶ [ at most Limits::cap bytes ] ─▶ Reader ──transfer──▶ peer
//! ```
//!
//! A full pipe holds its writer back, and thereby the peer behind it; nothing is stored. It only goes forward. When the
//! reader has to begin again (its transfer was cut, and what was on that wire is lost), the pipe is rewound: it drops
//! what it holds, and the writer has to bring the bytes from there once more. If this node gets them itself it asks for
//! the rest from that offset; if the peer brings them it is refused, and repeats all of it, of which what the reader
//! has is skipped. Whoever reads knows the length, and gets an error where the bytes end before it.

use super::transfer::TransferKey;
use crate::Content;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Sleep, sleep, timeout};

/// Bounds of one pipe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most bytes that it holds.
    pub(crate) cap: usize,
    /// While both sides are there, something moves in this time.
    pub(crate) stall: Duration,
    /// How long the writer waits for a reader to come, and for its word that all has arrived.
    pub(crate) reader: Duration,
    /// All of it has passed in this time.
    pub(crate) whole: Duration,
}

impl Limits {
    /// For a payload of this length in bytes.
    pub(crate) fn of(size: u64) -> Self {
        Self {
            cap: 1 << 20,
            stall: super::transfer::STALL,
            reader: super::transfer::ANSWER,
            whole: super::transfer::longest(size),
        }
    }
}

/// Why no more passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Broke {
    /// One side did nothing for too long.
    #[error("the payload that passes here has stalled")]
    Stalled,
    /// Another has taken this side's place, or the reader began again at another place.
    #[error("the payload that passes here is read, or brought, anew")]
    Again,
    /// More came than was announced.
    #[error("the payload that passes here is longer than announced")]
    TooLong,
    /// Nobody needs it any more, or nobody can bring it.
    #[error("the payload no longer passes here")]
    Closed,
}

/// Where its bytes come from.
#[derive(Debug)]
pub(crate) enum Inflow {
    /// The peer brings them; only it can do so once more.
    Brought,
    /// This node gets them, and can get the rest from any place.
    Got {
        /// Which transfer.
        key: TransferKey,
        /// Who gets it.
        again: mpsc::UnboundedSender<Refill>,
    },
}

/// Asks for what a pipe has let go of.
#[derive(Debug)]
pub(crate) struct Refill {
    /// Which transfer.
    pub(crate) key: TransferKey,
    /// Where it goes on.
    pub(crate) pipe: Pipe,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Something is still to pass.
    Moving,
    /// All has been taken.
    Done,
    /// Nothing passes any more.
    Broken,
}

/// The pipe, for all who hold an end of it or watch it.
#[derive(Clone, Debug)]
pub(crate) struct Pipe(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    size: u64,
    /// What is said of the payload; without its bytes.
    head: Content,
    limits: Limits,
    began: Instant,
    inflow: Inflow,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    chunks: VecDeque<Bytes>,
    held: usize,
    /// Bytes that were taken: the first held one has this offset.
    at: u64,
    /// Counts writers and readers; the one whose number this is may go on.
    last: u64,
    writer: Option<u64>,
    reader: Option<u64>,
    /// A reader has been there.
    known: bool,
    /// Writers up to this number have nothing to do any more: all was taken.
    finished: u64,
    /// Somebody brings bytes, or will try again.
    feeding: bool,
    standing: Standing,
    moved: Instant,
    slot: Option<OwnedSemaphorePermit>,
    to_write: Option<Waker>,
    to_read: Option<Waker>,
}

impl State {
    fn end(&self) -> u64 {
        self.at + self.held as u64
    }

    fn wake(&mut self) {
        for waker in [self.to_write.take(), self.to_read.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    fn done(&mut self) {
        self.standing = Standing::Done;
        self.finished = self.last;
        self.feeding = false;
        self.slot = None;
        self.wake();
    }

    fn close(&mut self) {
        if self.standing != Standing::Broken {
            self.standing = Standing::Broken;
            self.chunks.clear();
            self.held = 0;
            self.slot = None;
            self.wake();
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Pipe {
    /// For a payload of `size` bytes, of which `head` says what it is. `slot` is given back as soon as nothing moves any more.
    pub(crate) fn new(
        size: u64,
        head: Content,
        limits: Limits,
        inflow: Inflow,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let now = Instant::now();
        Self(Arc::new(Shared {
            size,
            head,
            limits,
            began: now,
            inflow,
            state: Mutex::new(State {
                chunks: VecDeque::new(),
                held: 0,
                at: 0,
                last: 0,
                writer: None,
                reader: None,
                known: false,
                finished: 0,
                feeding: true,
                standing: Standing::Moving,
                moved: now,
                slot: Some(slot),
                to_write: None,
                to_read: None,
            }),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics with the lock held, so a poisoned one is as good as any.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Length of the whole payload in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.0.size
    }

    /// What is said of the payload: a content without its bytes.
    pub(crate) fn head(&self) -> &Content {
        &self.0.head
    }

    /// Most bytes that it holds.
    pub(crate) fn cap(&self) -> u64 {
        self.0.limits.cap as u64
    }

    /// How far it is. One that nobody has moved for longer than either side may take is closed by this: a side that is
    /// not there has no timer.
    pub(crate) fn standing(&self) -> Standing {
        let limits = &self.0.limits;
        let mut state = self.state();
        let idle = state.moved.elapsed() > limits.reader + limits.stall;
        if state.standing == Standing::Moving && (idle || self.0.began.elapsed() > limits.whole) {
            state.close();
        }
        state.standing
    }

    /// How many bytes have come so far, in one go.
    pub(crate) fn reached(&self) -> u64 {
        self.state().end()
    }

    /// Nothing passes any more: both sides hear an error.
    pub(crate) fn close(&self) {
        self.state().close();
    }

    /// The other end of the reader's transfer has said that it has all.
    pub(crate) fn arrived(&self) {
        let mut state = self.state();
        if state.standing == Standing::Moving && state.at == self.0.size {
            state.done();
        }
    }

    /// Takes the place of the writer before it.
    ///
    /// # Errors
    /// [`Broke::Closed`] if nothing is to be brought any more.
    pub(crate) fn writer(&self) -> Result<Writer, Broke> {
        let mut state = self.state();
        if state.standing != Standing::Moving {
            return Err(Broke::Closed);
        }
        let number = state.next_number();
        state.writer = Some(number);
        state.wake();
        Ok(Writer {
            pipe: self.clone(),
            number,
            from: state.end(),
        })
    }

    /// Bytes are got once more, which takes a slot again.
    pub(crate) fn refill(&self, slot: OwnedSemaphorePermit) {
        let mut state = self.state();
        if state.standing == Standing::Moving {
            state.slot = Some(slot);
        }
    }

    /// Reads from an offset on, in place of the reader before. `sure`: [`Pipe::arrived`] will tell when all is there;
    /// else it is done when the last byte was taken.
    ///
    /// # Errors
    /// [`Broke::Closed`] if these bytes can't be had any more.
    pub(crate) fn reader(&self, from: u64, sure: bool) -> Result<Reader, Broke> {
        let mut state = self.state();
        if state.standing == Standing::Broken {
            return Err(Broke::Closed);
        }
        if from < state.at || from > state.end() {
            self.rewind(&mut state, from)?;
        }
        while state.at < from
            && let Some(mut chunk) = state.chunks.pop_front()
        {
            let skip = usize::try_from(from - state.at).map_or(chunk.len(), |skip| skip.min(chunk.len()));
            let _ = chunk.split_to(skip);
            state.at += skip as u64;
            state.held -= skip;
            if !chunk.is_empty() {
                state.chunks.push_front(chunk);
            }
        }
        let number = state.next_number();
        state.reader = Some(number);
        state.known = true;
        state.moved = Instant::now();
        state.wake();
        drop(state);
        Ok(Reader {
            pipe: self.clone(),
            number,
            left: self.0.size.saturating_sub(from),
            sure,
            stall: Box::pin(sleep(self.0.limits.stall)),
        })
    }

    fn rewind(&self, state: &mut State, to: u64) -> Result<(), Broke> {
        match &self.0.inflow {
            // The peer has been told that it is through, and will not come back.
            Inflow::Brought if state.standing == Standing::Done => {
                state.close();
                return Err(Broke::Closed);
            }
            Inflow::Got { key, again } if !state.feeding => {
                let refill = Refill {
                    key: *key,
                    pipe: self.clone(),
                };
                if again.send(refill).is_err() {
                    state.close();
                    return Err(Broke::Closed);
                }
                state.feeding = true;
            }
            Inflow::Brought | Inflow::Got { .. } => {}
        }
        state.standing = Standing::Moving;
        state.chunks.clear();
        state.held = 0;
        state.at = to;
        state.writer = None;
        state.wake();
        Ok(())
    }

    /// How long the writer may have to wait for the next thing to happen.
    fn patience(&self) -> Duration {
        let limits = &self.0.limits;
        let state = self.state();
        let wait = if state.known && state.at < self.0.size {
            limits.stall
        } else {
            limits.reader
        };
        wait.min(limits.whole.saturating_sub(self.0.began.elapsed()))
    }
}

/// The end into which the payload comes. Dropping it cuts nothing: another may go on where it stopped.
#[derive(Debug)]
pub(crate) struct Writer {
    pipe: Pipe,
    number: u64,
    from: u64,
}

impl Writer {
    /// Where it has to begin, in bytes from the payload's start.
    pub(crate) fn from(&self) -> u64 {
        self.from
    }

    /// Puts bytes in as there is room.
    ///
    /// # Errors
    /// [`Broke::Again`]: begin again, with a new writer. All others are final.
    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Broke> {
        let (size, cap) = (self.pipe.0.size, self.pipe.0.limits.cap);
        while !bytes.is_empty() {
            self.wait(|state| {
                if let Err(broke) = self.may_go_on(state) {
                    return Some(Err(broke));
                }
                if bytes.len() as u64 > size - state.end() {
                    state.close();
                    return Some(Err(Broke::TooLong));
                }
                let room = cap - state.held;
                if room == 0 {
                    return None;
                }
                let piece = bytes.split_to(room.min(bytes.len()));
                state.held += piece.len();
                state.chunks.push_back(piece);
                state.moved = Instant::now();
                if let Some(waker) = state.to_read.take() {
                    waker.wake();
                }
                Some(Ok(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Whether all has been written, or nothing is to be written any more.
    pub(crate) fn is_complete(&self) -> bool {
        let state = self.pipe.state();
        state.finished >= self.number || state.end() == self.pipe.0.size
    }

    /// Waits until the reader has all.
    ///
    /// # Errors
    /// As with [`Writer::write`]; also [`Broke::Again`] if not all has been written.
    pub(crate) async fn finish(self) -> Result<(), Broke> {
        let size = self.pipe.0.size;
        let mut finished = false;
        while !finished {
            let mut seen = None;
            // Each time that the reader has moved it has its time anew.
            self.wait(|state| {
                if state.finished >= self.number {
                    finished = true;
                    return Some(Ok(()));
                }
                if let Err(broke) = self.may_go_on(state) {
                    return Some(Err(broke));
                }
                if state.end() < size {
                    return Some(Err(Broke::Again));
                }
                let before = *seen.get_or_insert(state.at);
                (before != state.at).then_some(Ok(()))
            })
            .await?;
        }
        Ok(())
    }

    fn may_go_on(&self, state: &State) -> Result<(), Broke> {
        match state.standing {
            Standing::Broken => Err(Broke::Closed),
            _ if state.writer != Some(self.number) => Err(Broke::Again),
            Standing::Moving => Ok(()),
            // There is nothing left that could come.
            Standing::Done => Err(Broke::TooLong),
        }
    }

    async fn wait(
        &self,
        mut check: impl FnMut(&mut State) -> Option<Result<(), Broke>>,
    ) -> Result<(), Broke> {
        let waiting = poll_fn(|context| {
            let mut state = self.pipe.state();
            match check(&mut state) {
                Some(result) => Poll::Ready(result),
                None => {
                    state.to_write = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        match timeout(self.pipe.patience(), waiting).await {
            Ok(result) => result,
            Err(_) => {
                self.pipe.close();
                Err(Broke::Stalled)
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.pipe.state();
        if state.writer == Some(self.number) {
            state.writer = None;
        }
    }
}

/// The end from which the payload goes on, as a body of known length: it ends there, or with an error.
#[derive(Debug)]
pub struct Reader {
    pipe: Pipe,
    number: u64,
    left: u64,
    sure: bool,
    stall: Pin<Box<Sleep>>,
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Broke;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        let this = &mut *self;
        let mut state = this.pipe.state();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        if state.standing == Standing::Broken {
            return Poll::Ready(Some(Err(Broke::Closed)));
        }
        if state.reader != Some(this.number) {
            return Poll::Ready(Some(Err(Broke::Again)));
        }
        if let Some(chunk) = state.chunks.pop_front() {
            state.held -= chunk.len();
            state.at += chunk.len() as u64;
            state.moved = Instant::now();
            this.left = this.pipe.0.size - state.at;
            if this.left == 0 && !this.sure {
                state.done();
            } else if let Some(waker) = state.to_write.take() {
                waker.wake();
            }
            drop(state);
            let until = tokio::time::Instant::now() + this.pipe.0.limits.stall;
            this.stall.as_mut().reset(until);
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        state.to_read = Some(context.waker().clone());
        drop(state);
        if this.stall.as_mut().poll(context).is_ready() {
            this.pipe.close();
            return Poll::Ready(Some(Err(Broke::Stalled)));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.pipe.state();
        if state.reader == Some(self.number) {
            state.reader = None;
        }
    }
}

#[cfg(test)]
mod tests;
