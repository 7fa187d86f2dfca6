//! The store from outside, over the real engine and a real directory.

mod crash;
mod disk;
mod faults;
mod hooked;
mod letters;
mod model;
mod power;
mod query;
mod rows;
mod snapshot;

use super::types::*;
use super::{Opened, open};
use crate::Content;
use crate::owner::Owner;
use redlink_core::wire;
use redlink_core::{
    AttemptId, Attempts, ConsumerKey, Fence, GrantToken, MessageId, NodeId, Outcome, Row, Terms, Verb,
};
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// No answer takes this long on any machine that can run the tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open store and its answers.
struct Rig {
    opened: Opened,
    done: UnboundedReceiver<Vec<Done>>,
    runtime: Runtime,
}

impl Rig {
    fn open(dir: &Path) -> Self {
        let (tell, done) = unbounded_channel();
        Self::with(super::open(dir, tell).unwrap(), done)
    }

    fn open_with(dir: &Path, opener: open::Opener) -> Self {
        let (tell, done) = unbounded_channel();
        Self::with(open::open_with(dir, tell, opener).unwrap(), done)
    }

    fn with(opened: Opened, done: UnboundedReceiver<Vec<Done>>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        Self {
            opened,
            done,
            runtime,
        }
    }

    /// Why the directory can't be opened.
    fn refusal(dir: &Path) -> OpenError {
        super::open(dir, unbounded_channel().0).unwrap_err()
    }

    fn send(&self, op: Op) {
        self.opened.store.send(op);
    }

    /// The next commit's answers.
    fn answers(&mut self) -> Vec<Done> {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.done.recv()).await })
            .expect("the store answers")
            .expect("the store is open")
    }

    /// Sends all of them, and waits for as many answers.
    fn all(&mut self, ops: impl IntoIterator<Item = Op>) -> Vec<Done> {
        let mut wanted = 0;
        for op in ops {
            self.send(op);
            wanted += 1;
        }
        let mut answers = Vec::new();
        while answers.len() < wanted {
            answers.extend(self.answers());
        }
        assert_eq!(answers.len(), wanted, "one answer each");
        answers
    }

    /// Sends all of them, which are done.
    fn did(&mut self, ops: impl IntoIterator<Item = Op>) {
        for Done { row, done } in self.all(ops) {
            assert!(done, "{row:?}");
        }
    }

    fn payload(&self, sequence: u64) -> Option<Content> {
        self.runtime
            .block_on(self.opened.store.payload(sequence))
            .unwrap()
    }

    fn outcome(&self, sequence: u64) -> Option<StoredOutcomeContent> {
        self.runtime
            .block_on(self.opened.store.outcome(sequence))
            .unwrap()
    }

    fn reply(&self, attempt: AttemptId) -> Option<StoredReplyContent> {
        self.runtime.block_on(self.opened.store.reply(attempt)).unwrap()
    }

    fn stats(&self) -> StoreStats {
        self.runtime.block_on(self.opened.store.stats())
    }

    fn assert_sound(&self) {
        assert_eq!(
            self.runtime.block_on(self.opened.store.integrity()),
            Ok(Vec::new())
        );
    }

    fn close(self) {
        self.opened.store.close();
    }
}

fn content(bytes: impl Into<bytes::Bytes>) -> Content {
    Content {
        origin: None,
        trace_context: None,
        content_type: Some("text/plain".into()),
        bytes: bytes.into(),
    }
}

/// Bytes that no two rows share.
fn large(seed: u64) -> Vec<u8> {
    (0..super::INLINE_MAX as u64 + 1 + seed % 1_000)
        .map(|at| (at ^ seed) as u8)
        .collect()
}

fn insert(sequence: u64) -> Op {
    insert_with(sequence, content(format!("payload {sequence}")))
}

fn insert_with(sequence: u64, content: Content) -> Op {
    Op::Insert(NewMessage {
        sequence,
        inserted: 1,
        owner: Owner::Administrator,
        service: "resize".into(),
        producer: None,
        alternate: None,
        terms: Terms::default(),
        content,
        preserved: None,
        key: None,
        submitted_at: 1_700_000_000_000_000,
        deadline_at: Some(1_700_000_300_000_000),
        requeue: None,
    })
}

/// Of a program.
fn insert_of(sequence: u64, program: &str) -> Op {
    let Op::Insert(mut message) = insert(sequence) else {
        unreachable!("insert gives an insert")
    };
    message.owner = Owner::Program(program.into());
    Op::Insert(message)
}

fn settle(sequence: u64, body: Option<Content>) -> Op {
    Op::Settle {
        sequence,
        outcome: Outcome::Replied,
        token: Some(token(sequence)),
        content: body,
        settled_at: 1_700_000_001_000_000,
        retain_until: 1_700_003_601_000_000,
        letter: None,
    }
}

fn keep(sequence: u64, body: Option<Content>) -> Op {
    Op::Keep {
        token: token(sequence),
        verb: Verb::Reply,
        content: body,
        until: 1_700_000_300_000_000,
        path: way(sequence),
    }
}

/// From no node to as many as there may be.
fn way(sequence: u64) -> wire::Path {
    let nodes: Vec<_> = (0..sequence % (wire::HOPS as u64 + 1))
        .map(|n| NodeId(u64::MAX - n))
        .collect();
    wire::Path::from_slice(&nodes).unwrap()
}

/// Another node's grant; its numbers use all their bits.
fn token(sequence: u64) -> GrantToken {
    GrantToken {
        message: MessageId {
            node: NodeId(u64::MAX - 1),
            sequence,
        },
        inserted: 3,
        fence: Fence {
            boot: u32::MAX,
            attempt: 2,
        },
        node: NodeId(7),
        consumer: ConsumerKey(u64::MAX),
        mac: [0xa5; 16],
    }
}

/// Files in the payload folder.
fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("payload")).unwrap().count()
}
