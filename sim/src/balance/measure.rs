//! Replications of one setting under all policies, with the same arrivals and the same work for each.

use super::explain::Probe;
use super::mesh;
use super::model::{self, Policy};
use super::sample::{Cost, Sample};
use super::setting::{Setting, Shape, Slow, Span};
use super::shape::Plan;
use super::stats::Estimate;
use super::theory;
use crate::scenario::{MS, SECOND};
use anyhow::Result;

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Effort {
    pub(crate) span: Span,
    /// Replications at least and at most.
    pub(crate) replications: (u32, u32),
    /// Enough when the confidence interval of the mean is within this part of it, for Redlink and the central queue.
    pub(crate) precise: f64,
}

impl Effort {
    /// For the table.
    pub(crate) const FULL: Self = Self {
        span: Span {
            warm: 90 * SECOND,
            counted: 90 * SECOND,
        },
        replications: (5, 30),
        precise: 0.02,
    };
    /// To see where it goes.
    pub(crate) const QUICK: Self = Self {
        span: Span {
            warm: 20 * SECOND,
            counted: 20 * SECOND,
        },
        replications: (2, 2),
        precise: 1.0,
    };
}

/// One policy in one setting.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Empty if its queue grows without end.
    pub(crate) samples: Vec<Sample>,
    /// Mean response by theory, in milliseconds.
    pub(crate) closed: Option<f64>,
}

/// All of them.
pub(crate) struct Comparison {
    pub(crate) setting: Setting,
    /// The central queue first.
    pub(crate) models: Vec<Row>,
    pub(crate) redlink: Row,
    pub(crate) cost: Cost,
    pub(crate) probe: Option<Probe>,
}

/// What the caller knows and the simulation does not: real seconds, and whom to tell how it goes.
pub struct Outside<'a> {
    /// Seconds since some moment.
    pub clock: &'a dyn Fn() -> f64,
    /// Hears how it goes.
    pub tell: &'a mut dyn FnMut(&str),
}

impl Row {
    pub(crate) fn of(&self, value: impl Fn(&Sample) -> f64) -> Estimate {
        Estimate::of(self.samples.iter().map(value).collect::<Vec<_>>().into_iter())
    }

    pub(crate) fn mean(&self) -> Estimate {
        self.of(Sample::mean)
    }

    /// A value against the same one of another policy, replication by replication.
    pub(crate) fn against(&self, ideal: &Self, value: impl Fn(&Sample) -> f64) -> Estimate {
        let pairs = self.samples.iter().zip(&ideal.samples);
        Estimate::of(
            pairs
                .map(|(a, b)| value(a) / value(b))
                .collect::<Vec<_>>()
                .into_iter(),
        )
    }
}

impl Comparison {
    /// The policy that knows everything and has the smallest p95.
    pub(crate) fn ideal(&self) -> &Row {
        let central = self
            .models
            .iter()
            .take_while(|row| row.name.starts_with("central"));
        let p95 = |row: &&Row| row.of(|sample| sample.percentile(95.0)).mean;
        central
            .min_by(|a, b| p95(a).total_cmp(&p95(b)))
            .unwrap_or(&self.models[0])
    }
}

/// Mean response by theory, where there is a closed form.
fn closed(policy: Policy, s: &Setting) -> Option<f64> {
    let load = f64::from(s.load) / 100.0;
    let memoryless = s.work == super::load::Work::Exponential;
    let in_works = match policy {
        _ if s.slow != Slow::Nobody => return None,
        Policy::Central if memoryless => theory::mmc(s.nodes * s.consumers, load),
        Policy::Random if memoryless => theory::mmc(s.consumers, load),
        Policy::Random if s.consumers == 1 => theory::mg1(load, s.work.variability()),
        _ => return None,
    };
    Some((in_works * super::load::WORK as f64 + 2.0 * s.delay as f64) / MS as f64)
}

