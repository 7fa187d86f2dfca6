//! From what the core wants to what is done.

use super::command::Handed;
use super::contents::{Outgoing, Source};
use super::handle::{Settlement, Submitted};
use super::keys::Joined;
use super::links::Sending;
use super::looks::outcome_word;
use super::refusal::Refusal;
use super::trace::Step;
use super::turn::{Answering, Driver, Held, Next};
use crate::clock;
use crate::content::PAYLOAD_MAX;
use crate::link::frame;
use crate::link::transfer::{Job, TransferKey};
use crate::store::{NewMessage, Op};
use crate::{Content, Durability};
use redlink_core::{
    Answered, Attached, Body, Deliver, Fault, LinkId, LostWhy, MessageId, Notice, Outcome, Output, Part,
    Payload, Row, StoreOp, Tag, Verb, wire,
};
impl Driver {
    /// Does up to `most` of what the core wants; whether there may be more.
    pub(super) fn outputs(&mut self, most: usize) -> bool {
        let mut header = [0; wire::HEADER_MAX];
        for _ in 0..most {
            let Some(output) = self.core.poll_output(self.now, &mut header) else {
                return false;
            };
            self.output(output, &header);
        }
        true
    }

    fn output(&mut self, output: Output, header: &[u8]) {
        match output {
            Output::Store(op) => self.store_op(op),
            Output::Accepted { tag, sequence } => self.accepted(tag, sequence),
            Output::Rejected { tag } => {
                self.tally.submits_rejected += 1;
                if let Some(mut submitting) = self.submits.remove(&tag) {
                    self.measure_refused(&Refusal::Store);
                    self.discard(&mut submitting);
                    let _ = submitting.answer.send(Err(Refusal::Store));
                    for joined in submitting.joined {
                        let _ = joined.answer.send(Err(Refusal::Store));
                    }
                }
            }
            Output::Settled { sequence, outcome } => self.settled(sequence, outcome),
            Output::Deliver(deliver) => self.deliver(&deliver),
            Output::Answered { tag, result } => {
                // One that the driver gave itself, or whose caller has gone, has no receiver.
                if let Some(answering) = self.answers.remove(&tag) {
                    let (verb, how) = (verb_word(answering.verb), answered_word(result));
                    let (message, attempt) = (answering.token.message, answering.token.fence.attempt);
                    self.trace
                        .step(self.wall, Step::Answered, message, attempt, [verb, how]);
                    self.measure_answered(&answering.token, answering.verb, result);
                    self.forget_delivery(&answering, result);
                    let _ = answering.answer.send(Ok(result));
                }
            }
            Output::Lost { token, why } => {
                self.tally.deliveries_lost += 1;
                let why_lost = match why {
                    LostWhy::Lease => "the lease is over",
                    LostWhy::Deadline => "the deadline passed",
                    LostWhy::Revoked => "the origin says it is over, or granted elsewhere",
                    LostWhy::Unregistered => "the consumer was unregistered",
                };
                let attempt = token.fence.attempt;
                self.trace
                    .step(self.wall, Step::Lost, token.message, attempt, [why_lost, ""]);
                tracing::debug!(message = %token.message, ?why, "a consumer lost a delivery");
                self.measure_lost(&token);
                self.deliveries.remove(&token.attempt());
            }
            Output::Frame { link, len, attached } => {
                let frame = header.get(..len).unwrap_or_default();
                self.trace.frame_out(self.wall, link, frame);
                self.measure_sent(frame);
                if self.marks.is_ping(frame) {
                    self.links.pinged(link, self.now);
                }
                if let Some(sending) = self.sending(attached) {
                    self.links.send(link, frame, sending, &mut self.meters);
                }
                match attached {
                    Attached::Apart { payload, token, part } => {
                        self.send_apart(link, TransferKey { token, part }, payload);
                    }
                    Attached::Addressed {
                        payload,
                        apart: Some(token),
                    } => {
                        let part = Part::Payload;
                        self.transfers.offer(None, TransferKey { token, part }, payload);
                    }
                    Attached::Direct { payload, token } => self.bring_direct(token, payload),
                    Attached::Nothing | Attached::Inline(_) | Attached::Addressed { apart: None, .. } => {}
                }
            }
            Output::Fetch {
                link,
                token,
                part,
                size,
                direct,
            } => {
                let key = TransferKey { token, part };
                let passes = token.node != self.shared.node && token.message.node != self.shared.node;
                // What passes takes no more memory if it is longer: only the protocol bounds it.
                let most = if passes {
                    PAYLOAD_MAX
                } else {
                    self.shared.payload_max
                };
                match self.links.get(link) {
                    Some(from) if size <= most => {
                        // What is to go on in a frame has to be here first.
                        let passes = passes && size > frame::INLINE_MAX;
                        if direct {
                            self.transfers.expect(link, key, size, self.now);
                        } else {
                            self.transfers.fetch(link, from, key, size, passes, self.now);
                        }
                    }
                    Some(_) => {
                        self.tally.payloads_too_large += 1;
                        tracing::warn!(message = %token.message, size, "a peer's payload is larger than this node takes");
                        self.next.push_back(Next::Fetched(key, None));
                    }
                    None => self.next.push_back(Next::Fetched(key, None)),
                }
            }
            Output::FetchDirect { token, size, address } => self.fetch_direct(token, size, address),
            Output::CloseLink { link, fault } => self.close_link(link, fault),
            Output::Free(body) => self.free(body),
            Output::Notice(notice) => self.notice(notice),
        }
    }

