//! Whole nodes in one process, with real TLS over loopback and a real store: what a mesh of two does.
//!
//! Every wait is for something that can be seen, with a bound that only a failure reaches.

mod between;
mod certificates;
mod follow;
mod peers;
mod revoked;
mod stream;
mod trace;

use super::*;

use crate::Content;
use crate::driver::{Delivery, NewMessage, Settlement};
use crate::link;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use redlink_core::{Answered, MessageId, Outcome, Terms, Verb};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

struct Place {
    dir: TempDir,
    flags: Partial,
}

impl Place {
    fn new(name: &str) -> Self {
        // RUST_LOG=debug cargo test -- --nocapture shows what the nodes do.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let dir = tempfile::tempdir().unwrap();
        let flags = Partial {
            name: Some(name.to_owned()),
            listen: Some(vec!["127.0.0.1:0".to_owned()]),
            ..Partial::default()
        };
        Self { dir, flags }
    }

    async fn start(&self, token: Option<&str>) -> Node {
        Node::start(self.dir.path(), &self.flags, token).await.unwrap()
    }
}

struct Pair {
    north_place: Place,
    north: Node,
    south_place: Place,
    south: Node,
}

/// A mesh of two, with a session between them.
async fn pair() -> Pair {
    pair_through(async |url| url).await
}

/// The same; the south dials what `through` makes of the north's URL.
async fn pair_through(through: impl AsyncFnOnce(String) -> String) -> Pair {
    let mut north_place = Place::new("north");
    let north = north_place.start(None).await;
    // A restart is to be found where the south dials.
    north_place.flags.listen = Some(vec![north.url().replace("https://localhost", "127.0.0.1")]);
    let authority = north.identity().authority.clone().unwrap();
    let token = authority.new_token(LONG).unwrap().token;
    let mut south_place = Place::new("south");
    south_place.flags.north = Some(vec![north.url().into()]);
    let mut south = south_place.start(Some(&token)).await;
    let url = through(north.url().to_owned()).await;
    if url != north.url() {
        // Enrolled directly; from here on it knows the other way only.
        south.stop(Duration::ZERO).await;
        south_place.flags.north = Some(vec![url.into()]);
        south = south_place.start(None).await;
    }
    linked(&north).await;
    linked(&south).await;
    Pair {
        north_place,
        north,
        south_place,
        south,
    }
}

/// Waits until something is true; looks again whenever the node has done something else.
async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let all = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, all)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come true"));
}

async fn linked(node: &Node) {
    until("a session", async || {
        node.handle().peers().await.iter().any(|peer| peer.connected)
    })
    .await;
}

fn content(size: usize) -> Content {
    let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    Content {
        origin: None,
        trace_context: None,
        content_type: Some("application/x-test".into()),
        bytes: Bytes::from(bytes),
    }
}

/// As a producer sends it in a distributed trace.
fn traced(size: usize) -> Content {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    Content {
        trace_context: crate::TraceContext::read(parent, ["vendor=value"]),
        ..content(size)
    }
}

async fn submit(node: &Node, service: &str, content: Content) -> MessageId {
    let new = NewMessage {
        service: service.to_owned(),
        producer: None,
        alternate: None,
        terms: Terms::default(),
        content,
        extras: crate::Extras::default(),
    };
    node.handle().submit(new).await.unwrap().id
}

async fn take(node: &Node, service: &str) -> Delivery {
    let mut taken = node.handle().take(service, "w", 1, LONG).await.unwrap();
    assert_eq!(taken.len(), 1, "nothing came for {service}");
    taken.remove(0)
}

async fn outcome(node: &Node, id: MessageId) -> Settlement {
    node.handle()
        .outcome(id, LONG)
        .await
        .unwrap()
        .expect("no outcome in time")
}

