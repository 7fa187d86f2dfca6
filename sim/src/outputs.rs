//! What a core wants done, and whether it may want it.

use crate::check::order::Choice;
use crate::disk::{MessageRow, OutcomeRow, ReplyRow, Write};
use crate::host::span;
use crate::scenario::Time;
use crate::world::{Event, Transfer, World};
use redlink_core::{
    Answered, Deliver, GrantToken, Instant, LinkId, LostWhy, MessageId, Notice, Output, Part, Payload,
    StoreOp, Tag, Verb,
};

impl World {
    pub(crate) fn on_output(&mut self, h: usize, output: Output, buffer: &[u8]) {
        match &output {
            Output::Frame { link, len, attached } => {
                let (link, len, attached) = (*link, *len, *attached);
                self.on_frame_out(h, link, &buffer[..len], attached);
                return;
            }
            Output::Store(_)
            | Output::Accepted { .. }
            | Output::Rejected { .. }
            | Output::Settled { .. }
            | Output::Deliver(_)
            | Output::Answered { .. }
            | Output::Lost { .. }
            | Output::Fetch { .. }
            | Output::FetchDirect { .. }
            | Output::CloseLink { .. }
            | Output::Free(_)
            | Output::Notice(_) => self.log.line(self.now, format_args!("{h} > {output:?}")),
        }
        match output {
            Output::Store(op) => self.on_store_op(h, op),
            Output::Accepted { tag, sequence } => self.on_accepted(h, tag, sequence),
            Output::Rejected { tag } => {
                let known = self.hosts[h]
                    .live
                    .as_mut()
                    .and_then(|live| live.submits.remove(&tag));
                if known.is_none() {
                    self.check
                        .fail("contract", format!("{tag:?} is rejected and was not submitted"));
                }
            }
            Output::Settled { sequence, outcome } => {
                let id = self.own(h, sequence);
                let verdict = self.check.ledger.told(id, outcome);
                self.check.verdict(verdict);
            }
            Output::Deliver(deliver) => self.on_deliver(h, &deliver),
            Output::Answered { tag, result } => self.on_answered(h, tag, result),
            Output::Lost { token, why } => self.on_lost(h, &token, why),
            Output::Fetch {
                link,
                token,
                part,
                size,
                direct: false,
            } => self.on_fetch(h, link, token, part, size),
            Output::Fetch { token, .. } => self.expect(h, token),
            Output::FetchDirect { token, size, address } => self.fetch_direct(h, token, size, address),
            Output::CloseLink { link, fault } => self.on_close(h, link, fault),
            Output::Free(body) => {
                let known = self.hosts[h]
                    .live
                    .as_mut()
                    .and_then(|live| live.bodies.remove(&body.id));
                if known.is_none_or(|content| content.size != body.size) {
                    self.check.fail(
                        "bodies",
                        format!("node {h} frees {body:?}, which it does not hold"),
                    );
                }
            }
            Output::Notice(Notice::SessionDown { link }) => self.check.order.link_gone(h, link),
            Output::Notice(Notice::SessionUp { .. } | Notice::Cycle { .. }) | Output::Frame { .. } => {}
        }
    }

    /// The id of a node's own message.
    pub(crate) fn own(&self, h: usize, sequence: u64) -> MessageId {
        MessageId {
            node: self.hosts[h].node,
            sequence,
        }
    }

