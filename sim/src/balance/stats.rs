//! From samples to statements: means over independent replications, with how sure they are.

/// A mean and half the width of its 95 % confidence interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Estimate {
    pub(crate) mean: f64,
    pub(crate) half: f64,
}

/// Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

impl Estimate {
    /// From one value for each of several independent replications.
    pub(crate) fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let n = values.clone().count();
        let mean = values.clone().sum::<f64>() / n as f64;
        if n < 2 {
            return Self {
                mean,
                half: f64::INFINITY,
            };
        }
        let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
        let student = STUDENT.get(n - 2).copied().unwrap_or(1.96);
        Self {
            mean,
            half: student * (variance / n as f64).sqrt(),
        }
    }

    /// Half the interval as a part of the mean.
    pub(crate) fn relative(&self) -> f64 {
        self.half / self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        let e = Estimate::of([1.0, 2.0, 3.0].into_iter());
        assert!((e.mean - 2.0).abs() < 1e-12);
        assert!((e.half - 4.303 / 3.0_f64.sqrt()).abs() < 1e-12);
        assert!(Estimate::of([5.0].into_iter()).half.is_infinite());
    }

    /// About 95 of 100 intervals hold the true mean.
    #[test]
    fn intervals_hold_what_they_promise() {
        let mut rng = crate::rng::Rng::new(1, "intervals");
        let held = (0..2_000).filter(|_| {
            let values: Vec<f64> = (0..8).map(|_| rng.below(1_000_001) as f64).collect();
            let e = Estimate::of(values.into_iter());
            (e.mean - 500_000.0).abs() <= e.half
        });
        let held = held.count();
        assert!((1_850..1_950).contains(&held), "{held} of 2000");
    }
}
