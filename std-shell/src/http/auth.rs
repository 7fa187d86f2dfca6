//! Who asks, and whether that is enough (promise P12).
//!
//! The administrator's token opens what programs and people use. A node's certificate opens what links use, and that
//! only: a peer may bring its mesh's messages, and is no administrator of this node.

use super::Node;
use super::problem::{Kind, Problem};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use redlink_core::Name;

/// The node on the other end of the connection, as its certificate proves; in every request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Peer(pub(super) Option<Name>);

/// Lets the administrator pass.
pub(super) async fn administrator(
    State(node): State<Node>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    match token(request.headers()) {
        Some(token) if node.identity.admin.matches(token) => Ok(next.run(request).await),
        Some(_) => Err(unauthorized("The token is wrong.")),
        None if peer(&request).is_some() => Err(Problem::new(
            Kind::Forbidden,
            "A node's certificate opens links only; send the token of this node.",
        )),
        None => Err(unauthorized("There is no `Authorization: Bearer …` header.")),
    }
}

/// Lets nodes of the mesh pass.
pub(super) async fn node(request: Request, next: Next) -> Result<Response, Problem> {
    match peer(&request) {
        Some(_) => Ok(next.run(request).await),
        None => Err(Problem::new(
            Kind::Unauthorized,
            "This is for nodes of the mesh: show a node's certificate in the TLS handshake.",
        )),
    }
}

fn peer(request: &Request) -> Option<&Name> {
    request.extensions().get::<Peer>()?.0.as_ref()
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(what: &str) -> Problem {
    let detail = format!("{what} The token is in the node's directory: curl -K .redlink/curlrc sends it.");
    Problem::new(Kind::Unauthorized, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            token(&headers).map(str::to_owned)
        };
        assert_eq!(read("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(read("bearer  abc").as_deref(), Some("abc"));
        for bad in ["abc", "Basic abc", "Bearer", ""] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
