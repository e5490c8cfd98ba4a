//! No run exceeds its budget, whatever fails.

mod support;

use std::sync::Arc;

use rand_distr::{Distribution, Uniform};
use siren::backend::{LocalBackend, ShardWorker};
use siren::platform::Platform;
use siren::store::MemoryStore;
use siren::{Config, FixedScheduler, Seed, StopReason, StopRules, Trainer, TrainerParts, Usd};
use support::{Fault, Linear, parts, quick, rows};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_runs_with_failing_workers_overspend_nothing() {
    let (mut by_budget, mut fired) = (0, 0);
    for run in 0..1_000 {
        let mut draws = Uniform::new(0.0, 1.0).unwrap().sample_iter(Seed::new(run).rng());
        let mut draw = || draws.next().unwrap_or(0.0_f64);
        let faults: Vec<Fault> = (0..40)
            .map(|_| match (draw() * 10.0) as u32 {
                0 => Fault::Throttled,
                1 => Fault::AnswerLost,
                2 => Fault::StopsEarly,
                3 => Fault::Dies,
                _ => Fault::None,
            })
            .collect();
        // From the cost of a single update to the cost of the whole run.
        let budget = 10_f64.powf(-7.0 + 3.5 * draw());
        let memory = 128 + (draw() * 3_000.0) as u32;
        let config = Config {
            seed: run,
            batch_size: 1 + (draw() * 60.0) as u64,
            stop: StopRules { epochs: 2, budget: Some(Usd::new(budget)), ..StopRules::default() },
            ..quick()
        };
        let workers = 1 + (draw() * 6.0) as u32;
        let (parts, backend, _) = parts(rows(60), FixedScheduler::new(workers, memory), faults);
        let outcome = match Trainer::new(parts, config).unwrap().run().await {
            Ok(trained) => trained.outcome,
            Err(error) => panic!("run {run}: {}", error.chain()),
        };
        let truth = backend.billed.total();
        let booked = outcome.cost.dollars();
        assert!(booked <= budget + 1e-15, "run {run} books {booked} of {budget}");
        assert!(truth <= booked + 1e-15, "run {run} cost {truth} and books {booked}");
        by_budget += u64::from(outcome.reason == StopReason::Budget);
        fired += backend.fired();
    }
    assert!(fired > 1_000, "only {fired} faults fired");
    assert!((50..950).contains(&by_budget), "{by_budget} of 1,000 runs ended by their budget");
}

#[tokio::test]
async fn a_budget_for_nothing_runs_nothing_and_says_what_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        stop: StopRules { budget: Some(Usd::new(1e-7)), ..StopRules::default() },
        out: Some(folder.path().into()),
        ..quick()
    };
    let (parts, backend, _) = parts(rows(500), FixedScheduler::new(4, 1_769), []);
    let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
    let outcome = trained.outcome;
    assert_eq!((outcome.reason, outcome.epochs), (StopReason::Budget, 0));
    let detail = outcome.detail.unwrap();
    assert!(detail.contains("epoch 0 with 4 workers of 1769 MB needs about $"), "{detail}");
    assert_eq!(backend.billed.total(), 0.0);
    assert!(!folder.path().join("run.json").exists(), "a run that did not start leaves no record");
}

#[tokio::test]
async fn fewer_workers_run_when_the_money_does_not_pay_for_all() {
    // A platform on which an invocation costs a dollar, and money for forty of them.
    let mut platform = Platform::local();
    platform.prices.invocation = Usd::new(1.0);
    let budget = Usd::new(40.5);
    let (workload, train) = (Linear::new(), rows(400));
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let backend = LocalBackend::new(worker, store.clone(), train.clone()).unwrap();
    let parts = TrainerParts {
        workload,
        held_out: None,
        train,
        store,
        backend: Arc::new(backend.with_platform(platform)),
        scheduler: Box::new(FixedScheduler::new(100, 1_769)),
    };
    let stop = StopRules { budget: Some(budget), epochs: 1, ..StopRules::default() };
    let config = Config { batch_size: 4, stop, ..quick() };
    let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
    let epoch = &trained.record.epochs[0];
    assert_eq!((epoch.workers_asked, epoch.workers), (100, 40));
    assert!(epoch.complete);
    assert!(trained.outcome.cost <= budget);
}
