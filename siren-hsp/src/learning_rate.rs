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
    /// The number of warm-up epochs, in which the rate rises to `base` in equal steps: with `w` of
    /// them, the rate of epoch `e` is `base * (e + 1) / (w + 1)`. Zero for no warm-up.
    pub warmup: u64,
}

/// The fall of a learning rate after the warm-up; `e` counts epochs from the end of the warm-up.
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
        /// Epochs until the last rate is reached.
        epochs: u64,
        /// The last rate, as a share of the base, 0 to 1.
        last: f32,
    },
}

impl From<f32> for LearningRate {
    /// A constant rate.
    fn from(base: f32) -> Self {
        Self { base, decay: LrDecay::Constant, warmup: 0 }
    }
}

impl LearningRate {
    /// The rate of an epoch, counted from 0.
    ///
    /// ```
    /// use siren_hsp::{LrDecay, LearningRate};
    /// let rate = LearningRate {
    ///     base: 0.1,
    ///     decay: LrDecay::Step { factor: 0.5, every: 2 },
    ///     warmup: 1,
    /// };
    /// let rates: Vec<f32> = (0..6).map(|epoch| rate.at(epoch)).collect();
    /// assert_eq!(rates, [0.05, 0.1, 0.1, 0.05, 0.05, 0.025]);
    /// ```
    pub fn at(&self, epoch: u64) -> f32 {
        if epoch < self.warmup {
            return self.base * (epoch + 1) as f32 / (self.warmup + 1) as f32;
        }
        let epoch = epoch - self.warmup;
        let share = match self.decay {
            LrDecay::Constant => 1.0,
            LrDecay::Exponential { factor } => factor.powf(epoch as f32),
            LrDecay::Step { factor, every } => factor.powf((epoch / every.max(1)) as f32),
            LrDecay::Cosine { epochs, last } => {
                let done = (epoch as f32 / epochs.saturating_sub(1).max(1) as f32).min(1.0);
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
        let rate =
            LearningRate { base: 0.2, decay: LrDecay::Cosine { epochs: 3, last: 0.1 }, warmup: 0 };
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