async fn round(from: &Node, to: &Node, service: &str, size: usize, reply: usize) {
    let id = submit(from, service, traced(size)).await;
    let delivery = take(to, service).await;
    assert_eq!(delivery.token.message, id);
    // With what is said of it, also where it has no bytes.
    assert_eq!(delivery.content, traced(size));
    assert_eq!(
        to.handle().payload(delivery.token).await.unwrap(),
        Some(traced(size))
    );
    let answered = to
        .handle()
        .answer(delivery.token, Verb::Reply, Some(content(reply)))
        .await;
    assert_eq!(answered, Ok(Answered::Done));
    let settlement = outcome(from, id).await;
    assert_eq!(settlement.outcome, Outcome::Replied);
    assert_eq!(settlement.content.bytes, content(reply).bytes);
    from.handle().collect(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_cross_a_link_both_ways_in_all_sizes() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = pair().await;
    for (size, reply) in [
        (3, 5),
        (0, 0),
        (8 << 10, 8 << 10),
        ((8 << 10) + 1, 100_000),
        (3 << 20, 1 << 20),
    ] {
        round(&south, &north, "up", size, reply).await;
        round(&north, &south, "down", size, reply).await;
    }
    until("all memory is free", async || {
        let (a, b) = (north.handle().status().await, south.handle().status().await);
        (a.memory_used, b.memory_used, a.deliveries, b.deliveries) == (0, 0, 0, 0)
    })
    .await;
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_all_come_back() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = pair().await;
    let worker = north.handle().clone();
    worker
        .register("echo", "w", 64, Duration::from_secs(30), None)
        .await
        .unwrap();
    let working = tokio::spawn(async move {
        let mut left = 400;
        while left > 0 {
            for delivery in worker.take("echo", "w", 64, LONG).await.unwrap() {
                let reply = Some(delivery.content);
                assert_eq!(
                    worker.answer(delivery.token, Verb::Reply, reply).await,
                    Ok(Answered::Done)
                );
                left -= 1;
            }
        }
    });
    let calls = (0..400).map(|n| {
        let handle = south.handle().clone();
        async move {
            let content = content(n * 40);
            let new = NewMessage {
                service: "echo".into(),
                producer: None,
                alternate: None,
                terms: Terms::default(),
                content: content.clone(),
                extras: crate::Extras::default(),
            };
            match handle.call(new, LONG).await.unwrap() {
                crate::driver::Called::Settled(settlement) => {
                    assert_eq!(settlement.content.bytes, content.bytes)
                }
                open => panic!("{open:?}"),
            }
        }
    });
    futures_util::future::join_all(calls).await;
    working.await.unwrap();
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_north_that_comes_back_is_dialled_again() {
    let Pair {
        north,
        south,
        north_place,
        south_place: _s,
    } = pair().await;
    let before = submit(&south, "s", content(10)).await;
    north.stop(Duration::ZERO).await;
    until("the link is down", async || {
        !south.handle().peers().await[0].connected
    })
    .await;
    let during = submit(&south, "s", content(100_000)).await;
    let north = north_place.start(None).await;
    linked(&south).await;
    let mut seen = vec![];
    for _ in 0..2 {
        let delivery = take(&north, "s").await;
        seen.push(delivery.token.message);
        north
            .handle()
            .answer(delivery.token, Verb::Reply, Some(content(1)))
            .await
            .unwrap();
    }
    seen.sort();
    assert_eq!(seen, [before, during]);
    assert_eq!(outcome(&south, before).await.outcome, Outcome::Replied);
    assert_eq!(outcome(&south, during).await.outcome, Outcome::Replied);
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_outlives_the_stop_of_both_nodes() {
    let Pair {
        north,
        south,
        north_place,
        south_place,
    } = pair().await;
    let id = submit(&south, "s", content(10)).await;
    let delivery = take(&north, "s").await;
    // The origin goes away; the consumer's node keeps what its consumer said.
    south.stop(Duration::ZERO).await;
    until("the link is down", async || {
        !north.handle().peers().await[0].connected
    })
    .await;
    let reply = content(20_000);
    let answered = north
        .handle()
        .answer(delivery.token, Verb::Reply, Some(reply.clone()))
        .await;
    assert_eq!(answered, Ok(Answered::Done));
    north.stop(Duration::ZERO).await;
    let north = north_place.start(None).await;
    let south = south_place.start(None).await;
    let settlement = outcome(&south, id).await;
    assert_eq!(
        (settlement.outcome, settlement.content),
        (Outcome::Replied, reply)
    );
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test]
async fn a_directory_is_one_nodes() {
    let place = Place::new("n");
    let node = place.start(None).await;
    let second = Node::start(place.dir.path(), &place.flags, None).await;
    let text = second.err().expect("two nodes ran in one directory").to_string();
    assert!(text.contains("in use"), "{text}");
    node.stop(LONG).await;
    place.start(None).await.stop(LONG).await;
}

#[tokio::test]
async fn a_new_node_needs_a_token_for_its_north() {
    let mut place = Place::new("n");
    place.flags.north = Some(vec!["https://localhost:1".into()]);
    let refused = Node::start(place.dir.path(), &place.flags, None).await;
    let text = refused.err().expect("it joined without a token").to_string();
    assert!(text.contains("redlink token create"), "{text}");
}

/// A way to a node that cuts each connection but the first after so many bytes from the node, and each later one a
/// little later.
async fn cutting(url: String, first_cut: usize) -> String {
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((mut near, _)) = socket.accept().await {
            let most = if count == 0 {
                u64::MAX
            } else {
                (first_cut * count) as u64
            };
            count += 1;
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut from_near, mut to_near) = near.split();
                let (from_far, mut to_far) = far.split();
                // Whichever ends first ends both.
                let mut from_far = from_far.take(most);
                tokio::select! {
                    _ = tokio::io::copy(&mut from_near, &mut to_far) => {}
                    _ = tokio::io::copy(&mut from_far, &mut to_near) => {}
                }
            });
        }
    });
    format!("https://localhost:{here}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_is_cut_goes_on_where_it_was_cut() {
    // The first connection is the link; those of the transfers break after 1 MiB, 2 MiB, 3 MiB of the payload.
    let pair = pair_through(async |url| cutting(url, 1 << 20).await).await;
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = pair;
    round(&north, &south, "down", 5 << 20, 1 << 20).await;
    south.stop(LONG).await;
    north.stop(LONG).await;
}

