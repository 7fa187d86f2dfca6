//! Letting other nodes in.

use super::super::query::json as from_json;
use super::super::{Kind, Node, Problem, body, headers};
use super::{NoQuery, blocking, json, own_trouble, sentence};
use crate::trust::{Authority, AuthorityError, EnrolError, EnrolRequest, TOKEN_TTL_DEFAULT, TokenError};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Body of `POST /v1/tokens` for a node.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    ttl: Option<String>,
}

#[derive(Serialize)]
struct Token {
    token: String,
    expires: Option<String>,
}

fn authority(node: &Node) -> Result<Arc<Authority>, Problem> {
    node.identity.authority.clone().ok_or_else(|| {
        Problem::new(
            Kind::NoAuthority,
            "Only the node that made the mesh lets others join: ask that one.",
        )
    })
}

/// `POST /v1/tokens` for a node.
pub(super) async fn token(node: Node, headers: &HeaderMap, body: &[u8]) -> Result<Response, Problem> {
    let authority = authority(&node)?;
    let wish: Wish = from_json(headers, body)?;
    let ttl = match wish.ttl {
        None => TOKEN_TTL_DEFAULT,
        Some(text) => headers::parse_duration(&text)
            .map_err(|e| Problem::new(Kind::BadRequest, format!("`ttl`: {e}.")))?,
    };
    let made = blocking(move || authority.new_token(ttl)).await?;
    let new = made.map_err(|e| match e {
        TokenError::Ttl => Problem::new(Kind::BadRequest, sentence(&e.to_string())),
        TokenError::Full => Problem::new(Kind::Full, sentence(&e.to_string())),
        TokenError::File(_) | TokenError::Random(_) => own_trouble(&e),
    })?;
    let expires = headers::format_time(UNIX_EPOCH + Duration::from_secs(new.expires));
    json(
        StatusCode::CREATED,
        &Token {
            token: new.token,
            expires,
        },
    )
}

/// `POST /v1/enrol`. Open to everybody: the token in it is what counts, and is looked at before anything else.
pub(super) async fn enrol(
    State(node): State<Node>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let authority = authority(&node)?;
    let request: EnrolRequest = from_json(&headers, &body::small(body).await?)?;
    let enrolled = blocking(move || authority.enrol(&request)).await?;
    let enrolled = enrolled.map_err(|e| match &e {
        EnrolError::Token(_) => Problem::new(Kind::TokenRefused, sentence(&e.to_string())),
        EnrolError::Name(_) => Problem::new(Kind::BadName, sentence(&e.to_string())),
        EnrolError::Taken(_) => Problem::new(Kind::NameTaken, sentence(&e.to_string())),
        EnrolError::Host(_) | EnrolError::Request(_) => {
            Problem::new(Kind::BadRequest, sentence(&e.to_string()))
        }
        EnrolError::Authority(trouble) => own_trouble::<AuthorityError>(trouble),
    })?;
    json(StatusCode::OK, &enrolled)
}
