//! What each path does.

mod backup;
mod consumers;
mod deliveries;
mod exchange;
mod flush;
mod hand_out;
mod join;
mod letters;
mod link;
mod messages;
mod metrics;
mod operate;
mod page;
mod peers;
mod producers;
mod query;
mod ready;
mod submit;
mod submit_many;
mod tokens;
mod trust;

pub(super) use exchange::Record;

use super::Node;
use super::api;
use super::auth::{self, Need};
use super::exchanges::Exchanges;
use super::problem::{Kind, Problem};
use super::query::{Nothing, With};
use crate::Content;
use crate::driver::{Handle, Refusal};
use crate::link::Polled;
use crate::metrics::RouteMeter;
use crate::trust::programs::Pass;
use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use redlink_core::{NameError, RESERVED};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};

/// One call.
pub(super) struct Route {
    /// Its method.
    pub(super) method: Method,
    /// Its path, with its parts in braces.
    pub(super) path: &'static str,
    /// Who may make it.
    pub(super) need: Need,
}

/// There is no way to add a route without saying what it needs, and none for programs and people that is not in the API's
/// document: a `documented` handler bears `#[utoipa::path]`, which says what goes in and out.
macro_rules! routes {
    (
        documented { $($need:ident $method:ident $path:literal $module:ident :: $handler:ident;)* }
        nodes { $($node_need:ident $node_method:ident $node_path:literal $node_handler:path;)* }
        page { $($page_need:ident $page_method:ident $page_path:literal $page_handler:path;)* }
    ) => {
        /// What programs and people use.
        pub(super) const DOCUMENTED: &[Route] = &[
            $(Route { method: Method::$method, path: $path, need: Need::$need },)*
        ];
        /// What nodes say to each other.
        #[cfg(test)]
        pub(super) const NODES: &[Route] = &[
            $(Route { method: Method::$node_method, path: $node_path, need: Need::$node_need },)*
        ];

        /// What browsers open.
        #[cfg(test)]
        pub(super) const PAGE: &[Route] = &[
            $(Route { method: Method::$page_method, path: $page_path, need: Need::$page_need },)*
        ];

        /// What they are said to take and answer.
        #[cfg(test)]
        pub(super) fn documented() -> utoipa::openapi::OpenApi {
            OpenApiRouter::<Node>::new()
                $(.routes(utoipa_axum::routes!($module::$handler)))*
                .into_openapi()
        }

        fn routes(node: &Node) -> OpenApiRouter<Node> {
            let check = |need| from_fn_with_state((node.clone(), need), auth::check);
            let count = |method, path| from_fn_with_state(node.web.add(method, path), counted);
            OpenApiRouter::new()
                $(.routes(utoipa_axum::routes!($module::$handler).map(|on| {
                    on.route_layer(check(Need::$need))
                        .route_layer(count(stringify!($method), $path))
                })))*
                $(.route(
                    $node_path,
                    on(MethodFilter::$node_method, $node_handler)
                        .route_layer(check(Need::$node_need))
                        .route_layer(count(stringify!($node_method), $node_path)),
                ))*
                $(.route(
                    $page_path,
                    on(MethodFilter::$page_method, $page_handler).route_layer(check(Need::$page_need)),
                ))*
        }
    };
}

