//! Looks whether streams pass, without touching the link: one that carries nothing that matters.
//!
//! `POST /v1/link/probe` is answered with its own body, byte by byte as it comes. If an echo of one byte a second comes
//! in time for a while, and the stream then still stands, links can be streams.

use super::connect::{ConnectError, Target, Version, causes, connect};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// Path of the request.
pub(super) const PROBE_PATH: &str = "/v1/link/probe";

/// Most bytes that are sent back.
pub const PROBE_MAX: usize = 64;

/// Echoes in one probe.
const ECHOES: u32 = 15;

/// Why streams do not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", causes(.0))]
    Http(#[from] hyper::Error),
    #[error("no request can be made: {0}")]
    Request(#[from] http::Error),
    #[error("the answer was {0}")]
    Status(http::StatusCode),
    #[error("no echo came in time")]
    Late,
    #[error("it was cut")]
    Cut,
}

pub(super) async fn probe(target: &Target) -> Result<(), Failed> {
    let target = Target {
        version: Version::Two,
        ..target.clone()
    };
    let (say, said) = mpsc::channel::<Bytes>(1);
    let frames = unfold(said, async |mut said| {
        let bytes = said.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), said))
    });
    let body = StreamBody::new(Box::pin(frames));
    let mut connection = connect(&target).await?;
    let request = Request::post(target.at(PROBE_PATH)?).body(body)?;
    let late = |_| Failed::Late;
    let response = timeout(target.times.answer, connection.sender.send_request(request))
        .await
        .map_err(late)??;
    if !response.status().is_success() {
        return Err(Failed::Status(response.status()));
    }
    let mut echo = response.into_body();
    let every: Duration = target.times.probe / ECHOES;
    for _ in 0..ECHOES {
        let next = Instant::now() + every;
        say.send(Bytes::from_static(b"?"))
            .await
            .map_err(|_| Failed::Cut)?;
        match timeout(target.times.answer, echo.frame()).await.map_err(late)? {
            Some(frame) => drop(frame?),
            None => return Err(Failed::Cut),
        }
        sleep_until(next).await;
    }
    match connection.sender.is_closed() {
        false => Ok(()),
        true => Err(Failed::Cut),
    }
}
