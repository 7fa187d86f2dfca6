//! A part of a payload (RFC 9110, 14). One range of bytes; whoever asks for several gets all of it, as whoever asks in
//! another unit.

use super::extras;
use super::problem::{Kind, Problem};
use super::routes::{build, payload_head};
use crate::Content;
use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, StatusCode};

/// Which bytes of how many are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    /// From the first up to the last, both of them in it.
    Range(usize, usize),
    Nothing,
}

/// Answers with the part of a payload that the headers want. Its `tag` is a strong one: it never names other bytes.
pub(super) fn answer(headers: &HeaderMap, content: Content, tag: &str) -> Result<Response, Problem> {
    let length = content.bytes.len();
    let tag = format!("\"{tag}\"");
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &http::HeaderValue| value.to_str().ok())
    };
    // What was changed since is wanted whole; this can't, but another payload can be meant.
    let same = !headers.contains_key(IF_RANGE) || text(IF_RANGE).is_some_and(|said| said.trim() == tag);
    let one = headers.get_all(RANGE).iter().count() == 1;
    let part = text(RANGE)
        .filter(|_| same && one)
        .map_or(Part::All, |range| wanted(range, length));
    let head = |status| {
        extras::traced(payload_head(status, &content), &content)
            .header(ACCEPT_RANGES, "bytes")
            .header(ETAG, &tag)
    };
    match part {
        Part::All => build(head(StatusCode::OK), Body::from(content.bytes)),
        Part::Range(first, last) => {
            let head = head(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_RANGE, format!("bytes {first}-{last}/{length}"));
            // A view of the same bytes.
            build(head, Body::from(content.bytes.slice(first..=last)))
        }
        Part::Nothing => {
            let detail = format!("The payload has {length} bytes; ask for some of those.");
            Err(Problem::new(Kind::NoSuchRange, detail).with(CONTENT_RANGE, &format!("bytes */{length}")))
        }
    }
}

/// What makes no sense is as if it weren't there, as HTTP has it.
fn wanted(range: &str, length: usize) -> Part {
    let Some((unit, set)) = range.trim().split_once('=') else {
        return Part::All;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Part::All;
    }
    let Some((first, last)) = set.trim().split_once('-') else {
        return Part::All;
    };
    // A number that is too long to count is beyond every end.
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    let end = length.saturating_sub(1);
    match (first, number(first), last, number(last)) {
        // The last so many.
        ("", None, _, Some(count)) if count == 0 || length == 0 => Part::Nothing,
        ("", None, _, Some(count)) => Part::Range(length.saturating_sub(count), end),
        (_, Some(first), "", None) if first >= length => Part::Nothing,
        (_, Some(first), "", None) => Part::Range(first, end),
        (_, Some(first), _, Some(last)) if last < first => Part::All,
        (_, Some(first), _, Some(_)) if first >= length => Part::Nothing,
        (_, Some(first), _, Some(last)) => Part::Range(first, last.min(end)),
        _ => Part::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_what_there_is() {
        for (range, part) in [
            ("bytes=0-0", Part::Range(0, 0)),
            ("bytes=2-5", Part::Range(2, 5)),
            ("bytes=2-", Part::Range(2, 9)),
            ("bytes=2-99", Part::Range(2, 9)),
            ("bytes=-3", Part::Range(7, 9)),
            ("bytes=-99", Part::Range(0, 9)),
            ("Bytes = 9-9 ", Part::Range(9, 9)),
            ("bytes=0-99999999999999999999999", Part::Range(0, 9)),
            ("bytes=10-", Part::Nothing),
            ("bytes=10-12", Part::Nothing),
            ("bytes=99999999999999999999999-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=5-2", Part::All),
            ("bytes=0-1,3-4", Part::All),
            ("lines=0-1", Part::All),
            ("bytes=-", Part::All),
            ("bytes=", Part::All),
            ("bytes", Part::All),
            ("bytes=a-b", Part::All),
            ("bytes=+1-2", Part::All),
            ("", Part::All),
        ] {
            assert_eq!(wanted(range, 10), part, "{range}");
        }
        assert_eq!(wanted("bytes=-5", 0), Part::Nothing);
        assert_eq!(wanted("bytes=0-", 0), Part::Nothing);
    }

    proptest::proptest! {
        #[test]
        fn no_range_is_too_strange(text in "bytes=[0-9,a-]{0,30}", any in ".*", length in 0_usize..50) {
            for text in [text, any] {
                if let Part::Range(first, last) = wanted(&text, length) {
                    proptest::prop_assert!(first <= last && last < length);
                }
            }
        }
    }
}
