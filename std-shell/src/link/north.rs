//! How the dialling of one north goes, for who wants to see it.

use redlink_core::Name;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a dialler says of its work.
#[derive(Debug, Default)]
pub struct Dialling(Mutex<Known>);

/// What is known of a north that is dialled.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its name, once its certificate has proved one.
    pub peer: Option<Name>,
    /// Why there is no link, or why the last one ended.
    pub error: Option<String>,
    /// When it is dialled again.
    pub again: Option<Instant>,
    /// Links that were made.
    pub links: u64,
    /// Dials that came to no link.
    pub failures: u64,
}

impl Dialling {
    /// What is known now.
    pub fn known(&self) -> Known {
        self.change(|known| known.clone())
    }

    pub(super) fn met(&self, peer: &Name) {
        self.change(|known| known.peer = Some(peer.clone()));
    }

    pub(super) fn linked(&self) {
        self.change(|known| {
            known.error = None;
            known.links += 1;
        });
    }

    pub(super) fn dials(&self) {
        self.change(|known| known.again = None);
    }

    /// `linked` says whether there was a link.
    pub(super) fn failed(&self, why: String, linked: bool, again: Duration) {
        self.change(|known| {
            known.error = Some(why);
            known.again = Instant::now().checked_add(again);
            known.failures += u64::from(!linked);
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
