//! Flush, for administrators.

use super::super::query::With;
use super::super::{Kind, Problem};
use super::{Acting, json};
use crate::driver::Flushed;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

/// Most messages that one call cancels.
const MAX: usize = 10_000;
const DEFAULT: usize = 1_000;

/// `?service=&all=&max=&dry_run=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct FlushQuery {
    /// Those for this service.
    service: Option<String>,
    /// Those of all services.
    #[serde(default)]
    all: bool,
    /// At most so many, up to 10000; 1000 if it is not said.
    max: Option<usize>,
    /// Only count them, all of them.
    #[serde(default)]
    dry_run: bool,
}

/// `POST /v1/flush?service=&all=&max=&dry_run=`
#[utoipa::path(
    post,
    path = "/v1/flush",
    tag = "messages",
    summary = "Cancel all open messages",
    description = "Of one service or of all. Each gets the outcome `cancelled`, which its producer can collect.",
    params(FlushQuery),
    responses((status = 200, description = "How many were cancelled; their outcomes are on disk.", body = Flushed)),
)]
pub(super) async fn flush(
    Acting(handle): Acting,
    With(FlushQuery {
        service,
        all,
        max,
        dry_run,
    }): With<FlushQuery>,
) -> Result<Response, Problem> {
    if service.is_none() && !all {
        return Err(Problem::new(
            Kind::BadRequest,
            "Say which: `service=NAME`, or `all=true` for the messages of all services.",
        ));
    }
    if let Some(service) = &service {
        super::service(service)?;
    }
    let max = max.unwrap_or(DEFAULT);
    if !(1..=MAX).contains(&max) {
        return Err(Problem::new(
            Kind::BadRequest,
            format!("`max` is from 1 to {MAX}."),
        ));
    }
    json(
        StatusCode::OK,
        &handle.flush(max, service.as_deref(), dry_run).await?,
    )
}
