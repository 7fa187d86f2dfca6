//! Services, consumers and their takes.

use super::{ByRank, Hungry, OfConsumer, OfService};
use crate::data::bucket::Bucket;
use crate::data::list::{List, ListLinks, ListNode};
use crate::data::slab::Ix;
use crate::data::tree::Tree;
use crate::id::ConsumerKey;
use crate::input::Tag;
use crate::name::Name;
use crate::time::{Duration, Instant};

/// A service that someone here offers, addresses or has heard of.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub(crate) name: Name,
    /// Consumers of this node.
    pub(crate) consumers: List<OfService>,
    /// Those of them that have room and a waiting take; the front is next.
    pub(crate) hungry: List<Hungry>,
    /// Routes to peers that have consumers of it.
    pub(crate) routes: List<OfService>,
    /// Peers that were told of it, or that there is news of it for.
    pub(crate) told: u32,
    /// Those of them that have used up the room that they were told of.
    pub(crate) spent: u32,
    /// This node's messages that are placed nowhere.
    pub(crate) waiting: Tree<ByRank>,
    /// This node's messages that are placed at peers.
    pub(crate) offered: Tree<ByRank>,
    /// Peers' messages that wait here and are placed nowhere.
    pub(crate) reserved: Tree<ByRank>,
    /// Peers' messages that wait here and are placed at next hops.
    pub(crate) forwarded: Tree<ByRank>,
    /// Messages of this node in any state.
    pub(crate) messages: u32,
    /// Those of them that a consumer holds.
    pub(crate) granted: u32,
}

/// A program that takes messages of one service from this node.
#[derive(Debug)]
pub struct Consumer {
    /// Its service.
    pub(crate) service: Ix,
    /// Its name.
    pub(crate) name: Name,
    /// As the origins know it.
    pub(crate) key: ConsumerKey,
    /// Leases that it may hold.
    pub(crate) limit: u16,
    /// Deliveries that take room.
    pub(crate) held: u16,
    /// Of those, the ones that no take has been used for yet.
    pub(crate) coming: u16,
    /// Of those, the ones that it has answered: their places are free as soon as the origin has the answer.
    pub(crate) answering: u16,
    /// Something is ready for it, and waits for a place.
    pub(crate) blocked: bool,
    /// Messages that its waiting takes ask for.
    pub(crate) wanted: u32,
    /// Its lease.
    pub(crate) lease: Duration,
    /// How many more it may be handed by its rate.
    pub(crate) bucket: Bucket,
    /// Waiting takes, oldest first.
    pub(crate) takes: List<OfConsumer>,
    /// What it holds.
    pub(crate) deliveries: List<OfConsumer>,
    /// In its service's list.
    pub(crate) of_service: ListLinks,
    /// In its service's list of hungry ones.
    pub(crate) hungry: ListLinks,
}

impl ListNode<OfService> for Consumer {
    fn links(&self) -> &ListLinks {
        &self.of_service
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.of_service
    }
}

impl ListNode<Hungry> for Consumer {
    fn links(&self) -> &ListLinks {
        &self.hungry
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.hungry
    }
}

/// A waiting take.
#[derive(Debug)]
pub struct Take {
    /// The caller's number for it.
    pub(crate) tag: Tag,
    /// Who asks.
    pub(crate) consumer: Ix,
    /// For how many more.
    pub(crate) left: u16,
    /// In its consumer's list.
    pub(crate) of_consumer: ListLinks,
}

impl ListNode<OfConsumer> for Take {
    fn links(&self) -> &ListLinks {
        &self.of_consumer
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.of_consumer
    }
}

impl Consumer {
    /// Whether one more message may be claimed for it, and a take waits for it.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        self.room(now) > 0
    }

    /// How many more may be. What is on its way to it needs a token each when it arrives, so nothing is claimed that can't be
    /// handed out then.
    pub(crate) fn room(&self, now: Instant) -> u32 {
        self.wish()
            .min(self.bucket.tokens(now).saturating_sub(u32::from(self.coming)))
    }

    /// How many more may be, if it were not for its rate.
    fn wish(&self) -> u32 {
        // A peer's next message comes while the answer to the one before goes, and is handed over when that has arrived.
        let places = self.limit.saturating_sub(self.held - self.answering);
        u32::from(places).min(self.wanted.saturating_sub(u32::from(self.coming)))
    }

    /// When it has the next token, if something waits for that: a message that may be claimed for it (unless `draining`), or
    /// one that is here and came before its rate was lowered.
    pub(crate) fn next_token(&self, now: Instant, draining: bool) -> Option<Instant> {
        let wish = if draining { 0 } else { self.wish().min(1) };
        let (needed, tokens) = (u32::from(self.coming) + wish, self.bucket.tokens(now));
        (tokens < needed)
            .then(|| self.bucket.when(tokens + 1, now))
            .flatten()
    }

    /// Whether it holds nothing and asks for nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.wanted == 0 && self.held == 0
    }

    /// Whether a message of this node may be granted to it.
    pub(crate) fn has_place_for_own(&self) -> bool {
        self.held < self.limit
    }

    /// Whether it may be handed one more message (P4).
    pub(crate) fn has_place(&self) -> bool {
        self.held - self.coming < self.limit
    }
}
