//! Producers, workers and collectors: many in this process, over kept connections of the product's own client.

use super::Fleet;
use super::ledger::{FAR, Ledger, Order, Submitted, Told, Verb};
use super::payload::{self, Said};
use super::topology::Topology;
use crate::{Seed, until};
use bytes::Bytes;
use http::{Method, StatusCode};
use redlink::client::{Client, Error, Problem, Request, Submission, Taken};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A node with so many open messages gets no more for now.
const OPEN_MAX: usize = 150;
/// Loops that ask for outcomes at each node.
const COLLECTORS: usize = 3;
/// Before something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(50);
/// One of so many outcomes is left uncollected until the end.
const LEFT: u64 = 8;

/// Consumers of one service at one node.
#[derive(Debug, Clone)]
pub struct WorkerPlan {
    /// Where.
    pub node: usize,
    /// What they offer.
    pub service: String,
    /// How many messages they hold at once.
    pub limit: u16,
    /// How long each message takes.
    pub takes: Duration,
    /// Whether some messages fail, are given back, take long, or are forgotten.
    pub moody: bool,
}

/// What goes on in a mesh.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Who works.
    pub workers: Vec<WorkerPlan>,
    /// Who submits, and for which services.
    pub producers: Vec<(usize, Vec<String>)>,
    /// Messages a second, of all producers together.
    pub rate: u32,
    /// Whether some messages have a near deadline, are send-only, or large.
    pub mixed: bool,
}

impl LoadPlan {
    /// Producers at all nodes; each service at one to three nodes.
    pub fn random(seed: &mut Seed, topology: &Topology, rate: u32) -> Self {
        let nodes = topology.names.len() as u64;
        let services: Vec<String> = (0..2 + nodes / 2).map(|n| format!("service-{n}")).collect();
        let mut workers = Vec::new();
        for service in &services {
            for _ in 0..=seed.below(3) {
                workers.push(WorkerPlan {
                    node: seed.below(nodes) as usize,
                    service: service.clone(),
                    limit: 4 + seed.below(7) as u16,
                    takes: [0, 0, 0, 5, 30].map(Duration::from_millis)[seed.below(5) as usize],
                    moody: true,
                });
            }
        }
        // Nobody serves this one.
        let wanted: Vec<String> = services.into_iter().chain(["nobody".to_owned()]).collect();
        let producers = (0..topology.names.len()).map(|node| (node, wanted.clone()));
        Self {
            workers,
            producers: producers.collect(),
            rate,
            mixed: true,
        }
    }
}

/// A load that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    producers: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    ledger: Arc<Ledger>,
    clients: Vec<Client>,
    /// Messages whose outcome is to be looked at, by node.
    queues: Vec<Mutex<VecDeque<(u64, String)>>>,
    over: AtomicBool,
    /// Messages in the queues and in the hands of collectors, by node.
    pending: Vec<AtomicUsize>,
}

