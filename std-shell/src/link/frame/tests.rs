//! Frames read back as they were written however the stream is cut, and no bytes make the decoder panic or grow.

use super::*;
use proptest::prelude::*;

fn content() -> impl Strategy<Value = Content> {
    let text = || proptest::option::of("[ -~]{0,64}".prop_map(|s: String| Arc::<str>::from(s)));
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let state = proptest::option::of("[a-z]{1,8}=[!-+]{1,40}");
    let context = proptest::option::of(state.prop_map(|state| context(state.as_deref())));
    (text(), text(), context, bytes).prop_map(|(content_type, origin, trace_context, bytes)| Content {
        origin,
        content_type,
        trace_context,
        bytes: Bytes::from(bytes),
    })
}

fn context(state: Option<&str>) -> Arc<TraceContext> {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    TraceContext::read(parent, state).expect("a good one")
}

fn part() -> impl Strategy<Value = Part> {
    let aside = proptest::collection::vec(any::<u8>(), 1..300);
    prop_oneof![
        4 => received().prop_map(Part::Frame),
        1 => aside.prop_map(|bytes| Part::Aside(Bytes::from(bytes))),
    ]
}

fn write(into: &mut BytesMut, part: &Part) {
    match part {
        Part::Frame(frame) => put(into, &frame.header, frame.content.as_ref()),
        Part::Aside(body) => put_aside(into, body),
    }
}

fn received() -> impl Strategy<Value = Received> {
    (
        proptest::collection::vec(any::<u8>(), 1..=HEADER_MAX),
        proptest::option::of(content()),
    )
        .prop_map(|(header, content)| Received {
            header: Bytes::from(header),
            content,
        })
}

/// All that is in `bytes`, fed in pieces of at most `piece`.
fn decode(bytes: &[u8], piece: usize) -> Result<(Vec<Part>, Decoder), Broken> {
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    for part in bytes.chunks(piece) {
        decoder.extend(part);
        while let Some(frame) = decoder.next_part()? {
            out.push(frame);
        }
    }
    Ok((out, decoder))
}

