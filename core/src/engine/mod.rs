//! The engine: one [`Core`] is one node's decisions.
//!
//! | file | what is decided there |
//! |---|---|
//! | `slots` | what the tables hold, and the two state machines `State` and `Stage` |
//! | `tables` | capacities, storage, numbering |
//! | `origin` | messages of this node: submit, recovery, answers, outcomes, retention |
//! | `routes` | which services are reached through which peer, and what of it may be told to whom |
//! | `told` | what each peer was told of each service, and of what there is news |
//! | `policy` | which services may pass over a link at all |
//! | `room` | who is told of room at consumers, and which offers go there |
//! | `place` | which next hops an offer is placed at, and what comes back from them |
//! | `rank` | who is before whom |
//! | `claim` | who gets a message that was offered, and who holds it then |
//! | `attempts` | what is written of a message's attempts, and when |
//! | `registry` | consumers and their takes |
//! | `matching` | which message goes to which consumer |
//! | `hold` | messages of peers: reservations, claims, grants |
//! | `relay` | messages that pass between two peers |
//! | `seek` | looking for the holder of an attempt by other ways |
//! | `answer` | what consumers of this node say about their deliveries |
//! | `answer_far` | what consumers of other nodes say about messages of this one |
//! | `keep` | answers to other nodes' messages, until their origin has them |
//! | `session` | links, hellos, sessions, resynchronisation |
//! | `emit` | outputs, built when polled |
//! | `timeout` | what happens when a timer fires |
//! | `view`, `check` | looking in from outside |
//!
//! A change never emits: it sets a flag in the slot's `out` and marks the slot dirty; `poll_output` turns flags into
//! outputs from the state that is true then. So outputs are bounded by the slots, late polling is safe, and an
//! offer that was retracted before it was polled is never sent.

mod alternate;
mod answer;
mod answer_far;
mod attempts;
mod check;
mod claim;
mod emit;
mod hold;
mod keep;
mod matching;
mod origin;
mod place;
mod policy;
mod rank;
mod registry;
mod relay;
mod room;
mod routes;
mod seek;
mod session;
pub(crate) mod slots;
mod tables;
mod timeout;
mod told;
mod view;

use crate::config::Config;
use crate::data::dirty::Dirty;
use crate::data::index::{Index, Seed, hash_bytes, hash_words};
use crate::data::list::List;
use crate::data::slab::{Ix, Slab};
use crate::data::timers::Timers;
use crate::id::{AttemptId, ConsumerKey, GrantToken, MessageId, NodeId, OfferId};
use crate::input::{Body, Input, Kept, LinkId, Row, Tag, Verb};
use crate::name::Name;
use crate::output::{Answered, Bound, Fault, Misuse, Notice, Refused};
use crate::time::Instant;
use crate::wire::Taken;
use core::hash::Hasher;
use siphasher::sip128::{Hasher128, SipHasher24};
use slots::{
    Consumer, Delivery, Message, OfState, Peer, Relay, Reservation, Route, Rule, Service, Stage, Starved,
    Take,
};
use tables::Entity;
use told::Told;

pub use slots::State;
pub use tables::{Capacity, Storage};
pub use timeout::{Deadline, Why};
pub use view::{ConsumerView, Counters, Cursor, MessageView, PeerView, RouteView, ServiceView, Usage};

/// An answer that belongs to no slot. A handled input makes at most [`ANSWERS_EACH`] of them.
#[derive(Clone, Debug)]
enum Pending {
    Hello {
        link: LinkId,
        generation: u32,
    },
    Retract {
        peer: Ix,
        offer: OfferId,
    },
    Gone {
        peer: Ix,
        message: MessageId,
        node: NodeId,
        consumer: ConsumerKey,
    },
    NoPath {
        peer: Ix,
        token: GrantToken,
    },
    NoRoom {
        peer: Ix,
        offer: OfferId,
    },
    Decline {
        peer: Ix,
        offer: OfferId,
        floor: Option<u8>,
    },
    Settled {
        peer: Ix,
        token: GrantToken,
        taken: Taken,
    },
    Release {
        peer: Ix,
        token: GrantToken,
        /// `Release` or `Return`.
        verb: Verb,
    },
    Answered {
        tag: Tag,
        result: Answered,
    },
    Rejected {
        tag: Tag,
    },
    Free(Body),
    CloseLink {
        link: LinkId,
        fault: Fault,
    },
    Notice(Notice),
}

