//! Learning a job's model from its first epochs.

use siren_core::{Allocation, Error, Job, Observation, Outcome, Result, Scheduler, Usd};
use siren_hsp::EpochRecord;

use crate::bounds::Bounds;
use crate::fit::FittedModel;
use crate::history::{Run, RunHistory, observed};
use crate::model::{At, Chance, Dynamics, JobModel};
use crate::planner::Planner;

/// Makes the scheduler for the rest of a job, from the job's model and the observation before the
/// next epoch.
type Successor = dyn FnMut(JobModel, &Job, &Observation) -> Result<Box<dyn Scheduler>> + Send;

/// Runs the first epochs of a job with given allocations, the probes, and fits a [`JobModel`] to
/// them. Then another scheduler takes over that was made for this model: a [`Planner`] with
/// [`planning`](Self::planning), or any other with [`new`](Self::new). The time and cost of the
/// probes are part of the job.
///
/// It uses only the observations that every scheduler gets. The model is [fitted
/// from](JobModel::fit_from) a prior, such as [`JobModel::predicted`]. If the prior has another
/// target than the job, its loss curve is [replaced](JobModel::with_target) by one from the first
/// loss to the job's target. Probes with different numbers of functions show the progress lost with
/// more functions. Probes with different memory sizes show the benefit of more memory.
///
/// A model's loss never rises, but a real one may, if too many functions push at once and the last
/// updates undo the first ones. After an epoch that raised the loss by more than 2 %, there are
/// never again more than 0.7 times as many functions, whatever the other scheduler says.
///
/// A probe that is predicted to take more than half of the money left is not made, and neither are
/// the probes after it. Without any probe, the other scheduler gets the prior.
///
/// ```
/// use siren_core::{Allocation, Seed};
/// use siren_drl::{JobModel, Probing, SchedulingTask, play};
///
/// // Computing takes twice as long as the prior says.
/// let prior = JobModel::named("seed")?;
/// let mut job = prior.clone();
/// job.compute.vcpu_seconds *= 2.0;
/// let task = SchedulingTask::new(job, 300.0)?.into();
/// let probes = [100, 200, 400].map(|workers| Allocation::new(workers, 3_008));
/// let episode = play(&mut Probing::planning(prior, &probes, None), &task, Seed::new(1))?;
/// assert!(episode.success && episode.allocations.starts_with(&probes));
/// # Ok::<(), siren_core::Error>(())
/// ```
pub struct Probing {
    prior: JobModel,
    probes: Vec<Allocation>,
    successor: Box<Successor>,
    /// `true` if the model is fitted anew after each epoch.
    refit_each_epoch: bool,
    /// The largest number of functions that is allowed, after the loss rose with more.
    most: u32,
    /// The observation before each epoch of the run.
    seen: Vec<Observation>,
    /// `true` if there are no more probes.
    probed: bool,
    current: Option<Box<dyn Scheduler>>,
    fitted: Option<FittedModel>,
}

impl std::fmt::Debug for Probing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probing")
            .field("probes", &self.probes)
            .field("refit_each_epoch", &self.refit_each_epoch)
            .field("epochs", &self.seen.len())
            .field("fitted", &self.fitted)
            .finish_non_exhaustive()
    }
}

/// The ideal epochs to the target, if the prior has another target than the job.
const EPOCHS: f64 = 10.0;

/// The relative rise of the loss that shows too many functions, and the share of them that is
/// allowed afterwards.
const RISE: f64 = 0.02;
const FEWER: f64 = 0.7;

/// The share of the money left that a probe may take.
const SHARE: f64 = 0.5;

impl Probing {
    /// Probes with each of these allocations. Then `successor` makes a scheduler from the model,
    /// the job and the observation before the next epoch, and that scheduler takes over. It gets
    /// all earlier observations first.
    pub fn new(
        prior: JobModel,
        probes: &[Allocation],
        successor: impl FnMut(JobModel, &Job, &Observation) -> Result<Box<dyn Scheduler>>
        + Send
        + 'static,
    ) -> Self {
        Self {
            prior,
            probes: probes.to_vec(),
            successor: Box::new(successor),
            refit_each_epoch: false,
            most: u32::MAX,
            seen: Vec::new(),
            probed: false,
            current: None,
            fitted: None,
        }
    }

    /// Probes with each of these allocations, and then plans within `bounds`, or within the
    /// platform's limits if there are none. The model is fitted anew after each epoch.
    pub fn planning(prior: JobModel, probes: &[Allocation], bounds: Option<Bounds>) -> Self {
        let planner = move |model, _: &Job, _: &Observation| -> Result<Box<dyn Scheduler>> {
            let planner = Planner::new(model);
            Ok(Box::new(match bounds {
                Some(bounds) => planner.with_bounds(bounds),
                None => planner,
            }))
        };
        Self::new(prior, probes, planner).refit_each_epoch()
    }

    /// Fits the model anew after each epoch, and makes a new scheduler for each model.
    #[must_use]
    pub fn refit_each_epoch(self) -> Self {
        Self { refit_each_epoch: true, ..self }
    }

