//! The certificate that a peer has shown last, for links that outlive their connections.
//!
//! A link that is one connection ends with it. One that is carried by many requests has to end by itself when its peer is
//! put out of the mesh (P12), and meanwhile the peer's certificate may have been renewed.

use crate::trust::Identity;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use tokio::sync::watch;

/// A chain as TLS has verified it, the peer's own certificate first.
pub(crate) type Chain = Arc<[CertificateDer<'static>]>;

pub(super) struct Shown(watch::Sender<Chain>);

impl Shown {
    pub(super) fn new(chain: Chain) -> Self {
        Self(watch::Sender::new(chain))
    }

    /// The peer has a new connection, or made another request.
    pub(super) fn show(&self, chain: &Chain) {
        self.0.send_if_modified(|last| {
            let other = last != chain;
            if other {
                *last = chain.clone();
            }
            other
        });
    }

    /// Waits until the one that was shown last is revoked.
    pub(super) async fn until_revoked(&self, identity: &Identity) {
        let mut shown = self.0.subscribe();
        loop {
            let chain = shown.borrow_and_update().clone();
            tokio::select! {
                biased;
                () = identity.until_revoked(&chain) => return,
                // The sender lives in `self`.
                _ = shown.changed() => {}
            }
        }
    }
}
