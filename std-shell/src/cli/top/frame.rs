//! One frame: what is shown of a node, cut to the terminal.

use super::super::list::called;
use super::super::output::{Stream, Tone, paint, size, span};
use crate::driver::{NodeStatus, PeerInfo, ServiceInfo};
use std::time::{Duration, Instant};

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) node: NodeStatus,
    pub(super) peers: Vec<PeerInfo>,
    pub(super) services: Vec<ServiceInfo>,
}

/// A line of pieces, each in its tone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Line(Vec<(Tone, String)>);

impl Line {
    fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self::default().with(tone, text)
    }

    /// Other people's text must not steer the terminal.
    fn with(mut self, tone: Tone, text: impl Into<String>) -> Self {
        let text: String = text.into();
        let text = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
        self.0.push((tone, text.collect()));
        self
    }

    /// At most so many characters.
    fn cut(&mut self, width: usize) {
        let mut left = width;
        for (_, text) in &mut self.0 {
            *text = text.chars().take(left).collect();
            left -= text.chars().count();
        }
    }

    /// With colour where it is wanted.
    pub(super) fn paint(&self) -> String {
        let pieces = self.0.iter().map(|(tone, text)| paint(Stream::Out, *tone, text));
        pieces.collect::<String>().trim_end().to_owned()
    }
}

/// All lines, none wider and not more than the terminal has room for.
pub(super) fn frame(now: &Look, before: Option<&Look>, url: &str, (columns, lines): (u16, u16)) -> Vec<Line> {
    let (columns, lines) = (usize::from(columns), usize::from(lines));
    let mut all = head(now, before, url);
    // Links get a third of what is left, services the rest and what links do not need.
    let left = lines.saturating_sub(all.len() + 4);
    let links = now
        .peers
        .len()
        .min((left / 3).max(left.saturating_sub(now.services.len())));
    all.push(Line::default());
    all.extend(peers(&now.peers, links));
    all.push(Line::default());
    all.extend(services(&now.services, left - links));
    all.truncate(lines);
    all.iter_mut().for_each(|line| line.cut(columns));
    all
}

/// Puts a trouble where it is seen.
pub(super) fn complain(lines: &mut [Line], trouble: &str, (columns, _): (u16, u16)) {
    if let Some(first) = lines.first_mut() {
        *first = Line::new(Tone::Bad, trouble);
        first.cut(usize::from(columns));
    }
}

fn head(now: &Look, before: Option<&Look>, url: &str) -> Vec<Line> {
    let node = &now.node;
    let (state, tone) = match (node.draining, node.ready) {
        (true, _) => ("stopping", Tone::Note),
        (false, true) => ("ready", Tone::Good),
        (false, false) => ("not ready", Tone::Bad),
    };
    let rate = |name: &str| rate(now, before, name);
    vec![
        Line::new(Tone::Strong, &node.name)
            .with(Tone::Plain, format!(" of {}  ", node.mesh))
            .with(tone, state)
            .with(
                Tone::Faint,
                format!("  {url}  up {}", span(Duration::from_millis(node.uptime_ms))),
            ),
        Line::new(
            Tone::Plain,
            format!(
                "messages {}/{}  held {}  memory {}/{}  commit {}",
                node.messages,
                node.messages_max,
                node.deliveries,
                size(node.memory_used),
                size(node.memory_max),
                match node.store.up {
                    true => span(Duration::from_micros(node.store.commit_micros)),
                    false => "DOWN".into(),
                },
            ),
        ),
        Line::new(
            Tone::Plain,
            format!(
                "per second: in {}  out {}  granted {}  frames in {}  out {}",
                rate("accepted"),
                rate("settled"),
                rate("granted"),
                rate("frames_in"),
                rate("frames_out"),
            ),
        ),
    ]
}

fn rate(now: &Look, before: Option<&Look>, name: &str) -> String {
    let count = |look: &Look| look.node.counters.get(name).copied();
    // A node that was started again counts from nothing.
    let same = before.filter(|before| before.node.boot == now.node.boot);
    let passed = same.map(|before| now.at.duration_since(before.at).as_secs_f64());
    match (same.and_then(count), count(now), passed) {
        (Some(old), Some(new), Some(passed)) if passed > 0.0 => {
            let rate = new.saturating_sub(old) as f64 / passed;
            match rate < 9.95 {
                true => format!("{rate:.1}"),
                false => format!("{rate:.0}"),
            }
        }
        _ => "-".into(),
    }
}

const NAME: usize = 24;

/// A name in its column; the end of a long one is cut.
fn name(text: &str) -> String {
    match text.chars().count() > NAME {
        true => format!("{}~ ", text.chars().take(NAME - 1).collect::<String>()),
        false => format!("{text:<NAME$} "),
    }
}

fn peers(peers: &[PeerInfo], most: usize) -> Vec<Line> {
    let up = peers.iter().filter(|peer| peer.connected).count();
    let head = format!("LINKS {up} of {}", peers.len());
    let head = format!(
        "{head:<NAME$} {:<6} {:<12} {:>8} {:>8} {:>8}",
        "", "STATE", "RESERVED", "HELD", "GRANTED"
    );
    let mut lines = vec![Line::new(Tone::Faint, head)];
    // What is wrong comes first.
    let mut sorted: Vec<&PeerInfo> = peers.iter().collect();
    sorted.sort_by_key(|peer| {
        (
            peer.connected,
            std::cmp::Reverse(peer.reserved + peer.held + peer.granted),
        )
    });
    lines.extend(sorted.into_iter().take(most).map(|peer| {
        let line =
            Line::new(Tone::Strong, name(called(peer))).with(Tone::Plain, format!("{:<6} ", peer.direction));
        if !peer.connected {
            let why = peer.error.as_deref().unwrap_or("");
            return line.with(Tone::Bad, "down ").with(Tone::Plain, why);
        }
        let since = span(Duration::from_millis(peer.connected_ms.unwrap_or(0)));
        // Streams are what everybody expects.
        let mode = peer.mode.as_deref().filter(|mode| *mode != "stream");
        line.with(Tone::Good, format!("{:<12} ", format!("up {since}")))
            .with(
                Tone::Plain,
                format!("{:>8} {:>8} {:>8}  ", peer.reserved, peer.held, peer.granted),
            )
            .with(Tone::Faint, mode.unwrap_or(""))
    }));
    lines
}

