//! How many workers of what memory size.

use std::time::Duration;

use crate::{Error, Evaluation, Platform, Result, Usd};

/// What a scheduler is told of a job, once.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Job {
    /// The number of parameters.
    pub parameters: u64,
    /// The number of batches in an epoch.
    pub batches: u64,
    /// The held-out loss at which the job is done, if there is one.
    pub target_loss: Option<f64>,
    /// The money that the job may cost, if that is limited.
    pub budget: Option<Usd>,
    /// The number of epochs after which the job ends.
    pub epochs: u64,
    /// Limits and prices.
    pub platform: Platform,
}

/// Where an epoch's time went, as a mean over its workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Phases {
    /// Waiting for data, P^F.
    pub fetch: Duration,
    /// Computing, P^C.
    pub compute: Duration,
    /// Pulling and pushing, P^U.
    pub update: Duration,
    /// Waiting for others: for their rounds, where synchrony asks for it, and at the barrier.
    pub wait: Duration,
}

/// How much of what was paid for was used, as shares of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Utilisation {
    /// Peak memory over the memory asked for, mean over the workers.
    pub memory: f64,
    /// CPU time over execution time, mean over the workers.
    pub cpu: f64,
}

/// What a scheduler sees before an epoch: the state s_t of the SIREN paper, and the last allocation.
/// Before the first epoch the loss is known, and nothing was measured.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Observation {
    /// The epoch to allocate for, t.
    pub epoch: u64,
    /// The held-out loss, or the mean training loss where none is held out.
    pub loss: f64,
    /// How long the last epoch took from launch to seal, P.
    pub elapsed: Option<Duration>,
    /// Where its time went: P^F, P^C, P^U, and the wait at the barrier.
    pub phases: Option<Phases>,
    /// Memory and CPU utilisation.
    pub utilisation: Option<Utilisation>,
    /// The money left, if it is limited.
    pub budget_left: Option<Usd>,
    /// What the last epoch ran with.
    pub allocation: Option<Allocation>,
}

/// How many workers of what memory size: the action a_t = (n_t, m_t) of the SIREN paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Allocation {
    /// The number of workers.
    pub workers: u32,
    /// The memory of each, in MB.
    pub memory_mb: u32,
}

impl Allocation {
    /// Refuses what a platform does not have.
    ///
    /// # Errors
    ///
    /// Rejected, naming the number and the range.
    pub fn check(&self, platform: &Platform) -> Result<()> {
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

/// Why a run ended.
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
    /// The money left does not pay for more.
    Budget,
    /// Somebody asked it to stop.
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

/// How a run ended.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    /// Why it ended.
    pub reason: StopReason,
    /// Epochs sealed, those before a resume included.
    pub epochs: u64,
    /// The last evaluation.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// Time from the first launch to the end, evaluation included.
    pub elapsed: Duration,
    /// Money spent.
    pub cost: Usd,
    /// More about the reason, where there is more to say.
    pub detail: Option<String>,
}

/// Chooses an allocation before each epoch.
///
/// An allocation is within the job's platform ([`Allocation::check`]). It may ask for more workers
/// than there are batches: it is cut to the batches.
///
/// A scheduler that wraps another one implements [`SchedulerDecorator`](crate::SchedulerDecorator)
/// instead.
pub trait Scheduler: Send {
    /// What the next epoch runs with.
    ///
    /// # Errors
    ///
    /// Rejected when the job or the observation is not something that it can decide upon.
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation>;

    /// The allocation that it expects to choose for `epoch`, if it knows that already: the backend
    /// prepares it while the epoch before runs. The scheduler may choose another one then.
    fn predict_allocation(&self, job: &Job, epoch: u64) -> Option<Allocation>;

    /// Called once, when the run has ended without an error.
    fn finish(&mut self, outcome: &Outcome);
}

/// A scheduler that was chosen at run time is a scheduler.
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
