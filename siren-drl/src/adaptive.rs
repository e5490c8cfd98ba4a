//! A scheduler that refits its model of the job as the job runs.

use std::sync::Arc;

use siren_core::{Allocation, Job, Observation, Outcome, Result, Scheduler, Usd};
use siren_hsp::EpochRecord;

use crate::belief::Belief;
use crate::bounds::Bounds;
use crate::fit::FittedModel;
use crate::history::{RunHistory, observed};
use crate::model::{Dynamics, JobModel};
use crate::optimum::minimum_cost;
use crate::planner::Planner;
use crate::state::State;
use crate::task::{Reward, SchedulingTask};

/// The share of the budget to which the predicted minimum cost is scaled down if it exceeds the
/// budget.
const SUFFICES: f64 = 0.8;

/// A [`Planner`], or any other scheduler that uses a [`Belief`], for a job of which little is
/// known. It starts with a predicted model and refits it to the epochs of the run
/// ([`JobModel::fit_from`]).
///
/// The loss curve falls from the loss observed before the first epoch to the job's target
/// ([`JobModel::with_target`]), in half of the epochs that the job may take. Times and costs are
/// refitted after each of the first epochs, and later at growing intervals. The [`Belief`] corrects
/// the progress.
///
/// If the prediction says that the budget does not suffice, the predicted costs are scaled down.
/// Otherwise the first epoch would run as cheaply as possible, which may take as long as all other
/// epochs together.
///
/// ```
/// use siren_core::Seed;
/// use siren_drl::{Adaptive, JobModel, SchedulingTask, play};
///
/// let task = SchedulingTask::new(JobModel::named("seed")?, 200.0)?.into();
/// // The prior predicts twice the computation that the job really needs.
/// let mut prior = JobModel::named("seed")?;
/// prior.compute.vcpu_seconds *= 2.0;
/// let mut scheduler = Adaptive::planner(prior);
/// let episode = play(&mut scheduler, &task, Seed::new(1))?;
/// println!("{:.0} s for ${:.2}", episode.time_s, episode.cost_usd);
/// assert!(episode.success);
/// # Ok::<(), siren_core::Error>(())
/// ```
pub struct Adaptive {
    prior: JobModel,
    bounds: Option<Bounds>,
    make: Box<Make>,
    keeps_curve: bool,
    aimed: Option<JobModel>,
    current: Option<Box<dyn Scheduler>>,
    model: Option<Arc<dyn Dynamics>>,
    initial: f64,
    epochs: Vec<EpochRecord>,
    /// The state observed before each epoch.
    seen: Vec<State>,
    /// The number of epochs at which the model is refitted next.
    refit_at: usize,
}

/// Makes a scheduler from a belief and bounds.
type Make = dyn Fn(Belief, Option<Bounds>) -> Box<dyn Scheduler> + Send;

impl std::fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adaptive")
            .field("prior", &self.prior)
            .field("epochs", &self.epochs.len())
            .finish_non_exhaustive()
    }
}

impl Adaptive {
    /// A planner that starts with this model.
    pub fn planner(prior: JobModel) -> Self {
        Self::new(prior, |belief, bounds| {
            let planner = Planner::with_belief(belief);
            Box::new(match bounds {
                Some(bounds) => planner.with_bounds(bounds),
                None => planner,
            })
        })
    }

    /// A scheduler that starts with this model. `make` creates it from a belief and the bounds, if
    /// there are any, and is called again after each refit.
    pub fn new(
        prior: JobModel,
        make: impl Fn(Belief, Option<Bounds>) -> Box<dyn Scheduler> + Send + 'static,
    ) -> Self {
        Self {
            prior,
            bounds: None,
            make: Box::new(make),
            keeps_curve: false,
            aimed: None,
            current: None,
            model: None,
            initial: f64::NAN,
            epochs: Vec::new(),
            seen: Vec::new(),
            refit_at: 1,
        }
    }

