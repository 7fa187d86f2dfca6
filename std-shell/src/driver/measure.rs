//! What the driver measures as it goes. Nothing here locks, waits or allocates, but for a service's first message.

use super::command::Command;
use super::handle::Handle;
use super::refusal::Refusal;
use super::turn::Driver;
use crate::metrics::{Driven, Meters};
use redlink_core::wire::{Frame, HEADER_MAX};
use redlink_core::{
    Answered, Bound, ConsumerKey, Fence, GrantToken, Instant, MessageId, Name, NodeId, Outcome, Verb,
};

/// How frames begin that are looked at while they pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    grant: u8,
    ping: u8,
    pong: u8,
}

impl Marks {
    pub(super) fn new() -> Self {
        let mut buffer = [0; HEADER_MAX];
        let mut first = |frame: Frame| match frame.encode(&mut buffer) {
            Some(_) => buffer[0],
            None => u8::MAX,
        };
        let token = GrantToken {
            message: MessageId::default(),
            inserted: 0,
            fence: Fence { boot: 0, attempt: 0 },
            node: NodeId(0),
            consumer: ConsumerKey(0),
            mac: [0; 16],
        };
        let grant = Frame::Grant {
            token,
            priority: 0,
            remaining: None,
            size: 0,
            send_only: false,
            inline: false,
            direct: false,
        };
        Self {
            grant: first(grant),
            ping: first(Frame::Ping),
            pong: first(Frame::Pong),
        }
    }

    pub(super) fn is_ping(self, header: &[u8]) -> bool {
        header == [self.ping]
    }

    pub(super) fn is_pong(self, header: &[u8]) -> bool {
        header == [self.pong]
    }

    fn grant(self, header: &[u8]) -> Option<GrantToken> {
        match header.first() {
            Some(&first) if first == self.grant => match Frame::decode(header)? {
                Frame::Grant { token, .. } => Some(token),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A delivery that a consumer of this node holds, as far as it is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    since: Instant,
    row: Option<usize>,
}

/// What the nodes have for themselves is not counted.
fn counts(service: &str) -> bool {
    !service.starts_with(redlink_core::RESERVED)
}

impl Driver {
    pub(super) fn measure_accepted(&mut self, service: &str) {
        if counts(service) {
            self.meters.row(service).accepted += 1;
        }
    }

    pub(super) fn measure_refused(&mut self, refusal: &Refusal) {
        self.meters.refuse(match refusal {
            Refusal::Full(Bound::Messages) => "messages-full",
            Refusal::Full(_) => "table-full",
            Refusal::Memory => "memory-full",
            Refusal::MemoryMessages => "memory-messages-full",
            Refusal::Keys => "keys-full",
            Refusal::KeyReused => "key-reused",
            Refusal::Name(_) => "bad-name",
            Refusal::Draining | Refusal::Stopped => "draining",
            Refusal::Store => "store-failed",
            Refusal::TooLarge => "too-large",
            _ => "other",
        });
    }

    /// An outcome is on disk.
    pub(super) fn measure_settled(&mut self, sequence: u64, outcome: Outcome) {
        let Some(view) = self.core.message(sequence) else {
            return;
        };
        if !counts(view.service) {
            return;
        }
        let row = self.meters.row(view.service);
        row.settle(outcome);
        row.whole.add(view.age);
        if let Some(left) = view.remaining {
            row.slack.add(left);
        }
    }

    /// An attempt at a message was granted, perhaps not for the first time.
    fn measure_granted(&mut self, token: &GrantToken) {
        if token.message.node != self.shared.node || token.fence.attempt != 1 {
            return;
        }
        if let Some(view) = self.core.message(token.message.sequence)
            && counts(view.service)
        {
            self.meters.row(view.service).queued.add(view.age);
        }
    }

    /// A message is handed to a consumer of this node.
    pub(super) fn measure_delivered(&mut self, token: &GrantToken, service: &str) -> Work {
        self.measure_granted(token);
        let row = counts(service).then(|| self.meters.place(service));
        if let Some(row) = row {
            self.meters.at(row).delivered += 1;
        }
        Work {
            since: self.now,
            row: row.flatten(),
        }
    }

    /// A frame goes out.
    pub(super) fn measure_sent(&mut self, header: &[u8]) {
        if let Some(token) = self.marks.grant(header) {
            self.measure_granted(&token);
        }
    }

    /// A consumer's answer was taken, or not.
    pub(super) fn measure_answered(&mut self, token: &GrantToken, verb: Verb, result: Answered) {
        if result != Answered::Done {
            return;
        }
        let Some(held) = self.deliveries.get(&token.attempt()) else {
            return;
        };
        let work = held.work;
        let row = self.meters.at(work.row);
        row.answer(verb);
        if !matches!(verb, Verb::Extend | Verb::Release | Verb::Return) {
            row.work.add(self.now.since(work.since));
        }
    }

    pub(super) fn measure_lost(&mut self, token: &GrantToken) {
        if let Some(held) = self.deliveries.get(&token.attempt()) {
            self.meters.at(held.work.row).lost += 1;
        }
    }

    pub(super) fn tidy_meters(&mut self) {
        let core = &self.core;
        let known = |name: &str| Name::new(name).is_ok_and(|name| core.knows(&name));
        self.meters.tidy(self.now, known);
    }

    /// All that was measured.
    pub(super) fn driven(&self) -> Driven {
        Driven {
            meters: Box::new(Meters::clone(&self.meters)),
            usage: self.core.usage(),
            capacity: self.core.capacity(),
            store_queue: self.store_ops,
            links: self.links.traffic(&self.meters),
        }
    }
}

impl Handle {
    /// What the driver measured; nothing if it has stopped.
    pub(crate) async fn driven(&self) -> Driven {
        self.look(|answer| Command::Driven { answer })
            .await
            .unwrap_or_default()
    }
}
