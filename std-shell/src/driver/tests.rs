//! The driver with a real store: what a producer and a consumer see of one node.
//!
//! Nothing here sleeps to let something happen: every wait is for an event, with a bound that only a failure reaches.

mod keys;
mod memory;
mod owners;

use super::*;
use crate::Content;
use crate::store;
use bytes::Bytes;
use redlink_core::{Answered, Duration as CoreDuration, MessageId, Name, NodeId, Outcome, Terms, Verb};
use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);
const NOW: Duration = Duration::ZERO;

struct Node {
    running: Running,
    store: store::StoreHandle,
}

impl Node {
    async fn open(dir: &Path) -> Self {
        Self::open_with(dir, |_| {}).await
    }

    async fn open_with(dir: &Path, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(Name::new("n").unwrap(), Name::new("m").unwrap());
        // Nobody else can hold what was granted before a restart here.
        settings.timing.recovery = CoreDuration::from_millis(50);
        change(&mut settings);
        let (done_in, done) = mpsc::unbounded_channel();
        let opened = store::open(dir, done_in).unwrap();
        let store = opened.store.clone();
        let running = start(opened, done, settings).unwrap();
        Self { running, store }
    }

    fn handle(&self) -> Handle {
        self.running.handle.clone()
    }

    async fn close(self) {
        self.running.stop().await;
        tokio::task::spawn_blocking(move || self.store.close())
            .await
            .unwrap();
    }
}

fn text(text: &str) -> Content {
    Content {
        origin: None,
        trace_context: None,
        content_type: Some(Arc::from("text/plain")),
        bytes: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn message(service: &str, content: Content) -> NewMessage {
    NewMessage {
        service: service.to_owned(),
        producer: None,
        alternate: None,
        terms: Terms::default(),
        content,
        extras: crate::Extras::default(),
    }
}

/// Polls a future once; whether it waits.
async fn is_waiting(future: &mut (impl Future + Unpin)) -> bool {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context).is_pending())).await
}

#[tokio::test]
async fn a_message_goes_to_a_consumer_and_its_reply_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    let submitted = handle.submit(message("wc", text("a b c"))).await.unwrap();
    assert!(submitted.deadline.is_some());
    assert_eq!(handle.message(submitted.id).await.unwrap().state, "queued");
    assert_eq!(handle.outcome(submitted.id, NOW).await, Ok(None));
    assert_eq!(handle.collect(submitted.id).await, Err(Refusal::State));

    let taken = handle.take("wc", "w1", 1, LONG).await.unwrap();
    let [delivery] = &taken[..] else {
        panic!("{taken:?}")
    };
    assert_eq!(delivery.content, text("a b c"));
    assert_eq!((delivery.attempt, delivery.send_only), (1, false));
    assert!(delivery.remaining.unwrap() <= Duration::from_secs(300));
    assert_eq!(handle.payload(delivery.token).await.unwrap(), Some(text("a b c")));
    assert_eq!(handle.message(submitted.id).await.unwrap().state, "granted");
    assert_eq!(
        handle.answer(delivery.token, Verb::Ack, None).await,
        Ok(Answered::WrongVerb)
    );
    assert_eq!(
        handle.answer(delivery.token, Verb::Extend, None).await,
        Ok(Answered::Done)
    );

    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.outcome(submitted.id, LONG).await }
    });
    assert_eq!(
        handle.answer(delivery.token, Verb::Reply, Some(text("3"))).await,
        Ok(Answered::Done)
    );
    let settlement = waiting.await.unwrap().unwrap().unwrap();
    let expected = Settlement {
        id: submitted.id,
        outcome: Outcome::Replied,
        content: text("3"),
        preserved: None,
    };
    assert_eq!(settlement, expected);
    // Read back from the disk, as often as one likes.
    assert_eq!(handle.outcome(submitted.id, NOW).await, Ok(Some(expected)));
    assert_eq!(handle.payload(delivery.token).await.unwrap(), None);
    assert_eq!(handle.collect(submitted.id).await, Ok(()));
    assert_eq!(handle.outcome(submitted.id, NOW).await, Err(Refusal::Unknown));
    let status = handle.status().await;
    assert_eq!((status.deliveries, status.memory_used), (0, 0));
    node.close().await;
}

