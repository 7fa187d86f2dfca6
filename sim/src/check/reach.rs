//! Who may reach which service through whom (P8): a naive model of the route rules.
//!
//! It knows the links, what each of their ends lets pass, and which nodes have consumers; nothing of the cores. Lengths
//! of ways only ever shrink towards their fixpoint, from nothing; nothing is preferred and nothing forgotten.

use crate::mesh::PolicyPlan;
use redlink_core::wire::HOPS;

/// A link of the model: both its ends are up.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) south: usize,
    pub(crate) north: usize,
    /// What the south end lets pass, and the north end.
    pub(crate) policies: [PolicyPlan; 2],
}

/// What `to` hears from `from` over a link.
struct Telling {
    from: usize,
    to: usize,
    /// `from` is north of `to`.
    down: bool,
    /// What `to` thinks of it.
    redistribute: bool,
    /// Links of the shortest way to a consumer, the one to `from` included; none if nothing is told.
    length: Option<usize>,
}

/// For each node whether it reaches a consumer, and how many peers at most tell it that they do.
pub(crate) struct Reach {
    pub(crate) reaches: Vec<bool>,
    pub(crate) peers: Vec<usize>,
}

/// Works it out for one service.
pub(crate) fn reach(nodes: usize, hops: &[Hop], service: &str, consumers: &[bool]) -> Reach {
    let mut tellings = Vec::new();
    for hop in hops {
        let [south, north] = &hop.policies;
        if may_pass(&north.export, service) && may_pass(&south.import, service) {
            tellings.push(Telling {
                from: hop.north,
                to: hop.south,
                down: true,
                redistribute: south.redistribute,
                length: None,
            });
        }
        if north.accept_from_south && may_pass(&south.export, service) && may_pass(&north.import, service) {
            tellings.push(Telling {
                from: hop.south,
                to: hop.north,
                down: false,
                redistribute: true,
                length: None,
            });
        }
    }
    let mut heard: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for (number, telling) in tellings.iter().enumerate() {
        heard[telling.to].push(number);
    }
    loop {
        let mut changed = false;
        for number in 0..tellings.len() {
            let Telling {
                from,
                to,
                down,
                length,
                ..
            } = tellings[number];
            let shortest = if consumers[from] {
                Some(1)
            } else {
                let known = heard[from].iter().map(|&other| &tellings[other]);
                known
                    // Not back; what was heard from the north goes down only, and only if that link redistributes.
                    .filter(|other| other.from != to && (!other.down || (down && other.redistribute)))
                    .filter_map(|other| other.length)
                    .min()
                    .map(|far| far + 1)
                    .filter(|&far| far <= HOPS)
            };
            if shortest.is_some_and(|new| length.is_none_or(|old| new < old)) {
                tellings[number].length = shortest;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let told = |node: usize| {
        heard[node]
            .iter()
            .filter(|&&n| tellings[n].length.is_some())
            .count()
    };
    let peers: Vec<usize> = (0..nodes).map(told).collect();
    Reach {
        reaches: (0..nodes)
            .map(|node| consumers[node] || peers[node] > 0)
            .collect(),
        peers,
    }
}

/// What rules say of a service: the first that matches; where none does, whether all of them deny.
pub(crate) fn may_pass(rules: &str, service: &str) -> bool {
    let mut denials = true;
    for word in rules.split_whitespace() {
        let (allow, pattern) = match word.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, word),
        };
        if matches(pattern.as_bytes(), service.as_bytes()) {
            return allow;
        }
        denials &= !allow;
    }
    denials
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, _) => name.is_empty(),
        (Some((b'*', rest)), None) => matches(rest, name),
        (Some((b'*', rest)), Some((_, shorter))) => matches(rest, name) || matches(pattern, shorter),
        (Some(_), None) => false,
        (Some((p, rest)), Some((n, shorter))) => (*p == b'?' || p == n) && matches(rest, shorter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::Written;

    fn hops(links: &[(usize, usize)]) -> Vec<Hop> {
        let hop = |&(south, north)| Hop {
            south,
            north,
            policies: Default::default(),
        };
        links.iter().map(hop).collect()
    }

    fn at(nodes: usize, consumer: usize) -> Vec<bool> {
        (0..nodes).map(|node| node == consumer).collect()
    }

    /// As the issue of the mesh publishes it.
    #[test]
    fn isolation_is_as_published() {
        let layout = Written::Isolation.layout();
        for (from, reached) in [
            ("S1", "C1 C3 C4 C5 C6"),
            ("S10", "C1 C3 C4"),
            ("S11", "C1 C5 C6"),
            ("S2", "C1 C3 C4"),
            ("S3", "C1 C5 C6"),
            ("S12", "C2 C4 C5"),
        ] {
            let node = layout.nodes.iter().position(|name| name == from).unwrap();
            let all = layout.services.iter().filter(|(_, consumers)| {
                let at: Vec<bool> = (0..6).map(|node| consumers.contains(&node)).collect();
                reach(6, &hops(&layout.links), "s", &at).reaches[node]
            });
            let names: Vec<&str> = all.map(|(name, _)| name.as_str()).collect();
            assert_eq!(names.join(" "), reached, "from {from}");
        }
    }

    #[test]
    fn a_way_has_at_most_so_many_links() {
        let links: Vec<(usize, usize)> = (1..12).map(|south| (south, south - 1)).collect();
        let found = reach(12, &hops(&links), "s", &at(12, 0));
        for node in 0..12 {
            assert_eq!(found.reaches[node], node <= HOPS, "{node}");
        }
    }

    #[test]
    fn each_setting_of_a_link_counts() {
        // 0 is north of 1, which is north of 2.
        let found = |consumer: usize, change: &dyn Fn(&mut Vec<Hop>)| {
            let mut hops = hops(&[(1, 0), (2, 1)]);
            change(&mut hops);
            reach(3, &hops, "s1", &at(3, consumer)).reaches
        };
        assert_eq!(found(0, &|_| {}), [true, true, true]);
        assert_eq!(
            found(0, &|hops| hops[0].policies[0].redistribute = false),
            [true, true, false]
        );
        assert_eq!(
            found(2, &|hops| hops[0].policies[0].redistribute = false),
            [true, true, true]
        );
        assert_eq!(
            found(2, &|hops| hops[0].policies[1].accept_from_south = false),
            [false, true, true]
        );
        assert_eq!(
            found(0, &|hops| hops[0].policies[1].export = "!s1".into()),
            [true, false, false]
        );
        assert_eq!(
            found(0, &|hops| hops[1].policies[0].import = "s2".into()),
            [true, true, false]
        );
        assert_eq!(
            found(0, &|hops| hops[1].policies[0].import = "!s2 s?".into()),
            [true, true, true]
        );
        assert_eq!(
            found(2, &|hops| hops[0].policies[1].import = "!*".into()),
            [false, true, true]
        );
    }
}
