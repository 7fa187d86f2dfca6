//! One real node among peers that say what the test says.

use super::support::Node;
use redlink_core::wire::{Frame, HEADER_MAX, Hello, Path, VERSION};
use redlink_core::{
    Boot, Capacity, Duration, Input, LinkId, MessageId, Name, NodeId, OfferId, Output, Policy, Refused,
};

/// Peers are numbers from 1 to 99: so are their identities, and their names are `p1` and so on.
pub(crate) struct Hub {
    pub(crate) node: Node,
    /// Of each peer the link that it had last.
    links: Vec<(u64, LinkId)>,
}

/// What the node said of a service, and to which peer: the nodes of the way and the window and the room, or that there is none
/// any more.
pub(crate) type Said = (u64, String, Option<(Vec<u64>, u16, u16)>);

/// A way of these nodes.
pub(crate) fn path(nodes: &[u64]) -> Path {
    let nodes: Vec<_> = nodes.iter().map(|&node| NodeId(node)).collect();
    Path::from_slice(&nodes).expect("a short way")
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

impl Hub {
    /// Its own number, and that of its identity.
    pub(crate) const NUMBER: u64 = 100;

    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            node: Node::new(Self::NUMBER, capacity),
            links: Vec::new(),
        }
    }

    /// A session with the peer, which the node dials if it is to the north.
    pub(crate) fn up(&mut self, peer: u64, north: bool) {
        self.up_with(peer, north, Policy::default());
    }

    pub(crate) fn up_with(&mut self, peer: u64, north: bool, policy: Policy<'_>) {
        let link = LinkId(self.links.len() as u32 + 1);
        self.links.push((peer, link));
        self.node.must(Input::LinkUp {
            link,
            peer: &format!("p{peer}"),
            dialled: north,
            policy,
        });
        let hello = Hello {
            version: VERSION,
            mesh: self.node.config.mesh.clone(),
            name: name(&format!("p{peer}")),
            node: NodeId(peer),
            boot: Boot {
                counter: 1,
                random: 1,
            },
            generation: link.0,
        };
        self.hear(peer, &Frame::Hello(hello));
    }

    fn link(&self, peer: u64) -> LinkId {
        let newest = self.links.iter().rfind(|(of, _)| *of == peer);
        newest.expect("it was linked").1
    }

    pub(crate) fn down(&mut self, peer: u64) {
        self.down_unpolled(peer);
        self.node.drain();
    }

    pub(crate) fn down_unpolled(&mut self, peer: u64) {
        let link = self.link(peer);
        self.unpolled(Input::LinkDown { link }).expect("it is taken");
    }

    /// The peer says something.
    pub(crate) fn hear(&mut self, peer: u64, frame: &Frame) {
        self.hear_unpolled(peer, frame);
        self.node.drain();
    }

    /// The same, and the node is not asked yet what it wants to say.
    pub(crate) fn hear_unpolled(&mut self, peer: u64, frame: &Frame) {
        let mut bytes = [0; HEADER_MAX];
        let len = frame.encode(&mut bytes).expect("it fits");
        let link = self.link(peer);
        self.unpolled(Input::Frame {
            link,
            bytes: &bytes[..len],
            body: None,
        })
        .expect("it is taken");
    }

    pub(crate) fn unpolled(&mut self, input: Input<'_>) -> Result<(), Refused> {
        let taken = self.node.core.handle_input(self.node.now, input).map(|_| ());
        self.node.core.check_invariants();
        taken
    }

    /// The peer announces a service: the nodes behind it on the way, and its window.
    pub(crate) fn announces(&mut self, peer: u64, service: &str, behind: &[u64], window: u16) {
        self.hear(peer, &announce(peer, service, behind, window));
    }

    pub(crate) fn withdraws(&mut self, peer: u64, service: &str) {
        let service = name(service);
        self.hear(peer, &Frame::Withdraw { service });
    }

    /// The peer offers its message of that number.
    pub(crate) fn offers(&mut self, peer: u64, sequence: u64, service: &str, sure: bool) {
        let frame = Frame::Offer {
            offer: offer(peer, sequence),
            service: name(service),
            priority: 0,
            age: Duration::ZERO,
            remaining: None,
            path: path(&[peer]),
            copies: 2,
            sure,
        };
        self.hear(peer, &frame);
    }

    /// What was sent since this was asked last, in order.
    pub(crate) fn sent(&mut self) -> Vec<(u64, Frame)> {
        let peer = |link| self.links.iter().find(|(_, known)| *known == link);
        let sent = self.node.sent.drain(..);
        sent.map(|sent| {
            let (peer, _) = peer(sent.link).expect("a link that was up");
            (*peer, Frame::decode(&sent.header).expect("a frame"))
        })
        .collect()
    }

    /// The same of announcements and withdrawals alone.
    pub(crate) fn said(&mut self) -> Vec<Said> {
        let said = self.sent().into_iter().filter_map(|(peer, frame)| match frame {
            Frame::Announce {
                service,
                window,
                room,
                path,
            } => {
                let nodes = path.iter().map(|node| node.0).collect();
                Some((peer, service.to_string(), Some((nodes, window, room))))
            }
            Frame::Withdraw { service } => Some((peer, service.to_string(), None)),
            _ => None,
        });
        said.collect()
    }

    /// The same without windows and room, sorted: to whom of what, and the nodes behind the hub; or nothing.
    pub(crate) fn ways(&mut self) -> Vec<(u64, String, Option<Vec<u64>>)> {
        let way = |way: Option<(Vec<u64>, u16, u16)>| way.map(|(nodes, ..)| nodes[1..].to_vec());
        let said = self.said().into_iter();
        let mut ways: Vec<_> = said
            .map(|(peer, service, said)| (peer, service, way(said)))
            .collect();
        ways.sort();
        ways
    }

    /// Names of the services that are known, sorted.
    pub(crate) fn services(&self) -> Vec<String> {
        let mut names: Vec<_> = self.node.core.services().map(|s| s.name.to_string()).collect();
        names.sort();
        names
    }

    /// What comes out before anything is done about it: frames only, as they come.
    pub(crate) fn poll_frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut buffer = [0; HEADER_MAX];
        while let Some(output) = self.node.core.poll_output(self.node.now, &mut buffer) {
            if let Output::Frame { len, .. } = output {
                frames.push(Frame::decode(&buffer[..len]).expect("a frame"));
            }
        }
        frames
    }
}

pub(crate) fn announce(peer: u64, service: &str, behind: &[u64], window: u16) -> Frame {
    let nodes: Vec<u64> = core::iter::once(peer).chain(behind.iter().copied()).collect();
    Frame::Announce {
        service: name(service),
        window,
        room: 0,
        path: path(&nodes),
    }
}

/// The offer of a node's message.
pub(crate) fn offer(node: u64, sequence: u64) -> OfferId {
    OfferId {
        message: MessageId {
            node: NodeId(node),
            sequence,
        },
        alternate: false,
    }
}
