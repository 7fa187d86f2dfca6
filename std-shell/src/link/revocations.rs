//! The authority's list of revoked certificates, between the two ends of a link.
//!
//! The dialling side asks for a list that is newer than its own and is answered when there is one, so news takes one
//! round trip a hop on its way south; what the other side lacks is brought to it at once, so the same holds for the way
//! north. Lists are signed and numbered: nobody on the way can make, change or hold back one for long.

use super::connect::{ConnectError, Target, causes, connect};
use super::outbox::{OutStream, outbox};
use super::{REVOCATIONS_HEADER, REVOCATIONS_PATH};
use crate::driver::Handle;
use crate::trust::{CRL_MAX, IdentityError, Revocations};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long a question is held at the other side.
const HELD: Duration = Duration::from_secs(30);
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

/// Keeps both ends' lists the same, for as long as the link is up. Never ends.
pub(super) async fn follow(handle: &Handle, target: &Target, mut sender: SendRequest<OutStream>) {
    loop {
        let ours = target.identity.revocations();
        let news = tokio::select! {
            // This node has learned of one by another way.
            _ = target.identity.newer_revocations(ours.number()) => continue,
            news = ask(handle, target, &mut sender, &ours) => news,
        };
        if let Err(error) = news {
            tracing::debug!(north = %target.url, %error, "lists of revoked certificates were not compared");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn ask(
    handle: &Handle,
    target: &Target,
    sender: &mut SendRequest<OutStream>,
    ours: &Arc<Revocations>,
) -> Result<(), Failed> {
    let path = format!(
        "{REVOCATIONS_PATH}?after={}&wait={}s",
        ours.number(),
        HELD.as_secs()
    );
    // The link's connection has one type of body; this is an empty one.
    let (outbox, nothing) = outbox(handle.store().clone());
    outbox.close("no body");
    let request = Request::get(target.at(&path)?).body(nothing)?;
    let response = timeout(HELD + ANSWER, sender.send_request(request))
        .await
        .map_err(|_| Failed::Late)??;
    let theirs = number(&response);
    match response.status() {
        StatusCode::OK => {
            let body = timeout(ANSWER, Limited::new(response.into_body(), CRL_MAX).collect()).await;
            let der = body.ok().and_then(Result::ok).ok_or(Failed::Late)?.to_bytes();
            let identity = target.identity.clone();
            let learned = spawn_blocking(move || identity.learn_revocations(&der)).await;
            if learned.map_err(|_| Failed::Late)?? {
                tracing::info!(from = %target.url, number = theirs, "heard of a newer list of revoked certificates");
                return Ok(());
            }
            // Not newer than ours after all.
            Err(Failed::Status(StatusCode::OK))
        }
        StatusCode::NO_CONTENT if theirs < ours.number() => bring(target, ours).await,
        StatusCode::NO_CONTENT => Ok(()),
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
