//! Who is who: the mesh's certificate authority, this node's certificate, join tokens, the administrator's token.
//!
//! The first node of a mesh makes the authority ([`Authority`]); every other node is enrolled with a join token
//! ([`JoinToken`]): it makes its own key, finds the authority's certificate by the hash in the token ([`mod@join`]) and has
//! its public key signed. Keys never travel. A node's name is proved by the URI `redlink:<mesh>/node/<name>` in its
//! certificate ([`peer_name`]); what it may be dialled as, by the host names and addresses beside it.
//!
//! There is no way to switch verification off, here or anywhere else (promise P12).

mod admin;
mod authority;
mod certificate;
mod enrol;
mod files;
mod identity;
mod join;
pub mod programs;
mod text;
mod tls;
mod tokens;

pub use admin::{ADMIN_TOKEN_FILE, AdminError, AdminToken, CURLRC_FILE};
pub use authority::{Authority, AuthorityError, CA_FILE, CA_KEY_FILE, NODE_FILE, NODE_KEY_FILE};
pub use certificate::{CertificateError, is_host, own_host_name, peer_name};
pub use enrol::{EnrolError, EnrolRequest, Enrolled};
pub use files::FileError;
pub(crate) use files::write_private;
pub use identity::{Identity, IdentityError, stored_name};
pub use join::{JoinError, Joined, join};
pub use text::{JoinToken, TokenTextError};
pub(crate) use tls::random_number;
pub use tokens::{NewToken, TOKEN_TTL_DEFAULT, TOKEN_TTL_MAX, TokenError, TokenRefused};

#[cfg(test)]
mod tests;
