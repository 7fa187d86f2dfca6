//! SQL, for administrators.

use super::super::{Kind, Problem, body, query as parameters};
use super::{Acting, NoQuery, json, sentence};
use crate::store::{QueryAnswer, QueryError};
use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// One SELECT, VALUES or EXPLAIN of these, of at most 16 KiB.
    #[schema(example = "SELECT service, count(*) FROM message GROUP BY service")]
    sql: String,
}

/// `POST /v1/query`
#[utoipa::path(
    post,
    path = "/v1/query",
    tag = "node",
    summary = "Ask the store in SQL",
    description = "Read-only, stopped after 5 s, at 10,000 rows or 8 MiB; one at a time.",
    request_body = Query,
    responses((status = 200, description = "The rows. Bytes are `{\"base64\": …}`.", body = QueryAnswer)),
)]
pub(super) async fn query(
    Acting(handle): Acting,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::small(body).await?;
    let Query { sql } = parameters::json(&headers, &body)?;
    match handle.query(sql).await {
        Ok(answer) => json(StatusCode::OK, &answer),
        Err(error) => {
            let kind = match error {
                QueryError::Bad(_) => Kind::BadQuery,
                QueryError::Stopped(_) => Kind::QueryStopped,
                QueryError::Busy => Kind::QueryBusy,
                QueryError::Read(_) => Kind::StoreFailed,
            };
            Err(Problem::new(kind, sentence(&error.to_string())))
        }
    }
}
