//! Facts of a [`Scheduler`].

mod situations;

use super::Fact;
use crate::{Allocation, ErrorKind, Job, Observation, Result, Scheduler};
use situations::{hostile_jobs, hostile_observations, job, outcomes, run};

/// The constructor of the scheduler under test.
pub struct Subject {
    make: Box<dyn Fn() -> Box<dyn Scheduler> + Send + Sync>,
}

impl Subject {
    /// Tests the schedulers that `make` creates, with the same seed every time.
    pub fn new<S: Scheduler + 'static>(make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        Self { make: Box::new(move || Box::new(make())) }
    }
}

/// In an ordinary run every allocation is within the platform's limits.
pub fn an_allocation_is_within_the_limits(subject: &Subject) {
    let mut scheduler = (subject.make)();
    let job = job();
    for allocation in follow(&mut *scheduler, &job, 30) {
        within(&job, allocation);
    }
}

/// Every observation, in any order, results in an allocation within the limits or in an error with
/// a message.
pub fn a_hostile_observation_is_answered_or_refused(subject: &Subject) {
    let job = job();
    for observation in hostile_observations() {
        // At the start, and after a few ordinary epochs.
        for epochs in [0, 3] {
            let mut scheduler = (subject.make)();
            follow(&mut *scheduler, &job, epochs);
            for _ in 0..2 {
                answered(&job, scheduler.allocate(&job, &observation));
            }
            let after = scheduler.allocate(&job, &run(epochs + 1, None));
            answered(&job, after);
        }
    }
    let mut scheduler = (subject.make)();
    for observation in hostile_observations() {
        answered(&job, scheduler.allocate(&job, &observation));
    }
}

/// For every job and platform, the result is an allocation within the limits or an error.
pub fn a_hostile_job_is_answered_or_refused(subject: &Subject) {
    for job in hostile_jobs() {
        let mut scheduler = (subject.make)();
        for epoch in 0..3 {
            answered(&job, scheduler.allocate(&job, &run(epoch, None)));
        }
        for observation in hostile_observations() {
            answered(&job, scheduler.allocate(&job, &observation));
        }
    }
}

/// Two schedulers that were made in the same way choose the same allocations for the same
/// observations.
pub fn equal_seeds_allocate_the_same(subject: &Subject) {
    let job = job();
    let allocations = || {
        let mut scheduler = (subject.make)();
        let mut allocations = Vec::new();
        for _ in 0..2 {
            allocations.extend(follow(&mut *scheduler, &job, 20));
            scheduler.finish(&outcomes()[0]);
        }
        allocations
    };
    let first = allocations();
    assert_eq!(first, allocations());
}

/// A run may end at any time and for any reason, and another one may begin.
pub fn a_run_may_end_at_any_time(subject: &Subject) {
    let job = job();
    for outcome in outcomes() {
        for epochs in [0, 1, 5] {
            let mut scheduler = (subject.make)();
            follow(&mut *scheduler, &job, epochs);
            scheduler.finish(&outcome);
            for allocation in follow(&mut *scheduler, &job, 2) {
                within(&job, allocation);
            }
        }
    }
}

/// The allocations of a scheduler in the first epochs of an ordinary run.
fn follow(scheduler: &mut dyn Scheduler, job: &Job, epochs: u64) -> Vec<Allocation> {
    let mut allocations: Vec<Allocation> = Vec::new();
    for epoch in 0..epochs {
        let observation: Observation = run(epoch, allocations.last().copied());
        let allocation = scheduler.allocate(job, &observation);
        allocations.push(allocation.expect("an allocation in an ordinary run"));
    }
    allocations
}

#[track_caller]
fn answered(job: &Job, answer: Result<Allocation>) {
    match answer {
        Ok(allocation) => within(job, allocation),
        Err(error) => {
            let kinds = [ErrorKind::Rejected, ErrorKind::Budget];
            assert!(kinds.contains(&error.kind()), "{:?}: {error}", error.kind());
            assert!(!error.message().is_empty(), "the error has no message");
        }
    }
}

#[track_caller]
fn within(job: &Job, allocation: Allocation) {
    if let Err(error) = allocation.check(&job.platform) {
        panic!("{error}");
    }
}

/// All facts.
pub const FACTS: &[Fact<Subject>] = crate::__scheduler_facts!(__fact_list);

/// Makes a test for each fact of a [`Scheduler`]: `scheduler_tests!(module_name, subject)`.
///
/// ```text
/// scheduler_tests!(fixed, scheduler::Subject::new(|| FixedScheduler::new(4, 1_792)));
/// ```
#[macro_export]
macro_rules! scheduler_tests {
    ($name:ident, $subject:expr $(,)?) => {
        $crate::__scheduler_facts!(__fact_tests $name, $subject);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __scheduler_facts {
    ($then:ident $($with:tt)*) => {
        $crate::$then! { [$($with)*] scheduler:
            an_allocation_is_within_the_limits
            a_hostile_observation_is_answered_or_refused
            a_hostile_job_is_answered_or_refused
            equal_seeds_allocate_the_same
            a_run_may_end_at_any_time
        }
    };
}
