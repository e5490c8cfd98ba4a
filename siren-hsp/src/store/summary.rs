//! The summary of a sealed epoch.

use siren_core::{EpochPlan, EpochSummary, Staleness, Watermark};

use super::noise::{Sums, noise_scale};

/// The counts of a store in an epoch.
pub(super) struct Totals<'a> {
    /// The number of updates in the parameters, over all epochs.
    pub(super) version: u64,
    pub(super) watermarks: Vec<Watermark>,
    /// The sum and the maximum of the updates' staleness.
    pub(super) staleness: u64,
    pub(super) staleness_max: u64,
    /// The sum of the factors of the updates' steps.
    pub(super) factors: f64,
    /// The sum of the updates' examples times their efficiency.
    pub(super) progress: f64,
    /// The sums of the noise, one for each part of the store that measures.
    pub(super) noise: &'a [Sums],
}

impl Totals<'_> {
    pub(super) fn summary(self, plan: &EpochPlan) -> EpochSummary {
        let marks = &self.watermarks;
        let updates: u64 = marks.iter().map(|mark| plan.updates(mark.batches)).sum();
        let examples: u64 = marks.iter().map(|mark| mark.examples).sum();
        let divisor = updates.max(1) as f64;
        EpochSummary {
            epoch: plan.epoch,
            version: self.version,
            staleness: Staleness { mean: self.staleness as f64 / divisor, max: self.staleness_max },
            step_factor: if updates == 0 { 1.0 } else { self.factors / divisor },
            progress: self.progress / plan.examples as f64,
            noise: noise_scale(self.noise, examples as f64 / divisor),
            watermarks: self.watermarks,
        }
    }
}
