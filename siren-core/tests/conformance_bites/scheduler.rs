//! A correct scheduler, and wrong ones.

use std::sync::atomic::{AtomicU32, Ordering};

use siren_core::conformance::scheduler::{self, Subject};
use siren_core::conformance::scheduler_tests;
use siren_core::{Allocation, Error, Job, Observation, Outcome, Result, Scheduler, Seed, Stream};

use super::bite::faults;

scheduler_tests!(wanderer, Subject::new(|| Wanderer { seed: Seed::new(1), fault: None }));

/// The fault of a scheduler.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    AsksForTooMany,
    AsksForUpdatesOfNoBatch,
    AsksForUpdatesOfNoExample,
    FailsWithoutAWord,
    CannotBearABadEnd,
    ForgetsMemorySteps,
    ForgetsTheSeed,
    PanicsWithoutANumber,
    SendsEverybodyHome,
}

/// Draws an allocation within the platform's limits.
struct Wanderer {
    seed: Seed,
    fault: Option<Fault>,
}

impl Wanderer {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

impl Scheduler for Wanderer {
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let limits = &job.platform.limits;
        if observation.loss.is_nan() && self.has(Fault::FailsWithoutAWord) {
            return Err(Error::rejected(""));
        }
        if observation.loss.is_nan() && !self.has(Fault::PanicsWithoutANumber) {
            return Err(Error::rejected("the loss is not a number: give another"));
        }
        assert!(!observation.loss.is_nan(), "the loss is not a number");
        let seed = self.seed.split(Stream::Scheduler, &[observation.epoch]);
        let mut drawn = seed.get();
        if self.has(Fault::ForgetsTheSeed) {
            drawn = CALLS.fetch_add(1, Ordering::Relaxed).into();
        }
        let mut workers = 1 + (drawn % u64::from(limits.concurrency.min(100))) as u32;
        if self.has(Fault::AsksForTooMany) {
            workers = 100;
        }
        let broke = observation.budget_left.is_some_and(|b| b.dollars() <= 0.0);
        if broke && self.has(Fault::SendsEverybodyHome) {
            workers = 0;
        }
        let mut step = limits.memory_step_mb;
        if self.has(Fault::ForgetsMemorySteps) {
            step = 1;
        }
        let steps = (limits.memory_max_mb - limits.memory_min_mb) / step;
        let memory_mb = limits.memory_min_mb + (drawn % (u64::from(steps) + 1)) as u32 * step;
        let allocation = Allocation::new(workers, memory_mb);
        Ok(match self.fault {
            // As a quotient may come out.
            Some(Fault::AsksForUpdatesOfNoBatch) => {
                Allocation { local_steps: Some(job.local_steps / 2), ..allocation }
            }
            Some(Fault::AsksForUpdatesOfNoExample) => {
                let batch = job.batch_size / u64::from(workers).pow(2);
                Allocation { global_batch: Some(batch), ..allocation }
            }
            _ => allocation,
        })
    }

    fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
        None
    }

    fn finish(&mut self, outcome: &Outcome) {
        if self.has(Fault::CannotBearABadEnd) {
            assert!(outcome.evaluation.loss.is_finite(), "the loss is not finite");
        }
    }
}

fn with_fault(fault: Fault) -> Subject {
    Subject::new(move || Wanderer { seed: Seed::new(1), fault: Some(fault) })
}

faults! { scheduler::FACTS, with_fault;
    a_scheduler_that_asks_for_too_many: AsksForTooMany => a_hostile_job_is_answered_or_refused;
    a_scheduler_that_asks_for_updates_of_no_batch: AsksForUpdatesOfNoBatch =>
        an_allocation_is_within_the_limits;
    a_scheduler_that_asks_for_updates_of_no_example: AsksForUpdatesOfNoExample =>
        an_allocation_is_within_the_limits;
    a_scheduler_that_forgets_memory_steps: ForgetsMemorySteps =>
        a_hostile_job_is_answered_or_refused;
    a_scheduler_that_sends_everybody_home: SendsEverybodyHome =>
        a_hostile_observation_is_answered_or_refused;
    a_scheduler_that_panics_without_a_number: PanicsWithoutANumber =>
        a_hostile_observation_is_answered_or_refused;
    a_scheduler_that_fails_without_a_word: FailsWithoutAWord =>
        a_hostile_observation_is_answered_or_refused;
    a_scheduler_that_forgets_its_seed: ForgetsTheSeed => equal_seeds_allocate_the_same;
    a_scheduler_that_cannot_bear_a_bad_end: CannotBearABadEnd => a_run_may_end_at_any_time;
}
