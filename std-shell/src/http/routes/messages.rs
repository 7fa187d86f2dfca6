//! Producers: submit, look, wait, collect, cancel.

use super::super::api::TermHeaders;
use super::super::body::{self, Handed, Sent};
use super::super::headers::{MESSAGE, OUTCOME, PRESERVED};
use super::super::options::Options;
use super::super::problem::Document;
use super::super::query::{self, In, Wait, With};
use super::super::{Kind, Node, Problem};
use super::submit::Addressed;
use super::submit_many::Accepted;
use super::{Acting, NoQuery, build, empty, json, name, payload_head};
use crate::driver::{Called, Handle, MessageInfo, MessageTrace, STATES, Settlement, Submitted, Wanted};
use crate::trust::programs::Pass;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{LINK, LOCATION};
use http::{HeaderMap, HeaderName, StatusCode};
use redlink_core::{Cursor, MessageId, Outcome};
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;

/// How much of a failure's text goes into a problem.
const FAILURE_MAX: usize = 64 * 1024;
/// Most messages that one list shows.
const LIST_MAX: usize = 1_000;
const LIST_DEFAULT: usize = 100;

/// `POST /v1/services/{service}/messages?wait=`
#[utoipa::path(
    post,
    path = "/v1/services/{service}/messages",
    tag = "messages",
    summary = "Submit a message",
    description = "The payload is the body. Answered when the message is on disk; with `wait`, when its outcome is there or the time is over.",
    params(("service" = String, Path, description = "The service that is addressed."),
        Wait,
        TermHeaders),
    request_body(content = Vec<u8>, description = "The payload, as it is; `Content-Type` goes with it.", content_type = "application/octet-stream"),
    responses((status = 200, description = "With `wait`: its reply, or that it was delivered. The outcome is collected, unless there is an `Idempotency-Key`.", body = Vec<u8>, content_type = "application/octet-stream", headers(("Redlink-Message" = String, description = "The message."), ("Redlink-Outcome" = String, description = "`replied` or `delivered`."))),
        (status = 202, description = "It is on disk, and has no outcome yet.", body = Accepted, headers(("Location" = String, description = "Path of the message."))),
        (status = 424, description = "The outcome is `failed`, `expired`, `dead` or `cancelled`, as `Redlink-Outcome` says.", body = Document, content_type = "application/problem+json")),
)]
pub(super) async fn submit(
    State(node): State<Node>,
    Acting(handle): Acting,
    Extension(pass): Extension<Pass>,
    In(service): In<String>,
    With(wait): With<Wait>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let wait = wait.get()?;
    let addressed = Addressed::check(&node, &pass, service, Options::Headers(&headers), &[])?;
    let body::Payload { content, _room } = body::payload(&handle, &headers, body).await?;
    let new = addressed.with(content);
    // Whoever may come again with the same key shall find the outcome then, and collects it when he has it.
    let collect = new.extras.idempotency.is_none().then_some(&handle);
    match wait.filter(|wait| !wait.is_zero()) {
        None => accepted(&handle.submit(new).await?),
        Some(wait) => match handle.call(new, wait).await? {
            Called::Open(submitted) => accepted(&submitted),
            Called::Settled(settlement) => settled(settlement, collect),
        },
    }
}

pub(super) fn accepted(submitted: &Submitted) -> Result<Response, Problem> {
    let accepted = Accepted::of(submitted);
    let location = format!("/v1/messages/{}", accepted.id);
    let mut response = json(StatusCode::ACCEPTED, &accepted)?;
    response
        .headers_mut()
        .extend(location.parse().map(|location| (LOCATION, location)));
    Ok(response)
}

/// The answer that tells an outcome. With `collect`, that is collected as soon as hyper has taken all of the answer; a
/// client that went before finds it still there.
fn settled(settlement: Settlement, collect: Option<&Handle>) -> Result<Response, Problem> {
    let Settlement {
        id,
        outcome,
        content,
        preserved,
    } = settlement;
    let preserved = preserved.map(|data| STANDARD.encode(data));
    let (word, kind) = told(outcome);
    let (head, bytes) = match kind {
        None => {
            let mut head = payload_head(StatusCode::OK, &content)
                .header(MESSAGE, id.to_string())
                .header(OUTCOME, word);
            if let Some(preserved) = preserved {
                head = head.header(PRESERVED, preserved);
            }
            (head, content.bytes)
        }
        Some(kind) => {
            let mut problem = Problem::new(kind, detail(kind, &content.bytes))
                .with(HeaderName::from_static(MESSAGE), &id.to_string())
                .with(HeaderName::from_static(OUTCOME), word);
            if let Some(preserved) = &preserved {
                problem = problem.with(HeaderName::from_static(PRESERVED), preserved);
            }
            (problem.head(), Bytes::from(problem.document()))
        }
    };
    let body = match collect {
        None => Body::from(bytes),
        Some(handle) => Body::new(Handed::new(bytes, collector(handle.clone(), id))),
    };
    build(head, body)
}

