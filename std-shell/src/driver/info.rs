//! What operators see of a node, as the API's JSON has it: durations in milliseconds, ids as text.

use crate::config::PeerPolicy;
use crate::store::StoreStats;
use serde::{Deserialize, Serialize};

/// A message or an outcome that waits to be collected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MessageInfo {
    /// Its id.
    pub id: String,
    /// Addressed to this service.
    pub service: String,
    /// 0 to 255, higher first.
    pub priority: u8,
    /// Where it is in its life: `delayed`, `queued`, `offered`, `granted`, `settling`, or its outcome.
    pub state: String,
    /// Its outcome, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Times that it was granted since the node started.
    pub attempts: u32,
    /// Attempts that ended without an answer, of those that may.
    #[serde(default)]
    pub unanswered: u16,
    /// `at-least-once`, or `at-most-once`: then the first attempt is the only one.
    #[serde(default)]
    pub delivery_mode: String,
    /// Payload length in bytes.
    pub size: u64,
    /// No reply is wanted.
    pub send_only: bool,
    /// How long ago it was accepted.
    pub age_ms: u64,
    /// Time left until its deadline; none if it has none.
    pub remaining_ms: Option<u64>,
    /// While it is `delayed`: time until it may be offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delayed_ms: Option<u64>,
    /// The program that submitted it; none if it was the administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Where its node keeps it: `disk`, or `memory` and nowhere else.
    #[serde(default = "disk")]
    pub durability: String,
    /// The dead letter that it comes from, by its message's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requeued_from: Option<String>,
    /// Its alternate service, if it has one and no outcome yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternate: Option<AlternateInfo>,
}

/// Of a node that does not say it.
fn disk() -> String {
    "disk".to_owned()
}

/// Where else a message is offered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlternateInfo {
    /// Its alternate service.
    pub service: String,
    /// Time until it is offered there; 0 if that has come.
    pub in_ms: u64,
}

/// A service that is known at this node.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServiceInfo {
    /// Its name.
    pub name: String,
    /// Own messages that wait for a consumer.
    pub queued: u64,
    /// Those of them that are offered to peers.
    #[serde(default)]
    pub offered: u64,
    /// Own messages that a consumer holds, here or elsewhere.
    #[serde(default)]
    pub granted: u64,
    /// Messages of peers that wait for a consumer of this node.
    pub reserved: u64,
    /// Messages that consumers of this node hold, and claims under way for them.
    #[serde(default)]
    pub held: u64,
    /// Messages that consumers of this node would be handed at once.
    #[serde(default)]
    pub room: u64,
    /// Consumers of this node.
    pub consumers: u32,
    /// Peers that have consumers.
    pub peers: u32,
    /// Age of the oldest message among those of the highest priority that wait for a consumer here or at a peer.
    #[serde(default)]
    pub oldest_ms: Option<u64>,
    /// Messages that producers of this node submitted, since the node counts for the service; none if it does not: only 200
    /// services are counted for each for itself.
    #[serde(default)]
    pub accepted: Option<u64>,
    /// Outcomes of such.
    #[serde(default)]
    pub settled: Option<u64>,
    /// Deliveries that consumers of this node were handed.
    #[serde(default)]
    pub taken: Option<u64>,
}

/// What this node and a peer told each other of a service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RouteInfo {
    /// The service.
    pub service: String,
    /// The peer.
    pub peer: String,
    /// `north` if this node dials it, else `south`.
    pub direction: String,
    /// Whether consumers can be reached through the peer.
    pub reachable: bool,
    /// The way to the nearest of them: the peer first, their node last.
    pub path: Vec<PathNode>,
    /// Links on that way.
    pub hops: usize,
    /// Offers that may wait at the peer.
    pub window: Option<u16>,
    /// Only higher priorities find room there.
    pub floor: Option<u8>,
    /// Offers of this node that wait there.
    pub placed: u32,
    /// Its offers that wait here.
    pub reserved: u32,
    /// Whether this node has told the peer that it reaches the service.
    pub told: bool,
}

/// A node on a way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PathNode {
    /// Its identity.
    pub node: String,
    /// Its name, if this node knows it: that of a peer.
    pub name: Option<String>,
}

/// A consumer of this node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConsumerInfo {
    /// What it offers.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Most leases that it may hold at once.
    pub limit: u16,
    /// Leases that it holds, and claims under way for it.
    pub held: u32,
    /// Messages that its waiting takes ask for.
    pub wanted: u32,
    /// How long a grant holds without a sign of life.
    pub lease_ms: u64,
    /// How many messages it wants at most in a time, such as `100/s`; none is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Deliveries that it was handed since the node's start.
    #[serde(default)]
    pub taken: u64,
    /// The program that registered it; none if it was the administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

/// A peer: another node that this one has, or had, a link with.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PeerInfo {
    /// Its name; none for a north that was not met yet and whose settings don't say it.
    pub name: Option<String>,
    /// Its identity; none before its hello.
    pub node: Option<String>,
    /// `north` if this node dials it, else `south`.
    pub direction: String,
    /// Whether a session is up.
    pub connected: bool,
    /// How its frames travel: `stream`, or `poll` where something between the nodes breaks streams; none while no session
    /// is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The HTTP proxy that this node dialled it through, without user and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// How long its link has been up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_ms: Option<u64>,
    /// Services that it has consumers of.
    pub services: u32,
    /// Its messages that wait here for a consumer.
    pub reserved: u32,
    /// Its messages that consumers here hold.
    pub held: u32,
    /// This node's messages that its consumers hold.
    pub granted: u32,
    /// Where this node dials it; none for a south.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Of a north: why there is no link, or why the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Of a north without a link: in how long it is dialled again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
    /// What may pass over its link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PeerPolicy>,
}

