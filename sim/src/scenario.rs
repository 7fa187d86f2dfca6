//! What a seed stands for: a mesh, its people, its faults and every knob of them.
//!
//! The draw is swarm style: whole kinds of trouble are switched off at random, because a run in which everything goes
//! wrong all the time never gets far enough to meet the subtle cases.

use crate::mesh::{PolicyPlan, Written, draw_links, draw_size};
use crate::rng::Rng;
use redlink_core::{Capacity, Duration, Rate, Timing};

/// Virtual microseconds since the start of the run.
pub type Time = u64;

/// One millisecond.
pub(crate) const MS: Time = 1_000;
/// One second.
pub(crate) const SECOND: Time = 1_000_000;

/// A kind of trouble that can be left out of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub enum Kind {
    /// A node's process dies and comes back with its disk.
    Crash,
    /// A node comes back without its disk, as a new identity under the old name.
    Wipe,
    /// Store operations fail.
    StoreFail,
    /// The store is slow for a while.
    SlowDisk,
    /// A connection is cut; both ends notice soon.
    Cut,
    /// A connection is cut and an end notices late, or never.
    HalfOpen,
    /// Nothing passes between two nodes for a while.
    Partition,
    /// A node dials a second connection beside a live one.
    TwoLinks,
    /// Frames are repeated, reordered, damaged or invented.
    Mangle,
    /// A node stands still for a while.
    Freeze,
    /// Outputs are polled late.
    LateDrain,
    /// Workers die and come back without memory.
    WorkerCrash,
    /// Workers take a message and say nothing.
    Silent,
    /// Workers answer after their lease.
    LateAnswer,
    /// Workers answer twice.
    Twice,
    /// Workers answer with tokens that nobody granted.
    Forge,
    /// Workers give messages back.
    Release,
    /// Workers renew their lease.
    Extend,
    /// Workers say that a message can't be processed.
    Fail,
    /// Workers confuse reply and ack.
    WrongVerb,
    /// Workers change their limit, or unregister.
    Relimit,
    /// Takes end early.
    ShortTake,
    /// Producers take messages back.
    Cancel,
    /// Producers don't collect until the end.
    Uncollected,
    /// Payloads that travel apart from frames.
    Large,
    /// Every table is small.
    SmallTables,
    /// Messages have short deadlines.
    ShortEtt,
    /// Few `Delivered` outcomes are kept.
    FewDelivered,
    /// Links have policies.
    Policies,
    /// Policies change.
    Repolicy,
    /// Nothing passes one way between two nodes for a while.
    OneWay,
    /// Nothing passes between a group of nodes and the others for a while, one way or both.
    Split,
    /// One node lies.
    Liar,
    /// Nodes drain, then restart.
    Drain,
    /// The wall clock jumps while a node is down.
    ClockJump,
    /// Clocks run at different rates.
    Drift,
    /// Workers say how many they want in a time, and change it.
    Rates,
    /// Clients go before they have what was handed to them.
    Unseen,
    /// Priority rises with waiting at some nodes, at all alike or at each in its own way.
    Ageing,
}

/// Kinds of the first generator: what it drew is drawn again with these alone.
const FIRST: usize = Kind::FewDelivered as usize + 1;

impl Kind {
    /// All of them.
    pub fn all() -> &'static [Self] {
        <Self as clap::ValueEnum>::value_variants()
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        use clap::ValueEnum as _;
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// What a run has besides its seed: what was left out, to shrink it, and what was asked for.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Reduced {
    /// The first generator draws, as it did before there were families of meshes, policies and liars.
    pub first: bool,
    /// So many nodes.
    pub nodes: Option<usize>,
    /// A mesh that was written out.
    pub written: Option<Written>,
    /// Kinds of trouble that are switched off.
    pub without: Vec<Kind>,
    /// The fault phase ends after so many events.
    pub until: Option<u64>,
}

/// A node of the mesh.
#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    pub(crate) capacity: Capacity,
    pub(crate) window: u16,
    pub(crate) delivered_kept: u32,
    pub(crate) ageing: Option<Duration>,
}

