//! Proxies of all kinds: good ones, strict ones, and what is none.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A listener that reads one request's headers, answers, and hands over what it read and the connection.
async fn answering(answer: Vec<u8>) -> (u16, JoinHandle<(String, TcpStream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(tcp.read_u8().await.unwrap());
        }
        // Who does not like the beginning may leave before the end.
        let _ = tcp.write_all(&answer).await;
        (String::from_utf8(read).unwrap(), tcp)
    });
    (port, asked)
}

fn proxy(user: &str, port: u16) -> Proxy {
    format!("http://{user}127.0.0.1:{port}").parse().unwrap()
}

async fn refusal(user: &str, answer: &[u8]) -> String {
    let (port, asked) = answering(answer.to_vec()).await;
    // It closes the connection after its answer.
    let closing = tokio::spawn(async move { drop(asked.await) });
    let error = reach("north.invalid", 7411, Some(&proxy(user, port)))
        .await
        .expect_err("no tunnel")
        .to_string();
    closing.abort();
    assert!(error.contains(&format!("http://127.0.0.1:{port}")), "{error}");
    assert!(!error.contains("secret"), "{error}");
    error
}

#[tokio::test]
async fn a_tunnel_passes_bytes_both_ways_and_leaves_the_name_to_the_proxy() {
    for (host, asks) in [("north.invalid", "north.invalid:7411"), ("::1", "[::1]:7411")] {
        for answer in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200 OK\r\nVia: 1.0 p\r\nProxy-Agent: p\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ] {
            let (port, asked) = answering(answer.into()).await;
            let mut near = reach(host, 7411, Some(&proxy("", port))).await.unwrap();
            let (request, mut far) = asked.await.unwrap();
            assert!(
                request.starts_with(&format!("CONNECT {asks} HTTP/1.1\r\n")),
                "{request}"
            );
            assert!(
                request
                    .to_ascii_lowercase()
                    .contains(&format!("host: {asks}\r\n")),
                "{request}"
            );
            assert!(!request.to_ascii_lowercase().contains("authorization"));
            let mut read = [0; 4];
            near.write_all(b"ping").await.unwrap();
            far.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"ping");
            far.write_all(b"pong").await.unwrap();
            near.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"pong");
        }
    }
}

#[tokio::test]
async fn user_and_password_are_shown_to_the_proxy() {
    let (port, asked) = answering(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).await;
    reach("north.invalid", 7411, Some(&proxy("us:p%40ss@", port)))
        .await
        .unwrap();
    let (request, _) = asked.await.unwrap();
    // `us:p@ss`
    assert!(
        request
            .to_ascii_lowercase()
            .contains("proxy-authorization: basic dxm6cebzcw=="),
        "{request}"
    );
}

#[tokio::test]
async fn a_refusal_says_what_it_means_and_what_to_do() {
    let error = refusal("", b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 5\r\n\r\nsorry").await;
    assert!(
        error.contains("407") && error.contains("USER:PASSWORD") && error.contains("`proxy`"),
        "{error}"
    );
    let error = refusal("u:secret@", b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    assert!(error.contains("does not take"), "{error}");
    let error = refusal("", b"HTTP/1.1 403 Forbidden\r\n\r\n<html>").await;
    assert!(
        error.contains("403") && error.contains("north.invalid:7411") && error.contains("NO_PROXY"),
        "{error}"
    );
    let error = refusal("", b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
    assert!(
        error.contains("502") && error.contains("can't reach that node"),
        "{error}"
    );
    let error = refusal("", b"HTTP/1.1 302 Found\r\nLocation: http://login\r\n\r\n").await;
    assert!(error.contains("302"), "{error}");
}

#[tokio::test]
async fn what_is_no_proxy_is_said_to_be_none() {
    refusal("", b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await;
    refusal("", b"").await;
    refusal("", b"HTTP/1.1 200").await;
    // Bytes of its own in the tunnel.
    let error = refusal("", b"HTTP/1.1 200 OK\r\n\r\nWelcome!").await;
    assert!(error.contains("more than its answer"), "{error}");
    // Headers without end.
    let mut huge = b"HTTP/1.1 200 OK\r\n".to_vec();
    huge.extend(format!("X-A: {}\r\n", "a".repeat(2 * ANSWER_MAX)).into_bytes());
    huge.extend(b"\r\n");
    let error = refusal("", &huge).await;
    assert!(error.contains("does not answer as an HTTP proxy"), "{error}");
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // It takes the connection, and a part of an answer comes.
    let silent = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let error = through(&proxy("", port), "north.invalid:7411", Duration::from_millis(200))
        .await
        .unwrap_err();
    silent.abort();
    assert!(matches!(error, ReachError::Late { .. }), "{error}");
    assert!(error.to_string().contains("200ms"), "{error}");
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = reach("north.invalid", 7411, Some(&proxy("u:secret@", port)))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the proxy") && !error.contains("north.invalid") && !error.contains("secret"),
        "{error}"
    );
    let error = reach("127.0.0.1", port, None).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("127.0.0.1:{port}")) && !error.contains("proxy"),
        "{error}"
    );
}
