//! Long lists, a piece at a time: between two pieces the driver does what else there is (P11).

use super::command::Command;
use super::handle::Handle;
use super::info::{MessageInfo, PathNode, PeerInfo, RouteInfo, ServiceInfo};
use redlink_core::{Cursor, NodeId};
use std::collections::HashMap;
use tokio::sync::oneshot;

/// Most entries of one list.
pub(super) const LIST_MAX: usize = 10_000;
/// Entries of one piece. Services and peers look at all their routes.
pub(super) const MESSAGES: usize = 1_024;
pub(super) const SERVICES: usize = 64;
pub(super) const PEERS: usize = 16;
pub(super) const ROUTES: usize = 1_024;

/// A piece of a list, and where it goes on.
pub(super) type Page<T> = (Vec<T>, Option<Cursor>);

impl Handle {
    async fn pages<T>(
        &self,
        most: usize,
        make: impl Fn(Cursor, oneshot::Sender<Page<T>>) -> Command,
        wanted: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let mut all = Vec::new();
        let mut from = Some(Cursor::default());
        while let Some(cursor) = from
            && all.len() < most
        {
            // A driver that has stopped has no more to tell.
            let Some((page, next)) = self.look(|answer| make(cursor, answer)).await else {
                break;
            };
            all.extend(page.into_iter().filter(&wanted));
            from = next;
        }
        all.truncate(most);
        all
    }

    /// At most `max` messages and uncollected outcomes, of one service or of all.
    pub async fn messages(&self, max: usize, service: Option<String>) -> Vec<MessageInfo> {
        let wanted = |message: &MessageInfo| service.as_deref().is_none_or(|name| name == message.service);
        let max = max.min(LIST_MAX);
        let make = |from, answer| Command::Messages {
            who: self.who(),
            // Those of other services are left out here.
            max: LIST_MAX,
            from,
            answer,
        };
        self.pages(max, make, wanted).await
    }

    /// The services known at this node.
    pub async fn services(&self) -> Vec<ServiceInfo> {
        self.pages(
            LIST_MAX,
            |from, answer| Command::Services { from, answer },
            |_| true,
        )
        .await
    }

    /// The peers of this node.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.pages(LIST_MAX, |from, answer| Command::Peers { from, answer }, |_| true)
            .await
    }

    /// What this node and its peers told each other of services, by service and peer.
    pub async fn routes(&self) -> Vec<RouteInfo> {
        let make = |from, answer| Command::Routes { from, answer };
        let mut routes = self.pages(LIST_MAX, make, |_| true).await;
        let peers = self.peers().await.into_iter();
        let names: HashMap<String, String> = peers.filter_map(|peer| peer.node.zip(peer.name)).collect();
        for PathNode { node, name } in routes.iter_mut().flat_map(|route| &mut route.path) {
            *name = names.get(node.as_str()).cloned();
        }
        routes.sort_by(|a, b| (&a.service, &a.peer).cmp(&(&b.service, &b.peer)));
        routes
    }
}

/// Nodes of a way; their names come later.
pub(super) fn path(nodes: &[NodeId]) -> Vec<PathNode> {
    let nodes = nodes.iter().map(|node| PathNode {
        node: node.to_string(),
        name: None,
    });
    nodes.collect()
}