/// Answers without a slot that may wait to be polled.
const ANSWERS: usize = 12;
/// Most of them that one input makes.
const ANSWERS_EACH: usize = 6;

/// The decisions of one node.
///
/// Feed it with [`Core::handle_input`], then [`Core::poll_output`] until there is nothing left, then wait for the next
/// input or for [`Core::poll_timeout`], whichever comes first, and call [`Core::handle_timeout`] for the latter.
pub struct Core<'s> {
    config: Config,
    capacity: Capacity,
    now: Instant,
    started: bool,
    started_at: Instant,
    draining: bool,
    next_sequence: u64,
    next_order: u64,
    overdue: u32,

    messages: Slab<'s, Message>,
    reservations: Slab<'s, Reservation>,
    deliveries: Slab<'s, Delivery>,
    services: Slab<'s, Service>,
    consumers: Slab<'s, Consumer>,
    takes: Slab<'s, Take>,
    peers: Slab<'s, Peer>,
    routes: Slab<'s, Route>,
    relays: Slab<'s, Relay>,
    rules: Slab<'s, Rule>,
    told: Told<'s>,

    message_index: Index<'s>,
    reservation_index: Index<'s>,
    delivery_index: Index<'s>,
    service_index: Index<'s>,
    consumer_index: Index<'s>,
    take_index: Index<'s>,
    peer_index: Index<'s>,
    link_index: Index<'s>,
    relay_index: Index<'s>,

    timers: Timers<'s>,
    dirty: Dirty<'s>,
    /// The dirty entity whose outputs are being polled.
    current: Option<u32>,
    /// Services that the current peer has had looked at in this turn.
    turn: u8,
    answers: heapless::Deque<Pending, ANSWERS>,

    /// When what could not be written of attempts is tried again.
    write_again: Instant,
    recovering: List<OfState>,
    delivered: List<OfState>,
    /// Messages that a consumer holds to which no way leads just now.
    away: List<OfState>,
    seeking: seek::Seeking,
    /// Some peer may have announced what there was no room for.
    missed: bool,
    starved: List<Starved>,
    counters: Counters,
}

impl core::fmt::Debug for Core<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Core")
            .field("name", &self.config.name)
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "alloc")]
impl Core<'static> {
    /// A core with boxed storage, at instant zero.
    pub fn new(config: Config, capacity: Capacity) -> Self {
        Self::with_storage(config, Storage::boxed(&capacity))
    }
}

