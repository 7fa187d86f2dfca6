//! What a submit says beside its payload, in headers or as an entry of a batch: the one way from there to a message.

use super::super::auth;
use super::super::extras;
use super::super::headers;
use super::super::options::Options;
use super::super::{Node, Problem};
use super::producers;
use crate::TraceContext;
use crate::driver::NewMessage;
use crate::store::Alternate;
use crate::trust::programs::Pass;
use crate::{Content, Durability, Extras, Fingerprinting, Idempotency};
use bytes::Bytes;
use redlink_core::{Name, Terms};
use std::sync::Arc;

/// A message without its payload, which its producer may submit.
#[derive(Debug)]
pub(super) struct Addressed {
    service: String,
    producer: Option<Arc<str>>,
    alternate: Option<Alternate>,
    terms: Terms,
    trace_context: Option<Arc<TraceContext>>,
    durability: Durability,
    preserved: Option<Bytes>,
    /// The idempotency key, and what is to be told of the payload to have the request's fingerprint.
    key: Option<(Box<str>, Fingerprinting)>,
}

impl Addressed {
    /// Reads the options, and checks what of them depends on the node and on who asks. Whether he may produce to the
    /// service itself is the caller's to check. `also` are an entry's members that are no options.
    ///
    /// # Errors
    /// An option that isn't known or possible, or a service that may not be addressed.
    pub(super) fn check(
        node: &Node,
        pass: &Pass,
        service: String,
        options: Options<'_>,
        also: &[&str],
    ) -> Result<Self, Problem> {
        super::service(&service)?;
        let terms = headers::terms(options, also, node.direct)?;
        if terms.direct && !node.advertises {
            let form = "this node does not say where others reach it; an administrator sets `advertise`";
            return Err(options.bad(headers::PATH, "direct", form));
        }
        let alternate = headers::alternate(options)?;
        if let Some(alternate) = &alternate {
            super::service(&alternate.service)?;
            if *alternate.service == *service {
                let form = format!("a message for `{service}` needs another one as its alternate service");
                return Err(options.bad(headers::ALTERNATE, &service, &form));
            }
            auth::may_produce(pass, &alternate.service)?;
        }
        let producer = match options.text(headers::PRODUCER)? {
            None => None,
            Some(text) => match Name::new(&text) {
                Ok(_) => producers::other_name(&pass.who.owner, &text),
                Err(e) => return Err(options.bad(headers::PRODUCER, &text, &e.to_string())),
            },
        };
        Ok(Self {
            service,
            producer,
            alternate,
            terms,
            trace_context: extras::trace_context(options),
            durability: extras::durability(options)?,
            preserved: extras::preserved(options)?,
            key: match extras::idempotency_key(options)? {
                Some(key) => Some((key, extras::fingerprinting(options)?)),
                None => None,
            },
        })
    }

    /// The whole message.
    pub(super) fn with(self, content: Content) -> NewMessage {
        let Self {
            service,
            producer,
            alternate,
            terms,
            trace_context,
            durability,
            preserved,
            key,
        } = self;
        let idempotency = key.map(|(key, request)| Idempotency {
            key,
            request: request.finish(&content),
        });
        let content = Content {
            trace_context,
            ..content
        };
        let extras = Extras {
            idempotency,
            durability,
            preserved,
        };
        NewMessage {
            service,
            producer,
            alternate,
            terms,
            content,
            extras,
        }
    }
}
