//! Whose messages and consumers are (promise P12). What the core has is nobody's; here is who may touch it.

use super::refusal::Refusal;
use super::turn::Driver;
use crate::owner::{Owner, Who};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Consumers whose end the core has not told are looked for when so many more are known here than there.
const STALE_MAX: usize = 64;

/// Owners of messages, where they are programs, and of consumers.
#[derive(Debug, Default)]
pub(super) struct Owners {
    messages: HashMap<u64, Arc<str>>,
    /// The other way round, so that a program sees its own without a look at all others'.
    programs: HashMap<Arc<str>, BTreeSet<u64>>,
    /// By service, then name. The core forgets consumers that were silent for long and does not say so: an entry
    /// counts only while the consumer is registered there.
    consumers: HashMap<String, HashMap<String, Owner>>,
    consumer_count: usize,
}

impl Owners {
    /// With what was on disk.
    pub(super) fn recovered(found: &[(u64, Arc<str>)]) -> Self {
        let mut owners = Self::default();
        for (sequence, program) in found {
            owners.add(*sequence, &Owner::Program(program.clone()));
        }
        owners
    }

    /// A message is this one's, up to [`Owners::remove`].
    pub(super) fn add(&mut self, sequence: u64, owner: &Owner) {
        let Some(program) = owner.program() else { return };
        self.messages.insert(sequence, program.clone());
        self.programs.entry(program.clone()).or_default().insert(sequence);
    }

    /// The message and its outcome are gone.
    pub(super) fn remove(&mut self, sequence: u64) {
        let Some(program) = self.messages.remove(&sequence) else {
            return;
        };
        if let Some(all) = self.programs.get_mut(&program) {
            all.remove(&sequence);
            if all.is_empty() {
                self.programs.remove(&program);
            }
        }
    }

    /// Whose a message is. One that nobody owns is the administrator's.
    pub(super) fn of(&self, sequence: u64) -> Owner {
        self.messages
            .get(&sequence)
            .map_or(Owner::Administrator, |program| Owner::Program(program.clone()))
    }

    /// A program's messages, by sequence number.
    pub(super) fn messages_of(&self, program: &str) -> impl Iterator<Item = u64> {
        self.programs.get(program).into_iter().flatten().copied()
    }

    /// Who registered a consumer, if that is known.
    pub(super) fn of_consumer(&self, service: &str, consumer: &str) -> Option<&Owner> {
        self.consumers.get(service)?.get(consumer)
    }

    fn add_consumer(&mut self, service: &str, consumer: &str, owner: &Owner) {
        let of_service = match self.consumers.get_mut(service) {
            Some(there) => there,
            None => self.consumers.entry(service.to_owned()).or_default(),
        };
        if of_service.insert(consumer.to_owned(), owner.clone()).is_none() {
            self.consumer_count += 1;
        }
    }

    /// Forgets those that are not among these, by service and name.
    fn keep_consumers(&mut self, registered: &HashSet<(&str, &str)>) {
        for (service, of_service) in &mut self.consumers {
            of_service.retain(|name, _| registered.contains(&(service.as_str(), name.as_str())));
        }
        self.consumers.retain(|_, of_service| !of_service.is_empty());
        self.consumer_count = self.consumers.values().map(HashMap::len).sum();
    }

    /// A consumer is gone.
    pub(super) fn remove_consumer(&mut self, service: &str, consumer: &str) {
        let Some(of_service) = self.consumers.get_mut(service) else {
            return;
        };
        self.consumer_count -= usize::from(of_service.remove(consumer).is_some());
        if of_service.is_empty() {
            self.consumers.remove(service);
        }
    }
}

impl Driver {
    /// Whether somebody may look at, cancel or collect a message. To others it is as if there were none.
    pub(super) fn may_touch(&self, who: &Who, sequence: u64) -> Result<(), Refusal> {
        if who.may_touch(&self.owners.of(sequence)) {
            Ok(())
        } else {
            Err(Refusal::Unknown)
        }
    }

    /// Whether somebody may use a consumer's name: it is free, or his.
    pub(super) fn may_consume_as(&mut self, who: &Who, service: &str, consumer: &str) -> Result<(), Refusal> {
        let owner = match self.owners.of_consumer(service, consumer) {
            Some(owner) if *owner != who.owner => owner,
            _ => return Ok(()),
        };
        let mut all = self.core.consumers();
        if all.any(|view| view.service.as_str() == service && view.name.as_str() == consumer) {
            return if who.may_touch(owner) {
                Ok(())
            } else {
                Err(Refusal::Taken)
            };
        }
        self.owners.remove_consumer(service, consumer);
        Ok(())
    }

    /// The core has registered a consumer by somebody's wish. An administrator who uses another's takes it from nobody.
    pub(super) fn consumes_as(&mut self, who: &Who, service: &str, consumer: &str) {
        if self.owners.of_consumer(service, consumer).is_some() {
            return;
        }
        self.owners.add_consumer(service, consumer, &who.owner);
        let registered = self.core.usage().consumers as usize;
        if self.owners.consumer_count > 2 * registered + STALE_MAX {
            let all = self.core.consumers();
            let registered: HashSet<(&str, &str)> = all.map(|view| (&**view.service, &**view.name)).collect();
            self.owners.keep_consumers(&registered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_are_counted_and_those_that_are_gone_swept() {
        let mut owners = Owners::default();
        let a = Owner::Program("a".into());
        for (service, name) in [("s", "1"), ("s", "2"), ("t", "1"), ("s", "1")] {
            owners.add_consumer(service, name, &a);
        }
        owners.add_consumer("u", "1", &Owner::Administrator);
        assert_eq!(owners.consumer_count, 4);
        owners.keep_consumers(&[("s", "2"), ("u", "1"), ("v", "1")].into());
        assert_eq!(owners.consumer_count, 2);
        assert_eq!(owners.of_consumer("s", "1"), None);
        assert_eq!(owners.of_consumer("s", "2"), Some(&a));
        owners.remove_consumer("s", "2");
        owners.remove_consumer("s", "2");
        owners.remove_consumer("u", "1");
        assert_eq!((owners.consumer_count, owners.consumers.len()), (0, 0));
    }

    #[test]
    fn a_programs_messages_are_found_both_ways() {
        let mut owners = Owners::recovered(&[(7, "a".into()), (3, "a".into()), (4, "b".into())]);
        owners.add(5, &Owner::Administrator);
        assert_eq!(owners.messages_of("a").collect::<Vec<_>>(), [3, 7]);
        assert_eq!(owners.of(4), Owner::Program("b".into()));
        assert_eq!(owners.of(5), Owner::Administrator);
        for sequence in [3, 7, 7, 5, 99] {
            owners.remove(sequence);
        }
        assert_eq!(owners.messages_of("a").count(), 0);
        owners.remove(4);
        assert!(owners.messages.is_empty() && owners.programs.is_empty());
    }
}
