//! Producers: they submit, take back and collect.

use crate::disk::Content;
use crate::host::{Submitting, service_name};
use crate::scenario::{Kind, MS, ProducerPlan, SECOND, Time};
use crate::world::{Event, World};
use redlink_core::{Alternate, Bound, Duration, Input, Refused, Submit, Tag, Terms};

/// A program that submits.
pub(crate) struct Producer {
    pub(crate) plan: ProducerPlan,
}

impl Producer {
    pub(crate) fn new(plan: &ProducerPlan) -> Self {
        Self { plan: plan.clone() }
    }
}

impl World {
    pub(crate) fn on_produce(&mut self, p: usize) {
        // More of the same would only take longer.
        const MOST: usize = 2_000;
        if self.healed || self.check.ledger.entries.len() > MOST {
            return;
        }
        let plan = self.producers[p].plan.clone();
        if self.hosts[plan.host].live.is_some() {
            for _ in 0..plan.burst {
                self.submit(&plan);
            }
        }
        let (low, high) = plan.every;
        let delay = self.rng.people.range(low, high);
        self.after(delay, Event::Produce { producer: p });
    }

    fn submit(&mut self, plan: &ProducerPlan) {
        let rng = &mut self.rng.people;
        let Some(&service) = rng.pick(&plan.services) else {
            return;
        };
        let other = rng
            .pick(&plan.services)
            .copied()
            .filter(|&other| other != service);
        let alternate = other.filter(|_| rng.chance(300)).map(|other| {
            let after = if rng.chance(200) {
                0
            } else {
                rng.spread(MS, 20 * SECOND)
            };
            (other, after)
        });
        let short = rng.spread(5 * MS, 10 * SECOND);
        let long = rng.spread(10 * SECOND, 200 * SECOND);
        let ett = if self.plan.has(Kind::ShortEtt) && rng.chance(600) {
            short
        } else {
            long
        };
        let ett = Some(Duration::from_micros(ett)).filter(|_| rng.chance(850));
        let delay = Duration::from_micros(rng.spread(5 * MS, 20 * SECOND));
        let not_before = Some(delay).filter(|&delay| rng.chance(150) && ett.is_none_or(|ett| delay < ett));
        let terms = Terms {
            priority: if rng.chance(400) {
                0
            } else {
                rng.below(6) as u8 * 51
            },
            ett,
            reoffer: Duration::from_micros(rng.spread(200 * MS, 15 * SECOND)),
            send_only: rng.chance(350),
            not_before: not_before.unwrap_or(Duration::ZERO),
            at_most_once: rng.chance(200),
            max_attempts: if rng.chance(300) {
                0
            } else {
                rng.range(1, 5) as u16
            },
            retention: Duration::from_micros(rng.spread(SECOND, 600 * SECOND)),
            direct: rng.chance(400),
        };
        let size = if rng.chance(100) { 0 } else { rng.range(1, 128) };
        self.submit_this(plan.host, (service, alternate), terms, size);
    }

    /// Hands a message to a node, for a service and perhaps an alternate one; none if it was refused.
    pub(crate) fn submit_this(
        &mut self,
        h: usize,
        (service, alternate): (usize, Option<(usize, Time)>),
        terms: Terms,
        size: u64,
    ) -> Option<Tag> {
        let mark = self.number();
        let tag = Tag(self.number());
        let content = Content { mark, size };
        let at = self.now;
        if let Some(live) = self.hosts[h].live.as_mut() {
            live.submits.insert(
                tag,
                Submitting {
                    service,
                    alternate,
                    terms,
                    content,
                    at,
                    sequence: None,
                },
            );
        }
        let name = service_name(service);
        let other = alternate.map(|(other, after)| (service_name(other), after));
        if let Err(why) = self.input(
            h,
            Input::Submit(Submit {
                tag,
                service: &name,
                terms,
                alternate: other.as_ref().map(|(service, after)| Alternate {
                    service,
                    after: Duration::from_micros(*after),
                }),
                size,
            }),
        ) {
            self.check_full(h, why);
            if let Some(live) = self.hosts[h].live.as_mut() {
                live.submits.remove(&tag);
            }
            return None;
        }
        Some(tag)
    }

