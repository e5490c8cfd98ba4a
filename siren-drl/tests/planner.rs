//! The planner: its distance from the optimum, and its behaviour with wrong models and difficult
//! jobs.

use std::sync::{Arc, LazyLock};

use siren_core::conformance::{scheduler, scheduler_tests};
use siren_core::{Job, Observation, Platform, Scheduler, Seed, Usd};
use siren_drl::model::Dynamics;
use siren_drl::{JobModel, Planner, SchedulingTask, Score, State, minimum_cost, optimum};

fn named(name: &str) -> JobModel {
    JobModel::named(name).unwrap()
}

fn score(believed: JobModel, task: SchedulingTask, episodes: u64) -> Score {
    let planner = Planner::new(believed).prepared(&task.as_job()).unwrap();
    Score::measure(|| planner.clone(), &Arc::new(task), episodes, Seed::new(77)).unwrap()
}

#[test]
fn a_known_job_succeeds_always_and_is_close_to_the_optimum() {
    for (budget, gap) in [(300.0, 0.012), (200.0, 0.015), (100.0, 0.027)] {
        let task = SchedulingTask::new(named("seed"), budget).unwrap();
        let bound = optimum(&task).unwrap().lower_s;
        let score = score(named("seed"), task, 60);
        println!("${budget}: {} of {bound} s, {:?}", score.time_s / bound - 1.0, score);
        assert_eq!(score.success, 1.0);
        assert!(score.time_s < bound * (1.0 + gap), "{} s, bound {bound} s", score.time_s);
    }
}

