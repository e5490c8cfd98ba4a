//! The measurement of gradient noise, over all entries.

use siren_core::{EpochPlan, Noise, NoiseAverages, NoiseScale, Update};

use super::super::Fault;

/// The measurement in an epoch.
#[derive(Default)]
pub(super) struct Measured {
    /// The updates of the open window.
    pub(super) window: Vec<Vec<f32>>,
    windows: u64,
    signal: f64,
    noise: f64,
    factors: f64,
    progress: f64,
    updates: u64,
}

impl Measured {
    pub(super) fn with_window(window: Vec<Vec<f32>>) -> Self {
        Self { window, ..Self::default() }
    }

    /// The factor of an update that is applied to parameters of `version`.
    pub(super) fn factor(
        &mut self,
        plan: &EpochPlan,
        averages: NoiseAverages,
        version: u64,
        update: &Update<'_>,
        has: impl Fn(Fault) -> bool,
    ) -> f64 {
        let staleness = match has(Fault::RuleIgnoresStaleness) {
            true => 0,
            false => version.saturating_sub(update.version),
        };
        let mut in_flight = u64::from(plan.shards).max(staleness + 1);
        let mut rule = plan.noise;
        if has(Fault::RuleIsIgnored) {
            rule = Noise::Measure;
        }
        if has(Fault::MeasuringShortensSteps) && plan.noise == Noise::Measure {
            rule = Noise::RULE;
        }
        if has(Fault::RuleShortensASingleWorker) {
            in_flight += 1;
        }
        let efficiency = rule.efficiency(&averages, in_flight);
        let factor = match has(Fault::RuleIgnoresTheOptimizer) {
            true => efficiency,
            false => plan.optimizer.step_factor(efficiency),
        };
        self.factors += factor;
        self.progress += update.examples as f64
            * if has(Fault::ProgressSumsTheFactors) { factor } else { efficiency };
        self.updates += 1;
        factor
    }

    /// Adds an applied update.
    pub(super) fn add(&mut self, averages: &mut NoiseAverages, plan: &EpochPlan, update: Vec<f32>) {
        if plan.noise.measures() {
            self.window.push(update);
            if self.window.len() == 8 {
                self.end(averages);
            }
        }
    }

    /// Adds the updates of a round.
    pub(super) fn add_round(
        &mut self,
        averages: &mut NoiseAverages,
        plan: &EpochPlan,
        round: Vec<(u64, Vec<f32>)>,
        has: impl Fn(Fault) -> bool,
    ) {
        let equal = round.iter().all(|(examples, _)| *examples == round[0].0);
        if has(Fault::BulkMeasuresEightUpdates) {
            round.into_iter().for_each(|(_, update)| self.add(averages, plan, update));
        } else if plan.noise.measures() && equal && round.len() > 1 {
            self.window = round.into_iter().map(|(_, update)| update).collect();
            self.end(averages);
        }
    }

    fn end(&mut self, averages: &mut NoiseAverages) {
        let k = self.window.len() as f64;
        let square = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let squares = self.window.iter().map(|update| square(update)).sum::<f64>() / k;
        let mut mean = vec![0.0_f32; self.window[0].len()];
        for update in self.window.drain(..) {
            mean.iter_mut().zip(update).for_each(|(mean, x)| *mean += x / k as f32);
        }
        let signal = (k * square(&mean) - squares) / (k - 1.0);
        let noise = k * (squares - square(&mean)) / (k - 1.0);
        averages.add(k as u64, signal, noise);
        self.windows += 1;
        self.signal += signal;
        self.noise += noise;
    }

    /// The mean factor, the progress, and the noise scale of the epoch.
    pub(super) fn summary(
        &self,
        plan: &EpochPlan,
        examples: u64,
    ) -> (f64, f64, Option<NoiseScale>) {
        let updates = self.updates.max(1) as f64;
        let scale = (self.windows > 1).then(|| NoiseScale {
            examples: self.noise / self.signal * examples as f64 / updates,
            standard_error: 0.0,
            above: false,
            at_floor: 0.0,
            windows: self.windows,
        });
        let factor = if self.updates == 0 { 1.0 } else { self.factors / updates };
        (factor, self.progress / plan.examples as f64, scale)
    }
}