routes! {
    documented {
        Produce POST "/v1/services/{service}/messages" messages::submit;
        Own GET "/v1/messages" messages::list;
        Own POST "/v1/messages" submit_many::submit;
        Own POST "/v1/producers/{producer}/outcomes" producers::outcomes;
        Own GET "/v1/messages/{id}" messages::show;
        Administer GET "/v1/messages/{id}/trace" messages::trace;
        Own DELETE "/v1/messages/{id}" messages::cancel;
        Own GET "/v1/messages/{id}/outcome" messages::outcome;
        Own DELETE "/v1/messages/{id}/outcome" messages::collect;
        Consume PUT "/v1/services/{service}/consumers/{consumer}" consumers::register;
        Consume DELETE "/v1/services/{service}/consumers/{consumer}" consumers::unregister;
        Consume POST "/v1/services/{service}/consumers/{consumer}/take" consumers::take;
        Consume POST "/v1/services/{service}/consumers/{consumer}/exchange" exchange::exchange;
        Delivery GET "/v1/deliveries/{delivery}/payload" deliveries::payload;
        Delivery POST "/v1/deliveries/{delivery}/reply" deliveries::reply;
        Delivery POST "/v1/deliveries/{delivery}/ack" deliveries::ack;
        Delivery POST "/v1/deliveries/{delivery}/fail" deliveries::fail;
        Delivery POST "/v1/deliveries/{delivery}/extend" deliveries::extend;
        Delivery POST "/v1/deliveries/{delivery}/release" deliveries::release;
        Own GET "/v1/node" operate::node;
        Administer GET "/v1/services" operate::services;
        Administer GET "/v1/consumers" operate::consumers;
        Administer GET "/v1/routes" operate::routes;
        Administer GET "/v1/dead-letters" letters::list;
        Administer DELETE "/v1/dead-letters" letters::delete_many;
        Administer POST "/v1/dead-letters/requeue" letters::requeue_many;
        Administer GET "/v1/dead-letters/{id}" letters::show;
        Administer DELETE "/v1/dead-letters/{id}" letters::delete;
        Administer GET "/v1/dead-letters/{id}/payload" letters::payload;
        Administer POST "/v1/dead-letters/{id}/requeue" letters::requeue;
        Administer POST "/v1/query" query::query;
        Administer POST "/v1/backup" backup::backup;
        Administer POST "/v1/flush" flush::flush;
        Administer GET "/v1/peers" peers::list;
        Administer POST "/v1/peers" peers::add;
        Administer PUT "/v1/peers/{name}" peers::put;
        Administer DELETE "/v1/peers/{name}" peers::remove;
        Administer POST "/v1/tokens" tokens::create;
        Administer GET "/v1/tokens" tokens::list;
        Administer DELETE "/v1/tokens/{id}" tokens::revoke;
        Administer GET "/v1/ca" trust::book;
        Administer POST "/v1/ca/revocations" trust::revoke;
        Watch GET "/metrics" metrics::metrics;
        Nothing GET "/livez" operate::live;
        Nothing GET "/readyz" ready::ready;
        Nothing GET "/healthz" ready::health;
        Nothing GET "/openapi.json" operate::openapi;
    }
    nodes {
        Peer POST "/v1/link" link::link;
        Peer POST "/v1/link/probe" link::probe;
        Peer PUT "/v1/link/sessions/{id}" link::open;
        Peer DELETE "/v1/link/sessions/{id}" link::close;
        Peer POST "/v1/link/sessions/{id}/frames" link::frames;
        Peer POST "/v1/link/sessions/{id}/poll" link::poll;
        Peer GET "/v1/link/payloads/{token}/{part}" link::payload;
        Peer PUT "/v1/link/payloads/{token}/{part}" link::payload;
        Peer GET "/v1/revocations" trust::revocations;
        Peer PUT "/v1/revocations" trust::learn;
        Nothing POST "/v1/enrol" join::enrol;
    }
    page {
        Nothing GET "/" page::page;
        Nothing GET "/page/{part}" page::part;
    }
}

/// What answers a node's requests.
pub(super) fn router(node: Node) -> Router {
    let (routes, paths) = routes(&node).split_for_parts();
    let document = api::document(paths, DOCUMENTED);
    routes
        .layer(Extension(Polled::default()))
        .layer(Extension(document))
        .layer(Extension(Exchanges::default()))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(node)
}

/// Counts a request, refused ones too.
async fn counted(State(meter): State<Arc<RouteMeter>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    meter.answered(response.status(), begun.elapsed());
    response
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
            Refusal::MemoryMessages => Kind::MemoryFull,
            Refusal::Keys => Kind::Full,
            Refusal::KeyReused => Kind::KeyReused,
            Refusal::Collected => Kind::OutcomeCollected,
            Refusal::Disk => Kind::DiskFull,
            Refusal::Memory => Kind::MemoryFull,
            Refusal::Name(_) => Kind::BadName,
            Refusal::Draining | Refusal::Stopped => Kind::Draining,
            Refusal::Unknown => Kind::UnknownMessage,
            Refusal::State => Kind::WrongState,
            Refusal::Store => Kind::StoreFailed,
            Refusal::Taken => Kind::ConsumerTaken,
            Refusal::UnknownLetter => Kind::UnknownLetter,
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

/// Checks a service's name, and that programs may use it.
fn service(text: &str) -> Result<(), Problem> {
    name("service", text)?;
    if text.starts_with(RESERVED) {
        let detail = format!(
            "`{text}` begins with `{RESERVED}`, as what nodes say among themselves; choose another name."
        );
        return Err(Problem::new(Kind::Reserved, detail));
    }
    Ok(())
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

pub(super) fn build(head: http::response::Builder, body: Body) -> Result<Response, Problem> {
    head.body(body).map_err(|e| {
        Problem::new(
            Kind::Internal,
            format!("The answer has a header that can't be: {e}."),
        )
    })
}

/// Headers of a payload. It is somebody's bytes: a browser must neither guess what they are nor run them.
pub(super) fn payload_head(status: StatusCode, content: &Content) -> http::response::Builder {
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

/// The node's handle, acting for whoever asks, as a route's need has found him.
struct Acting(Handle);

impl FromRequestParts<Node> for Acting {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, node: &Node) -> Result<Self, Problem> {
        let Extension(pass) = pass(parts).await?;
        Ok(Self(node.handle.acting_for(pass.who)))
    }
}

/// Who asks. Not there on a route that needs no program: then nobody may.
async fn pass(parts: &mut Parts) -> Result<Extension<Pass>, Problem> {
    Extension::<Pass>::from_request_parts(parts, &())
        .await
        .map_err(|_| Problem::new(Kind::Internal, "The route does not say who may use it."))
}

/// For calls without parameters.
type NoQuery = With<Nothing>;

/// Runs what waits for the disk where that holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Problem::new(Kind::Internal, "The work broke off; the node's log says why."))
}

/// What the log may know and a stranger need not: paths of files.
fn own_trouble<E: std::error::Error>(error: &E) -> Problem {
    tracing::error!(%error, "tokens or certificates can't be written");
    Problem::new(
        Kind::Internal,
        "The node can't write tokens or certificates; its log says why.",
    )
}