/// Opens a link to a node by hand, says `bytes`, and waits until the node ends it.
async fn babble(to: &Node, as_node: &Node, bytes: Vec<u8>) {
    let port: u16 = to.url().rsplit(':').next().unwrap().parse().unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let tls = tokio_rustls::TlsConnector::from(as_node.identity().client());
    let tls = tls.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(tls);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let (say, said) = mpsc::channel::<Bytes>(4);
    let frames = futures_util::stream::unfold(said, async |mut said| {
        let bytes = said.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(Frame::data(bytes)), said))
    });
    let body = http_body_util::StreamBody::new(Box::pin(frames));
    let request = http::Request::post(format!("{}{}", to.url(), link::PATH))
        .body(body)
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    say.send(Bytes::from(bytes)).await.unwrap();
    // Its hello may come first; then it ends, though this side says no more and keeps its own half open.
    let mut body = response.into_body();
    let ended = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    tokio::time::timeout(LONG, ended)
        .await
        .expect("the node goes on listening to nonsense");
    drop(say);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_ends_the_link_that_it_came_by_and_nothing_else() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = pair().await;
    // Lengths that are lies, a header that is no frame, a frame before the hello.
    babble(&north, &south, vec![0xff; 64]).await;
    babble(&north, &south, vec![0, 0, 0, 3, 0, 0, 0, 0, 0xff, 0xff, 0xff]).await;
    babble(&north, &south, vec![0, 0, 0, 1, 0, 0, 0, 0, 1]).await;
    linked(&south).await;
    round(&south, &north, "up", 10, 10).await;
    south.stop(LONG).await;
    north.stop(LONG).await;
}
