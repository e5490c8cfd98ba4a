//! The contract of a scheduler, which chooses the number of workers and their memory.

use std::time::Duration;

use crate::{Error, Evaluation, NoiseScale, Optimizer, Platform, Result, Usd};

/// The properties of a job that do not change during a run, as a scheduler receives them.
///
/// Two jobs with the same layout, data, optimizer and batch size learn alike. A scheduler may use
/// for one of them what it measured with the other.
///
/// ```
/// use siren_core::{Job, Platform, Usd};
///
/// // 61,706 parameters, and 938 batches in an epoch.
/// let job = Job::new(61_706, 938, Platform::aws_lambda());
/// let job = Job { epochs: 20, budget: Some(Usd::new(0.50)), ..job };
/// assert_eq!((job.epochs, job.target_loss), (20, None));
/// ```
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Job {
    /// The number of parameters.
    pub parameters: u64,
    /// The hash of the model's layout: the same for all jobs that train this model.
    pub layout: u64,
    /// A fingerprint of the training data: the same for all jobs that train on this data.
    pub data: u64,
    /// The rule by which updates change the parameters.
    pub optimizer: Optimizer,
    /// The number of examples in a batch.
    pub batch_size: u64,
    /// The number of batches that one update covers, unless an allocation says otherwise.
    pub local_steps: u64,
    /// The number of batches in an epoch.
    pub batches: u64,
    /// The held-out loss at which the job is done, if one is set.
    pub target_loss: Option<f64>,
    /// The most that the job may cost, if that is limited.
    pub budget: Option<Usd>,
    /// The time after which the job ends, if that is limited. It counts from the first launch, and
    /// includes evaluations and the time before a resume.
    #[serde(with = "crate::seconds::optional")]
    pub deadline: Option<Duration>,
    /// The number of epochs after which the job ends.
    pub epochs: u64,
    /// The platform's limits and prices.
    pub platform: Platform,
}

impl Job {
    /// A job of ten epochs of plain SGD with batches of 32 and one batch in each update. It has no
    /// target, budget or deadline. Its layout and its data are unknown: 0.
    pub fn new(parameters: u64, batches: u64, platform: Platform) -> Self {
        Self {
            parameters,
            layout: 0,
            data: 0,
            optimizer: Optimizer::Sgd,
            batch_size: 32,
            local_steps: 1,
            batches,
            target_loss: None,
            budget: None,
            deadline: None,
            epochs: 10,
            platform,
        }
    }
}

/// The parts of an epoch's time, as means over its workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Phases {
    /// The time of waiting for data, P^F.
    pub fetch: Duration,
    /// The time of computing, P^C.
    pub compute: Duration,
    /// The time of pulling and pushing, P^U.
    pub update: Duration,
    /// The time of waiting at the barrier and in pulls: for other workers under bulk and stale mode,
    /// and for aggregators.
    pub wait: Duration,
}

/// The used shares of the paid resources, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Utilisation {
    /// The peak memory divided by the function's memory, as a mean over the workers.
    pub memory: f64,
    /// The CPU time divided by the execution time, as a mean over the workers.
    pub cpu: f64,
}

/// A scheduler's input before an epoch: the state s_t of the SIREN paper, and the last allocation.
/// Before the first epoch the loss and the budget are known, and all measurements of the last epoch
/// are `None`. After a resume they are those of the last epoch in the checkpoint.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Observation {
    /// The epoch to allocate for, t.
    pub epoch: u64,
    /// The held-out loss. When no data is held out: the loss of the first batch before the first
    /// epoch, and afterwards the mean training loss of the last epoch.
    pub loss: f64,
    /// The time of the last epoch from launch to seal, P.
    pub elapsed: Option<Duration>,
    /// The parts of this time: P^F, P^C, P^U and the wait.
    pub phases: Option<Phases>,
    /// The memory and CPU utilisation in the last epoch.
    pub utilisation: Option<Utilisation>,
    /// The money left of the budget, if there is one.
    pub budget_left: Option<Usd>,
    /// The allocation that the last epoch ran with. It may differ from the one that
    /// [`Scheduler::allocate`] returned: it has fewer workers when there were too few batches or
    /// too little money, and more memory when functions ran out of it. Its local steps are those
    /// that were returned.
    pub allocation: Option<Allocation>,
    /// The mean [factor](crate::Optimizer::step_factor) of the last epoch's steps.
    pub step_factor: Option<f64>,
    /// The progress of the last epoch in passes over the data; see
    /// [`EpochSummary::progress`](crate::EpochSummary::progress).
    pub progress: Option<f64>,
    /// The noise scale in the last epoch, if it was measured.
    pub noise: Option<NoiseScale>,
}

impl Observation {
    /// The observation before the first epoch of a job without a budget, whose loss is `loss`.
    pub fn first(loss: f64) -> Self {
        Self {
            epoch: 0,
            loss,
            elapsed: None,
            phases: None,
            utilisation: None,
            budget_left: None,
            allocation: None,
            step_factor: None,
            progress: None,
            noise: None,
        }
    }
}

/// The number of workers and their memory size: the action a_t = (n_t, m_t) of the SIREN paper. It
/// may also change the number of examples or batches behind an update.
///
/// ```
/// use siren_core::Allocation;
///
/// // 50 workers with 1,792 MB each, with updates as the run is configured.
/// let allocation = Allocation::new(50, 1_792);
/// // The same workers, with one update for every 8 batches.
/// let rarely = Allocation { local_steps: Some(8), ..allocation };
/// assert_eq!((rarely.workers, allocation.local_steps), (50, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Allocation {
    /// The number of workers.
    pub workers: u32,
    /// The memory of each, in MB.
    pub memory_mb: u32,
    /// The number of examples that all workers together contribute to one update under
    /// [`SyncMode::Bulk`](crate::SyncMode::Bulk). `None` for as many as the run's settings lead to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_batch: Option<u64>,
    /// The number of batches that one update of a worker covers. `None` for
    /// [`Job::local_steps`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_steps: Option<u64>,
}

