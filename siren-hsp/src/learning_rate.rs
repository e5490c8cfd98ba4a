//! Learning rates over epochs.

use serde::{Deserialize, Serialize};
use siren_core::{Error, Result};

/// A learning rate that may change from epoch to epoch. It is constant within one, because the
/// workers' local steps and the store's updates must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningRate {
    /// The largest rate.
    pub base: f32,
    /// The rule by which the rate falls.
    pub decay: LrDecay,
    /// The number of warm-up epochs, or passes of progress, in which the rate rises to `base` in equal steps: with `w` of
    /// them, the rate of epoch `e` is `base * (e + 1) / (w + 1)`. Zero for no warm-up.
    pub warmup: u64,
    /// The time by which the rate changes.
    #[serde(default)]
    pub clock: LrClock,
}

/// The time by which a learning rate changes. It is read at each barrier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LrClock {
    /// The number of epochs.
    #[default]
    Epochs,
    /// The sum of the epochs' [progress](siren_core::EpochSummary::progress). Epochs with many
    /// workers, whose steps the noise rule shortens, count less. A run whose number of workers
    /// changes then has the rate of the work done so far.
    Progress,
}

/// The fall of a learning rate after the warm-up; `e` counts epochs, or passes of progress, from
/// the end of the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LrDecay {
    /// The rate stays constant.
    Constant,
    /// `base * factor^e`.
    Exponential {
        /// The factor per epoch, above 0 and at most 1.
        factor: f32,
    },
    /// `base * factor^(e / every)`, with the quotient rounded down.
    Step {
        /// The factor per step, above 0 and at most 1.
        factor: f32,
        /// Epochs between two steps.
        every: u64,
    },
    /// Half a cosine from the base to `last * base` over `epochs` epochs, and constant after them
    /// (Loshchilov, Hutter, "SGDR", 2017, without restarts).
    Cosine {
        /// Epochs, or passes of progress, until the last rate is reached. Under the clock of
        /// progress a run of as many epochs ends before it, since its progress is smaller.
        epochs: u64,
        /// The last rate, as a share of the base, 0 to 1.
        last: f32,
    },
}

impl From<f32> for LearningRate {
    /// A constant rate.
    fn from(base: f32) -> Self {
        Self { base, decay: LrDecay::Constant, warmup: 0, clock: LrClock::Epochs }
    }
}

impl LearningRate {
    /// The rate of an epoch, counted from 0, by the clock of epochs.
    ///
    /// ```
    /// use siren_hsp::{LearningRate, LrDecay};
    /// let decay = LrDecay::Step { factor: 0.5, every: 2 };
    /// let rate = LearningRate { decay, warmup: 1, ..0.1.into() };
    /// let rates: Vec<f32> = (0..6).map(|epoch| rate.at(epoch)).collect();
    /// assert_eq!(rates, [0.05, 0.1, 0.1, 0.05, 0.05, 0.025]);
    /// ```
    pub fn at(&self, epoch: u64) -> f32 {
        self.at_time(epoch as f64)
    }

    /// The rate of an epoch that begins after this progress, in passes over the data, by the rate's
    /// own clock.
    ///
    /// ```
    /// use siren_hsp::{LearningRate, LrClock, LrDecay};
    /// let decay = LrDecay::Step { factor: 0.5, every: 2 };
    /// let rate = LearningRate { decay, clock: LrClock::Progress, ..0.1.into() };
    /// // Four epochs with many workers brought the progress of not quite two passes.
    /// assert_eq!(rate.after(4, 1.9), 0.1);
    /// assert_eq!(LearningRate { clock: LrClock::Epochs, ..rate }.after(4, 1.9), 0.025);
    /// ```
    pub fn after(&self, epoch: u64, progress: f64) -> f32 {
        match self.clock {
            LrClock::Epochs => self.at(epoch),
            LrClock::Progress => self.at_time(progress),
        }
    }

    fn at_time(&self, time: f64) -> f32 {
        let warmup = self.warmup as f64;
        if time < warmup {
            return self.base * (time + 1.0) as f32 / (warmup + 1.0) as f32;
        }
        let time = time - warmup;
        let share = match self.decay {
            LrDecay::Constant => 1.0,
            LrDecay::Exponential { factor } => factor.powf(time as f32),
            LrDecay::Step { factor, every } => {
                factor.powf((time / every.max(1) as f64).floor() as f32)
            }
            LrDecay::Cosine { epochs, last } => {
                let done = (time as f32 / epochs.saturating_sub(1).max(1) as f32).min(1.0);
                last + (1.0 - last) * (1.0 + (std::f32::consts::PI * done).cos()) / 2.0
            }
        };
        self.base * share
    }

    /// Returns an error for rates that are negative or not finite, naming the setting.
    pub(crate) fn check(&self) -> Result<()> {
        let share = |name: &str, value: f32, least: bool| {
            if value <= 1.0 && (value > 0.0 || (least && value == 0.0)) {
                return Ok(());
            }
            Err(Error::rejected(format!(
                "the learning rate's {name} is {value}: give a share between 0 and 1"
            )))
        };
        if !self.base.is_finite() || self.base < 0.0 {
            return Err(Error::rejected(format!(
                "the learning rate is {}: give a finite number, 0 or more",
                self.base
            )));
        }
        match self.decay {
            LrDecay::Constant => Ok(()),
            LrDecay::Exponential { factor } | LrDecay::Step { factor, .. } => {
                share("factor", factor, false)
            }
            LrDecay::Cosine { last, .. } => share("last value", last, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_runs_from_the_base_to_the_last_rate() {
        let decay = LrDecay::Cosine { epochs: 3, last: 0.1 };
        let rate = LearningRate { decay, ..0.2.into() };
        let rates: Vec<f32> = (0..4).map(|epoch| rate.at(epoch)).collect();
        for (rate, expected) in rates.iter().zip([0.2, 0.11, 0.02, 0.02]) {
            assert!((rate - expected).abs() < 1e-6, "{rates:?}");
        }
    }

    #[test]
    fn bad_rates_are_refused_by_name() {
        for base in [-0.1, f32::NAN, f32::INFINITY] {
            assert!(LearningRate::from(base).check().is_err());
        }
        let decay = LrDecay::Exponential { factor: f32::NAN };
        let rate = LearningRate { decay, ..0.1.into() };
        assert!(rate.check().unwrap_err().message().contains("factor"));
    }
}
