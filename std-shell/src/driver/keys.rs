//! Idempotency keys: by which a repeated submit is the message that the first one made.
//!
//! A key counts for one owner and one service, for [`KEPT`] from its submit, over restarts. Here a key is a MAC of all
//! three, which the row on disk holds too: its length does not depend on what a producer says, and nobody without the
//! node's secret can make two keys meet. Rows are deleted some at a time once their keys are over.

use super::handle::{Settlement, Submitted};
use super::refusal::Refusal;
use super::turn::Driver;
use crate::clock;
use crate::driver::command::Answer;
use crate::extras::{Fingerprint, Idempotency};
use crate::owner::Owner;
use crate::store::{RecoveredKey, StoredKey};
use redlink_core::{Duration, Instant, MessageId, Tag};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::collections::{HashMap, VecDeque};
use std::hash::Hasher;
use tokio::sync::oneshot;

/// How long a key counts.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Keys whose rows are deleted at once, at most.
const CHUNK: usize = 1_000;

/// A key with its owner and its service.
pub(super) type Scope = [u8; 16];

/// Another submit of the same message, which came while the first was being stored.
pub(super) struct Joined {
    pub(super) answer: Answer<Submitted>,
    pub(super) settled: Option<oneshot::Sender<Settlement>>,
}

struct Known {
    request: Fingerprint,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// The submit under this tag is not accepted yet.
    Storing(Tag),
    Stored {
        sequence: u64,
        /// By the wall clock.
        deadline_at: Option<i64>,
        until: Instant,
    },
}

/// What is known under a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, and there is room.
    Nothing,
    /// Nothing, and no room.
    Full,
    /// Another request.
    Other,
    /// The same, which is being stored.
    Storing(Tag),
    /// The same, which was accepted.
    Stored { sequence: u64, deadline_at: Option<i64> },
}

pub(super) struct Keys {
    secret: [u8; 16],
    most: usize,
    known: HashMap<Scope, Known>,
    /// Accepted ones, oldest first.
    order: VecDeque<(Instant, Scope, u64)>,
}

impl Keys {
    /// With what was on disk; `key` is the node's, `most` how many there may be. More that are on disk stay.
    pub(super) fn recovered(
        key: &[u8; 16],
        most: u32,
        found: &[RecoveredKey],
        now: Instant,
        wall: i64,
    ) -> Self {
        // A secret of its own, so that what is made of one says nothing of the other.
        let mut hasher = SipHasher24::new_with_key(key);
        hasher.write(b"redlink idempotency keys");
        let mut keys = Self {
            secret: hasher.finish128().as_bytes(),
            most: most as usize,
            known: HashMap::new(),
            order: VecDeque::new(),
        };
        for one in found {
            let until = now + clock::remaining(one.kept_until, wall, KEPT);
            let request = Fingerprint(one.request);
            keys.put(one.scope, request, one.sequence, one.deadline_at, until);
        }
        keys
    }

    fn put(
        &mut self,
        scope: Scope,
        request: Fingerprint,
        sequence: u64,
        deadline_at: Option<i64>,
        until: Instant,
    ) {
        let state = State::Stored {
            sequence,
            deadline_at,
            until,
        };
        self.known.insert(scope, Known { request, state });
        self.order.push_back((until, scope, sequence));
    }

    pub(super) fn scope(&self, owner: &Owner, service: &str, key: &str) -> Scope {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        let program = owner.program().map_or("", |program| program);
        hasher.write_u8(u8::from(owner.program().is_some()));
        for part in [program, service, key] {
            hasher.write_u64(part.len() as u64);
            hasher.write(part.as_bytes());
        }
        hasher.finish128().as_bytes()
    }

    pub(super) fn find(&self, scope: &Scope, request: &Fingerprint, now: Instant) -> Found {
        let known = self.known.get(scope).filter(|known| match known.state {
            State::Storing(_) => true,
            State::Stored { until, .. } => now < until,
        });
        match known {
            None if self.known.len() >= self.most => Found::Full,
            None => Found::Nothing,
            Some(known) if known.request != *request => Found::Other,
            Some(known) => match known.state {
                State::Storing(tag) => Found::Storing(tag),
                State::Stored {
                    sequence,
                    deadline_at,
                    ..
                } => Found::Stored {
                    sequence,
                    deadline_at,
                },
            },
        }
    }

    /// A submit with this key is under way.
    pub(super) fn begin(&mut self, scope: Scope, request: Fingerprint, tag: Tag) {
        let state = State::Storing(tag);
        self.known.insert(scope, Known { request, state });
    }

    /// It is accepted.
    pub(super) fn accepted(&mut self, scope: Scope, sequence: u64, deadline_at: Option<i64>, now: Instant) {
        if let Some(known) = self.known.remove(&scope) {
            self.put(scope, known.request, sequence, deadline_at, now + KEPT);
        }
    }

