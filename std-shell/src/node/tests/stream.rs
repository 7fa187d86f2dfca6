//! Large payloads through a transit node, which holds no more of them than a pipe and stores nothing.
//!
//! All ways go up and then down, so there are three kinds of transit: from a south to a north (brought to it, brought
//! on), from a north to a south (got by it, got from it), and from a south to another (brought to it, got from it). Each
//! payload's reply goes the same way back.

use super::*;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

/// Several times what a pipe and the buffers of the connections beside it hold.
const LARGE: usize = 24 << 20;

/// A way to a node that can be cut, and stopped.
#[derive(Debug)]
struct Way {
    url: String,
    /// The address behind it.
    to: String,
    /// Bytes towards the south and the north.
    passed: [AtomicU64; 2],
    /// After so many bytes, whichever way, what carries them is cut. Below zero: never.
    left: AtomicI64,
    cuts: AtomicU64,
    open: watch::Sender<bool>,
}

impl Way {
    async fn to(url: &str) -> Arc<Self> {
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = socket.local_addr().unwrap().port();
        let way = Arc::new(Self {
            url: format!("https://localhost:{here}"),
            to: format!("127.0.0.1:{port}"),
            passed: Default::default(),
            left: AtomicI64::new(-1),
            cuts: AtomicU64::new(0),
            open: watch::Sender::new(true),
        });
        let shared = way.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = socket.accept().await {
                let way = shared.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let (from_near, to_near) = near.split();
                    let (from_far, to_far) = far.split();
                    // Whichever ends first ends both.
                    tokio::select! {
                        () = way.pass(from_near, to_far, 1) => {}
                        () = way.pass(from_far, to_near, 0) => {}
                    }
                });
            }
        });
        way
    }

    async fn pass(
        &self,
        mut from: impl tokio::io::AsyncRead + Unpin,
        mut to: impl tokio::io::AsyncWrite + Unpin,
        side: usize,
    ) {
        let mut piece = vec![0; 16 << 10];
        let mut open = self.open.subscribe();
        let mut carried = 0;
        loop {
            // The frames of the link go on: a connection is held up only when it has carried a payload for a while.
            if carried > 1 << 20 && open.wait_for(|open| *open).await.is_err() {
                return;
            }
            let Ok(length @ 1..) = from.read(&mut piece).await else {
                return;
            };
            carried += length;
            self.passed[side].fetch_add(length as u64, Ordering::Relaxed);
            if carried > 1 << 20 && self.left.load(Ordering::Relaxed) >= 0 {
                let before = self.left.fetch_sub(length as i64, Ordering::Relaxed);
                if before >= 0 && before < length as i64 {
                    self.cuts.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            if to.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    }

    fn passed(&self) -> u64 {
        self.passed.iter().map(|side| side.load(Ordering::Relaxed)).sum()
    }
}

/// A mesh of three, over ways that can be cut. `ends[0]` dials the transit node.
struct Chain {
    ends: [Node; 2],
    transit: Node,
    ways: [Arc<Way>; 2],
    places: [Place; 3],
}

impl Chain {
    /// South, transit, north.
    async fn up() -> Self {
        let mut places = [Place::new("north"), Place::new("transit"), Place::new("south")];
        let north = places[0].start(None).await;
        let upper = Way::to(north.url()).await;
        let transit = enrol(&north, &mut places[1], &upper).await;
        let lower = Way::to(transit.url()).await;
        let south = enrol(&north, &mut places[2], &lower).await;
        linked(&north).await;
        Self {
            ends: [south, north],
            transit,
            ways: [lower, upper],
            places,
        }
    }

    /// Two souths of one transit node.
    async fn peak() -> Self {
        let mut places = [Place::new("transit"), Place::new("a"), Place::new("b")];
        let transit = places[0].start(None).await;
        let ways = [Way::to(transit.url()).await, Way::to(transit.url()).await];
        let a = enrol(&transit, &mut places[1], &ways[0]).await;
        let b = enrol(&transit, &mut places[2], &ways[1]).await;
        Self {
            ends: [a, b],
            transit,
            ways,
            places,
        }
    }

    /// A message from one end to the other and its reply, both large; the transit node has nothing left of it.
    async fn round(&self, from: usize) {
        let (origin, worker) = (&self.ends[from], &self.ends[1 - from]);
        let service = if from == 0 { "there" } else { "back" };
        round(origin, worker, service, LARGE, LARGE / 2).await;
        self.is_clean().await;
    }

    async fn is_clean(&self) {
        for node in [&self.transit, &self.ends[0], &self.ends[1]] {
            until("all memory is free", async || {
                let status = node.handle().status().await;
                (status.memory_used, status.deliveries) == (0, 0)
            })
            .await;
        }
        let name = self.transit.identity().name.clone();
        let place = self
            .places
            .iter()
            .find(|place| place.flags.name.as_deref() == Some(name.as_str()));
        let stored = place.unwrap().dir.path().join(DATA).join("payload");
        assert_eq!(std::fs::read_dir(stored).unwrap().count(), 0, "P9");
        let store = self.transit.handle().status().await.store;
        assert_eq!(
            (store.messages, store.outcomes, store.replies, store.done),
            (0, 0, 0, 0),
            "P9"
        );
    }

    async fn stop(self) {
        for node in self.ends {
            node.stop(LONG).await;
        }
        self.transit.stop(LONG).await;
    }
}

/// Joins at the first node, and dials another from then on.
async fn enrol(first: &Node, place: &mut Place, north: &Way) -> Node {
    let authority = first.identity().authority.clone().unwrap();
    let token = authority.new_token(LONG).unwrap().token;
    place.flags.north = Some(vec![first.url().into()]);
    place.start(Some(&token)).await.stop(Duration::ZERO).await;
    place.flags.north = Some(vec![north.url.clone().into()]);
    let node = place.start(None).await;
    linked(&node).await;
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_payloads_pass_up_and_down() {
    let chain = Chain::up().await;
    chain.round(0).await;
    chain.round(1).await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_payloads_pass_between_souths() {
    let chain = Chain::peak().await;
    chain.round(0).await;
    chain.stop().await;
}

/// Each hop is cut in the middle of each payload and reply, wherever they come from: what was lost comes again in the same
/// attempt.
async fn cut(chain: &Chain, from: usize) {
    for way in &chain.ways {
        // In the message; in its reply.
        for after in [LARGE / 2, LARGE + LARGE / 4] {
            way.left.store(after as i64, Ordering::Relaxed);
            let before = way.cuts.load(Ordering::Relaxed);
            chain.round(from).await;
            assert_eq!(way.cuts.load(Ordering::Relaxed), before + 1);
            way.left.store(-1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_brought_and_brought_on_survives_cuts() {
    let chain = Chain::up().await;
    cut(&chain, 0).await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_got_and_got_from_survives_cuts() {
    let chain = Chain::up().await;
    cut(&chain, 1).await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_brought_and_got_from_survives_cuts() {
    let chain = Chain::peak().await;
    cut(&chain, 0).await;
    chain.stop().await;
}

/// A node that does not read holds its sender back, and costs the transit node no more than a pipe; others pass it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_back_only_its_own() {
    for (from, chain) in [
        (0, Chain::up().await),
        (1, Chain::up().await),
        (0, Chain::peak().await),
    ] {
        let (origin, worker) = (&chain.ends[from], &chain.ends[1 - from]);
        let (near, far) = (&chain.ways[from], &chain.ways[1 - from]);
        far.open.send_replace(false);
        let id = submit(origin, "slow", content(LARGE)).await;
        let taking = tokio::spawn({
            let handle = worker.handle().clone();
            async move { handle.take("slow", "w", 1, LONG).await }
        });
        // As much has come as fits into what lies on the way; then no more does.
        let mut seen = 0;
        until("it to come to a stop", async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            std::mem::replace(&mut seen, near.passed()) == near.passed() && seen > 2 << 20
        })
        .await;
        assert!(
            seen < (LARGE / 2) as u64,
            "{seen} bytes have come and nobody reads"
        );
        let used = chain.transit.handle().status().await.memory_used;
        assert_eq!(used, 1 << 20, "P7: it counts as one pipe");
        // One that is small enough not to be held up on that way.
        round(origin, worker, "quick", 300_000, 10).await;
        far.open.send_replace(true);
        let delivery = taking.await.unwrap().unwrap().remove(0);
        assert_eq!((delivery.attempt, &delivery.content), (1, &content(LARGE)));
        let done = worker.handle().answer(delivery.token, Verb::Reply, None).await;
        assert_eq!(done, Ok(Answered::Done));
        assert_eq!(outcome(origin, id).await.outcome, Outcome::Replied);
        chain.is_clean().await;
        chain.stop().await;
    }
}

/// The link behind or before a transit node goes in the middle of a payload: the message is not lost, and arrives whole
/// as another attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_goes_in_the_middle_leaves_nothing_behind() {
    let mut chain = Chain::up().await;
    chain.ways[0].open.send_replace(false);
    let id = submit(&chain.ends[1], "s", content(LARGE)).await;
    // The origin waits until the lease is over.
    let lease = Duration::from_secs(1);
    let handle = chain.ends[0].handle().clone();
    handle.register("s", "w", 1, lease, None).await.unwrap();
    let taking = tokio::spawn(async move { handle.take("s", "w", 1, LONG).await });
    until("it is under way", async || {
        chain.transit.handle().status().await.memory_used > 0
    })
    .await;
    let [south, north] = chain.ends;
    south.stop(Duration::ZERO).await;
    taking.abort();
    // Its session is over, and so is what passed for it.
    until("the transit node is free", async || {
        chain.transit.handle().status().await.memory_used == 0
    })
    .await;
    chain.ways[0].open.send_replace(true);
    let south = chain.places[2].start(None).await;
    let delivery = take(&south, "s").await;
    assert_eq!(delivery.content, content(LARGE));
    let done = south.handle().answer(delivery.token, Verb::Reply, None).await;
    assert_eq!(done, Ok(Answered::Done));
    assert_eq!(outcome(&north, id).await.outcome, Outcome::Replied);
    chain.ends = [south, north];
    chain.is_clean().await;
    chain.stop().await;
}

/// A transit node's own limit is for what it takes for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_may_be_longer_than_what_the_node_takes() {
    let mut chain = Chain::up().await;
    chain.transit.stop(LONG).await;
    chain.places[1].flags.max_payload = Some("64KiB".parse().unwrap());
    chain.places[1].flags.listen = Some(vec![chain.ways[0].to.clone()]);
    chain.transit = chain.places[1].start(None).await;
    linked(&chain.ends[0]).await;
    chain.round(0).await;
    chain.stop().await;
}
