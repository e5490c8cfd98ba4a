//! Experience.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use siren_burn::burn::prelude::*;
use siren_core::{Allocation, Result};

use super::network::{ACTIONS, Network};
use super::normaliser::Normaliser;
use super::view::{INPUTS, View};
use crate::env::{Step, Vector};

/// What one environment went through, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// What was seen, as it is.
    pub(super) raw: Vec<f32>,
    /// What was seen, normalised, and at the end what is seen now.
    pub(super) states: Vec<f32>,
    pub(super) actions: Vec<[f32; ACTIONS]>,
    pub(super) log_probs: Vec<f32>,
    pub(super) rewards: Vec<f64>,
    pub(super) ends: Vec<bool>,
}

/// Lets a policy act.
pub(super) struct Actor<'a> {
    pub(super) network: &'a Network,
    pub(super) normaliser: &'a Normaliser,
    pub(super) log_sigma: f32,
}

impl Actor<'_> {
    /// Mean and sigma for normalised rows.
    pub(super) fn act(&self, rows: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let count = rows.len() / INPUTS;
        let states = tensor(rows, count);
        let (mean, log_sigma) = self.network.policy(states, self.log_sigma);
        (values(mean), values(log_sigma))
    }
}

pub(super) fn tensor(rows: &[f32], count: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.to_vec(), [count, INPUTS]), &Device::flex())
}

pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().to_vec().unwrap_or_default()
}

/// Runs all environments for `horizon` epochs, or, if that is 0, each to the end of its episode.
pub(super) fn collect(
    actor: &Actor<'_>,
    views: &[View],
    vector: &mut Vector,
    horizon: usize,
    rng: &mut ChaCha8Rng,
    beta: f64,
    ended: &mut Vec<Step>,
) -> Result<Vec<Track>> {
    let count = vector.len();
    let mut tracks = vec![Track::default(); count];
    let mut rows = vec![0.0; count * INPUTS];
    let mut allocations = vec![Allocation { workers: 1, memory_mb: 128 }; count];
    let mut steps = vec![Step::default(); count];
    let caps: Vec<f64> = views.iter().map(|view| view.first_time()).collect();
    let see = |vector: &Vector, rows: &mut [f32]| {
        for (environment, row) in rows.chunks_exact_mut(INPUTS).enumerate() {
            let (state, task) = vector.state(environment);
            views[task].inputs(state, row);
        }
    };
    let left = |vector: &Vector, environment: usize| {
        let (state, task) = vector.state(environment);
        views[task].time_left(state).min(caps[task])
    };
    let mut before: Vec<f64> = (0..count).map(|e| left(vector, e)).collect();
    for _ in 0..horizon {
        see(vector, &mut rows);
        for (track, row) in tracks.iter_mut().zip(rows.chunks_exact(INPUTS)) {
            track.raw.extend_from_slice(row);
        }
        actor.normaliser.apply(&mut rows);
        let (means, log_sigmas) = actor.act(&rows);
        for (environment, track) in tracks.iter_mut().enumerate() {
            let mut action = [0.0; ACTIONS];
            let mut log_prob = 0.0;
            for i in 0..ACTIONS {
                let at = environment * ACTIONS + i;
                let z: f32 = StandardNormal.sample(rng);
                action[i] = means[at] + log_sigmas[at].exp() * z;
                log_prob -= 0.5 * z * z + log_sigmas[at] + 0.5 * std::f32::consts::TAU.ln();
            }
            let (state, task) = vector.state(environment);
            allocations[environment] = views[task].allocation(state, action);
            track.states.extend_from_slice(&rows[environment * INPUTS..][..INPUTS]);
            track.actions.push(action);
            track.log_probs.push(log_prob);
        }
        vector.step(&allocations, &mut steps);
        for (e, (track, step)) in tracks.iter_mut().zip(&steps).enumerate() {
            let now = left(vector, e);
            let after = if step.done() { 0.0 } else { now };
            track.rewards.push(step.reward + beta * (before[e] - after));
            before[e] = now;
            track.ends.push(step.done());
            if step.done() {
                ended.push(*step);
            }
        }
    }
    see(vector, &mut rows);
    actor.normaliser.apply(&mut rows);
    for (track, row) in tracks.iter_mut().zip(rows.chunks_exact(INPUTS)) {
        track.states.extend_from_slice(row);
    }
    let _ = rng.next_u32();
    Ok(tracks)
}
