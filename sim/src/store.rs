//! The store of each node: groups that are committed together, late, or not at all.

use crate::check::order::Reserved;
use crate::disk::Write;
use crate::host::Live;
use crate::scenario::Time;
use crate::world::{Event, World};
use redlink_core::{Input, Row};

impl World {
    /// What arrives during one sync is the next group.
    pub(crate) fn enqueue(&mut self, h: usize, write: Write) {
        let Some(live) = self.hosts[h].live.as_mut() else {
            return;
        };
        live.store.waiting.push(write);
        if live.store.group.is_empty() {
            self.begin_group(h);
        }
    }

    fn begin_group(&mut self, h: usize) {
        let (low, high) = self.plan.disk_delay;
        let mut delay = self.rng.store.range(low, high);
        let host = &mut self.hosts[h];
        let (until, slow) = host.store_slow;
        if self.now < until {
            delay += self.rng.store.below(slow);
        }
        let life = host.life;
        let Some(live) = host.live.as_mut() else { return };
        live.store.group = std::mem::take(&mut live.store.waiting);
        self.after(delay, Event::Commit { host: h, life });
    }

    pub(crate) fn on_commit(&mut self, h: usize, life: u32) {
        if !self.is_life(h, life) {
            return;
        }
        let Some(live) = self.hosts[h].live.as_mut() else {
            return;
        };
        let group = std::mem::take(&mut live.store.group);
        let (until, share) = self.hosts[h].store_fails;
        let share = if self.now < until { share } else { 0 };
        // A group is one transaction; but single operations may fail, too.
        let none = self.rng.store.chance(share / 2);
        let mut rows = Vec::new();
        for write in &group {
            let done = !none && !self.rng.store.chance(share);
            if done {
                self.apply(h, write);
            }
            rows.push((write.row(), done));
        }
        let delay = self.rng.store.below(1_000);
        self.after(delay, Event::Report { host: h, life, rows });
        if self.hosts[h]
            .live
            .as_ref()
            .is_some_and(|live| !live.store.waiting.is_empty())
        {
            self.begin_group(h);
        }
    }

    fn apply(&mut self, h: usize, write: &Write) {
        self.log
            .line(self.now, format_args!("{h} commits {:?}", write.row()));
        if let Err(why) = self.hosts[h].disk.apply(write) {
            self.check.fail("P2", format!("node {h}: {why}"));
            return;
        }
        match write {
            Write::Insert(sequence, _) => {
                let (id, now) = (self.own(h, *sequence), self.now);
                self.check.ledger.inserted(id, now);
            }
            Write::Settle(sequence, row) => {
                let id = self.own(h, *sequence);
                self.check.ledger.settled(id, row);
            }
            Write::Delete(sequence) => {
                let id = self.own(h, *sequence);
                self.check.ledger.deleted(id);
            }
            Write::Attempts(..) | Write::Keep(_) | Write::Drop(_) => {}
        }
    }

    pub(crate) fn on_report(&mut self, h: usize, life: u32, rows: &[(Row, bool)]) {
        for &(row, done) in rows {
            if !self.is_life(h, life) {
                return;
            }
            self.before_report(h, row, done);
            // Every row was asked for, so none can be a surprise.
            if let Err(why) = self.input(h, Input::Stored { row, done }) {
                self.check
                    .fail("contract", format!("{row:?}, {done} was refused: {why:?}"));
            }
        }
    }

    fn before_report(&mut self, h: usize, row: Row, done: bool) {
        match row {
            Row::Insert(sequence) => {
                let id = self.own(h, sequence);
                if done {
                    let Some(entry) = self.check.ledger.entries.get(&id) else {
                        return;
                    };
                    let reserved = Reserved {
                        service: entry.service,
                        priority: entry.terms.priority,
                        born: self.born(h, id),
                        deadline: entry.deadline,
                        event: self.events,
                    };
                    // Where outputs wait, it may be granted already to a take that ends before it is polled.
                    let delayed = entry.from > self.now;
                    if !entry.cancel_asked && entry.decided.is_none() && !delayed && self.late() == 0 {
                        self.check.order.own(h, id, reserved);
                    }
                } else {
                    let verdict = self.check.ledger.not_inserted(id);
                    self.check.verdict(verdict);
                    if let Some(live) = self.hosts[h].live.as_mut() {
                        live.rows.remove(&sequence);
                    }
                }
            }
            Row::Delete(sequence) if done => {
                if let Some(live) = self.hosts[h].live.as_mut() {
                    live.rows.remove(&sequence);
                }
            }
            Row::Attempts(_) | Row::Settle(_) | Row::Delete(_) | Row::Keep(_) | Row::Drop(_) => {}
        }
    }

    /// The process died: the group under way is on disk or it is not, what waited is not.
    pub(crate) fn crash_store(&mut self, h: usize, live: &Live) {
        let reached = self.rng.store.chance(500);
        if reached {
            for write in &live.store.group {
                self.apply(h, write);
            }
        }
        let lost = if reached { &[][..] } else { &live.store.group[..] };
        for write in lost.iter().chain(&live.store.waiting) {
            if let Write::Insert(sequence, _) = write {
                let id = self.own(h, *sequence);
                let verdict = self.check.ledger.not_inserted(id);
                self.check.verdict(verdict);
            }
        }
    }

    /// How long a store operation may take at worst, now.
    pub(crate) fn store_idle(&self, h: usize) -> bool {
        self.hosts[h]
            .live
            .as_ref()
            .is_none_or(|live| live.store.group.is_empty() && live.store.waiting.is_empty())
    }

    /// Starts a spell of failing or slow operations.
    pub(crate) fn trouble_store(&mut self, h: usize, slow: bool, until: Time) {
        if slow {
            self.hosts[h].store_slow = (until, self.rng.faults.spread(1_000, 3_000_000));
        } else {
            self.hosts[h].store_fails = (until, self.rng.faults.range(50, 1_000));
        }
    }
}