#[test]
fn a_model_that_is_wrong_by_30_per_cent_is_corrected() {
    let task = SchedulingTask::new(named("seed"), 0.0).unwrap();
    let task = task.with_budget(1.5 * minimum_cost(&task).unwrap());
    let bound = optimum(&task).unwrap().lower_s;
    for wrong in [0.7, 1.3] {
        let changes: [fn(&mut JobModel, f64); 5] = [
            |model, wrong| model.compute.vcpu_seconds *= wrong,
            |model, wrong| model.update.rounds *= wrong,
            |model, wrong| model.fetch.data_mb *= wrong,
            |model, wrong| model.loss.b0 *= wrong,
            |model, wrong| {
                model.compute.vcpu_seconds *= wrong;
                model.update.rounds *= wrong;
                model.fetch.data_mb *= wrong;
                model.loss.b0 *= wrong;
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut believed = named("seed");
            change(&mut believed, wrong);
            let score = score(believed, task.clone(), 20);
            println!("{number} x {wrong}: {} {:?}", score.time_s / bound - 1.0, score.success);
            assert_eq!(score.success, 1.0, "number {number}, {wrong} times");
            assert!(score.time_s < 1.12 * bound, "number {number}, {wrong} times: {score:?}");
        }
    }
}

#[test]
fn the_least_cost_is_enough_with_a_little_more() {
    let task = SchedulingTask::new(named("seed"), 0.0).unwrap();
    let least = minimum_cost(&task).unwrap();
    let score = score(named("seed"), task.with_budget(1.25 * least), 40);
    assert_eq!(score.success, 1.0);
}

fn job(budget: Option<f64>, target_loss: Option<f64>, epochs: u64) -> Job {
    let platform = named("seed").platform;
    let budget = budget.map(Usd::new);
    Job { target_loss, budget, epochs, ..Job::new(9, 100_000, platform) }
}

fn start(budget: Option<f64>) -> Observation {
    let state =
        State { loss: 1.1, budget_usd: budget.unwrap_or(f64::INFINITY), ..State::default() };
    state.to_observation()
}

#[test]
fn jobs_without_a_target_or_a_budget_are_planned_too() {
    let first = |budget, target, epochs| {
        let mut planner = Planner::new(named("seed"));
        planner.allocate(&job(budget, target, epochs), &start(budget)).unwrap()
    };
    let few = first(Some(100.0), None, 97);
    let more = first(Some(100.0), None, 30);
    assert!(more.workers > 2 * few.workers, "{few:?}, {more:?}");
    // As if the target were the loss that the epochs reach.
    let target = first(Some(100.0), Some(0.15), 200);
    assert!(few.workers.abs_diff(target.workers) * 20 < target.workers, "{few:?}, {target:?}");
    // A budget that does not suffice gets the cheapest allocation, and no budget the fastest.
    assert!(first(Some(1.0), Some(0.15), 200).workers < 10);
    let fastest = first(None, Some(0.15), 200);
    assert!(fastest.workers > 2_000 && fastest.memory_mb == 3_008, "{fastest:?}");
}

#[test]
fn there_are_never_more_workers_than_batches() {
    for batches in [0, 1, 7] {
        let job = Job { batches, ..job(None, Some(0.15), 100) };
        let allocation = Planner::new(named("seed")).allocate(&job, &start(None)).unwrap();
        assert!(u64::from(allocation.workers) <= batches.max(1), "{allocation:?}");
    }
}

/// If a change of the memory takes a minute, the memory changes a few times, not in every other
/// epoch.
#[test]
fn memory_is_kept_where_changing_it_takes_long() {
    let mut model = named("seed");
    model.start.change_s = 60.0;
    let task: Arc<SchedulingTask> = SchedulingTask::new(model.clone(), 100.0).unwrap().into();
    let episode = siren_drl::play(&mut Planner::new(model), &task, Seed::new(5)).unwrap();
    let sizes = episode.allocations.chunk_by(|a, b| a.memory_mb == b.memory_mb).count();
    let bound = optimum(&task).unwrap().lower_s;
    assert!(episode.success && sizes <= 4, "{sizes} sizes");
    assert!(episode.time_s < 1.05 * bound, "{} s, bound {bound} s", episode.time_s);
}

/// The losses of a real job are noisy, and the plan must still make progress.
#[test]
fn noisy_losses_do_not_turn_progress_back() {
    let model = named("seed");
    let mut planner = Planner::new(model.clone());
    let job = job(Some(200.0), Some(0.15), 200);
    let mut before = 0.0;
    for epoch in 0..97 {
        let noise = if epoch % 3 == 0 { 1.05 } else { 0.97 };
        let state = State {
            epoch,
            loss: model.loss(epoch as f64) * noise,
            budget_usd: 200.0 - 2.0 * epoch as f64,
            elapsed_s: 19.0,
            allocation: (epoch > 0).then_some(siren_core::Allocation::new(350, 3_008)),
            ..State::default()
        };
        planner.allocate(&job, &state.to_observation()).unwrap();
        let progress = planner.belief().progress();
        assert!(progress >= before, "{progress} after {before}");
        before = progress;
    }
    assert!((60.0..200.0).contains(&before), "{before}");
}

/// On a platform that the model does not know.
#[test]
fn another_platform_has_its_own_limits() {
    let job = Job { platform: Platform::aws_lambda(), ..job(Some(200.0), Some(0.15), 200) };
    let allocation = Planner::new(named("seed")).allocate(&job, &start(Some(200.0))).unwrap();
    allocation.check(&job.platform).unwrap();
    assert!(allocation.workers <= 1_000);
}

/// A planner with tables for the suite's ordinary job: making them is most of the work.
fn tabulated(model: JobModel) -> Planner {
    let job =
        Job { batches: 938, platform: Platform::aws_lambda(), ..job(Some(1.0), Some(0.1), 100) };
    Planner::new(model).prepared(&job).unwrap()
}

fn changing() -> JobModel {
    let mut model = named("stale");
    model.start.change_s = 30.0;
    model
}

static TABULATED: LazyLock<[Planner; 2]> =
    LazyLock::new(|| [tabulated(named("seed")), tabulated(changing())]);

scheduler_tests!(planner, scheduler::Subject::new(|| TABULATED[0].clone()));
scheduler_tests!(changing_memory, scheduler::Subject::new(|| TABULATED[1].clone()));
