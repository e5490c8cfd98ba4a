//! Gradient noise: the plan's setting, the store's averages, and the figure for reports.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, SyncMode};

/// The use that a store makes of the noise in the updates of an epoch.
///
/// A store that measures takes the updates in *windows* of [eight](NoiseAverages::WINDOW). Under
/// bulk mode with several workers, a window is a round whose updates have equally many examples.
/// From the length of the updates and the length of their sum follow two numbers: the *signal*,
/// which is the squared length of the mean update, and the *noise*, which is the variance of an
/// update around the mean, summed over its entries. Their ratio is the *noise scale* B (McCandlish and others, "An empirical model of
/// large-batch training", 2018). As long as fewer updates than B are in flight, each of them brings
/// nearly as much progress as if it came alone.
///
/// ```
/// use siren_core::{Noise, NoiseAverages};
///
/// let measured = NoiseAverages { signal: 0.5, noise: 5.0, windows: 10, local_steps: 1 };
/// assert_eq!(measured.scale(), 10.0);
/// // Ten updates in flight: each brings 11/20 of the progress that it would bring alone.
/// assert_eq!(Noise::RULE.efficiency(&measured, 10), 0.55);
/// assert_eq!(Noise::RULE.efficiency(&measured, 1), 1.0);
/// assert_eq!(Noise::Measure.efficiency(&measured, 10), 1.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// Nothing is measured.
    #[default]
    Off,
    /// The noise scale is measured and reported. It changes no update.
    Measure,
    /// The noise scale is measured, and each update's step is multiplied by a factor that follows
    /// from its [efficiency](Noise::efficiency) and from the
    /// [optimizer](crate::Optimizer::step_factor): the more updates are in flight, the shorter the
    /// steps. One learning rate then suits any number of workers. Not for bulk mode, which applies
    /// one mean for each round.
    Rule {
        /// The number of workers that the learning rate was chosen for, usually 1. With no more
        /// updates in flight than this, the efficiency is exactly 1.
        tuned_for: u32,
    },
}

impl Noise {
    /// The rule, for a learning rate that was chosen with one worker.
    pub const RULE: Self = Self::Rule { tuned_for: 1 };

    /// The usual setting of a mode: measuring under bulk mode, and otherwise the rule for a rate that
    /// was chosen with one worker.
    pub fn usual(sync_mode: SyncMode) -> Self {
        match sync_mode {
            SyncMode::Bulk => Self::Measure,
            SyncMode::Hybrid | SyncMode::Stale { .. } => Self::RULE,
        }
    }

    /// `true` if the store measures noise.
    pub fn measures(self) -> bool {
        match self {
            Self::Off => false,
            Self::Measure | Self::Rule { .. } => true,
        }
    }

    /// The efficiency of an update: the progress that it brings, as a share of what it would bring
    /// if only as many updates were in flight as the rate was chosen for. It is
    /// `min(1, (B + n) / (B + S))`, with the noise scale B, the number of workers n that the rate
    /// was chosen for, and the number of updates in flight S: the larger one of the number of
    /// workers and the update's staleness plus one. It is AdaScale's gain (Johnson and others,
    /// 2020) for updates that are applied one by one. With B = 0 it is the staleness rule of Zhang
    /// and others, 2016.
    pub fn efficiency(self, averages: &NoiseAverages, in_flight: u64) -> f64 {
        match self {
            Self::Rule { tuned_for } if in_flight > u64::from(tuned_for) => {
                let scale = averages.scale();
                (scale + f64::from(tuned_for)) / (scale + in_flight as f64)
            }
            // Exactly one: a single worker keeps the bits of training without the rule.
            Self::Off | Self::Measure | Self::Rule { .. } => 1.0,
        }
    }

    pub(crate) fn check(self, merges_rounds: bool) -> Result<()> {
        match self {
            Self::Rule { tuned_for: 0 } => Err(Error::rejected(
                "the noise rule is for a rate chosen with 0 workers: give at least 1",
            )),
            Self::Rule { .. } if merges_rounds => Err(Error::rejected(
                "the noise rule with bulk mode, which applies one mean for each round: choose \
                 `measure` or `off`, or another mode",
            )),
            Self::Off | Self::Measure | Self::Rule { .. } => Ok(()),
        }
    }
}

