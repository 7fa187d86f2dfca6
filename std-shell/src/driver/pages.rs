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

/// States of messages as [`MessageInfo::state`] has them; `open` is all without an outcome, `settled` all with one.
pub const STATES: &[&str] = &[
    "open",
    "settled",
    "queued",
    "delayed",
    "offered",
    "granted",
    "settling",
    "replied",
    "delivered",
    "failed",
    "expired",
    "dead",
    "cancelled",
];

/// Which messages a list shows.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those of this service; none: of all.
    pub service: Option<String>,
    /// Those in this one of [`STATES`]; none: in any.
    pub state: Option<String>,
}

impl Wanted {
    /// Whether one of this service in this state is among them.
    pub(super) fn has(&self, service: &str, state: &str, over: bool) -> bool {
        let right = |wanted: &str| match wanted {
            "open" => !over,
            "settled" => over,
            word => word == state,
        };
        self.service.as_deref().is_none_or(|name| name == service) && self.state.as_deref().is_none_or(right)
    }
}

/// A piece of a list, and where it goes on.
pub type Page<T> = (Vec<T>, Option<Cursor>);

impl Handle {
    async fn pages<T>(
        &self,
        most: usize,
        make: impl Fn(Cursor, oneshot::Sender<Page<T>>) -> Command,
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
            all.extend(page);
            from = next;
        }
        all.truncate(most);
        all
    }

    /// At most `max` messages and uncollected outcomes behind `from`, and where to go on if there may be more. What comes
    /// or goes between two such looks may be missed, nothing that stays is.
    pub async fn messages(&self, wanted: &Wanted, max: usize, from: Cursor) -> Page<MessageInfo> {
        let max = max.min(LIST_MAX);
        let mut all = Vec::new();
        let mut next = Some(from);
        while let Some(from) = next
            && all.len() < max
        {
            let make = |answer| Command::Messages {
                who: self.who(),
                wanted: wanted.clone(),
                max: max - all.len(),
                from,
                answer,
            };
            // A driver that has stopped has no more to tell.
            let Some((page, behind)) = self.look(make).await else {
                return (all, None);
            };
            all.extend(page);
            next = behind;
        }
        (all, next)
    }

    /// The services known at this node.
    pub async fn services(&self) -> Vec<ServiceInfo> {
        self.pages(LIST_MAX, |from, answer| Command::Services { from, answer })
            .await
    }

    /// The peers of this node.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.pages(LIST_MAX, |from, answer| Command::Peers { from, answer })
            .await
    }

    /// What this node and its peers told each other of services, by service and peer.
    pub async fn routes(&self) -> Vec<RouteInfo> {
        let make = |from, answer| Command::Routes { from, answer };
        let mut routes = self.pages(LIST_MAX, make).await;
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
