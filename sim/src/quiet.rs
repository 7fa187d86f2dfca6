//! After the trouble: everybody who may reach a service does, nobody else does, and what is gone is forgotten (P8).
//!
//! The healed mesh goes through stages, looked at once a second. First every core has to know what the naive model of
//! the route rules says; then all work has to end; then each node sends a message to each service, which is answered
//! or not, as the model says. Sometimes a node vanishes without a word and has to be forgotten. In the end the workers
//! leave, and so does every trace of them.

use crate::check::Class;
use crate::check::reach::{Hop, Reach, reach};
use crate::host::{service_name, service_number};
use crate::rng::Rng;
use crate::scenario::{Kind, SECOND, Scenario, Time};
use crate::ways::Way;
use crate::world::{Event, World};
use redlink_core::wire::HOPS;
use redlink_core::{Duration, MessageId, Outcome, Terms};

/// When the routes must be right at the latest: a node stands still for up to 40 s, a broken link is silent for up to
/// 30 s, and is dialled again within 3 s.
const SETTLED: Time = 90 * SECOND;
/// So much time is enough for the longest deadline, lease and retry of a scenario.
const PATIENCE: Time = 900 * SECOND;
/// What a call may take in a quiet mesh. Where tables hold one message, others wait for it by re-offers.
const PROBED: Time = 300 * SECOND;
/// What a call for nobody waits.
const IN_VAIN: Time = 4 * SECOND;
/// What a call between honest nodes may take while a liar is among them, on a way that does not need it.
const BESIDE_A_LIAR: Time = 60 * SECOND;
/// What each message that ranks before a call may add to that.
const EACH_AHEAD: Time = SECOND / 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Routes settle; with the liar still there.
    Lied,
    /// Calls beside the liar, once a second, so many still to come.
    Beside(usize),
    /// Routes settle.
    Settling,
    /// What is left of the work ends.
    Working,
    /// Calls for that service.
    Probing(usize),
    /// A node has vanished; it is forgotten when the time is over.
    Away,
    /// Calls without it.
    Without,
    /// It is back.
    Back,
    Done,
}

struct Probe {
    id: MessageId,
    service: usize,
    reaches: bool,
    sent: Time,
    priority: u8,
    /// Open messages of its service that rank before it, at all nodes: what is left of the trouble is worked off first.
    ahead: u64,
}

/// The stages of a healed mesh, and the worst that was seen in them.
pub(crate) struct Quiet {
    stage: Stage,
    since: Time,
    next_look: Time,
    rng: Rng,
    probes: Vec<Probe>,
    away: Option<usize>,
    /// From the end of the trouble until all routes were right.
    pub(crate) settled: Time,
    /// The slowest call, in a mesh at rest and beside a liar.
    pub(crate) slowest: [Time; 2],
    /// Calls that were answered, and calls for nobody.
    pub(crate) calls: [u64; 2],
    /// What each node reached, by a call: node and service.
    pub(crate) reached: Vec<(usize, usize)>,
}

impl Quiet {
    pub(crate) fn new(plan: &Scenario) -> Self {
        Self {
            stage: if plan.liar.is_some() {
                Stage::Lied
            } else {
                Stage::Settling
            },
            since: 0,
            next_look: 0,
            rng: Rng::new(plan.seed, "quiet"),
            probes: Vec::new(),
            away: None,
            settled: 0,
            slowest: [0; 2],
            calls: [0; 2],
            reached: Vec::new(),
        }
    }

    /// It has vanished and is to stay away.
    pub(crate) fn is_away(&self, host: usize) -> bool {
        self.away == Some(host)
    }

    /// Whether an honest node has taken the liar's place.
    pub(crate) fn liar_left(&self) -> bool {
        !matches!(self.stage, Stage::Lied | Stage::Beside(_))
    }
}

impl World {
    /// Looks at the healed mesh; true when all stages are over.
    pub(crate) fn look(&mut self) -> bool {
        if self.quiet.since == 0 {
            self.quiet.since = self.now;
        }
        if self.now < self.quiet.next_look {
            return false;
        }
        self.quiet.next_look = self.now + SECOND;
        match self.quiet.stage {
            Stage::Lied | Stage::Settling => self.settle(),
            Stage::Beside(left) => self.beside(left),
            Stage::Working => {
                if self.is_finished(PATIENCE) {
                    self.probe_next(0);
                }
            }
            Stage::Probing(service) => {
                if self.is_finished(PROBED + PATIENCE) && self.judge(0) {
                    self.probe_next(service + 1);
                }
            }
            Stage::Away => self.forgotten(),
            Stage::Without => {
                if self.is_finished(PROBED + PATIENCE) && self.judge(0) {
                    self.come_back();
                }
            }
            Stage::Back => {
                if self.agrees(SETTLED, 0) {
                    self.enter(Stage::Done);
                }
            }
            Stage::Done => return self.is_finished(PATIENCE),
        }
        false
    }