/// Compares all policies; `policies` of the models.
pub(crate) fn compare(
    setting: &Setting,
    policies: &[Policy],
    seed: u64,
    effort: Effort,
    outside: &mut Outside<'_>,
) -> Result<Comparison> {
    let row = |policy: &Policy| Row {
        name: policy.name(),
        samples: Vec::new(),
        closed: closed(*policy, setting),
    };
    let plan = Plan::of(setting);
    let places = plan
        .places
        .iter()
        .flat_map(|&host| (0..setting.consumers).map(move |_| host));
    let probe = Probe::new(places, plan.capacities.len(), mesh::BEGIN + effort.span.warm);
    let mut all = Comparison {
        setting: *setting,
        models: policies.iter().map(row).collect(),
        redlink: Row {
            name: "Redlink",
            samples: Vec::new(),
            closed: None,
        },
        cost: Cost::default(),
        probe: None,
    };
    let mut endless = vec![false; policies.len()];
    let (mut events, mut seconds) = (0, 0.0);
    for replication in 0..effort.replications.1 {
        let draw = (seed, replication);
        for (at, &policy) in policies.iter().enumerate() {
            if endless[at] {
                continue;
            }
            match model::run(policy, setting, draw, effort.span) {
                Some(sample) => all.models[at].samples.push(sample),
                None => {
                    endless[at] = true;
                    all.models[at].samples.clear();
                }
            }
        }
        // The first one is looked at frame by frame, the others are as quick as they can be.
        let look = (replication == 0).then(|| probe.clone());
        let before = (outside.clock)();
        let Some(done) = mesh::run(setting, draw, effort.span, look)? else {
            all.redlink.samples.clear();
            break;
        };
        if replication > 0 {
            seconds += (outside.clock)() - before;
            events += done.events;
        }
        if let Some(probe) = done.probe {
            all.probe = Some(probe);
        }
        all.cost.add(&done.cost);
        all.redlink.samples.push(done.sample);
        let precise = |row: &Row| row.mean().relative() <= effort.precise;
        let enough = precise(&all.redlink) && precise(&all.models[0]);
        if replication + 1 >= effort.replications.0 && enough {
            break;
        }
    }
    let Setting { nodes, consumers, .. } = setting;
    (outside.tell)(&format!(
        "{}, {nodes} nodes with {consumers} each, {}: {} replications, mean {:.2} ms, {:.0} core events/s",
        setting.shape.name(),
        setting.work.name(),
        all.redlink.samples.len(),
        all.redlink.mean().mean,
        events as f64 / seconds
    ));
    Ok(all)
}

