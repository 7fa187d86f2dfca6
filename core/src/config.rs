//! What a core is told once, at start.

use crate::id::{Boot, NodeId};
use crate::name::Name;
use crate::time::Duration;

/// Identity, timing and limits of one core.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's identity.
    pub node: NodeId,
    /// This node's name, unique in its mesh.
    pub name: Name,
    /// The mesh it belongs to.
    pub mesh: Name,
    /// This life of it; committed before the core is made.
    pub boot: Boot,
    /// The only source of randomness.
    pub seed: u64,
    /// Key of the grants' MACs: secret, made with the database, the same in every life.
    pub key: [u8; 16],
    /// The first sequence number that was never used.
    pub next_sequence: u64,
    /// Payloads up to this many bytes ride in the frame.
    pub inline_max: u64,
    /// The caller knows an address at which other nodes may reach this one: it attaches that where
    /// [`Attached::Addressed`](crate::Attached::Addressed) says so.
    pub direct: bool,
    /// Offers of one service that a peer may have waiting here at once, and so the most that are placed at one.
    pub window: u16,
    /// In-transit limit of a consumer that never said one.
    pub limit: u16,
    /// Lease of a consumer that never said one.
    pub lease: Duration,
    /// A waiting message gains one level of priority for each such time, above zero, that it has waited; none means that
    /// it never does.
    pub ageing: Option<Duration>,
    /// Uncollected outcomes `Delivered` that are kept; beyond it the oldest one's retention ends early.
    pub delivered_kept: u32,
    /// Intervals.
    pub timing: Timing,
}

/// Intervals of one core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// After a start with messages on disk: how long nodes have to say what they hold, before it is offered again.
    pub recovery: Duration,
    /// An idle link is pinged this often.
    pub keepalive: Duration,
    /// A link that was silent this long is closed.
    pub silence: Duration,
    /// A consumer that holds nothing and asks for nothing this long is gone.
    pub liveness: Duration,
    /// A granted message whose take has ended waits this long for another take before it is released.
    pub ready: Duration,
    /// The origin's copy of a lease is longer by this.
    pub margin: Duration,
    /// Longest lease that is believed, of a consumer here or of a peer's: what a silent holder can cost (P11).
    pub lease_max: Duration,
    /// A claim that is not answered this long is given up.
    pub claim: Duration,
    /// An offer to a peer that should have claimed it at once waits this long before another peer is asked too ("hedged
    /// requests"; Dean and Barroso, "The Tail at Scale", 2013).
    pub hedge: Duration,
    /// The holder of an attempt whose way is broken is looked for this often, until its lease is over.
    pub seek: Duration,
    /// A store operation that failed is tried again after this.
    pub store_retry: Duration,
    /// A reply to a message without deadline is worth sending this long.
    pub reply_life: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            recovery: Duration::from_secs(5),
            keepalive: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            liveness: Duration::from_secs(60),
            ready: Duration::from_secs(2),
            margin: Duration::from_secs(5),
            lease_max: Duration::from_secs(86_400),
            claim: Duration::from_secs(10),
            hedge: Duration::from_millis(500),
            seek: Duration::from_secs(2),
            store_retry: Duration::from_secs(1),
            reply_life: Duration::from_secs(86_400),
        }
    }
}

impl Config {
    /// The defaults for a node of this identity and name, in its first life.
    pub fn new(node: NodeId, name: Name, mesh: Name) -> Self {
        Self {
            node,
            name,
            mesh,
            boot: Boot {
                counter: 1,
                random: 0,
            },
            seed: 0,
            key: [0; 16],
            next_sequence: 1,
            inline_max: 8 * 1024,
            direct: false,
            window: 256,
            limit: 1,
            lease: Duration::from_secs(30),
            ageing: None,
            delivered_kept: 10_000,
            timing: Timing::default(),
        }
    }
}
