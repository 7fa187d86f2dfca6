//! The queue against a deque.

extern crate std;
use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

const IDS: u32 = 10;

proptest! {
    #[test]
    fn keeps_each_id_once_and_in_order(ops in prop::collection::vec(prop::option::weighted(0.5, 0..IDS), 1..300)) {
        let mut next = [0; IDS as usize];
        let mut queue = Dirty::new(Slots::Lent(&mut next));
        let mut twin = VecDeque::new();
        for op in ops {
            // Half of all are pops, so that the queue is often empty.
            match op {
                Some(id) => {
                    let is_new = !twin.contains(&id);
                    prop_assert_eq!(queue.push(id), is_new);
                    if is_new {
                        twin.push_back(id);
                    }
                }
                None => prop_assert_eq!(queue.pop(), twin.pop_front()),
            }
            queue.check();
            prop_assert_eq!(queue.len(), twin.len());
            for id in 0..IDS {
                prop_assert_eq!(queue.contains(id), twin.contains(&id));
            }
        }
        prop_assert!(core::iter::from_fn(|| queue.pop()).eq(twin));
    }
}
