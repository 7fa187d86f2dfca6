//! What is to be told about deliveries.

use super::Said;
use crate::data::slab::Ix;
use crate::engine::Core;
use crate::engine::slots::{Keeping, Source, Stage};
use crate::id::OfferId;
use crate::input::{Part, Verb};
use crate::output::{Attached, Deliver, Output, Payload, StoreOp};
use crate::wire::Frame;

impl Core<'_> {
    pub(super) fn emit_delivery(&mut self, d: Ix, buffer: &mut [u8]) -> Said {
        let Some(slot) = self.deliveries.get_mut(d) else {
            return Said::Nothing;
        };
        let (token, source, lease) = (slot.token, slot.source, slot.lease);
        let out = &mut slot.out;
        if out.claim {
            out.claim = false;
            let Source::Peer(peer) = source else {
                return Said::Again;
            };
            let frame = Frame::Claim {
                offer: OfferId {
                    message: token.message,
                    alternate: slot.alternate,
                },
                node: token.node,
                consumer: token.consumer,
                lease,
            };
            return Self::say_or_again(self.send(peer, &frame, buffer));
        }
        if out.fetch {
            out.fetch = false;
            let size = slot.size;
            if let (true, Some(Payload::Held(address))) = (slot.direct, slot.payload) {
                // It has served when that is polled.
                out.free_payload = true;
                return Said::Out(Output::FetchDirect { token, size, address });
            }
            let Source::Peer(peer) = source else {
                return Said::Again;
            };
            let Some(link) = self.peers[peer].link else {
                return Said::Again;
            };
            return Said::Out(Output::Fetch {
                link,
                token,
                part: Part::Payload,
                size,
                direct: false,
            });
        }
        if out.reverse {
            out.reverse = false;
            let Source::Peer(peer) = source else {
                return Said::Again;
            };
            return Self::say_or_again(self.send(peer, &Frame::Reverse { token }, buffer));
        }
        if out.deliver {
            out.deliver = false;
            return self.emit_deliver(d);
        }
        if out.lost {
            out.lost = false;
            return Said::Out(Output::Lost {
                token,
                why: slot.lost,
            });
        }
        if out.release || out.extend {
            let verb = match (out.release, out.unseen) {
                (false, _) => Verb::Extend,
                (true, false) => Verb::Release,
                (true, true) => Verb::Return,
            };
            out.release = false;
            out.extend = false;
            let Source::Peer(peer) = source else {
                return Said::Again;
            };
            let frame = Frame::Answer {
                token,
                verb,
                size: 0,
                inline: true,
                direct: false,
            };
            return Self::say_or_again(self.send(peer, &frame, buffer));
        }
        if out.say {
            out.say = false;
            let Source::Peer(peer) = source else {
                return Said::Again;
            };
            let path = slot.path;
            // Said of one that is over, so that its release finds a way.
            slot.out.release |= slot.stage == Stage::Over;
            self.said(peer);
            return Self::say_or_again(self.send(peer, &Frame::Holding { token, lease, path }, buffer));
        }
        if out.answer {
            out.answer = false;
            return self.emit_answer(d, buffer);
        }
        if out.keep {
            out.keep = false;
            let (Some(verb), body, deadline, path) = (slot.verb, slot.answer, slot.deadline, slot.path)
            else {
                return Said::Again;
            };
            let remaining = self.left(deadline).unwrap_or(self.config.timing.reply_life);
            return Said::Out(Output::Store(StoreOp::Keep {
                token,
                verb,
                body,
                remaining,
                path,
            }));
        }
        if out.drop {
            out.drop = false;
            return Said::Out(Output::Store(StoreOp::Drop {
                attempt: token.attempt(),
            }));
        }
        if out.answered {
            out.answered = false;
            let result = slot.result;
            return match slot.asked.take() {
                Some(tag) => Said::Out(Output::Answered { tag, result }),
                None => Said::Again,
            };
        }
        if out.free_payload {
            out.free_payload = false;
            return match slot.payload.take() {
                Some(Payload::Held(body)) => Said::Out(Output::Free(body)),
                _ => Said::Again,
            };
        }
        // While the store may still read it, the answer's body stays.
        let storing = matches!(slot.keeping, Keeping::Storing);
        if out.free_answer && !storing {
            out.free_answer = false;
            return slot
                .answer
                .take()
                .map_or(Said::Again, |body| Said::Out(Output::Free(body)));
        }
        if slot.stage == Stage::Over && slot.keeping == Keeping::No {
            self.current = None;
            self.free_delivery(d);
        }
        Said::Nothing
    }

    pub(super) fn emit_deliver(&mut self, d: Ix) -> Said {
        let slot = &self.deliveries[d];
        let Some(c) = slot.consumer.filter(|_| slot.stage == Stage::Ready) else {
            return Said::Again;
        };
        // P3: what is late is ended by the timer that is due.
        if self.is_late(slot.deadline) {
            return Said::Again;
        }
        if !self.consumers[c].has_place() {
            self.consumers[c].blocked = true;
            return Said::Again;
        }
        // Its rate was lowered while it came: it waits a little for a token, or goes back.
        if self.consumers[c].bucket.tokens(self.now) == 0 {
            return Said::Again;
        }
        let Some(take) = self.use_take(c) else {
            return Said::Again;
        };
        self.consumers[c].bucket.take(self.now);
        self.consumers[c].coming -= 1;
        self.set_stage(d, Stage::Held);
        let slot = &mut self.deliveries[d];
        slot.wake = Some(self.now + slot.lease);
        self.time_delivery(d);
        self.refresh_consumer(c);
        let slot = &self.deliveries[d];
        let sequence = slot.token.message.sequence;
        let payload = match (slot.source, slot.payload) {
            // Also if it has no bytes: the caller has more to say of it.
            (Source::Local, _) => Payload::Own {
                sequence,
                size: slot.size,
            },
            (_, payload) => payload.unwrap_or(Payload::Empty),
        };
        Said::Out(Output::Deliver(Deliver {
            take,
            token: slot.token,
            payload,
            send_only: slot.send_only,
            priority: slot.priority,
            remaining: self.left(slot.deadline),
            lease: slot.lease,
        }))
    }

    pub(super) fn emit_answer(&mut self, d: Ix, buffer: &mut [u8]) -> Said {
        let slot = &self.deliveries[d];
        let (token, body) = (slot.token, slot.answer);
        let (Source::Peer(peer), Some(verb)) = (slot.source, slot.verb) else {
            return Said::Again;
        };
        let size = body.map_or(0, |body| body.size);
        let (mut attached, inline) = match body {
            Some(body) => self.attach(Payload::Held(body), size, token, Part::Reply),
            None => (Attached::Nothing, true),
        };
        let direct = slot.direct && !inline;
        if let Some(body) = body.filter(|_| direct) {
            let payload = Payload::Held(body);
            attached = Attached::Direct { payload, token };
        }
        let frame = Frame::Answer {
            token,
            verb,
            size,
            inline,
            direct,
        };
        Self::say_or_again(self.send_with(peer, &frame, attached, buffer))
    }
}
