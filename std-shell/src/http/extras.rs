//! What a submit may say beside its terms: its idempotency key, what is preserved for its producer, the distributed trace
//! that it belongs to.

use super::headers::{DURABILITY, IDEMPOTENCY_KEY, PRESERVED, TERMS};
use super::options::Options;
use super::problem::Problem;
use crate::trace_context::{TRACEPARENT, TRACESTATE, TraceContext};
use crate::{Content, Durability, Fingerprinting};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

/// Longest key, in characters.
const KEY_MAX: usize = 255;
/// Most bytes that are preserved: as a header, which proxies limit, and as a member of a batch's entry.
const PRESERVED_MAX: usize = 4 << 10;
const PRESERVED_MAX_MEMBER: usize = 1 << 20;

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The idempotency key of a submit: a string as structured headers have it, in quotes, or the same characters without.
pub(super) fn idempotency_key(options: Options<'_>) -> Result<Option<Box<str>>, Problem> {
    let Some(text) = options.text(IDEMPOTENCY_KEY)? else {
        return Ok(None);
    };
    let form = "it is 1 to 255 visible ASCII characters, best in double quotes";
    // What a secret is made of is not repeated.
    let bad = || options.bad(IDEMPOTENCY_KEY, "…", form);
    let key = match text.strip_prefix('"') {
        None => text.to_string(),
        Some(rest) => unquoted(rest).ok_or_else(bad)?,
    };
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    match visible && (1..=KEY_MAX).contains(&key.len()) {
        true => Ok(Some(key.into())),
        false => Err(bad()),
    }
}

/// The string whose opening quote was read; nothing may stand behind its end.
fn unquoted(text: &str) -> Option<String> {
    let mut key = String::with_capacity(text.len());
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(key),
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            other => key.push(other),
        }
    }
}

/// What a submit says, but for its key, its payload and its trace context: what a fingerprint of it begins with.
pub(super) fn fingerprinting(options: Options<'_>) -> Result<Fingerprinting, Problem> {
    let mut fingerprint = Fingerprinting::default();
    for name in TERMS {
        if ![IDEMPOTENCY_KEY, TRACEPARENT, TRACESTATE].contains(name)
            && let Some(value) = options.text(name)?
        {
            fingerprint.setting(name, &value);
        }
    }
    Ok(fingerprint)
}

/// Where it is to be kept.
pub(super) fn durability(options: Options<'_>) -> Result<Durability, Problem> {
    match options.text(DURABILITY)?.as_deref() {
        None | Some("disk") => Ok(Durability::Disk),
        Some("memory") => Ok(Durability::Memory),
        Some(other) => Err(options.bad(DURABILITY, other, "it is disk or memory")),
    }
}

/// What is to be given back with the outcome.
pub(super) fn preserved(options: Options<'_>) -> Result<Option<Bytes>, Problem> {
    let Some(text) = options.text(PRESERVED)? else {
        return Ok(None);
    };
    let (most, form) = match options {
        Options::Headers(_) => (PRESERVED_MAX, "it is base64 of at most 4096 bytes"),
        Options::Members(_) => (PRESERVED_MAX_MEMBER, "it is base64 of at most 1048576 bytes"),
    };
    let data = BASE64.decode(text.as_bytes()).ok();
    let data = data.filter(|data| data.len() <= most);
    // It may be long, and is nobody's to read.
    let data = data.ok_or_else(|| options.bad(PRESERVED, "…", form))?;
    Ok(Some(data.into()))
}

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

    fn with<T>(name: &'static str, value: &str, read: impl Fn(Options<'_>) -> T) -> T {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        read(Options::Headers(&headers))
    }

    #[test]
    fn a_key_is_a_quoted_string_or_a_bare_one() {
        let read = |value: &str| with(IDEMPOTENCY_KEY, value, idempotency_key);
        let long = "x".repeat(KEY_MAX);
        for (value, key) in [
            ("abc", "abc"),
            ("\"abc\"", "abc"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (&long, &long),
        ] {
            assert_eq!(read(value).unwrap().as_deref(), Some(key), "{value}");
        }
        for bad in [
            "",
            "\"\"",
            "\"abc",
            "\"a\" b",
            "\"a\";p=1",
            r#""a\n""#,
            "a b",
            "\"a b\"",
            &"x".repeat(KEY_MAX + 1),
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            idempotency_key(Options::Headers(&HeaderMap::new())).unwrap(),
            None
        );
    }

    #[test]
    fn what_is_preserved_has_a_bound() {
        use base64::engine::general_purpose::STANDARD;
        let read = |value: &str| with(PRESERVED, value, preserved);
        assert_eq!(read("b3JkZXIgMTc=").unwrap().unwrap(), "order 17");
        assert_eq!(read("b3JkZXIgMTc").unwrap().unwrap(), "order 17");
        assert_eq!(read("").unwrap().unwrap(), "");
        assert!(read(&STANDARD.encode([7; PRESERVED_MAX])).is_ok());
        for bad in ["!", "b3Jk ZXI", &STANDARD.encode([7; PRESERVED_MAX + 1])] {
            assert!(read(bad).is_err());
        }
        let entry = serde_json::json!({ "preserved": STANDARD.encode([7; PRESERVED_MAX + 1]) });
        assert!(preserved(Options::Members(entry.as_object().unwrap())).is_ok());
    }

    #[test]
    fn a_fingerprint_is_of_the_settings_and_not_of_key_and_trace() {
        let of = |headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            fingerprinting(Options::Headers(&map))
                .unwrap()
                .finish(&Content::default())
        };
        let plain = of(&[]);
        assert_eq!(
            plain,
            of(&[(IDEMPOTENCY_KEY, "k"), (TRACEPARENT, PARENT), ("x-other", "1")])
        );
        for other in [
            ("redlink-priority", "1"),
            (PRESERVED, "YQ=="),
            ("redlink-send-only", "true"),
        ] {
            assert_ne!(plain, of(&[other]), "{other:?}");
        }
    }
}
