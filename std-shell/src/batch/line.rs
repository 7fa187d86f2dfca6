//! One JSON object as an entry, and an entry's payload as members of one.

use super::{Entry, Fault};
use crate::Content;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;

/// What `json` is said to be, unless `content_type` says it.
pub(super) const JSON: &str = "application/json";
/// What `text` is said to be, unless `content_type` says it.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// An object as it stands there: its members, `json` to the letter.
#[derive(Debug)]
pub(super) struct Object<'a> {
    members: Map<String, Value>,
    json: Option<&'a RawValue>,
    /// A member that is there more than once.
    twice: Option<String>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut found = Object {
                    members: Map::new(),
                    json: None,
                    twice: None,
                };
                while let Some(name) = map.next_key::<String>()? {
                    let there = match name == "json" {
                        true => found.json.replace(map.next_value()?).is_some(),
                        false => found.members.insert(name.clone(), map.next_value()?).is_some(),
                    };
                    if there {
                        found.twice = Some(name);
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Object<'_> {
    /// The entry of a line: its payload is among the members.
    pub(super) fn entry(mut self, payload_max: u64) -> Result<Entry, Fault> {
        self.once()?;
        let told = self.content_type()?;
        let (text, base64) = (self.members.remove("text"), self.members.remove("base64"));
        let (bytes, default) = match (self.json, text, base64) {
            (None, None, None) => (Bytes::new(), None),
            (Some(json), None, None) => (Bytes::copy_from_slice(json.get().as_bytes()), Some(JSON)),
            (None, Some(Value::String(text)), None) => (Bytes::from(text), Some(TEXT)),
            (None, None, Some(Value::String(text))) => match STANDARD.decode(text.trim()) {
                Ok(bytes) => (Bytes::from(bytes), None),
                Err(error) => return Err(Fault::bad(format!("`base64` is not base64: {error}."))),
            },
            (None, _, None) => return Err(Fault::bad("`text` is not a text.")),
            (None, None, _) => return Err(Fault::bad("`base64` is not a text.")),
            _ => {
                return Err(Fault::bad(
                    "The payload is there more than once: say `json`, `text` or `base64`.",
                ));
            }
        };
        if bytes.len() as u64 > payload_max {
            return Err(Fault::TooLarge);
        }
        Ok(Entry {
            members: self.members,
            content: Content {
                origin: None,
                trace_context: None,
                content_type: told.unwrap_or_else(|| default.map(Into::into)),
                bytes,
            },
        })
    }

    /// The entry of a header whose payload stands behind it.
    pub(super) fn entry_with(mut self, bytes: Bytes) -> Result<Entry, Fault> {
        self.once()?;
        let there = |name: &&str| self.members.contains_key(*name);
        if self.json.is_some() || ["text", "base64"].iter().any(there) {
            return Err(Fault::bad(
                "The header has `json`, `text` or `base64`; in this format the payload is the body.",
            ));
        }
        let content_type = self.content_type()?.flatten();
        Ok(Entry {
            members: self.members,
            content: Content {
                origin: None,
                trace_context: None,
                content_type,
                bytes,
            },
        })
    }

    fn once(&self) -> Result<(), Fault> {
        match &self.twice {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(64).collect();
                Err(Fault::bad(format!(
                    "`{shown}` is there more than once; say it once."
                )))
            }
        }
    }

    /// None: nothing is said. Some of none: that there is none.
    #[expect(clippy::option_option, reason = "null is another word than silence")]
    fn content_type(&mut self) -> Result<Option<Option<std::sync::Arc<str>>>, Fault> {
        match self.members.remove("content_type") {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            // As a header could say it.
            Some(Value::String(text)) if http::HeaderValue::from_str(&text).is_ok() && text.is_ascii() => {
                Ok(Some(Some(text.trim().into())))
            }
            Some(_) => Err(Fault::bad("`content_type` is not a media type.")),
        }
    }
}

/// How a payload is written in a line, so that reading it gives the same bytes.
pub(super) enum Written<'a> {
    Nothing,
    Json(&'a str),
    Text(&'a str),
    Base64(String),
}

/// JSON where it is said to be that and is, in one line; text where it is text; base64 otherwise.
pub(super) fn written(content: &Content) -> Written<'_> {
    if content.bytes.is_empty() {
        return Written::Nothing;
    }
    let Ok(text) = std::str::from_utf8(&content.bytes) else {
        return Written::Base64(STANDARD.encode(&content.bytes));
    };
    let media = content.content_type.as_deref().unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let json = media.eq_ignore_ascii_case(JSON) || media.to_ascii_lowercase().ends_with("+json");
    // What stands around it would not be read back.
    let bare = !text.contains(['\n', '\r']) && text.trim() == text;
    match json && bare && serde_json::from_str::<&RawValue>(text).is_ok() {
        true => Written::Json(text),
        false => Written::Text(text),
    }
}
