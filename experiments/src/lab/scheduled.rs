//! Runs whose scheduler measures the job in its first epochs.

use std::sync::Arc;
use std::time::Instant;

use siren_backend_sim::Simulation;
use siren_core::platform::EpochShape;
use siren_core::{
    Allocation, Observation, Requests, Result, Scheduler, SchedulerDecorator, Seed, Usd,
};
use siren_drl::agent::{Training, TrainingSettings};
use siren_drl::model::Dynamics;
use siren_drl::{Bounds, JobModel, Probing, SchedulingTask, minimum_cost};
use siren_examples::print_note;

use super::{Job, Run};

/// The scheduler after the first epochs, which are probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The planner, with a model that is fitted anew after each epoch.
    Planner,
    /// An agent that was trained on the model of the probes.
    Agent,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Planner, Self::Agent];
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Planner => "planner",
            Self::Agent => "agent",
        })
    }
}

/// The knowledge and the limits of a scheduler before the run.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The model of the job before any epoch ran.
    pub prior: JobModel,
    /// The allocations of the first epochs.
    pub probes: Vec<Allocation>,
    /// The bounds of all later allocations.
    pub bounds: Bounds,
    /// The budget of the run.
    pub budget: Usd,
    /// The number of modelled epochs that an agent is trained for.
    pub steps: u64,
}

/// A run with its budget and the number of its probes.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// The run.
    pub run: Run,
    /// Its budget.
    pub budget: Usd,
    /// The number of epochs that were probes.
    pub probes: usize,
}

impl Job {
    /// The shape of an epoch of this job. A pull is one GET, a push is one PUT, and an example is
    /// fetched as `example_bytes` bytes.
    pub fn shape(&self, example_bytes: f64) -> EpochShape {
        let config = &self.config;
        let bytes = self.workload.dim() as u64 * 4;
        EpochShape {
            batches: self.train.len().div_ceil(config.batch_size),
            batch_size: config.batch_size,
            local_steps: config.local_steps,
            sync_mode: config.sync_mode,
            example_bytes,
            pull_bytes: bytes,
            push_bytes: bytes,
            pull: Requests { reads: 1, writes: 0 },
            push: Requests { reads: 0, writes: 1 },
        }
    }

    /// The model of this job before any epoch ran. Its loss falls from `initial` to the target in
    /// about `passes` passes of one function. The lower the loss, the less many functions gain:
    /// learning rates do not fall here, so that stale updates of many functions keep the loss from
    /// falling further.
    pub fn prior(
        &self,
        simulation: &Simulation,
        example_bytes: f64,
        initial: f64,
        passes: f64,
    ) -> JobModel {
        let shape = self.shape(example_bytes);
        let target = self.config.stop.target_loss.unwrap_or(0.0);
        let predicted = JobModel::predicted(&simulation.profile, &shape, &self.step);
        let mut prior = predicted.with_target(initial, target, passes);
        prior.staleness.fall = 1.0;
        prior
    }

    /// Runs on AWS Lambda as [`on_lambda`](Job::on_lambda) does, by a scheduler that has to measure
    /// the job first.
    ///
    /// # Errors
    ///
    /// Returns the errors of the simulation, the trainer and the scheduler.
    pub fn scheduled(&self, by: By, simulation: &Simulation, terms: &Terms) -> Result<Scheduled> {
        let Terms { prior, probes, bounds, budget, .. } = terms.clone();
        let scheduler: Box<dyn Scheduler> = match by {
            By::Planner => Box::new(Probing::planning(prior, &probes, Some(bounds))),
            By::Agent => {
                let (steps, seed) = (terms.steps, Seed::new(self.config.seed));
                let guess = prior.clone();
                let agent = move |model, job: &siren_core::Job, _: &Observation| {
                    trained(&guess, model, job, bounds, steps, seed)
                };
                Box::new(Probing::new(prior, &probes, agent))
            }
        };
        let mut job = self.clone();
        let allowance = budget * ALLOWANCE;
        job.config.stop.budget = Some(budget + allowance);
        let run = job.on_lambda(Allowed { scheduler, allowance }, simulation)?;
        let epochs = run.record.epochs.iter();
        let alike = epochs.zip(&terms.probes).take_while(|(epoch, probe)| {
            (epoch.workers_asked, epoch.memory_mb) == (probe.workers, probe.memory_mb)
        });
        Ok(Scheduled { probes: alike.count(), run, budget })
    }
}