    fn enter(&mut self, stage: Stage) {
        self.log.line(self.now, format_args!("{stage:?}"));
        self.quiet.stage = stage;
        self.quiet.since = self.now;
    }

    /// All work has ended; it must have after so much time.
    fn is_finished(&mut self, patience: Time) -> bool {
        let Some(what) = self.unfinished(self.quiet.away) else {
            return true;
        };
        if self.now > self.quiet.since + patience {
            self.check.fail_as(Class::Liveness, "P2", what);
        }
        false
    }

    /// All cores know what they should of the services from that one on; they must after so much time.
    fn agrees(&mut self, patience: Time, first: usize) -> bool {
        let Some(what) = self.disagreement(first) else {
            return true;
        };
        if self.now > self.quiet.since + patience {
            let text = format!(
                "{what}, {} s after all was repaired",
                (self.now - self.quiet.since) / SECOND
            );
            self.check.fail_as(Class::Liveness, "P8", text);
        }
        false
    }

    /// A liar may say what it likes of the first service.
    fn settle(&mut self) {
        let lied = self.quiet.stage == Stage::Lied;
        // The good workers come a second after the repair.
        let early = self.now < self.quiet.since + 3 * SECOND;
        if !self.agrees(SETTLED, usize::from(lied)) || early {
            return;
        }
        if !lied {
            self.quiet.settled = self.quiet.settled.max(self.now - self.quiet.since);
            return self.enter(Stage::Working);
        }
        self.enter(Stage::Beside(3 * (self.plan.services - 1)));
    }

    fn beside(&mut self, left: usize) {
        if left > 0 {
            // The first service is the liar's to spoil; what it sees there tells it numbers of messages to come.
            self.probe(0, SECOND);
            self.quiet.probes.retain(|probe| probe.service > 0);
            // All nodes call at once, and somewhere one worker does all the work.
            let many = self.hosts.len() as u64 * EACH_AHEAD;
            self.probe(1 + left % (self.plan.services - 1), BESIDE_A_LIAR * 2 + many);
            self.quiet.stage = Stage::Beside(left - 1);
            return;
        }
        let open = &self.check.ledger.open;
        if self.quiet.probes.iter().any(|probe| open.contains(&probe.id)) || !self.judge(1) {
            return;
        }
        self.enter(Stage::Settling);
        if let Some(liar) = self.plan.liar {
            self.liar_leaves(liar);
        }
    }

    fn probe_next(&mut self, service: usize) {
        if service < self.plan.services {
            if self.agrees(SETTLED + PATIENCE, 0) {
                self.enter(Stage::Probing(service));
                self.probe(service, PROBED);
            }
            return;
        }
        if self.hosts.len() > 1 && self.quiet.rng.chance(400) {
            self.vanish();
        } else {
            self.enter(Stage::Done);
        }
    }

    /// A node is gone, and nobody is told.
    fn vanish(&mut self) {
        let h = self.quiet.rng.below(self.hosts.len() as u64) as usize;
        self.log.line(self.now, format_args!("{h} vanishes"));
        self.quiet.away = Some(h);
        let conns: Vec<usize> = self.hosts[h]
            .live
            .iter()
            .flat_map(|live| live.links.values().map(|&(conn, _)| conn))
            .collect();
        for conn in conns {
            self.silence(conn);
        }
        self.crash(h);
        self.enter(Stage::Away);
    }

    /// P8: on a crash within the silence that a link may have, and one delay for each link that the news takes.
    fn forgotten(&mut self) {
        let (_, delay) = self.plan.link_delay;
        let silence = self.plan.timing.silence.as_micros();
        if self.now < self.quiet.since + silence + silence / 100 + delay * (HOPS as u64 + 1) + SECOND {
            return;
        }
        if let Some(what) = self.disagreement(0) {
            return self.check.fail_as(
                Class::Liveness,
                "P8",
                format!("{what}, long after a node vanished"),
            );
        }
        let service = self.quiet.rng.below(self.plan.services as u64) as usize;
        self.enter(Stage::Without);
        self.probe(service, PROBED);
    }

