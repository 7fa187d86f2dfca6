//! Two programs at one node: what is the one's is nothing to the other (P12).

use super::{Api, LONG, header, json, problem, request};
use bytes::Bytes;
use http::Response;
use tokio::time::timeout;

/// Two programs that may do the same, each with its token.
struct Two {
    api: Api,
    a: String,
    b: String,
}

impl Two {
    async fn start() -> Self {
        let api = Api::start().await;
        let token = async |name| {
            let wish = serde_json::json!({ "program": name, "produce": ["*"], "consume": ["*"] });
            api.program_token(wish).await.0
        };
        let (a, b) = (token("a").await, token("b").await);
        Self { api, a, b }
    }

    async fn a(&self, method: &str, path: &str, body: &[u8]) -> Response<Bytes> {
        self.api.as_program(&self.a, method, path, body).await
    }

    async fn b(&self, method: &str, path: &str, body: &[u8]) -> Response<Bytes> {
        self.api.as_program(&self.b, method, path, body).await
    }

    /// A message of program `a`; its path.
    async fn submit(&self, service: &str) -> String {
        let accepted = self
            .a("POST", &format!("/v1/services/{service}/messages"), b"x")
            .await;
        assert_eq!(accepted.status(), 202, "{accepted:?}");
        header(&accepted, "location").to_owned()
    }

    /// Program `a` takes; where it answers.
    async fn take(&self, service: &str, consumer: &str) -> String {
        let path = format!("/v1/services/{service}/consumers/{consumer}/take?wait=30s");
        let taken = self.a("POST", &path, b"").await;
        assert_eq!(taken.status(), 200, "{taken:?}");
        header(&taken, "redlink-delivery").to_owned()
    }
}

