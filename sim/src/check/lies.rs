//! What a lying node may be to blame for (P11): which grants it saw, and which came through it.
//!
//! A liar may lose, delay and make up what needs it: what it was granted, and what passes through it. Everything else
//! keeps its promises; so each exception that the other checkers make asks here first.

use redlink_core::{AttemptId, GrantToken};
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(crate) struct Lies {
    /// Grants that a liar knows: it can answer them as their consumer could.
    known: BTreeSet<GrantTokenBytes>,
    /// Where a grant came from a liar, by whatever other nodes.
    tainted: BTreeSet<(usize, AttemptId)>,
}

type GrantTokenBytes = [u8; GrantToken::BYTES];

impl Lies {
    /// A liar read this.
    pub(crate) fn learns(&mut self, token: &GrantToken) {
        self.known.insert(token.to_bytes());
    }

    pub(crate) fn knows(&self, token: &GrantToken) -> bool {
        self.known.contains(&token.to_bytes())
    }

    /// A grant goes from one host to another.
    pub(crate) fn passes(&mut self, from: usize, to: usize, token: &GrantToken, lied: bool) {
        if lied || self.taints(from, token) {
            self.tainted.insert((to, token.attempt()));
        }
    }

    /// Whether what this host was granted may be a lie.
    pub(crate) fn taints(&self, host: usize, token: &GrantToken) -> bool {
        !self.tainted.is_empty() && self.tainted.contains(&(host, token.attempt()))
    }
}
