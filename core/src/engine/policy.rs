//! Which services may pass over a link, as this end of it wants it (P12).
//!
//! What the mesh needs for itself passes unless a rule names it: certificates have to be renewed whatever else may not pass.
//!
//! Rules are asked when a service is announced, here or there, and again when the peer's policy changes. Offers, claims
//! and grants follow announcements, so that nothing else has to be asked.

use super::Core;
use super::slots::{Direction, Rule};
use crate::data::list::ListLinks;
use crate::data::slab::{Ix, Link};
use crate::input::Policy;
use crate::name::{Name, RESERVED};
use crate::output::{Bound, Refused};
use crate::pattern::rules;

impl Core<'_> {
    /// Whether a policy can be set: its rules can be read, and there is room for them in place of the peer's present ones.
    pub(super) fn check_policy(&self, peer: Link, policy: &Policy<'_>) -> Result<(), Refused> {
        let mut wanted = 0;
        for rule in rules(policy.import).chain(rules(policy.export)) {
            rule.map_err(Refused::Name)?;
            wanted += 1;
        }
        let old = peer.map_or(0, |ix| self.peers[ix].rules.len());
        let room = self.rules.capacity() - self.rules.len() + old;
        if wanted > room {
            return Err(Refused::Full(Bound::Rules));
        }
        Ok(())
    }

    /// Sets a policy that was checked. What may not pass any more is forgotten here and withdrawn there.
    pub(super) fn set_policy(&mut self, peer: Ix, policy: &Policy<'_>) {
        // What it announced may be told on now, or no more.
        let passes_on = self.peers[peer].redistribute != policy.redistribute;
        let mut at = self.peers[peer].routes.front().filter(|_| passes_on);
        while let Some(route) = at {
            at = self.peers[peer].routes.next(&self.routes, route);
            self.tell_by(route);
        }
        self.peers[peer].redistribute = policy.redistribute;
        self.peers[peer].accept_from_south = policy.accept_from_south;
        self.drop_rules(peer);
        for (direction, text) in [
            (Direction::Import, policy.import),
            (Direction::Export, policy.export),
        ] {
            for (allow, pattern) in rules(text).flatten() {
                let rule = Rule {
                    direction,
                    allow,
                    pattern,
                    of_peer: ListLinks::default(),
                };
                // `check_policy` made sure of the room.
                if let Ok(ix) = self.rules.insert(rule) {
                    self.peers[peer].rules.push_back(&mut self.rules, ix);
                }
            }
        }
        let mut at = self.peers[peer].routes.front();
        while let Some(route) = at {
            at = self.peers[peer].routes.next(&self.routes, route);
            let service = self.routes[route].service;
            let taken = self.may_announce(peer, &self.services[service].name);
            if !taken {
                self.route_lost(route);
            } else if passes_on {
                self.tell_by(route);
            }
            self.fill(service);
            if !taken {
                self.drop_route(route);
            }
        }
        if self.is_up(peer) {
            self.exports_changed(peer);
        }
    }

    pub(super) fn drop_rules(&mut self, peer: Ix) {
        while let Some(ix) = self.peers[peer].rules.front() {
            self.peers[peer].rules.remove(&mut self.rules, ix);
            self.rules.remove(ix);
        }
    }

    /// Whether what the peer announces of a service is taken.
    pub(super) fn may_announce(&self, peer: Ix, service: &Name) -> bool {
        let p = &self.peers[peer];
        let taken = p.dialled || p.accept_from_south || service.is_reserved();
        taken && self.may_pass_over(peer, Direction::Import, service)
    }

    /// What the peer's rules say of a service: the first that matches counts.
    pub(super) fn may_pass_over(&self, peer: Ix, direction: Direction, service: &Name) -> bool {
        let list = &self.peers[peer].rules;
        let mut denials = true;
        let mut at = list.front();
        while let Some(ix) = at {
            at = list.next(&self.rules, ix);
            let rule = &self.rules[ix];
            // The mesh's own services are meant only by rules that name them.
            let meant = !service.is_reserved() || rule.pattern.as_str().starts_with(RESERVED);
            if rule.direction != direction || !meant {
                continue;
            }
            if rule.pattern.matches(service) {
                return rule.allow;
            }
            denials &= !rule.allow;
        }
        denials
    }
}
