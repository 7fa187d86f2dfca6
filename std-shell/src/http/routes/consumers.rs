//! Consumers: come, go, take.

use super::super::exchanges::Exchanges;
use super::super::query::{self, In, With};
use super::super::{Kind, Node, Problem, batch, body, headers};
use super::hand_out::{self, Pending, Told};
use super::{Acting, NoQuery, bad_name, build, empty, name};
use crate::batch::{ANSWER_MAX, ENTRIES_MAX, PAYLOAD_MAX};
use crate::driver::Refusal;
use crate::trust::programs::Pass;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use redlink_core::{BadRate, Name, Rate};
use serde::Deserialize;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

const LIMIT: u16 = 1;
const LEASE_DEFAULT: Duration = Duration::from_secs(30);
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(86_400);

/// A consumer's limits.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Registration {
    /// In-transit limit: how many messages it may hold at once.
    #[schema(minimum = 1, default = 1)]
    limit: Option<u16>,
    /// How long a delivery holds without a sign of life, from 1s to 1d.
    #[schema(default = "30s", example = "30s")]
    lease: Option<String>,
    /// How many messages it gets at most in a second, minute, hour or day: a number from 1 to 1000000, and s, m, h or d. What
    /// it does not use adds up to one period's worth, so it may have that many at once; a newly registered consumer begins
    /// with one.
    #[schema(example = "100/s")]
    rate: Option<String>,
}

pub(super) fn names((service, consumer): &(String, String)) -> Result<(), Problem> {
    super::service(service)?;
    name("consumer", consumer)
}

pub(super) fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Unknown => Problem::new(
            Kind::UnknownConsumer,
            "No such consumer is registered for this service.",
        ),
        other => other.into(),
    }
}

