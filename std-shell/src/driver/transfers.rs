//! The driver's side of payloads that are too large for a frame.
//!
//! Such a payload and the frame that announces it go by different connections, so either may be first. At the side that
//! was dialled, what a frame announces is waited for in `fetches`, who brings something before its frame waits in `early`,
//! and what this node announced can be got as long as it is in `offered`. The dialling side moves everything itself. What
//! is for another node is in `passing`, as long as the core wants it.

use super::contents::{Contents, cost};
use super::links::Link;
use super::turn::Next;
use crate::Content;
use crate::link::frame;
use crate::link::pipe::{Pipe, Standing};
use crate::link::transfer::{Job, TransferKey, TransferRefusal};
use redlink_core::{
    Body, ConsumerKey, Duration, Fence, GrantToken, Instant, LinkId, MessageId, Name, NodeId, Part, Payload,
};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use tokio::sync::oneshot;

/// How long a payload that was announced may take to begin, or to go on.
const FETCH: Duration = Duration::from_secs(60);

/// How long one who brings a payload waits for the frame that announces it, and how many of one peer may. None of their
/// bytes is read meanwhile. Shorter than a transfer may stall.
const EARLY: Duration = Duration::from_secs(10);
const EARLY_EACH: usize = 16;

/// How often the pipes are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Where that which a peer brings is to go.
#[derive(Debug)]
pub(crate) enum Destination {
    /// Into memory: it is for this node.
    Memory,
    /// Into a pipe that is to be made.
    New,
    /// Into a pipe that has some of it.
    Pipe(Pipe),
    /// Nowhere: all of it has passed.
    Nothing,
}

pub(super) type Arriving = oneshot::Sender<Result<Destination, TransferRefusal>>;

#[derive(Debug)]
struct Fetch {
    link: LinkId,
    /// Whoever shows the grant, if there is none.
    peer: Option<Name>,
    size: u64,
    passes: bool,
    /// None if this side gets it: that ends by itself.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Early {
    peer: Name,
    size: u64,
    answer: Arriving,
    until: Instant,
}

#[derive(Debug)]
struct Passing {
    peer: Name,
    pipe: Pipe,
    body: Body,
    /// The core has been told that it broke.
    told: bool,
}

#[derive(Debug)]
struct Offered {
    /// Whoever shows the grant, if there is none.
    peer: Option<Name>,
    payload: Payload,
}

#[derive(Debug, Default)]
pub(super) struct Transfers {
    fetches: BTreeMap<TransferKey, Fetch>,
    early: BTreeMap<TransferKey, Early>,
    passing: BTreeMap<TransferKey, Passing>,
    offered: BTreeMap<TransferKey, Offered>,
    /// Answers that this node brings to their origins.
    bringing: HashSet<TransferKey>,
    /// Which of what is offered or passes are bytes that the core will free.
    bodies: HashMap<u64, TransferKey>,
    /// Nothing ends, and nothing has to be looked at, before this.
    soonest: Option<Instant>,
}

impl Fetch {
    fn destination(&self, peer: &Name, size: u64) -> Result<Destination, TransferRefusal> {
        if self.peer.as_ref().is_some_and(|from| from != peer) || self.until.is_none() {
            return Err(TransferRefusal::Unknown);
        }
        if self.size != size {
            return Err(TransferRefusal::TooLarge);
        }
        Ok(if self.passes {
            Destination::New
        } else {
            Destination::Memory
        })
    }
}

impl Transfers {
    /// A frame announced a payload: gets it, or waits for it. `passes`: it is for another node.
    pub(super) fn fetch(
        &mut self,
        link: LinkId,
        from: &Link,
        key: TransferKey,
        size: u64,
        passes: bool,
        now: Instant,
    ) {
        let until = match &from.jobs {
            Some(jobs) => {
                // A mover that is gone takes its link along.
                drop(jobs.send(Job::Get { key, size, passes }));
                None
            }
            None => Some(now + FETCH),
        };
        let fetch = Fetch {
            link,
            peer: Some(from.peer.clone()),
            size,
            passes,
            until,
        };
        self.begin(key, fetch);
    }

    /// A frame announced an answer that its node brings here itself.
    pub(super) fn expect(&mut self, link: LinkId, key: TransferKey, size: u64, now: Instant) {
        let fetch = Fetch {
            link,
            peer: None,
            size,
            passes: false,
            until: Some(now + FETCH),
        };
        self.begin(key, fetch);
    }

