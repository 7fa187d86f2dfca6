//! A message is followed over nodes, and only by who may know of it.

use super::*;
use crate::driver::{MessageTrace, Refusal};
use std::collections::BTreeSet;

/// Two souths of one hub, and a third that has nothing to do with the message.
struct Star {
    hub: Node,
    souths: [Node; 3],
    _places: Vec<Place>,
}

/// The links of the first south travel by `link`; the hub's settings are changed by `change`.
async fn star(link: &str, change: impl FnOnce(&mut Place)) -> Star {
    let mut hub_place = Place::new("hub");
    change(&mut hub_place);
    let hub = hub_place.start(None).await;
    let mut places = vec![hub_place];
    let mut souths = Vec::new();
    for (name, link) in [("s1", link), ("s2", "auto"), ("stranger", "auto")] {
        let (place, node) = join(&hub, name, &[&hub], link).await;
        places.push(place);
        souths.push(node);
    }
    Star {
        hub,
        souths: souths.try_into().unwrap_or_else(|_| panic!("three")),
        _places: places,
    }
}

/// A node that joins the mesh of the first one and has links with all these.
async fn join(first: &Node, name: &str, norths: &[&Node], link: &str) -> (Place, Node) {
    let authority = first.identity().authority.clone().unwrap();
    let token = authority.new_token(LONG).unwrap().token;
    let mut place = Place::new(name);
    place.flags.north = Some(norths.iter().map(|north| north.url().into()).collect());
    place.flags.link = Some(link.to_owned());
    let node = place.start(Some(&token)).await;
    until("all sessions", async || {
        let peers = node.handle().peers().await;
        peers.iter().filter(|peer| peer.connected).count() == norths.len()
    })
    .await;
    (place, node)
}

/// A call from the first south to the second.
async fn call(star: &Star) -> MessageId {
    let [s1, s2, _] = &star.souths;
    let id = submit(s1, "s", content(100)).await;
    let delivery = take(s2, "s").await;
    let answered = s2
        .handle()
        .answer(delivery.token, Verb::Reply, Some(content(5)))
        .await;
    assert_eq!(answered, Ok(Answered::Done));
    outcome(s1, id).await;
    id
}

fn states(trace: &MessageTrace) -> Vec<(&str, &str)> {
    let nodes = trace.nodes.iter();
    nodes.map(|n| (n.name.as_str(), n.state.as_str())).collect()
}

/// Asks until the nodes say this; a machine may be too slow for the time that one asking has.
async fn followed(node: &Node, id: MessageId, expected: &[(&str, &str)]) -> MessageTrace {
    let mut trace = MessageTrace::default();
    until(&format!("{expected:?}"), async || {
        trace = node.handle().follow(id).await.unwrap();
        states(&trace) == expected
    })
    .await;
    trace
}

/// What was seen where, in the order of the trace.
fn seen<'t>(trace: &'t MessageTrace, words: &[&str]) -> Vec<(&'t str, &'t str)> {
    let steps = trace.steps.iter();
    steps
        .map(|step| (step.seen_by.as_str(), step.step.as_str()))
        .filter(|(_, word)| words.contains(word))
        .collect()
}

async fn stop(star: Star) {
    for node in star.souths.into_iter().chain([star.hub]) {
        node.stop(Duration::ZERO).await;
    }
}

