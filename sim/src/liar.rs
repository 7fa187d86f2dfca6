//! A node that lies: valid frames, false words. It is a member of the mesh, so it gets in; what it says is not true.
//!
//! It announces what it may not or with ways of others, withdraws and retracts what is not its own, offers other nodes'
//! messages, claims what was not offered to it, grants what it does not own, answers and extends with forged and with
//! replayed tokens, says `gone`, `settled`, `holding` and `no path` of what is not its business, takes work and never
//! answers, falls silent, and does each of it many times in a row.

use crate::disk::Content;
use crate::host::service_name;
use crate::net::Parcel;
use crate::rng::Rng;
use crate::scenario::{MS, SECOND, Time};
use crate::world::{Event, World};
use redlink_core::wire::{Frame, HEADER_MAX, HOPS, Hello, Path, Taken, VERSION};
use redlink_core::{Boot, ConsumerKey, Duration, Fence, GrantToken, MessageId, Name, NodeId, OfferId, Verb};

/// What it remembers of what it saw: enough to lie well.
#[derive(Debug, Default)]
pub(crate) struct Liar {
    generation: u32,
    /// Ends of connections that are up.
    ends: Vec<(usize, usize)>,
    nodes: Vec<NodeId>,
    messages: Vec<MessageId>,
    tokens: Vec<GrantToken>,
    /// It says nothing until then.
    mute_until: Time,
    pub(crate) said: u64,
}

/// The longest lease that it asks for, far more than anybody should believe.
const LEASE_MAX: Time = 10_000_000 * SECOND;

/// Most things of a kind that it remembers; the oldest gives way.
const REMEMBERED: usize = 64;

fn remember<T: PartialEq>(list: &mut Vec<T>, what: T) {
    if !list.contains(&what) {
        if list.len() == REMEMBERED {
            list.remove(0);
        }
        list.push(what);
    }
}

impl World {
    pub(crate) fn begin_to_lie(&mut self, h: usize) {
        self.hosts[h].life += 1;
        self.hosts[h].disk.boots += 1;
        self.hosts[h].liar = Some(Liar::default());
        self.log.line(self.now, format_args!("{h} begins to lie"));
        for cable in 0..self.cables.len() {
            if self.cables[cable].south == h {
                let delay = self.rng.liar.range(0, SECOND);
                self.after(delay, Event::Dial { cable, extra: false });
            }
        }
        self.lie_later(h);
    }

    /// The liar is found out: an honest node of the same name takes its place.
    pub(crate) fn liar_leaves(&mut self, h: usize) {
        let Some(liar) = self.hosts[h].liar.take() else {
            return;
        };
        self.log
            .line(self.now, format_args!("{h} leaves after {} lies", liar.said));
        for (conn, side) in liar.ends {
            self.lose_end(conn, side);
        }
        for cable in &mut self.cables {
            if cable.south == h {
                cable.current = None;
            }
        }
        let (life, wipes) = (self.hosts[h].life, self.hosts[h].wipes);
        self.hosts[h] = crate::host::Host::new(self.plan.seed, h, wipes + 1, self.plan.drift[h]);
        self.hosts[h].life = life;
        self.after(0, Event::Boot { host: h });
    }

    fn lie_later(&mut self, h: usize) {
        let life = self.hosts[h].life;
        let delay = self.rng.liar.spread(5 * MS, 2 * SECOND);
        self.after(delay, Event::Lie { host: h, life });
    }

    pub(crate) fn liar_up(&mut self, h: usize, conn: usize, side: usize) {
        let (node, boots, name) = (self.hosts[h].node, self.hosts[h].disk.boots, self.hosts[h].name());
        let (Ok(name), Ok(mesh)) = (Name::new(&name), Name::new("sim")) else {
            return;
        };
        let Some(liar) = self.hosts[h].liar.as_mut() else {
            return;
        };
        liar.ends.push((conn, side));
        liar.generation += 1;
        let generation = liar.generation;
        let boot = Boot {
            counter: boots,
            random: 7,
        };
        let hello = Hello {
            version: VERSION,
            mesh,
            name,
            node,
            boot,
            generation,
        };
        self.tell(h, conn, side, &Frame::Hello(hello), None);
        self.tell(h, conn, side, &Frame::HoldingEnd, None);
        let announce = self.announce(h, 0);
        self.tell(h, conn, side, &announce, None);
    }

