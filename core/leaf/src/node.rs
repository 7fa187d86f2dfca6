//! The node: bytes and time in, bytes out, and the core in between.

use super::bodies::Bodies;
use super::line::{Line, Received};
use super::memory::Memory;
use core::mem::MaybeUninit;
use redlink_core::wire::HEADER_MAX;
use redlink_core::{
    Answered, Attached, Bound, Config, Core, Deliver, Duration, Input, Instant, Kept, LinkId, Output, Part,
    Policy, Refused, Row, StoreOp, Submit, Tag, Terms, Verb,
};

/// What it serves.
const SERVICE: &str = "echo";
/// The consumer of it.
const CONSUMER: &str = "board";

/// A node in lent memory.
pub struct Leaf<'m> {
    /// Lent too: it is large for a stack, and would be there more than once while it is made.
    core: &'m mut Core<'m>,
    bodies: &'m mut Bodies,
    line: &'m mut Line,
    /// The serial line's present life.
    link: LinkId,
    /// The last tag that was used.
    tag: u64,
    /// The consumer has room: it is to ask for a message.
    idle: bool,
    progress: Progress,
}

/// Counts of a leaf's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Measurements that were accepted.
    pub accepted: u32,
    /// Measurements that have an outcome.
    pub settled: u32,
    /// Messages that were served.
    pub served: u32,
    /// Inputs that the core refused.
    pub refused: u32,
}

impl<'m> Leaf<'m> {
    /// A node whose serial line is up. Nothing needs to be in `memory` or `place` before.
    pub fn new(memory: &'m mut Memory, place: &'m mut MaybeUninit<Core<'m>>, config: Config) -> Self {
        let (core, bodies, line) = memory.lend(place, config);
        let mut leaf = Self {
            core,
            bodies,
            line,
            link: LinkId(0),
            tag: 0,
            idle: true,
            progress: Progress::default(),
        };
        let now = Instant::ZERO;
        leaf.input(now, Input::Start);
        let lease = Duration::from_secs(30);
        leaf.input(
            now,
            Input::Register {
                service: SERVICE,
                consumer: CONSUMER,
                limit: 1,
                lease,
                rate: None,
            },
        );
        leaf.connect(now);
        leaf
    }

    /// What it has done so far.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// When [`Leaf::poll`] is due next, if nothing comes in before.
    pub fn next(&self) -> Option<Instant> {
        self.core.poll_timeout().map(|deadline| deadline.at)
    }