async fn all_tell(link: &str) {
    let star = star(link, |_| {}).await;
    let id = call(&star).await;
    let [s1, s2, _] = &star.souths;
    // The last that is seen of the call.
    until("the answer to be taken", async || {
        let here = s2.handle().trace(id).await.unwrap();
        !seen(&here, &["answered"]).is_empty()
    })
    .await;
    for (asked, others) in [
        (s1, ["hub", "s2"]),
        (&star.hub, ["s1", "s2"]),
        (s2, ["hub", "s1"]),
    ] {
        let here = asked.handle().name().to_string();
        let all = [(here.as_str(), "told"), (others[0], "told"), (others[1], "told")];
        let trace = followed(asked, id, &all).await;
        let way = ["accepted", "grant", "delivered", "outcome"];
        let expected = [
            ("s1", "accepted"),
            ("s1", "grant"),
            ("hub", "grant"),
            ("hub", "grant"),
            ("s2", "grant"),
            ("s2", "delivered"),
            ("s1", "outcome"),
        ];
        assert_eq!(seen(&trace, &way), expected, "asked at {here}");
        assert!(trace.steps.is_sorted_by_key(|step| step.at_micros));
        // Each node's own steps once.
        let claims = seen(&trace, &["claim"]);
        assert_eq!(claims.len(), 4, "{claims:?}");
        let consumers = trace.steps.iter().filter_map(|step| step.node.as_ref());
        let consumers: BTreeSet<_> = consumers.map(|node| node.name.as_deref()).collect();
        assert_eq!(consumers, [Some("s2")].into(), "{trace:#?}");
    }
    stop(star).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_on_the_way_tells_all_of_it() {
    all_tell("stream").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_do_links_that_poll() {
    all_tell("poll").await;
}

/// Two hubs with a link between them, and both souths below both: who is asked three ways tells once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_several_ways_is_there_once() {
    let a_place = Place::new("a");
    let a = a_place.start(None).await;
    let (_b_place, b) = join(&a, "b", &[&a], "auto").await;
    let (_s1_place, s1) = join(&a, "s1", &[&a, &b], "auto").await;
    let (_s2_place, s2) = join(&a, "s2", &[&a, &b], "auto").await;
    // Nobody takes it, so both hubs are asked to have it claimed.
    s2.handle().register("s", "w", 1, LONG, None).await.unwrap();
    until("two ways", async || {
        let routes = s1.handle().routes().await;
        let ways = routes
            .iter()
            .filter(|route| route.service == "s" && route.reachable);
        ways.count() == 2
    })
    .await;
    let id = submit(&s1, "s", content(1)).await;
    until("both to know of it", async || {
        s1.handle().trace(id).await.unwrap().peers == ["a", "b"]
    })
    .await;
    for (asked, first) in [(&s1, "s1"), (&a, "a"), (&s2, "s2")] {
        let mut names = vec!["a", "b", "s1", "s2"];
        names.retain(|name| *name != first);
        names.insert(0, first);
        let all: Vec<_> = names.into_iter().map(|name| (name, "told")).collect();
        let trace = followed(asked, id, &all).await;
        for node in [&a, &b, &s1, &s2] {
            let name = node.handle().name().as_str();
            let own = node.handle().trace(id).await.unwrap();
            let told = trace.steps.iter().filter(|step| step.seen_by == name).count();
            // It may be offered again meanwhile, and is never told twice.
            assert!((1..=own.steps.len()).contains(&told), "{name}: {told}, {own:#?}");
        }
    }
    for node in [s1, s2, b, a] {
        node.stop(Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_learns_nothing() {
    let star = star("auto", |_| {}).await;
    let id = call(&star).await;
    let stranger = star.souths[2].handle();
    assert_eq!(stranger.follow(id).await, Err(Refusal::Foreign));
    let never = MessageId {
        sequence: id.sequence + 100,
        ..id
    };
    let expected = [("stranger", "told"), ("hub", "unknown"), ("nobody", "not-linked")];
    let mut told = Vec::new();
    for message in [id, never] {
        until("the hub to answer", async || {
            // As a node would ask that lies about what it has seen.
            let lie = MessageTrace {
                node: "stranger".into(),
                peers: vec!["hub".into(), "nobody".into()],
                ..MessageTrace::default()
            };
            let trace = stranger.ask_others(message, lie).await.unwrap();
            assert!(trace.steps.is_empty(), "{trace:?}");
            let answered = states(&trace) == expected;
            told.extend(answered.then_some(trace));
            answered
        })
        .await;
    }
    // There is no difference to a message that never was.
    assert_eq!(told[0], told[1]);
    stop(star).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_keeps_no_steps_or_is_gone_is_named() {
    let star = star("auto", |hub| {
        hub.flags.trace_memory = Some(crate::config::Size(0));
    })
    .await;
    let id = call(&star).await;
    let s1 = &star.souths[0];
    let trace = followed(s1, id, &[("s1", "told"), ("hub", "off")]).await;
    assert!(trace.steps.iter().all(|step| step.seen_by == "s1"));

    let Star {
        hub, souths, _places, ..
    } = star;
    hub.stop(Duration::ZERO).await;
    followed(&souths[0], id, &[("s1", "told"), ("hub", "not-linked")]).await;
    for south in souths {
        south.stop(Duration::ZERO).await;
    }
}

/// Questions that are not answered yet and bytes that make no sense harm nothing but further questions (P11).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_and_junk_are_bounded_and_counted() {
    let star = star("auto", |_| {}).await;
    let id = call(&star).await;
    let [s1, s2, _] = &star.souths;
    let hub = star.hub.handle();
    let counted = async |name: &str| hub.status().await.counters[name];
    let turn = hub.desk().walks.acquire().await.unwrap();
    let mut floods = JoinSet::new();
    // Two more than one peer may have under way, and no more than a node asks for its operators.
    for _ in 0..8 {
        let s1 = s1.handle().clone();
        floods.spawn(async move {
            loop {
                s1.follow(id).await.unwrap();
            }
        });
    }
    until("a question is refused", async || {
        counted("trace_questions_refused").await > 0
    })
    .await;

    let name: redlink_core::Name = "hub".parse().unwrap();
    let line = s2.handle().lines(vec![name.clone()]).await;
    let overlong = [&[1][..], &[0xff; 40]].concat();
    for junk in [&[1, 2, 3][..], &overlong, &[4; 16], &[2; 17], &[0xfe; 99]] {
        let junk = Bytes::copy_from_slice(junk);
        line[&name].outbox.aside(|| junk).await;
    }
    // The last are a piece that nobody waits for, and of a kind that later versions may have.
    until("junk is counted", async || counted("asides_refused").await == 3).await;
    round(s1, s2, "beside", 10, 10_000).await;
    drop(turn);
    floods.shutdown().await;
    followed(s1, id, &[("s1", "told"), ("hub", "told"), ("s2", "told")]).await;
    stop(star).await;
}
