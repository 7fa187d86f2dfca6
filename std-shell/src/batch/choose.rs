//! Which format is meant, and which is wanted (RFC 9110, 8.3 and 12.5.1).

use super::Format;

const ALL: [Format; 2] = [Format::Ndjson, Format::Framed];

/// The format that a `Content-Type` names; none if it names something else.
pub fn of_content_type(value: &str) -> Option<Format> {
    let media = value.split(';').next().unwrap_or_default().trim();
    ALL.into_iter()
        .find(|format| media.eq_ignore_ascii_case(format.media_type()))
}

/// The format that an `Accept` header likes best, lines of JSON where it likes both the same or says nothing; none if
/// it takes neither. Several headers are one with commas between them.
pub fn accepted<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Format> {
    let ranges: Vec<_> = values.into_iter().flat_map(ranges).collect();
    if ranges.is_empty() {
        return Some(Format::Ndjson);
    }
    let liked = ALL.map(|format| (format, quality(&ranges, format)));
    let mut best = (None, 0);
    for (format, quality) in liked {
        if quality > best.1 {
            best = (Some(format), quality);
        }
    }
    best.0
}

/// The format that is named in full, and liked best among those; none if neither is.
pub fn accepted_by_name<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Format> {
    let named: Vec<_> = values
        .into_iter()
        .flat_map(ranges)
        .filter(|range| of_content_type(range.media).is_some())
        .collect();
    match named.is_empty() {
        true => None,
        false => ALL
            .into_iter()
            .map(|format| (quality(&named, format), format))
            .filter(|(quality, _)| *quality > 0)
            // The first of two that are liked the same.
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(_, format)| format),
    }
}

/// A media range and how much it is liked, in thousandths.
struct Range<'a> {
    media: &'a str,
    quality: u16,
}

/// One that makes no sense is as if it weren't there.
fn ranges(value: &str) -> impl Iterator<Item = Range<'_>> {
    value.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().filter(|media| media.contains('/'))?;
        let mut quality = 1_000;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                quality = thousandths(value.trim())?;
            }
        }
        Some(Range { media, quality })
    })
}

/// `0`, `0.5`, `1.000`.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let part: u16 = match digits {
        true => format!("{part:0<3}").parse().ok()?,
        false => return None,
    };
    match (whole, part) {
        ("0", part) => Some(part),
        ("1", 0) => Some(1_000),
        _ => None,
    }
}

/// The most specific range that a format is in counts.
fn quality(ranges: &[Range<'_>], format: Format) -> u16 {
    let name = format.media_type();
    for wanted in [name, "application/*", "*/*"] {
        let found = ranges
            .iter()
            .filter(|range| range.media.eq_ignore_ascii_case(wanted));
        if let Some(quality) = found.map(|range| range.quality).max() {
            return quality;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::super::{FRAMED, NDJSON};
    use super::*;

    #[test]
    fn a_content_type_names_one() {
        assert_eq!(of_content_type(NDJSON), Some(Format::Ndjson));
        assert_eq!(
            of_content_type(" Application/X-NDJSON ; charset=utf-8"),
            Some(Format::Ndjson)
        );
        assert_eq!(of_content_type(FRAMED), Some(Format::Framed));
        for other in ["", "application/json", "application/*", "text/plain"] {
            assert_eq!(of_content_type(other), None, "{other}");
        }
    }

    #[test]
    fn the_best_liked_is_chosen() {
        use Format::{Framed, Ndjson};
        for (accept, expected) in [
            ("", Some(Ndjson)),
            ("*/*", Some(Ndjson)),
            ("application/*", Some(Ndjson)),
            ("application/vnd.redlink.batch", Some(Framed)),
            (
                "application/vnd.redlink.batch, application/x-ndjson",
                Some(Ndjson),
            ),
            (
                "application/vnd.redlink.batch, application/x-ndjson;q=0.9",
                Some(Framed),
            ),
            ("application/vnd.redlink.batch;q=0.2, */*;q=0.1", Some(Framed)),
            ("application/x-ndjson;q=0, */*", Some(Framed)),
            (
                "application/x-ndjson;q=0, application/vnd.redlink.batch;q=0.000",
                None,
            ),
            ("text/html, application/xhtml+xml", None),
            ("text/html, */*;q=0.001", Some(Ndjson)),
            ("text/html;q=2, application/x-ndjson;q=x", Some(Ndjson)),
            ("TEXT/html, Application/Vnd.Redlink.Batch; Q=1.0", Some(Framed)),
        ] {
            assert_eq!(accepted([accept]), expected, "{accept}");
        }
        assert_eq!(accepted([]), Some(Ndjson));
        assert_eq!(accepted(["text/html", FRAMED]), Some(Framed));
    }

    #[test]
    fn only_a_full_name_asks_for_one() {
        for accept in ["", "*/*", "application/*", "application/x-ndjson;q=0"] {
            assert_eq!(accepted_by_name([accept]), None, "{accept}");
        }
        assert_eq!(
            accepted_by_name(["*/*", "application/x-ndjson;q=0.1"]),
            Some(Format::Ndjson)
        );
        assert_eq!(accepted_by_name([NDJSON, FRAMED]), Some(Format::Ndjson));
        assert_eq!(
            accepted_by_name(["application/x-ndjson;q=0.1", FRAMED]),
            Some(Format::Framed)
        );
    }

    proptest::proptest! {
        #[test]
        fn no_header_is_too_strange(text in ".*", like in "[a-z*/;=,q.01 -]*") {
            for text in [text, like] {
                let _ = (accepted([&*text]), accepted_by_name([&*text]), of_content_type(&text));
            }
        }
    }
}