impl Load {
    /// Starts workers, waits until every node knows which services it reaches, and lets producers begin.
    ///
    /// # Panics
    /// It does not get there.
    #[track_caller]
    pub fn start(fleet: &Fleet, plan: &LoadPlan, ledger: &Arc<Ledger>, seed: &Seed) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let shared = Arc::new(Shared {
            ledger: ledger.clone(),
            clients: fleet.nodes.iter().map(crate::Node::client).collect(),
            queues: fleet.nodes.iter().map(|_| Mutex::default()).collect(),
            over: AtomicBool::new(false),
            pending: fleet.nodes.iter().map(|_| AtomicUsize::new(0)).collect(),
        });
        let mut workers = Vec::new();
        for (at, worker) in plan.workers.iter().enumerate() {
            for n in 0..worker.limit {
                let seed = seed.part(1_000 + 100 * at as u64 + u64::from(n));
                workers.push(runtime.spawn(work(shared.clone(), worker.clone(), format!("w{at}"), seed)));
            }
        }
        let mut load = Self {
            shared,
            runtime: Some(runtime),
            producers: Vec::new(),
            workers,
        };
        let mut services: Vec<(&str, Vec<usize>)> = Vec::new();
        for worker in &plan.workers {
            match services.iter_mut().find(|(name, _)| *name == worker.service) {
                Some((_, nodes)) => nodes.push(worker.node),
                None => services.push((&worker.service, vec![worker.node])),
            }
        }
        fleet.wait_services(&services);
        let every = Duration::from_secs_f64(plan.producers.len() as f64 / f64::from(plan.rate.max(1)));
        let Some(runtime) = &load.runtime else {
            unreachable!("it was put there above")
        };
        for (at, (node, wanted)) in plan.producers.iter().enumerate() {
            let wanted = wanted.iter().map(|service| {
                let mut at = services
                    .iter()
                    .filter(|(name, _)| name == service)
                    .flat_map(|(_, at)| at);
                (
                    service.clone(),
                    at.any(|worker| fleet.topology.reaches(*node, *worker)),
                )
            });
            let producer = Producer {
                node: *node,
                wanted: wanted.collect(),
                every,
                mixed: plan.mixed,
                seed: seed.part(at as u64),
            };
            load.producers
                .push(runtime.spawn(producer.run(load.shared.clone())));
        }
        for node in 0..fleet.nodes.len() {
            for _ in 0..COLLECTORS {
                runtime.spawn(collect(load.shared.clone(), node));
            }
        }
        load
    }

    /// Submits one message more at each of these nodes, for a service that is reached from there, and waits until all
    /// have their outcomes.
    ///
    /// # Panics
    /// They have none.
    #[track_caller]
    pub fn probe(&self, calls: &[(usize, &str)]) {
        let runtime = self.runtime();
        let orders = calls.iter().map(|(origin, service)| Order {
            origin: *origin,
            service: (*service).to_owned(),
            ett: Some(FAR),
            send_only: false,
            priority: 255,
            filler: 10,
            reachable: true,
        });
        let keys: Vec<u64> = orders
            .map(|order| runtime.block_on(submit(&self.shared, order)))
            .collect();
        until("the outcomes of some calls", || {
            let faults = self.shared.ledger.faults();
            assert!(faults.is_empty(), "{}", faults.join("\n"));
            keys.iter()
                .all(|key| self.shared.ledger.is_over(*key))
                .then_some(())
        });
    }

    fn runtime(&self) -> &Runtime {
        self.runtime
            .as_ref()
            .unwrap_or_else(|| unreachable!("only a drop takes it"))
    }

    /// Ends the producers and waits until every message has its outcome.
    ///
    /// # Panics
    /// One has none.
    #[track_caller]
    pub fn settle(&mut self, fleet: &Fleet) {
        self.shared.over.store(true, Ordering::Relaxed);
        until("the producers to end", || {
            self.producers.iter().all(JoinHandle::is_finished).then_some(())
        });
        for (at, node) in fleet.nodes.iter().enumerate() {
            let start = Instant::now();
            while self.shared.pending[at].load(Ordering::Relaxed) > 0 {
                let faults = self.shared.ledger.faults();
                assert!(faults.is_empty(), "{}", faults.join("\n"));
                assert!(start.elapsed() < crate::BOUND, "{}", stuck(fleet, node));
                std::thread::sleep(crate::LOOK);
            }
        }
    }

    /// Collects all that is left at the nodes, ends the workers, and sees that the nodes hold nothing then.
    ///
    /// # Panics
    /// They do.
    #[track_caller]
    pub fn stop(self, fleet: &Fleet) {
        let runtime = self
            .runtime
            .as_ref()
            .unwrap_or_else(|| unreachable!("only a drop takes it"));
        for node in 0..fleet.nodes.len() {
            runtime.block_on(collect_left(&self.shared, node));
        }
        for worker in &self.workers {
            worker.abort();
        }
        for node in &fleet.nodes {
            until(&format!("{} to hold nothing", node.name()), || {
                let faults = self.shared.ledger.faults();
                assert!(faults.is_empty(), "{}", faults.join("\n"));
                let sum = |path: &str, members: &[&str]| -> u64 {
                    let list = node.json(path);
                    let all = list.as_array().into_iter().flatten();
                    all.flat_map(|entry| members.iter().filter_map(|member| entry[*member].as_u64()))
                        .sum()
                };
                let held = sum("/v1/peers", &["reserved", "held", "granted"])
                    + sum("/v1/services", &["queued", "reserved"])
                    + sum("/v1/consumers", &["held"])
                    + node.json("/v1/node")["messages"].as_u64()?;
                (held == 0).then_some(())
            });
        }
    }
}

