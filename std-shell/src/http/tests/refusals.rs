//! Wrong requests, each refused with a problem that says what was wrong.

use super::{Api, LONG, PAYLOAD_MAX, get, header, problem, request};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

#[tokio::test]
async fn nobody_gets_in_without_a_token_and_a_peer_is_no_administrator() {
    let api = Api::start().await;
    for path in [
        "/v1/node",
        "/v1/messages",
        "/v1/consumers",
        "/v1/messages/x/outcome",
    ] {
        let none = request(api.site.program("http/1.1").await, get(path))
            .await
            .unwrap();
        problem(&none, 401, "unauthorized");
        assert!(header(&none, "www-authenticate").starts_with("Bearer"));
        for wrong in ["Bearer x", "Basic eDp5", "Bearer "] {
            let mut wrongly = get(path);
            wrongly
                .headers_mut()
                .insert("authorization", wrong.parse().unwrap());
            problem(
                &request(api.site.program("h2").await, wrongly).await.unwrap(),
                401,
                "unauthorized",
            );
        }
        let peer = request(api.site.peer().await, get(path)).await.unwrap();
        problem(&peer, 403, "forbidden");
    }
    // The administrator is no peer.
    let link = api.build("POST", "/v1/link", &[], b"");
    problem(
        &request(api.site.program("h2").await, link).await.unwrap(),
        401,
        "unauthorized",
    );
    let put = api.build("PUT", "/v1/link/payloads/x/payload", &[], b"");
    problem(
        &request(api.site.program("h2").await, put).await.unwrap(),
        401,
        "unauthorized",
    );
    // Probes need nothing.
    for path in ["/livez", "/readyz"] {
        assert_eq!(
            request(api.site.program("http/1.1").await, get(path))
                .await
                .unwrap()
                .status(),
            200,
            "{path}"
        );
    }
    api.stop().await;
}

#[tokio::test]
async fn wrong_paths_methods_and_parameters_are_named() {
    let api = Api::start().await;
    for path in [
        "/page",
        "/page/",
        "/page/index.html",
        "/page/..%2fpage.css",
        "/v1",
        "/v1/nod",
        "/v1/services/a/b/messages",
        "/v1/messages/",
    ] {
        problem(&api.get(path).await, 404, "no-such-route");
    }
    for (method, path, allow) in [
        ("PUT", "/v1/messages", "GET"),
        ("POST", "/v1/messages/x", "DELETE"),
        ("GET", "/v1/services/s/messages", "POST"),
        ("PATCH", "/v1/services/s/consumers/c", "PUT"),
        ("POST", "/livez", "GET"),
        ("POST", "/", "GET"),
        ("DELETE", "/page/main.js", "GET"),
    ] {
        let answer = api.send(method, path, &[], b"").await;
        problem(&answer, 405, "method-not-allowed");
        assert!(
            header(&answer, "allow").contains(allow),
            "{method} {path}: {answer:?}"
        );
    }
    for (path, says) in [
        ("/v1/messages?max=0", "max"),
        ("/v1/messages?max=x", "max"),
        ("/v1/messages?state=lost", "state"),
        ("/v1/messages?from=-1", "from"),
        ("/v1/messages?from=4294967296", "from"),
        ("/v1/messages?limit=5", "limit"),
        ("/v1/node?x=1", "x"),
        ("/v1/messages/x/outcome?wait=5", "wait=5"),
        ("/v1/messages/0000000000000001-1/outcome?wait=2h", "1h"),
        ("/v1/messages/%ff", "path"),
    ] {
        let answer = api.get(path).await;
        if path.starts_with("/v1/messages/x/") {
            // The id is looked at first.
            problem(&answer, 404, "unknown-message");
            continue;
        }
        let detail = problem(&answer, 400, "bad-request");
        assert!(detail.contains(says), "{path}: {detail}");
    }
    for bad in ["a%20b", "%2e%2e", "caf%c3%a9", &"x".repeat(65)] {
        problem(
            &api.post(&format!("/v1/services/{bad}/messages"), b"").await,
            400,
            "bad-name",
        );
        problem(
            &api.post(&format!("/v1/services/s/consumers/{bad}/take"), b"")
                .await,
            400,
            "bad-name",
        );
        problem(
            &api.get(&format!("/v1/messages?service={bad}")).await,
            400,
            "bad-name",
        );
    }
    problem(
        &api.post("/v1/services/s/consumers/c/take?max=1025", b"").await,
        400,
        "bad-request",
    );
    problem(
        &api.post("/v1/services/s/consumers/c/take", b"{}").await,
        400,
        "bad-request",
    );
    let anywhere = format!("/v1/deliveries/{}/ack", "A".repeat(80));
    problem(&api.post(&anywhere, b"{}").await, 400, "bad-request");
    api.stop().await;
}

