//! What a consumer does with a delivery. Whose it is has been looked at when these are called.

use super::super::auth::unknown_delivery;
use super::super::{Kind, Node, Problem, body, headers, range};
use super::{NoQuery, empty};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use redlink_core::{Answered, GrantToken, Verb};

/// `GET {delivery}/payload`
#[utoipa::path(
    get,
    path = "/v1/deliveries/{delivery}/payload",
    tag = "deliveries",
    summary = "The payload once more",
    params(("delivery" = String, Path, description = "What `Redlink-Delivery` held when the message was taken."),
        ("Range" = Option<String>, Header, description = "One range of bytes.", example = "bytes=0-65535")),
    responses(
        (status = 200, description = "As it was submitted.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The part of it that was asked for; `Content-Range` says which.", body = Vec<u8>, content_type = "application/octet-stream"),
    ),
)]
pub(super) async fn payload(
    State(node): State<Node>,
    Extension(token): Extension<GrantToken>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let content = node.handle.payload(token).await?.ok_or_else(unknown_delivery)?;
    // A message's payload never changes.
    range::answer(&headers, content, &token.message.to_string())
}

/// `POST {delivery}/reply`
#[utoipa::path(
    post,
    path = "/v1/deliveries/{delivery}/reply",
    tag = "deliveries",
    summary = "Reply",
    params(("delivery" = String, Path, description = "What `Redlink-Delivery` held when the message was taken.")),
    request_body(content = Vec<u8>, description = "The reply, as it is; `Content-Type` goes with it.", content_type = "application/octet-stream"),
    responses((status = 204, description = "It is on disk, at the origin or here.")),
)]
pub(super) async fn reply(
    State(node): State<Node>,
    Extension(token): Extension<GrantToken>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    with_body(node, token, Verb::Reply, &headers, body).await
}

/// `POST {delivery}/fail`; the body is the reason.
#[utoipa::path(
    post,
    path = "/v1/deliveries/{delivery}/fail",
    tag = "deliveries",
    summary = "This message can't be processed",
    params(("delivery" = String, Path, description = "What `Redlink-Delivery` held when the message was taken.")),
    request_body(content = Vec<u8>, description = "Why, as text.", content_type = "text/plain"),
    responses((status = 204, description = "It is on disk, at the origin or here.")),
)]
pub(super) async fn fail(
    State(node): State<Node>,
    Extension(token): Extension<GrantToken>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    with_body(node, token, Verb::Fail, &headers, body).await
}

/// `POST {delivery}/ack`
#[utoipa::path(
    post,
    path = "/v1/deliveries/{delivery}/ack",
    tag = "deliveries",
    summary = "A send-only message is done",
    params(("delivery" = String, Path, description = "What `Redlink-Delivery` held when the message was taken.")),
    responses((status = 204, description = "It is on disk, at the origin or here.")),
)]
pub(super) async fn ack(
    State(node): State<Node>,
    Extension(token): Extension<GrantToken>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    without_body(node, token, Verb::Ack, &headers, body).await
}

/// `POST {delivery}/extend`
#[utoipa::path(
    post,
    path = "/v1/deliveries/{delivery}/extend",
    tag = "deliveries",
    summary = "Still working: renew the lease",
    params(("delivery" = String, Path, description = "What `Redlink-Delivery` held when the message was taken.")),
    responses((status = 204, description = "The lease begins anew.")),
)]
pub(super) async fn extend(
    State(node): State<Node>,
    Extension(token): Extension<GrantToken>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    without_body(node, token, Verb::Extend, &headers, body).await
}

/// `POST {delivery}/release`
#[utoipa::path(
    post,
    path = "/v1/deliveries/{delivery}/release",
    tag = "deliveries",
    summary = "Give it back, untouched",
    params(("delivery" = String, Path, description = "What `Redlink-Delivery` held when the message was taken.")),
    responses((status = 204, description = "It is offered again.")),
)]
pub(super) async fn release(
    State(node): State<Node>,
    Extension(token): Extension<GrantToken>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    without_body(node, token, Verb::Release, &headers, body).await
}

async fn with_body(
    node: Node,
    token: GrantToken,
    verb: Verb,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    headers::only(headers, &[])?;
    let body::Payload { content, _room } = body::payload(&node.handle, headers, body).await?;
    answered(node.handle.answer(token, verb, Some(content)).await?)
}

async fn without_body(
    node: Node,
    token: GrantToken,
    verb: Verb,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    headers::only(headers, &[])?;
    if !body::small(body).await?.is_empty() {
        return Err(Problem::new(
            Kind::BadRequest,
            "This answer has no body; `reply` and `fail` have one.",
        ));
    }
    answered(node.handle.answer(token, verb, None).await?)
}

fn answered(answered: Answered) -> Result<Response, Problem> {
    settled(answered).map(|()| empty(StatusCode::NO_CONTENT))
}

/// Whether an answer counted, and why not.
pub(super) fn settled(answered: Answered) -> Result<(), Problem> {
    let problem = |kind, detail: &str| Err(Problem::new(kind, detail));
    match answered {
        Answered::Done => Ok(()),
        Answered::Stale => problem(
            Kind::StaleAttempt,
            "The lease ran out and the message was given to another; drop this work. Extend leases in time.",
        ),
        Answered::Over => problem(
            Kind::MessageOver,
            "It is past its deadline, was cancelled, or another answer settled it; drop this work.",
        ),
        Answered::Unknown => Err(unknown_delivery()),
        Answered::Busy => problem(
            Kind::AnswerUnderWay,
            "Another answer to this delivery is being written; wait for that one.",
        ),
        Answered::WrongVerb => problem(
            Kind::WrongVerb,
            "A send-only message (`Redlink-Send-Only: true`) wants `ack`, any other wants `reply`.",
        ),
        Answered::StoreFailed => problem(
            Kind::StoreFailed,
            "The node could not write the answer; the delivery is as it was: send it again.",
        ),
    }
}
