//! A job, and the terms of its scheduling.

use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siren_core::{Error, Job, Result, Usd};

use crate::belief::Belief;
use crate::bounds::Bounds;
use crate::model::{Dynamics, JobModel};
use crate::reference::References;

/// The reward of the SIREN paper: `-beta P` for an epoch that takes P seconds, and at the end `c`
/// for success or `-c` for failure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reward {
    /// The cost of a second, beta in the paper.
    pub beta: f64,
    /// The reward of success at the end, and the penalty of failure: c in the paper.
    pub terminal: f64,
}

/// A job, and the terms of its scheduling: the subject of an episode.
#[derive(Clone)]
pub struct SchedulingTask {
    /// The behaviour of the job.
    pub job: Arc<dyn Dynamics>,
    /// The budget, in dollars.
    pub budget_usd: f64,
    /// The loss that it has to reach.
    pub target_loss: f64,
    /// The number of epochs after which the job has failed.
    pub epochs: u64,
    /// The allocations that are allowed.
    pub bounds: Bounds,
    /// The parameters of the reward.
    pub reward: Reward,
}

impl std::fmt::Debug for SchedulingTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchedulingTask")
            .field("platform", &self.job.platform().name)
            .field("budget_usd", &self.budget_usd)
            .field("target_loss", &self.target_loss)
            .field("epochs", &self.epochs)
            .field("bounds", &self.bounds)
            .field("reward", &self.reward)
            .finish()
    }
}

impl SchedulingTask {
    /// The default number of epochs after which a job has failed.
    pub const EPOCHS: u64 = 200;

    /// A task for `model` with `budget_usd` dollars, the model's target loss and all allocations of
    /// its platform. The reward has beta 0.001 and c 2;
    /// [`with_scaled_reward`](Self::with_scaled_reward) sets better values.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the budget is negative
    /// or not finite, or when the target cannot be reached.
    pub fn new(model: JobModel, budget_usd: f64) -> Result<Self> {
        let target_loss = model.target_loss;
        let task = Self {
            bounds: Bounds::of(&model.platform),
            job: Arc::new(model),
            budget_usd,
            target_loss,
            epochs: Self::EPOCHS,
            reward: Reward { beta: 1e-3, terminal: 2.0 },
        };
        task.check()?;
        Ok(task)
    }

    /// The same task with another budget.
    #[must_use]
    pub fn with_budget(&self, budget_usd: f64) -> Self {
        Self { budget_usd, ..self.clone() }
    }

    /// The same task with a reward that is scaled to it: `beta = 1 / T` and `c = T' / T`, clamped
    /// to between 1 and 2. T is the time of the job with the fastest constant allocation within the
    /// budget, and T' the time with functions of one vCPU. Success is then worth more than failing
    /// at once, `2 c > beta (T'' - T_fail)`, for every policy whose time T'' is less than twice T'.
    /// Untrained policies are about that fast. Above 2, the end would outweigh all other rewards.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the job takes no time,
    /// or never ends.
    pub fn with_scaled_reward(self) -> Result<Self> {
        let references = References::new(&*self.job, self.bounds, self.ideal_epochs().max(1.0));
        let belief = Belief::new(Arc::clone(&self.job));
        let time = references.fastest(&belief, self.budget_usd);
        let one = references.with_one_vcpu(&belief, self.budget_usd);
        if !time.is_finite() || time <= 0.0 {
            return Err(Error::rejected(format!(
                "the job takes {time} s with its best constant allocation: give a model whose epochs take \
                 some time"
            )));
        }
        let terminal = (one / time).clamp(1.0, 2.0);
        Ok(Self { reward: Reward { beta: 1.0 / time, terminal }, ..self })
    }

    /// Ideal epochs that are needed to reach the target.
    pub fn ideal_epochs(&self) -> f64 {
        self.job.progress_at(self.target_loss)
    }

    /// The ranges of the nine [parts of a state](crate::State::parts): Gymnasium's observation
    /// space, as a box. The action space is [`bounds`](Self::bounds). The last epoch may overspend
    /// the money by any amount.
    pub fn observation_space(&self) -> [RangeInclusive<f64>; 9] {
        let time = 0.0..=f64::INFINITY;
        let share = 0.0..=1.0;
        let least = self.job.loss(f64::MAX).min(self.target_loss);
        [
            0.0..=self.epochs as f64,
            least..=self.job.loss(0.0),
            time.clone(),
            time.clone(),
            time.clone(),
            time,
            share.clone(),
            share,
            f64::NEG_INFINITY..=self.budget_usd,
        ]
    }

    /// The job as a [`Scheduler`](siren_core::Scheduler) sees it. The number of batches is
    /// practically unlimited, and the number of parameters does not matter.
    pub fn as_job(&self) -> Job {
        Job {
            target_loss: Some(self.target_loss),
            budget: Some(Usd::new(self.budget_usd)),
            epochs: self.epochs,
            ..Job::new(0, u64::MAX, self.job.platform().clone())
        }
    }

    /// Checks that a job can be scheduled on these terms.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), naming the term, when one
    /// is out of range.
    pub fn check(&self) -> Result<()> {
        if !self.budget_usd.is_finite() || self.budget_usd < 0.0 {
            return Err(Error::rejected(format!(
                "the budget is {} dollars: give a finite number, 0 or more",
                self.budget_usd
            )));
        }
        if !self.ideal_epochs().is_finite() {
            return Err(Error::rejected(format!(
                "the target loss is {}, and the job never reaches it: give one above the limit of its loss",
                self.target_loss
            )));
        }
        if self.epochs == 0 {
            return Err(Error::rejected("the job may take 0 epochs: give at least 1"));
        }
        self.bounds.check(self.job.platform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_make_no_sense_are_named() {
        let task = SchedulingTask::new(JobModel::named("seed").unwrap(), 200.0).unwrap();
        let refused = |change: fn(&mut SchedulingTask)| {
            let mut task = task.clone();
            change(&mut task);
            task.check().unwrap_err().message().to_owned()
        };
        assert!(refused(|t| t.budget_usd = f64::NAN).contains("the budget"));
        assert!(refused(|t| t.target_loss = 0.1).contains("target loss is 0.1"));
        assert!(refused(|t| t.epochs = 0).contains("0 epochs"));
        assert!(refused(|t| t.bounds.workers = 4_000).contains("1 to 3000"));
        assert!(refused(|t| t.bounds.memory_step_mb = 1).contains("steps of 64 MB"));
    }
}
