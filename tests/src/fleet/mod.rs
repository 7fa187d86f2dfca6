//! A mesh of many nodes, each link over a cable of its own.

mod faults;
mod ledger;
mod load;
mod payload;
mod topology;

pub use faults::{Fault, Plan};
pub use ledger::{Account, Ledger};
pub use load::{Load, LoadPlan, WorkerPlan};
pub use topology::Topology;

use crate::{Node, Relay, until};

/// Nodes of one mesh, and the cables between them. Dropping it ends them all.
#[derive(Debug)]
pub struct Fleet {
    /// Who dials whom.
    pub topology: Topology,
    /// The nodes, as the topology numbers them.
    pub nodes: Vec<Node>,
    /// The cables, as the topology numbers its links.
    pub cables: Vec<Relay>,
}

impl Fleet {
    /// Starts all nodes and waits until all links are up. The first one makes the mesh.
    ///
    /// # Panics
    /// They do not get there.
    #[track_caller]
    pub fn start(topology: Topology) -> Self {
        println!("{topology}; each link goes over a proxy of its own in this process");
        let mut nodes: Vec<Node> = topology.names.iter().map(|name| Node::prepare(name)).collect();
        let cables: Vec<Relay> = topology
            .links
            .iter()
            .map(|(_, north)| Relay::new(nodes[*north].port()))
            .collect();
        let norths = |node: usize| -> Vec<String> {
            let own = topology
                .links
                .iter()
                .zip(&cables)
                .filter(|((south, _), _)| *south == node);
            own.map(|(_, cable)| cable.url()).collect()
        };
        if let Some((maker, others)) = nodes.split_first_mut() {
            maker.start_with(&[]);
            let maker_is: &Node = maker;
            std::thread::scope(|scope| {
                for (at, node) in others.iter_mut().enumerate() {
                    let norths = norths(at + 1);
                    scope.spawn(move || enrol(node, maker_is, norths));
                }
            });
            let own = norths(0);
            if !own.is_empty() {
                maker.stop();
                maker.change_settings(|settings| {
                    settings.north = Some(own.into_iter().map(Into::into).collect())
                });
                maker.restart();
            }
        }
        let fleet = Self {
            topology,
            nodes,
            cables,
        };
        fleet.wait_linked();
        fleet
    }

    /// The node of that name.
    ///
    /// # Panics
    /// There is none.
    pub fn node(&mut self, name: &str) -> &mut Node {
        let at = self.topology.index(name);
        &mut self.nodes[at]
    }

    /// The cable from one node to its north.
    ///
    /// # Panics
    /// There is none.
    pub fn cable(&self, south: &str, north: &str) -> &Relay {
        let link = (self.topology.index(south), self.topology.index(north));
        let found = self.topology.links.iter().position(|known| *known == link);
        &self.cables[found.unwrap_or_else(|| panic!("{south} does not dial {north}"))]
    }

    /// Waits until all links are up.
    ///
    /// # Panics
    /// They do not get there.
    #[track_caller]
    pub fn wait_linked(&self) {
        for (at, node) in self.nodes.iter().enumerate() {
            let ours = self.topology.links.iter();
            let ours = ours.filter(|(south, north)| *south == at || *north == at);
            let ours = ours.count() as u64;
            until(&format!("all {ours} links of {}", node.name()), || {
                let peers = node.json("/v1/node")["peers"].as_u64()?;
                (peers == ours).then_some(())
            });
        }
    }

    /// Waits until each node knows exactly those services that it should: `at` says where each one has workers.
    ///
    /// # Panics
    /// They do not get there.
    #[track_caller]
    pub fn wait_services(&self, at: &[(&str, Vec<usize>)]) {
        for (origin, node) in self.nodes.iter().enumerate() {
            for (service, workers) in at {
                let known = workers
                    .iter()
                    .any(|worker| self.topology.reaches(origin, *worker));
                until(&format!("{} to know of {service}: {known}", node.name()), || {
                    (node.known(service) == known).then_some(())
                });
            }
        }
    }

    /// Stops all of them as an operator would, and looks at their databases.
    ///
    /// # Panics
    /// One does not end well, or its database is not whole.
    #[track_caller]
    pub fn stop(mut self) {
        for node in &mut self.nodes {
            node.process().signal(rustix::process::Signal::TERM);
        }
        for node in &mut self.nodes {
            node.wait_stopped();
            node.check_database();
        }
    }
}

/// Lets a node join the mesh of `maker` and then dial these. The one place that knows how a node joins.
fn enrol(node: &mut Node, maker: &Node, norths: Vec<String>) {
    node.start_with(&["--north", &maker.url(), "--token", &maker.token()]);
    node.stop();
    node.change_settings(|settings| settings.north = Some(norths.into_iter().map(Into::into).collect()));
    node.restart();
}
