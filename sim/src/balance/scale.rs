//! A root with many linked nodes and many services, and no load: what its routes take, how long they take to settle, and
//! what an idle link costs.

use super::cores::Cores;
use super::measure::Outside;
use crate::scenario::{MS, SECOND, Time};
use anyhow::{Result, bail};
use redlink_core::{Capacity, Duration, Input, Output};
use std::fmt::Write as _;

/// A mesh without load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Nodes that dial the root.
    pub nodes: u32,
    /// Services, each offered by one of them, spread evenly.
    pub services: u32,
    /// Of all randomness.
    pub seed: u64,
}

/// Between two joins.
const JOIN_EVERY: Time = MS;
/// Until the last one.
const REST: Time = 5 * SECOND;
/// How long the idle mesh is watched.
const IDLE: Time = 60 * SECOND;
/// Longer than any part of this: a consumer that asks for nothing stays.
const LEASE: Duration = Duration::from_secs(60);

/// What was seen.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Seen {
    /// What the root was told: one for each service.
    pub(crate) routes: u32,
    /// Bytes of the root's tables that grow with its peers, services and routes.
    pub(crate) bytes: usize,
    /// Of those the bytes of what it told, and of what there may be to tell: for each service to each peer.
    pub(crate) pairs: usize,
    /// From the last join until the last frame had arrived.
    pub(crate) settled: Time,
    pub(crate) frames: u64,
    pub(crate) frames_before: u64,
    pub(crate) idle_bytes: f64,
    pub(crate) events: u64,
}

/// What the tables of a core take for its peers, services and routes, with their indexes and timers.
fn route_bytes(of: Capacity) -> usize {
    let without = Capacity {
        peers: 0,
        services: 0,
        routes: 0,
        ..of
    };
    of.bytes() - without.bytes()
}

fn capacity(peers: u32, services: u32, routes: u32, consumers: u32) -> Capacity {
    Capacity {
        messages: 16,
        // Less than a window would have every service announced again and again, for what room there is.
        reservations: 512,
        deliveries: 16,
        services,
        consumers,
        takes: consumers,
        peers,
        routes,
        relays: 16,
        rules: 1,
    }
}

fn drain(cores: &mut Cores, node: u32) -> Result<()> {
    match cores.poll(node)? {
        None => Ok(()),
        Some(Output::CloseLink { fault, .. }) => bail!("node {node} closes a link: {fault:?}"),
        Some(other) => bail!("node {node} says {other:?}, where there is no message"),
    }
}

/// Lets everything happen that is due by then.
fn until(cores: &mut Cores, end: Time) -> Result<()> {
    while let Some(at) = cores.next().filter(|&at| at <= end) {
        if let Some(node) = cores.step(at)? {
            drain(cores, node)?;
        }
    }
    cores.now = end;
    Ok(())
}

