//! The weights in training.

use siren_core::Optimizer;
use siren_hsp::kernel::{self, Step};

use super::settings::TrainingSettings;

/// The parameters of policy and critic in one vector, Adam's moments, and the running average.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights {
    pub(super) params: Vec<f32>,
    pub(super) average: Vec<f32>,
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
    /// Updates so far, of the policy and of the critic.
    pub(super) updates: [u64; 2],
    /// The index of the critic's first parameter.
    pub(super) cut: usize,
}

impl Weights {
    pub(super) fn new(params: Vec<f32>, cut: usize) -> Self {
        let zeros = vec![0.0; params.len()];
        Self {
            average: params.clone(),
            first: zeros.clone(),
            second: zeros,
            updates: [0; 2],
            params,
            cut,
        }
    }

    /// Takes one step of Adam, separately for the policy and the critic, with the learning rates
    /// times `fall`.
    pub(super) fn descend(
        &mut self,
        gradient: &[f32],
        settings: &TrainingSettings,
        fall: f32,
        policy: bool,
    ) {
        let optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-5 };
        let parts = [
            (0..self.cut, settings.rate, policy),
            (self.cut..self.params.len(), settings.critic_rate, true),
        ];
        for (updates, (range, rate, trained)) in self.updates.iter_mut().zip(parts) {
            if !trained {
                continue;
            }
            let gradient = &gradient[range.clone()];
            let norm = kernel::squared_norm(gradient);
            let scale = kernel::clip_scale(Some(settings.clip_norm), 1, norm);
            let mut slots = [&mut self.first[range.clone()], &mut self.second[range.clone()]];
            *updates += 1;
            let step = Step { optimizer, rate: rate * fall, scale, decay: 0.0 };
            step.apply(*updates, &mut self.params[range], &mut slots, gradient);
        }
    }

    /// Moves the average towards the parameters.
    pub(super) fn average(&mut self, keep: f32) {
        for (average, param) in self.average.iter_mut().zip(&self.params) {
            *average = keep * *average + (1.0 - keep) * param;
        }
    }

    /// Restarts the optimizer and the average from the current parameters.
    pub(super) fn restart(&mut self) {
        *self = Self::new(std::mem::take(&mut self.params), self.cut);
    }
}