    fn on_store_op(&mut self, h: usize, op: StoreOp) {
        let now = self.now;
        let write = match op {
            StoreOp::Insert { tag, sequence } => {
                let (inserted, drift) = (self.hosts[h].disk.boots, self.hosts[h].drift);
                let submit = self.hosts[h].live.as_mut().and_then(|live| {
                    live.rows.insert(sequence);
                    live.submits.get_mut(&tag)
                });
                let Some(submit) = submit else {
                    self.check
                        .fail("contract", format!("insert for {tag:?}, which was not submitted"));
                    return;
                };
                submit.sequence = Some(sequence);
                let deadline_at = submit
                    .terms
                    .ett
                    .map(|ett| submit.at + span(drift, ett.as_micros()));
                // What is rounded is rounded in favour of the node.
                let from = submit.at + span(drift, submit.terms.not_before.as_micros());
                let row = MessageRow {
                    inserted,
                    service: submit.service,
                    alternate: submit.alternate,
                    terms: submit.terms,
                    content: submit.content,
                    submitted_at: submit.at,
                    deadline_at,
                    from,
                };
                let id = self.own(h, sequence);
                let verdict = self.check.ledger.inserting(id, h, &row);
                self.check.verdict(verdict);
                Write::Insert(sequence, row)
            }
            StoreOp::Attempts { sequence, attempts } => {
                let known = self.hosts[h].disk.attempts.get(&sequence).copied();
                let id = self.own(h, sequence);
                let verdict = self
                    .check
                    .ledger
                    .counting(id, attempts, known.unwrap_or_default());
                self.check.verdict(verdict);
                if attempts.newest.is_some() {
                    self.check.order.own_gone(h, id);
                }
                Write::Attempts(sequence, attempts)
            }
            StoreOp::Settle {
                sequence,
                outcome,
                token,
                body,
                retention,
            } => {
                let content = match body {
                    None => None,
                    Some(body) => match self.hosts[h].resolve(Payload::Held(body)) {
                        Some(content) => Some(content),
                        None => {
                            return self
                                .check
                                .fail("bodies", format!("outcome with {body:?}, not held"));
                        }
                    },
                };
                let row = OutcomeRow {
                    outcome,
                    token,
                    content,
                    retain_until: now + self.hosts[h].span(retention.as_micros()),
                };
                let (id, boot) = (self.own(h, sequence), self.hosts[h].disk.boots);
                let untold = self.hosts[h].live.as_ref().and_then(|live| live.untold);
                let when = (now, untold.unwrap_or(now), self.slack());
                let verdict = self.check.ledger.deciding(id, &row, boot, when, &self.check.lies);
                self.check.verdict(verdict);
                self.check.order.own_gone(h, id);
                Write::Settle(sequence, row)
            }
            StoreOp::Delete { sequence } => {
                let id = self.own(h, sequence);
                let full = self.delivered_full(h);
                let verdict = self.check.ledger.deleting(id, now + self.slack(), full);
                self.check.verdict(verdict);
                Write::Delete(sequence)
            }
            StoreOp::Keep {
                token,
                verb,
                body,
                remaining,
                path,
            } => {
                let content = match body {
                    None => None,
                    Some(body) => match self.hosts[h].resolve(Payload::Held(body)) {
                        Some(content) => Some(content),
                        None => {
                            return self
                                .check
                                .fail("bodies", format!("reply with {body:?}, not held"));
                        }
                    },
                };
                Write::Keep(ReplyRow {
                    token,
                    verb,
                    content,
                    until: now + self.hosts[h].span(remaining.as_micros()),
                    path,
                })
            }
            StoreOp::Drop { attempt } => Write::Drop(attempt),
        };
        self.enqueue(h, write);
    }

    fn on_accepted(&mut self, h: usize, tag: Tag, sequence: u64) {
        let submit = self.hosts[h]
            .live
            .as_mut()
            .and_then(|live| live.submits.remove(&tag));
        if submit.is_none_or(|submit| submit.sequence != Some(sequence)) {
            self.check.fail(
                "contract",
                format!("{tag:?} is accepted as {sequence}, which it is not"),
            );
            return;
        }
        let id = self.own(h, sequence);
        let verdict = self.check.ledger.accepted(id);
        self.check.verdict(verdict);
        self.accepted(h, sequence);
    }

