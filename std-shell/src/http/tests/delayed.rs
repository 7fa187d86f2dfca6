//! Messages that are not to be offered yet, as programs say it.

use super::{Api, header, json, problem, request};

const SUBMIT: &str = "/v1/services/later/messages";

#[tokio::test]
async fn a_delayed_message_says_so_and_can_be_cancelled() {
    let api = Api::start().await;
    let asked = api.build("POST", SUBMIT, &[("redlink-not-before", "1m")], b"work");
    let sent = request(api.site.program("h2").await, asked).await.unwrap();
    assert_eq!(sent.status(), 202);
    let at = header(&sent, "location");
    let shown = json(&api.get(at).await);
    assert_eq!(shown["state"], "delayed");
    let left = shown["delayed_ms"].as_u64().unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
    assert_eq!(
        api.post("/v1/services/later/consumers/c/take", b"")
            .await
            .status(),
        204
    );
    assert_eq!(api.send("DELETE", at, &[], b"").await.status(), 204);
    let outcome = api.get(&format!("{at}/outcome?wait=10s")).await;
    problem(&outcome, 424, "cancelled");
    assert_eq!(json(&api.get(at).await).get("delayed_ms"), None);
    api.stop().await;
}

#[tokio::test]
async fn a_message_that_could_never_be_offered_is_refused() {
    let api = Api::start().await;
    for said in [
        &[("redlink-not-before", "5m")][..],
        &[("redlink-not-before", "2s"), ("redlink-ett", "1s")],
        &[("redlink-not-before", "366d"), ("redlink-ett", "none")],
        &[("redlink-not-before", "0s")],
    ] {
        let asked = api.build("POST", SUBMIT, said, b"work");
        let answer = request(api.site.program("h2").await, asked).await.unwrap();
        problem(&answer, 400, "bad-header");
    }
    api.stop().await;
}
