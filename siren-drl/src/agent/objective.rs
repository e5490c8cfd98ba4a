//! What the policy gradient follows.

use std::ops::Range;

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
        let width = self.width();
        let rows = batch.floats(width)?;
        let mut start = 0;
        let mut next = |count: usize| {
            start += count;
            columns(&rows, width, start - count..start, device)
        };
        Ok(Rows {
            states: next(self.inputs),
            actions: next(ACTIONS),
            log_probs: next(1),
            advantages: next(1),
            returns: next(1),
        })
    }

    fn loss(&self, network: &Network, rows: Rows) -> Tensor<1> {
        let Settings { clip, entropy, log_sigma, .. } = self.settings;
        let Rows { states, actions, log_probs, advantages, returns } = rows;
        let (mean, log_sigma) = network.policy(states.clone(), log_sigma);
        let ratio = (log_prob(mean, log_sigma.clone(), actions) - log_probs).exp();
        let mut gain = ratio.clone() * advantages.clone();
        if clip > 0.0 {
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

/// The mean squared error of the policy's mean, to imitate actions.
pub(super) struct Imitation {
    inputs: usize,
    settings: Settings,
}

impl Imitation {
    pub(super) fn of(objective: &Objective) -> Self {
        Self { inputs: objective.inputs, settings: objective.settings }
    }
}

impl Learner for Imitation {
    type Module = Network;
    /// States, actions.
    type Batch = (Tensor<2>, Tensor<2>);

    fn init(&self, device: &Device) -> Network {
        Network::new(self.inputs, self.settings.hidden, self.settings.sigma, device)
    }

    fn batch(&self, batch: &Batch<'_>, device: &Device) -> Result<Self::Batch> {
        let rows = batch.floats(self.inputs + ACTIONS)?;
        Ok((
            columns(&rows, self.inputs + ACTIONS, 0..self.inputs, device),
            columns(&rows, self.inputs + ACTIONS, self.inputs..self.inputs + ACTIONS, device),
        ))
    }

    fn loss(&self, network: &Network, (states, actions): Self::Batch) -> Tensor<1> {
        let (mean, _) = network.policy(states, self.settings.log_sigma);
        (mean - actions).powi_scalar(2).mean()
    }
}

fn columns(rows: &[f32], width: usize, range: Range<usize>, device: &Device) -> Tensor<2> {
    let count = range.len();
    let values: Vec<f32> =
        rows.chunks_exact(width).flat_map(|row| &row[range.clone()]).copied().collect();
    let shape = [values.len() / count, count];
    Tensor::from_data(TensorData::new(values, shape), device)
}
