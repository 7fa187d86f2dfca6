//! Meshes: families that a seed draws from, and the written-out ones of the published cases.

use crate::check::reach::{Hop, reach};
use crate::rng::Rng;
use crate::scenario::ProducerPlan;
use redlink_core::wire::HOPS;

/// What one end of a link lets pass, as [`redlink_core::Policy`] has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyPlan {
    pub(crate) redistribute: bool,
    pub(crate) accept_from_south: bool,
    pub(crate) import: String,
    pub(crate) export: String,
}

impl Default for PolicyPlan {
    fn default() -> Self {
        Self {
            redistribute: true,
            accept_from_south: true,
            import: String::new(),
            export: String::new(),
        }
    }
}

impl PolicyPlan {
    pub(crate) fn core(&self) -> redlink_core::Policy<'_> {
        redlink_core::Policy {
            redistribute: self.redistribute,
            accept_from_south: self.accept_from_south,
            import: &self.import,
            export: &self.export,
        }
    }

    /// Something that an operator may have set; mostly little of it.
    pub(crate) fn draw(rng: &mut Rng, services: usize) -> Self {
        let some = |rng: &mut Rng| rng.below(services as u64);
        let rules = |rng: &mut Rng| match rng.below(12) {
            0 => format!("!s{}", some(rng)),
            1 => format!("s{}", some(rng)),
            2 => format!("s{} s{}", some(rng), some(rng)),
            3 => format!("!s{} *", some(rng)),
            4 => "s?".to_owned(),
            5 => "!*".to_owned(),
            _ => String::new(),
        };
        Self {
            redistribute: !rng.chance(200),
            accept_from_south: !rng.chance(150),
            import: rules(rng),
            export: rules(rng),
        }
    }
}

/// A mesh that was written out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Written {
    /// S1 dials S10 and S11 and does not join what is behind them.
    Isolation,
    /// Every pair has two ways, whichever transit node or link is gone.
    HighAvailability,
    /// Three nodes of which each is north of the next: a misconfiguration that must stay bounded.
    Ring,
}

/// Names, each with what belongs to it.
type Pairs<T> = &'static [(&'static str, T)];

/// Nodes, their links (south end, north end), and for each service the nodes that have a consumer of it.
pub(crate) struct Layout {
    pub(crate) nodes: Vec<String>,
    pub(crate) links: Vec<(usize, usize)>,
    pub(crate) services: Vec<(String, Vec<usize>)>,
}

impl Layout {
    /// The producers, each with those of its services that its node reaches.
    pub(crate) fn only_what_is_reached(&self, mut producers: Vec<ProducerPlan>) -> Vec<ProducerPlan> {
        let hop = |&(south, north): &(usize, usize)| Hop {
            south,
            north,
            policies: Default::default(),
        };
        let hops: Vec<Hop> = self.links.iter().map(hop).collect();
        for producer in &mut producers {
            producer.services.retain(|&service| {
                let at: Vec<bool> = (0..self.nodes.len())
                    .map(|node| self.services[service].1.contains(&node))
                    .collect();
                reach(self.nodes.len(), &hops, "s", &at).reaches[producer.host]
            });
        }
        producers
    }
}

impl Written {
    /// All of them.
    pub fn all() -> &'static [Self] {
        <Self as clap::ValueEnum>::value_variants()
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        use clap::ValueEnum as _;
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    pub(crate) fn layout(self) -> Layout {
        let (nodes, links, consumers): (&[&str], Pairs<&str>, Pairs<&[&str]>) = match self {
            Self::Isolation => (
                &["S1", "S2", "S3", "S10", "S11", "S12"],
                &[("S1", "S10"), ("S1", "S11"), ("S2", "S10"), ("S3", "S11")],
                &[
                    ("C1", &["S1"]),
                    ("C2", &["S12"]),
                    ("C3", &["S2"]),
                    ("C4", &["S2", "S12"]),
                    ("C5", &["S3", "S12"]),
                    ("C6", &["S3"]),
                ],
            ),
            Self::HighAvailability => (
                &["S1", "S2", "S10", "S11", "S20", "S21"],
                &[
                    ("S1", "S10"),
                    ("S1", "S11"),
                    ("S10", "S20"),
                    ("S10", "S11"),
                    ("S10", "S21"),
                    ("S11", "S21"),
                    ("S20", "S21"),
                    ("S20", "S11"),
                    ("S2", "S20"),
                    ("S2", "S21"),
                ],
                &[("C1", &["S1"]), ("C2", &["S1"]), ("C3", &["S2"]), ("C4", &["S2"])],
            ),
            Self::Ring => (
                &["S1", "S2", "S3"],
                &[("S1", "S2"), ("S2", "S3"), ("S3", "S1")],
                &[("C1", &["S1"]), ("C2", &["S2"]), ("C3", &["S3"])],
            ),
        };
        let number = |name: &str| nodes.iter().position(|node| *node == name).unwrap_or(0);
        Layout {
            nodes: nodes.iter().map(|&node| node.to_owned()).collect(),
            links: links.iter().map(|(s, n)| (number(s), number(n))).collect(),
            services: consumers
                .iter()
                .map(|(service, at)| {
                    (
                        (*service).to_owned(),
                        at.iter().map(|node| number(node)).collect(),
                    )
                })
                .collect(),
        }
    }
}