    fn come_back(&mut self) {
        if let Some(host) = self.quiet.away.take() {
            self.after(0, Event::Boot { host });
        }
        self.enter(Stage::Back);
    }

    /// Links whose ends both run an honest core.
    fn hops(&self) -> Vec<Hop> {
        let up = |host: usize| self.hosts[host].live.is_some();
        let cables = self
            .cables
            .iter()
            .filter(|cable| up(cable.south) && up(cable.north));
        cables
            .map(|cable| Hop {
                south: cable.south,
                north: cable.north,
                policies: cable.policies.clone(),
            })
            .collect()
    }

    /// What the model says of a service, and what each core does: its own consumers, and peers that tell of some.
    fn reach(&self, service: usize) -> (Reach, Vec<(u32, u32)>) {
        let view = |host: &crate::host::Host| {
            let mut views = host.live.iter().flat_map(|live| live.core.services());
            let found = views.find(|view| service_number(view.name) == service);
            found.map_or((0, 0), |view| (view.consumers, view.peers))
        };
        let said: Vec<(u32, u32)> = self.hosts.iter().map(view).collect();
        let consumers: Vec<bool> = said.iter().map(|(consumers, _)| *consumers > 0).collect();
        let model = reach(self.hosts.len(), &self.hops(), &service_name(service), &consumers);
        (model, said)
    }

    /// Where a core knows something else than the model says; none if all agree.
    fn disagreement(&self, first: usize) -> Option<String> {
        // What happened to it meanwhile has not reached its core: its own workers, for one.
        let still = |host: &crate::host::Host| host.frozen_until > self.now || !host.backlog.is_empty();
        if let Some(h) = self.hosts.iter().position(still) {
            return Some(format!("node {h} stands still"));
        }
        if let Some(what) = self.unlinked() {
            return Some(what);
        }
        for service in first..self.plan.services {
            let (model, said) = self.reach(service);
            for (h, &(consumers, peers)) in said.iter().enumerate() {
                if self.hosts[h].live.is_none() {
                    continue;
                }
                let right =
                    consumers > 0 || (peers > 0) == model.reaches[h] || (self.plan.cyclic && peers == 0);
                // A peer's way that leads through this node itself is no way, and the model does not know it.
                if !right || peers as usize > model.peers[h] {
                    return Some(format!(
                        "node {h} hears of s{service} from {peers} peers, it may reach it: {} (from {} at most)",
                        model.reaches[h], model.peers[h]
                    ));
                }
            }
        }
        self.misheard(first)
    }

    /// A link whose one end knows something else than the other would tell it; none if there is none.
    fn misheard(&self, first: usize) -> Option<String> {
        let both = |cable: &crate::net::Cable| {
            let ends = [cable.south, cable.north];
            let live = |at: usize| {
                Some((
                    &self.hosts[ends[at]].live.as_ref()?.core,
                    self.hosts[ends[at]].name(),
                ))
            };
            Some([live(0)?, live(1)?])
        };
        for cable in &self.cables {
            let Some(ends) = both(cable) else { continue };
            for to in 0..2 {
                let way = Way {
                    from: (ends[1 - to].0, &ends[1 - to].1),
                    to: (ends[to].0, &ends[to].1),
                    policy: &cable.policies[to],
                    up: to == 1,
                };
                let mut services = first..self.plan.services;
                if let Some(what) = services.find_map(|service| way.disagreement(&service_name(service))) {
                    return Some(what);
                }
            }
        }
        None
    }

    /// A link that is not up at both ends, or a session that is none; none if all is as it should be.
    fn unlinked(&self) -> Option<String> {
        let mut links = vec![0; self.hosts.len()];
        for cable in &self.cables {
            let up = |host: usize| self.hosts[host].live.is_some();
            if !up(cable.south) || !up(cable.north) {
                continue;
            }
            if !cable.current.is_some_and(|conn| self.conns[conn].is_whole()) {
                return Some(format!("the link of {} to {} is down", cable.south, cable.north));
            }
            links[cable.south] += 1;
            links[cable.north] += 1;
        }
        for (h, &wanted) in links.iter().enumerate() {
            let Some(live) = &self.hosts[h].live else { continue };
            let sessions = live.core.peers().filter(|peer| peer.link.is_some()).count();
            let beside_a_liar = !self.quiet.liar_left() && sessions > wanted;
            if sessions != wanted && !beside_a_liar {
                return Some(format!("node {h} has {sessions} sessions over {wanted} links"));
            }
        }
        None
    }

