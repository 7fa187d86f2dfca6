//! Workers of every character: quick, slow, silent, late, forgetful, lying.

use crate::disk::Content;
use crate::host::{Taking, service_name};
use crate::scenario::{Kind, MS, SECOND, Scenario, Time, WorkerPlan};
use crate::world::{Event, World};
use redlink_core::{Answered, Deliver, Duration, GrantToken, Input, Tag, Verb};
use std::collections::BTreeMap;

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
    /// Changes its rate.
    Repace,
    /// Leaves.
    Unregister,
    /// Its client was gone when this came.
    Unseen(GrantToken),
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
            Act::Repace => {
                if self.workers[w].plan.rate.is_some() {
                    let rate = Scenario::draw_rate(&mut self.rng.people);
                    self.workers[w].plan.rate = Some(rate);
                    self.register(w);
                }
            }
            Act::Unregister => self.unregister(w),
            Act::Unseen(token) => self.unseen(w, token),
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
            rate: plan.rate,
        };
        match self.input(plan.host, input) {
            Ok(_) => {
                self.workers[w].registered = true;
                let key = self.consumer(w);
                let grace = self.plan.timing.claim.as_micros();
                let now = self.now;
                self.check.leases.limited(&key, plan.limit, now, grace);
                let local = self.hosts[plan.host].local(now);
                self.check.rates.registered(&key, plan.rate, local);
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
        self.check.rates.unregistered(&key);
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
        let paced = self.workers[w].plan.rate.is_some();
        if self.workers[w].plan.registers && (!self.workers[w].registered || paced) {
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

    /// The client of a delivery went before it had it: the node says so, for nobody has seen it.
    fn unseen(&mut self, w: usize, token: GrantToken) {
        let (h, attempt) = (self.workers[w].plan.host, token.attempt());
        let _ = self.input(h, Input::Unseen { token });
        self.check.leases.over(h, attempt);
        let key = self.consumer(w);
        self.check.rates.unseen(&key, attempt);
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
        if trouble(Kind::Unseen) && self.rng.people.chance(150) {
            self.workers[w].held.remove(&token.attempt());
            let delay = self.rng.people.spread(1, SECOND);
            let act = Act::Unseen(token);
            let worker = w;
            self.after(delay, Event::Work { worker, epoch, act });
            return;
        }
        let verdict = self.check.ledger.seen(&token, &self.check.lies);
        self.check.verdict(verdict);
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
        let direct = self.rng.people.chance(400);
        if self
            .input(
                h,
                Input::Answer {
                    tag,
                    token,
                    verb,
                    body,
                    direct,
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
