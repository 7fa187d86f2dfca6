//! What a node tells its peers of services, and when: all that makes a difference to them, once, and nothing else (P8).

use super::hub::{Hub, announce, name, offer};
use super::support::small;
use redlink_core::wire::Frame;
use redlink_core::{Capacity, Duration, Input, NodeId, Policy, Terms};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// So many peers are linked, all to the south, and have been told what there was.
fn star(peers: u64, capacity: Capacity) -> Hub {
    let mut hub = Hub::new(capacity);
    for peer in 1..=peers {
        hub.up(peer, false);
    }
    hub.sent();
    hub
}

fn roomy() -> Capacity {
    Capacity {
        // More than a window: no announcement is short.
        reservations: 512,
        ..small()
    }
}

fn register(service: &str) -> Input<'_> {
    Input::Register {
        service,
        consumer: "w",
        limit: 1,
        lease: Duration::from_secs(60),
        rate: None,
    }
}

fn unregister(service: &str) -> Input<'_> {
    Input::Unregister {
        service,
        consumer: "w",
    }
}

/// To a peer, of a service, the nodes behind the hub; or that there are none.
fn way(peer: u64, service: &str, nodes: &[u64]) -> (u64, String, Option<Vec<u64>>) {
    (peer, service.to_owned(), Some(nodes.to_vec()))
}

fn withdrawal(peer: u64, service: &str) -> (u64, String, Option<Vec<u64>>) {
    (peer, service.to_owned(), None)
}

#[test]
fn who_announces_a_service_hears_of_the_others_way_to_it() {
    let mut hub = star(3, roomy());
    hub.announces(1, "s", &[], 256);
    assert_eq!(hub.ways(), [way(2, "s", &[1]), way(3, "s", &[1])]);
    // The second way is worth telling only to whom the first one belongs.
    hub.announces(2, "s", &[], 256);
    assert_eq!(hub.ways(), [way(1, "s", &[2])]);
    // A third one to nobody.
    hub.announces(3, "s", &[], 256);
    assert_eq!(hub.ways(), []);
    hub.withdraws(1, "s");
    assert_eq!(hub.ways(), [way(2, "s", &[3]), way(3, "s", &[2])]);
    hub.withdraws(2, "s");
    assert_eq!(hub.ways(), [way(1, "s", &[3]), withdrawal(3, "s")]);
    hub.down(3);
    assert_eq!(hub.ways(), [withdrawal(1, "s"), withdrawal(2, "s")]);
    assert_eq!(hub.services(), [""; 0]);
}

/// What changes is told to those for whom it was, or becomes, the nearest way or the widest window.
#[test]
fn a_change_is_told_to_whom_it_makes_a_difference() {
    let mut hub = star(4, roomy());
    hub.announces(1, "s", &[], 100);
    hub.announces(2, "s", &[9], 50);
    hub.sent();
    // A window that is not the widest, of a way that is not the nearest: only the first one has no other.
    hub.announces(2, "s", &[9], 60);
    assert_eq!(hub.ways(), [way(1, "s", &[2, 9])]);
    // Wider than the nearest: all hear of it, by the nearest way.
    hub.announces(2, "s", &[9], 200);
    assert_eq!(
        hub.ways(),
        [way(1, "s", &[2, 9]), way(3, "s", &[1]), way(4, "s", &[1])]
    );
    // It was the widest.
    hub.announces(2, "s", &[9], 70);
    assert_eq!(
        hub.ways(),
        [way(1, "s", &[2, 9]), way(3, "s", &[1]), way(4, "s", &[1])]
    );
    // The nearest way becomes the longest.
    hub.announces(1, "s", &[7, 8], 60);
    assert_eq!(
        hub.ways(),
        [
            way(2, "s", &[1, 7, 8]),
            way(3, "s", &[2, 9]),
            way(4, "s", &[2, 9])
        ]
    );
    // It leads through another, which is news to whom it is told.
    hub.announces(1, "s", &[4, 8], 60);
    assert_eq!(hub.ways(), [way(2, "s", &[1, 4, 8])]);
    // Said again.
    hub.announces(1, "s", &[4, 8], 60);
    assert_eq!(hub.ways(), []);
}

/// Own consumers are nearer than any others: while there are some, nobody is told of other ways.
#[test]
fn own_consumers_are_all_that_is_told() {
    let mut hub = star(3, roomy());
    hub.node.must(register("s"));
    assert_eq!(hub.ways(), [way(1, "s", &[]), way(2, "s", &[]), way(3, "s", &[])]);
    hub.announces(1, "s", &[], 256);
    hub.withdraws(1, "s");
    hub.announces(1, "s", &[], 256);
    assert_eq!(hub.ways(), []);
    hub.node.must(unregister("s"));
    assert_eq!(
        hub.ways(),
        [withdrawal(1, "s"), way(2, "s", &[1]), way(3, "s", &[1])]
    );
}

