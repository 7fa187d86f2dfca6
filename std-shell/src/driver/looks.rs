//! What operators see, from the core's views.

use super::command::Command;
use super::info::{
    AlternateInfo, ConsumerInfo, MessageInfo, NodeStatus, PeerInfo, RouteInfo, ServiceInfo, TableFill,
};
use super::pages;
use super::pages::Wanted;
use super::refusal::Refusal;
use super::seen::TracePage;
use super::tally::Tally;
use super::turn::Driver;
use crate::follow::Desk;
use crate::owner::{Owner, Who};
use redlink_core::{
    Capacity, ConsumerView, Counters, Cursor, Duration, MessageId, MessageView, Outcome, PeerView, RouteView,
    ServiceView, State, Usage,
};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Driver {
    pub(super) fn look(&self, command: Command) {
        // Who asked may have gone.
        match command {
            Command::Message {
                who,
                sequence,
                answer,
            } => {
                let found = self
                    .may_touch(&who, sequence)
                    .and_then(|()| self.core.message(sequence).ok_or(Refusal::Unknown));
                let _ = answer.send(found.map(|view| self.message(&view)));
            }
            Command::Messages {
                who,
                wanted,
                max,
                from,
                answer,
            } => {
                let _ = answer.send(self.messages(&who, &wanted, max, from));
            }
            Command::Services { from, answer } => {
                let (found, next) = self.core.services_from(from, pages::SERVICES);
                let found = found.map(|view| service(&view, self.meters.sums(view.name)));
                let _ = answer.send((found.collect(), next));
            }
            Command::Routes { from, answer } => {
                let (found, next) = self.core.routes_from(from, pages::ROUTES);
                let _ = answer.send((found.map(|view| route(&view)).collect(), next));
            }
            Command::Peers { from, answer } => {
                let (found, next) = self.core.peers_from(from, pages::PEERS);
                let _ = answer.send((found.map(|view| self.peer(&view)).collect(), next));
            }
            Command::Consumers { answer } => {
                let _ = answer.send(
                    self.core
                        .consumers()
                        .take(pages::LIST_MAX)
                        .map(|view| self.consumer(&view))
                        .collect(),
                );
            }
            Command::Trace {
                message,
                from,
                answer,
            } => {
                let (steps, next) = self.trace.of(message, from);
                let on = self.trace.is_on();
                let _ = answer.send(TracePage { on, steps, next });
            }
            Command::Lines { peers, answer } => {
                let _ = answer.send(self.links.lines(&peers));
            }
            Command::Status { answer } => {
                let _ = answer.send(self.status());
            }
            Command::Health { answer } => {
                let _ = answer.send(self.health());
            }
            Command::Driven { answer } => {
                let _ = answer.send(self.driven());
            }
            _ => {}
        }
    }

    fn messages(&self, who: &Who, wanted: &Wanted, max: usize, from: Cursor) -> pages::Page<MessageInfo> {
        let of = |view: &MessageView<'_>| wanted.has(view.service, state(view), view.outcome.is_some());
        let mut found = Vec::new();
        match who.owner.program().filter(|_| !who.administers) {
            None => {
                let (piece, next) = self.core.messages_from(from, pages::MESSAGES);
                for (here, view) in piece.filter(|(_, view)| of(view)) {
                    found.push(self.message(&view));
                    if found.len() == max {
                        // Perhaps nothing is behind it: who goes on will see.
                        return (found, Some(here));
                    }
                }
                (found, next)
            }
            Some(program) => {
                // A program's own are in the order of their numbers; a cursor counts them.
                let mut at = from.number();
                let own = self.owners.messages_of(program).skip(at as usize);
                for sequence in own.take(pages::MESSAGES) {
                    at = at.saturating_add(1);
                    found.extend(
                        self.core
                            .message(sequence)
                            .filter(of)
                            .map(|view| self.message(&view)),
                    );
                    if found.len() == max {
                        break;
                    }
                }
                let more = self.owners.messages_of(program).nth(at as usize).is_some();
                (found, more.then(|| Cursor::from_number(at)))
            }
        }
    }

    fn message(&self, view: &MessageView<'_>) -> MessageInfo {
        let owner = self.owners.of(view.id.sequence);
        let from = self.requeued.get(&view.id.sequence);
        let from = from.map(|&sequence| MessageId { sequence, ..view.id });
        let kept = self.memory.holds(view.id.sequence);
        MessageInfo {
            durability: if kept { "memory" } else { "disk" }.to_owned(),
            requeued_from: from.map(|id| id.to_string()),
            ..message(view, owner.program())
        }
    }

    fn consumer(&self, view: &ConsumerView<'_>) -> ConsumerInfo {
        let owner = self.owners.of_consumer(view.service, view.name);
        ConsumerInfo {
            taken: self.taken.of(view.service, view.name),
            ..consumer(view, owner.and_then(Owner::program))
        }
    }

    fn peer(&self, view: &PeerView<'_>) -> PeerInfo {
        let since = view.link.and_then(|link| self.links.since(link));
        let how = view.link.and_then(|link| self.links.how(link));
        PeerInfo {
            name: Some(view.name.to_string()),
            node: view.node.map(|node| node.to_string()),
            direction: direction(view.dialled).to_owned(),
            connected: view.link.is_some(),
            connected_ms: since.map(|since| millis(self.now.since(since))),
            mode: how.map(|how| how.mode.to_string()),
            proxy: how.and_then(|how| how.proxy.as_deref().map(str::to_owned)),
            services: view.services,
            reserved: view.reservations,
            held: view.deliveries,
            granted: view.granted,
            ..PeerInfo::default()
        }
    }

    fn status(&self) -> NodeStatus {
        let usage = self.core.usage();
        let (kept, outcomes_kept) = self.memory.counts();
        // As the lists have them: without what the nodes have for themselves.
        let programs = self.core.services().filter(|service| !service.name.is_reserved());
        let (services, consumers) = programs.fold((0, 0), |(services, consumers), service| {
            (services + 1, consumers + u64::from(service.consumers))
        });
        NodeStatus {
            name: self.settings.name.to_string(),
            mesh: self.settings.mesh.to_string(),
            node: self.shared.node.to_string(),
            boot: self.boot.counter,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: self.shared.ready.load(std::sync::atomic::Ordering::Acquire),
            draining: self.draining,
            uptime_ms: self.now.since(self.started).as_millis(),
            messages: usage.messages.into(),
            messages_max: self.core.capacity().messages.into(),
            consumers,
            deliveries: usage.deliveries.into(),
            services,
            peers: self.core.sessions().into(),
            memory_used: self.contents.used(),
            memory_max: self.settings.memory_max,
            memory_messages: (kept + outcomes_kept) as u64,
            memory_messages_used: self.memory.used(),
            memory_messages_max: self.settings.memory_messages,
            idempotency_keys: self.keys.len() as u64,
            idempotency_keys_max: self.settings.idempotency_keys.into(),
            disk_low: self.shared.floor.is_low(),
            disk_floor: self.shared.floor.bytes(),
            tables: tables(usage, self.core.capacity()),
            counters: counters(
                self.core.counters(),
                self.links.writes(),
                &self.tally,
                &self.shared.desk,
            ),
            ..NodeStatus::default()
        }
    }
}