    /// Where a payload is; `None` if its bytes were freed.
    pub(super) fn source(&self, payload: Payload) -> Option<Source> {
        match payload {
            Payload::Own { sequence, .. } => Some(self.own(sequence)),
            // A payload of no bytes is not kept by anybody.
            Payload::Empty => Some(Source::Memory(Content::default())),
            Payload::Held(body) => self.contents.body(body),
        }
    }

    /// Where the payload of this node's own message is.
    fn own(&self, sequence: u64) -> Source {
        let kept = self.memory.payload(sequence).cloned();
        kept.map_or_else(|| self.contents.own(sequence), Source::Memory)
    }

    /// Where that will be for as long as it is needed.
    fn own_later(&self, sequence: u64) -> Source {
        let kept = self.memory.payload(sequence).cloned();
        kept.map_or_else(|| self.contents.own_later(sequence), Source::Memory)
    }

    /// The same for a transfer, which may also take what passes.
    pub(super) fn outgoing(&self, payload: Payload) -> Option<Outgoing> {
        match payload {
            Payload::Held(body) => self.contents.outgoing(body),
            Payload::Own { .. } | Payload::Empty => self.source(payload).map(Outgoing::Whole),
        }
    }

    /// Brings a payload beside its frame, or lets the peer get it.
    fn send_apart(&mut self, link: LinkId, key: TransferKey, payload: Payload) {
        let later = match payload {
            // What has to wait for its turn must not keep memory that the cache could give away.
            Payload::Own { sequence, .. } => Some(Outgoing::Whole(self.own_later(sequence))),
            Payload::Empty | Payload::Held(_) => self.outgoing(payload),
        };
        let Some(source) = later else {
            tracing::error!(
                ?payload,
                "the core sends bytes that it has freed; please report this"
            );
            return;
        };
        // For a link that was closed in this turn it has no use.
        let Some(to) = self.links.get(link) else { return };
        match &to.jobs {
            // A mover that is gone takes its link along.
            Some(jobs) => drop(jobs.send(Job::Put { key, source })),
            None => self.transfers.offer(Some(to.peer.clone()), key, payload),
        }
    }

