//! The dialling side of links: keeps one up to each north peer.

use super::PATH;
use super::backoff::Backoff;
use super::connect::{ConnectError, Connection, Target, connect};
use super::mover;
use super::north::Dialling;
use super::outbox::{OutStream, outbox};
use super::revocations;
use super::session::Session;
use crate::config::PeerPolicy;
use crate::driver::{Handle, Refusal};
use crate::trust::Identity;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use redlink_core::Name;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Time that a north has to answer the request that holds the link.
const ANSWER: Duration = Duration::from_secs(10);

/// Where one north peer is, and how this node trusts it.
#[derive(Clone)]
pub struct Dialler {
    target: Target,
    /// Its name, if the settings say it.
    name: Option<Name>,
    policy: PeerPolicy,
    dialling: Arc<Dialling>,
}

impl Dialler {
    /// For the node at `url` (`https://host:port`), of this mesh. `identity` is what this node shows there, and whom it
    /// believes.
    ///
    /// # Errors
    /// [`ConnectError::Url`] if that is no URL of a node.
    pub fn new(url: &str, identity: Arc<Identity>) -> Result<Self, ConnectError> {
        Target::new(url, identity).map(|target| Self {
            target,
            name: None,
            policy: PeerPolicy::default(),
            dialling: Arc::default(),
        })
    }

    /// The same, for a node that must have this name if there is one, with this policy for its link.
    #[must_use]
    pub fn with(self, name: Option<Name>, policy: PeerPolicy) -> Self {
        Self { name, policy, ..self }
    }

    /// How the dialling goes.
    pub fn dialling(&self) -> Arc<Dialling> {
        self.dialling.clone()
    }

    /// The URL, as it was given.
    pub fn url(&self) -> String {
        self.target.url.to_string()
    }
}

/// Why a link could not be, or ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("this node has no room for the peer `{peer}`: {refusal}")]
    Here { peer: Name, refusal: Refusal },
    #[error("{0}")]
    After(Arc<str>),
    #[error("{url} is the node `{found}`, and the settings call it `{expected}`; correct one of the two")]
    OtherName {
        url: String,
        expected: Name,
        found: Name,
    },
}

/// Keeps a link to a north peer up, for ever: dials, holds, and dials again. Dropping the future closes the link.
pub async fn keep(handle: Handle, dialler: Dialler) {
    let target = &dialler.target;
    let mut backoff = Backoff::new();
    let mut reported = String::new();
    loop {
        let mut up = None;
        let ended = hold(&handle, &dialler, &mut up).await;
        let held = up.map_or(Duration::ZERO, |since: Instant| since.elapsed());
        let wait = backoff.next(held, random(target));
        // A north that is away for a night is one line in the log, not one every ten seconds.
        let text = ended.to_string();
        match &ended {
            Ended::After(_) => reported.clear(),
            _ if text != reported => {
                tracing::warn!(north = %target.url, reason = %text, "no link; trying again until there is one");
                reported.clone_from(&text);
            }
            _ => tracing::debug!(north = %target.url, reason = %text, "no link"),
        }
        dialler.dialling.failed(text, up.is_some(), wait);
        tokio::time::sleep(wait).await;
        dialler.dialling.dials();
    }
}

async fn hold(handle: &Handle, dialler: &Dialler, up: &mut Option<Instant>) -> Ended {
    match establish(handle, dialler).await {
        Err(ended) => ended,
        Ok(Established {
            session,
            incoming,
            jobs,
            connection,
        }) => {
            *up = Some(Instant::now());
            dialler.dialling.linked();
            let peer = connection.peer.clone();
            // Ends with the link: the driver knows that what it had under way went with it.
            let moving = mover::run(handle.clone(), dialler.target.clone(), peer, jobs);
            let following = revocations::follow(handle, &dialler.target, connection.sender.clone());
            let why = tokio::select! {
                // Before anything else that it says is heard.
                biased;
                () = dialler.target.identity.until_revoked(&connection.certificates) => {
                    let why: Arc<str> = Arc::from("the peer's certificate was revoked");
                    tracing::warn!(peer = %connection.peer, "the link is closed: {why}");
                    why
                }
                why = session.run(incoming) => why,
                () = moving => Arc::from("this node stopped"),
                () = following => Arc::from("this node stopped"),
            };
            Ended::After(why)
        }
    }
}

struct Established {
    session: Session,
    incoming: Incoming,
    jobs: mpsc::UnboundedReceiver<super::transfer::Job>,
    connection: Connection<OutStream>,
}

async fn establish(handle: &Handle, dialler: &Dialler) -> Result<Established, Ended> {
    let target = &dialler.target;
    let host = || target.host.clone();
    let mut connection = connect::<OutStream>(target).await?;
    if let Some(expected) = dialler.name.as_ref().filter(|name| **name != connection.peer) {
        return Err(Ended::OtherName {
            url: target.url.to_string(),
            expected: expected.clone(),
            found: connection.peer.clone(),
        });
    }
    dialler.dialling.met(&connection.peer);
    let (outbox, stream) = outbox(handle.store().clone());
    let request = target
        .at(PATH)
        .and_then(|uri| {
            Request::post(uri)
                .header(http::header::CONTENT_TYPE, "application/octet-stream")
                .body(stream)
        })
        .map_err(|_| ConnectError::Url {
            url: target.url.to_string(),
            why: "no request can be made for it",
        })?;
    let response = timeout(ANSWER, connection.sender.send_request(request))
        .await
        .map_err(|_| ConnectError::TimeOut { host: host() })?
        .map_err(|source| ConnectError::Http { host: host(), source })?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        let text = timeout(ANSWER, Limited::new(response.into_body(), 1_024).collect()).await;
        let bytes = text
            .ok()
            .and_then(Result::ok)
            .map_or_else(Bytes::new, |all| all.to_bytes());
        let text = String::from_utf8_lossy(&bytes)
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        return Err(ConnectError::Refused {
            host: host(),
            status,
            text,
        }
        .into());
    }
    let (jobs, queue) = mpsc::unbounded_channel();
    let peer = connection.peer.clone();
    let session = Session::open(handle, peer.clone(), outbox, Some((jobs, dialler.policy.clone())))
        .await
        .map_err(|refusal| Ended::Here { peer, refusal })?;
    Ok(Established {
        session,
        incoming: response.into_body(),
        jobs: queue,
        connection,
    })
}

fn random(target: &Target) -> u64 {
    let mut bytes = [0; 8];
    // Without random bits the waits are only less even.
    if target
        .identity
        .client()
        .crypto_provider()
        .secure_random
        .fill(&mut bytes)
        .is_err()
    {
        tracing::debug!("no random bits for the back-off");
    }
    u64::from_le_bytes(bytes)
}
