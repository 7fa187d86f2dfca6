//! What is to be told about messages of this node.

use super::Said;
use super::mesh::next_copy;
use crate::data::slab::Ix;
use crate::engine::Core;
use crate::engine::slots::{COPIES, Holder, State, Writing};
use crate::input::Part;
use crate::output::{Attached, Output, Payload, StoreOp};
use crate::wire::{Frame, Path, Taken};

impl Core<'_> {
    pub(super) fn emit_message(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
        let Some(m) = self.messages.get_mut(ix) else {
            return Said::Nothing;
        };
        let (sequence, size) = (m.sequence, m.size);
        if m.out.insert {
            m.out.insert = false;
            return Said::Out(Output::Store(StoreOp::Insert { tag: m.tag, sequence }));
        }
        if m.out.accepted {
            m.out.accepted = false;
            return Said::Out(Output::Accepted { tag: m.tag, sequence });
        }
        if m.out.copies {
            return self.emit_copy(ix, buffer);
        }
        if m.out.attempts && m.writing != Writing::Asked {
            m.out.attempts = false;
            m.writing = Writing::Asked;
            let attempts = m.attempts();
            return Said::Out(Output::Store(StoreOp::Attempts { sequence, attempts }));
        }
        if m.out.grant {
            m.out.grant = false;
            return self.emit_grant(ix, size, buffer);
        }
        if m.out.fetch {
            m.out.fetch = false;
            let (holder, size, direct) = (m.holder, m.reply_size, m.reply_direct);
            let token = self.token_of(ix);
            let Holder::Peer(peer) = holder else {
                return Said::Again;
            };
            let Some(link) = self.peers[peer].link else {
                return Said::Again;
            };
            return Said::Out(Output::Fetch {
                link,
                token,
                part: Part::Reply,
                size,
                direct,
            });
        }
        if m.out.settle {
            m.out.settle = false;
            let (outcome, answered, body) = (m.outcome, m.answered, m.body);
            let retention = crate::engine::origin::from_millis(m.retention_ms);
            let Some(outcome) = outcome else {
                return Said::Again;
            };
            let token = answered.then(|| self.token_of(ix));
            return Said::Out(Output::Store(StoreOp::Settle {
                sequence,
                outcome,
                token,
                body,
                retention,
            }));
        }
        if m.out.settled {
            m.out.settled = false;
            let Some(outcome) = m.outcome else {
                return Said::Again;
            };
            return Said::Out(Output::Settled { sequence, outcome });
        }
        if m.out.tell {
            m.out.tell = false;
            let taken = if m.answered { Taken::Done } else { Taken::Over };
            let Holder::Peer(peer) = m.holder else {
                return Said::Again;
            };
            let token = self.token_of(ix);
            return Self::say_or_again(self.send(peer, &Frame::Settled { token, taken }, buffer));
        }
        if m.out.free {
            m.out.free = false;
            return m
                .body
                .take()
                .map_or(Said::Again, |body| Said::Out(Output::Free(body)));
        }
        if m.out.delete {
            m.out.delete = false;
            return Said::Out(Output::Store(StoreOp::Delete { sequence }));
        }
        Said::Nothing
    }

    /// The next copy of a message that is to be offered or retracted.
    pub(super) fn emit_copy(&mut self, ix: Ix, buffer: &mut [u8]) -> Said {
        let m = &mut self.messages[ix];
        let Some(copy) = next_copy(&mut m.copies) else {
            m.out.copies = false;
            // A place that a retract held is free now.
            if matches!(m.state, State::Waiting | State::Offered) {
                self.place(ix);
            } else if m.alternate {
                self.current = None;
                self.free_alternate(ix);
                return Said::Nothing;
            }
            return Said::Again;
        };
        let m = &self.messages[ix];
        let mut path = Path::new();
        let _ = path.push(self.config.node);
        let offer = self.offer_id(ix);
        let frame = Frame::Offer {
            offer,
            service: self.services[m.service].name.clone(),
            priority: m.priority,
            age: self.now.since(self.born(m.rank, m.priority)),
            remaining: m.deadline.map(|at| self.now.until(at)),
            path,
            copies: COPIES as u8,
            sure: copy.sure,
        };
        self.emit_placing(copy, offer, &frame, buffer)
    }

    pub(super) fn emit_grant(&mut self, ix: Ix, size: u64, buffer: &mut [u8]) -> Said {
        let m = &self.messages[ix];
        let Holder::Peer(peer) = m.holder else {
            return Said::Again;
        };
        // P3: nothing is granted after the deadline; the timer that is due settles it.
        if m.state != State::Granted || self.is_late(m.deadline) {
            return Said::Again;
        }
        let token = self.token_of(ix);
        let payload = Payload::Own {
            sequence: m.sequence,
            size,
        };
        let (mut attached, inline) = self.attach(payload, size, token, Part::Payload);
        if size == 0 {
            // What the caller has to say of it goes along.
            attached = Attached::Inline(payload);
        }
        // Whoever is next to this node has the shortest way already.
        let around =
            self.config.direct && m.direct && !m.reversed && self.peers[peer].node != Some(m.holder_node);
        if around {
            attached = Attached::Addressed {
                payload,
                apart: (!inline).then_some(token),
            };
        }
        let frame = Frame::Grant {
            token,
            priority: m.priority,
            remaining: self.left(m.deadline),
            size,
            send_only: m.send_only,
            inline,
            direct: around && !inline,
        };
        Self::say_or_again(self.send_with(peer, &frame, attached, buffer))
    }
}
