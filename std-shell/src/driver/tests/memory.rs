//! Messages that are kept in memory only.

use super::*;
use crate::{Durability, Extras, Fingerprint, Idempotency};
use redlink_core::Bound;

fn kept(service: &str, content: Content) -> NewMessage {
    NewMessage {
        extras: Extras {
            durability: Durability::Memory,
            ..Extras::default()
        },
        ..message(service, content)
    }
}

fn bytes(size: usize) -> Content {
    Content {
        bytes: vec![7; size].into(),
        ..Content::default()
    }
}

#[tokio::test]
async fn it_lives_like_any_other_and_nothing_of_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    let mut new = kept("wc", text("a b c"));
    new.extras.preserved = Some("order 17".into());
    let sent = handle.submit(new.clone()).await.unwrap();
    let shown = handle.message(sent.id).await.unwrap();
    assert_eq!(
        (shown.state.as_str(), shown.durability.as_str()),
        ("queued", "memory")
    );
    let plain = handle.submit(message("other", text("x"))).await.unwrap();
    assert_eq!(handle.message(plain.id).await.unwrap().durability, "disk");

    let taken = handle.take("wc", "w", 1, LONG).await.unwrap();
    assert_eq!(taken[0].content, text("a b c"));
    assert_eq!(handle.payload(taken[0].token).await.unwrap(), Some(text("a b c")));
    let waiting = handle.outcome(sent.id, LONG);
    let answering = handle.answer(taken[0].token, Verb::Reply, Some(text("3")));
    let (outcome, answered) = tokio::join!(waiting, answering);
    assert_eq!(answered, Ok(Answered::Done));
    let expected = Settlement {
        id: sent.id,
        outcome: Outcome::Replied,
        content: text("3"),
        preserved: Some("order 17".into()),
    };
    assert_eq!(outcome, Ok(Some(expected.clone())));
    assert_eq!(handle.outcome(sent.id, NOW).await, Ok(Some(expected)));
    assert_eq!(handle.message(sent.id).await.unwrap().durability, "memory");
    let status = handle.status().await;
    assert_eq!((status.memory_messages, status.memory_used), (1, 0));
    assert_eq!((status.store.messages, status.store.outcomes), (1, 0));
    assert_eq!(handle.collect(sent.id).await, Ok(()));
    assert_eq!(handle.outcome(sent.id, NOW).await, Err(Refusal::Unknown));

    let cancelled = handle.submit(kept("nobody", text("x"))).await.unwrap();
    assert_eq!(handle.cancel(cancelled.id).await, Ok(()));
    let outcome = handle.outcome(cancelled.id, NOW).await.unwrap().unwrap();
    assert_eq!(outcome.outcome, Outcome::Cancelled);
    new.terms.ett = Some(CoreDuration::from_millis(20));
    new.service = "nobody".into();
    let late = handle.submit(new).await.unwrap();
    let outcome = handle.outcome(late.id, LONG).await.unwrap().unwrap();
    assert_eq!(
        (outcome.outcome, outcome.preserved.unwrap().as_ref()),
        (Outcome::Expired, &b"order 17"[..])
    );
    for id in [cancelled.id, late.id] {
        handle.collect(id).await.unwrap();
    }
    let status = handle.status().await;
    assert_eq!((status.memory_messages, status.memory_messages_used), (0, 0));
    assert_eq!((status.store.messages, status.store.outcomes), (1, 0));
    node.close().await;
}

#[tokio::test]
async fn no_later_life_gives_their_numbers_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for orderly in [false, true, false, true] {
        let node = Node::open(dir.path()).await;
        let handle = node.handle();
        for _ in 0..3 {
            let id = handle.submit(kept("s", text("x"))).await.unwrap().id;
            assert!(id.sequence > last, "{id} after {last}");
            last = id.sequence;
        }
        assert_eq!(handle.status().await.messages, 3, "the others are gone");
        match orderly {
            true => node.close().await,
            false => {
                node.running.stop().await;
                // The last handle goes with it, and nothing is tidied up.
                drop((node.store, handle));
            }
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_an_outcome_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let small = |settings: &mut Settings| {
        settings.memory_messages = 1_000;
        settings.timing.store_retry = CoreDuration::from_millis(10);
    };
    let node = Node::open_with(dir.path(), small).await;
    let handle = node.handle();
    assert_eq!(
        handle.submit(kept("s", bytes(1_001))).await,
        Err(Refusal::TooLarge)
    );
    let one = handle.submit(kept("one", bytes(500))).await.unwrap();
    let two = handle.submit(kept("two", bytes(500))).await.unwrap();
    assert_eq!(
        handle.submit(kept("s", bytes(1))).await,
        Err(Refusal::MemoryMessages)
    );
    // On disk there is room.
    handle.submit(message("s", bytes(500))).await.unwrap();
    let taken = handle.take("one", "w", 1, LONG).await.unwrap();
    let first = handle.answer(taken[0].token, Verb::Reply, Some(bytes(750))).await;
    assert_eq!(first, Ok(Answered::Done));
    let taken = handle.take("two", "w", 1, LONG).await.unwrap();
    let mut second = Box::pin(handle.answer(taken[0].token, Verb::Reply, Some(bytes(600))));
    // Nobody is told an outcome that is kept nowhere.
    let early = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(handle.outcome(two.id, NOW).await, Ok(None));
    handle.collect(one.id).await.unwrap();
    assert_eq!(second.await, Ok(Answered::Done));
    let outcome = handle.outcome(two.id, LONG).await.unwrap().unwrap();
    assert_eq!(outcome.content, bytes(600));
    let status = handle.status().await;
    assert_eq!(
        (status.memory_messages_used, status.memory_messages_max),
        (600, 1_000)
    );
    node.close().await;
}

#[tokio::test]
async fn a_key_of_one_in_memory_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let keyed = || {
        let mut new = kept("s", text("x"));
        new.extras.idempotency = Some(Idempotency {
            key: "k".into(),
            request: Fingerprint([1; 32]),
        });
        new
    };
    let node = Node::open_with(dir.path(), |settings| settings.capacity.messages = 1).await;
    let handle = node.handle();
    let first = handle.submit(keyed()).await.unwrap();
    let again = handle.submit(keyed()).await.unwrap();
    assert_eq!((again.id, again.repeated), (first.id, true));
    // Refused by the core: nothing stays counted.
    let full = handle.submit(kept("s", text("x"))).await;
    assert_eq!(full, Err(Refusal::Full(Bound::Messages)));
    handle.cancel(first.id).await.unwrap();
    handle.collect(first.id).await.unwrap();
    assert_eq!(handle.status().await.memory_messages_used, 0);
    node.close().await;
    let node = Node::open(dir.path()).await;
    let next = node.handle().submit(keyed()).await.unwrap();
    assert!(!next.repeated && next.id != first.id);
    node.close().await;
}
