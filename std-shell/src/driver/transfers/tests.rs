//! Who may move what, and what waits.

use super::*;
use crate::link::Mode;
use crate::link::how::How;
use crate::link::outbox::outbox;
use crate::link::pipe::{Inflow, Limits};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

struct Here {
    transfers: Transfers,
    contents: Contents,
    next: VecDeque<Next>,
}

impl Here {
    fn new(limit: u64) -> Self {
        Self {
            transfers: Transfers::default(),
            contents: Contents::new(limit),
            next: VecDeque::new(),
        }
    }

    /// A peer comes with a payload; where it hears what to do.
    fn arriving(
        &mut self,
        peer: &str,
        key: TransferKey,
        size: u64,
    ) -> oneshot::Receiver<Result<Destination, TransferRefusal>> {
        let (answer, answered) = oneshot::channel();
        self.transfers
            .arriving(name(peer), true, key, size, at(0), answer);
        answered
    }

    fn expire(&mut self, now: Instant) -> usize {
        self.transfers.expire(now, &mut self.contents, &mut self.next);
        self.next
            .drain(..)
            .filter(|next| matches!(next, Next::Fetched(_, None)))
            .count()
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(1_000 + seconds)
}

fn key(sequence: u64) -> TransferKey {
    let message = MessageId {
        node: NodeId(1),
        sequence,
    };
    let token = GrantToken {
        message,
        inserted: 3,
        fence: Fence { boot: 4, attempt: 5 },
        node: NodeId(6),
        consumer: ConsumerKey(7),
        mac: [0xff; 16],
    };
    TransferKey {
        token,
        part: Part::Payload,
    }
}

/// A link of a peer that has dialled, in a directory with a store that nobody asks.
fn link(dir: &std::path::Path, peer: &str) -> Link {
    let opened = crate::store::open(dir, mpsc::unbounded_channel().0).unwrap();
    Link::new(
        name(peer),
        outbox(opened.store, How::taken_in(Mode::Stream)).0,
        None,
    )
}

fn pipe(size: u64) -> Pipe {
    let slot = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    Pipe::new(size, Content::default(), Limits::of(size), Inflow::Brought, slot)
}

#[test]
fn what_comes_before_its_frame_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let south = link(dir.path(), "south");
    let mut here = Here::new(1 << 20);
    let (mut mine, mut passing) = (
        here.arriving("south", key(1), 10),
        here.arriving("south", key(2), 10),
    );
    let mut longer = here.arriving("south", key(3), 11);
    assert!(mine.try_recv().is_err() && passing.try_recv().is_err());
    for (sequence, passes) in [(1, false), (2, true), (3, false)] {
        here.transfers
            .fetch(LinkId(1), &south, key(sequence), 10, passes, at(1));
    }
    assert!(matches!(mine.try_recv(), Ok(Ok(Destination::Memory))));
    assert!(matches!(passing.try_recv(), Ok(Ok(Destination::New))));
    assert!(matches!(longer.try_recv(), Ok(Err(TransferRefusal::TooLarge))));
    // What is waited for already is told at once.
    let mut again = here.arriving("south", key(1), 10);
    assert!(matches!(again.try_recv(), Ok(Ok(Destination::Memory))));
    // None has come in the end.
    assert_eq!(here.expire(at(62)), 3);
}

#[test]
fn who_comes_before_its_frame_waits_not_for_ever_and_not_in_any_number() {
    let mut here = Here::new(1 << 20);
    let mut first = here.arriving("south", key(0), 10);
    let mut more: Vec<_> = (1..EARLY_EACH as u64)
        .map(|n| here.arriving("south", key(n), 10))
        .collect();
    let mut many = here.arriving("south", key(99), 10);
    assert!(matches!(many.try_recv(), Ok(Err(TransferRefusal::Busy))));
    // That one peer comes with many does not concern another (P11).
    let mut other = here.arriving("other", key(100), 10);
    assert!(other.try_recv().is_err());
    // The same once more: the connection of the one before is dead.
    let mut anew = here.arriving("south", key(0), 10);
    assert!(matches!(anew.try_recv(), Ok(Err(TransferRefusal::Busy))));
    assert_eq!(here.expire(at(9)), 0);
    assert!(first.try_recv().is_err());
    assert_eq!(here.expire(at(10)), 0);
    for waiting in more.iter_mut().chain([&mut first, &mut other]) {
        assert!(matches!(waiting.try_recv(), Ok(Err(TransferRefusal::Busy))));
    }
    assert_eq!(here.transfers.deadline(), None);
    // From who has no link nothing is waited for.
    let (answer, mut answered) = oneshot::channel();
    here.transfers
        .arriving(name("x"), false, key(1), 10, at(0), answer);
    assert!(matches!(answered.try_recv(), Ok(Err(TransferRefusal::Unknown))));
}