    /// Bytes came in over the line.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        for &byte in bytes {
            match self.line.take(byte) {
                Ok(None) => {}
                Ok(Some(Received { header, body })) => {
                    let body = body.and_then(|bytes| self.bodies.keep(bytes));
                    let frame = Input::Frame {
                        link: self.link,
                        bytes: header,
                        body,
                    };
                    let kept = self.core.handle_input(now, frame);
                    if let (Some(body), Ok(Kept::Nothing) | Err(_)) = (body, kept) {
                        self.bodies.free(body);
                    }
                }
                Err(_) => self.reconnect(now),
            }
        }
    }

    /// The board measured something: a send-only message for `service`.
    ///
    /// # Errors
    /// Whatever the core refuses; nothing is kept then. Full is also what the leaf says without room for the payload.
    pub fn measure(&mut self, now: Instant, service: &str, payload: &[u8]) -> Result<(), Refused> {
        let tag = self.next_tag();
        if !self.bodies.submit(tag, payload) {
            return Err(Refused::Full(Bound::Messages));
        }
        let terms = Terms {
            send_only: true,
            ..Terms::default()
        };
        let submit = Submit {
            tag,
            service,
            terms,
            alternate: None,
            size: payload.len() as u64,
        };
        let taken = self.core.handle_input(now, Input::Submit(submit));
        if taken.is_err() {
            self.bodies.drop_submit(tag);
        }
        taken.map(|_| ())
    }

    /// Does what is due, and hands the bytes for the line to `send`.
    pub fn poll(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        if self.next().is_some_and(|at| at <= now) {
            self.core.handle_timeout(now);
        }
        let mut header = [0; HEADER_MAX];
        loop {
            while let Some(output) = self.core.poll_output(now, &mut header) {
                self.act(now, output, &header, &mut send);
            }
            if !self.idle {
                return;
            }
            let tag = self.next_tag();
            let take = Input::Take {
                tag,
                service: SERVICE,
                consumer: CONSUMER,
                max: 1,
            };
            self.idle = self.core.handle_input(now, take).is_err();
            if self.idle {
                return;
            }
        }
    }

    fn act(&mut self, now: Instant, output: Output, header: &[u8], send: &mut impl FnMut(&[u8])) {
        match output {
            Output::Store(op) => self.store(now, op),
            Output::Accepted { .. } => self.progress.accepted += 1,
            Output::Rejected { tag } => self.bodies.drop_submit(tag),
            Output::Settled { sequence, .. } => {
                self.progress.settled += 1;
                self.input(now, Input::Collect { sequence });
            }
            Output::Deliver(delivery) => self.serve(now, delivery),
            Output::Answered { result, .. } => {
                self.progress.served += u32::from(result == Answered::Done);
                self.idle = true;
            }
            // It has been answered already.
            Output::Lost { .. } => {}
            Output::Frame { len, attached, .. } => {
                let body = match attached {
                    Attached::Inline(payload) => self.bodies.get(payload).unwrap_or_default(),
                    // Nothing here is long enough to go apart.
                    Attached::Addressed { payload, .. } => self.bodies.get(payload).unwrap_or_default(),
                    Attached::Nothing | Attached::Apart { .. } | Attached::Direct { .. } => &[],
                };
                send(&(len as u32).to_be_bytes());
                send(&(body.len() as u32).to_be_bytes());
                send(&header[..len]);
                send(body);
            }
            // There is no second line, and no room for what would come over it.
            Output::Fetch { token, part, .. } => self.input(
                now,
                Input::Fetched {
                    token,
                    part,
                    body: None,
                },
            ),
            Output::FetchDirect { token, .. } => self.input(
                now,
                Input::NotDirect {
                    token,
                    part: Part::Payload,
                },
            ),
            Output::CloseLink { .. } => self.reconnect(now),
            Output::Free(body) => self.bodies.free(body),
            Output::Notice(_) => {}
        }
    }

    /// Memory is all the store there is: what it is told is there at once.
    fn store(&mut self, now: Instant, op: StoreOp) {
        let row = match op {
            StoreOp::Insert { tag, sequence } => {
                self.bodies.number(tag, sequence);
                Row::Insert(sequence)
            }
            StoreOp::Settle { sequence, .. } => {
                self.bodies.drop_message(sequence);
                Row::Settle(sequence)
            }
            StoreOp::Attempts { sequence, .. } => Row::Attempts(sequence),
            StoreOp::Delete { sequence } => Row::Delete(sequence),
            StoreOp::Keep { token, .. } => Row::Keep(token.attempt()),
            StoreOp::Drop { attempt } => Row::Drop(attempt),
        };
        self.input(now, Input::Stored { row, done: true });
    }

    /// The service itself.
    fn serve(&mut self, now: Instant, delivery: Deliver) {
        let (verb, body) = match self.bodies.copy(delivery.payload) {
            _ if delivery.send_only => (Verb::Ack, None),
            Some(body) => (Verb::Reply, (body.size > 0).then_some(body)),
            None => (Verb::Release, None),
        };
        let tag = self.next_tag();
        let answer = Input::Answer {
            tag,
            token: delivery.token,
            verb,
            body,
            direct: false,
        };
        let taken = self.core.handle_input(now, answer);
        if let (Some(body), Ok(Kept::Nothing) | Err(_)) = (body, taken) {
            self.bodies.free(body);
        }
        self.idle |= taken.is_err();
    }

    fn connect(&mut self, now: Instant) {
        self.link = LinkId(self.link.0 + 1);
        self.line.clear();
        self.input(
            now,
            Input::LinkUp {
                link: self.link,
                peer: "north",
                dialled: true,
                policy: Policy::default(),
            },
        );
    }

    fn reconnect(&mut self, now: Instant) {
        self.input(now, Input::LinkDown { link: self.link });
        self.connect(now);
    }

    /// An input that the leaf can do nothing else about if it is refused.
    fn input(&mut self, now: Instant, input: Input<'_>) {
        let refused = self.core.handle_input(now, input).is_err();
        self.progress.refused += u32::from(refused);
    }

    fn next_tag(&mut self) -> Tag {
        self.tag += 1;
        Tag(self.tag)
    }
}

#[cfg(test)]
mod tests;