/// A program that submits.
#[derive(Clone, Debug)]
pub(crate) struct ProducerPlan {
    pub(crate) host: usize,
    /// Time between two bursts, at least and at most.
    pub(crate) every: (Time, Time),
    pub(crate) burst: u64,
    /// Service numbers it addresses.
    pub(crate) services: Vec<usize>,
}

/// A program that takes.
#[derive(Clone, Debug)]
pub(crate) struct WorkerPlan {
    pub(crate) host: usize,
    pub(crate) service: usize,
    pub(crate) name: String,
    pub(crate) limit: u16,
    pub(crate) lease: Time,
    /// Time that it needs for one message, at least and at most.
    pub(crate) work: (Time, Time),
    /// Whether it registers before it takes.
    pub(crate) registers: bool,
    /// How many it wants in a time. It registers before each take then, as one does that wants that to hold.
    pub(crate) rate: Option<Rate>,
}

/// Everything that is fixed before the first event.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) hosts: Vec<HostPlan>,
    /// South and north end of each link.
    pub(crate) cables: Vec<(usize, usize)>,
    pub(crate) services: usize,
    pub(crate) producers: Vec<ProducerPlan>,
    pub(crate) workers: Vec<WorkerPlan>,
    /// Nodes that get a good worker for every service when all is healed.
    pub(crate) healers: Vec<usize>,
    pub(crate) timing: Timing,
    pub(crate) inline_max: u64,
    /// Length of the fault phase.
    pub(crate) trouble: Time,
    /// Mean time between two faults.
    pub(crate) fault_every: Time,
    pub(crate) link_delay: (Time, Time),
    pub(crate) disk_delay: (Time, Time),
    pub(crate) until: Option<u64>,
    /// Which family the mesh is of.
    pub(crate) family: String,
    /// What people call the nodes and services of a mesh that was written out.
    pub(crate) labels: (Vec<String>, Vec<String>),
    /// Of each link, what its south end lets pass, and its north end.
    pub(crate) policies: Vec<[PolicyPlan; 2]>,
    /// The node that lies.
    pub(crate) liar: Option<usize>,
    /// How much faster each node's clock runs than the world's, in millionths.
    pub(crate) drift: Vec<i64>,
    /// The links have a cycle: what can be reached is not known beforehand.
    pub(crate) cyclic: bool,
}

/// Nodes and links, before people live there.
struct Ground {
    family: String,
    size: usize,
    cables: Vec<(usize, usize)>,
    written: Option<crate::mesh::Layout>,
}

impl Ground {
    fn draw(seed: u64, rng: &mut Rng, reduced: &Reduced) -> Self {
        if reduced.first {
            return Self::first(rng);
        }
        let mut rng = Rng::new(seed, "mesh");
        let drawn = rng.pick(Written::all()).copied().filter(|_| rng.chance(60));
        let size = draw_size(&mut rng);
        let (family, cables) = draw_links(&mut rng, reduced.nodes.unwrap_or(size).max(2));
        if let Some(written) = reduced.written.or(drawn.filter(|_| reduced.nodes.is_none())) {
            let layout = written.layout();
            return Self {
                family: written.name(),
                size: layout.nodes.len(),
                cables: layout.links.clone(),
                written: Some(layout),
            };
        }
        Self {
            family: family.to_owned(),
            size: reduced.nodes.unwrap_or(size).max(2),
            cables,
            written: None,
        }
    }

    fn first(rng: &mut Rng) -> Self {
        let size = if rng.chance(500) {
            2
        } else {
            rng.range(1, 5) as usize
        };
        // Each node but the first dials one or two that came before it, so the links form no cycle.
        let mut cables = Vec::new();
        for south in 1..size {
            let north = rng.below(south as u64) as usize;
            cables.push((south, north));
            let second = rng.below(south as u64) as usize;
            if second != north && rng.chance(200) {
                cables.push((south, second));
            }
        }
        Self {
            family: "first".to_owned(),
            size,
            cables,
            written: None,
        }
    }

