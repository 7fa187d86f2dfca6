//! Links: ordered streams of encoded frames, as TLS over TCP gives them.
//!
//! Inside one connection nothing is lost, repeated or reordered. What happens instead: the stream ends anywhere, so
//! that its tail is lost; an end learns of it late or by silence only; frames of an old connection arrive when a new
//! one is up already. Where a run says `mangle`, frames are also damaged, repeated, reordered and invented: then only
//! what no lie may break is required.

use crate::check::order::{Choice, Reserved};
use crate::disk::Content;
use crate::host::service_number;
use crate::mesh::PolicyPlan;
use crate::scenario::{Kind, MS, SECOND, Time};
use crate::world::{Event, Transfer, World};
use redlink_core::wire::Frame;
use redlink_core::{Attached, Fault, Input, LinkId, NodeId, Part, Payload};

/// What a south node is configured to dial.
#[derive(Debug)]
pub(crate) struct Cable {
    pub(crate) south: usize,
    pub(crate) north: usize,
    /// The connection that the south end believes in.
    pub(crate) current: Option<usize>,
    pub(crate) parted_until: Time,
    pub(crate) mangled_until: Time,
    /// What is sent towards the south end, and towards the north end, arrives no sooner.
    pub(crate) stalled_until: [Time; 2],
    /// What the south end lets pass now, and the north end.
    pub(crate) policies: [PolicyPlan; 2],
}

impl Cable {
    pub(crate) fn new(south: usize, north: usize, policies: [PolicyPlan; 2]) -> Self {
        Self {
            south,
            north,
            policies,
            stalled_until: [0; 2],
            current: None,
            parted_until: 0,
            mangled_until: 0,
        }
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) host: usize,
    life: u32,
    node: NodeId,
    link: Option<LinkId>,
    /// It will not come up, or is gone again.
    over: bool,
    /// When the last frame under way to this end arrives.
    last_arrival: Time,
    /// Frames that would arrive here later than that are lost.
    lost_after: Time,
}

/// One connection; the dialling end is 0.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) cable: usize,
    pub(crate) ends: [End; 2],
    cut: bool,
}

impl Conn {
    /// Whether both ends are up and nothing is lost between them.
    pub(crate) fn is_whole(&self) -> bool {
        !self.cut
            && self
                .ends
                .iter()
                .all(|end| !end.over && end.link.is_some() && end.lost_after == Time::MAX)
    }

    /// Whether this end may still say something.
    pub(crate) fn is_open(&self, side: usize) -> bool {
        !self.cut && !self.ends[side].over
    }
}

/// A frame on its way.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) header: Vec<u8>,
    pub(crate) content: Option<Content>,
}

impl World {
    pub(crate) fn on_dial(&mut self, c: usize, extra: bool) {
        let (south, north) = (self.cables[c].south, self.cables[c].north);
        if !self.hosts[south].is_up() || (self.cables[c].current.is_some() && !extra) {
            return;
        }
        if !self.hosts[north].is_up() || self.cables[c].parted_until > self.now {
            if !extra {
                self.redial(c);
            }
            return;
        }
        let (there, back) = (self.now + self.delay(), self.delay());
        let end = |host: usize, up: Time| End {
            host,
            life: self.hosts[host].life,
            node: self.hosts[host].node,
            link: None,
            over: false,
            last_arrival: up,
            lost_after: Time::MAX,
        };
        let conn = self.conns.len();
        self.conns.push(Conn {
            cable: c,
            ends: [end(south, there + back), end(north, there)],
            cut: false,
        });
        self.cables[c].current = Some(conn);
        self.at(there, Event::Up { conn, side: 1 });
        self.at(there + back, Event::Up { conn, side: 0 });
    }

    /// Tries again later; a real dialler backs off with jitter.
    fn redial(&mut self, cable: usize) {
        let delay = self.rng.net.spread(10 * MS, 3 * SECOND);
        self.after(delay, Event::Dial { cable, extra: false });
    }

    pub(crate) fn on_up(&mut self, conn: usize, side: usize) {
        let end = &self.conns[conn].ends[side];
        let host = end.host;
        if !self.is_life(host, end.life) || end.over {
            return;
        }
        if self.conns[conn].cut {
            return self.end_over(conn, side);
        }
        if self.hosts[host].liar.is_some() {
            // Any number will do: nobody looks for it.
            self.conns[conn].ends[side].link = Some(LinkId(0));
            return self.liar_up(host, conn, side);
        }
        let peer = self.hosts[self.conns[conn].ends[1 - side].host].name();
        let policy = self.cables[self.conns[conn].cable].policies[side].clone();
        let Some(live) = self.hosts[host].live.as_mut() else {
            return;
        };
        let link = LinkId(live.next_link);
        live.next_link += 1;
        live.links.insert(link, (conn, side));
        self.conns[conn].ends[side].link = Some(link);
        if self
            .input(
                host,
                Input::LinkUp {
                    link,
                    peer: &peer,
                    dialled: side == 0,
                    policy: policy.core(),
                },
            )
            .is_err()
        {
            self.shut(conn, side);
        }
    }

