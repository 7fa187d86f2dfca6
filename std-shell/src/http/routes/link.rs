//! What links use; the routes let nodes of the mesh only.

use super::super::auth::{Peer, Showed};
use super::super::query::{In, With, wait};
use super::super::{Kind, Node, Problem};
use super::{NoQuery, build};
use crate::link::{Asking, Polled};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http_body_util::Limited;
use redlink_core::Name;
use serde::Deserialize;

fn proved(Peer(peer): Peer) -> Result<Name, Problem> {
    peer.ok_or_else(|| {
        Problem::new(
            Kind::Unauthorized,
            "This is for nodes of the mesh: show a node's certificate.",
        )
    })
}

/// Whose session it is. One that polls outlives its connections, and these the certificate that they began with: what
/// that is worth is asked anew for each request (P12).
fn asking(node: &Node, Showed(chain): Showed) -> Result<Asking, Problem> {
    match node.identity.peer_name(&chain) {
        Ok(name) => Ok(Asking { name, chain }),
        Err(error) => Err(Problem::new(
            Kind::Unauthorized,
            format!("The certificate of this connection counts no more: {error}. Make a new connection."),
        )),
    }
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

/// `POST /v1/link/probe`: the answer is what is sent, as it comes.
pub(super) async fn probe(body: Body) -> Result<Response, Problem> {
    build(
        Response::builder(),
        Body::new(Limited::new(body, crate::link::PROBE_MAX)),
    )
}

/// `PUT /v1/link/sessions/{id}`
pub(super) async fn open(
    State(node): State<Node>,
    Extension(polled): Extension<Polled>,
    Extension(showed): Extension<Showed>,
    In(id): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let response = polled
        .open(&node.handle, &node.identity, &asking(&node, showed)?, &id)
        .await?;
    Ok(response.map(Body::new))
}

/// `DELETE /v1/link/sessions/{id}`
pub(super) async fn close(
    State(node): State<Node>,
    Extension(polled): Extension<Polled>,
    Extension(showed): Extension<Showed>,
    In(id): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    Ok(polled.close(&asking(&node, showed)?, &id).map(Body::new))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    from: u64,
}

/// `POST /v1/link/sessions/{id}/frames?from=`
pub(super) async fn frames(
    State(node): State<Node>,
    Extension(polled): Extension<Polled>,
    Extension(showed): Extension<Showed>,
    In(id): In<String>,
    With(query): With<From>,
    body: Body,
) -> Result<Response, Problem> {
    let response = polled.take(&asking(&node, showed)?, &id, query.from, body).await;
    Ok(response.map(Body::new))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Poll {
    from: u64,
    max: usize,
    wait: String,
}

/// `POST /v1/link/sessions/{id}/poll?from=&max=&wait=`
pub(super) async fn poll(
    State(node): State<Node>,
    Extension(polled): Extension<Polled>,
    Extension(showed): Extension<Showed>,
    In(id): In<String>,
    With(query): With<Poll>,
) -> Result<Response, Problem> {
    let wait = wait(&query.wait)?;
    let peer = asking(&node, showed)?;
    let response = polled.poll(&peer, &id, query.from, query.max, wait).await;
    Ok(response.map(Body::new))
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
