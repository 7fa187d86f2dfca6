//! Looks at the node, for people and probes.

use super::super::api::Document;
use super::super::{Node, Problem};
use super::{NoQuery, json};
use crate::driver::{ConsumerInfo, NodeBasics, NodeStatus, RouteInfo, ServiceInfo};
use crate::trust::programs::Pass;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use redlink_core::RESERVED;
use serde::Serialize;
use utoipa::ToSchema;

/// What is told of a node.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    clippy::large_enum_variant,
    reason = "it says what either answer looks like, and is none"
)]
enum NodeStatusOrBasics {
    /// To administrators.
    Status(NodeStatus),
    /// To programs.
    Basics(NodeBasics),
}

/// `GET /v1/node`: all of it for administrators.
#[utoipa::path(
    get,
    path = "/v1/node",
    tag = "operate",
    summary = "The node in a few numbers",
    responses((status = 200, description = "All of it for administrators, its basics for programs.", body = NodeStatusOrBasics)),
)]
pub(super) async fn node(
    State(node): State<Node>,
    Extension(pass): Extension<Pass>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let mut status = node.handle.status().await;
    status.program = pass.who.owner.program().map(ToString::to_string);
    if pass.who.administers {
        let (links, failures) = node.peers.dials().await;
        status.counters.insert("dials_linked".into(), links);
        status.counters.insert("dials_failed".into(), failures);
        return json(StatusCode::OK, &status);
    }
    json(StatusCode::OK, &NodeBasics::from(status))
}

/// `GET /v1/services`
#[utoipa::path(
    get,
    path = "/v1/services",
    tag = "operate",
    summary = "List services",
    responses((status = 200, description = "Services known here.", body = Vec<ServiceInfo>)),
)]
pub(super) async fn services(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    let mut services = node.handle.services().await;
    services.retain(|service| !service.name.starts_with(RESERVED));
    json(StatusCode::OK, &services)
}

/// `GET /v1/routes`
#[utoipa::path(
    get,
    path = "/v1/routes",
    tag = "operate",
    summary = "List routes",
    responses((status = 200, description = "What this node and its peers told each other.", body = Vec<RouteInfo>)),
)]
pub(super) async fn routes(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    let mut routes = node.handle.routes().await;
    routes.retain(|route| !route.service.starts_with(RESERVED));
    json(StatusCode::OK, &routes)
}

/// `GET /v1/consumers`
#[utoipa::path(
    get,
    path = "/v1/consumers",
    tag = "operate",
    summary = "List consumers",
    responses((status = 200, description = "Consumers of this node.", body = Vec<ConsumerInfo>)),
)]
pub(super) async fn consumers(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    let mut consumers = node.handle.consumers().await;
    consumers.retain(|consumer| !consumer.service.starts_with(RESERVED));
    json(StatusCode::OK, &consumers)
}

/// `GET /livez`: the process runs.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "probes",
    summary = "The process runs",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain")),
)]
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// `GET /openapi.json`
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "probes",
    summary = "This document",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value)),
)]
pub(super) async fn openapi(Extension(document): Extension<Document>) -> Response {
    document.answer()
}
