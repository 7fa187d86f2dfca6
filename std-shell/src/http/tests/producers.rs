//! Outcomes under a producer's name.

use super::batches::{entries, lines};
use super::{Api, LONG, begin, header, json, problem, request};
use crate::batch::{Entry, NDJSON};
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

impl Api {
    /// Submits with a producer's name, and has the message replied to.
    async fn replied(&self, producer: &str, reply: &[u8]) -> String {
        let headers = [("redlink-producer", producer)];
        let accepted = self.send("POST", "/v1/services/s/messages", &headers, b"").await;
        let (delivery, _) = self.take().await;
        assert_eq!(self.post(&format!("{delivery}/reply"), reply).await.status(), 204);
        json(&accepted)["id"].as_str().unwrap().to_owned()
    }

    async fn outcomes(&self, producer: &str, query: &str, received: &[&str]) -> Response<Bytes> {
        let path = format!("/v1/producers/{producer}/outcomes?{query}");
        let body = match received {
            [] => String::new(),
            some => json!(some).to_string(),
        };
        self.post(&path, body.as_bytes()).await
    }
}

fn ids(all: &[Entry]) -> Vec<&str> {
    all.iter().map(|one| one.text("id").unwrap()).collect()
}

#[tokio::test]
async fn outcomes_come_until_they_are_said_to_be_received() {
    let api = Api::start().await;
    let first = api.replied("shop", b"1").await;
    let second = api.replied("shop", b"{}").await;
    let other = api.replied("other", b"3").await;
    for _ in 0..2 {
        let found = entries(&api.outcomes("shop", "wait=30s", &[]).await);
        assert_eq!(ids(&found), [&first, &second]);
        assert_eq!(
            (found[0].text("outcome"), &found[0].content.bytes[..]),
            (Some("replied"), &b"1"[..])
        );
        assert!(!found[0].members.contains_key("type"));
    }
    assert_eq!(ids(&entries(&api.outcomes("shop", "max=1", &[]).await)), [&first]);
    let rest = entries(&api.outcomes("shop", "", &[&first]).await);
    assert_eq!(ids(&rest), [&second]);
    problem(
        &api.get(&format!("/v1/messages/{first}")).await,
        404,
        "unknown-message",
    );
    // Said again, as by a client that lost the answer; and by lines, as the outcomes came.
    let headers = [("content-type", NDJSON)];
    let body = lines(&[json!({"id": first}), json!({"id": second, "outcome": "replied"})]);
    let none = api
        .send("POST", "/v1/producers/shop/outcomes?max=0", &headers, &body)
        .await;
    assert_eq!(none.status(), 204);
    assert_eq!(api.outcomes("shop", "wait=10ms", &[]).await.status(), 204);
    assert_eq!(ids(&entries(&api.outcomes("other", "", &[]).await)), [&other]);
    api.stop().await;
}

#[tokio::test]
async fn without_a_name_they_are_under_the_owners_and_failures_are_problems() {
    let api = Api::start().await;
    api.replied("administrator", b"").await;
    let plain = api.post("/v1/services/s/messages", b"").await;
    let (delivery, _) = api.take().await;
    assert_eq!(
        api.post(&format!("{delivery}/fail"), b"no room").await.status(),
        204
    );
    let cancelled = header(&api.post("/v1/services/s/messages", b"").await, "location").to_owned();
    assert_eq!(api.send("DELETE", &cancelled, &[], b"").await.status(), 204);
    let long = vec![b'x'; 64 * 1024 + 1];
    api.replied("administrator", &long).await;
    let found = entries(&api.outcomes("administrator", "", &[]).await);
    assert_eq!(found.len(), 4);
    assert_eq!(found[1].text("id"), json(&plain)["id"].as_str());
    assert_eq!(found[1].text("type"), Some("urn:redlink:problem:failed"));
    assert_eq!(
        (found[1].text("detail"), &found[1].members["status"]),
        (Some("no room"), &json!(424))
    );
    assert_eq!(found[2].text("outcome"), Some("cancelled"));
    assert_eq!(
        (&found[3].members["size"], found[3].content.bytes.len()),
        (&json!(long.len()), 0)
    );
    assert_eq!(api.get(found[3].text("payload").unwrap()).await.body(), &long);
    api.stop().await;
}

