//! The list of revoked certificates, for peers; the authority's book, for its administrator.

use super::super::query::{self, With};
use super::super::{Kind, Node, Problem, body};
use super::join::authority;
use super::{NoQuery, bad_name, blocking, build, json, own_trouble, sentence};
use crate::link::REVOCATIONS_HEADER;
use crate::trust::{CRL_MAX, IdentityError, NodeRecord, RevocationError, RevokeError};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use redlink_core::Name;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use utoipa::ToSchema;

/// How long a list may take to come in.
const SLOW: Duration = Duration::from_secs(10);
/// Lists that are read at once; each is checked by its signature and sorted (P11).
const AT_ONCE: usize = 2;
static LEARNING: Semaphore = Semaphore::const_new(AT_ONCE);

/// `?after=&wait=`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
    wait: Option<String>,
}

/// `GET /v1/revocations?after=&wait=`: the list, if it is newer than `after`, as soon as it is. The header says which
/// list this node has, also if that is an older one, which is told at once.
pub(super) async fn revocations(
    State(node): State<Node>,
    With(After { after, wait }): With<After>,
) -> Result<Response, Problem> {
    let wait = wait.as_deref().map_or(Ok(Duration::ZERO), query::wait)?;
    let mut list = node.identity.revocations();
    if list.number() == after
        && let Ok(newer) = timeout(wait, node.identity.newer_revocations(after)).await
    {
        list = newer;
    }
    let head = Response::builder().header(REVOCATIONS_HEADER, list.number());
    if list.number() <= after {
        return build(head.status(StatusCode::NO_CONTENT), Body::empty());
    }
    let head = head.header(http::header::CONTENT_TYPE, "application/pkix-crl");
    build(head, Body::from(list.der().to_vec()))
}

/// `PUT /v1/revocations`: a list that the peer thinks is newer. Who brings it does not matter: the authority signed it.
pub(super) async fn learn(State(node): State<Node>, _: NoQuery, body: Body) -> Result<Response, Problem> {
    let _permit = LEARNING.try_acquire().map_err(|_| {
        let detail = format!("{AT_ONCE} lists are being read here at this moment; try again.");
        Problem::new(Kind::Full, detail)
    })?;
    let read = timeout(SLOW, Limited::new(body, CRL_MAX).collect()).await;
    let body = read
        .map_err(|_| {
            Problem::new(
                Kind::TooSlow,
                "The list did not come in time; send it without pauses.",
            )
        })?
        .map_err(|e| {
            Problem::new(
                Kind::TooLarge,
                format!("The list can't be read, or is over {CRL_MAX} bytes: {e}."),
            )
        })?;
    let der = body.to_bytes();
    let identity = node.identity.clone();
    let learned = blocking(move || identity.learn_revocations(&der)).await?;
    let number = node.identity.revocations().number();
    match learned {
        Ok(new) => {
            if new {
                tracing::info!(number, "heard of a newer list of revoked certificates");
            }
            let head = Response::builder()
                .status(StatusCode::NO_CONTENT)
                .header(REVOCATIONS_HEADER, number);
            build(head, Body::empty())
        }
        Err(IdentityError::Revocation(error @ (RevocationError::Malformed | RevocationError::Forged))) => {
            Err(Problem::new(Kind::BadRequest, sentence(&error.to_string())))
        }
        Err(error) => Err(own_trouble(&error)),
    }
}

#[derive(Serialize, ToSchema)]
struct Book {
    mesh: String,
    authority: String,
    /// Which list of revoked certificates is the newest.
    revocations: u64,
    revoked: usize,
    nodes: Vec<NodeRecord>,
}

/// `GET /v1/ca`
#[utoipa::path(
    get,
    path = "/v1/ca",
    tag = "trust",
    summary = "Nodes that were let in",
    responses((status = 200, description = "Only the first node of a mesh keeps this book.", body = Book)),
)]
pub(super) async fn book(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    let authority = authority(&node)?;
    let revocations = node.identity.revocations();
    let book = Book {
        mesh: node.identity.mesh.to_string(),
        authority: node.identity.name.to_string(),
        revocations: revocations.number(),
        revoked: revocations.len(),
        nodes: blocking(move || authority.nodes()).await?,
    };
    json(StatusCode::OK, &book)
}

#[derive(Serialize, ToSchema)]
struct Revoked {
    name: String,
    certificates: usize,
    revocations: u64,
}

/// Body of `POST /v1/ca/revocations`.
#[derive(Deserialize, ToSchema)]
#[schema(as = NodeToRevoke)]
#[serde(deny_unknown_fields)]
struct Out {
    name: String,
}

/// `POST /v1/ca/revocations`: puts a node out.
#[utoipa::path(
    post,
    path = "/v1/ca/revocations",
    tag = "trust",
    summary = "Put a node out of the mesh",
    request_body(content = Out, content_type = "application/json"),
    responses((status = 200, description = "It is out here, and everywhere as soon as the list has come.", body = Revoked)),
)]
pub(super) async fn revoke(
    State(node): State<Node>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let authority = authority(&node)?;
    let Out { name } = query::json(&headers, &body::small(body).await?)?;
    let name = Name::new(&name).map_err(|e| bad_name("node's name", e))?;
    let identity = node.identity.clone();
    let out = name.clone();
    let done = blocking(move || {
        let done = authority.revoke(&out)?;
        // It is on disk; from here on it counts, here first.
        if let Err(error) = identity.reload() {
            tracing::error!(%error, "the new list of revoked certificates can't be used");
        }
        Ok(done)
    });
    let certificates = done.await?.map_err(|e: RevokeError| match &e {
        RevokeError::Unknown(_) => Problem::new(Kind::UnknownNode, sentence(&e.to_string())),
        RevokeError::Own(_) | RevokeError::Ended(_) => {
            Problem::new(Kind::NotRevocable, sentence(&e.to_string()))
        }
        RevokeError::Authority(trouble) => own_trouble(trouble),
    })?;
    let answer = Revoked {
        name: name.to_string(),
        certificates,
        revocations: node.identity.revocations().number(),
    };
    json(StatusCode::OK, &answer)
}
