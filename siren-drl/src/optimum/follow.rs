//! Following a schedule.

use siren_core::{Allocation, Job, Observation, Outcome, Result, Scheduler};

use super::Optimum;
use crate::belief::Belief;
use crate::state::State;
use crate::task::SchedulingTask;

/// Follows an [`Optimum`]'s schedule by the progress that the loss shows, and ignores everything
/// else. It shows the result of a schedule without correction.
#[derive(Clone, Debug)]
pub struct OpenLoop {
    /// The progress at which each epoch of the schedule begins, and the epoch's allocation.
    schedule: Vec<(f64, Allocation)>,
    belief: Belief,
}

impl OpenLoop {
    pub(super) fn new(optimum: &Optimum, task: &SchedulingTask) -> Self {
        let schedule = optimum.progress.iter().copied().zip(optimum.schedule.iter().copied());
        Self { schedule: schedule.collect(), belief: Belief::new(task.job.clone()) }
    }
}

impl Scheduler for OpenLoop {
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        self.belief.observe(&State::observed(observation));
        let progress = self.belief.progress();
        // Only the first epoch follows the first entry.
        let from = usize::from(observation.epoch > 0 && self.schedule.len() > 1);
        let distance = |(begins, _): &&(f64, Allocation)| (begins - progress).abs();
        let nearest = self.schedule[from..]
            .iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .map_or(Allocation::new(1, job.platform.limits.memory_min_mb), |of| of.1);
        nearest.check(&job.platform)?;
        Ok(nearest)
    }

    fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
        None
    }

    fn finish(&mut self, _: &Outcome) {}
}
