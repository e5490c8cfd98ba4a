//! A policy's inputs, and the meaning of its actions.

use std::sync::Arc;

use siren_core::{Allocation, Error, Job, Result};

use super::network::ACTIONS;
use crate::belief::Belief;
use crate::bounds::Bounds;
use crate::model::Dynamics;
use crate::reference::{Reference, References, Remaining};
use crate::state::State;
use crate::task::SchedulingTask;

/// The number of a policy's inputs.
pub(super) const INPUTS: usize = 22;

/// The expected excess of whole epochs over ideal ones, before rounding up.
const LAG: f64 = 0.1;

/// The inputs and actions of a policy for one job.
///
/// The inputs are the nine parts of the state of the SIREN paper, the last allocation, the shares
/// of the job and of the money that are left, and a prediction of the job's model for the next
/// epoch: the change of time, cost and progress with twice the functions and with twice the memory.
/// One policy can thus serve many jobs.
///
/// An action is two numbers: the logarithm of the number of functions over the largest constant
/// number that the money left pays for to the end, and the logarithm of the memory over that of one
/// vCPU. Zero therefore spends the budget on any job, and training learns to do better.
#[derive(Clone)]
pub(super) struct View {
    bounds: Bounds,
    budget_usd: f64,
    target_loss: f64,
    /// Ideal epochs in all; epochs if there is no target that the model reaches.
    needed: f64,
    has_target: bool,
    memory_mb: u32,
    references: Arc<References>,
}

impl View {
    pub(super) fn new(task: &SchedulingTask) -> Self {
        let SchedulingTask { job, budget_usd, target_loss, epochs, bounds, .. } = task;
        Self::build(&**job, *bounds, *budget_usd, Some(*target_loss), *epochs)
    }

    /// The view of a running job, as far as this model applies to it.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the job has no budget.
    pub(super) fn of(model: &dyn Dynamics, job: &Job, bounds: Bounds) -> Result<Self> {
        let Some(budget) = job.budget else {
            return Err(Error::rejected(
                "a learned scheduler needs a budget: give one, or let the planner schedule the job",
            ));
        };
        budget.checked("the budget")?;
        Ok(Self::build(model, bounds, budget.dollars(), job.target_loss, job.epochs))
    }

    fn build(
        model: &dyn Dynamics,
        bounds: Bounds,
        budget_usd: f64,
        target_loss: Option<f64>,
        epochs: u64,
    ) -> Self {
        let target = target_loss.map(|loss| model.progress_at(loss));
        let target = target.filter(|needed| (0.0..1e12).contains(needed));
        let needed = target.unwrap_or(epochs.min(1 << 20) as f64).max(1.0);
        let memory = model.platform().limits.memory_per_vcpu_mb;
        let references = References::new(model, bounds, needed);
        Self {
            bounds,
            budget_usd,
            target_loss: target_loss.unwrap_or(1.0),
            needed,
            has_target: target.is_some(),
            memory_mb: references.nearest(memory).1,
            references: Arc::new(references),
        }
    }

    fn remaining(&self, belief: &Belief) -> Remaining {
        let budget_usd = belief.budget_usd().max(0.0);
        if !self.has_target {
            let left = (self.needed - belief.at().epoch as f64).max(1.0);
            return Remaining { ideal: left, epochs: left, budget_usd };
        }
        let ideal = (self.needed - belief.progress()).clamp(0.0, self.needed);
        let epochs = (ideal / belief.progress_ratio() + LAG).ceil().max(1.0);
        Remaining { ideal, epochs, budget_usd }
    }

    fn reference(&self, belief: &Belief, memory_mb: u32) -> Reference {
        self.references.of(belief, self.remaining(belief), memory_mb)
    }

    /// Seconds to the end with a constant number of functions of one vCPU.
    pub(super) fn time_left(&self, belief: &Belief) -> f64 {
        self.reference(belief, self.memory_mb).time_s
    }

    /// The state as a policy sees it. The belief must have observed it.
    pub(super) fn inputs(&self, belief: &Belief, state: &State, into: &mut [f32]) {
        let remaining = self.remaining(belief);
        let ln = |x: f64| x.clamp(1e-3, 1e9).ln();
        let memory_mb = state.allocation.map_or(self.memory_mb, |before| before.memory_mb);
        let one = self.reference(belief, self.memory_mb);
        let workers = state.allocation.map_or(one.workers, |before| before.workers.into());
        let share = remaining.budget_usd / self.budget_usd;
        let now = self.bounds.nearest(one.workers, self.memory_mb.into());
        let here = belief.expect(now);
        let more = belief.expect(self.bounds.nearest(2.0 * one.workers, now.memory_mb.into()));
        let larger = 2.0 * f64::from(now.memory_mb);
        let larger = belief.expect(self.bounds.nearest(now.workers.into(), larger));
        let values = [
            // The nine parts of the state, with the epoch, the loss and the money relative to the
            // job's.
            state.epoch.min(1 << 20) as f64 / self.needed,
            ln(state.loss / self.target_loss),
            ln(state.elapsed_s),
            ln(state.fetch_s),
            ln(state.compute_s),
            ln(state.update_s),
            state.memory,
            state.cpu,
            ln(share),
            // The last allocation.
            ln(workers / one.workers),
            ln(f64::from(memory_mb) / f64::from(self.memory_mb)),
            // The rest of the job.
            remaining.ideal / self.needed,
            ln(remaining.ideal + LAG),
            remaining.epochs - remaining.ideal,
            ln(share * self.needed / remaining.epochs),
            ln(one.workers),
            ln(one.time_s),
            // The next epoch.
            ln(more.elapsed_s / here.elapsed_s),
            ln(more.cost_usd / here.cost_usd),
            ln(more.progress / here.progress),
            ln(larger.elapsed_s / here.elapsed_s),
            ln(larger.cost_usd / here.cost_usd),
        ];
        for (into, value) in into.iter_mut().zip(values) {
            *into = if value.is_finite() { value as f32 } else { 0.0 };
        }
    }

    /// The allocation that an action stands for.
    pub(super) fn allocation(&self, belief: &Belief, action: [f32; ACTIONS]) -> Allocation {
        let [workers, memory] = action.map(|x| f64::from(x).clamp(-8.0, 8.0).exp());
        let (_, memory_mb) = self.references.nearest(f64::from(self.memory_mb) * memory);
        let reference = self.reference(belief, memory_mb);
        self.bounds.nearest(reference.workers * workers, memory_mb.into())
    }

    /// The action that stands for an allocation.
    pub(super) fn action(&self, belief: &Belief, allocation: Allocation) -> [f32; ACTIONS] {
        let reference = self.reference(belief, allocation.memory_mb);
        let workers = f64::from(allocation.workers) / reference.workers;
        let memory = f64::from(allocation.memory_mb) / f64::from(self.memory_mb);
        [workers, memory].map(|factor| factor.ln() as f32)
    }
}