    /// How many peers the node with most of them has.
    fn degree(&self) -> usize {
        let mut degrees = vec![0; self.size];
        for &(south, north) in &self.cables {
            degrees[south] += 1;
            degrees[north] += 1;
        }
        degrees.into_iter().max().unwrap_or(0)
    }
}

impl Scenario {
    pub(crate) fn draw(seed: u64, reduced: &Reduced) -> Self {
        let mut rng = Rng::new(seed, "kinds");
        // How many of the kinds are in, over all: from a calm run to a storm.
        let share = rng.range(0, 800);
        let known = if reduced.first { FIRST } else { Kind::all().len() };
        let mut kinds: Vec<Kind> = Kind::all()[..known]
            .iter()
            .copied()
            .filter(|_| rng.chance(share))
            .collect();
        kinds.retain(|kind| !reduced.without.contains(kind));

        let mut rng = Rng::new(seed, "scenario");
        let ground = Ground::draw(seed, &mut rng, reduced);
        let (size, cables) = (ground.size, ground.cables.clone());
        let services = rng.range(1, 4) as usize;
        let services = ground
            .written
            .as_ref()
            .map_or(services, |layout| layout.services.len());
        let mut workers = Self::draw_workers(&mut rng, size, services);
        if let Some(layout) = &ground.written {
            let at = layout.services.iter().enumerate();
            let places: Vec<(usize, usize)> = at
                .flat_map(|(service, (_, nodes))| nodes.iter().map(move |&host| (service, host)))
                .collect();
            workers = (0..places.len())
                .filter_map(|n| workers.get(n % workers.len()).cloned())
                .collect();
            for (worker, (service, host)) in workers.iter_mut().zip(places) {
                (worker.service, worker.host) = (service, host);
            }
        }
        if kinds.contains(&Kind::Rates) {
            Self::draw_rates(&mut Rng::new(seed, "rates"), &mut workers);
        }
        let producers: Vec<ProducerPlan> = (0..rng.range(1, 4))
            .map(|_| {
                let quick = rng.spread(MS, 2 * SECOND);
                ProducerPlan {
                    host: rng.below(size as u64) as usize,
                    every: (quick, quick * rng.range(1, 8)),
                    burst: if rng.chance(300) { rng.range(2, 20) } else { 1 },
                    services: (0..services).filter(|_| rng.chance(700)).collect(),
                }
            })
            .collect();
        let producers = match &ground.written {
            // A message for a service that its node can't reach may wait for ever.
            Some(layout) => layout.only_what_is_reached(producers),
            None => producers,
        };
        let healers: Vec<usize> = if rng.chance(500) {
            (0..size).collect()
        } else {
            // One node of each link is enough: then every node has good workers of its own or next to it, and the
            // way over a link is needed to drain the mesh.
            let depth = Self::depths(size, &cables);
            let parity = if size == 1 { 0 } else { rng.below(2) };
            (0..size).filter(|&host| depth[host] % 2 == parity).collect()
        };
        // Sometimes all that is left has to find its way to one node, over as many links as that takes.
        let mut far = Rng::new(seed, "healers");
        let healers = if far.chance(250) {
            vec![far.below(size as u64) as usize]
        } else {
            healers
        };
        let disk = rng.spread(50, 5 * MS);
        let link = rng.spread(50, 200 * MS);
        let mut special = Rng::new(seed, "special");
        let liar = special.below(size as u64) as usize;
        let liar = Some(liar).filter(|_| special.chance(400) && kinds.contains(&Kind::Liar) && size > 2);
        // Who reaches what in a mesh that was written out is written, too.
        let liar = liar.filter(|_| ground.written.is_none());
        // Whom a liar may keep from having room is a question of its own.
        let small = kinds.contains(&Kind::SmallTables) && liar.is_none();
        let degree = ground.degree();
        let mut hosts: Vec<HostPlan> = (0..size)
            .map(|_| Self::draw_host(&mut rng, (&kinds, small), workers.len(), services, (size, degree)))
            .collect();
        if kinds.contains(&Kind::Ageing) {
            Self::draw_ageing(&mut Rng::new(seed, "ageing"), &mut hosts);
        }
        let policies = cables
            .iter()
            .map(|&(south, north)| {
                [(south, north), (north, south)].map(|(_, other)| {
                    let drawn = PolicyPlan::draw(&mut special, services);
                    if Some(other) == liar {
                        Self::towards_liar()
                    } else if kinds.contains(&Kind::Policies) && ground.written.is_none() {
                        drawn
                    } else {
                        PolicyPlan::default()
                    }
                })
            })
            .collect();
        let drifts = kinds.contains(&Kind::Drift);
        let drift = (0..size)
            .map(|_| special.range(0, 2_000) as i64 - 1_000)
            .map(|ppm| if drifts { ppm } else { 0 })
            .collect();
        let cyclic = ground.family == Written::Ring.name();
        let labels = ground.written.map_or_else(Default::default, |layout| {
            (
                layout.nodes,
                layout.services.into_iter().map(|(name, _)| name).collect(),
            )
        });
        Self {
            family: ground.family,
            labels,
            policies,
            liar,
            drift,
            cyclic,
            seed,
            hosts,
            cables,
            services,
            producers,
            workers,
            healers,
            timing: Self::draw_timing(&mut rng),
            // Drawn in any case, so that leaving out a kind changes nothing else of the scenario.
            inline_max: Some(rng.range(0, 64))
                .filter(|_| kinds.contains(&Kind::Large))
                .unwrap_or(1 << 20),
            // Many nodes have more to do in less time.
            trouble: rng
                .spread(5 * SECOND, 120 * SECOND)
                .min(600 * SECOND / size as u64),
            fault_every: rng.spread(200 * MS, 20 * SECOND),
            link_delay: (link, link * rng.range(1, 4)),
            disk_delay: (disk, disk * rng.range(1, 10)),
            until: reduced.until,
            kinds,
        }
    }

