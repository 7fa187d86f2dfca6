//! Dead letters, for administrators: look, put back, delete.

use super::super::api::TermHeaders;
use super::super::body::{self, Payload};
use super::super::headers;
use super::super::options::Options;
use super::super::query::{In, With};
use super::super::{Kind, Node, Problem};
use super::messages::{accepted, message_id};
use super::submit_many::Accepted;
use super::{Acting, NoQuery, build, empty, json, payload_head};
use crate::driver::{DeadLetterInfo, Passed, Requeue};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

/// Most dead letters that one call shows, requeues or deletes.
const MAX: usize = 1_000;
const DEFAULT: usize = 100;

fn bounded(max: Option<usize>) -> Result<usize, Problem> {
    let max = max.unwrap_or(DEFAULT);
    match (1..=MAX).contains(&max) {
        true => Ok(max),
        false => Err(Problem::new(
            Kind::BadRequest,
            format!("`max` is from 1 to {MAX}."),
        )),
    }
}

/// `?service=&max=&after=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only those for this service.
    service: Option<String>,
    /// At most so many, up to 1000; 100 if it is not said.
    max: Option<usize>,
    /// Only those that are older than the one with this place.
    after: Option<u64>,
}

/// `GET /v1/dead-letters?service=&max=&after=`: the youngest first; `after` is the `place` of the last one that was seen.
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    tag = "dead letters",
    summary = "List dead letters",
    description = "Messages whose attempts were used up, and send-only ones that a consumer failed. A page that is shorter than `max` is the last one.",
    params(ListQuery),
    responses((status = 200, description = "The youngest first.", body = Vec<DeadLetterInfo>)),
)]
pub(super) async fn list(
    Acting(handle): Acting,
    With(ListQuery { service, max, after }): With<ListQuery>,
) -> Result<Response, Problem> {
    let max = bounded(max)?;
    if let Some(service) = &service {
        super::name("service", service)?;
    }
    json(
        StatusCode::OK,
        &handle.dead_letters(max, service.as_deref(), after).await?,
    )
}

/// `GET /v1/dead-letters/{id}`
#[utoipa::path(
    get,
    path = "/v1/dead-letters/{id}",
    tag = "dead letters",
    summary = "Show a dead letter",
    params(("id" = String, Path, description = "The id of the message that it was.")),
    responses((status = 200, description = "What it was, and what became of it.", body = DeadLetterInfo)),
)]
pub(super) async fn show(
    Acting(handle): Acting,
    In(id): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    json(StatusCode::OK, &handle.dead_letter(message_id(&id)?).await?)
}

/// `GET /v1/dead-letters/{id}/payload`
#[utoipa::path(
    get,
    path = "/v1/dead-letters/{id}/payload",
    tag = "dead letters",
    summary = "A dead letter's payload",
    params(("id" = String, Path, description = "The id of the message that it was.")),
    responses((status = 200, description = "As it was submitted.", body = Vec<u8>, content_type = "application/octet-stream")),
)]
pub(super) async fn payload(
    Acting(handle): Acting,
    In(id): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let content = handle.dead_letter_payload(message_id(&id)?).await?;
    let head = payload_head(StatusCode::OK, &content);
    build(head, Body::from(content.bytes))
}

