//! Producers: submit many at once.

use super::super::options::Options;
use super::super::{Kind, Node, Problem, auth, batch, headers};
use super::submit::Addressed;
use super::{Acting, NoQuery, build};
use crate::batch::Entry;
use crate::driver::{NewMessage, Submitted};
use crate::trust::programs::Pass;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

/// Members of an entry that are no options.
const SERVICE: &str = "service";

/// `POST /v1/messages`: one result for each entry, in order; what is wrong with one leaves the rest.
#[utoipa::path(
    post,
    path = "/v1/messages",
    tag = "messages",
    summary = "Submit many messages",
    description = "An entry has the member `service`, and the settings of a message as members: `Redlink-Max-Attempts` is \
        `max_attempts`. Its payload is the member `json`, `text` or `base64`, or the entry's body. Entries are independent of \
        each other: each needs permission for its service, and is accepted or refused for itself.",
    request_body(
        content((String = "application/x-ndjson"), (Vec<u8> = "application/vnd.redlink.batch")),
        description = "At most 1,024 entries. In lines of JSON each entry is one object; in the other format it is the length of \
            a header and that of a body, 32 bits each, big-endian, a JSON object as the header, and the payload as the body."
    ),
    responses((status = 200, description = "One result for each entry, in order: id and deadline, or a problem document. A body \
        that makes no sense from some entry on has a problem of that place as its last result.",
        content((String = "application/x-ndjson"), (Vec<u8> = "application/vnd.redlink.batch")))),
)]
pub(super) async fn submit(
    State(node): State<Node>,
    Acting(handle): Acting,
    Extension(pass): Extension<Pass>,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    headers::only(&headers, &[])?;
    let mut answer = batch::Answer::new(batch::wanted(&headers)?);
    let incoming = batch::read(&handle, &headers, body).await?;
    let mut news = Vec::with_capacity(incoming.items.len());
    let mut refused = Vec::with_capacity(incoming.items.len());
    for item in incoming.items {
        let new = item
            .map_err(|fault| batch::fault(&handle, fault))
            .and_then(|entry| message(&node, &pass, entry));
        match new {
            Ok(new) => {
                news.push(new);
                refused.push(None);
            }
            Err(problem) => refused.push(Some(problem)),
        }
    }
    let mut submitted = handle.submit_many(news).await.into_iter();
    for problem in refused {
        let told = match problem {
            Some(problem) => Err(problem),
            None => match submitted.next() {
                Some(result) => result.map_err(Problem::from),
                None => Err(Problem::new(Kind::Internal, "The entry has no result.")),
            },
        };
        match told {
            Ok(submitted) => answer.add(&Accepted::of(&submitted), None)?,
            Err(problem) => answer.add(&problem.members(), None)?,
        }
    }
    if let Some(broken) = &incoming.broken {
        answer.add(&batch::broken(broken).members(), None)?;
    }
    let (head, bytes) = answer.finish();
    build(head, Body::from(bytes))
}

/// The message that an entry is, if who asks may submit it (P12).
fn message(node: &Node, pass: &Pass, entry: Entry) -> Result<NewMessage, Problem> {
    let Some(service) = entry.text(SERVICE).map(str::to_owned) else {
        let detail = "The entry says no `service`, or something else than a name.";
        return Err(Problem::new(Kind::BadEntry, detail));
    };
    auth::may_produce(pass, &service)?;
    let addressed = Addressed::check(node, pass, service, Options::Members(&entry.members), &[SERVICE])?;
    Ok(addressed.with(entry.content))
}

/// A message that is on disk.
#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Its id.
    pub(super) id: String,
    /// When it expires (RFC 3339), if it does.
    deadline: Option<String>,
}

impl Accepted {
    pub(super) fn of(submitted: &Submitted) -> Self {
        Self {
            id: submitted.id.to_string(),
            deadline: submitted.deadline.and_then(headers::format_time),
        }
    }
}
