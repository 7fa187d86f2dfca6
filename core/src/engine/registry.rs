//! Consumers of this node and their takes.

use super::Core;
use super::slots::{Consumer, Source, Stage, Take};
use super::tables::Entity;
use crate::data::bucket::Bucket;
use crate::data::index::{Seed, hash_bytes, hash_words};
use crate::data::list::{List, ListLinks};
use crate::data::slab::{Ix, Link};
use crate::id::{ConsumerKey, GrantToken};
use crate::input::Tag;
use crate::name::Name;
use crate::output::{Bound, LostWhy, Misuse, Refused};
use crate::rate::Rate;
use crate::time::Duration;

impl Core<'_> {
    fn consumer_hash(seed: Seed, service: Ix, name: &str) -> u64 {
        hash_words(
            seed,
            &[u64::from(service.get()), hash_bytes(seed, name.as_bytes())],
        )
    }

    fn take_hash(seed: Seed, tag: Tag) -> u64 {
        hash_words(seed, &[tag.0])
    }

    fn find_consumer(&self, service: Ix, name: &str) -> Link {
        let same = |ix: Ix| self.consumers[ix].service == service && self.consumers[ix].name.as_str() == name;
        self.consumer_index
            .find(Self::consumer_hash(self.seed(), service, name), same)
    }

    fn find_take(&self, tag: Tag) -> Link {
        self.take_index
            .find(Self::take_hash(self.seed(), tag), |ix| self.takes[ix].tag == tag)
    }

    /// The registered consumer of that key, if any.
    pub(super) fn consumer_of_key(&self, key: ConsumerKey) -> Link {
        self.consumers
            .iter()
            .find(|(_, consumer)| consumer.key == key)
            .map(|(ix, _)| ix)
    }

    /// Finds or makes a consumer.
    fn consumer(&mut self, service: &Name, name: &Name) -> Result<Ix, Refused> {
        if let Some(s) = self.find_service(service)
            && let Some(found) = self.find_consumer(s, name)
        {
            return Ok(found);
        }
        if self.consumers.is_full() {
            return Err(Refused::Full(Bound::Consumers));
        }
        let s = self.service(service)?;
        let slot = Consumer {
            service: s,
            name: name.clone(),
            key: Self::consumer_key(service, name),
            limit: self.config.limit.max(1),
            held: 0,
            coming: 0,
            answering: 0,
            blocked: false,
            wanted: 0,
            lease: self.config.lease,
            bucket: Bucket::UNLIMITED,
            takes: List::default(),
            deliveries: List::default(),
            of_service: ListLinks::default(),
            hungry: ListLinks::default(),
        };
        let ix = self
            .consumers
            .insert(slot)
            .map_err(|_| Refused::Full(Bound::Consumers))?;
        let (seed, consumers) = (self.seed(), &self.consumers);
        self.consumer_index
            .insert(Self::consumer_hash(seed, s, name), ix, |at| {
                Self::consumer_hash(seed, consumers[at].service, &consumers[at].name)
            });
        self.services[s].consumers.push_back(&mut self.consumers, ix);
        if self.services[s].consumers.len() == 1 {
            self.routes_changed(s);
        }
        self.refresh_consumer(ix);
        Ok(ix)
    }

    pub(super) fn register(
        &mut self,
        service: &str,
        consumer: &str,
        limit: u16,
        lease: Duration,
        rate: Option<Rate>,
    ) -> Result<(), Refused> {
        let (service, name) = (Self::name(service)?, Self::name(consumer)?);
        if limit == 0 || lease == Duration::ZERO {
            return Err(Refused::Misuse(Misuse::Zero));
        }
        if self.draining {
            return Err(Refused::Draining);
        }
        let ix = self.consumer(&service, &name)?;
        let now = self.now;
        let c = &mut self.consumers[ix];
        c.bucket.set(rate, now);
        c.limit = limit;
        c.lease = lease.min(self.config.timing.lease_max);
        let s = c.service;
        if core::mem::take(&mut c.blocked) {
            self.hand_over_ready(ix);
        }
        self.refresh_consumer(ix);
        self.match_service(s);
        Ok(())
    }

    pub(super) fn unregister(&mut self, service: &str, consumer: &str) -> Result<(), Refused> {
        let (service, name) = (Self::name(service)?, Self::name(consumer)?);
        let s = self.find_service(&service).ok_or(Refused::Unknown)?;
        let ix = self.find_consumer(s, &name).ok_or(Refused::Unknown)?;
        self.remove_consumer(ix);
        Ok(())
    }

    /// Ends its takes, gives back what it holds, forgets it; answers under way go on without it.
    pub(super) fn remove_consumer(&mut self, ix: Ix) {
        let s = self.consumers[ix].service;
        while let Some(take) = self.consumers[ix].takes.front() {
            self.remove_take(take);
        }
        if self.consumers[ix].hungry.is_linked() {
            self.services[s].hungry.remove(&mut self.consumers, ix);
        }
        // Gone from its service first, so that nothing is matched to it again while it is taken apart.
        self.services[s].consumers.remove(&mut self.consumers, ix);
        while let Some(d) = self.consumers[ix].deliveries.front() {
            self.detach(d);
            match self.deliveries[d].stage {
                Stage::Answering | Stage::Over => {}
                Stage::Claiming if self.deliveries[d].source != Source::Local => self.over(d),
                Stage::Claiming | Stage::Fetching | Stage::Ready => self.release(d),
                Stage::Held => {
                    self.lost(d, LostWhy::Unregistered);
                    self.release(d);
                }
            }
        }
        let (seed, consumers) = (self.seed(), &self.consumers);
        let hash = Self::consumer_hash(seed, s, &consumers[ix].name);
        self.consumer_index.remove(hash, ix, |at| {
            Self::consumer_hash(seed, consumers[at].service, &consumers[at].name)
        });
        self.set_timer(Entity::Consumer(ix), None);
        self.consumers.remove(ix);
        if self.services[s].consumers.is_empty() {
            self.routes_changed(s);
            self.fill(s);
        }
        self.drop_idle_service(s);
    }

    pub(super) fn take(&mut self, tag: Tag, service: &str, consumer: &str, max: u16) -> Result<(), Refused> {
        let (service, name) = (Self::name(service)?, Self::name(consumer)?);
        if max == 0 {
            return Err(Refused::Misuse(Misuse::Zero));
        }
        if self.find_take(tag).is_some() {
            return Err(Refused::Misuse(Misuse::Tag));
        }
        if self.draining {
            return Err(Refused::Draining);
        }
        if self.takes.is_full() {
            return Err(Refused::Full(Bound::Takes));
        }
        let c = self.consumer(&service, &name)?;
        let slot = Take {
            tag,
            consumer: c,
            left: max,
            of_consumer: ListLinks::default(),
        };
        let ix = self.takes.insert(slot).map_err(|_| Refused::Full(Bound::Takes))?;
        let (seed, takes) = (self.seed(), &self.takes);
        self.take_index.insert(Self::take_hash(seed, tag), ix, |at| {
            Self::take_hash(seed, takes[at].tag)
        });
        self.consumers[c].takes.push_back(&mut self.takes, ix);
        self.consumers[c].wanted += u32::from(max);
        self.hand_over_ready(c);
        self.refresh_consumer(c);
        let s = self.consumers[c].service;
        self.match_service(s);
        Ok(())
    }

    /// What was granted while no take was waiting, or no token there, is handed over, as far as there are tokens.
    pub(super) fn hand_over_ready(&mut self, c: Ix) {
        let mut tokens = self.consumers[c].bucket.tokens(self.now);
        let mut at = if self.consumers[c].coming > 0 {
            self.consumers[c].deliveries.front()
        } else {
            None
        };
        while let Some(d) = at.filter(|_| tokens > 0) {
            at = self.consumers[c].deliveries.next(&self.deliveries, d);
            if self.deliveries[d].stage == Stage::Ready {
                tokens -= 1;
                self.hand_over(d);
            }
        }
    }

    pub(super) fn take_ended(&mut self, tag: Tag) {
        if let Some(ix) = self.find_take(tag) {
            let c = self.takes[ix].consumer;
            self.remove_take(ix);
            self.refresh_consumer(c);
        }
    }

    fn remove_take(&mut self, ix: Ix) {
        let (seed, takes) = (self.seed(), &self.takes);
        let hash = Self::take_hash(seed, takes[ix].tag);
        self.take_index
            .remove(hash, ix, |at| Self::take_hash(seed, takes[at].tag));
        let c = self.takes[ix].consumer;
        self.consumers[c].takes.remove(&mut self.takes, ix);
        let take = self.takes.remove(ix);
        self.consumers[c].wanted -= u32::from(take.left);
    }

    /// The consumer's oldest take gets one message; its tag.
    pub(super) fn use_take(&mut self, c: Ix) -> Option<Tag> {
        let ix = self.consumers[c].takes.front()?;
        let take = &mut self.takes[ix];
        let tag = take.tag;
        take.left -= 1;
        let used_up = take.left == 0;
        self.consumers[c].wanted -= 1;
        if used_up {
            self.remove_take(ix);
        }
        Some(tag)
    }

    /// It has been idle for too long, or has another token.
    pub(super) fn consumer_timeout(&mut self, ix: Ix) {
        if self.consumers[ix].is_idle() {
            return self.remove_consumer(ix);
        }
        let s = self.consumers[ix].service;
        self.hand_over_ready(ix);
        self.refresh_consumer(ix);
        self.match_service(s);
    }

    /// The client of a delivery went before it had it.
    pub(super) fn unseen(&mut self, token: &GrantToken) {
        let Some(d) = self.find_delivery(token.attempt()) else {
            return;
        };
        let slot = &self.deliveries[d];
        if slot.token != *token || !matches!(slot.stage, Stage::Ready | Stage::Held) {
            return;
        }
        // Nobody has extended what nobody has seen: its lease began when it was handed over.
        let taken = slot.wake.filter(|_| slot.stage == Stage::Held);
        if let (Some(c), Some(until)) = (slot.consumer, taken) {
            let then = until - slot.lease;
            self.consumers[c].bucket.put_back(then, self.now);
        }
        self.let_go(d, true);
    }

    /// After anything that changes its room: keeps the list of hungry ones and its timer true.
    pub(super) fn refresh_consumer(&mut self, ix: Ix) {
        let c = &self.consumers[ix];
        let (s, idle) = (c.service, c.is_idle());
        let hungry = c.has_room(self.now) && !self.draining;
        let next = c.next_token(self.now, self.draining);
        let listed = self.consumers[ix].hungry.is_linked();
        if hungry && !listed {
            self.services[s].hungry.push_back(&mut self.consumers, ix);
        } else if !hungry && listed {
            self.services[s].hungry.remove(&mut self.consumers, ix);
        }
        let entity = Entity::Consumer(ix);
        let until = self.now + self.config.timing.liveness;
        self.set_timer(entity, if idle { Some(until) } else { next });
    }
}