    fn draw_workers(rng: &mut Rng, size: usize, services: usize) -> Vec<WorkerPlan> {
        (0..rng.range(1, 6))
            .map(|number| {
                let work = rng.spread(MS, 5 * SECOND);
                WorkerPlan {
                    host: rng.below(size as u64) as usize,
                    service: rng.below(services as u64) as usize,
                    // Now and then two processes share a name, and so a limit.
                    name: format!("w{}", if rng.chance(150) { 0 } else { number }),
                    limit: if rng.chance(500) {
                        1
                    } else {
                        rng.range(2, 8) as u16
                    },
                    lease: rng.spread(500 * MS, 30 * SECOND),
                    work: (work, work * rng.range(1, 4)),
                    registers: rng.chance(800),
                    rate: None,
                }
            })
            .collect()
    }

    fn draw_ageing(rng: &mut Rng, hosts: &mut [HostPlan]) {
        let step = |rng: &mut Rng| Duration::from_micros(rng.spread(MS, 60 * SECOND));
        let common = Some(step(rng)).filter(|_| rng.chance(500));
        for host in hosts {
            let own = Some(step(rng)).filter(|_| rng.chance(600));
            host.ageing = common.or(own);
        }
    }

    /// One that shares its name may be registered anew, without a rate, by another's take.
    fn draw_rates(rng: &mut Rng, workers: &mut [WorkerPlan]) {
        let names: Vec<String> = workers.iter().map(|worker| worker.name.clone()).collect();
        for worker in workers {
            let alone = names.iter().filter(|name| **name == worker.name).count() == 1;
            let rate = Self::draw_rate(rng);
            worker.rate = Some(rate).filter(|_| rng.chance(600) && alone && worker.registers);
        }
    }

    /// At least one in ten seconds, so that all that waits is worked off in the end.
    pub(crate) fn draw_rate(rng: &mut Rng) -> Rate {
        let text = match rng.below(4) {
            0 => format!("{}/s", rng.range(1, 20)),
            1 => format!("{}/m", rng.range(6, 200)),
            2 => format!("{}/h", rng.range(360, 5_000)),
            _ => format!("{}/d", rng.range(8_640, 1_000_000)),
        };
        text.parse().expect("a rate")
    }

