//! Deliveries on their way to their consumer: one as a raw body with headers, many as a batch.

use super::super::batch::Answer;
use super::super::body::{Handed, Sent};
use super::super::extras;
use super::super::headers::{self, ATTEMPT, DEADLINE, DELIVERY, LEASE, MESSAGE, PRIORITY, SEND_ONLY};
use super::super::{Node, Problem};
use super::{build, payload_head};
use crate::Content;
use crate::batch::ANSWER_MAX;
use crate::driver::{Delivery, Handle};
use crate::owner::Owner;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use redlink_core::{GrantToken, Name};
use serde::Serialize;
use std::time::SystemTime;

/// What paths of deliveries begin with.
pub(super) const DELIVERIES: &str = "/v1/deliveries/";

/// What a consumer is told of a delivery beside its payload.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told {
    /// The path to answer at.
    delivery: String,
    message: String,
    attempt: u32,
    priority: u8,
    lease: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    send_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    /// Where the payload is, and how long, if it does not come along.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl Told {
    /// The path works for this owner only (P12).
    pub(super) fn of(delivery: &Delivery, node: &Node, service: &Name, owner: &Owner) -> Self {
        let sealed = node.programs.seals.seal(&delivery.token, service, owner);
        let context = delivery.content.trace_context.as_deref();
        let deadline = delivery
            .remaining
            .and_then(|left| SystemTime::now().checked_add(left));
        Self {
            delivery: format!("{DELIVERIES}{sealed}"),
            message: delivery.token.message.to_string(),
            attempt: delivery.attempt,
            priority: delivery.priority,
            lease: headers::format_duration(delivery.lease),
            deadline: deadline.and_then(headers::format_time),
            send_only: delivery.send_only,
            traceparent: context.map(|context| context.parent().to_owned()),
            tracestate: context.and_then(|context| context.state().map(str::to_owned)),
            payload: None,
            size: None,
        }
    }

    /// Adds it to a batch; its payload as a link if it has not come along, or the answer is full.
    pub(super) fn add_to(
        &self,
        answer: &mut Answer,
        content: &Content,
        long: Option<u64>,
    ) -> Result<(), Problem> {
        let size = content.bytes.len();
        let full = answer.len().saturating_add(size) > ANSWER_MAX && size > 0;
        let Some(long) = long.or_else(|| full.then_some(size as u64)) else {
            return answer.add(self, Some(content));
        };
        let linked = Self {
            payload: Some(format!("{}/payload", self.delivery)),
            size: Some(long),
            ..self.clone()
        };
        let content = Content {
            bytes: bytes::Bytes::new(),
            ..content.clone()
        };
        answer.add(&linked, Some(&content))
    }
}

/// One delivery: its payload as it is.
pub(super) fn one(handle: &Handle, delivery: Delivery, told: &Told) -> Result<Response, Problem> {
    let Delivery { token, content, .. } = delivery;
    let mut head = extras::traced(payload_head(StatusCode::OK, &content), &content)
        .header(DELIVERY, &told.delivery)
        .header(MESSAGE, &told.message)
        .header(ATTEMPT, told.attempt)
        .header(PRIORITY, u16::from(told.priority))
        .header(LEASE, &told.lease)
        .header(SEND_ONLY, if told.send_only { "true" } else { "false" });
    if let Some(deadline) = &told.deadline {
        head = head.header(DEADLINE, deadline);
    }
    let mut pending = Pending::new(handle);
    pending.add(token, content.bytes.len());
    build(head, pending.body(content.bytes))
}

/// Deliveries that are part of an answer. Those of which not all was sent go back at once, so that a client that went
/// away holds nothing until its leases run out.
pub(super) struct Pending {
    handle: Handle,
    /// With where in the answer each ends.
    tokens: Vec<(GrantToken, usize)>,
}

impl Pending {
    pub(super) fn new(handle: &Handle) -> Self {
        Self {
            handle: handle.clone(),
            tokens: Vec::new(),
        }
    }

    /// This delivery ends there in the answer.
    pub(super) fn add(&mut self, token: GrantToken, end: usize) {
        self.tokens.push((token, end));
    }

    /// Each ends there, and there are no others.
    pub(super) fn ends(&mut self, tokens: Vec<(GrantToken, usize)>) {
        self.tokens = tokens;
    }

    /// The answer.
    pub(super) fn body(mut self, bytes: bytes::Bytes) -> Body {
        Body::new(Handed::new(bytes, move |sent: Sent| {
            self.tokens
                .retain(|(_, end)| !sent.all && (*end > sent.bytes || sent.bytes == 0));
        }))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        for (token, _) in self.tokens.drain(..) {
            tracing::debug!(message = %token.message, "a consumer went before it had its message: released");
            self.handle.unseen(token);
        }
    }
}