    fn tell(&mut self, h: usize, conn: usize, side: usize, frame: &Frame, content: Option<Content>) {
        let mut buffer = [0; HEADER_MAX];
        let Some(len) = frame.encode(&mut buffer) else {
            return;
        };
        self.log
            .line(self.now, format_args!("{h} lies on {conn}: {frame:?}"));
        if let Some(liar) = self.hosts[h].liar.as_mut() {
            liar.said += 1;
        }
        let delay = self.delay();
        let header = buffer[..len].to_vec();
        self.send(conn, 1 - side, Parcel { header, content }, delay);
    }

    /// What it hears it remembers; some of it gets an answer, seldom a true one.
    pub(crate) fn liar_hears(&mut self, h: usize, conn: usize, side: usize, parcel: &Parcel) {
        let Some(frame) = Frame::decode(&parcel.header) else {
            return;
        };
        self.note(h, &frame);
        let Some(liar) = self.hosts[h].liar.as_ref() else {
            return;
        };
        if liar.mute_until > self.now {
            return;
        }
        let me = self.hosts[h].node;
        let dice = self.rng.liar.below(10);
        let answer = match frame {
            Frame::Ping => Some(Frame::Pong),
            // Takes everything that it can get.
            Frame::Offer { offer, .. } => match dice {
                0..6 => Some(Frame::Claim {
                    offer,
                    node: me,
                    consumer: ConsumerKey(self.rng.liar.below(4)),
                    lease: self.lease(),
                }),
                6 => Some(Frame::Decline {
                    offer,
                    floor: Some(255),
                }),
                _ => None,
            },
            Frame::Claim {
                offer,
                node,
                consumer,
                ..
            } => match dice {
                0..3 => Some(Frame::Gone {
                    message: offer.message,
                    node,
                    consumer,
                }),
                3..7 => {
                    let token = self.invent(offer.message, node, consumer);
                    return self.grant(h, conn, side, token);
                }
                _ => None,
            },
            // It never answers a grant as it should.
            Frame::Grant { token, .. } if dice < 3 => return self.answer(h, conn, side, token),
            Frame::Answer { token, .. } | Frame::Holding { token, .. } => match dice {
                0..4 => Some(Frame::Settled {
                    token,
                    taken: Taken::Done,
                }),
                4..6 => Some(Frame::NoPath { token }),
                _ => None,
            },
            _ => None,
        };
        if let Some(answer) = answer {
            self.tell(h, conn, side, &answer, None);
        }
        // Some of it goes on, as if it were its own.
        if matches!(
            Frame::decode(&parcel.header),
            Some(Frame::Claim { .. } | Frame::Grant { .. } | Frame::Answer { .. } | Frame::Retract { .. })
        ) && self.rng.liar.chance(200)
        {
            let ends = self.hosts[h].liar.as_ref().map(|liar| liar.ends.clone());
            if let Some(&(conn, side)) = self.rng.liar.pick(&ends.unwrap_or_default()) {
                let delay = self.delay();
                self.send(conn, 1 - side, parcel.clone(), delay);
            }
        }
    }

    fn note(&mut self, h: usize, frame: &Frame) {
        let Some(liar) = self.hosts[h].liar.as_mut() else {
            return;
        };
        match frame {
            Frame::Seek { token, .. } => {
                remember(&mut liar.tokens, *token);
                self.check.lies.learns(token);
            }
            Frame::Hello(hello) => remember(&mut liar.nodes, hello.node),
            Frame::Announce { path, .. } => {
                for &node in path.iter() {
                    remember(&mut liar.nodes, node);
                }
            }
            Frame::Offer { offer, .. } | Frame::Claim { offer, .. } => {
                remember(&mut liar.messages, offer.message);
            }
            Frame::Grant { token, .. }
            | Frame::Answer { token, .. }
            | Frame::Settled { token, .. }
            | Frame::NoPath { token }
            | Frame::Holding { token, .. } => {
                remember(&mut liar.tokens, *token);
                self.check.lies.learns(token);
            }
            _ => {}
        }
    }

    fn lease(&mut self) -> Duration {
        let most = [SECOND, 30 * SECOND, LEASE_MAX];
        let lease = self.rng.liar.pick(&most).copied().unwrap_or(SECOND);
        Duration::from_micros(lease)
    }

