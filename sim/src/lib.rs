//! Many Redlink cores in virtual time, from one seed.
//!
//! A run draws a mesh, its people and its faults from a seed, drives real cores over simulated links and disks, checks
//! the project's promises from outside after every event, then repairs everything and requires that all work gets
//! done. Nothing in here reads a clock, starts a thread, iterates in hash order or draws a number that the seed does
//! not fix; the command line (`main.rs`) may look at the clock to know when to stop.
//!
//! Enter at [`run::run`]. `world` says what happens next, `host`, `store`, `net`, `people` and `producers` what happens
//! then,
//! `faults` what goes wrong, `check` what must hold. Enter at [`balance::run`] to measure how long messages take.

pub mod balance;
mod check;
mod disk;
mod faults;
mod host;
mod liar;
pub mod log;
pub mod mesh;
mod net;
mod outputs;
mod people;
mod producers;
mod quiet;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod shrink;
mod store;
mod straight;
mod ways;
mod world;

pub use check::{Class, Violation};