/// A service that was told stays known until the withdrawal is out, whatever has become of it; then its slot is as new.
#[test]
fn a_withdrawal_is_not_lost_with_its_service() {
    let mut hub = star(2, roomy());
    hub.node.must(register("s"));
    hub.sent();
    hub.unpolled(unregister("s")).unwrap();
    assert_eq!(hub.services(), ["s"]);
    hub.unpolled(register("t")).unwrap();
    hub.node.drain();
    assert_eq!(
        hub.ways(),
        [
            withdrawal(1, "s"),
            way(1, "t", &[]),
            withdrawal(2, "s"),
            way(2, "t", &[])
        ]
    );
    assert_eq!(hub.services(), ["t"]);
    // Back before anybody was told that it had gone.
    hub.unpolled(unregister("t")).unwrap();
    hub.unpolled(register("t")).unwrap();
    hub.node.drain();
    assert_eq!(hub.ways(), [way(1, "t", &[]), way(2, "t", &[])]);
}

#[test]
fn nobody_hears_of_a_service_that_is_gone_before_it_was_told() {
    let mut hub = star(2, roomy());
    hub.unpolled(register("s")).unwrap();
    hub.unpolled(unregister("s")).unwrap();
    hub.node.drain();
    assert_eq!(hub.ways(), []);
    assert_eq!(hub.services(), [""; 0]);
    // Nor of the next one that has its slot, until it is there.
    hub.node.must(Input::Take {
        tag: redlink_core::Tag(1),
        service: "t",
        consumer: "w",
        max: 1,
    });
    assert_eq!(hub.ways(), [way(1, "t", &[]), way(2, "t", &[])]);
}

/// A service has the slot of one that was told, and is not told itself: offers of it are declined (P12).
#[test]
fn what_was_told_of_another_service_does_not_count() {
    let mut hub = star(1, roomy());
    hub.node.must(register("s"));
    hub.offers(1, 1, "s", false);
    assert_eq!(hub.node.core.usage().reservations, 1);
    hub.node.must(unregister("s"));
    assert_eq!(hub.node.core.usage().reservations, 0);
    assert_eq!(hub.services(), [""; 0]);
    hub.node.submit("t", Terms::default(), b"abc");
    hub.sent();
    for service in ["s", "t"] {
        hub.offers(1, 2, service, false);
        let declined = Frame::Decline {
            offer: offer(1, 2),
            floor: None,
        };
        assert_eq!(hub.sent(), [(1, declined)], "{service}");
    }
}

/// What was told is void with its session, and what was still to be said as well; the next one hears all.
#[test]
fn a_new_session_is_told_all_anew() {
    let mut hub = star(2, roomy());
    for service in ["s", "t", "u"] {
        hub.node.must(register(service));
    }
    hub.offers(1, 1, "u", false);
    hub.sent();
    hub.unpolled(unregister("t")).unwrap();
    hub.unpolled(register("v")).unwrap();
    hub.down_unpolled(1);
    hub.node.drain();
    assert_eq!(hub.ways(), [withdrawal(2, "t"), way(2, "v", &[])]);
    hub.node.must(unregister("s"));
    hub.node.must(register("w"));
    hub.sent();
    hub.up(1, false);
    assert_eq!(hub.ways(), [way(1, "u", &[]), way(1, "v", &[]), way(1, "w", &[])]);
    // It offers as if nothing had been.
    hub.offers(1, 2, "w", false);
    assert_eq!(hub.node.core.usage().reservations, 1);
}

/// A peer whose table was full has it all told again; not more often than an honest one asks.
#[test]
fn a_peer_that_asks_is_told_all_that_it_was_told() {
    let mut hub = Hub::new(roomy());
    let closed = Policy {
        export: "!secret",
        ..Policy::default()
    };
    hub.up_with(1, false, closed);
    hub.up(2, false);
    for service in ["s", "t", "secret"] {
        hub.node.must(register(service));
    }
    hub.announces(1, "u", &[], 256);
    hub.sent();
    hub.hear(1, &Frame::Refresh);
    assert_eq!(hub.ways(), [way(1, "s", &[]), way(1, "t", &[])]);
    hub.hear(1, &Frame::Refresh);
    assert_eq!(hub.ways(), []);
    hub.node.pass(ms(10_000));
    hub.sent();
    hub.hear(1, &Frame::Refresh);
    assert_eq!(hub.ways(), [way(1, "s", &[]), way(1, "t", &[])]);
}

