//! A closed loop: so many requests in flight, each timed.

use crate::cli::exit::Failure;
use crate::client::Error;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Longest time that is told apart, in nanoseconds; longer ones count as this.
const LONGEST: u64 = 300_000_000_000;
/// Pause after the node said that it is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// How much to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Amount {
    /// So many requests.
    Count(u64),
    /// As many as fit.
    For(Duration),
}

impl Amount {
    /// The same, where each request is of so many.
    pub(super) fn in_parts(self, size: u16) -> Self {
        match self {
            Self::Count(count) => Self::Count(count.div_ceil(size.into())),
            Self::For(time) => Self::For(time),
        }
    }
}

/// What to do at once, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) in_flight: u16,
    pub(super) amount: Amount,
}

/// Why a request didn't count.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The node is full; again a little later.
    Full,
    /// That ends the measurement.
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failure(error.into())
    }
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// Nanoseconds from request to answer.
    pub(super) times: Histogram<u64>,
    /// Requests before the measured ones, one for each connection.
    pub(super) warm_up: u64,
    /// Refusals because the node was full.
    pub(super) full: u64,
    /// When the measured ones began.
    pub(super) started: Instant,
    /// From the first request to the last answer.
    pub(super) took: Duration,
}

impl Measured {
    /// Requests that were answered well, with those that warmed up.
    pub(super) fn accepted(&self) -> u64 {
        self.times.len() + self.warm_up
    }

    pub(super) fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// Hands out what is left to do.
struct Tickets {
    amount: Amount,
    given: AtomicU64,
    answered: AtomicU64,
}

impl Tickets {
    fn next(&self, started: Instant) -> bool {
        match self.amount {
            Amount::Count(count) => self.given.fetch_add(1, Ordering::Relaxed) < count,
            Amount::For(time) => started.elapsed() < time,
        }
    }
}

impl Load {
    /// Makes requests until the amount is reached. Each lane makes one request that isn't measured first, so that no
    /// handshake is.
    pub(super) async fn run<R, F>(&self, what: &'static str, request: R) -> Result<Measured, Failure>
    where
        R: Fn() -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Trouble>> + Send + 'static,
    {
        let tickets = Arc::new(Tickets {
            amount: self.amount,
            given: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        });
        let barrier = Arc::new(Barrier::new(usize::from(self.in_flight) + 1));
        let mut lanes = JoinSet::new();
        for _ in 0..self.in_flight {
            let (tickets, barrier, request) = (Arc::clone(&tickets), Arc::clone(&barrier), request.clone());
            lanes.spawn(async move {
                let warm = one(&request).await;
                // Before the failure is told: the other lanes wait here.
                barrier.wait().await;
                warm?;
                lane(&tickets, Instant::now(), request).await
            });
        }
        barrier.wait().await;
        let started = Instant::now();
        let progress = Progress::start(what, self.amount, Arc::clone(&tickets), started);
        let mut times = histogram();
        let mut full = 0;
        while let Some(lane) = lanes.join_next().await {
            let (of_lane, full_of_lane) = match lane {
                Ok(done) => done?,
                Err(panic) => return Err(Failure::failed(format!("a client broke down: {panic}"))),
            };
            // Same bounds and precision: it always fits.
            let _ = times.add(of_lane);
            full += full_of_lane;
        }
        let took = started.elapsed();
        drop(progress);
        Ok(Measured {
            times,
            warm_up: u64::from(self.in_flight),
            full,
            started,
            took,
        })
    }
}

async fn lane<R, F>(tickets: &Tickets, started: Instant, request: R) -> Result<(Histogram<u64>, u64), Failure>
where
    R: Fn() -> F,
    F: Future<Output = Result<(), Trouble>>,
{
    let mut times = histogram();
    let mut full = 0;
    while tickets.next(started) {
        let start = Instant::now();
        full += one(&request).await?;
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(LONGEST);
        times.saturating_record(nanos.min(LONGEST));
        tickets.answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok((times, full))
}

/// One request, until the node has room for it. How often it had none.
async fn one<R, F>(request: &R) -> Result<u64, Failure>
where
    R: Fn() -> F,
    F: Future<Output = Result<(), Trouble>>,
{
    let mut full = 0;
    loop {
        match request().await {
            Ok(()) => return Ok(full),
            Err(Trouble::Failure(failure)) => return Err(failure),
            Err(Trouble::Full) => {
                full += 1;
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
}

/// Three digits are true, from a nanosecond to minutes.
pub(super) fn histogram() -> Histogram<u64> {
    match Histogram::new_with_max(LONGEST, 3) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the bounds are constants that it takes"),
    }
}

/// A bar on a terminal's standard error; nothing elsewhere.
struct Progress {
    bar: ProgressBar,
    ticker: tokio::task::JoinHandle<()>,
}

impl Progress {
    fn start(what: &'static str, amount: Amount, tickets: Arc<Tickets>, started: Instant) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let length = match amount {
            Amount::Count(count) => count,
            Amount::For(time) => millis(time),
        };
        let bar = ProgressBar::new(length).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg:<16} {wide_bar} {percent:>3}% {prefix}") {
            bar.set_style(style);
        }
        let shown = bar.clone();
        let ticker = tokio::spawn(async move {
            loop {
                let answered = tickets.answered.load(Ordering::Relaxed);
                shown.set_position(match amount {
                    Amount::Count(_) => answered,
                    Amount::For(_) => millis(started.elapsed()).min(length),
                });
                shown.set_prefix(format!(
                    "{:.0}/s",
                    answered as f64 / started.elapsed().as_secs_f64().max(1e-3)
                ));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { bar, ticker }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ticker.abort();
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_count_is_met_exactly_and_the_warm_up_is_not_measured() {
        let made = Arc::new(AtomicU64::new(0));
        let load = Load {
            in_flight: 4,
            amount: Amount::Count(100),
        };
        let counter = Arc::clone(&made);
        let measured = load
            .run("test", move || {
                counter.fetch_add(1, Ordering::Relaxed);
                async { Ok(()) }
            })
            .await
            .unwrap();
        assert_eq!(measured.times.len(), 100);
        assert_eq!(measured.accepted(), 104);
        assert_eq!(made.load(Ordering::Relaxed), 104);
    }

    #[tokio::test]
    async fn full_is_tried_again_and_counted() {
        let tries = Arc::new(AtomicU64::new(0));
        let load = Load {
            in_flight: 1,
            amount: Amount::Count(1),
        };
        let counter = Arc::clone(&tries);
        let measured = load
            .run("test", move || {
                let this = counter.fetch_add(1, Ordering::Relaxed);
                async move { if this == 1 { Err(Trouble::Full) } else { Ok(()) } }
            })
            .await
            .unwrap();
        assert_eq!((measured.full, measured.times.len()), (1, 1));
    }

    #[tokio::test]
    async fn a_failure_ends_it() {
        let load = Load {
            in_flight: 3,
            amount: Amount::For(Duration::from_secs(60)),
        };
        let failure = load
            .run("test", || async { Err(Failure::failed("no").into()) })
            .await
            .unwrap_err();
        assert_eq!(failure.what, "no");
    }
}
