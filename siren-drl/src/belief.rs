//! A scheduler's belief about a running job.

use std::sync::Arc;

use siren_core::Allocation;

use crate::model::{At, Chance, Dynamics, Epoch};
use crate::state::State;

/// A belief about a running job: a model of the job, the job's position, and the errors of the
/// model.
///
/// Progress is inferred from the loss. It never falls, and one observation adds at most a few
/// expected epochs, because losses are noisy. The ratios of observed to expected time, cost and
/// progress are averaged in logarithms. The model counts as much as a few epochs, and later epochs
/// count more than earlier ones, so that the ratios follow a drift.
#[derive(Clone)]
pub struct Belief {
    model: Arc<dyn Dynamics>,
    trust: f64,
    epoch: Option<u64>,
    at: At,
    budget_usd: f64,
    observed: u32,
    /// Logarithms of observed over expected seconds, dollars and ideal epochs.
    ratios: [f64; 3],
}

impl std::fmt::Debug for Belief {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Belief")
            .field("at", &self.at)
            .field("observed", &self.observed)
            .field("ratios", &self.ratios)
            .finish()
    }
}

/// The smallest weight of a new epoch: the rate at which old epochs are forgotten.
const FORGET: f64 = 0.05;
/// The largest progress that is inferred from one epoch, as a multiple of the expected progress.
const LEAP: f64 = 4.0;
/// Observed ratios are clamped to between one over this factor and the factor.
const FACTOR: f64 = 20.0;

impl Belief {
    /// A belief before the first epoch.
    pub fn new(model: Arc<dyn Dynamics>) -> Self {
        Self {
            model,
            trust: 4.0,
            epoch: None,
            at: At::default(),
            budget_usd: f64::INFINITY,
            observed: 0,
            ratios: [0.0; 3],
        }
    }

    /// The same belief with the model counting as much as this number of epochs (default 4).
    /// Infinity is for a model that is known to be right.
    #[must_use]
    pub fn with_trust(self, epochs: f64) -> Self {
        Self { trust: if epochs >= 0.0 { epochs } else { 0.0 }, ..self }
    }

    /// Forgets all but the model.
    pub fn reset(&mut self) {
        *self = Self::new(Arc::clone(&self.model)).with_trust(self.trust);
    }

    /// Learns from the state before an epoch. The same epoch again changes nothing; an earlier one
    /// starts a new job.
    pub fn observe(&mut self, state: &State) {
        match self.epoch {
            Some(before) if before == state.epoch => return,
            Some(before) if before > state.epoch => self.reset(),
            _ => {}
        }
        let seen = self.model.progress_at(state.loss);
        let seen = if seen >= 0.0 { seen } else { self.at.progress };
        let next = self.epoch.and_then(|epoch| epoch.checked_add(1)) == Some(state.epoch);
        match state.allocation {
            Some(allocation) if next && allocation.workers > 0 && allocation.memory_mb > 0 => {
                self.learn(state, allocation, seen);
            }
            // Epochs were missed: the loss is all that is known.
            _ if seen.is_finite() => self.at.progress = seen.max(self.at.progress),
            _ => {}
        }
        self.epoch = Some(state.epoch);
        self.at.epoch = state.epoch;
        self.at.memory_mb = state.allocation.map(|allocation| allocation.memory_mb);
        self.budget_usd = state.budget_usd;
    }

    fn learn(&mut self, state: &State, allocation: Allocation, seen: f64) {
        let expected = self.model.epoch(self.at, allocation, &Chance::EXPECTED);
        let gain = expected.progress * self.ratios[2].exp();
        if !(gain > 0.0 && gain.is_finite()) {
            return;
        }
        let brought = if state.loss.is_finite() {
            (seen - self.at.progress).clamp(0.0, LEAP * gain)
        } else {
            gain
        };
        self.at.progress += brought;
        self.observed = self.observed.saturating_add(1);
        let rate = 1.0 / (self.trust + f64::from(self.observed));
        let rate = if self.trust.is_finite() { rate.max(FORGET) } else { 0.0 };
        let pairs = [
            (state.elapsed_s, expected.elapsed_s),
            (self.budget_usd - state.budget_usd, expected.cost_usd),
            (brought, expected.progress),
        ];
        for (ratio, (observed, expected)) in self.ratios.iter_mut().zip(pairs) {
            let factor = (observed / expected).ln();
            if factor.is_finite() {
                let most = FACTOR.ln();
                *ratio += rate * (factor.clamp(-most, most) - *ratio);
            }
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<dyn Dynamics> {
        &self.model
    }

    /// The job's position: epoch, progress and last memory size.
    pub fn at(&self) -> At {
        self.at
    }

    /// The money left, in dollars.
    pub fn budget_usd(&self) -> f64 {
        self.budget_usd
    }

    /// Progress so far, in the model's ideal epochs.
    pub fn progress(&self) -> f64 {
        self.at.progress
    }

    /// Observed over expected seconds.
    pub fn time_ratio(&self) -> f64 {
        self.ratios[0].exp()
    }

    /// Observed over expected dollars.
    pub fn cost_ratio(&self) -> f64 {
        self.ratios[1].exp()
    }

    /// Observed over expected progress.
    pub fn progress_ratio(&self) -> f64 {
        self.ratios[2].exp()
    }

    /// The expected next epoch with this allocation: the model's prediction, corrected.
    pub fn expect(&self, allocation: Allocation) -> Epoch {
        self.corrected(self.model.epoch(self.at, allocation, &Chance::EXPECTED))
    }

    /// Corrects an epoch of the model by the observed ratios.
    pub fn corrected(&self, epoch: Epoch) -> Epoch {
        let time = self.time_ratio();
        Epoch {
            elapsed_s: epoch.elapsed_s * time,
            fetch_s: epoch.fetch_s * time,
            compute_s: epoch.compute_s * time,
            update_s: epoch.update_s * time,
            cost_usd: epoch.cost_usd * self.cost_ratio(),
            progress: epoch.progress * self.progress_ratio(),
            ..epoch
        }
    }
}
