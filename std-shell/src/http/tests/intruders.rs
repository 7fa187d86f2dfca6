//! Trying to get in, at a real listener: by certificates that are not right, and by requests to join that are not.

use super::{Api, Connection, get, header, json, problem, request};
use crate::link::REVOCATIONS_PATH;
use crate::trust::{CA_FILE, CA_KEY_FILE, JoinToken};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use redlink_core::Name;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use tokio::io::AsyncReadExt;

const DAY: Duration = Duration::from_secs(86_400);

/// What a test's certificate says.
struct Says {
    uris: Vec<&'static str>,
    from: SystemTime,
    until: SystemTime,
    usages: Vec<ExtendedKeyUsagePurpose>,
}

impl Default for Says {
    /// A good one.
    fn default() -> Self {
        let now = SystemTime::now();
        Self {
            uris: vec!["redlink:mesh/node/a"],
            from: now - DAY,
            until: now + DAY,
            usages: vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
        }
    }
}

impl Says {
    fn params(self) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = OffsetDateTime::from(self.from);
        params.not_after = OffsetDateTime::from(self.until);
        params.extended_key_usages = self.usages;
        params.use_authority_key_identifier_extension = true;
        let uris = self
            .uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params
    }
}

/// The authority of a directory, stolen or somebody else's.
fn issuer(dir: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::from_pem(&std::fs::read_to_string(dir.join(CA_KEY_FILE)).unwrap()).unwrap();
    let ca = CertificateDer::from_pem_file(dir.join(CA_FILE)).unwrap();
    Issuer::from_ca_cert_der(&ca, key).unwrap()
}

/// A client that shows a chain and believes this mesh.
fn client(api: &Api, key: &KeyPair, chain: Vec<CertificateDer<'static>>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(api.site.dir.path().join(CA_FILE)).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn shows(api: &Api, issuer: &Issuer<'_, KeyPair>, says: Says) -> Arc<rustls::ClientConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate = says.params().signed_by(&key, issuer).unwrap();
    client(api, &key, vec![certificate.der().clone()])
}

/// How the listener ends a handshake; TLS 1.3 tells a client afterwards.
async fn refused(api: &Api, what: &str, config: Arc<rustls::ClientConfig>) -> String {
    let error = match api.site.connect(config).await {
        Err(error) => error,
        Ok(mut stream) => stream.read_u8().await.expect_err(what),
    };
    error.to_string()
}

/// A connection of a good peer, which has to live on.
async fn peer_goes_on(api: &Api) {
    let answer = request(api.site.peer().await, get(REVOCATIONS_PATH))
        .await
        .unwrap();
    assert_eq!(answer.status(), 204, "{answer:?}");
    assert_eq!(header(&answer, "redlink-revocations"), "0");
}

#[tokio::test]
async fn only_a_certificate_that_is_right_in_every_respect_opens_a_link() {
    let (api, stranger) = (Api::start().await, Api::start().await);
    let ours = issuer(api.site.dir.path());
    let good = || Says::default();
    let now = SystemTime::now();

    let answer = request(
        api.site.connect(shows(&api, &ours, good())).await.unwrap(),
        get(REVOCATIONS_PATH),
    );
    assert_eq!(answer.await.unwrap().status(), 204, "the right one");

    // No certificate.
    let none = request(api.site.program("h2").await, get(REVOCATIONS_PATH))
        .await
        .unwrap();
    problem(&none, 401, "unauthorized");

    // Those that TLS itself refuses.
    let theirs = issuer(stranger.site.dir.path());
    for (what, config, alert) in [
        (
            "another mesh's",
            shows(&api, &theirs, good()),
            "DecryptError|UnknownCA|BadCertificate",
        ),
        (
            "ended",
            shows(
                &api,
                &ours,
                Says {
                    until: now - Duration::from_secs(1),
                    ..good()
                },
            ),
            "CertificateExpired",
        ),
        (
            "not yet valid",
            shows(
                &api,
                &ours,
                Says {
                    from: now + Duration::from_secs(600),
                    ..good()
                },
            ),
            "CertificateExpired|BadCertificate|CertificateUnknown",
        ),
        (
            "for servers only",
            shows(
                &api,
                &ours,
                Says {
                    usages: vec![ExtendedKeyUsagePurpose::ServerAuth],
                    ..good()
                },
            ),
            "UnsupportedCertificate|BadCertificate|CertificateUnknown",
        ),
    ] {
        let error = refused(&api, what, config).await;
        assert!(
            alert.split('|').any(|alert| error.contains(alert)),
            "{what}: {error}"
        );
    }
    let key = KeyPair::generate().unwrap();
    let own = good().params().self_signed(&key).unwrap();
    let error = refused(&api, "self-signed", client(&api, &key, vec![own.der().clone()])).await;
    assert!(
        error.contains("UnknownCA") || error.contains("BadCertificate") || error.contains("DecryptError"),
        "{error}"
    );
    // A node that signs for others with its own certificate.
    let key = KeyPair::generate().unwrap();
    let middle = good().params().signed_by(&key, &ours).unwrap();
    let under = Issuer::new(good().params(), key);
    let key = KeyPair::generate().unwrap();
    let leaf = good().params().signed_by(&key, &under).unwrap();
    let chain = vec![leaf.der().clone(), middle.der().clone()];
    let error = refused(&api, "signed by a node", client(&api, &key, chain)).await;
    assert!(error.contains("received fatal alert"), "{error}");

    // Those that the authority has signed, and that name no node of this mesh.
    for uris in [
        vec![],
        vec!["redlink:other/node/a"],
        vec!["redlink:mesh/program/a"],
        vec!["redlink:mesh/node/"],
        vec!["redlink:mesh/node/a/b"],
        vec!["https://mesh/node/a"],
        vec!["redlink:mesh/node/a", "redlink:mesh/node/first"],
    ] {
        let config = shows(
            &api,
            &ours,
            Says {
                uris: uris.clone(),
                ..good()
            },
        );
        let stream = api.site.connect(config).await.unwrap();
        let answer = request(stream, get(REVOCATIONS_PATH)).await.unwrap();
        let detail = problem(&answer, 401, "unauthorized");
        assert!(detail.contains("certificate"), "{uris:?}: {detail}");
    }
    peer_goes_on(&api).await;
    stranger.stop().await;
    api.stop().await;
}

