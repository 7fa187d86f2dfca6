//! Producers: all their outcomes, under a name.

use super::super::batch::{self, Answer};
use super::super::query::{self, In, With};
use super::super::{Kind, Problem, body, headers};
use super::messages::{detail, message_id, told};
use super::{Acting, build, empty, name};
use crate::batch::{ANSWER_MAX, ENTRIES_MAX, PAYLOAD_MAX};
use crate::driver::{Handle, Refusal, Settlement, Uncollected};
use crate::owner::Owner;
use crate::trust::programs::Pass;
use axum::Extension;
use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use redlink_core::MessageId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;

/// What the administrator's own messages are collected under.
const ADMINISTRATOR: &str = "administrator";
/// Outcomes of one answer, unless said otherwise.
const MAX: u16 = 64;

/// A name of an owner, unless it is his own.
pub(super) fn other_name(owner: &Owner, name: &str) -> Option<Arc<str>> {
    let own = owner.program().map_or(ADMINISTRATOR, |program| program);
    (name != own).then(|| name.into())
}

/// `?max=&wait=&program=`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OutcomesQuery {
    /// How many at most; with 0 the body is all that counts.
    #[param(minimum = 0, maximum = 1024, default = 64)]
    max: Option<u16>,
    /// How long to wait for one: a duration such as `30s`, at most `1h`.
    #[param(example = "30s")]
    wait: Option<String>,
    /// Whose name it is, for an administrator.
    program: Option<String>,
}

/// An outcome, beside the payload of its reply.
#[derive(Serialize)]
struct Entry<'a> {
    id: String,
    outcome: &'a str,
    /// What its producer wanted back, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    preserved: Option<String>,
    /// Where the payload is, and how long, if it does not come along.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    urn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// `POST /v1/producers/{name}/outcomes?max=&wait=&program=`: what the body says has been received is deleted on disk, then
/// the next are told. An outcome is told again until a later call says that it was received: so it is lost neither with
/// an answer nor with the client.
#[utoipa::path(
    post,
    path = "/v1/producers/{producer}/outcomes",
    tag = "messages",
    summary = "Take outcomes in batches, and collect those that were received",
    description = "Outcomes under a name, those of the oldest messages first. A message is under the name that its \
        `Redlink-Producer` says, or else under the name of its program; the administrator's is `administrator`. Names are each \
        program's own. An outcome is told again until a later call says that it was received.",
    params(("producer" = String, Path, description = "The name."), OutcomesQuery),
    request_body(
        content((Vec<String> = "application/json"), (String = "application/x-ndjson"), (Vec<u8> = "application/vnd.redlink.batch")),
        description = "Ids of outcomes that were received, at most 1,024: a JSON array of texts, or a batch whose entries have \
            them as `id`. They are deleted on disk before the answer."
    ),
    responses(
        (status = 200, description = "An entry for each outcome: `id`, `outcome`, and the reply as its payload or the members of \
            a problem document. Contents over 64 KiB are linked by `payload`.",
            content((String = "application/x-ndjson"), (Vec<u8> = "application/vnd.redlink.batch"))),
        (status = 204, description = "There was none in time, or none was wanted."),
    ),
)]
pub(super) async fn outcomes(
    Acting(handle): Acting,
    Extension(pass): Extension<Pass>,
    In(producer): In<String>,
    With(OutcomesQuery { max, wait, program }): With<OutcomesQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    name("producer", &producer)?;
    headers::only(&headers, &[])?;
    let max = usize::from(max.unwrap_or(MAX));
    if max > ENTRIES_MAX {
        let detail = format!("`max` is from 0 to {ENTRIES_MAX}.");
        return Err(Problem::new(Kind::BadRequest, detail));
    }
    let wait = wait.as_deref().map_or(Ok(Duration::ZERO), query::wait)?;
    let owner = match program {
        None => pass.who.owner.clone(),
        Some(program) => {
            name("program", &program)?;
            let owner = Owner::Program(program.into());
            if !pass.who.may_touch(&owner) {
                let detail = "Another program's outcomes are its own; leave `program` out.";
                return Err(Problem::new(Kind::Forbidden, detail));
            }
            owner
        }
    };
    let format = batch::wanted(&headers)?;
    let collected = received(&handle, &headers, body).await?;
    for result in handle.collect_many(collected).await {
        match result {
            // Said again by a client that lost the answer.
            Ok(()) | Err(Refusal::Unknown) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    if max == 0 {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let producer = other_name(&owner, &producer);
    let room = (PAYLOAD_MAX, ANSWER_MAX);
    let found = handle.outcomes(owner, producer, max, wait, room).await?;
    if found.is_empty() {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let mut answer = Answer::new(format);
    for uncollected in found {
        add(&mut answer, uncollected)?;
    }
    let (head, bytes) = answer.finish();
    build(head, Body::from(bytes))
}

fn add(answer: &mut Answer, uncollected: Uncollected) -> Result<(), Problem> {
    let Uncollected { settlement, long } = uncollected;
    let Settlement {
        id,
        outcome,
        content,
        preserved,
    } = settlement;
    let (word, kind) = told(outcome);
    let text = match (kind, long) {
        (Some(kind), None) => Some(detail(kind, &content.bytes)),
        _ => None,
    };
    let entry = Entry {
        id: id.to_string(),
        outcome: word,
        preserved: preserved.map(|data| STANDARD.encode(data)),
        payload: long.map(|_| format!("/v1/messages/{id}/outcome")),
        size: long,
        urn: kind.map(Kind::urn),
        title: kind.map(Kind::title),
        status: kind.map(|kind| kind.status().as_u16()),
        detail: text,
    };
    answer.add(&entry, kind.is_none().then_some(&content))
}

/// The ids in the body: a JSON array of them, or a batch whose entries have them as `id`.
async fn received(handle: &Handle, headers: &HeaderMap, body: Body) -> Result<Vec<MessageId>, Problem> {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let texts: Vec<String> = match said.and_then(crate::batch::of_content_type) {
        None => match body::small(body).await? {
            none if none.is_empty() => Vec::new(),
            some => query::json(headers, &some)?,
        },
        Some(_) => {
            let incoming = batch::read(handle, headers, body).await?;
            if let Some(broken) = &incoming.broken {
                return Err(batch::broken(broken));
            }
            let ids = incoming.items.into_iter().map(|item| match item {
                Ok(entry) => entry.text("id").map(str::to_owned).ok_or_else(|| {
                    Problem::new(Kind::BadEntry, "An entry says no `id`; nothing was collected.")
                }),
                Err(fault) => Err(batch::fault(handle, fault)),
            });
            ids.collect::<Result<_, _>>()?
        }
    };
    if texts.len() > ENTRIES_MAX {
        let detail = format!("At most {ENTRIES_MAX} outcomes are collected at once.");
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    texts.iter().map(|text| message_id(text)).collect()
}
