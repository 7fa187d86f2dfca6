//! What goes in comes out once and whole, at the reader's pace, or ends as an error.

use super::*;
use http_body_util::BodyExt;
use redlink_core::{ConsumerKey, Fence, GrantToken, MessageId, NodeId, Part};
use std::future::poll_fn;
use tokio::sync::Semaphore;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

fn limits() -> Limits {
    Limits {
        cap: 1_000,
        stall: LONG,
        reader: LONG,
        whole: LONG,
    }
}

/// A pipe, and the slots that it gives back.
fn pipe_with(size: u64, limits: Limits, inflow: Inflow) -> (Pipe, Arc<Semaphore>) {
    let slots = Arc::new(Semaphore::new(1));
    let slot = slots.clone().try_acquire_owned().unwrap();
    (Pipe::new(size, Content::default(), limits, inflow, slot), slots)
}

fn pipe(size: u64) -> (Pipe, Arc<Semaphore>) {
    pipe_with(size, limits(), Inflow::Brought)
}

fn got(size: u64) -> (Pipe, mpsc::UnboundedReceiver<Refill>) {
    let token = GrantToken {
        message: MessageId {
            node: NodeId(1),
            sequence: 2,
        },
        inserted: 3,
        fence: Fence::default(),
        node: NodeId(4),
        consumer: ConsumerKey(5),
        mac: [0; 16],
    };
    let key = TransferKey {
        token,
        part: Part::Payload,
    };
    let (again, refills) = mpsc::unbounded_channel();
    (pipe_with(size, limits(), Inflow::Got { key, again }).0, refills)
}

fn bytes(range: std::ops::Range<usize>) -> Bytes {
    range.map(|at| (at % 251) as u8).collect()
}

async fn next(reader: &mut Reader) -> Result<Bytes, Broke> {
    let frame = reader.frame().await.expect("not yet the end")?;
    Ok(frame.into_data().unwrap())
}

async fn is_waiting(future: &mut (impl Future + Unpin)) -> bool {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context).is_pending())).await
}

#[tokio::test]
async fn all_of_it_passes_and_no_more_than_the_cap_is_held() {
    let (pipe, slots) = pipe(10_000);
    let writing = tokio::spawn({
        let pipe = pipe.clone();
        async move {
            let mut writer = pipe.writer().unwrap();
            for at in 0..10 {
                writer.write(bytes(at * 1_000..(at + 1) * 1_000)).await.unwrap();
            }
            writer.finish().await
        }
    });
    let mut reader = pipe.reader(0, false).unwrap();
    assert_eq!(reader.size_hint().exact(), Some(10_000));
    let mut all = Vec::new();
    while let Some(frame) = reader.frame().await {
        all.extend_from_slice(&frame.unwrap().into_data().unwrap());
        assert!(pipe.state().held <= 1_000);
    }
    assert_eq!(all, bytes(0..10_000));
    assert_eq!(writing.await.unwrap(), Ok(()));
    assert_eq!(pipe.standing(), Standing::Done);
    assert_eq!(slots.available_permits(), 1);
}

#[tokio::test]
async fn a_slow_reader_holds_its_writer_back() {
    let (pipe, slots) = pipe(3_000);
    let mut writer = pipe.writer().unwrap();
    writer.write(bytes(0..900)).await.unwrap();
    let mut rest = Box::pin(writer.write(bytes(900..2_000)));
    assert!(is_waiting(&mut rest).await);
    assert_eq!(pipe.reached(), 1_000, "only the room is used");
    let mut reader = pipe.reader(0, false).unwrap();
    assert_eq!(next(&mut reader).await.unwrap().len(), 900);
    assert!(is_waiting(&mut rest).await);
    assert_eq!(pipe.reached(), 1_900);
    assert_eq!(slots.available_permits(), 0);
}

#[tokio::test]
async fn what_ends_too_early_is_never_an_end() {
    let (pipe, _) = pipe(100);
    let mut writer = pipe.writer().unwrap();
    writer.write(bytes(0..60)).await.unwrap();
    assert!(!writer.is_complete());
    drop(writer);
    let mut reader = pipe.reader(0, false).unwrap();
    assert_eq!(next(&mut reader).await, Ok(bytes(0..60)));
    // Another goes on where that one stopped.
    let mut writer = pipe.writer().unwrap();
    assert_eq!(writer.from(), 60);
    writer.write(bytes(60..80)).await.unwrap();
    assert_eq!(next(&mut reader).await, Ok(bytes(60..80)));
    pipe.close();
    assert_eq!(next(&mut reader).await, Err(Broke::Closed));
    assert_eq!(writer.write(bytes(80..100)).await, Err(Broke::Closed));
    assert_eq!(pipe.reader(0, false).err(), Some(Broke::Closed));
    assert_eq!(pipe.writer().err(), Some(Broke::Closed));
}

#[tokio::test]
async fn more_than_was_announced_is_refused() {
    let (pipe, slots) = pipe(100);
    let mut writer = pipe.writer().unwrap();
    writer.write(bytes(0..60)).await.unwrap();
    assert_eq!(writer.write(bytes(60..101)).await, Err(Broke::TooLong));
    assert_eq!(pipe.standing(), Standing::Broken);
    assert_eq!(slots.available_permits(), 1);
    // Also when all of it has been taken already.
    let (pipe, _) = self::pipe(10);
    let mut writer = pipe.writer().unwrap();
    writer.write(bytes(0..10)).await.unwrap();
    next(&mut pipe.reader(0, false).unwrap()).await.unwrap();
    assert_eq!(writer.write(bytes(0..1)).await, Err(Broke::TooLong));
}

