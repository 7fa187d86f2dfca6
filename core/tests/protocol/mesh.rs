//! Many real cores: routes that follow the hierarchy (P8), and messages over many links.

use super::net::Mesh;
use redlink_core::{Duration, Input, Outcome, Policy, Terms};
use std::collections::BTreeSet;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn set<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

/// The published example: S1 does not join what is behind S10 with what is behind S11.
#[test]
fn isolation() {
    let mut mesh = Mesh::new(
        &["S1", "S2", "S3", "S10", "S11", "S12"],
        &[("S1", "S10"), ("S1", "S11"), ("S2", "S10"), ("S3", "S11")],
    );
    // A consumer is known by its service here, so that each can be asked for by itself.
    for (node, services) in [
        ("S1", &["C1"][..]),
        ("S2", &["C3", "C4"]),
        ("S3", &["C5", "C6"]),
        ("S12", &["C2", "C4", "C5"]),
    ] {
        for service in services {
            mesh.worker(node, service);
        }
    }
    mesh.run(secs(2));
    let all = ["C1", "C2", "C3", "C4", "C5", "C6"];
    for (from, reached) in [
        ("S1", &["C1", "C3", "C4", "C5", "C6"][..]),
        ("S10", &["C1", "C3", "C4"]),
        ("S11", &["C1", "C5", "C6"]),
        ("S2", &["C1", "C3", "C4"]),
        ("S3", &["C1", "C5", "C6"]),
        ("S12", &["C2", "C4", "C5"]),
    ] {
        assert_eq!(mesh.reach(from, &all, secs(3)), set(reached), "from {from}");
    }
    assert_eq!(mesh.faults(), []);
}

const HIGH: [&str; 6] = ["S1", "S2", "S10", "S11", "S20", "S21"];
const HIGH_LINKS: [(&str, &str); 9] = [
    ("S1", "S10"),
    ("S1", "S11"),
    ("S10", "S20"),
    ("S10", "S11"),
    ("S10", "S21"),
    ("S11", "S21"),
    ("S20", "S21"),
    ("S20", "S11"),
    ("S2", "S20"),
];

fn high() -> Mesh {
    let mut links = HIGH_LINKS.to_vec();
    links.push(("S2", "S21"));
    let mut mesh = Mesh::new(&HIGH, &links);
    for (node, service) in [("S1", "C1"), ("S1", "C2"), ("S2", "C3"), ("S2", "C4")] {
        mesh.worker(node, service);
    }
    mesh.run(secs(2));
    mesh
}

/// The published example of high availability: any one transit node dies, calls go on.
#[test]
fn any_transit_node_may_die() {
    for dead in ["S10", "S11", "S20", "S21"] {
        let mut mesh = high();
        mesh.kill(dead);
        mesh.run(secs(1));
        assert_eq!(
            mesh.reach("S1", &["C3", "C4"], secs(5)),
            set(&["C3", "C4"]),
            "without {dead}"
        );
        assert_eq!(
            mesh.reach("S2", &["C1", "C2"], secs(5)),
            set(&["C1", "C2"]),
            "without {dead}"
        );
        assert_eq!(mesh.faults(), []);
    }
}

#[test]
fn any_link_may_be_cut() {
    for (south, north) in HIGH_LINKS {
        let mut mesh = high();
        mesh.cut(south, north);
        assert_eq!(
            mesh.reach("S1", &["C3", "C4"], secs(5)),
            set(&["C3", "C4"]),
            "without {south}-{north}"
        );
        assert_eq!(
            mesh.reach("S2", &["C1", "C2"], secs(5)),
            set(&["C1", "C2"]),
            "without {south}-{north}"
        );
        mesh.restore(south, north);
        mesh.run(secs(1));
        assert_eq!(mesh.reach("S1", &["C3"], secs(5)), set(&["C3"]));
    }
}