    /// It was refused, and leaves no key.
    pub(super) fn refused(&mut self, scope: &Scope) {
        let storing = |known: &Known| matches!(known.state, State::Storing(_));
        if self.known.get(scope).is_some_and(storing) {
            self.known.remove(scope);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets some that are over. Rows of messages up to the one that is given back are to be deleted.
    pub(super) fn expire(&mut self, now: Instant) -> Option<u64> {
        let mut through = None;
        for _ in 0..CHUNK {
            let Some((_, scope, sequence)) = self.order.pop_front_if(|(until, ..)| *until <= now) else {
                break;
            };
            // It may have been given anew, if the clock was set back over a restart.
            let same =
                |known: &Known| matches!(known.state, State::Stored { sequence: of, .. } if of == sequence);
            if self.known.get(&scope).is_some_and(same) {
                self.known.remove(&scope);
            }
            through = through.max(Some(sequence));
        }
        through
    }
}

impl Driver {
    /// A submit with a key: answered here if the message is there already. Else what is to be noted when the core has
    /// taken it.
    pub(super) fn known_by_key(
        &mut self,
        owner: &Owner,
        service: &str,
        idempotency: &Idempotency,
        joined: Joined,
    ) -> Result<(Scope, Joined), ()> {
        let scope = self.keys.scope(owner, service, &idempotency.key);
        let refusal = match self.keys.find(&scope, &idempotency.request, self.now) {
            Found::Nothing => return Ok((scope, joined)),
            Found::Full => Refusal::Keys,
            Found::Other => Refusal::KeyReused,
            Found::Storing(tag) => match self.submits.get_mut(&tag) {
                Some(first) => {
                    first.joined.push(joined);
                    return Err(());
                }
                None => Refusal::Mistake,
            },
            Found::Stored {
                sequence,
                deadline_at,
            } => {
                let node = self.shared.node;
                // Whoever has gone does not mind.
                let _ = joined.answer.send(Ok(Submitted {
                    id: MessageId { node, sequence },
                    deadline: deadline_at.map(clock::system_time),
                    repeated: true,
                }));
                return Err(());
            }
        };
        self.measure_refused(&refusal);
        let _ = joined.answer.send(Err(refusal));
        Err(())
    }

    /// What the row of a message with a key says of that.
    pub(super) fn stored_key(&self, scope: Scope, request: Fingerprint) -> StoredKey {
        StoredKey {
            scope,
            request: request.0,
            kept_until: clock::wall_after(self.wall, KEPT),
        }
    }

    /// Deletes the rows of keys that are over, some at a time.
    pub(super) fn expire_keys(&mut self) {
        if let Some(through) = self.keys.expire(self.now) {
            self.store.forget_keys(through);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Fingerprint = Fingerprint([1; 32]);
    const B: Fingerprint = Fingerprint([2; 32]);

    fn keys(most: u32, found: &[RecoveredKey]) -> Keys {
        Keys::recovered(&[7; 16], most, found, Instant::from_micros(0), 0)
    }

    fn at(hours: u64) -> Instant {
        Instant::from_micros(0) + Duration::from_secs(hours * 3_600)
    }

    #[test]
    fn a_key_is_of_one_owner_and_one_service() {
        let keys = keys(10, &[]);
        let program = |name: &str| Owner::Program(name.into());
        let all = [
            keys.scope(&Owner::Administrator, "s", "k"),
            keys.scope(&program(""), "s", "k"),
            keys.scope(&program("p"), "s", "k"),
            keys.scope(&program("ps"), "", "k"),
            keys.scope(&program("p"), "sk", ""),
            keys.scope(&program("p"), "s", "K"),
        ];
        let different: std::collections::HashSet<_> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(all[2], keys.scope(&program("p"), "s", "k"));
    }

    #[test]
    fn a_key_counts_for_a_day_and_leaves_room_then() {
        let mut keys = keys(1, &[]);
        let (one, two) = ([1; 16], [2; 16]);
        assert_eq!(keys.find(&one, &A, at(0)), Found::Nothing);
        keys.begin(one, A, Tag(5));
        assert_eq!(keys.find(&one, &A, at(0)), Found::Storing(Tag(5)));
        assert_eq!(keys.find(&one, &B, at(0)), Found::Other);
        assert_eq!(keys.find(&two, &A, at(0)), Found::Full);
        keys.refused(&one);
        assert_eq!(keys.find(&one, &B, at(0)), Found::Nothing);
        keys.begin(one, A, Tag(6));
        keys.accepted(one, 9, Some(3), at(0));
        keys.refused(&one);
        let stored = Found::Stored {
            sequence: 9,
            deadline_at: Some(3),
        };
        assert_eq!(keys.find(&one, &A, at(23)), stored);
        assert_eq!(keys.expire(at(23)), None);
        assert_eq!(keys.find(&one, &A, at(24)), Found::Full);
        assert_eq!(keys.expire(at(24)), Some(9));
        assert_eq!((keys.find(&one, &A, at(24)), keys.len()), (Found::Nothing, 0));
    }

    #[test]
    fn keys_come_back_with_what_is_left_of_their_day() {
        let hour = 3_600_000_000;
        let key = |sequence: u64, kept_until| RecoveredKey {
            sequence,
            scope: [sequence as u8; 16],
            request: A.0,
            deadline_at: None,
            kept_until,
        };
        // The last was written by a clock that was far ahead.
        let found = [key(1, -hour), key(2, hour), key(3, 1_000 * hour)];
        let mut keys = keys(1, &found);
        let stored = |sequence| Found::Stored {
            sequence,
            deadline_at: None,
        };
        assert_eq!(keys.find(&[1; 16], &A, at(0)), Found::Full);
        assert_eq!(keys.find(&[2; 16], &A, at(0)), stored(2));
        assert_eq!(keys.find(&[3; 16], &A, at(23)), stored(3));
        assert_eq!(keys.expire(at(0)), Some(1));
        assert_eq!(keys.expire(at(24)), Some(3));
        assert_eq!(keys.len(), 0);
    }

    #[test]
    fn many_go_some_at_a_time() {
        let mut keys = keys(10_000, &[]);
        for n in 0..2_500_u64 {
            let mut scope = [0; 16];
            scope[..8].copy_from_slice(&n.to_le_bytes());
            keys.begin(scope, A, Tag(n));
            keys.accepted(scope, n, None, at(0));
        }
        let gone: Vec<_> = std::iter::from_fn(|| keys.expire(at(24))).collect();
        assert_eq!(gone, [999, 1_999, 2_499]);
        assert_eq!(keys.len(), 0);
    }
}
