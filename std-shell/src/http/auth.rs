//! Who asks, and whether that is enough (promise P12).
//!
//! Every route says what it [`Need`]s, and nothing of a request's body is read before that is met. The administrator's
//! token opens what programs and people use; a program's token or certificate opens what it has permission for; a node's
//! certificate opens what links use, and that only: a peer may bring its mesh's messages, and has no say here.

use super::Node;
use super::problem::{Kind, Problem};
use super::query::In;
use crate::link::Chain;
use crate::trust::programs::{Certified, Opened, PREFIX, Pass, Permissions, ProgramTokenRefused, Seals};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use redlink_core::{GrantToken, Name};
use std::collections::HashMap;
use std::time::SystemTime;

/// The node on the other end of the connection, as its certificate proves; in every request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Peer(pub(super) Option<Name>);

/// The certificates that the other end of the connection showed, its own first; none: no certificate. In every request's
/// extensions.
#[derive(Debug, Clone)]
pub(super) struct Showed(pub(super) Chain);

/// The program on the other end of the connection, as its certificate proves; in every request's extensions.
#[derive(Debug, Clone)]
pub(super) struct ProgramPeer(pub(super) Option<Certified>);

/// What a route wants of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Permission to produce to the `{service}` of the path.
    Produce,
    /// Permission to consume from the `{service}` of the path.
    Consume,
    /// That the `{delivery}` of the path was handed to him, and permission to consume from its service still. The
    /// [`GrantToken`] is in the request's extensions then.
    Delivery,
    /// To be a program, any, or the administrator; the driver shows each what is its own.
    Own,
    /// To be an administrator, or a program that may watch.
    Watch,
    /// To be an administrator.
    Administer,
    /// To be a node of the mesh.
    Peer,
    /// Nothing.
    Nothing,
}

/// Lets pass whoever may, for as long as he may. A [`Pass`] is in the request's extensions then, except of routes for
/// nodes and for everybody.
pub(super) async fn check(
    State((node, need)): State<(Node, Need)>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    match need {
        Need::Nothing => return Ok(next.run(request).await),
        Need::Peer => {
            return match peer(request.extensions()) {
                Some(_) => Ok(next.run(request).await),
                None => Err(Problem::new(
                    Kind::Unauthorized,
                    "This is for nodes of the mesh: show a node's certificate in the TLS handshake.",
                )),
            };
        }
        Need::Produce | Need::Consume | Need::Delivery | Need::Own | Need::Watch | Need::Administer => {}
    }
    let (mut parts, body) = request.into_parts();
    let pass = admit(&node, &parts)?;
    permitted(&node, need, &pass, &mut parts).await?;
    parts.extensions.insert(pass.clone());
    let answer = next.run(Request::from_parts(parts, body));
    tokio::select! {
        biased;
        answer = answer => Ok(answer),
        // Whoever waits here has no business here any more. What was under way may have happened.
        why = pass.over() => Err(refused(why)),
    }
}

/// Finds out who asks. What is in the request counts before what is in the connection.
fn admit(node: &Node, parts: &Parts) -> Result<Pass, Problem> {
    let now = SystemTime::now();
    match token(&parts.headers) {
        Some(text) if text.starts_with(PREFIX) => node.programs.tokens.check(text, now).map_err(refused),
        Some(text) if node.identity.admin.matches(text) => Ok(Pass::administrator()),
        Some(_) => Err(unauthorized("The token is wrong.")),
        None if parts.headers.contains_key(AUTHORIZATION) => Err(unauthorized(
            "The `Authorization` header is not `Bearer …` with one token.",
        )),
        None => by_certificate(node, parts, now),
    }
}

fn by_certificate(node: &Node, parts: &Parts, now: SystemTime) -> Result<Pass, Problem> {
    same_site(&parts.headers)?;
    if let Some(ProgramPeer(Some(certified))) = parts.extensions.get() {
        let Some(permissions) = node.programs.certified(&certified.name) else {
            let detail = format!(
                "The settings of this node say nothing about the program `{0}`: give it permissions in `[programs.{0}]`.",
                certified.name
            );
            return Err(Problem::new(Kind::Forbidden, detail));
        };
        if certified.until <= now {
            // A connection may live longer than the certificate that it began with.
            return Err(unauthorized("The program's certificate has ended; renew it."));
        }
        return Ok(Pass::certified(&certified.name, permissions, certified.until));
    }
    match peer(&parts.extensions) {
        Some(_) => Err(Problem::new(
            Kind::Forbidden,
            "A node's certificate opens links only; send the token of this node.",
        )),
        None => Err(unauthorized("There is no `Authorization: Bearer …` header.")),
    }
}

/// A browser shows its certificate whichever page asks. Only this node's own page may use that; a token no other page has.
fn same_site(headers: &HeaderMap) -> Result<(), Problem> {
    // Browsers send it with each request, and no page can change it. What is no browser doesn't.
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    match site {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Problem::new(
            Kind::Forbidden,
            "A page of another site asked for this, and the certificate of its reader does not count for that. Send a token.",
        )),
    }
}

