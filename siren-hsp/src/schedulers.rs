//! Schedulers with a fixed rule.

use siren_core::{Allocation, Job, Observation, Outcome, Result, Scheduler};

/// The same allocation in every epoch.
///
/// ```
/// # use siren_core::{Job, Platform};
/// use siren_core::{Allocation, Scheduler};
/// use siren_hsp::FixedScheduler;
///
/// # let job = Job { epochs: 5, ..Job::new(10, 1_000, Platform::aws_lambda()) };
/// // 50 workers with 1,792 MB each.
/// let scheduler = FixedScheduler::new(50, 1_792);
/// let expected = Some(Allocation::new(50, 1_792));
/// assert_eq!(scheduler.predict_allocation(&job, 0), expected);
/// assert_eq!(scheduler.predict_allocation(&job, 4), expected);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedScheduler(Allocation);

impl FixedScheduler {
    /// Allocates `workers` workers with `memory_mb` MB each in every epoch.
    pub fn new(workers: u32, memory_mb: u32) -> Self {
        Self(Allocation::new(workers, memory_mb))
    }
}

impl Scheduler for FixedScheduler {
    fn allocate(&mut self, job: &Job, _: &Observation) -> Result<Allocation> {
        self.0.check(&job.platform)?;
        Ok(self.0)
    }

    fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
        Some(self.0)
    }

    fn finish(&mut self, _: &Outcome) {}
}

/// One allocation for the first epoch, one for the epochs in between, and one for the last: the "X
/// functions" of the SIREN talk. The last epoch is the last of [`Job::epochs`].
///
/// ```
/// # use siren_core::{Job, Platform};
/// use siren_core::Scheduler;
/// use siren_hsp::PhasedScheduler;
///
/// # let job = Job { epochs: 5, ..Job::new(10, 1_000, Platform::aws_lambda()) };
/// // Many workers at first, few at the end, all with 1,792 MB.
/// let scheduler = PhasedScheduler::new(120, 20, 10, 1_792);
/// let workers = |epoch| scheduler.predict_allocation(&job, epoch).map(|next| next.workers);
/// // A job of 5 epochs.
/// assert_eq!([0, 1, 3, 4].map(workers), [Some(120), Some(20), Some(20), Some(10)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhasedScheduler {
    /// The allocation of the first epoch.
    pub first: Allocation,
    /// The allocation of all epochs in between.
    pub between: Allocation,
    /// The allocation of the last epoch.
    pub last: Allocation,
}

impl PhasedScheduler {
    /// The numbers of workers in the first epoch, in between, and in the last, with `memory_mb` MB
    /// each.
    pub fn new(first: u32, between: u32, last: u32, memory_mb: u32) -> Self {
        let allocation = |workers| Allocation::new(workers, memory_mb);
        Self { first: allocation(first), between: allocation(between), last: allocation(last) }
    }
}

impl PhasedScheduler {
    fn at(&self, job: &Job, epoch: u64) -> Allocation {
        match epoch {
            0 => self.first,
            epoch if epoch.saturating_add(1) >= job.epochs => self.last,
            _ => self.between,
        }
    }
}

impl Scheduler for PhasedScheduler {
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        let allocation = self.at(job, observation.epoch);
        allocation.check(&job.platform)?;
        Ok(allocation)
    }

    fn predict_allocation(&self, job: &Job, epoch: u64) -> Option<Allocation> {
        Some(self.at(job, epoch))
    }

    fn finish(&mut self, _: &Outcome) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use siren_core::conformance::{scheduler, scheduler_tests};
    use siren_core::{Platform, Usd};

    use super::*;

    fn job() -> Job {
        let job = Job::new(10, 100, Platform::aws_lambda());
        Job { budget: Some(Usd::new(1.0)), epochs: 5, ..job }
    }

    fn before(epoch: u64) -> Observation {
        Observation { epoch, ..Observation::first(1.0) }
    }

    #[test]
    fn a_schedule_has_a_first_a_middle_and_a_last() {
        let mut schedule = PhasedScheduler::new(120, 20, 10, 256);
        let workers: Vec<u32> = (0..5)
            .map(|epoch| schedule.allocate(&job(), &before(epoch)).unwrap().workers)
            .collect();
        assert_eq!(workers, [120, 20, 20, 20, 10]);
    }

    #[test]
    fn an_allocation_is_written_without_what_it_leaves_as_configured() {
        let plain = Allocation::new(4, 1_792);
        let text = serde_json::to_string(&plain).unwrap();
        assert_eq!(text, r#"{"workers":4,"memory_mb":1792}"#);
        assert_eq!(serde_json::from_str::<Allocation>(&text).unwrap(), plain);
        let full = Allocation { global_batch: Some(512), local_steps: Some(8), ..plain };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<Allocation>(&text).unwrap(), full);
    }

    #[test]
    fn a_job_survives_json() {
        let job = Job {
            deadline: Some(Duration::from_millis(1_500)),
            ..Job::new(10, 100, Platform::aws_lambda())
        };
        let text = serde_json::to_string(&job).unwrap();
        assert!(text.contains(r#""deadline":1.5"#), "{text}");
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
    }

    scheduler_tests!(fixed, scheduler::Subject::new(|| FixedScheduler::new(4, 256)));
    scheduler_tests!(schedule, scheduler::Subject::new(|| PhasedScheduler::new(12, 4, 2, 256)));
}
