//! What a submit may say beside its terms: the distributed trace that it belongs to.

use super::options::Options;
use crate::Content;
use crate::trace_context::{TRACEPARENT, TRACESTATE, TraceContext};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

/// The trace context of a submit. What is malformed is as good as not there, as the standard demands; a `traceparent` that
/// is there twice is malformed.
pub(super) fn trace_context(options: Options<'_>) -> Option<Arc<TraceContext>> {
    let headers = match options {
        Options::Headers(headers) => headers,
        Options::Members(_) => {
            let text = |name| options.text(name).ok().flatten();
            let (parent, state) = (text(TRACEPARENT)?, text(TRACESTATE));
            return TraceContext::read(&parent, state.as_deref());
        }
    };
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let parent = parents.next()?.to_str().ok()?;
    if parents.next().is_some() {
        return None;
    }
    let states = headers.get_all(TRACESTATE).iter();
    match states.map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>() {
        Ok(states) => TraceContext::read(parent, states),
        Err(_) => TraceContext::read(parent, None),
    }
}

/// Headers that tell a consumer of the trace that its message belongs to.
pub(super) fn traced(head: http::response::Builder, content: &Content) -> http::response::Builder {
    let Some(context) = &content.trace_context else {
        return head;
    };
    let head = head.header(HeaderName::from_static(TRACEPARENT), context.parent());
    match context.state() {
        Some(state) => head.header(HeaderName::from_static(TRACESTATE), state),
        None => head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn states_are_joined_and_a_second_parent_makes_both_none() {
        let mut headers = HeaderMap::new();
        let trace_context = |headers: &HeaderMap| trace_context(Options::Headers(headers));
        assert_eq!(trace_context(&headers), None);
        headers.append(TRACESTATE, "a=1".parse().unwrap());
        assert_eq!(trace_context(&headers), None);
        headers.append(TRACEPARENT, PARENT.parse().unwrap());
        headers.append(TRACESTATE, "b=2".parse().unwrap());
        let context = trace_context(&headers).unwrap();
        assert_eq!((context.parent(), context.state()), (PARENT, Some("a=1,b=2")));
        headers.append(TRACESTATE, HeaderValue::from_bytes(b"c=\xff").unwrap());
        assert_eq!(trace_context(&headers).unwrap().state(), None);
        headers.append(TRACEPARENT, PARENT.parse().unwrap());
        assert_eq!(trace_context(&headers), None);
    }

    #[test]
    fn an_entry_says_it_by_members() {
        let read = |members: serde_json::Value| {
            let members = members.as_object().unwrap();
            trace_context(Options::Members(members)).map(|context| context.state().map(str::to_owned))
        };
        let json = |state: &str| serde_json::json!({ "traceparent": PARENT, "tracestate": state });
        assert_eq!(read(json("a=1")), Some(Some("a=1".into())));
        assert_eq!(read(json("a")), Some(None));
        assert_eq!(read(serde_json::json!({ "traceparent": [1] })), None);
        assert_eq!(read(serde_json::json!({ "tracestate": "a=1" })), None);
    }
}
