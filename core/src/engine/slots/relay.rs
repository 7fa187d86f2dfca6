//! Messages that pass between two peers.

use crate::data::slab::Ix;
use crate::id::GrantToken;
use crate::input::{Body, Verb};
use crate::time::{Duration, Instant};
use crate::wire::{Path, Taken};

/// A message that passes through this node: claimed by a node behind it, and then held there.
///
/// Made by a claim or by a holding that passes; ends when the origin has settled the attempt, or when either
/// side's session does.
#[derive(Debug)]
pub struct Relay {
    /// Which attempt; before the grant only its message, node and consumer are set.
    pub(crate) token: GrantToken,
    /// The peer towards the origin.
    pub(crate) up: Ix,
    /// The peer towards the consumer.
    pub(crate) down: Ix,
    /// How far it is.
    pub(crate) stage: Passing,
    /// When the message expires; a settled one is forgotten at the latest then.
    pub(crate) deadline: Option<Instant>,
    /// When it is forgotten if nothing passes.
    pub(crate) wake: Instant,
    /// The consumer's lease.
    pub(crate) lease: Duration,
    /// Nodes that a holding still has to pass: the origin first, the peer towards it last.
    pub(crate) path: Path,
    /// What passes as a whole goes straight between the two ends.
    pub(crate) direct: bool,
    /// It was claimed as offered under its alternate service.
    pub(crate) alternate: bool,
    /// The message's priority.
    pub(crate) priority: u8,
    /// Ended by an ack.
    pub(crate) send_only: bool,
    /// Length of what is passing, payload or answer.
    pub(crate) size: u64,
    /// Its bytes.
    pub(crate) body: Option<Body>,
    /// When a part of them came last. They may go on before all are there.
    pub(crate) moved: Option<Instant>,
    /// What the consumer said.
    pub(crate) verb: Option<Verb>,
    /// How the origin took it.
    pub(crate) taken: Taken,
    /// What is to be passed on.
    pub(crate) out: RelayOut,
}

/// How far a message that passes is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Passing {
    /// The claim went up.
    Claimed,
    /// The grant went down.
    Granted,
    /// Over; what is pending is still to be passed on.
    Over,
}

/// Pending outputs of a relay, in the order they are polled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct RelayOut {
    /// Claim, upwards.
    pub(crate) claim: bool,
    /// Fetch a large payload from above.
    pub(crate) fetch_payload: bool,
    /// Fetch a large answer from below.
    pub(crate) fetch_answer: bool,
    /// Grant, downwards.
    pub(crate) grant: bool,
    /// That the payload can't be had straight, upwards.
    pub(crate) reverse: bool,
    /// Holding, upwards.
    pub(crate) holding: bool,
    /// Extension, upwards.
    pub(crate) extend: bool,
    /// Answer, upwards.
    pub(crate) answer: bool,
    /// Release, upwards.
    pub(crate) release: bool,
    /// Say in it that no consumer can have seen it.
    pub(crate) unseen: bool,
    /// How the origin took it, downwards.
    pub(crate) settled: bool,
    /// Gone, downwards.
    pub(crate) gone: bool,
    /// The way is broken, upwards.
    pub(crate) no_path_up: bool,
    /// The way is broken, downwards.
    pub(crate) no_path_down: bool,
    /// Free the bytes.
    pub(crate) free: bool,
}
