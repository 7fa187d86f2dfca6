//! Path and query parameters, and JSON bodies, with problems for errors.

use super::headers;
use super::problem::{Kind, Problem};
use axum::extract::{FromRequestParts, Path, Query};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use utoipa::IntoParams;

/// Longest that one request may wait.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// The parts of the path.
pub(super) struct In<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for In<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(found)) => Ok(Self(found)),
            Err(e) => Err(Problem::new(
                Kind::BadRequest,
                format!("The path: {}.", e.body_text()),
            )),
        }
    }
}

/// The query. Its type refuses what it does not know.
pub(super) struct With<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for With<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(found)) => Ok(Self(found)),
            Err(e) => Err(Problem::new(
                Kind::BadRequest,
                format!("The query: {}.", e.body_text()),
            )),
        }
    }
}

/// No parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// `?wait=`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    /// How long to wait for an outcome: a duration such as `30s`, at most `1h`.
    #[param(example = "30s")]
    wait: Option<String>,
}

impl Wait {
    /// How long to wait, if the request says.
    pub(super) fn get(&self) -> Result<Option<Duration>, Problem> {
        self.wait.as_deref().map(wait).transpose()
    }
}

/// A `wait` parameter's value.
pub(super) fn wait(text: &str) -> Result<Duration, Problem> {
    let bad = |why: &str| Problem::new(Kind::BadRequest, format!("`wait={text}` is not possible: {why}."));
    let wait = headers::parse_duration(text).map_err(|e| bad(&e.to_string()))?;
    if wait > WAIT_MAX {
        return Err(bad("at most 1h; ask again when it is over"));
    }
    Ok(wait)
}

/// A JSON body; an empty one is `{}`.
pub(super) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return serde_json::from_slice(b"{}")
            .map_err(|e| Problem::new(Kind::BadRequest, format!("The body is empty: {e}.")));
    }
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim();
    // What curl says of every body that it is told nothing about is no statement.
    let unsaid = media.is_empty() || media == "application/x-www-form-urlencoded";
    if !unsaid && !media.eq_ignore_ascii_case("application/json") {
        let detail = format!("The body is said to be `{given}`; this call takes application/json.");
        return Err(Problem::new(Kind::UnsupportedType, detail));
    }
    serde_json::from_slice(body).map_err(|e| Problem::new(Kind::BadRequest, format!("The body's JSON: {e}.")))
}
