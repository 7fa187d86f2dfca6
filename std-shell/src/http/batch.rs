//! Batches in requests and answers.

use super::body;
use super::problem::{Kind, Problem};
use crate::batch::{self, Broken, Decoder, ENTRIES_MAX, FRAMED, Fault, Format, Item, Limits, NDJSON};
use crate::driver::Handle;
use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

/// What came in.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Its entries, in order.
    pub(super) items: Vec<Item>,
    /// What stands behind them can't be read.
    pub(super) broken: Option<Broken>,
    /// Held until the driver has the bytes.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// Reads a batch of at most so many entries as it is needed: all of it, or a problem and nothing was done.
///
/// # Errors
/// It is of no type that is taken, longer than the node takes, or does not come.
pub(super) async fn read(handle: &Handle, headers: &HeaderMap, body: Body) -> Result<Incoming, Problem> {
    let said = headers
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or("…"));
    let Some(format) = said.and_then(batch::of_content_type) else {
        let said = said.map_or_else(
            || "not said to be anything".to_owned(),
            |said| format!("said to be `{said}`"),
        );
        let detail = format!("The body is {said}; this call takes {NDJSON} and {FRAMED}.");
        return Err(Problem::new(Kind::UnsupportedType, detail));
    };
    let mut decoder = Decoder::new(format, Limits::with_payload(handle.payload_max()));
    let mut incoming = Incoming::default();
    let room = body::pieces(handle, body, |piece| {
        decoder.push(piece);
        incoming.take_from(|| decoder.take())
    });
    incoming._room = room.await?;
    incoming.take_from(|| decoder.finish())?;
    Ok(incoming)
}

/// As [`read`], of a call that may also have nothing to say.
pub(super) async fn read_if_any(
    handle: &Handle,
    headers: &HeaderMap,
    body: Body,
) -> Result<Incoming, Problem> {
    use hyper::body::Body as _;
    match body.is_end_stream() {
        true => Ok(Incoming::default()),
        false => read(handle, headers, body).await,
    }
}

impl Incoming {
    fn take_from(&mut self, mut next: impl FnMut() -> Result<Option<Item>, Broken>) -> Result<(), Problem> {
        loop {
            match next() {
                Ok(Some(_)) if self.items.len() == ENTRIES_MAX => {
                    let detail = format!(
                        "A batch has at most {ENTRIES_MAX} entries, and nothing of this one was done; send the rest in another."
                    );
                    return Err(Problem::new(Kind::TooLarge, detail));
                }
                Ok(Some(item)) => self.items.push(item),
                Ok(None) => return Ok(()),
                Err(broken) => {
                    self.broken = Some(broken);
                    return Ok(());
                }
            }
        }
    }
}

/// What is wrong with an entry, as a problem.
pub(super) fn fault(handle: &Handle, fault: Fault) -> Problem {
    match fault {
        Fault::TooLarge => body::too_large(handle.payload_max()),
        Fault::Bad(detail) => Problem::new(Kind::BadEntry, detail),
    }
}

/// What is wrong where the batch can't be read any further, as a problem.
pub(super) fn broken(broken: &Broken) -> Problem {
    let detail = format!("{broken} Nothing from there on was read; what stands before was.");
    Problem::new(Kind::BadBatch, detail)
}

/// The format that the caller wants the answer in.
///
/// # Errors
/// He takes neither.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Format, Problem> {
    batch::accepted(accept(headers)).ok_or_else(|| {
        Problem::new(
            Kind::NotAcceptable,
            format!("The answer is {NDJSON} or {FRAMED}; say one of them in `Accept`, or leave it out."),
        )
    })
}

/// The format that the caller names in full, if he does.
pub(super) fn named(headers: &HeaderMap) -> Option<Format> {
    batch::accepted_by_name(accept(headers))
}

fn accept(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
}

/// An answer of many entries, as it grows.
#[derive(Debug)]
pub(super) struct Answer {
    format: Format,
    bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            bytes: Vec::new(),
        }
    }

    /// Adds an entry.
    pub(super) fn add(
        &mut self,
        head: &impl Serialize,
        content: Option<&crate::Content>,
    ) -> Result<(), Problem> {
        batch::encode(self.format, head, content, &mut self.bytes).map_err(|e| {
            Problem::new(
                Kind::Internal,
                format!("An entry of the answer can't be written: {e}."),
            )
        })
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All of it, and what it is answered with.
    pub(super) fn finish(self) -> (http::response::Builder, bytes::Bytes) {
        let head = Response::builder()
            .status(StatusCode::OK)
            .header(CONTENT_TYPE, self.format.media_type());
        (head, self.bytes.into())
    }
}
