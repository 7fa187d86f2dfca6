//! Those who use the mesh: producers that submit, cancel and collect, and workers of every character.

use crate::disk::Content;
use crate::host::{Submitting, Taking, service_name};
use crate::scenario::{Kind, MS, ProducerPlan, SECOND, Time, WorkerPlan};
use crate::world::{Event, World};
use redlink_core::{
    Answered, Bound, Deliver, Duration, GrantToken, Input, Refused, Submit, Tag, Terms, Verb,
};
use std::collections::BTreeMap;

/// A program that submits.
pub(crate) struct Producer {
    pub(crate) plan: ProducerPlan,
}

impl Producer {
    pub(crate) fn new(plan: &ProducerPlan) -> Self {
        Self { plan: plan.clone() }
    }
}

/// A program that takes. It survives the death of its node.
pub(crate) struct Worker {
    pub(crate) plan: WorkerPlan,
    epoch: u32,
    registered: bool,
    takes: Vec<Tag>,
    held: BTreeMap<redlink_core::AttemptId, GrantToken>,
}

/// A worker's next act.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Registers if it has to, and takes.
    Begin,
    /// Gives up waiting.
    EndTake(Tag),
    /// Says something about a delivery.
    Say(Saying),
    /// Changes its limit or lease.
    Relimit,
    /// Leaves.
    Unregister,
}

/// What a worker says about a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saying {
    pub(crate) worker: usize,
    pub(crate) token: GrantToken,
    pub(crate) verb: Verb,
    pub(crate) content: Option<Content>,
    pub(crate) at: Time,
}

