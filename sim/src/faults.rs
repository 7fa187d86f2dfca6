//! What goes wrong, and how all of it is repaired.

use crate::host::Host;
use crate::people::{Act, Worker};
use crate::scenario::{Kind, MS, SECOND, WorkerPlan};
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
            Kind::Relimit => {
                let epoch = self.workers[w].epoch();
                let act = if self.rng.faults.chance(600) {
                    Act::Relimit
                } else {
                    Act::Unregister
                };
                self.on_work(w, epoch, act);
            }
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
            | Kind::FewDelivered => {}
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
            Kind::Mangle => self.cables[c].mangled_until = self.now + spell / 4,
            _ => {
                if let Some(conn) = current {
                    self.cut(conn, kind == Kind::HalfOpen);
                }
            }
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
        self.hosts[h] = Host::new(self.plan.seed, h, wipes + 1);
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
            let host = &mut self.hosts[h];
            host.store_fails = (0, 0);
            host.store_slow = (0, 0);
            self.after(0, Event::Boot { host: h });
        }
        for c in 0..self.cables.len() {
            self.cables[c].parted_until = 0;
            let lied = std::mem::take(&mut self.cables[c].mangled_until) > 0;
            // What a lying link told is forgotten with its session.
            if let (true, Some(conn)) = (lied, self.cables[c].current) {
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
        for host in self.plan.healers.clone() {
            for service in 0..self.plan.services {
                let plan = WorkerPlan {
                    host,
                    service,
                    name: "healer".to_owned(),
                    limit: 8,
                    lease: 10 * SECOND,
                    work: (MS, 20 * MS),
                    registers: true,
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
