//! Many in one request: submits and takes.

use super::{Api, LONG, PAYLOAD_MAX, begin, header, json, problem, request};
use crate::batch::{Decoder, ENTRIES_MAX, Entry, FRAMED, Format, Limits, NDJSON, encode};
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::timeout;

/// All entries of an answer, in the format that it says it has.
pub(super) fn entries(response: &Response<Bytes>) -> Vec<Entry> {
    assert_eq!(response.status(), 200, "{response:?}");
    let format = crate::batch::of_content_type(header(response, "content-type")).unwrap();
    let mut decoder = Decoder::new(format, Limits::with_payload(1 << 20));
    decoder.push(response.body());
    let mut found = Vec::new();
    while let Some(item) = decoder.take().unwrap() {
        found.push(item.unwrap());
    }
    assert!(decoder.finish().unwrap().is_none());
    found
}

/// Lines of JSON.
pub(super) fn lines(all: &[Value]) -> Vec<u8> {
    all.iter()
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect()
}

impl Api {
    pub(super) async fn submit_many(&self, body: &[u8]) -> Response<Bytes> {
        let headers = [("content-type", NDJSON)];
        self.send("POST", "/v1/messages", &headers, body).await
    }

    /// Submits so many messages for the service `s`, whose payloads are their numbers.
    pub(super) async fn numbers(&self, count: usize) {
        let all: Vec<_> = (0..count).map(|n| json!({"service": "s", "json": n})).collect();
        assert_eq!(entries(&self.submit_many(&lines(&all)).await).len(), count);
    }

    async fn held(&self) -> u64 {
        json(&self.get("/v1/consumers").await)[0]["held"]
            .as_u64()
            .unwrap()
    }
}

fn kind(entry: &Entry) -> &str {
    entry.text("type").unwrap_or_default().rsplit(':').next().unwrap()
}

