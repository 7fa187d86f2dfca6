//! The whole core as a list of messages, a list of consumers and a list of takes.
//!
//! It does not predict which of several right things the core does; it knows which are right, follows what the core
//! did, and then says what the core still owes.

use redlink_core::{
    Answered, Attempts, Deliver, Duration, Fence, GrantToken, Instant, LostWhy, Outcome, Payload, Rate, Row,
    State, StoreOp, Tag, Terms, Verb,
};
use std::collections::{BTreeMap, BTreeSet};

/// Where a message stands.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Place {
    Storing(Tag),
    /// Until then it may be that a worker still holds it.
    Recovering(Instant),
    Waiting,
    /// It is to be some consumer's, when that is on disk.
    Granting(Fence),
    /// That is on disk.
    Granted(Fence),
    Held {
        token: GrantToken,
        consumer: Option<Consumer>,
        until: Instant,
        lease: Duration,
    },
    Settling {
        outcome: Outcome,
        token: Option<GrantToken>,
        asked: Option<Tag>,
        since: Instant,
        /// Its place is taken until the answer that it gave is on disk.
        room: Option<Consumer>,
    },
    Settled,
    Deleting,
}

/// Service and name.
pub(crate) type Consumer = (usize, usize);

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) sequence: u64,
    pub(crate) service: usize,
    /// Its alternate service, and from when on it is offered there.
    pub(crate) alternate: Option<(usize, Instant)>,
    pub(crate) terms: Terms,
    pub(crate) size: u64,
    pub(crate) inserted: u32,
    pub(crate) submitted: Instant,
    /// It is offered to nobody before.
    pub(crate) from: Instant,
    pub(crate) place: Place,
    pub(crate) newest: Option<Fence>,
    pub(crate) tries: u16,
    /// It was chosen for a consumer in this step, though it may be delivered in a later one.
    pub(crate) chosen: bool,
    /// What is on disk of its attempts.
    pub(crate) disk: Attempts,
    /// What the store was asked to write of them.
    pub(crate) asked: Attempts,
    /// The last attempt that was counted as such.
    pub(crate) counted: Option<Fence>,
    /// It waited when the step began: whoever is chosen in this step is chosen before it, or rightly not.
    pub(crate) waited: bool,
    pub(crate) outcome: Option<(Outcome, Option<GrantToken>)>,
    /// When that was decided, and when it was on disk: retention counts from somewhere between.
    pub(crate) settled: Option<(Instant, Instant)>,
}

impl Message {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.terms.ett.map(|ett| self.submitted + ett)
    }

    /// Places that it takes in the table.
    pub(crate) fn places(&self) -> usize {
        let both = !matches!(self.place, Place::Settled | Place::Deleting);
        1 + usize::from(both && self.alternate.is_some())
    }

    /// Whether a consumer of the service may have it.
    fn is_for(&self, service: usize, now: Instant) -> bool {
        let other = self
            .alternate
            .is_some_and(|(other, from)| other == service && from <= now);
        self.from <= now && (self.service == service || other)
    }

    /// The same, since before this moment.
    fn was_for(&self, service: usize, now: Instant) -> bool {
        let other = self
            .alternate
            .is_some_and(|(other, from)| other == service && from < now);
        self.from < now && (self.service == service || other)
    }

    fn late(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    fn open(&self) -> bool {
        matches!(
            self.place,
            Place::Recovering(_)
                | Place::Waiting
                | Place::Granting(_)
                | Place::Granted(_)
                | Place::Held { .. }
        )
    }

    /// What its priority has risen to, in levels; or if it does not rise, only that.
    fn better_than(&self, other: &Self, ageing: Option<Duration>, now: Instant) -> bool {
        let risen = |m: &Self| match ageing {
            None => u128::from(m.terms.priority),
            Some(step) => {
                let levels = u128::from(m.terms.priority) * u128::from(step.as_micros());
                levels + u128::from(m.submitted.until(now).as_micros())
            }
        };
        (risen(self), other.sequence) > (risen(other), self.sequence)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: Consumer,
    pub(crate) limit: u16,
    pub(crate) lease: Duration,
    /// What it may be handed, if it has a rate.
    pub(crate) level: Option<Level>,
}

/// What a rate allows: it rises with time. A token is a day's microseconds, of which every period is a part.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    rate: Rate,
    amount: u128,
    at: Instant,
}

