//! A message is followed over all nodes that it touched, from whichever of them is asked.

use redlink_tests::{Node, until};
use serde_json::Value;

fn words<'t>(list: &'t Value, names: [&str; 2]) -> Vec<(&'t str, &'t str)> {
    let text = |value: &'t Value| value.as_str().expect("a text");
    let all = list.as_array().into_iter().flatten();
    all.map(|one| (text(&one[names[0]]), text(&one[names[1]])))
        .collect()
}

/// The trace as JSON, once each node says what it should; a machine may be too slow for the time that one asking has.
fn follow(node: &Node, id: &str, expected: &[(&str, &str)]) -> Value {
    until(&format!("{expected:?} at {}", node.name()), || {
        let said = node.cli(&["message", "trace", id, "--json"], b"").ok();
        let trace: Value = serde_json::from_slice(&said.out).expect("JSON");
        let found = words(&trace["nodes"], ["name", "state"]);
        (found == expected).then_some(trace)
    })
}

/// From a producer at one south, whose link polls, to a worker at another; a third south has nothing to do with it.
#[test]
fn every_node_on_the_way_tells_of_a_message_and_a_stranger_learns_nothing() {
    let mut hub = Node::first("hub");
    let mut s1 = Node::prepare("s1");
    let (url, token) = (hub.url(), hub.token());
    s1.start_with(&["--north", &url, "--token", &token, "--link", "poll"]);
    let s2 = Node::join("s2", &url, &hub.token());
    let stranger = Node::join("stranger", &url, &hub.token());
    s2.register("s", "w", 1, "30s");
    s1.wait_service("s");
    stranger.wait_link(true);
    assert_eq!(s1.json("/v1/peers")[0]["mode"], "poll");

    let id = s1.submit("s", &[], b"x");
    let taken = s2.take("s", "w");
    s2.answer(&taken.delivery, "reply", b"y").status(204);
    s1.collect(&id).status(200);

    let all = |first, second, third| [(first, "told"), (second, "told"), (third, "told")];
    for (node, all) in [
        (&s1, all("s1", "hub", "s2")),
        (&hub, all("hub", "s1", "s2")),
        (&s2, all("s2", "hub", "s1")),
    ] {
        let trace = follow(node, &id, &all);
        let mut steps = words(&trace["steps"], ["seen_by", "step"]);
        let way = [
            ("s1", "accepted"),
            ("s1", "offer"),
            ("hub", "offer"),
            ("hub", "offer"),
            ("s2", "offer"),
            ("s2", "claim"),
            ("hub", "claim"),
            ("hub", "claim"),
            ("s1", "claim"),
            ("s1", "grant"),
            ("hub", "grant"),
            ("hub", "grant"),
            ("s2", "grant"),
            ("s2", "delivered"),
            ("s2", "answer"),
            ("hub", "answer"),
            ("hub", "answer"),
            ("s1", "answer"),
            ("s1", "outcome"),
            ("s1", "collected"),
        ];
        // That it is settled goes back while the outcome is collected; its place in time is nobody's promise.
        steps.retain(|step| way.contains(step));
        assert_eq!(steps, way, "asked at {}", node.name());
        let here = node.cli(&["message", "trace", &id, "--here", "--json"], b"").ok();
        let here: Value = serde_json::from_slice(&here.out).expect("JSON");
        assert_eq!(here["nodes"], Value::Null, "it asks nobody");
        let own = words(&here["steps"], ["seen_by", "step"]);
        assert!(own.iter().all(|(by, _)| *by == node.name()), "{own:?}");
    }
    let shown = s1.cli(&["message", "trace", &id], b"").ok().text();
    println!("{shown}");
    assert!(shown.contains("NODE") && shown.contains("for s2"), "{shown}");

    let path = format!("/v1/messages/{id}/trace");
    for query in ["", "?follow=true", "?follow=false"] {
        let asked = format!("{path}{query}");
        stranger.curl("GET", &asked).get().problem(404, "other-node");
    }
    s1.curl("GET", &format!("{path}?follow=maybe"))
        .get()
        .problem(400, "bad-request");

    hub.stand_still(true);
    let shown = s1.cli(&["message", "trace", &id], b"").ok().text();
    println!("{shown}");
    assert!(
        shown.contains("hub did not answer in time (asked by s1)"),
        "{shown}"
    );
    assert!(shown.contains("accepted") && shown.contains("outcome"), "{shown}");
    hub.stand_still(false);
    follow(&s1, &id, &all("s1", "hub", "s2"));
}
