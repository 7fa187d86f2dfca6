//! What arrives: Poisson arrivals, each with its producer and its work, the same ones for every policy that is compared.

use crate::rng::Rng;
use crate::scenario::{MS, SECOND, Time};

/// Mean time that a consumer of normal speed works on a message.
pub(crate) const WORK: Time = 100 * MS;
/// The longest work of [`Work::HeavyTailed`].
const LONGEST: f64 = 10.0 * SECOND as f64;
/// The shortest of it: that makes the mean [`WORK`].
const SHORTEST: f64 = 35_463.0;
/// Its tail: the chance of twice the work is smaller by 2 to the power of this.
const TAIL: f64 = 1.5;

/// How long messages keep a consumer busy, always [`WORK`] on average.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Without memory.
    Exponential,
    /// Always the same.
    Constant,
    /// A Pareto distribution with exponent 1.5, cut at 10 s: few messages are most of the work.
    HeavyTailed,
}

impl Work {
    fn draw(self, rng: &mut Rng) -> Time {
        // 53 random bits: above 0, at most 1.
        let chance = ((rng.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        let micros = match self {
            Self::Exponential => WORK as f64 * -chance.ln(),
            Self::Constant => WORK as f64,
            Self::HeavyTailed => {
                let cut = 1.0 - (SHORTEST / LONGEST).powf(TAIL);
                SHORTEST * (1.0 - cut * (1.0 - chance)).powf(-1.0 / TAIL)
            }
        };
        (micros as Time).max(1)
    }

    /// Variance over the square of the mean, which is what the mean wait in a single queue depends on.
    pub(crate) fn variability(self) -> f64 {
        match self {
            Self::Exponential => 1.0,
            Self::Constant => 0.0,
            Self::HeavyTailed => {
                let scale = TAIL * SHORTEST.powf(TAIL) / (1.0 - (SHORTEST / LONGEST).powf(TAIL));
                let moment = |k: f64| scale / (k - TAIL) * (LONGEST.powf(k - TAIL) - SHORTEST.powf(k - TAIL));
                moment(2.0) / moment(1.0).powi(2) - 1.0
            }
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exponential => "exponential",
            Self::Constant => "constant",
            Self::HeavyTailed => "heavy-tailed",
        }
    }
}

/// One message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrival {
    /// When it is submitted, since the load began.
    pub(crate) at: Time,
    /// By which producer.
    pub(crate) producer: u32,
    /// For how long it keeps a consumer of normal speed busy.
    pub(crate) work: Time,
}

/// An endless stream of messages.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    gaps: Rng,
    places: Rng,
    works: Rng,
    gap: f64,
    at: f64,
    producers: u32,
    work: Work,
}

impl Load {
    /// `rate` messages a second, over so many producers, each as busy as the others.
    pub(crate) fn new(seed: u64, replication: u32, rate: f64, producers: u32, work: Work) -> Self {
        let stream = |name: &str| Rng::new(seed, &format!("{name} {replication}"));
        Self {
            gaps: stream("gaps"),
            places: stream("places"),
            works: stream("works"),
            gap: SECOND as f64 / rate,
            at: 0.0,
            producers,
            work,
        }
    }
}

impl Iterator for Load {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let chance = ((self.gaps.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        self.at += self.gap * -chance.ln();
        Some(Arrival {
            at: self.at as Time,
            producer: self.places.below(u64::from(self.producers)) as u32,
            work: self.work.draw(&mut self.works),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_work_has_the_mean_that_it_says() {
        for work in [Work::Exponential, Work::Constant, Work::HeavyTailed] {
            let (n, mut sum, mut squares) = (400_000, 0.0, 0.0);
            for arrival in Load::new(1, 0, 1_000.0, 3, work).take(n) {
                sum += arrival.work as f64;
                squares += (arrival.work as f64).powi(2);
            }
            let mean = sum / n as f64;
            let variability = squares / n as f64 / mean.powi(2) - 1.0;
            assert!(
                (mean / WORK as f64 - 1.0).abs() < 0.01,
                "{work:?}: mean {mean} us"
            );
            let error = (variability - work.variability()).abs();
            assert!(
                error < 0.25,
                "{work:?}: {variability} is not {}",
                work.variability()
            );
        }
    }

    #[test]
    fn arrivals_come_at_their_rate_and_from_every_producer() {
        let last = Load::new(2, 1, 500.0, 4, Work::Constant).nth(99_999).unwrap();
        assert!(
            (last.at as f64 / (200.0 * SECOND as f64) - 1.0).abs() < 0.02,
            "{last:?}"
        );
        let from = |p| {
            Load::new(2, 1, 500.0, 4, Work::Constant)
                .take(1_000)
                .filter(move |a| a.producer == p)
        };
        assert!((0..4).all(|p| (200..300).contains(&from(p).count())));
    }
}