fn millis(d: Duration) -> u64 {
    d.as_millis()
}

pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Replied => "replied",
        Outcome::Delivered => "delivered",
        Outcome::Failed => "failed",
        Outcome::Expired => "expired",
        Outcome::Dead => "dead",
        Outcome::Cancelled => "cancelled",
    }
}

fn state(view: &MessageView<'_>) -> &'static str {
    match view.state {
        State::Recovering | State::Delayed if view.delayed.is_some() => "delayed",
        State::Storing | State::Recovering | State::Delayed | State::Waiting | State::Aside => "queued",
        State::Offered => "offered",
        State::Granting | State::Granted => "granted",
        State::Settling => "settling",
        State::Settled | State::Deleting => view.outcome.map_or("settling", outcome_word),
    }
}

fn message(view: &MessageView<'_>, program: Option<&Arc<str>>) -> MessageInfo {
    let outcome = view.outcome.map(outcome_word);
    MessageInfo {
        id: view.id.to_string(),
        service: view.service.to_string(),
        priority: view.priority,
        state: state(view).to_owned(),
        outcome: outcome.map(str::to_owned),
        attempts: view.attempt,
        unanswered: view.tries,
        delivery_mode: if view.at_most_once {
            "at-most-once"
        } else {
            "at-least-once"
        }
        .to_owned(),
        size: view.size,
        send_only: view.send_only,
        age_ms: millis(view.age),
        remaining_ms: view.remaining.map(millis),
        delayed_ms: view.delayed.map(millis),
        program: program.map(ToString::to_string),
        durability: String::new(),
        requeued_from: None,
        alternate: view.alternate.map(|(service, left)| AlternateInfo {
            service: service.to_string(),
            in_ms: millis(left),
        }),
    }
}

fn service(view: &ServiceView<'_>, sums: Option<[u64; 3]>) -> ServiceInfo {
    ServiceInfo {
        name: view.name.to_string(),
        queued: u64::from(view.waiting) + u64::from(view.offered),
        offered: view.offered.into(),
        granted: view.granted.into(),
        reserved: view.reserved.into(),
        held: view.held.into(),
        room: view.room.into(),
        consumers: view.consumers,
        peers: view.peers,
        oldest_ms: view.oldest.map(millis),
        accepted: sums.map(|[accepted, _, _]| accepted),
        settled: sums.map(|[_, settled, _]| settled),
        taken: sums.map(|[_, _, taken]| taken),
    }
}

fn route(view: &RouteView<'_>) -> RouteInfo {
    RouteInfo {
        service: view.service.to_string(),
        peer: view.peer.to_string(),
        direction: direction(view.dialled).to_owned(),
        reachable: view.window.is_some(),
        path: pages::path(view.path),
        hops: view.path.len(),
        window: view.window,
        floor: view.floor,
        placed: view.placed,
        reserved: view.reserved,
        told: view.told,
    }
}

const fn direction(dialled: bool) -> &'static str {
    if dialled { "north" } else { "south" }
}

