//! Whether what one end of a link knows of the other's services is what that would tell now (P8).
//!
//! Nobody keeps what was told: a change is told to those to whom it makes a difference. A change that was thought to make
//! none, and made one, shows here.

use crate::check::reach::may_pass;
use crate::mesh::PolicyPlan;
use redlink_core::wire::Path;
use redlink_core::{Core, Cursor};

/// The way to a service that a core knows through a peer, the peer first.
fn known(core: &Core<'_>, service: &str, peer: &str) -> Option<Path> {
    let mut from = Some(Cursor::default());
    while let Some(cursor) = from {
        let (views, next) = core.routes_from(cursor, 64);
        let mut found = views.filter(|view| (view.service.as_str(), view.peer.as_str()) == (service, peer));
        if let Some(view) = found.find(|view| view.window.is_some()) {
            return Path::from_slice(view.path);
        }
        from = next;
    }
    None
}

/// One direction of a link.
pub(crate) struct Way<'a> {
    /// Who tells, and its name.
    pub(crate) from: (&'a Core<'static>, &'a str),
    /// Who hears, and its name.
    pub(crate) to: (&'a Core<'static>, &'a str),
    /// What the latter lets pass.
    pub(crate) policy: &'a PolicyPlan,
    /// It is to the north of the former.
    pub(crate) up: bool,
}

impl Way<'_> {
    /// What is wrong about a service; none if nothing is.
    pub(crate) fn disagreement(&self, service: &str) -> Option<String> {
        let taken = (!self.up || self.policy.accept_from_south) && may_pass(&self.policy.import, service);
        let told = self.from.0.tells(service, self.to.1).filter(|_| taken);
        let known = known(self.to.0, service, self.from.1);
        (told != known).then(|| {
            let (from, to) = (self.from.1, self.to.1);
            format!("{from} tells {to} of {service}: {told:?}, and what it knows is {known:?}")
        })
    }
}
