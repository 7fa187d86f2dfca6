//! The body of a request, and who looks on as it goes and as its answer comes.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What is looked at in one piece.
const PIECE: usize = 64 << 10;

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This many bytes of a request's body went out, of so many.
    Sent(u64, u64),
    /// This many bytes of an answer's body came in, of so many if that was said.
    Received(u64, Option<u64>),
}

/// Who looks on; called from within transfers, and not to be waited for.
#[derive(Clone)]
pub struct Onlooker(Arc<dyn Fn(Progress) + Send + Sync>);

impl Onlooker {
    /// Calls this for each piece.
    pub fn new(call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }

    pub(super) fn see(&self, progress: Progress) {
        (self.0)(progress);
    }
}

/// All of a body at once, or in pieces where somebody looks on.
pub(super) struct Upload {
    rest: Bytes,
    length: usize,
    onlooker: Option<Onlooker>,
}

impl Upload {
    pub(super) fn new(body: Bytes, onlooker: Option<Onlooker>) -> Self {
        Self {
            length: body.len(),
            rest: body,
            onlooker,
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = match &self.onlooker {
            None => self.rest.len(),
            Some(_) => self.rest.len().min(PIECE),
        };
        let piece = self.rest.split_to(piece);
        if let Some(onlooker) = &self.onlooker {
            let sent = self.length - self.rest.len();
            onlooker.see(Progress::Sent(sent as u64, self.length as u64));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::sync::Mutex;

    #[tokio::test]
    async fn whoever_looks_on_sees_all_of_it_and_the_bytes_are_the_same() {
        let bytes = Bytes::from(vec![7; 3 * PIECE + 1]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let onlooker = {
            let seen = Arc::clone(&seen);
            Onlooker::new(move |progress| seen.lock().unwrap().push(progress))
        };
        let body = Upload::new(bytes.clone(), Some(onlooker));
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
        let seen = seen.lock().unwrap().clone();
        let length = bytes.len() as u64;
        assert_eq!(
            (seen.len(), seen.last()),
            (4, Some(&Progress::Sent(length, length)))
        );
        let alone = Upload::new(bytes.clone(), None).collect().await.unwrap();
        assert_eq!(alone.to_bytes(), bytes);
        assert!(Upload::new(Bytes::new(), None).is_end_stream());
    }
}
