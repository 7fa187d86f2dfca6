//! The figures.

use super::load::Measured;
use super::site::Traffic;
use crate::cli::exit::Failure;
use crate::cli::output::{self, Cell, Tone, size, span};
use serde::Serialize;
use std::time::Duration;

/// All that was measured, and on what.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) node: String,
    pub(super) url: String,
    pub(super) version: &'static str,
    /// Whether this program was.
    pub(super) optimised: bool,
    /// Bytes.
    pub(super) payload: usize,
    pub(super) in_flight: u16,
    pub(super) workers: u16,
    /// Messages of one batch in the rows that say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch: Option<u16>,
    /// Between producers and workers of the rows that say so.
    pub(super) links: u8,
    pub(super) rows: Vec<Row>,
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    what: &'static str,
    count: u64,
    seconds: f64,
    per_second: f64,
    /// Rate as a part of the bare echo's.
    #[serde(skip_serializing_if = "Option::is_none")]
    of_echo: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<Times>,
    /// Refusals because the node was full.
    full: u64,
    /// What passed over the links of the producers' node for each, both ways.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Traffic>,
}

/// Times from request to answer, in microseconds.
#[derive(Debug, Serialize)]
struct Times {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Row {
    /// With a time for each.
    pub(super) fn timed(what: &'static str, measured: &Measured, echo: Option<&Measured>) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let at = |quantile| micros(measured.times.value_at_quantile(quantile));
        let times = (!measured.times.is_empty()).then(|| Times {
            mean: measured.times.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(measured.times.max()),
        });
        Self {
            what,
            count: measured.times.len(),
            seconds: measured.took.as_secs_f64(),
            per_second: measured.per_second(),
            of_echo: echo.map(|echo| measured.per_second() / echo.per_second().max(1e-9)),
            times,
            full: measured.full,
            link: None,
        }
    }

    /// Each timed request was of so many messages, and they are what is counted.
    pub(super) fn each_of(mut self, size: u16) -> Self {
        self.count *= u64::from(size);
        self.per_second *= f64::from(size);
        self.of_echo = self.of_echo.map(|part| part * f64::from(size));
        self
    }

    /// With what passed over links for each.
    pub(super) fn with_traffic(self, link: Option<Traffic>) -> Self {
        Self { link, ..self }
    }

    /// Only counted.
    pub(super) fn counted(what: &'static str, count: u64, took: Duration, echo: &Measured) -> Self {
        let per_second = count as f64 / took.as_secs_f64().max(1e-9);
        Self {
            what,
            count,
            seconds: took.as_secs_f64(),
            per_second,
            of_echo: Some(per_second / echo.per_second().max(1e-9)),
            times: None,
            full: 0,
            link: None,
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let time = |pick: fn(&Times) -> f64| {
            Cell::number(
                self.times
                    .as_ref()
                    .map_or(String::new(), |t| span(Duration::from_secs_f64(pick(t) / 1e6))),
            )
        };
        vec![
            Cell::text(self.what).tone(Tone::Strong),
            Cell::number(self.count),
            Cell::number(format!("{:.0}", self.per_second)).tone(Tone::Good),
            time(|t| t.p50),
            time(|t| t.p90),
            time(|t| t.p99),
            time(|t| t.p999),
            time(|t| t.max),
            Cell::number(
                self.of_echo
                    .map_or(String::new(), |share| format!("{:.1} %", share * 100.0)),
            ),
        ]
    }
}

impl Report {
    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            return output::json(self);
        }
        output::line(&format!(
            "node {} at {}, payload {}, {} in flight, {} workers",
            self.node,
            self.url,
            size(self.payload as u64),
            self.in_flight,
            self.workers
        ))?;
        let heading = [
            "",
            "COUNT",
            "PER SECOND",
            "P50",
            "P90",
            "P99",
            "P99.9",
            "MAX",
            "OF THE ECHO",
        ];
        output::table(&heading, &self.rows.iter().map(Row::cells).collect::<Vec<_>>())?;
        for row in &self.rows {
            if let Some(Traffic {
                frames,
                writes,
                far_writes,
            }) = row.link
            {
                output::line(&format!(
                    "{}: {frames:.2} frames and {writes:.3} writes each at the producers' node, {far_writes:.3} writes at the workers', {} links",
                    row.what, self.links
                ))?;
            }
        }
        let full: u64 = self.rows.iter().map(|row| row.full).sum();
        match full {
            0 => Ok(()),
            _ => output::line(&format!(
                "the node said {full} times that it is full, and was asked again"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::histogram;
    use super::*;
    use std::time::Instant;

    #[test]
    fn rows_hold_rates_and_percentiles() {
        let mut times = histogram();
        (1..=1_000_u64).for_each(|micros| times.record(micros * 1_000).unwrap());
        let measured = Measured {
            times,
            warm_up: 1,
            full: 2,
            started: Instant::now(),
            took: Duration::from_millis(500),
        };
        let row = Row::timed("x", &measured, Some(&measured));
        assert_eq!(
            (row.count, row.per_second, row.of_echo, row.full),
            (1_000, 2_000.0, Some(1.0), 2)
        );
        let times = row.times.as_ref().unwrap();
        assert!(
            (times.p50 - 500.0).abs() < 1.0 && (times.p99 - 990.0).abs() < 2.0,
            "{times:?}"
        );
        assert_eq!(row.cells().len(), 9);
    }
}