#[tokio::test]
async fn one_bad_entry_never_fails_the_rest() {
    let api = Api::start().await;
    let long = "x".repeat(PAYLOAD_MAX + 1);
    let body = lines(&[
        json!({"service": "s", "priority": 7, "ett": "1h", "text": "a b c", "content_type": "text/x-a"}),
        json!({"service": "s", "priority": 256}),
        json!({"service": "s", "pririty": 1}),
        json!({"text": "for nobody"}),
        json!({"service": "redlink:ask"}),
        json!({"service": "a/b"}),
        json!({"service": "s", "alternate": "s;after=1s"}),
        json!({"service": "s", "path": "direct"}),
        json!({"service": "s", "text": "a", "json": 1}),
        json!({"service": "s", "text": long}),
        json!({"service": "s", "send_only": true, "ett": "none", "base64": "AAE="}),
    ]);
    let answer = api.submit_many(&body).await;
    assert_eq!(header(&answer, "content-type"), NDJSON);
    let results = entries(&answer);
    let kinds: Vec<_> = results.iter().map(kind).collect();
    let expected = [
        "",
        "bad-entry",
        "bad-entry",
        "bad-entry",
        "reserved",
        "bad-name",
        "bad-entry",
        "bad-entry",
        "bad-entry",
        "too-large",
        "",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(results[9].members["status"], 413);
    assert!(results[2].text("detail").unwrap().contains("pririty"));
    assert!(results[0].text("deadline").unwrap().ends_with('Z'));
    assert_eq!(results[10].members["deadline"], Value::Null);
    let (_, taken) = api.take().await;
    assert_eq!(
        (taken.body().as_ref(), header(&taken, "content-type")),
        (&b"a b c"[..], "text/x-a")
    );
    assert_eq!(header(&taken, "redlink-message"), results[0].text("id").unwrap());
    assert_eq!(header(&taken, "redlink-priority"), "7");
    assert_eq!(json(&api.get("/v1/messages").await).as_array().unwrap().len(), 2);
    api.stop().await;
}

#[tokio::test]
async fn a_broken_batch_tells_what_was_accepted_before() {
    let api = Api::start().await;
    let body = b"{\"service\":\"s\"}\n\n{\"service\":\"s\"\n{\"service\":\"s\"}\n";
    let results = entries(&api.submit_many(body).await);
    assert_eq!(results.iter().map(kind).collect::<Vec<_>>(), ["", "bad-batch"]);
    assert!(
        results[1].text("detail").unwrap().contains("Entry 2 (line 3)"),
        "{results:?}"
    );
    let mut framed = Vec::new();
    encode(Format::Framed, &json!({"service": "s"}), None, &mut framed).unwrap();
    let end = framed.len();
    framed.extend_from_slice(&framed.clone()[..end - 1]);
    let headers = [("content-type", FRAMED), ("accept", FRAMED)];
    let answer = api.send("POST", "/v1/messages", &headers, &framed).await;
    assert_eq!(header(&answer, "content-type"), FRAMED);
    let results = entries(&answer);
    assert_eq!(results.iter().map(kind).collect::<Vec<_>>(), ["", "bad-batch"]);
    let place = format!("Entry 2 (offset {end})");
    assert!(results[1].text("detail").unwrap().contains(&place), "{results:?}");
    assert_eq!(json(&api.get("/v1/messages").await).as_array().unwrap().len(), 2);
    api.stop().await;
}

#[tokio::test]
async fn what_is_no_batch_or_too_long_is_refused_whole() {
    let api = Api::start().await;
    for headers in [
        &[][..],
        &[("content-type", "application/json")],
        &[("content-type", "")],
    ] {
        problem(
            &api.send("POST", "/v1/messages", headers, b"{}").await,
            415,
            "unsupported-type",
        );
    }
    let headers = [
        ("content-type", NDJSON),
        ("accept", "text/html, application/x-ndjson;q=0"),
    ];
    problem(
        &api.send("POST", "/v1/messages", &headers, b"{}").await,
        406,
        "not-acceptable",
    );
    let headers = [("content-type", NDJSON), ("redlink-priority", "1")];
    problem(
        &api.send("POST", "/v1/messages", &headers, b"{}").await,
        400,
        "bad-header",
    );
    let many = b"{\"service\":\"s\"}\n".repeat(ENTRIES_MAX + 1);
    problem(&api.submit_many(&many).await, 413, "too-large");
    let long = vec![b' '; 2 * PAYLOAD_MAX + (1 << 20) + 1];
    problem(&api.submit_many(&long).await, 413, "too-large");
    assert_eq!(json(&api.get("/v1/messages").await), json!([]));
    assert_eq!(
        entries(
            &api.submit_many(&many[..many.len() / (ENTRIES_MAX + 1) * ENTRIES_MAX])
                .await
        )
        .len(),
        ENTRIES_MAX
    );
    api.stop().await;
}

#[tokio::test]
async fn each_entry_needs_its_own_permission() {
    let api = Api::start().await;
    let (token, _) = api
        .program_token(json!({"program": "shop", "produce": ["jobs.*"]}))
        .await;
    let body = lines(&[
        json!({"service": "jobs.a"}),
        json!({"service": "mail"}),
        json!({"service": "jobs.b", "alternate": "mail;after=1s"}),
    ]);
    let mut asked = api.build_as(&token, "POST", "/v1/messages", &body);
    asked
        .headers_mut()
        .insert("content-type", NDJSON.parse().unwrap());
    let answer = request(api.site.program("http/1.1").await, asked).await.unwrap();
    let results = entries(&answer);
    assert_eq!(
        results.iter().map(kind).collect::<Vec<_>>(),
        ["", "forbidden", "forbidden"]
    );
    let list = json(&api.get("/v1/messages").await);
    assert_eq!(
        (list.as_array().unwrap().len(), &list[0]["program"]),
        (1, &json!("shop"))
    );
    api.stop().await;
}

#[tokio::test]
async fn a_take_of_many_brings_a_batch_with_long_payloads_as_links() {
    let api = Api::start().await;
    let path = "/v1/services/s/consumers/c";
    assert_eq!(api.post(&format!("{path}/take?max=5"), b"").await.status(), 204);
    api.send("PUT", path, &[], b"{\"limit\":4}").await;
    let long = vec![b'x'; 64 * 1024 + 1];
    let body = lines(&[
        json!({"service": "s", "text": "1", "priority": 9}),
        json!({"service": "s", "text": String::from_utf8(long.clone()).unwrap()}),
        json!({"service": "s", "json": {"a": 1}, "send_only": true}),
        json!({"service": "s"}),
        json!({"service": "s", "text": "over the limit"}),
    ]);
    assert_eq!(entries(&api.submit_many(&body).await).len(), 5);
    let taken = entries(&api.post(&format!("{path}/take?max=5&wait=30s"), b"").await);
    assert_eq!(taken.len(), 4, "P4: {taken:?}");
    assert_eq!(api.held().await, 4);
    assert_eq!(
        (&taken[0].content.bytes[..], &taken[0].members["priority"]),
        (&b"1"[..], &json!(9))
    );
    assert_eq!(taken[0].members["attempt"], 1);
    assert_eq!(taken[0].text("lease"), Some("30s"));
    assert!(taken[0].text("deadline").unwrap().ends_with('Z'));
    assert_eq!(taken[1].members["size"], long.len());
    assert_eq!(
        taken[1].content.content_type.as_deref(),
        Some("text/plain; charset=utf-8")
    );
    let link = taken[1].text("payload").unwrap();
    assert_eq!(api.get(link).await.body(), &long);
    assert_eq!(
        (&taken[2].content.bytes[..], &taken[2].members["send_only"]),
        (&b"{\"a\":1}"[..], &json!(true))
    );
    for (taken, verb) in taken.iter().zip(["reply", "fail", "ack", "release"]) {
        let delivery = taken.text("delivery").unwrap();
        assert_eq!(api.post(&format!("{delivery}/{verb}"), b"").await.status(), 204);
    }
    let headers = [("accept", FRAMED)];
    let one = api
        .send("POST", &format!("{path}/take?wait=30s"), &headers, b"")
        .await;
    assert_eq!(entries(&one).len(), 1, "asked for by name");
    for wrong in ["max=0", "max=1025", "max=70000", "max=x"] {
        problem(
            &api.post(&format!("{path}/take?{wrong}"), b"").await,
            400,
            "bad-request",
        );
    }
    let headers = [("accept", "text/html")];
    let refused = api
        .send("POST", &format!("{path}/take?max=2"), &headers, b"")
        .await;
    problem(&refused, 406, "not-acceptable");
    api.stop().await;
}

#[tokio::test]
async fn what_an_aborted_take_did_not_send_goes_back_at_once() {
    let api = Api::start().await;
    let path = "/v1/services/s/consumers/c";
    api.send("PUT", path, &[], b"{\"limit\":64,\"lease\":\"1h\"}")
        .await;
    let payload = "x".repeat(60_000);
    for _ in 0..4 {
        let all: Vec<_> = (0..16)
            .map(|_| json!({"service": "s", "text": payload}))
            .collect();
        assert_eq!(entries(&api.submit_many(&lines(&all)).await).len(), 16);
    }
    let asked = api.build("POST", &format!("{path}/take?max=64&wait=30s"), &[], b"");
    let mut answer = begin(api.site.narrow("http/1.1").await, asked).await.unwrap();
    answer.frame().await.unwrap().unwrap();
    assert_eq!(api.held().await, 64);
    drop(answer);
    // What the system's buffers have taken stays handed out; they don't hold all of it.
    let back = async { while api.held().await == 64 {} };
    timeout(LONG, back).await.unwrap();
    let again = entries(&api.post(&format!("{path}/take?max=64&wait=30s"), b"").await);
    assert!(!again.is_empty());
    assert!(
        again.iter().all(|taken| taken.members["attempt"] == 2),
        "released, so a new attempt"
    );
    api.stop().await;
}
