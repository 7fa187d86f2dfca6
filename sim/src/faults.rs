//! What goes wrong, and how all of it is repaired.

use crate::host::Host;
use crate::mesh::PolicyPlan;
use crate::people::{Act, Worker};
use crate::scenario::{Kind, MS, SECOND, Scenario, WorkerPlan};
use crate::world::{Event, World};

impl World {
    pub(crate) fn on_fault(&mut self) {
        if self.healed {
            return;
        }
        let every = self.plan.fault_every;
        let delay = self.rng.faults.range(every / 4, every * 2);
        self.after(delay, Event::Fault);
        let kinds = self.plan.kinds.clone();
        let Some(&kind) = self.rng.faults.pick(&kinds) else {
            return;
        };
        let h = self.rng.faults.below(self.hosts.len() as u64) as usize;
        let c = self.rng.faults.below(self.cables.len() as u64) as usize;
        let w = self.rng.faults.below(self.workers.len() as u64) as usize;
        let spell = self.rng.faults.spread(10 * MS, 40 * SECOND);
        match kind {
            Kind::Crash => {
                self.crash(h);
                self.after(spell, Event::Boot { host: h });
            }
            Kind::Wipe => {
                // Rarely: it takes away what else could be found.
                if self.rng.faults.chance(200) {
                    self.wipe(h);
                    self.after(spell, Event::Boot { host: h });
                }
            }
            Kind::StoreFail => self.trouble_store(h, false, self.now + spell / 2),
            Kind::SlowDisk => self.trouble_store(h, true, self.now + spell),
            Kind::Freeze => {
                if self.hosts[h].live.is_some() {
                    self.freeze(h, self.now + spell);
                }
            }
            Kind::Cut | Kind::HalfOpen | Kind::Partition | Kind::TwoLinks | Kind::Mangle => {
                if !self.cables.is_empty() {
                    self.trouble_link(kind, c, spell);
                }
            }
            Kind::WorkerCrash => self.worker_crash(w),
            Kind::Rates => {
                let epoch = self.workers[w].epoch();
                self.on_work(w, epoch, Act::Repace);
            }
            Kind::Relimit => {
                let epoch = self.workers[w].epoch();
                let act = if self.rng.faults.chance(600) {
                    Act::Relimit
                } else {
                    Act::Unregister
                };
                self.on_work(w, epoch, act);
            }
            Kind::OneWay | Kind::Repolicy => {
                if !self.cables.is_empty() {
                    self.trouble_link(kind, c, spell);
                }
            }
            Kind::Split => self.split(spell * 2),
            Kind::Drain => self.begin_drain(h, spell),
            // These change what people and stores do all the time.
            Kind::LateDrain
            | Kind::Silent
            | Kind::LateAnswer
            | Kind::Twice
            | Kind::Forge
            | Kind::Release
            | Kind::Extend
            | Kind::Fail
            | Kind::WrongVerb
            | Kind::ShortTake
            | Kind::Cancel
            | Kind::Uncollected
            | Kind::Large
            | Kind::SmallTables
            | Kind::ShortEtt
            | Kind::FewDelivered
            | Kind::Policies
            | Kind::Liar
            | Kind::ClockJump
            | Kind::Drift
            | Kind::Unseen
            | Kind::Ageing => {}
        }
    }

    fn trouble_link(&mut self, kind: Kind, c: usize, spell: u64) {
        let current = self.cables[c].current;
        match kind {
            Kind::Partition => {
                self.cables[c].parted_until = self.now + spell;
                if let Some(conn) = current {
                    self.cut(conn, true);
                }
            }
            Kind::TwoLinks => {
                self.after(
                    0,
                    Event::Dial {
                        cable: c,
                        extra: true,
                    },
                );
            }
            Kind::OneWay => {
                let side = self.rng.faults.below(2) as usize;
                self.one_way(c, side, spell);
            }
            Kind::Repolicy => self.repolicy(c),
            Kind::Mangle => self.cables[c].mangled_until = self.now + spell / 4,
            _ => {
                if let Some(conn) = current {
                    self.cut(conn, kind == Kind::HalfOpen);
                }
            }
        }
    }

    /// What is sent towards one side of a link is late until the spell is over, or lost, and nobody can dial meanwhile.
    fn one_way(&mut self, c: usize, side: usize, spell: u64) {
        let until = self.now + spell;
        self.cables[c].parted_until = until;
        if self.rng.faults.chance(500) {
            self.cables[c].stalled_until[side] = until;
        } else if let Some(conn) = self.cables[c].current {
            self.deafen(conn, side);
        }
    }

