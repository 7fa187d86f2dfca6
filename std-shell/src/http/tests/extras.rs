//! What a submit says beside its terms, as programs say it.

use super::{Api, header, request};

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
            let said = |of: &Answer, name| of.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(said(&taken, "traceparent").as_deref(), parent, "{headers:?}");
            assert_eq!(said(&taken, "tracestate").as_deref(), state, "{headers:?}");
            let delivery = header(&taken, "redlink-delivery");
            let again = api.get(&format!("{delivery}/payload")).await;
            assert_eq!(said(&again, "traceparent").as_deref(), parent, "{headers:?}");
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