#[tokio::test]
async fn a_call_comes_back_with_its_reply_and_leaves_the_collecting_to_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    let worker = tokio::spawn({
        let handle = handle.clone();
        async move {
            let taken = handle.take("up", "w", 4, LONG).await.unwrap();
            let one = &taken[0];
            let reply = String::from_utf8(one.content.bytes.to_vec())
                .unwrap()
                .to_uppercase();
            handle
                .answer(one.token, Verb::Reply, Some(text(&reply)))
                .await
                .unwrap()
        }
    });
    let Called::Settled(settlement) = handle.call(message("up", text("abc")), LONG).await.unwrap() else {
        panic!("the worker answers at once")
    };
    assert_eq!(settlement.content, text("ABC"));
    assert_eq!(worker.await.unwrap(), Answered::Done);
    assert_eq!(handle.collect(settlement.id).await, Ok(()));
    // Nobody serves this one.
    let called = handle
        .call(message("none", text("abc")), Duration::from_millis(1))
        .await
        .unwrap();
    let Called::Open(open) = called else {
        panic!("{called:?}")
    };
    assert_eq!(handle.cancel(open.id).await, Ok(()));
    let outcome = handle.outcome(open.id, NOW).await.unwrap().unwrap();
    assert_eq!(outcome.outcome, Outcome::Cancelled);
    assert_eq!(handle.cancel(open.id).await, Err(Refusal::State));
    node.close().await;
}

#[tokio::test]
async fn a_failure_and_an_ack_end_messages_too() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    let failing = handle.submit(message("f", text("x"))).await.unwrap();
    let taken = handle.take("f", "w", 1, LONG).await.unwrap();
    assert_eq!(
        handle.answer(taken[0].token, Verb::Fail, Some(text("why"))).await,
        Ok(Answered::Done)
    );
    let outcome = handle.outcome(failing.id, LONG).await.unwrap().unwrap();
    assert_eq!((outcome.outcome, outcome.content), (Outcome::Failed, text("why")));

    let terms = Terms {
        send_only: true,
        ..Terms::default()
    };
    let new = NewMessage {
        service: "f".to_owned(),
        producer: None,
        alternate: None,
        terms,
        content: Content::default(),
        extras: crate::Extras::default(),
    };
    let sent = handle.submit(new).await.unwrap();
    let taken = handle.take("f", "w", 1, LONG).await.unwrap();
    assert!(taken[0].send_only);
    assert_eq!(taken[0].content, Content::default());
    assert_eq!(
        handle.answer(taken[0].token, Verb::Ack, None).await,
        Ok(Answered::Done)
    );
    let outcome = handle.outcome(sent.id, LONG).await.unwrap().unwrap();
    assert_eq!(outcome.outcome, Outcome::Delivered);
    node.close().await;
}

#[tokio::test]
async fn a_take_that_was_dropped_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    // Waits at the driver, then goes away.
    let mut take = Box::pin(handle.take("s", "w", 1, LONG));
    assert!(is_waiting(&mut take).await);
    // The command is with the driver for certain once a later one was answered.
    assert_eq!(handle.consumers().await.len(), 1);
    drop(take);
    let submitted = handle.submit(message("s", text("1"))).await.unwrap();
    // Its consumer's place is free, or becomes so before its lease is over.
    let taken = handle.take("s", "w", 1, LONG).await.unwrap();
    assert_eq!(taken[0].token.message, submitted.id);

    // Given to a take whose future is dropped before it was polled again: it comes back at once.
    let done = handle.answer(taken[0].token, Verb::Reply, Some(text("r"))).await;
    assert_eq!(done, Ok(Answered::Done));
    let mut take = Box::pin(handle.take("s", "w", 1, LONG));
    assert!(is_waiting(&mut take).await);
    let submitted = handle.submit(message("s", text("2"))).await.unwrap();
    while handle.message(submitted.id).await.unwrap().state != "granted" {
        tokio::task::yield_now().await;
    }
    drop(take);
    let again = tokio::time::timeout(Duration::from_secs(10), handle.take("s", "w", 1, LONG)).await;
    assert_eq!(again.unwrap().unwrap()[0].token.message, submitted.id);
    node.close().await;
}

#[tokio::test]
async fn a_take_without_waiting_answers_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    assert!(handle.take("s", "w", 1, NOW).await.unwrap().is_empty());
    handle.submit(message("s", text("1"))).await.unwrap();
    handle.submit(message("s", text("2"))).await.unwrap();
    handle.register("s", "w", 2, LONG, None).await.unwrap();
    assert_eq!(handle.take("s", "w", 8, NOW).await.unwrap().len(), 2);
    // Its limit is used up (P4).
    assert!(handle.take("s", "w", 8, NOW).await.unwrap().is_empty());
    node.close().await;
}

#[tokio::test]
async fn unregistering_ends_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    let mut take = Box::pin(handle.take("s", "w", 1, LONG));
    assert!(is_waiting(&mut take).await);
    handle.unregister("s", "w").await.unwrap();
    assert!(take.await.unwrap().is_empty());
    assert_eq!(handle.unregister("s", "w").await, Err(Refusal::Unknown));
    node.close().await;
}