    /// A group of nodes and the others can't talk to each other, or only one way.
    fn split(&mut self, spell: u64) {
        let members = self.rng.faults.bits();
        let is_in = |host: usize| (members >> (host % 64)) & 1 == 1;
        let (both, inwards) = (self.rng.faults.chance(500), self.rng.faults.chance(500));
        self.log.line(
            self.now,
            format_args!("split, both ways {both}, until {}", self.now + spell),
        );
        for c in 0..self.cables.len() {
            let (south, north) = (self.cables[c].south, self.cables[c].north);
            if is_in(south) == is_in(north) {
                continue;
            }
            if both {
                self.trouble_link(Kind::Partition, c, spell);
            } else {
                self.one_way(c, usize::from(is_in(south) != inwards), spell);
            }
        }
    }

    /// One end of a link lets other services pass, from the next connection on.
    fn repolicy(&mut self, c: usize) {
        let side = self.rng.faults.below(2) as usize;
        let policy = PolicyPlan::draw(&mut self.rng.faults, self.plan.services);
        let extra = self.rng.faults.chance(500);
        // What a mesh that was written out reaches is written, too.
        if !self.plan.labels.0.is_empty() {
            return;
        }
        if self.plan.policies[c]
            .iter()
            .any(|plan| *plan == Scenario::towards_liar())
        {
            return;
        }
        self.log
            .line(self.now, format_args!("link {c}, end {side}: {policy:?}"));
        self.cables[c].policies[side] = policy;
        match self.cables[c].current {
            Some(conn) if !extra => self.cut(conn, false),
            _ => {
                self.after(
                    0,
                    Event::Dial {
                        cable: c,
                        extra: true,
                    },
                );
            }
        }
    }

    /// A node takes no more work; after a while it is stopped, whatever is left.
    fn begin_drain(&mut self, h: usize, spell: u64) {
        if self.hosts[h].live.is_none() {
            return;
        }
        let _ = self.input(h, redlink_core::Input::Drain);
        let life = self.hosts[h].life;
        if let Some(live) = self.hosts[h].live.as_mut() {
            live.draining = true;
        }
        self.after(spell / 2, Event::Stop { host: h, life });
    }

    pub(crate) fn on_stop(&mut self, h: usize, life: u32) {
        if self.is_life(h, life) {
            self.crash(h);
            let delay = self.rng.faults.range(10 * MS, 2 * SECOND);
            self.after(delay, Event::Boot { host: h });
        }
    }

    /// The disk is gone: what comes back is another node that has the name and none of the rest.
    fn wipe(&mut self, h: usize) {
        self.crash(h);
        self.log.line(self.now, format_args!("{h} loses its disk"));
        self.check.ledger.wiped(h);
        let life = self.hosts[h].life;
        let backlog = std::mem::take(&mut self.hosts[h].backlog);
        let wipes = self.hosts[h].wipes;
        self.hosts[h] = Host::new(self.plan.seed, h, wipes + 1, self.plan.drift[h]);
        self.hosts[h].backlog = backlog;
        // Never the number of a life that events may still be meant for.
        self.hosts[h].life = life;
    }

    /// Repairs everything (a node that stands still wakes up by itself), and sees to it that somebody does the work that is left.
    pub(crate) fn heal(&mut self) {
        if self.healed {
            return;
        }
        self.healed = true;
        self.log.line(self.now, format_args!("healed"));
        for h in 0..self.hosts.len() {
            if self.hosts[h].live.as_ref().is_some_and(|live| live.draining) {
                self.crash(h);
            }
            let host = &mut self.hosts[h];
            host.store_fails = (0, 0);
            host.store_slow = (0, 0);
            self.after(0, Event::Boot { host: h });
        }
        for c in 0..self.cables.len() {
            self.cables[c].parted_until = 0;
            let lied = std::mem::take(&mut self.cables[c].mangled_until) > 0;
            let stalled = std::mem::take(&mut self.cables[c].stalled_until) > [0; 2];
            // What a lying link told is forgotten with its session; what is held up is not waited for.
            let changed = self.cables[c].policies != self.plan.policies[c];
            if let (true, Some(conn)) = (lied || stalled || changed, self.cables[c].current) {
                self.cut(conn, false);
            }
            self.after(
                SECOND,
                Event::Dial {
                    cable: c,
                    extra: false,
                },
            );
        }
        for (host, service) in self.healers() {
            {
                let plan = WorkerPlan {
                    host,
                    service,
                    name: "healer".to_owned(),
                    limit: 8,
                    lease: 10 * SECOND,
                    work: (MS, 20 * MS),
                    registers: true,
                    rate: None,
                };
                self.workers.push(Worker::new(&plan));
                let worker = self.workers.len() - 1;
                self.after(
                    SECOND,
                    Event::Work {
                        worker,
                        epoch: 0,
                        act: Act::Begin,
                    },
                );
            }
        }
    }
}
