//! The numbers as text. `docs/reference/metrics.md` explains each to operators; a test holds the two together.

use super::{Histogram, OTHER, PEERS_MAX, SERVICES_MAX, ServiceRow, Snapshot, Traffic};
use crate::driver::ServiceInfo;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use redlink_core::RESERVED;
use std::collections::BTreeMap;
use std::fmt::Error;

/// In which of its two forms a scraper wants the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own, version 0.0.4.
    Prometheus,
}

impl Format {
    /// The better one of those that an `Accept` header takes; Prometheus' if it is silent or takes neither, since every
    /// scraper knows that and so does a person.
    pub fn accepted(accept: &str) -> Self {
        let wants = accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let open = parts
                .next()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            let refused = parts.any(|part| {
                let weight = part
                    .strip_prefix("q=")
                    .and_then(|weight| weight.parse::<f32>().ok());
                weight == Some(0.0)
            });
            open && !refused
        });
        if wants {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// Writes all of it.
///
/// # Errors
/// None but a mistake of this program.
pub fn write(snapshot: Snapshot, format: Format) -> Result<String, Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut written = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut written, &registry)?,
        Format::Prometheus => prometheus_text::encode(&mut written, &registry)?,
    }
    Ok(written)
}

type Written = Result<(), Error>;

/// Writes families.
struct Pen<'a>(DescriptorEncoder<'a>);

