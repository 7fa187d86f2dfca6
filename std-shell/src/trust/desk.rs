//! The authority's desk: what only the authority can do, asked at any node.
//!
//! A node that does not hold the authority passes a request on as a message to the service [`AUTHORITY_SERVICE`], and
//! the node that holds it is that service's one consumer. So requests go wherever messages go, over any number of
//! links. The desk believes nobody on the way: each request proves by a signature who made it.

use super::authority::Authority;
use super::enrol::{EnrolError, EnrolRequest, Enrolled, InviteRequest, RenewRequest, VoucherError};
use super::identity::Identity;
use super::tokens::{TokenError, TokenRefused};
use crate::Content;
use crate::driver::{Called, Delivery, Handle, NewMessage, Refusal, Settlement};
use redlink_core::{Outcome, Terms, Verb};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// Where the authority is asked. The name is reserved: no program may submit to it or consume it.
pub const AUTHORITY_SERVICE: &str = "redlink:authority";

/// Longest that the authority is waited for.
const WAIT: Duration = Duration::from_secs(20);
/// Requests that are worked on at once.
const AT_ONCE: u16 = 4;
/// Signing takes milliseconds; a desk that is silent for this long has lost the request.
const LEASE: Duration = Duration::from_secs(5);
/// How long one look for requests lasts.
const LOOK: Duration = Duration::from_secs(60);

/// What the authority is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Let a node in.
    Enrol(EnrolRequest),
    /// Renew a certificate.
    Renew(RenewRequest),
    /// Take note of a token.
    Invite(InviteRequest),
}

/// What it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// A certificate.
    Enrolled(Enrolled),
    /// The token is good until then, in seconds since the Unix epoch.
    Invited(u64),
    /// No.
    Refused {
        /// Why, for programs.
        why: Why,
        /// Why, for people.
        detail: String,
    },
}

/// Kinds of refusals, as the API tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The token lets nobody in.
    Token,
    /// Not a name.
    Name,
    /// The name is another node's.
    Taken,
    /// The request can't be understood.
    Request,
    /// The certificate that vouches for the request is not accepted.
    Certificate,
    /// Too many tokens.
    Full,
    /// The authority's own trouble; its log says more.
    Trouble,
}

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The authority can't be reached in time.
    #[error(
        "the node that holds the mesh's authority, the first one, did not answer within {} s; see that it runs and that \
         this node's links lead to it (redlink peer list), then try again; a join token stays good", WAIT.as_secs()
    )]
    Unreachable,
    /// Certificates of another authority: there is nothing to ask.
    #[error(
        "this node's certificates are of an authority of your own (`tls` in its settings): have that sign them"
    )]
    OwnAuthority,
    /// What came back is no answer.
    #[error("what came back from the mesh's authority is no answer; are all nodes of one version?")]
    Malformed,
    /// This node.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The work broke off.
    #[error("the work broke off; the node's log says why")]
    Broken,
}

impl Authority {
    fn answer(&self, ask: &Ask) -> Answer {
        let answered = match ask {
            Ask::Enrol(request) => self.enrol(request).map(Answer::Enrolled),
            Ask::Renew(request) => self.renew(request).map(Answer::Enrolled),
            Ask::Invite(request) => self.invite(request).map(Answer::Invited),
        };
        answered.unwrap_or_else(|error| {
            let why = why(&error);
            if why == Why::Trouble {
                tracing::error!(%error, "tokens or certificates can't be written");
                // Paths of files are for this node's log, not for a stranger.
                let detail =
                    "the node that holds the authority can't write tokens or certificates; its log says why";
                return Answer::Refused {
                    why,
                    detail: detail.into(),
                };
            }
            tracing::warn!(reason = %error, "the authority refused a request");
            Answer::Refused {
                why,
                detail: error.to_string(),
            }
        })
    }
}

fn why(error: &EnrolError) -> Why {
    match error {
        EnrolError::Token(TokenRefused::Unknown | TokenRefused::Expired | TokenRefused::Forged) => Why::Token,
        EnrolError::Name(_) => Why::Name,
        EnrolError::Taken(_) | EnrolError::Occupied(_) | EnrolError::Voucher(VoucherError::Superseded(_)) => {
            Why::Taken
        }
        EnrolError::Host(_) | EnrolError::Request(_) | EnrolError::Invite(TokenError::Ttl) => Why::Request,
        EnrolError::Voucher(_) => Why::Certificate,
        EnrolError::Invite(TokenError::Full) => Why::Full,
        EnrolError::Invite(_) | EnrolError::Authority(_) => Why::Trouble,
    }
}

