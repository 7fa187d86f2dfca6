//! What each peer was told of each service, and of what there is news for it.
//!
//! There are as many pairs as peers times services, and whoever is linked hears of nearly all: a root of a thousand nodes
//! and ten thousand services has ten million. So a pair is a few bits in dense tables, and no slot: one byte for what was
//! told, two for the peer's offers that wait here, and a mark in the peer's row while it may have to be told.
//!
//! What a peer is to be told is not queued, nor kept: a change marks the service for those it makes a difference to, and
//! when a mark is polled the announcement is built from what is true then. There is *news* where a way or a window has
//! changed; that is told whatever was told before. A mark alone is for room: it is told if the peer knows of none (`room`).

use super::Core;
use super::room::ROOM_MAX;
use super::routes::Announcement;
use super::slots::Direction;
use super::tables::Entity;
use crate::data::marks::Marks;
use crate::data::slab::{Ix, Link};
use crate::data::slots::Slots;
use crate::wire::Frame;

/// Set in a pair's cell while there is news.
const NEWS: u8 = 0x80;
const _: () = assert!(ROOM_MAX + 1 < NEWS as u32, "a cell holds any room");

/// The tables of pairs.
pub(super) struct Told<'s> {
    /// For each service, for each peer: 0 if it was told nothing, or else the room that it knows of (what it was told of,
    /// less its offers since) and one more, up to [`ROOM_MAX`] and one; and [`NEWS`].
    cells: Slots<'s, u8>,
    /// In the same order, the peer's offers of the service that wait here; no more than
    /// [`Config::window`](crate::Config::window).
    reserved: Slots<'s, u16>,
    /// Cells of one service.
    peers: usize,
    /// For each peer the services that it may have to be told of. It is in the dirty queue while there are any.
    marks: Marks<'s>,
    /// For each peer the services of which it is to be invited to offer when there is a place again: it was declined for the
    /// want of one, or told of fewer than its window.
    starved: Marks<'s>,
}

impl<'s> Told<'s> {
    /// Nothing told. All storage must be zero.
    ///
    /// # Panics
    /// If there is less of it than for each pair.
    pub(super) fn new(
        cells: Slots<'s, u8>,
        reserved: Slots<'s, u16>,
        marks: Slots<'s, u32>,
        starved: Slots<'s, u32>,
        peers: usize,
        services: usize,
    ) -> Self {
        let pairs = peers * services;
        assert!(cells.len() >= pairs, "one cell for each service and peer");
        assert!(reserved.len() >= pairs, "one count for each service and peer");
        Self {
            cells,
            reserved,
            peers,
            marks: Marks::new(marks, peers, services),
            starved: Marks::new(starved, peers, services),
        }
    }

    fn at(&self, service: Ix, peer: Ix) -> usize {
        service.position() * self.peers + peer.position()
    }

    /// The room that the peer knows of; `None` if it was not told of the service.
    pub(super) fn room(&self, service: Ix, peer: Ix) -> Option<u16> {
        let cell = self.cells[self.at(service, peer)] & !NEWS;
        cell.checked_sub(1).map(u16::from)
    }

    /// Whether the peer is to be told of the service whatever it was told before.
    pub(super) fn is_news(&self, service: Ix, peer: Ix) -> bool {
        self.cells[self.at(service, peer)] & NEWS != 0
    }

    /// The peer's offers of the service that wait here.
    pub(super) fn reserved(&self, service: Ix, peer: Ix) -> u16 {
        self.reserved[self.at(service, peer)]
    }

    /// The service and the peer of a cell; none for a cell beyond the last.
    pub(super) fn pair(&self, at: usize) -> Option<(Ix, Ix)> {
        let service = at.checked_div(self.peers)?;
        Some((Ix::new(service), Ix::new(at % self.peers)))
    }

    /// One more of them.
    pub(super) fn add_reserved(&mut self, service: Ix, peer: Ix) {
        let at = self.at(service, peer);
        self.reserved[at] += 1;
    }

    /// One less.
    pub(super) fn drop_reserved(&mut self, service: Ix, peer: Ix) {
        let at = self.at(service, peer);
        self.reserved[at] -= 1;
    }

    /// Whether there is something that the peer may have to be told.
    pub(super) fn is_marked(&self, peer: Ix) -> bool {
        self.marks.count(peer) > 0
    }

    /// The next service of which the peer may have to be told, in turn.
    pub(super) fn take_mark(&mut self, peer: Ix) -> Link {
        self.marks.take(peer)
    }
}

