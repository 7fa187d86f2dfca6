//! The index against a map, with good hashes and with the worst ones.

extern crate std;
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

const KEYS: u64 = 40;

#[derive(Clone, Copy, Debug)]
enum Hashes {
    /// All the same, and the way from home always wraps around the end.
    Same,
    /// Long runs of neighbours, over the end and in disorder.
    Runs,
    Real(u64),
}

impl Hashes {
    fn hash(self, key: u64) -> u64 {
        match self {
            Self::Same => u64::MAX - 2,
            Self::Runs => (key / 3).wrapping_sub(5),
            Self::Real(seed) => hash_words(Seed(seed), &[key]),
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u64),
    Remove(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![3 => (0..KEYS).prop_map(Op::Insert), 2 => (0..KEYS).prop_map(Op::Remove)]
}

fn hashes() -> impl Strategy<Value = Hashes> {
    prop_oneof![
        Just(Hashes::Same),
        Just(Hashes::Runs),
        any::<u64>().prop_map(Hashes::Real)
    ]
}

proptest! {
    #[test]
    fn finds_what_a_map_finds(hashes in hashes(), ops in prop::collection::vec(op(), 1..200)) {
        let mut cells = vec![0; Index::cells_for(KEYS as usize)];
        let mut index = Index::new(Slots::Lent(&mut cells));
        let mut twin = BTreeMap::new();
        // As in the slab, a slot gets another key each time it is used, and an empty one has none.
        let mut slots: Vec<Option<u64>> = vec![None; KEYS as usize];
        for op in ops {
            match op {
                Op::Insert(key) => {
                    twin.entry(key).or_insert_with(|| {
                        let position = slots.iter().position(Option::is_none).unwrap();
                        slots[position] = Some(key);
                        let hash_of = |ix: Ix| hashes.hash(slots[ix.position()].unwrap());
                        index.insert(hashes.hash(key), Ix::new(position), hash_of);
                        Ix::new(position)
                    });
                }
                Op::Remove(key) => if let Some(ix) = twin.remove(&key) {
                    slots[ix.position()] = None;
                    index.remove(hashes.hash(key), ix, |ix| hashes.hash(slots[ix.position()].unwrap()));
                },
            }
            index.check(|ix| hashes.hash(slots[ix.position()].unwrap()));
            for key in 0..KEYS {
                let found = index.find(hashes.hash(key), |ix| slots[ix.position()] == Some(key));
                prop_assert_eq!(found, twin.get(&key).copied());
            }
        }
    }
}

#[test]
fn cells_for_twice_the_entries() {
    for (entries, cells) in [
        (0, 1),
        (1, 2),
        (2, 4),
        (3, 8),
        (4, 8),
        (50, 128),
        (1_000_000, 2_097_152),
    ] {
        assert_eq!(Index::cells_for(entries), cells);
    }
}

#[test]
fn an_index_for_nothing_finds_nothing() {
    let mut cells = [0; Index::cells_for(0)];
    assert_eq!(Index::new(Slots::Lent(&mut cells)).find(7, |_| true), None);
}

#[test]
#[should_panic(expected = "an index of 4 cells is full")]
fn half_of_the_cells_stay_vacant() {
    let mut cells = [0; Index::cells_for(2)];
    let mut index = Index::new(Slots::Lent(&mut cells));
    (0..3).for_each(|n| index.insert(0, Ix::new(n), |_| 0));
}

#[test]
#[should_panic(expected = "slot 1 is not in the index")]
fn an_entry_leaves_once() {
    let mut cells = [0; Index::cells_for(2)];
    let mut index = Index::new(Slots::Lent(&mut cells));
    for n in 0..2 {
        index.insert(9, Ix::new(n), |_| 9);
    }
    index.remove(9, Ix::new(0), |_| 9);
    index.remove(9, Ix::new(0), |_| 9);
}

#[test]
#[should_panic(expected = "need a power of two")]
fn an_odd_number_of_cells_is_refused() {
    Index::new(Slots::Lent(&mut [0; 3]));
}

#[test]
fn hashes_depend_on_seed_length_and_order_and_not_on_the_machine() {
    assert_eq!(
        hash_words(Seed(1), &[2, 3]),
        hash_bytes(Seed(1), &[2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    );
    let different = [
        hash_words(Seed(1), &[2, 3]),
        hash_words(Seed(2), &[2, 3]),
        hash_words(Seed(1), &[3, 2]),
        hash_words(Seed(1), &[2, 3, 0]),
        hash_bytes(Seed(1), b""),
        hash_bytes(Seed(1), b"\0"),
        hash_bytes(Seed(0), b""),
    ];
    assert_eq!(BTreeSet::from(different).len(), different.len());
}