/// Starts `nodes` nodes, each with consumers of its services; node 0 is the root.
pub(crate) fn measure(options: &Options) -> Result<Seen> {
    let Options {
        nodes,
        services,
        seed,
    } = *options;
    let mut cores = Cores::new(MS, seed, None);
    // Each service is announced to the root by one node; whoever is linked to it hears of every service.
    cores.add(capacity(nodes, services, services, 1))?;
    let each = services.div_ceil(nodes.max(1));
    for _ in 0..nodes {
        cores.add(capacity(1, services, services, each))?;
    }
    for service in 0..services {
        let node = 1 + service % nodes;
        let name = format!("service-{service}");
        let register = Input::Register {
            service: &name,
            consumer: "worker",
            limit: 1,
            lease: LEASE,
            rate: None,
        };
        cores.feed(node, register)?;
        drain(&mut cores, node)?;
        let take = Input::Take {
            tag: redlink_core::Tag(u64::from(service)),
            service: &name,
            consumer: "worker",
            max: 1,
        };
        cores.feed(node, take)?;
        drain(&mut cores, node)?;
    }
    cores.counted = (0, Time::MAX);
    for node in 1..nodes {
        until(&mut cores, Time::from(node) * JOIN_EVERY)?;
        join(&mut cores, node)?;
    }
    // The last one joins a mesh that has come to rest.
    let rest = cores.now + REST;
    until(&mut cores, rest)?;
    let (joined, before) = (cores.now, cores.cost.frames);
    join(&mut cores, nodes)?;
    while cores.busy()
        && let Some(at) = cores.next()
    {
        if let Some(node) = cores.step(at)? {
            drain(&mut cores, node)?;
        }
    }
    let (settled, frames) = (cores.now - joined, cores.cost.frames - before);
    let root = cores.core(0).usage();
    if root.services != services || cores.core(0).counters().routes_full > 0 {
        bail!("the root knows {} of {services} services", root.services)
    }
    for node in 1..=nodes {
        let known = cores.core(node).usage().services;
        if known != services {
            bail!("node {node} knows {known} of {services} services")
        }
    }
    let (now, bytes) = (cores.now, cores.cost.bytes);
    until(&mut cores, now + IDLE)?;
    let idle = (cores.cost.bytes - bytes) as f64 / f64::from(nodes) / (IDLE / SECOND) as f64;
    Ok(Seen {
        routes: root.routes,
        bytes: route_bytes(cores.core(0).capacity()),
        pairs: cores.core(0).capacity().pair_bytes(),
        settled,
        frames,
        frames_before: before,
        idle_bytes: idle,
        events: cores.events,
    })
}

fn join(cores: &mut Cores, node: u32) -> Result<()> {
    cores.link(node, 0)?;
    drain(cores, node)?;
    drain(cores, 0)
}

/// Measures one, and the idle link of two nodes with 1,000 services; says it in words.
///
/// # Errors
/// If a node does not hear of every service, or a core does something that it should not.
pub fn run(options: &Options, outside: &mut Outside<'_>) -> Result<String> {
    let before = (outside.clock)();
    let seen = measure(options)?;
    let seconds = (outside.clock)() - before;
    (outside.tell)(&format!(
        "{} core events in {seconds:.1} s: {:.0}/s",
        seen.events,
        seen.events as f64 / seconds
    ));
    let pair = measure(&Options {
        nodes: 1,
        services: 1_000,
        ..*options
    })?;
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let mut out = String::new();
    // Writing into a string can't fail.
    let _ = writeln!(
        out,
        "a root with {} linked nodes and {} services:",
        options.nodes, options.services
    );
    let _ = writeln!(
        out,
        "  {:.1} MiB of tables for {} routes that it was told, and {} that it told; {:.1} MiB of it for the latter",
        mib(seen.bytes),
        seen.routes,
        u64::from(options.nodes) * u64::from(options.services) - u64::from(seen.routes),
        mib(seen.pairs)
    );
    let _ = writeln!(
        out,
        "  settled {:.1} ms after the last join, {} frames; {} frames for all before",
        seen.settled as f64 / MS as f64,
        seen.frames,
        seen.frames_before
    );
    let _ = writeln!(out, "  idle: {:.1} bytes/s on each link", seen.idle_bytes);
    let _ = writeln!(
        out,
        "an idle link with 1000 services: {:.1} bytes/s",
        pair.idle_bytes
    );
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_settle_in_a_few_round_trips_and_idle_links_are_quiet() {
        let options = Options {
            nodes: 12,
            services: 60,
            seed: 1,
        };
        let seen = measure(&options).unwrap();
        assert!(seen.settled <= 3 * SECOND, "{seen:?}");
        // The newcomer hears of all and tells of its own, which everybody else hears of.
        assert!(seen.frames < 60 + 5 * 12 + 10, "{seen:?}");
        // Each service is announced to the root once, and told once to each node that has not announced it; and for each
        // link there are two hellos and two end marks.
        assert_eq!(
            seen.frames + seen.frames_before,
            60 + 60 * 11 + 12 * 4,
            "{seen:?}"
        );
        assert!(seen.idle_bytes < 1_024.0, "{seen:?}");
        assert_eq!(seen, measure(&options).unwrap());
    }
}