    /// Keeps within these bounds, in addition to the platform's limits.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds: Some(bounds), ..self }
    }

    /// Keeps the model's loss curve, for a curve that was fitted or is known. By default the curve
    /// counts as a guess and is replaced once the first loss is known.
    #[must_use]
    pub fn keeping_curve(self) -> Self {
        Self { keeps_curve: true, ..self }
    }

    /// The current model, once the scheduler has planned.
    pub fn model(&self) -> Option<&dyn Dynamics> {
        self.model.as_deref()
    }

    fn begin(&mut self, job: &Job, observation: &Observation) {
        (self.aimed, self.current, self.model) = (None, None, None);
        (self.epochs, self.seen, self.refit_at) = (Vec::new(), Vec::new(), 1);
        self.initial = observation.loss;
        let epochs = job.epochs.saturating_sub(observation.epoch).max(2) as f64;
        let mut aimed = self.prior.clone();
        if let Some(target_loss) = job.target_loss {
            // Half of the epochs, because staleness makes the job longer.
            if !self.keeps_curve {
                aimed = aimed.with_target(observation.loss, target_loss, epochs / 2.0);
            }
            let budget_usd =
                observation.budget_left.or(job.budget).map_or(f64::INFINITY, Usd::dollars);
            let task = SchedulingTask {
                job: Arc::new(aimed.clone()),
                budget_usd,
                target_loss,
                epochs: SchedulingTask::EPOCHS.max(job.epochs),
                bounds: self.bounds.unwrap_or_else(|| Bounds::of(&job.platform)),
                reward: Reward { beta: 1.0, terminal: 1.0 },
            };
            if let Ok(least) = minimum_cost(&task)
                && least > budget_usd
                && budget_usd > 0.0
            {
                aimed.fees.scale *= SUFFICES * budget_usd / least;
            }
        }
        self.plan_with(aimed.clone());
        self.aimed = Some(aimed);
    }

    fn plan_with(&mut self, model: JobModel) {
        let mut belief = Belief::new(Arc::new(model));
        self.seen.iter().for_each(|state| belief.observe(state));
        self.model = Some(Arc::clone(belief.model()));
        self.current = Some((self.make)(belief, self.bounds));
    }

    /// Records the last epoch, and refits the model if it is time.
    fn learn(&mut self, observation: &Observation) {
        let left = self.seen.last().map_or(f64::NAN, |state| state.budget_usd);
        let spent = left - State::observed(observation).budget_usd;
        let spent = if spent.is_finite() { spent } else { 0.0 };
        let Some(record) = record(observation, spent) else { return };
        self.epochs.push(record);
        if self.epochs.len() < self.refit_at {
            return;
        }
        self.refit_at = (self.epochs.len() + 1).max(self.epochs.len() * 5 / 4);
        let Some(aimed) = &self.aimed else { return };
        let mut history = RunHistory::from(self.epochs.clone());
        history.runs[0].initial = Some(self.initial);
        if let Ok(FittedModel { mut model, .. }) = JobModel::fit_from(aimed, &history) {
            // A few epochs say little about the final loss, and the belief corrects the progress.
            (model.loss, model.staleness) = (aimed.loss, aimed.staleness);
            self.plan_with(model);
        }
    }
}

impl Scheduler for Adaptive {
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        match self.seen.last().map(|before| before.epoch) {
            Some(before) if before == observation.epoch => {}
            Some(before) if before.checked_add(1) == Some(observation.epoch) => {
                self.learn(observation);
                self.seen.push(State::observed(observation));
            }
            _ => {
                self.begin(job, observation);
                self.seen.push(State::observed(observation));
            }
        }
        match &mut self.current {
            Some(scheduler) => scheduler.allocate(job, observation),
            None => Planner::new(self.prior.clone()).allocate(job, observation),
        }
    }

    fn predict_allocation(&self, job: &Job, epoch: u64) -> Option<Allocation> {
        self.current.as_ref()?.predict_allocation(job, epoch)
    }

    fn finish(&mut self, outcome: &Outcome) {
        if let Some(scheduler) = &mut self.current {
            scheduler.finish(outcome);
        }
        self.seen.clear();
    }
}

/// The record of the epoch before an observation, if it suffices for a fit.
fn record(observation: &Observation, cost_usd: f64) -> Option<EpochRecord> {
    observation.phases?;
    let record = observed(observation, cost_usd)?;
    // An observation does not say whether memory is shared; `true` keeps the predicted memory.
    (record.elapsed_s > 0.0 && record.evaluation.loss.is_finite())
        .then_some(EpochRecord { memory_shared: true, ..record })
}

#[cfg(test)]
mod tests {
    use siren_core::Seed;
    use siren_core::conformance::{scheduler, scheduler_tests};

    use super::*;
    use crate::play::Score;

    scheduler_tests!(
        learning,
        scheduler::Subject::new(|| Adaptive::planner(JobModel::named("seed").unwrap()))
    );

    /// The talk's job with parameters that are wrong by a factor of up to three.
    fn wrong(by: f64) -> JobModel {
        let mut prior = JobModel::named("seed").unwrap();
        prior.compute.vcpu_seconds *= by;
        prior.update.rounds /= by;
        prior.fees.scale *= by;
        prior.compute.fall = 0.0;
        prior.update.growth = 0.0;
        prior
    }

    #[test]
    fn a_model_that_is_wrong_threefold_is_learned() {
        let task = Arc::new(SchedulingTask::new(JobModel::named("seed").unwrap(), 200.0).unwrap());
        for by in [1.0 / 3.0, 3.0] {
            let planner = || Adaptive::planner(wrong(by));
            let score = Score::measure(planner, &task, 3, Seed::new(1)).unwrap();
            println!("{by}: {score:?}");
            assert_eq!(score.success, 1.0);
            // The optimum is 1,823 s; a planner that does not learn takes 2,390 s or fails.
            assert!(score.time_s < 1_900.0, "{}", score.time_s);
        }
    }
}
