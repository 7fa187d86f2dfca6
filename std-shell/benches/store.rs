//! What the store does per second: so many messages under way at once, each inserted, settled and deleted, every step
//! only after the one before is on disk.
//!
//! `cargo bench -p redlink --bench store -- [--quick] [--size BYTES] [--recover COUNT]`; `--recover` also measures how
//! long a start with so many messages on disk takes. Directories are made in `TMPDIR`, which should be on the disk
//! that is meant.

use redlink::Content;
use redlink::owner::Owner;
use redlink::store::{self, Done, NewMessage, Op, Opened};
use redlink_core::{Outcome, Row, Terms};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let number = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let content = content(number("--size").unwrap_or(1_024));
    // Cargo says `--bench`; without it this is a test that it still runs.
    let quick = has("--quick") || !has("--bench");
    let span = Duration::from_millis(if quick { 500 } else { 5_000 });
    let span_text = humantime::format_duration(span);
    println!(
        "{} bytes each, insert + settle + delete; {span_text} per line",
        content.bytes.len()
    );
    println!(
        "{:>10} {:>12} {:>12} {:>10} {:>10} {:>10}",
        "under way", "messages/s", "ops/commit", "p50", "p99", "max"
    );
    for under_way in [1, 64, 256, 1_024] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        measure(dir.path(), under_way, span, &content);
    }
    if let Some(rows) = number("--recover") {
        recover(rows, &content);
    }
}

fn open(dir: &Path) -> (Opened, UnboundedReceiver<Vec<Done>>) {
    let (tell, done) = unbounded_channel();
    (
        store::open(dir, tell).expect("an empty directory can be opened"),
        done,
    )
}

fn insert(sequence: u64, content: &Content) -> Op {
    Op::Insert(NewMessage {
        sequence,
        inserted: 1,
        owner: Owner::Administrator,
        service: "resize".into(),
        producer: None,
        alternate: None,
        terms: Terms::default(),
        content: content.clone(),
        preserved: None,
        key: None,
        submitted_at: 1_700_000_000_000_000,
        deadline_at: Some(1_700_000_300_000_000),
        requeue: None,
    })
}

fn settle(sequence: u64, content: &Content) -> Op {
    Op::Settle {
        sequence,
        outcome: Outcome::Replied,
        token: None,
        content: Some(content.clone()),
        settled_at: 1_700_000_001_000_000,
        retain_until: 1_700_003_601_000_000,
        letter: None,
    }
}

fn content(size: u64) -> Content {
    Content {
        origin: None,
        trace_context: None,
        content_type: Some("application/octet-stream".into()),
        bytes: vec![0x5a; usize::try_from(size).expect("a size that fits in memory")].into(),
    }
}

fn measure(dir: &Path, under_way: u64, span: Duration, content: &Content) {
    let (opened, mut done) = open(dir);
    let mut next = opened.next_sequence;
    let mut began = HashMap::new();
    let mut took = Vec::new();
    let start = Instant::now();
    for _ in 0..under_way {
        began.insert(next, Instant::now());
        opened.store.send(insert(next, content));
        next += 1;
    }
    while start.elapsed() < span {
        for Done { row, done } in done.blocking_recv().expect("the store answers") {
            assert!(done, "{row:?}");
            match row {
                Row::Insert(sequence) => opened.store.send(settle(sequence, content)),
                Row::Settle(sequence) => opened.store.send(Op::Delete { sequence }),
                Row::Delete(sequence) => {
                    took.extend(began.remove(&sequence).map(|began| began.elapsed()));
                    began.insert(next, Instant::now());
                    opened.store.send(insert(next, content));
                    next += 1;
                }
                Row::Keep(_) | Row::Drop(_) => unreachable!("none was sent"),
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let stats = runtime.block_on(opened.store.stats());
    took.sort_unstable();
    let at = |share: f64| {
        took.get((took.len() as f64 * share) as usize)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{under_way:>10} {:>12.0} {:>12.1} {:>10.2?} {:>10.2?} {:>10.2?}",
        took.len() as f64 / seconds,
        stats.done as f64 / stats.groups.max(1) as f64,
        at(0.5),
        at(0.99),
        took.last().copied().unwrap_or_default(),
    );
    opened.store.close();
}

fn recover(rows: u64, content: &Content) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (opened, mut done) = open(dir.path());
    let (mut sent, mut answered) = (0, 0);
    let start = Instant::now();
    while answered < rows {
        while sent < rows && sent - answered < 4_096 {
            sent += 1;
            opened.store.send(insert(sent, content));
        }
        answered += done.blocking_recv().expect("the store answers").len() as u64;
    }
    println!("{rows} messages inserted in {:.2?}", start.elapsed());
    opened.store.close();
    let start = Instant::now();
    let (opened, _done) = open(dir.path());
    println!(
        "{} messages recovered in {:.2?}",
        opened.recovered.messages.len(),
        start.elapsed()
    );
}
