//! What one replication of one policy measured.

use crate::scenario::Time;
use hdrhistogram::Histogram;

/// The longest response that is told apart from longer ones.
const LONGEST: Time = 3_600_000_000;

/// Responses: from a message's submit until its producer has the outcome.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) messages: u64,
    total: u128,
    histogram: Histogram<u64>,
}

/// What the mesh did for that.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Cost {
    /// Messages that were settled while the following was counted.
    pub(crate) messages: u64,
    /// Inputs and timeouts that cores handled.
    pub(crate) events: u64,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// What kinds of frames that took.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Kinds {
    pub(crate) offers: u64,
    pub(crate) retracts: u64,
    pub(crate) claims: u64,
    /// Claims that came too late.
    pub(crate) gone: u64,
    pub(crate) announcements: u64,
}

impl Cost {
    pub(crate) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.events += other.events;
        self.frames += other.frames;
        self.bytes += other.bytes;
    }
}

impl Sample {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3);
        Self {
            messages: 0,
            total: 0,
            // The bounds are constants that it takes.
            histogram: histogram.unwrap_or_else(|_| unreachable!("bounds of the histogram")),
        }
    }

    /// One message.
    pub(crate) fn add(&mut self, response: Time) {
        self.messages += 1;
        self.total += u128::from(response);
        self.histogram.saturating_record(response.max(1));
    }

    /// Mean response in milliseconds.
    pub(crate) fn mean(&self) -> f64 {
        self.total as f64 / self.messages as f64 / 1e3
    }

    /// The response that so many percent stay within, in milliseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        self.histogram.value_at_percentile(percent) as f64 / 1e3
    }
}
