//! Entries as bytes.

use super::Format;
use super::line::{JSON, TEXT, Written, written};
use crate::Content;
use serde::Serialize;

/// Appends an entry: the members of `head`, which is written as a JSON object and has none of the payload's members, and
/// the content, if it has one.
///
/// # Errors
/// `head` can't be written as JSON, or no length of 32 bits counts it.
pub fn encode(
    format: Format,
    head: &impl Serialize,
    content: Option<&Content>,
    into: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let start = into.len();
    let result = match format {
        Format::Ndjson => ndjson(head, content, into),
        Format::Framed => framed(head, content, into),
    };
    if result.is_err() {
        into.truncate(start);
    }
    result
}

fn ndjson(
    head: &impl Serialize,
    content: Option<&Content>,
    into: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    open(head, into)?;
    if let Some(content) = content {
        let written = written(content);
        let default = match written {
            Written::Json(_) => Some(JSON),
            Written::Text(_) => Some(TEXT),
            Written::Nothing | Written::Base64(_) => None,
        };
        let said = content.content_type.as_deref();
        if said != default {
            member("content_type", &said, into)?;
        }
        match written {
            Written::Nothing => {}
            Written::Json(text) => {
                name("json", into);
                into.extend_from_slice(text.as_bytes());
            }
            Written::Text(text) => member("text", &text, into)?,
            Written::Base64(text) => member("base64", &text, into)?,
        }
    }
    into.extend_from_slice(b"}\n");
    Ok(())
}

fn framed(
    head: &impl Serialize,
    content: Option<&Content>,
    into: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let start = into.len();
    into.extend_from_slice(&[0; 8]);
    open(head, into)?;
    if let Some(said) = content.and_then(|content| content.content_type.as_deref()) {
        member("content_type", &said, into)?;
    }
    into.push(b'}');
    let body = content.map(|content| &*content.bytes).unwrap_or_default();
    let header = length(into.len() - start - 8)?;
    let lengths = [header, length(body.len())?].concat();
    into[start..start + 8].copy_from_slice(&lengths);
    into.extend_from_slice(body);
    Ok(())
}

fn length(of: usize) -> Result<[u8; 4], serde_json::Error> {
    use serde::ser::Error;
    u32::try_from(of)
        .map(u32::to_be_bytes)
        .map_err(|_| serde_json::Error::custom("longer than 4 GiB"))
}

/// An object without its end.
fn open(head: &impl Serialize, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    use serde::ser::Error;
    serde_json::to_writer(&mut *into, head)?;
    match into.pop() {
        Some(b'}') => Ok(()),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

fn name(name: &str, into: &mut Vec<u8>) {
    if into.last() != Some(&b'{') {
        into.push(b',');
    }
    into.push(b'"');
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b"\":");
}

fn member(of: &str, value: &impl Serialize, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    name(of, into);
    serde_json::to_writer(into, value)
}
