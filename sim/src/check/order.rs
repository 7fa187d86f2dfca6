//! Who is served first: the highest priority among what is reserved at the node, or what has risen highest (P5).
//!
//! A message counts as reserved here only where that is certain from outside: one of the node's own that was stored
//! in this life and was never granted, or one whose offer arrived and was neither given back nor claimed.

use super::{Verdict, require};
use crate::scenario::Time;
use redlink_core::{ConsumerKey, Duration, Instant, LinkId, MessageId, NodeId, OfferId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserved {
    pub(crate) service: usize,
    pub(crate) priority: u8,
    /// By the node's clock; none if that can't be told from outside.
    pub(crate) born: Option<Instant>,
    pub(crate) deadline: Option<Time>,
    /// Number of the event that brought it: outputs that were under way by then can't have known it.
    pub(crate) event: u64,
}

/// What is chosen, as its node knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) service: usize,
    pub(crate) priority: u8,
    pub(crate) born: Option<Instant>,
}

/// Everything that is certainly reserved, by node.
#[derive(Debug, Default)]
pub(crate) struct Order {
    own: BTreeMap<usize, BTreeMap<MessageId, Reserved>>,
    offered: BTreeMap<(usize, LinkId), BTreeMap<OfferId, Reserved>>,
    /// Claims under way, and for whom: an offer that crosses one brings nothing new.
    claimed: BTreeMap<(usize, LinkId), BTreeMap<OfferId, ConsumerKey>>,
    /// Which peers have claimed a message from a node, or said that they hold it, and which have offered it to it:
    /// payloads go to the former only, answers to the latter (P9).
    ways: BTreeSet<(usize, MessageId, NodeId)>,
    /// Which peers have brought an asking of which origin: answers for it may go to them too.
    sought: BTreeSet<(usize, NodeId, NodeId)>,
}

impl Order {
    pub(crate) fn own(&mut self, host: usize, id: MessageId, reserved: Reserved) {
        self.own.entry(host).or_default().insert(id, reserved);
    }

    /// The peer has claimed, offered, or says that it holds the message.
    pub(crate) fn way(&mut self, host: usize, id: MessageId, peer: NodeId) {
        self.ways.insert((host, id, peer));
    }

    pub(crate) fn is_way(&self, host: usize, id: MessageId, peer: NodeId) -> bool {
        self.ways.contains(&(host, id, peer)) || self.sought.contains(&(host, id.node, peer))
    }

    /// The peer looks for what consumers of this node, or of others behind it, hold of the origin.
    pub(crate) fn sought(&mut self, host: usize, origin: NodeId, peer: NodeId) {
        self.sought.insert((host, origin, peer));
    }

    pub(crate) fn own_gone(&mut self, host: usize, id: MessageId) {
        if let Some(own) = self.own.get_mut(&host) {
            own.remove(&id);
        }
    }

    pub(crate) fn offered(&mut self, host: usize, link: LinkId, id: OfferId, reserved: Reserved) {
        if !self
            .claimed
            .get(&(host, link))
            .is_some_and(|claimed| claimed.contains_key(&id))
        {
            self.offered.entry((host, link)).or_default().insert(id, reserved);
        }
    }

    /// What a peer said of a message when it offered it.
    pub(crate) fn offer(&self, host: usize, link: LinkId, id: OfferId) -> Option<Choice> {
        let reserved = self.offered.get(&(host, link))?.get(&id)?;
        Some(Choice {
            service: reserved.service,
            priority: reserved.priority,
            born: reserved.born,
        })
    }

    pub(crate) fn claimed(&mut self, host: usize, link: LinkId, id: OfferId, consumer: ConsumerKey) {
        self.offer_gone(host, link, id);
        self.claimed.entry((host, link)).or_default().insert(id, consumer);
    }

    /// A peer has claimed it through this node: whether it is still to be had here can't be told from outside.
    pub(crate) fn relayed(&mut self, host: usize, id: MessageId) {
        for (_, offered) in self
            .offered
            .range_mut((host, LinkId(0))..=(host, LinkId(u32::MAX)))
        {
            offered.retain(|offer, _| offer.message != id);
        }
    }

    /// The claim for this consumer is answered, either way.
    pub(crate) fn claim_answered(&mut self, host: usize, link: LinkId, id: MessageId, consumer: ConsumerKey) {
        let Some(claimed) = self.claimed.get_mut(&(host, link)) else {
            return;
        };
        let its = |(offer, by): (&OfferId, &ConsumerKey)| {
            (offer.message == id && *by == consumer).then_some(*offer)
        };
        if let Some(offer) = claimed.iter().find_map(its) {
            claimed.remove(&offer);
            self.offer_gone(host, link, offer);
        }
    }

    pub(crate) fn offer_gone(&mut self, host: usize, link: LinkId, id: OfferId) {
        if let Some(offered) = self.offered.get_mut(&(host, link)) {
            offered.remove(&id);
        }
    }

    pub(crate) fn link_gone(&mut self, host: usize, link: LinkId) {
        self.offered.remove(&(host, link));
        self.claimed.remove(&(host, link));
    }

    pub(crate) fn service_gone(&mut self, host: usize, link: LinkId, service: usize) {
        if let Some(offered) = self.offered.get_mut(&(host, link)) {
            offered.retain(|_, reserved| reserved.service != service);
        }
    }

    pub(crate) fn forgot(&mut self, host: usize) {
        self.own.remove(&host);
        self.offered.retain(|(owner, _), _| *owner != host);
        self.claimed.retain(|(owner, _), _| *owner != host);
    }

    /// `id` is claimed, or granted to a consumer here: nothing better may have been there at `event`. With `ageing` each such
    /// time of waiting is a level of priority.
    pub(crate) fn chosen(
        &self,
        host: usize,
        id: MessageId,
        chosen: Choice,
        ageing: Option<Duration>,
        (now, event): (Time, u64),
    ) -> Verdict {
        let Choice {
            service, priority, ..
        } = chosen;
        let own = self.own.get(&host).into_iter().flatten();
        let own = own.map(|(own, reserved)| (*own, reserved));
        let offered = self
            .offered
            .range((host, LinkId(0))..=(host, LinkId(u32::MAX)))
            .flat_map(|(_, all)| all)
            .map(|(offer, reserved)| (offer.message, reserved));
        for (other, reserved) in own.chain(offered) {
            let known = reserved.event <= event && reserved.service == service && other != id;
            let alive = reserved.deadline.is_none_or(|deadline| now < deadline);
            let better = match ageing {
                None => reserved.priority > priority,
                // All rise alike, so they compare by when they would have come to nothing.
                Some(step) => {
                    let start = |born: Instant, priority: u8| {
                        i128::from(born.as_micros()) - i128::from(step.as_micros()) * i128::from(priority)
                    };
                    let (other, this) = (reserved.born, chosen.born);
                    let both = other.zip(this);
                    both.is_some_and(|(other, this)| start(other, reserved.priority) < start(this, priority))
                }
            };
            require!(
                !(known && alive && better),
                "P5",
                "{id} of priority {priority}, born {:?}, is chosen before {other} of priority {}, born {:?}; ageing {ageing:?}",
                chosen.born,
                reserved.priority,
                reserved.born
            );
        }
        Ok(())
    }
}