const TOKEN: u128 = 86_400_000_000;

impl Level {
    fn each_micro(&self) -> u128 {
        u128::from(self.rate.count()) * TOKEN / u128::from(self.rate.period().as_micros())
    }

    fn amount(&self, now: Instant) -> u128 {
        let more = u128::from(self.at.until(now).as_micros()) * self.each_micro();
        (self.amount + more).min(u128::from(self.rate.count()) * TOKEN)
    }

    fn set(&mut self, amount: u128, now: Instant) {
        (self.amount, self.at) = (amount, now);
        self.amount = self.amount(now);
    }
}

#[derive(Clone, Debug)]
pub(crate) struct OpenTake {
    pub(crate) tag: Tag,
    pub(crate) consumer: Consumer,
    pub(crate) left: u16,
}

/// What is to come of an answer.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Expected {
    /// One of these, at once.
    One(Vec<Answered>),
    /// `Done`, when its outcome is on disk.
    Stored,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Reference {
    pub(crate) now: Instant,
    pub(crate) ageing: Option<Duration>,
    pub(crate) boot: u32,
    pub(crate) messages: Vec<Message>,
    pub(crate) members: Vec<Member>,
    pub(crate) takes: Vec<OpenTake>,
    /// Answers, outcomes and losses that the core still has to tell.
    answers: BTreeMap<Tag, Expected>,
    tell: BTreeMap<u64, Outcome>,
    lose: BTreeMap<GrantToken, LostWhy>,
    /// Losses that were told before their message's outcome was decided.
    lost_first: BTreeSet<GrantToken>,
    /// What ended in this step by a command: the outcome that is now due.
    ending: BTreeMap<u64, (Outcome, Option<GrantToken>, Option<Tag>)>,
    accept: BTreeSet<Tag>,
    reject: BTreeSet<Tag>,
    /// What was delivered in this step, and to a consumer of which service.
    chosen: Vec<(u64, usize)>,
    collected: BTreeSet<u64>,
}

