//! Ordered sets through the slots of a slab: treaps, that is, search trees by key and heaps by rank.
//!
//! Ranks are random numbers, so a tree is as flat as one that was filled in random order, whatever order its keys
//! really came in. They follow from the slot number and a seed, so nothing is stored for them and no tree needs to be
//! rebalanced in one go. There is no recursion: a small device's stack is not spent on a deep tree.

use super::mix;
use super::slab::{Ix, Link, Slab};
use core::cmp::Ordering;
use core::fmt;
use core::marker::PhantomData;

/// An element's place in a tree.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct TreeLinks {
    left: Link,
    right: Link,
    parent: Link,
}

impl TreeLinks {
    /// In no tree.
    pub(crate) const NONE: Self = Self {
        left: None,
        right: None,
        parent: None,
    };
}

/// An element that can be in a tree of kind `M`. One type may be in trees of several kinds, each with its own links.
pub(crate) trait TreeNode<M> {
    /// What the tree is ordered by.
    type Key: Ord;
    /// Its key: no two elements of one tree have the same, and it stays as it is while the element is in the tree.
    fn key(&self) -> Self::Key;
    /// Its place.
    fn tree(&self) -> &TreeLinks;
    /// Its place, for the tree alone to change.
    fn tree_mut(&mut self) -> &mut TreeLinks;
}

/// A tree of kind `M`. It owns nothing: the elements are in the slab that each call is given, always the same one.
pub(crate) struct Tree<M> {
    root: Link,
    /// The smallest, kept so that the next element to serve is known at once.
    first: Link,
    /// The largest, kept so that a larger one, the common case, is appended without a search.
    last: Link,
    len: u32,
    /// Half of what was given: a service has four trees, and a small device little room.
    seed: u32,
    kind: PhantomData<M>,
}

