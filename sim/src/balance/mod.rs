//! How long messages take: real cores in virtual time, beside models of known policies and closed forms (design, 6.4).
//!
//! `setting` says what is compared and `load` what arrives; `mesh` runs the cores in the `shape` of a setting, with `people`
//! at them; `model` runs the policies; `measure` repeats both, `stats` says how sure that is and `theory` what is known
//! beforehand; `explain` looks at every frame and finds where waiting comes from; `report` writes it down. `scale` is about
//! a large mesh without load.

mod cores;
mod explain;
mod load;
mod measure;
mod mesh;
mod model;
mod people;
mod report;
mod sample;
pub mod scale;
mod setting;
mod shape;
mod stats;
mod theory;

use measure::{Effort, compare, settings};
use model::Policy;

pub use measure::Outside;

/// What to compare, and how well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Of all randomness.
    pub seed: u64,
    /// A short look instead of the real thing.
    pub quick: bool,
    /// Only the settings with numbers that begin the list, for profiling.
    pub first: usize,
    /// Tell where waiting comes from, setting by setting.
    pub explain: bool,
}

/// Compares Redlink with known policies; the document that says how it stands.
///
/// # Errors
/// If a core does something that it should not, without any fault around: a refusal, a lost message, a closed link.
pub fn run(options: &Options, outside: &mut Outside<'_>) -> anyhow::Result<String> {
    let effort = if options.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let mut all = Vec::new();
    for setting in settings().into_iter().take(options.first) {
        let slow = setting.slow != setting::Slow::Nobody;
        let policies: Vec<_> = Policy::ALL
            .into_iter()
            .filter(|&policy| match policy {
                Policy::Central => true,
                Policy::CentralFast => slow,
                _ => setting.shape == setting::Shape::Star,
            })
            .collect();
        let compared = compare(&setting, &policies, options.seed, effort, outside)?;
        if let Some(probe) = compared.probe.as_ref().filter(|_| options.explain) {
            (outside.tell)(&probe.to_string());
        }
        all.push(compared);
    }
    Ok(report::document(&all, options.seed, effort))
}
