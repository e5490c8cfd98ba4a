//! A warm start: imitating the planner.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use siren_core::{Batch, Result, Scheduler, Seed, Workload};

use super::network::ACTIONS;
use super::training::Training;
use super::view::{INPUTS, View};
use crate::belief::Belief;
use crate::env::Environment;
use crate::planner::Planner;

/// The standard deviation, in logarithms, of the noise on the planner's allocations. The policy
/// thus also learns in states that the planner never reaches.
const WANDER: f64 = 0.15;

/// Passes over the planner's decisions.
const PASSES: usize = 60;

/// The logarithm of sigma with which training continues.
const LOG_SIGMA: f32 = -2.0;

impl Training {
    /// Fits the policy's mean to the planner's decisions.
    pub(super) fn imitate(&mut self) -> Result<()> {
        let seed = self.random(4);
        let mut rng = ChaCha8Rng::seed_from_u64(seed.get());
        let (mut rows, mut actions) = (Vec::new(), Vec::new());
        let tasks = self.tasks.clone();
        for (number, task) in (0..self.settings.warm_start as u64).zip(tasks.iter().cycle()) {
            let view = View::new(task);
            let mut belief = Belief::new(Arc::clone(&task.job));
            let mut planner = Planner::with_belief(belief.clone()).with_bounds(task.bounds);
            let job = task.as_job();
            let mut environment = Environment::new(Arc::clone(task), seed.child(number));
            loop {
                let state = *environment.state();
                belief.observe(&state);
                let planned = planner.allocate(&job, &state.to_observation())?;
                let mut row = [0.0; INPUTS];
                view.inputs(&belief, &state, &mut row);
                rows.extend(row);
                actions.push(view.action(&belief, planned));
                let mut wander = || -> f64 {
                    let z: f64 = StandardNormal.sample(&mut rng);
                    (WANDER * z).exp()
                };
                let workers = f64::from(planned.workers) * wander();
                let memory = f64::from(planned.memory_mb) * wander();
                if environment.step(task.bounds.nearest(workers, memory)).done() {
                    break;
                }
            }
        }
        self.state.normaliser.learn(&rows);
        self.state.normaliser.apply(&mut rows);
        self.regress(&rows, &actions, &mut rng)
    }

    /// Minimises the squared error of the policy's mean.
    fn regress(
        &mut self,
        rows: &[f32],
        actions: &[[f32; ACTIONS]],
        rng: &mut ChaCha8Rng,
    ) -> Result<()> {
        let mut order: Vec<usize> = (0..actions.len()).collect();
        let mut gradient = vec![0.0; self.weights.params.len()];
        let settings = self.settings;
        let learner = super::objective::Imitation::of(self.workload.learner());
        let workload = siren_burn::BurnWorkload::new(learner)?;
        for pass in 0..PASSES {
            for i in (1..order.len()).rev() {
                order.swap(i, rng.random_range(0..=i));
            }
            let fall = 1.0 - 0.9 * pass as f32 / PASSES as f32;
            for picked in order.chunks(256) {
                let numbers = picked.iter().flat_map(|&at| {
                    let row = &rows[at * INPUTS..][..INPUTS];
                    row.iter().chain(&actions[at])
                });
                let bytes: Vec<u8> = numbers.flat_map(|x| x.to_le_bytes()).collect();
                let batch = Batch { bytes: &bytes, examples: picked.len() };
                workload.gradient(&self.weights.params, &batch, Seed::new(0), &mut gradient)?;
                self.weights.descend(&gradient, &settings, 2.0 * fall, true);
            }
        }
        self.set_log_sigma(LOG_SIGMA);
        self.check_finite()
    }

    /// Sets the logarithm of sigma in every state.
    fn set_log_sigma(&mut self, to: f32) {
        let layout = self.workload.layout();
        let begin = self.settings.log_sigma;
        let mut start = 0;
        for tensor in layout.tensors() {
            let range = start..start + tensor.elements();
            start = range.end;
            if tensor.name == "log_sigma" {
                self.weights.params[range].fill(to - begin);
            } else if tensor.name == "actor.last.bias" && tensor.elements() == 2 * ACTIONS {
                self.weights.params[range][ACTIONS..].fill(to - begin);
            }
        }
        self.weights.restart();
    }
}
