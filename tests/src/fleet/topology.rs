//! Who dials whom.

use crate::Seed;
use std::collections::BTreeSet;

/// Most nodes on a way, origin and consumer's node among them: eight links.
const NODES_ON_A_WAY: usize = 9;

/// Nodes by name, and who dials whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Their names.
    pub names: Vec<String>,
    /// South and north of each link, as indices of `names`.
    pub links: Vec<(usize, usize)>,
}

impl Topology {
    /// Each node with the norths that it dials.
    ///
    /// # Panics
    /// A north is not among the nodes.
    pub fn written(nodes: &[(&str, &[&str])]) -> Self {
        let names: Vec<String> = nodes.iter().map(|(name, _)| (*name).to_owned()).collect();
        let index = |wanted: &str| {
            let found = names.iter().position(|name| name == wanted);
            found.unwrap_or_else(|| panic!("{wanted} is none of {names:?}"))
        };
        let links = nodes.iter().enumerate();
        let links =
            links.flat_map(|(south, (_, norths))| norths.iter().map(move |north| (south, index(north))));
        let links = links.collect();
        Self { names, links }
    }

    /// A hierarchy without cycles of so many nodes: each but the first dials one earlier node, sometimes two or three,
    /// now and then none.
    pub fn random(seed: &mut Seed, nodes: usize) -> Self {
        let names = (0..nodes).map(|n| format!("n{n}")).collect();
        let mut links = Vec::new();
        for south in 1..nodes {
            let norths = match seed.below(12) {
                // Another top, if somebody can still dial it.
                0 if south + 2 < nodes => 0,
                0..=6 => 1,
                7..=10 => 2,
                _ => 3,
            };
            let mut mine = BTreeSet::new();
            for _ in 0..norths {
                mine.insert(seed.below(south as u64) as usize);
            }
            links.extend(mine.into_iter().map(|north| (south, north)));
        }
        Self { names, links }
    }

    /// The node of that name.
    ///
    /// # Panics
    /// There is none.
    pub fn index(&self, name: &str) -> usize {
        let found = self.names.iter().position(|known| known == name);
        found.unwrap_or_else(|| panic!("no node is called {name}"))
    }

    /// Whether a way leads from one node to another: up, then down, of at most eight links (P8).
    pub fn reaches(&self, from: usize, to: usize) -> bool {
        // Node and whether the way has gone down already, in rings of equal length.
        let mut ring = BTreeSet::from([(from, false)]);
        let mut seen = ring.clone();
        for _ in 1..NODES_ON_A_WAY {
            let mut next = BTreeSet::new();
            for &(at, down) in &ring {
                for &(south, north) in &self.links {
                    if south == at && !down {
                        next.insert((north, false));
                    }
                    if north == at {
                        next.insert((south, true));
                    }
                }
            }
            next.retain(|step| seen.insert(*step));
            ring = next;
        }
        seen.iter().any(|(at, _)| *at == to)
    }
}

impl std::fmt::Display for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, name) in self.names.iter().enumerate() {
            let norths = self.links.iter().filter(|(south, _)| *south == at);
            let norths: Vec<&str> = norths.map(|(_, north)| self.names[*north].as_str()).collect();
            let comma = if at == 0 { "" } else { ", " };
            match norths.is_empty() {
                true => write!(f, "{comma}{name}")?,
                false => write!(f, "{comma}{name} dials {}", norths.join(" and "))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_go_up_then_down() {
        let isolation = Topology::written(&[
            ("s1", &["s10", "s11"]),
            ("s2", &["s10"]),
            ("s10", &[]),
            ("s11", &[]),
            ("s3", &["s11"]),
        ]);
        let reaches = |from, to| isolation.reaches(isolation.index(from), isolation.index(to));
        for (from, to) in [
            ("s1", "s2"),
            ("s2", "s1"),
            ("s1", "s3"),
            ("s10", "s2"),
            ("s2", "s2"),
            ("s2", "s10"),
        ] {
            assert!(reaches(from, to), "{from} to {to}");
        }
        for (from, to) in [("s2", "s3"), ("s3", "s2"), ("s10", "s3"), ("s10", "s11")] {
            assert!(!reaches(from, to), "{from} to {to}");
        }
    }

    #[test]
    fn a_way_has_eight_links_at_most() {
        let names: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        let links = (0..10).map(|n| (n, n + 1)).collect();
        let chain = Topology { names, links };
        assert!(chain.reaches(0, 8) && chain.reaches(8, 0));
        assert!(!chain.reaches(0, 9));
    }

    #[test]
    fn a_random_one_has_no_cycle_and_can_be_had_again() {
        for number in 1..200 {
            let drawn = Topology::random(&mut Seed::new(number), 3 + number as usize % 10);
            assert!(drawn.links.iter().all(|(south, north)| north < south), "{drawn}");
            let again = Topology::random(&mut Seed::new(number), 3 + number as usize % 10);
            assert_eq!(drawn, again);
        }
    }
}
