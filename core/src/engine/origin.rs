//! Messages of this node, from submit or recovery to the end of their retention.

use super::place::Offer;
use super::slots::{Holder, Message, MessageOut, State, Writing};
use super::tables::Entity;
use super::{Core, Pending};
use crate::data::list::ListLinks;
use crate::data::slab::Ix;
use crate::data::tree::TreeLinks;
use crate::id::{ConsumerKey, Fence, NodeId};
use crate::input::{Alternate, Body, Outcome, Row, StoredMessage, StoredOutcome, Submit, Tag, Terms};
use crate::name::Name;
use crate::output::{Bound, LostWhy, Misuse, Refused};
use crate::time::{Duration, Instant};
use crate::wire::Taken;

/// Messages that one timer call takes out of recovery.
const RECOVERY_BATCH: usize = 256;

fn millis(d: Duration) -> u32 {
    u32::try_from(d.as_millis()).unwrap_or(u32::MAX)
}

pub(super) fn from_millis(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

impl Core<'_> {
    /// A message slot with nothing decided yet.
    fn blank(
        &self,
        sequence: u64,
        inserted: u32,
        service: Ix,
        terms: &Terms,
        size: u64,
        born: Instant,
    ) -> Message {
        Message {
            sequence,
            rank: self.rank(born, terms.priority),
            deadline: terms.ett.map(|ett| born + ett),
            wake: None,
            size,
            tag: Tag(0),
            body: None,
            fence: Fence::default(),
            holder_node: NodeId::default(),
            holder_key: ConsumerKey::default(),
            reply_size: 0,
            inserted,
            service,
            reoffer_ms: millis(terms.reoffer).max(1),
            retention_ms: millis(terms.retention),
            lease_ms: 0,
            lease_until: born,
            session: 0,
            state: State::Storing,
            priority: terms.priority,
            send_only: terms.send_only,
            at_most_once: terms.at_most_once,
            tries: 0,
            counted: false,
            max_attempts: terms.max_attempts,
            writing: Writing::No,
            outcome: None,
            reply_verb: None,
            answered: false,
            overdue: false,
            alternate: false,
            by_alternate: false,
            direct: terms.direct,
            reversed: false,
            reply_direct: false,
            twin: None,
            holder: Holder::None,
            copies: [None; super::slots::COPIES],
            out: MessageOut::default(),
            tree: TreeLinks::default(),
            list: ListLinks::default(),
        }
    }

    fn insert_message(&mut self, message: Message) -> Result<Ix, Refused> {
        let (service, hash) = (message.service, Self::message_hash(self.seed(), message.sequence));
        let ix = self
            .messages
            .insert(message)
            .map_err(|_| Refused::Full(Bound::Messages))?;
        self.services[service].messages += 1;
        let (seed, messages) = (self.seed(), &self.messages);
        self.message_index
            .insert(hash, ix, |at| Self::message_hash(seed, messages[at].sequence));
        Ok(ix)
    }

    /// One place, and another for a second offer.
    fn room_for_message(&self, alternate: bool) -> Result<(), Refused> {
        let free = self.messages.capacity() - self.messages.len();
        if free <= usize::from(alternate) {
            return Err(Refused::Full(Bound::Messages));
        }
        Ok(())
    }

    fn alternate_name(
        service: &Name,
        alternate: Option<Alternate<'_>>,
    ) -> Result<Option<(Name, Duration)>, Refused> {
        let Some(Alternate { service: name, after }) = alternate else {
            return Ok(None);
        };
        let name = Self::name(name)?;
        if name == *service {
            return Err(Refused::Misuse(Misuse::Alternate));
        }
        Ok(Some((name, after)))
    }

    /// Files a message, and its second offer if it has one; [`Core::room_for_message`] has been asked.
    fn file_message(
        &mut self,
        message: Message,
        terms: &Terms,
        alternate: Option<(Name, Instant)>,
    ) -> Result<Ix, Refused> {
        let (sequence, inserted) = (message.sequence, message.inserted);
        let (size, service) = (message.size, message.service);
        let born = self.born(message.rank, message.priority);
        let Some((name, from)) = alternate else {
            return self.insert_message(message);
        };
        let other = match self.service(&name) {
            Ok(other) => other,
            Err(refused) => {
                self.drop_idle_service(service);
                return Err(refused);
            }
        };
        let ix = self.insert_message(message)?;
        let twin = self.blank(sequence, inserted, other, terms, size, born);
        self.add_alternate(ix, twin, from);
        Ok(ix)
    }

    /// Forgets a message. All of its outputs that matter have been polled or are moved aside first.
    fn free_message(&mut self, ix: Ix) {
        self.drop_alternate(ix);
        let (seed, messages) = (self.seed(), &self.messages);
        let hash = Self::message_hash(seed, messages[ix].sequence);
        self.message_index
            .remove(hash, ix, |at| Self::message_hash(seed, messages[at].sequence));
        self.set_timer(Entity::Message(ix), None);
        let gone = self.messages.remove(ix);
        self.services[gone.service].messages -= 1;
        self.drop_idle_service(gone.service);
    }

    pub(super) fn submit(&mut self, submit: &Submit<'_>) -> Result<(), Refused> {
        if self.draining {
            return Err(Refused::Draining);
        }
        let name = Self::name(submit.service)?;
        let alternate = Self::alternate_name(&name, submit.alternate)?;
        let delay = submit.terms.not_before;
        if delay > Duration::ZERO && submit.terms.ett.is_some_and(|ett| ett <= delay) {
            return Err(Refused::Misuse(Misuse::NotBefore));
        }
        self.room_for_message(alternate.is_some())?;
        let service = self.service(&name)?;
        let sequence = self.next_sequence;
        let inserted = self.config.boot.counter;
        let mut message = self.blank(sequence, inserted, service, &submit.terms, submit.size, self.now);
        message.tag = submit.tag;
        message.out.insert = true;
        let now = self.now;
        message.lease_until = now + delay;
        let alternate = alternate.map(|(name, after)| (name, now + after));
        let ix = self.file_message(message, &submit.terms, alternate)?;
        self.next_sequence += 1;
        self.counters.submitted += 1;
        self.touch(Entity::Message(ix));
        Ok(())
    }

    pub(super) fn recover_message(&mut self, stored: &StoredMessage<'_>) -> Result<(), Refused> {
        let name = Self::name(stored.service)?;
        if stored.sequence >= self.config.next_sequence || self.find_message(stored.sequence).is_some() {
            return Err(Refused::Misuse(Misuse::Sequence));
        }
        let alternate = Self::alternate_name(&name, stored.alternate)?;
        self.room_for_message(alternate.is_some())?;
        let service = self.service(&name)?;
        let born = self.now - stored.age;
        let mut message = self.blank(
            stored.sequence,
            stored.inserted,
            service,
            &stored.terms,
            stored.size,
            born,
        );
        // What is left counts from now on, however far back `born` could be placed.
        message.deadline = stored.terms.ett.map(|left| self.now + left);
        message.state = State::Recovering;
        message.recall(&stored.attempts);
        let overdue = message.deadline.is_some_and(|at| at <= self.now);
        message.overdue = overdue;
        // As the deadline: what is left of it counts from now on.
        let left = |after: Duration| after.as_micros().saturating_sub(stored.age.as_micros());
        let now = self.now;
        message.lease_until = now + Duration::from_micros(left(stored.terms.not_before));
        let alternate = alternate.map(|(name, after)| (name, now + Duration::from_micros(left(after))));
        let ix = self.file_message(message, &stored.terms, alternate)?;
        self.recovering.push_back(&mut self.messages, ix);
        if overdue {
            self.overdue += 1;
            self.settle(ix, Outcome::Expired, false, None);
        } else {
            self.time_message(ix);
        }
        Ok(())
    }

    pub(super) fn recover_outcome(&mut self, stored: &StoredOutcome) -> Result<(), Refused> {
        if stored.sequence >= self.config.next_sequence || self.find_message(stored.sequence).is_some() {
            return Err(Refused::Misuse(Misuse::Sequence));
        }
        if self.messages.is_full() {
            return Err(Refused::Full(Bound::Messages));
        }
        // The outcome's service is no longer of interest; it is filed under a name of its own.
        let name = Self::name("_")?;
        let service = self.service(&name)?;
        let terms = Terms {
            ett: None,
            retention: stored.retention,
            ..Terms::default()
        };
        let mut message = self.blank(stored.sequence, 0, service, &terms, 0, self.now);
        message.state = State::Settled;
        message.outcome = Some(stored.outcome);
        message.fence = stored.fence.unwrap_or_default();
        message.answered = stored.fence.is_some();
        message.wake = Some(self.now + stored.retention);
        let ix = self.insert_message(message)?;
        if stored.outcome == Outcome::Delivered {
            self.keep_delivered(ix);
        }
        self.time_message(ix);
        Ok(())
    }

    pub(super) fn start(&mut self) {
        self.started = true;
        self.started_at = self.now;
        if !self.recovering.is_empty() {
            self.set_timer(Entity::Core, Some(self.now + self.config.timing.recovery));
        }
    }

    /// The recovery window is over: what nobody asserted is offered again, a bounded number at a time.
    pub(super) fn recovery_over(&mut self) {
        for _ in 0..RECOVERY_BATCH {
            let Some(ix) = self.recovering.front() else { break };
            if self.messages[ix].was_granted() {
                let late = self.is_late(self.messages[ix].deadline);
                let outcome = if late { Outcome::Expired } else { Outcome::Failed };
                self.settle(ix, outcome, false, None);
                continue;
            }
            self.leave_state(ix);
            self.enter_open(ix);
        }
        let again = (!self.recovering.is_empty()).then_some(self.now);
        self.set_timer(Entity::Core, again);
    }

    /// Stops accepting, granting and offering; reservations here go back to where they came from.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        let mut cursor = None;
        while let Some(s) = self.services.next_live(cursor) {
            cursor = Some(s);
            while let Some(ix) = self.services[s].offered.first() {
                self.unplace_all(Offer::Message(ix));
                self.back_to_waiting(Offer::Message(ix));
            }
            while let Some(c) = self.services[s].hungry.front() {
                self.services[s].hungry.remove(&mut self.consumers, c);
            }
            self.routes_changed(s);
        }
    }

    pub(super) fn cancel(&mut self, sequence: u64) -> Result<(), Refused> {
        let ix = self.find_message(sequence).ok_or(Refused::Unknown)?;
        match self.messages[ix].state {
            State::Recovering
            | State::Delayed
            | State::Waiting
            | State::Offered
            | State::Granting
            | State::Granted => {
                if self.is_late(self.messages[ix].deadline) {
                    // P3: past its deadline a message has expired, whatever comes first.
                    self.end(ix, Outcome::Expired, LostWhy::Deadline);
                } else {
                    self.end(ix, Outcome::Cancelled, LostWhy::Revoked);
                }
                Ok(())
            }
            State::Storing | State::Deleting | State::Aside => Err(Refused::Unknown),
            State::Settling | State::Settled => Err(Refused::State),
        }
    }

    pub(super) fn collect(&mut self, sequence: u64) -> Result<(), Refused> {
        let ix = self.find_message(sequence).ok_or(Refused::Unknown)?;
        match self.messages[ix].state {
            State::Settled => {
                self.end_retention(ix);
                Ok(())
            }
            State::Storing | State::Deleting => Err(Refused::Unknown),
            _ => Err(Refused::State),
        }
    }

    /// The store has answered about a message or outcome of this node.
    pub(super) fn stored_message(&mut self, row: Row, sequence: u64, done: bool) -> Result<(), Refused> {
        let misuse = Refused::Misuse(Misuse::Row);
        let ix = self.find_message(sequence).ok_or(misuse)?;
        let m = &mut self.messages[ix];
        match (row, m.state) {
            (Row::Attempts(_), _) if m.writing == Writing::Asked => self.attempts_written(ix, done),
            (Row::Insert(_), State::Storing) if !m.out.insert => {
                if done {
                    m.out.accepted = true;
                    self.counters.accepted += 1;
                    self.enter_open(ix);
                } else {
                    let tag = m.tag;
                    self.say(Pending::Rejected { tag });
                    self.free_message(ix);
                }
            }
            (Row::Settle(_), State::Settling) if !m.out.settle => {
                if done {
                    self.settled_on_disk(ix);
                } else {
                    // Whoever brought the outcome about waits for the next try: it must not do its work again.
                    m.wake = Some(self.now + self.config.timing.store_retry);
                    self.time_message(ix);
                }
            }
            (Row::Delete(_), State::Deleting) if !m.out.delete => {
                if done {
                    self.tell_before_forgetting(ix);
                    self.free_message(ix);
                } else {
                    m.wake = Some(self.now + self.config.timing.store_retry);
                    self.time_message(ix);
                }
            }
            _ => return Err(misuse),
        }
        Ok(())
    }

    fn settled_on_disk(&mut self, ix: Ix) {
        self.set_state(ix, State::Settled);
        // Not sooner: after a crash before this the message is found on disk, and needs both places.
        self.drop_alternate(ix);
        let m = &mut self.messages[ix];
        m.out.settled = true;
        m.out.free = m.body.is_some();
        m.out.tell = matches!(m.holder, Holder::Peer(_));
        m.wake = Some(self.now + from_millis(m.retention_ms));
        if m.overdue {
            m.overdue = false;
            self.overdue -= 1;
        }
        let outcome = m.outcome;
        self.counters.settled += 1;
        self.answer_stored(ix);
        if outcome == Some(Outcome::Delivered) {
            self.keep_delivered(ix);
        }
        self.time_message(ix);
        self.touch(Entity::Message(ix));
    }

    /// Uncollected outcomes `Delivered` are kept up to a number: the oldest gives way.
    fn keep_delivered(&mut self, ix: Ix) {
        self.delivered.push_back(&mut self.messages, ix);
        if self.delivered.len() > self.config.delivered_kept as usize
            && let Some(oldest) = self.delivered.front()
        {
            self.end_retention(oldest);
        }
    }

    pub(super) fn end_retention(&mut self, ix: Ix) {
        if self.messages[ix].outcome == Some(Outcome::Delivered) {
            self.delivered.remove(&mut self.messages, ix);
        }
        self.set_state(ix, State::Deleting);
        let m = &mut self.messages[ix];
        m.out.delete = true;
        m.wake = None;
        self.time_message(ix);
        self.touch(Entity::Message(ix));
    }

    /// Tries the store again after it failed.
    pub(super) fn store_again(&mut self, ix: Ix) {
        let m = &mut self.messages[ix];
        m.wake = None;
        match m.state {
            State::Settling => m.out.settle = true,
            State::Deleting => m.out.delete = true,
            _ => return,
        }
        self.time_message(ix);
        self.touch(Entity::Message(ix));
    }

    /// What the holder's node was to be told goes the other way if the slot goes first.
    fn tell_before_forgetting(&mut self, ix: Ix) {
        let m = &self.messages[ix];
        if let (true, Holder::Peer(peer)) = (m.out.tell, m.holder) {
            let taken = if m.answered { Taken::Done } else { Taken::Over };
            let token = self.token_of(ix);
            self.say(Pending::Settled { peer, token, taken });
        }
        if let (true, Some(body)) = (self.messages[ix].out.free, self.messages[ix].body) {
            self.say(Pending::Free(body));
        }
    }

    /// Ends an open message without an answer: expired, cancelled, dead. Whoever holds it is told.
    pub(super) fn end(&mut self, ix: Ix, outcome: Outcome, why: LostWhy) {
        let ix = self.principal(ix);
        if self.messages[ix].holder == Holder::Local {
            self.lose_local(ix, why);
        }
        self.settle(ix, outcome, false, None);
    }

    /// Chooses the one outcome of an open message (P2). From here on nothing else can end it.
    pub(super) fn settle(&mut self, ix: Ix, outcome: Outcome, answered: bool, body: Option<Body>) {
        let service = self.messages[ix].service;
        self.deny_grant(ix);
        self.leave_state(ix);
        self.set_state(ix, State::Settling);
        let m = &mut self.messages[ix];
        m.outcome = Some(outcome);
        m.answered = answered;
        m.body = body;
        m.reply_verb = None;
        m.wake = None;
        m.out.attempts = false;
        m.out.settle = m.stop_writing();
        m.out.grant = false;
        m.out.fetch = false;
        self.time_message(ix);
        self.touch(Entity::Message(ix));
        self.fill(service);
    }

    /// Takes the message out of the tree or list that its state has it in; its copies are retracted.
    pub(super) fn leave_state(&mut self, ix: Ix) {
        let m = &self.messages[ix];
        let (state, service, holder) = (m.state, m.service, m.holder);
        match state {
            State::Recovering => self.recovering.remove(&mut self.messages, ix),
            State::Waiting => self.services[service].waiting.remove(&mut self.messages, ix),
            State::Offered => {
                self.unplace_all(Offer::Message(ix));
                self.services[service].offered.remove(&mut self.messages, ix);
            }
            State::Granting | State::Granted => match holder {
                Holder::Peer(peer) => self.peers[peer].granted.remove(&mut self.messages, ix),
                Holder::Away(_) => self.away.remove(&mut self.messages, ix),
                Holder::None | Holder::Local => {}
            },
            State::Storing
            | State::Delayed
            | State::Settling
            | State::Settled
            | State::Deleting
            | State::Aside => {}
        }
        // What stood behind it may be for a consumer that could not have it.
        if matches!(state, State::Waiting | State::Offered)
            && let Some(c) = self.services[service].hungry.front()
            && !self.consumers[c].has_place_for_own()
        {
            self.touch(Entity::Consumer(c));
        }
        self.put_alternate_aside(ix);
    }

    /// A message that nobody has had, in this life at least: free for anyone, now or when its time has come.
    fn enter_open(&mut self, ix: Ix) {
        let from = self.messages[ix].lease_until;
        if from <= self.now {
            return self.enter_waiting(ix);
        }
        self.set_state(ix, State::Delayed);
        self.messages[ix].wake = Some(from);
        self.time_message(ix);
        self.touch(Entity::Message(ix));
    }

    /// After `leave_state`: the message is free for anyone. A local consumer with room gets it at once, else it is
    /// placed at peers.
    pub(super) fn enter_waiting(&mut self, ix: Ix) {
        self.set_state(ix, State::Waiting);
        let m = &mut self.messages[ix];
        m.holder = Holder::None;
        m.wake = None;
        m.out.grant = false;
        let service = m.service;
        self.services[service].waiting.insert(&mut self.messages, ix);
        self.time_message(ix);
        self.touch(Entity::Message(ix));
        self.match_service(service);
        if self.messages[ix].state == State::Waiting {
            self.place(ix);
        }
        self.offer_alternate(ix);
    }

    /// A granted message is free again: released, lost, or its lease ran out.
    pub(super) fn requeue(&mut self, ix: Ix) {
        self.leave_state(ix);
        self.enter_waiting(ix);
    }

    /// A lease ran out: one more try, or none left (P6).
    pub(super) fn lease_over(&mut self, ix: Ix) {
        self.counters.leases_over += 1;
        let m = &mut self.messages[ix];
        if m.at_most_once {
            return self.unanswered(ix);
        }
        let fresh = !m.counted;
        if fresh {
            m.counted = true;
            m.tries = m.tries.saturating_add(1);
        }
        let limited = m.max_attempts > 0;
        if limited && m.tries >= m.max_attempts {
            return self.settle(ix, Outcome::Dead, false, None);
        }
        if fresh && limited {
            self.write_attempts(ix);
        }
        self.requeue(ix);
    }

    /// This is the newest attempt.
    pub(super) fn newest(&mut self, ix: Ix, fence: Fence) {
        let m = &mut self.messages[ix];
        m.counted &= m.fence == fence;
        m.fence = fence;
    }

    /// The next attempt's fence.
    pub(super) fn next_fence(&self, ix: Ix) -> Fence {
        let (last, boot) = (self.messages[ix].fence, self.config.boot.counter);
        let attempt = if last.boot == boot { last.attempt + 1 } else { 1 };
        Fence { boot, attempt }
    }

    /// Sets the slot's timer to the soonest of its times.
    pub(super) fn time_message(&mut self, ix: Ix) {
        let m = &self.messages[ix];
        let deadline = if m.state.is_open() && m.state != State::Storing {
            m.deadline
        } else {
            None
        };
        let again = (m.writing == Writing::Failed).then_some(self.write_again);
        let at = [deadline, m.wake, again].into_iter().flatten().min();
        self.set_timer(Entity::Message(ix), at);
    }

    /// Whether a message's deadline has passed (P3).
    pub(super) fn is_late(&self, deadline: Option<Instant>) -> bool {
        deadline.is_some_and(|at| at <= self.now)
    }
}