/// `DELETE /v1/dead-letters/{id}`
#[utoipa::path(
    delete,
    path = "/v1/dead-letters/{id}",
    tag = "dead letters",
    summary = "Delete a dead letter",
    params(("id" = String, Path, description = "The id of the message that it was.")),
    responses((status = 204, description = "It is deleted, on disk too.")),
)]
pub(super) async fn delete(
    Acting(handle): Acting,
    In(id): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    handle.delete_dead_letter(message_id(&id)?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `?service=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RequeueQuery {
    /// For this service instead of the one before.
    service: Option<String>,
}

/// `POST /v1/dead-letters/{id}/requeue?service=`: a body takes the place of the payload, headers that of the settings.
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{id}/requeue",
    tag = "dead letters",
    summary = "Make a message of a dead letter again",
    description = "Settings that are not said are those that it had; its ETT and its attempts begin anew.",
    params(("id" = String, Path, description = "The id of the message that it was."), RequeueQuery, TermHeaders),
    request_body(content = Vec<u8>, description = "A payload in place of the old one. Without a body and without a content type that stays.", content_type = "application/octet-stream"),
    responses((status = 202, description = "The new message is on disk, and the letter is gone.", body = Accepted, headers(("Location" = String, description = "Path of the message.")))),
)]
pub(super) async fn requeue(
    State(node): State<Node>,
    Acting(handle): Acting,
    In(id): In<String>,
    With(RequeueQuery { service }): With<RequeueQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let id = message_id(&id)?;
    if let Some(service) = &service {
        super::service(service)?;
    }
    let letter = handle.stored_letter(id).await?;
    let options = Options::Headers(&headers);
    let mut terms = headers::terms_over(options, &[], &letter.terms)?;
    // A letter may be of a time when the node had an address for others.
    terms.direct &= node.advertises;
    let alternate = headers::alternate(options)?;
    if let Some(alternate) = &alternate {
        super::service(&alternate.service)?;
        let own = service.as_deref().unwrap_or(&letter.service);
        if *alternate.service == *own {
            return Err(Problem::new(
                Kind::BadHeader,
                format!("The alternate service of a message for `{own}` must be another one."),
            ));
        }
    }
    let Payload { content, _room } = body::payload(&handle, &headers, body).await?;
    let how = Requeue {
        service,
        terms: Some(terms),
        alternate,
        content: (!content.bytes.is_empty() || says_type(&headers)).then_some(content),
    };
    accepted(&handle.requeue(id, how).await?)
}

/// Whether the body is said to be something, so that one of no bytes is meant as a payload. What curl says of every body
/// that it is told nothing about is no statement.
fn says_type(headers: &HeaderMap) -> bool {
    let said = headers.get(CONTENT_TYPE);
    said.is_some_and(|said| said != "application/x-www-form-urlencoded")
}

/// `?service=&all=&max=&until=&to=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ManyQuery {
    /// Those for this service.
    service: Option<String>,
    /// Those of all services.
    #[serde(default)]
    all: bool,
    /// At most so many, up to 1000; 100 if it is not said.
    max: Option<usize>,
    /// Up to this place, as the call before answered it.
    until: Option<u64>,
    /// When requeueing: for this service instead of the one before.
    to: Option<String>,
}

impl ManyQuery {
    /// One of both has to be said, so that a forgotten filter does not mean everything.
    fn check(&self) -> Result<usize, Problem> {
        if self.service.is_none() && !self.all {
            return Err(Problem::new(
                Kind::BadRequest,
                "Say which: `service=NAME`, or `all=true` for those of all services.",
            ));
        }
        if let Some(service) = &self.service {
            super::name("service", service)?;
        }
        if let Some(to) = &self.to {
            super::service(to)?;
        }
        bounded(self.max)
    }
}

/// `POST /v1/dead-letters/requeue?service=&all=&max=&until=&to=`
#[utoipa::path(
    post,
    path = "/v1/dead-letters/requeue",
    tag = "dead letters",
    summary = "Requeue many dead letters",
    description = "The oldest first, as they were.",
    params(ManyQuery),
    responses((status = 200, description = "How many were requeued.", body = Passed)),
)]
pub(super) async fn requeue_many(
    Acting(handle): Acting,
    With(query): With<ManyQuery>,
) -> Result<Response, Problem> {
    let max = query.check()?;
    let (service, to) = (query.service.as_deref(), query.to.as_deref());
    let passed = handle.requeue_dead_letters(max, service, query.until, to).await?;
    json(StatusCode::OK, &passed)
}

/// `DELETE /v1/dead-letters?service=&all=&max=&until=`
#[utoipa::path(
    delete,
    path = "/v1/dead-letters",
    tag = "dead letters",
    summary = "Delete many dead letters",
    description = "The oldest first.",
    params(ManyQuery),
    responses((status = 200, description = "How many were deleted.", body = Passed)),
)]
pub(super) async fn delete_many(
    Acting(handle): Acting,
    With(query): With<ManyQuery>,
) -> Result<Response, Problem> {
    let max = query.check()?;
    if query.to.is_some() {
        return Err(Problem::new(Kind::BadRequest, "`to` is for requeueing."));
    }
    let service = query.service.as_deref();
    json(
        StatusCode::OK,
        &handle.delete_dead_letters(max, service, query.until).await?,
    )
}
