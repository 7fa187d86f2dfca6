//! What is under way: questions of peers that are being answered, and what this node has asked itself.

use super::answer;
use super::wire::{self, Kind, Ticket};
use crate::driver::Handle;
use crate::link::outbox::Outbox;
use bytes::Bytes;
use redlink_core::Name;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// Questions of one peer, and of all together, that are answered at the same time.
const OF_A_PEER: usize = 6;
const OF_ALL: usize = 24;

/// Followings for operators at the same time; others wait for their turn.
const OWN: usize = 8;

/// Tickets that are remembered.
const TICKETS: usize = 4_096;

/// Pieces of answers to one ticket that wait to be looked at; beyond it they are lost, and that is told.
const PIECES: usize = 128;

/// How often the log complains of peers.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// A piece of an answer that has come.
pub(super) struct Came {
    /// Who said it.
    pub(super) peer: Name,
    /// When.
    pub(super) at: Instant,
    /// An aside's body, of a kind that is a piece.
    pub(super) body: Bytes,
}

/// One for each node.
#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<State>,
    /// Walks through the ring for peers, one at a time, so that their questions together cost the driver one piece of
    /// such a walk in each turn.
    pub(crate) walks: Semaphore,
    /// Followings for operators.
    pub(super) own: Semaphore,
    answered: AtomicU64,
    refused: AtomicU64,
    junk: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Questions that are being answered, by who asked.
    under_way: HashMap<Name, usize>,
    asked: HashMap<Ticket, Asked>,
    /// Tickets that this node has told its steps for, or asks with; the oldest first.
    known: HashSet<Ticket>,
    order: VecDeque<Ticket>,
    complained: Option<Instant>,
}

/// What this node has asked its peers.
#[derive(Debug)]
struct Asked {
    peers: BTreeSet<Name>,
    pieces: mpsc::Sender<Came>,
    /// Peers of whom pieces were lost.
    cut: BTreeSet<Name>,
}

/// A place among the questions under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    desk: Arc<Desk>,
    peer: Name,
}

impl Place {
    /// Whose question it is.
    pub(super) fn peer(&self) -> &Name {
        &self.peer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        if let Some(count) = state.under_way.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                state.under_way.remove(&self.peer);
            }
        }
    }
}

impl Desk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            walks: Semaphore::new(1),
            own: Semaphore::new(OWN),
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            junk: AtomicU64::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted since the start, by name.
    pub(crate) fn counters(&self) -> [(&'static str, u64); 3] {
        [
            ("trace_questions", &self.answered),
            ("trace_questions_refused", &self.refused),
            ("asides_refused", &self.junk),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// A peer said something. Never waits, and never fails: the link is none the worse for it.
    pub(crate) fn heard(self: &Arc<Self>, handle: &Handle, peer: &Name, outbox: &Outbox, body: Bytes) {
        let ticket = match wire::kind(&body) {
            Ok((Kind::Unknown, _)) => return,
            Ok((Kind::Piece, ticket)) => return self.piece(ticket, peer, body),
            Ok((Kind::Question, ticket)) => ticket,
            Err(wire::Junk) => return self.junk(peer),
        };
        let Ok(question) = wire::question(&body) else {
            return self.junk(peer);
        };
        let Some(place) = self.admit(peer) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.complain(peer, "asks for more traces of messages at once than are answered");
            return answer::busy(handle, outbox, ticket);
        };
        self.answered.fetch_add(1, Ordering::Relaxed);
        let (handle, outbox) = (handle.clone(), outbox.clone());
        tokio::spawn(answer::answer(handle, outbox, ticket, question, place));
    }

    fn admit(self: &Arc<Self>, peer: &Name) -> Option<Place> {
        let mut state = self.state();
        let all: usize = state.under_way.values().sum();
        let of_peer = state.under_way.get(peer).copied().unwrap_or(0);
        if of_peer >= OF_A_PEER || all >= OF_ALL {
            return None;
        }
        state.under_way.insert(peer.clone(), of_peer + 1);
        drop(state);
        Some(Place {
            desk: self.clone(),
            peer: peer.clone(),
        })
    }

    fn piece(&self, ticket: Ticket, peer: &Name, body: Bytes) {
        let mut state = self.state();
        // Too late, or nobody asked: nobody waits for it.
        let Some(asked) = state.asked.get_mut(&ticket) else {
            return;
        };
        if !asked.peers.contains(peer) {
            return;
        }
        let came = Came {
            peer: peer.clone(),
            at: Instant::now(),
            body,
        };
        if asked.pieces.try_send(came).is_err() {
            asked.cut.insert(peer.clone());
        }
    }

    /// A peer said what no node of ours says.
    pub(super) fn junk(&self, peer: &Name) {
        self.junk.fetch_add(1, Ordering::Relaxed);
        self.complain(
            peer,
            "says things beside its frames that make no sense; is it of another version?",
        );
    }

    fn complain(&self, peer: &Name, what: &str) {
        let now = Instant::now();
        let complained = &mut self.state().complained;
        if complained.is_none_or(|at| now - at >= COMPLAINTS) {
            *complained = Some(now);
            tracing::warn!(%peer, "a peer {what}");
        }
    }

    /// Whether a ticket was not seen before; from now on it was.
    pub(super) fn is_new(&self, ticket: Ticket) -> bool {
        let mut state = self.state();
        if !state.known.insert(ticket) {
            return false;
        }
        if state.order.len() == TICKETS
            && let Some(oldest) = state.order.pop_front()
        {
            state.known.remove(&oldest);
        }
        state.order.push_back(ticket);
        true
    }

    /// From now on pieces of answers to this ticket that these peers send come here.
    pub(super) fn open(&self, ticket: Ticket, peers: BTreeSet<Name>) -> mpsc::Receiver<Came> {
        let (pieces, came) = mpsc::channel(PIECES);
        let asked = Asked {
            peers,
            pieces,
            cut: BTreeSet::new(),
        };
        self.state().asked.insert(ticket, asked);
        came
    }

    /// Nobody waits for them any more; the peers of whom some were lost.
    pub(super) fn close(&self, ticket: Ticket) -> BTreeSet<Name> {
        self.state()
            .asked
            .remove(&ticket)
            .map(|asked| asked.cut)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
