//! Probing: learning a job that differs from the prior, and the contract of a scheduler.

use std::sync::Arc;

use siren_core::conformance::{scheduler, scheduler_tests};
use siren_core::{Allocation, Job, Observation, Outcome, Platform, Result, Scheduler, Seed, Usd};
use siren_drl::{
    Environment, JobModel, Planner, Probing, SchedulingTask, State, minimum_cost, optimum, play,
};

fn named(name: &str) -> JobModel {
    JobModel::named(name).unwrap()
}

fn probes(of: &[(u32, u32)]) -> Vec<Allocation> {
    of.iter().map(|&(workers, memory_mb)| Allocation::new(workers, memory_mb)).collect()
}

/// A job that computes and pushes half as much as the prior says, and loses progress with many
/// functions.
fn other() -> JobModel {
    let mut model = named("seed");
    model.compute.vcpu_seconds *= 0.5;
    model.update.rounds *= 0.5;
    model.staleness.workers = 300.0;
    model
}

#[test]
fn what_the_first_epochs_show_is_planned_with() {
    let task = SchedulingTask::new(other(), 0.0).unwrap();
    let task: Arc<SchedulingTask> = task.with_budget(2.0 * minimum_cost(&task).unwrap()).into();
    let bound = optimum(&task).unwrap().lower_s;
    let first = probes(&[(100, 3_008), (300, 1_536), (200, 3_008), (400, 3_008)]);
    for seed in 0..2 {
        let mut probing = Probing::planning(named("seed"), &first, None);
        let episode = play(&mut probing, &task, Seed::new(seed)).unwrap();
        println!("{} of {bound} s", episode.time_s / bound - 1.0);
        assert!(episode.success && episode.allocations.starts_with(&first));
        assert!(episode.time_s < 1.15 * bound, "{} s, bound {bound} s", episode.time_s);
    }
}

#[test]
fn the_model_that_is_handed_over_is_what_the_first_epochs_were() {
    let task: Arc<SchedulingTask> = SchedulingTask::new(other(), 200.0).unwrap().into();
    let mut probing = Probing::planning(
        named("seed"),
        &probes(&[(100, 3_008), (300, 1_536), (200, 3_008), (400, 3_008)]),
        None,
    );
    let mut environment = Environment::new(Arc::clone(&task), Seed::new(3));
    for _ in 0..8 {
        let observation = environment.state().to_observation();
        let allocation = probing.allocate(&task.as_job(), &observation).unwrap();
        environment.step(allocation);
    }
    let fit = probing.fitted().unwrap();
    let (found, known) = (fit.model.staleness.workers, other().staleness.workers);
    println!("{found} functions halve the progress, in truth {known}; {:?}", fit.quality);
    // Epochs are noisy, but the fit shows that many functions bring less progress.
    assert!((100.0..1_500.0).contains(&found), "{found}, not {known}");
    assert!(fit.quality.fitted.time < 0.1 && fit.quality.fitted.cost < 0.1);
}

/// A probe that is too expensive by the prior is left out, with those after it.
#[test]
fn probes_that_take_too_much_of_the_money_are_left_out() {
    let job = SchedulingTask::new(named("seed"), 200.0).unwrap().as_job();
    let start = |budget| State { loss: 1.1, budget_usd: budget, ..State::default() };
    let first = probes(&[(2_000, 3_008)]);
    for (budget, probed) in [(200.0, true), (5.0, false)] {
        let mut probing = Probing::planning(named("seed"), &first, None);
        let job = Job { budget: Some(Usd::new(budget)), ..job.clone() };
        let allocation = probing.allocate(&job, &start(budget).to_observation()).unwrap();
        assert_eq!(allocation == first[0], probed, "${budget}: {allocation:?}");
    }
}

/// No model has a loss that rises: a rise shows that there were too many functions.
#[test]
fn where_the_loss_rose_fewer_functions_run() {
    let mut model = named("seed");
    model.staleness.workers = 1e6;
    let job = SchedulingTask::new(model.clone(), 1e4).unwrap().as_job();
    let mut probing = Probing::planning(model, &[], None);
    let mut state = State { loss: 1.1, budget_usd: 1e4, ..State::default() };
    let mut last = probing.allocate(&job, &state.to_observation()).unwrap();
    for (epoch, loss) in [(1, 0.9), (2, 1.0), (3, 1.1), (4, 0.8)] {
        let rose = loss > state.loss;
        state = State {
            epoch,
            loss,
            elapsed_s: 20.0,
            fetch_s: 5.0,
            compute_s: 10.0,
            update_s: 4.0,
            budget_usd: state.budget_usd - 5.0,
            allocation: Some(last),
            ..state
        };
        let next = probing.allocate(&job, &state.to_observation()).unwrap();
        assert!(!rose || next.workers <= last.workers * 7 / 10, "{next:?} after {last:?}");
        last = next;
    }
    assert!(last.workers > 500, "{last:?}");
}

/// The other scheduler is made once, and gets the earlier observations.
#[test]
fn any_scheduler_may_go_on_and_sees_the_first_epochs() {
    struct Counts(u32);
    impl Scheduler for Counts {
        fn allocate(&mut self, _: &Job, _: &Observation) -> Result<Allocation> {
            self.0 += 1;
            Ok(Allocation::new(self.0, 3_008))
        }

        fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
            None
        }

        fn finish(&mut self, _: &Outcome) {}
    }
    let task: Arc<SchedulingTask> = SchedulingTask::new(named("seed"), 200.0).unwrap().into();
    let first = probes(&[(500, 1_536), (700, 1_536)]);
    let make =
        |_, _: &Job, _: &Observation| -> Result<Box<dyn Scheduler>> { Ok(Box::new(Counts(0))) };
    let mut probing = Probing::new(named("seed"), &first, make);
    let mut environment = Environment::new(Arc::clone(&task), Seed::new(1));
    let mut workers = Vec::new();
    for _ in 0..5 {
        let observation = environment.state().to_observation();
        // Asking twice before an epoch is no second epoch.
        probing.allocate(&task.as_job(), &observation).unwrap();
        let allocation = probing.allocate(&task.as_job(), &observation).unwrap();
        workers.push(allocation.workers);
        environment.step(allocation);
    }
    assert_eq!(workers, [500, 700, 4, 6, 8]);
}

fn lambda(name: &str) -> JobModel {
    JobModel { platform: Platform::aws_lambda(), ..named(name) }
}

scheduler_tests!(
    planning,
    scheduler::Subject::new(|| Probing::planning(
        lambda("stale"),
        &probes(&[(4, 1_769), (16, 1_024)]),
        Some(siren_drl::Bounds {
            workers: 20,
            memory_min_mb: 512,
            memory_max_mb: 1_536,
            memory_step_mb: 512
        })
    ))
);
scheduler_tests!(
    handing_over,
    scheduler::Subject::new(|| Probing::new(
        lambda("seed"),
        &probes(&[(4, 1_769)]),
        |model, _: &Job, _: &Observation| Ok(Box::new(Planner::new(model).with_bounds(
            siren_drl::Bounds {
                workers: 20,
                memory_min_mb: 1_024,
                memory_max_mb: 1_024,
                memory_step_mb: 64
            }
        )))
    ))
);