impl Pen<'_> {
    /// Gauges of one name, with these labels.
    fn gauges<const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        help: &str,
        all: impl IntoIterator<Item = ([(&'static str, String); N], V)>,
    ) -> Written {
        let mut family = self
            .0
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in all {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, unit: Option<Unit>, help: &str, value: impl EncodeGaugeValue) -> Written {
        self.gauges::<0, _>(name, unit, help, [([], value)])
    }

    fn counters<const N: usize, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        help: &str,
        all: impl IntoIterator<Item = ([(&'static str, String); N], V)>,
    ) -> Written {
        let mut family = self
            .0
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in all {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Written {
        self.counters::<0, _>(name, None, help, [([], value)])
    }

    /// Histograms of seconds; those that counted nothing are left out.
    fn histograms<'h, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        all: impl IntoIterator<Item = ([(&'static str, String); N], &'h Histogram)>,
    ) -> Written {
        let unit = Some(&Unit::Seconds);
        let mut family = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (labels, histogram) in all {
            if N == 0 || histogram.count() > 0 {
                let (sum, count) = (histogram.seconds(), histogram.count());
                let mut one = family.encode_family(&labels)?;
                one.encode_histogram::<[(&str, &str); 0]>(sum, count, &histogram.buckets(), None)?;
            }
        }
        Ok(())
    }
}

fn one(name: &'static str, value: &str) -> [(&'static str, String); 1] {
    [(name, value.to_owned())]
}

fn two(first: (&'static str, &str), second: (&'static str, &str)) -> [(&'static str, String); 2] {
    [first, second].map(|(name, value)| (name, value.to_owned()))
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Written {
        let mut pen = Pen(encoder);
        self.node(&mut pen)?;
        self.backlogs(&mut pen)?;
        self.messages(&mut pen)?;
        self.links(&mut pen)?;
        self.store(&mut pen)?;
        self.requests(&mut pen)?;
        self.process(&mut pen)
    }
}

impl Snapshot {
    fn node(&self, pen: &mut Pen<'_>) -> Written {
        let node = &self.node;
        let version = [("version", node.version.clone())];
        let mut build = pen
            .0
            .encode_descriptor("redlink_build", "The program", None, MetricType::Info)?;
        build.encode_info(&version)?;
        let who = [
            ("name", node.name.clone()),
            ("mesh", node.mesh.clone()),
            ("node", node.node.clone()),
        ];
        let mut info = pen
            .0
            .encode_descriptor("redlink_node", "Who the node is", None, MetricType::Info)?;
        info.encode_info(&who)?;
        pen.gauge("redlink_ready", None, "1 if it takes work", u32::from(node.ready))?;
        pen.gauge(
            "redlink_draining",
            None,
            "1 if it is stopping",
            u32::from(node.draining),
        )?;
        let uptime = node.uptime_ms as f64 / 1e3;
        pen.gauge(
            "redlink_uptime",
            Some(Unit::Seconds),
            "How long it has run",
            uptime,
        )?;
        let (usage, capacity) = (&self.driven.usage, &self.driven.capacity);
        let tables = [
            ("messages", usage.messages, capacity.messages),
            ("reservations", usage.reservations, capacity.reservations),
            ("deliveries", usage.deliveries, capacity.deliveries),
            ("services", usage.services, capacity.services),
            ("consumers", usage.consumers, capacity.consumers),
            ("takes", usage.takes, capacity.takes),
            ("peers", usage.peers, capacity.peers),
            ("routes", usage.routes, capacity.routes),
            ("relays", usage.relays, capacity.relays),
        ];
        let table = |name| one("table", name);
        let used = tables.map(|(name, used, _)| (table(name), used));
        pen.gauges(
            "redlink_table_used",
            None,
            "Places of a table that are taken",
            used,
        )?;
        let most = tables.map(|(name, _, most)| (table(name), most));
        pen.gauges("redlink_table_capacity", None, "Places that a table has", most)?;
        let bytes = || Some(Unit::Bytes);
        pen.gauge(
            "redlink_payload_memory",
            bytes(),
            "Payload bytes in memory",
            node.memory_used,
        )?;
        let help = "Most of those before submits are refused";
        pen.gauge("redlink_payload_memory_max", bytes(), help, node.memory_max)?;
        let events = node.counters.iter();
        let events = events.map(|(name, count)| (one("event", name), *count));
        let help = "What happened since the start, by the names of `redlink status --json`";
        pen.counters("redlink_events", None, help, events)
    }

    /// What lies in queues now.
    fn backlogs(&self, pen: &mut Pen<'_>) -> Written {
        let services = self.services();
        let of = |name: &str| one("service", name);
        let states = services.iter().flat_map(|(name, s)| {
            let waiting = s.queued.saturating_sub(s.offered);
            let states = [
                ("queued", waiting),
                ("offered", s.offered),
                ("granted", s.granted),
                ("reserved", s.reserved),
            ];
            states.map(|(state, count)| (two(("service", name), ("state", state)), count))
        });
        let help = "Open messages: queued, offered to peers or granted to a consumer (this node's), reserved (peers', waiting \
                    for a consumer here or further on)";
        pen.gauges("redlink_service_messages", None, help, states)?;
        let oldest = services.iter().map(|(name, s)| {
            let seconds = s.oldest_ms.unwrap_or(0) as f64 / 1e3;
            (of(name), seconds)
        });
        let help = "Age of the oldest message among those of the highest priority that wait";
        pen.gauges("redlink_service_oldest", Some(Unit::Seconds), help, oldest)?;
        let held = services.iter().map(|(name, s)| (of(name), s.held));
        let help = "Messages that consumers of this node hold, and claims under way for them";
        pen.gauges("redlink_service_in_transit", None, help, held)?;
        let room = services.iter().map(|(name, s)| (of(name), s.room));
        let help = "Messages that consumers of this node would be handed at once";
        pen.gauges("redlink_service_room", None, help, room)?;
        let consumers = services.iter().map(|(name, s)| (of(name), s.consumers));
        pen.gauges(
            "redlink_service_consumers",
            None,
            "Consumers of this node",
            consumers,
        )?;
        let peers = services.iter().map(|(name, s)| (of(name), s.peers));
        pen.gauges("redlink_service_peers", None, "Peers that have consumers", peers)
    }

    /// The services with labels of their own: those with a row, and then those with most to tell; the others are one.
    fn services(&self) -> BTreeMap<String, ServiceInfo> {
        let weight = |s: &ServiceInfo| s.queued + s.granted + s.reserved + u64::from(s.consumers);
        let mut all: Vec<_> = self
            .services
            .iter()
            .filter(|s| !s.name.starts_with(RESERVED))
            .collect();
        all.sort_by_key(|s| {
            let has = self.driven.meters.has(&s.name);
            (!has, std::cmp::Reverse(weight(s)), s.name.clone())
        });
        let mut services: BTreeMap<String, ServiceInfo> = BTreeMap::new();
        for (at, s) in all.into_iter().enumerate() {
            let name = if at < SERVICES_MAX { &s.name } else { OTHER };
            let sum = services.entry(name.to_owned()).or_default();
            sum.queued += s.queued;
            sum.offered += s.offered;
            sum.granted += s.granted;
            sum.reserved += s.reserved;
            sum.held += s.held;
            sum.room += s.room;
            sum.consumers += s.consumers;
            sum.peers = sum.peers.max(s.peers);
            sum.oldest_ms = sum.oldest_ms.max(s.oldest_ms);
        }
        services
    }

    /// What happened to messages.
    fn messages(&self, pen: &mut Pen<'_>) -> Written {
        let (rows, other) = self.driven.meters.rows();
        let mut rows: Vec<(&str, &ServiceRow)> = rows.map(|row| (&*row.name, row)).collect();
        rows.sort_by_key(|(name, _)| *name);
        rows.push((OTHER, other));
        let rows = &rows;
        let of = |name: &str| one("service", name);
        let each = |count: fn(&ServiceRow) -> u64| rows.iter().map(move |(name, row)| (of(name), count(row)));
        let accepted = each(|row| row.accepted);
        pen.counters(
            "redlink_messages_accepted",
            None,
            "Messages accepted here",
            accepted,
        )?;
        let settled = rows.iter().flat_map(|(name, row)| {
            let all = ServiceRow::OUTCOMES.into_iter().zip(row.settled);
            all.map(|(outcome, count)| (two(("service", name), ("outcome", outcome)), count))
        });
        let help = "Outcomes of this node's messages";
        pen.counters("redlink_messages_settled", None, help, settled)?;
        let help = "Messages handed to consumers of this node";
        pen.counters("redlink_deliveries", None, help, each(|row| row.delivered))?;
        let answered = rows.iter().flat_map(|(name, row)| {
            let all = ServiceRow::VERBS.into_iter().zip(row.answered);
            all.map(|(verb, count)| (two(("service", name), ("verb", verb)), count))
        });
        let help = "Answers of consumers of this node that were taken";
        pen.counters("redlink_answers", None, help, answered)?;
        let help =
            "Deliveries that consumers of this node lost: leases over, deadlines passed, attempts revoked";
        pen.counters("redlink_deliveries_lost", None, help, each(|row| row.lost))?;
        let refused = self.driven.meters.refusals().iter();
        let refused = refused.map(|(reason, count)| (one("reason", reason), *count));
        pen.counters(
            "redlink_submits_refused",
            None,
            "Submits that were refused",
            refused,
        )?;
        let times =
            |time: fn(&ServiceRow) -> &Histogram| rows.iter().map(move |(name, row)| (of(name), time(row)));
        let help = "From a submit here to the outcome on disk";
        pen.histograms("redlink_message", help, times(|row| &row.whole))?;
        let help = "From a submit here to the first grant to a consumer";
        pen.histograms("redlink_queue_wait", help, times(|row| &row.queued))?;
        let help = "From a delivery to a consumer of this node to its answer";
        pen.histograms("redlink_work", help, times(|row| &row.work))?;
        let help = "Time left until the deadline when the outcome was on disk; none for an expired message";
        pen.histograms("redlink_deadline_slack", help, times(|row| &row.slack))
    }

    fn links(&self, pen: &mut Pen<'_>) -> Written {
        let mut links: BTreeMap<(&str, &'static str), (u32, Traffic)> = BTreeMap::new();
        for (peer, direction, up, traffic) in &self.driven.links {
            let known = links.len() < PEERS_MAX || links.contains_key(&(peer.as_str(), *direction));
            let peer = if known { peer.as_str() } else { OTHER };
            let link = links.entry((peer, *direction)).or_default();
            link.0 += u32::from(*up);
            link.1.merge(traffic);
        }
        let links = &links;
        let of = |(peer, direction): &(&str, &'static str)| two(("peer", peer), ("direction", *direction));
        let each =
            |count: fn(&Traffic) -> u64| links.iter().map(move |(key, (_, link))| (of(key), count(link)));
        let up = links.iter().map(|(key, (up, _))| (of(key), *up));
        pen.gauges("redlink_link_up", None, "1 if a session with the peer is up", up)?;
        let sessions = each(|link| link.sessions);
        pen.counters("redlink_link_sessions", None, "Sessions that came up", sessions)?;
        let help = "Frames that came from the peer";
        pen.counters(
            "redlink_link_frames_received",
            None,
            help,
            each(|link| link.frames_in),
        )?;
        let help = "Frames that went to the peer";
        pen.counters(
            "redlink_link_frames_sent",
            None,
            help,
            each(|link| link.frames_out),
        )?;
        let bytes = || Some(Unit::Bytes);
        let help = "Bytes of frames that came, with the payloads in them";
        pen.counters("redlink_link_received", bytes(), help, each(|link| link.bytes_in))?;
        let help = "Bytes of frames that went, with the payloads in them";
        pen.counters("redlink_link_sent", bytes(), help, each(|link| link.bytes_out))?;
        let help = "Links closed because the peer did not read what was sent";
        pen.counters("redlink_link_overflows", None, help, each(|link| link.overflows))?;
        let rtt = links.iter().filter_map(|(key, (_, link))| {
            let seconds = link.rtt?.as_micros() as f64 / 1e6;
            Some((of(key), seconds))
        });
        let help = "How long the last ping and its answer took; pings go on quiet links only";
        pen.gauges("redlink_link_rtt", Some(Unit::Seconds), help, rtt)
    }

    fn store(&self, pen: &mut Pen<'_>) -> Written {
        let store = &self.node.store;
        pen.gauge(
            "redlink_store_up",
            None,
            "1 if the database can be used",
            u32::from(store.up),
        )?;
        let rows = [
            ("messages", store.messages),
            ("outcomes", store.outcomes),
            ("replies", store.replies),
            ("dead_letters", store.dead_letters),
        ];
        let rows = rows.map(|(table, count)| (one("table", table), count));
        pen.gauges("redlink_store_rows", None, "Rows on disk", rows)?;
        let help = "Messages that became dead letters";
        pen.counter("redlink_dead_letters", help, store.dead_letters_total)?;
        let help = "Dead letters that gave way because there were too many, or they were too old";
        pen.counter("redlink_dead_letters_dropped", help, store.dead_letters_dropped)?;
        let help = "Operations that the store has not answered yet";
        pen.gauge("redlink_store_queue", None, help, self.driven.store_queue)?;
        let done = [("done", store.done), ("failed", store.failed)];
        let done = done.map(|(result, count)| (one("result", result), count));
        pen.counters("redlink_store_operations", None, "Operations of the store", done)?;
        let help = "How often the database had to be opened again";
        pen.counter("redlink_store_reopened", help, store.reopened)?;
        let help = "How long commits took, each with all operations of its group";
        pen.histograms("redlink_store_commit", help, [([], &*store.commits)])?;
        let bytes = || Some(Unit::Bytes);
        let help = "Size of the database, without the bodies in files";
        pen.gauge("redlink_store_database", bytes(), help, store.database_bytes)?;
        pen.gauge(
            "redlink_store_log",
            bytes(),
            "Size of its write-ahead log",
            store.log_bytes,
        )?;
        pen.gauge(
            "redlink_store_free",
            bytes(),
            "Free space where it lies",
            store.free_bytes,
        )?;
        let help = "Free space below which no messages are accepted";
        pen.gauge("redlink_disk_floor", bytes(), help, self.node.disk_floor)?;
        let help = "1 if no messages are accepted because the disk is nearly full";
        pen.gauge("redlink_disk_low", None, help, u32::from(self.node.disk_low))
    }

    fn requests(&self, pen: &mut Pen<'_>) -> Written {
        const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let requests = self.web.iter().flat_map(|route| {
            let classes = CLASSES.into_iter().zip(route.classes);
            let classes = classes.filter(|(_, count)| *count > 0);
            classes.map(|(class, count)| {
                let labels = [("method", route.method), ("route", route.path), ("status", class)];
                (labels.map(|(name, value)| (name, value.to_owned())), count)
            })
        });
        pen.counters(
            "redlink_http_requests",
            None,
            "Requests that were answered",
            requests,
        )?;
        let times = self.web.iter().map(|route| {
            let labels = two(("method", route.method), ("route", route.path));
            (labels, &route.times)
        });
        let help = "From a request's headers to those of its answer, waiting included";
        pen.histograms("redlink_http_request", help, times)
    }

    fn process(&self, pen: &mut Pen<'_>) -> Written {
        let process = &self.process;
        if let Some(seconds) = process.cpu {
            let all = [([], seconds)];
            let help = "Processor time used";
            pen.counters::<0, _>("process_cpu", Some(Unit::Seconds), help, all)?;
        }
        let numbers = [
            ("process_resident_memory", true, "Memory in use", process.resident),
            (
                "process_virtual_memory",
                true,
                "Address space",
                process.virtual_memory,
            ),
            (
                "process_open_fds",
                false,
                "Open file descriptors",
                process.descriptors,
            ),
            ("process_max_fds", false, "Most of them", process.descriptors_max),
            ("process_threads", false, "Threads", process.threads),
        ];
        for (name, bytes, help, value) in numbers {
            if let Some(value) = value {
                pen.gauge(name, bytes.then_some(Unit::Bytes), help, value)?;
            }
        }
        let help = "When it started, since 1970";
        pen.gauge("process_start_time", Some(Unit::Seconds), help, process.started)
    }
}

#[cfg(test)]
mod tests;