    fn on_deliver(&mut self, h: usize, deliver: &Deliver) {
        let token = deliver.token;
        let id = token.message;
        let now = self.now;
        let own = id.node == self.hosts[h].node;
        let worker = self.hosts[h].live.as_mut().and_then(|live| {
            let taking = live.takes.get_mut(&deliver.take)?;
            taking.left -= 1;
            let worker = taking.worker;
            if taking.left == 0 {
                live.takes.remove(&deliver.take);
            }
            Some(worker)
        });
        let Some(worker) = worker else {
            self.check.fail(
                "contract",
                format!("{id} is delivered to {:?}, which is not open", deliver.take),
            );
            return;
        };
        // P9, and P6 for what comes from this node itself.
        if token.node != self.hosts[h].node {
            self.check.fail(
                "P9",
                format!("{id} is delivered at node {h}, granted to {}", token.node),
            );
        }
        let entry = self.check.ledger.entries.get(&id).cloned();
        let lied = self.check.lies.taints(h, &token);
        let Some(entry) = entry else {
            if lied {
                // A liar's own work, or what it says is somebody's: its worker can't know.
                return self.hand_over(h, worker, deliver, true);
            }
            if self.plan.honest() {
                self.check
                    .fail("P6", format!("{id} is delivered and does not exist"));
            }
            return;
        };
        // A damaged grant reads like any other: only its origin can tell, when the answer comes.
        let honest = own || (self.plan.honest() && !lied);
        let fresh = !entry.granted.contains_key(&token.fence);
        if own {
            self.check_grant(h, &token);
            // Where outputs wait, the take that it was granted for may have ended, and another one gets it later.
            // What is delivered at most once was chosen before its grant was written.
            if fresh && self.late() == 0 && !entry.terms.at_most_once {
                let service = self.workers[worker].plan.service;
                let born = self.born(h, id);
                let priority = entry.terms.priority;
                self.check_choice(
                    h,
                    id,
                    Choice {
                        service,
                        priority,
                        born,
                    },
                );
            }
            self.check.order.own_gone(h, id);
        } else if honest && entry.granted.get(&token.fence) != Some(&token) {
            self.check.fail(
                "P6",
                format!("{id} is delivered with {token:?}, which was never granted"),
            );
        }
        let deadline = if own {
            entry.deadline
        } else {
            let known = self.hosts[h]
                .live
                .as_ref()
                .and_then(|live| live.grant_deadline.get(&token.attempt()));
            match known {
                Some(deadline) => *deadline,
                None => {
                    return self
                        .check
                        .fail("P6", format!("{id} is delivered before its grant came in"));
                }
            }
        };
        if deadline.is_some_and(|deadline| now >= deadline + self.slack()) {
            self.check
                .fail("P3", format!("{id} is delivered after its deadline {deadline:?}"));
        }
        let content = self.hosts[h].resolve(deliver.payload);
        if honest && !content.is_some_and(|content| content.same(entry.content)) {
            let row = entry.content;
            self.check.fail(
                "P9",
                format!("{id} is delivered with {content:?}, submitted was {row:?}"),
            );
        }
        let terms = (entry.terms.send_only, entry.terms.priority);
        let right = entry.is_for(self.workers[worker].plan.service);
        if honest && !(right && terms == (deliver.send_only, deliver.priority)) {
            self.check.fail(
                "contract",
                format!("{id} is delivered as {deliver:?}, submitted was {entry:?}"),
            );
        }
        self.hand_over(h, worker, deliver, lied);
    }

    fn hand_over(&mut self, h: usize, worker: usize, deliver: &Deliver, lied: bool) {
        let key = self.consumer(worker);
        let span = (self.now, self.hosts[h].span(deliver.lease.as_micros()));
        let verdict = self.check.leases.delivered(&key, &deliver.token, span, lied);
        self.check.verdict(verdict);
        let local = self.hosts[h].local(self.now);
        let verdict = self.check.rates.delivered(&key, deliver.token.attempt(), local);
        self.check.verdict(verdict);
        self.work_on(worker, deliver);
    }

    /// When a message of this node was submitted, by its clock; none if that was in an earlier life.
    pub(crate) fn born(&self, h: usize, id: MessageId) -> Option<Instant> {
        let host = &self.hosts[h];
        let at = host.disk.messages.get(&id.sequence)?.submitted_at;
        let this_life = host.live.as_ref().is_some_and(|live| live.since <= at);
        this_life.then(|| host.local(at))
    }

    /// P6 and others, when a grant leaves its origin.
    pub(crate) fn check_grant(&mut self, h: usize, token: &GrantToken) {
        let row = self.hosts[h].disk.attempts.get(&token.message.sequence);
        let on_disk = row.and_then(|attempts| attempts.newest);
        let (now, slack) = (self.now, self.slack());
        let verdict = self.check.ledger.granted_with(token, on_disk, now, slack);
        self.check.verdict(verdict);
    }