/// What is looked at, in the order of the table.
pub(crate) fn settings() -> Vec<Setting> {
    use super::load::Work;
    let slow = |nodes, consumers, slow| Setting {
        slow,
        ..Setting::star(nodes, consumers, 80)
    };
    let mut all = vec![
        Setting::star(10, 10, 90),
        Setting::star(100, 1, 90),
        slow(100, 1, Slow::Nodes),
        slow(10, 10, Slow::Nodes),
        slow(10, 10, Slow::Consumers),
    ];
    for (nodes, consumers) in [(10, 10), (100, 1)] {
        let star = Setting::star(nodes, consumers, 90);
        all.extend([Work::Constant, Work::HeavyTailed].map(|work| Setting { work, ..star }));
    }
    for (nodes, consumers) in [(10, 10), (100, 1)] {
        let star = Setting::star(nodes, consumers, 90);
        all.extend(
            [Shape::StarEverywhere, Shape::TwoHubs, Shape::Tree].map(|shape| Setting { shape, ..star }),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::load::Work;

    fn model(policy: Policy, setting: &Setting) -> Estimate {
        let span = Span {
            warm: 20 * SECOND,
            counted: 300 * SECOND,
        };
        let runs = (0..8).filter_map(|n| model::run(policy, setting, (7, n), span));
        Estimate::of(runs.map(|sample| sample.mean()).collect::<Vec<_>>().into_iter())
    }

    #[test]
    fn simulated_queues_agree_with_their_closed_forms() {
        let small = Setting::star(5, 2, 80);
        let single = Setting::star(10, 1, 70);
        let constant = Setting {
            work: Work::Constant,
            ..single
        };
        for (policy, setting) in [
            (Policy::Central, small),
            (Policy::Random, small),
            (Policy::Random, single),
            (Policy::Random, constant),
        ] {
            let (seen, theory) = (model(policy, &setting), closed(policy, &setting).unwrap());
            assert!(seen.relative() < 0.08, "{policy:?} {setting:?}: {seen:?}");
            let error = (seen.mean - theory).abs();
            assert!(
                error <= seen.half,
                "{policy:?} {setting:?}: {seen:?}, by theory {theory}"
            );
        }
    }

    #[test]
    fn an_overloaded_queue_is_found_to_grow_without_end() {
        let slow = Setting {
            slow: Slow::Nodes,
            ..Setting::star(10, 1, 80)
        };
        let span = Effort::FULL.span;
        assert!(
            model::run(
                Policy::Random,
                &slow,
                (1, 0),
                Span {
                    counted: 10_000 * SECOND,
                    ..span
                }
            )
            .is_none()
        );
        assert!(model::run(Policy::LeastLoaded, &slow, (1, 0), span).is_some());
    }

    fn redlink(setting: &Setting) -> Comparison {
        let effort = Effort {
            span: Span {
                warm: 2 * SECOND,
                counted: 4 * SECOND,
            },
            replications: (1, 1),
            precise: 1.0,
        };
        let (clock, tell) = (|| 0.0, &mut |_: &str| {});
        let mut outside = Outside { clock: &clock, tell };
        compare(
            setting,
            &[Policy::Central, Policy::CentralFast],
            3,
            effort,
            &mut outside,
        )
        .unwrap()
    }

    /// The same seed gives the same numbers to the last digit, whoever looks.
    #[test]
    fn a_mesh_repeats() {
        let setting = Setting {
            shape: Shape::Tree,
            ..Setting::star(4, 2, 90)
        };
        let span = Span {
            warm: SECOND,
            counted: 4 * SECOND,
        };
        let seen = |draw| {
            let done = mesh::run(&setting, draw, span, None).unwrap().unwrap();
            let sample = done.sample;
            (
                sample.messages,
                sample.mean().to_bits(),
                sample.percentile(99.0).to_bits(),
                done.cost,
            )
        };
        let first = seen((5, 0));
        assert_eq!(first, seen((5, 0)));
        assert_ne!(first, seen((6, 0)));
        assert_ne!(first, seen((5, 1)));
        let arrivals = setting
            .arrivals(5, 0)
            .take_while(|a| a.at < span.warm + span.counted);
        let counted = arrivals.filter(|a| a.at >= span.warm).count() as u64;
        assert_eq!(first.0, counted, "every message that counts is there once");
    }

    /// The goal is 15 %; a short run may be off by as much again.
    #[test]
    fn consumers_behind_a_hundred_nodes_are_nearly_one_queue() {
        let all = redlink(&Setting::star(100, 1, 90));
        let ratio = all.redlink.against(&all.models[0], Sample::mean).mean;
        assert!((1.0..1.3).contains(&ratio), "{ratio}");
    }

    /// The goal is 5 %; a short run may be off by as much again.
    #[test]
    fn ten_nodes_with_ten_consumers_are_nearly_one_queue() {
        let all = redlink(&Setting::star(10, 10, 90));
        let ratio = all.redlink.against(&all.models[0], Sample::mean).mean;
        assert!((1.0..1.1).contains(&ratio), "{ratio}");
    }

    /// The goal is a quarter.
    #[test]
    fn slow_consumers_hardly_hurt() {
        let all = redlink(&Setting {
            slow: Slow::Nodes,
            ..Setting::star(100, 1, 80)
        });
        let ratio = all
            .redlink
            .against(all.ideal(), |sample| sample.percentile(95.0))
            .mean;
        assert!((1.0..1.25).contains(&ratio), "{ratio}");
    }
}
