//! The timers against a sorted map.

extern crate std;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

const IDS: u32 = 30;

#[derive(Clone, Debug)]
enum Op {
    Set(u32, u64),
    /// To the moment it is set to already.
    SetAgain(u32),
    Cancel(u32),
    PopDue(u64),
}

fn op() -> impl Strategy<Value = Op> {
    // Few moments, so that many timers share one.
    let (id, at) = (0..IDS, prop_oneof![9 => 0..8_u64, 1 => Just(u64::MAX)]);
    prop_oneof![
        5 => (id.clone(), at.clone()).prop_map(|(id, at)| Op::Set(id, at)),
        1 => id.clone().prop_map(Op::SetAgain),
        2 => id.prop_map(Op::Cancel),
        2 => at.prop_map(Op::PopDue),
    ]
}

#[derive(Default)]
struct Twin {
    queue: BTreeMap<(u64, u64), u32>,
    /// For each id that is set, its key in the queue.
    set: BTreeMap<u32, (u64, u64)>,
    calls: u64,
}

impl Twin {
    fn set(&mut self, id: u32, at: u64) {
        if self.set.get(&id).is_some_and(|key| key.0 == at) {
            return;
        }
        self.cancel(id);
        self.calls += 1;
        self.queue.insert((at, self.calls), id);
        self.set.insert(id, (at, self.calls));
    }

    fn cancel(&mut self, id: u32) {
        if let Some(key) = self.set.remove(&id) {
            self.queue.remove(&key);
        }
    }

    fn peek(&self) -> Option<(u64, u32)> {
        self.queue.first_key_value().map(|(key, &id)| (key.0, id))
    }
}

fn storage(ids: u32) -> (Vec<u32>, Vec<TimerCell>) {
    // What is in the heap at first counts for nothing.
    (vec![u32::MAX; ids as usize], vec![TimerCell::EMPTY; ids as usize])
}

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

proptest! {
    #[test]
    fn come_due_in_order(ops in prop::collection::vec(op(), 1..300)) {
        let (mut heap, mut cells) = storage(IDS);
        let mut timers = Timers::new(Slots::Lent(&mut heap), Slots::Lent(&mut cells));
        let mut twin = Twin::default();
        for op in ops {
            match op {
                Op::Set(id, micros) => {
                    timers.set(id, at(micros));
                    twin.set(id, micros);
                }
                Op::SetAgain(id) => if let Some(&(micros, _)) = twin.set.get(&id) {
                    timers.set(id, at(micros));
                    twin.set(id, micros);
                },
                Op::Cancel(id) => {
                    timers.cancel(id);
                    twin.cancel(id);
                }
                Op::PopDue(now) => {
                    let due = twin.peek().filter(|&(at, _)| at <= now).map(|(_, id)| id);
                    prop_assert_eq!(timers.pop_due(at(now)), due);
                    due.into_iter().for_each(|id| twin.cancel(id));
                }
            }
            timers.check();
            prop_assert_eq!(timers.len(), twin.set.len());
            prop_assert_eq!(timers.peek(), twin.peek().map(|(micros, id)| (at(micros), id)));
            for id in 0..IDS {
                prop_assert_eq!(timers.at(id), twin.set.get(&id).map(|key| at(key.0)));
            }
        }
        let rest = core::iter::from_fn(|| timers.pop_due(at(u64::MAX)));
        prop_assert!(rest.eq(twin.queue.values().copied()));
    }
}

#[test]
fn ten_thousand_of_one_moment_come_in_the_order_they_were_set() {
    const MANY: u32 = 10_000;
    let (mut heap, mut cells) = storage(MANY);
    let mut timers = Timers::new(Slots::Lent(&mut heap), Slots::Lent(&mut cells));
    // 7,919 shares no factor with 10,000: each id once, in no order.
    let ids = (0..MANY).map(|n| n * 7_919 % MANY);
    ids.clone().for_each(|id| timers.set(id, at(5)));
    timers.check();
    assert_eq!(timers.pop_due(at(4)), None);
    assert!(core::iter::from_fn(|| timers.pop_due(at(5))).eq(ids));
    assert_eq!(timers.len(), 0);
    assert_eq!(timers.peek(), None);
}

#[test]
fn only_a_moved_timer_loses_its_turn() {
    let (mut heap, mut cells) = storage(3);
    let mut timers = Timers::new(Slots::Lent(&mut heap), Slots::Lent(&mut cells));
    for id in [2, 0, 1] {
        timers.set(id, at(5));
    }
    timers.set(2, at(5));
    timers.set(0, at(6));
    timers.set(0, at(5));
    assert!(core::iter::from_fn(|| timers.pop_due(at(5))).eq([2, 1, 0]));
}

#[test]
#[should_panic(expected = "room for 1 of 2 timers")]
fn a_heap_that_could_overflow_is_refused() {
    Timers::new(Slots::Lent(&mut [0]), Slots::Lent(&mut [TimerCell::EMPTY; 2]));
}
