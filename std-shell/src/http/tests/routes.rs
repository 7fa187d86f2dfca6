//! What producers and consumers do, with nothing in the way.

use super::{Api, LONG, PAYLOAD_MAX, begin, header, json, problem, request};
use http_body_util::BodyExt;
use std::future::Future;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// Asks again until it is so.
async fn until<F: Future<Output = bool>>(ask: impl Fn() -> F) {
    let wait = async { while !ask().await {} };
    timeout(LONG, wait).await.unwrap();
}

#[tokio::test]
async fn a_message_is_submitted_taken_replied_to_and_collected() {
    let api = Api::start().await;
    let headers = [
        ("content-type", "text/x-a"),
        ("redlink-priority", "7"),
        ("redlink-ett", "1h"),
    ];
    let accepted = api
        .send("POST", "/v1/services/s/messages", &headers, b"a b c")
        .await;
    assert_eq!(accepted.status(), 202);
    let id = json(&accepted)["id"].as_str().unwrap().to_owned();
    assert_eq!(header(&accepted, "location"), format!("/v1/messages/{id}"));
    assert!(json(&accepted)["deadline"].as_str().unwrap().ends_with('Z'));
    let path = format!("/v1/messages/{id}");
    assert_eq!(json(&api.get(&path).await)["state"], "queued");
    assert_eq!(
        json(&api.get("/v1/messages?max=5&service=s").await)
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(api.get(&format!("{path}/outcome?wait=10ms")).await.status(), 202);
    problem(
        &api.send("DELETE", &format!("{path}/outcome"), &[], b"").await,
        409,
        "wrong-state",
    );

    let (delivery, taken) = api.take().await;
    assert_eq!(taken.body(), "a b c");
    assert_eq!(header(&taken, "content-type"), "text/x-a");
    assert_eq!(header(&taken, "redlink-message"), id);
    assert_eq!(
        (
            header(&taken, "redlink-attempt"),
            header(&taken, "redlink-priority")
        ),
        ("1", "7")
    );
    assert_eq!(
        (
            header(&taken, "redlink-lease"),
            header(&taken, "redlink-send-only")
        ),
        ("30s", "false")
    );
    assert!(
        humantime::parse_rfc3339(header(&taken, "redlink-deadline")).is_ok(),
        "{taken:?}"
    );
    assert_eq!(api.get(&format!("{delivery}/payload")).await.body(), "a b c");
    assert_eq!(api.post(&format!("{delivery}/extend"), b"").await.status(), 204);
    problem(
        &api.post(&format!("{delivery}/ack"), b"").await,
        409,
        "wrong-verb",
    );
    let reply = api
        .send(
            "POST",
            &format!("{delivery}/reply"),
            &[("content-type", "text/x-b")],
            b"3",
        )
        .await;
    assert_eq!(reply.status(), 204, "{reply:?}");
    // Said again, as a worker does that lost the answer: taken note of, and nothing changes.
    let again = api.post(&format!("{delivery}/reply"), b"4").await;
    assert!(again.status() == 204 || again.status() == 410, "{again:?}");

    for _ in 0..2 {
        let outcome = api.get(&format!("{path}/outcome?wait=10s")).await;
        assert_eq!((outcome.status().as_u16(), &outcome.body()[..]), (200, &b"3"[..]));
        assert_eq!(header(&outcome, "content-type"), "text/x-b");
        assert_eq!(header(&outcome, "redlink-outcome"), "replied");
        assert_eq!(header(&outcome, "x-content-type-options"), "nosniff");
    }
    problem(&api.send("DELETE", &path, &[], b"").await, 409, "wrong-state");
    assert_eq!(
        api.send("DELETE", &format!("{path}/outcome"), &[], b"")
            .await
            .status(),
        204
    );
    problem(&api.get(&format!("{path}/outcome")).await, 404, "unknown-message");
    api.stop().await;
}

#[tokio::test]
async fn a_waited_submit_brings_the_reply_and_collects_it() {
    let api = Api::start().await;
    for (protocol, reply) in [
        ("http/1.1", &b"3"[..]),
        ("h2", b"3"),
        ("http/1.1", b""),
        ("h2", b""),
    ] {
        let call = request(
            api.site.program(protocol).await,
            api.build("POST", "/v1/services/s/messages?wait=30s", &[], b"a b c"),
        );
        let work = async {
            let (delivery, _) = api.take().await;
            assert_eq!(api.post(&format!("{delivery}/reply"), reply).await.status(), 204);
        };
        let (called, ()) = tokio::join!(call, work);
        let called = called.unwrap();
        assert_eq!(
            (called.status().as_u16(), &called.body()[..]),
            (200, reply),
            "{protocol}"
        );
        assert_eq!(header(&called, "redlink-outcome"), "replied");
        let path = format!("/v1/messages/{}", header(&called, "redlink-message"));
        until(async || api.get(&path).await.status() == 404).await;
    }
    api.stop().await;
}

#[tokio::test]
async fn failures_cancels_and_send_only_messages_are_told_apart() {
    let api = Api::start().await;
    let call = async |headers: &[(&str, &str)]| {
        api.send("POST", "/v1/services/s/messages?wait=30s", headers, b"x")
            .await
    };
    let fail = async {
        let (delivery, _) = api.take().await;
        assert_eq!(
            api.post(&format!("{delivery}/fail"), b"no such word")
                .await
                .status(),
            204
        );
    };
    let (called, ()) = tokio::join!(call(&[]), fail);
    assert_eq!(problem(&called, 424, "failed"), "no such word");
    assert_eq!(header(&called, "redlink-outcome"), "failed");
    let path = format!("/v1/messages/{}", header(&called, "redlink-message"));
    until(async || api.get(&path).await.status() == 404).await;

    let ack = async {
        let (delivery, taken) = api.take().await;
        assert_eq!(header(&taken, "redlink-send-only"), "true");
        assert_eq!(api.post(&format!("{delivery}/ack"), b"").await.status(), 204);
    };
    let (called, ()) = tokio::join!(call(&[("redlink-send-only", "true")]), ack);
    assert_eq!((called.status().as_u16(), called.body().len()), (200, 0));
    assert_eq!(header(&called, "redlink-outcome"), "delivered");

    let called = call(&[("redlink-ett", "50ms")]).await;
    problem(&called, 424, "expired");

    let open = api
        .send("POST", "/v1/services/s/messages?wait=10ms", &[], b"x")
        .await;
    assert_eq!(open.status(), 202);
    let path = header(&open, "location").to_owned();
    assert_eq!(api.send("DELETE", &path, &[], b"").await.status(), 204);
    let outcome = api.get(&format!("{path}/outcome")).await;
    problem(&outcome, 424, "cancelled");
    // Looked at, not collected.
    assert_eq!(
        api.send("DELETE", &format!("{path}/outcome"), &[], b"")
            .await
            .status(),
        204
    );
    api.stop().await;
}

#[tokio::test]
async fn a_released_message_comes_again_and_an_empty_take_is_204() {
    let api = Api::start().await;
    assert_eq!(
        api.post("/v1/services/s/consumers/c/take", b"").await.status(),
        204
    );
    api.post("/v1/services/s/messages", b"x").await;
    let (first, _) = api.take().await;
    assert_eq!(api.post(&format!("{first}/release"), b"").await.status(), 204);
    let (second, taken) = api.take().await;
    assert!(first != second && taken.body() == "x");
    let stale = api.post(&format!("{first}/reply"), b"y").await;
    assert!(stale.status() == 409 || stale.status() == 404, "{stale:?}");
    assert_eq!(api.post(&format!("{second}/reply"), b"y").await.status(), 204);
    api.stop().await;
}

#[tokio::test]
async fn consumers_register_and_leave() {
    let api = Api::start().await;
    let path = "/v1/services/s/consumers/c";
    assert_eq!(api.send("PUT", path, &[], b"").await.status(), 204);
    let json_type = [("content-type", "application/json")];
    assert_eq!(
        api.send(
            "PUT",
            path,
            &json_type,
            br#"{"limit": 3, "lease": "5s", "rate": "100/m"}"#
        )
        .await
        .status(),
        204
    );
    let all = json(&api.get("/v1/consumers").await);
    assert_eq!(
        (all[0]["limit"].as_u64(), all[0]["lease_ms"].as_u64()),
        (Some(3), Some(5_000)),
        "{all}"
    );
    assert_eq!(all[0]["rate"], "100/m");
    // It is all said anew each time.
    assert_eq!(
        api.send("PUT", path, &json_type, b"{\"limit\": 3}")
            .await
            .status(),
        204
    );
    let all = json(&api.get("/v1/consumers").await);
    assert!(all[0].get("rate").is_none(), "{all}");
    assert_eq!(json(&api.get("/v1/services").await)[0]["name"], "s");
    assert_eq!(api.send("DELETE", path, &[], b"").await.status(), 204);
    problem(&api.send("DELETE", path, &[], b"").await, 404, "unknown-consumer");
    for bad in [
        "{\"limit\": 0}",
        "{\"lease\": \"1ms\"}",
        "{\"lease\": 5}",
        "{\"rate\": 1}",
        "{\"rate\": \"1\"}",
        "{\"rate\": \"0/s\"}",
        "{\"rate\": \"2000000/s\"}",
        "{\"rate\": \"5/w\"}",
        "{\"rates\": \"5/s\"}",
        "[",
        "{\"limit\": 70000}",
    ] {
        problem(
            &api.send("PUT", path, &json_type, bad.as_bytes()).await,
            400,
            "bad-request",
        );
    }
    problem(
        &api.send("PUT", path, &[("content-type", "text/xml")], b"<x/>")
            .await,
        415,
        "unsupported-type",
    );
    api.stop().await;
}

#[tokio::test]
async fn a_take_whose_client_goes_ends_and_holds_nothing() {
    let api = Api::start().await;
    for protocol in ["http/1.1", "h2"] {
        let taking = api.build("POST", "/v1/services/s/consumers/gone/take?wait=30s", &[], b"");
        let waiting = tokio::spawn(request(api.site.program(protocol).await, taking));
        let takes = async |n: u64| {
            let all = json(&api.get("/v1/consumers").await);
            all.as_array()
                .unwrap()
                .iter()
                .map(|c| c["wanted"].as_u64().unwrap())
                .sum::<u64>()
                == n
        };
        until(|| takes(1)).await;
        waiting.abort();
        until(|| takes(0)).await;
        // The next message goes to whoever is there, at once.
        api.post("/v1/services/s/messages", b"x").await;
        let (delivery, taken) = api.take().await;
        assert_eq!(header(&taken, "redlink-attempt"), "1", "{protocol}");
        assert_eq!(api.post(&format!("{delivery}/reply"), b"y").await.status(), 204);
    }
    api.stop().await;
}

#[tokio::test]
async fn a_delivery_whose_client_goes_in_the_middle_is_released_at_once() {
    let api = Api::start().await;
    let payload = vec![7; PAYLOAD_MAX];
    for (protocol, name) in [("http/1.1", "gone-1"), ("h2", "gone-2")] {
        assert_eq!(api.post("/v1/services/s/messages", &payload).await.status(), 202);
        let consumer = format!("/v1/services/s/consumers/{name}");
        let rate = api
            .send(
                "PUT",
                &consumer,
                &[("content-type", "application/json")],
                b"{\"rate\": \"1/h\"}",
            )
            .await;
        assert_eq!(rate.status(), 204);
        let path = format!("{consumer}/take?wait=30s");
        let take = api.build("POST", &path, &[], b"");
        // Too little room for the payload between the two ends.
        let stream = api.site.narrow(protocol).await;
        let mut response = begin(stream, take).await.unwrap();
        assert_eq!(response.status(), 200);
        response.body_mut().frame().await.unwrap().unwrap();
        drop(response);
        // And the one of this hour is still to be had.
        let taken = api.post(&path, b"").await;
        assert!(
            taken.status() == 200 && taken.body()[..] == payload[..],
            "{protocol}"
        );
        let delivery = header(&taken, "redlink-delivery").to_owned();
        assert_eq!(api.post(&format!("{delivery}/reply"), b"y").await.status(), 204);
    }
    api.stop().await;
}

#[tokio::test]
async fn an_outcome_whose_caller_went_waits_to_be_collected() {
    let api = Api::start().await;
    let mut stream = api.site.program("http/1.1").await;
    let submit = api.build("POST", "/v1/services/s/messages?wait=30s", &[], b"");
    let token = submit.headers()["authorization"].to_str().unwrap().to_owned();
    let head = format!(
        "POST /v1/services/s/messages?wait=30s HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\ncontent-length: 1\r\n\r\nx"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let (delivery, taken) = api.take().await;
    drop(stream);
    // More than can lie between node and client: whether the node sees it go before or after this, it can't send all.
    assert_eq!(
        api.post(&format!("{delivery}/reply"), &vec![b'y'; PAYLOAD_MAX])
            .await
            .status(),
        204
    );
    let path = format!(
        "/v1/messages/{}/outcome?wait=10s",
        header(&taken, "redlink-message")
    );
    let outcome = api.get(&path).await;
    assert_eq!(
        (outcome.status().as_u16(), outcome.body().len()),
        (200, PAYLOAD_MAX)
    );
    api.stop().await;
}

#[tokio::test]
async fn large_and_binary_payloads_come_through_as_they_are() {
    let api = Api::start().await;
    let payload: Vec<u8> = (0..PAYLOAD_MAX).map(|i| (i % 251) as u8).collect();
    for protocol in ["http/1.1", "h2"] {
        let submit = api.build("POST", "/v1/services/s/messages?wait=30s", &[], &payload);
        let call = request(api.site.program(protocol).await, submit);
        let work = async {
            let (delivery, taken) = api.take().await;
            assert!(taken.body()[..] == payload[..]);
            let reply = api.build("POST", &format!("{delivery}/reply"), &[], &payload);
            let replied = request(api.site.program(protocol).await, reply).await.unwrap();
            assert_eq!(replied.status(), 204, "{replied:?}");
        };
        let (called, ()) = tokio::join!(call, work);
        assert!(called.unwrap().body()[..] == payload[..], "{protocol}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_payload_is_had_in_parts() {
    let api = Api::start().await;
    api.send(
        "POST",
        "/v1/services/s/messages",
        &[("content-type", "text/x-a")],
        b"0123456789",
    )
    .await;
    let (delivery, taken) = api.take().await;
    let path = format!("{delivery}/payload");
    let part = async |headers: &[(&str, &str)]| api.send("GET", &path, headers, b"").await;
    let all = part(&[]).await;
    assert_eq!(
        (all.status().as_u16(), &all.body()[..]),
        (200, &b"0123456789"[..])
    );
    assert_eq!(header(&all, "accept-ranges"), "bytes");
    let tag = header(&all, "etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", header(&taken, "redlink-message")));
    for headers in [
        &[("range", "bytes=2-4")][..],
        &[("range", "bytes=2-4"), ("if-range", &tag)],
    ] {
        let some = part(headers).await;
        assert_eq!((some.status().as_u16(), &some.body()[..]), (206, &b"234"[..]));
        assert_eq!(header(&some, "content-range"), "bytes 2-4/10");
        assert_eq!(
            (header(&some, "content-type"), header(&some, "content-length")),
            ("text/x-a", "3")
        );
    }
    let other = part(&[("range", "bytes=2-4"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status().as_u16(), other.body().len()), (200, 10));
    let none = part(&[("range", "bytes=10-")]).await;
    problem(&none, 416, "no-such-range");
    assert_eq!(header(&none, "content-range"), "bytes */10");
    api.stop().await;
}