#[tokio::test]
async fn who_waits_is_told_at_once() {
    let api = Api::start().await;
    let asked = api.build("POST", "/v1/producers/shop/outcomes?wait=1h", &[], b"");
    let gone = begin(api.site.program("http/1.1").await, asked);
    let _ = timeout(std::time::Duration::from_millis(50), gone).await;
    let (found, id) = timeout(LONG, async {
        tokio::join!(api.outcomes("shop", "wait=1h", &[]), api.replied("shop", b"1"))
    })
    .await
    .unwrap();
    assert_eq!(ids(&entries(&found)), [&id]);
    api.stop().await;
}

#[tokio::test]
async fn what_can_not_be_collected_is_refused() {
    let api = Api::start().await;
    let open = json(&api.post("/v1/services/s/messages", b"").await)["id"].clone();
    let open = open.as_str().unwrap();
    problem(&api.outcomes("p", "", &[open]).await, 409, "wrong-state");
    problem(&api.outcomes("p", "", &["x"]).await, 404, "unknown-message");
    problem(
        &api.outcomes("p", "", &["0000000000000001-1"]).await,
        404,
        "other-node",
    );
    for wrong in ["max=1025", "wait=2h", "name=p"] {
        problem(&api.outcomes("p", wrong, &[]).await, 400, "bad-request");
    }
    problem(&api.outcomes("-p", "", &[]).await, 400, "bad-name");
    problem(
        &api.post("/v1/producers/p/outcomes", b"{}").await,
        400,
        "bad-request",
    );
    for (kind, body) in [("bad-entry", &b"{}\n"[..]), ("bad-batch", b"{\n")] {
        let headers = [("content-type", NDJSON)];
        let refused = api.send("POST", "/v1/producers/p/outcomes", &headers, body).await;
        problem(&refused, 400, kind);
    }
    let headers = [("content-type", "text/plain")];
    problem(
        &api.send("POST", "/v1/producers/p/outcomes", &headers, b"x").await,
        415,
        "unsupported-type",
    );
    let headers = [("redlink-producer", "a/b")];
    problem(
        &api.send("POST", "/v1/services/s/messages", &headers, b"").await,
        400,
        "bad-header",
    );
    api.stop().await;
}

#[tokio::test]
async fn two_programs_of_one_producers_name_see_each_its_own() {
    let api = Api::start().await;
    let token = async |program: &str| {
        let wish = json!({"program": program, "produce": ["s"]});
        api.program_token(wish).await.0
    };
    let (a, b) = (token("a").await, token("b").await);
    let ask = async |token: &str, path: &str, body: &[u8]| {
        let mut asked = api.build_as(token, "POST", path, body);
        asked
            .headers_mut()
            .insert("redlink-producer", "shop".parse().unwrap());
        if path.contains("outcomes") {
            asked.headers_mut().remove("redlink-producer");
        }
        request(api.site.program("http/1.1").await, asked).await.unwrap()
    };
    let mut given = Vec::new();
    for token in [&a, &b] {
        let accepted = ask(token, "/v1/services/s/messages", b"").await;
        given.push(json(&accepted)["id"].as_str().unwrap().to_owned());
        let (delivery, _) = api.take().await;
        assert_eq!(api.post(&format!("{delivery}/reply"), b"").await.status(), 204);
    }
    let path = "/v1/producers/shop/outcomes";
    for (token, id) in [&a, &b].into_iter().zip(&given) {
        assert_eq!(ids(&entries(&ask(token, path, b"").await)), [id]);
    }
    problem(
        &ask(&a, &format!("{path}?program=b"), b"").await,
        403,
        "forbidden",
    );
    // Another's outcome is not collected by saying its id.
    let foreign = json!([given[1]]).to_string();
    assert_eq!(
        ids(&entries(&ask(&a, path, foreign.as_bytes()).await)),
        [&given[0]]
    );
    assert_eq!(ids(&entries(&ask(&b, path, b"").await)), [&given[1]]);
    assert_eq!(
        api.outcomes("shop", "", &[]).await.status(),
        204,
        "the administrator's own"
    );
    let of_b: Vec<Value> = entries(&api.outcomes("shop", "program=b", &[]).await)
        .into_iter()
        .map(|one| one.members["id"].clone())
        .collect();
    assert_eq!(of_b, [json!(given[1])]);
    api.stop().await;
}
