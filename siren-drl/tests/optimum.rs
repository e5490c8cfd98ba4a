//! The optimum, against all schedules of small jobs and against the known results of the named
//! jobs.

use siren_core::{Allocation, ErrorKind, Seed};
use siren_drl::model::{At, Chance, Dynamics};
use siren_drl::{
    Demand, JobModel, SchedulingTask, check_budget, grid_over_allocations, grid_over_functions,
    minimum_cost, optimum, play,
};

/// A job of about three epochs, with 4 functions of 3 memory sizes to choose from.
fn small(change_s: f64, stale: f64) -> JobModel {
    let mut model = JobModel::named("seed").unwrap();
    model.platform.limits.concurrency = 4;
    model.platform.limits.memory_min_mb = 1_024;
    model.platform.limits.memory_max_mb = 3_072;
    model.platform.limits.memory_step_mb = 1_024;
    model.compute.vcpu_seconds = 300.0;
    model.compute.first = 1.0;
    model.fetch.data_mb = 2_000.0;
    model.update.rounds = 20.0;
    model.loss.b0 = 2.0;
    model.target_loss = model.loss(3.0);
    model.start.change_s = change_s;
    model.staleness.workers = stale;
    model
}

/// Seconds and dollars of every schedule that reaches the target.
fn every_schedule(task: &SchedulingTask) -> Vec<(f64, f64)> {
    let mut done = Vec::new();
    let mut open = vec![(At::default(), 0.0, 0.0)];
    while let Some((at, time, cost)) = open.pop() {
        if at.progress >= task.ideal_epochs() * (1.0 - 1e-12) {
            done.push((time, cost));
            continue;
        }
        for size in 0..task.bounds.sizes() {
            for workers in 1..=task.bounds.workers {
                let memory_mb = task.bounds.memory_mb(size);
                let allocation = Allocation::new(workers, memory_mb);
                let epoch = task.job.epoch(at, allocation, &Chance::EXPECTED);
                let next = At {
                    epoch: at.epoch + 1,
                    progress: at.progress + epoch.progress,
                    memory_mb: Some(memory_mb),
                };
                open.push((next, time + epoch.elapsed_s, cost + epoch.cost_usd));
            }
        }
    }
    done
}

/// The schedules that are the fastest within their own cost, even if schedules could be mixed.
fn lower_hull(mut all: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.total_cmp(&b.0)));
    let mut hull: Vec<(f64, f64)> = Vec::new();
    for run in all {
        if hull.last().is_some_and(|last| run.0 >= last.0) {
            continue;
        }
        while let [.., a, b] = hull[..]
            && (a.0 - b.0) * (run.1 - b.1) <= (b.0 - run.0) * (b.1 - a.1)
        {
            hull.pop();
        }
        hull.push(run);
    }
    hull
}

fn against_every_schedule(model: JobModel, slack: f64) {
    let task = SchedulingTask::new(model, 0.0).unwrap();
    let hull = lower_hull(every_schedule(&task));
    assert!(hull.len() > 5, "{hull:?}");
    let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-6 + slack, "{a}, {b}");
    near(minimum_cost(&task).unwrap(), hull[0].1);
    for pair in hull.windows(2) {
        let [(slow, cheap), (fast, dear)] = pair else { unreachable!() };
        // With just enough money for such a schedule, it is found.
        let all = optimum(&task.with_budget(dear * (1.0 + slack + 1e-9))).unwrap();
        assert!(all.upper_s <= fast * (1.0 + 1e-9 + slack), "{fast}: {all:?}");
        // With less, the lower bound is that of mixed schedules, which cannot be run, and the upper
        // bound is that of a real one.
        let budget = 0.5 * (cheap + dear);
        let between = optimum(&task.with_budget(budget)).unwrap();
        near(between.lower_s, 0.5 * (slow + fast));
        assert!(between.cost_usd <= budget && between.upper_s <= slow * (1.0 + 1e-9 + slack));
        assert!(between.lower_s <= between.upper_s);
    }
}

#[test]
fn of_all_schedules_of_a_small_job_none_is_better() {
    against_every_schedule(small(0.0, f64::INFINITY), 0.0);
}

#[test]
fn nor_where_a_change_of_memory_takes_time() {
    against_every_schedule(small(15.0, f64::INFINITY), 0.0);
}

#[test]
fn nor_where_functions_bring_less_the_more_they_are() {
    against_every_schedule(small(0.0, 8.0), 0.02);
    against_every_schedule(small(15.0, 8.0), 0.02);
}

