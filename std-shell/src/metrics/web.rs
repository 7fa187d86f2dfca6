//! Requests, by route.

use super::{BOUNDS, Histogram};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Of one route. Requests of many threads are counted at once, so its numbers are atomics.
#[derive(Debug)]
pub(crate) struct RouteMeter {
    method: &'static str,
    path: &'static str,
    /// By the first digit of the answer's status, from 1.
    classes: [AtomicU64; 5],
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl RouteMeter {
    /// A request was answered: the head of its answer is there.
    pub(crate) fn answered(&self, status: http::StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(count) = self.classes.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|&bound| bound < micros);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// All routes of a node.
#[derive(Debug, Default)]
pub struct WebMeters {
    routes: Mutex<Vec<Arc<RouteMeter>>>,
}

/// The numbers of one route.
#[derive(Debug)]
pub(super) struct RouteCount {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) classes: [u64; 5],
    pub(super) times: Histogram,
}

impl WebMeters {
    /// Adds a route.
    pub(crate) fn add(&self, method: &'static str, path: &'static str) -> Arc<RouteMeter> {
        let meter = Arc::new(RouteMeter {
            method,
            path,
            classes: Default::default(),
            buckets: Default::default(),
            micros: AtomicU64::new(0),
        });
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.push(meter.clone());
        meter
    }

    /// The numbers of those that were asked for something.
    pub(super) fn counts(&self) -> Vec<RouteCount> {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let all = routes.iter().map(|route| RouteCount {
            method: route.method,
            path: route.path,
            classes: route.classes.each_ref().map(read),
            times: Histogram::from_counts(route.buckets.each_ref().map(read), read(&route.micros)),
        });
        all.filter(|route| route.times.count() > 0).collect()
    }
}
