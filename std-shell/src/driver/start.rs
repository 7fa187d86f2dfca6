//! From what was on disk to a running driver.

use super::contents::Contents;
use super::floor::Floor;
use super::handle::{Handle, PASSING, Shared};
use super::keys::Keys;
use super::links::Links;
use super::measure::Marks;
use super::memory::Memory;
use super::owners::Owners;
use super::producers::Producers;
use super::taken::Taken;
use super::tally::{Complaints, Tally};
use super::trace::Trace;
use super::transfers::Transfers;
use super::turn::{Driver, Inbox};
use crate::clock;
use crate::config::Souths;
use crate::follow::Desk;
use crate::link::direct::Job;
use crate::link::frame;
use crate::metrics::Meters;
use crate::store::Alternate;
use crate::store::{Done, Opened, Recovered};
use redlink_core::{
    Bound, Capacity, Config, Core, Input, Name, Refused, StoredMessage, StoredOutcome, StoredReply, Terms,
    Timing,
};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Commands that may wait; beyond it callers wait, which is where back-pressure on HTTP and links starts.
const COMMANDS: usize = 1_024;

/// What a driver is told beside what is on disk.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name.
    pub name: Name,
    /// Its mesh.
    pub mesh: Name,
    /// Sizes of the core's tables.
    pub capacity: Capacity,
    /// The core's intervals.
    pub timing: Timing,
    /// Most payload bytes in memory before submits are refused.
    pub memory_max: u64,
    /// Longest payload, in bytes; at most a quarter of `memory_max` counts, since a large one passes through memory.
    pub payload_max: u64,
    /// What may pass over the links of the peers that dial this node.
    pub south: Souths,
    /// Memory for the latest steps of messages, in bytes; 0 keeps none.
    pub trace_memory: u64,
    /// Most bytes of messages that are kept in memory only.
    pub memory_messages: u64,
    /// Most idempotency keys that are known at once.
    pub idempotency_keys: u32,
    /// A waiting message gains one level of priority for each such time; none is never.
    pub ageing: Option<std::time::Duration>,
    /// URL at which other nodes reach this one, for payloads that go straight.
    pub advertise: Option<Arc<str>>,
}

impl Settings {
    /// The defaults, for a node of this name: 256 MiB of memory, payloads up to 64 MiB.
    pub fn new(name: Name, mesh: Name) -> Self {
        Self {
            name,
            mesh,
            capacity: Capacity::default(),
            timing: Timing::default(),
            memory_max: 256 << 20,
            payload_max: 64 << 20,
            south: Souths::default(),
            trace_memory: 8 << 20,
            memory_messages: 64 << 20,
            idempotency_keys: 100_000,
            ageing: None,
            advertise: None,
        }
    }
}

/// Why a driver can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// More is on disk than the tables hold.
    #[error(
        "the store holds {found} messages and outcomes, and the node has room for {room}; raise `capacity.{setting}` to at least {found}"
    )]
    Full {
        /// How many are on disk.
        found: usize,
        /// How many fit.
        room: u32,
        /// Which setting to raise.
        setting: &'static str,
    },
    /// The store holds what the core does not take.
    #[error(
        "the store holds {what}, which this Redlink does not take ({refused:?}); restore a backup, or report this"
    )]
    Refused {
        /// What it is.
        what: String,
        /// Why it is not taken.
        refused: Refused,
    },
    /// No thread, or no runtime for it.
    #[error("can't start the driver's thread: {0}")]
    Thread(#[from] io::Error),
}

/// A driver that runs. Dropping this stops it.
#[derive(Debug)]
pub struct Running {
    /// What everybody else uses.
    pub handle: Handle,
    /// What is to go straight between this node and others, for whoever moves it.
    pub(crate) direct: Option<mpsc::UnboundedReceiver<Job>>,
    stop: Option<oneshot::Sender<()>>,
    /// None once it has been heard.
    ended: Option<oneshot::Receiver<()>>,
}

impl Running {
    /// Waits until the driver ends by itself, which it does only by a mistake of its own.
    pub async fn ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            let _ = ended.await;
            self.ended = None;
        }
    }

    /// Stops it, and waits until it has: the store has been given all that it asked for. Whoever still waits for an
    /// answer hears that the node has stopped.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.ended().await;
    }
}

