//! What a submit says beside its terms, as programs say it.

use super::batches::{entries, lines};
use super::{Api, header, json, problem, request};
use serde_json::json;

const SUBMIT: &str = "/v1/services/s/messages";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

impl Api {
    /// Submits with these headers.
    async fn submit(&self, headers: &[(&'static str, &'static str)], body: &'static [u8]) -> Answer {
        let asked = self.build("POST", SUBMIT, headers, body);
        request(self.site.program("h2").await, asked).await.unwrap()
    }
}

type Answer = http::Response<bytes::Bytes>;

#[tokio::test]
async fn a_consumer_is_told_the_trace_of_its_message_and_no_other() {
    let api = Api::start().await;
    for (headers, parent, state) in [
        (
            &[("traceparent", PARENT), ("tracestate", "a=1,b=2")][..],
            Some(PARENT),
            Some("a=1,b=2"),
        ),
        (&[("traceparent", PARENT)], Some(PARENT), None),
        (
            &[("traceparent", PARENT), ("tracestate", "nonsense")],
            Some(PARENT),
            None,
        ),
        (&[("tracestate", "a=1")], None, None),
        (&[("traceparent", "00-xyz"), ("tracestate", "a=1")], None, None),
    ] {
        // Also where there is no payload to keep it beside.
        for body in [&b"work"[..], b""] {
            assert_eq!(api.submit(headers, body).await.status(), 202, "{headers:?}");
            let taken = api.post("/v1/services/s/consumers/c/take", b"").await;
            assert_eq!(said(&taken, "traceparent"), parent, "{headers:?}");
            assert_eq!(said(&taken, "tracestate"), state, "{headers:?}");
            let delivery = header(&taken, "redlink-delivery");
            let again = api.get(&format!("{delivery}/payload")).await;
            assert_eq!(said(&again, "traceparent"), parent, "{headers:?}");
            let id = header(&taken, "redlink-message");
            assert_eq!(
                api.post(&format!("{delivery}/reply"), b"done").await.status(),
                204
            );
            let outcome = api.get(&format!("/v1/messages/{id}/outcome")).await;
            assert_eq!(
                (outcome.body().as_ref(), said(&outcome, "traceparent")),
                (&b"done"[..], None)
            );
        }
    }
    api.stop().await;
}

fn said<'a>(of: &'a Answer, name: &str) -> Option<&'a str> {
    of.headers().get(name).map(|value| value.to_str().unwrap())
}

/// `order 17`
const DATA: (&str, &str) = ("redlink-preserved", "b3JkZXIgMTc=");

#[tokio::test]
async fn preserved_data_comes_back_with_the_outcome_and_goes_nowhere_else() {
    let api = Api::start().await;
    for (verb, status) in [("reply", 200), ("fail", 424)] {
        let sent = api.submit(&[DATA], b"work").await;
        let at = header(&sent, "location").to_owned();
        let waiting = format!("{at}/outcome?wait=20s");
        let (outcome, taken) = tokio::join!(api.get(&waiting), async {
            let (delivery, taken) = api.take().await;
            api.post(&format!("{delivery}/{verb}"), b"done").await;
            taken
        });
        assert_eq!(said(&taken, DATA.0), None);
        assert_eq!(
            (outcome.status().as_u16(), said(&outcome, DATA.0)),
            (status, Some(DATA.1))
        );
        let again = api.get(&format!("{at}/outcome")).await;
        assert_eq!(
            (again.status().as_u16(), said(&again, DATA.0)),
            (status, Some(DATA.1))
        );
        assert_eq!(
            api.send("DELETE", &format!("{at}/outcome"), &[], b"")
                .await
                .status(),
            204
        );
    }
    let asked = api.build("POST", &format!("{SUBMIT}?wait=20s"), &[DATA], b"work");
    let client = api.site.program("h2").await;
    let (called, ()) = tokio::join!(request(client, asked), async {
        let (delivery, _) = api.take().await;
        api.post(&format!("{delivery}/reply"), b"done").await;
    });
    assert_eq!(said(&called.unwrap(), DATA.0), Some(DATA.1));
    let long = api.submit(&[("redlink-preserved", "!")], b"work").await;
    problem(&long, 400, "bad-header");
    api.stop().await;
}