/// What is known of messages that should have their outcome.
fn stuck(fleet: &Fleet, node: &crate::Node) -> String {
    let mut text = format!("waited in vain for outcomes at {}:\n", node.name());
    let messages = node.json("/v1/messages?max=1000");
    for message in messages.as_array().into_iter().flatten() {
        if message["outcome"].is_null() {
            text.push_str(&format!("{message}\n"));
        }
    }
    for node in &fleet.nodes {
        for path in ["/v1/node", "/v1/services", "/v1/consumers", "/v1/peers"] {
            text.push_str(&format!("{} {path} {}\n", node.name(), node.json(path)));
        }
    }
    text
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl Shared {
    fn queue(&self, node: usize) -> std::sync::MutexGuard<'_, VecDeque<(u64, String)>> {
        self.queues[node].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

struct Producer {
    node: usize,
    /// Services, and whether a way leads to a worker.
    wanted: Vec<(String, bool)>,
    every: Duration,
    mixed: bool,
    seed: Seed,
}

impl Producer {
    async fn run(mut self, shared: Arc<Shared>) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while !shared.over() {
            ticks.tick().await;
            if shared.ledger.under_way(self.node) < OPEN_MAX {
                let order = self.order();
                submit(&shared, order).await;
            }
        }
    }

    fn order(&mut self) -> Order {
        let seed = &mut self.seed;
        let (service, reachable) = loop {
            let (service, reachable) = &self.wanted[seed.below(self.wanted.len() as u64) as usize];
            // What nobody does is asked for less often.
            if *reachable || seed.percent(15) || self.wanted.len() == 1 {
                break (service.clone(), *reachable);
            }
        };
        let near = Duration::from_millis(300 + seed.below(3_000));
        let ett = match seed.below(100) {
            _ if !reachable => Some(near),
            0..5 if self.mixed => Some(near),
            5..20 if self.mixed => None,
            _ => Some(FAR),
        };
        let filler = match seed.below(100) {
            0..3 if self.mixed => 10_000 + seed.below(200_000),
            3..10 if self.mixed => seed.below(9_000),
            _ => seed.below(400),
        };
        Order {
            origin: self.node,
            service,
            ett,
            send_only: self.mixed && seed.percent(20),
            priority: seed.below(4) as u8 * 60,
            filler: filler as usize,
            reachable,
        }
    }
}

/// Submits a message; its key.
async fn submit(shared: &Shared, order: Order) -> u64 {
    let node = order.origin;
    let (service, filler) = (order.service.clone(), order.filler);
    let ett = order
        .ett
        .map_or("none".to_owned(), |ett| format!("{}ms", ett.as_millis()));
    let headers = vec![
        ("redlink-ett", ett),
        ("redlink-priority", order.priority.to_string()),
        ("redlink-send-only", order.send_only.to_string()),
        ("redlink-max-attempts", "0".to_owned()),
        ("redlink-reoffer", "1s".to_owned()),
    ];
    let key = shared.ledger.asks(order);
    let submission = Submission {
        service,
        headers,
        payload: payload::write(Said { key, number: 0 }, filler),
    };
    let (how, pause) = match shared.clients[node].submit(&submission).await {
        Ok(given) => (Submitted::Accepted(given.id), false),
        Err(Error::Unreachable { .. }) => (Submitted::Refused, true),
        Err(Error::Refused(problem)) => {
            if !matches!(problem.status, 429 | 503) {
                shared
                    .ledger
                    .fault(format!("message {key} was refused: {problem}"));
            }
            (Submitted::Refused, true)
        }
        Err(Error::Broken { .. } | Error::Silent { .. }) => (Submitted::Unknown, true),
        Err(other) => {
            shared
                .ledger
                .fault(format!("message {key} could not be submitted: {other}"));
            (Submitted::Unknown, true)
        }
    };
    shared.ledger.submitted(key, how.clone());
    if let Submitted::Accepted(id) = how {
        shared.pending[node].fetch_add(1, Ordering::Relaxed);
        shared.queue(node).push_back((key, id));
    }
    if pause {
        sleep(AGAIN).await;
    }
    key
}

/// Looks at outcomes in the order of submits, and collects most of them.
async fn collect(shared: Arc<Shared>, node: usize) {
    loop {
        let next = shared.queue(node).pop_front();
        let Some((key, id)) = next else {
            sleep(AGAIN / 5).await;
            continue;
        };
        match look(&shared, node, key, &id).await {
            Look::Over if key % LEFT == 0 => {}
            Look::Over => delete(&shared, node, key, &id).await,
            Look::Gone => {}
            Look::Open => {
                shared.queue(node).push_back((key, id));
                continue;
            }
            Look::NoAnswer => {
                shared.queue(node).push_back((key, id));
                sleep(AGAIN).await;
                continue;
            }
        }
        shared.pending[node].fetch_sub(1, Ordering::Relaxed);
    }
}

enum Look {
    Over,
    Open,
    Gone,
    NoAnswer,
}

async fn look(shared: &Shared, node: usize, key: u64, id: &str) -> Look {
    let asked = Instant::now();
    match outcome(&shared.clients[node], id, Duration::from_millis(100)).await {
        Ok(Some(told)) => {
            shared.ledger.told(key, told);
            Look::Over
        }
        Ok(None) => {
            shared.ledger.open(key, asked);
            Look::Open
        }
        Err(Some(problem)) if problem.status == 404 => {
            shared.ledger.gone(key);
            Look::Gone
        }
        Err(Some(problem)) if problem.status != 503 => {
            shared
                .ledger
                .fault(format!("the outcome of message {key}: {problem}"));
            Look::Gone
        }
        Err(_) => Look::NoAnswer,
    }
}

/// An outcome as it is told, or none yet.
async fn outcome(client: &Client, id: &str, wait: Duration) -> Result<Option<Told>, Option<Problem>> {
    let request = Request::new(Method::GET, format!("/v1/messages/{id}/outcome"));
    let answer = client.exchange(request.waiting(wait)).await.map_err(|_| None)?;
    let Some(word) = answer.header("redlink-outcome").map(str::to_owned) else {
        return match answer.status {
            StatusCode::ACCEPTED => Ok(None),
            status => Err(Some(Problem::read(status, &answer.headers, &answer.body))),
        };
    };
    let payload = match answer.status {
        StatusCode::OK => answer.body,
        status => {
            let problem = Problem::read(status, &answer.headers, &answer.body);
            problem.detail.unwrap_or_default().into()
        }
    };
    Ok(Some(Told { word, payload }))
}

/// Collects an outcome; until there is an answer nobody knows whether that was done.
async fn delete(shared: &Shared, node: usize, key: u64, id: &str) {
    shared.ledger.collected(key);
    let path = format!("/v1/messages/{id}/outcome");
    loop {
        match shared.clients[node]
            .request(Request::new(Method::DELETE, &path))
            .await
        {
            Ok(_) => break,
            Err(Error::Refused(problem)) if problem.status == 404 => break,
            Err(Error::Refused(problem)) if problem.status != 503 => {
                shared
                    .ledger
                    .fault(format!("collecting message {key}: {problem}"));
                break;
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
    if key % 16 == 1
        && let Ok(found) = outcome(&shared.clients[node], id, Duration::ZERO).await
    {
        let text = format!("message {key} was collected and is there: {found:?}");
        shared.ledger.fault(text);
    }
}

/// What was left on purpose, and what was accepted without its producer hearing of it.
async fn collect_left(shared: &Shared, node: usize) {
    for (key, id) in shared.ledger.left(node) {
        match look(shared, node, key, &id).await {
            Look::Over => delete(shared, node, key, &id).await,
            Look::Gone => {}
            Look::Open | Look::NoAnswer => shared
                .ledger
                .fault(format!("message {key} had an outcome and has none any more")),
        }
    }
    let client = &shared.clients[node];
    let start = Instant::now();
    loop {
        let listed: Vec<serde_json::Value> = match client.get("/v1/messages?max=1000").await {
            Ok(listed) => listed,
            Err(error) => return shared.ledger.fault(format!("the list of node {node}: {error}")),
        };
        let ids = listed.iter().filter_map(|message| message["id"].as_str());
        for id in ids {
            if let Ok(Some(told)) = outcome(client, id, Duration::from_millis(100)).await {
                shared.ledger.unknown(node, id, told);
                let path = format!("/v1/messages/{id}/outcome");
                let _ = client.request(Request::new(Method::DELETE, path)).await;
            }
        }
        if listed.is_empty() {
            return;
        }
        if start.elapsed() > crate::BOUND {
            return shared.ledger.fault(format!("left at node {node}: {listed:?}"));
        }
    }
}

/// One of a consumer's loops: take, work, answer.
async fn work(shared: Arc<Shared>, plan: WorkerPlan, consumer: String, mut seed: Seed) {
    const LEASE: Duration = Duration::from_secs(2);
    let client = &shared.clients[plan.node];
    let mut registered = false;
    loop {
        if !registered {
            let done = client
                .register(&plan.service, &consumer, plan.limit, Some(LEASE), None)
                .await;
            registered = done.is_ok();
            if !registered {
                sleep(AGAIN).await;
                continue;
            }
        }
        match client
            .take(&plan.service, &consumer, Duration::from_secs(10))
            .await
        {
            Ok(Some(taken)) => handle(&shared, &plan, &taken, &mut seed).await,
            Ok(None) => {}
            // A node that was restarted has forgotten its consumers' terms.
            Err(error) => {
                if let Error::Refused(problem) = &error
                    && !matches!(problem.status, 429 | 503)
                {
                    shared.ledger.fault(format!("a take of {consumer}: {error}"));
                }
                registered = false;
                sleep(AGAIN).await;
            }
        }
    }
}

async fn handle(shared: &Shared, plan: &WorkerPlan, taken: &Taken, seed: &mut Seed) {
    let client = &shared.clients[plan.node];
    sleep(plan.takes).await;
    let mut verb = match taken.send_only {
        true => Verb::Ack,
        false => Verb::Reply,
    };
    if plan.moody {
        match seed.below(100) {
            // Its lease runs out.
            0 => return,
            1..3 => {
                let _ = client
                    .answer(&taken.delivery, "release", None, Bytes::new())
                    .await;
                return;
            }
            3..6 => sleep(Duration::from_millis(seed.below(800))).await,
            6 => {
                for _ in 0..6 {
                    sleep(Duration::from_millis(500)).await;
                    let _ = client.answer(&taken.delivery, "extend", None, Bytes::new()).await;
                }
            }
            7..10 => verb = Verb::Fail,
            _ => {}
        }
    }
    let Some(said) = shared.ledger.answering(plan.node, verb, &taken.payload) else {
        return;
    };
    let filler = match seed.below(100) {
        0..3 if plan.moody => 9_000 + seed.below(150_000),
        _ => seed.below(200),
    };
    let (word, body) = match verb {
        Verb::Reply => ("reply", payload::write(said, filler as usize)),
        Verb::Fail => ("fail", payload::write(said, 0)),
        Verb::Ack => ("ack", Bytes::new()),
    };
    let start = Instant::now();
    while start.elapsed() < crate::BOUND {
        match client.answer(&taken.delivery, word, None, body.clone()).await {
            Ok(()) => return shared.ledger.counts(said),
            Err(error) if error.is_lost_delivery() => return,
            Err(Error::Refused(problem)) if !matches!(problem.status, 409 | 429 | 503) => {
                return shared
                    .ledger
                    .fault(format!("{word} to message {}: {problem}", said.key));
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}