    /// An answer is to be brought to its origin; false if it is on its way.
    pub(super) fn brings(&mut self, key: TransferKey) -> bool {
        self.bringing.insert(key)
    }

    /// It is there, or will not be.
    pub(super) fn brought(&mut self, key: &TransferKey) {
        self.bringing.remove(key);
    }

    /// Whether that is waited for from whoever shows the grant.
    pub(super) fn is_expected(&self, key: &TransferKey) -> bool {
        self.fetches.get(key).is_some_and(|fetch| fetch.peer.is_none())
    }

    fn begin(&mut self, key: TransferKey, fetch: Fetch) {
        let until = fetch.until;
        if let Some(early) = self.early.remove(&key) {
            let _ = early.answer.send(fetch.destination(&early.peer, early.size));
        }
        self.fetches.insert(key, fetch);
        self.note(until);
    }

    fn note(&mut self, until: Option<Instant>) {
        if let Some(until) = until {
            self.soonest = Some(self.soonest.map_or(until, |soonest| soonest.min(until)));
        }
    }

    /// A fetch by this side has ended; whether anybody still waits for it.
    pub(super) fn got(&mut self, key: &TransferKey) -> bool {
        self.fetches.remove(key).is_some()
    }

    /// A payload that is waited for goes on coming.
    pub(super) fn progress(&mut self, key: &TransferKey, now: Instant) {
        if let Some(until) = self.fetches.get_mut(key).and_then(|fetch| fetch.until.as_mut()) {
            *until = now + FETCH;
        }
    }

    /// A peer is about to bring a payload of this size: it hears where to, as soon as a frame has announced it. `linked`:
    /// there is a link with that peer, or it shows a grant of this node.
    pub(super) fn arriving(
        &mut self,
        peer: Name,
        linked: bool,
        key: TransferKey,
        size: u64,
        now: Instant,
        answer: Arriving,
    ) {
        let known = match (self.fetches.get(&key), self.passing.get(&key)) {
            (Some(fetch), _) => Some(fetch.destination(&peer, size)),
            (None, Some(passing)) if passing.peer == peer && passing.pipe.size() == size => {
                match passing.pipe.standing() {
                    Standing::Moving => Some(Ok(Destination::Pipe(passing.pipe.clone()))),
                    // Brought again because the answer was lost.
                    Standing::Done => Some(Ok(Destination::Nothing)),
                    // It may be about to be announced anew.
                    Standing::Broken => None,
                }
            }
            _ => None,
        };
        if let Some(known) = known {
            let _ = answer.send(known);
            return;
        }
        if !linked {
            let _ = answer.send(Err(TransferRefusal::Unknown));
            return;
        }
        let taken = self.early.get(&key).is_some_and(|early| early.peer != peer);
        let many = self.early.values().filter(|early| early.peer == peer).count() >= EARLY_EACH;
        if taken || many {
            let _ = answer.send(Err(TransferRefusal::Busy));
            return;
        }
        let until = now + EARLY;
        let early = Early {
            peer,
            size,
            answer,
            until,
        };
        if let Some(before) = self.early.insert(key, early) {
            let _ = before.answer.send(Err(TransferRefusal::Again));
        }
        self.note(Some(until));
    }

    /// A peer has brought a payload for this node: it is given back if it is still waited for.
    pub(super) fn arrived(
        &mut self,
        peer: &Name,
        key: &TransferKey,
        content: Content,
        contents: &Contents,
    ) -> Result<Content, TransferRefusal> {
        let fetch = self.fetches.get(key).ok_or(TransferRefusal::Unknown)?;
        fetch.destination(peer, content.bytes.len() as u64)?;
        if !frame::content_type_fits(&content) {
            return Err(TransferRefusal::TooLarge);
        }
        if !contents.fits_work(cost(&content)) {
            return Err(TransferRefusal::Busy);
        }
        self.fetches.remove(key);
        Ok(content)
    }