#[tokio::test]
async fn wrong_requests_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open_with(dir.path(), |settings| {
        settings.memory_max = 64 << 10;
        settings.payload_max = 8 << 10;
    })
    .await;
    let handle = node.handle();
    let bad = handle.submit(message("no such name/", text("x"))).await;
    assert!(matches!(bad, Err(Refusal::Name(_))), "{bad:?}");
    let big = Content {
        origin: None,
        trace_context: None,
        content_type: None,
        bytes: Bytes::from(vec![0; (8 << 10) + 1]),
    };
    assert_eq!(handle.submit(message("s", big)).await, Err(Refusal::TooLarge));
    let odd = Content {
        origin: None,
        trace_context: None,
        content_type: Some("x".repeat(2_000).into()),
        bytes: Bytes::new(),
    };
    assert_eq!(handle.submit(message("s", odd)).await, Err(Refusal::TooLarge));
    let foreign = MessageId {
        node: NodeId(handle.node().0 ^ 1),
        sequence: 1,
    };
    assert_eq!(handle.message(foreign).await, Err(Refusal::Foreign));
    let unknown = MessageId {
        node: handle.node(),
        sequence: 1,
    };
    assert_eq!(handle.message(unknown).await, Err(Refusal::Unknown));
    assert_eq!(handle.cancel(unknown).await, Err(Refusal::Unknown));
    assert_eq!(handle.take("s", "w", 0, NOW).await.map(drop), Err(Refusal::Zero));
    assert_eq!(handle.register("s", "w", 0, LONG, None).await, Err(Refusal::Zero));
    node.close().await;
}

#[tokio::test]
async fn what_is_on_disk_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    let open = handle.submit(message("s", text("open"))).await.unwrap();
    let done = handle.submit(message("t", text("done"))).await.unwrap();
    let taken = handle.take("t", "w", 1, LONG).await.unwrap();
    handle
        .answer(taken[0].token, Verb::Reply, Some(text("reply")))
        .await
        .unwrap();
    let short = Terms {
        ett: Some(CoreDuration::from_millis(1)),
        ..Terms::default()
    };
    let late = handle
        .submit(NewMessage {
            service: "s".into(),
            producer: None,
            alternate: None,
            terms: short,
            content: text("late"),
            extras: crate::Extras::default(),
        })
        .await
        .unwrap();
    node.close().await;
    assert_eq!(
        handle.submit(message("s", text("x"))).await,
        Err(Refusal::Stopped)
    );

    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    assert_eq!(
        handle.outcome(done.id, NOW).await.unwrap().unwrap().content,
        text("reply")
    );
    assert_eq!(
        handle.outcome(late.id, LONG).await.unwrap().unwrap().outcome,
        Outcome::Expired
    );
    // Its payload is no longer in memory.
    let taken = handle.take("s", "w", 1, LONG).await.unwrap();
    assert_eq!(
        (taken[0].token.message, &taken[0].content),
        (open.id, &text("open"))
    );
    assert!(handle.ready());
    node.close().await;
}

#[tokio::test]
async fn draining_waits_for_what_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    handle.submit(message("s", text("1"))).await.unwrap();
    let taken = handle.take("s", "w", 1, LONG).await.unwrap();
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.take("other", "w", 1, LONG).await }
    });
    while handle.consumers().await.len() < 2 {
        tokio::task::yield_now().await;
    }
    let mut drained = Box::pin(handle.drain());
    assert!(is_waiting(&mut drained).await);
    // The one that waits is sent home; new work is refused; what is held may be answered.
    assert!(waiting.await.unwrap().unwrap().is_empty());
    assert!(!handle.ready());
    assert_eq!(
        handle.submit(message("s", text("2"))).await,
        Err(Refusal::Draining)
    );
    assert_eq!(
        handle.take("s", "w", 1, NOW).await.map(drop),
        Err(Refusal::Draining)
    );
    assert!(is_waiting(&mut drained).await);
    assert_eq!(
        handle.answer(taken[0].token, Verb::Reply, Some(text("r"))).await,
        Ok(Answered::Done)
    );
    tokio::time::timeout(LONG, drained).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn a_full_memory_refuses_submits_and_takes_answers() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open_with(dir.path(), |settings| {
        settings.memory_max = 4 << 10;
        settings.payload_max = 1 << 10;
    })
    .await;
    let handle = node.handle();
    let block = || Content {
        origin: None,
        trace_context: None,
        content_type: None,
        bytes: Bytes::from(vec![7; 1 << 10]),
    };
    // All at once, so that most of them meet before any is on disk.
    let all = (0..64).map(|_| handle.submit(message("s", block())));
    let all = futures_util::future::join_all(all).await;
    let accepted = all.iter().filter(|one| one.is_ok()).count();
    assert!(
        all.iter().all(|one| matches!(one, Ok(_) | Err(Refusal::Memory))),
        "{all:?}"
    );
    assert!(accepted >= 4);
    let taken = handle.take("s", "w", 1, LONG).await.unwrap();
    assert_eq!(
        handle.answer(taken[0].token, Verb::Reply, Some(block())).await,
        Ok(Answered::Done)
    );
    assert_eq!(handle.status().await.memory_used, 0);
    node.close().await;
}