fn services(services: &[ServiceInfo], most: usize) -> Vec<Line> {
    let head = format!("SERVICES {}", services.len());
    let head = format!(
        "{head:<NAME$} {:>8} {:>8} {:>12} {:>9} {:>6}",
        "QUEUED", "RESERVED", "OLDEST", "CONSUMERS", "PEERS"
    );
    let mut lines = vec![Line::new(Tone::Faint, head)];
    let mut sorted: Vec<&ServiceInfo> = services.iter().collect();
    sorted.sort_by(|a, b| {
        let waits = |s: &ServiceInfo| s.queued + s.reserved;
        waits(b).cmp(&waits(a)).then_with(|| a.name.cmp(&b.name))
    });
    lines.extend(sorted.into_iter().take(most).map(|s| {
        let oldest = s
            .oldest_ms
            .map_or(String::new(), |ms| span(Duration::from_millis(ms)));
        // Waiting, and nobody to take it.
        let stuck = s.queued > 0 && s.consumers == 0 && s.peers == 0;
        let tone = if stuck { Tone::Note } else { Tone::Plain };
        Line::new(Tone::Strong, name(&s.name)).with(
            tone,
            format!(
                "{:>8} {:>8} {oldest:>12} {:>9} {:>6}",
                s.queued, s.reserved, s.consumers, s.peers
            ),
        )
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(counted: u64, services: usize, peers: usize) -> Look {
        let mut node = NodeStatus {
            name: "hub".into(),
            mesh: "mesh".into(),
            ready: true,
            ..NodeStatus::default()
        };
        node.counters.insert("accepted".into(), counted);
        let service = |n| ServiceInfo {
            accepted: None,
            settled: None,
            taken: None,
            name: format!("service-{n:02}-{}", "x".repeat(n)),
            queued: n as u64,
            reserved: 0,
            consumers: 0,
            peers: 0,
            oldest_ms: (n > 0).then_some(5_000),
            ..ServiceInfo::default()
        };
        let peer = |n| PeerInfo {
            name: Some(format!("peer-{n}")),
            direction: "south".into(),
            connected: n != 3,
            error: (n == 3).then(|| "no \x1b[31mway".into()),
            mode: Some(if n == 0 { "poll" } else { "stream" }.into()),
            ..PeerInfo::default()
        };
        Look {
            at: Instant::now(),
            node,
            peers: (0..peers).map(peer).collect(),
            services: (0..services).map(service).collect(),
        }
    }

    fn text(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::paint).collect()
    }

    #[test]
    fn a_frame_fits_and_shows_what_matters_first() {
        let now = look(0, 50, 20);
        for size in [(80, 24), (40, 10), (1, 1), (200, 100), (80, 3)] {
            let lines = text(&frame(&now, None, "https://localhost:7411", size));
            assert!(lines.len() <= usize::from(size.1), "{size:?}");
            assert!(
                lines
                    .iter()
                    .all(|line| line.chars().count() <= usize::from(size.0)),
                "{size:?}"
            );
        }
        let lines = text(&frame(&now, None, "https://localhost:7411", (80, 24)));
        assert_eq!(lines.len(), 24);
        let shown = lines.join("\n");
        assert!(shown.starts_with("hub of mesh  ready"), "{shown}");
        assert!(
            shown.contains("LINKS 19 of 20") && shown.contains("SERVICES 50"),
            "{shown}"
        );
        // The link that is down, and the service with most to do.
        let at = |what: &str| lines.iter().position(|line| line.contains(what));
        assert!(at("peer-3").unwrap() < at("peer-0").unwrap());
        assert!(at("service-49").unwrap() < at("service-48").unwrap());
        assert!(!shown.contains('\x1b'), "{shown}");
        let polled = lines.iter().filter(|line| line.contains("poll"));
        assert!(polled.eq([&lines[at("peer-0").unwrap()]]), "{shown}");
        // Few links leave their room to services, and the other way round.
        let lines = text(&frame(&look(0, 2, 20), None, "u", (80, 24)));
        assert!(
            lines.iter().filter(|line| line.contains("peer-")).count() >= 14,
            "{lines:#?}"
        );
    }

    #[test]
    fn rates_come_from_two_looks() {
        let before = look(100, 0, 0);
        let mut now = look(400, 0, 0);
        now.at = before.at + Duration::from_secs(2);
        assert_eq!(rate(&now, Some(&before), "accepted"), "150");
        assert_eq!(rate(&now, None, "accepted"), "-");
        now.node.boot += 1;
        assert_eq!(rate(&now, Some(&before), "accepted"), "-");
    }

    #[test]
    fn trouble_takes_the_first_line() {
        let mut lines = frame(&look(0, 1, 1), None, "u", (20, 24));
        complain(&mut lines, "the node can't be reached any more", (20, 24));
        assert_eq!(lines[0].paint(), "the node can't be re");
    }
}