/// A call is under way when the node in its path dies: it still ends in time, by another path.
#[test]
fn a_message_in_flight_finds_another_path() {
    for dead in ["S10", "S11", "S20", "S21"] {
        let mut mesh = high();
        let terms = Terms {
            ett: Some(secs(60)),
            ..Terms::default()
        };
        let sequence = mesh.node("S1").submit("C3", terms, b"abc");
        mesh.run(secs(1));
        // The worker holds it now.
        mesh.kill(dead);
        mesh.run(secs(1));
        for _ in 0..70 {
            mesh.work();
            mesh.run(secs(1));
        }
        assert_eq!(
            mesh.node("S1").outcome(sequence),
            Some(Outcome::Replied),
            "without {dead}"
        );
    }
}

/// A chain of the longest allowed length works, a longer one does not, and nothing loops.
#[test]
fn the_hop_limit_holds() {
    let names = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"];
    let links: Vec<_> = names.windows(2).map(|two| (two[0], two[1])).collect();
    let mut mesh = Mesh::new(&names, &links);
    mesh.worker("A", "s");
    mesh.run(secs(2));
    assert_eq!(mesh.reach("B", &["s"], secs(3)), set(&["s"]));
    assert_eq!(mesh.reach("I", &["s"], secs(3)), set(&["s"]));
    assert_eq!(mesh.reach("J", &["s"], secs(3)), set(&[]));
}

/// Three norths in a ring, which is a mistake of whoever set it up: bounded, no storm, and what can work works.
#[test]
fn a_ring_of_norths_is_bounded() {
    let mut mesh = Mesh::new(
        &["A", "B", "C", "S"],
        &[("A", "B"), ("B", "C"), ("C", "A"), ("S", "A")],
    );
    mesh.worker("S", "s");
    mesh.run(secs(5));
    assert_eq!(mesh.reach("B", &["s"], secs(3)), set(&["s"]));
    assert_eq!(mesh.reach("C", &["s"], secs(3)), set(&["s"]));
    let before = mesh.frames;
    mesh.run(secs(60));
    let idle = mesh.frames - before;
    assert!(idle < 200, "{idle} frames in an idle minute");
    // Whoever would close the ring says so, once.
    let told: Vec<_> = ["A", "B", "C", "S"]
        .into_iter()
        .map(|name| mesh.node(name).told.cycles.len())
        .collect();
    assert_eq!(told, [0, 0, 1, 0]);
}

/// What is no ring is not called one.
#[test]
fn redundant_ways_are_no_ring() {
    let mut mesh = high();
    mesh.worker("S10", "C5");
    mesh.worker("S20", "C6");
    mesh.run(secs(5));
    for node in HIGH {
        assert_eq!(mesh.node(node).told.cycles, [], "{node}");
    }
}

/// Two nodes that dial each other are a ring of two: the first link stays.
#[test]
fn a_ring_of_two_keeps_its_first_link() {
    let mut mesh = Mesh::new(&["A", "B"], &[("A", "B")]);
    mesh.worker("B", "s");
    mesh.run(secs(1));
    for (me, peer, dialled) in [("A", "n2", false), ("B", "n1", true)] {
        mesh.node(me).must(redlink_core::Input::LinkUp {
            link: redlink_core::LinkId(99),
            peer,
            dialled,
            policy: Policy::default(),
        });
    }
    mesh.run(secs(1));
    assert_eq!(mesh.faults(), [redlink_core::Fault::BothDial; 2]);
    assert_eq!(mesh.reach("A", &["s"], secs(3)), set(&["s"]));
}

/// What a full table had no room for is asked for again when there is some.
#[test]
fn what_was_missed_is_announced_again() {
    let mut mesh = Mesh::new(&["A", "B"], &[("A", "B")]);
    // A's table has 16 places for services, and A takes one itself.
    mesh.worker("A", "own");
    let names: Vec<String> = (0..16).map(|n| format!("s{n}")).collect();
    for name in &names {
        mesh.worker("B", name);
    }
    mesh.run(secs(1));
    let known = |mesh: &mut Mesh| {
        let services = mesh.node("A").core.services();
        services.filter(|s| s.peers > 0).count()
    };
    assert_eq!(known(&mut mesh), 15);
    mesh.node("A").must(redlink_core::Input::Unregister {
        service: "own",
        consumer: "w",
    });
    mesh.run(secs(1));
    assert_eq!(known(&mut mesh), 16);
    // It is asked for once, not again and again.
    let before = mesh.frames;
    mesh.run(secs(60));
    assert!(mesh.frames - before < 30, "{} frames", mesh.frames - before);
}