/// `PUT /v1/services/{service}/consumers/{consumer}`
#[utoipa::path(
    put,
    path = "/v1/services/{service}/consumers/{consumer}",
    tag = "consumers",
    summary = "Register a consumer, or change its limits",
    description = "Programs that use the same name share its limits.",
    params(("service" = String, Path, description = "What it offers."),
        ("consumer" = String, Path, description = "Its name, unique for the service at this node.")),
    request_body(content = Registration, description = "What is left out is the default.", content_type = "application/json"),
    responses((status = 204, description = "It is registered.")),
)]
pub(super) async fn register(
    Acting(handle): Acting,
    In(path): In<(String, String)>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    names(&path)?;
    headers::only(&headers, &[])?;
    let Registration { limit, lease, rate } = query::json(&headers, &body::small(body).await?)?;
    let limit = limit.unwrap_or(LIMIT);
    if limit == 0 {
        return Err(Problem::new(Kind::BadRequest, "`limit` is from 1 to 65535."));
    }
    let bad = || {
        let (least, most) = (
            headers::format_duration(LEASE_MIN),
            headers::format_duration(LEASE_MAX),
        );
        Problem::new(
            Kind::BadRequest,
            format!("`lease` is a duration from {least} to {most}, such as \"30s\"."),
        )
    };
    let lease = match lease {
        None => LEASE_DEFAULT,
        Some(text) => headers::parse_duration(&text).map_err(|_| bad())?,
    };
    if lease < LEASE_MIN || lease > LEASE_MAX {
        return Err(bad());
    }
    let rate: Option<Rate> = rate
        .map(|text| text.parse())
        .transpose()
        .map_err(|bad: BadRate| Problem::new(Kind::BadRequest, format!("`rate`: {bad}.")))?;
    let (service, consumer) = path;
    handle
        .register(service, consumer, limit, lease, rate)
        .await
        .map_err(refused)?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `DELETE /v1/services/{service}/consumers/{consumer}`
#[utoipa::path(
    delete,
    path = "/v1/services/{service}/consumers/{consumer}",
    tag = "consumers",
    summary = "A consumer leaves",
    params(("service" = String, Path, description = "What it offers."),
        ("consumer" = String, Path, description = "Its name, unique for the service at this node.")),
    responses((status = 204, description = "It is gone; what it held is offered again.")),
)]
pub(super) async fn unregister(
    Acting(handle): Acting,
    Extension(exchanges): Extension<Exchanges>,
    In(path): In<(String, String)>,
    _: NoQuery,
) -> Result<Response, Problem> {
    names(&path)?;
    let (service, consumer) = path;
    handle
        .unregister(service.clone(), consumer.clone())
        .await
        .map_err(refused)?;
    exchanges.forget(&service, &consumer);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `?max=&wait=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TakeQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1024, default = 1)]
    max: Option<u16>,
    /// How long to wait for one: a duration such as `30s`, at most `1h`.
    #[param(example = "30s")]
    wait: Option<String>,
}

/// `POST …/take?max=&wait=`
///
/// The future is dropped when the client goes; the driver then ends the take and releases what it had found. From its
/// return on, the answer's body is responsible for that.
#[utoipa::path(
    post,
    path = "/v1/services/{service}/consumers/{consumer}/take",
    tag = "consumers",
    summary = "Take messages",
    description = "Long poll. Whoever goes away before the answer has not had the message. An unknown consumer is registered with the defaults. With `max` over 1, or a batch named in `Accept`, the answer is a batch, whose payloads over 64 KiB are linked by `payload`.",
    params(("service" = String, Path, description = "What it offers."),
        ("consumer" = String, Path, description = "Its name, unique for the service at this node."),
        TakeQuery),
    responses((status = 200, description = "A message's payload, as it was submitted.", body = Vec<u8>, content_type = "application/octet-stream", headers(("Redlink-Delivery" = String, description = "Path to answer at."), ("Redlink-Message" = String, description = "The message."), ("Redlink-Attempt" = String, description = "Number of the attempt, from 1."), ("Redlink-Priority" = String, description = "0 to 255, higher first."), ("Redlink-Lease" = String, description = "How long the delivery holds without a sign of life."), ("Redlink-Send-Only" = String, description = "`true`: an ack is wanted, not a reply."), ("Redlink-Deadline" = String, description = "When it expires (RFC 3339), if it does."))),
        (status = 204, description = "There was none in time.")),
)]
pub(super) async fn take(
    State(node): State<Node>,
    Acting(handle): Acting,
    Extension(pass): Extension<Pass>,
    In(path): In<(String, String)>,
    With(TakeQuery { max, wait }): With<TakeQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    names(&path)?;
    headers::only(&headers, &[])?;
    // Read, too, because a client that goes is seen only behind its request's end.
    if !body::small(body).await?.is_empty() {
        return Err(Problem::new(
            Kind::BadRequest,
            "A take has no body; its parameters are in the query.",
        ));
    }
    let max = max.unwrap_or(1);
    if !(1..=ENTRIES_MAX).contains(&usize::from(max)) {
        let detail = format!("`max` is from 1 to {ENTRIES_MAX}.");
        return Err(Problem::new(Kind::BadRequest, detail));
    }
    let format = match max {
        1 => batch::named(&headers),
        _ => Some(batch::wanted(&headers)?),
    };
    let wait = wait.as_deref().map_or(Ok(Duration::ZERO), query::wait)?;
    let (service, consumer) = path;
    let name = Name::new(&service).map_err(|e| bad_name("service", e))?;
    let told = |delivery: &_| Told::of(delivery, &node, &name, &pass.who.owner);
    let Some(format) = format else {
        let mut deliveries = handle.take(service, consumer, 1, wait).await.map_err(refused)?;
        return match deliveries.pop() {
            Some(delivery) => {
                let told = told(&delivery);
                hand_out::one(&handle, delivery, &told)
            }
            None => Ok(empty(StatusCode::NO_CONTENT)),
        };
    };
    let room = (PAYLOAD_MAX, ANSWER_MAX);
    let taken = handle.take_many(service, consumer, max, wait, room).await;
    let deliveries = taken.map_err(refused)?;
    if deliveries.is_empty() {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let mut pending = Pending::new(&handle);
    for delivery in &deliveries {
        // Whatever goes wrong from here on, they go back.
        pending.add(delivery.token, usize::MAX);
    }
    let mut answer = batch::Answer::new(format);
    let mut ends = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        told(&delivery).add_to(&mut answer, &delivery.content, delivery.long)?;
        ends.push((delivery.token, answer.len()));
    }
    pending.ends(ends);
    let (head, bytes) = answer.finish();
    build(head, pending.body(bytes))
}