#[tokio::test]
async fn someone_elses_message_looks_like_none() {
    let two = Two::start().await;
    let own = two.submit("s").await;
    let administrators = header(&two.api.post("/v1/services/s/messages", b"x").await, "location").to_owned();
    // The same node, and a number that no message has.
    let nobodys = format!("{}-999999", &own[..own.rfind('-').unwrap()]);
    let calls = |path: &str| {
        [
            ("GET", path.to_owned()),
            ("GET", format!("{path}/outcome")),
            ("GET", format!("{path}/outcome?wait=1h")),
            ("DELETE", format!("{path}/outcome")),
            ("DELETE", path.to_owned()),
        ]
    };
    let settled = async || {
        for _ in 0..2 {
            let delivery = two.take("s", "w").await;
            let replied = two.a("POST", &format!("{delivery}/reply"), b"reply").await;
            assert_eq!(replied.status(), 204);
        }
    };
    // While they are open, and when they have their outcomes.
    for round in 0..2 {
        for (method, path) in calls(&nobodys) {
            let nothing = timeout(LONG, two.b(method, &path, b"")).await.unwrap();
            problem(&nothing, 404, "unknown-message");
            for foreign in [&own, &administrators] {
                let path = path.replace(&nobodys, foreign);
                let other = timeout(LONG, two.b(method, &path, b"")).await.unwrap();
                assert_eq!(other.body(), nothing.body(), "{round}: {method} {path}");
                assert_eq!(
                    other.headers().len(),
                    nothing.headers().len(),
                    "{round}: {method} {path}"
                );
            }
        }
        if round == 0 {
            settled().await;
        }
    }
    // Lists show each his own, the administrator's all.
    let ids = |list: &Response<Bytes>| -> Vec<String> {
        let all = json(list);
        let ids = all.as_array().unwrap().iter();
        ids.map(|m| format!("/v1/messages/{}", m["id"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(ids(&two.a("GET", "/v1/messages", b"").await), [own.as_str()]);
    assert_eq!(
        ids(&two.a("GET", "/v1/messages?service=t", b"").await),
        Vec::<String>::new()
    );
    assert_eq!(
        ids(&two.b("GET", "/v1/messages", b"").await),
        Vec::<String>::new()
    );
    let all = two.api.get("/v1/messages").await;
    assert_eq!(ids(&all), [own.as_str(), &administrators]);
    assert_eq!(json(&all)[0]["program"], "a");
    assert_eq!(json(&all)[1]["program"], serde_json::Value::Null);
    // All of it left it as it was, for its owner.
    let outcome = two.a("GET", &format!("{own}/outcome"), b"").await;
    assert_eq!(
        (outcome.status().as_u16(), &outcome.body()[..]),
        (200, &b"reply"[..])
    );
    assert_eq!(
        two.a("DELETE", &format!("{own}/outcome"), b"").await.status(),
        204
    );
    // Listed until that is on disk.
    let gone = async { while !ids(&two.a("GET", "/v1/messages", b"").await).is_empty() {} };
    timeout(LONG, gone).await.unwrap();
    problem(&two.a("GET", &own, b"").await, 404, "unknown-message");
    two.api.stop().await;
}

#[tokio::test]
async fn a_waited_submit_is_collected_for_its_program() {
    let two = Two::start().await;
    let call = two.a("POST", "/v1/services/s/messages?wait=30s", b"x");
    let work = async {
        let delivery = two.take("s", "w").await;
        assert_eq!(
            two.a("POST", &format!("{delivery}/reply"), b"3").await.status(),
            204
        );
    };
    let (called, ()) = tokio::join!(call, work);
    assert_eq!((called.status().as_u16(), &called.body()[..]), (200, &b"3"[..]));
    let path = format!("/v1/messages/{}", header(&called, "redlink-message"));
    let gone = async { while two.a("GET", &path, b"").await.status() != 404 {} };
    timeout(LONG, gone).await.unwrap();
    two.api.stop().await;
}

#[tokio::test]
async fn someone_elses_delivery_looks_like_none() {
    let two = Two::start().await;
    two.submit("s").await;
    let delivery = two.take("s", "w").await;
    let made_up = {
        // As long, and as well formed.
        let (front, last) = delivery.split_at(delivery.len() - 30);
        format!("{front}{}", last.chars().rev().collect::<String>())
    };
    // Program `b` may consume from the same service, under any name.
    assert_eq!(
        two.b("POST", "/v1/services/s/consumers/w2/take", b"")
            .await
            .status(),
        204
    );
    for verb in ["reply", "ack", "fail", "extend", "release"] {
        let other = two.b("POST", &format!("{delivery}/{verb}"), b"").await;
        let nothing = two.b("POST", &format!("{made_up}/{verb}"), b"").await;
        problem(&other, 404, "unknown-delivery");
        assert_eq!(other.body(), nothing.body(), "{verb}");
    }
    problem(
        &two.b("GET", &format!("{delivery}/payload"), b"").await,
        404,
        "unknown-delivery",
    );
    // The token alone, as an administrator's path is, is no program's.
    let bare = &delivery[..delivery.rfind('/').unwrap() + 1 + 80];
    problem(
        &two.a("POST", &format!("{bare}/reply"), b"").await,
        404,
        "unknown-delivery",
    );
    problem(
        &two.b("POST", &format!("{bare}/reply"), b"").await,
        404,
        "unknown-delivery",
    );
    // It is still held by its own, whom an administrator may help.
    assert_eq!(
        two.a("GET", &format!("{delivery}/payload"), b"").await.body(),
        "x"
    );
    assert_eq!(
        two.a("POST", &format!("{delivery}/extend"), b"").await.status(),
        204
    );
    assert_eq!(
        two.api.post(&format!("{delivery}/extend"), b"").await.status(),
        204
    );
    assert_eq!(two.api.post(&format!("{bare}/extend"), b"").await.status(), 204);
    // Permission to consume is asked for as long as there is something to answer.
    let (no_more, _) = two
        .api
        .program_token(serde_json::json!({ "program": "a", "consume": ["t"] }))
        .await;
    let answer = two
        .api
        .as_program(&no_more, "POST", &format!("{delivery}/reply"), b"")
        .await;
    assert!(problem(&answer, 403, "forbidden").contains("--consume s"));
    assert_eq!(
        two.a("POST", &format!("{delivery}/reply"), b"y").await.status(),
        204
    );
    // An answer that was given tells others nothing either.
    problem(
        &two.b("POST", &format!("{delivery}/reply"), b"").await,
        404,
        "unknown-delivery",
    );
    two.api.stop().await;
}

#[tokio::test]
async fn a_consumers_name_is_its_programs_while_it_is_there() {
    let two = Two::start().await;
    let path = "/v1/services/s/consumers/w";
    let take = format!("{path}/take");
    assert_eq!(two.a("PUT", path, br#"{"limit": 3}"#).await.status(), 204);
    for (method, path) in [("PUT", path), ("DELETE", path), ("POST", take.as_str())] {
        let detail = problem(&two.b(method, path, b"").await, 403, "consumer-taken");
        assert!(detail.contains("another name"), "{detail}");
    }
    let consumers = json(&two.api.get("/v1/consumers").await);
    assert_eq!(
        (consumers[0]["limit"].as_u64(), &consumers[0]["program"]),
        (Some(3), &"a".into())
    );
    // The same name for another service is another consumer.
    assert_eq!(
        two.b("PUT", "/v1/services/t/consumers/w", b"").await.status(),
        204
    );
    problem(
        &two.a("DELETE", "/v1/services/t/consumers/w", b"").await,
        403,
        "consumer-taken",
    );
    // An administrator may use it; it stays whose it is.
    assert_eq!(two.api.post(&take, b"").await.status(), 204);
    assert_eq!(
        two.api.send("PUT", path, &[], br#"{"limit": 4}"#).await.status(),
        204
    );
    problem(&two.b("POST", &take, b"").await, 403, "consumer-taken");
    assert_eq!(two.a("POST", &take, b"").await.status(), 204);
    // It is free when it is gone: unregistered by its own or by an administrator.
    assert_eq!(two.a("DELETE", path, b"").await.status(), 204);
    problem(&two.a("DELETE", path, b"").await, 404, "unknown-consumer");
    assert_eq!(
        two.b("POST", &take, b"").await.status(),
        204,
        "a take registers it too"
    );
    problem(&two.a("PUT", path, b"").await, 403, "consumer-taken");
    assert_eq!(two.api.send("DELETE", path, &[], b"").await.status(), 204);
    assert_eq!(two.a("PUT", path, b"").await.status(), 204);
    // The administrator's is no program's.
    assert_eq!(
        two.api
            .send("PUT", "/v1/services/s/consumers/v", &[], b"")
            .await
            .status(),
        204
    );
    problem(
        &two.a("POST", "/v1/services/s/consumers/v/take", b"").await,
        403,
        "consumer-taken",
    );
    two.api.stop().await;
}

#[tokio::test]
async fn a_program_that_administers_has_its_own_and_touches_all() {
    let two = Two::start().await;
    let root = serde_json::json!({ "program": "root", "administer": true });
    let (root, _) = two.api.program_token(root).await;
    let own = two.submit("s").await;
    let rooted = two
        .api
        .as_program(&root, "POST", "/v1/services/s/messages", b"r")
        .await;
    let rooted = header(&rooted, "location").to_owned();
    problem(&two.a("GET", &rooted, b"").await, 404, "unknown-message");
    let list = two.api.as_program(&root, "GET", "/v1/messages", b"").await;
    assert_eq!(json(&list).as_array().unwrap().len(), 2);
    let status = json(&two.api.as_program(&root, "GET", "/v1/node", b"").await);
    assert!(status["uptime_ms"].is_u64(), "{status}");
    let basics = json(&two.a("GET", "/v1/node", b"").await);
    let mut names: Vec<_> = basics.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["draining", "mesh", "name", "node", "program", "ready", "version"]
    );
    assert_eq!(
        (&basics["program"], &status["program"]),
        (&"a".into(), &"root".into())
    );
    assert_eq!(two.api.as_program(&root, "DELETE", &own, b"").await.status(), 204);
    let cancelled = two.a("GET", &format!("{own}/outcome"), b"").await;
    problem(&cancelled, 424, "cancelled");
    two.api.stop().await;
}

#[tokio::test]
async fn many_programs_at_once_get_each_their_own() {
    let two = Two::start().await;
    let call = async |token: &str, n: usize| {
        let path = format!("/v1/services/s{n}/messages?wait=30s");
        let asked = two.api.build_as(token, "POST", &path, n.to_string().as_bytes());
        request(two.api.site.program("h2").await, asked).await.unwrap()
    };
    let work = async |token: &str, n: usize| {
        let path = format!("/v1/services/s{n}/consumers/w/take?wait=30s");
        let taken = two.api.as_program(token, "POST", &path, b"").await;
        let reply = format!("{}/reply", header(&taken, "redlink-delivery"));
        assert_eq!(
            two.api
                .as_program(token, "POST", &reply, taken.body())
                .await
                .status(),
            204
        );
    };
    let each = (0..20).map(|n| {
        let (one, other) = if n % 2 == 0 {
            (&two.a, &two.b)
        } else {
            (&two.b, &two.a)
        };
        let (call, work) = (&call, &work);
        async move {
            let (called, ()) = tokio::join!(call(one, n), work(other, n));
            assert_eq!(
                (called.status().as_u16(), &called.body()[..]),
                (200, n.to_string().as_bytes())
            );
        }
    });
    timeout(LONG, futures_util::future::join_all(each)).await.unwrap();
    two.api.stop().await;
}
