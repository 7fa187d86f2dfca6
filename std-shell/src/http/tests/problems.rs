//! Every type of problem, provoked over real HTTPS. One that nobody provokes does not compile: see [`provoke`].

use super::super::connection::Limits;
use super::super::problem::{Kind, URN};
use super::intruders::{enrol, token, wish};
use super::{Api, LONG, PAYLOAD_MAX, Site, begin, get, header, json, listener, program_config, request};
use crate::config::Partial;
use crate::node::Node;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::KeyPair;
use redlink_core::Name;
use rustls_pki_types::ServerName;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const SUBMIT: &str = "/v1/services/s/messages";
const CONSUMER: &str = "/v1/services/s/consumers/c";
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// Makes a problem of this kind come about, at a node of its own where it can't be at one that others use.
async fn provoke(kind: Kind, api: &Api) -> Response<Bytes> {
    let (long, fifty) = ("x".repeat(65), "y".repeat(50));
    match kind {
        Kind::BadRequest => api.get("/v1/messages?max=0").await,
        Kind::BadQuery => api.post("/v1/query", br#"{"sql": "DELETE FROM message"}"#).await,
        Kind::BadHeader => api.send("POST", SUBMIT, &[("redlink-ett", "soon")], b"").await,
        Kind::BadBatch => api.send("POST", "/v1/messages", &[NDJSON], b"{\"service\"").await,
        Kind::BadEntry => {
            let entry = br#"{"service": "s", "text": "x", "json": 1}"#;
            api.send("POST", "/v1/messages", &[NDJSON], entry).await
        }
        Kind::BadName => api.post(&format!("/v1/services/{long}/messages"), b"").await,
        Kind::Unauthorized => {
            let stream = api.site.program("http/1.1").await;
            request(stream, get("/v1/messages")).await.unwrap()
        }
        Kind::Forbidden => {
            let wish = serde_json::json!({ "program": "weak", "produce": ["other"] });
            let (weak, _) = api.program_token(wish).await;
            api.as_program(&weak, "POST", SUBMIT, b"").await
        }
        Kind::ConsumerTaken => {
            let wish = |name| serde_json::json!({ "program": name, "consume": ["*"] });
            let (a, _) = api.program_token(wish("taken-a")).await;
            let (b, _) = api.program_token(wish("taken-b")).await;
            let path = format!("/v1/services/s/consumers/{fifty}");
            assert_eq!(api.as_program(&a, "PUT", &path, b"").await.status(), 204);
            api.as_program(&b, "PUT", &path, b"").await
        }
        Kind::TokenRefused => {
            let nobody = br#"{"token": "AAAA", "name": "x", "csr": "", "proof": ""}"#;
            api.post("/v1/enrol", nobody).await
        }
        Kind::CertificateRefused => of_a_node_that_was_put_out().await,
        Kind::Reserved => api.post("/v1/services/redlink:ca/messages", b"").await,
        Kind::NoSuchRoute => api.get("/v1/nothing").await,
        Kind::UnknownMessage => api.get("/v1/messages/x").await,
        Kind::OtherNode => api.get("/v1/messages/0000000000000001-1").await,
        Kind::UnknownConsumer => {
            api.send("DELETE", "/v1/services/s/consumers/nobody", &[], b"")
                .await
        }
        Kind::UnknownLetter => {
            let open = submit(api, "letters", &[]).await;
            api.get(&open.replace("/v1/messages/", "/v1/dead-letters/")).await
        }
        Kind::UnknownToken => api.send("DELETE", "/v1/tokens/0000000000000000", &[], b"").await,
        Kind::UnknownDelivery => api.post("/v1/deliveries/x/ack", b"").await,
        Kind::UnknownNode => api.post("/v1/ca/revocations", br#"{"name": "nobody"}"#).await,
        Kind::UnknownPeer => api.send("DELETE", "/v1/peers/nobody", &[], b"").await,
        Kind::MethodNotAllowed => api.send("PATCH", "/v1/node", &[], b"").await,
        Kind::NotAcceptable => {
            let wants = [("accept", "image/png")];
            api.send("POST", &format!("{CONSUMER}/take?max=2"), &wants, b"")
                .await
        }
        Kind::TooSlow => a_body_that_stops(api).await,
        Kind::WrongState => {
            let open = submit(api, "wrong-state", &[]).await;
            api.send("DELETE", &format!("{open}/outcome"), &[], b"").await
        }
        Kind::StaleAttempt => {
            let path = "/v1/services/stale/consumers";
            for name in ["a", "b"] {
                let limits = br#"{"lease": "1s"}"#;
                let registered = api.send("PUT", &format!("{path}/{name}"), &[], limits).await;
                assert_eq!(registered.status(), 204);
            }
            submit(api, "stale", &[]).await;
            let old = take(api, "stale", "a").await;
            // That comes when the lease is over.
            take(api, "stale", "b").await;
            api.post(&format!("{old}/reply"), b"").await
        }
        Kind::StaleExchange => {
            let path = "/v1/services/s/consumers/numbered/exchange";
            for number in ["7", "6"] {
                let answer = api
                    .send("POST", path, &[NDJSON, ("redlink-exchange", number)], b"")
                    .await;
                if number == "6" {
                    return answer;
                }
            }
            unreachable!("two numbers")
        }
        Kind::AnswerUnderWay => two_answers_at_once(api).await,
        Kind::WrongVerb => {
            submit(api, "verb", &[]).await;
            let delivery = take(api, "verb", "c").await;
            api.post(&format!("{delivery}/ack"), b"").await
        }
        Kind::PeerThere => {
            let peer = br#"{"url": "https://localhost:1"}"#;
            assert_eq!(api.post("/v1/peers", peer).await.status(), 201);
            api.post("/v1/peers", peer).await
        }
        Kind::NameTaken => {
            let good = token(api, "5m").await;
            enrol(api, &wish(&good, "first", &KeyPair::generate().unwrap(), &[])).await
        }
        Kind::NoAuthority => {
            let two = Two::start().await;
            let answer = two.south("GET", "/v1/ca").await;
            two.stop().await;
            answer
        }
        Kind::NotRevocable => api.post("/v1/ca/revocations", br#"{"name": "first"}"#).await,
        Kind::MessageOver => {
            let open = submit(api, "over", &[]).await;
            let delivery = take(api, "over", "c").await;
            assert_eq!(api.send("DELETE", &open, &[], b"").await.status(), 204);
            api.post(&format!("{delivery}/reply"), b"").await
        }
        Kind::OutcomeCollected => {
            let key = [("idempotency-key", "\"collected\"")];
            let open = submit(api, "collected", &key).await;
            let delivery = take(api, "collected", "c").await;
            assert_eq!(
                api.post(&format!("{delivery}/reply"), b"done").await.status(),
                204
            );
            let collected = api.send("DELETE", &format!("{open}/outcome"), &[], b"").await;
            assert_eq!(collected.status(), 204);
            let again = "/v1/services/collected/messages?wait=1s";
            api.send("POST", again, &key, b"x").await
        }
        Kind::NoSuchRange => {
            submit(api, "range", &[]).await;
            let delivery = take(api, "range", "c").await;
            let beyond = [("range", "bytes=100-")];
            api.send("GET", &format!("{delivery}/payload"), &beyond, b"")
                .await
        }
        Kind::KeyReused => {
            let key = [("idempotency-key", "\"reused\"")];
            submit(api, "reused", &key).await;
            api.send("POST", "/v1/services/reused/messages", &key, b"another")
                .await
        }
        Kind::TooLarge => api.send("PUT", CONSUMER, &[], &[b' '; 65 * 1_024]).await,
        Kind::UnsupportedType => {
            api.send("PUT", CONSUMER, &[("content-type", "text/plain")], b"{}")
                .await
        }
        Kind::QueryStopped => api.post("/v1/query", &endless()).await,
        Kind::Failed => {
            let open = submit(api, "failed", &[]).await;
            let delivery = take(api, "failed", "c").await;
            assert_eq!(api.post(&format!("{delivery}/fail"), b"no").await.status(), 204);
            outcome(api, &open).await
        }
        Kind::Expired => {
            let open = submit(api, "expired", &[("redlink-ett", "1ms")]).await;
            outcome(api, &open).await
        }
        Kind::Dead => {
            let registered = api.send("PUT", "/v1/services/dead/consumers/c", &[], br#"{"lease": "1s"}"#);
            assert_eq!(registered.await.status(), 204);
            let open = submit(api, "dead", &[("redlink-max-attempts", "1")]).await;
            take(api, "dead", "c").await;
            outcome(api, &open).await
        }
        Kind::Cancelled => {
            let open = submit(api, "cancelled", &[]).await;
            assert_eq!(api.send("DELETE", &open, &[], b"").await.status(), 204);
            outcome(api, &open).await
        }
        Kind::Full => {
            let small = Api::start_with(|settings| settings.capacity.messages = 1).await;
            submit(&small, "s", &[]).await;
            let answer = small.post(SUBMIT, b"").await;
            small.stop().await;
            answer
        }
        Kind::QueryBusy => {
            let query = endless();
            let first = api.post("/v1/query", &query);
            let second = async {
                loop {
                    let answer = api.post("/v1/query", b"{\"sql\": \"SELECT 1\"}").await;
                    if answer.status() == 429 {
                        return answer;
                    }
                }
            };
            // Whichever of the two comes second.
            tokio::select! { answer = second => answer, over = first => over }
        }
        Kind::BackupBusy => {
            let own = Api::start().await;
            for _ in 0..4 {
                assert_eq!(own.post(SUBMIT, &vec![7; PAYLOAD_MAX]).await.status(), 202);
            }
            // It reads the head of the answer, and nothing of the many bytes behind it.
            let slow = own.build("POST", "/v1/backup", &[], b"");
            let first = begin(own.site.narrow("http/1.1").await, slow).await.unwrap();
            assert_eq!(first.status(), 200);
            let answer = own.post("/v1/backup", b"").await;
            drop(first);
            own.stop().await;
            answer
        }
        Kind::MemoryFull => two_large_payloads_where_there_is_room_for_one().await,
        Kind::Internal => {
            let own = Api::start().await;
            let (_, id) = own
                .program_token(serde_json::json!({ "program": "p", "produce": ["s"] }))
                .await;
            // Where tokens are kept is no folder any more.
            let kept = find(own.site.dir.path(), &format!("{id}.json"));
            let folder = kept.parent().unwrap();
            std::fs::remove_dir_all(folder).unwrap();
            std::fs::write(folder, "").unwrap();
            let answer = own
                .post("/v1/tokens", br#"{"program": "q", "produce": ["s"]}"#)
                .await;
            own.stop().await;
            answer
        }
        Kind::SettingsFailed => {
            let own = Api::start().await;
            std::fs::write(own.site.dir.path().join(crate::config::FILE), "naem = 1\n").unwrap();
            let answer = own.post("/v1/peers", br#"{"url": "https://localhost:1"}"#).await;
            own.stop().await;
            answer
        }
        Kind::Draining | Kind::NotReady => {
            let own = Api::start().await;
            timeout(LONG, own.running.handle.drain()).await.unwrap();
            let answer = match kind {
                Kind::Draining => own.post(SUBMIT, b"").await,
                _ => own.get("/readyz").await,
            };
            own.stop().await;
            answer
        }
        Kind::StoreFailed => {
            let own = Api::start().await;
            let large = vec![7; 1 << 20];
            let open = header(&own.post(SUBMIT, b"").await, "location").to_owned();
            let delivery = take(&own, "s", "c").await;
            assert_eq!(own.post(&format!("{delivery}/reply"), &large).await.status(), 204);
            std::fs::remove_dir_all(own.site.dir.path().join("data/payload")).unwrap();
            let answer = outcome(&own, &open).await;
            own.stop().await;
            answer
        }
        Kind::AuthorityUnreachable => {
            let two = Two::start().await;
            two.north.stop(Duration::ZERO).await;
            let answer = ask(two.south_dir.path(), two.south.url(), "POST", "/v1/tokens").await;
            two.south.stop(Duration::ZERO).await;
            answer
        }
        Kind::DiskFull => {
            let own = Api::start().await;
            let handle = own.running.handle.clone();
            let watch = tokio::spawn(async move { handle.watch_disk(Some(u64::MAX)).await });
            let refused = async {
                loop {
                    let answer = own.post(SUBMIT, b"").await;
                    if answer.status() != 202 {
                        return answer;
                    }
                }
            };
            let answer = timeout(LONG, refused).await.unwrap();
            watch.abort();
            own.stop().await;
            answer
        }
        Kind::TooManyConnections => {
            let site = Site::start(listener::router(), Limits::default(), 1).await;
            let first = begin(site.program("http/1.1").await, get("/who")).await.unwrap();
            let answer = request(site.program("http/1.1").await, get("/who"))
                .await
                .unwrap();
            drop(first);
            answer
        }
    }
}

/// A message; its path.
async fn submit(api: &Api, service: &str, headers: &[(&str, &str)]) -> String {
    let accepted = api
        .send("POST", &format!("/v1/services/{service}/messages"), headers, b"x")
        .await;
    assert_eq!(accepted.status(), 202, "{accepted:?}");
    header(&accepted, "location").to_owned()
}

/// Where to answer the next message of a service.
async fn take(api: &Api, service: &str, consumer: &str) -> String {
    let path = format!("/v1/services/{service}/consumers/{consumer}/take?wait=30s");
    let taken = api.post(&path, b"").await;
    assert_eq!(taken.status(), 200, "{taken:?}");
    header(&taken, "redlink-delivery").to_owned()
}

async fn outcome(api: &Api, message: &str) -> Response<Bytes> {
    api.get(&format!("{message}/outcome?wait=30s")).await
}

/// A query that is stopped before it is done.
fn endless() -> Vec<u8> {
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    serde_json::json!({ "sql": sql }).to_string().into_bytes()
}

fn find(dir: &Path, name: &str) -> std::path::PathBuf {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let found = find(&path, name);
            if found.exists() {
                return found;
            }
        } else if path.ends_with(name) {
            return path;
        }
    }
    dir.join(name)
}

/// A request whose body is told of and never comes.
async fn half(api: &Api, path: &str, length: usize) -> super::Connection {
    let asked = api.build("POST", path, &[], b"");
    let token = asked.headers()["authorization"].to_str().unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n"
    );
    let mut stream = api.site.program("http/1.1").await;
    stream.write_all(head.as_bytes()).await.unwrap();
    // The node reads it from now on.
    let mut go_on = [0; 25];
    timeout(LONG, stream.read_exact(&mut go_on))
        .await
        .unwrap()
        .unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"));
    stream
}

async fn a_body_that_stops(api: &Api) -> Response<Bytes> {
    let mut stream = half(api, SUBMIT, 5).await;
    let mut answer = Vec::new();
    timeout(2 * LONG, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    read(&answer)
}

/// An answer of HTTP/1.1 as it lies on the wire.
fn read(answer: &[u8]) -> Response<Bytes> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = Response::builder().status(status);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        response = response.header(name, value);
    }
    response.body(Bytes::from(body.to_owned())).unwrap()
}

async fn two_large_payloads_where_there_is_room_for_one() -> Response<Bytes> {
    const LARGE: usize = 1 << 20;
    let small = Api::start_with(|settings| settings.memory_max = 4 * LARGE as u64).await;
    let first = half(&small, SUBMIT, LARGE).await;
    let answer = small.post(SUBMIT, &vec![0; LARGE]).await;
    drop(first);
    small.stop().await;
    answer
}

/// Both reach the node before the first is on disk, sooner or later.
async fn two_answers_at_once(api: &Api) -> Response<Bytes> {
    let io = TokioIo::new(api.site.program("h2").await);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let answers = async {
        loop {
            submit(api, "at-once", &[]).await;
            let delivery = take(api, "at-once", "c").await;
            let reply = async || {
                let asked: Request<Full<Bytes>> = api.build("POST", &format!("{delivery}/reply"), &[], b"x");
                let (parts, body) = sender.clone().send_request(asked).await.unwrap().into_parts();
                let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
                Response::from_parts(parts, body)
            };
            let (a, b) = tokio::join!(reply(), reply());
            for answer in [a, b] {
                if answer.status() == 409 {
                    return answer;
                }
            }
        }
    };
    timeout(LONG, answers).await.unwrap()
}

/// A mesh of two nodes.
struct Two {
    _north_dir: tempfile::TempDir,
    north: Node,
    south_dir: tempfile::TempDir,
    south: Node,
}

impl Two {
    async fn start() -> Self {
        let flags = |name: &str| Partial {
            name: Some(name.to_owned()),
            listen: Some(vec!["127.0.0.1:0".to_owned()]),
            ..Partial::default()
        };
        let (north_dir, south_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let north = Node::start(north_dir.path(), &flags("north"), None)
            .await
            .unwrap();
        let made = ask(north_dir.path(), north.url(), "POST", "/v1/tokens").await;
        let token = json(&made)["token"].as_str().unwrap().to_owned();
        let south = Partial {
            north: Some(vec![north.url().into()]),
            ..flags("south")
        };
        let south = Node::start(south_dir.path(), &south, Some(&token)).await.unwrap();
        Self {
            _north_dir: north_dir,
            north,
            south_dir,
            south,
        }
    }

    async fn south(&self, method: &str, path: &str) -> Response<Bytes> {
        ask(self.south_dir.path(), self.south.url(), method, path).await
    }

    async fn stop(self) {
        self.south.stop(Duration::ZERO).await;
        self.north.stop(Duration::ZERO).await;
    }
}

/// A request of the administrator of a node, without a body.
async fn ask(dir: &Path, url: &str, method: &str, path: &str) -> Response<Bytes> {
    let token = std::fs::read_to_string(dir.join(crate::trust::ADMIN_TOKEN_FILE)).unwrap();
    let port = url.rsplit(':').next().unwrap();
    let tcp = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
    let connector = TlsConnector::from(program_config(dir, "http/1.1"));
    let stream = connector
        .connect(ServerName::try_from("localhost").unwrap(), tcp)
        .await
        .unwrap();
    let asked = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {}", token.trim()))
        .body(Full::default())
        .unwrap();
    request(stream, asked).await.unwrap()
}

/// A node asks for a token at the moment at which it is put out: the authority knows, and the link is still up.
async fn of_a_node_that_was_put_out() -> Response<Bytes> {
    let two = Two::start().await;
    let asked = async |wanted: u16| {
        loop {
            let made = two.south("POST", "/v1/tokens").await;
            // Before the link is up there is nobody to ask.
            if made.status() == wanted {
                return made;
            }
            assert_eq!(made.status(), 503, "{made:?}");
        }
    };
    timeout(LONG, asked(201)).await.unwrap();
    let authority = two.north.identity().authority.clone().unwrap();
    authority.revoke(&Name::new("south").unwrap()).unwrap();
    let answer = timeout(LONG, asked(403)).await.unwrap();
    two.stop().await;
    answer
}

/// What an answer says is wrong: it is a problem, or its last entry is one.
fn said(answer: &Response<Bytes>) -> (u16, String) {
    let document = match answer.status().is_success() {
        false => json(answer),
        true => serde_json::from_slice(
            answer
                .body()
                .trim_ascii_end()
                .rsplit(|b| *b == b'\n')
                .next()
                .unwrap(),
        )
        .unwrap(),
    };
    let status = document["status"].as_u64().unwrap();
    assert!(!document["detail"].as_str().unwrap().is_empty(), "{document}");
    (
        status.try_into().unwrap(),
        document["type"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn every_type_of_problem_can_be_provoked_and_says_what_it_is() {
    let all = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(Box::pin(all_kinds()));
    };
    // An unoptimised future of so many arms is a large one.
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(all);
    thread.unwrap().join().unwrap();
}

async fn all_kinds() {
    let api = Api::start().await;
    // Some take as long as a node's patience does, so all of them at once; those that must be alone are.
    let alone = [Kind::QueryStopped, Kind::QueryBusy];
    let check = async |kind: Kind| {
        let answer = timeout(3 * LONG, provoke(kind, &api)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{kind:?} takes too long"));
        assert_eq!(
            said(&answer),
            (kind.status().as_u16(), format!("{URN}{}", kind.name())),
            "{kind:?}: {answer:?}"
        );
        if matches!(answer.status().as_u16(), 429 | 503 | 507) {
            assert!(!header(&answer, "retry-after").is_empty(), "{kind:?}: {answer:?}");
        }
    };
    let together = Kind::ALL.iter().filter(|kind| !alone.contains(kind));
    futures_util::stream::iter(together)
        .map(|kind| check(*kind))
        .buffer_unordered(Kind::ALL.len())
        .collect::<Vec<()>>()
        .await;
    for kind in alone {
        check(kind).await;
    }
    api.stop().await;
}