    fn sending(&self, attached: Attached) -> Option<Sending> {
        let payload = match attached {
            Attached::Nothing | Attached::Apart { .. } | Attached::Direct { .. } => {
                return Some(Sending::Nothing);
            }
            Attached::Inline(payload) | Attached::Addressed { payload, apart: None } => payload,
            Attached::Addressed { apart: Some(_), .. } => Payload::Empty,
        };
        let Some(source) = self.source(payload) else {
            tracing::error!(
                ?payload,
                "the core sends bytes that it has freed; please report this"
            );
            return None;
        };
        // What has to wait for its turn must not keep memory that the cache could give away.
        let later = match payload {
            Payload::Own { sequence, .. } => self.own_later(sequence),
            Payload::Empty | Payload::Held(_) => source.clone(),
        };
        let [source, later] = match attached {
            Attached::Addressed { .. } => [source, later].map(|source| self.addressed(source)),
            _ => [source, later],
        };
        Some(Sending::Inline { source, later })
    }

    fn store_op(&mut self, op: StoreOp) {
        let op = match op {
            StoreOp::Insert { tag, sequence } => match self.insert(tag, sequence) {
                Some(op) => op,
                None => return,
            },
            StoreOp::Attempts { sequence, .. } if self.memory.holds(sequence) => {
                self.next.push_back(Next::Stored(Row::Attempts(sequence), true));
                return;
            }
            StoreOp::Attempts { sequence, attempts } => Op::Attempts { sequence, attempts },
            StoreOp::Settle {
                sequence,
                outcome,
                token,
                body,
                retention,
            } => {
                self.own_step(Step::Settling, sequence, outcome_word(outcome));
                let content = if outcome == Outcome::Failed && token.is_none() {
                    Some(Content::unanswered())
                } else {
                    self.held(body)
                };
                if let Some(content) = &content {
                    self.settling.insert(sequence, content.clone());
                }
                if self.memory.holds(sequence) {
                    return self.settle_in_memory(sequence, outcome, content);
                }
                let retain_until = clock::wall_after(self.wall, retention);
                let letter = self.letter(sequence, outcome, content.as_ref());
                Op::Settle {
                    sequence,
                    outcome,
                    token,
                    content,
                    settled_at: self.wall,
                    retain_until,
                    letter,
                }
            }
            StoreOp::Delete { sequence } if self.memory.holds(sequence) => {
                self.next.push_back(Next::Stored(Row::Delete(sequence), true));
                return;
            }
            StoreOp::Delete { sequence } => Op::Delete { sequence },
            StoreOp::Keep {
                token,
                verb,
                body,
                remaining,
                path,
            } => {
                let content = self.held(body);
                Op::Keep {
                    token,
                    verb,
                    content,
                    until: clock::wall_after(self.wall, remaining),
                    path,
                }
            }
            StoreOp::Drop { attempt } => Op::Drop { attempt },
        };
        self.ops.push(op);
    }

    fn insert(&mut self, tag: Tag, sequence: u64) -> Option<Op> {
        let inserted = self.boot.counter;
        let submitted_at = self.wall;
        let submitting = self.submits.get_mut(&tag);
        debug_assert!(submitting.is_some(), "an insert for a submit that nobody made");
        let submitting = submitting?;
        let deadline_at = submitting
            .terms
            .ett
            .map(|ett| clock::wall_after(submitted_at, ett));
        let content = submitting.content.take().unwrap_or_default();
        submitting.stored_as = Some((sequence, deadline_at));
        if submitting.durability == Durability::Memory {
            let preserved = submitting.preserved.take();
            let owner = submitting.owner.clone();
            self.owners.add(sequence, &owner);
            return self.insert_in_memory(sequence, content, preserved);
        }
        let requeue = submitting.requeue.map(|requeuing| requeuing.requeue());
        if requeue.is_none_or(|requeue| !requeue.keeps_payload) {
            self.contents.insert_fresh(sequence, content.clone());
        }
        let service = submitting.service.as_str().into();
        let alternate = submitting.alternate.take();
        let owner = submitting.owner.clone();
        let producer = submitting.producer.clone();
        let terms = submitting.terms;
        let (preserved, key) = (submitting.preserved.take(), submitting.key);
        self.owners.add(sequence, &owner);
        if preserved.is_some() {
            self.preserved.insert(sequence);
        }
        let key = key.map(|(scope, request)| self.stored_key(scope, request));
        self.requeued
            .extend(requeue.map(|requeue| (sequence, requeue.letter)));
        self.producers.add(sequence, producer.as_ref());
        Some(Op::Insert(NewMessage {
            sequence,
            inserted,
            owner,
            producer,
            service,
            alternate,
            terms,
            content,
            preserved,
            key,
            submitted_at,
            deadline_at,
            requeue,
        }))
    }