async fn permitted(node: &Node, need: Need, pass: &Pass, parts: &mut Parts) -> Result<(), Problem> {
    match need {
        Need::Produce => may_produce(pass, &part(parts, "service").await?),
        Need::Consume => {
            let service = part(parts, "service").await?;
            may(pass, "consume", &service, Permissions::may_consume)
        }
        Need::Delivery => {
            let text = part(parts, "delivery").await?;
            let token = delivery(node, pass, &text)?;
            parts.extensions.insert(token);
            Ok(())
        }
        Need::Watch if !pass.permissions.administer && !pass.permissions.watch => {
            Err(lacks(pass, "watch", None))
        }
        Need::Administer if !pass.permissions.administer => Err(lacks(pass, "administer", None)),
        Need::Administer | Need::Watch | Need::Own | Need::Peer | Need::Nothing => Ok(()),
    }
}

/// The delivery of a path's last part, if it was handed to who asks, and he may consume from its service still.
pub(super) fn delivery(node: &Node, pass: &Pass, text: &str) -> Result<GrantToken, Problem> {
    let Pass { who, permissions, .. } = pass;
    let opened = Seals::read(text).ok_or_else(unknown_delivery)?;
    let Opened { token, service, .. } = &opened;
    if !permissions.administer {
        let program = who.owner.program().map(AsRef::as_ref).unwrap_or_default();
        let service = service
            .as_ref()
            .filter(|_| node.programs.seals.is_of(&opened, program));
        // Somebody else's looks like none.
        let service = service.ok_or_else(unknown_delivery)?;
        may(pass, "consume", service, Permissions::may_consume)?;
    }
    Ok(*token)
}

/// One part of the path.
async fn part(parts: &mut Parts, name: &str) -> Result<String, Problem> {
    let In(mut all) = In::<HashMap<String, String>>::from_request_parts(parts, &()).await?;
    // A route that needs it has it.
    all.remove(name)
        .ok_or_else(|| Problem::new(Kind::Internal, format!("The route has no {{{name}}}.")))
}

/// Whether who asks may produce to the service.
pub(super) fn may_produce(pass: &Pass, service: &str) -> Result<(), Problem> {
    may(pass, "produce", service, Permissions::may_produce)
}

fn may(
    pass: &Pass,
    permission: &str,
    service: &str,
    has: impl FnOnce(&Permissions, &Name) -> bool,
) -> Result<(), Problem> {
    let name = Name::new(service).map_err(|e| Problem::new(Kind::BadName, format!("The service: {e}.")))?;
    match has(&pass.permissions, &name) {
        true => Ok(()),
        false => Err(lacks(pass, permission, Some(&name))),
    }
}

/// Names the permission that is missing, and how it is given.
fn lacks(pass: &Pass, permission: &str, service: Option<&Name>) -> Problem {
    let program = pass.who.owner.program().map(AsRef::as_ref).unwrap_or_default();
    let what = match (permission, service) {
        ("produce", Some(service)) => format!("produce to `{service}`"),
        ("watch", None) => "watch this node".to_owned(),
        (_, Some(service)) => format!("consume from `{service}`"),
        (_, None) => "administer this node".to_owned(),
    };
    let of = service.map_or_else(String::new, |service| format!(" {service}"));
    let detail = format!(
        "The program `{program}` may not {what}. An administrator gives it that permission with a new token: redlink \
         token create --program {program} --{permission}{of}"
    );
    Problem::new(Kind::Forbidden, detail)
}

/// There is no delivery at this path, or none for who asks.
pub(super) fn unknown_delivery() -> Problem {
    let detail = "No such delivery: it was never handed out here, or its message is forgotten. Use the path of the \
                  `Redlink-Delivery` header as it is.";
    Problem::new(Kind::UnknownDelivery, detail)
}

fn peer(extensions: &http::Extensions) -> Option<&Name> {
    extensions.get::<Peer>()?.0.as_ref()
}

/// The one token that is shown.
fn token(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = all.next()?.to_str().ok()?.split_once(' ')?;
    // With two it is open who asks.
    let one = all.next().is_none();
    (one && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

fn refused(why: ProgramTokenRefused) -> Problem {
    let detail = match why {
        ProgramTokenRefused::Text(_) => "The token is damaged; copy the whole line again.",
        ProgramTokenRefused::Unknown => {
            "The token is not known here: it was revoked, or is another node's. An administrator of this node makes a \
             new one: redlink token create --program NAME"
        }
        ProgramTokenRefused::Expired => {
            "The token or certificate has ended. An administrator of this node makes a new one: redlink token create \
             --program NAME"
        }
    };
    Problem::new(Kind::Unauthorized, detail)
}

fn unauthorized(what: &str) -> Problem {
    let detail = format!("{what} The token is in the node's directory: curl -K .redlink/curlrc sends it.");
    Problem::new(Kind::Unauthorized, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_does_not_count_for_other_sites_pages() {
        let says = |site: Option<&'static str>| {
            let site = site.map(|site| ("sec-fetch-site".parse().unwrap(), HeaderValue::from_static(site)));
            same_site(&site.into_iter().collect()).is_ok()
        };
        assert!(says(None) && says(Some("same-origin")) && says(Some("none")));
        assert!(!says(Some("cross-site")) && !says(Some("same-site")) && !says(Some("")));
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case_and_there_is_one() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            token(&headers).map(str::to_owned)
        };
        assert_eq!(read(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(read(&["bearer  abc"]).as_deref(), Some("abc"));
        for bad in ["abc", "Basic abc", "Bearer", ""] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
        assert_eq!(read(&["Bearer abc", "Bearer abc"]), None);
    }
}