impl Reference {
    /// An empty node in its first boot.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            now,
            boot: 1,
            ..Self::default()
        }
    }

    pub(crate) fn message(&self, sequence: u64) -> Option<&Message> {
        self.messages.iter().find(|m| m.sequence == sequence)
    }

    fn at(&mut self, sequence: u64) -> &mut Message {
        let found = self.messages.iter_mut().find(|m| m.sequence == sequence);
        found.unwrap_or_else(|| panic!("message {sequence} is not there"))
    }

    pub(crate) fn member(&self, key: Consumer) -> Option<&Member> {
        self.members.iter().find(|member| member.key == key)
    }

    /// How many unexpired leases it has (P4); that it has lost one may be told a moment later.
    fn held_by(&self, key: Consumer) -> usize {
        let holds = |m: &&Message| match &m.place {
            Place::Held {
                token,
                consumer,
                until,
                ..
            } => {
                let ending = self.ending.get(&m.sequence);
                let revoked = ending.is_some_and(|(_, by, _)| *by != Some(*token));
                *consumer == Some(key) && *until > self.now && !m.late(self.now) && !revoked
            }
            Place::Settling { room, .. } => *room == Some(key),
            _ => false,
        };
        self.messages.iter().filter(holds).count()
    }

    fn has_room(&self, key: Consumer) -> bool {
        self.member(key)
            .is_some_and(|member| self.held_by(key) < usize::from(member.limit))
    }

    /// Whether its rate allows one more (P4).
    fn has_token(&self, key: Consumer) -> bool {
        let level = self.member(key).and_then(|member| member.level.as_ref());
        level.is_none_or(|level| level.amount(self.now) >= TOKEN)
    }

    pub(crate) fn register(&mut self, key: Consumer, limit: u16, lease: Duration, rate: Option<Rate>) {
        let now = self.now;
        let old = self.member(key).and_then(|member| member.level.clone());
        self.members.retain(|member| member.key != key);
        let level = rate.map(|rate| match &old {
            Some(old) if old.rate == rate => old.clone(),
            _ => {
                let unit = TOKEN / u128::from(rate.period().as_micros());
                let had = old.as_ref().map_or(TOKEN, |old| old.amount(now));
                let mut level = Level {
                    rate,
                    amount: 0,
                    at: now,
                };
                level.set(had / unit * unit, now);
                level
            }
        });
        self.members.push(Member {
            key,
            limit,
            lease,
            level,
        });
    }

    /// The client of a delivery went before it had it.
    pub(crate) fn unseen(&mut self, token: GrantToken) {
        let now = self.now;
        let place = self.message(token.message.sequence).map(|m| m.place.clone());
        let Some(Place::Held {
            token: holder,
            consumer,
            until,
            lease,
        }) = place
        else {
            return;
        };
        if holder != token {
            return;
        }
        let taken = until - lease;
        for member in self
            .members
            .iter_mut()
            .filter(|member| Some(member.key) == consumer)
        {
            if let Some(level) = &mut member.level {
                let gone = u128::from(taken.until(now).as_micros()) * level.each_micro();
                level.set(level.amount(now) + TOKEN.saturating_sub(gone), now);
            }
        }
        self.at(token.message.sequence).place = Place::Waiting;
    }

    pub(crate) fn begin_step(&mut self) {
        for m in &mut self.messages {
            m.waited = m.place == Place::Waiting;
            m.chosen = !m.terms.at_most_once;
        }
        self.chosen.clear();
    }

    /// What must come of an answer; `consumer` is who gave it, `real` whether the token is one that was granted.
    pub(crate) fn answer(&mut self, tag: Tag, token: GrantToken, verb: Verb, consumer: Consumer, real: bool) {
        let expected = self.judge(tag, token, verb, consumer, real);
        self.answers.insert(tag, expected);
    }

    fn judge(&mut self, tag: Tag, token: GrantToken, verb: Verb, by: Consumer, real: bool) -> Expected {
        let one = |result| Expected::One(vec![result]);
        if !real {
            return one(Answered::Unknown);
        }
        let now = self.now;
        let Some(m) = self.message(token.message.sequence).cloned() else {
            return one(Answered::Over);
        };
        let same = |other: &Option<GrantToken>| *other == Some(token);
        match &m.place {
            Place::Storing(_) => return one(Answered::Unknown),
            Place::Settling { token, .. } if same(token) => return one(Answered::Busy),
            Place::Settled | Place::Deleting if m.outcome.as_ref().is_some_and(|(_, by)| same(by)) => {
                return one(Answered::Done);
            }
            Place::Settling { .. } | Place::Settled | Place::Deleting => return one(Answered::Over),
            Place::Recovering(_)
            | Place::Waiting
            | Place::Granting(_)
            | Place::Granted(_)
            | Place::Held { .. } => {}
        }
        if m.newest.is_some_and(|newest| token.fence < newest) {
            return one(Answered::Stale);
        }
        if m.late(now) {
            return one(Answered::Over);
        }
        let ends = matches!(verb, Verb::Reply | Verb::Ack | Verb::Fail);
        if ends && verb != Verb::Fail && m.terms.send_only != (verb == Verb::Ack) {
            return one(Answered::WrongVerb);
        }
        let held = matches!(&m.place, Place::Held { token: holder, .. } if *holder == token);
        let room = self.has_room(by) || self.member(by).is_none();
        let lease = self
            .member(by)
            .map_or(Duration::from_secs(30), |member| member.lease);
        let refused = verb == Verb::Extend && !held && !room;
        if !held && !refused {
            // After a restart an older attempt may have been the first to say that it holds it.
            self.lose_holder(token.message.sequence, LostWhy::Revoked);
        }
        let at = self.at(token.message.sequence);
        match verb {
            Verb::Extend if held => {
                if let Place::Held { until, lease, .. } = &mut at.place {
                    *until = now + *lease;
                }
                one(Answered::Done)
            }
            Verb::Extend if !room => one(Answered::Stale),
            Verb::Extend => {
                at.newest = Some(token.fence);
                let known = self.members.iter().any(|member| member.key == by);
                let place = Place::Held {
                    token,
                    consumer: Some(by).filter(|_| known),
                    until: now + lease,
                    lease,
                };
                self.at(token.message.sequence).place = place;
                one(Answered::Done)
            }
            Verb::Release | Verb::Return if at.terms.at_most_once => {
                // Whoever took it may have seen it.
                let ends = held || matches!(m.place, Place::Recovering(_) | Place::Held { .. });
                if ends {
                    self.fail(token.message.sequence);
                }
                Expected::One(vec![Answered::Done, Answered::Stale])
            }
            Verb::Release if held => {
                at.place = Place::Waiting;
                one(Answered::Done)
            }
            // After a restart: the newest holder says that nobody has to be waited for.
            Verb::Release | Verb::Return if matches!(m.place, Place::Recovering(_) | Place::Held { .. }) => {
                at.place = Place::Waiting;
                at.newest = Some(token.fence);
                one(Answered::Done)
            }
            // It holds nothing that could be given back.
            Verb::Release | Verb::Return => Expected::One(vec![Answered::Done, Answered::Stale]),
            Verb::Reply | Verb::Ack | Verb::Fail => {
                let outcome = match verb {
                    Verb::Fail => Outcome::Failed,
                    _ if m.terms.send_only => Outcome::Delivered,
                    _ => Outcome::Replied,
                };
                at.newest = Some(token.fence);
                self.ending
                    .insert(token.message.sequence, (outcome, Some(token), Some(tag)));
                Expected::Stored
            }
        }
    }

    /// Its only attempt ended without an answer.
    fn fail(&mut self, sequence: u64) {
        self.ending.insert(sequence, (Outcome::Failed, None, None));
    }

    /// Whether a cancel is taken; then its outcome is due.
    pub(crate) fn cancel(&mut self, sequence: u64) -> bool {
        let open = self.message(sequence).is_some_and(Message::open);
        if open {
            self.lose_holder(sequence, LostWhy::Revoked);
            self.ending.insert(sequence, (Outcome::Cancelled, None, None));
        }
        open
    }

    fn lose_holder(&mut self, sequence: u64, why: LostWhy) {
        if let Place::Held { token, .. } = self.at(sequence).place
            && !self.lost_first.remove(&token)
        {
            self.lose.insert(token, why);
        }
    }

    /// Whether a collect is taken.
    pub(crate) fn collect(&mut self, sequence: u64) -> bool {
        let settled = self
            .message(sequence)
            .is_some_and(|m| matches!(m.place, Place::Settled));
        if settled {
            self.collected.insert(sequence);
        }
        settled
    }

    pub(crate) fn unregister(&mut self, key: Consumer) {
        self.members.retain(|member| member.key != key);
        self.takes.retain(|take| take.consumer != key);
        for m in &mut self.messages {
            match &mut m.place {
                Place::Held { token, consumer, .. } if *consumer == Some(key) => {
                    self.lose.insert(*token, LostWhy::Unregistered);
                    if m.terms.at_most_once {
                        self.ending.insert(m.sequence, (Outcome::Failed, None, None));
                        continue;
                    }
                    m.place = Place::Waiting;
                }
                // Who comes back under the name is another one.
                Place::Settling { room, .. } if *room == Some(key) => *room = None,
                _ => {}
            }
        }
    }

    pub(crate) fn store(&mut self, op: &StoreOp) {
        let now = self.now;
        match *op {
            StoreOp::Insert { tag, sequence } => {
                let m = self.messages.iter_mut().find(|m| m.place == Place::Storing(tag));
                let m = m.expect("an insert for a submit that was taken");
                assert_eq!(m.sequence, 0, "one insert for each submit");
                m.sequence = sequence;
            }
            StoreOp::Attempts { sequence, attempts } => self.attempts(sequence, attempts),
            StoreOp::Settle {
                sequence,
                outcome,
                token,
                ..
            } => {
                let due = self.ending.remove(&sequence);
                let m = self.at(sequence);
                let asked = match (&m.place, due) {
                    (
                        Place::Settling {
                            outcome: first,
                            token: by,
                            ..
                        },
                        _,
                    ) => {
                        assert_eq!((*first, *by), (outcome, token), "nothing else can end it");
                        return;
                    }
                    (_, Some((ending, by, asked))) => {
                        assert!(m.open());
                        assert_eq!((ending, by), (outcome, token), "P2: {m:?}");
                        asked
                    }
                    (_, None) if outcome == Outcome::Dead => {
                        assert!(
                            m.terms.max_attempts > 0 && m.tries >= m.terms.max_attempts,
                            "{m:?}"
                        );
                        None
                    }
                    (_, None) => {
                        assert_eq!(outcome, Outcome::Expired, "{m:?}");
                        assert!(m.open() && m.late(now), "P3: {m:?} at {now:?}");
                        None
                    }
                };
                if outcome == Outcome::Expired {
                    self.lose_holder(sequence, LostWhy::Deadline);
                }
                let m = self.at(sequence);
                let room = match m.place {
                    Place::Held {
                        token: holder,
                        consumer,
                        ..
                    } if token == Some(holder) => consumer,
                    _ => None,
                };
                m.place = Place::Settling {
                    outcome,
                    token,
                    asked,
                    since: now,
                    room,
                };
            }
            StoreOp::Delete { sequence } => {
                let collected = self.collected.contains(&sequence);
                let m = self.at(sequence);
                match m.place {
                    Place::Settled => {
                        let over = m
                            .settled
                            .is_some_and(|(decided, _)| decided + m.terms.retention <= now);
                        assert!(collected || over, "P2: retention of {m:?} at {now:?}");
                    }
                    ref place => assert_eq!(*place, Place::Deleting, "P1"),
                }
                m.place = Place::Deleting;
            }
            StoreOp::Keep { .. } | StoreOp::Drop { .. } => panic!("no reply here is another node's"),
        }
    }

    fn attempts(&mut self, sequence: u64, attempts: Attempts) {
        let m = self.at(sequence);
        assert!(m.open(), "{m:?}");
        m.asked = attempts;
        if !m.terms.at_most_once {
            assert!(m.terms.max_attempts > 0, "nobody counts {m:?}");
            // A newer one may be granted already and not delivered yet.
            assert!(
                attempts.ended == m.tries && attempts.newest >= m.newest,
                "{attempts:?}: {m:?}"
            );
            assert_eq!(attempts.counted, attempts.newest == m.counted, "{m:?}");
            return;
        }
        assert_eq!(attempts.ended, 0, "{m:?}");
        let known = m.newest;
        match (attempts.newest, &m.place) {
            (Some(fence), Place::Granting(before)) if fence == *before => {}
            // Also once more, where the consumer that it was to be for has gone.
            (Some(fence), Place::Waiting | Place::Granting(_) | Place::Granted(_)) => {
                assert!(known.is_none_or(|known| known < fence), "P6: {m:?}");
                m.place = Place::Granting(fence);
                m.newest = Some(fence);
                m.chosen = true;
            }
            // Nobody has taken it.
            (None, Place::Granting(_) | Place::Granted(_) | Place::Waiting) => m.place = Place::Waiting,
            (newest, place) => panic!("{newest:?} at {place:?}"),
        }
    }

    pub(crate) fn stored(&mut self, row: Row, done: bool) {
        let now = self.now;
        match row {
            Row::Insert(sequence) => {
                let m = self.at(sequence);
                let Place::Storing(tag) = m.place else {
                    panic!("{m:?} was stored before")
                };
                if done {
                    m.place = Place::Waiting;
                    self.accept.insert(tag);
                } else {
                    self.reject.insert(tag);
                    self.messages.retain(|m| m.sequence != sequence);
                }
            }
            Row::Attempts(sequence) if done => {
                let m = self.at(sequence);
                m.disk = m.asked;
                if let Place::Granting(fence) = m.place {
                    m.place = Place::Granted(fence);
                }
            }
            Row::Settle(sequence) if done => {
                let m = self.at(sequence);
                let Place::Settling {
                    outcome,
                    token,
                    asked,
                    since,
                    ..
                } = m.place.clone()
                else {
                    panic!("{m:?} was not settling")
                };
                m.outcome = Some((outcome, token));
                m.place = Place::Settled;
                m.settled = Some((since, now));
                self.tell.insert(sequence, outcome);
                if let Some(tag) = asked {
                    self.answers.insert(tag, Expected::One(vec![Answered::Done]));
                }
            }
            Row::Delete(sequence) if done => self.messages.retain(|m| m.sequence != sequence),
            Row::Attempts(_) | Row::Settle(_) | Row::Delete(_) => {}
            Row::Keep(_) | Row::Drop(_) => panic!("no reply here is another node's"),
        }
    }

    pub(crate) fn accepted(&mut self, tag: Tag) {
        assert!(self.accept.remove(&tag), "P1: {tag:?} is not on disk");
    }

    pub(crate) fn rejected(&mut self, tag: Tag) {
        assert!(self.reject.remove(&tag), "{tag:?} did not fail");
    }

    pub(crate) fn settled(&mut self, sequence: u64, outcome: Outcome) {
        assert_eq!(
            self.tell.remove(&sequence),
            Some(outcome),
            "P2: told once, and what is on disk"
        );
    }

    pub(crate) fn answered(&mut self, tag: Tag, result: Answered) {
        match self.answers.remove(&tag) {
            Some(Expected::One(right)) => {
                assert!(right.contains(&result), "{tag:?}: {result:?}, not {right:?}")
            }
            other => panic!("{tag:?} has {result:?}, expected was {other:?}"),
        }
    }

    pub(crate) fn lost(&mut self, token: GrantToken, why: LostWhy) {
        if let Some(due) = self.lose.remove(&token) {
            assert_eq!(due, why, "{token:?}");
            return;
        }
        // Its own deadline may be told before its message's outcome is decided.
        let now = self.now;
        let m = self.at(token.message.sequence);
        let Place::Held {
            token: holder, until, ..
        } = &m.place
        else {
            panic!("{m:?} is lost and not held")
        };
        assert_eq!(*holder, token);
        match why {
            LostWhy::Lease => {
                assert!(*until <= now, "P6: {m:?} loses its lease early");
                if m.counted != Some(token.fence) {
                    m.counted = Some(token.fence);
                    m.tries += 1;
                }
                if m.terms.at_most_once {
                    self.fail(token.message.sequence);
                } else {
                    m.place = Place::Waiting;
                }
            }
            LostWhy::Deadline => {
                assert!(m.late(now));
                self.lost_first.insert(token);
            }
            LostWhy::Revoked | LostWhy::Unregistered => panic!("{m:?} is lost: {why:?}"),
        }
    }

    pub(crate) fn delivered(&mut self, deliver: &Deliver) {
        let token = deliver.token;
        let sequence = token.message.sequence;
        let take = self
            .takes
            .iter_mut()
            .find(|take| take.tag == deliver.take)
            .expect("an open take");
        take.left -= 1;
        let key = take.consumer;
        self.takes.retain(|take| take.left > 0);
        assert!(self.has_room(key), "P4: {key:?}");
        assert!(self.has_token(key), "P4: {key:?} has more than its rate");
        let now = self.now;
        for member in self.members.iter_mut().filter(|member| member.key == key) {
            if let Some(level) = &mut member.level {
                level.set(level.amount(now) - TOKEN, now);
            }
        }
        let lease = self.member(key).expect("a consumer").lease;
        let (now, boot) = (self.now, self.boot);
        let m = self.at(sequence);
        let free = if m.terms.at_most_once {
            Place::Granted(token.fence)
        } else {
            Place::Waiting
        };
        assert_eq!(m.place, free, "P6: {m:?}");
        assert!(!m.late(now), "P3: {m:?}");
        assert!(m.from <= now, "{m:?} is delivered too soon");
        assert!(
            m.newest.is_none_or(|newest| newest < token.fence) || m.terms.at_most_once,
            "P6: {m:?} and {:?}",
            token.fence
        );
        assert_eq!((token.fence.boot, token.inserted), (boot, m.inserted));
        assert!(m.is_for(key.0, now), "{m:?} is not for {key:?}");
        let size = m.size;
        let payload = Payload::Own { sequence, size };
        assert_eq!(deliver.payload, payload);
        assert_eq!(
            (deliver.send_only, deliver.priority),
            (m.terms.send_only, m.terms.priority)
        );
        assert_eq!(
            deliver.remaining,
            m.deadline().map(|deadline| now.until(deadline))
        );
        // Another one may count by now for what was chosen before.
        assert!(deliver.lease == lease || !m.chosen, "{deliver:?}");
        let lease = deliver.lease;
        m.newest = Some(token.fence);
        m.place = Place::Held {
            token,
            consumer: Some(key),
            until: now + lease,
            lease,
        };
        if m.chosen {
            self.chosen.push((sequence, key.0));
        }
    }

    /// Everything that the core had to do is done. `full`: it had no slot for another delivery.
    pub(crate) fn end_step(&self) {
        assert!(
            self.answers
                .values()
                .all(|expected| *expected == Expected::Stored),
            "{:?}",
            self.answers
        );
        assert!(
            self.accept.is_empty() && self.reject.is_empty(),
            "{:?} {:?}",
            self.accept,
            self.reject
        );
        assert!(
            self.tell.is_empty(),
            "outcomes that were not told: {:?}",
            self.tell
        );
        assert!(self.lose.is_empty(), "losses that were not told: {:?}", self.lose);
        assert!(
            self.ending.is_empty(),
            "outcomes that were not decided: {:?}",
            self.ending
        );
        for m in &self.messages {
            assert!(!m.open() || !m.late(self.now), "P3: {m:?} at {:?}", self.now);
            let dead = m.terms.max_attempts > 0 && m.tries >= m.terms.max_attempts;
            assert!(!m.open() || !dead, "{m:?} has used up its attempts");
            match m.place {
                Place::Held { until, .. } => assert!(until > self.now, "P6: {m:?} at {:?}", self.now),
                Place::Settled => {
                    let over = m
                        .settled
                        .is_none_or(|(_, stored)| stored + m.terms.retention <= self.now)
                        || self.collected.contains(&m.sequence);
                    assert!(!over, "{m:?} is kept too long, at {:?}", self.now);
                }
                Place::Waiting => self.check_waiting(m),
                _ => {}
            }
        }
    }

    fn check_waiting(&self, m: &Message) {
        let served = self.takes.iter().any(|take| {
            m.is_for(take.consumer.0, self.now)
                && self.has_room(take.consumer)
                && self.has_token(take.consumer)
        });
        // Which consumer's places are taken for these is not seen from outside.
        let coming = |m: &Message| matches!(m.place, Place::Granting(_) | Place::Granted(_));
        let served = served && !self.messages.iter().any(coming);
        assert!(
            !served,
            "{m:?} waits, and there is room for it: {:?} {:?}",
            self.takes, self.members
        );
        // P5: it waited all the time, so nothing that was chosen meanwhile may be worse.
        for &(chosen, service) in &self.chosen {
            let Some(chosen) = self.message(chosen) else {
                continue;
            };
            let beaten =
                m.waited && m.was_for(service, self.now) && m.better_than(chosen, self.ageing, self.now);
            assert!(!beaten, "P5: {chosen:?} was chosen before {m:?}");
        }
    }

    /// What a view of the core must say about a message.
    pub(crate) fn state(&self, m: &Message) -> State {
        match m.place {
            Place::Storing(_) => State::Storing,
            Place::Recovering(_) => State::Recovering,
            Place::Waiting if m.from > self.now => State::Delayed,
            Place::Waiting => State::Waiting,
            Place::Granting(_) => State::Granting,
            Place::Granted(_) | Place::Held { .. } => State::Granted,
            Place::Settling { .. } => State::Settling,
            Place::Settled => State::Settled,
            Place::Deleting => State::Deleting,
        }
    }

    /// The process ends and starts again; what the disk has is what there is.
    pub(crate) fn restart(&mut self, boot: u32, recovery: Duration) {
        let until = self.now + recovery;
        self.boot = boot;
        self.members.clear();
        self.takes.clear();
        self.answers.clear();
        self.tell.clear();
        self.lose.clear();
        self.ending.clear();
        self.accept.clear();
        self.reject.clear();
        self.collected.clear();
        self.messages.retain(|m| !matches!(m.place, Place::Storing(_)));
        for m in &mut self.messages {
            m.newest = m.disk.newest;
            m.tries = m.disk.ended;
            m.counted = m.disk.newest.filter(|_| m.disk.counted);
            m.place = match m.place {
                // A deletion that was under way never reached the disk.
                Place::Settled | Place::Deleting => Place::Settled,
                _ => Place::Recovering(until),
            };
        }
    }

    /// Recovery windows that are over.
    pub(crate) fn recovered(&mut self) {
        for m in &mut self.messages {
            if !matches!(m.place, Place::Recovering(until) if until <= self.now) {
                continue;
            }
            if m.late(self.now) {
                continue;
            }
            if m.terms.at_most_once && m.disk.newest.is_some() {
                self.ending.insert(m.sequence, (Outcome::Failed, None, None));
            } else {
                m.place = Place::Waiting;
            }
        }
    }
}