impl Allocation {
    /// Workers of this memory, with updates as the run is configured.
    pub const fn new(workers: u32, memory_mb: u32) -> Self {
        Self { workers, memory_mb, global_batch: None, local_steps: None }
    }

    /// Checks that the platform offers this allocation, and that its updates cover some work.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected), with the number and the allowed
    /// range, when the number of workers or the memory size is outside the platform's limits, or
    /// when the global batch or the local steps are 0.
    pub fn check(&self, platform: &Platform) -> Result<()> {
        if self.global_batch == Some(0) {
            return Err(Error::rejected(
                "the global batch is 0: give at least 1 example, or none to keep the setting",
            ));
        }
        if self.local_steps == Some(0) {
            return Err(Error::rejected(
                "local steps are 0: give at least 1 for each update, or none to keep the setting",
            ));
        }
        let most = platform.limits.concurrency;
        if self.workers == 0 || self.workers > most {
            return Err(Error::rejected(format!(
                "the number of workers is {}: {} runs 1 to {most} at once",
                self.workers, platform.name
            )));
        }
        platform.check_memory(self.memory_mb)
    }
}

/// The reason why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// The target loss was reached.
    TargetLoss,
    /// All epochs were run.
    Epochs,
    /// The time allowed was used up.
    TimeLimit,
    /// The money left does not pay for another epoch.
    Budget,
    /// The run was asked to stop.
    Interrupted,
    /// The loss or the parameters were no longer finite.
    Diverged,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TargetLoss => "target loss reached",
            Self::Epochs => "all epochs done",
            Self::TimeLimit => "time limit reached",
            Self::Budget => "budget used up",
            Self::Interrupted => "interrupted",
            Self::Diverged => "diverged",
        })
    }
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    /// The reason why it ended.
    pub reason: StopReason,
    /// The number of sealed epochs, those before a resume included.
    pub epochs: u64,
    /// The last evaluation.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// The time from the first launch to the end, evaluations included.
    pub elapsed: Duration,
    /// The money spent.
    pub cost: Usd,
    /// Details of the reason, if there are any.
    pub detail: Option<String>,
}

/// Chooses an allocation before each epoch.
///
/// An allocation must pass [`Allocation::check`] for the job's platform. It may have more workers
/// than there are batches: the trainer then runs one worker for each batch.
///
/// An allocation that changes [`local_steps`](Allocation::local_steps) changes the number of updates
/// in an epoch. Every batch still counts once.
///
/// # State
///
/// A checkpoint holds no state of a scheduler, so a resumed run has a new one. If an epoch ended
/// before, its first observation has an [`epoch`](Observation::epoch) above 0, and an
/// [`allocation`](Observation::allocation). Take what the decision needs from the observation: a
/// scheduler that keeps state in its fields may choose differently after a resume.
///
/// To wrap another scheduler, implement [`SchedulerDecorator`](crate::SchedulerDecorator) instead.
///
/// # Examples
///
/// ```
/// use siren_core::{Allocation, Job, Observation, Outcome, Result, Scheduler};
///
/// /// Starts with one worker and doubles the number of workers in every epoch.
/// struct Doubling {
///     memory_mb: u32,
/// }
///
/// impl Scheduler for Doubling {
///     fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
///         let workers = observation.allocation.map_or(1, |last| last.workers.saturating_mul(2));
///         let workers = workers.min(job.platform.limits.concurrency);
///         let allocation = Allocation::new(workers, self.memory_mb);
///         allocation.check(&job.platform)?;
///         Ok(allocation)
///     }
///
///     fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
///         None
///     }
///
///     fn finish(&mut self, _: &Outcome) {}
/// }
/// ```
pub trait Scheduler: Send {
    /// Returns the allocation for the next epoch.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the scheduler cannot decide
    /// for this job or observation.
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation>;

    /// The allocation that the scheduler expects to choose for `epoch`, or `None` if it cannot tell
    /// yet. The backend prepares for it while the epoch before runs. [`allocate`](Self::allocate)
    /// may still choose another one.
    fn predict_allocation(&self, job: &Job, epoch: u64) -> Option<Allocation>;

    /// Called once, when a run has ended without an error.
    fn finish(&mut self, outcome: &Outcome);
}

/// A boxed scheduler, chosen at run time, is a scheduler.
impl Scheduler for Box<dyn Scheduler> {
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        (**self).allocate(job, observation)
    }

    fn predict_allocation(&self, job: &Job, epoch: u64) -> Option<Allocation> {
        (**self).predict_allocation(job, epoch)
    }

    fn finish(&mut self, outcome: &Outcome) {
        (**self).finish(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_without_work_in_an_update_is_refused_by_name() {
        let (platform, good) = (Platform::aws_lambda(), Allocation::new(4, 1_792));
        let one = Allocation { global_batch: Some(1), local_steps: Some(1), ..good };
        one.check(&platform).unwrap();
        for (allocation, name) in [
            (Allocation { global_batch: Some(0), ..good }, "the global batch is 0"),
            (Allocation { local_steps: Some(0), ..good }, "local steps are 0"),
        ] {
            let error = allocation.check(&platform).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
    }
}
