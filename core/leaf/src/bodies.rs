//! The payloads that the core has the leaf hold: a few short ones.

use redlink_core::{Body, Payload, Tag};

/// Longest payload, in bytes. A longer one is not taken.
pub const BODY_MAX: usize = 64;
/// Each message of the leaf may have one, and so may what the peer sends and what is answered.
const BODIES: usize = super::MESSAGES + 4;

/// Whose a body is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    /// The core holds it under its number.
    Core,
    /// A submit that the core has not numbered yet.
    Submit(Tag),
    /// A message of this node.
    Message(u64),
}

/// A fixed number of payloads.
pub(crate) struct Bodies {
    slots: [Slot; BODIES],
}

#[derive(Clone, Copy)]
struct Slot {
    owner: Owner,
    len: u8,
    bytes: [u8; BODY_MAX],
}

impl Bodies {
    /// None yet.
    pub(crate) const fn new() -> Self {
        let slot = Slot {
            owner: Owner::Nobody,
            len: 0,
            bytes: [0; BODY_MAX],
        };
        Self {
            slots: [slot; BODIES],
        }
    }

    /// Keeps a payload for the core; nothing if there is no room or it is too long.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Option<Body> {
        let id = self.put(Owner::Core, bytes)?;
        Some(Body {
            id: id as u64,
            size: bytes.len() as u64,
        })
    }

    /// Keeps a second one with the same bytes; nothing if there is no room.
    pub(crate) fn copy(&mut self, payload: Payload) -> Option<Body> {
        let mut bytes = [0; BODY_MAX];
        let from = self.get(payload)?;
        let bytes = bytes.get_mut(..from.len())?;
        bytes.copy_from_slice(from);
        self.keep(bytes)
    }

    /// Keeps the payload of a submit; false if there is no room or it is too long.
    pub(crate) fn submit(&mut self, tag: Tag, bytes: &[u8]) -> bool {
        self.put(Owner::Submit(tag), bytes).is_some()
    }

    /// The submit has become this message.
    pub(crate) fn number(&mut self, tag: Tag, sequence: u64) {
        if let Some(slot) = self.of(Owner::Submit(tag)) {
            slot.owner = Owner::Message(sequence);
        }
    }

    /// The submit came to nothing.
    pub(crate) fn drop_submit(&mut self, tag: Tag) {
        self.release(Owner::Submit(tag));
    }

    /// The message has its outcome: nobody will ask for its payload again.
    pub(crate) fn drop_message(&mut self, sequence: u64) {
        self.release(Owner::Message(sequence));
    }

    /// The core is done with it.
    pub(crate) fn free(&mut self, body: Body) {
        if let Some(slot) = usize::try_from(body.id)
            .ok()
            .and_then(|id| self.slots.get_mut(id))
        {
            slot.owner = Owner::Nobody;
        }
    }

    /// The bytes.
    pub(crate) fn get(&self, payload: Payload) -> Option<&[u8]> {
        let slot = match payload {
            Payload::Empty => return Some(&[]),
            Payload::Own { sequence, .. } => self
                .slots
                .iter()
                .find(|slot| slot.owner == Owner::Message(sequence)),
            Payload::Held(body) => usize::try_from(body.id).ok().and_then(|id| self.slots.get(id)),
        }?;
        slot.bytes.get(..usize::from(slot.len))
    }

    fn put(&mut self, owner: Owner, bytes: &[u8]) -> Option<usize> {
        let id = self.slots.iter().position(|slot| slot.owner == Owner::Nobody)?;
        let slot = &mut self.slots[id];
        slot.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        slot.len = bytes.len() as u8;
        slot.owner = owner;
        Some(id)
    }

    fn of(&mut self, owner: Owner) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.owner == owner)
    }

    fn release(&mut self, owner: Owner) {
        if let Some(slot) = self.of(owner) {
            slot.owner = Owner::Nobody;
        }
    }
}
