//! What a consumer does with a delivery.

use super::super::query::In;
use super::super::{Kind, Node, Problem, body, headers};
use super::{NoQuery, build, empty, payload_head};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use redlink_core::{Answered, GrantToken, Verb};

/// The path to answer at.
pub(super) fn path(token: &GrantToken) -> String {
    format!("/v1/deliveries/{}", URL_SAFE_NO_PAD.encode(token.to_bytes()))
}

fn unknown() -> Problem {
    let detail = "No such delivery: it was never handed out here, or its message is forgotten. Use the path of the \
                  `Redlink-Delivery` header as it is.";
    Problem::new(Kind::UnknownDelivery, detail)
}

fn token(text: &str) -> Result<GrantToken, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| unknown())?;
    let bytes = <&[u8; GrantToken::BYTES]>::try_from(bytes.as_slice()).map_err(|_| unknown())?;
    Ok(GrantToken::from_bytes(bytes))
}

/// `GET {delivery}/payload`
pub(super) async fn payload(
    State(node): State<Node>,
    In(delivery): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let content = node
        .handle
        .payload(token(&delivery)?)
        .await?
        .ok_or_else(unknown)?;
    build(payload_head(StatusCode::OK, &content), Body::from(content.bytes))
}

/// `POST {delivery}/reply`
pub(super) async fn reply(
    State(node): State<Node>,
    In(delivery): In<String>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    with_body(node, &delivery, Verb::Reply, &headers, body).await
}

/// `POST {delivery}/fail`; the body is the reason.
pub(super) async fn fail(
    State(node): State<Node>,
    In(delivery): In<String>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    with_body(node, &delivery, Verb::Fail, &headers, body).await
}

/// `POST {delivery}/ack`
pub(super) async fn ack(
    State(node): State<Node>,
    In(delivery): In<String>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    without_body(node, &delivery, Verb::Ack, &headers, body).await
}

/// `POST {delivery}/extend`
pub(super) async fn extend(
    State(node): State<Node>,
    In(delivery): In<String>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    without_body(node, &delivery, Verb::Extend, &headers, body).await
}

/// `POST {delivery}/release`
pub(super) async fn release(
    State(node): State<Node>,
    In(delivery): In<String>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    without_body(node, &delivery, Verb::Release, &headers, body).await
}

async fn with_body(
    node: Node,
    delivery: &str,
    verb: Verb,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    headers::only(headers, &[])?;
    let token = token(delivery)?;
    let body::Payload { content, _room } = body::payload(&node.handle, headers, body).await?;
    answered(node.handle.answer(token, verb, Some(content)).await?)
}

async fn without_body(
    node: Node,
    delivery: &str,
    verb: Verb,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    headers::only(headers, &[])?;
    let token = token(delivery)?;
    if !body::small(body).await?.is_empty() {
        return Err(Problem::new(
            Kind::BadRequest,
            "This answer has no body; `reply` and `fail` have one.",
        ));
    }
    answered(node.handle.answer(token, verb, None).await?)
}

fn answered(answered: Answered) -> Result<Response, Problem> {
    let problem = |kind, detail: &str| Err(Problem::new(kind, detail));
    match answered {
        Answered::Done => Ok(empty(StatusCode::NO_CONTENT)),
        Answered::Stale => problem(
            Kind::StaleAttempt,
            "The lease ran out and the message was given to another; drop this work. Extend leases in time.",
        ),
        Answered::Over => problem(
            Kind::MessageOver,
            "It is past its deadline, was cancelled, or another answer settled it; drop this work.",
        ),
        Answered::Unknown => Err(unknown()),
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
