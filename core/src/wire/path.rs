//! Ways through the mesh.

use super::HOPS;
use crate::id::NodeId;
use core::fmt;
use core::ops::Deref;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nodes on a way through the mesh, in its order; at most [`HOPS`].
#[derive(Clone, Copy, Default)]
pub struct Path {
    nodes: [NodeId; HOPS],
    len: u8,
}

impl Path {
    /// A way of no node.
    pub const fn new() -> Self {
        Self {
            nodes: [NodeId(0); HOPS],
            len: 0,
        }
    }

    /// Appends a node; false if the way is as long as any may be.
    #[must_use]
    pub fn push(&mut self, node: NodeId) -> bool {
        let Some(place) = self.nodes.get_mut(usize::from(self.len)) else {
            return false;
        };
        *place = node;
        self.len += 1;
        true
    }

    /// Removes the last node.
    pub fn pop(&mut self) -> Option<NodeId> {
        let last = self.last().copied()?;
        self.len -= 1;
        Some(last)
    }

    /// These nodes; `None` if they are too many.
    pub fn from_slice(nodes: &[NodeId]) -> Option<Self> {
        let mut path = Self::new();
        nodes.iter().all(|&node| path.push(node)).then_some(path)
    }
}

impl Deref for Path {
    type Target = [NodeId];
    fn deref(&self) -> &[NodeId] {
        // `len` never exceeds the array.
        self.nodes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Path {}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // Refuses more than fit while it reads them.
        let nodes = heapless::Vec::<NodeId, HOPS, u8>::deserialize(from)?;
        Self::from_slice(&nodes).ok_or_else(|| serde::de::Error::custom("a path is too long"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_holds_what_fits_and_travels() {
        let mut path = Path::new();
        for n in 1..=HOPS as u64 {
            assert!(path.push(NodeId(n)));
        }
        assert!(!path.push(NodeId(9)));
        let mut bytes = [0; 128];
        let len = postcard::to_slice(&path, &mut bytes).unwrap().len();
        assert_eq!(postcard::from_bytes::<Path>(&bytes[..len]), Ok(path));
        assert_eq!(path.pop(), Some(NodeId(HOPS as u64)));
        assert_eq!(path.last(), Some(&NodeId(HOPS as u64 - 1)));
        let mut other = Path::from_slice(&path).unwrap();
        assert_eq!(other, path, "what was popped does not count");
        assert!(other.push(NodeId(70)));
        assert_ne!(other, path);
        assert_eq!(Path::new().pop(), None);
        bytes[0] = HOPS as u8 + 1;
        assert!(postcard::from_bytes::<Path>(&bytes).is_err());
    }
}
