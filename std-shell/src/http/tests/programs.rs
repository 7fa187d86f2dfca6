//! Programs with tokens and certificates: what each may do, and every way in that must be shut (P12).

use super::super::auth::Need;
use super::super::routes::{DOCUMENTED, NODES, PAGE};
use super::{Api, LONG, Site, begin, header, json, problem, request};
use crate::trust::programs::PREFIX;
use crate::trust::{CA_FILE, CA_KEY_FILE};
use http::{Method, Response};
use http_body_util::BodyExt;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// As the certificates of tests name a program that the settings know, which may consume from `s`.
const CERTIFIED: &str = "redlink:mesh/program/certified-worker";

/// A TLS configuration with a certificate of the mesh's authority that has these URIs and this life.
fn certified(site: &Site, uris: &[&str], from: SystemTime, until: SystemTime) -> Arc<rustls::ClientConfig> {
    let read = |file| std::fs::read_to_string(site.dir.path().join(file)).unwrap();
    let authority = KeyPair::from_pem(&read(CA_KEY_FILE)).unwrap();
    let authority = Issuer::from_ca_cert_pem(&read(CA_FILE), authority).unwrap();
    let mut params = CertificateParams::default();
    let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
    params.subject_alt_names = uris.collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (from.into(), until.into());
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let ca = CertificateDer::from_pem_file(site.dir.path().join(CA_FILE)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn certificate(site: &Site, uris: &[&str]) -> Arc<rustls::ClientConfig> {
    let now = SystemTime::now();
    certified(
        site,
        uris,
        now - Duration::from_secs(60),
        now + Duration::from_secs(600),
    )
}

/// What every route has to need: a new one is added here too, and looked at twice by that.
const EXPECTED: &[(Need, &str, &str)] = &[
    (Need::Produce, "POST", "/v1/services/{service}/messages"),
    (Need::Own, "GET", "/v1/messages"),
    (Need::Own, "POST", "/v1/messages"),
    (Need::Own, "POST", "/v1/producers/{producer}/outcomes"),
    (Need::Own, "GET", "/v1/messages/{id}"),
    (Need::Administer, "GET", "/v1/messages/{id}/trace"),
    (Need::Own, "DELETE", "/v1/messages/{id}"),
    (Need::Own, "GET", "/v1/messages/{id}/outcome"),
    (Need::Own, "DELETE", "/v1/messages/{id}/outcome"),
    (
        Need::Consume,
        "PUT",
        "/v1/services/{service}/consumers/{consumer}",
    ),
    (
        Need::Consume,
        "DELETE",
        "/v1/services/{service}/consumers/{consumer}",
    ),
    (
        Need::Consume,
        "POST",
        "/v1/services/{service}/consumers/{consumer}/take",
    ),
    (
        Need::Consume,
        "POST",
        "/v1/services/{service}/consumers/{consumer}/exchange",
    ),
    (Need::Delivery, "GET", "/v1/deliveries/{delivery}/payload"),
    (Need::Delivery, "POST", "/v1/deliveries/{delivery}/reply"),
    (Need::Delivery, "POST", "/v1/deliveries/{delivery}/ack"),
    (Need::Delivery, "POST", "/v1/deliveries/{delivery}/fail"),
    (Need::Delivery, "POST", "/v1/deliveries/{delivery}/extend"),
    (Need::Delivery, "POST", "/v1/deliveries/{delivery}/release"),
    (Need::Own, "GET", "/v1/node"),
    (Need::Administer, "GET", "/v1/services"),
    (Need::Administer, "GET", "/v1/consumers"),
    (Need::Administer, "GET", "/v1/routes"),
    (Need::Administer, "GET", "/v1/dead-letters"),
    (Need::Administer, "DELETE", "/v1/dead-letters"),
    (Need::Administer, "POST", "/v1/dead-letters/requeue"),
    (Need::Administer, "GET", "/v1/dead-letters/{id}"),
    (Need::Administer, "DELETE", "/v1/dead-letters/{id}"),
    (Need::Administer, "GET", "/v1/dead-letters/{id}/payload"),
    (Need::Administer, "POST", "/v1/dead-letters/{id}/requeue"),
    (Need::Administer, "POST", "/v1/query"),
    (Need::Administer, "POST", "/v1/backup"),
    (Need::Administer, "POST", "/v1/flush"),
    (Need::Administer, "GET", "/v1/peers"),
    (Need::Administer, "POST", "/v1/peers"),
    (Need::Administer, "PUT", "/v1/peers/{name}"),
    (Need::Administer, "DELETE", "/v1/peers/{name}"),
    (Need::Administer, "POST", "/v1/tokens"),
    (Need::Administer, "GET", "/v1/tokens"),
    (Need::Administer, "DELETE", "/v1/tokens/{id}"),
    (Need::Administer, "GET", "/v1/ca"),
    (Need::Administer, "POST", "/v1/ca/revocations"),
    (Need::Watch, "GET", "/metrics"),
    (Need::Nothing, "GET", "/livez"),
    (Need::Nothing, "GET", "/readyz"),
    (Need::Nothing, "GET", "/healthz"),
    (Need::Nothing, "GET", "/openapi.json"),
    (Need::Peer, "POST", "/v1/link"),
    (Need::Peer, "POST", "/v1/link/probe"),
    (Need::Peer, "PUT", "/v1/link/sessions/{id}"),
    (Need::Peer, "DELETE", "/v1/link/sessions/{id}"),
    (Need::Peer, "POST", "/v1/link/sessions/{id}/frames"),
    (Need::Peer, "POST", "/v1/link/sessions/{id}/poll"),
    (Need::Peer, "GET", "/v1/link/payloads/{token}/{part}"),
    (Need::Peer, "PUT", "/v1/link/payloads/{token}/{part}"),
    (Need::Peer, "GET", "/v1/revocations"),
    (Need::Peer, "PUT", "/v1/revocations"),
    (Need::Nothing, "POST", "/v1/enrol"),
    (Need::Nothing, "GET", "/"),
    (Need::Nothing, "GET", "/page/{part}"),
];

#[test]
fn every_route_needs_what_it_should() {
    let found: Vec<_> = DOCUMENTED
        .iter()
        .chain(NODES)
        .chain(PAGE)
        .map(|r| (r.need, r.method.as_str(), r.path))
        .collect();
    assert_eq!(found, EXPECTED);
}

/// How somebody shows himself.
enum Shows {
    Nothing,
    Token(String),
    Node,
    Certificate(Arc<rustls::ClientConfig>),
}

/// What he may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum May {
    /// Nobody knows him.
    Unknown,
    /// Known, and good for nothing.
    Nothing,
    Produce,
    Consume,
    Watch,
    Everything,
    Link,
}

/// Everybody at the door.
async fn visitors(api: &Api, foreign: &Api) -> Vec<(&'static str, Shows, May)> {
    let token = async |wish| Shows::Token(api.program_token(wish).await.0);
    let producer = serde_json::json!({ "program": "producer", "produce": ["s", "t.*"] });
    let (revoked, id) = api.program_token(producer.clone()).await;
    assert_eq!(
        api.send("DELETE", &format!("/v1/tokens/{id}"), &[], b"")
            .await
            .status(),
        204
    );
    let expired = {
        let (token, _) = api
            .program_token(serde_json::json!({ "program": "late", "administer": true, "ttl": "1s" }))
            .await;
        let over = async || api.as_program(&token, "GET", "/v1/node", b"").await.status() == 401;
        timeout(LONG, async { while !over().await {} }).await.unwrap();
        token
    };
    let administer = serde_json::json!({ "program": "root", "administer": true });
    let (elsewhere, _) = foreign.program_token(administer.clone()).await;
    let (good, _) = api.program_token(administer.clone()).await;
    let damaged = format!("{}A{}", &good[..PREFIX.len() + 12], &good[PREFIX.len() + 13..]);
    let damaged = if damaged == good {
        format!("{good}A")
    } else {
        damaged
    };
    let now = SystemTime::now();
    let hour = Duration::from_secs(3_600);
    let cert = |uris: &[&str]| Shows::Certificate(certificate(&api.site, uris));
    vec![
        ("nobody", Shows::Nothing, May::Unknown),
        ("a wrong token", Shows::Token("x".repeat(64)), May::Unknown),
        ("a damaged token", Shows::Token(damaged), May::Unknown),
        (
            "the prefix of a token",
            Shows::Token(PREFIX.to_owned()),
            May::Unknown,
        ),
        ("a revoked token", Shows::Token(revoked), May::Unknown),
        ("an expired token", Shows::Token(expired), May::Unknown),
        ("another node's program", Shows::Token(elsewhere), May::Unknown),
        (
            "another node's administrator",
            Shows::Token(foreign.token.clone()),
            May::Unknown,
        ),
        ("a node", Shows::Node, May::Link),
        ("a producer", token(producer).await, May::Produce),
        (
            "a consumer",
            token(serde_json::json!({ "program": "consumer", "consume": ["?"] })).await,
            May::Consume,
        ),
        (
            "a program of other services",
            token(serde_json::json!({ "program": "other", "produce": ["ss", "S"], "consume": ["s?", "x*"] }))
                .await,
            May::Nothing,
        ),
        (
            "a watcher",
            token(serde_json::json!({ "program": "watcher", "watch": true })).await,
            May::Watch,
        ),
        ("an administrator", token(administer).await, May::Everything),
        (
            "the administrator",
            Shows::Token(api.token.clone()),
            May::Everything,
        ),
        ("a consumer by certificate", cert(&[CERTIFIED]), May::Consume),
        (
            "a program without settings",
            cert(&["redlink:mesh/program/stranger"]),
            May::Nothing,
        ),
        (
            "a program of another mesh",
            cert(&["redlink:other/program/certified-worker"]),
            May::Unknown,
        ),
        (
            "a program that is a node too",
            cert(&[CERTIFIED, "redlink:mesh/node/first"]),
            May::Unknown,
        ),
        (
            "two programs at once",
            cert(&[CERTIFIED, "redlink:mesh/program/other"]),
            May::Unknown,
        ),
        ("no program", cert(&[]), May::Unknown),
        (
            "an ended certificate",
            Shows::Certificate(certified(&api.site, &[CERTIFIED], now - 2 * hour, now - hour)),
            May::Unknown,
        ),
    ]
}

/// Sends it as he would; none if he is not even let into the connection.
async fn knock(
    api: &Api,
    shows: &Shows,
    method: &Method,
    path: &str,
) -> Option<Response<hyper::body::Incoming>> {
    let bare = || {
        let mut request = api.build(method.as_str(), path, &[], b"");
        request.headers_mut().remove("authorization");
        request
    };
    let answer = match shows {
        Shows::Nothing => begin(api.site.program("http/1.1").await, bare()).await,
        Shows::Token(token) => {
            let asked = api.build_as(token, method.as_str(), path, b"");
            begin(api.site.program("h2").await, asked).await
        }
        Shows::Node => begin(api.site.peer().await, bare()).await,
        Shows::Certificate(config) => match api.site.connect(config.clone()).await {
            Ok(stream) => begin(stream, bare()).await,
            Err(_) => return None,
        },
    };
    answer.ok()
}

#[tokio::test]
async fn every_route_is_shut_for_everybody_who_may_not() {
    let (api, foreign) = (Api::start().await, Api::start().await);
    let mut walked = 0;
    for (n, (name, shows, may)) in visitors(&api, &foreign).await.iter().enumerate() {
        // The administrator's, open and delivered.
        let open = json(&api.post("/v1/services/s/messages", b"x").await)["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let (delivery, _) = api.take().await;
        for route in DOCUMENTED.iter().chain(NODES) {
            let path = route
                .path
                .replace("{service}", "s")
                .replace("{consumer}", &format!("c{n}"))
                .replace("{producer}", "p")
                .replace("/v1/peers/{name}", "/v1/peers/kin")
                .replace("/v1/tokens/{id}", "/v1/tokens/0000000000000000")
                .replace("{id}", &open)
                .replace("/v1/deliveries/{delivery}", &delivery)
                .replace("{token}/{part}", "x/payload");
            assert!(!path.contains('{'), "{path}: what is to be there?");
            let what = format!("{name}: {} {path}", route.method);
            let Some(answer) = knock(&api, shows, &route.method, &path).await else {
                assert_eq!((*name, *may), ("an ended certificate", May::Unknown));
                continue;
            };
            walked += 1;
            let status = answer.status().as_u16();
            let wanted = match (route.need, may) {
                (Need::Nothing, _) => None,
                (Need::Peer, May::Link) => None,
                (Need::Peer, _) | (_, May::Unknown) => Some((401, "unauthorized", "")),
                (_, May::Everything) => None,
                (_, May::Link) => Some((403, "forbidden", "certificate")),
                (_, May::Nothing) if *name == "a program without settings" => {
                    Some((403, "forbidden", "[programs."))
                }
                (Need::Produce, May::Produce) | (Need::Consume, May::Consume) => None,
                (Need::Produce, _) => Some((403, "forbidden", "--produce s")),
                (Need::Consume, _) => Some((403, "forbidden", "--consume s")),
                (Need::Watch, May::Watch) => None,
                (Need::Watch, _) => Some((403, "forbidden", "--watch")),
                (Need::Administer, _) => Some((403, "forbidden", "--administer")),
                (Need::Delivery, _) => Some((404, "unknown-delivery", "")),
                (Need::Own, _) if path.contains(&open) => Some((404, "unknown-message", "")),
                (Need::Own, _) => None,
            };
            match wanted {
                None => assert!(!matches!(status, 401 | 403), "{what}: {answer:?}"),
                Some((status, kind, says)) => {
                    let (parts, body) = answer.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let detail = problem(&Response::from_parts(parts, body), status, kind);
                    assert!(detail.contains(says), "{what}: {detail}");
                }
            }
        }
        // What was not theirs is as it was, unless an administrator did all of that to it.
        if *may != May::Everything {
            assert_eq!(
                json(&api.get(&format!("/v1/messages/{open}")).await)["state"],
                "granted",
                "{name}"
            );
            assert_eq!(
                api.post(&format!("{delivery}/reply"), b"").await.status(),
                204,
                "{name}"
            );
        }
    }
    assert!(walked > 20 * (DOCUMENTED.len() + NODES.len()) - 1, "{walked}");
    foreign.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn permission_is_asked_for_before_the_body() {
    let api = Api::start().await;
    let (token, _) = api
        .program_token(serde_json::json!({ "program": "p", "produce": ["x"], "consume": ["x"] }))
        .await;
    for route in DOCUMENTED.iter().chain(NODES) {
        if route.method == Method::GET || matches!(route.need, Need::Nothing | Need::Own) {
            continue;
        }
        let path = route.path.replace(['{', '}'], "");
        let mut stream = api.site.program("http/1.1").await;
        let head = format!(
            "{} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
            route.method
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        timeout(LONG, stream.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        let wanted = match route.need {
            Need::Delivery => "404",
            Need::Peer => "401",
            _ => "403",
        };
        assert_eq!(
            String::from_utf8_lossy(&answer),
            format!("HTTP/1.1 {wanted}"),
            "{path}"
        );
    }
    api.stop().await;
}

#[tokio::test]
async fn another_spelling_or_method_is_no_way_in() {
    let api = Api::start().await;
    let (token, _) = api
        .program_token(serde_json::json!({ "program": "p", "produce": ["t.x"], "consume": ["t.x"] }))
        .await;
    let ask =
        async |method: &str, path: &str| api.as_program(&token, method, path, b"").await.status().as_u16();
    assert_eq!(ask("POST", "/v1/services/t.x/messages").await, 202);
    // What is asked for is what is checked, however it is written.
    assert_eq!(ask("POST", "/v1/services/%74%2ex/messages").await, 202);
    for (path, status) in [
        ("/v1/services/%73/messages", 403),
        ("/v1/services/t.x%00/messages", 400),
        ("/v1/services/t.x%2f..%2fs/messages", 400),
        ("/v1/services/t.x%20/messages", 400),
        ("/v1/services/T.X/messages", 403),
        ("/v1/services/t.xx/messages", 403),
        ("/v1/services/*/messages", 400),
        ("/v1/services/t.x/../s/messages", 404),
        ("/v1/services//messages", 400),
        ("//v1/services/t.x/messages", 404),
        ("/V1/services/t.x/messages", 404),
        ("/v1/services/t%ff/messages", 400),
        ("/v1/services/s/consumers/t.x/take", 403),
    ] {
        assert_eq!(ask("POST", path).await, status, "{path}");
    }
    for path in ["/v1/tokens", "/v1/consumers", "/v1/services"] {
        assert_eq!(ask("HEAD", path).await, 403, "{path}");
        let nobody = api.as_program("x", "HEAD", path, b"").await;
        assert_eq!(nobody.status(), 401, "{path}");
    }
    // A header cannot lend what a token has not.
    for (name, value) in [
        ("x-http-method-override", "GET"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-original-url", "/livez"),
    ] {
        let mut asked = api.build_as(&token, "GET", "/v1/tokens", b"");
        asked.headers_mut().insert(name, value.parse().unwrap());
        let answer = super::request(api.site.program("h2").await, asked).await.unwrap();
        problem(&answer, 403, "forbidden");
    }
    // Two tokens are none.
    let mut both = api.build_as(&token, "GET", "/v1/tokens", b"");
    both.headers_mut()
        .append("authorization", format!("Bearer {}", api.token).parse().unwrap());
    let answer = super::request(api.site.program("h2").await, both).await.unwrap();
    problem(&answer, 401, "unauthorized");
    api.stop().await;
}

#[tokio::test]
async fn a_certified_program_works_and_its_token_counts_more() {
    let api = Api::start().await;
    let send = async |token: Option<&str>, method: &str, path: &str, body: &[u8]| {
        let mut asked = api.build_as(token.unwrap_or_default(), method, path, body);
        if token.is_none() {
            asked.headers_mut().remove("authorization");
        }
        let stream = api
            .site
            .connect(certificate(&api.site, &[CERTIFIED]))
            .await
            .unwrap();
        request(stream, asked).await.unwrap()
    };
    api.post("/v1/services/s/messages", b"x").await;
    let taken = send(None, "POST", "/v1/services/s/consumers/c/take", b"").await;
    assert_eq!(taken.body(), "x");
    let delivery = header(&taken, "redlink-delivery");
    // A token of the same name is the same program; another's is not, whatever the connection proves.
    let (same, _) = api
        .program_token(serde_json::json!({ "program": "certified-worker", "consume": ["s"] }))
        .await;
    let (other, _) = api
        .program_token(serde_json::json!({ "program": "other", "consume": ["s"] }))
        .await;
    let reply = format!("{delivery}/reply");
    problem(
        &send(Some(&other), "POST", &reply, b"y").await,
        404,
        "unknown-delivery",
    );
    problem(&send(Some("x"), "POST", &reply, b"y").await, 401, "unauthorized");
    assert_eq!(
        api.as_program(&same, "POST", &format!("{delivery}/extend"), b"")
            .await
            .status(),
        204
    );
    assert_eq!(send(None, "POST", &reply, b"y").await.status(), 204);
    problem(
        &send(None, "POST", "/v1/services/s/messages", b"").await,
        403,
        "forbidden",
    );
    api.stop().await;
}