/// What is told takes no place in the table of routes, however many are told of however much.
#[test]
fn telling_takes_no_place() {
    // A table of 64 routes at A, 14 services, and five peers that are told of each.
    let names = ["A", "B", "C", "D", "E", "F"];
    let links: Vec<_> = names[1..].iter().map(|name| (*name, "A")).collect();
    let mut mesh = Mesh::new(&names, &links);
    for n in 0..14 {
        mesh.worker("A", &format!("s{n}"));
    }
    mesh.run(secs(1));
    for name in &names[1..] {
        let known = mesh.node(name).core.services().filter(|s| s.peers == 1);
        assert_eq!(known.count(), 14, "{name}");
    }
    assert_eq!(mesh.node("A").core.usage().routes, 0);
}

/// A service that is gone is forgotten everywhere.
#[test]
fn a_withdrawal_reaches_everyone() {
    let mut mesh = high();
    for node in HIGH {
        assert!(
            mesh.node(node).core.services().any(|s| s.name.as_str() == "C3"),
            "{node} knows it"
        );
    }
    mesh.node("S2").must(redlink_core::Input::Unregister {
        service: "C3",
        consumer: "w",
    });
    mesh.run(Duration::from_millis(10));
    for node in HIGH {
        assert!(
            !mesh.node(node).core.services().any(|s| s.name.as_str() == "C3"),
            "{node} has forgotten it"
        );
    }
}

/// What a link does not redistribute stays north of its node; what is not accepted from the south stays there.
#[test]
fn policies_hold() {
    let links = [("S", "T"), ("T", "N")];
    let mut mesh = Mesh::new(&["S", "T", "N"], &links);
    mesh.worker("N", "north");
    mesh.worker("S", "south");
    mesh.run(secs(1));
    assert_eq!(mesh.reach("S", &["north"], secs(2)), set(&["north"]));
    assert_eq!(mesh.reach("N", &["south"], secs(2)), set(&["south"]));
    let keep = Policy {
        redistribute: false,
        ..Policy::default()
    };
    mesh.set_policy("T", "N", keep);
    mesh.run(secs(1));
    assert_eq!(mesh.reach("T", &["north"], secs(2)), set(&["north"]));
    assert_eq!(mesh.reach("S", &["north"], secs(2)), set(&[]));
    let refuse = Policy {
        accept_from_south: false,
        ..Policy::default()
    };
    mesh.set_policy("T", "N", refuse);
    mesh.run(secs(1));
    assert_eq!(mesh.reach("S", &["north"], secs(2)), set(&["north"]));
    assert_eq!(mesh.reach("N", &["south"], secs(2)), set(&[]));
}

/// P12: what a link may tell or carry binds all that comes through it.
#[test]
fn service_filters_hold() {
    let links = [("S", "T"), ("U", "T"), ("T", "N")];
    let mut mesh = Mesh::new(&["S", "U", "T", "N"], &links);
    for service in ["jobs.a", "jobs.b", "other"] {
        mesh.worker("N", service);
        mesh.worker("S", &format!("s-{service}"));
    }
    mesh.run(secs(1));
    let all = ["jobs.a", "jobs.b", "other", "s-jobs.a", "s-jobs.b", "s-other"];
    assert_eq!(mesh.reach("U", &all, secs(3)), set(&all));
    // T tells S of some services only; what it knows itself and tells U stays.
    let told = Policy {
        export: "!jobs.b jobs.*",
        ..Policy::default()
    };
    mesh.set_policy_of("T", "S", told);
    mesh.run(secs(1));
    assert_eq!(mesh.reach("S", &all[..3], secs(3)), set(&["jobs.a"]));
    assert_eq!(mesh.reach("U", &all[..3], secs(3)), set(&all[..3]));
    // T takes some services of S only, and so nobody beyond learns of the others.
    let taken = Policy {
        import: "!s-o*",
        ..Policy::default()
    };
    mesh.set_policy_of("T", "S", taken);
    mesh.run(secs(1));
    for node in ["T", "U", "N"] {
        assert_eq!(
            mesh.reach(node, &all[3..], secs(3)),
            set(&["s-jobs.a", "s-jobs.b"]),
            "from {node}"
        );
    }
    assert_eq!(mesh.reach("S", &all[..3], secs(3)), set(&all[..3]));
    assert_eq!(mesh.faults(), []);
}

