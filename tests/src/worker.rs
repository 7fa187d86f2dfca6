//! A `redlink serve` process.

use crate::process::{Process, redlink};
use crate::{Node, until};
use std::path::PathBuf;

/// A worker at a node. Dropping it kills it.
#[derive(Debug)]
pub struct Worker {
    /// Its process.
    pub process: Process,
    /// Its consumer's name.
    pub name: String,
}

impl Worker {
    /// Starts `redlink serve SERVICE --name NAME FLAG… -- COMMAND…` in the node's directory, and waits until the node
    /// has it registered.
    ///
    /// # Panics
    /// It does not get there.
    #[track_caller]
    pub fn start(node: &Node, service: &str, name: &str, flags: &[&str], command: &[&str]) -> Self {
        let line = ["serve", service, "--verbose", "--name", name];
        let line = line.iter().chain(flags).chain(&["--"]).chain(command);
        let log: PathBuf = node.dir().join(format!("{name}.log"));
        let mut process = Process::start(name, redlink(node.dir(), line), &log);
        until(&format!("{name} to serve {service}"), || {
            if let Some(status) = process.ended() {
                panic!("{name} ended with {status}:\n{}", process.output());
            }
            let consumers = node.json("/v1/consumers");
            let mut all = consumers.as_array().into_iter().flatten();
            all.any(|c| c["service"] == service && c["name"] == name)
                .then_some(())
        });
        Self {
            process,
            name: name.to_owned(),
        }
    }

    /// A worker that runs a shell script with the payload on standard input.
    ///
    /// # Panics
    /// It does not get there.
    #[track_caller]
    pub fn script(node: &Node, service: &str, name: &str, flags: &[&str], script: &str) -> Self {
        Self::start(node, service, name, flags, &["sh", "-c", script])
    }
}
