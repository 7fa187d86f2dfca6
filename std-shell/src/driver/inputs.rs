//! From what is asked to what the core is told.

use super::command::{Answer, Command, LinkUp, OutcomeNow};
use super::contents::cost;
use super::handle::{NewMessage, Settlement, Submitted};
use super::keys::Joined;
use super::letters::Requeuing;
use super::refusal::Refusal;
use super::trace::Step;
use super::turn::{Answering, Collecting, Driver, Next, Submitting, Taking};
use crate::clock;
use crate::config::Souths;
use crate::link::frame;
use crate::owner::{Owner, Who};
use crate::store::Alternate;
use crate::{Content, Durability, Extras};
use redlink_core::{Answered, GrantToken, Input, LinkId, MessageId, Part, RESERVED, State, Submit, Verb};
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Answers a caller; one that has gone does not mind.
fn answer<T>(to: Answer<T>, result: Result<T, Refusal>) {
    let _ = to.send(result);
}

impl Driver {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Submit {
                owner,
                new,
                requeue,
                answer,
                settled,
            } => self.submit(owner, new, requeue, answer, settled),
            Command::SubmitMany { owner, news } => {
                for (new, answer) in news {
                    self.submit(owner.clone(), new, None, answer, None);
                }
            }
            Command::Cancel {
                who,
                sequence,
                answer: to,
            } => {
                let result = self.change(&who, sequence, Input::Cancel { sequence });
                if result.is_ok() {
                    self.own_step(Step::Cancel, sequence, "");
                }
                let result = result.map(|()| self.wait_for(sequence));
                answer(to, result);
            }
            Command::Collect {
                who,
                sequence,
                answer: to,
            } => self.collect(&who, sequence, to),
            Command::Outcome {
                who,
                sequence,
                answer: to,
            } => {
                let result = self
                    .may_touch(&who, sequence)
                    .and_then(|()| self.outcome(sequence));
                answer(to, result);
            }
            Command::Register {
                who,
                service,
                consumer,
                limit,
                lease,
                rate,
                answer: to,
            } => {
                let lease = clock::core_duration(lease);
                let input = Input::Register {
                    service: &service,
                    consumer: &consumer,
                    limit,
                    lease,
                    rate,
                };
                let result = self.consume(&who, &service, &consumer, input);
                answer(to, result);
            }
            Command::Unregister {
                who,
                service,
                consumer,
                answer: to,
            } => {
                let input = Input::Unregister {
                    service: &service,
                    consumer: &consumer,
                };
                let result = self
                    .may_consume_as(&who, &service, &consumer)
                    .and_then(|()| self.feed(input).map(drop).map_err(Refusal::from));
                if result.is_ok() {
                    self.owners.remove_consumer(&service, &consumer);
                    // Its takes went with it.
                    let ended = self
                        .takes
                        .iter()
                        .filter(|(_, t)| t.service == service && t.consumer == consumer);
                    self.given.extend(ended.map(|(tag, _)| *tag));
                }
                answer(to, result);
            }
            Command::Take {
                who,
                tag,
                service,
                consumer,
                max,
                waits,
                answer: to,
            } => {
                // Dropped while it waited in the channel: what ends it has passed by already.
                if to.is_closed() {
                    return;
                }
                let input = Input::Take {
                    tag,
                    service: &service,
                    consumer: &consumer,
                    max,
                };
                match self.consume(&who, &service, &consumer, input) {
                    Err(refusal) => answer(to, Err(refusal)),
                    Ok(()) => {
                        self.takes.insert(
                            tag,
                            Taking {
                                service,
                                consumer,
                                max,
                                got: Vec::new(),
                                answer: to,
                            },
                        );
                        if !waits {
                            self.given.push(tag);
                        }
                    }
                }
            }
            Command::Answer {
                token,
                verb,
                content,
                answer,
            } => self.answer(token, verb, content, answer),
            Command::CollectMany { who, sequences } => {
                for (sequence, to) in sequences {
                    self.collect(&who, sequence, to);
                }
            }
            Command::Settled { whose, max, answer } => {
                let _ = answer.send(self.collectable(whose, max));
            }
            Command::AnswerMany { answers } => {
                for (one, answer) in answers {
                    self.answer(one.token, one.verb, one.content, answer);
                }
            }
            Command::Payload { token, answer } => {
                let known = self
                    .deliveries
                    .get(&token.attempt())
                    .filter(|held| held.token == token);
                let _ = answer.send(known.and_then(|held| self.source(held.payload)));
            }
            Command::Drain { over } => self.drain(over),

