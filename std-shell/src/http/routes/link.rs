//! What links use; the routes let nodes of the mesh only.

use super::super::auth::Peer;
use super::super::query::In;
use super::super::{Kind, Node, Problem};
use super::build;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use redlink_core::Name;

fn proved(Peer(peer): Peer) -> Result<Name, Problem> {
    peer.ok_or_else(|| {
        Problem::new(
            Kind::Unauthorized,
            "This is for nodes of the mesh: show a node's certificate.",
        )
    })
}

/// `POST /v1/link`: both bodies are streams of frames.
pub(super) async fn link(
    State(node): State<Node>,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Result<Response, Problem> {
    let stream = crate::link::accept(&node.handle, proved(peer)?, body).await?;
    build(Response::builder(), Body::new(stream))
}

/// `PUT`, `GET /v1/link/payloads/{token}/{payload|reply}`
pub(super) async fn payload(
    State(node): State<Node>,
    Extension(peer): Extension<Peer>,
    In((token, part)): In<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let peer = proved(peer)?;
    Ok(crate::link::payload(&node.handle, &peer, &token, &part, request)
        .await
        .map(Body::new))
}