#[tokio::test]
async fn a_reader_that_begins_again_makes_its_writer_begin_again() {
    let (pipe, _) = pipe(100);
    let mut writer = pipe.writer().unwrap();
    writer.write(bytes(0..60)).await.unwrap();
    let mut first = pipe.reader(0, true).unwrap();
    assert_eq!(next(&mut first).await, Ok(bytes(0..60)));
    // What is held is no use without what was lost.
    writer.write(bytes(60..70)).await.unwrap();
    let mut second = pipe.reader(20, true).unwrap();
    assert_eq!(next(&mut first).await, Err(Broke::Again));
    assert_eq!(writer.write(bytes(70..80)).await, Err(Broke::Again));
    let mut writer = pipe.writer().unwrap();
    assert_eq!(writer.from(), 20);
    writer.write(bytes(20..100)).await.unwrap();
    assert_eq!(next(&mut second).await, Ok(bytes(20..100)));
    // The bytes are taken; only the peer's word makes it sure.
    let mut finishing = Box::pin(writer.finish());
    assert!(is_waiting(&mut finishing).await);
    pipe.arrived();
    assert_eq!(finishing.await, Ok(()));
    // Whoever brought it will not do so once more.
    assert_eq!(pipe.reader(0, true).err(), Some(Broke::Closed));
}

#[tokio::test]
async fn a_reader_may_skip_what_it_has() {
    let (pipe, _) = pipe(100);
    let mut writer = pipe.writer().unwrap();
    writer.write(bytes(0..30)).await.unwrap();
    writer.write(bytes(30..60)).await.unwrap();
    let mut reader = pipe.reader(40, false).unwrap();
    assert_eq!(reader.size_hint().exact(), Some(60));
    assert_eq!(next(&mut reader).await, Ok(bytes(40..60)));
    assert!(writer.write(bytes(60..70)).await.is_ok());
}

#[tokio::test]
async fn what_this_node_gets_can_be_had_again_even_after_its_end() {
    let (pipe, mut refills) = got(100);
    let mut writer = pipe.writer().unwrap();
    writer.write(bytes(0..100)).await.unwrap();
    let mut reader = pipe.reader(0, false).unwrap();
    next(&mut reader).await.unwrap();
    assert_eq!(writer.finish().await, Ok(()));
    assert!(refills.try_recv().is_err(), "nobody has asked for it");
    let mut reader = pipe.reader(90, false).unwrap();
    let refill = refills.try_recv().unwrap();
    // Asked for once, however often the reader comes.
    drop(pipe.reader(80, false).unwrap());
    assert!(refills.try_recv().is_err());
    assert_eq!(next(&mut reader).await, Err(Broke::Again));
    let mut reader = pipe.reader(80, false).unwrap();
    let mut writer = refill.pipe.writer().unwrap();
    assert_eq!(writer.from(), 80);
    writer.write(bytes(80..100)).await.unwrap();
    assert_eq!(next(&mut reader).await, Ok(bytes(80..100)));
    assert_eq!(writer.finish().await, Ok(()));
    // Its link is gone: nobody can get it.
    drop(refills);
    assert_eq!(pipe.reader(0, false).err(), Some(Broke::Closed));
}

#[tokio::test]
async fn a_reader_that_never_comes_costs_its_writer_no_more_than_its_time() {
    let limits = Limits {
        reader: Duration::from_millis(20),
        ..limits()
    };
    let (pipe, slots) = pipe_with(5_000, limits, Inflow::Brought);
    let mut writer = pipe.writer().unwrap();
    assert_eq!(writer.write(bytes(0..5_000)).await, Err(Broke::Stalled));
    assert_eq!(pipe.standing(), Standing::Broken);
    assert_eq!((pipe.state().held, slots.available_permits()), (0, 1));
}

#[tokio::test]
async fn a_side_that_stops_ends_it() {
    let limits = Limits {
        stall: Duration::from_millis(20),
        ..limits()
    };
    // The reader stops.
    let (pipe, _) = pipe_with(5_000, limits, Inflow::Brought);
    let _reader = pipe.reader(0, false).unwrap();
    let mut writer = pipe.writer().unwrap();
    assert_eq!(writer.write(bytes(0..5_000)).await, Err(Broke::Stalled));
    // The writer stops.
    let (pipe, _) = pipe_with(5_000, limits, Inflow::Brought);
    let _writer = pipe.writer().unwrap();
    let mut reader = pipe.reader(0, false).unwrap();
    assert_eq!(next(&mut reader).await, Err(Broke::Stalled));
    assert_eq!(pipe.standing(), Standing::Broken);
}

#[tokio::test]
async fn what_nobody_holds_an_end_of_is_closed_by_who_looks() {
    let limits = Limits {
        stall: Duration::ZERO,
        reader: Duration::ZERO,
        ..limits()
    };
    let (pipe, slots) = pipe_with(5_000, limits, Inflow::Brought);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(pipe.standing(), Standing::Broken);
    assert_eq!(slots.available_permits(), 1);
}