    /// What an honest node lets pass from the liar: one service.
    pub(crate) fn towards_liar() -> PolicyPlan {
        PolicyPlan {
            import: "s0".to_owned(),
            ..PolicyPlan::default()
        }
    }

    fn draw_host(
        rng: &mut Rng,
        (kinds, small): (&[Kind], bool),
        workers: usize,
        services: usize,
        (size, degree): (usize, usize),
    ) -> HostPlan {
        let mut table = |least: u64, most: u64, roomy: u64| -> u32 {
            let tight = rng.range(least, most) as u32;
            if small { tight } else { roomy as u32 }
        };
        // A thousand cores fit into memory if each is small.
        let share = if size > 100 { 8 } else { 1 };
        let peers = degree as u64 + 2;
        // Healers and stale registrations need room too.
        let all_workers = (workers + services + 2) as u64;
        let capacity = Capacity {
            messages: table(2, 30, 400 / share),
            reservations: table(1, 10, 500 / share),
            deliveries: table(1, 8, 200 / share),
            // One more than there are: recovered outcomes are filed under a name of their own.
            services: table(services as u64 + 1, services as u64 + 3, 32),
            consumers: table(all_workers, all_workers + 3, 64),
            takes: table(all_workers, all_workers + 8, 200),
            peers: table(size as u64, size as u64 + 2, peers.max(32)),
            routes: table(
                (services * size) as u64,
                (services * size) as u64 + 4,
                (services as u64 * peers).max(128),
            ),
            relays: table(1, 8, 200 / share),
            rules: 8 * peers as u32,
        };
        let narrow = rng.range(1, 6) as u16;
        let window = if rng.chance(500) { narrow } else { 256 };
        let few = rng.range(1, 5) as u32;
        let kept = if kinds.contains(&Kind::FewDelivered) {
            few
        } else {
            10_000
        };
        HostPlan {
            capacity,
            window,
            delivered_kept: kept,
            ageing: None,
        }
    }

    fn draw_timing(rng: &mut Rng) -> Timing {
        let mut time = |low: u64, high: u64| Duration::from_micros(rng.range(low, high));
        Timing {
            recovery: time(500 * MS, 5 * SECOND),
            keepalive: time(SECOND, 5 * SECOND),
            silence: time(10 * SECOND, 30 * SECOND),
            liveness: time(20 * SECOND, 90 * SECOND),
            ready: time(500 * MS, 3 * SECOND),
            margin: time(SECOND, 5 * SECOND),
            lease_max: Duration::from_secs(100),
            claim: time(2 * SECOND, 10 * SECOND),
            hedge: Duration::from_millis(500),
            seek: Duration::from_secs(2),
            store_retry: time(100 * MS, SECOND),
            reply_life: time(30 * SECOND, 100 * SECOND),
        }
    }

    fn depths(size: usize, cables: &[(usize, usize)]) -> Vec<u64> {
        let mut depth = vec![0; size];
        for host in 1..size {
            // The first link of each node goes to one that was made before it.
            if let Some(&(_, north)) = cables.iter().find(|(south, _)| *south == host) {
                depth[host] = depth[north] + 1;
            }
        }
        depth
    }

    /// Everything that may go wrong in this run, for the log's first line.
    pub(crate) fn describe(&self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(|kind| kind.name()).collect();
        let Self {
            hosts,
            cables,
            services,
            producers,
            workers,
            healers,
            timing,
            trouble,
            family,
            ..
        } = self;
        format!(
            "{family} of {} nodes, links {cables:?}, {services} services, {} producers, {} workers, healers {healers:?}, \
             {:.1} s of trouble by {}; liar {:?}, {timing:?}",
            hosts.len(),
            producers.len(),
            workers.len(),
            *trouble as f64 / 1e6,
            kinds.join(","),
            self.liar
        )
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether every frame that arrives is one that a core sent, once and in order.
    pub(crate) fn honest(&self) -> bool {
        !self.has(Kind::Mangle)
    }
}