impl<'s> Core<'s> {
    /// A core in this storage, at instant zero. The storage must be empty: nothing is cleared.
    ///
    /// # Panics
    /// If an index, a queue or a table of pairs is too short for the other tables, or there are more than 2^32 pairs.
    pub fn with_storage(config: Config, storage: Storage<'s>) -> Self {
        let capacity = storage.capacity();
        let listed = capacity.pairs().checked_add(capacity.routes as usize);
        assert!(
            listed.is_some_and(|places| u32::try_from(places).is_ok()),
            "a cursor tells all routes and pairs apart"
        );
        assert!(
            storage.dirty.len() >= capacity.entities(),
            "one dirty cell for each entity"
        );
        assert!(
            storage.timer_cells.len() >= capacity.entities(),
            "one timer cell for each entity"
        );
        assert!(
            storage.timer_heap.len() >= capacity.entities(),
            "one heap cell for each entity"
        );
        Self {
            capacity,
            now: Instant::ZERO,
            started: false,
            started_at: Instant::ZERO,
            draining: false,
            next_sequence: config.next_sequence,
            next_order: 0,
            overdue: 0,
            messages: Slab::new(storage.messages),
            reservations: Slab::new(storage.reservations),
            deliveries: Slab::new(storage.deliveries),
            services: Slab::new(storage.services),
            consumers: Slab::new(storage.consumers),
            takes: Slab::new(storage.takes),
            peers: Slab::new(storage.peers),
            routes: Slab::new(storage.routes),
            relays: Slab::new(storage.relays),
            rules: Slab::new(storage.rules),
            told: Told::new(
                storage.told,
                storage.reserved,
                storage.marks,
                storage.starved,
                capacity.peers as usize,
                capacity.services as usize,
            ),
            relay_index: Index::new(storage.relay_index),
            message_index: Index::new(storage.message_index),
            reservation_index: Index::new(storage.reservation_index),
            delivery_index: Index::new(storage.delivery_index),
            service_index: Index::new(storage.service_index),
            consumer_index: Index::new(storage.consumer_index),
            take_index: Index::new(storage.take_index),
            peer_index: Index::new(storage.peer_index),
            link_index: Index::new(storage.link_index),
            timers: Timers::new(storage.timer_heap, storage.timer_cells),
            dirty: Dirty::new(storage.dirty),
            current: None,
            turn: 0,
            answers: heapless::Deque::new(),
            write_again: Instant::ZERO,
            recovering: List::default(),
            delivered: List::default(),
            away: List::default(),
            seeking: seek::Seeking::default(),
            missed: false,
            starved: List::default(),
            counters: Counters::default(),
            config,
        }
    }

