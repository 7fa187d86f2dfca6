//! Tokens: made, listed, revoked.

use super::super::query::{In, json as from_json};
use super::super::{Kind, Node, Problem, body, headers};
use super::{NoQuery, bad_name, blocking, empty, join, json, own_trouble, sentence};
use crate::trust::programs::{Permissions, ProgramTokenError, ProgramTokenInfo};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use redlink_core::Name;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;
use utoipa::ToSchema;

/// Body of `POST /v1/tokens` for a program.
#[derive(Deserialize, ToSchema)]
#[schema(as = ProgramTokenWish)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// The program's name.
    program: String,
    /// Patterns of services that it may submit to.
    #[serde(default)]
    produce: Vec<String>,
    /// Patterns of services that it may consume.
    #[serde(default)]
    consume: Vec<String>,
    /// It may read the node's metrics.
    #[serde(default)]
    watch: bool,
    /// It may do everything at this node.
    #[serde(default)]
    administer: bool,
    /// How long it counts; for ever unless said.
    ttl: Option<String>,
}

/// What is told about a token.
#[derive(Serialize, ToSchema)]
#[schema(as = ProgramToken)]
struct Told {
    id: String,
    #[schema(value_type = String)]
    program: Name,
    #[serde(flatten)]
    permissions: Permissions,
    created: Option<String>,
    expires: Option<String>,
    last_used: Option<String>,
}

impl From<ProgramTokenInfo> for Told {
    fn from(info: ProgramTokenInfo) -> Self {
        Self {
            id: info.id,
            program: info.program,
            permissions: Permissions::clone(&info.permissions),
            created: headers::format_time(info.created),
            expires: info.expires.and_then(headers::format_time),
            last_used: info.last_used.and_then(headers::format_time),
        }
    }
}

/// `POST /v1/tokens`: for a program if the body names one, else for a node to join with.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    tag = "trust",
    summary = "Make a token",
    description = "For a program if the body names one, else for a node to join with.",
    request_body(content = TokenWish, content_type = "application/json"),
    responses((status = 201, description = "It is told once.", body = TokenMade)),
)]
pub(super) async fn create(
    State(node): State<Node>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    struct Whose {
        program: Option<serde_json::Value>,
    }
    headers::only(&headers, &[])?;
    let body = body::small(body).await?;
    let whose: Whose = from_json(&headers, &body)?;
    match whose.program {
        Some(_) => program(node, from_json(&headers, &body)?).await,
        None => join::token(node, &headers, &body).await,
    }
}

/// A program's token, with its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = NewProgramToken)]
struct New {
    token: String,
    #[serde(flatten)]
    told: Told,
}

/// For a program, or for a node.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it says what either body looks like")]
enum TokenWish {
    Program(Wish),
    Node(join::Wish),
}

/// A token, with its secret.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it says what either answer looks like")]
enum TokenMade {
    Program(New),
    Node(join::Token),
}

async fn program(node: Node, wish: Wish) -> Result<Response, Problem> {
    let Wish {
        program,
        produce,
        consume,
        watch,
        administer,
        ttl,
    } = wish;
    let program = Name::new(&program).map_err(|e| bad_name("program", e))?;
    let permissions = serde_json::json!({
        "produce": produce, "consume": consume, "watch": watch, "administer": administer,
    });
    let permissions: Permissions = serde_json::from_value(permissions)
        .map_err(|e| Problem::new(Kind::BadRequest, sentence(&e.to_string())))?;
    let ttl = ttl.as_deref().map(headers::parse_duration).transpose();
    let ttl = ttl.map_err(|e| Problem::new(Kind::BadRequest, format!("`ttl`: {e}.")))?;
    let programs = node.programs;
    let made = blocking(move || {
        programs
            .tokens
            .create(&program, permissions, ttl, SystemTime::now())
    })
    .await?;
    let made = made.map_err(|e| match e {
        ProgramTokenError::Ttl | ProgramTokenError::Nothing => {
            Problem::new(Kind::BadRequest, sentence(&e.to_string()))
        }
        ProgramTokenError::Full => Problem::new(Kind::Full, sentence(&e.to_string())),
        ProgramTokenError::File(_) | ProgramTokenError::Random(_) => own_trouble(&e),
    })?;
    tracing::info!(program = %made.info.program, id = made.info.id, "made a program's token");
    let new = New {
        token: made.token.to_string(),
        told: made.info.into(),
    };
    json(StatusCode::CREATED, &new)
}

/// `GET /v1/tokens`: the programs'. No secret is in it.
#[utoipa::path(
    get,
    path = "/v1/tokens",
    tag = "trust",
    summary = "List programs' tokens",
    responses((status = 200, description = "Without their secrets.", body = Vec<Told>)),
)]
pub(super) async fn list(State(node): State<Node>, _: NoQuery) -> Result<Response, Problem> {
    let all: Vec<Told> = node.programs.tokens.list().into_iter().map(Told::from).collect();
    json(StatusCode::OK, &all)
}

/// `DELETE /v1/tokens/{id}`
#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    tag = "trust",
    summary = "Revoke a program's token",
    params(("id" = String, Path, description = "Its id, not the token.")),
    responses((status = 204, description = "It opens nothing any more, here and now.")),
)]
pub(super) async fn revoke(
    State(node): State<Node>,
    In(id): In<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let programs = node.programs;
    let of = id.clone();
    let revoked = blocking(move || programs.tokens.revoke(&of)).await?;
    if !revoked.map_err(|e| own_trouble(&e))? {
        let detail = "There is no token of this id; `redlink token list` shows them.";
        return Err(Problem::new(Kind::UnknownToken, detail));
    }
    tracing::info!(id, "revoked a program's token");
    Ok(empty(StatusCode::NO_CONTENT))
}
