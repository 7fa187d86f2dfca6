//! Peers: who they are, and changing whom this node is linked with.

use super::super::query::{In, json as from_json};
use super::super::{Kind, Node, Problem, body};
use super::{NoQuery, bad_name, json, sentence};
use crate::driver::PeerInfo;
use crate::peers::{Changed, PeerError, Wish};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use redlink_core::Name;

impl From<PeerError> for Problem {
    fn from(error: PeerError) -> Self {
        let kind = match &error {
            PeerError::Unknown(_) => Kind::UnknownPeer,
            PeerError::There(_) => Kind::PeerThere,
            PeerError::Wrong(_) | PeerError::Dial(_) => Kind::BadRequest,
            PeerError::Config(_) => Kind::SettingsFailed,
            PeerError::Stopped => Kind::Draining,
        };
        Self::new(kind, sentence(&error.to_string()))
    }
}

/// `GET /v1/peers`
#[utoipa::path(
    get,
    path = "/v1/peers",
    tag = "peers",
    summary = "List peers",
    responses((status = 200, description = "Nodes that this one has, had or wants a link with.", body = Vec<PeerInfo>)),
)]
pub(super) async fn list(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    json(StatusCode::OK, &node.peers.list().await)
}

/// `POST /v1/peers`: one more node to dial.
#[utoipa::path(
    post,
    path = "/v1/peers",
    tag = "peers",
    summary = "Dial one more node",
    request_body(content = Wish, content_type = "application/json"),
    responses((status = 201, description = "It is dialled, and in the settings.", body = Changed)),
)]
pub(super) async fn add(
    State(node): State<Node>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let wish: Wish = from_json(&headers, &body::small(body).await?)?;
    json(StatusCode::CREATED, &node.peers.add(wish).await?)
}

/// `PUT /v1/peers/{name}`: what counts for one peer.
#[utoipa::path(
    put,
    path = "/v1/peers/{name}",
    tag = "peers",
    summary = "What counts for one peer",
    params(("name" = String, Path, description = "The peer's name.")),
    request_body(content = Wish, content_type = "application/json"),
    responses((status = 200, description = "It counts.", body = Changed)),
)]
pub(super) async fn put(
    State(node): State<Node>,
    In(name): In<String>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = Name::new(&name).map_err(|e| bad_name("peer", e))?;
    let wish: Wish = from_json(&headers, &body::small(body).await?)?;
    json(StatusCode::OK, &node.peers.put(name, wish).await?)
}

/// `DELETE /v1/peers/{name}`: a name, or the URL that is dialled.
#[utoipa::path(
    delete,
    path = "/v1/peers/{name}",
    tag = "peers",
    summary = "Dial a node no more, or forget what counts for a peer",
    params(("name" = String, Path, description = "A name, or the URL that is dialled.")),
    responses((status = 200, description = "It is done.", body = Changed)),
)]
pub(super) async fn remove(
    State(node): State<Node>,
    In(which): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    json(StatusCode::OK, &node.peers.remove(which).await?)
}