impl Core<'_> {
    /// Every change of what was told goes through here: the counts in the service follow.
    fn set_cell(&mut self, service: Ix, peer: Ix, cell: u8) {
        let at = self.told.at(service, peer);
        let old = core::mem::replace(&mut self.told.cells[at], cell);
        let s = &mut self.services[service];
        s.told = s.told + u32::from(cell != 0) - u32::from(old != 0);
        s.spent = s.spent + u32::from(cell & !NEWS == 1) - u32::from(old & !NEWS == 1);
    }

    /// The peer knows of so much room, or was told nothing. There is no news any more.
    fn set_told(&mut self, service: Ix, peer: Ix, room: Option<u16>) {
        let cell = room.map_or(0, |room| room as u8 + 1);
        self.set_cell(service, peer, cell);
    }

    /// The peer, which was told of the service, knows of so much room now.
    pub(super) fn set_told_room(&mut self, service: Ix, peer: Ix, room: u16) {
        let news = self.told.cells[self.told.at(service, peer)] & NEWS;
        self.set_cell(service, peer, news | (room as u8 + 1));
    }

    /// There may be room that the peer does not know of.
    pub(super) fn mark_room(&mut self, service: Ix, peer: Ix) {
        self.told.marks.set(peer, service);
        self.touch(Entity::Peer(peer));
    }

    /// There is news of the service for the peer.
    pub(super) fn tell_of(&mut self, service: Ix, peer: Ix) {
        let cell = self.told.cells[self.told.at(service, peer)];
        self.set_cell(service, peer, cell | NEWS);
        self.mark_room(service, peer);
    }

    /// There is news of the service for all peers.
    pub(super) fn routes_changed(&mut self, service: Ix) {
        let mut cursor = None;
        while let Some(peer) = self.peers.next_live(cursor) {
            cursor = Some(peer);
            if self.is_up(peer) {
                self.tell_of(service, peer);
            }
        }
    }

    /// The peer is to be told of everything that is reached here.
    pub(super) fn tell_all(&mut self, peer: Ix) {
        let mut cursor = None;
        while let Some(s) = self.services.next_live(cursor) {
            cursor = Some(s);
            if !self.services[s].consumers.is_empty() || !self.services[s].routes.is_empty() {
                self.tell_of(s, peer);
            }
        }
    }

    /// The peer has forgotten what it was told, or had no room for it: it is told all that again.
    pub(super) fn tell_again(&mut self, peer: Ix) {
        let mut cursor = None;
        while let Some(s) = self.services.next_live(cursor) {
            cursor = Some(s);
            if self.told.room(s, peer).is_some() {
                self.tell_of(s, peer);
            }
        }
    }

    /// What may be announced to the peer is no longer the same: it is told where that makes a difference.
    pub(super) fn exports_changed(&mut self, peer: Ix) {
        let mut cursor = None;
        while let Some(s) = self.services.next_live(cursor) {
            cursor = Some(s);
            let may = self.may_pass_over(peer, Direction::Export, &self.services[s].name);
            if self.told.room(s, peer).is_some() != may {
                self.tell_of(s, peer);
            }
        }
    }

    /// The session with the peer is over: what it was told is void.
    pub(super) fn forget_told(&mut self, peer: Ix) {
        self.told.marks.clear_row(peer);
        self.told.starved.clear_row(peer);
        if self.peers[peer].starved.is_linked() {
            self.starved.remove(&mut self.peers, peer);
        }
        let mut cursor = None;
        while let Some(s) = self.services.next_live(cursor) {
            cursor = Some(s);
            self.set_told(s, peer, None);
            self.drop_idle_service(s);
        }
    }

    /// What the peer, whose mark was taken, is told of the service; `None` if it knows what there is to know.
    pub(super) fn news_for(&mut self, service: Ix, peer: Ix) -> Option<Frame> {
        let (told, news) = (self.told.room(service, peer), self.told.is_news(service, peer));
        if !news && (told != Some(0) || self.room_for(service, peer) == 0) {
            return None;
        }
        let name = &self.services[service].name;
        // What was told may be told, or there is news.
        let may = !news || self.may_pass_over(peer, Direction::Export, name);
        let (service_name, found) = (name.clone(), self.announcement(service, peer).filter(|_| may));
        let Some(a) = found else {
            self.set_told(service, peer, None);
            self.unstarve(service, peer);
            if told.is_some() {
                self.forget_offers_of(service, peer);
            }
            return told.map(|_| Frame::Withdraw {
                service: service_name,
            });
        };
        let Announcement {
            path,
            window,
            room,
            short,
        } = a;
        self.set_told(service, peer, Some(room));
        if short {
            // It hears of it when more places come free.
            self.starve(service, peer);
        } else if news {
            // One that has nothing to offer must not swallow the place that another waits for.
            self.invite_one();
        }
        Some(Frame::Announce {
            service: service_name,
            window,
            room,
            path,
        })
    }

    /// The peer was declined for the want of a place, or told of few; it is told when one comes free.
    pub(super) fn starve(&mut self, service: Ix, peer: Ix) {
        self.told.starved.set(peer, service);
        if !self.peers[peer].starved.is_linked() {
            self.starved.push_back(&mut self.peers, peer);
        }
    }

    fn unstarve(&mut self, service: Ix, peer: Ix) {
        self.told.starved.clear(peer, service);
        if self.told.starved.count(peer) == 0 && self.peers[peer].starved.is_linked() {
            self.starved.remove(&mut self.peers, peer);
        }
    }

    /// A place came free: a peer that was declined for the lack of one hears of it. Peers take turns.
    pub(super) fn invite_one(&mut self) {
        let Some(peer) = self.starved.front() else { return };
        self.starved.remove(&mut self.peers, peer);
        if let Some(service) = self.told.starved.take(peer) {
            self.tell_of(service, peer);
        }
        if self.told.starved.count(peer) > 0 {
            self.starved.push_back(&mut self.peers, peer);
        }
    }

    /// On an idle link nothing comes free that would invite the peer again: what it was declined is announced anew.
    pub(super) fn invite_peer(&mut self, peer: Ix) {
        while let Some(service) = self.told.starved.take(peer) {
            self.tell_of(service, peer);
        }
        if self.peers[peer].starved.is_linked() {
            self.starved.remove(&mut self.peers, peer);
        }
    }

    /// There is room that nothing here waits for: peers that know of none may have to be told.
    pub(super) fn tell_room(&mut self, service: Ix) {
        let mut left = self.services[service].spent;
        let mut peers = 0..self.told.peers;
        while left > 0
            && let Some(peer) = peers.next().map(Ix::new)
        {
            if self.told.room(service, peer) == Some(0) {
                left -= 1;
                self.mark_room(service, peer);
            }
        }
    }

    /// Walks the tables of pairs and asserts what must always be true of them between two calls.
    pub(super) fn check_told(&self) {
        for (service, s) in self.services.iter() {
            let row = &self.told.cells[self.told.at(service, Ix::new(0))..][..self.told.peers];
            let count = |wanted: &dyn Fn(u8) -> bool| row.iter().filter(|&&cell| wanted(cell)).count();
            assert_eq!(
                count(&|cell| cell != 0),
                s.told as usize,
                "who was told is counted"
            );
            assert_eq!(
                count(&|cell| cell & !NEWS == 1),
                s.spent as usize,
                "who knows of no room is counted"
            );
        }
        for peer in (0..self.told.peers).map(Ix::new) {
            self.told.marks.check(peer);
            self.told.starved.check(peer);
            let up = self.peers.get(peer).is_some_and(|p| p.link.is_some());
            for service in (0..self.services.capacity()).map(Ix::new) {
                let at = self.told.at(service, peer);
                let marked = self.told.marks.contains(peer, service);
                let starved = self.told.starved.contains(peer, service);
                if !up || self.services.get(service).is_none() {
                    let clean = self.told.cells[at] == 0 && self.told.reserved[at] == 0;
                    assert!(clean && !marked && !starved, "a pair that is none is clean");
                    continue;
                }
                self.check_pair(service, peer);
                assert!(marked || !self.told.is_news(service, peer), "news is marked");
                assert!(!marked || self.told.cells[at] != 0, "a mark holds its service");
                let told = self.told.room(service, peer).is_some();
                assert!(told || !starved, "only who was told is starved");
            }
            if let Some(p) = self.peers.get(peer) {
                assert_eq!(
                    p.starved.is_linked(),
                    self.told.starved.count(peer) > 0,
                    "who is starved is listed"
                );
                let number = Entity::Peer(peer).number(&self.capacity);
                assert!(
                    !self.told.is_marked(peer) || self.current == Some(number) || self.dirty.contains(number),
                    "who is to be told something has a turn"
                );
            }
        }
    }

    /// Of one pair whose peer has a session.
    fn check_pair(&self, service: Ix, peer: Ix) {
        let told = self.told.room(service, peer).is_some();
        let waiting = self
            .reservations
            .iter()
            .filter(|(_, r)| (r.service, r.peer) == (service, peer) && !r.over)
            .count();
        let reserved = self.told.reserved(service, peer);
        assert_eq!(waiting, usize::from(reserved), "reservations are counted");
        assert!(told || reserved == 0, "offers follow what was told (P12)");
        if !self.told.is_news(service, peer) {
            let may = self.may_pass_over(peer, Direction::Export, &self.services[service].name);
            assert!(!told || may, "what may not be told is not told (P12)");
            let reached = may && self.announcement(service, peer).is_some();
            assert_eq!(told, reached, "what is reached is told, or there is news (P8)");
        }
    }
}
