//! Lists of two kinds over the same elements against a deque each.

extern crate std;
use super::super::slab::Entry;
use super::super::slots::Slots;
use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::vec::Vec;

struct Red;
struct Blue;

#[derive(Default)]
struct Node {
    red: ListLinks,
    blue: ListLinks,
}

impl ListNode<Red> for Node {
    fn links(&self) -> &ListLinks {
        &self.red
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.red
    }
}

impl ListNode<Blue> for Node {
    fn links(&self) -> &ListLinks {
        &self.blue
    }
    fn links_mut(&mut self) -> &mut ListLinks {
        &mut self.blue
    }
}

const NODES: usize = 12;

#[derive(Clone, Debug)]
enum Op {
    /// Into a list, if the element is in none of its kind.
    PushBack(usize, usize),
    /// From the list that it is in.
    Remove(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let (list, node) = (0..2_usize, 0..NODES);
    prop_oneof![
        3 => (list, node.clone()).prop_map(|(list, node)| Op::PushBack(list, node)),
        2 => node.prop_map(Op::Remove),
    ]
}

/// Two lists of one kind, and their twins.
struct Pair<M> {
    lists: [List<M>; 2],
    twins: [VecDeque<Ix>; 2],
}

impl<M> Pair<M>
where
    Node: ListNode<M>,
{
    fn new() -> Self {
        Self {
            lists: [List::new(); 2],
            twins: [VecDeque::new(), VecDeque::new()],
        }
    }

    fn apply(&mut self, slab: &mut Slab<'_, Node>, op: &Op) {
        let home = |node: Ix| self.twins.iter().position(|twin| twin.contains(&node));
        match *op {
            Op::PushBack(list, node) => {
                if home(Ix::new(node)).is_none() {
                    self.lists[list].push_back(slab, Ix::new(node));
                    self.twins[list].push_back(Ix::new(node));
                }
            }
            Op::Remove(node) => {
                if let Some(list) = home(Ix::new(node)) {
                    self.lists[list].remove(slab, Ix::new(node));
                    self.twins[list].retain(|&other| other != Ix::new(node));
                }
            }
        }
    }

    fn compare(&self, slab: &Slab<'_, Node>) {
        for (list, twin) in self.lists.iter().zip(&self.twins) {
            list.check(slab);
            assert_eq!(list.front(), twin.front().copied());
            assert_eq!((list.len(), list.is_empty()), (twin.len(), twin.is_empty()));
            let walk = core::iter::successors(list.front(), |&ix| list.next(slab, ix));
            assert!(walk.eq(twin.iter().copied()));
        }
        for (ix, node) in slab.iter() {
            let linked = <Node as ListNode<M>>::links(node).is_linked();
            assert_eq!(linked, self.twins.iter().any(|twin| twin.contains(&ix)));
        }
    }
}

fn nodes() -> Vec<Entry<Node>> {
    (0..NODES).map(|_| Entry::EMPTY).collect()
}

fn filled(entries: &mut [Entry<Node>]) -> Slab<'_, Node> {
    let mut slab = Slab::new(Slots::Lent(entries));
    while slab.insert(Node::default()).is_ok() {}
    slab
}

proptest! {
    #[test]
    fn keeps_the_order_of_a_deque(ops in prop::collection::vec((any::<bool>(), op()), 1..300)) {
        let mut entries = nodes();
        let mut slab = filled(&mut entries);
        let (mut red, mut blue) = (Pair::<Red>::new(), Pair::<Blue>::new());
        for (is_red, op) in &ops {
            if *is_red {
                red.apply(&mut slab, op);
            } else {
                blue.apply(&mut slab, op);
            }
            red.compare(&slab);
            blue.compare(&slab);
        }
    }
}

#[test]
#[should_panic(expected = "slot 1 is in a list already")]
fn an_element_is_in_one_list_of_a_kind() {
    let mut entries = nodes();
    let mut slab = filled(&mut entries);
    List::<Red>::new().push_back(&mut slab, Ix::new(0));
    List::<Blue>::new().push_back(&mut slab, Ix::new(0));
    List::<Red>::new().push_back(&mut slab, Ix::new(0));
}

#[test]
#[should_panic(expected = "slot 1 is in no list")]
fn an_element_leaves_once() {
    let mut entries = nodes();
    let mut slab = filled(&mut entries);
    let mut list = List::<Red>::new();
    list.push_back(&mut slab, Ix::new(0));
    list.remove(&mut slab, Ix::new(0));
    list.remove(&mut slab, Ix::new(0));
}

#[test]
#[should_panic(expected = "another list's first element")]
fn an_element_leaves_its_own_list() {
    let mut entries = nodes();
    let mut slab = filled(&mut entries);
    List::<Red>::new().push_back(&mut slab, Ix::new(0));
    List::<Red>::new().remove(&mut slab, Ix::new(0));
}