    /// This end of a connection is closed by its own node: the peer hears it behind the frames under way.
    fn shut(&mut self, conn: usize, side: usize) {
        let other = 1 - side;
        let delay = self.delay();
        let at = self.conns[conn].ends[other].last_arrival.max(self.now + delay);
        if !self.conns[conn].cut {
            self.at(at, Event::Down { conn, side: other });
        }
        self.conns[conn].ends[side].lost_after = 0;
        self.end_over(conn, side);
    }

    pub(crate) fn on_close(&mut self, h: usize, link: LinkId, fault: Fault) {
        let known = self.hosts[h]
            .live
            .as_ref()
            .and_then(|live| live.links.get(&link).copied());
        let Some((conn, side)) = known else {
            // It went down by itself while this was waiting to be polled.
            let made = self.hosts[h]
                .live
                .as_ref()
                .is_some_and(|live| link.0 < live.next_link);
            if !made {
                self.check
                    .fail("contract", format!("node {h} closes {link:?}, which never was"));
            }
            return;
        };
        // P11: whatever a liar says, no honest node says what another closes its link for.
        let peer = &self.conns[conn].ends[1 - side];
        let honest = self.plan.honest() && self.plan.liar != Some(peer.host);
        if honest && matches!(fault, Fault::Malformed | Fault::Order) {
            let text = format!("node {h} closes its link with {}: {fault:?}", peer.host);
            self.check.fail("P11", text);
        }
        self.shut(conn, side);
        self.check.order.link_gone(h, link);
    }

    fn end_over(&mut self, conn: usize, side: usize) {
        let end = &mut self.conns[conn].ends[side];
        if end.over {
            return;
        }
        end.over = true;
        let (host, life, link) = (end.host, end.life, end.link);
        if self.is_life(host, life)
            && let (Some(live), Some(link)) = (self.hosts[host].live.as_mut(), link)
        {
            live.links.remove(&link);
        }
        let cable = self.conns[conn].cable;
        if side == 0 && self.cables[cable].current == Some(conn) {
            self.cables[cable].current = None;
            self.redial(cable);
        }
    }

    pub(crate) fn on_down(&mut self, conn: usize, side: usize) {
        let end = &self.conns[conn].ends[side];
        let (host, life, link, over) = (end.host, end.life, end.link, end.over);
        if over || !self.is_life(host, life) {
            return;
        }
        self.end_over(conn, side);
        if self.hosts[host].liar.is_some() {
            return;
        }
        if let Some(link) = link {
            self.check.order.link_gone(host, link);
            if let Err(why) = self.input(host, Input::LinkDown { link }) {
                self.check
                    .fail("contract", format!("{link:?} can't go down: {why:?}"));
            }
        }
    }

    /// The connection breaks. Each end learns of it at its own time, or by silence if `unheard`.
    pub(crate) fn cut(&mut self, conn: usize, slow: bool) {
        if self.conns[conn].cut {
            return;
        }
        self.log.line(self.now, format_args!("connection {conn} is cut"));
        self.conns[conn].cut = true;
        let (_, high) = self.plan.link_delay;
        for side in 0..2 {
            let stale = if self.rng.net.chance(500) {
                self.rng.net.below(2 * high)
            } else {
                0
            };
            let heard = if slow {
                self.rng.net.spread(high, 60 * SECOND)
            } else {
                self.rng.net.below(3 * high)
            };
            let end = &mut self.conns[conn].ends[side];
            end.lost_after = end.lost_after.min(self.now + stale);
            if !(slow && self.rng.net.chance(400)) {
                self.after(heard, Event::Down { conn, side });
            }
        }
    }

    /// What is sent to this end from now on never arrives, and neither end is told.
    pub(crate) fn deafen(&mut self, conn: usize, side: usize) {
        self.log.line(
            self.now,
            format_args!("connection {conn} loses what comes to end {side}"),
        );
        let end = &mut self.conns[conn].ends[side];
        end.lost_after = end.lost_after.min(self.now);
    }