    /// P5, when something is claimed or granted here.
    pub(crate) fn check_choice(&mut self, h: usize, id: MessageId, what: Choice) {
        let Some(live) = &self.hosts[h].live else { return };
        if self.plan.honest() {
            let (ageing, when) = (self.plan.hosts[h].ageing, (self.now, live.drained));
            let verdict = self.check.order.chosen(h, id, what, ageing, when);
            self.check.verdict(verdict);
        }
    }

    fn on_answered(&mut self, h: usize, tag: Tag, result: Answered) {
        let saying = self.hosts[h]
            .live
            .as_mut()
            .and_then(|live| live.sayings.remove(&tag));
        let Some(saying) = saying else {
            self.check
                .fail("contract", format!("{tag:?} has {result:?} and asked nothing"));
            return;
        };
        let attempt = saying.token.attempt();
        if result == Answered::Done {
            match saying.verb {
                Verb::Reply | Verb::Ack | Verb::Fail => self.check_durable(h, &saying.token, saying.verb),
                Verb::Extend => self.check.leases.renewed(h, attempt, saying.at),
                Verb::Release | Verb::Return => {}
            }
        }
        let ends = !matches!(saying.verb, Verb::Extend | Verb::Release | Verb::Return);
        match result {
            // Busy: another answer still decides.
            Answered::StoreFailed | Answered::WrongVerb | Answered::Busy if ends => {
                self.check.leases.given_back(h, attempt);
            }
            Answered::StoreFailed | Answered::WrongVerb | Answered::Busy => {}
            Answered::Done if saying.verb == Verb::Extend => {}
            Answered::Done | Answered::Stale | Answered::Over | Answered::Unknown => {
                self.check.leases.over(h, attempt);
            }
        }
        self.answered(saying, result);
    }

    /// A reply, ack or failure is `Done`: then it is on disk, there or here.
    fn check_durable(&mut self, h: usize, token: &GrantToken, verb: Verb) {
        let kept = self.hosts[h].disk.replies.contains_key(&token.attempt());
        let entry = self.check.ledger.entries.get(&token.message);
        let lost = entry.is_none_or(|entry| entry.lost);
        let outcome = entry.and_then(|entry| entry.outcome.as_ref());
        let counted = outcome.is_some_and(|row| row.token.is_some_and(|by| by == *token));
        // A kept reply is dropped once its origin has said what became of it.
        let lied = self.check.lies.knows(token) || self.check.lies.taints(h, token);
        if !kept && !counted && !lost && !lied && self.plan.honest() {
            let row = outcome.map(|row| (row.outcome, row.token));
            self.check
                .fail("P2", format!("{verb:?} by {token:?} is done, on disk is {row:?}"));
        }
    }

    fn on_lost(&mut self, h: usize, token: &GrantToken, why: LostWhy) {
        let attempt = token.attempt();
        if why == LostWhy::Lease
            && let Some(until) = self.check.leases.until(h, attempt)
            && self.now < until
        {
            self.check.fail(
                "P6",
                format!("{attempt:?} loses its lease {} us early", until - self.now),
            );
        }
        if why == LostWhy::Lease && token.message.node == self.hosts[h].node {
            self.check.ledger.ended(token, self.now);
        }
        self.check.leases.over(h, attempt);
        self.lost(h, token);
    }

    fn on_fetch(&mut self, h: usize, link: LinkId, token: GrantToken, part: Part, size: u64) {
        let pieces = self.rng.net.range(0, 3);
        let life = self.hosts[h].life;
        let transfer = Transfer {
            host: h,
            life,
            link,
            token,
            part,
            size,
            pieces,
        };
        let delay = self.delay();
        self.after(delay, Event::Transfer(transfer));
    }

    /// A delay as on a link.
    pub(crate) fn delay(&mut self) -> Time {
        let (low, high) = self.plan.link_delay;
        self.rng.net.range(low, high)
    }
}
