//! Who is who: the mesh's certificate authority, this node's certificate, join tokens, the administrator's token.
//!
//! The first node of a mesh makes the authority ([`Authority`]); every other node is enrolled with a join token
//! ([`JoinToken`]): it makes its own key, finds the authority's certificate by the hash in the token ([`mod@join`]) and has
//! its public key signed. Keys never travel. A node's name is proved by the URI `redlink:<mesh>/node/<name>` in its
//! certificate ([`Identity::peer_name`]); what it may be dialled as, by the host names and addresses beside it.
//!
//! What only the authority can do is asked of any node, which passes it on through the mesh as a message to the service
//! [`AUTHORITY_SERVICE`] (`desk`). Certificates live for a while and are renewed by the node itself (`keeper`); one that
//! must not wait for its end is put on the authority's list ([`Revocations`]), which links carry to every node.
//!
//! There is no way to switch verification off, here or anywhere else (promise P12).

mod admin;
mod asks;
mod authority;
mod certificate;
mod current;
mod desk;
mod enrol;
mod files;
mod identity;
mod join;
mod keeper;
mod own;
pub mod programs;
mod revocation;
mod sign;
mod text;
mod tls;
mod tokens;

pub use admin::{ADMIN_TOKEN_FILE, AdminError, AdminToken, CURLRC_FILE};
pub use authority::{
    Authority, AuthorityError, CA_FILE, CA_KEY_FILE, NODE_FILE, NODE_KEY_FILE, NodeRecord, RevokeError,
    Signed,
};
pub use certificate::{CertificateError, LIFE_DEFAULT, LIFE_MAX, LIFE_MIN, is_host, own_host_name};
pub use desk::{AUTHORITY_SERVICE, Answer, Ask, AskError, Why, ask, serve};
pub use enrol::{EnrolError, EnrolRequest, Enrolled, InviteRequest, RenewRequest, Voucher, VoucherError};
pub use files::FileError;
pub(crate) use files::write_private;
pub use identity::{Identity, IdentityError, Wishes, stored_name};
pub use join::{JoinError, Joined, join};
pub use keeper::keep;
pub use own::{OwnError, OwnFiles};
pub use revocation::{CRL_FILE, CRL_MAX, RevocationError, Revocations};
pub use sign::SignError;
pub use text::{JoinToken, TokenTextError};
pub(crate) use tls::{random, random_number};
pub use tokens::{NewToken, TOKEN_TTL_DEFAULT, TOKEN_TTL_MAX, TokenError, TokenRefused};

#[cfg(test)]
mod tests;
