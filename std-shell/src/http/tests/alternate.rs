//! A message's alternate service, as programs say it.

use super::{Api, header, json, problem, request};
use serde_json::json;

const SUBMIT: &str = "/v1/services/quick/messages";

#[tokio::test]
async fn a_worker_of_the_alternate_service_gets_the_message() {
    let api = Api::start().await;
    let asked = api.build(
        "POST",
        SUBMIT,
        &[("redlink-alternate", "slow;after=0ms")],
        b"work",
    );
    let sent = request(api.site.program("h2").await, asked).await.unwrap();
    assert_eq!(sent.status(), 202);
    let at = header(&sent, "location");
    let shown = json(&api.get(at).await);
    assert_eq!(shown["service"], "quick");
    assert_eq!(shown["alternate"], json!({ "service": "slow", "in_ms": 0 }));
    let taken = api.post("/v1/services/slow/consumers/c/take", b"").await;
    assert_eq!(taken.body(), "work");
    let delivery = header(&taken, "redlink-delivery");
    assert_eq!(
        api.post(&format!("{delivery}/reply"), b"done").await.status(),
        204
    );
    let outcome = api.get(&format!("{at}/outcome")).await;
    assert_eq!(outcome.body(), "done");
    assert_eq!(json(&api.get(at).await).get("alternate"), None);
    api.stop().await;
}

#[tokio::test]
async fn an_alternate_service_that_can_not_be_is_refused() {
    let api = Api::start().await;
    for (value, kind) in [
        ("slow", "bad-header"),
        ("slow;after=x", "bad-header"),
        ("quick;after=1s", "bad-header"),
        ("redlink:authority;after=1s", "reserved"),
        ("a/b;after=1s", "bad-name"),
    ] {
        let asked = api.build("POST", SUBMIT, &[("redlink-alternate", value)], b"work");
        let answer = request(api.site.program("h2").await, asked).await.unwrap();
        let status = if kind == "reserved" { 403 } else { 400 };
        problem(&answer, status, kind);
    }
    assert_eq!(json(&api.get("/v1/messages").await), json!([]));
    api.stop().await;
}

#[tokio::test]
async fn who_may_not_produce_to_a_service_may_not_name_it_as_the_alternate() {
    let api = Api::start().await;
    let (token, _) = api
        .program_token(json!({ "program": "p", "produce": ["quick", "slow.*"] }))
        .await;
    for (value, status) in [("slow.1;after=1s", 202), ("other;after=1s", 403)] {
        let mut asked = api.build_as(&token, "POST", SUBMIT, b"work");
        asked
            .headers_mut()
            .insert("redlink-alternate", value.parse().unwrap());
        let answer = request(api.site.program("h2").await, asked).await.unwrap();
        assert_eq!(answer.status(), status, "{value}");
    }
    api.stop().await;
}
