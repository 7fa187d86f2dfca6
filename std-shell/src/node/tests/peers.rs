//! Peers that come, change and go while nodes run.

use super::*;
use crate::config::{FILE, Rules};
use crate::driver::{PeerInfo, Wanted};
use crate::peers::{PeerError, Wish};
use redlink_core::{Cursor, Name};

async fn peer(node: &Node, name: &str) -> Option<PeerInfo> {
    let peers = node.peers().list().await;
    peers.into_iter().find(|peer| peer.name.as_deref() == Some(name))
}

/// Waits until a node reaches a service over a link, or does not any more.
async fn reaches(node: &Node, service: &str, wanted: bool) {
    until(service, async || {
        let services = node.handle().services().await;
        let found = services.iter().find(|s| s.name == service);
        found.is_some_and(|s| s.peers > 0) == wanted
    })
    .await;
}

async fn serve(node: &Node, service: &str) {
    let lease = Duration::from_secs(30);
    node.handle()
        .register(service, "w", 1, lease, None)
        .await
        .unwrap();
}

fn rules(list: &[&str]) -> Option<Rules> {
    Some(Rules::new(list).unwrap())
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_north_is_removed_and_added_again_and_a_restart_keeps_it() {
    let Pair {
        north,
        south,
        north_place: _n,
        mut south_place,
    } = pair().await;
    serve(&north, "s").await;
    reaches(&south, "s", true).await;
    let url = north.url().to_owned();
    assert_eq!(peer(&south, "north").await.unwrap().url, Some(url.clone()));
    let file = south_place.dir.path().join(FILE);
    let comment = "# the user's own words\n";
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{comment}{text}")).unwrap();

    let there = Wish {
        url: Some(url.clone()),
        ..Wish::default()
    };
    let again = south.peers().add(there.clone()).await;
    assert!(matches!(again, Err(PeerError::There(_))), "{again:?}");

    // By its name, which its certificate has told.
    let gone = south.peers().remove("north".into()).await.unwrap();
    assert_eq!(
        (gone.name.as_deref(), gone.url.as_ref()),
        (Some("north"), Some(&url))
    );
    assert!(
        gone.note.unwrap().contains("--north"),
        "it was started with that flag"
    );
    assert_eq!(south.peers().list().await, []);
    reaches(&south, "s", false).await;
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&url));
    let again = south.peers().remove("north".into()).await;
    assert!(matches!(again, Err(PeerError::Unknown(_))), "{again:?}");

    south.peers().add(there).await.unwrap();
    reaches(&south, "s", true).await;
    round(&south, &north, "s", 10, 10).await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(comment) && text.contains(&url), "{text}");

    // No flag, only the file.
    south.stop(LONG).await;
    south_place.flags.north = None;
    let south = south_place.start(None).await;
    reaches(&south, "s", true).await;
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_north_that_is_polled_can_be_changed_and_must_have_its_name_as_any_other() {
    let Pair {
        north,
        south,
        north_place: _n,
        mut south_place,
    } = pair().await;
    south.stop(LONG).await;
    south_place.flags.link = Some("poll".into());
    let south = south_place.start(None).await;
    let travels = async |redistributes: bool| {
        until("a link by polling", async || {
            let peer = peer(&south, "north").await.unwrap_or_default();
            peer.mode.as_deref() == Some("poll")
                && peer.policy.is_some_and(|p| p.redistribute == redistributes)
        })
        .await;
    };
    travels(true).await;
    // What is not said of how it travels stays.
    let wish = Wish {
        redistribute: Some(false),
        ..Wish::default()
    };
    south.peers().put(name("north"), wish).await.unwrap();
    travels(false).await;
    south.peers().remove("north".into()).await.unwrap();
    until("the end of the link", async || {
        !north.handle().peers().await[0].connected
    })
    .await;
    let wish = Wish {
        url: Some(north.url().to_owned()),
        ..Wish::default()
    };
    south.peers().put(name("other"), wish).await.unwrap();
    until("why there is no link", async || {
        let other = peer(&south, "other").await.and_then(|peer| peer.error);
        other.is_some_and(|error| error.contains("is the node `north`, and the settings call it `other`"))
    })
    .await;
    assert!(!north.handle().peers().await[0].connected);
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_a_north_is_reached_can_be_changed() {
    let Pair {
        north,
        south,
        north_place: _n,
        mut south_place,
    } = pair().await;
    let put = async |node: &Node, wish: Wish| node.peers().put(name("north"), wish).await;
    let travels = async |node: &Node, mode: &str| {
        until(mode, async || {
            let peer = peer(node, "north").await.unwrap_or_default();
            peer.connected && peer.mode.as_deref() == Some(mode)
        })
        .await;
    };
    travels(&south, "stream").await;
    let url = Some(north.url().to_owned());
    for (proxy, link) in [(None, Some("pool")), (Some("https://u:secret@f"), None)] {
        let wrong = Wish {
            proxy: proxy.map(|proxy| proxy.to_owned().into()),
            link: link.map(Into::into),
            ..Wish::default()
        };
        let error = put(&south, wrong).await.unwrap_err();
        assert!(matches!(error, PeerError::Wrong(_)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let polled = Wish {
        link: Some("poll".into()),
        ..Wish::default()
    };
    put(&south, polled.clone()).await.unwrap();
    travels(&south, "poll").await;
    let about_souths = north
        .peers()
        .put(name("south"), polled.clone())
        .await
        .unwrap_err();
    assert!(about_souths.to_string().contains("`link`"), "{about_souths}");
    // What is not said stays, also over a restart and a removal of all else.
    put(&south, Wish::default()).await.unwrap();
    travels(&south, "poll").await;
    south.stop(LONG).await;
    south_place.flags.north = None;
    let south = south_place.start(None).await;
    travels(&south, "poll").await;
    south.peers().remove("north".into()).await.unwrap();
    let streamed = Wish {
        url,
        link: Some("auto".into()),
        ..Wish::default()
    };
    south.peers().add(streamed).await.unwrap();
    travels(&south, "stream").await;
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_change_while_the_link_is_up() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = pair().await;
    for service in ["jobs.a", "secret.b"] {
        serve(&north, service).await;
        serve(&south, &format!("south.{service}")).await;
    }
    for service in ["jobs.a", "secret.b"] {
        reaches(&south, service, true).await;
        reaches(&north, &format!("south.{service}"), true).await;
    }
    // At the dialling side: what comes in, and what goes out.
    let wish = Wish {
        redistribute: Some(false),
        import: rules(&["!secret.*", "*"]),
        export: rules(&["south.jobs.*"]),
        ..Wish::default()
    };
    south.peers().put(name("north"), wish).await.unwrap();
    reaches(&south, "secret.b", false).await;
    reaches(&north, "south.secret.b", false).await;
    reaches(&south, "jobs.a", true).await;
    reaches(&north, "south.jobs.a", true).await;
    let shown = peer(&south, "north").await.unwrap().policy.unwrap();
    assert_eq!(
        (shown.redistribute, shown.import.as_str()),
        (false, "!secret.* *")
    );

    // At the dialled side.
    let wish = Wish {
        accept_from_south: Some(false),
        export: rules(&["secret.*"]),
        ..Wish::default()
    };
    north.peers().put(name("south"), wish).await.unwrap();
    reaches(&north, "south.jobs.a", false).await;
    reaches(&south, "jobs.a", false).await;

    // Removed, it dials again and counts as any other.
    let gone = north.peers().remove("south".into()).await.unwrap();
    assert!(gone.note.unwrap().contains("let in again"));
    reaches(&north, "south.jobs.a", true).await;
    reaches(&south, "jobs.a", true).await;
    round(&north, &south, "south.jobs.a", 10, 10).await;
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_north_must_have_the_name_that_it_is_called() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = pair().await;
    south.peers().remove(north.url().to_owned()).await.unwrap();
    let wish = Wish {
        url: Some(north.url().to_owned()),
        ..Wish::default()
    };
    south.peers().put(name("other"), wish.clone()).await.unwrap();
    until("the mistake to be seen", async || {
        let seen = peer(&south, "other").await.unwrap();
        let error = seen.error.unwrap_or_default();
        !seen.connected && error.contains("`north`") && error.contains("`other`")
    })
    .await;
    south.peers().put(name("north"), wish).await.unwrap();
    until("the link", async || {
        let seen = peer(&south, "north").await;
        seen.is_some_and(|seen| seen.connected && seen.connected_ms.is_some() && seen.error.is_none())
    })
    .await;
    assert!(peer(&south, "other").await.is_none());
    for wrong in [
        Wish {
            accept_from_south: Some(true),
            ..Wish::default()
        },
        Wish {
            url: Some("http://x".into()),
            ..Wish::default()
        },
    ] {
        let refused = south.peers().put(name("north"), wrong).await;
        assert!(matches!(refused, Err(PeerError::Wrong(_))), "{refused:?}");
    }
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_read_again_and_mistakes_change_nothing() {
    let Pair {
        north,
        south,
        north_place,
        south_place: _s,
    } = pair().await;
    serve(&north, "a").await;
    serve(&north, "b").await;
    reaches(&south, "a", true).await;
    reaches(&south, "b", true).await;
    let file = north_place.dir.path().join(FILE);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n[south.south]\nexport = ['b/']\n")).unwrap();
    north.reload().await;
    assert!(
        peer(&north, "south").await.unwrap().connected,
        "nothing has changed"
    );
    std::fs::write(
        &file,
        format!("max_payload = 5\n{text}\n[south.south]\nexport = ['b']\n"),
    )
    .unwrap();
    north.reload().await;
    reaches(&south, "a", false).await;
    reaches(&south, "b", true).await;
    assert_ne!(north.handle().payload_max(), 5, "that needs a restart");
    std::fs::write(&file, text).unwrap();
    north.reload().await;
    reaches(&south, "a", true).await;
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_shows_ways_what_waits_and_for_how_long() {
    let Pair {
        north,
        south,
        north_place: _n,
        south_place: _s,
    } = pair().await;
    serve(&north, "s").await;
    serve(&south, "t").await;
    until("both to know", async || {
        let all = south.handle().routes().await;
        let row = |service: &str| all.iter().find(|route| route.service == service);
        row("s").is_some_and(|s| s.reachable) && row("t").is_some_and(|t| t.told)
    })
    .await;
    let routes = south.handle().routes().await;
    let s = routes.iter().find(|route| route.service == "s").unwrap();
    assert_eq!(
        (s.peer.as_str(), s.direction.as_str(), s.hops),
        ("north", "north", 1)
    );
    assert_eq!(s.path[0].name.as_deref(), Some("north"));
    assert!(!s.told, "not told back");
    let t = routes.iter().find(|route| route.service == "t").unwrap();
    assert!(!t.reachable && t.path.is_empty());

    // Nobody takes it: it waits here, and at the peer.
    let id = submit(&south, "s", content(10)).await;
    until("it to be reserved", async || {
        let there = north.handle().services().await;
        there
            .iter()
            .any(|s| s.name == "s" && s.reserved == 1 && s.oldest_ms.is_some())
    })
    .await;
    let here = south.handle().services().await;
    let s = here.iter().find(|service| service.name == "s").unwrap();
    assert_eq!(s.queued, 1);
    assert!(s.oldest_ms.is_some());
    let routes = south.handle().routes().await;
    assert_eq!(
        routes.iter().find(|route| route.service == "s").unwrap().placed,
        1
    );
    assert_eq!(peer(&north, "south").await.unwrap().reserved, 1);
    let taken = take(&north, "s").await;
    assert_eq!(taken.token.message, id);
    until("nothing to wait", async || {
        let here = south.handle().services().await;
        here.iter()
            .all(|service| service.name != "s" || service.oldest_ms.is_none())
    })
    .await;
    let counters = south.handle().status().await.counters;
    assert_eq!((counters["links_up"], counters["links_down"]), (1, 0));
    north.handle().unregister("s", "w").await.unwrap();
    until("the way to be forgotten", async || {
        let routes = south.handle().routes().await;
        routes
            .iter()
            .all(|route| route.service != "s" || !route.reachable)
    })
    .await;
    south.stop(LONG).await;
    north.stop(LONG).await;
}

#[tokio::test]
async fn a_list_longer_than_one_piece_is_whole() {
    let place = Place::new("n");
    let node = place.start(None).await;
    let names: Vec<String> = (0..300).map(|n| format!("s{n:03}")).collect();
    for name in &names {
        serve(&node, name).await;
    }
    let mut found: Vec<String> = node
        .handle()
        .services()
        .await
        .into_iter()
        .map(|s| s.name)
        .collect();
    // The mesh has one of its own.
    found.retain(|name| !name.starts_with(redlink_core::RESERVED));
    found.sort();
    assert_eq!(found, names);
    for n in 0..5 {
        submit(&node, &format!("other{}", n % 2), content(1)).await;
    }
    let found = async |service: Option<&str>, max| {
        let wanted = Wanted {
            service: service.map(str::to_owned),
            state: None,
        };
        let (found, next) = node.handle().messages(&wanted, max, Cursor::default()).await;
        (found.len(), next.is_some())
    };
    assert_eq!(found(Some("other0"), 10).await, (3, false));
    assert_eq!(found(None, 4).await, (4, true));
    node.stop(LONG).await;
}
