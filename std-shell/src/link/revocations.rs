//! The authority's list of revoked certificates, between the two ends of a link.
//!
//! The dialling side asks for a list that is newer than its own and is answered when there is one, so news takes one
//! round trip a hop on its way south; what the other side lacks is brought to it at once, so the same holds for the way
//! north. Lists are signed and numbered: nobody on the way can make, change or hold back one for long.

use super::connect::{ConnectError, Connection, Sender, Target, causes, connect};
use super::how::{How, Mode};
use super::outbox::{OutStream, outbox};
use super::{REVOCATIONS_HEADER, REVOCATIONS_PATH};
use crate::driver::Handle;
use crate::trust::{CRL_MAX, IdentityError, Revocations};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long a question is held at the other side, at most and at least: what is between may not let it be long.
const HELD: Duration = Duration::from_secs(30);
const HELD_MIN: Duration = Duration::from_secs(1);
/// How long an answer may take beyond that.
const ANSWER: Duration = Duration::from_secs(10);
/// After something went wrong.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", causes(.0))]
    Http(#[from] hyper::Error),
    #[error("no request can be made: {0}")]
    Request(#[from] http::Error),
    #[error("the peer answered {0}")]
    Status(StatusCode),
    #[error("the peer did not answer in time, or too much")]
    Late,
    #[error(transparent)]
    List(#[from] IdentityError),
    #[error("the peer does not take the list")]
    NotTaken,
}

/// What the questions go on.
pub(super) enum Way {
    /// The link's own connection, whose bodies are of one type.
    Link(Handle, Sender<OutStream>),
    /// One for them alone, made when it is needed: what holds this link are requests that wait, too.
    Own(Option<Connection<Full<Bytes>>>),
}

impl Way {
    /// Makes a request; the answer comes with its connection, if that is to be [kept](Self::keep) until its end.
    async fn get(
        &mut self,
        target: &Target,
        path: &str,
    ) -> Result<(Response<Incoming>, Option<Connection<Full<Bytes>>>), Failed> {
        let request = Request::get(target.at(path)?);
        match self {
            Self::Link(handle, sender) => {
                let (outbox, nothing) = outbox(handle.store().clone(), How::taken_in(Mode::Stream));
                outbox.close("no body");
                Ok((sender.send_request(request.body(nothing)?).await?, None))
            }
            Self::Own(idle) => {
                let idle = idle.take().filter(|open| !open.sender.is_closed());
                let mut open = match idle {
                    Some(open) => open,
                    None => connect(target).await?,
                };
                let response = open.sender.send_request(request.body(Full::default())?).await?;
                Ok((response, Some(open)))
            }
        }
    }

    /// For the next request, after an answer was read.
    fn keep(&mut self, connection: Option<Connection<Full<Bytes>>>) {
        if let Self::Own(idle) = self {
            *idle = connection;
        }
    }
}

/// Keeps both ends' lists the same, for as long as the link is up.
pub(super) async fn follow(target: &Target, mut way: Way) -> Infallible {
    let mut held = HELD;
    loop {
        let ours = target.identity.revocations();
        let news = tokio::select! {
            // This node has learned of one by another way.
            _ = target.identity.newer_revocations(ours.number()) => continue,
            news = ask(target, &mut way, &ours, held) => news,
        };
        match news {
            Ok(()) => held = (held + HELD_MIN).min(HELD),
            Err(error) => {
                tracing::debug!(north = %target.url, %error, "lists of revoked certificates were not compared");
                held = (held / 2).max(HELD_MIN);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn ask(target: &Target, way: &mut Way, ours: &Arc<Revocations>, held: Duration) -> Result<(), Failed> {
    let path = format!(
        "{REVOCATIONS_PATH}?after={}&wait={}s",
        ours.number(),
        held.as_secs()
    );
    let (response, connection) = timeout(held + ANSWER, way.get(target, &path))
        .await
        .map_err(|_| Failed::Late)??;
    let theirs = number(&response);
    match response.status() {
        StatusCode::OK => {
            let body = timeout(ANSWER, Limited::new(response.into_body(), CRL_MAX).collect()).await;
            let der = body.ok().and_then(Result::ok).ok_or(Failed::Late)?.to_bytes();
            way.keep(connection);
            let identity = target.identity.clone();
            let learned = spawn_blocking(move || identity.learn_revocations(&der)).await;
            if learned.map_err(|_| Failed::Late)?? {
                tracing::info!(from = %target.url, number = theirs, "heard of a newer list of revoked certificates");
                return Ok(());
            }
            // Not newer than ours after all.
            Err(Failed::Status(StatusCode::OK))
        }
        StatusCode::NO_CONTENT => {
            way.keep(connection);
            match theirs < ours.number() {
                true => bring(target, ours).await,
                false => Ok(()),
            }
        }
        other => Err(Failed::Status(other)),
    }
}

fn number(response: &Response<Incoming>) -> u64 {
    let header = response.headers().get(REVOCATIONS_HEADER);
    header
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

async fn bring(target: &Target, ours: &Arc<Revocations>) -> Result<(), Failed> {
    // It happens once for each list, so it is worth no connection that stays.
    let mut connection = connect::<Full<Bytes>>(target).await?;
    let body = Full::new(Bytes::copy_from_slice(ours.der()));
    let request = Request::put(target.at(REVOCATIONS_PATH)?).body(body)?;
    let response = timeout(ANSWER, connection.sender.send_request(request))
        .await
        .map_err(|_| Failed::Late)??;
    match response.status() {
        StatusCode::NO_CONTENT if number(&response) >= ours.number() => Ok(()),
        StatusCode::NO_CONTENT => Err(Failed::NotTaken),
        other => Err(Failed::Status(other)),
    }
}