impl Worker {
    pub(crate) fn new(plan: &WorkerPlan) -> Self {
        Self {
            plan: plan.clone(),
            epoch: 0,
            registered: false,
            takes: Vec::new(),
            held: BTreeMap::new(),
        }
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Its node died: connections are gone, what it works on is not.
    pub(crate) fn node_died(&mut self) {
        self.takes.clear();
        self.registered = false;
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
        let short = rng.spread(5 * MS, 10 * SECOND);
        let long = rng.spread(10 * SECOND, 200 * SECOND);
        let ett = if self.plan.has(Kind::ShortEtt) && rng.chance(600) {
            short
        } else {
            long
        };
        let terms = Terms {
            priority: if rng.chance(400) {
                0
            } else {
                rng.below(6) as u8 * 51
            },
            ett: Some(Duration::from_micros(ett)).filter(|_| rng.chance(850)),
            reoffer: Duration::from_micros(rng.spread(200 * MS, 15 * SECOND)),
            send_only: rng.chance(350),
            max_attempts: if rng.chance(300) {
                0
            } else {
                rng.range(1, 5) as u16
            },
            retention: Duration::from_micros(rng.spread(SECOND, 600 * SECOND)),
        };
        let size = if rng.chance(100) { 0 } else { rng.range(1, 128) };
        let mark = self.number();
        let tag = Tag(self.number());
        let content = Content { mark, size };
        let at = self.now;
        let h = plan.host;
        if let Some(live) = self.hosts[h].live.as_mut() {
            live.submits.insert(
                tag,
                Submitting {
                    service,
                    terms,
                    content,
                    at,
                    sequence: None,
                },
            );
        }
        let name = service_name(service);
        if let Err(why) = self.input(
            h,
            Input::Submit(Submit {
                tag,
                service: &name,
                terms,
                size,
            }),
        ) {
            self.check_full(h, why);
            if let Some(live) = self.hosts[h].live.as_mut() {
                live.submits.remove(&tag);
            }
        }
    }

    /// P7: it says that it is full only if it is.
    fn check_full(&mut self, h: usize, why: Refused) {
        let capacity = &self.plan.hosts[h].capacity;
        let Some(live) = self.hosts[h].live.as_ref() else {
            return;
        };
        let Refused::Full(bound) = why else {
            self.check
                .fail("P7", format!("node {h} refuses a good input: {why:?}"));
            return;
        };
        let coming = live
            .submits
            .values()
            .filter(|submit| submit.sequence.is_none())
            .count();
        let (used, room) = match bound {
            // The submit that was refused is among those that have no number.
            Bound::Messages => (live.rows.len() + coming - 1, capacity.messages),
            Bound::Takes => (live.takes.len() - 1, capacity.takes),
            // A scenario has never more of these than its tables hold.
            Bound::Services | Bound::Consumers | Bound::Peers => (0, 1),
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
        row.is_some_and(|row| self.now + self.late() >= row.retain_until)
    }

    /// The node is up again: its workers come back, and those that hold something may say so.
    pub(crate) fn workers_of(&mut self, h: usize) {
        for w in 0..self.workers.len() {
            if self.workers[w].plan.host != h {
                continue;
            }
            let epoch = self.workers[w].epoch;
            let delay = self.rng.people.spread(MS, 2 * SECOND);
            self.after(
                delay,
                Event::Work {
                    worker: w,
                    epoch,
                    act: Act::Begin,
                },
            );
            let held: Vec<GrantToken> = self.workers[w].held.values().copied().collect();
            for token in held {
                if self.rng.people.chance(500) {
                    let act = Act::Say(self.saying(w, token, Verb::Extend, None));
                    self.after(
                        delay / 2,
                        Event::Work {
                            worker: w,
                            epoch,
                            act,
                        },
                    );
                }
            }
        }
    }

    fn saying(&self, worker: usize, token: GrantToken, verb: Verb, content: Option<Content>) -> Saying {
        Saying {
            worker,
            token,
            verb,
            content,
            at: self.now,
        }
    }

    pub(crate) fn on_work(&mut self, w: usize, epoch: u32, act: Act) {
        if self.workers[w].epoch != epoch || self.hosts[self.workers[w].plan.host].live.is_none() {
            // A worker without its node waits until it is back; what it had to say it says then.
            if let Act::Say(_) = act
                && self.workers[w].epoch == epoch
            {
                let delay = self.rng.people.spread(100 * MS, 5 * SECOND);
                self.after(
                    delay,
                    Event::Work {
                        worker: w,
                        epoch,
                        act,
                    },
                );
            }
            return;
        }
        match act {
            Act::Begin => self.begin(w),
            Act::EndTake(tag) => self.end_take(w, tag),
            Act::Say(saying) => self.say(saying),
            Act::Relimit => {
                let limit = self.rng.people.range(1, 6) as u16;
                self.workers[w].plan.limit = limit;
                self.workers[w].registered = false;
                self.register(w);
            }
            Act::Unregister => self.unregister(w),
        }
    }

    fn register(&mut self, w: usize) {
        let plan = self.workers[w].plan.clone();
        let name = service_name(plan.service);
        let lease = Duration::from_micros(plan.lease);
        let input = Input::Register {
            service: &name,
            consumer: &plan.name,
            limit: plan.limit,
            lease,
        };
        match self.input(plan.host, input) {
            Ok(_) => {
                self.workers[w].registered = true;
                let key = self.consumer(w);
                let grace = self.plan.timing.claim.as_micros();
                let now = self.now;
                self.check.leases.limited(&key, plan.limit, now, grace);
            }
            Err(why) => self.check_full(plan.host, why),
        }
    }

    fn unregister(&mut self, w: usize) {
        let plan = self.workers[w].plan.clone();
        let name = service_name(plan.service);
        let _ = self.input(
            plan.host,
            Input::Unregister {
                service: &name,
                consumer: &plan.name,
            },
        );
        let key = self.consumer(w);
        self.check.leases.unregistered(&key);
        // Takes of a consumer that is gone will never be answered.
        for other in 0..self.workers.len() {
            if self.consumer(other) == key {
                self.workers[other].registered = false;
                let takes = std::mem::take(&mut self.workers[other].takes);
                for tag in takes {
                    self.end_take(other, tag);
                }
            }
        }
        self.begin_later(w);
    }

    fn begin(&mut self, w: usize) {
        if self.closing || !self.workers[w].takes.is_empty() {
            return;
        }
        if self.workers[w].plan.registers && !self.workers[w].registered {
            self.register(w);
        }
        let plan = self.workers[w].plan.clone();
        let tag = Tag(self.number());
        let max = self.rng.people.range(1, u64::from(plan.limit)) as u16;
        let h = plan.host;
        if let Some(live) = self.hosts[h].live.as_mut() {
            live.takes.insert(tag, Taking { worker: w, left: max });
        }
        self.workers[w].takes.push(tag);
        let key = self.consumer(w);
        if self.check.leases.limit(&key).is_none() {
            // Taking under an unknown name registers it with the defaults.
            self.check.leases.limited(&key, 1, 0, 0);
        }
        let name = service_name(plan.service);
        match self.input(
            h,
            Input::Take {
                tag,
                service: &name,
                consumer: &plan.name,
                max,
            },
        ) {
            Ok(_) => {
                let short = self.plan.has(Kind::ShortTake) && !self.healed;
                let most = if short { 100 * MS } else { 30 * SECOND };
                let delay = self.rng.people.spread(MS, most);
                let epoch = self.workers[w].epoch;
                self.after(
                    delay,
                    Event::Work {
                        worker: w,
                        epoch,
                        act: Act::EndTake(tag),
                    },
                );
            }
            Err(why) => {
                self.check_full(h, why);
                if let Some(live) = self.hosts[h].live.as_mut() {
                    live.takes.remove(&tag);
                }
                self.workers[w].takes.retain(|open| *open != tag);
                self.begin_later(w);
            }
        }
    }

    fn end_take(&mut self, w: usize, tag: Tag) {
        let h = self.workers[w].plan.host;
        self.workers[w].takes.retain(|open| *open != tag);
        let open = self.hosts[h]
            .live
            .as_mut()
            .and_then(|live| live.takes.remove(&tag))
            .is_some();
        if open || self.rng.people.chance(100) {
            let _ = self.input(h, Input::TakeEnded { tag });
        }
        if open {
            self.begin_later(w);
        }
    }

    fn begin_later(&mut self, w: usize) {
        let delay = self.rng.people.spread(100, SECOND);
        let epoch = self.workers[w].epoch;
        self.after(
            delay,
            Event::Work {
                worker: w,
                epoch,
                act: Act::Begin,
            },
        );
    }

    /// A delivery: what the worker makes of it.
    pub(crate) fn work_on(&mut self, w: usize, deliver: &Deliver) {
        let token = deliver.token;
        let epoch = self.workers[w].epoch;
        self.workers[w].held.insert(token.attempt(), token);
        let h = self.workers[w].plan.host;
        let open = self.hosts[h]
            .live
            .as_ref()
            .is_some_and(|live| live.takes.contains_key(&deliver.take));
        if !open {
            self.workers[w].takes.retain(|tag| *tag != deliver.take);
            self.begin_later(w);
        }
        let trouble = |kind| self.plan.has(kind) && !self.healed;
        let kinds = [
            (Kind::Silent, 100),
            (Kind::LateAnswer, 100),
            (Kind::Twice, 150),
            (Kind::Forge, 150),
            (Kind::Release, 150),
            (Kind::Extend, 250),
            (Kind::Fail, 150),
            (Kind::WrongVerb, 100),
        ];
        let odd = kinds.map(|(kind, share)| (kind, trouble(kind), share));
        let odd = odd.map(|(kind, on, share)| (kind, self.rng.people.chance(share) && on));
        let is = |kind| odd.contains(&(kind, true));
        let (low, high) = if self.healed {
            (MS, 20 * MS)
        } else {
            self.workers[w].plan.work
        };
        let mut delay = self.rng.people.range(low, high);
        let lease = deliver.lease.as_micros();
        let size = self.rng.people.below(128);
        let mark = self.number();
        let content = Some(Content { mark, size }).filter(|content| content.size > 10);
        if is(Kind::Silent) {
            return;
        }
        let say = |world: &mut Self, delay: Time, token, verb, content| {
            let act = Act::Say(world.saying(w, token, verb, content));
            world.after(
                delay,
                Event::Work {
                    worker: w,
                    epoch,
                    act,
                },
            );
        };
        if is(Kind::Forge) {
            let forged = self.forge(token);
            say(self, delay / 2, forged, right_verb(deliver.send_only), content);
        }
        if is(Kind::Release) {
            return say(self, delay, token, Verb::Release, None);
        }
        if is(Kind::LateAnswer) {
            delay += lease;
        } else if is(Kind::Extend) {
            for renewal in 1..=3 {
                say(self, renewal * lease / 2, token, Verb::Extend, None);
            }
            delay += 3 * lease / 2;
        }
        let verb = if is(Kind::Fail) {
            Verb::Fail
        } else {
            right_verb(deliver.send_only)
        };
        if is(Kind::WrongVerb) {
            say(self, delay, token, right_verb(!deliver.send_only), content);
        }
        // An ack has no payload.
        let content = content.filter(|_| verb != Verb::Ack);
        say(self, delay, token, verb, content);
        if is(Kind::Twice) {
            let again = self.rng.people.spread(1, SECOND);
            let other = Some(Content {
                mark: mark + (1 << 60),
                size: 20,
            })
            .filter(|_| verb != Verb::Ack);
            say(self, delay + again, token, verb, other);
        }
    }

    fn forge(&mut self, mut token: GrantToken) -> GrantToken {
        let rng = &mut self.rng.people;
        match rng.below(6) {
            0 => token.mac[rng.below(16) as usize] ^= 1,
            1 => token.fence.attempt += 1,
            2 => token.message.sequence += rng.range(1, 3),
            3 => token.consumer.0 ^= 1,
            4 => token.node.0 ^= 1,
            _ => token.message.node.0 ^= 1,
        }
        token
    }

    fn say(&mut self, mut saying: Saying) {
        let h = self.workers[saying.worker].plan.host;
        saying.at = self.now;
        let Saying {
            worker,
            token,
            verb,
            content,
            ..
        } = saying;
        let tag = Tag(self.number());
        if let Some(live) = self.hosts[h].live.as_mut() {
            live.sayings.insert(tag, saying);
        }
        self.check.ledger.said(&token, verb, content);
        if verb != Verb::Extend && verb != Verb::Release {
            // Whatever comes of it, the worker has let go.
            self.check.leases.answering(h, token.attempt());
        } else if verb == Verb::Release {
            self.check.leases.over(h, token.attempt());
        }
        let body = content.map(|content| self.new_body(h, content));
        if self
            .input(
                h,
                Input::Answer {
                    tag,
                    token,
                    verb,
                    body,
                },
            )
            .is_err()
        {
            if let Some(live) = self.hosts[h].live.as_mut() {
                live.sayings.remove(&tag);
            }
            if verb != Verb::Extend && verb != Verb::Release {
                self.check.leases.given_back(h, token.attempt());
            }
            self.say_again(worker, saying);
        }
    }

    fn say_again(&mut self, w: usize, saying: Saying) {
        let delay = self.rng.people.spread(10 * MS, 3 * SECOND);
        let epoch = self.workers[w].epoch;
        self.after(
            delay,
            Event::Work {
                worker: w,
                epoch,
                act: Act::Say(saying),
            },
        );
    }

    pub(crate) fn answered(&mut self, saying: Saying, result: Answered) {
        match result {
            Answered::StoreFailed => self.say_again(saying.worker, saying),
            Answered::Done if saying.verb == Verb::Extend => {}
            Answered::Done | Answered::Stale | Answered::Over | Answered::Unknown => {
                self.workers[saying.worker].held.remove(&saying.token.attempt());
            }
            Answered::Busy | Answered::WrongVerb => {}
        }
    }

    pub(crate) fn lost(&mut self, h: usize, token: &GrantToken) {
        for worker in self.workers.iter_mut().filter(|worker| worker.plan.host == h) {
            // Some go on all the same and answer late: that is theirs to do, and what they planned still happens.
            worker.held.remove(&token.attempt());
        }
    }

    /// All workers leave for good.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        for worker in 0..self.workers.len() {
            let (epoch, act) = (self.workers[worker].epoch, Act::Unregister);
            self.after(0, Event::Work { worker, epoch, act });
        }
    }

    /// A worker's process dies and forgets everything; another one takes its place.
    pub(crate) fn worker_crash(&mut self, w: usize) {
        let h = self.workers[w].plan.host;
        self.workers[w].epoch += 1;
        self.workers[w].held.clear();
        let takes = std::mem::take(&mut self.workers[w].takes);
        for tag in takes {
            let open = self.hosts[h]
                .live
                .as_mut()
                .and_then(|live| live.takes.remove(&tag))
                .is_some();
            if open {
                let _ = self.input(h, Input::TakeEnded { tag });
            }
        }
        let epoch = self.workers[w].epoch;
        let delay = self.rng.people.spread(10 * MS, 20 * SECOND);
        self.after(
            delay,
            Event::Work {
                worker: w,
                epoch,
                act: Act::Begin,
            },
        );
    }
}

fn right_verb(send_only: bool) -> Verb {
    if send_only { Verb::Ack } else { Verb::Reply }
}
