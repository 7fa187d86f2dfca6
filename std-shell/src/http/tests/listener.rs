//! Connections: who they are from, and how they end.

use super::super::auth::Peer;
use super::super::connection::Limits;
use super::super::listen::{ADDRESS_FILE, Listener};
use super::{Connection, LONG, LOOPBACK, Site, get, request};
use axum::routing::{get as on_get, post};
use axum::{Extension, Router};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

fn quick() -> Limits {
    let short = Duration::from_millis(200);
    Limits {
        handshake: short,
        headers: short,
        idle: short,
        grace: LONG,
        ..Limits::default()
    }
}

pub(super) fn router() -> Router {
    Router::new()
        .route(
            "/who",
            on_get(|Extension(Peer(peer)): Extension<Peer>| async {
                peer.map_or("nobody".into(), |p| p.to_string())
            }),
        )
        .route("/echo", post(|body: bytes::Bytes| async { body }))
}

/// Reads until the other side closes; false if it does not.
async fn closes<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> bool {
    let mut rest = Vec::new();
    // Closed with or without a TLS farewell.
    timeout(LONG, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn both_loopbacks_get_one_free_port_and_the_url_is_written_down() {
    let six = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0);
    let listener = Listener::bind(&[LOOPBACK, six]).await.unwrap();
    let port = listener.addresses()[0].port();
    assert!(
        port != 0 && listener.addresses().iter().all(|a| a.port() == port),
        "{listener:?}"
    );
    let dir = tempfile::tempdir().unwrap();
    listener.announce(dir.path()).unwrap();
    let url = std::fs::read_to_string(dir.path().join(ADDRESS_FILE)).unwrap();
    assert_eq!(url, format!("https://localhost:{port}\n"));

    let error = Listener::bind(&[listener.addresses()[0]])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("another program") && error.contains("--listen"),
        "{error}"
    );
}

#[tokio::test]
async fn both_protocols_are_spoken_and_a_peer_is_known_by_name() {
    let site = Site::start(router(), Limits::default(), 10).await;
    for protocol in ["http/1.1", "h2"] {
        let answer = request(site.program(protocol).await, get("/who")).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.body()[..]),
            (200, &b"nobody"[..]),
            "{protocol}"
        );
    }
    let answer = request(site.peer().await, get("/who")).await.unwrap();
    assert_eq!(answer.body(), "first");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let site = Site::start(router(), Limits::default(), 1).await;
    let (mut sender, connection) = {
        let io = hyper_util::rt::TokioIo::new(site.program("http/1.1").await);
        hyper::client::conn::http1::handshake(io).await.unwrap()
    };
    tokio::spawn(connection);
    assert_eq!(sender.send_request(get("/who")).await.unwrap().status(), 200);
    for protocol in ["http/1.1", "h2"] {
        let answer = request(site.program(protocol).await, get("/who")).await.unwrap();
        assert_eq!(answer.status(), 503, "{protocol}");
        assert!(answer.headers().contains_key("retry-after"));
        assert!(String::from_utf8_lossy(answer.body()).contains("urn:redlink:problem:too-many-connections"));
    }
    drop(sender);
    // The place is free once the server has seen the first one close.
    let free = async {
        while request(site.program("http/1.1").await, get("/who"))
            .await
            .unwrap()
            .status()
            != 200
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, free).await.unwrap();
}

#[tokio::test]
async fn connections_that_bring_nothing_are_closed() {
    let site = Site::start(router(), quick(), 10).await;
    // No handshake.
    let mut tcp = TcpStream::connect(site.address).await.unwrap();
    assert!(closes(&mut tcp).await);
    // Not TLS at all.
    let mut tcp = TcpStream::connect(site.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(closes(&mut tcp).await);
    // No request, on either protocol.
    assert!(closes(&mut site.program("http/1.1").await).await);
    assert!(closes(&mut site.program("h2").await).await);
}

#[tokio::test]
async fn headers_that_trickle_are_cut_off_though_an_idle_connection_may_stay() {
    let limits = Limits {
        idle: 10 * LONG,
        ..quick()
    };
    let site = Site::start(router(), limits, 10).await;
    let mut slow = site.program("http/1.1").await;
    slow.write_all(b"GET /who HTTP/1.1\r\nhost: loc").await.unwrap();
    slow.flush().await.unwrap();
    assert!(closes(&mut slow).await);
    // Longer than headers may take, without a request: still there.
    let mut idle = site.program("http/1.1").await;
    for _ in 0..2 {
        assert!(timeout(2 * limits.headers, idle.read_u8()).await.is_err());
        idle.write_all(b"GET /who HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 12];
        timeout(LONG, idle.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        drain(&mut idle, "nobody").await;
    }
}

async fn drain(stream: &mut Connection, end: &str) {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let site = Site::start(router(), Limits::default(), 10).await;
    let mut stream = site.program("http/1.1").await;
    let head = b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    drain(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"abc").await.unwrap();
    drain(&mut stream, "\r\n\r\nabc").await;
}

#[tokio::test]
async fn headers_have_a_limit() {
    let site = Site::start(router(), Limits::default(), 10).await;
    for protocol in ["http/1.1", "h2"] {
        let mut long = get("/who");
        long.headers_mut()
            .insert("x", "x".repeat(20_000).parse().unwrap());
        let status = request(site.program(protocol).await, long)
            .await
            .map(|r| r.status().as_u16());
        assert!(matches!(status, Ok(431) | Err(_)), "{protocol}: {status:?}");
        let mut fits = get("/who");
        fits.headers_mut()
            .insert("x", "x".repeat(12_000).parse().unwrap());
        assert_eq!(
            request(site.program(protocol).await, fits)
                .await
                .unwrap()
                .status(),
            200,
            "{protocol}"
        );
    }
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_takes_no_new_ones() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (begun.clone(), go_on.clone());
    let router = Router::new().route(
        "/slow",
        on_get(async move || {
            tell.notify_one();
            wait.notified().await;
            "done"
        }),
    );
    let mut site = Site::start(router, Limits::default(), 10).await;
    let idle = site.program("http/1.1").await;
    let pending = tokio::spawn(request(site.program("http/1.1").await, get("/slow")));
    timeout(LONG, begun.notified()).await.unwrap();
    drop(site.stop.take());
    let refused = async { while TcpStream::connect(site.address).await.is_ok() {} };
    timeout(LONG, refused).await.unwrap();
    assert!(!site.served.is_finished());
    go_on.notify_one();
    assert_eq!(pending.await.unwrap().unwrap().body(), "done");
    timeout(LONG, site.served).await.unwrap().unwrap();
    drop(idle);
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_when_the_grace_is_over() {
    let router = Router::new().route("/never", on_get(async || std::future::pending::<()>().await));
    let mut site = Site::start(
        router,
        Limits {
            grace: Duration::from_millis(50),
            ..Limits::default()
        },
        10,
    )
    .await;
    let pending = tokio::spawn(request(site.program("http/1.1").await, get("/never")));
    drop(site.stop.take());
    timeout(LONG, site.served).await.unwrap().unwrap();
    assert!(timeout(LONG, pending).await.unwrap().unwrap().is_err());
}

/// Routes live as long as sessions, and nobody looks whether they are true meanwhile.
#[test]
fn a_silent_peer_is_missed_within_half_a_minute() {
    let Limits { keep_alive, .. } = Limits::default();
    assert!(2 * keep_alive <= Duration::from_secs(30), "{keep_alive:?}");
}