/// P9, P12: a transfer is between this node and the peer that the frame came from, or went to.
#[test]
fn nobody_else_can_bring_or_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let south = link(dir.path(), "south");
    let mut here = Here::new(4 << 20);
    let size = 100_000;
    here.transfers.fetch(LinkId(1), &south, key(1), size, true, at(0));
    let mut stranger = here.arriving("stranger", key(1), size);
    assert!(matches!(stranger.try_recv(), Ok(Err(TransferRefusal::Unknown))));
    let passed = pipe(size);
    let stolen = here.transfers.passes(
        name("stranger"),
        key(1),
        passed.clone(),
        at(0),
        &mut here.contents,
    );
    assert_eq!(stolen, Err(TransferRefusal::Unknown));
    let body = here
        .transfers
        .passes(name("south"), key(1), passed.clone(), at(0), &mut here.contents)
        .unwrap();
    assert_eq!(here.contents.used(), 1 << 20);
    // Its own peer may bring it again; to another it looks as if it were not there.
    let mut again = here.arriving("south", key(1), size);
    assert!(matches!(again.try_recv(), Ok(Ok(Destination::Pipe(_)))));
    let mut stranger = here.arriving("stranger", key(1), size);
    assert!(stranger.try_recv().is_err(), "it waits for a frame of its own");

    let payload = Payload::Held(body);
    here.transfers.offer(Some(name("north")), key(1), payload);
    assert_eq!(here.transfers.offered(&name("north"), &key(1)), Some(payload));
    for not in ["south", "stranger"] {
        assert_eq!(here.transfers.offered(&name(not), &key(1)), None);
    }
    here.transfers.freed(body);
    here.contents.free(body);
    assert_eq!(here.transfers.offered(&name("north"), &key(1)), None);
    assert_eq!(here.contents.used(), 0);
    assert_eq!(passed.standing(), Standing::Broken);
}

#[test]
fn the_core_hears_once_of_what_breaks_off() {
    let dir = tempfile::tempdir().unwrap();
    let south = link(dir.path(), "south");
    let mut here = Here::new(4 << 20);
    here.transfers
        .fetch(LinkId(1), &south, key(1), 100_000, true, at(0));
    let passing = pipe(100_000);
    here.transfers
        .passes(name("south"), key(1), passing.clone(), at(0), &mut here.contents)
        .unwrap();
    assert_eq!(here.expire(at(2)), 0);
    passing.close();
    assert_eq!(here.expire(at(4)), 1);
    assert_eq!(here.contents.used(), 0, "it holds nothing any more");
    assert_eq!(here.expire(at(6)), 0);
}

#[test]
fn what_would_exceed_the_nodes_memory_does_not_pass() {
    let dir = tempfile::tempdir().unwrap();
    let south = link(dir.path(), "south");
    let mut here = Here::new(2 << 20);
    for sequence in 1..=3 {
        here.transfers
            .fetch(LinkId(1), &south, key(sequence), 100_000, true, at(0));
    }
    let mut pass = |sequence| {
        here.transfers.passes(
            name("south"),
            key(sequence),
            pipe(100_000),
            at(0),
            &mut here.contents,
        )
    };
    assert!(pass(1).is_ok() && pass(2).is_ok());
    assert_eq!(pass(3), Err(TransferRefusal::Busy));
}

/// The same is announced again under another number: what is freed then is only the one before.
#[test]
fn freeing_the_old_keeps_the_new() {
    let mut here = Here::new(1 << 20);
    let (old, new) = (Body { id: 1, size: 9_000 }, Body { id: 2, size: 9_000 });
    here.transfers
        .offer(Some(name("north")), key(1), Payload::Held(old));
    here.transfers
        .offer(Some(name("north")), key(1), Payload::Held(new));
    here.transfers.freed(old);
    assert_eq!(
        here.transfers.offered(&name("north"), &key(1)),
        Some(Payload::Held(new))
    );
    here.transfers.freed(new);
    assert_eq!(here.transfers.offered(&name("north"), &key(1)), None);
}