proptest! {
    #[test]
    fn frames_and_asides_read_back(parts in proptest::collection::vec(part(), 0..8), piece in 1usize..700) {
        let mut wire = BytesMut::new();
        for part in &parts {
            write(&mut wire, part);
        }
        let (read, decoder) = decode(&wire, piece).unwrap();
        prop_assert_eq!(read, parts);
        prop_assert!(decoder.is_empty());
    }

    #[test]
    fn any_bytes_are_frames_or_broken_and_never_pile_up(
        bytes in proptest::collection::vec(any::<u8>(), 0..4_000), piece in 1usize..100
    ) {
        if let Ok((_, decoder)) = decode(&bytes, piece) {
            prop_assert!(decoder.buffer.len() <= PREFIX + HEADER_MAX + BODY_MAX + piece);
        }
    }

    #[test]
    fn a_damaged_frame_never_panics(part in part(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut wire = BytesMut::new();
        write(&mut wire, &part);
        let at = at.index(wire.len());
        wire[at] ^= flip;
        let _ = decode(&wire, 64);
    }
}

fn broken(wire: &[u8]) -> Broken {
    decode(wire, 1_000)
        .map(drop)
        .expect_err("these bytes are no frames")
}

fn with_body(body: &[u8]) -> Vec<u8> {
    let mut wire = vec![0, 0, 0, 1, 0, 0, 0, body.len() as u8, 9];
    wire.extend_from_slice(body);
    wire
}

#[test]
fn lengths_are_refused_before_anything_is_waited_for() {
    assert_eq!(broken(&[0; 8]), Broken::Aside(0));
    let over = (ASIDE_MAX as u32 + 1).to_be_bytes();
    assert_eq!(
        broken(&[&[0; 4], &over[..]].concat()),
        Broken::Aside(ASIDE_MAX as u32 + 1)
    );
    assert_eq!(broken(&[0, 0, 1, 1, 0, 0, 0, 0]), Broken::Header(257));
    assert_eq!(broken(&[0xff; 8]), Broken::Header(u32::MAX));
    assert_eq!(
        broken(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
        Broken::Body(u32::MAX)
    );
    let over = (BODY_MAX as u32 + 1).to_be_bytes();
    assert_eq!(
        broken(&[&[0, 0, 0, 1], &over[..]].concat()),
        Broken::Body(BODY_MAX as u32 + 1)
    );
}

#[test]
fn a_content_type_must_be_text_of_its_length() {
    assert_eq!(broken(&with_body(&[2])), Broken::ContentType);
    assert_eq!(broken(&with_body(&[1])), Broken::ContentType);
    assert_eq!(broken(&with_body(&[1, 0])), Broken::ContentType);
    assert_eq!(broken(&with_body(&[1, 0, 2, b'a'])), Broken::ContentType);
    assert_eq!(broken(&with_body(&[1, 0, 1, 0xff])), Broken::ContentType);
    assert_eq!(broken(&with_body(&[1, 0, 1, b'\n'])), Broken::ContentType);
    assert_eq!(broken(&with_body(&[1, 0xff, 0xff, b'a'])), Broken::ContentType);
    assert_eq!(broken(&with_body(&[4])), Broken::ContentType);
    assert_eq!(broken(&with_body(&[2, 1, 0, b'a'])), Broken::ContentType);
}

#[test]
fn an_empty_payload_is_not_the_same_as_none() {
    let empty = Content::default();
    let mut wire = BytesMut::new();
    put(&mut wire, b"h", Some(&empty));
    put(&mut wire, b"h", None);
    let (read, _) = decode(&wire, 1_000).unwrap();
    let frame = |content| {
        let header = Bytes::from_static(b"h");
        Part::Frame(Received { header, content })
    };
    assert_eq!(read, [frame(Some(empty)), frame(None)]);
}

fn longest_state() -> String {
    format!("a={},b={}", "x".repeat(253), "y".repeat(STATE_MAX - 258))
}

#[test]
fn a_malformed_trace_context_is_left_out_and_the_payload_stays() {
    let mut wire = BytesMut::new();
    for (flags, texts) in [(4, &["00-0-0-01"][..]), (8, &["a=1"]), (12, &["x", "a=1"])] {
        let length = texts.iter().map(|text| 2 + text.len()).sum::<usize>();
        wire.put_u32(1);
        wire.put_u32((1 + length + 3) as u32);
        wire.put_slice(&[b'h', flags]);
        for text in texts {
            wire.put_u16(text.len() as u16);
            wire.put_slice(text.as_bytes());
        }
        wire.put_slice(b"abc");
    }
    let (read, rest) = decode(&wire, 7).unwrap();
    let expected = Part::Frame(Received {
        header: Bytes::from_static(b"h"),
        content: Some(Content {
            bytes: Bytes::from_static(b"abc"),
            ..Content::default()
        }),
    });
    assert_eq!(read, vec![expected; 3]);
    assert!(rest.is_empty());
}

#[test]
fn the_largest_frame_passes() {
    let largest = Content {
        origin: Some(Arc::from("y".repeat(ORIGIN_MAX))),
        content_type: Some(Arc::from("x".repeat(CONTENT_TYPE_MAX))),
        trace_context: Some(context(Some(&longest_state()))),
        bytes: Bytes::from(vec![7; INLINE_MAX as usize]),
    };
    assert!(content_type_fits(&largest));
    assert_eq!(body_len(&largest), BODY_MAX);
    let largest = [
        Part::Frame(Received {
            header: Bytes::from_static(&[1; HEADER_MAX]),
            content: Some(largest),
        }),
        Part::Aside(Bytes::from_static(&[2; ASIDE_MAX])),
    ];
    let mut wire = BytesMut::new();
    for part in &largest {
        write(&mut wire, part);
    }
    let (read, _) = decode(&wire, 5_000).unwrap();
    assert_eq!(read, largest);
}
