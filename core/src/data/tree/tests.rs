//! Trees of two kinds over the same elements against a sorted map each, and how deep they get.

extern crate std;
use super::super::slab::Entry;
use super::super::slots::Slots;
use super::*;
use core::cell::Cell;
use core::cmp::Reverse;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

struct Up;
struct Down;

#[derive(Default)]
struct Node {
    value: u32,
    up: TreeLinks,
    down: TreeLinks,
    /// How often its upward key was looked at.
    looks: Cell<u32>,
}

impl Node {
    fn new(value: u32) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }
}

impl TreeNode<Up> for Node {
    type Key = u32;
    fn key(&self) -> u32 {
        self.looks.set(self.looks.get() + 1);
        self.value
    }
    fn tree(&self) -> &TreeLinks {
        &self.up
    }
    fn tree_mut(&mut self) -> &mut TreeLinks {
        &mut self.up
    }
}

impl TreeNode<Down> for Node {
    type Key = Reverse<u32>;
    fn key(&self) -> Reverse<u32> {
        Reverse(self.value)
    }
    fn tree(&self) -> &TreeLinks {
        &self.down
    }
    fn tree_mut(&mut self) -> &mut TreeLinks {
        &mut self.down
    }
}

fn storage(n: usize) -> Vec<Entry<Node>> {
    (0..n).map(|_| Entry::EMPTY).collect()
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32),
    /// Larger than all before.
    Append,
    /// Of all elements, this one in order (modulo).
    Remove(usize),
    RemoveFirst,
    RemoveLast,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..1_000_u32).prop_map(Op::Insert),
        3 => Just(Op::Append),
        2 => any::<usize>().prop_map(Op::Remove),
        1 => Just(Op::RemoveFirst),
        1 => Just(Op::RemoveLast),
    ]
}