    /// Now and then it says something unasked, sometimes often.
    pub(crate) fn on_lie(&mut self, h: usize, life: u32) {
        if !self.is_life(h, life) {
            return;
        }
        self.lie_later(h);
        let Some(liar) = self.hosts[h].liar.as_mut() else {
            return;
        };
        let conns = &self.conns;
        liar.ends.retain(|&(conn, side)| conns[conn].is_open(side));
        if liar.mute_until > self.now || liar.ends.is_empty() {
            return;
        }
        if self.rng.liar.chance(10) {
            let until = self.now + self.rng.liar.spread(SECOND, 40 * SECOND);
            if let Some(liar) = self.hosts[h].liar.as_mut() {
                liar.mute_until = until;
            }
            return;
        }
        let times = if self.rng.liar.chance(50) {
            self.rng.liar.range(10, 60)
        } else {
            1
        };
        let topic = self.rng.liar.below(17);
        let ends = self.hosts[h].liar.as_ref().map(|liar| liar.ends.clone());
        let Some(&(conn, side)) = self.rng.liar.pick(&ends.unwrap_or_default()) else {
            return;
        };
        for _ in 0..times {
            self.lie(h, conn, side, topic);
        }
    }

    fn lie(&mut self, h: usize, conn: usize, side: usize, topic: u64) {
        let me = self.hosts[h].node;
        let message = self.some_message(h);
        let token = self.some_token(h, message);
        let offer = OfferId {
            message,
            alternate: self.rng.liar.chance(250),
        };
        let node = self.some_node(h);
        let services = self.plan.services as u64 + 1;
        let number = self.rng.liar.below(services) as usize;
        let name = Name::new(&service_name(number));
        let Ok(service) = name else { return };
        let frame = match topic {
            0 => self.announce(h, number),
            1 => Frame::Withdraw { service },
            2..5 => {
                // Its own, one of somebody else, or one with a way of somebody else.
                let own = MessageId {
                    node: me,
                    sequence: self.rng.liar.range(1, 1_000),
                };
                let message = if topic == 2 { own } else { message };
                let mut path = Path::new();
                let _ = path.push(message.node);
                if message.node != me {
                    let _ = path.push(if topic == 4 { node } else { me });
                }
                let urgent = self.rng.liar.chance(500);
                Frame::Offer {
                    offer: OfferId { message, ..offer },
                    service,
                    priority: if urgent { 255 } else { 0 },
                    age: Duration::from_micros(self.rng.liar.below(100 * SECOND)),
                    remaining: Some(Duration::from_micros(self.rng.liar.spread(SECOND, 100 * SECOND)))
                        .filter(|_| urgent),
                    path,
                    copies: self.rng.liar.below(255) as u8,
                    sure: self.rng.liar.chance(500),
                }
            }
            5 => Frame::Retract { offer },
            6 => Frame::Decline {
                offer,
                floor: self.rng.liar.chance(500).then_some(255),
            },
            7 => Frame::Claim {
                offer,
                node,
                consumer: token.consumer,
                lease: self.lease(),
            },
            8 => return self.grant(h, conn, side, token),
            9 => Frame::Gone {
                message,
                node,
                consumer: token.consumer,
            },
            10 => return self.answer(h, conn, side, token),
            11 => Frame::Settled {
                token,
                taken: if self.rng.liar.chance(500) {
                    Taken::Done
                } else {
                    Taken::Over
                },
            },
            12 => {
                let mut path = Path::new();
                let _ = path.push(token.message.node);
                let _ = path.push(node);
                Frame::Holding {
                    token,
                    lease: self.lease(),
                    path,
                }
            }
            13 => Frame::NoPath { token },
            14 => {
                let mut path = Path::new();
                let _ = path.push(token.message.node);
                let _ = path.push(me);
                Frame::Seek { token, service, path }
            }
            15 if self.rng.liar.chance(500) => Frame::Reverse { token },
            15 => Frame::Refresh,
            _ => Frame::HoldingEnd,
        };
        self.tell(h, conn, side, &frame, None);
    }

    /// It reaches that service, it says, by a way that may be anything.
    fn announce(&mut self, h: usize, service: usize) -> Frame {
        let mut path = Path::new();
        let first = if self.rng.liar.chance(850) {
            self.hosts[h].node
        } else {
            self.some_node(h)
        };
        let _ = path.push(first);
        if self.rng.liar.chance(300) {
            for _ in 0..self.rng.liar.below(HOPS as u64) {
                let node = self.some_node(h);
                let _ = path.push(node);
            }
        }
        let window = self.rng.liar.pick(&[0, 1, 256, u16::MAX]).copied().unwrap_or(1);
        let room = self.rng.liar.pick(&[0, 1, u16::MAX]).copied().unwrap_or(0);
        let name = Name::new(&service_name(service));
        match name {
            Ok(service) => Frame::Announce {
                service,
                window,
                room,
                path,
            },
            Err(_) => Frame::Ping,
        }
    }