    /// P7: it says that it is full only if it is.
    pub(crate) fn check_full(&mut self, h: usize, why: Refused) {
        let capacity = &self.plan.hosts[h].capacity;
        let Some(live) = self.hosts[h].live.as_ref() else {
            return;
        };
        if why == Refused::Draining && live.draining {
            return;
        }
        let Refused::Full(bound) = why else {
            self.check
                .fail("P7", format!("node {h} refuses a good input: {why:?}"));
            return;
        };
        let (used, room) = match bound {
            Bound::Messages => (self.places_used(h), capacity.messages),
            Bound::Takes => (live.takes.len() - 1, capacity.takes),
            // A scenario has never more of these than its tables hold.
            Bound::Services | Bound::Consumers | Bound::Peers | Bound::Rules => (0, 1),
            // From outside it can't be told how many are in use.
            Bound::Deliveries | Bound::Answers => (1, 1),
        };
        if (used as u64) < u64::from(room) {
            self.check.fail(
                "P7",
                format!("node {h} is full of {bound:?} with {used} of {room}"),
            );
        }
    }

    /// Places in the table of messages that may be in use, and one less than would be needed for the newest submit too.
    fn places_used(&self, h: usize) -> usize {
        let Some(live) = self.hosts[h].live.as_ref() else {
            return 0;
        };
        // One that is offered under two services takes two, until it has its outcome.
        let both = |&sequence: &u64| {
            let entry = self.check.ledger.entries.get(&self.own(h, sequence));
            1 + usize::from(entry.is_some_and(|entry| entry.alternate.is_some()))
        };
        let coming = live.submits.values().filter(|submit| submit.sequence.is_none());
        let coming = coming.map(|submit| 1 + usize::from(submit.alternate.is_some()));
        live.rows.iter().map(both).sum::<usize>() + coming.sum::<usize>() - 1
    }

    pub(crate) fn accepted(&mut self, h: usize, sequence: u64) {
        if self.plan.has(Kind::Cancel) && !self.healed && self.rng.people.chance(150) {
            let delay = self.rng.people.spread(MS, 20 * SECOND);
            let life = self.hosts[h].life;
            self.after(
                delay,
                Event::Cancel {
                    host: h,
                    life,
                    sequence,
                },
            );
        }
    }

    pub(crate) fn on_cancel(&mut self, h: usize, life: u32, sequence: u64) {
        if !self.is_life(h, life) {
            return;
        }
        let id = self.own(h, sequence);
        if let Some(entry) = self.check.ledger.entries.get_mut(&id) {
            entry.cancel_asked = true;
        }
        self.check.order.own_gone(h, id);
        // An outcome may have been quicker.
        let _ = self.input(h, Input::Cancel { sequence });
    }

    pub(crate) fn on_collect(&mut self, h: usize) {
        let lazy = self.plan.has(Kind::Uncollected) && !self.healed;
        let told: Vec<u64> = self.hosts[h]
            .disk
            .outcomes
            .keys()
            .copied()
            .filter(|&sequence| {
                let entry = self.check.ledger.entries.get(&self.own(h, sequence));
                entry.is_some_and(|entry| entry.told.is_some())
            })
            .collect();
        for sequence in told {
            if self.hosts[h].live.is_none() || lazy || (!self.healed && self.rng.people.chance(300)) {
                continue;
            }
            let id = self.own(h, sequence);
            let Some(entry) = self.check.ledger.entries.get_mut(&id) else {
                continue;
            };
            let asked = std::mem::replace(&mut entry.collect_asked, true);
            let answer = self.input(h, Input::Collect { sequence });
            // It was told, so it is there, unless it is being deleted.
            if answer.is_err() && !asked && !self.retention_over(h, sequence) && !self.delivered_full(h) {
                self.check
                    .fail("P2", format!("{id} can't be collected: {answer:?}"));
            }
        }
        let delay = if self.healed {
            SECOND
        } else {
            self.rng.people.spread(20 * MS, 5 * SECOND)
        };
        self.after(delay, Event::Collect { host: h });
    }

    fn retention_over(&self, h: usize, sequence: u64) -> bool {
        let row = self.hosts[h].disk.outcomes.get(&sequence);
        row.is_some_and(|row| self.now + self.slack() >= row.retain_until)
    }
}
