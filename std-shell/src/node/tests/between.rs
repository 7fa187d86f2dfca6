//! What can be between two nodes: boxes that cut, hold back or swallow, and what a link makes of them.

use super::*;
use crate::config::{North, OwnWay, PeerPolicy, Way};
use crate::link::{Asking, Dialler, Mode, Polled, Times, Wish};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use redlink_core::Name;
use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// A box on the way to a node.
#[derive(Default)]
struct Between {
    /// Each connection is cut after so many bytes from the node, in turn; none: never.
    bytes: Vec<usize>,
    /// Each connection is cut after so many milliseconds; 0: never.
    lives: AtomicU64,
    /// Connections that are open pass nothing any more, and are not closed.
    swallows: AtomicBool,
    connections: AtomicUsize,
}

impl Between {
    /// Puts it before a node; what to dial instead.
    async fn before(self: &Arc<Self>, url: &str) -> String {
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = socket.local_addr().unwrap().port();
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = socket.accept().await {
                let count = this.connections.fetch_add(1, Ordering::Relaxed);
                let left = match this.bytes.len() {
                    0 => usize::MAX,
                    all => this.bytes[count % all],
                };
                tokio::spawn(this.clone().pass(near, port, left));
            }
        });
        format!("https://localhost:{here}")
    }

    async fn pass(self: Arc<Self>, mut near: TcpStream, port: u16, mut left: usize) {
        let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else {
            return;
        };
        let (mut from_near, mut to_near) = near.split();
        let (mut from_far, mut to_far) = far.split();
        let forth = async {
            let mut piece = [0; 4_096];
            while let Ok(length @ 1..) = from_near.read(&mut piece).await {
                if self.swallows.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                if to_far.write_all(&piece[..length]).await.is_err() {
                    break;
                }
            }
        };
        let back = async {
            let mut piece = [0; 4_096];
            while left > 0 {
                let Ok(length @ 1..) = from_far.read(&mut piece).await else {
                    break;
                };
                if self.swallows.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                let length = length.min(left);
                left -= length;
                if to_near.write_all(&piece[..length]).await.is_err() {
                    break;
                }
            }
        };
        let life = async {
            match self.lives.load(Ordering::Relaxed) {
                0 => std::future::pending().await,
                lives => tokio::time::sleep(Duration::from_millis(lives)).await,
            }
        };
        // Whichever ends first ends all.
        tokio::select! {
            () = forth => {}
            () = back => {}
            () = life => {}
        }
    }
}

/// A north, and a south that is enrolled and dials nobody yet.
async fn strangers() -> Pair {
    let Pair {
        north_place,
        north,
        mut south_place,
        south,
    } = pair().await;
    south.stop(Duration::ZERO).await;
    south_place.flags.north = Some(vec![]);
    let south = south_place.start(None).await;
    Pair {
        north_place,
        north,
        south_place,
        south,
    }
}

/// Makes the south dial a URL; the link is there as long as what is given back.
fn dial(south: &Node, url: &str, wish: Wish, change: impl FnOnce(&mut Times)) -> JoinSet<()> {
    let north = North {
        url: url.parse().unwrap(),
        name: None,
        policy: PeerPolicy::default(),
        own: OwnWay::default(),
        way: Way {
            proxy: None,
            link: wish,
        },
    };
    let dialler = Dialler::new(&north, south.identity.clone());
    let mut dialling = JoinSet::new();
    dialling.spawn(link::keep(
        south.handle().clone(),
        dialler.unwrap().with_times(change),
    ));
    dialling
}

async fn mode(node: &Node) -> Option<String> {
    let peers = node.handle().peers().await;
    peers
        .into_iter()
        .find(|peer| peer.connected)
        .and_then(|peer| peer.mode)
}

