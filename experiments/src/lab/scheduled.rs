//! Runs whose scheduler learns what the job is from its first epochs.

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

/// Who schedules once it is known what the job is.
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

/// What a scheduler is told before anything ran.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What is thought of the job.
    pub prior: JobModel,
    /// What its first epochs run with.
    pub probes: Vec<Allocation>,
    /// What the others may run with.
    pub bounds: Bounds,
    /// What all of it may cost.
    pub budget: Usd,
    /// Epochs that an agent is trained for, on the model.
    pub steps: u64,
}

/// A run with its terms, and what of it was probing.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// All of it.
    pub run: Run,
    /// What it was allowed to cost.
    pub budget: Usd,
    /// Epochs that were probes.
    pub probes: usize,
}

impl Job {
    /// How an epoch of this job looks to a platform, whose parameters are pulled by one GET and pushed by
    /// one PUT, where examples are fetched as so many bytes each.
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

    /// What is thought of this job before anything ran: its loss falls from `initial` to the target in about
    /// so many passes of one function, and the lower it is, the less many functions bring. Rates do not fall
    /// here, so that what many push at once keeps the loss from falling further.
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

    /// Runs on AWS Lambda as [`on_lambda`](Job::on_lambda) does, by a scheduler that has to learn what the
    /// job is.
    ///
    /// # Errors
    ///
    /// Those of the simulation, the trainer and the scheduler.
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
    /// Whether it came to its target loss and cost no more than it was allowed to.
    pub fn succeeded(&self) -> bool {
        self.run.is_done() && self.run.cost <= self.budget
    }

    /// Seconds and dollars of the probes.
    pub fn probing(&self) -> (f64, f64) {
        let probes = self.run.record.epochs.iter().take(self.probes);
        probes.fold((0.0, 0.0), |(s, usd), epoch| (s + epoch.elapsed_s, usd + epoch.cost_usd))
    }
}

/// An agent that was trained on this model of a job, from scratch. Where the model says that the budget does
/// not suffice, it learns with one that would, since there is nothing to be learned from failing. Where the
/// loss hardly fell so far and the model says that the target is out of reach, the curve is the prior's.
fn trained(
    prior: &JobModel,
    model: JobModel,
    job: &siren_core::Job,
    bounds: Bounds,
    steps: u64,
    seed: Seed,
) -> Result<Box<dyn Scheduler>> {
    #[expect(clippy::disallowed_methods, reason = "training takes real time, as is told")]
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

/// Ideal epochs that a job takes at the most, for the fall of its loss to be believed.
const LONGEST: f64 = 50.0;

/// The allowance, in budgets.
const ALLOWANCE: f64 = 4.0;

/// How many times the least cost a budget is at the least that an agent is trained with.
const SUFFICES: f64 = 1.3;

/// A scheduler that does not know of an allowance. Before an epoch a trainer sets aside the most that its
/// functions could cost, a multiple of what they do: without an allowance, the last epoch that the budget
/// pays for would not begin. Nor does the run end where the budget does: it then shows what the target would
/// have cost.
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