/// How many nodes: mostly few, because faults are found in small meshes too, and quicker.
pub(crate) fn draw_size(rng: &mut Rng) -> usize {
    (match rng.below(100) {
        0..45 => rng.range(2, 4),
        45..85 => rng.range(3, 7),
        85..97 => rng.range(6, 14),
        _ => rng.range(20, 60),
    }) as usize
}

/// Links of a mesh of a family that the seed chooses: south end, north end. No cycle in them, no pair twice.
pub(crate) fn draw_links(rng: &mut Rng, size: usize) -> (&'static str, Vec<(usize, usize)>) {
    let (name, mut links) = match rng.below(8) {
        // Each node but the first below an earlier one.
        0 => ("tree", below(rng, 1, size, |_, south| (0, south))),
        1 => ("star", (1..size).map(|south| (south, 0)).collect()),
        // Every other node dials both of two roots.
        2 => {
            let roots = 2.min(size);
            let links = (roots..size)
                .flat_map(|south| (0..roots).map(move |north| (south, north)))
                .collect();
            ("dual-homed", links)
        }
        // Two chains beside each other, with rungs.
        3 => {
            let mut links: Vec<(usize, usize)> = (2..size).map(|south| (south, south - 2)).collect();
            links.extend((1..size).step_by(2).map(|south| (south, south - 1)));
            ("ladder", links)
        }
        // As long as a way may be, or longer; what is left hangs off it.
        4 => {
            let long = size.min(HOPS + 2);
            let mut links: Vec<(usize, usize)> = (1..long).map(|south| (south, south - 1)).collect();
            links.extend(below(rng, long, size, |rng, south| {
                (rng.below(long as u64) as usize, south)
            }));
            ("chain", links)
        }
        // Up from one end, down to the other.
        5 => {
            let peak = rng.below(size as u64) as usize;
            let links = (1..size)
                .map(|node| {
                    if node <= peak {
                        (node - 1, node)
                    } else {
                        (node, node - 1)
                    }
                })
                .collect();
            ("ridge", links)
        }
        6 => {
            let mut links = below(rng, 1, size, |_, south| (0, south));
            let more = rng.range(1, size as u64);
            for _ in 0..more {
                let south = rng.range(1, size as u64 - 1) as usize;
                links.push((south, rng.below(south as u64) as usize));
            }
            ("dag", links)
        }
        // Roots that know nothing of each other; each other node is below one or two of them, or of their nodes.
        _ => {
            let roots = rng.range(1, (size as u64 / 2).max(1)) as usize;
            let mut links = below(rng, roots, size, |_, south| (0, south));
            for south in roots..size {
                if rng.chance(400) {
                    links.push((south, rng.below(south as u64) as usize));
                }
            }
            ("roots", links)
        }
    };
    links.sort_unstable();
    links.dedup();
    (name, links)
}

/// One link for each node from `first` on, to a node of the range that `among` gives.
fn below(
    rng: &mut Rng,
    first: usize,
    size: usize,
    among: impl Fn(&mut Rng, usize) -> (usize, usize),
) -> Vec<(usize, usize)> {
    (first..size)
        .map(|south| {
            let (from, to) = among(rng, south);
            (south, rng.range(from as u64, to as u64 - 1) as usize)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which node is above which, however far.
    fn is_above(links: &[(usize, usize)], size: usize) -> Vec<Vec<bool>> {
        let mut above = vec![vec![false; size]; size];
        for _ in 0..size {
            for &(south, north) in links {
                above[south][north] = true;
                let farther = above[north].clone();
                for (mine, far) in above[south].iter_mut().zip(farther) {
                    *mine |= far;
                }
            }
        }
        above
    }

    #[test]
    fn drawn_meshes_have_no_cycle_and_no_link_twice() {
        let mut families = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let mut rng = Rng::new(seed, "test");
            let size = draw_size(&mut rng).min(14);
            let (family, links) = draw_links(&mut rng, size);
            families.insert(family);
            let above = is_above(&links, size);
            for (node, row) in above.iter().enumerate() {
                assert!(!row[node], "{family} of seed {seed}: {links:?}");
            }
            for &(south, north) in &links {
                assert!(
                    south < size && north < size && south != north,
                    "{family} {links:?}"
                );
                assert!(!links.contains(&(north, south)));
                assert_eq!(links.iter().filter(|link| **link == (south, north)).count(), 1);
            }
        }
        assert_eq!(families.len(), 8);
    }

    #[test]
    fn the_ring_is_one() {
        let ring = Written::Ring.layout();
        assert!(
            is_above(&ring.links, 3)
                .iter()
                .enumerate()
                .all(|(node, row)| row[node])
        );
    }
}
