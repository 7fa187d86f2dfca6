//! An outbox never waits, never grows without bound, and ends when either side does.

use super::*;
use crate::link::how::Mode;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(10);

struct Scene {
    _dir: tempfile::TempDir,
    store: StoreHandle,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (done, _) = tokio::sync::mpsc::unbounded_channel();
    let store = crate::store::open(dir.path(), done).unwrap().store;
    Scene { _dir: dir, store }
}

fn frames(bytes: &'static [u8]) -> Item {
    Item::Frames(Bytes::from_static(bytes))
}

/// Polls a future once; whether it waits.
async fn is_waiting(mut future: Pin<&mut impl Future>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

async fn next(stream: &mut OutStream) -> Option<Bytes> {
    let frame = timeout(LONG, stream.frame()).await.expect("nothing came")?;
    Some(frame.unwrap().into_data().unwrap())
}

#[tokio::test]
async fn frames_leave_in_order_whether_they_come_before_or_after_the_wait() {
    let scene = scene();
    let (outbox, mut stream) = outbox(scene.store.clone(), How::taken_in(Mode::Stream));
    outbox.push(frames(b"1")).unwrap();
    outbox.push(frames(b"2")).unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), "1");
    assert_eq!(next(&mut stream).await.unwrap(), "2");
    let waiting = tokio::spawn(async move { next(&mut stream).await });
    tokio::task::yield_now().await;
    outbox.push(frames(b"3")).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), "3");
}

#[tokio::test]
async fn a_payload_that_is_gone_takes_its_frame_along_and_nothing_else() {
    let scene = scene();
    let (outbox, mut stream) = outbox(scene.store.clone(), How::taken_in(Mode::Stream));
    outbox
        .push(Item::Later {
            header: Bytes::from_static(b"h"),
            source: Source::Message(7),
        })
        .unwrap();
    let there = Source::Memory(Content {
        origin: None,
        trace_context: None,
        content_type: None,
        bytes: Bytes::from_static(b"body"),
    });
    outbox
        .push(Item::Later {
            header: Bytes::from_static(b"h"),
            source: there,
        })
        .unwrap();
    outbox.push(frames(b"last")).unwrap();
    assert_eq!(
        &next(&mut stream).await.unwrap()[..],
        b"\0\0\0\x01\0\0\0\x05h\0body"
    );
    assert_eq!(next(&mut stream).await.unwrap(), "last");
}

#[tokio::test]
async fn a_peer_that_does_not_read_overflows_only_its_own_outbox() {
    let scene = scene();
    let (outbox, stream) = outbox(scene.store.clone(), How::taken_in(Mode::Stream));
    static MIB: [u8; 1 << 20] = [0; 1 << 20];
    for _ in 0..BYTES_MAX >> 20 {
        outbox.push(frames(&MIB)).unwrap();
    }
    assert_eq!(outbox.push(frames(b"more")), Err(Overflow));
    outbox.close("full");
    // Its memory is free again at once, whether or not anybody polls the stream.
    assert_eq!(stream.shared.queue().cost, 0);
    assert!(stream.shared.queue().items.is_empty());
    assert_eq!(&*outbox.closed().await, "full");
}

#[tokio::test]
async fn closing_ends_the_stream_and_keeps_the_first_reason() {
    let scene = scene();
    let (outbox, mut stream) = outbox(scene.store.clone(), How::taken_in(Mode::Stream));
    let waiting = tokio::spawn(async move { next(&mut stream).await });
    tokio::task::yield_now().await;
    outbox.close("first");
    outbox.close("second");
    assert_eq!(waiting.await.unwrap(), None);
    assert_eq!(&*outbox.closed().await, "first");
    assert_eq!(outbox.push(frames(b"late")), Ok(()));
}

#[tokio::test]
async fn a_connection_that_ends_is_seen() {
    let scene = scene();
    let (outbox, stream) = outbox(scene.store.clone(), How::taken_in(Mode::Stream));
    drop(stream);
    timeout(LONG, outbox.closed()).await.unwrap();
}

#[tokio::test]
async fn payloads_that_wait_for_their_turn_cost_next_to_nothing() {
    let scene = scene();
    let (outbox, _stream) = outbox(scene.store.clone(), How::taken_in(Mode::Stream));
    // A slow link with ten thousand grants under way is no reason to close it.
    for sequence in 0..10_000 {
        let header = Bytes::from_static(&[1; 100]);
        let source = Source::Message(sequence);
        outbox.push(Item::Later { header, source }).unwrap();
    }
    assert!(outbox.is_full());
}

#[tokio::test]
async fn asides_leave_when_no_frame_waits_and_their_senders_wait_for_a_place() {
    let scene = scene();
    let (outbox, mut stream) = outbox(scene.store.clone(), How::taken_in(Mode::Stream));
    outbox.aside(|| Bytes::from_static(b"first")).await;
    outbox.push(frames(b"1")).unwrap();
    outbox.push(frames(b"2")).unwrap();
    for _ in 1..ASIDES {
        outbox.aside(|| Bytes::from_static(b"more")).await;
    }
    outbox.try_aside(b"one too many");
    let mut waiting = std::pin::pin!(outbox.aside(|| Bytes::from_static(b"last")));
    assert!(is_waiting(waiting.as_mut()).await);
    assert_eq!(next(&mut stream).await.unwrap(), "1");
    assert_eq!(next(&mut stream).await.unwrap(), "2");
    assert_eq!(&next(&mut stream).await.unwrap()[..], b"\0\0\0\0\0\0\0\x05first");
    timeout(LONG, waiting).await.expect("a place is free");
    for _ in 1..ASIDES {
        assert!(next(&mut stream).await.unwrap().ends_with(b"more"));
    }
    assert!(next(&mut stream).await.unwrap().ends_with(b"last"));

    for _ in 0..ASIDES {
        outbox.aside(|| Bytes::from_static(b"never sent")).await;
    }
    let mut waiting = std::pin::pin!(outbox.aside(|| Bytes::from_static(b"neither")));
    assert!(is_waiting(waiting.as_mut()).await);
    outbox.close("enough");
    timeout(LONG, waiting)
        .await
        .expect("nobody waits for a closed one");
    assert_eq!(next(&mut stream).await, None);
}
