//! What each path does.

mod consumers;
mod deliveries;
mod join;
mod link;
mod messages;
mod operate;

use super::problem::{Kind, Problem};
use super::query::{Nothing, With};
use super::{Node, auth};
use crate::Content;
use crate::driver::Refusal;
use crate::link::Polled;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use redlink_core::NameError;
use serde::Serialize;

/// All routes of a node.
pub(super) fn router(node: Node) -> Router {
    let administrator = Router::new()
        .route("/v1/services/{service}/messages", post(messages::submit))
        .route("/v1/messages", get(messages::list))
        .route("/v1/messages/{id}", get(messages::show).delete(messages::cancel))
        .route(
            "/v1/messages/{id}/outcome",
            get(messages::outcome).delete(messages::collect),
        )
        .route(
            "/v1/services/{service}/consumers/{consumer}",
            put(consumers::register).delete(consumers::unregister),
        )
        .route(
            "/v1/services/{service}/consumers/{consumer}/take",
            post(consumers::take),
        )
        .route("/v1/deliveries/{delivery}/payload", get(deliveries::payload))
        .route("/v1/deliveries/{delivery}/reply", post(deliveries::reply))
        .route("/v1/deliveries/{delivery}/ack", post(deliveries::ack))
        .route("/v1/deliveries/{delivery}/fail", post(deliveries::fail))
        .route("/v1/deliveries/{delivery}/extend", post(deliveries::extend))
        .route("/v1/deliveries/{delivery}/release", post(deliveries::release))
        .route("/v1/node", get(operate::node))
        .route("/v1/services", get(operate::services))
        .route("/v1/consumers", get(operate::consumers))
        .route("/v1/peers", get(operate::peers))
        .route("/v1/tokens", post(join::token))
        .route_layer(from_fn_with_state(node.clone(), auth::administrator));
    let peers = Router::new()
        .route("/v1/link", post(link::link))
        .route("/v1/link/probe", post(link::probe))
        .route("/v1/link/sessions/{id}", put(link::open).delete(link::close))
        .route("/v1/link/sessions/{id}/frames", post(link::frames))
        .route("/v1/link/sessions/{id}/poll", post(link::poll))
        .route(
            "/v1/link/payloads/{token}/{part}",
            get(link::payload).put(link::payload),
        )
        .layer(Extension(Polled::default()))
        .route_layer(from_fn(auth::node));
    let open = Router::new()
        .route("/v1/enrol", post(join::enrol))
        .route("/livez", get(operate::live))
        .route("/readyz", get(operate::ready));
    administrator
        .merge(peers)
        .merge(open)
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(node)
}

async fn no_such_route(request: Request) -> Problem {
    let path = request.uri().path();
    Problem::new(
        Kind::NoSuchRoute,
        format!("`{path}` is no path of this API; its calls are under /v1."),
    )
}

async fn method_not_allowed(method: Method) -> Problem {
    // The router, which knows them, adds the header.
    Problem::new(
        Kind::MethodNotAllowed,
        format!("This path has no {method}; the `Allow` header says what it has."),
    )
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Full(_) => Kind::Full,
            Refusal::Memory => Kind::MemoryFull,
            Refusal::Name(_) => Kind::BadName,
            Refusal::Draining | Refusal::Stopped => Kind::Draining,
            Refusal::Unknown => Kind::UnknownMessage,
            Refusal::State => Kind::WrongState,
            Refusal::Store => Kind::StoreFailed,
            Refusal::Foreign => Kind::OtherNode,
            Refusal::TooLarge => Kind::TooLarge,
            Refusal::Zero => Kind::BadRequest,
            Refusal::Mistake => Kind::Internal,
        };
        Self::new(kind, sentence(&refusal.to_string()))
    }
}

/// A text of an error as one sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    let mut sentence: String = first.into_iter().flatten().chain(chars).collect();
    if !sentence.ends_with(['.', '?', '!']) {
        sentence.push('.');
    }
    sentence
}

fn bad_name(what: &str, error: NameError) -> Problem {
    Problem::new(Kind::BadName, format!("The {what}: {error}."))
}

/// Checks a name of the path.
fn name(what: &str, text: &str) -> Result<(), Problem> {
    redlink_core::Name::new(text)
        .map(drop)
        .map_err(|e| bad_name(what, e))
}

fn json(status: StatusCode, document: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(document).map_err(|e| {
        Problem::new(
            Kind::Internal,
            format!("The answer can't be written as JSON: {e}."),
        )
    })?;
    build(
        Response::builder()
            .status(status)
            .header(CONTENT_TYPE, "application/json"),
        Body::from(body),
    )
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn build(head: http::response::Builder, body: Body) -> Result<Response, Problem> {
    head.body(body).map_err(|e| {
        Problem::new(
            Kind::Internal,
            format!("The answer has a header that can't be: {e}."),
        )
    })
}

/// Headers of a payload. It is somebody's bytes: a browser must neither guess what they are nor run them.
fn payload_head(status: StatusCode, content: &Content) -> http::response::Builder {
    let head = Response::builder()
        .status(status)
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'");
    let said = content
        .content_type
        .as_deref()
        .and_then(|text| HeaderValue::from_str(text).ok());
    match said {
        Some(said) => head.header(CONTENT_TYPE, said),
        None => head,
    }
}

/// For calls without parameters.
type NoQuery = With<Nothing>;
