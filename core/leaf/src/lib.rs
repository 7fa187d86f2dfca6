//! A leaf: a whole node on a microcontroller, to show that one fits there and what it takes.
//!
//! It has one peer to the north, over a serial line; it serves `echo`, whose reply is the payload, and submits what
//! its board measures. All its memory is one [`Memory`], lent at start. It has no disk: what it accepts lives as long
//! as it does.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod bodies;
mod line;
mod memory;
mod node;

pub use bodies::BODY_MAX;
pub use memory::{MESSAGES, Memory, PEERS, SERVICES};
pub use node::{Leaf, Progress};
