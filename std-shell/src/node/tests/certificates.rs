//! Meshes whose nodes come, renew and are put out, over real TLS.

use super::*;
use crate::store::StoreHandle;
use crate::trust::{Answer, Ask};
use http_body_util::Full;
use redlink_core::Name;
use std::time::SystemTime;

/// first <- middle <- last; the last joins at the middle, which can't sign itself.
pub(super) struct Chain {
    pub(super) first: Node,
    pub(super) middle: Node,
    pub(super) last: Node,
    pub(super) places: [Place; 3],
}

pub(super) fn token(of: &Node) -> String {
    let authority = of.identity().authority.clone().unwrap();
    authority.new_token(LONG).unwrap().token
}

async fn chain() -> Chain {
    chain_by("auto").await
}

/// The same; its links travel as they are told to.
pub(super) async fn chain_by(link: &str) -> Chain {
    let link = Some(link.to_owned());
    let mut first_place = Place::new("first");
    let first = first_place.start(None).await;
    first_place.flags.listen = Some(vec![first.url().replace("https://localhost", "127.0.0.1")]);
    let mut middle_place = Place::new("middle");
    middle_place.flags.north = Some(vec![first.url().into()]);
    middle_place.flags.link = link.clone();
    let middle = middle_place.start(Some(&token(&first))).await;
    middle_place.flags.listen = Some(vec![middle.url().replace("https://localhost", "127.0.0.1")]);
    let mut last_place = Place::new("last");
    last_place.flags.north = Some(vec![middle.url().into()]);
    last_place.flags.link = link;
    // Nobody waited for the link: the request waits at the middle until there is a way.
    let last = last_place.start(Some(&token(&first))).await;
    linked_with(&middle, "last").await;
    linked_with(&middle, "first").await;
    Chain {
        first,
        middle,
        last,
        places: [first_place, middle_place, last_place],
    }
}

pub(super) async fn is_linked(node: &Node, with: &str) -> bool {
    let peers = node.handle().peers().await;
    peers
        .iter()
        .any(|peer| peer.name.as_deref() == Some(with) && peer.connected)
}

pub(super) async fn linked_with(node: &Node, with: &str) {
    until("a session", async || is_linked(node, with).await).await;
}

pub(super) async fn stop(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.stop(LONG).await;
    }
}

/// One request of the administrator of a node.
pub(super) async fn admin(
    node: &Node,
    place: &Place,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, serde_json::Value) {
    let secret = std::fs::read_to_string(place.dir.path().join(trust::ADMIN_TOKEN_FILE)).unwrap();
    let request = http::Request::builder()
        .method(method)
        .uri(format!("{}{path}", node.url()))
        .header("authorization", format!("Bearer {}", secret.trim()));
    send(node, node, request, body).await
}