/// One step of a message, as far as this node has seen it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TraceStep {
    /// When, by the wall clock of the node that was asked: microseconds since 1970. What other nodes tell is put on that
    /// clock, wrong by at most the time that asking them took.
    pub at_micros: i64,
    /// The node that saw it, by name.
    #[serde(default)]
    pub seen_by: String,
    /// What: a frame (`offer`, `claim`, `grant`…) or something that happened here (`accepted`, `delivered`, `outcome`…).
    pub step: String,
    /// The peer that the frame went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The peer that the frame came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Which attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The node of the consumer that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<PathNode>,
    /// The rest, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What became of the question for a message's steps at a node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TraceNode {
    /// The node's name.
    pub name: String,
    /// Its identity, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// `told`: its steps are here. `cut`: something that it told, or those behind it, was lost because too much came at
    /// once. `elsewhere`: it told its steps another way, and they did not come. `unknown`: it remembers nothing of the message, or nothing that who asked it may know. `off`: it keeps no
    /// steps (`trace_memory`). `busy`: it had too many questions. `silent`: it did not answer in time. `not-linked`: it
    /// has no link with the node that would have asked it. `too-far`, `not-asked`: more links away, or more peers, than
    /// are asked. `other`: something that only a later version knows.
    pub state: String,
    /// The node that asked it, or would have; none for the one that the operator asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// Steps that it remembers and did not tell because they were too many; the latest are here.
    #[serde(default)]
    pub left_out: u64,
}

/// All that a node remembers of a message, or all nodes on its way.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MessageTrace {
    /// The message.
    pub id: String,
    /// The name of the node that was asked.
    pub node: String,
    /// Whether that keeps steps at all (`trace_memory`).
    pub on: bool,
    /// Its peers that the message went to or came from.
    pub peers: Vec<String>,
    /// The nodes that were asked, if other nodes were to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<TraceNode>,
    /// Steps that other nodes told and that are not here because they were too many.
    #[serde(default)]
    pub left_out: u64,
    /// Oldest first.
    pub steps: Vec<TraceStep>,
}

/// How full a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TableFill {
    /// Entries that it has.
    pub used: u32,
    /// Entries that it has room for: `capacity` in the settings.
    pub max: u32,
}

/// A node's state in a few numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its mesh.
    pub mesh: String,
    /// Its identity.
    pub node: String,
    /// Starts of its database so far.
    pub boot: u32,
    /// This program's version.
    pub version: String,
    /// Whether it takes work.
    pub ready: bool,
    /// Whether it is stopping.
    pub draining: bool,
    /// How long it has run.
    pub uptime_ms: u64,
    /// Messages and uncollected outcomes.
    pub messages: u64,
    /// Most of those that it holds.
    pub messages_max: u64,
    /// Consumers registered here.
    pub consumers: u64,
    /// Deliveries that consumers of this node hold.
    pub deliveries: u64,
    /// Services known here.
    pub services: u64,
    /// Peers with a session.
    pub peers: u64,
    /// Payload bytes in memory.
    pub memory_used: u64,
    /// Most of those.
    pub memory_max: u64,
    /// Messages and outcomes that are kept in memory only; they are among `messages`.
    #[serde(default)]
    pub memory_messages: u64,
    /// Bytes of their payloads, outcomes and preserved data.
    #[serde(default)]
    pub memory_messages_used: u64,
    /// Most of those.
    #[serde(default)]
    pub memory_messages_max: u64,
    /// Idempotency keys of the last 24 hours.
    #[serde(default)]
    pub idempotency_keys: u64,
    /// Most of those.
    #[serde(default)]
    pub idempotency_keys_max: u64,
    /// No new messages are accepted because the disk is nearly full.
    #[serde(default)]
    pub disk_low: bool,
    /// Free bytes on its disk below which none are accepted; 0 if there is no such limit.
    #[serde(default)]
    pub disk_floor: u64,
    /// How full its tables are, by name.
    #[serde(default)]
    pub tables: std::collections::BTreeMap<String, TableFill>,
    /// The program that asks; none if it is the administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// How its store is doing.
    #[serde(default)]
    pub store: StoreStats,
    /// What was counted since the start, by name.
    pub counters: std::collections::BTreeMap<String, u64>,
}

/// What any program may know of its node; a [`NodeStatus`] says it too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeBasics {
    /// Its name.
    pub name: String,
    /// Its mesh.
    pub mesh: String,
    /// Its identity.
    pub node: String,
    /// This program's version.
    pub version: String,
    /// Whether it takes work.
    pub ready: bool,
    /// Whether it is stopping.
    pub draining: bool,
    /// The program that asks; none if it is the administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

impl From<NodeStatus> for NodeBasics {
    fn from(status: NodeStatus) -> Self {
        Self {
            name: status.name,
            mesh: status.mesh,
            node: status.node,
            version: status.version,
            ready: status.ready,
            draining: status.draining,
            program: status.program,
        }
    }
}