/// Gives the core what was on disk, and starts the driver. `done` is the other end of what the store was opened with.
///
/// # Errors
/// What is on disk does not fit, or the thread can't be had.
pub fn start(
    opened: Opened,
    done: mpsc::UnboundedReceiver<Vec<Done>>,
    settings: Settings,
) -> Result<Running, StartError> {
    let mut config = Config::new(opened.identity.node, settings.name.clone(), settings.mesh.clone());
    config.boot = opened.boot;
    config.key = opened.identity.key;
    config.next_sequence = opened.next_sequence;
    config.timing = settings.timing;
    config.ageing = settings.ageing.map(clock::core_duration);
    config.inline_max = frame::INLINE_MAX;
    config.direct = settings.advertise.is_some();
    // Differs in each life; it spreads hashes and retries, and protects nothing.
    config.seed =
        opened.identity.node.0 ^ (u64::from(opened.boot.random) << 32 | u64::from(opened.boot.counter));

    let mut contents = Contents::new(settings.memory_max);
    let core = recover(config, settings.capacity, &opened.recovered, &mut contents)?;

    let incoming_max = u32::try_from(settings.memory_max / 4 / 1_024)
        .unwrap_or(u32::MAX)
        .clamp(1, 1 << 28);
    let shared = Arc::new(Shared {
        node: opened.identity.node,
        name: settings.name.clone(),
        desk: Desk::new(),
        tags: AtomicU64::new(1),
        ready: AtomicBool::new(false),
        floor: Floor::default(),
        backing_up: Arc::new(Semaphore::new(1)),
        turns: AtomicU64::new(0),
        incoming: Arc::new(Semaphore::new(incoming_max as usize)),
        incoming_max,
        payload_max: settings.payload_max.min(u64::from(incoming_max) * 1_024),
        from_north: Arc::new(Semaphore::new(PASSING)),
        from_south: Arc::new(Semaphore::new(PASSING)),
    });
    let (commands_in, commands) = mpsc::channel(COMMANDS);
    let (cleanup_in, cleanup) = mpsc::unbounded_channel();
    let (stop_in, stop) = oneshot::channel();
    let (ended_in, ended) = oneshot::channel();
    let (direct, to_move) = mpsc::unbounded_channel();
    let handle = Handle::new(commands_in, cleanup_in, opened.store.clone(), shared.clone());
    let trace_memory = settings.trace_memory;
    let owners = Owners::recovered(&opened.recovered.owners);
    let mut producers = Producers::default();
    for (sequence, producer) in &opened.recovered.producers {
        producers.add(*sequence, Some(producer));
    }
    for outcome in &opened.recovered.outcomes {
        producers.settled(&owners.of(outcome.sequence), outcome.sequence);
    }
    let driver = Driver {
        core,
        now: clock::now(),
        wall: clock::wall(),
        started: clock::now(),
        boot: opened.boot,
        store: opened.store,
        shared,
        contents,
        producers,
        owners,
        memory: Memory::new(settings.memory_messages),
        keys: Keys::recovered(
            &opened.identity.key,
            settings.idempotency_keys,
            &opened.recovered.keys,
            clock::now(),
            clock::wall(),
        ),
        preserved: opened.recovered.preserved.iter().copied().collect(),
        requeued: opened.recovered.requeued.iter().copied().collect(),
        settings,
        ready: false,
        draining: false,
        drainers: Vec::new(),
        submits: HashMap::new(),
        waiters: HashMap::new(),
        collecting: HashMap::new(),
        settling: HashMap::new(),
        answers: HashMap::new(),
        takes: HashMap::new(),
        given: Vec::new(),
        deliveries: BTreeMap::new(),
        links: Links::default(),
        transfers: Transfers::default(),
        direct,
        tally: Tally::default(),
        taken: Taken::default(),
        complaints: Complaints::default(),
        trace: Trace::new(trace_memory),
        meters: Meters::default(),
        marks: Marks::new(),
        next: VecDeque::new(),
        ops: Vec::new(),
        store_ops: 0,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name("redlink-driver".to_owned())
        .spawn(move || {
            // Dropped at the end, and so also when a broken invariant ends the thread: the node stops then.
            let _ended = ended_in;
            runtime.block_on(driver.run(Inbox {
                commands,
                cleanup,
                done,
                stop,
            }));
        })?;
    Ok(Running {
        handle,
        direct: Some(to_move),
        stop: Some(stop_in),
        ended: Some(ended),
    })
}

fn recover(
    config: Config,
    capacity: Capacity,
    recovered: &Recovered,
    contents: &mut Contents,
) -> Result<Core<'static>, StartError> {
    let mut core = Core::new(config, capacity);
    let (now, wall) = (clock::now(), clock::wall());
    let mut give = |what: &dyn Fn() -> String, input: Input<'_>| match core.handle_input(now, input) {
        Ok(_) => Ok(()),
        Err(Refused::Full(Bound::Messages)) => Err(StartError::Full {
            // One with an alternate service takes two places.
            found: recovered.messages.len()
                + recovered
                    .messages
                    .iter()
                    .filter(|m| m.alternate.is_some())
                    .count()
                + recovered.outcomes.len(),
            room: capacity.messages,
            setting: "messages",
        }),
        Err(Refused::Full(Bound::Deliveries)) => Err(StartError::Full {
            found: recovered.replies.len(),
            room: capacity.deliveries,
            setting: "deliveries",
        }),
        Err(refused) => Err(StartError::Refused {
            what: what(),
            refused,
        }),
    };
    for stored in &recovered.messages {
        let ett = stored.terms.ett.map(|ett| match stored.deadline_at {
            Some(at) => clock::remaining(at, wall, ett),
            None => ett,
        });
        let message = StoredMessage {
            sequence: stored.sequence,
            inserted: stored.inserted,
            service: &stored.service,
            terms: Terms { ett, ..stored.terms },
            alternate: stored.alternate.as_ref().map(Alternate::view),
            age: clock::age(stored.submitted_at, wall),
            attempts: stored.attempts,
            size: stored.size,
        };
        give(
            &|| format!("the message {}", stored.sequence),
            Input::RecoverMessage(message),
        )?;
    }
    for stored in &recovered.outcomes {
        let whole = clock::age(stored.settled_at, stored.retain_until);
        let outcome = StoredOutcome {
            sequence: stored.sequence,
            outcome: stored.outcome,
            fence: stored.fence,
            retention: clock::remaining(stored.retain_until, wall, whole),
        };
        give(
            &|| format!("the outcome {}", stored.sequence),
            Input::RecoverOutcome(outcome),
        )?;
    }
    for stored in &recovered.replies {
        let left = u64::try_from(stored.until.saturating_sub(wall)).unwrap_or(0);
        let reply = StoredReply {
            token: stored.token,
            verb: stored.verb,
            body: stored
                .size
                .map(|size| contents.hold_stored(stored.token.attempt(), size)),
            remaining: redlink_core::Duration::from_micros(left),
            path: stored.path,
        };
        give(
            &|| format!("the reply to {}", stored.token.message),
            Input::RecoverReply(reply),
        )?;
    }
    give(&|| "a beginning".to_owned(), Input::Start)?;
    Ok(core)
}
