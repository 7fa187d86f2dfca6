//! How many deliveries each consumer was handed since the start: whoever looks twice knows its rate.
//!
//! Kept beside the core. There are at most twice as many entries as that has room for consumers: those that it has
//! forgotten are forgotten here when more come.

use super::turn::Driver;
use std::collections::{HashMap, HashSet};

/// By service, then name.
#[derive(Debug, Default)]
pub(super) struct Taken {
    services: HashMap<Box<str>, HashMap<Box<str>, u64>>,
    consumers: usize,
}

impl Taken {
    pub(super) fn of(&self, service: &str, consumer: &str) -> u64 {
        let found = self.services.get(service).and_then(|all| all.get(consumer));
        found.copied().unwrap_or_default()
    }

    /// One more. A name that is known is not copied.
    fn add(&mut self, service: &str, consumer: &str) {
        let all = match self.services.get_mut(service) {
            Some(all) => all,
            None => self.services.entry(service.into()).or_default(),
        };
        match all.get_mut(consumer) {
            Some(taken) => *taken += 1,
            None => {
                all.insert(consumer.into(), 1);
                self.consumers += 1;
            }
        }
    }

    fn retain(&mut self, known: impl Fn(&str, &str) -> bool) {
        self.services.retain(|service, all| {
            all.retain(|consumer, _| known(service, consumer));
            !all.is_empty()
        });
        self.consumers = self.services.values().map(HashMap::len).sum();
    }
}

impl Driver {
    /// A consumer was handed a delivery.
    pub(super) fn count_taken(&mut self, service: &str, consumer: &str) {
        self.taken.add(service, consumer);
        // Twice as many, so that names which come and go cost a walk only now and then.
        if self.taken.consumers > 2 * self.core.capacity().consumers as usize {
            let known = self.core.consumers();
            let known = known.map(|view| (view.service.as_str(), view.name.as_str()));
            let known: HashSet<(&str, &str)> = known.collect();
            self.taken
                .retain(|service, consumer| known.contains(&(service, consumer)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_consumer_is_counted_for_itself_and_gives_its_room_back() {
        let mut taken = Taken::default();
        for (service, consumer) in [("a", "x"), ("a", "y"), ("a", "x"), ("b", "x")] {
            taken.add(service, consumer);
        }
        assert_eq!((taken.of("a", "x"), taken.of("a", "y")), (2, 1));
        assert_eq!(
            (taken.of("b", "x"), taken.of("b", "y"), taken.of("c", "x")),
            (1, 0, 0)
        );
        assert_eq!(taken.consumers, 3);
        taken.retain(|service, consumer| service == "a" && consumer == "x");
        assert_eq!((taken.consumers, taken.services.len()), (1, 1));
        assert_eq!((taken.of("a", "x"), taken.of("b", "x")), (2, 0));
    }
}
