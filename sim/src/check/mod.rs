//! The promises, checked from outside the cores.
//!
//! Nothing in here looks into a core: a checker knows what went in, what came out, and what is on the simulated disks.
//! [`ledger`] checks what becomes of messages (P1, P2, P3, P6), [`leases`] what consumers hold and [`rates`] what they are handed (P4), [`order`] who is
//! served first (P5), [`reach`] who reaches which service (P8), [`lies`] what a liar may be to blame for (P11). P7 and P9 are checked where refusals and frames pass, P10 by running a seed twice.

pub(crate) mod leases;
pub(crate) mod ledger;
pub(crate) mod lies;
pub(crate) mod order;
pub(crate) mod rates;
pub(crate) mod reach;

use crate::scenario::Time;
use std::fmt;

/// Which kind of promise was broken; it decides the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Something happened that must never happen.
    Safety,
    /// Something that must happen did not.
    Liveness,
    /// The core panicked.
    Crash,
}

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its class.
    pub class: Class,
    /// Which promise, or which rule of the core's contract.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
    /// When, in virtual microseconds.
    pub at: Time,
    /// Number of events before it.
    pub event: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            class,
            rule,
            what,
            at,
            event,
        } = self;
        write!(
            f,
            "{class:?} {rule} at {:.6} s, event {event}: {what}",
            *at as f64 / 1e6
        )
    }
}

/// All checkers, and the first thing that they found.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    pub(crate) ledger: ledger::Ledger,
    pub(crate) leases: leases::Leases,
    pub(crate) rates: rates::Rates,
    pub(crate) order: order::Order,
    pub(crate) lies: lies::Lies,
    pub(crate) found: Option<Violation>,
    pub(crate) now: Time,
    pub(crate) event: u64,
}

impl Checker {
    /// Notes a broken promise; the first one stays.
    pub(crate) fn fail(&mut self, rule: &'static str, what: impl Into<String>) {
        self.fail_as(Class::Safety, rule, what);
    }

    pub(crate) fn fail_as(&mut self, class: Class, rule: &'static str, what: impl Into<String>) {
        if self.found.is_none() {
            self.found = Some(Violation {
                class,
                rule,
                what: what.into(),
                at: self.now,
                event: self.event,
            });
        }
    }

    /// Notes what a checker found, if it found something.
    pub(crate) fn verdict(&mut self, result: Result<(), (&'static str, String)>) {
        if let Err((rule, what)) = result {
            self.fail(rule, what);
        }
    }
}

/// What a checker says: the rule that was broken, and how.
pub(crate) type Verdict = Result<(), (&'static str, String)>;

/// Fails with a rule and a formatted text unless the condition holds.
macro_rules! require {
    ($holds:expr, $rule:literal, $($text:tt)*) => {
        if !$holds {
            return Err(($rule, format!($($text)*)));
        }
    };
}
pub(crate) use require;

#[cfg(test)]
mod tests;