    /// The last fitted model and its accuracy.
    pub fn fitted(&self) -> Option<&FittedModel> {
        self.fitted.as_ref()
    }

    /// Stores an observation. If it does not follow the last one, a new or resumed run has begun.
    fn observe(&mut self, observation: &Observation) -> Result<()> {
        if self.seen.last().is_some_and(|last| last == observation) {
            return Ok(());
        }
        let next = self.seen.last().and_then(|last| last.epoch.checked_add(1));
        if next.is_some_and(|next| next != observation.epoch) {
            self.forget();
        }
        if !observation.loss.is_finite() {
            return Err(Error::rejected(format!(
                "the loss before epoch {} is {}: a model cannot be fitted to it",
                observation.epoch, observation.loss
            )));
        }
        if let (Some(last), Some(allocation)) = (self.seen.last(), observation.allocation)
            && observation.loss > last.loss + RISE * last.loss.abs()
        {
            let fewer = (f64::from(allocation.workers) * FEWER) as u32;
            self.most = self.most.min(fewer.max(1));
        }
        self.seen.push(observation.clone());
        Ok(())
    }

    fn forget(&mut self) {
        self.seen.clear();
        (self.probed, self.current, self.fitted) = (false, None, None);
        self.most = u32::MAX;
    }

    /// The model of the job before anything ran.
    fn prior(&self, job: &Job) -> JobModel {
        let mut prior = self.prior.clone();
        prior.platform.clone_from(&job.platform);
        let initial = self.seen.first().map_or(f64::NAN, |first| first.loss);
        match job.target_loss {
            Some(target) if target != prior.target_loss => {
                prior.with_target(initial, target, EPOCHS)
            }
            _ => prior,
        }
    }

    fn model(&mut self, job: &Job) -> Result<JobModel> {
        let (prior, history) = (self.prior(job), self.history(job));
        if history.epochs() == 0 {
            return Ok(prior);
        }
        let fit = JobModel::fit_from(&prior, &history)?;
        let model = fit.model.clone();
        self.fitted = Some(fit);
        Ok(model)
    }

    /// The epochs between the observations.
    fn history(&self, job: &Job) -> RunHistory {
        let pairs = self.seen.iter().zip(self.seen.iter().skip(1));
        let epochs = pairs.filter_map(|(before, after)| record(job, before, after)).collect();
        let initial = self.seen.first().map(|first| first.loss);
        let platform = Some(job.platform.clone());
        let run = Run { parameters: None, platform, config: None, initial, epochs };
        RunHistory { runs: vec![run] }
    }

    /// The next probe, if there is one and the money suffices for it.
    fn probe(&self, job: &Job, observation: &Observation) -> Option<Allocation> {
        let probe = *self.probes.get(self.seen.len().checked_sub(1)?)?;
        let left = observation.budget_left.map_or(f64::INFINITY, Usd::dollars);
        let at = At { epoch: observation.epoch, ..At::default() };
        let epoch = self.prior(job).epoch(at, probe, &Chance::EXPECTED);
        // A cost that is NaN does not rule out a probe.
        let dear = epoch.cost_usd > SHARE * left;
        (!dear).then_some(probe)
    }
}

/// The record of the epoch between two observations.
fn record(job: &Job, before: &Observation, after: &Observation) -> Option<EpochRecord> {
    let left = |observation: &Observation| observation.budget_left.map_or(0.0, Usd::dollars);
    let record = observed(after, left(before) - left(after))?;
    Some(EpochRecord { epoch: before.epoch, batches: job.batches, ..record })
}

impl Scheduler for Probing {
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        let before = self.seen.len();
        self.observe(observation)?;
        let new = self.seen.len() != before;
        if !self.probed {
            if let Some(probe) = self.probe(job, observation) {
                probe.check(&job.platform)?;
                return Ok(probe);
            }
            self.probed = true;
        }
        if self.current.is_none() || (self.refit_each_epoch && new) {
            let model = self.model(job)?;
            let mut next = (self.successor)(model, job, observation)?;
            let (_, earlier) = self.seen.split_last().unwrap_or((observation, &[]));
            for seen in earlier {
                next.allocate(job, seen)?;
            }
            self.current = Some(next);
        }
        match &mut self.current {
            Some(current) => {
                let allocation = current.allocate(job, observation)?;
                Ok(Allocation { workers: allocation.workers.min(self.most), ..allocation })
            }
            None => Err(Error::rejected("no scheduler was made for the rest of the job")),
        }
    }

    fn predict_allocation(&self, job: &Job, epoch: u64) -> Option<Allocation> {
        let allocation = self.current.as_ref()?.predict_allocation(job, epoch)?;
        Some(Allocation { workers: allocation.workers.min(self.most), ..allocation })
    }

    fn finish(&mut self, outcome: &Outcome) {
        if let Some(current) = &mut self.current {
            current.finish(outcome);
        }
        self.forget();
    }
}