/// Asks the authority, here or through the mesh; waits up to 20 s.
///
/// # Errors
/// There was no answer. A refusal is one.
pub async fn ask(identity: &Identity, handle: &Handle, ask: Ask) -> Result<Answer, AskError> {
    if let Some(authority) = identity.authority.clone() {
        return spawn_blocking(move || authority.answer(&ask))
            .await
            .map_err(|_| AskError::Broken);
    }
    if identity.has_own_files() {
        return Err(AskError::OwnAuthority);
    }
    // A task of its own: whoever waits may go, and the message has to be cleared away all the same.
    tokio::spawn(pass_on(handle.clone(), ask))
        .await
        .map_err(|_| AskError::Broken)?
}

async fn pass_on(handle: Handle, ask: Ask) -> Result<Answer, AskError> {
    let bytes = serde_json::to_vec(&ask).map_err(|_| AskError::Malformed)?;
    let ett = crate::clock::core_duration(WAIT);
    let new = NewMessage {
        service: AUTHORITY_SERVICE.to_owned(),
        producer: None,
        alternate: None,
        terms: Terms {
            priority: u8::MAX,
            ett: Some(ett),
            reoffer: redlink_core::Duration::from_secs(3),
            retention: ett,
            ..Terms::default()
        },
        content: Content {
            origin: None,
            trace_context: None,
            content_type: Some("application/json".into()),
            bytes: bytes.into(),
        },
        extras: crate::Extras::default(),
    };
    // The outcome `Expired` comes at the end of the message's time.
    let settlement = match handle.call(new, WAIT + LEASE).await? {
        Called::Settled(settlement) => settlement,
        Called::Open(_) => return Err(AskError::Unreachable),
    };
    let Settlement {
        id, outcome, content, ..
    } = settlement;
    // If it can't be now, it is gone at the end of its retention.
    let _ = handle.collect(id).await;
    match outcome {
        Outcome::Replied => serde_json::from_slice(&content.bytes).map_err(|_| AskError::Malformed),
        _ => Err(AskError::Unreachable),
    }
}

/// Answers what other nodes pass on, until the node stops. For the node that holds the authority.
pub async fn serve(authority: Arc<Authority>, handle: Handle) {
    let name = authority.own.to_string();
    if let Err(error) = handle
        .register(AUTHORITY_SERVICE, &name, AT_ONCE, LEASE, None)
        .await
    {
        return tracing::error!(%error, "the authority can't be asked through the mesh");
    }
    loop {
        match handle.take(AUTHORITY_SERVICE, &name, AT_ONCE, LOOK).await {
            Ok(deliveries) => {
                for delivery in deliveries {
                    tokio::spawn(answer(authority.clone(), handle.clone(), delivery));
                }
            }
            Err(Refusal::Stopped | Refusal::Draining) => return,
            Err(error) => {
                tracing::warn!(%error, "the authority could not look for requests; again in a moment");
                tokio::time::sleep(LEASE).await;
            }
        }
    }
}

async fn answer(authority: Arc<Authority>, handle: Handle, delivery: Delivery) {
    let token = delivery.token;
    let answered = spawn_blocking(move || match serde_json::from_slice(&delivery.content.bytes) {
        Ok(ask) => authority.answer(&ask),
        Err(error) => Answer::Refused {
            why: Why::Request,
            detail: format!("the request can't be understood: {error}"),
        },
    });
    let Ok(answered) = answered.await else { return };
    let Ok(bytes) = serde_json::to_vec(&answered) else {
        return;
    };
    let content = Content {
        origin: None,
        trace_context: None,
        content_type: Some("application/json".into()),
        bytes: bytes.into(),
    };
    // If it is lost, the same request comes again and gets the same answer.
    if let Err(error) = handle.answer(token, Verb::Reply, Some(content)).await {
        tracing::debug!(%error, "an answer of the authority was not taken");
    }
}