    /// The content of a body that is on its way to the disk.
    fn held(&self, body: Option<Body>) -> Option<Content> {
        match self.contents.body(body?) {
            Some(Source::Memory(content)) => Some(content),
            other => {
                tracing::error!(
                    ?body,
                    ?other,
                    "an outcome's bytes are not in memory; please report this"
                );
                None
            }
        }
    }

    fn accepted(&mut self, tag: Tag, sequence: u64) {
        self.contents.stored(sequence);
        let Some(submitting) = self.submits.remove(&tag) else {
            return;
        };
        if submitting.durability == Durability::Disk {
            self.contents.discharge(submitting.beside);
        }
        let deadline_at = submitting.stored_as.and_then(|(_, deadline_at)| deadline_at);
        let deadline = deadline_at.map(clock::system_time);
        if let Some((scope, _)) = submitting.key {
            self.keys.accepted(scope, sequence, deadline_at, self.now);
        }
        let id = MessageId {
            node: self.shared.node,
            sequence,
        };
        self.own_step(Step::Accepted, sequence, &submitting.service);
        self.measure_accepted(&submitting.service);
        let first = Joined {
            answer: submitting.answer,
            settled: submitting.settled,
        };
        for one in std::iter::once(first).chain(submitting.joined) {
            if let Some(settled) = one.settled {
                self.waiters.entry(sequence).or_default().push(settled);
            }
            // A producer that went away without its answer: the message is accepted all the same.
            let _ = one.answer.send(Ok(Submitted {
                id,
                deadline,
                repeated: false,
            }));
        }
    }

    fn settled(&mut self, sequence: u64, outcome: Outcome) {
        let id = MessageId {
            node: self.shared.node,
            sequence,
        };
        self.own_step(Step::Outcome, sequence, outcome_word(outcome));
        self.measure_settled(sequence, outcome);
        let content = self.settling.remove(&sequence).unwrap_or_default();
        self.contents.forget(sequence);
        self.transfers.settled(id);
        self.producers.settled(&self.owners.of(sequence), sequence);
        let preserved = self.memory.preserved(sequence).cloned();
        for waiter in self.waiters.remove(&sequence).unwrap_or_default() {
            let _ = waiter.send(Settlement {
                id,
                outcome,
                content: content.clone(),
                // Of one on disk whoever waits for it has it, or reads it.
                preserved: preserved.clone(),
            });
        }
    }

    fn deliver(&mut self, deliver: &Deliver) {
        let token = deliver.token;
        let source = self.source(deliver.payload);
        let (Some(source), Some(taking)) = (source, self.takes.get_mut(&deliver.take)) else {
            // Nobody is there to have it, so it must not wait for the end of its lease.
            self.next.push_back(Next::Release(token));
            return;
        };
        let to = ["to", taking.consumer.as_str()];
        let attempt = token.fence.attempt;
        self.trace
            .step(self.wall, Step::Delivered, token.message, attempt, to);
        taking.got.push(Handed {
            token,
            source,
            send_only: deliver.send_only,
            priority: deliver.priority,
            remaining: deliver.remaining.map(clock::std_duration),
            lease: clock::std_duration(deliver.lease),
        });
        self.given.push(deliver.take);
        let service = std::mem::take(&mut taking.service);
        let consumer = std::mem::take(&mut taking.consumer);
        let work = self.measure_delivered(&token, &service);
        self.count_taken(&service, &consumer);
        if let Some(taking) = self.takes.get_mut(&deliver.take) {
            (taking.service, taking.consumer) = (service, consumer);
        }
        let payload = deliver.payload;
        self.deliveries
            .insert(token.attempt(), Held { token, payload, work });
    }

