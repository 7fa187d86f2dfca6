//! The web page. All of it is in the program, and none of it is anybody's data: that the page asks for, with a token.

use super::super::page::{self, Part};
use super::super::query::In;
use super::super::{Kind, Problem};
use super::{build, empty};
use axum::body::Body;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

/// What the page may do: use its own parts and ask its own node. Texts can't become markup there (trusted types).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// `GET /`
pub(super) async fn page(headers: HeaderMap) -> Result<Response, Problem> {
    answer(&page::INDEX, &headers)
}

/// `GET /page/{part}`
pub(super) async fn part(In(name): In<String>, headers: HeaderMap) -> Result<Response, Problem> {
    match page::part(&name) {
        Some(part) => answer(part, &headers),
        None => Err(Problem::new(
            Kind::NoSuchRoute,
            format!("The page has no part `{name}`; it begins at `/`."),
        )),
    }
}

fn answer(part: &Part, headers: &HeaderMap) -> Result<Response, Problem> {
    let tag = part.tag();
    let known = headers.get_all(IF_NONE_MATCH).iter();
    let known = known.filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(','));
    // Compared weakly, as a GET does (RFC 9110, 13.1.2).
    let fresh = known.any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == tag);
    let mut response = match fresh {
        true => empty(StatusCode::NOT_MODIFIED),
        false => build(
            Response::builder().header(CONTENT_TYPE, part.media),
            Body::from(part.bytes),
        )?,
    };
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(tag).map(|tag| (ETAG, tag)));
    for (name, value) in [
        // Asked for again each time, and mostly not sent: the parts of two versions must not mix.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            http::HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            http::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