/// The smallest signal that [`NoiseAverages::scale`] assumes, as a share of the noise. Below it, a
/// window cannot tell the signal from zero.
const FLOOR: f64 = 1e-3;

/// The share of the averages that is kept for each update.
const KEPT: f64 = 0.98;

/// Moving averages of signal and noise over windows of updates: the part of a store's state that
/// [`Noise`] adds to. After a window of k updates, an average keeps 0.98^k of its old value. A
/// store that is divided into parts may have one for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NoiseAverages {
    /// The average of the squared length of the mean update. It has no bias correction, and may be
    /// negative.
    pub signal: f64,
    /// The average of the variance of an update, with the same bias.
    pub noise: f64,
    /// The number of windows in the averages.
    pub windows: u64,
    /// The number of batches in each of these updates.
    pub local_steps: u64,
}

impl NoiseAverages {
    /// The number of updates in a window, except for the rounds of bulk mode.
    pub const WINDOW: u64 = 8;

    /// The noise scale B, in updates: the noise over the signal, at most 1,000. Zero before the
    /// first window.
    pub fn scale(&self) -> f64 {
        // Both averages have the same bias, so it cancels. The limit holds even where the floor
        // rounds to zero.
        if self.noise > 0.0 {
            (self.noise / self.signal.max(FLOOR * self.noise)).min(1.0 / FLOOR)
        } else {
            0.0
        }
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.signal.is_finite() && self.noise.is_finite()
    }

    /// `true` if a window of this signal and noise is below the least signal that can be told from
    /// zero.
    pub fn is_at_floor(signal: f64, noise: f64) -> bool {
        signal < FLOOR * noise
    }

    /// Adds a window of this number of updates. A value that is not finite changes nothing, and
    /// neither does a window of zeros, which says nothing about the noise.
    pub fn add(&mut self, updates: u64, signal: f64, noise: f64) {
        if !(signal.is_finite() && noise.is_finite()) || (signal == 0.0 && noise == 0.0) {
            return;
        }
        let kept = KEPT.powf(updates as f64);
        self.signal = kept * self.signal + (1.0 - kept) * signal;
        self.noise = kept * self.noise + (1.0 - kept) * noise;
        self.windows += 1;
    }

    /// The averages for updates of `local_steps` batches. The sum of k times as many gradients has
    /// k times the noise and k² times the signal.
    #[must_use]
    pub fn for_local_steps(self, local_steps: u64) -> Self {
        let local_steps = local_steps.max(1);
        if self.windows == 0 || self.local_steps == local_steps {
            return Self { local_steps, ..self };
        }
        let ratio = local_steps as f64 / self.local_steps.max(1) as f64;
        Self { signal: self.signal * ratio * ratio, noise: self.noise * ratio, local_steps, ..self }
    }

    /// The averages for a store of `parts` parts, from those of a store with any number.
    pub fn divided(all: &[Self], parts: usize) -> Vec<Self> {
        if all.len() == parts {
            return all.to_vec();
        }
        let share = 1.0 / parts.max(1) as f64;
        let sum = |of: fn(&Self) -> f64| share * all.iter().map(of).sum::<f64>();
        let part = Self {
            signal: sum(|part| part.signal),
            noise: sum(|part| part.noise),
            windows: all.iter().map(|part| part.windows).max().unwrap_or(0),
            local_steps: all.first().map_or(0, |part| part.local_steps),
        };
        vec![part; parts]
    }
}

