//! Payloads that go straight between an origin and a consumer's node, around the nodes between. Whether one of them reaches
//! the other is a matter of luck: firewalls, proxies and addresses that are true elsewhere are none of the core's business.

use crate::disk::Content;
use crate::scenario::{MS, SECOND, Time};
use crate::world::{Event, World};
use redlink_core::{Body, GrantToken, Input, NodeId, Part, Payload};

/// How long an origin waits for what is to be brought to it.
const EXPECTED: Time = 60 * SECOND;
/// How long, and how often, what is brought waits for the frame that announces it.
const EARLY: Time = 500 * MS;
const TRIES: u32 = 8;

/// One such payload.
#[derive(Clone, Debug)]
pub(crate) struct Straight {
    /// Where it is now, in this life.
    pub(crate) host: usize,
    life: u32,
    token: GrantToken,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    /// The consumer's node gets it from the origin.
    Get { size: u64 },
    /// The consumer's node sets out with an answer.
    Bring(Content),
    /// It arrives at the origin.
    Arrive {
        content: Content,
        /// Whose it is, in which life.
        from: (usize, u32),
        tries: u32,
    },
    /// It did not arrive.
    Failed,
    /// The origin gives up waiting.
    Late,
}

impl World {
    fn straight(&mut self, host: usize, token: GrantToken, step: Step, delay: Time) {
        let straight = Straight {
            host,
            life: self.hosts[host].life,
            token,
            step,
        };
        self.after(delay, Event::Straight(straight));
    }

    fn host_of(&self, node: NodeId) -> Option<usize> {
        let found = self.hosts.iter().position(|host| host.node == node);
        found.filter(|&host| self.hosts[host].live.is_some())
    }

    /// A core wants a payload from its origin.
    pub(crate) fn fetch_direct(&mut self, h: usize, token: GrantToken, size: u64, address: Body) {
        if self.hosts[h].resolve(Payload::Held(address)).is_none() {
            return self.check.fail(
                "bodies",
                format!("{address:?} says where {token:?} is, and is not held"),
            );
        }
        let delay = self.delay();
        self.straight(h, token, Step::Get { size }, delay);
    }

    /// A core wants an answer to be brought to its origin.
    pub(crate) fn bring(&mut self, h: usize, token: GrantToken, payload: Payload) {
        let Some(content) = self.hosts[h].resolve(payload) else {
            return self.check.fail(
                "bodies",
                format!("{payload:?} answers {token:?}, and is not there"),
            );
        };
        let delay = self.delay();
        self.straight(h, token, Step::Bring(content), delay);
    }

    /// A core waits for an answer to be brought.
    pub(crate) fn expect(&mut self, h: usize, token: GrantToken) {
        if let Some(live) = self.hosts[h].live.as_mut() {
            live.expected.insert(token.attempt());
        }
        self.straight(h, token, Step::Late, EXPECTED);
    }

    pub(crate) fn on_straight(&mut self, straight: Straight) {
        let Straight {
            host,
            life,
            token,
            step,
        } = straight;
        if !self.is_life(host, life) {
            return;
        }
        let passes = self.rng.net.chance(700);
        match step {
            Step::Get { size } => {
                let part = Part::Payload;
                let origin = self.host_of(token.message.node).filter(|_| passes);
                let payload = origin.and_then(|origin| {
                    let origin = &self.hosts[origin];
                    let payload = origin.live.as_ref()?.apart.get(&(token.attempt(), part))?;
                    origin.resolve(*payload).filter(|content| content.size == size)
                });
                let body = payload.map(|content| self.new_body(host, content));
                self.must(
                    host,
                    match body {
                        Some(_) => Input::Fetched { token, part, body },
                        None => Input::NotDirect { token, part },
                    },
                );
            }
            Step::Bring(content) => match self.host_of(token.message.node).filter(|_| passes) {
                Some(origin) => {
                    let from = (host, life);
                    let delay = self.delay();
                    let arrive = Step::Arrive {
                        content,
                        from,
                        tries: TRIES,
                    };
                    self.straight(origin, token, arrive, delay);
                }
                None => self.not_brought(host, token),
            },
            Step::Arrive { content, from, tries } => {
                let live = self.hosts[host].live.as_mut();
                if live.is_some_and(|live| live.expected.remove(&token.attempt())) {
                    let body = Some(self.new_body(host, content));
                    let part = Part::Reply;
                    self.must(host, Input::Fetched { token, part, body });
                } else if let Some(tries) = tries.checked_sub(1) {
                    let again = Step::Arrive { content, from, tries };
                    self.straight(host, token, again, EARLY);
                } else if self.is_life(from.0, from.1) {
                    self.straight(from.0, token, Step::Failed, MS);
                }
            }
            Step::Failed => self.not_brought(host, token),
            Step::Late => {
                let live = self.hosts[host].live.as_mut();
                if live.is_some_and(|live| live.expected.remove(&token.attempt())) {
                    let (part, body) = (Part::Reply, None);
                    self.must(host, Input::Fetched { token, part, body });
                }
            }
        }
    }

    fn not_brought(&mut self, host: usize, token: GrantToken) {
        let part = Part::Reply;
        self.must(host, Input::NotDirect { token, part });
    }
}