/// A connection may live longer than the certificate that it began with: links that poll take nothing from it any more.
#[tokio::test]
async fn a_session_that_polls_is_not_for_a_certificate_that_has_ended_meanwhile() {
    let api = Api::start().await;
    let says = Says {
        until: SystemTime::now() + Duration::from_secs(3),
        ..Says::default()
    };
    let stream = api
        .site
        .connect(shows(&api, &issuer(api.site.dir.path()), says))
        .await;
    let io = TokioIo::new(stream.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut send = async |method: &str, rest: &str| {
        let path = format!("https://localhost/v1/link/sessions/0123456789abcdef{rest}");
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    };
    assert_eq!(send("PUT", "").await.status(), 204);
    let ended = async {
        while send("POST", "/poll?from=0&max=1&wait=100ms").await.status() == 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(super::LONG, ended).await.unwrap();
    for (method, rest) in [
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/frames?from=0"),
        ("POST", "/poll?from=0&max=1&wait=1ms"),
    ] {
        let detail = problem(&send(method, rest).await, 401, "unauthorized");
        assert!(detail.contains("no more"), "{method} {rest}: {detail}");
    }
    api.stop().await;
}

pub(super) async fn token(api: &Api, ttl: &str) -> JoinToken {
    let wish = format!(r#"{{"ttl": "{ttl}"}}"#);
    let made = api.post("/v1/tokens", wish.as_bytes()).await;
    json(&made)["token"].as_str().unwrap().parse().unwrap()
}

fn csr(key: &KeyPair) -> String {
    let params = CertificateParams::new(Vec::new()).unwrap();
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// A request to join, as a node makes it.
pub(super) fn wish(token: &JoinToken, name: &str, key: &KeyPair, hosts: &[&str]) -> serde_json::Value {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    let asked = crate::trust::EnrolRequest::new(token, name, csr(key), hosts).unwrap();
    serde_json::to_value(&asked).unwrap()
}

pub(super) async fn enrol(api: &Api, wish: &serde_json::Value) -> Response<Bytes> {
    api.post("/v1/enrol", wish.to_string().as_bytes()).await
}

#[tokio::test]
async fn a_request_to_join_counts_once_in_its_time_and_as_it_was_made() {
    let (api, stranger) = (Api::start().await, Api::start().await);
    let key = KeyPair::generate().unwrap();
    let good = token(&api, "5m").await;
    let asked = wish(&good, "a", &key, &["a.example.com"]);

    // Each field changed on its way.
    let other = wish(&token(&api, "5m").await, "a", &KeyPair::generate().unwrap(), &[]);
    let flipped = {
        let mut proof = URL_SAFE_NO_PAD.decode(asked["proof"].as_str().unwrap()).unwrap();
        proof[10] ^= 1;
        URL_SAFE_NO_PAD.encode(proof)
    };
    for (field, value) in [
        ("name", serde_json::json!("b")),
        ("hosts", serde_json::json!([])),
        ("hosts", serde_json::json!(["a.example.com", "b.example.com"])),
        ("csr", other["csr"].clone()),
        ("token", other["token"].clone()),
        ("token", serde_json::json!("AAAA")),
        ("token", serde_json::json!("")),
        ("proof", other["proof"].clone()),
        ("proof", serde_json::json!("")),
        ("proof", serde_json::json!(flipped)),
    ] {
        let mut forged = asked.clone();
        forged[field] = value;
        problem(&enrol(&api, &forged).await, 403, "token-refused");
    }
    for (field, value) in [("more", serde_json::json!(1)), ("name", serde_json::json!(5))] {
        let mut wrong = asked.clone();
        wrong[field] = value;
        problem(&enrol(&api, &wrong).await, 400, "bad-request");
    }
    // A token of another mesh, though mesh and node are called the same; and one that nobody made.
    let theirs = token(&stranger, "5m").await;
    problem(
        &enrol(&api, &wish(&theirs, "a", &key, &[])).await,
        403,
        "token-refused",
    );
    // The name of the authority's node, and hosts that are none: the token stays as it is.
    for (node, hosts, status, name) in [
        ("first", &[][..], 409, "name-taken"),
        ("a/b", &[], 400, "bad-name"),
        ("a", &["*.example.com"], 400, "bad-request"),
        ("a", &["a b"], 400, "bad-request"),
    ] {
        problem(&enrol(&api, &wish(&good, node, &key, hosts)).await, status, name);
    }
    // Late.
    let short = token(&api, "1s").await;
    let late = wish(&short, "late", &key, &[]);
    let over = SystemTime::now() + Duration::from_secs(1);
    while SystemTime::now() < over {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let detail = problem(&enrol(&api, &late).await, 403, "token-refused");
    assert!(detail.contains("expired"), "{detail}");

    // None of this has used it up. Whoever saw the request and sends it again gets what is of use to the joiner only,
    // and nothing for himself.
    let first = enrol(&api, &asked).await;
    assert_eq!(first.status(), 200, "{first:?}");
    let again = enrol(&api, &asked).await;
    assert_eq!(json(&again)["certificate"], json(&first)["certificate"]);
    for other in [
        wish(&good, "b", &key, &[]),
        wish(&good, "a", &KeyPair::generate().unwrap(), &["a.example.com"]),
    ] {
        let detail = problem(&enrol(&api, &other).await, 403, "token-refused");
        assert!(detail.contains("used already"), "{detail}");
    }
    // A node's hosts are not given to another.
    let grabbing = token(&api, "5m").await;
    let grabbed = enrol(&api, &wish(&grabbing, "b", &key, &["a.example.com"])).await;
    assert_eq!(json(&grabbed)["left_out"], serde_json::json!(["a.example.com"]));
    peer_goes_on(&api).await;
    stranger.stop().await;
    api.stop().await;
}

/// Reads until the other side has closed the connection.
async fn closed(mut stream: Connection) {
    let all = async { while stream.read_u8().await.is_ok() {} };
    tokio::time::timeout(super::LONG, all)
        .await
        .expect("the connection stays open");
}

#[tokio::test]
async fn a_revoked_certificate_ends_its_connections_at_once_and_opens_none() {
    let api = Api::start().await;
    let key = KeyPair::generate().unwrap();
    let joined = enrol(&api, &wish(&token(&api, "5m").await, "a", &key, &[])).await;
    let pem = json(&joined)["certificate"].as_str().unwrap().to_owned();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let config = client(&api, &key, vec![certificate]);
    let stream = api.site.connect(config.clone()).await.unwrap();
    let other = api.site.peer().await;
    // It was let in before, and has a ticket.
    let answer = request(
        api.site.connect(config.clone()).await.unwrap(),
        get(REVOCATIONS_PATH),
    );
    assert_eq!(answer.await.unwrap().status(), 204);

    let authority = api.site.identity.authority.clone().unwrap();
    assert_eq!(authority.revoke(&Name::new("a").unwrap()).unwrap(), 1);
    assert!(api.site.identity.reload().unwrap());
    closed(stream).await;
    let error = refused(&api, "revoked", config).await;
    assert!(error.contains("CertificateRevoked"), "{error}");
    // Others stay: the connection from before and a new one.
    let list = request(other, get(REVOCATIONS_PATH)).await.unwrap();
    assert_eq!(list.status(), 200);
    assert_eq!(list.body()[..], *api.site.identity.revocations().der());
    assert_eq!(
        request(api.site.peer().await, get(REVOCATIONS_PATH))
            .await
            .unwrap()
            .status(),
        200
    );
    api.stop().await;
}