fn compare<M, K: Ord + Copy>(tree: &Tree<M>, slab: &Slab<'_, Node>, twin: &BTreeMap<K, Ix>)
where
    Node: TreeNode<M>,
{
    tree.check(slab);
    assert_eq!((tree.len(), tree.is_empty()), (twin.len(), twin.is_empty()));
    assert_eq!(tree.first(), twin.first_key_value().map(|(_, &ix)| ix));
    assert_eq!(tree.last(slab), twin.last_key_value().map(|(_, &ix)| ix));
    let walk = core::iter::successors(tree.first(), |&ix| tree.next(slab, ix));
    assert!(walk.eq(twin.values().copied()));
}

proptest! {
    #[test]
    fn keeps_the_order_of_a_sorted_map(
        seed in any::<u64>(),
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let mut entries = storage(150);
        let mut slab = Slab::new(Slots::Lent(&mut entries));
        let (mut up, mut down) = (Tree::<Up>::new(seed), Tree::<Down>::new(seed));
        let (mut up_twin, mut down_twin) = (BTreeMap::new(), BTreeMap::new());
        for op in ops {
            let value = match op {
                Op::Insert(value) if !up_twin.contains_key(&value) => Some(value),
                Op::Append => Some(up_twin.last_key_value().map_or(0, |(&value, _)| value + 1)),
                _ => None,
            };
            if let Some(value) = value {
                let ix = slab.insert(Node::new(value)).ok().unwrap();
                up.insert(&mut slab, ix);
                down.insert(&mut slab, ix);
                up_twin.insert(value, ix);
                down_twin.insert(Reverse(value), ix);
            }
            let gone = match op {
                Op::Remove(nth) => up_twin.values().nth(nth % up_twin.len().max(1)).copied(),
                Op::RemoveFirst => up.first(),
                Op::RemoveLast => up.last(&slab),
                Op::Insert(_) | Op::Append => None,
            };
            if let Some(ix) = gone {
                up.remove(&mut slab, ix);
                down.remove(&mut slab, ix);
                let node = slab.remove(ix);
                prop_assert_eq!((node.up, node.down), (TreeLinks::NONE, TreeLinks::NONE));
                up_twin.remove(&node.value);
                down_twin.remove(&Reverse(node.value));
            }
            compare(&up, &slab, &up_twin);
            compare(&down, &slab, &down_twin);
        }
    }

    /// Elements of one slab may be spread over many trees of a kind, one per service, all with the same seed.
    #[test]
    fn trees_share_a_slab(places in prop::collection::vec((0..3_usize, any::<u32>()), 1..100)) {
        let mut entries = storage(100);
        let mut slab = Slab::new(Slots::Lent(&mut entries));
        let mut trees = [Tree::<Up>::new(7); 3];
        let mut twins = [const { BTreeMap::new() }; 3];
        for (at, value) in places {
            if twins[at].contains_key(&value) {
                continue;
            }
            let ix = slab.insert(Node::new(value)).ok().unwrap();
            trees[at].insert(&mut slab, ix);
            twins[at].insert(value, ix);
        }
        for (tree, twin) in trees.iter_mut().zip(&mut twins) {
            compare(tree, &slab, twin);
            while let Some((value, ix)) = twin.pop_last() {
                prop_assert_eq!(slab[ix].value, value);
                tree.remove(&mut slab, ix);
                compare(tree, &slab, twin);
            }
        }
    }
}

const MANY: u32 = 100_000;

/// Deepest and mean depth; the root's is 1.
fn depths(tree: &Tree<Up>, slab: &Slab<'_, Node>) -> (usize, usize) {
    let depth = |ix| core::iter::successors(Some(ix), |&at: &Ix| slab[at].up.parent).count();
    let all = core::iter::successors(tree.first(), |&ix| tree.next(slab, ix)).map(depth);
    (all.clone().max().unwrap_or(0), all.sum::<usize>() / tree.len())
}

/// A search tree filled with 100,000 keys in random order is some 40 deep, and 20 on average.
#[track_caller]
fn assert_flat(tree: &Tree<Up>, slab: &Slab<'_, Node>) {
    tree.check(slab);
    let (deepest, mean) = depths(tree, slab);
    assert!(deepest < 64, "{deepest} deep");
    assert!(mean < 30, "{mean} deep on average");
}

fn fill(slab: &mut Slab<'_, Node>, tree: &mut Tree<Up>, value: u32) {
    let ix = slab.insert(Node::new(value)).ok().unwrap();
    tree.insert(slab, ix);
}

#[test]
fn no_order_makes_it_deep() {
    // What a plain search tree would turn into a list, into a zigzag, and into combs.
    let orders: [fn(u32) -> u32; 4] = [
        |n| n,
        |n| MANY - n,
        |n| if n % 2 == 0 { n } else { 2 * MANY - n },
        |n| (n % 300) * 1_000 + n / 300,
    ];
    for order in orders {
        let mut entries = storage(MANY as usize);
        let mut slab = Slab::new(Slots::Lent(&mut entries));
        let mut tree = Tree::new(42);
        for n in 0..MANY {
            fill(&mut slab, &mut tree, order(n));
        }
        assert_flat(&tree, &slab);
    }
}

/// A queue's life: in at the end, out at the start, each slot used over and over.
#[test]
fn long_use_does_not_make_it_deep() {
    const FILL: u32 = 10_000;
    let mut entries = storage(FILL as usize);
    let mut slab = Slab::new(Slots::Lent(&mut entries));
    let mut tree = Tree::new(42);
    for n in 0..FILL * 5 {
        if slab.is_full() {
            let ix = tree.first().unwrap();
            assert_eq!(slab[ix].value, n - FILL);
            tree.remove(&mut slab, ix);
            slab.remove(ix);
        }
        fill(&mut slab, &mut tree, n);
    }
    assert_flat(&tree, &slab);
}

#[test]
fn an_append_looks_at_one_other_key() {
    let mut entries = storage(1_000);
    let mut slab = Slab::new(Slots::Lent(&mut entries));
    let mut tree = Tree::<Up>::new(42);
    for n in 0..1_000 {
        fill(&mut slab, &mut tree, n);
    }
    // Once as the new one and once as the last one.
    assert!(slab.iter().all(|(_, node)| node.looks.get() <= 2));
}

#[test]
fn a_seed_decides_the_shape() {
    let shape = |seed| {
        let mut entries = storage(1_000);
        let mut slab = Slab::new(Slots::Lent(&mut entries));
        let mut tree = Tree::<Up>::new(seed);
        for n in 0..1_000 {
            fill(&mut slab, &mut tree, n);
        }
        slab.iter().map(|(_, node)| node.up.parent).collect::<Vec<_>>()
    };
    assert_eq!(shape(1), shape(1));
    assert_ne!(shape(1), shape(2));
}

#[test]
#[should_panic(expected = "slot 1 is in a tree already")]
fn an_element_is_in_a_tree_once() {
    let mut entries = storage(1);
    let mut slab = Slab::new(Slots::Lent(&mut entries));
    let mut tree = Tree::<Up>::new(0);
    let ix = slab.insert(Node::new(1)).ok().unwrap();
    tree.insert(&mut slab, ix);
    tree.insert(&mut slab, ix);
}

#[test]
#[should_panic(expected = "slot 1 is not in this tree")]
fn an_element_leaves_its_own_tree() {
    let mut entries = storage(1);
    let mut slab = Slab::new(Slots::Lent(&mut entries));
    let mut tree = Tree::<Up>::new(0);
    let ix = slab.insert(Node::new(1)).ok().unwrap();
    tree.insert(&mut slab, ix);
    tree.remove(&mut slab, ix);
    tree.remove(&mut slab, ix);
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "has the same key")]
fn keys_are_unique() {
    let mut entries = storage(2);
    let mut slab = Slab::new(Slots::Lent(&mut entries));
    let mut tree = Tree::<Up>::new(0);
    fill(&mut slab, &mut tree, 1);
    fill(&mut slab, &mut tree, 1);
}
