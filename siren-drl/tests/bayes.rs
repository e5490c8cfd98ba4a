//! Bayesian optimisation against the grid.

use std::sync::Arc;

use siren_core::{ErrorKind, Seed};
use siren_drl::{Demand, JobModel, SchedulingTask, Score, bayesian_search, grid_over_allocations};

#[test]
fn forty_episodes_find_a_static_allocation_that_is_nearly_the_best() {
    for budget in [200.0, 100.0] {
        let task = SchedulingTask::new(JobModel::named("seed").unwrap(), budget).unwrap();
        let best = grid_over_allocations(&task, Demand::Expected).unwrap();
        let found = bayesian_search(&task, 40, Seed::new(8)).unwrap();
        let scheduler = || found.best.scheduler();
        let score = Score::measure(scheduler, &Arc::new(task), 100, Seed::new(9)).unwrap();
        println!("${budget}: {:?}, {score:?}, best {best:?}", found.best);
        assert!(score.success >= 0.9, "{score:?}");
        assert!(score.time_s < 1.08 * best.time_s, "{score:?}, {best:?}");
        assert!((found.best.time_s / score.time_s - 1.0).abs() < 0.05, "{:?}", found.best);
        // The search costs as much as many jobs.
        assert!(found.trials.len() <= 40 && found.cost_usd() > 10.0 * budget);
    }
}

#[test]
fn the_same_seed_finds_the_same() {
    let task = SchedulingTask::new(JobModel::named("etl").unwrap(), 200.0).unwrap();
    let search = |seed| bayesian_search(&task, 12, Seed::new(seed)).unwrap();
    assert_eq!(search(1), search(1));
    assert_ne!(search(1).trials, search(2).trials);
}

#[test]
fn what_cannot_be_found_is_said() {
    let task = SchedulingTask::new(JobModel::named("seed").unwrap(), 20.0).unwrap();
    let error = bayesian_search(&task, 20, Seed::new(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Budget);
    assert!(error.message().contains("the budget is $20.00"), "{error}");
    let none = bayesian_search(&task, 0, Seed::new(1)).unwrap_err();
    assert!(none.message().contains("0 episodes"));
    let single = bayesian_search(&task.with_budget(1e9), 1, Seed::new(1)).unwrap();
    assert_eq!(single.trials.len(), 1);
}
