//! Two nodes and the cable between them.

use crate::{Node, Relay};

/// A south node that joined a north node by a token, over a cable.
#[derive(Debug)]
pub struct Mesh {
    /// Dials north.
    pub south: Node,
    /// The cable.
    pub cable: Relay,
    /// The first node.
    pub north: Node,
}

impl Mesh {
    /// Starts both and waits for their link.
    ///
    /// # Panics
    /// They do not get there.
    #[track_caller]
    pub fn start() -> Self {
        let north = Node::first("north");
        let cable = Relay::new(north.port());
        let south = Node::join("south", &cable.url(), &north.token());
        south.wait_link(true);
        Self { south, cable, north }
    }
}
