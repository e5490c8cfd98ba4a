//! What a policy sees, and what its actions mean.

use std::sync::Arc;

use siren_core::Allocation;

use super::affordable::{Affordable, Reference};
use crate::model::Dynamics;
use crate::state::State;
use crate::task::{Bounds, Task};

/// Numbers that a policy sees.
pub(super) const INPUTS: usize = 17;

/// How a policy sees a job's states, and what its actions mean there.
#[derive(Clone)]
pub(super) struct View {
    job: Arc<dyn Dynamics>,
    bounds: Bounds,
    budget_usd: f64,
    needed: f64,
    target_loss: f64,
    /// One vCPU.
    memory_mb: u32,
    affordable: Arc<Affordable>,
}

impl View {
    pub(super) fn new(task: &Task) -> Self {
        Self {
            job: Arc::clone(&task.job),
            bounds: task.bounds,
            budget_usd: task.budget_usd,
            needed: task.needed(),
            target_loss: task.target_loss,
            memory_mb: task
                .bounds
                .nearest(1.0, task.job.platform().limits.memory_per_vcpu_mb)
                .memory_mb,
            affordable: Arc::new(Affordable::new(task)),
        }
    }

    /// Ideal epochs that are left, and how many real ones that is expected to be.
    fn left(&self, state: &State) -> (f64, f64) {
        let left = (self.needed - self.job.progress_at(state.loss)).clamp(0.0, self.needed);
        (left, (left + 0.1).ceil().max(1.0))
    }

    fn reference(&self, state: &State, memory_mb: u32) -> Reference {
        let (left, epochs) = self.left(state);
        self.affordable.with(&*self.job, state, left, epochs, memory_mb)
    }

    pub(super) fn first_time(&self) -> f64 {
        let loss = self.job.loss(0.0);
        3.0 * self.time_left(&State { loss, budget_usd: self.budget_usd, ..State::default() })
    }

    /// Seconds to the end with one allocation, as far as the money left goes.
    pub(super) fn time_left(&self, state: &State) -> f64 {
        self.reference(state, self.memory_mb).time_s
    }

    /// The state as a policy sees it.
    pub(super) fn inputs(&self, state: &State, into: &mut [f32]) {
        let (left, epochs) = self.left(state);
        let ln = |x: f64| x.max(1e-3).ln();
        let memory_mb = state.allocation.map_or(self.memory_mb, |before| before.memory_mb);
        let one = self.reference(state, self.memory_mb);
        let workers = state.allocation.map_or(one.workers, |before| before.workers.into());
        let share = state.budget_usd / self.budget_usd;
        let values = [
            state.epoch as f64 / self.needed,
            ln(state.loss / self.target_loss),
            ln(state.elapsed_s),
            ln(state.fetch_s),
            ln(state.compute_s),
            ln(state.update_s),
            state.memory,
            state.cpu,
            ln(share),
            left / self.needed,
            ln(left + 0.1),
            epochs - left,
            ln(share * self.needed / epochs),
            ln(workers / one.workers),
            ln(f64::from(memory_mb) / f64::from(self.memory_mb)),
            ln(one.workers),
            ln(one.time_s),
        ];
        for (into, value) in into.iter_mut().zip(values) {
            *into = value as f32;
        }
    }

    /// The allocation that an action means.
    pub(super) fn allocation(&self, state: &State, action: [f32; 2]) -> Allocation {
        let bounds = &self.bounds;
        let [workers, memory] = action.map(|x| f64::from(x).clamp(-8.0, 8.0).exp());
        let memory_mb = bounds.nearest(1.0, f64::from(self.memory_mb) * memory).memory_mb;
        let reference = self.reference(state, memory_mb);
        bounds.nearest(reference.workers * workers, memory_mb.into())
    }
}
