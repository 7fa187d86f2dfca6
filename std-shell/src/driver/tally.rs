//! What the driver counts, beside what the core does.

/// Since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    /// Links that came up.
    pub(super) links_up: u64,
    /// Links that ended by themselves, or because an operator wanted it.
    pub(super) links_down: u64,
    /// Links that were closed because of what the peer did, or did not.
    pub(super) links_closed: u64,
    /// Links that were closed because their peer did not read.
    pub(super) links_overflowed: u64,
    /// Submits that the store refused.
    pub(super) submits_rejected: u64,
    /// Deliveries that consumers of this node lost: leases over, deadlines passed, attempts revoked.
    pub(super) deliveries_lost: u64,
    /// Large payloads that were turned down for their size.
    pub(super) payloads_too_large: u64,
}

impl Tally {
    /// By name.
    pub(super) fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("links_up", self.links_up),
            ("links_down", self.links_down),
            ("links_closed", self.links_closed),
            ("links_overflowed", self.links_overflowed),
            ("submits_rejected", self.submits_rejected),
            ("deliveries_lost", self.deliveries_lost),
            ("payloads_too_large", self.payloads_too_large),
        ]
    }
}