async fn travels(node: &Node, expected: &str) {
    until(&format!("a link by {expected}"), async || {
        mode(node).await.as_deref() == Some(expected)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_polls_carries_what_one_of_streams_does() {
    let Pair {
        north,
        south,
        north_place: _n,
        mut south_place,
    } = pair().await;
    assert_eq!(mode(&north).await.as_deref(), Some("stream"));
    assert_eq!(mode(&south).await.as_deref(), Some("stream"));
    south.stop(Duration::ZERO).await;
    south_place.flags.link = Some("poll".into());
    let south = south_place.start(None).await;
    travels(&south, "poll").await;
    travels(&north, "poll").await;
    for (size, reply) in [(3, 5), (0, 0), (8 << 10, 8 << 10), ((8 << 10) + 1, 100_000)] {
        round(&south, &north, "up", size, reply).await;
        round(&north, &south, "down", size, reply).await;
    }
    // The north hears of the end at once, not when the session expires.
    south.stop(LONG).await;
    let start = std::time::Instant::now();
    until("the link is down", async || {
        !north.handle().peers().await[0].connected
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    north.stop(LONG).await;
}

/// Calls of `echo` at one node by another, whose worker answers each that it is given; how many it was given.
async fn echoes(from: &Node, to: &Node, calls: usize, sizes: &[usize]) -> usize {
    let worker = to.handle().clone();
    worker
        .register("echo", "w", 16, Duration::from_secs(30), None)
        .await
        .unwrap();
    let given = Arc::new(AtomicUsize::new(0));
    let count = given.clone();
    let working = tokio::spawn(async move {
        loop {
            for delivery in worker.take("echo", "w", 16, LONG).await.unwrap() {
                count.fetch_add(1, Ordering::Relaxed);
                let reply = Some(delivery.content);
                let _ = worker.answer(delivery.token, Verb::Reply, reply).await;
            }
        }
    });
    let all = (0..calls).map(|n| {
        let handle = from.handle().clone();
        let content = content(sizes[n % sizes.len()] + n);
        async move {
            let new = NewMessage {
                service: "echo".into(),
                producer: None,
                alternate: None,
                terms: Terms::default(),
                content: content.clone(),
                extras: crate::Extras::default(),
            };
            match handle.call(new, 2 * LONG).await.unwrap() {
                crate::driver::Called::Settled(settlement) => {
                    assert!(settlement.content.bytes == content.bytes, "call {n}")
                }
                open => panic!("call {n}: {open:?}"),
            }
        }
    });
    futures_util::future::join_all(all).await;
    working.abort();
    given.load(Ordering::Relaxed)
}

/// Cut wherever in a handshake, a request or an answer: one session carries on over all of it, so nothing is offered
/// or granted twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_goes_on_over_connections_that_are_cut_after_some_bytes() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = strangers().await;
    let between = Arc::new(Between {
        bytes: vec![9_000, 17_001, 100, 30_000, 5_003, 64_000],
        ..Between::default()
    });
    let url = between.before(north.url()).await;
    let _dialling = dial(&south, &url, Wish::Only(Mode::Poll), |times| times.give_up = LONG);
    travels(&south, "poll").await;
    let link = async |node: &Node| node.handle().status().await.counters["offers"];
    assert_eq!(link(&south).await, 0);
    for (from, to) in [(&south, &north), (&north, &south)] {
        assert_eq!(echoes(from, to, 60, &[10, 3_000, 7_000]).await, 60);
    }
    let connections = between.connections.load(Ordering::Relaxed);
    assert!(connections > 20, "{connections} connections: nothing was cut");
    south.stop(Duration::ZERO).await;
    north.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_streams_are_cut_again_and_again_it_polls_by_itself_until_they_pass() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = strangers().await;
    let between = Arc::new(Between::default());
    between.lives.store(400, Ordering::Relaxed);
    let url = between.before(north.url()).await;
    let _dialling = dial(&south, &url, Wish::Auto, |times| {
        times.probe_after = Duration::from_millis(300);
        times.probe = Duration::from_millis(800);
    });
    travels(&south, "poll").await;
    travels(&north, "poll").await;
    round(&south, &north, "up", 10, 10).await;
    round(&north, &south, "down", 10, 10).await;
    // Probes were cut as well; now they are not.
    assert_eq!(mode(&south).await.as_deref(), Some("poll"));
    between.lives.store(0, Ordering::Relaxed);
    travels(&south, "stream").await;
    travels(&north, "stream").await;
    round(&south, &north, "up", 10, 10).await;
    south.stop(Duration::ZERO).await;
    north.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_swallowed_is_noticed_and_made_anew() {
    for wish in [Wish::Auto, Wish::Only(Mode::Poll)] {
        let Pair {
            north,
            south,
            north_place: _n,
            south_place: _s,
        } = strangers().await;
        let between = Arc::new(Between::default());
        let url = between.before(north.url()).await;
        let _dialling = dial(&south, &url, wish, |times| {
            times.keep_alive = Duration::from_millis(300);
            times.answer = Duration::from_millis(700);
            times.give_up = Duration::from_secs(1);
        });
        linked(&south).await;
        between.swallows.store(true, Ordering::Relaxed);
        // It must have noticed: of a request that nobody answers, or of pings.
        if wish == Wish::Auto {
            until("the link is down", async || {
                !south.handle().peers().await[0].connected
            })
            .await;
        } else {
            let before = between.connections.load(Ordering::Relaxed);
            submit(&south, "nobody", content(1)).await;
            south.handle().register("s", "w", 1, LONG, None).await.unwrap();
            until("another connection", async || {
                between.connections.load(Ordering::Relaxed) > before
            })
            .await;
        }
        between.swallows.store(false, Ordering::Relaxed);
        linked(&south).await;
        round(&south, &north, "up", 10, 10).await;
        south.stop(Duration::ZERO).await;
        north.stop(Duration::ZERO).await;
    }
}

/// A north that answers to the request for a link as `link` says, and refuses the rest; it writes down what it hears.
async fn pretender(
    as_node: &Node,
    protocols: &[&[u8]],
    answers: bool,
) -> (String, Arc<Mutex<Vec<String>>>, JoinSet<()>) {
    let mut config = rustls::ServerConfig::clone(&as_node.identity().server());
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", socket.local_addr().unwrap().port());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let said = heard.clone();
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((tcp, _)) = socket.accept().await {
            let (acceptor, said) = (acceptor.clone(), said.clone());
            open.spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let line = format!(
                        "{:?} {} {}",
                        request.version(),
                        request.method(),
                        request.uri().path()
                    );
                    // The comparison of lists comes along with any link.
                    if request.uri().path() != link::REVOCATIONS_PATH {
                        said.lock().unwrap().push(line);
                    }
                    async move {
                        let is_link = request.uri().path() == link::PATH;
                        if is_link && !answers {
                            std::future::pending::<()>().await;
                        }
                        let mut response = Response::new(if is_link {
                            // Its hello never comes.
                            http_body_util::StreamBody::new(futures_util::stream::pending::<
                                Result<Frame<Bytes>, Infallible>,
                            >())
                            .boxed()
                        } else {
                            Full::new(Bytes::from_static(b"not now")).boxed()
                        });
                        if !is_link {
                            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                        }
                        Ok::<_, Infallible>(response)
                    }
                });
                let io = hyper_util::rt::TokioIo::new(tls);
                let executor = hyper_util::rt::TokioExecutor::new();
                let builder = hyper_util::server::conn::auto::Builder::new(executor);
                let _ = builder.serve_connection(io, service).await;
            });
        }
    });
    (url, heard, running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_streams_never_begin_it_polls_at_once() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = strangers().await;
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    let one: &[&[u8]] = &[b"http/1.1"];
    // No answer to the request; an answer and no hello in it; no HTTP/2.
    for (protocols, answers) in [(both, false), (both, true), (one, true)] {
        let (url, heard, _running) = pretender(&north, protocols, answers).await;
        let dialling = dial(&south, &url, Wish::Auto, |times| {
            times.answer = Duration::from_millis(500);
        });
        let polls = |line: &String| line.starts_with("HTTP/1.1 PUT /v1/link/sessions/");
        until("a poll", async || heard.lock().unwrap().iter().any(polls)).await;
        let heard = heard.lock().unwrap().clone();
        let streams = usize::from(protocols.len() == 2);
        assert_eq!(
            heard
                .iter()
                .filter(|line| *line == "HTTP/2.0 POST /v1/link")
                .count(),
            streams
        );
        assert!(polls(&heard[streams]), "{heard:?}");
        drop(dialling);
        // A setting keeps to streams.
        let (url, heard, _running) = pretender(&north, protocols, answers).await;
        let _dialling = dial(&south, &url, Wish::Only(Mode::Stream), |times| {
            times.answer = Duration::from_millis(100);
        });
        if streams == 1 {
            until("three more tries", async || heard.lock().unwrap().len() > 3).await;
        }
        assert!(heard.lock().unwrap().iter().all(|line| !polls(line)));
    }
    south.stop(Duration::ZERO).await;
    north.stop(Duration::ZERO).await;
}