/// One request to a node, on a connection that shows another's certificate.
pub(super) async fn send(
    to: &Node,
    as_node: &Node,
    request: http::request::Builder,
    body: &str,
) -> (u16, serde_json::Value) {
    let port: u16 = to.url().rsplit(':').next().unwrap().parse().unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let tls = tokio_rustls::TlsConnector::from(as_node.identity().client());
    let tls = tls.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(tls);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_at_any_node_by_a_token_of_any_node() {
    let Chain {
        first,
        middle,
        last,
        places,
    } = chain().await;
    // The last node's administrator invites, and the newcomer joins there: both three hops from the authority.
    let (status, made) = admin(&last, &places[2], "POST", "/v1/tokens", r#"{"ttl": "1m"}"#).await;
    assert_eq!(status, 201, "{made}");
    assert!(made["expires"].is_string(), "{made}");
    let mut place = Place::new("newcomer");
    place.flags.north = Some(vec![last.url().into()]);
    let newcomer = place.start(made["token"].as_str()).await;
    linked_with(&last, "newcomer").await;
    round(&newcomer, &first, "up", 10, 10).await;

    let (status, book) = admin(&first, &places[0], "GET", "/v1/ca", "").await;
    assert_eq!(status, 200, "{book}");
    let nodes = book["nodes"].as_array().unwrap();
    let invited = nodes.iter().find(|n| n["name"] == "newcomer").unwrap();
    assert_eq!(invited["invited_by"], "last", "{book}");
    // Only the authority has a book.
    let (status, problem) = admin(&last, &places[2], "GET", "/v1/ca", "").await;
    assert_eq!(
        (status, &problem["type"]),
        (409, &"urn:redlink:problem:no-authority".into())
    );
    stop([newcomer, last, middle, first]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_can_neither_ask_nor_be_the_authority() {
    let place = Place::new("first");
    let first = place.start(None).await;
    for (method, path) in [
        ("POST", "/v1/services/redlink:authority/messages"),
        ("POST", "/v1/services/redlink:x/messages"),
        ("PUT", "/v1/services/redlink:authority/consumers/first"),
        ("DELETE", "/v1/services/redlink:authority/consumers/first"),
        ("POST", "/v1/services/redlink:authority/consumers/first/take"),
    ] {
        let (status, problem) = admin(&first, &place, method, path, "").await;
        assert_eq!(status, 403, "{path}: {problem}");
        assert_eq!(problem["type"], "urn:redlink:problem:reserved", "{path}");
    }
    // Nor do they see it among what they can use.
    for path in ["/v1/services", "/v1/consumers"] {
        let (_, all) = admin(&first, &place, "GET", path, "").await;
        assert_eq!(all, serde_json::json!([]));
    }
    first.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_through_the_mesh_and_taken_up_without_dropping_a_link() {
    let Chain {
        first,
        middle,
        last,
        places,
    } = chain().await;
    let seen = |node: &Node| {
        let pem = std::fs::read(places[2].dir.path().join(trust::NODE_FILE)).unwrap();
        (node.identity().until(), pem)
    };
    let session = async || {
        let peers = last.handle().peers().await;
        peers
            .into_iter()
            .find(|p| p.name.as_deref() == Some("middle"))
            .map(|p| (p.connected, p.node))
    };
    let (before, session_before) = (seen(&last), session().await);
    // Certificates count whole seconds; the next one shows.
    until("another second", async || {
        SystemTime::now() > before.0 - trust::LIFE_DEFAULT + Duration::from_secs(1)
    })
    .await;
    let request = last.identity().renewal_request().unwrap();
    let asked = Ask::Renew(request);
    let answer = trust::ask(last.identity(), last.handle(), asked.clone())
        .await
        .unwrap();
    let Answer::Enrolled(enrolled) = answer else {
        panic!("{answer:?}")
    };
    last.identity().install(&enrolled).unwrap();
    let after = seen(&last);
    assert!(after.0 > before.0 && after.1 != before.1);
    assert_eq!(session().await, session_before);
    round(&last, &first, "up", 10, 10).await;

    // Who saw the request gains nothing by sending it again, at whichever node.
    for node in [&last, &middle, &first] {
        let answer = trust::ask(node.identity(), node.handle(), asked.clone())
            .await
            .unwrap();
        assert!(
            matches!(&answer, Answer::Refused { detail, .. } if detail.contains("just now")),
            "{answer:?}"
        );
    }
    // Nor by changing it: to other hosts, or another node's certificate.
    let fresh = last.identity().renewal_request().unwrap();
    let mut hosts = fresh.clone();
    hosts.hosts.push("evil.example.com".into());
    let mut name = fresh.clone();
    name.by.certificate = middle.identity().renewal_request().unwrap().by.certificate;
    let mut time = fresh;
    time.by.at += 1;
    for forged in [hosts, name, time] {
        let answer = trust::ask(middle.identity(), middle.handle(), Ask::Renew(forged))
            .await
            .unwrap();
        assert!(
            matches!(&answer, Answer::Refused { detail, .. } if detail.contains("changed on its way")),
            "{answer:?}"
        );
    }
    stop([last, middle, first]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_somebody_changes_are_taken_up_and_bad_ones_are_not() {
    let Pair {
        north,
        south,
        north_place,
        south_place,
    } = pair().await;
    let path = south_place.dir.path().join(trust::NODE_FILE);
    let good = std::fs::read(&path).unwrap();
    let until_before = south.identity().until();
    // Another node's certificate, which is not for this key.
    std::fs::copy(north_place.dir.path().join(trust::NODE_FILE), &path).unwrap();
    assert!(south.identity().reload().is_err());
    assert_eq!(south.identity().until(), until_before);
    std::fs::write(&path, "nonsense").unwrap();
    assert!(south.identity().reload().is_err());
    std::fs::write(&path, &good).unwrap();
    assert!(!south.identity().reload().unwrap());
    // One that the authority made meanwhile, put there by hand: the node sees it by itself.
    until("another second", async || {
        SystemTime::now() > until_before - trust::LIFE_DEFAULT + Duration::from_secs(1)
    })
    .await;
    let request = south.identity().renewal_request().unwrap();
    let enrolled = north
        .identity()
        .authority
        .as_ref()
        .unwrap()
        .renew(&request)
        .unwrap();
    std::fs::write(&path, &enrolled.certificate).unwrap();
    until("the new certificate", async || {
        south.identity().until() > until_before
    })
    .await;
    round(&south, &north, "up", 10, 10).await;
    stop([south, north]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_put_out_loses_its_links_everywhere_and_comes_back_by_a_new_token_only() {
    let Chain {
        first,
        middle,
        last,
        mut places,
    } = chain().await;
    round(&last, &first, "up", 10, 10).await;
    let (status, done) = admin(
        &first,
        &places[0],
        "POST",
        "/v1/ca/revocations",
        r#"{"name": "last"}"#,
    )
    .await;
    assert_eq!((status, &done["certificates"]), (200, &1.into()), "{done}");
    // The news goes over the link to the middle, which closes that to the last.
    until("the middle to hear of it", async || {
        !middle.identity().revocations().is_empty()
    })
    .await;
    until("the link to be down", async || !is_linked(&middle, "last").await).await;
    assert!(is_linked(&middle, "first").await);
    round(&middle, &first, "other", 10, 10).await;
    // It can't come in again, nor have its certificate renewed by the authority itself.
    let port: u16 = middle.url().rsplit(':').next().unwrap().parse().unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let tls = tokio_rustls::TlsConnector::from(last.identity().client());
    let refused = match tls.connect("localhost".try_into().unwrap(), tcp).await {
        Err(error) => error,
        // TLS 1.3 tells a client afterwards.
        Ok(mut stream) => stream.read_u8().await.unwrap_err(),
    };
    assert!(refused.to_string().contains("Revoked"), "{refused}");
    let request = last.identity().renewal_request().unwrap();
    let refused = first
        .identity()
        .authority
        .as_ref()
        .unwrap()
        .renew(&request)
        .unwrap_err();
    assert!(refused.to_string().contains("revoked"), "{refused}");
    // The list is kept by who has heard of it, also over a restart.
    middle.stop(LONG).await;
    let middle = places[1].start(None).await;
    assert_eq!(middle.identity().revocations().len(), 1);
    linked_with(&first, "middle").await;

    // The same directory with a new token: another certificate, which is not on the list.
    let new = token(&first);
    last.stop(LONG).await;
    places[2].flags.north = Some(vec![first.url().into()]);
    std::fs::copy(
        places[1].dir.path().join(trust::CRL_FILE),
        places[2].dir.path().join(trust::CRL_FILE),
    )
    .unwrap();
    let refused = Node::start(places[2].dir.path(), &places[2].flags, None).await;
    let refused = refused.err().unwrap().to_string();
    assert!(
        refused.contains("put out") && refused.contains("redlink token create"),
        "{refused}"
    );
    let last = places[2].start(Some(&new)).await;
    linked_with(&first, "last").await;
    let (status, _) = admin(
        &first,
        &places[0],
        "POST",
        "/v1/ca/revocations",
        r#"{"name": "first"}"#,
    )
    .await;
    assert_eq!(status, 409);
    let (status, _) = admin(
        &first,
        &places[0],
        "POST",
        "/v1/ca/revocations",
        r#"{"name": "nobody"}"#,
    )
    .await;
    assert_eq!(status, 404);
    stop([last, middle, first]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_of_a_revocation_goes_north_too_and_no_older_list_is_taken_for_it() {
    // The authority is at the south end of this link.
    let mut south_place = Place::new("first");
    let south = south_place.start(None).await;
    let mut north_place = Place::new("north");
    north_place.flags.north = Some(vec![south.url().into()]);
    let north = north_place.start(Some(&token(&south))).await;
    let other_place = {
        let mut place = Place::new("other");
        place.flags.north = Some(vec![south.url().into()]);
        place
    };
    other_place.start(Some(&token(&south))).await.stop(LONG).await;
    // From now on the authority's node dials the other one.
    north.stop(LONG).await;
    south.stop(LONG).await;
    north_place.flags.north = Some(Vec::new());
    let north = north_place.start(None).await;
    south_place.flags.north = Some(vec![north.url().into()]);
    let south = south_place.start(None).await;
    linked_with(&north, "first").await;

    let authority = south.identity().authority.clone().unwrap();
    authority.revoke(&Name::new("other").unwrap()).unwrap();
    until("the north to hear of it", async || {
        north.identity().revocations().len() == 1
    })
    .await;
    let number = north.identity().revocations().number();
    let older = north.identity().revocations().der().to_vec();

    // A second one, then the first again: by a peer, and by hand.
    authority.revoke(&Name::new("other").unwrap()).unwrap();
    until("the second list", async || {
        north.identity().revocations().number() > number
    })
    .await;
    let newer = north.identity().revocations().number();
    assert!(!north.identity().learn_revocations(&older).unwrap());
    let request = |method: &str| {
        http::Request::builder()
            .method(method.to_owned().as_str())
            .uri(format!("{}{}", north.url(), link::REVOCATIONS_PATH))
    };
    let (status, problem) = send(&north, &south, request("PUT"), "nonsense").await;
    assert_eq!(
        (status, &problem["type"]),
        (400, &"urn:redlink:problem:bad-request".into())
    );
    assert_eq!(north.identity().revocations().number(), newer);
    // One whose content was changed.
    let mut forged = north.identity().revocations().der().to_vec();
    let at = forged.len() / 2;
    forged[at] ^= 1;
    assert!(north.identity().learn_revocations(&forged).is_err());
    stop([south, north]).await;
}

/// A driver by itself, of any name.
async fn driver(dir: &Path, name: &str) -> (Running, StoreHandle) {
    let (done_in, done) = mpsc::unbounded_channel();
    let opened = store::open(&dir.join(DATA), done_in).unwrap();
    let store = opened.store.clone();
    let settings = Settings::new(Name::new(name).unwrap(), Name::new("mesh").unwrap());
    let running = spawn_blocking(move || driver::start(opened, done, settings))
        .await
        .unwrap();
    (running.unwrap(), store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_says_another_name_than_its_certificate_proves_gets_no_session() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = pair().await;
    let dir = tempfile::tempdir().unwrap();
    let (liar, store) = driver(dir.path(), "liar").await;
    // What it would say first on a link.
    let silence = http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<Frame<Bytes>, std::convert::Infallible>,
    >());
    let peer = Name::new("north").unwrap();
    let mut says = link::accept(&liar.handle, peer, silence).await.unwrap();
    let hello = says.frame().await.unwrap().unwrap().into_data().unwrap();
    // Ends when the north has ended it.
    babble(&north, &south, hello.to_vec()).await;
    assert!(!is_linked(&north, "liar").await);
    linked(&south).await;
    round(&south, &north, "up", 10, 10).await;
    drop(says);
    liar.stop().await;
    close(store).await;
    stop([south, north]).await;
}
