//! All decisions of a Redlink node, as one pure state machine.
//!
//! Nothing in here reads a clock, opens a file or socket, starts a thread, allocates after start or draws a random
//! number that its seed does not fix. A caller feeds [`Input`]s to a [`Core`] and does what its [`Output`]s say.
//! `P1` to `P12` in comments are the project's promises (`ARCHITECTURE.md`).
//!
//! Start reading at [`Core`], [`Input`] and [`Output`]; [`wire`] is what two cores say to each other.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod config;
mod data;
mod engine;
mod id;
mod input;
mod name;
mod output;
mod pattern;
mod rate;
mod time;
pub mod wire;

/// What the tables of a [`Storage`] are made of, for who lends them: an [`Entry`] of each. Nothing in them is for use.
pub mod slots {
    pub use crate::engine::slots::{
        Consumer, Delivery, Message, Peer, Relay, Reservation, Route, Rule, Service, Take,
    };
}

pub use config::{Config, Timing};
pub use data::slab::Entry;
pub use data::slots::Slots;
pub use data::timers::TimerCell;
pub use engine::{
    Capacity, ConsumerView, Core, Counters, Cursor, Deadline, MessageView, PeerView, RouteView, ServiceView,
    State, Storage, Usage, Why,
};
pub use id::{AttemptId, BadId, Boot, ConsumerKey, Fence, GrantToken, MessageId, NodeId, OfferId};
pub use input::{
    Alternate, Attempts, Body, Input, Kept, LinkId, Outcome, Part, Policy, Row, StoredMessage, StoredOutcome,
    StoredReply, Submit, Tag, Terms, Verb,
};
pub use name::{NAME_MAX, Name, NameError, RESERVED};
pub use output::{
    Answered, Attached, Bound, Deliver, Fault, LostWhy, Misuse, Notice, Output, Payload, Refused, StoreOp,
};
pub use pattern::Pattern;
pub use rate::{BadRate, RATE_MAX, Rate};
pub use time::{Duration, Instant};