/// Rules that change while the session is up: what may be told now is told, what may not is withdrawn, and nothing else is said.
#[test]
fn new_rules_change_what_is_told_and_nothing_else() {
    let mut hub = star(2, roomy());
    for service in ["s", "t"] {
        hub.node.must(register(service));
    }
    hub.announces(1, "u", &[], 256);
    hub.sent();
    let rules = |export, import| Policy {
        export,
        import,
        ..Policy::default()
    };
    let mut change = |policy, link| {
        hub.node.must(Input::LinkUp {
            link: redlink_core::LinkId(link),
            peer: "p1",
            dialled: false,
            policy,
        });
        // The hello on the new link is to nobody that the hub knows.
        hub.node.sent.retain(|sent| sent.link.0 < 1_000);
        hub.ways()
    };
    assert_eq!(change(rules("!t", ""), 1_001), [withdrawal(1, "t")]);
    assert_eq!(change(rules("!t", ""), 1_002), []);
    assert_eq!(
        change(rules("!s", "!u"), 1_003),
        [withdrawal(1, "s"), way(1, "t", &[]), withdrawal(2, "u")]
    );
}

/// A north peer's services are told to the south or not, as its link says; that may change.
#[test]
fn what_is_redistributed_may_change() {
    let mut hub = star(1, roomy());
    hub.up(2, true);
    hub.announces(2, "s", &[], 256);
    assert_eq!(hub.ways(), [way(1, "s", &[2])]);
    for (link, redistribute, said) in [
        (1_001, false, withdrawal(1, "s")),
        (1_002, true, way(1, "s", &[2])),
    ] {
        hub.node.must(Input::LinkUp {
            link: redlink_core::LinkId(link),
            peer: "p2",
            dialled: true,
            policy: Policy {
                redistribute,
                ..Policy::default()
            },
        });
        hub.node.sent.retain(|sent| sent.link.0 < 1_000);
        assert_eq!(hub.ways(), [said]);
    }
}

/// The most room that is told at a time is told again when all of it is used up, and not before.
#[test]
fn room_is_told_again_when_it_is_used_up() {
    let mut hub = star(
        1,
        Capacity {
            deliveries: 200,
            ..roomy()
        },
    );
    hub.node.register("s", "w", 100, Duration::from_secs(60));
    hub.node.take("s", "w", 100);
    let room = |hub: &mut Hub| -> Vec<u16> {
        let said = hub.said().into_iter();
        said.filter_map(|(.., said)| Some(said?.2)).collect()
    };
    assert_eq!(room(&mut hub), [0, 64]);
    for sequence in 1..64 {
        hub.offers(1, sequence, "s", true);
    }
    assert_eq!(room(&mut hub), []);
    hub.offers(1, 64, "s", true);
    assert_eq!(room(&mut hub), [36]);
    for sequence in 65..101 {
        hub.offers(1, sequence, "s", true);
    }
    assert_eq!(room(&mut hub), []);
    // One too many waits here, and when there is room again it is claimed: nothing to tell.
    hub.offers(1, 101, "s", true);
    hub.sent();
    hub.node.take("s", "w", 1);
    assert_eq!(room(&mut hub), []);
}

/// The same of room that others have, behind this node.
#[test]
fn room_behind_this_node_is_told_again_when_it_is_used_up() {
    let mut hub = star(2, roomy());
    let Frame::Announce {
        service,
        window,
        path,
        ..
    } = announce(2, "s", &[], 256)
    else {
        panic!("it is one")
    };
    let announce = Frame::Announce {
        service,
        window,
        room: 100,
        path,
    };
    hub.hear(2, &announce);
    assert_eq!(
        hub.said(),
        [(1, "s".to_owned(), Some((vec![Hub::NUMBER, 2], 256, 64)))]
    );
    for sequence in 1..64 {
        hub.offers(1, sequence, "s", true);
    }
    assert_eq!(hub.said(), []);
    hub.offers(1, 64, "s", true);
    assert_eq!(
        hub.said(),
        [(1, "s".to_owned(), Some((vec![Hub::NUMBER, 2], 256, 36)))]
    );
}

/// Thousands of announcements for one peer do not hold up what else there is to say.
#[test]
fn a_long_list_of_news_does_not_hold_up_messages() {
    let capacity = Capacity {
        services: 400,
        routes: 400,
        ..roomy()
    };
    let mut hub = star(2, capacity);
    hub.node.submit("w", Terms::default(), b"abc");
    for n in 0..300 {
        hub.hear_unpolled(2, &announce(2, &format!("s{n}"), &[], 256));
    }
    hub.hear_unpolled(1, &announce(1, "w", &[], 256));
    let frames = hub.poll_frames();
    let offer = frames
        .iter()
        .position(|frame| matches!(frame, Frame::Offer { .. }));
    assert!(offer.expect("it is offered") <= 32, "{offer:?}");
    assert_eq!(
        frames.len(),
        300 + 2,
        "all of it is said: 300 to the first, 1 to the other"
    );
}

