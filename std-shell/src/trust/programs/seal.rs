//! Paths of deliveries that work for one program (promise P12).
//!
//! A grant's token proves an attempt to the message's origin; whom this node handed it to, only this node can tell. So
//! what a program gets as the path of its delivery is the token, the service, and a MAC over both and the program's
//! name. Nothing has to be remembered: the path works for that program, and for no other, also after a restart.

use super::super::files;
use super::tokens::ProgramTokenError;
use crate::owner::Owner;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redlink_core::{GrantToken, Name};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use std::path::Path;
use subtle::ConstantTimeEq;

const KEY_FILE: &str = "delivery-key";
const MAC: usize = 16;

/// Makes and opens such paths.
pub struct Seals {
    key: [u8; 16],
}

/// What a path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What the delivery was granted with.
    pub token: GrantToken,
    /// Whose message it is; known if the path was handed to a program.
    pub service: Option<Name>,
    mac: Option<[u8; MAC]>,
}

impl Seals {
    /// Reads the key, or makes one.
    pub(super) fn open(dir: &Path) -> Result<Self, ProgramTokenError> {
        let stored = files::read_secret(dir, KEY_FILE)?;
        // One that was cut or lost is made anew: what workers hold then comes again when their leases are over.
        if let Some(key) = stored.and_then(|bytes| bytes.try_into().ok()) {
            return Ok(Self { key });
        }
        let key = super::random()?;
        files::write_private(dir, KEY_FILE, &key)?;
        Ok(Self { key })
    }

    /// The last part of the path for this owner.
    pub fn seal(&self, token: &GrantToken, service: &Name, owner: &Owner) -> String {
        let mut bytes = token.to_bytes().to_vec();
        // The administrator may answer for everybody; there is nobody to keep out.
        if let Owner::Program(program) = owner {
            bytes.extend_from_slice(&self.mac(token, service, program));
            bytes.extend_from_slice(service.as_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a path's last part; none if it is not one.
    pub fn read(text: &str) -> Option<Opened> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (token, rest) = bytes.split_first_chunk::<{ GrantToken::BYTES }>()?;
        let token = GrantToken::from_bytes(token);
        let (mac, service) = match rest.split_first_chunk::<MAC>() {
            Some((mac, service)) => {
                let service = Name::new(std::str::from_utf8(service).ok()?).ok()?;
                (Some(*mac), Some(service))
            }
            None if rest.is_empty() => (None, None),
            None => return None,
        };
        Some(Opened { token, service, mac })
    }

    /// Whether the path was handed to this program. Takes the same time for every wrong one.
    pub fn is_of(&self, opened: &Opened, program: &str) -> bool {
        let (Some(service), Some(mac)) = (&opened.service, &opened.mac) else {
            return false;
        };
        self.mac(&opened.token, service, program).ct_eq(mac).into()
    }

    fn mac(&self, token: &GrantToken, service: &Name, program: &str) -> [u8; MAC] {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(&token.to_bytes());
        // No name has a zero in it, so no two pairs of names are one text.
        hasher.write(service.as_bytes());
        hasher.write(&[0]);
        hasher.write(program.as_bytes());
        hasher.finish128().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redlink_core::{ConsumerKey, Fence, MessageId, NodeId};

    fn token() -> GrantToken {
        GrantToken {
            message: MessageId {
                node: NodeId(u64::MAX - 1),
                sequence: 17,
            },
            inserted: 3,
            fence: Fence { boot: 4, attempt: 2 },
            node: NodeId(7),
            consumer: ConsumerKey(8),
            mac: [0xa5; 16],
        }
    }

    fn program(name: &str) -> Owner {
        Owner::Program(name.into())
    }

    #[test]
    fn a_path_is_of_the_program_that_it_was_handed_to_in_every_life() {
        let dir = tempfile::tempdir().unwrap();
        let seals = Seals::open(dir.path()).unwrap();
        let service = Name::new("jobs.resize").unwrap();
        let text = seals.seal(&token(), &service, &program("w"));
        let seals = Seals::open(dir.path()).unwrap();
        let opened = Seals::read(&text).unwrap();
        assert_eq!((opened.token, opened.service.as_ref()), (token(), Some(&service)));
        assert!(seals.is_of(&opened, "w"));
        for other in ["", "W", "w2", "administrator"] {
            assert!(!seals.is_of(&opened, other), "{other}");
        }
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(!Seals::open(elsewhere.path()).unwrap().is_of(&opened, "w"));
        // The administrator's is the token alone, which is no program's.
        let plain = Seals::read(&seals.seal(&token(), &service, &Owner::Administrator)).unwrap();
        assert_eq!(plain.token, token());
        assert!(!seals.is_of(&plain, "") && !seals.is_of(&plain, "w"));
    }

    #[test]
    fn no_byte_of_it_can_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        let seals = Seals::open(dir.path()).unwrap();
        let text = seals.seal(&token(), &Name::new("a").unwrap(), &program("w"));
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let opened = Seals::read(&URL_SAFE_NO_PAD.encode(&changed));
            assert!(
                opened.is_none_or(|opened| !seals.is_of(&opened, "w")),
                "byte {at}"
            );
            assert!(
                !Seals::read(&URL_SAFE_NO_PAD.encode(&bytes[..at])).is_some_and(|o| seals.is_of(&o, "w"))
            );
        }
        // A letter can't wander from one name to the other.
        let one = Seals::read(&seals.seal(&token(), &Name::new("ab").unwrap(), &program("c"))).unwrap();
        let other = Opened {
            service: Some(Name::new("a").unwrap()),
            ..one
        };
        assert!(!seals.is_of(&other, "bc"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".*", tail in "[A-Za-z0-9_-]{0,250}") {
            let _ = Seals::read(&text);
            let _ = Seals::read(&tail);
        }
    }
}
