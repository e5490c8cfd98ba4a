//! A policy that can be evaluated.

use siren_burn::BurnWorkload;
use siren_burn::burn::prelude::*;
use siren_core::Result;

use super::network::{ACTIONS, Network};
use super::normaliser::Normaliser;
use super::objective::Objective;
use super::view::{INPUTS, View};
use crate::belief::Belief;
use crate::state::State;

/// A network and the scales of its inputs.
#[derive(Clone)]
pub(super) struct Policy {
    network: Network,
    log_sigma: f32,
    normaliser: Normaliser,
}

/// Normal distributions of actions, one for each state.
pub(super) struct Gaussian {
    pub(super) means: Vec<[f32; ACTIONS]>,
    pub(super) log_sigmas: Vec<[f32; ACTIONS]>,
}

impl Policy {
    pub(super) fn new(
        workload: &BurnWorkload<Objective>,
        params: &[f32],
        normaliser: Normaliser,
    ) -> Result<Self> {
        let log_sigma = workload.learner().settings.log_sigma;
        Ok(Self { network: workload.module(params)?, log_sigma, normaliser })
    }

    pub(super) fn normalise(&self, rows: &mut [f32]) {
        self.normaliser.apply(rows);
    }

    /// The distributions of actions in these states, given as normalised inputs.
    pub(super) fn act(&self, rows: &[f32]) -> Gaussian {
        let (means, log_sigmas) = self.network.policy(tensor(rows), self.log_sigma);
        Gaussian { means: pairs(means), log_sigmas: pairs(log_sigmas) }
    }

    /// The mean action in one state.
    pub(super) fn mean(&self, view: &View, belief: &Belief, state: &State) -> [f32; ACTIONS] {
        let mut row = [0.0; INPUTS];
        view.inputs(belief, state, &mut row);
        self.normalise(&mut row);
        self.act(&row).means.first().copied().unwrap_or_default()
    }

    /// The estimated return of each of these states.
    pub(super) fn values(&self, rows: &[f32]) -> Vec<f32> {
        floats(self.network.value(tensor(rows)))
    }
}

fn tensor(rows: &[f32]) -> Tensor<2> {
    let shape = [rows.len() / INPUTS, INPUTS];
    Tensor::from_data(TensorData::new(rows.to_vec(), shape), &Device::flex())
}

fn floats(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn pairs(tensor: Tensor<2>) -> Vec<[f32; ACTIONS]> {
    floats(tensor).chunks_exact(ACTIONS).map(|pair| [pair[0], pair[1]]).collect()
}
