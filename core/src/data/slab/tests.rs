//! The slab against a map, and a list of the slots it should use next.

extern crate std;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

fn storage<T>(n: usize) -> Vec<Entry<T>> {
    (0..n).map(|_| Entry::EMPTY).collect()
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u16),
    /// Of the full slots, this one (modulo).
    Remove(usize),
    Change(usize, u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any::<u16>().prop_map(Op::Insert),
        3 => any::<usize>().prop_map(Op::Remove),
        1 => (any::<usize>(), any::<u16>()).prop_map(|(nth, value)| Op::Change(nth, value)),
    ]
}

fn pick(twin: &BTreeMap<Ix, u16>, nth: usize) -> Link {
    twin.keys().nth(nth % twin.len().max(1)).copied()
}

proptest! {
    #[test]
    fn holds_what_a_map_holds(capacity in 0..20_usize, ops in prop::collection::vec(op(), 1..200)) {
        let mut entries = storage(capacity);
        let mut slab = Slab::new(Slots::Lent(&mut entries));
        let mut twin = BTreeMap::new();
        let mut free: Vec<Ix> = (0..capacity).rev().map(Ix::new).collect();
        for op in ops {
            match op {
                Op::Insert(value) => match free.pop() {
                    Some(ix) => {
                        prop_assert_eq!(slab.insert(value), Ok(ix));
                        twin.insert(ix, value);
                    }
                    None => prop_assert_eq!(slab.insert(value), Err(value)),
                },
                Op::Remove(nth) => if let Some(ix) = pick(&twin, nth) {
                    prop_assert_eq!(Some(slab.remove(ix)), twin.remove(&ix));
                    free.push(ix);
                },
                Op::Change(nth, value) => if let Some(ix) = pick(&twin, nth) {
                    slab[ix] = value;
                    twin.insert(ix, value);
                },
            }
            slab.check();
            prop_assert_eq!(slab.capacity(), capacity);
            prop_assert_eq!(slab.len(), twin.len());
            prop_assert_eq!(slab.is_full(), free.is_empty());
            prop_assert!(slab.iter().eq(twin.iter().map(|(&ix, value)| (ix, value))));
            let mut cursor = None;
            for position in 0..=capacity {
                let ix = Ix::new(position);
                prop_assert_eq!(slab.get(ix), twin.get(&ix));
                prop_assert_eq!(slab.get_mut(ix).copied(), twin.get(&ix).copied());
                let next = twin.range(ix..).nth(usize::from(twin.contains_key(&ix))).map(|(&ix, _)| ix);
                prop_assert_eq!(slab.next_live(Some(ix)), next);
            }
            let walk = core::iter::from_fn(|| {
                cursor = slab.next_live(cursor);
                cursor
            });
            prop_assert!(walk.eq(twin.keys().copied()));
        }
    }
}

/// A start that wrote to each slot would take a large node's time and a small node's flash.
#[test]
fn a_start_touches_no_slot_and_ignores_what_was_there() {
    const SLOTS: usize = 1_000_000;
    let mut entries: Vec<Entry<u32>> = (0..SLOTS as u32).map(|n| Entry(State::Full(n))).collect();
    let mut slab = Slab::new(Slots::Lent(&mut entries));
    assert_eq!(slab.len(), 0);
    assert_eq!(slab.iter().count(), 0);
    assert_eq!(slab.next_live(None), None);
    assert_eq!(slab.get(Ix::new(0)), None);
    assert_eq!(slab.get_mut(Ix::new(SLOTS - 1)), None);
    assert_eq!(slab.insert(77), Ok(Ix::new(0)));
    slab.check();
    assert!(matches!(entries[0], Entry(State::Full(77))));
    assert!(
        entries
            .iter()
            .zip(0..)
            .skip(1)
            .all(|(entry, n)| matches!(*entry, Entry(State::Full(was)) if was == n))
    );
}

#[test]
fn what_was_not_inserted_comes_back() {
    let mut entries = storage::<std::string::String>(0);
    let mut slab = Slab::new(Slots::Lent(&mut entries));
    assert_eq!(slab.insert("full".into()), Err("full".into()));
    assert!(slab.is_full());
}

#[test]
fn a_link_costs_no_more_than_its_number() {
    assert_eq!(size_of::<Link>(), 4);
    assert_eq!((Ix::new(0).get(), Ix::new(0).position()), (1, 0));
    let last = Ix::new(u32::MAX as usize - 1);
    assert_eq!((last.get(), last.position()), (u32::MAX, u32::MAX as usize - 1));
}

#[test]
#[should_panic(expected = "fewer than 2^32")]
fn a_position_that_is_no_slot_is_a_bug() {
    Ix::new(u32::MAX as usize);
}

#[test]
#[should_panic(expected = "slot 1 is empty")]
fn an_empty_slot_has_nothing_to_remove() {
    let mut entries = storage(1);
    let mut slab = Slab::new(Slots::Lent(&mut entries));
    let ix = slab.insert(()).unwrap();
    slab.remove(ix);
    slab.remove(ix);
}

#[test]
#[should_panic(expected = "slot 2 is empty")]
fn an_unused_slot_has_nothing_to_read() {
    let mut entries = [Entry(State::Full(1)), Entry(State::Full(2))];
    let mut slab = Slab::new(Slots::Lent(&mut entries));
    slab.insert(3).unwrap();
    assert_eq!(slab[Ix::new(0)], 3);
    let _ = slab[Ix::new(1)];
}
