//! Whole-structure checks, for tests and the simulator.

use super::Core;
use super::slots::{Holder, Source, Stage, State, Writing};
use super::tables::Entity;

impl Core<'_> {
    /// Walks every table and asserts what must always be true between two calls. O(everything): for tests.
    ///
    /// # Panics
    /// If something that must always be true is not.
    pub fn check_invariants(&self) {
        self.messages.check();
        self.reservations.check();
        self.deliveries.check();
        self.services.check();
        self.consumers.check();
        self.takes.check();
        self.peers.check();
        self.routes.check();
        self.timers.check();
        self.dirty.check();
        self.recovering.check(&self.messages);
        self.delivered.check(&self.messages);
        self.away.check(&self.messages);
        self.starved.check(&self.peers);
        let seed = self.seed();
        self.relays.check();
        self.relay_index
            .check(|ix| Self::id_hash(seed, self.relays[ix].token.message));
        self.message_index
            .check(|ix| Self::message_hash(seed, self.messages[ix].sequence));
        self.check_alternates();
        self.reservation_index
            .check(|ix| Self::id_hash(seed, self.reservations[ix].message));
        self.delivery_index
            .check(|ix| Self::id_hash(seed, self.deliveries[ix].token.message));
        self.check_services();
        self.check_messages();
        self.check_consumers();
        self.check_peers();
        self.check_told();
    }

    fn check_services(&self) {
        for (ix, s) in self.services.iter() {
            s.waiting.check(&self.messages);
            s.offered.check(&self.messages);
            s.reserved.check(&self.reservations);
            s.forwarded.check(&self.reservations);
            s.consumers.check(&self.consumers);
            s.hungry.check(&self.consumers);
            s.routes.check(&self.routes);
            assert_eq!(
                self.find_service(&s.name),
                Some(ix),
                "a service is found by its name"
            );
            let of = |state| {
                let mine = self.messages.iter().filter(|(_, m)| m.service == ix);
                mine.filter(|(_, m)| state == m.state).count()
            };
            assert_eq!(s.waiting.len(), of(State::Waiting));
            assert_eq!(s.offered.len(), of(State::Offered));
            assert_eq!(s.granted as usize, of(State::Granted));
            let served = self.draining || s.hungry.is_empty() || self.deliveries.is_full();
            let own = s.waiting.is_empty() && s.offered.is_empty();
            let peers = s.reserved.is_empty() && s.forwarded.is_empty();
            let mut hungry = core::iter::successors(s.hungry.front(), |&c| s.hungry.next(&self.consumers, c));
            let only_peers = !hungry.any(|c| self.consumers[c].has_place_for_own());
            assert!(
                served || (own && peers) || (only_peers && !own),
                "a consumer with room and a message for it were matched ({})",
                s.name
            );
        }
    }

    fn check_messages(&self) {
        for (ix, m) in self.messages.iter() {
            assert_eq!(
                self.find_message(m.sequence) == Some(ix),
                !m.alternate,
                "a message is found by its sequence"
            );
            let live = m.copies.iter().flatten().filter(|copy| copy.is_live());
            assert_eq!(
                m.state == State::Offered,
                live.count() > 0,
                "message {} {:?}",
                m.sequence,
                m.state
            );
            assert_eq!(
                m.outcome.is_some(),
                matches!(m.state, State::Settling | State::Settled | State::Deleting)
            );
            if matches!(m.state, State::Granting | State::Granted) && m.holder == Holder::Local {
                let attempt = self.token_of(ix).attempt();
                let d = self
                    .find_delivery(attempt)
                    .expect("a local holder has a delivery");
                assert!(
                    self.deliveries[d].stage != Stage::Over,
                    "a granted message's delivery lives"
                );
            }
            if let (true, Some(deadline)) = (m.state.is_open() && m.state != State::Storing, m.deadline) {
                let timer = self.timers.at(Entity::Message(ix).number(&self.capacity));
                assert!(
                    timer.is_some_and(|at| at <= deadline),
                    "a deadline is never slept over (P3)"
                );
            }
            if m.writing == Writing::Failed {
                let timer = self.timers.at(Entity::Message(ix).number(&self.capacity));
                assert!(timer.is_some(), "what could not be written is tried again");
            }
            if m.state == State::Delayed {
                let timer = self.timers.at(Entity::Message(ix).number(&self.capacity));
                assert!(
                    m.wake == Some(m.lease_until) && timer.is_some_and(|at| at <= m.lease_until),
                    "the time to offer it is never slept over"
                );
            }
            if m.state == State::Granting {
                assert!(m.at_most_once && m.wake.is_none());
                let written = m.out.attempts || m.writing != Writing::No;
                assert!(written, "a grant that is to be written is");
            }
            if matches!(m.state, State::Granting | State::Granted) {
                assert!(m.holder != Holder::None, "a granted message has a holder");
            }
            if m.state != State::Granted && m.state.is_open() {
                assert!(
                    !matches!(m.holder, Holder::Away(_)),
                    "only what is granted can be away"
                );
            }
        }
        for (ix, r) in self.routes.iter() {
            assert!(r.window.is_some(), "a route is what was announced");
            assert!(
                self.may_announce(r.peer, &self.services[r.service].name),
                "what a peer may not announce is not known from it (P12)"
            );
            let own = self.messages.iter().flat_map(|(_, m)| m.copies.iter().flatten());
            let passing = self
                .reservations
                .iter()
                .flat_map(|(_, r)| r.copies.iter().flatten());
            let live = own.chain(passing);
            let here = live.filter(|copy| copy.route == ix && copy.is_live());
            assert_eq!(here.count(), r.placed as usize, "placed copies are counted");
        }
    }

    fn check_alternates(&self) {
        for (ix, m) in self.messages.iter() {
            let Some(other) = m.twin else {
                let leaving = m.state == State::Aside && m.out.copies;
                assert!(!m.alternate || leaving, "a second offer has a message");
                continue;
            };
            let twin = &self.messages[other];
            assert_eq!(twin.twin, Some(ix), "twins know each other");
            assert!(m.alternate != twin.alternate, "one of two is the message");
            if m.alternate {
                let free = matches!(twin.state, State::Waiting | State::Offered);
                let offered = matches!(m.state, State::Waiting | State::Offered);
                assert!(offered || m.state == State::Aside);
                assert!(free || !offered, "only what is free is offered");
                let timer = self.timers.at(Entity::Message(ix).number(&self.capacity));
                assert!(
                    !free || offered || timer.is_some_and(|at| at <= m.lease_until),
                    "the second offer's time is never slept over"
                );
            }
        }
    }

    fn check_consumers(&self) {
        for (ix, c) in self.consumers.iter() {
            c.takes.check(&self.takes);
            c.deliveries.check(&self.deliveries);
            let of = || self.deliveries.iter().filter(|(_, d)| d.consumer == Some(ix));
            let held = of().filter(|(_, d)| d.stage.takes_room()).count();
            let coming = |stage| matches!(stage, Stage::Claiming | Stage::Fetching | Stage::Ready);
            assert_eq!(held, usize::from(c.held), "places are counted");
            assert_eq!(
                of().filter(|(_, d)| coming(d.stage)).count(),
                usize::from(c.coming)
            );
            assert_eq!(
                of().filter(|(_, d)| d.stage == Stage::Answering).count(),
                usize::from(c.answering)
            );
            let wanted: u32 = self
                .takes
                .iter()
                .filter(|(_, t)| t.consumer == ix)
                .map(|(_, t)| u32::from(t.left))
                .sum();
            assert_eq!(wanted, c.wanted, "wishes are counted");
            let (listed, room) = (c.hungry.is_linked(), c.has_room(self.now) && !self.draining);
            assert!(room || !listed, "only who has room is listed");
            // Time alone may have brought a token.
            let timer = self.timers.at(Entity::Consumer(ix).number(&self.capacity));
            let due = timer.is_some_and(|at| at <= self.now);
            assert!(
                listed || !room || (due && c.bucket.rate().is_some()),
                "who has room is listed, or about to be"
            );
        }
    }

    fn check_peers(&self) {
        for (ix, p) in self.peers.iter() {
            p.routes.check(&self.routes);
            p.rules.check(&self.rules);
            p.reservations.check(&self.reservations);
            p.deliveries.check(&self.deliveries);
            p.granted.check(&self.messages);
            let granted = self.messages.iter().filter(|(_, m)| {
                matches!(m.state, State::Granting | State::Granted) && m.holder == Holder::Peer(ix)
            });
            assert_eq!(granted.count(), p.granted.len(), "what a peer holds is listed");
            if p.link.is_none() {
                assert!(p.reservations.is_empty(), "no session, no reservations");
                assert!(p.routes.is_empty(), "no session, no routes");
            }
            let unsaid = self
                .deliveries
                .iter()
                .filter(|(_, d)| d.out.say && d.source == Source::Peer(ix));
            assert_eq!(
                unsaid.count(),
                p.unsaid as usize,
                "holdings to be said are counted"
            );
        }
    }
}