#[tokio::test]
async fn the_same_key_is_the_same_message_and_waits_for_the_same_outcome() {
    let api = Api::start().await;
    let key = ("idempotency-key", "\"k 1\"");
    problem(&api.submit(&[key], b"work").await, 400, "bad-header");
    let key = ("idempotency-key", "\"k1\"");
    let first = api.submit(&[key], b"work").await;
    assert_eq!(first.status(), 202);
    // Quoted or not, it is the same key.
    let again = api
        .submit(&[("idempotency-key", "k1"), ("traceparent", PARENT)], b"work")
        .await;
    assert_eq!((again.status(), again.body()), (first.status(), first.body()));
    assert_eq!(header(&again, "location"), header(&first, "location"));
    for (headers, body) in [
        (&[key][..], &b"other"[..]),
        (&[key, ("redlink-priority", "1")], b"work"),
        (&[key, ("content-type", "text/plain")], b"work"),
        (&[key, DATA], b"work"),
    ] {
        problem(&api.submit(headers, body).await, 422, "key-reused");
    }
    let call = || api.build("POST", &format!("{SUBMIT}?wait=20s"), &[key], b"work");
    let (one, two) = (api.site.program("h2").await, api.site.program("h2").await);
    let (one, two, ()) = tokio::join!(request(one, call()), request(two, call()), async {
        let (delivery, _) = api.take().await;
        api.post(&format!("{delivery}/reply"), b"done").await;
    });
    for called in [one.unwrap(), two.unwrap()] {
        assert_eq!(
            (called.status().as_u16(), called.body().as_ref()),
            (200, &b"done"[..])
        );
    }
    // Whoever did not get the answer finds it still there.
    let called = request(api.site.program("h2").await, call()).await.unwrap();
    assert_eq!(
        (called.status().as_u16(), called.body().as_ref()),
        (200, &b"done"[..])
    );
    let at = header(&first, "location");
    assert_eq!(
        api.send("DELETE", &format!("{at}/outcome"), &[], b"")
            .await
            .status(),
        204
    );
    let called = request(api.site.program("h2").await, call()).await.unwrap();
    problem(&called, 410, "outcome-collected");
    assert_eq!(api.submit(&[key], b"work").await.body(), first.body());
    assert_eq!(json(&api.get("/v1/messages").await), json!([]));
    // Not of another service, nor of another owner.
    let other = api.send("POST", "/v1/services/t/messages", &[key], b"work").await;
    assert_eq!(other.status(), 202);
    assert_ne!(other.body(), first.body());
    let (token, _) = api
        .program_token(json!({ "program": "p", "produce": ["s"] }))
        .await;
    let mut asked = api.build_as(&token, "POST", SUBMIT, b"work");
    asked.headers_mut().insert(key.0, key.1.parse().unwrap());
    let other = request(api.site.program("h2").await, asked).await.unwrap();
    assert_eq!(other.status(), 202);
    assert_ne!(other.body(), first.body());
    api.stop().await;
}

#[tokio::test]
async fn entries_of_a_batch_say_and_are_told_the_same() {
    let api = Api::start().await;
    let entry = |more: serde_json::Value| {
        let mut entry = json!({ "service": "s", "text": "work", "traceparent": PARENT });
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        entry
    };
    let all = [
        entry(json!({ "idempotency_key": "k", "preserved": DATA.1 })),
        entry(json!({ "idempotency_key": "k", "preserved": DATA.1 })),
        entry(json!({ "idempotency_key": "k" })),
    ];
    let results = entries(&api.submit_many(&lines(&all)).await);
    let ids: Vec<_> = results.iter().map(|result| result.text("id")).collect();
    assert_eq!((ids[0].is_some(), ids[0], ids[2]), (true, ids[1], None));
    let reused = results[2].text("type").unwrap();
    assert!(reused.ends_with("key-reused"), "{reused}");
    let accept = [("accept", crate::batch::NDJSON)];
    let taken = api
        .send("POST", "/v1/services/s/consumers/c/take?max=5", &accept, b"")
        .await;
    let taken = entries(&taken);
    assert_eq!(taken.len(), 1);
    assert_eq!(
        (taken[0].text("traceparent"), taken[0].text("preserved")),
        (Some(PARENT), None)
    );
    let path = format!("{}/reply", taken[0].text("delivery").unwrap());
    assert_eq!(api.post(&path, b"done").await.status(), 204);
    let outcome = api
        .get(&format!("/v1/messages/{}/outcome", ids[0].unwrap()))
        .await;
    assert_eq!(said(&outcome, DATA.0), Some(DATA.1));
    api.stop().await;
}

#[tokio::test]
async fn a_message_that_is_kept_in_memory_says_so() {
    let api = Api::start().await;
    let kept = ("redlink-durability", "memory");
    let sent = api.submit(&[kept, DATA], b"work").await;
    assert_eq!(sent.status(), 202);
    let at = header(&sent, "location").to_owned();
    assert_eq!(json(&api.get(&at).await)["durability"], "memory");
    assert_eq!(json(&api.get("/v1/messages").await)[0]["durability"], "memory");
    let (delivery, taken) = api.take().await;
    assert_eq!(taken.body(), "work");
    assert_eq!(api.get(&format!("{delivery}/payload")).await.body(), "work");
    assert_eq!(
        api.post(&format!("{delivery}/reply"), b"done").await.status(),
        204
    );
    let outcome = api.get(&format!("{at}/outcome")).await;
    assert_eq!(
        (outcome.body().as_ref(), said(&outcome, DATA.0)),
        (&b"done"[..], Some(DATA.1))
    );
    assert_eq!(
        api.send("DELETE", &format!("{at}/outcome"), &[], b"")
            .await
            .status(),
        204
    );
    let wrong = api.submit(&[("redlink-durability", "tape")], b"work").await;
    problem(&wrong, 400, "bad-header");
    api.stop().await;
}
