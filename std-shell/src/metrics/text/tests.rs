use super::*;
use crate::driver::NodeStatus;
use crate::metrics::process::Process;
use crate::metrics::{Driven, Traffic};

#[test]
fn the_form_is_what_the_scraper_takes() {
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, format) in [
        (prometheus, Format::OpenMetrics),
        ("application/openmetrics-text", Format::OpenMetrics),
        ("text/plain, Application/OpenMetrics-Text", Format::OpenMetrics),
        ("", Format::Prometheus),
        ("*/*", Format::Prometheus),
        ("text/plain", Format::Prometheus),
        ("application/openmetrics-text;q=0, text/plain", Format::Prometheus),
        ("application/openmetrics-textual", Format::Prometheus),
        ("text/plain;x=application/openmetrics-text", Format::Prometheus),
    ] {
        assert_eq!(Format::accepted(accept), format, "{accept}");
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        node: NodeStatus::default(),
        services: Vec::new(),
        driven: Driven::default(),
        web: Vec::new(),
        process: Process::default(),
    }
}

#[test]
fn labels_are_bounded_and_nothing_is_lost_from_the_sums() {
    let mut snapshot = snapshot();
    snapshot.services = (0..SERVICES_MAX as u64 + 50)
        .map(|n| ServiceInfo {
            name: format!("s{n}"),
            queued: n,
            ..ServiceInfo::default()
        })
        .collect();
    snapshot.services.push(ServiceInfo {
        name: "redlink:authority".into(),
        queued: 1_000_000,
        ..ServiceInfo::default()
    });
    // One that has traffic keeps its own label although little waits for it.
    snapshot.driven.meters.row("s1").accepted += 1;
    for n in 0..PEERS_MAX + 7 {
        let traffic = Traffic {
            frames_in: 1,
            ..Traffic::default()
        };
        snapshot
            .driven
            .links
            .push((format!("p{n}"), "south", n % 2 == 0, traffic));
    }
    let services = snapshot.services();
    assert_eq!(services.len(), SERVICES_MAX + 1);
    assert!(services.contains_key("s1") && services.contains_key("s249") && !services.contains_key("s2"));
    let all: u64 = services.values().map(|s| s.queued).sum();
    assert_eq!(all, (0..SERVICES_MAX as u64 + 50).sum::<u64>());

    let text = write(snapshot, Format::Prometheus).unwrap();
    let received: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("redlink_link_frames_received_total{"))
        .collect();
    assert_eq!(received.len(), PEERS_MAX + 1);
    let other = received.iter().find(|line| line.contains(OTHER)).unwrap();
    assert!(other.ends_with(" 7"), "{other}");
}

#[test]
fn every_family_is_explained_to_operators() {
    let text = write(snapshot(), Format::Prometheus).unwrap();
    let page = include_str!("../../../../docs/reference/metrics.md");
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<_> = names.filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/reference/metrics.md says nothing of {name}"
        );
    }
}