    /// A payload for another node begins to come: the number that the core is to know it by, if it is still waited for.
    pub(super) fn passes(
        &mut self,
        peer: Name,
        key: TransferKey,
        pipe: Pipe,
        now: Instant,
        contents: &mut Contents,
    ) -> Result<Body, TransferRefusal> {
        let fetch = self.fetches.get(&key).ok_or(TransferRefusal::Unknown)?;
        if fetch.peer.as_ref() != Some(&peer) || fetch.size != pipe.size() || !fetch.passes {
            return Err(TransferRefusal::Unknown);
        }
        if !frame::content_type_fits(pipe.head()) {
            return Err(TransferRefusal::TooLarge);
        }
        if !contents.fits_work(pipe.cap()) {
            return Err(TransferRefusal::Busy);
        }
        self.fetches.remove(&key);
        let body = contents.hold_pipe(pipe.clone());
        self.bodies.insert(body.id, key);
        let passing = Passing {
            peer,
            pipe,
            body,
            told: false,
        };
        self.passing.insert(key, passing);
        self.note(Some(now + LOOK));
        Ok(body)
    }

    /// A peer may get this now, or whoever shows the grant.
    pub(super) fn offer(&mut self, peer: Option<Name>, key: TransferKey, payload: Payload) {
        if let Payload::Held(body) = payload {
            self.bodies.insert(body.id, key);
        }
        self.offered.insert(key, Offered { peer, payload });
    }

    /// What this peer may get under that key.
    pub(super) fn offered(&self, peer: &Name, key: &TransferKey) -> Option<Payload> {
        self.offered
            .get(key)
            .filter(|offered| offered.peer.as_ref().is_none_or(|to| to == peer))
            .map(|offered| offered.payload)
    }

    /// The core is done with these bytes.
    pub(super) fn freed(&mut self, body: Body) {
        let Some(key) = self.bodies.remove(&body.id) else {
            return;
        };
        // The same may be offered, or pass, by another number now.
        if self
            .offered
            .get(&key)
            .is_some_and(|one| one.payload == Payload::Held(body))
        {
            self.offered.remove(&key);
        }
        if self.passing.get(&key).is_some_and(|one| one.body == body) {
            self.passing.remove(&key);
        }
    }

    /// This node's own message is over.
    pub(super) fn settled(&mut self, message: MessageId) {
        if self.offered.is_empty() {
            return;
        }
        let token = GrantToken {
            message,
            inserted: 0,
            fence: Fence::default(),
            node: NodeId::default(),
            consumer: ConsumerKey::default(),
            mac: [0; 16],
        };
        let first = TransferKey {
            token,
            part: Part::Payload,
        };
        let keys = self
            .offered
            .range(first..)
            .take_while(|(key, _)| key.token.message == message);
        let own = keys.filter(|(_, offered)| matches!(offered.payload, Payload::Own { .. }));
        for key in own.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.offered.remove(&key);
        }
    }

    /// Payloads that can no longer come, because their link is gone.
    pub(super) fn forget_fetches(&mut self, link: LinkId) -> Vec<TransferKey> {
        let lost = self
            .fetches
            .iter()
            .filter(|(_, fetch)| fetch.link == link)
            .map(|(key, _)| *key);
        let lost: Vec<_> = lost.collect();
        for key in &lost {
            self.fetches.remove(key);
        }
        lost
    }

    /// When [`Transfers::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.soonest
    }

    /// Gives up what did not come in time, and tells the core of what passes no more.
    pub(super) fn expire(&mut self, now: Instant, contents: &mut Contents, next: &mut VecDeque<Next>) {
        if self.soonest.is_none_or(|soonest| now < soonest) {
            return;
        }
        self.fetches.retain(|key, fetch| {
            let late = fetch.until.is_some_and(|until| until <= now);
            if late {
                tracing::warn!(
                    peer = fetch.peer.as_ref().map(Name::as_str),
                    message = %key.token.message,
                    "a payload was announced and did not come"
                );
                next.push_back(Next::Fetched(*key, None));
            }
            !late
        });
        let late = self.early.iter().filter(|(_, early)| early.until <= now);
        for key in late.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Some(early) = self.early.remove(&key) {
                // Its frame may have been held up: it is worth another try.
                let _ = early.answer.send(Err(TransferRefusal::Busy));
            }
        }
        for (key, passing) in &mut self.passing {
            if contents.look_at(passing.body) == Some(Standing::Broken) && !passing.told {
                passing.told = true;
                tracing::warn!(peer = %passing.peer, message = %key.token.message, "a payload broke off while it passed");
                next.push_back(Next::Fetched(*key, None));
            }
        }
        let fetches = self.fetches.values().filter_map(|fetch| fetch.until);
        let early = self.early.values().map(|early| early.until);
        let look = (!self.passing.is_empty()).then(|| now + LOOK);
        self.soonest = fetches.chain(early).chain(look).min();
    }
}

#[cfg(test)]
mod tests;
