//! Letting other nodes in, at any node of the mesh.

use super::super::query::json as from_json;
use super::super::{Kind, Node, Problem, body, headers};
use super::{NoQuery, blocking, json, own_trouble, sentence};
use crate::trust::{
    self, Answer, Ask, AskError, Authority, EnrolRequest, TOKEN_TTL_DEFAULT, TOKEN_TTL_MAX, TokenError, Why,
};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

/// Requests of strangers that this node looks at and passes on at once; each is a message (P7, P11).
const AT_ONCE: usize = 8;
static PASSING: Semaphore = Semaphore::const_new(AT_ONCE);

/// Body of `POST /v1/tokens` for a node.
#[derive(Deserialize, ToSchema)]
#[schema(as = JoinTokenWish)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    ttl: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = JoinToken)]
pub(super) struct Token {
    token: String,
    expires: Option<String>,
}

/// The authority, for what is done only at its own node.
pub(super) fn authority(node: &Node) -> Result<Arc<Authority>, Problem> {
    node.identity.authority.clone().ok_or_else(|| {
        Problem::new(
            Kind::NoAuthority,
            "This node does not hold the mesh's authority: ask the first node of the mesh.",
        )
    })
}

/// `POST /v1/tokens` for a node.
pub(super) async fn token(node: Node, headers: &HeaderMap, body: &[u8]) -> Result<Response, Problem> {
    let wish: Wish = from_json(headers, body)?;
    let ttl = match wish.ttl {
        None => TOKEN_TTL_DEFAULT,
        Some(text) => headers::parse_duration(&text)
            .map_err(|e| Problem::new(Kind::BadRequest, format!("`ttl`: {e}.")))?,
    };
    if ttl < Duration::from_secs(1) || ttl > TOKEN_TTL_MAX {
        return Err(Problem::new(
            Kind::BadRequest,
            sentence(&TokenError::Ttl.to_string()),
        ));
    }
    let (token, expires) = match node.identity.authority.clone() {
        Some(authority) => {
            let made = blocking(move || authority.new_token(ttl)).await?;
            let new = made.map_err(|e| match e {
                TokenError::Ttl => Problem::new(Kind::BadRequest, sentence(&e.to_string())),
                TokenError::Full => Problem::new(Kind::Full, sentence(&e.to_string())),
                TokenError::File(_) | TokenError::Random(_) => own_trouble(&e),
            })?;
            (new.token, new.expires)
        }
        // The secret is made here and stays here; the authority hears only what it can check it by.
        None => {
            if node.identity.has_own_files() {
                return Err(AskError::OwnAuthority.into());
            }
            let identity = node.identity.clone();
            let (token, request) = blocking(move || identity.invitation(ttl))
                .await?
                .map_err(|e| own_trouble(&e))?;
            match trust::ask(&node.identity, &node.handle, Ask::Invite(request)).await? {
                Answer::Invited(expires) => (token, expires),
                other => return Err(unexpected(other)),
            }
        }
    };
    // The answer may have come from afar.
    let expires = UNIX_EPOCH.checked_add(Duration::from_secs(expires));
    let expires = expires.and_then(headers::format_time);
    json(StatusCode::CREATED, &Token { token, expires })
}

/// `POST /v1/enrol`. Open to everybody: the token that signed it is what counts, and is looked at before anything else.
pub(super) async fn enrol(
    State(node): State<Node>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request: EnrolRequest = from_json(&headers, &body::small(body).await?)?;
    let _permit = PASSING.try_acquire().map_err(|_| {
        let detail = format!("{AT_ONCE} nodes are joining here at this moment; try again.");
        Problem::new(Kind::Full, detail)
    })?;
    let identity = node.identity.clone();
    let (request, proved) = blocking(move || {
        let proved = identity.proved(&request);
        (request, proved)
    })
    .await?;
    // Nonsense goes no further than this. Whether the token is good, the authority knows.
    if let Err(refused) = proved {
        return Err(Problem::new(Kind::TokenRefused, sentence(&refused.to_string())));
    }
    match trust::ask(&node.identity, &node.handle, Ask::Enrol(request)).await? {
        Answer::Enrolled(enrolled) => json(StatusCode::OK, &enrolled),
        other => Err(unexpected(other)),
    }
}

/// What is not the answer that was hoped for.
fn unexpected(answer: Answer) -> Problem {
    let Answer::Refused { why, detail } = answer else {
        return AskError::Malformed.into();
    };
    let kind = match why {
        Why::Token => Kind::TokenRefused,
        Why::Name => Kind::BadName,
        Why::Taken => Kind::NameTaken,
        Why::Request => Kind::BadRequest,
        Why::Certificate => Kind::CertificateRefused,
        Why::Full => Kind::Full,
        Why::Trouble => Kind::Internal,
    };
    Problem::new(kind, sentence(&detail))
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let kind = match &error {
            AskError::Unreachable | AskError::Malformed => Kind::AuthorityUnreachable,
            AskError::OwnAuthority => Kind::NoAuthority,
            AskError::Refused(refusal) => return (*refusal).into(),
            AskError::Broken => Kind::Internal,
        };
        Self::new(kind, sentence(&error.to_string()))
    }
}