/// What the mesh needs for itself passes whatever the policies are; the hierarchy binds it all the same.
#[test]
fn no_policy_keeps_the_meshs_own_services_back() {
    let links = [("S", "T"), ("T", "N"), ("T", "M")];
    let mut mesh = Mesh::new(&["S", "T", "N", "M"], &links);
    for (service, node) in [("redlink:authority", "N"), ("redlink:below", "S"), ("other", "N")] {
        mesh.worker(node, service);
    }
    let closed = Policy {
        redistribute: false,
        accept_from_south: false,
        import: "!*",
        export: "!*",
    };
    for (south, north) in links {
        mesh.set_policy(south, north, closed);
    }
    mesh.run(secs(1));
    let all = ["redlink:authority", "redlink:below", "other"];
    assert_eq!(mesh.reach("S", &all, secs(3)), set(&all[..2]));
    assert_eq!(mesh.reach("N", &all, secs(3)), set(&all));
    // What comes from one north is not told to another.
    assert_eq!(mesh.reach("M", &all, secs(3)), set(&["redlink:below"]));
}

/// A policy counts from its link on, before the peer has said anything; what waits meanwhile goes elsewhere.
#[test]
fn a_stricter_policy_takes_back_what_was_told() {
    let mut mesh = Mesh::new(&["S", "N"], &[("S", "N")]);
    mesh.worker("S", "s");
    mesh.run(secs(1));
    let sequence = mesh.node("N").submit("s", Terms::default(), b"abc");
    mesh.run(secs(1));
    let strict = Policy {
        import: "!*",
        ..Policy::default()
    };
    let link = redlink_core::LinkId(1_000);
    mesh.node("N").must(redlink_core::Input::LinkUp {
        link,
        peer: "n1",
        dialled: false,
        policy: strict,
    });
    let view = mesh.node("N").core.services().next().map(|s| s.peers);
    assert_eq!(view, Some(0), "the route over the older link is gone at once");
    assert_eq!(mesh.node("N").outcome(sequence), None);
}

/// Rules that there is no room for, or that are none, are refused, and nothing has changed.
#[test]
fn bad_policies_are_refused() {
    use redlink_core::{Bound, Input, LinkId, NameError, Refused};
    let mut mesh = Mesh::new(&["N"], &[]);
    let up = |import| Input::LinkUp {
        link: LinkId(7),
        peer: "x",
        dialled: false,
        policy: Policy {
            import,
            ..Policy::default()
        },
    };
    let node = mesh.node("N");
    let now = node.now;
    assert_eq!(
        node.core.handle_input(now, up("a b c d e f g h i")),
        Err(Refused::Full(Bound::Rules))
    );
    assert_eq!(
        node.core.handle_input(now, up("a ! b")),
        Err(Refused::Name(NameError::Empty))
    );
    assert_eq!(node.core.usage().peers, 0);
    node.must(up("a b c d e f g h"));
}

