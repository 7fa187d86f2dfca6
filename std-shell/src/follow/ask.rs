//! Asks peers, and hears what they say until all have ended or time is over.

use super::Fate;
use super::desk::{Came, Desk};
use super::wire::{self, Piece, Question, Report, Ticket};
use crate::driver::Handle;
use redlink_core::{MessageId, Name, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Most peers that are asked for one message.
const PEERS: usize = 16;

/// Most pieces that one peer may send for one ticket: steps of all nodes behind it.
const PIECES: u32 = 1_024;

/// What is asked, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) ticket: Ticket,
    pub(super) message: MessageId,
    /// Links that the question may still go over.
    pub(super) hops: u8,
    /// When it is over.
    pub(super) until: Instant,
}

/// Peers that were asked.
pub(super) struct Asking {
    desk: Arc<Desk>,
    me: Name,
    ticket: Ticket,
    until: Instant,
    came: mpsc::Receiver<Came>,
    /// Those that have not ended, and the pieces that they may still send.
    waiting: BTreeMap<Name, u32>,
    nodes: BTreeMap<Name, NodeId>,
    /// Those that have told their own steps, and may still pass on what others tell.
    told: BTreeSet<Name>,
    reports: Vec<Report>,
}

impl Asking {
    /// Asks these peers, as far as they can be asked.
    pub(super) async fn begin(handle: &Handle, wanted: Wanted, peers: Vec<Name>) -> Self {
        let Wanted {
            ticket,
            message,
            hops,
            until,
        } = wanted;
        let mut lines = handle.lines(peers.clone()).await;
        let nodes = lines.iter();
        let nodes = nodes.map(|(name, line)| (name.clone(), line.node));
        let nodes = nodes.collect();
        let mut cannot = Vec::new();
        let mut can = BTreeMap::new();
        for name in peers {
            let fate = match lines.remove(&name) {
                _ if hops == 0 => Fate::TooFar,
                None => Fate::NotLinked,
                Some(_) if can.len() == PEERS => Fate::NotAsked,
                Some(line) => {
                    can.insert(name, line.outbox);
                    continue;
                }
            };
            cannot.push((name, fate));
        }
        let desk = handle.desk().clone();
        let names: BTreeSet<Name> = can.keys().cloned().collect();
        let waiting = names.iter().map(|name| (name.clone(), PIECES)).collect();
        let came = desk.open(ticket, names);
        let left = until.saturating_duration_since(Instant::now()) * 7 / 8;
        let question = Question {
            message,
            hops: hops.saturating_sub(1),
            patience_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
        };
        let body = wire::put_question(ticket, &question);
        for outbox in can.into_values() {
            let body = body.clone();
            // A peer that reads slowly is asked late, and holds up no other.
            tokio::spawn(async move { timeout_at(until, outbox.aside(|| body)).await });
        }
        let mut asking = Self {
            desk,
            me: handle.name().clone(),
            ticket,
            until,
            came,
            waiting,
            nodes,
            told: BTreeSet::new(),
            reports: Vec::new(),
        };
        for (name, fate) in cannot {
            asking.report(name, fate);
        }
        asking
    }

    fn report(&mut self, name: Name, fate: Fate) {
        let report = Report {
            node: self.nodes.get(&name).copied(),
            name,
            by: self.me.clone(),
            fate: fate.number(),
            left_out: 0,
        };
        self.reports.push(report);
    }

    /// The next piece, which is no [`Piece::End`]; none when all that were asked have ended, or time is over.
    pub(super) async fn next(&mut self) -> Option<(Came, Piece)> {
        while !self.waiting.is_empty() && Instant::now() < self.until {
            let came = timeout_at(self.until, self.came.recv()).await.ok().flatten()?;
            let Some(left) = self.waiting.get_mut(&came.peer) else {
                continue;
            };
            *left -= 1;
            if *left == 0 {
                self.waiting.remove(&came.peer);
                self.report(came.peer, Fate::Cut);
                continue;
            }
            match wire::piece(&came.body) {
                Ok(Piece::End) => drop(self.waiting.remove(&came.peer)),
                Ok(piece) => {
                    if matches!(&piece, Piece::Report(report) if report.name == came.peer) {
                        self.told.insert(came.peer.clone());
                    }
                    return Some((came, piece));
                }
                Err(wire::Junk) => self.desk.junk(&came.peer),
            }
        }
        None
    }

    /// Who was not asked, did not answer, or told too much at once.
    pub(super) fn finish(mut self) -> Vec<Report> {
        for name in self.desk.close(self.ticket) {
            self.report(name, Fate::Cut);
        }
        for name in std::mem::take(&mut self.waiting).into_keys() {
            let fate = match self.told.contains(&name) {
                true => Fate::Cut,
                false => Fate::Silent,
            };
            self.report(name, fate);
        }
        std::mem::take(&mut self.reports)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // Who asked may have gone in the middle.
        self.desk.close(self.ticket);
    }
}