    fn close_link(&mut self, link: LinkId, fault: Fault) {
        let why = reason(fault);
        let Some(gone) = self.links.remove(link, why, &mut self.meters) else {
            return;
        };
        self.tally.links_closed += 1;
        match fault {
            Fault::Superseded | Fault::Silent => {
                tracing::info!(peer = %gone.peer, dialled = gone.jobs.is_some(), reason = why, "a link is down");
            }
            _ => {
                tracing::warn!(peer = %gone.peer, dialled = gone.jobs.is_some(), reason = why, "a peer is refused")
            }
        }
        for key in self.transfers.forget_fetches(link) {
            self.next.push_back(Next::Fetched(key, None));
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::SessionUp { link, node } => {
                let peer = self.links.peer(link).map(ToString::to_string).unwrap_or_default();
                tracing::info!(peer, %node, link = link.0, "a session is up");
                self.links.session(link, Some(node));
            }
            Notice::Cycle { link, node } => {
                let peer = self.links.peer(link).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(
                    peer, %node, link = link.0,
                    "the north links form a ring: this north peer is also below this node; take one link of the ring out"
                );
            }
            Notice::SessionDown { link } => {
                tracing::info!(link = link.0, "a session is down");
                self.links.session(link, None);
            }
        }
    }

    /// A consumer that no longer holds a delivery can't ask for its payload again.
    fn forget_delivery(&mut self, answering: &Answering, result: Answered) {
        let held = match result {
            Answered::Done => answering.verb == Verb::Extend,
            Answered::Busy | Answered::WrongVerb | Answered::StoreFailed => true,
            Answered::Stale | Answered::Over | Answered::Unknown => false,
        };
        // Only by the true token: anybody may answer under one that looks like it.
        let attempt = answering.token.attempt();
        if !held
            && self
                .deliveries
                .get(&attempt)
                .is_some_and(|held| held.token == answering.token)
        {
            self.deliveries.remove(&attempt);
        }
    }
}

fn verb_word(verb: Verb) -> &'static str {
    match verb {
        Verb::Reply => "reply",
        Verb::Ack => "ack",
        Verb::Fail => "failure",
        Verb::Extend => "extend",
        Verb::Release => "release",
        Verb::Return => "return",
    }
}

fn answered_word(result: Answered) -> &'static str {
    match result {
        Answered::Done => "taken",
        Answered::Stale => "refused: a newer attempt was granted",
        Answered::Over => "refused: the message is over",
        Answered::Unknown => "refused: no such delivery",
        Answered::Busy => "refused: another answer is under way",
        Answered::WrongVerb => "refused: the message wants another kind of answer",
        Answered::StoreFailed => "refused: neither the origin nor this disk could take it",
    }
}

/// A fault in words that say what to do.
fn reason(fault: Fault) -> &'static str {
    match fault {
        Fault::Malformed => "it sent what is no frame; is it of another version?",
        Fault::Order => "it sent frames in an order that makes no sense; is it of another version?",
        Fault::Version => "it speaks another version of the link protocol; upgrade the older of the two",
        Fault::Mesh => "it is of another mesh; join it to this one",
        Fault::Name => "the name it says is not the one that its certificate proves",
        Fault::Twin => "it has this node's own identity; one of the two runs on a copied database",
        Fault::NameTaken => "another live node has the same name; give one of them another",
        Fault::Silent => "nothing was heard from it for too long",
        Fault::BothDial => {
            "it dials this node and is dialled by it; take it out of the norths of one of the two"
        }
        Fault::Superseded => "a newer link of the same peer took over",
        Fault::Full => "the table of peers is full; raise `capacity.peers`",
    }
}
