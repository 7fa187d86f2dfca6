//! Tokens of programs: made, listed, used, ended.

use super::{Api, LONG, header, json, problem, request};
use crate::trust::programs::PREFIX;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::timeout;

impl Api {
    /// Makes a token for a program; its text and its id.
    pub(super) async fn program_token(&self, wish: serde_json::Value) -> (String, String) {
        let made = self.post("/v1/tokens", wish.to_string().as_bytes()).await;
        assert_eq!(made.status(), 201, "{made:?}");
        let text = |name: &str| json(&made)[name].as_str().unwrap().to_owned();
        (text("token"), text("id"))
    }

    /// A request with this token.
    pub(super) fn build_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Request<Full<Bytes>> {
        let mut request = self.build(method, path, &[], body);
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        request
    }

    pub(super) async fn as_program(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Response<Bytes> {
        let asked = self.build_as(token, method, path, body);
        request(self.site.program("http/1.1").await, asked).await.unwrap()
    }
}

#[tokio::test]
async fn who_waits_with_a_token_that_is_revoked_waits_no_longer() {
    let api = Api::start().await;
    let wish = serde_json::json!({ "program": "w", "consume": ["s"], "produce": ["q"] });
    let (token, id) = api.program_token(wish.clone()).await;
    let (kept, _) = api.program_token(wish).await;
    let location = {
        let accepted = api
            .as_program(&token, "POST", "/v1/services/q/messages", b"x")
            .await;
        header(&accepted, "location").to_owned()
    };
    let wait = async |token: &str, method: &str, path: &str| {
        let asked = api.build_as(token, method, path, b"");
        let answer = request(api.site.program("h2").await, asked);
        timeout(LONG, answer).await.unwrap().unwrap()
    };
    let outcome = format!("{location}/outcome?wait=30m");
    let revoke = async {
        let all_wait = async || {
            let all = json(&api.get("/v1/consumers").await);
            let wanted = all
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c["wanted"].as_u64().unwrap());
            let messages = json(&api.get("/v1/messages").await);
            wanted.sum::<u64>() == 2 && messages.as_array().unwrap().len() == 2
        };
        timeout(LONG, async { while !all_wait().await {} }).await.unwrap();
        assert_eq!(
            api.send("DELETE", &format!("/v1/tokens/{id}"), &[], b"")
                .await
                .status(),
            204
        );
    };
    let then = async |answers: [Response<Bytes>; 3]| {
        for answer in answers {
            let detail = problem(&answer, 401, "unauthorized");
            assert!(detail.contains("revoked"), "{detail}");
        }
        // Its take is over too: what comes goes to who waits still.
        assert_eq!(api.post("/v1/services/s/messages", b"y").await.status(), 202);
    };
    let gone = async {
        let answers = tokio::join!(
            wait(&token, "POST", "/v1/services/s/consumers/c1/take?wait=30m"),
            wait(&token, "GET", &outcome),
            wait(&token, "POST", "/v1/services/q/messages?wait=30m"),
            revoke,
        );
        then([answers.0, answers.1, answers.2]).await;
    };
    let (taken, ()) = tokio::join!(
        wait(&kept, "POST", "/v1/services/s/consumers/c2/take?wait=30m"),
        gone
    );
    assert_eq!((taken.status().as_u16(), &taken.body()[..]), (200, &b"y"[..]));
    problem(
        &api.as_program(&token, "GET", "/v1/node", b"").await,
        401,
        "unauthorized",
    );
    // The other token is the same program's: what was sent with the first is its own.
    assert_eq!(api.as_program(&kept, "GET", &location, b"").await.status(), 200);
    api.stop().await;
}

#[tokio::test]
async fn who_waits_with_a_token_that_ends_waits_no_longer() {
    let api = Api::start().await;
    let wish = serde_json::json!({ "program": "w", "consume": ["s"], "ttl": "2s" });
    let (token, _) = api.program_token(wish).await;
    let take = api.as_program(&token, "POST", "/v1/services/s/consumers/c/take?wait=30m", b"");
    let detail = problem(&timeout(LONG, take).await.unwrap(), 401, "unauthorized");
    assert!(detail.contains("ended"), "{detail}");
    api.stop().await;
}