    fn some_node(&mut self, h: usize) -> NodeId {
        let known = self.hosts[h].liar.as_ref().map_or(&[][..], |liar| &liar.nodes);
        let dice = &mut self.rng.liar;
        let stranger = NodeId(dice.bits());
        match dice.pick(known) {
            Some(&node) if !dice.chance(100) => node,
            _ => stranger,
        }
    }

    /// One that it heard of, or one whose number it can guess.
    fn some_message(&mut self, h: usize) -> MessageId {
        let node = self.some_node(h);
        let known = self.hosts[h].liar.as_ref().map_or(&[][..], |liar| &liar.messages);
        let dice = &mut self.rng.liar;
        match dice.pick(known) {
            Some(&message) if dice.chance(400) => message,
            // The next ones will come.
            Some(&message) if dice.chance(500) => MessageId {
                sequence: message.sequence + dice.range(1, 4),
                ..message
            },
            _ => MessageId {
                node,
                sequence: dice.range(1, 200),
            },
        }
    }

    fn invent(&mut self, message: MessageId, node: NodeId, consumer: ConsumerKey) -> GrantToken {
        let dice: &mut Rng = &mut self.rng.liar;
        GrantToken {
            message,
            inserted: 1,
            fence: Fence {
                boot: dice.range(1, 3) as u32,
                attempt: dice.range(1, 4) as u32,
            },
            node,
            consumer,
            mac: core::array::from_fn(|_| dice.bits() as u8),
        }
    }

    /// One that it saw, as it was or changed, or one of its own making.
    fn some_token(&mut self, h: usize, message: MessageId) -> GrantToken {
        let node = self.some_node(h);
        let known = self.hosts[h].liar.as_ref().map_or(&[][..], |liar| &liar.tokens);
        let dice = &mut self.rng.liar;
        let consumer = ConsumerKey(dice.below(4));
        match dice.pick(known) {
            Some(&token) if dice.chance(700) => {
                let mut token = token;
                match dice.below(6) {
                    0 => token.fence.attempt += 1,
                    1 => token.node = node,
                    2 => token.mac[0] ^= 1,
                    _ => {}
                }
                token
            }
            _ => self.invent(message, node, consumer),
        }
    }

    fn grant(&mut self, h: usize, conn: usize, side: usize, token: GrantToken) {
        let size = self.rng.liar.below(64);
        let inline = self.rng.liar.chance(800) || size == 0;
        let direct = self.rng.liar.chance(200);
        let frame = Frame::Grant {
            token,
            priority: self.rng.liar.below(256) as u8,
            remaining: self
                .rng
                .liar
                .chance(500)
                .then_some(Duration::from_micros(20 * SECOND)),
            size,
            send_only: self.rng.liar.chance(500),
            inline,
            direct,
        };
        let content = match direct && !inline {
            // Where it says to be had is nowhere.
            true => self.rng.liar.chance(500).then_some(Content::EMPTY),
            false => self.made_up(size, inline),
        };
        self.tell(h, conn, side, &frame, content);
    }

    fn answer(&mut self, h: usize, conn: usize, side: usize, token: GrantToken) {
        let verbs = [Verb::Reply, Verb::Ack, Verb::Fail, Verb::Extend, Verb::Release];
        let verb = self.rng.liar.pick(&verbs).copied().unwrap_or(Verb::Reply);
        let size = match verb {
            Verb::Reply | Verb::Fail => self.rng.liar.below(64),
            _ => 0,
        };
        let inline = self.rng.liar.chance(800) || size == 0;
        let content = self.made_up(size, inline);
        let frame = Frame::Answer {
            token,
            verb,
            size,
            inline,
            direct: self.rng.liar.chance(200),
        };
        self.tell(h, conn, side, &frame, content);
    }

    fn made_up(&mut self, size: u64, inline: bool) -> Option<Content> {
        let mark = self.number() + (1 << 61);
        (inline && size > 0).then_some(Content { mark, size })
    }
}