/// An outcome's word, and the problem that it is if its producer had hoped for another.
pub(super) const fn told(outcome: Outcome) -> (&'static str, Option<Kind>) {
    match outcome {
        Outcome::Replied => ("replied", None),
        Outcome::Delivered => ("delivered", None),
        Outcome::Failed => ("failed", Some(Kind::Failed)),
        Outcome::Expired => ("expired", Some(Kind::Expired)),
        Outcome::Dead => ("dead", Some(Kind::Dead)),
        Outcome::Cancelled => ("cancelled", Some(Kind::Cancelled)),
    }
}

/// What the consumer said, if it said something.
pub(super) fn detail(kind: Kind, text: &[u8]) -> String {
    let shown = text.get(..FAILURE_MAX).unwrap_or(text);
    match (kind, shown) {
        (Kind::Failed, []) => "The consumer gave no reason.".into(),
        (_, []) => format!("{}.", kind.title()),
        (_, shown) => String::from_utf8_lossy(shown).into_owned(),
    }
}

fn collector(handle: Handle, id: MessageId) -> impl FnOnce(Sent) + Send + Sync + 'static {
    let runtime = tokio::runtime::Handle::current();
    move |sent| {
        if sent.all {
            runtime.spawn(async move {
                // Collected already by another, or not deleted now: then its retention ends it.
                if let Err(refusal) = handle.collect(id).await {
                    tracing::debug!(message = %id, %refusal, "an outcome was answered and could not be collected");
                }
            });
        }
    }
}

pub(super) fn message_id(text: &str) -> Result<MessageId, Problem> {
    text.parse()
        .map_err(|e| Problem::new(Kind::UnknownMessage, format!("`{text}` is {e}.")))
}

/// `?max=&service=&state=&from=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// At most so many, 100 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    max: Option<usize>,
    /// Only of this service.
    service: Option<String>,
    /// Only in this state, or `open`, all without an outcome, or `settled`, all with one.
    state: Option<String>,
    /// Where a list goes on, as the `Link` header of the one before says.
    from: Option<u32>,
}

/// `GET /v1/messages?max=&service=&state=&from=`. If there may be more, a `Link` header with `rel="next"` says where.
#[utoipa::path(
    get,
    path = "/v1/messages",
    tag = "messages",
    summary = "List messages",
    params(ListQuery),
    responses((status = 200, description = "Messages, and outcomes that wait to be collected; a program sees its own.", body = Vec<MessageInfo>,
        headers(("Link" = String, description = "If there may be more: where, with `rel=\"next\"`.")))),
)]
pub(super) async fn list(
    Acting(handle): Acting,
    With(ListQuery {
        max,
        service,
        state,
        from,
    }): With<ListQuery>,
) -> Result<Response, Problem> {
    let max = max.unwrap_or(LIST_DEFAULT);
    if !(1..=LIST_MAX).contains(&max) {
        return Err(Problem::new(
            Kind::BadRequest,
            format!("`max` is from 1 to {LIST_MAX}."),
        ));
    }
    if let Some(service) = &service {
        name("service", service)?;
    }
    if let Some(state) = &state
        && !STATES.contains(&state.as_str())
    {
        let detail = format!("`state` is one of {}.", STATES.join(", "));
        return Err(Problem::new(Kind::BadRequest, detail));
    }
    let wanted = Wanted { service, state };
    let from = Cursor::from_number(from.unwrap_or_default());
    let (found, next) = handle.messages(&wanted, max, from).await;
    let mut response = json(StatusCode::OK, &found)?;
    if let Some(next) = next {
        let part = |name: &str, value: &Option<String>| {
            let value = value.as_deref();
            // Both have been checked: no character of theirs means something in a URL.
            value.map_or_else(String::new, |value| format!("&{name}={value}"))
        };
        let (service, state) = (part("service", &wanted.service), part("state", &wanted.state));
        let link = format!(
            "</v1/messages?from={}&max={max}{service}{state}>; rel=\"next\"",
            next.number()
        );
        response
            .headers_mut()
            .extend(link.parse().map(|link| (LINK, link)));
    }
    Ok(response)
}

