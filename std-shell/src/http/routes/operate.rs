//! Looks at the node, for people and probes.

use super::super::{Kind, Node, Problem};
use super::{NoQuery, json};
use crate::driver::NodeBasics;
use crate::trust::programs::Pass;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use redlink_core::RESERVED;

/// `GET /v1/node`: all of it for administrators.
pub(super) async fn node(
    State(node): State<Node>,
    Extension(pass): Extension<Pass>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let status = node.handle.status().await;
    if pass.who.administers {
        return json(StatusCode::OK, &status);
    }
    json(StatusCode::OK, &NodeBasics::from(status))
}

/// `GET /v1/services`
pub(super) async fn services(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    let mut services = node.handle.services().await;
    services.retain(|service| !service.name.starts_with(RESERVED));
    json(StatusCode::OK, &services)
}

/// `GET /v1/consumers`
pub(super) async fn consumers(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    let mut consumers = node.handle.consumers().await;
    consumers.retain(|consumer| !consumer.service.starts_with(RESERVED));
    json(StatusCode::OK, &consumers)
}

/// `GET /v1/peers`
pub(super) async fn peers(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    json(StatusCode::OK, &node.handle.peers().await)
}

/// `GET /livez`: the process runs.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// `GET /readyz`: it takes work.
pub(super) async fn ready(State(node): State<Node>) -> Result<&'static str, Problem> {
    match node.handle.ready() {
        true => Ok("ready\n"),
        false => Err(Problem::new(
            Kind::NotReady,
            "The node is starting or stopping; ask again in a moment.",
        )),
    }
}
