//! Many nodes and the links between them.

use super::support::{Node, Sent};
use redlink_core::wire::Frame;
use redlink_core::{Capacity, Duration, Fault, Input, Instant, LinkId, Outcome, Part, Policy, Terms, Verb};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One link: the south node dials the north one.
struct Edge {
    south: usize,
    north: usize,
    /// As the south end wants it, and the north end.
    policy: [Policy<'static>; 2],
    /// Its number, at both ends the same; none if it is cut.
    link: Option<LinkId>,
    /// Frames under way to the south and to the north.
    flying: [VecDeque<(Instant, Sent)>; 2],
}

pub(crate) struct Mesh {
    pub(crate) names: Vec<&'static str>,
    nodes: Vec<Option<Node>>,
    /// Nodes that stand still: what comes waits, and no timer fires.
    frozen: BTreeSet<usize>,
    transfers_held: bool,
    edges: Vec<Edge>,
    pub(crate) now: Instant,
    latency: Duration,
    next_link: u32,
    /// Frames that arrived.
    pub(crate) frames: u64,
    /// A node whose transfers don't end by themselves.
    pub(crate) slow: Option<&'static str>,
    /// Whether consumers' nodes reach origins.
    pub(crate) straight: bool,
}

fn capacity() -> Capacity {
    Capacity {
        messages: 64,
        // More than a window: none of them is short.
        reservations: 512,
        deliveries: 64,
        services: 16,
        consumers: 16,
        takes: 64,
        peers: 8,
        routes: 64,
        relays: 64,
        rules: 8,
    }
}

impl Mesh {
    /// Nodes by name, and who dials whom.
    pub(crate) fn new(names: &[&'static str], dials: &[(&str, &str)]) -> Self {
        let nodes: Vec<_> = (1..=names.len() as u64)
            .map(|n| Node::new(n, capacity()))
            .collect();
        let mut mesh = Self {
            names: names.to_vec(),
            now: nodes[0].now,
            nodes: nodes.into_iter().map(Some).collect(),
            frozen: BTreeSet::new(),
            transfers_held: false,
            edges: Vec::new(),
            latency: Duration::from_millis(1),
            next_link: 0,
            frames: 0,
            slow: None,
            straight: true,
        };
        for (south, north) in dials {
            mesh.edges.push(Edge {
                south: mesh.place(south),
                north: mesh.place(north),
                policy: [Policy::default(); 2],
                link: None,
                flying: [VecDeque::new(), VecDeque::new()],
            });
        }
        for at in 0..mesh.edges.len() {
            mesh.connect(at);
        }
        mesh.run(Duration::from_secs(1));
        mesh
    }

    fn place(&self, name: &str) -> usize {
        self.names
            .iter()
            .position(|known| *known == name)
            .expect("a node of that name")
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        let at = self.place(name);
        let now = self.now;
        let node = self.nodes[at].as_mut().expect("the node is alive");
        node.now = now;
        node
    }

    fn edge(&self, south: &str, north: &str) -> usize {
        let (south, north) = (self.place(south), self.place(north));
        let found = self
            .edges
            .iter()
            .position(|edge| (edge.south, edge.north) == (south, north));
        found.expect("a link between the two")
    }

    /// What may pass over a link from now on; it is made anew.
    pub(crate) fn set_policy(&mut self, south: &str, north: &str, policy: Policy<'static>) {
        let at = self.edge(south, north);
        self.edges[at].policy = [policy; 2];
        self.cut(south, north);
        self.connect(at);
    }

    /// What one end of a link wants from now on; it is made anew.
    pub(crate) fn set_policy_of(&mut self, node: &str, peer: &str, policy: Policy<'static>) {
        let here = self.place(node);
        let at = self.edges.iter().position(|edge| {
            let ends = [edge.south, edge.north];
            ends.contains(&here) && ends.contains(&self.place(peer))
        });
        let at = at.expect("a link between the two");
        let (south, north) = (self.edges[at].south, self.edges[at].north);
        self.edges[at].policy[usize::from(here == north)] = policy;
        self.cut(self.names[south], self.names[north]);
        self.connect(at);
    }

    fn connect(&mut self, at: usize) {
        let (south, north, policy) = (self.edges[at].south, self.edges[at].north, self.edges[at].policy);
        if self.nodes[south].is_none() || self.nodes[north].is_none() {
            return;
        }
        self.next_link += 1;
        let link = LinkId(self.next_link);
        self.edges[at].link = Some(link);
        for (me, other, dialled, policy) in
            [(north, south, false, policy[1]), (south, north, true, policy[0])]
        {
            let peer = format!("n{}", other + 1);
            let now = self.now;
            let node = self.nodes[me].as_mut().expect("the node is alive");
            node.now = now;
            node.must(Input::LinkUp {
                link,
                peer: &peer,
                dialled,
                policy,
            });
        }
    }

    pub(crate) fn cut(&mut self, south: &str, north: &str) {
        let at = self.edge(south, north);
        self.cut_at(at);
    }

    pub(crate) fn restore(&mut self, south: &str, north: &str) {
        let at = self.edge(south, north);
        self.connect(at);
    }

    fn cut_at(&mut self, at: usize) {
        self.collect();
        let edge = &mut self.edges[at];
        edge.flying.iter_mut().for_each(VecDeque::clear);
        let Some(link) = edge.link.take() else { return };
        for end in [edge.south, edge.north] {
            if let Some(node) = self.nodes[end].as_mut() {
                node.now = self.now;
                node.must(Input::LinkDown { link });
            }
        }
    }

    /// The node is gone for good, and its links with it.
    pub(crate) fn kill(&mut self, name: &str) {
        let dead = self.place(name);
        for at in 0..self.edges.len() {
            if self.edges[at].south == dead || self.edges[at].north == dead {
                self.cut_at(at);
            }
        }
        self.nodes[dead] = None;
    }

    /// Whether payloads that travel apart stay under way.
    pub(crate) fn hold_transfers(&mut self, hold: bool) {
        self.transfers_held = hold;
    }

    /// The node starts anew on its disk; its links are cut.
    pub(crate) fn restart(&mut self, name: &str) {
        let at = self.place(name);
        for edge in 0..self.edges.len() {
            if self.edges[edge].south == at || self.edges[edge].north == at {
                self.cut_at(edge);
            }
        }
        let now = self.now;
        let node = self.nodes[at].as_mut().expect("the node is alive");
        node.now = now;
        node.restart(Duration::ZERO);
    }

    /// A frame that a node's core would not send.
    pub(crate) fn send(&mut self, from: &str, to: &str, frame: &Frame) {
        let (from, to) = (self.place(from), self.place(to));
        let ends =
            |edge: &&mut Edge| [(edge.south, edge.north), (edge.north, edge.south)].contains(&(from, to));
        let edge = self.edges.iter_mut().find(ends).expect("a link between the two");
        let mut header = vec![0; redlink_core::wire::HEADER_MAX];
        let len = frame.encode(&mut header).expect("it fits");
        header.truncate(len);
        let sent = Sent {
            link: edge.link.expect("it is up"),
            header,
            body: None,
        };
        edge.flying[usize::from(edge.north == to)].push_back((self.now, sent));
    }

    /// The node stands still from now on.
    pub(crate) fn freeze(&mut self, name: &str) {
        self.frozen.insert(self.place(name));
    }

    fn collect(&mut self) {
        let at = self.now + self.latency;
        for me in 0..self.nodes.len() {
            let Some(node) = self.nodes[me].as_mut() else {
                continue;
            };
            for sent in std::mem::take(&mut node.sent) {
                if let Some(edge) = self.edges.iter_mut().find(|edge| edge.link == Some(sent.link)) {
                    let to = usize::from(edge.south == me);
                    edge.flying[to].push_back((at, sent));
                }
            }
        }
    }

    /// What goes straight between origins and consumers' nodes does so at once, or not at all.
    fn transfer_straight(&mut self) {
        for me in 0..self.nodes.len() {
            let Some(node) = self.nodes[me].as_mut() else {
                continue;
            };
            let (wanted, brought) = (
                std::mem::take(&mut node.straight),
                std::mem::take(&mut node.brings),
            );
            for (token, size) in wanted {
                let origin = self.nodes[token.message.node.0 as usize - 1].as_ref();
                let bytes =
                    origin.and_then(|node| node.apart.get(&(token.attempt(), Part::Payload)).cloned());
                let bytes = bytes.filter(|bytes| self.straight && bytes.len() as u64 == size);
                let node = self.nodes[me].as_mut().expect("the node is alive");
                node.now = self.now;
                let body = bytes.map(|bytes| node.body(bytes));
                let part = Part::Payload;
                node.must(match body {
                    Some(_) => Input::Fetched { token, part, body },
                    None => Input::NotDirect { token, part },
                });
            }
            for (token, bytes) in brought {
                let part = Part::Reply;
                if !self.straight {
                    let node = self.nodes[me].as_mut().expect("the node is alive");
                    node.now = self.now;
                    node.must(Input::NotDirect { token, part });
                    continue;
                }
                let origin = self.nodes[token.message.node.0 as usize - 1].as_mut();
                let Some(origin) = origin else { continue };
                origin.now = self.now;
                if origin.expected.remove(&token.attempt()) {
                    let body = Some(origin.body(bytes));
                    origin.must(Input::Fetched { token, part, body });
                } else {
                    // Its frame is still under way.
                    self.nodes[me]
                        .as_mut()
                        .expect("the node is alive")
                        .brings
                        .push((token, bytes));
                }
            }
        }
    }

    /// Transfers beside the frames end at once.
    fn transfer(&mut self) {
        if self.transfers_held {
            return;
        }
        self.transfer_straight();
        for me in 0..self.nodes.len() {
            if self.slow == Some(self.names[me]) {
                continue;
            }
            let Some(node) = self.nodes[me].as_mut() else {
                continue;
            };
            for (link, token, part, size) in std::mem::take(&mut node.fetches) {
                let edge = self.edges.iter().find(|edge| edge.link == Some(link));
                let other = edge.map(|edge| if edge.south == me { edge.north } else { edge.south });
                let other = other.and_then(|other| self.nodes[other].as_ref());
                let bytes = other.and_then(|other| other.apart.get(&(token.attempt(), part)).cloned());
                let bytes = bytes.filter(|bytes| bytes.len() as u64 == size);
                let node = self.nodes[me].as_mut().expect("it asked");
                let body = bytes.map(|bytes| node.body(bytes));
                node.must(Input::Fetched { token, part, body });
            }
        }
    }

    fn deliver(&mut self) {
        for at in 0..self.edges.len() {
            for to in 0..2 {
                let now = self.now;
                let edge = &self.edges[at];
                let end = if to == 1 { edge.north } else { edge.south };
                if self.frozen.contains(&end) {
                    continue;
                }
                while let Some((_, sent)) = self.edges[at].flying[to].pop_front_if(|(due, _)| *due <= now) {
                    let Some(node) = self.nodes[end].as_mut() else {
                        continue;
                    };
                    assert!(Frame::decode(&sent.header).is_some());
                    self.frames += 1;
                    let body = sent.body.map(|bytes| node.body(bytes));
                    node.must(Input::Frame {
                        link: sent.link,
                        bytes: &sent.header,
                        body,
                    });
                }
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            for node in self.nodes.iter_mut().flatten() {
                node.now = self.now;
            }
            self.deliver();
            self.transfer();
            for (at, node) in self.nodes.iter_mut().enumerate() {
                if let Some(node) = node.as_mut().filter(|_| !self.frozen.contains(&at)) {
                    node.time();
                }
            }
            self.transfer();
            self.collect();
            let awake = |at: &usize| !self.frozen.contains(at);
            let flying = self
                .edges
                .iter()
                .flat_map(|edge| [(edge.south, &edge.flying[0]), (edge.north, &edge.flying[1])]);
            let flying = flying.filter(|(end, _)| awake(end));
            let arrivals = flying.filter_map(|(_, frames)| frames.front().map(|(at, _)| *at));
            let nodes = self.nodes.iter().enumerate().filter(|(at, _)| awake(at));
            let timers = nodes.filter_map(|(_, node)| node.as_ref().and_then(Node::due));
            let next = arrivals.chain(timers).min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
        }
        self.now = end;
    }

    /// Faults that any node has found in a peer.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let all = self
            .nodes
            .iter()
            .flatten()
            .flat_map(|node| node.told.closed.iter().copied());
        all.collect()
    }

    /// The service of each consumer is its own, so that a call tells whether it can be reached.
    pub(crate) fn worker(&mut self, node: &str, service: &str) {
        let node = self.node(node);
        node.register(service, "w", 8, Duration::from_secs(10));
        node.take(service, "w", 8);
    }

    /// Every delivery that was made is answered with its payload turned round; how many there were.
    pub(crate) fn work(&mut self) -> usize {
        let mut done = 0;
        for at in 0..self.nodes.len() {
            let now = self.now;
            let Some(node) = self.nodes[at].as_mut() else {
                continue;
            };
            node.now = now;
            for delivery in std::mem::take(&mut node.told.delivered) {
                let mut bytes = node.payload(&delivery);
                bytes.reverse();
                node.answer(delivery.token, Verb::Reply, Some(&bytes));
                done += 1;
            }
        }
        done
    }

    /// Calls each of the services from a node; those that replied within `time`.
    pub(crate) fn reach<'a>(
        &mut self,
        from: &str,
        services: &[&'a str],
        time: Duration,
    ) -> BTreeSet<&'a str> {
        let terms = Terms {
            ett: Some(time),
            ..Terms::default()
        };
        let asked: BTreeMap<u64, &str> = services
            .iter()
            .map(|service| (self.node(from).submit(service, terms, b"abc"), *service))
            .collect();
        let end = self.now + time + Duration::from_secs(1);
        while self.now < end {
            self.work();
            self.run(Duration::from_millis(50));
        }
        let node = self.node(from);
        let replied = asked.iter().filter(|(sequence, _)| {
            let outcome = node
                .outcome(**sequence)
                .expect("each call has an outcome (P2, P3)");
            assert!(
                matches!(outcome, Outcome::Replied | Outcome::Expired),
                "{outcome:?}"
            );
            if outcome == Outcome::Replied {
                assert_eq!(node.disk.outcomes[*sequence].body.as_deref(), Some(&b"cba"[..]));
            }
            outcome == Outcome::Replied
        });
        replied.map(|(_, service)| *service).collect()
    }
}