/// `GET /v1/messages/{id}`
#[utoipa::path(
    get,
    path = "/v1/messages/{id}",
    tag = "messages",
    summary = "Show a message",
    params(("id" = String, Path, description = "The message's id, as its submit answered it.")),
    responses((status = 200, description = "Its state.", body = MessageInfo)),
)]
pub(super) async fn show(
    Acting(handle): Acting,
    In(id): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    json(StatusCode::OK, &handle.message(message_id(&id)?).await?)
}

/// `?follow=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceQuery {
    /// Ask all nodes that it touched, which takes up to 5 s.
    #[serde(default)]
    follow: bool,
}

/// `GET /v1/messages/{id}/trace?follow=`: also of other nodes' messages that were seen here. With `follow=true` the steps
/// of all nodes that the message touched, which takes up to [`PATIENCE`](crate::follow::PATIENCE).
#[utoipa::path(
    get,
    path = "/v1/messages/{id}/trace",
    tag = "messages",
    summary = "What became of a message, step by step",
    description = "Also of messages of other nodes that were seen here.",
    params(("id" = String, Path, description = "The message's id, as its submit answered it."),
        TraceQuery),
    responses((status = 200, description = "All that is remembered of it.", body = MessageTrace)),
)]
pub(super) async fn trace(
    Acting(handle): Acting,
    In(id): In<String>,
    With(TraceQuery { follow }): With<TraceQuery>,
) -> Result<Response, Problem> {
    let id = message_id(&id)?;
    let trace = match follow {
        true => handle.follow(id).await?,
        false => handle.trace(id).await?,
    };
    json(StatusCode::OK, &trace)
}

/// `GET /v1/messages/{id}/outcome?wait=`. Never collects.
#[utoipa::path(
    get,
    path = "/v1/messages/{id}/outcome",
    tag = "messages",
    summary = "Look at an outcome",
    description = "Never collects it.",
    params(("id" = String, Path, description = "The message's id, as its submit answered it."),
        Wait),
    responses((status = 200, description = "The reply, or that it was delivered.", body = Vec<u8>, content_type = "application/octet-stream", headers(("Redlink-Message" = String, description = "The message."), ("Redlink-Outcome" = String, description = "`replied` or `delivered`."))),
        (status = 202, description = "It has no outcome yet.", body = MessageInfo),
        (status = 424, description = "The outcome is `failed`, `expired`, `dead` or `cancelled`, as `Redlink-Outcome` says.", body = Document, content_type = "application/problem+json")),
)]
pub(super) async fn outcome(
    Acting(handle): Acting,
    In(id): In<String>,
    With(wait): With<Wait>,
) -> Result<Response, Problem> {
    let id = message_id(&id)?;
    let wait = wait.get()?.unwrap_or(Duration::ZERO).min(query::WAIT_MAX);
    match handle.outcome(id, wait).await? {
        Some(settlement) => settled(settlement, None),
        // Still open: how far it is.
        None => json(StatusCode::ACCEPTED, &handle.message(id).await?),
    }
}

/// `DELETE /v1/messages/{id}/outcome`
#[utoipa::path(
    delete,
    path = "/v1/messages/{id}/outcome",
    tag = "messages",
    summary = "Collect an outcome",
    params(("id" = String, Path, description = "The message's id, as its submit answered it.")),
    responses((status = 204, description = "It is deleted, on disk too.")),
)]
pub(super) async fn collect(
    Acting(handle): Acting,
    In(id): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    handle.collect(message_id(&id)?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `DELETE /v1/messages/{id}`
#[utoipa::path(
    delete,
    path = "/v1/messages/{id}",
    tag = "messages",
    summary = "Cancel a message",
    params(("id" = String, Path, description = "The message's id, as its submit answered it.")),
    responses((status = 204, description = "Its outcome is `cancelled`, on disk.")),
)]
pub(super) async fn cancel(
    Acting(handle): Acting,
    In(id): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    handle.cancel(message_id(&id)?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
