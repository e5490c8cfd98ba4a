//! The objective of the policy gradient.

use std::ops::Range;

use siren_burn::Learner;
use siren_burn::burn::prelude::*;
use siren_core::{Batch, Result};

use super::network::{ACTIONS, Network, log_prob};
use super::settings::TrainingSettings;

/// PPO's clipped surrogate, the critic's squared error, and entropy. With one pass over one batch
/// it is the plain policy gradient: the ratio is 1, and its gradient is that of the logarithm of
/// the density.
pub(super) struct Objective {
    pub(super) inputs: usize,
    pub(super) settings: TrainingSettings,
}

/// The rows of a batch: each has the normalised state, the action, the logarithm of the action's
/// density when it was drawn, its advantage, and the return that the critic estimates.
pub(super) struct Rows {
    states: Tensor<2>,
    actions: Tensor<2>,
    log_probs: Tensor<2>,
    advantages: Tensor<2>,
    returns: Tensor<2>,
}

impl Objective {
    /// The numbers in a row.
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
        let TrainingSettings { clip, entropy, log_sigma, .. } = self.settings;
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

/// The mean squared error of the policy's mean action, for imitation.
pub(super) struct Imitation {
    inputs: usize,
    settings: TrainingSettings,
}

impl Imitation {
    pub(super) fn of(objective: &Objective) -> Self {
        Self { inputs: objective.inputs, settings: objective.settings }
    }
}

impl Learner for Imitation {
    type Module = Network;
    /// States and actions.
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

#[cfg(test)]
mod tests {
    use siren_burn::BurnWorkload;
    use siren_core::{Seed, Workload};

    use super::*;
    use crate::agent::Sigma;

    /// Rows that a policy might have collected. The ratios of densities are away from 1 and from
    /// the clipping bounds, where the objective has no derivative.
    fn rows(count: usize, inputs: usize) -> Vec<u8> {
        let mut numbers = Vec::new();
        for row in 0..count {
            let x = |i: usize| ((row * 7 + i * 3) % 11) as f32 / 5.0 - 1.0;
            numbers.extend((0..inputs).map(x));
            numbers.extend([0.3 * x(1), -0.2 * x(2)]);
            // The density at sigma 0.5 is about -0.5 there.
            numbers.extend([-0.5 - 0.05 * (row % 3) as f32, x(3), x(4)]);
        }
        numbers.iter().flat_map(|x: &f32| x.to_le_bytes()).collect()
    }

    #[test]
    fn the_policy_gradient_is_that_of_finite_differences() {
        for (settings, sigma) in [
            (TrainingSettings::ppo(), Sigma::Free),
            (TrainingSettings::ppo(), Sigma::State),
            (TrainingSettings::reinforce(), Sigma::State),
        ] {
            let settings = TrainingSettings { hidden: 6, entropy: 0.01, sigma, ..settings };
            let (inputs, examples) = (5, 12);
            let workload = BurnWorkload::new(Objective { inputs, settings }).unwrap();
            let bytes = rows(examples, inputs);
            let batch = Batch { bytes: &bytes, examples };
            let mut params = workload.init(Seed::new(3)).unwrap();
            // Away from the point where no unit is active.
            params.iter_mut().enumerate().for_each(|(i, p)| *p += 0.1 * ((i % 5) as f32 - 2.0));
            let mut gradient = vec![0.0; params.len()];
            workload.gradient(&params, &batch, Seed::new(0), &mut gradient).unwrap();
            let mut unused = vec![0.0; params.len()];
            let mut loss = |params: &[f32]| {
                workload.gradient(params, &batch, Seed::new(0), &mut unused).unwrap()
            };
            let largest = gradient.iter().fold(0.0_f32, |max, g| max.max(g.abs()));
            assert!(largest > 0.05, "{largest}");
            let mut wrong = 0;
            for i in 0..params.len() {
                let step = 1e-2;
                let mut moved = params.clone();
                moved[i] += step;
                let up = loss(&moved);
                moved[i] -= 2.0 * step;
                let numeric = ((up - loss(&moved)) / f64::from(2.0 * step)) as f32;
                wrong += usize::from((numeric - gradient[i]).abs() > 0.02 * largest.max(0.3));
            }
            // A unit or a ratio may cross its threshold within a step.
            assert!(wrong * 20 <= params.len(), "{sigma:?}: {wrong} of {}", params.len());
        }
    }
}
