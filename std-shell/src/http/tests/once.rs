//! Messages that are delivered at most once, as programs say it.

use super::{Api, header, json, problem, request};

const SUBMIT: &str = "/v1/services/s/messages";

#[tokio::test]
async fn at_most_once_a_release_is_the_end_and_says_why() {
    let api = Api::start().await;
    for (mode, status) in [("at-least-once", 202), ("at-most-once", 424)] {
        let asked = api.build("POST", SUBMIT, &[("redlink-delivery-mode", mode)], b"work");
        let sent = request(api.site.program("h2").await, asked).await.unwrap();
        assert_eq!(sent.status(), 202);
        let at = header(&sent, "location");
        let (delivery, _) = api.take().await;
        let shown = json(&api.get(at).await);
        assert_eq!(
            (&shown["delivery_mode"], &shown["attempts"]),
            (&mode.into(), &1.into())
        );
        assert_eq!(api.post(&format!("{delivery}/release"), b"").await.status(), 204);
        let outcome = api.get(&format!("{at}/outcome?wait=1s")).await;
        assert_eq!(outcome.status(), status, "{mode}");
        if status == 424 {
            problem(&outcome, 424, "failed");
            let detail = json(&outcome)["detail"].clone();
            assert_eq!(
                detail,
                "the attempt ended without an answer; delivered at most once"
            );
            let late = api.post(&format!("{delivery}/reply"), b"late").await;
            problem(&late, 410, "message-over");
        } else {
            // It waits for the next attempt.
            let (delivery, _) = api.take().await;
            assert_eq!(
                api.post(&format!("{delivery}/reply"), b"done").await.status(),
                204
            );
        }
    }
    api.stop().await;
}
