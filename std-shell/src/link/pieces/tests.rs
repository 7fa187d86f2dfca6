//! Pieces that are cut, repeated and cut otherwise the second time: every byte arrives once.

use super::*;
use crate::link::how::{How, Mode};
use crate::link::outbox::{Item, Outbox, outbox};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(10);

fn scene() -> (tempfile::TempDir, Outbox, Outgoing) {
    let dir = tempfile::tempdir().unwrap();
    let (done, _) = tokio::sync::mpsc::unbounded_channel();
    let store = crate::store::open(dir.path(), done).unwrap().store;
    let (outbox, stream) = outbox(store, How::taken_in(Mode::Poll));
    (dir, outbox, Outgoing::new(stream))
}

fn push(outbox: &Outbox, text: &'static str) {
    outbox
        .push(Item::Frames(Bytes::from_static(text.as_bytes())))
        .unwrap();
}

#[tokio::test]
async fn what_is_not_acknowledged_is_given_again_in_whatever_length() {
    let (_dir, outbox, mut out) = scene();
    push(&outbox, "abc");
    push(&outbox, "defgh");
    assert_eq!(out.piece(100).await.unwrap(), "abcdefgh");
    assert_eq!(out.piece(2).await.unwrap(), "ab");
    out.acknowledge(2).unwrap();
    assert_eq!((out.base(), out.piece(100).await.unwrap()), (2, "cdefgh".into()));
    push(&outbox, "i");
    assert_eq!(out.piece(100).await.unwrap(), "cdefghi");
    for wrong in [1, 10, u64::MAX] {
        assert_eq!(out.acknowledge(wrong), Err(Lost), "{wrong}");
    }
    out.acknowledge(9).unwrap();
    // A wait that is given up takes nothing along.
    assert!(timeout(Duration::from_millis(10), out.piece(100)).await.is_err());
    push(&outbox, "j");
    assert_eq!(timeout(LONG, out.piece(100)).await.unwrap().unwrap(), "j");
    outbox.close("over");
    assert_eq!(out.piece(100).await.unwrap(), "j");
    out.acknowledge(10).unwrap();
    assert_eq!(out.piece(100).await, None);
}

#[tokio::test]
async fn it_takes_no_more_from_the_outbox_than_a_piece_needs() {
    let (_dir, outbox, mut out) = scene();
    for _ in 0..8 {
        push(&outbox, "0123456789");
    }
    assert_eq!(out.piece(15).await.unwrap(), "012345678901234");
    assert_eq!(out.kept.len(), 20);
}

#[tokio::test]
async fn bytes_that_came_before_are_known_and_a_hole_is_refused() {
    let (mut into, mut pieces) = incoming();
    assert_eq!(into.take(0, "abc".into()).await, Ok(true));
    assert_eq!(into.take(0, "abc".into()).await, Ok(true));
    assert_eq!(into.take(1, "bcde".into()).await, Ok(true));
    assert_eq!(into.take(0, "ab".into()).await, Ok(true));
    assert_eq!(into.take(6, "x".into()).await, Err(Lost));
    assert_eq!(into.received(), 5);
    // Full: it waits, and takes nothing if it is given up.
    let waits = timeout(Duration::from_millis(10), into.take(5, "f".into())).await;
    assert!(waits.is_err());
    assert_eq!(into.received(), 5);
    let mut read = Vec::new();
    for _ in 0..2 {
        read.extend(pieces.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(into.take(5, "f".into()).await, Ok(true));
    read.extend(pieces.frame().await.unwrap().unwrap().into_data().unwrap());
    assert_eq!(read, b"abcdef");
    drop(pieces);
    assert_eq!(into.take(6, "g".into()).await, Ok(false));
    assert_eq!(into.take(0, "a".into()).await, Ok(false));
}
