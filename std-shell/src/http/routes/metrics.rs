//! The node's numbers, for scrapers.

use super::super::{Kind, Node, Problem};
use super::{NoQuery, build};
use crate::metrics::{Format, Snapshot, write};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

/// `GET /metrics`: OpenMetrics text for who accepts it, else Prometheus text.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "probes",
    summary = "Numbers for Prometheus and its kin",
    responses((
        status = 200,
        description = "OpenMetrics text for who accepts it, else Prometheus text.",
        body = String,
        content_type = "text/plain",
    )),
)]
pub(super) async fn metrics(
    State(node): State<Node>,
    headers: HeaderMap,
    _: NoQuery,
) -> Result<Response, Problem> {
    let accept = headers.get_all(ACCEPT).iter();
    let accept: Vec<_> = accept.filter_map(|value| value.to_str().ok()).collect();
    let format = Format::accepted(&accept.join(","));
    let snapshot = Snapshot::gather(&node.handle, &node.web).await;
    let text = write(snapshot, format)
        .map_err(|_| Problem::new(Kind::Internal, "The numbers can't be written as text."))?;
    let head = Response::builder().header(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    build(head, Body::from(text))
}
