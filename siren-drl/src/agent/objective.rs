//! What the policy gradient follows.

use siren_burn::Learner;
use siren_burn::burn::prelude::*;
use siren_core::{Batch, Result};

use super::network::{ACTIONS, Network, log_prob};
use super::settings::Settings;

/// PPO's clipped surrogate, the critic's squared error, and entropy. With one pass over one batch it is
/// the policy gradient itself: the ratio is 1, and its gradient that of the logarithm of the density.
pub(super) struct Objective {
    pub(super) inputs: usize,
    pub(super) settings: Settings,
}

/// One row of a batch: the state as it is seen, the action, the logarithm of its density when it was
/// drawn, its advantage, and the return that the critic is to estimate.
pub(super) struct Rows {
    states: Tensor<2>,
    actions: Tensor<2>,
    log_probs: Tensor<2>,
    advantages: Tensor<2>,
    returns: Tensor<2>,
}

impl Objective {
    /// Numbers of one row.
    pub(super) fn width(&self) -> usize {
        self.inputs + ACTIONS + 3
    }
}

impl Learner for Objective {
    type Module = Network;
    type Batch = Rows;

    fn init(&self, device: &Device) -> Network {
        Network::new(self.inputs, self.settings.hidden, self.settings.sigma, device)
    }

    fn batch(&self, batch: &Batch<'_>, device: &Device) -> Result<Rows> {
        let rows = batch.floats(self.width())?;
        let mut start = 0;
        let mut columns = |count: usize| {
            let from = start;
            start += count;
            let values: Vec<f32> = rows
                .chunks_exact(self.width())
                .flat_map(|row| &row[from..from + count])
                .copied()
                .collect();
            Tensor::from_data(TensorData::new(values, [batch.examples, count]), device)
        };
        Ok(Rows {
            states: columns(self.inputs),
            actions: columns(ACTIONS),
            log_probs: columns(1),
            advantages: columns(1),
            returns: columns(1),
        })
    }

    fn loss(&self, network: &Network, rows: Rows) -> Tensor<1> {
        let Settings { clip, entropy, log_sigma, .. } = self.settings;
        let Rows { states, actions, log_probs, advantages, returns } = rows;
        let (mean, log_sigma) = network.policy(states.clone(), log_sigma);
        let ratio = (log_prob(mean, log_sigma.clone(), actions) - log_probs).exp();
        let mut gain = ratio.clone() * advantages.clone();
        if clip.is_finite() {
            gain = gain.min_pair(ratio.clamp(1.0 - clip, 1.0 + clip) * advantages);
        }
        let error = (network.value(states) - returns).powi_scalar(2);
        let mut loss = error.mean() * 0.5 - gain.mean();
        if entropy > 0.0 {
            loss = loss - log_sigma.mean() * (entropy * ACTIONS as f32);
        }
        loss
    }
}