/// A full table of reservations invites those that it declined in turn, also if one of them asks for more services.
#[test]
fn places_that_come_free_are_offered_to_peers_in_turn() {
    let capacity = Capacity {
        reservations: 2,
        ..small()
    };
    let mut hub = star(3, capacity);
    for service in ["s", "t", "u", "v"] {
        hub.node.must(register(service));
    }
    // Each announcement was short, so that each place that comes free is told of, one announcement a place.
    hub.sent();
    let mut invited = Vec::new();
    for sequence in 1..=6 {
        hub.offers(1, sequence, "s", false);
        hub.hear(
            1,
            &Frame::Retract {
                offer: offer(1, sequence),
            },
        );
        invited.extend(hub.said().into_iter().map(|(peer, ..)| peer));
    }
    assert_eq!(invited, [1, 2, 3, 1, 2, 3]);
    // Nobody is invited to what is gone.
    for service in ["s", "t", "u"] {
        hub.node.must(unregister(service));
    }
    hub.sent();
    hub.offers(1, 7, "v", false);
    hub.hear(1, &Frame::Retract { offer: offer(1, 7) });
    let said = hub.said();
    assert!(said.iter().all(|(_, service, _)| service == "v"), "{said:?}");
}

/// A table that is full of what was announced asks again when there is a place.
#[test]
fn what_was_announced_in_vain_is_asked_for() {
    let capacity = Capacity { routes: 2, ..roomy() };
    let mut hub = star(2, capacity);
    for service in ["s", "t", "u"] {
        hub.announces(1, service, &[], 256);
    }
    assert_eq!(hub.ways(), [way(2, "s", &[1]), way(2, "t", &[1])]);
    assert_eq!(hub.services(), ["s", "t"]);
    hub.withdraws(1, "s");
    let sent = hub.sent();
    assert!(sent.contains(&(1, Frame::Refresh)), "{sent:?}");
    let withdrawn = Frame::Withdraw { service: name("s") };
    assert!(sent.contains(&(2, withdrawn)), "{sent:?}");
}

/// A ring of norths is found whichever of its links is the last one, also if the service is served here too.
#[test]
fn a_ring_is_found_whatever_closes_it() {
    for own in [false, true] {
        let mut hub = Hub::new(roomy());
        if own {
            hub.node.must(register("s"));
        }
        hub.up(1, false);
        hub.up(9, true);
        hub.announces(1, "s", &[9, 5], 256);
        assert_eq!(hub.node.told.cycles, [NodeId(9)], "own consumers: {own}");
        hub.down(9);
        hub.up(9, true);
        assert_eq!(hub.node.told.cycles, [NodeId(9); 2], "own consumers: {own}");
    }
}

/// A message that one peer declined goes to another that announces the service, whose route has the slot of the first.
#[test]
fn a_decline_does_not_stick_to_the_next_peer() {
    let mut hub = star(2, roomy());
    hub.announces(1, "s", &[], 256);
    let sequence = hub.node.submit("s", Terms::default(), b"abc");
    hub.sent();
    let offer = offer(Hub::NUMBER, sequence);
    hub.hear(1, &Frame::Decline { offer, floor: None });
    hub.withdraws(1, "s");
    hub.announces(2, "s", &[], 256);
    let offered = |(peer, frame): &(u64, Frame)| *peer == 2 && matches!(frame, Frame::Offer { .. });
    assert!(hub.sent().iter().any(offered));
}

/// Those that were told are listed, and those that have announced.
#[test]
fn the_list_shows_each_pair_once() {
    let mut hub = star(3, roomy());
    hub.announces(1, "s", &[], 256);
    hub.announces(2, "s", &[], 256);
    hub.node.must(register("t"));
    hub.offers(3, 1, "t", false);
    for most in [1, 2, 100] {
        let mut from = Some(redlink_core::Cursor::default());
        let mut all = Vec::new();
        while let Some(cursor) = from {
            let (views, next) = hub.node.core.routes_from(cursor, most);
            all.extend(views.map(|v| {
                (
                    v.service.to_string(),
                    v.peer.to_string(),
                    v.window,
                    v.reserved,
                    v.told,
                )
            }));
            from = next;
        }
        all.sort();
        let row = |service: &str, peer: &str, window, reserved| {
            (service.to_owned(), peer.to_owned(), window, reserved, true)
        };
        let wanted = [
            row("s", "p1", Some(256), 0),
            row("s", "p2", Some(256), 0),
            row("s", "p3", None, 0),
            row("t", "p1", None, 0),
            row("t", "p2", None, 0),
            row("t", "p3", None, 1),
        ];
        assert_eq!(all, wanted, "{most} at a time");
    }
}