    /// The node at this end vanishes: nothing passes any more, and nobody is told.
    pub(crate) fn silence(&mut self, conn: usize) {
        self.deafen(conn, 0);
        self.deafen(conn, 1);
        self.conns[conn].cut = true;
    }

    /// The node at this end died.
    pub(crate) fn lose_end(&mut self, conn: usize, side: usize) {
        let slow = self.plan.has(Kind::HalfOpen) && self.rng.net.chance(500) && !self.healed;
        self.cut(conn, slow);
        self.end_over(conn, side);
    }

    /// The host at the other end of a link.
    fn host_at(&self, h: usize, link: LinkId) -> Option<usize> {
        let (conn, side) = *self.hosts[h].live.as_ref()?.links.get(&link)?;
        Some(self.conns[conn].ends[1 - side].host)
    }

    /// The node at the other end of a link.
    fn peer_at(&self, h: usize, link: LinkId) -> Option<NodeId> {
        let (conn, side) = *self.hosts[h].live.as_ref()?.links.get(&link)?;
        Some(self.conns[conn].ends[1 - side].node)
    }

    /// Puts a frame on its way.
    pub(crate) fn on_frame_out(&mut self, h: usize, link: LinkId, header: &[u8], attached: Attached) {
        let Some(frame) = Frame::decode(header) else {
            return self.check.fail(
                "contract",
                format!("node {h} sends {header:?}, which is no frame"),
            );
        };
        self.log
            .line(self.now, format_args!("{h} > {link:?} {frame:?} {attached:?}"));
        let known = self.hosts[h]
            .live
            .as_ref()
            .and_then(|live| live.links.get(&link).copied());
        let Some((conn, side)) = known else {
            return self
                .check
                .fail("contract", format!("node {h} sends on {link:?}, which is closed"));
        };
        let peer = self.conns[conn].ends[1 - side].node;
        self.look_at_sent(h, link, peer, &frame, attached);
        let content = match attached {
            Attached::Inline(payload) => match self.hosts[h].resolve(payload) {
                Some(content) => Some(content),
                None => {
                    return self
                        .check
                        .fail("bodies", format!("{frame:?} carries {payload:?}, not there"));
                }
            },
            Attached::Apart { payload, token, part } => {
                if let Some(live) = self.hosts[h].live.as_mut() {
                    live.apart.insert((token.attempt(), part), payload);
                }
                None
            }
            Attached::Addressed { payload, apart } => {
                let Some(content) = self.hosts[h].resolve(payload) else {
                    return self
                        .check
                        .fail("bodies", format!("{frame:?} carries {payload:?}, not there"));
                };
                match (apart, self.hosts[h].live.as_mut()) {
                    (Some(token), Some(live)) => {
                        live.apart.insert((token.attempt(), Part::Payload), payload);
                        Some(Content::EMPTY)
                    }
                    _ => Some(content),
                }
            }
            Attached::Direct { payload, token } => {
                self.bring(h, token, payload);
                None
            }
            Attached::Nothing => None,
        };
        let parcel = Parcel {
            header: header.to_vec(),
            content,
        };
        let cable = self.conns[conn].cable;
        if self.cables[cable].mangled_until > self.now {
            return self.mangle(conn, 1 - side, parcel);
        }
        let delay = self.delay();
        self.send(conn, 1 - side, parcel, delay);
    }

    pub(crate) fn send(&mut self, conn: usize, to: usize, parcel: Parcel, delay: Time) {
        if self.conns[conn].cut {
            return;
        }
        let stalled = self.cables[self.conns[conn].cable].stalled_until[to];
        let end = &mut self.conns[conn].ends[to];
        end.last_arrival = end.last_arrival.max(self.now + delay).max(stalled);
        let at = end.last_arrival;
        self.at(
            at,
            Event::Arrive {
                conn,
                side: to,
                parcel,
            },
        );
    }

    /// A link that lies.
    fn mangle(&mut self, conn: usize, to: usize, mut parcel: Parcel) {
        let delay = self.delay();
        match self.rng.net.below(12) {
            0 => {
                self.send(conn, to, parcel.clone(), delay);
                self.send(conn, to, parcel, delay);
            }
            1 => {
                let at = self.now + delay + self.rng.net.below(SECOND);
                self.at(
                    at,
                    Event::Arrive {
                        conn,
                        side: to,
                        parcel,
                    },
                );
            }
            2 => {
                let bit = self.rng.net.below(8 * parcel.header.len() as u64) as usize;
                parcel.header[bit / 8] ^= 1 << (bit % 8);
                self.send(conn, to, parcel, delay);
            }
            3 => {
                let short = self.rng.net.below(parcel.header.len() as u64) as usize;
                parcel.header.truncate(short);
                self.send(conn, to, parcel, delay);
            }
            4 => parcel.header.clear(),
            5 => {
                let header = (0..self.rng.net.below(80))
                    .map(|_| self.rng.net.bits() as u8)
                    .collect();
                self.send(
                    conn,
                    to,
                    Parcel {
                        header,
                        content: None,
                    },
                    delay,
                );
                self.send(conn, to, parcel, delay);
            }
            _ => self.send(conn, to, parcel, delay),
        }
    }

