//! The driver's side of payloads that go straight between an origin and the consumer's node (`link/direct.rs` moves them).

use super::contents::{Outgoing, Source};
use super::trace::Step;
use super::turn::{Driver, Held, Next};
use crate::link::direct::Job;
use crate::link::transfer::TransferKey;
use redlink_core::{Body, GrantToken, Input, Part, Payload};
use std::sync::Arc;

impl Driver {
    /// A content with the address of this node beside it.
    pub(super) fn addressed(&self, source: Source) -> Source {
        match source {
            Source::Memory(mut content) => {
                content.origin.clone_from(&self.settings.advertise);
                Source::Memory(content)
            }
            // Read from the disk when its turn comes, with nothing beside it: then only the answer takes the longer way.
            stored => stored,
        }
    }

    /// A payload is to be had at its origin.
    pub(super) fn fetch_direct(&mut self, token: GrantToken, size: u64, address: Body) {
        let key = TransferKey {
            token,
            part: Part::Payload,
        };
        let job = self
            .origin_in(address)
            .map(|origin| Job::Get { key, size, origin });
        if size > self.shared.payload_max {
            self.tally.payloads_too_large += 1;
            tracing::warn!(message = %token.message, size, "an origin's payload is larger than this node takes");
            self.next.push_back(Next::Fetched(key, None));
        } else {
            self.set_out(key, job);
        }
    }

    /// An answer is to be brought to its origin.
    pub(super) fn bring_direct(&mut self, token: GrantToken, payload: Payload) {
        let key = TransferKey {
            token,
            part: Part::Reply,
        };
        // It is said again while it is on its way, and its consumer may be done with it by then.
        if !self.transfers.brings(key) {
            return;
        }
        let job = self.origin_of(&token).and_then(|origin| {
            let source = self.outgoing(payload)?;
            Some(Job::Bring { key, source, origin })
        });
        self.set_out(key, job);
    }

    fn set_out(&mut self, key: TransferKey, job: Option<Job>) {
        let sent = job.is_some_and(|job| self.direct.send(job).is_ok());
        if !sent {
            self.next.push_back(Next::NotDirect(key));
        }
    }

    /// Where the origin of a delivery can be reached, if it came with its payload.
    pub(super) fn origin_of(&self, token: &GrantToken) -> Option<Arc<str>> {
        match self.deliveries.get(&token.attempt()) {
            Some(&Held {
                token: known,
                payload: Payload::Held(body),
                ..
            }) if known == *token => self.origin_in(body),
            _ => None,
        }
    }

    fn origin_in(&self, body: Body) -> Option<Arc<str>> {
        match self.contents.outgoing(body)? {
            Outgoing::Whole(Source::Memory(content)) => content.origin,
            _ => None,
        }
    }

    /// What was to go straight can't: it goes along the way of the offer.
    pub(super) fn not_direct(&mut self, key: TransferKey) {
        self.tally.payloads_not_direct += 1;
        self.transfers.brought(&key);
        let TransferKey { token, part } = key;
        let what = match part {
            Part::Payload => "can't be had at its origin itself",
            Part::Reply => "of the answer can't be brought to the origin itself",
        };
        let attempt = token.fence.attempt;
        self.trace
            .step(self.wall, Step::Payload, token.message, attempt, [what, ""]);
        self.tell(Input::NotDirect { token, part });
    }
}
