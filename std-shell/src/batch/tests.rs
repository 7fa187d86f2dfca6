//! What is written is read back, however it comes; and nothing that comes is too strange.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::Arc;

const LIMITS: Limits = Limits {
    header: 1 << 16,
    payload: 1 << 16,
};
const BOTH: [Format; 2] = [Format::Ndjson, Format::Framed];

/// All that a body holds, given in pieces of this size.
fn read(format: Format, body: &[u8], piece: usize, limits: Limits) -> (Vec<Item>, Option<Broken>) {
    let mut decoder = Decoder::new(format, limits);
    let mut found = Vec::new();
    for piece in body.chunks(piece.max(1)) {
        decoder.push(piece);
        loop {
            match decoder.take() {
                Ok(Some(item)) => found.push(item),
                Ok(None) => break,
                Err(broken) => return (found, Some(broken)),
            }
        }
    }
    match decoder.finish() {
        Ok(last) => found.extend(last),
        Err(broken) => return (found, Some(broken)),
    }
    assert_eq!(decoder.finish(), Ok(None));
    (found, None)
}

fn lines(body: &str) -> (Vec<Item>, Option<Broken>) {
    read(Format::Ndjson, body.as_bytes(), 7, LIMITS)
}

fn content(content_type: Option<&str>, bytes: &'static [u8]) -> Content {
    Content {
        origin: None,
        trace_context: None,
        content_type: content_type.map(Into::into),
        bytes: Bytes::from_static(bytes),
    }
}

#[test]
fn a_line_has_its_payload_in_one_of_three_ways() {
    let (found, broken) = lines(concat!(
        "{\"service\":\"a\",\"json\":{\"n\" : 12345678901234567890123, \"z\":1,\"a\":2}}\n",
        "\r\n  \n",
        "{\"service\":\"b\",\"priority\":5,\"text\":\"h\\u00e9\\n\"}\r\n",
        "{\"base64\":\"AAEC/w==\",\"content_type\":\"image/x\"}\n",
        "{\"json\":null,\"content_type\":null}\n",
        "{\"content_type\":\"text/csv\"}"
    ));
    assert_eq!(broken, None);
    let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
    assert_eq!(found[0].text("service"), Some("a"));
    let json = b"{\"n\" : 12345678901234567890123, \"z\":1,\"a\":2}";
    assert_eq!(found[0].content, content(Some("application/json"), json));
    assert_eq!(found[1].members["priority"], 5);
    assert_eq!(
        found[1].content,
        content(Some("text/plain; charset=utf-8"), "hé\n".as_bytes())
    );
    assert_eq!(found[2].content, content(Some("image/x"), &[0, 1, 2, 255]));
    assert_eq!(found[3].content, content(None, b"null"));
    assert_eq!(found[4].content, content(Some("text/csv"), b""));
}

#[test]
fn what_is_wrong_with_one_entry_leaves_the_rest() {
    let (found, broken) = lines(concat!(
        "{\"text\":\"a\",\"json\":1}\n{\"base64\":\"%\"}\n{\"base64\":7}\n{\"text\":7}\n{\"text\":null}\n",
        "{\"content_type\":7}\n{\"content_type\":\"a\\nb\"}\n{\"service\":\"a\",\"service\":\"b\"}\n{\"json\":1,\"json\":2}\n{}\n"
    ));
    assert_eq!(broken, None);
    assert_eq!(found.len(), 10);
    for item in &found[..9] {
        assert!(matches!(item, Err(Fault::Bad(_))), "{item:?}");
    }
    assert_eq!(found[9], Ok(Entry::default()));
}

#[test]
fn what_leaves_open_where_the_next_begins_ends_the_reading() {
    for (bad, line) in [
        ("{}\n\n[1]\n{}\n", 3),
        ("{}\n{\"a\":1\n{}\n", 2),
        ("{}\n{} {}\n", 2),
        ("{}\nx", 2),
        ("{}\n\u{0}\n", 2),
    ] {
        let (found, broken) = lines(bad);
        let broken = broken.unwrap();
        assert_eq!(
            (found.len(), broken.entry, broken.at),
            (1, 2, Place::Line(line)),
            "{bad}"
        );
        assert!(
            broken
                .to_string()
                .starts_with(&format!("Entry 2 (line {line}): "))
        );
    }
    let mut good = Vec::new();
    encode(Format::Framed, &Entry::default().members, None, &mut good).unwrap();
    assert_eq!(good, b"\0\0\0\x02\0\0\0\0{}");
    for bad in [
        &b"\0"[..],
        b"\0\0\0\x03\0\0\0\0{}",
        b"\0\0\0\x02\0\0\0\x01{}",
        b"\0\0\0\x02\0\0\0\0[]",
        b"\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\0\0\0\0",
        b"\0\0\0\x02\0\x0f\0\0{}",
    ] {
        let body = [&good[..], bad].concat();
        let (found, broken) = read(Format::Framed, &body, 3, LIMITS);
        let broken = broken.unwrap();
        let too_large = usize::from(bad.get(5) == Some(&15));
        assert_eq!((found.len(), broken.entry), (1 + too_large, 2), "{bad:?}");
        assert!(matches!(broken.at, Place::Offset(at) if at >= 10), "{broken:?}");
    }
}

