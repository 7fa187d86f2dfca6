//! Doubly linked lists through the slots of a slab: first in, first out, and out of the middle.

use super::slab::{Ix, Link, Slab};
use core::fmt;
use core::marker::PhantomData;

/// An element's place in a list. It says where its neighbours are, not in which list.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ListLinks {
    prev: Link,
    next: Link,
    in_list: bool,
}

impl ListLinks {
    /// Whether the element is in a list.
    pub(crate) const fn is_linked(&self) -> bool {
        self.in_list
    }
}

/// An element that can be in a list of kind `M`. One type may be in lists of several kinds, each with its own links.
pub(crate) trait ListNode<M> {
    /// Its place.
    fn links(&self) -> &ListLinks;
    /// Its place, for the list alone to change.
    fn links_mut(&mut self) -> &mut ListLinks;
}

/// A list of kind `M`. It owns nothing: the elements are in the slab that each call is given, always the same one.
pub(crate) struct List<M> {
    head: Link,
    tail: Link,
    len: u32,
    kind: PhantomData<M>,
}

impl<M> List<M> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            head: None,
            tail: None,
            len: 0,
            kind: PhantomData,
        }
    }

    /// Appends an element.
    ///
    /// # Panics
    /// If it is in a list of this kind already.
    #[track_caller]
    pub(crate) fn push_back<T: ListNode<M>>(&mut self, slab: &mut Slab<'_, T>, ix: Ix) {
        let links = slab[ix].links_mut();
        assert!(!links.in_list, "slot {} is in a list already", ix.get());
        *links = ListLinks {
            prev: self.tail,
            next: None,
            in_list: true,
        };
        match self.tail {
            Some(tail) => slab[tail].links_mut().next = Some(ix),
            None => self.head = Some(ix),
        }
        self.tail = Some(ix);
        self.len += 1;
    }

    /// Takes out an element, wherever it stands.
    ///
    /// # Panics
    /// If it is in no list of this kind, or at an end of another one.
    #[track_caller]
    pub(crate) fn remove<T: ListNode<M>>(&mut self, slab: &mut Slab<'_, T>, ix: Ix) {
        let links = core::mem::take(slab[ix].links_mut());
        assert!(links.in_list, "slot {} is in no list", ix.get());
        match links.prev {
            Some(prev) => slab[prev].links_mut().next = links.next,
            None => {
                assert_eq!(self.head, Some(ix), "another list's first element");
                self.head = links.next;
            }
        }
        match links.next {
            Some(next) => slab[next].links_mut().prev = links.prev,
            None => {
                assert_eq!(self.tail, Some(ix), "another list's last element");
                self.tail = links.prev;
            }
        }
        self.len -= 1;
    }

    /// The first element.
    pub(crate) const fn front(&self) -> Link {
        self.head
    }

    /// The element behind one of this list's.
    pub(crate) fn next<T: ListNode<M>>(&self, slab: &Slab<'_, T>, ix: Ix) -> Link {
        debug_assert!(slab[ix].links().in_list, "slot {} is in no list", ix.get());
        slab[ix].links().next
    }

    /// Elements.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Walks the whole list.
    ///
    /// # Panics
    /// If it is broken.
    pub(crate) fn check<T: ListNode<M>>(&self, slab: &Slab<'_, T>) {
        let (mut prev, mut at) = (None, self.head);
        for _ in 0..self.len {
            let ix = at.expect("the list ends early");
            let links = slab[ix].links();
            assert!(
                links.in_list,
                "slot {} is in the list and does not know",
                ix.get()
            );
            assert_eq!(links.prev, prev, "slot {} has another one before it", ix.get());
            (prev, at) = (at, links.next);
        }
        assert_eq!(at, None, "the list does not end");
        assert_eq!(self.tail, prev, "the list ends elsewhere");
    }
}

// Not derived: a derive would ask the same of the kind, which is only a name.
impl<M> Clone for List<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for List<M> {}

impl<M> Default for List<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for List<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            head,
            tail,
            len,
            kind: _,
        } = self;
        f.debug_struct("List")
            .field("head", head)
            .field("tail", tail)
            .field("len", len)
            .finish()
    }
}

#[cfg(test)]
mod tests;