fn consumer(view: &ConsumerView<'_>, program: Option<&Arc<str>>) -> ConsumerInfo {
    ConsumerInfo {
        service: view.service.to_string(),
        name: view.name.to_string(),
        limit: view.limit,
        held: view.held.into(),
        wanted: view.wanted,
        lease_ms: millis(view.lease),
        rate: view.rate.map(|rate| rate.to_string()),
        taken: 0,
        program: program.map(ToString::to_string),
    }
}

/// How full each table is that can refuse (P7).
fn tables(used: Usage, room: Capacity) -> BTreeMap<String, TableFill> {
    [
        ("messages", used.messages, room.messages),
        ("reservations", used.reservations, room.reservations),
        ("deliveries", used.deliveries, room.deliveries),
        ("services", used.services, room.services),
        ("consumers", used.consumers, room.consumers),
        ("takes", used.takes, room.takes),
        ("peers", used.peers, room.peers),
        ("routes", used.routes, room.routes),
        ("relays", used.relays, room.relays),
    ]
    .into_iter()
    .map(|(name, used, max)| (name.to_owned(), TableFill { used, max }))
    .collect()
}

fn counters(counters: &Counters, link_writes: u64, tally: &Tally, desk: &Desk) -> BTreeMap<String, u64> {
    let Counters {
        submitted,
        accepted,
        settled,
        granted,
        leases_over,
        offers,
        frames_in,
        frames_out,
        peer_faults,
        routes_full,
        relays_full,
        clock_back,
    } = *counters;
    [
        ("submitted", submitted),
        ("accepted", accepted),
        ("settled", settled),
        ("granted", granted),
        ("leases_over", leases_over),
        ("offers", offers),
        ("frames_in", frames_in),
        ("frames_out", frames_out),
        ("link_writes", link_writes),
        ("peer_faults", peer_faults),
        ("routes_full", routes_full),
        ("relays_full", relays_full),
        ("clock_back", clock_back),
    ]
    .into_iter()
    .chain(tally.named())
    .chain(desk.counters())
    .map(|(name, count)| (name.to_owned(), count))
    .collect()
}
