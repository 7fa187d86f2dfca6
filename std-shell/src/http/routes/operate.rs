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
    let mut status = node.handle.status().await;
    if pass.who.administers {
        let (links, failures) = node.peers.dials().await;
        status.counters.insert("dials_linked".into(), links);
        status.counters.insert("dials_failed".into(), failures);
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

/// `GET /v1/routes`
pub(super) async fn routes(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    let mut routes = node.handle.routes().await;
    routes.retain(|route| !route.service.starts_with(RESERVED));
    json(StatusCode::OK, &routes)
}

/// `GET /v1/consumers`
pub(super) async fn consumers(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    let mut consumers = node.handle.consumers().await;
    consumers.retain(|consumer| !consumer.service.starts_with(RESERVED));
    json(StatusCode::OK, &consumers)
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
