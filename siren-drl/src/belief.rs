//! What a scheduler makes of what it observes.

use std::sync::Arc;

use siren_core::Allocation;

use crate::model::{At, Chance, Dynamics, Epoch};
use crate::state::State;

/// What is believed about a running job: a model of it, where it is, and by how much the model is wrong.
///
/// Progress is inferred from the loss. It never falls, and a single observation never moves it by more than
/// a few expected epochs: losses are noisy. By how much time, money and progress differ from the model's is
/// averaged in logarithms, as a factor each. The model's word counts as much as a few epochs do; later ones
/// count more than earlier ones, so that the factors follow what drifts.
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

/// The most that a single epoch counts: the rate at which old epochs are forgotten.
const FORGET: f64 = 0.05;
/// How many times the expected progress an epoch is believed to have brought at the most.
const LEAP: f64 = 4.0;
/// A factor of more than this, or less than one over it, is not believed.
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

    /// The same, where the model's word counts as much as so many epochs (4 unless told otherwise):
    /// infinitely many for a model that is known to be right.
    #[must_use]
    pub fn with_trust(self, epochs: f64) -> Self {
        Self { trust: if epochs >= 0.0 { epochs } else { 0.0 }, ..self }
    }

    /// Forgets all but the model.
    pub fn reset(&mut self) {
        *self = Self::new(Arc::clone(&self.model)).with_trust(self.trust);
    }

    /// Learns from the state before an epoch. The same epoch again changes nothing; an earlier one begins a
    /// new job.
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
            // Out of the blue: what the loss shows is all that is known.
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

    /// Where the job is.
    pub fn at(&self) -> At {
        self.at
    }

    /// The money left, in dollars.
    pub fn budget_usd(&self) -> f64 {
        self.budget_usd
    }

    /// Ideal epochs that were done, in the model's measure.
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

    /// What is to be expected of the next epoch with this allocation: the model's word, corrected.
    pub fn expect(&self, allocation: Allocation) -> Epoch {
        self.corrected(self.model.epoch(self.at, allocation, &Chance::EXPECTED))
    }

    /// An epoch of the model, corrected by what was observed.
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