/// A large payload and a large reply go through transit nodes, which keep neither.
#[test]
fn large_payloads_pass() {
    let mut mesh = Mesh::new(&["S", "T", "N"], &[("S", "T"), ("T", "N")]);
    mesh.worker("N", "s");
    mesh.run(secs(1));
    let payload = vec![7; 100_000];
    let sequence = mesh.node("S").submit("s", Terms::default(), &payload);
    mesh.run(secs(1));
    assert_eq!(mesh.work(), 1);
    mesh.run(secs(1));
    assert_eq!(mesh.node("S").outcome(sequence), Some(Outcome::Replied));
    assert_eq!(
        mesh.node("S").disk.outcomes[&sequence].body.as_deref(),
        Some(&payload[..])
    );
    let transit = mesh.node("T");
    assert!(transit.bodies.is_empty(), "P9: nothing stays");
    assert_eq!(transit.core.usage().relays, 0);
    assert_eq!(
        transit.disk.messages.len() + transit.disk.outcomes.len() + transit.disk.replies.len(),
        0
    );
}

/// The node between gives a payload on as it begins to come. If it breaks off, both sides hear of it at once, and the
/// message goes again.
#[test]
fn a_payload_that_breaks_off_while_it_passes_goes_again() {
    let mut mesh = Mesh::new(&["S", "T", "N"], &[("S", "T"), ("T", "N")]);
    mesh.worker("N", "s");
    mesh.run(secs(1));
    let payload = vec![7; 100_000];
    mesh.slow = Some("N");
    let sequence = mesh.node("S").submit("s", Terms::default(), &payload);
    mesh.run(secs(1));
    let [(_, token, part, _)] = mesh.node("N").fetches[..] else {
        panic!("N gets it from T")
    };
    assert_eq!(mesh.node("T").bodies.len(), 1);
    let broken = Input::Fetched {
        token,
        part,
        body: None,
    };
    mesh.node("T").must(broken);
    assert!(mesh.node("T").bodies.is_empty());
    mesh.run(Duration::from_millis(10));
    // Not at the end of a lease: the next attempt is under way.
    let next = mesh
        .node("N")
        .fetches
        .last()
        .map(|(_, token, ..)| token.fence.attempt);
    assert_eq!(next, Some(2));
    mesh.slow = None;
    mesh.run(secs(1));
    assert_eq!(mesh.work(), 1);
    mesh.run(secs(1));
    assert_eq!(mesh.node("S").outcome(sequence), Some(Outcome::Replied));
}

/// A reply takes longer than it takes its node to say it again: that cuts off nothing that moves. One that has stopped is
/// gone for anew.
#[test]
fn a_reply_that_is_said_again_does_not_begin_again_while_it_moves() {
    let mut mesh = Mesh::new(&["S", "T", "N"], &[("S", "T"), ("T", "N")]);
    mesh.worker("N", "s");
    mesh.run(secs(1));
    let payload = vec![7; 100_000];
    let sequence = mesh.node("S").submit("s", Terms::default(), &payload);
    mesh.run(secs(1));
    mesh.slow = Some("S");
    assert_eq!(mesh.work(), 1);
    mesh.run(secs(1));
    let [(_, token, part, _)] = mesh.node("S").fetches[..] else {
        panic!("S gets it from T")
    };
    let passing: Vec<u64> = mesh.node("T").bodies.keys().copied().collect();
    for _ in 0..35 {
        for node in ["T", "S"] {
            mesh.node(node).must(Input::Progress { token });
        }
        mesh.run(secs(1));
    }
    let now: Vec<u64> = mesh.node("T").bodies.keys().copied().collect();
    assert_eq!((now, passing.len()), (passing, 1), "what moved was dropped");
    assert_eq!(mesh.node("S").fetches.len(), 1);
    // It breaks, on both hops; the reply is said again, and passes.
    let broken = Input::Fetched {
        token,
        part,
        body: None,
    };
    for node in ["T", "S"] {
        mesh.node(node).fetches.clear();
        mesh.node(node).must(broken);
    }
    assert!(mesh.node("T").bodies.is_empty());
    mesh.slow = None;
    mesh.run(secs(11));
    assert_eq!(mesh.node("S").outcome(sequence), Some(Outcome::Replied));
    assert!(mesh.node("T").bodies.is_empty(), "P9: nothing stays");
}