/// The requests themselves, repeated, in the wrong order, and by the wrong peer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_those_who_poll_take_repeats_and_refuse_holes() {
    const ID: &str = "0123456789abcdef-_";
    let place = Place::new("n");
    let node = place.start(None).await;
    let polled = Polled::default();
    // Routes have looked at the certificates.
    let asking = |name: &str| Asking {
        name: Name::new(name).unwrap(),
        chain: Arc::default(),
    };
    let (south, other) = (asking("south"), asking("other"));
    let read = async |response: Response<Full<Bytes>>| {
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, body)
    };
    let poll = async |peer: &Asking, id: &str, from: u64, most: usize, wait: Duration| {
        read(polled.poll(peer, id, from, most, wait).await).await
    };
    let take = async |peer: &Asking, from: u64, bytes: &'static [u8]| {
        let response = polled.take(peer, ID, from, Full::new(Bytes::from_static(bytes)));
        response.await.status().as_u16()
    };
    let open = async |id: &str| {
        let response = polled.open(node.handle(), &node.identity, &south, id);
        let response = response.await.unwrap();
        response.status().as_u16()
    };
    for bad in ["short", "0123456789abcdef/", &"a".repeat(65)] {
        assert_eq!(open(bad).await, 400, "{bad}");
    }
    assert_eq!(poll(&south, ID, 0, 100, LONG).await.0, 410);
    assert_eq!((open(ID).await, open(ID).await), (204, 204));
    // The hello comes by itself, as often and in such pieces as it is asked for.
    let (status, hello) = poll(&south, ID, 0, 1 << 30, LONG).await;
    assert!(status == 200 && hello.len() > 10, "{status} {hello:?}");
    assert_eq!(poll(&south, ID, 0, 4, LONG).await, (200, hello.slice(..4)));
    assert_eq!(poll(&south, ID, 4, 9_999, LONG).await, (200, hello.slice(4..)));
    // Nobody else has that session.
    assert_eq!(poll(&other, ID, 0, 4, LONG).await.0, 410);
    assert_eq!(take(&other, 0, b"x").await, 410);
    let end = hello.len() as u64;
    // With nothing to say it waits, until it was long enough or a newer one comes.
    let wait = Duration::from_millis(20);
    assert_eq!(poll(&south, ID, end, 100, wait).await, (204, Bytes::new()));
    let (older, newer) = tokio::join!(poll(&south, ID, end, 100, LONG), async {
        tokio::task::yield_now().await;
        poll(&south, ID, end, 100, wait).await
    });
    assert_eq!((older.0, newer.0), (409, 204));
    // The beginning of a frame, again, and again with more of it.
    for bytes in [&[0][..], &[0], &[0, 0]] {
        assert_eq!(take(&south, 0, bytes).await, 204);
    }
    assert_eq!(take(&south, 3, &[0]).await, 410);
    // With that hole the session is over, for both directions; another one begins anew.
    until("its end", async || poll(&south, ID, end, 4, wait).await.0 == 410).await;
    const NEXT: &str = "fedcba9876543210";
    assert_eq!(open(NEXT).await, 204);
    assert_eq!(poll(&south, NEXT, 0, 4, LONG).await.0, 200);
    // An offset that it never told.
    assert_eq!(poll(&south, NEXT, 1 << 40, 4, LONG).await.0, 410);
    // A newer session ends the older one, and its own end is told.
    assert_eq!((open(ID).await, open(NEXT).await), (204, 204));
    assert_eq!(poll(&south, ID, 0, 4, LONG).await.0, 410);
    assert_eq!(polled.close(&south, NEXT).status(), 204);
    let (status, why) = poll(&south, NEXT, 0, 4, LONG).await;
    assert_eq!((status, why.is_empty()), (410, false), "{why:?}");
    node.stop(Duration::ZERO).await;
}
