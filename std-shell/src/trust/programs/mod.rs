//! Programs: how they prove who they are, and what each may do at this node (promise P12).
//!
//! A program shows a token of this node ([`Tokens`]) or a certificate of the mesh ([`certified`]). Either gives it a
//! name, which is whose its messages, deliveries and consumers are, and [`Permissions`]: the services it may produce to
//! and consume from, as patterns, and whether it is an administrator. A delivery's path is sealed for the program that
//! it was handed to ([`Seals`]).
//!
//! | file | what is there |
//! |---|---|
//! | `permissions` | what may be done |
//! | `text` | a token as text |
//! | `tokens` | the tokens of a node: made, listed, checked, revoked |
//! | `certificate` | programs by certificate |
//! | `seal` | delivery paths that work for one program |

mod certificate;
mod permissions;
mod seal;
mod text;
mod tokens;

pub use certificate::{Certified, certified};
pub use permissions::{PATTERNS_MAX, Permissions, pattern};
pub use seal::{Opened, Seals};
pub use text::{PREFIX, ProgramToken, ProgramTokenTextError};
pub use tokens::{NewProgramToken, Pass, ProgramTokenError, ProgramTokenInfo, ProgramTokenRefused, Tokens};

use redlink_core::Name;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

/// The programs of a node.
pub struct Programs {
    /// Those that show a token.
    pub tokens: Tokens,
    /// What those that show a certificate may do.
    certified: RwLock<BTreeMap<Name, Arc<Permissions>>>,
    /// Their deliveries.
    pub seals: Seals,
}

impl Programs {
    /// Reads what the node's directory has of them; `certified` are the settings' permissions by name.
    ///
    /// # Errors
    /// A file can't be read or written, or could be read by others.
    pub fn open(dir: &Path, certified: &BTreeMap<Name, Permissions>) -> Result<Self, ProgramTokenError> {
        Ok(Self {
            tokens: Tokens::open(dir)?,
            certified: RwLock::new(shared(certified)),
            seals: Seals::open(dir)?,
        })
    }

    /// What the program of that name may do if it shows a certificate; none if the settings don't say.
    pub fn certified(&self, name: &Name) -> Option<Arc<Permissions>> {
        let certified = self.certified.read().unwrap_or_else(PoisonError::into_inner);
        certified.get(name).cloned()
    }

    /// Other permissions of those that show a certificate, for each request from now on.
    pub fn set_certified(&self, certified: &BTreeMap<Name, Permissions>) {
        let mut now = self.certified.write().unwrap_or_else(PoisonError::into_inner);
        *now = shared(certified);
    }
}

fn shared(certified: &BTreeMap<Name, Permissions>) -> BTreeMap<Name, Arc<Permissions>> {
    let all = certified.iter();
    all.map(|(name, permissions)| (name.clone(), Arc::new(permissions.clone())))
        .collect()
}

fn random<const N: usize>() -> Result<[u8; N], ProgramTokenError> {
    Ok(super::tls::random()?)
}