#[test]
fn too_much_is_not_kept() {
    let limits = Limits {
        header: 16,
        payload: 8,
    };
    let long = format!(
        "{{\"text\":\"{}\"}}\n{{\"text\":\"12345678\"}}\n",
        "x".repeat(1_000)
    );
    for piece in [1, 10, 10_000] {
        let (found, broken) = read(Format::Ndjson, long.as_bytes(), piece, limits);
        assert_eq!(broken, None);
        assert_eq!(found[0], Err(Fault::TooLarge));
        assert_eq!(found[1].as_ref().unwrap().content.bytes, "12345678");
        assert_eq!(found.len(), 2);
    }
    let (found, _) = read(Format::Ndjson, b"{\"text\":\"123456789\"}", 4, limits);
    assert_eq!(found, [Err(Fault::TooLarge)]);
    let mut framed = Vec::new();
    for bytes in [&b"123456789"[..], b"12345678"] {
        let content = Content {
            bytes: Bytes::copy_from_slice(bytes),
            ..Content::default()
        };
        encode(
            Format::Framed,
            &Entry::default().members,
            Some(&content),
            &mut framed,
        )
        .unwrap();
    }
    for piece in [1, 10, 10_000] {
        let (found, broken) = read(Format::Framed, &framed, piece, limits);
        assert_eq!((found.len(), broken), (2, None), "{piece}");
        assert_eq!(found[0], Err(Fault::TooLarge));
    }
    let mut decoder = Decoder::new(Format::Ndjson, limits);
    for _ in 0..1_000 {
        decoder.push(&[b'x'; 100]);
        let _ = decoder.take();
        assert!(decoder.buffer.len() <= 200);
    }
}

fn any_content() -> impl Strategy<Value = Content> {
    let types = prop_oneof![
        Just(None),
        Just(Some("application/json")),
        Just(Some("application/x+json; a=b")),
        Just(Some("text/plain; charset=utf-8")),
        Just(Some("image/png")),
    ];
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        ".{0,100}".prop_map(String::into_bytes),
        Just(b"{\"a\": [1, 2.50, \"\\n\"]}".to_vec()),
        Just(b" {\"a\":1}".to_vec()),
        Just(b"{\n}".to_vec()),
    ];
    (types, bytes).prop_map(|(content_type, bytes)| Content {
        origin: None,
        trace_context: None,
        content_type: content_type.map(Arc::from),
        bytes: bytes.into(),
    })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        proptest::collection::vec(any::<u8>(), 0..4).prop_map(Value::from),
    ];
    let members = proptest::collection::btree_map("m[a-z_]{0,8}", value, 0..5);
    (members, any_content()).prop_map(|(members, content)| Entry {
        members: members.into_iter().collect(),
        content,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(entries in proptest::collection::vec(any_entry(), 0..8), piece in 1_usize..300) {
        for format in BOTH {
            let mut body = Vec::new();
            for entry in &entries {
                encode(format, &entry.members, Some(&entry.content), &mut body).unwrap();
            }
            let (found, broken) = read(format, &body, piece, LIMITS);
            prop_assert_eq!(broken, None);
            let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
            prop_assert_eq!(&found, &entries);
        }
    }

    #[test]
    fn a_cut_or_changed_body_gives_what_stands_before(
        entries in proptest::collection::vec(any_entry(), 1..6),
        at in any::<prop::sample::Index>(),
        byte: u8,
        piece in 1_usize..100,
    ) {
        for format in BOTH {
            let (mut body, mut ends) = (Vec::new(), Vec::new());
            for entry in &entries {
                encode(format, &entry.members, Some(&entry.content), &mut body).unwrap();
                ends.push(body.len());
            }
            let at = at.index(body.len());
            let whole = ends.iter().filter(|end| **end <= at).count();
            let (found, _) = read(format, &body[..at], piece, LIMITS);
            prop_assert!(found.len() >= whole && found.len() <= whole + 1);
            for (found, entry) in found.iter().zip(&entries) {
                prop_assert_eq!(found.as_ref().ok(), Some(entry));
            }
            body[at] = byte;
            let (found, _) = read(format, &body, piece, LIMITS);
            prop_assert!(found.len() >= whole);
            for (found, entry) in found.iter().zip(&entries).take(whole) {
                prop_assert_eq!(found.as_ref().ok(), Some(entry));
            }
        }
    }

    #[test]
    fn nothing_is_too_strange(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        text in "[{}\\[\\]\":,a-z0-9\\\\\n ]{0,200}",
        piece in 1_usize..50,
    ) {
        for format in BOTH {
            for body in [&bytes[..], text.as_bytes()] {
                // The same, however it comes.
                let whole = read(format, body, body.len(), LIMITS);
                prop_assert_eq!(read(format, body, piece, LIMITS), whole);
            }
        }
    }
}