#[tokio::test]
async fn hostile_wishes_for_tokens_are_refused() {
    let api = Api::start().await;
    for (bad, says) in [
        (r#"{"program": "p"}"#, "permission"),
        (r#"{"program": "p", "produce": []}"#, "permission"),
        (r#"{"program": "p", "administer": false}"#, "permission"),
        (r#"{"program": 1, "administer": true}"#, "integer"),
        (r#"{"program": ["p"], "administer": true}"#, "sequence"),
        (r#"{"program": "p", "administer": "yes"}"#, "boolean"),
        (r#"{"program": "p", "produce": "s"}"#, "sequence"),
        (r#"{"program": "p", "produce": ["a b"]}"#, "a b"),
        (r#"{"program": "p", "produce": ["s", ""]}"#, "empty"),
        (r#"{"program": "p", "produce": ["[a-z]"]}"#, "[a-z]"),
        (r#"{"program": "p", "consume": ["-x"]}"#, "-x"),
        (r#"{"program": "p", "consume": ["s"], "ttl": "0s"}"#, "1s"),
        (r#"{"program": "p", "consume": ["s"], "ttl": "4000d"}"#, "3650d"),
        (r#"{"program": "p", "consume": ["s"], "ttl": 5}"#, "string"),
        (r#"{"program": "p", "consumes": ["s"]}"#, "consumes"),
        (r#"{"produce": ["s"]}"#, "produce"),
        (
            r#"{"program": "p", "program": "q", "administer": true}"#,
            "duplicate",
        ),
        ("[", "JSON"),
    ] {
        let detail = problem(&api.post("/v1/tokens", bad.as_bytes()).await, 400, "bad-request");
        assert!(detail.contains(says), "{bad}: {detail}");
    }
    let long = "p".repeat(65);
    for bad in [
        "../../etc",
        "a/b",
        "",
        "a\0b",
        "caf\u{e9}",
        "x\"}{",
        "*",
        long.as_str(),
    ] {
        let wish = serde_json::json!({ "program": bad, "administer": true }).to_string();
        let detail = problem(&api.post("/v1/tokens", wish.as_bytes()).await, 400, "bad-name");
        assert!(detail.contains("program"), "{bad:?}: {detail}");
    }
    let many = serde_json::json!({ "program": "p", "produce": vec!["s"; 65] }).to_string();
    let detail = problem(&api.post("/v1/tokens", many.as_bytes()).await, 400, "bad-request");
    assert!(detail.contains("64"), "{detail}");
    assert_eq!(json(&api.get("/v1/tokens").await), serde_json::json!([]));
    for id in ["x", "%2e%2e", "0000000000000000", "..%2fadmin-token"] {
        problem(
            &api.send("DELETE", &format!("/v1/tokens/{id}"), &[], b"").await,
            404,
            "unknown-token",
        );
    }
    api.stop().await;
}

#[tokio::test]
async fn the_list_of_tokens_tells_all_but_the_secret() {
    let api = Api::start().await;
    let wish =
        serde_json::json!({ "program": "shop", "produce": ["jobs.*"], "consume": ["answers"], "ttl": "90d" });
    let (token, id) = api.program_token(wish).await;
    let before = json(&api.get("/v1/tokens").await);
    assert_eq!(before[0]["last_used"], serde_json::Value::Null);
    assert_eq!(api.as_program(&token, "GET", "/v1/node", b"").await.status(), 200);
    let list = api.get("/v1/tokens").await;
    let all = json(&list);
    assert_eq!(all.as_array().unwrap().len(), 1);
    for (name, value) in [
        ("id", serde_json::json!(id)),
        ("program", "shop".into()),
        ("produce", serde_json::json!(["jobs.*"])),
        ("consume", serde_json::json!(["answers"])),
        ("administer", false.into()),
    ] {
        assert_eq!(all[0][name], value, "{all}");
    }
    for time in ["created", "expires", "last_used"] {
        assert!(
            humantime::parse_rfc3339(all[0][time].as_str().unwrap()).is_ok(),
            "{all}"
        );
    }
    let secret = &token[PREFIX.len() + 12..];
    let text = String::from_utf8_lossy(list.body());
    assert!(!text.contains(secret) && !text.contains("hash"), "{text}");
    api.stop().await;
}
