//! Submits with idempotency keys, at the driver and over its lives.

use super::*;
use crate::{Extras, Fingerprint, Idempotency};
use redlink_core::{Bound, Capacity};

fn keyed(key: &str, payload: &str) -> NewMessage {
    let idempotency = Idempotency {
        key: key.into(),
        request: Fingerprint([payload.len() as u8; 32]),
    };
    NewMessage {
        extras: Extras {
            idempotency: Some(idempotency),
            ..Extras::default()
        },
        ..message("s", text(payload))
    }
}

#[tokio::test]
async fn those_that_come_while_the_first_is_stored_join_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    let all = (0..8).map(|_| handle.submit(keyed("k", "a")));
    let all = futures_util::future::join_all(all).await;
    let first = all[0].unwrap();
    assert!(all.iter().all(|one| one.unwrap().id == first.id), "{all:?}");
    assert_eq!(handle.status().await.messages, 1);
    let calls = (0..3).map(|_| handle.call(keyed("c", "a"), LONG));
    let worker = async {
        for _ in 0..2 {
            for one in handle.take("s", "w", 1, LONG).await.unwrap() {
                handle
                    .answer(one.token, Verb::Reply, Some(text("done")))
                    .await
                    .unwrap();
            }
        }
    };
    let (calls, ()) = tokio::join!(futures_util::future::join_all(calls), worker);
    for called in calls {
        let Ok(Called::Settled(settlement)) = called else {
            panic!("{called:?}")
        };
        assert_eq!(settlement.content, text("done"));
    }
    node.close().await;
}

#[tokio::test]
async fn a_key_counts_over_a_restart_and_after_the_collecting() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    let first = handle.submit(keyed("k", "a")).await.unwrap();
    let gone = handle.submit(keyed("gone", "a")).await.unwrap();
    handle.cancel(gone.id).await.unwrap();
    handle.collect(gone.id).await.unwrap();
    node.close().await;
    let node = Node::open(dir.path()).await;
    let handle = node.handle();
    for (key, id, deadline) in [("k", first.id, first.deadline), ("gone", gone.id, gone.deadline)] {
        let again = handle.submit(keyed(key, "a")).await.unwrap();
        assert_eq!((again.id, again.deadline, again.repeated), (id, deadline, true));
        let other = handle.submit(keyed(key, "other")).await;
        assert_eq!(other, Err(Refusal::KeyReused));
    }
    let called = handle.call(keyed("gone", "a"), LONG).await;
    assert_eq!(called.unwrap_err(), Refusal::Collected);
    assert_eq!(handle.status().await.messages, 1);
    node.close().await;
}

#[tokio::test]
async fn a_refused_submit_leaves_no_key_and_a_full_table_refuses_only_those_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let small = |settings: &mut Settings| {
        settings.idempotency_keys = 1;
        settings.capacity = Capacity {
            messages: 2,
            ..settings.capacity
        };
    };
    let node = Node::open_with(dir.path(), small).await;
    let handle = node.handle();
    let plain = handle.submit(message("s", text("x"))).await.unwrap();
    handle.submit(message("s", text("x"))).await.unwrap();
    let full = handle.submit(keyed("k", "a")).await;
    assert_eq!(full, Err(Refusal::Full(Bound::Messages)));
    handle.cancel(plain.id).await.unwrap();
    handle.collect(plain.id).await.unwrap();
    // Nothing is left of the first try: another request may have the key.
    let first = handle.submit(keyed("k", "other")).await.unwrap();
    assert!(!first.repeated);
    handle.cancel(first.id).await.unwrap();
    handle.collect(first.id).await.unwrap();
    assert_eq!(handle.submit(keyed("k2", "a")).await, Err(Refusal::Keys));
    assert!(handle.submit(keyed("k", "other")).await.unwrap().repeated);
    handle.submit(message("s", text("x"))).await.unwrap();
    let status = handle.status().await;
    assert_eq!((status.idempotency_keys, status.idempotency_keys_max), (1, 1));
    node.close().await;
}

#[tokio::test]
async fn preserved_data_counts_in_memory_only_until_it_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open_with(dir.path(), |settings| settings.memory_max = 1_000).await;
    let handle = node.handle();
    let with = |size: usize| NewMessage {
        extras: Extras {
            preserved: Some(vec![7; size].into()),
            ..Extras::default()
        },
        ..message("s", text("x"))
    };
    assert_eq!(handle.submit(with(1_000)).await, Err(Refusal::Memory));
    for _ in 0..3 {
        let sent = handle.submit(with(900)).await.unwrap();
        assert_eq!(handle.status().await.memory_used, 0);
        handle.cancel(sent.id).await.unwrap();
        let settlement = handle.outcome(sent.id, NOW).await.unwrap().unwrap();
        assert_eq!(settlement.preserved.unwrap(), vec![7; 900]);
    }
    node.close().await;
}