impl Scheduled {
    /// `true` if it reached its target loss within its budget.
    pub fn succeeded(&self) -> bool {
        self.run.is_done() && self.run.cost <= self.budget
    }

    /// Seconds and dollars of the probes.
    pub fn probing(&self) -> (f64, f64) {
        let probes = self.run.record.epochs.iter().take(self.probes);
        probes.fold((0.0, 0.0), |(s, usd), epoch| (s + epoch.elapsed_s, usd + epoch.cost_usd))
    }
}

/// An agent that was trained on this model of a job, from scratch. If the budget is too small by
/// the model, it is trained with one that suffices, because episodes that all fail teach nothing.
/// If the loss hardly fell so far and the target is out of reach by the model, the loss curve is
/// that of the prior.
fn trained(
    prior: &JobModel,
    model: JobModel,
    job: &siren_core::Job,
    bounds: Bounds,
    steps: u64,
    seed: Seed,
) -> Result<Box<dyn Scheduler>> {
    #[expect(clippy::disallowed_methods, reason = "training takes real time, which is printed")]
    let begun = Instant::now();
    let budget = job.budget.unwrap_or_default().dollars();
    let target = job.target_loss.unwrap_or(model.target_loss);
    let mut model = model;
    let reached = model.progress_at(target) < LONGEST;
    if !reached {
        (model.loss, model.staleness) = (prior.loss, prior.staleness);
    }
    let task = SchedulingTask::new(model.clone(), budget)?;
    let workers = bounds.workers.min(u32::try_from(job.batches).unwrap_or(u32::MAX)).max(1);
    let task = SchedulingTask {
        bounds: Bounds { workers, ..bounds },
        epochs: SchedulingTask::EPOCHS,
        ..task
    };
    let enough = SUFFICES * minimum_cost(&task)?;
    let task = task.with_budget(budget.max(enough)).with_scaled_reward()?;
    let settings = TrainingSettings { steps, ..TrainingSettings::ppo() };
    let mut training = Training::new(&[Arc::new(task)], settings, seed)?;
    training.run()?;
    let agent = training.agent()?.scheduler(model).with_bounds(bounds);
    print_note!("trained an agent for {steps} epochs in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(Box::new(agent))
}

/// The most ideal epochs of a job for which a measured loss curve is believed.
const LONGEST: f64 = 50.0;

/// The allowance, in multiples of the budget.
const ALLOWANCE: f64 = 4.0;

/// The smallest budget that an agent is trained with, in multiples of the least cost.
const SUFFICES: f64 = 1.3;

/// A scheduler that does not see the allowance. Before an epoch the trainer reserves the most that
/// its functions could cost, a multiple of their actual cost. Without an allowance, the last epoch
/// that the budget pays for would not begin. With it, a run that exceeds the budget continues and
/// shows the cost of the target.
struct Allowed {
    scheduler: Box<dyn Scheduler>,
    allowance: Usd,
}

impl SchedulerDecorator for Allowed {
    fn inner(&self) -> &dyn Scheduler {
        &*self.scheduler
    }

    fn inner_mut(&mut self) -> &mut dyn Scheduler {
        &mut *self.scheduler
    }

    fn allocate(&mut self, job: &siren_core::Job, observation: &Observation) -> Result<Allocation> {
        let less = |usd: Usd| Usd::new((usd - self.allowance).dollars().max(0.0));
        let job = siren_core::Job { budget: job.budget.map(less), ..job.clone() };
        let budget_left = observation.budget_left.map(less);
        self.scheduler.allocate(&job, &Observation { budget_left, ..observation.clone() })
    }
}
