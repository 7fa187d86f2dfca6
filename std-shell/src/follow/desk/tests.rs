//! What peers can take of a node by asking is bounded, and given back.

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn ticket(number: usize) -> Ticket {
    let mut ticket = Ticket::default();
    ticket[..8].copy_from_slice(&number.to_be_bytes());
    ticket
}

#[test]
fn questions_under_way_are_bounded_for_each_peer_and_in_all() {
    let desk = Desk::new();
    let mut places: Vec<Place> = (0..OF_A_PEER).filter_map(|_| desk.admit(&name("a"))).collect();
    assert_eq!(places.len(), OF_A_PEER);
    assert!(desk.admit(&name("a")).is_none());
    for peer in 0..OF_ALL - OF_A_PEER {
        places.extend(desk.admit(&name(&format!("n{peer}"))));
    }
    assert_eq!(places.len(), OF_ALL);
    assert!(desk.admit(&name("b")).is_none());
    places.remove(0);
    assert!(desk.admit(&name("b")).is_some());
    drop(places);
    assert!(desk.state().under_way.is_empty());
}

#[test]
fn a_ticket_is_new_once_and_the_oldest_are_forgotten() {
    let desk = Desk::new();
    for number in 0..=TICKETS {
        assert!(desk.is_new(ticket(number)));
        assert!(!desk.is_new(ticket(number)));
    }
    assert_eq!(desk.state().known.len(), TICKETS);
    assert!(desk.is_new(ticket(0)));
}

#[test]
fn pieces_come_from_who_was_asked_while_somebody_waits_and_no_more_than_fit() {
    let desk = Desk::new();
    let end = super::wire::put_end(ticket(1));
    desk.piece(ticket(1), &name("a"), end.clone());
    let mut came = desk.open(ticket(1), [name("a"), name("b")].into());
    desk.piece(ticket(1), &name("stranger"), end.clone());
    desk.piece(ticket(2), &name("a"), end.clone());
    assert!(came.try_recv().is_err());
    for _ in 0..PIECES {
        desk.piece(ticket(1), &name("a"), end.clone());
    }
    desk.piece(ticket(1), &name("b"), end.clone());
    assert_eq!(std::iter::from_fn(|| came.try_recv().ok()).count(), PIECES);
    assert_eq!(desk.close(ticket(1)), [name("b")].into());
    desk.piece(ticket(1), &name("a"), end);
    assert!(desk.state().asked.is_empty());
}