    /// A message from every honest node to the service.
    fn probe(&mut self, service: usize, ett: Time) {
        let (model, _) = self.reach(service);
        for h in 0..self.hosts.len() {
            if self.hosts[h].live.is_none() {
                continue;
            }
            let reaches = model.reaches[h];
            let terms = Terms {
                priority: self.quiet.rng.below(256) as u8,
                ett: Some(Duration::from_micros(if reaches { ett } else { IN_VAIN })),
                reoffer: Duration::from_micros(2 * SECOND),
                send_only: self.quiet.rng.chance(500),
                not_before: Duration::ZERO,
                at_most_once: false,
                max_attempts: 0,
                retention: Duration::from_micros(600 * SECOND),
                direct: false,
            };
            let Some(tag) = self.submit_this(h, (service, None), terms, 9) else {
                continue;
            };
            // Its number is there once the core has asked for its row.
            self.drain(h);
            let submits = self.hosts[h].live.as_ref().map(|live| &live.submits);
            if let Some(sequence) = submits.and_then(|submits| submits.get(&tag)?.sequence) {
                self.quiet.probes.push(Probe {
                    id: self.own(h, sequence),
                    service,
                    reaches,
                    sent: self.now,
                    priority: terms.priority,
                    ahead: 0,
                });
            }
        }
        // The other calls are among what is worked off first.
        let mut probes = std::mem::take(&mut self.quiet.probes);
        for probe in &mut probes {
            probe.ahead = self.ahead_of(probe.service, probe.priority);
        }
        self.quiet.probes = probes;
    }

    fn ahead_of(&self, service: usize, priority: u8) -> u64 {
        let ledger = &self.check.ledger;
        let open = ledger.open.iter().filter_map(|id| ledger.entries.get(id));
        // What has waited longer may be before it, too, where priority rises.
        let rises = self.plan.has(Kind::Ageing);
        open.filter(|entry| entry.is_for(service) && (rises || entry.terms.priority >= priority))
            .count() as u64
    }

    /// What came of the calls; `kind` says which of the two bounds they have.
    fn judge(&mut self, kind: usize) -> bool {
        for probe in std::mem::take(&mut self.quiet.probes) {
            let Some(entry) = self.check.ledger.entries.get(&probe.id) else {
                continue;
            };
            let limit = [PROBED, BESIDE_A_LIAR][kind] + probe.ahead * EACH_AHEAD;
            let answered = matches!(
                entry.outcome.as_ref().map(|row| row.outcome),
                Some(Outcome::Replied | Outcome::Delivered)
            );
            let took = entry.decided.unwrap_or(self.now).saturating_sub(probe.sent);
            if answered != probe.reaches || (answered && took > limit) {
                let text = format!(
                    "a call from node {} for s{} was answered: {answered}, it may reach it: {}; it took {} ms",
                    entry.host,
                    entry.service,
                    probe.reaches,
                    took / 1_000
                );
                let rule = ["P8", "P11"][kind];
                let class = if answered && !probe.reaches {
                    Class::Safety
                } else {
                    Class::Liveness
                };
                self.check.fail_as(class, rule, text);
                return false;
            }
            self.quiet.calls[usize::from(!answered)] += 1;
            if answered {
                self.quiet.slowest[kind] = self.quiet.slowest[kind].max(took);
                self.quiet.reached.push((entry.host, entry.service));
            }
        }
        true
    }

    /// Who gets a good worker of which service when all is repaired, so that no node is left without one.
    pub(crate) fn healers(&self) -> Vec<(usize, usize)> {
        let all = 0..self.plan.services;
        if self.plan.labels.0.len() == self.hosts.len() {
            // Who has which consumers is written out.
            return Vec::new();
        }
        let mut healers: Vec<(usize, usize)> = self
            .plan
            .healers
            .iter()
            .flat_map(|&host| all.clone().map(move |service| (host, service)))
            .collect();
        let hops: Vec<Hop> = self
            .cables
            .iter()
            .map(|cable| Hop {
                south: cable.south,
                north: cable.north,
                policies: cable.policies.clone(),
            })
            .collect();
        for service in all {
            loop {
                let at: Vec<bool> = (0..self.hosts.len())
                    .map(|host| healers.contains(&(host, service)))
                    .collect();
                let model = reach(self.hosts.len(), &hops, &service_name(service), &at);
                let Some(host) = model.reaches.iter().position(|reaches| !reaches) else {
                    break;
                };
                healers.push((host, service));
            }
        }
        healers
    }
}