            Command::Message { .. }
            | Command::Messages { .. }
            | Command::Services { .. }
            | Command::Routes { .. }
            | Command::Consumers { .. }
            | Command::Peers { .. }
            | Command::Trace { .. }
            | Command::Lines { .. }
            | Command::Status { .. }
            | Command::Driven { .. }
            | Command::Health { .. } => self.look(command),

            Command::Souths { souths, done } => {
                self.set_souths(souths);
                let _ = done.send(());
            }
            Command::Unlink {
                peer,
                dialled,
                reason,
                done,
            } => {
                for link in self.links.with(&peer, dialled) {
                    self.link_down(link, reason);
                }
                let _ = done.send(());
            }
            Command::LinkUp(up) => self.link_up(up),
            Command::Frames {
                link,
                frames,
                _permit,
            } => {
                for received in frames {
                    self.frame(link, &received.header, received.content);
                }
            }
            Command::LinkDown { link, reason } => self.link_down(link, &reason),
            Command::Fetched { key, content } => {
                if self.transfers.got(&key) {
                    self.next.push_back(Next::Fetched(key, content));
                }
            }
            Command::Straight { key, content } => {
                self.tally.payloads_direct += 1;
                self.next.push_back(Next::Fetched(key, Some(content)));
            }
            Command::Brought { key } => self.transfers.brought(&key),
            Command::NotDirect { key } => self.next.push_back(Next::NotDirect(key)),
            Command::Progress { key } => {
                self.transfers.progress(&key, self.now);
                self.tell(Input::Progress { token: key.token });
            }
            Command::Arrived {
                peer,
                key,
                content,
                answer,
            } => {
                let direct = self.transfers.is_expected(&key);
                let result = self.transfers.arrived(&peer, &key, content, &self.contents);
                self.tally.payloads_direct += u64::from(direct && result.is_ok());
                let _ = answer.send(result.map(|content| {
                    self.next.push_back(Next::Fetched(key, Some(content)));
                }));
            }
            Command::Arriving {
                peer,
                key,
                size,
                answer,
            } => {
                let granted = key.part == Part::Reply && self.core.is_own_grant(&key.token);
                let linked = granted || self.links.has_peer(&peer);
                self.transfers.arriving(peer, linked, key, size, self.now, answer);
            }
            Command::Passes {
                peer,
                key,
                pipe,
                answer,
            } => {
                let result = self
                    .transfers
                    .passes(peer, key, pipe, self.now, &mut self.contents);
                let _ = answer.send(result.map(|body| {
                    self.next.push_back(Next::Passes(key, body));
                }));
            }
            Command::Offered { peer, key, answer } => {
                let payload = self.transfers.offered(&peer, &key);
                let _ = answer.send(payload.and_then(|payload| self.outgoing(payload)));
            }
        }
    }

    /// Gives the core what somebody wants to be done with a message, if it is his.
    fn change(&mut self, who: &Who, sequence: u64, input: Input<'_>) -> Result<(), Refusal> {
        self.may_touch(who, sequence)?;
        self.feed(input).map(drop).map_err(Refusal::from)
    }

    /// Gives the core what somebody wants as a consumer that is his, or is nobody's and then his.
    fn consume(&mut self, who: &Who, service: &str, consumer: &str, input: Input<'_>) -> Result<(), Refusal> {
        self.may_consume_as(who, service, consumer)?;
        self.feed(input)?;
        self.consumes_as(who, service, consumer);
        Ok(())
    }

    /// Whether a content may come in at all.
    fn check(&self, content: &Content) -> Result<(), Refusal> {
        let small = content.bytes.len() as u64 <= self.shared.payload_max;
        if small && frame::content_type_fits(content) {
            Ok(())
        } else {
            Err(Refusal::TooLarge)
        }
    }

    fn submit(
        &mut self,
        owner: Owner,
        new: NewMessage,
        requeue: Option<Requeuing>,
        to: Answer<Submitted>,
        settled: Option<oneshot::Sender<Settlement>>,
    ) {
        let NewMessage {
            service,
            producer,
            alternate,
            terms,
            content,
            extras,
        } = new;
        let Extras {
            idempotency,
            durability,
            preserved,
        } = extras;
        if let Err(refusal) = self.check(&content) {
            self.measure_refused(&refusal);
            return answer(to, Err(refusal));
        }
        let joined = Joined { answer: to, settled };
        let (key, joined) = match idempotency {
            None => (None, joined),
            Some(idempotency) => match self.known_by_key(&owner, &service, &idempotency, joined) {
                Ok((scope, joined)) => (Some((scope, idempotency.request)), joined),
                Err(()) => return,
            },
        };
        let Joined { answer: to, settled } = joined;
        let beside = preserved.as_ref().map_or(0, |data| data.len() as u64);
        let bytes = cost(&content) + beside;
        let full = match durability {
            Durability::Disk if self.contents.fits_submit(bytes) => None,
            Durability::Disk => Some(Refusal::Memory),
            Durability::Memory if self.memory.fits(bytes) => None,
            Durability::Memory if self.memory.could_fit(bytes) => Some(Refusal::MemoryMessages),
            Durability::Memory => Some(Refusal::TooLarge),
        };
        if let Some(refusal) = full {
            self.measure_refused(&refusal);
            return answer(to, Err(refusal));
        }
        let tag = self.shared.tag();
        let size = match requeue.and_then(|requeue| requeue.kept) {
            Some(kept) if kept > self.shared.payload_max => return answer(to, Err(Refusal::TooLarge)),
            Some(kept) => kept,
            None => content.bytes.len() as u64,
        };
        // What nodes say among themselves is little, and keeps certificates good.
        let written = durability == Durability::Disk && !service.starts_with(RESERVED);
        if written && !self.shared.floor.admits(size) {
            return answer(to, Err(Refusal::Disk));
        }
        match self.feed(Input::Submit(Submit {
            tag,
            service: &service,
            terms,
            alternate: alternate.as_ref().map(Alternate::view),
            size,
        })) {
            Err(refused) => {
                let refusal = Refusal::from(refused);
                self.measure_refused(&refusal);
                answer(to, Err(refusal));
            }
            Ok(_) => {
                match durability {
                    Durability::Disk => self.contents.charge(bytes),
                    Durability::Memory => self.memory.charge(bytes),
                }
                let content = Some(content);
                if let Some((scope, request)) = key {
                    self.keys.begin(scope, request, tag);
                }
                let submitting = Submitting {
                    owner,
                    service,
                    producer,
                    alternate,
                    terms,
                    content,
                    durability,
                    preserved,
                    beside,
                    key,
                    joined: Vec::new(),
                    requeue,
                    stored_as: None,
                    answer: to,
                    settled,
                };
                self.submits.insert(tag, submitting);
            }
        }
    }

    /// The outcome of a message that is kept in memory only.
    pub(super) fn kept_outcome(&self, sequence: u64) -> Option<Settlement> {
        let node = self.shared.node;
        let (outcome, content) = self.memory.outcome(sequence)?;
        Some(Settlement {
            id: MessageId { node, sequence },
            outcome: *outcome,
            content: content.clone().unwrap_or_default(),
            preserved: self.memory.preserved(sequence).cloned(),
        })
    }

    /// Where a message's outcome comes.
    fn wait_for(&mut self, sequence: u64) -> oneshot::Receiver<Settlement> {
        let (settled, outcome) = oneshot::channel();
        let waiters = self.waiters.entry(sequence).or_default();
        // Pollers come and go while a message waits for hours.
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(settled);
        outcome
    }

    /// Answered when the deletion is on disk: what was collected is not there again after a crash, and neither is what
    /// another was told is gone.
    fn collect(&mut self, who: &Who, sequence: u64, to: Answer<()>) {
        if let Err(refusal) = self.may_touch(who, sequence) {
            return answer(to, Err(refusal));
        }
        let result = self.feed(Input::Collect { sequence });
        if result.is_ok() {
            self.own_step(Step::Collected, sequence, "");
        }
        let result = result.map(drop).map_err(Refusal::from);
        let deleting = self.core.message(sequence);
        if deleting.is_some_and(|message| message.state == State::Deleting) {
            let collecting = self.collecting.entry(sequence).or_default();
            collecting.push(Collecting { answer: to, result });
        } else {
            answer(to, result);
        }
    }

    fn outcome(&mut self, sequence: u64) -> Result<OutcomeNow, Refusal> {
        let state = self
            .core
            .message(sequence)
            .map(|message| message.state)
            .ok_or(Refusal::Unknown)?;
        match state {
            State::Settled => Ok(self
                .kept_outcome(sequence)
                .map_or(OutcomeNow::Stored, OutcomeNow::Kept)),
            State::Deleting => Err(Refusal::Unknown),
            _ => Ok(OutcomeNow::Open {
                settled: self.wait_for(sequence),
                preserves: self.preserved.contains(&sequence),
            }),
        }
    }

    fn answer(&mut self, token: GrantToken, verb: Verb, content: Option<Content>, to: Answer<Answered>) {
        if let Some(content) = &content {
            if let Err(refusal) = self.check(content) {
                return answer(to, Err(refusal));
            }
            if !self.contents.fits_work(cost(content)) {
                return answer(to, Err(Refusal::Memory));
            }
        }
        let tag = self.shared.tag();
        // Known before the core is asked: it may answer while it is being fed.
        self.answers.insert(
            tag,
            Answering {
                token,
                verb,
                answer: to,
            },
        );
        let direct = self.origin_of(&token).is_some();
        let result = self.feed_with(content, |body| Input::Answer {
            tag,
            token,
            verb,
            body,
            direct,
        });
        if let Err(refused) = result
            && let Some(answering) = self.answers.remove(&tag)
        {
            answer(answering.answer, Err(refused.into()));
        }
    }

    fn drain(&mut self, over: oneshot::Sender<()>) {
        self.drainers.push(over);
        if self.draining {
            return;
        }
        self.draining = true;
        self.shared.ready.store(false, Ordering::Release);
        self.tell(Input::Drain);
        // Nothing more will come for those that wait.
        self.given.extend(self.takes.keys().copied());
    }

    /// Whether a stop would cut nothing off: no consumer holds anything, here or behind this node, nobody waits for the
    /// disk. A reply that waits for its origin is on disk, and can wait there.
    pub(super) fn is_idle(&self) -> bool {
        self.store_ops == 0
            && self.submits.is_empty()
            && self.answers.is_empty()
            && self.takes.is_empty()
            && self.deliveries.is_empty()
            && self.core.usage().relays == 0
    }

    fn link_up(&mut self, up: LinkUp) {
        let LinkUp {
            peer,
            outbox,
            jobs,
            policy,
            answer: to,
        } = up;
        let dialled = jobs.is_some();
        let policy = policy.unwrap_or_else(|| self.settings.south.policy(&peer).clone());
        let link = self.links.next_id();
        match self.feed(Input::LinkUp {
            link,
            peer: &peer,
            dialled,
            policy: policy.core(),
        }) {
            Err(refused) => answer(to, Err(refused.into())),
            Ok(_) => {
                tracing::debug!(%peer, dialled, link = link.0, "a link is up");
                self.tally.links_up += 1;
                self.trace.link(link, &peer);
                self.links.add(link, peer, outbox, jobs);
                if to.send(Ok(link)).is_err() {
                    self.link_down(link, "its connection ended before it began");
                }
            }
        }
    }

    fn set_souths(&mut self, souths: Souths) {
        let before = std::mem::replace(&mut self.settings.south, souths);
        let changed: Vec<_> = self
            .links
            .souths()
            .filter(|(_, peer)| before.policy(peer) != self.settings.south.policy(peer))
            .map(|(link, _)| link)
            .collect();
        for link in changed {
            self.link_down(link, "what may pass over it has changed");
        }
    }

    fn link_down(&mut self, link: LinkId, reason: &str) {
        let Some(gone) = self.links.remove(link, reason, &mut self.meters) else {
            return;
        };
        self.tally.links_down += 1;
        tracing::info!(peer = %gone.peer, dialled = gone.jobs.is_some(), reason, "a link is down");
        for key in self.transfers.forget_fetches(link) {
            self.next.push_back(Next::Fetched(key, None));
        }
        self.tell(Input::LinkDown { link });
    }

    fn frame(&mut self, link: LinkId, header: &[u8], content: Option<Content>) {
        if !self.links.came(link, self.marks.is_pong(header), self.now) {
            return;
        }
        self.trace.frame_in(self.wall, link, header);
        let result = self.feed_with(content, |body| Input::Frame {
            link,
            bytes: header,
            body,
        });
        if let Err(refused) = result {
            tracing::error!(
                ?refused,
                link = link.0,
                "the core did not take a frame; please report this"
            );
        }
    }
}