    /// Takes one input.
    ///
    /// # Errors
    /// Why it was not taken; then nothing has changed, and its body, if it had one, is the caller's.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<Kept, Refused> {
        self.clock(now);
        if self.answers.capacity() - self.answers.len() < ANSWERS_EACH {
            return Err(Refused::Full(Bound::Answers));
        }
        let recovery = matches!(
            input,
            Input::RecoverMessage(_) | Input::RecoverOutcome(_) | Input::RecoverReply(_) | Input::Start
        );
        if recovery == self.started {
            return Err(Refused::Misuse(Misuse::Order));
        }
        let done = |()| Kept::Nothing;
        match input {
            Input::RecoverMessage(stored) => self.recover_message(&stored).map(done),
            Input::RecoverOutcome(stored) => self.recover_outcome(&stored).map(done),
            Input::RecoverReply(stored) => self.recover_reply(&stored),
            Input::Start => {
                self.start();
                Ok(Kept::Nothing)
            }
            Input::Drain => {
                self.drain();
                Ok(Kept::Nothing)
            }
            Input::Submit(submit) => self.submit(&submit).map(done),
            Input::Cancel { sequence } => self.cancel(sequence).map(done),
            Input::Collect { sequence } => self.collect(sequence).map(done),
            Input::Register {
                service,
                consumer,
                limit,
                lease,
                rate,
            } => self.register(service, consumer, limit, lease, rate).map(done),
            Input::Unregister { service, consumer } => self.unregister(service, consumer).map(done),
            Input::Take {
                tag,
                service,
                consumer,
                max,
            } => self.take(tag, service, consumer, max).map(done),
            Input::TakeEnded { tag } => {
                self.take_ended(tag);
                Ok(Kept::Nothing)
            }
            Input::Unseen { token } => {
                self.unseen(&token);
                Ok(Kept::Nothing)
            }
            Input::Answer {
                tag,
                token,
                verb,
                body,
                direct,
            } => self.answer(tag, token, verb, body, direct),
            Input::Stored { row, done: on_disk } => self.stored(row, on_disk).map(done),
            Input::LinkUp {
                link,
                peer,
                dialled,
                policy,
            } => self.link_up(link, peer, dialled, &policy).map(done),
            Input::LinkDown { link } => {
                self.link_down(link);
                Ok(Kept::Nothing)
            }
            Input::Frame { link, bytes, body } => self.frame(link, bytes, body),
            Input::Fetched { token, part, body } => Ok(self.fetched(token, part, body)),
            Input::NotDirect { token, part } => {
                self.not_direct(token, part);
                Ok(Kept::Nothing)
            }
            Input::Progress { token } => {
                self.progress(token);
                Ok(Kept::Nothing)
            }
        }
    }

    fn stored(&mut self, row: Row, done: bool) -> Result<(), Refused> {
        match row {
            Row::Insert(sequence)
            | Row::Attempts(sequence)
            | Row::Settle(sequence)
            | Row::Delete(sequence) => self.stored_message(row, sequence, done),
            Row::Keep(attempt) | Row::Drop(attempt) => self.stored_reply(row, attempt, done),
        }
    }

    fn clock(&mut self, now: Instant) {
        if now < self.now {
            self.counters.clock_back += 1;
        } else {
            self.now = now;
        }
    }

    fn name(text: &str) -> Result<Name, Refused> {
        Name::new(text).map_err(Refused::Name)
    }

    fn seed(&self) -> Seed {
        Seed(self.config.seed)
    }

    fn touch(&mut self, entity: Entity) {
        let number = entity.number(&self.capacity);
        if self.current != Some(number) {
            self.dirty.push(number);
        }
    }

    fn set_timer(&mut self, entity: Entity, at: Option<Instant>) {
        let number = entity.number(&self.capacity);
        match at {
            Some(at) => self.timers.set(number, at),
            None => self.timers.cancel(number),
        }
    }

    fn say(&mut self, pending: Pending) {
        // `handle_input` made sure of the room; a timer's work says nothing through this queue.
        let full = self.answers.push_back(pending).is_err();
        debug_assert!(!full, "an input said more than {ANSWERS_EACH} things");
    }

    fn message_hash(seed: Seed, sequence: u64) -> u64 {
        hash_words(seed, &[sequence])
    }

    fn id_hash(seed: Seed, id: MessageId) -> u64 {
        hash_words(seed, &[id.node.0, id.sequence])
    }

    fn find_message(&self, sequence: u64) -> Option<Ix> {
        let same = |ix: Ix| self.messages[ix].sequence == sequence;
        self.message_index
            .find(Self::message_hash(self.seed(), sequence), same)
    }

    fn find_reservation(&self, offer: OfferId) -> Option<Ix> {
        let same = |ix: Ix| self.reservations[ix].offer() == offer;
        self.reservation_index
            .find(Self::id_hash(self.seed(), offer.message), same)
    }

    fn find_delivery(&self, attempt: AttemptId) -> Option<Ix> {
        let same = |ix: Ix| self.deliveries[ix].token.attempt() == attempt;
        self.delivery_index
            .find(Self::id_hash(self.seed(), attempt.message), same)
    }

    /// The claim for an offer that waits for its grant. One that was answered a moment ago and waits to be polled is
    /// none any more.
    fn find_claim(&self, offer: OfferId) -> Option<Ix> {
        let same = |ix: Ix| {
            let slot = &self.deliveries[ix];
            slot.stage == Stage::Claiming
                && (slot.token.message, slot.alternate) == (offer.message, offer.alternate)
        };
        self.delivery_index
            .find(Self::id_hash(self.seed(), offer.message), same)
    }

    fn message_id(&self, sequence: u64) -> MessageId {
        MessageId {
            node: self.config.node,
            sequence,
        }
    }

    /// Proves a grant: SipHash-2-4-128 over everything that it says, under the node's key.
    fn mac(&self, token: &GrantToken) -> [u8; 16] {
        let mut hasher = SipHasher24::new_with_key(&self.config.key);
        hasher.write(&token.signed_bytes());
        hasher.finish128().as_bytes()
    }

    /// Whether this node made the token. Compared without an early end, so that time tells nothing.
    fn is_mine(&self, token: &GrantToken) -> bool {
        let other = self.mac(token);
        let differs = token.mac.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
        differs == 0 && token.message.node == self.config.node
    }

    /// Whether this node made the grant, and its message is still there.
    pub fn is_own_grant(&self, token: &GrantToken) -> bool {
        self.is_mine(token) && self.find_message(token.message.sequence).is_some()
    }

    /// The token of a message's newest attempt.
    fn token_of(&self, ix: Ix) -> GrantToken {
        let m = &self.messages[ix];
        let mut token = GrantToken {
            message: self.message_id(m.sequence),
            inserted: m.inserted,
            fence: m.fence,
            node: m.holder_node,
            consumer: m.holder_key,
            mac: [0; 16],
        };
        token.mac = self.mac(&token);
        token
    }

    /// Identifies a consumer to origins; the same for the same names in every life of the node.
    fn consumer_key(service: &str, consumer: &str) -> ConsumerKey {
        // Fixed key: this hash names, it does not protect.
        let mut hasher = siphasher::sip::SipHasher24::new();
        hasher.write(service.as_bytes());
        hasher.write_u8(0);
        hasher.write(consumer.as_bytes());
        ConsumerKey(hasher.finish())
    }

    fn peer_of_node(&self, node: NodeId) -> Option<Ix> {
        self.peers
            .iter()
            .find(|(_, peer)| peer.node == Some(node))
            .map(|(ix, _)| ix)
    }

    fn is_up(&self, peer: Ix) -> bool {
        self.peers[peer].link.is_some()
    }

    fn find_service(&self, name: &str) -> Option<Ix> {
        let same = |ix: Ix| self.services[ix].name.as_str() == name;
        self.service_index
            .find(hash_bytes(self.seed(), name.as_bytes()), same)
    }

    /// Finds or makes a service.
    fn service(&mut self, name: &Name) -> Result<Ix, Refused> {
        if let Some(ix) = self.find_service(name) {
            return Ok(ix);
        }
        let slot = Service {
            name: name.clone(),
            consumers: List::default(),
            hungry: List::default(),
            routes: List::default(),
            told: 0,
            spent: 0,
            waiting: crate::data::tree::Tree::new(self.config.seed),
            offered: crate::data::tree::Tree::new(self.config.seed),
            reserved: crate::data::tree::Tree::new(self.config.seed),
            forwarded: crate::data::tree::Tree::new(self.config.seed),
            messages: 0,
            granted: 0,
        };
        let ix = self
            .services
            .insert(slot)
            .map_err(|_| Refused::Full(Bound::Services))?;
        let (seed, services) = (self.seed(), &self.services);
        self.service_index
            .insert(hash_bytes(seed, name.as_bytes()), ix, |at| {
                hash_bytes(seed, services[at].name.as_bytes())
            });
        Ok(ix)
    }

    /// Forgets a service that nothing refers to any more.
    fn drop_idle_service(&mut self, ix: Ix) {
        let s = &self.services[ix];
        let offered = !s.reserved.is_empty() || !s.forwarded.is_empty();
        if s.messages > 0 || !s.consumers.is_empty() || !s.routes.is_empty() || s.told > 0 || offered {
            return;
        }
        let (seed, services) = (self.seed(), &self.services);
        let hash = hash_bytes(seed, services[ix].name.as_bytes());
        self.service_index
            .remove(hash, ix, |at| hash_bytes(seed, services[at].name.as_bytes()));
        self.services.remove(ix);
        self.room_for_routes();
    }

    fn set_state(&mut self, ix: Ix, next: State) {
        let m = &mut self.messages[ix];
        assert!(
            m.state.may_become(next),
            "message {}: {:?} can't become {next:?}",
            m.sequence,
            m.state
        );
        let service = &mut self.services[m.service];
        service.granted -= u32::from(m.state == State::Granted);
        service.granted += u32::from(next == State::Granted);
        m.state = next;
    }

    fn set_stage(&mut self, ix: Ix, next: Stage) {
        let d = &mut self.deliveries[ix];
        assert!(
            d.stage.may_become(next),
            "delivery: {:?} can't become {next:?}",
            d.stage
        );
        d.stage = next;
    }
}