impl<M> Tree<M> {
    /// An empty tree; whoever does not know the seed cannot unbalance it. Several trees may have the same.
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            root: None,
            first: None,
            last: None,
            len: 0,
            seed: (seed ^ (seed >> 32)) as u32,
            kind: PhantomData,
        }
    }

    /// Puts an element where its key belongs: in constant time on average behind all others, else in O(log n).
    ///
    /// # Panics
    /// If it is in a tree of this kind already.
    #[track_caller]
    pub(crate) fn insert<T: TreeNode<M>>(&mut self, slab: &mut Slab<'_, T>, ix: Ix) {
        let node = &slab[ix];
        assert!(
            *node.tree() == TreeLinks::NONE && self.root != Some(ix),
            "slot {} is in a tree already",
            ix.get()
        );
        self.len += 1;
        let Some((above, side)) = self.place(slab, &node.key()) else {
            (self.root, self.first, self.last) = (Some(ix), Some(ix), Some(ix));
            return;
        };
        slab[ix].tree_mut().parent = Some(above);
        if side == Ordering::Less {
            slab[above].tree_mut().left = Some(ix);
            if self.first == Some(above) {
                self.first = Some(ix);
            }
        } else {
            slab[above].tree_mut().right = Some(ix);
            if self.last == Some(above) {
                self.last = Some(ix);
            }
        }
        let rank = self.rank(ix);
        while let Some(above) = slab[ix].tree().parent
            && self.rank(above) < rank
        {
            self.lift(slab, ix, above);
        }
    }

    /// Takes out an element; it is found by its links, so its key is not looked at.
    ///
    /// # Panics
    /// If it is in no tree of this kind, or the root of another one.
    #[track_caller]
    pub(crate) fn remove<T: TreeNode<M>>(&mut self, slab: &mut Slab<'_, T>, ix: Ix) {
        let is_root = slab[ix].tree().parent.is_none();
        assert_eq!(
            is_root,
            self.root == Some(ix),
            "slot {} is not in this tree",
            ix.get()
        );
        if self.first == Some(ix) {
            self.first = self.next(slab, ix);
        }
        if self.last == Some(ix) {
            self.last = self.prev(slab, ix);
        }
        // Down until it has one child at most, which can take its place.
        loop {
            let TreeLinks { left, right, parent } = *slab[ix].tree();
            match (left, right) {
                (Some(left), Some(right)) => {
                    let child = if self.rank(left) > self.rank(right) {
                        left
                    } else {
                        right
                    };
                    self.lift(slab, child, ix);
                }
                (child, None) | (None, child) => {
                    if let Some(child) = child {
                        slab[child].tree_mut().parent = parent;
                    }
                    self.hang(slab, parent, ix, child);
                    break;
                }
            }
        }
        *slab[ix].tree_mut() = TreeLinks::NONE;
        self.len -= 1;
    }

    /// The element with the smallest key, in constant time.
    pub(crate) const fn first(&self) -> Link {
        self.first
    }

    /// The element with the largest key, in constant time.
    pub(crate) fn last<T: TreeNode<M>>(&self, slab: &Slab<'_, T>) -> Link {
        debug_assert!(
            self.last.is_none_or(|ix| slab[ix].tree().right.is_none()),
            "something is behind the last one"
        );
        self.last
    }

    /// The element with the next larger key than one of this tree's: in constant time on average over a whole walk.
    pub(crate) fn next<T: TreeNode<M>>(&self, slab: &Slab<'_, T>, ix: Ix) -> Link {
        if let Some(mut at) = slab[ix].tree().right {
            while let Some(left) = slab[at].tree().left {
                at = left;
            }
            return Some(at);
        }
        let mut at = ix;
        while let Some(above) = slab[at].tree().parent {
            if slab[above].tree().left == Some(at) {
                return Some(above);
            }
            at = above;
        }
        None
    }

    /// Elements.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Walks the whole tree.
    ///
    /// # Panics
    /// If it is broken.
    pub(crate) fn check<T: TreeNode<M>>(&self, slab: &Slab<'_, T>) {
        assert!(
            self.root.is_none_or(|root| slab[root].tree().parent.is_none()),
            "the root has a parent"
        );
        assert_eq!(
            self.root.is_none(),
            self.first.is_none(),
            "a first one without a tree, or none with one"
        );
        assert!(
            self.first.is_none_or(|ix| slab[ix].tree().left.is_none()),
            "something is before the first one"
        );
        let (mut before, mut at) = (None, self.first);
        for _ in 0..self.len {
            let ix = at.expect("the tree ends early");
            let links = slab[ix].tree();
            for child in [links.left, links.right].into_iter().flatten() {
                assert_eq!(
                    slab[child].tree().parent,
                    Some(ix),
                    "slot {} has another parent",
                    child.get()
                );
                assert!(
                    self.rank(child) < self.rank(ix),
                    "slot {} outranks its parent",
                    child.get()
                );
            }
            assert!(
                links.parent.is_some() || self.root == Some(ix),
                "slot {} hangs nowhere",
                ix.get()
            );
            let key = slab[ix].key();
            assert!(
                before.is_none_or(|before| before < key),
                "slot {} is out of order",
                ix.get()
            );
            if self.next(slab, ix).is_none() {
                assert_eq!(self.last, Some(ix), "the tree ends elsewhere");
            }
            (before, at) = (Some(key), self.next(slab, ix));
        }
        assert_eq!(at, None, "the tree does not end");
        assert_eq!(
            self.len == 0,
            self.last.is_none(),
            "a last one without a tree, or none with one"
        );
    }

    /// Where a new key belongs: under which element, and on which side of it. None if the tree is empty.
    fn place<T: TreeNode<M>>(&self, slab: &Slab<'_, T>, key: &T::Key) -> Option<(Ix, Ordering)> {
        let last = self.last?;
        if *key > slab[last].key() {
            return Some((last, Ordering::Greater));
        }
        let mut at = self.root?;
        loop {
            let side = key.cmp(&slab[at].key());
            debug_assert_ne!(side, Ordering::Equal, "slot {} has the same key", at.get());
            let links = slab[at].tree();
            match if side == Ordering::Less {
                links.left
            } else {
                links.right
            } {
                Some(child) => at = child,
                None => return Some((at, side)),
            }
        }
    }

    /// Lifts `ix` over its parent `above`; the order of keys stays.
    ///
    /// ```text
    ///     above            ix
    ///     /   \           /  \
    ///    ix    c   ->    a   above     and its mirror image
    ///   /  \                 /   \
    ///  a  inner           inner   c
    /// ```
    fn lift<T: TreeNode<M>>(&mut self, slab: &mut Slab<'_, T>, ix: Ix, above: Ix) {
        let TreeLinks { left, parent, .. } = *slab[above].tree();
        let node = slab[ix].tree_mut();
        node.parent = parent;
        let inner = if left == Some(ix) {
            let inner = node.right.replace(above);
            slab[above].tree_mut().left = inner;
            inner
        } else {
            let inner = node.left.replace(above);
            slab[above].tree_mut().right = inner;
            inner
        };
        slab[above].tree_mut().parent = Some(ix);
        if let Some(inner) = inner {
            slab[inner].tree_mut().parent = Some(above);
        }
        self.hang(slab, parent, above, Some(ix));
    }

    /// Puts `new` where `old` hangs: under `above`, or as the root.
    fn hang<T: TreeNode<M>>(&mut self, slab: &mut Slab<'_, T>, above: Link, old: Ix, new: Link) {
        let Some(above) = above else {
            self.root = new;
            return;
        };
        let above = slab[above].tree_mut();
        if above.left == Some(old) {
            above.left = new;
        } else {
            above.right = new;
        }
    }

    /// The element with the next smaller key.
    fn prev<T: TreeNode<M>>(&self, slab: &Slab<'_, T>, ix: Ix) -> Link {
        if let Some(mut at) = slab[ix].tree().left {
            while let Some(right) = slab[at].tree().right {
                at = right;
            }
            return Some(at);
        }
        let mut at = ix;
        while let Some(above) = slab[at].tree().parent {
            if slab[above].tree().right == Some(at) {
                return Some(above);
            }
            at = above;
        }
        None
    }

    /// A parent has a higher rank than its children. No two slots have the same.
    const fn rank(&self, ix: Ix) -> u64 {
        mix(self.seed as u64, ix.get() as u64)
    }
}

// Not derived: a derive would ask the same of the kind, which is only a name.
impl<M> Clone for Tree<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Tree<M> {}

impl<M> fmt::Debug for Tree<M> {
    // Without the seed, which is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            root,
            first,
            last,
            len,
            seed: _,
            kind: _,
        } = self;
        let mut out = f.debug_struct("Tree");
        out.field("root", root)
            .field("first", first)
            .field("last", last)
            .field("len", len)
            .finish()
    }
}

#[cfg(test)]
mod tests;