#[tokio::test]
async fn unknown_headers_ids_and_deliveries_are_refused() {
    let api = Api::start().await;
    for (name, value) in [
        ("redlink-not-after", "1s"),
        ("redlink-ett", "soon"),
        ("idempotency-key", "two words"),
    ] {
        let answer = api
            .send("POST", "/v1/services/s/messages", &[(name, value)], b"x")
            .await;
        let detail = problem(&answer, 400, "bad-header");
        assert!(detail.contains(name), "{detail}");
    }
    let take = "/v1/services/s/consumers/c/take";
    problem(
        &api.send("POST", take, &[("redlink-priority", "1")], b"").await,
        400,
        "bad-header",
    );
    for id in ["x", "0-1", "0000000000000001-x"] {
        problem(
            &api.get(&format!("/v1/messages/{id}")).await,
            404,
            "unknown-message",
        );
    }
    problem(
        &api.get("/v1/messages/0000000000000001-1").await,
        404,
        "other-node",
    );
    let forged = "A".repeat(80);
    for delivery in ["x", "%00", &forged, &"A".repeat(81), &"A".repeat(10_000)] {
        for verb in ["reply", "ack", "fail", "extend", "release"] {
            problem(
                &api.post(&format!("/v1/deliveries/{delivery}/{verb}"), b"").await,
                404,
                "unknown-delivery",
            );
        }
        problem(
            &api.get(&format!("/v1/deliveries/{delivery}/payload")).await,
            404,
            "unknown-delivery",
        );
    }
    api.stop().await;
}

#[tokio::test]
async fn a_payload_over_the_limit_is_refused_before_it_is_sent() {
    let api = Api::start().await;
    let path = "/v1/services/s/messages";
    let token = api.build("GET", "/", &[], b"").headers()["authorization"]
        .to_str()
        .unwrap()
        .to_owned();
    let mut stream = api.site.program("http/1.1").await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        PAYLOAD_MAX + 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(LONG, stream.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    // Without a length: refused when it gets too long.
    let sender = tokio::spawn({
        let stream = api.site.program("h2").await;
        let piece = Bytes::from(vec![0; 1 << 20]);
        let pieces = (0..=PAYLOAD_MAX >> 20)
            .map(move |_| Ok::<_, std::io::Error>(hyper::body::Frame::data(piece.clone())));
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(pieces));
        let request = Request::post(format!("https://localhost{path}"))
            .header("authorization", &token)
            .body(body)
            .unwrap();
        async move {
            let io = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap().status()
        }
    });
    assert_eq!(timeout(LONG, sender).await.unwrap().unwrap(), 413);
    let fits = vec![0; PAYLOAD_MAX];
    assert_eq!(api.post(path, &fits).await.status(), 202);
    api.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_still_learns_why() {
    let api = Api::start().await;
    let token = api.build("GET", "/", &[], b"").headers()["authorization"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = vec![0; PAYLOAD_MAX + 1];
    for (token, status) in [(token.as_str(), "413"), ("Bearer x", "401")] {
        let mut stream = api.site.program("http/1.1").await;
        let head = format!(
            "POST /v1/services/s/messages HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let talk = async {
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            stream.flush().await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"));
        };
        timeout(LONG, talk).await.unwrap();
    }
    api.stop().await;
}

#[tokio::test]
async fn a_stopping_node_says_so() {
    let api = Api::start().await;
    let handle = api.running.handle.clone();
    timeout(LONG, handle.drain()).await.unwrap();
    let answer = api.post("/v1/services/s/messages", b"x").await;
    problem(&answer, 503, "draining");
    assert!(!header(&answer, "retry-after").is_empty());
    let ready: Request<Full<Bytes>> = get("/readyz");
    let answer = request(api.site.program("http/1.1").await, ready).await.unwrap();
    problem(&answer, 503, "not-ready");
    api.stop().await;
}
