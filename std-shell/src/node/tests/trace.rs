//! What nodes remember of messages.

use super::*;
use crate::driver::{MessageTrace, Refusal};

async fn trace(node: &Node, id: MessageId) -> MessageTrace {
    node.handle().trace(id).await.unwrap()
}

fn words(trace: &MessageTrace) -> Vec<&str> {
    trace.steps.iter().map(|step| step.step.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_over_a_link_is_told_at_both_ends() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = pair().await;
    let id = submit(&south, "s", content(100)).await;
    let delivery = take(&north, "s").await;
    let answered = north
        .handle()
        .answer(delivery.token, Verb::Reply, Some(content(5)))
        .await;
    assert_eq!(answered, Ok(Answered::Done));
    outcome(&south, id).await;
    south.handle().collect(id).await.unwrap();

    let at_origin = trace(&south, id).await;
    assert_eq!(
        words(&at_origin),
        [
            "accepted",
            "offer",
            "claim",
            "grant",
            "answer",
            "settling",
            "outcome",
            "settled",
            "collected"
        ]
    );
    assert_eq!(
        (at_origin.node.as_str(), &at_origin.peers[..]),
        ("south", &["north".to_owned()][..])
    );
    let claim = &at_origin.steps[2];
    assert_eq!(claim.from.as_deref(), Some("north"));
    assert_eq!(claim.node.as_ref().unwrap().name.as_deref(), Some("north"));
    let grant = &at_origin.steps[3];
    assert_eq!((grant.to.as_deref(), grant.attempt), (Some("north"), Some(1)));
    assert!(grant.detail.as_ref().unwrap().contains("100 B"), "{grant:?}");
    assert_eq!(at_origin.steps[6].detail.as_deref(), Some("replied"));
    assert!(at_origin.steps.is_sorted_by_key(|step| step.at_micros));

    let there = trace(&north, id).await;
    assert_eq!(
        words(&there),
        [
            "offer",
            "claim",
            "grant",
            "delivered",
            "answer",
            "settled",
            "answered"
        ]
    );
    assert_eq!(there.steps[3].detail.as_deref(), Some("to w"));
    assert_eq!(there.steps[6].detail.as_deref(), Some("reply taken"));

    let never = MessageId {
        sequence: id.sequence + 100,
        ..id
    };
    assert_eq!(south.handle().trace(never).await, Err(Refusal::Unknown));
    assert_eq!(north.handle().trace(never).await, Err(Refusal::Foreign));
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_over_and_a_release_are_seen() {
    let place = Place::new("n");
    let node = place.start(None).await;
    node.handle()
        .register("s", "w", 1, Duration::from_millis(100), None)
        .await
        .unwrap();
    let id = submit(&node, "s", content(1)).await;
    // Nobody answers this one.
    let first = take(&node, "s").await;
    let second = take(&node, "s").await;
    assert_eq!((first.attempt, second.attempt), (1, 2));
    let _ = node.handle().answer(second.token, Verb::Release, None).await;
    let seen = trace(&node, id).await;
    assert_eq!(words(&seen)[..3], ["accepted", "delivered", "lost"], "{seen:#?}");
    assert_eq!(seen.steps[2].detail.as_deref(), Some("the lease is over"));
    assert!(
        seen.steps
            .iter()
            .any(|s| s.step == "delivered" && s.attempt == Some(2))
    );
    assert!(
        !words(&seen).contains(&"requeued"),
        "both ends were said: {seen:#?}"
    );
    node.handle().cancel(id).await.unwrap();
    let seen = trace(&node, id).await;
    assert_eq!(
        words(&seen)[words(&seen).len() - 3..],
        ["cancel", "settling", "outcome"]
    );
    node.stop(LONG).await;
}

#[tokio::test]
async fn nothing_is_kept_where_there_is_no_memory_for_it() {
    let mut place = Place::new("n");
    place.flags.trace_memory = Some(crate::config::Size(0));
    let node = place.start(None).await;
    let id = submit(&node, "s", content(1)).await;
    let seen = trace(&node, id).await;
    assert!(!seen.on && seen.steps.is_empty());
    node.stop(LONG).await;
}
