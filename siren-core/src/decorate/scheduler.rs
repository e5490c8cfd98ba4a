//! Wrappers around schedulers.

use crate::{Allocation, Job, Observation, Outcome, Result, Scheduler};

/// A wrapper around another scheduler. Every method that the decorator does not override calls the
/// same method of the [wrapped scheduler](Self::inner).
///
/// Every decorator is also a [`Scheduler`]. The two traits have the same methods. When both are in
/// scope, call the methods on the wrapped scheduler, or name the trait.
///
/// # Examples
///
/// A scheduler that logs the decisions of another one:
///
/// ```
/// use siren_core::{Allocation, Job, Observation, Result, Scheduler, SchedulerDecorator};
///
/// struct Logging(Box<dyn Scheduler>);
///
/// impl SchedulerDecorator for Logging {
///     fn inner(&self) -> &dyn Scheduler {
///         &*self.0
///     }
///
///     fn inner_mut(&mut self) -> &mut dyn Scheduler {
///         &mut *self.0
///     }
///
///     fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
///         let allocation = self.0.allocate(job, observation)?;
///         println!("epoch {}: {allocation:?}", observation.epoch);
///         Ok(allocation)
///     }
/// }
///
/// fn logging(inner: Box<dyn Scheduler>) -> Box<dyn Scheduler> {
///     Box::new(Logging(inner))
/// }
/// ```
pub trait SchedulerDecorator: Send {
    /// The wrapped scheduler.
    fn inner(&self) -> &dyn Scheduler;

    /// The wrapped scheduler, for methods that change it.
    fn inner_mut(&mut self) -> &mut dyn Scheduler;

    /// [`Scheduler::allocate`].
    ///
    /// # Errors
    ///
    /// Those of [`Scheduler::allocate`].
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        self.inner_mut().allocate(job, observation)
    }

    /// [`Scheduler::predict_allocation`].
    fn predict_allocation(&self, job: &Job, epoch: u64) -> Option<Allocation> {
        self.inner().predict_allocation(job, epoch)
    }

    /// [`Scheduler::finish`].
    fn finish(&mut self, outcome: &Outcome) {
        self.inner_mut().finish(outcome);
    }
}

impl<T: SchedulerDecorator + ?Sized> Scheduler for T {
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        SchedulerDecorator::allocate(self, job, observation)
    }

    fn predict_allocation(&self, job: &Job, epoch: u64) -> Option<Allocation> {
        SchedulerDecorator::predict_allocation(self, job, epoch)
    }

    fn finish(&mut self, outcome: &Outcome) {
        SchedulerDecorator::finish(self, outcome);
    }
}
