//! What the tables hold: one slot type each, with the links that put it into lists, trees and the timer heap.
//!
//! A slot holds metadata only. Its place in the timer heap and the dirty queue is by entity number (`Tables`).

mod delivery;
mod message;
mod peer;
mod registry;
mod relay;
mod reservation;

pub use delivery::Delivery;
pub(crate) use delivery::{DeliveryOut, Keeping, Source, Stage};
pub(crate) use message::{COPIES, Copies, Copy, CopyState, Holder, MessageOut, Writing, any_live};
pub use message::{Message, State};
pub(crate) use peer::{Direction, PeerOut};
pub use peer::{Peer, Route, Rule};
pub use registry::{Consumer, Service, Take};
pub use relay::Relay;
pub(crate) use relay::{Passing, RelayOut};
pub use reservation::Reservation;

/// Markers: which of its lists a slot's links belong to.
#[derive(Debug)]
pub(crate) struct OfState;
/// In its consumer's list.
#[derive(Debug)]
pub(crate) struct OfConsumer;
/// In its peer's list.
#[derive(Debug)]
pub(crate) struct OfPeer;
/// In its service's list.
#[derive(Debug)]
pub(crate) struct OfService;
/// Among the consumers of a service that have room and a waiting take.
#[derive(Debug)]
pub(crate) struct Hungry;
/// Among the peers that were declined and are to be invited when a reservation comes free.
#[derive(Debug)]
pub(crate) struct Starved;
/// In the order in which they are served.
#[derive(Debug)]
pub(crate) struct ByRank;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::format;
    use std::string::String;

    fn table<T: core::fmt::Debug + core::marker::Copy>(all: &[T], may: impl Fn(T, T) -> bool) -> String {
        let mut text = String::new();
        for &from in all {
            let next: std::vec::Vec<_> = all
                .iter()
                .filter(|&&to| may(from, to))
                .map(|to| format!("{to:?}"))
                .collect();
            text += &format!("{from:?} -> {}\n", next.join(" "));
        }
        text
    }

    /// A changed transition can't slip by.
    #[test]
    fn the_transition_tables_are_these() {
        assert_eq!(
            table(&State::ALL, State::may_become),
            "Storing -> Delayed Waiting Settling\n\
             Recovering -> Delayed Waiting Granted Settling\n\
             Delayed -> Waiting Granted Settling\n\
             Waiting -> Offered Granting Granted Settling Aside\n\
             Offered -> Waiting Granting Granted Settling Aside\n\
             Granting -> Waiting Granted Settling\n\
             Granted -> Waiting Granted Settling\n\
             Settling -> Settled\n\
             Settled -> Deleting\n\
             Deleting -> \n\
             Aside -> Waiting\n"
        );
        assert_eq!(
            table(&Stage::ALL, Stage::may_become),
            "Claiming -> Fetching Ready Over\n\
             Fetching -> Ready Over\n\
             Ready -> Held Answering Over\n\
             Held -> Answering Over\n\
             Answering -> Held Over\n\
             Over -> \n"
        );
    }
}
