//! The networks of the policy and of the critic.

use siren_burn::burn;
use siren_burn::burn::module::Param;
use siren_burn::burn::nn::{Initializer, Linear, LinearConfig, Relu};
use siren_burn::burn::prelude::*;
use siren_burn::burn::tensor::DType;

use super::settings::{LOG_SIGMA_RANGE, Sigma};

/// An action is two numbers: functions and memory.
pub(super) const ACTIONS: usize = 2;

/// A network with two hidden layers.
#[derive(Module, Debug)]
pub(super) struct Mlp {
    first: Linear,
    second: Linear,
    last: Linear,
    relu: Relu,
}

impl Mlp {
    fn new(inputs: usize, hidden: usize, outputs: usize, device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to);
        // Outputs begin near 0, so that the first policy hardly depends on its inputs.
        let small = Initializer::Uniform { min: -1e-3, max: 1e-3 };
        Self {
            first: linear(inputs, hidden).init(device),
            second: linear(hidden, hidden).init(device),
            last: linear(hidden, outputs).with_initializer(small).init(device),
            relu: Relu::new(),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.relu.forward(self.first.forward(x));
        let x = self.relu.forward(self.second.forward(x));
        self.last.forward(x)
    }
}

/// A Gaussian policy, and a critic that estimates the return.
#[derive(Module, Debug)]
pub(super) struct Network {
    actor: Mlp,
    log_sigma: Option<Param<Tensor<1>>>,
    critic: Mlp,
}

impl Network {
    pub(super) fn new(inputs: usize, hidden: usize, sigma: Sigma, device: &Device) -> Self {
        let free = || {
            let begin = Tensor::<1>::zeros([ACTIONS], (device, DType::F32));
            Param::from_tensor(begin)
        };
        let outputs = if sigma == Sigma::State { 2 * ACTIONS } else { ACTIONS };
        Self {
            actor: Mlp::new(inputs, hidden, outputs, device),
            log_sigma: (sigma == Sigma::Free).then(free),
            critic: Mlp::new(inputs, hidden, 1, device),
        }
    }

    /// The mean and the logarithm of sigma, each `[states, 2]`. `begin` is the initial logarithm of
    /// sigma.
    pub(super) fn policy(&self, states: Tensor<2>, begin: f32) -> (Tensor<2>, Tensor<2>) {
        let out = self.actor.forward(states);
        let count = out.dims()[0];
        let (mean, log_sigma) = match &self.log_sigma {
            Some(free) => (out, free.val().reshape([1, ACTIONS as i32]).expand([count, ACTIONS])),
            None => (
                out.clone().slice([0..count, 0..ACTIONS]),
                out.slice([0..count, ACTIONS..2 * ACTIONS]),
            ),
        };
        (mean, (log_sigma + begin).clamp(LOG_SIGMA_RANGE.0, LOG_SIGMA_RANGE.1))
    }

    /// Estimated returns, `[states, 1]`.
    pub(super) fn value(&self, states: Tensor<2>) -> Tensor<2> {
        self.critic.forward(states)
    }
}

/// The logarithm of the density of actions under independent normal distributions, `[states, 1]`.
pub(super) fn log_prob(mean: Tensor<2>, log_sigma: Tensor<2>, actions: Tensor<2>) -> Tensor<2> {
    let z = (actions - mean) / log_sigma.clone().exp();
    let half_log_2_pi = 0.5 * std::f32::consts::TAU.ln();
    (z.powi_scalar(2) * -0.5 - log_sigma - half_log_2_pi).sum_dim(1)
}

#[cfg(test)]
mod tests {
    use siren_burn::burn::tensor::TensorData;
    use statrs::distribution::{Continuous, Normal};

    use super::*;

    #[test]
    fn log_probabilities_are_those_of_the_closed_form() {
        let tensor = |rows: [[f32; 2]; 3]| Tensor::<2>::from_data(rows, &Device::flex());
        let (means, log_sigmas, actions) = (
            [[0.0, 1.0], [-2.0, 0.5], [3.0, 3.0]],
            [[0.0, -1.0], [-2.0, 0.7], [-4.0, 1.0]],
            [[0.3, 1.5], [-2.1, -4.0], [3.0, 2.0]],
        );
        let found = log_prob(tensor(means), tensor(log_sigmas), tensor(actions));
        for (row, found) in found.into_data().iter::<f64>().enumerate() {
            let one = |i: usize| {
                let sigma = f64::from(log_sigmas[row][i]).exp();
                let normal = Normal::new(means[row][i].into(), sigma).unwrap();
                normal.ln_pdf(actions[row][i].into())
            };
            let known = one(0) + one(1);
            assert!((found - known).abs() < 1e-4 * known.abs().max(1.0), "{found}, not {known}");
        }
    }

    #[test]
    fn sigma_depends_on_the_state_where_it_is_meant_to() {
        let device = Device::flex();
        let states = Tensor::<2>::from_data(
            TensorData::new(vec![5.0_f32, -3.0, -100.0, 400.0], [2, 2]),
            &device,
        );
        for (sigma, differ) in [(Sigma::Free, false), (Sigma::State, true)] {
            let network = Network::new(2, 8, sigma, &device);
            let (mean, log_sigma) = network.policy(states.clone(), -0.7);
            assert_eq!((mean.dims(), log_sigma.dims()), ([2, 2], [2, 2]));
            let values: Vec<f32> = log_sigma.into_data().iter::<f32>().collect();
            assert_eq!(values[0] != values[2], differ, "{sigma:?}: {values:?}");
        }
    }
}