/// The noise scale of an epoch, in examples, from the sums of signal and noise over its windows.
///
/// ```
/// use siren_core::NoiseScale;
/// let measured =
///     NoiseScale { examples: 123.4, standard_error: 9.8, above: false, at_floor: 0.1, windows: 90 };
/// assert_eq!(measured.to_string(), "123 ± 10 examples");
/// let bound = NoiseScale { examples: 8_123.0, standard_error: 0.0, above: true, ..measured };
/// assert_eq!(bound.to_string(), "above 8120 examples");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoiseScale {
    /// The noise scale; a lower bound of it if `above` is set.
    pub examples: f64,
    /// The standard error of the noise scale; zero for a lower bound.
    pub standard_error: f64,
    /// `true` if the signal is less than two standard errors above zero. `examples` then is the
    /// noise over a signal of two standard errors more than measured, or than zero if the measured
    /// one is negative.
    pub above: bool,
    /// The share of windows in which the signal was too small to be told from zero, 0 to 1.
    pub at_floor: f64,
    /// The number of windows.
    pub windows: u64,
}

impl fmt::Display for NoiseScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |value: f64| {
            let unit = 10_f64.powf((value.abs().max(1.0).log10().floor() - 2.0).max(0.0));
            (value / unit).round() * unit
        };
        match self.above {
            true => write!(f, "above {} examples", digits(self.examples)),
            false => {
                write!(f, "{} ± {} examples", digits(self.examples), digits(self.standard_error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_efficiency_falls_from_one_to_the_share_of_the_updates_in_flight() {
        let none = NoiseAverages::default();
        let rule = Noise::Rule { tuned_for: 4 };
        assert_eq!([1, 4, 8, 16].map(|n| rule.efficiency(&none, n)), [1.0, 1.0, 0.5, 0.25]);
        // No signal at all: the scale is at its limit of 1,000 updates.
        let pure = NoiseAverages { signal: -1.0, noise: 2.0, windows: 1, local_steps: 1 };
        assert_eq!(pure.scale(), 1_000.0);
        assert_eq!(Noise::RULE.efficiency(&pure, 1_001), 1_001.0 / 2_001.0);
    }

    #[test]
    fn averages_forget_and_ignore_what_is_not_finite() {
        let mut averages = NoiseAverages::default();
        averages.add(8, 1.0, 3.0);
        assert!((averages.scale() - 3.0).abs() < 1e-12, "the bias cancels");
        let before = averages;
        averages.add(8, f64::NAN, 1.0);
        averages.add(8, 1.0, f64::INFINITY);
        averages.add(8, 0.0, 0.0);
        assert_eq!(averages, before);
        for _ in 0..100 {
            averages.add(8, 1.0, 5.0);
        }
        assert!((averages.scale() - 5.0).abs() < 1e-4);
    }

    #[test]
    fn averages_too_small_to_divide_have_the_largest_scale() {
        for signal in [0.0, -1e-323] {
            let tiny = NoiseAverages { signal, noise: 1e-323, windows: 9, local_steps: 1 };
            assert_eq!(tiny.scale(), 1_000.0);
            assert!(Noise::RULE.efficiency(&tiny, 100).is_finite());
        }
    }

    #[test]
    fn the_scale_in_batches_does_not_depend_on_the_local_steps() {
        let one = NoiseAverages { signal: 2.0, noise: 24.0, windows: 3, local_steps: 1 };
        let four = one.for_local_steps(4);
        assert_eq!((one.scale(), four.scale(), four.local_steps), (12.0, 3.0, 4));
        assert_eq!(four.for_local_steps(1), one);
    }

    #[test]
    fn parts_of_another_number_share_the_sum() {
        let part = |signal| NoiseAverages { signal, noise: 4.0, windows: 3, local_steps: 1 };
        let two = [part(1.0), part(3.0)];
        assert_eq!(NoiseAverages::divided(&two, 2), two);
        assert_eq!(NoiseAverages::divided(&two, 4), [NoiseAverages { noise: 2.0, ..part(1.0) }; 4]);
        assert_eq!(NoiseAverages::divided(&[], 3), [NoiseAverages::default(); 3]);
    }

    #[test]
    fn the_rule_is_refused_where_it_means_nothing() {
        Noise::RULE.check(false).unwrap();
        Noise::Measure.check(true).unwrap();
        let bulk = Noise::RULE.check(true).unwrap_err();
        assert!(bulk.message().contains("bulk"), "{bulk}");
        let zero = Noise::Rule { tuned_for: 0 }.check(false).unwrap_err();
        assert!(zero.message().contains("at least 1"), "{zero}");
    }
}