    pub(crate) fn on_arrive(&mut self, conn: usize, side: usize, parcel: &Parcel) {
        let end = &self.conns[conn].ends[side];
        let (host, over, late) = (end.host, end.over, self.now > end.lost_after);
        let Some(link) = end.link else { return };
        if !self.is_life(host, end.life) || late {
            return;
        }
        if self.hosts[host].liar.is_some() {
            return self.liar_hears(host, conn, side, parcel);
        }
        // What the shell had read before it was told to close the link may still reach the core.
        if over && !self.rng.net.chance(300) {
            return;
        }
        if !over {
            self.look_at_received(host, link, &parcel.header);
        }
        let body = parcel.content.map(|content| self.new_body(host, content));
        let taken = self.input(
            host,
            Input::Frame {
                link,
                bytes: &parcel.header,
                body,
            },
        );
        if let Err(why) = taken
            && !over
        {
            self.check
                .fail("contract", format!("a frame on {link:?} was refused: {why:?}"));
        }
    }

    /// P9, P6 and P5 by what a node sends.
    fn look_at_sent(&mut self, h: usize, link: LinkId, peer: NodeId, frame: &Frame, attached: Attached) {
        let me = self.hosts[h].node;
        match frame {
            Frame::Grant { token, .. } => {
                if !self.check.order.is_way(h, token.message, peer) && self.plan.honest() {
                    self.check
                        .fail("P9", format!("node {h} sends {token:?} to {peer}"));
                }
                let own = match attached {
                    Attached::Inline(payload)
                    | Attached::Apart { payload, .. }
                    | Attached::Addressed { payload, .. }
                    | Attached::Direct { payload, .. } => Some(payload),
                    Attached::Nothing => None,
                };
                let size = self
                    .check
                    .ledger
                    .entries
                    .get(&token.message)
                    .map(|entry| entry.content.size);
                let passes = token.message.node != me;
                let right = match own {
                    _ if self.check.lies.taints(h, token) => true,
                    Some(Payload::Own { sequence, .. }) => !passes && sequence == token.message.sequence,
                    // Where it is to be had at its origin, what passes is the address.
                    Some(Payload::Held(body)) => {
                        let whole = matches!(frame, Frame::Grant { direct: false, .. });
                        passes && (Some(body.size) == size || (body.size == 0 && !whole))
                    }
                    Some(Payload::Empty) => size == Some(0),
                    None => size == Some(0),
                };
                if !right && self.plan.honest() {
                    self.check
                        .fail("P9", format!("node {h} grants {token:?} with {attached:?}"));
                }
                if !passes {
                    self.check_grant(h, token);
                    self.check.order.own_gone(h, token.message);
                }
            }
            Frame::Answer { token, direct, .. } => {
                let way = token.message.node == peer || self.check.order.is_way(h, token.message, peer);
                let lied = self.check.lies.taints(h, token);
                if attached != Attached::Nothing && !direct && !way && !lied && self.plan.honest() {
                    self.check
                        .fail("P9", format!("node {h} sends the reply to {token:?} to {peer}"));
                }
            }
            _ if attached != Attached::Nothing => {
                self.check
                    .fail("P9", format!("node {h} sends {frame:?} with {attached:?}"));
            }
            Frame::Claim {
                offer,
                node,
                consumer,
                ..
            } => {
                let message = offer.message;
                let known = self.check.ledger.entries.get(&message).and_then(|entry| {
                    let other = entry.alternate.map(|(other, _)| other);
                    let service = if offer.alternate {
                        other
                    } else {
                        Some(entry.service)
                    };
                    Some(Choice {
                        service: service?,
                        priority: entry.terms.priority,
                        born: None,
                    })
                });
                // A liar may have offered it as something else.
                let offered = self.check.order.offer(h, link, *offer);
                let known = offered.or(known.filter(|_| self.plan.liar.is_none()));
                if let Some(what) = known.filter(|_| *node == me) {
                    self.check_choice(h, message, what);
                }
                self.check.order.claimed(h, link, *offer, *consumer);
            }
            Frame::Offer { offer, .. } if offer.message.node == me => {
                let verdict = self.check.ledger.offering(offer.message, self.now);
                self.check.verdict(verdict);
            }
            Frame::Decline { offer, .. } => self.check.order.offer_gone(h, link, *offer),
            Frame::Withdraw { service } => self.check.order.service_gone(h, link, service_number(service)),
            _ => {}
        }
    }

