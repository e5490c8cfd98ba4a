//! Planning anew before each epoch.

mod decide;
mod horizon;
mod plan;
mod price_table;

use std::sync::Arc;

use decide::decide;
use plan::Plan;
use siren_core::{Allocation, Job, Observation, Outcome, Result, Scheduler};

use crate::belief::Belief;
use crate::bounds::Bounds;
use crate::model::Dynamics;
use crate::state::State;

/// A controller that plans the rest of the job before each epoch and carries out the first step
/// (certainty equivalence, model predictive control). It plans as if the expectations of its
/// [`Belief`] were certain. It spends the money that is left, except for a reserve for surprises.
///
/// For each of 160 prices of a dollar, in seconds, it tabulates the time and cost of the rest of
/// the job. It takes the lowest price whose cost fits the money left. A job without a target loss,
/// or with one that the model never reaches, is planned for the epochs that remain. A job without a
/// budget gets the fastest allocations, and a job whose budget is below the minimum cost gets the
/// cheapest. There are never more workers than batches.
///
/// ```
/// use siren_core::Seed;
/// use siren_drl::{JobModel, Planner, SchedulingTask, play};
///
/// let task = SchedulingTask::new(JobModel::named("seed")?, 200.0)?.into();
/// let episode = play(&mut Planner::new(JobModel::named("seed")?), &task, Seed::new(1))?;
/// assert!(episode.success && episode.time_s < 1_950.0);
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Planner {
    belief: Belief,
    bounds: Option<Bounds>,
    reserve: f64,
    plan: Option<Arc<Plan>>,
}

impl Planner {
    /// A planner with this model.
    pub fn new(model: impl Dynamics + 'static) -> Self {
        Self::with_belief(Belief::new(Arc::new(model)))
    }

    /// A planner that starts with this belief.
    pub fn with_belief(belief: Belief) -> Self {
        Self { belief, bounds: None, reserve: 0.1, plan: None }
    }

    /// Reserves `last_epochs` times the cost of the last epoch (default 0.1), and more if noise of
    /// the model's size requires it. A smaller reserve is faster and fails more often. NaN counts
    /// as 0.
    #[must_use]
    pub fn with_reserve(self, last_epochs: f64) -> Self {
        Self { reserve: last_epochs.max(0.0), ..self }
    }

    /// Keeps within these bounds, in addition to the platform's limits.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds: Some(bounds), plan: None, ..self }
    }

    /// Makes the tables for a job now and not at the first decision. This takes tens of
    /// milliseconds. Clones share the tables.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the job's platform is
    /// invalid or does not offer the bounds.
    pub fn prepared(mut self, job: &Job) -> Result<Self> {
        self.prepare(job)?;
        Ok(self)
    }

    fn prepare(&mut self, job: &Job) -> Result<()> {
        let known = self.plan.as_ref().is_some_and(|plan| {
            let Job { target_loss, epochs, batches, platform, .. } = &plan.job;
            (*target_loss, *epochs, *batches) == (job.target_loss, job.epochs, job.batches)
                && *platform == job.platform
        });
        if !known {
            self.plan = Some(Arc::new(self.tabulate(job)?));
        }
        Ok(())
    }

    /// The belief about the job.
    pub fn belief(&self) -> &Belief {
        &self.belief
    }

    fn tabulate(&self, job: &Job) -> Result<Plan> {
        job.platform.check()?;
        let mut bounds = self.bounds.unwrap_or_else(|| Bounds::of(&job.platform));
        bounds.check(&job.platform)?;
        bounds.workers = bounds.workers.min(u32::try_from(job.batches).unwrap_or(u32::MAX)).max(1);
        Ok(Plan::new(&**self.belief.model(), job, bounds))
    }
}

impl Scheduler for Planner {
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        self.prepare(job)?;
        self.belief.observe(&State::observed(observation));
        let Some(plan) = &self.plan else {
            return Ok(Allocation::new(1, job.platform.limits.memory_min_mb));
        };
        let money =
            observation.budget_left.or(job.budget).map_or(f64::INFINITY, |usd| usd.dollars());
        let allocation = decide(plan, &self.belief, money, self.reserve);
        allocation.check(&job.platform)?;
        Ok(allocation)
    }

    fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
        None
    }

    fn finish(&mut self, _: &Outcome) {
        self.belief.reset();
    }
}