/// Gains over the best number of functions at 1,536 MB: of the best constant allocation, and of the
/// optimum.
#[test]
fn the_job_of_the_talk_has_its_known_optima() {
    for (budget, time, functions, fixed, fixed_at, best) in [
        (300.0, 2_469.0, 823, -0.342, (641, 3_008), -0.371),
        (200.0, 2_786.0, 487, -0.298, (359, 3_008), -0.346),
        (100.0, 5_014.0, 137, -0.112, (128, 1_856), -0.216),
    ] {
        let task = SchedulingTask::new(JobModel::named("seed").unwrap(), budget).unwrap();
        let grid = grid_over_functions(&task, 1_536, Demand::Expected).unwrap();
        assert!((grid.best.time_s / time - 1.0).abs() < 1e-3, "{:?}", grid.best);
        assert_eq!(grid.best.allocation.workers, functions);
        assert_eq!(grid.curve.len(), 3_000);
        let gain = |seconds: f64| seconds / grid.best.time_s - 1.0;
        let fix = grid_over_allocations(&task, Demand::Expected).unwrap();
        assert!((gain(fix.time_s) - fixed).abs() < 0.003, "{fix:?}: {}", gain(fix.time_s));
        assert_eq!(fix.allocation.memory_mb, fixed_at.1);
        assert!(fix.allocation.workers.abs_diff(fixed_at.0) <= 8, "{fix:?}");
        let optimum = optimum(&task).unwrap();
        assert!((gain(optimum.upper_s) - best).abs() < 1e-3, "{}", gain(optimum.upper_s));
        assert_eq!(optimum.schedule.len(), 97);
    }
}

#[test]
fn the_bounds_of_named_jobs_agree() {
    for name in ["seed", "conservative", "etl", "homog"] {
        for budget in [300.0, 100.0] {
            let task = SchedulingTask::new(JobModel::named(name).unwrap(), budget).unwrap();
            let best = optimum(&task).unwrap();
            assert!(
                best.lower_s <= best.upper_s && best.upper_s < 1.001 * best.lower_s,
                "{best:?}"
            );
            assert!(best.cost_usd <= budget && best.seconds_per_usd > 0.0);
        }
    }
}

#[test]
fn where_all_epochs_are_alike_nothing_is_gained_by_changing() {
    for budget in [300.0, 200.0, 100.0] {
        let task = SchedulingTask::new(JobModel::named("homog").unwrap(), budget).unwrap();
        let fix = grid_over_allocations(&task, Demand::Expected).unwrap();
        let best = optimum(&task).unwrap();
        // Between two memory sizes, a mixture is a little better.
        assert!(fix.time_s < 1.003 * best.lower_s, "{fix:?}, {}", best.lower_s);
        assert!(fix.time_s > best.lower_s);
    }
}

#[test]
fn a_budget_below_the_least_cost_is_refused_with_that_cost() {
    let task = SchedulingTask::new(JobModel::named("seed").unwrap(), 50.0).unwrap();
    let least = minimum_cost(&task).unwrap();
    assert!((62.0..63.0).contains(&least), "{least}");
    let grid = grid_over_functions(&task, 1_536, Demand::Expected).unwrap_err();
    assert_eq!(grid.kind(), ErrorKind::Budget);
    for error in [check_budget(&task).unwrap_err(), optimum(&task).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Budget);
        let says = "the budget is $50.00, and the job costs at least $62.";
        assert!(error.message().starts_with(says), "{error}");
    }
    check_budget(&task.with_budget(63.0)).unwrap();
    let hurried = SchedulingTask { epochs: 50, ..task };
    assert!(optimum(&hurried).unwrap_err().message().contains("50 epochs"));
}

/// With an allocation that is just affordable, half of the episodes fail. One that succeeds in
/// nearly all takes a little longer.
#[test]
fn a_demand_for_success_costs_a_few_functions() {
    let task = SchedulingTask::new(JobModel::named("seed").unwrap(), 200.0).unwrap();
    let demand = Demand::Success { share: 0.95, episodes: 100, seed: Seed::new(3) };
    let expected = grid_over_functions(&task, 1_536, Demand::Expected).unwrap().best;
    let sure = grid_over_functions(&task, 1_536, demand).unwrap().best;
    let fewer = expected.allocation.workers - sure.allocation.workers;
    assert!((4..20).contains(&fewer), "{expected:?}, {sure:?}");
    let both = grid_over_allocations(&task, demand).unwrap();
    let dared = grid_over_allocations(&task, Demand::Expected).unwrap();
    assert!(both.time_s > dared.time_s && both.time_s < 1.02 * dared.time_s, "{both:?}, {dared:?}");
}

#[test]
fn the_schedule_can_be_followed() {
    let mut model = JobModel::named("etl").unwrap();
    (model.noise.time, model.noise.progress) = (0.0, 0.0);
    let task = SchedulingTask::new(model, 200.0).unwrap();
    let best = optimum(&task).unwrap();
    let episode = play(&mut best.scheduler(&task), &task.clone().into(), Seed::new(1)).unwrap();
    assert!(episode.success);
    assert_eq!(episode.allocations, best.schedule);
    assert!((episode.time_s / best.upper_s - 1.0).abs() < 1e-6, "{}", episode.time_s);
}