    fn look_at_received(&mut self, h: usize, link: LinkId, header: &[u8]) {
        let now = self.now;
        let frame = Frame::decode(header);
        let me = self.hosts[h].node;
        let Some(way) = self.peer_at(h, link) else { return };
        if let (Some(Frame::Grant { token, .. }), Some(from)) = (&frame, self.host_at(h, link)) {
            // What a liar sent may arrive after an honest node has taken its place.
            let left = self.plan.liar == Some(from) && way != self.hosts[from].node;
            let lies = left || self.hosts[from].liar.is_some();
            self.check.lies.passes(from, h, token, lies);
        }
        let span = |left: redlink_core::Duration| self.hosts[h].span(left.as_micros());
        match &frame {
            Some(Frame::Offer { offer, .. } | Frame::Claim { offer, .. }) => {
                self.check.order.way(h, offer.message, way);
                if matches!(frame, Some(Frame::Claim { .. })) {
                    self.check.order.relayed(h, offer.message);
                }
            }
            Some(Frame::Holding { token, .. }) => self.check.order.way(h, token.message, way),
            Some(Frame::Seek { token, .. }) => self.check.order.sought(h, token.message.node, way),
            _ => {}
        }
        match frame {
            Some(Frame::Offer {
                offer,
                service,
                priority,
                age,
                remaining,
                ..
            }) => {
                let reserved = Reserved {
                    service: service_number(&service),
                    priority,
                    born: Some(self.hosts[h].local(now) - age),
                    deadline: remaining.map(|left| now.saturating_add(span(left))),
                    event: self.events,
                };
                self.check.order.offered(h, link, offer, reserved);
            }
            Some(Frame::Retract { offer }) => self.check.order.offer_gone(h, link, offer),
            Some(Frame::Gone {
                message,
                node,
                consumer,
            }) if node == me => self.check.order.claim_answered(h, link, message, consumer),
            Some(Frame::Grant { token, remaining, .. }) if token.node == me => {
                self.check
                    .order
                    .claim_answered(h, link, token.message, token.consumer);
                let deadline = remaining.map(|left| now.saturating_add(span(left)));
                let again = self.check.lies.taints(h, &token);
                if let Some(live) = self.hosts[h].live.as_mut() {
                    let known = live.grant_deadline.entry(token.attempt()).or_insert(deadline);
                    if again {
                        *known = deadline;
                    }
                }
            }
            _ => {}
        }
    }

    pub(crate) fn on_transfer(&mut self, mut transfer: Transfer) {
        let Transfer {
            host,
            life,
            link,
            token,
            part,
            size,
            ..
        } = transfer;
        if !self.is_life(host, life) {
            return;
        }
        if transfer.pieces > 0 {
            transfer.pieces -= 1;
            let delay = self.delay();
            // Whether it is still wanted is the core's to know.
            let _ = self.input(host, Input::Progress { token });
            self.after(delay, Event::Transfer(transfer));
            return;
        }
        let content = self
            .fetch(host, link, &token.attempt(), part)
            .filter(|content| content.size == size);
        let broken = self.plan.has(Kind::Cut) && !self.healed && self.rng.net.chance(200);
        let body = content
            .filter(|_| !broken)
            .map(|content| self.new_body(host, content));
        if let Err(why) = self.input(host, Input::Fetched { token, part, body }) {
            self.check.fail(
                "contract",
                format!("the {part:?} of {token:?} was refused: {why:?}"),
            );
        }
    }

    /// The bytes at the other end of a link, if they can be had.
    fn fetch(
        &self,
        host: usize,
        link: LinkId,
        attempt: &redlink_core::AttemptId,
        part: Part,
    ) -> Option<Content> {
        let (conn, side) = *self.hosts[host].live.as_ref()?.links.get(&link)?;
        let conn = &self.conns[conn];
        let end = &conn.ends[1 - side];
        if conn.cut || !self.is_life(end.host, end.life) {
            return None;
        }
        let peer = &self.hosts[end.host];
        let payload = *peer.live.as_ref()?.apart.get(&(*attempt, part))?;
        peer.resolve(payload)
    }
}
