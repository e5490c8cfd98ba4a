//! Schedulers that choose how many batches an update covers.

mod support;

use std::sync::Arc;

use parking_lot::Mutex;
use siren::backend::ShardWorker;
use siren::data::MemorySource;
use siren::platform::{Distribution, StepTime};
use siren::scheduler::{Allocation, Job, Observation, Scheduler};
use siren::store::MemoryStore;
use siren::{
    Compression, Config, ErrorKind, HistoryEvent, Outcome, Result, RunRecord, Seed, StopReason,
    StopRules, SyncMode, Trainer, TrainerParts, TrainingResult, Usd, read_history,
};
use siren_backend_sim::{Bill, SimBackend, SimStore, Simulation};
use support::{Fault, Linear, parts, quick, rows};

/// The allocations of the epochs, from the first one on. Keeps the observations for inspection.
#[derive(Clone)]
struct Planned {
    allocations: Vec<Allocation>,
    seen: Arc<Mutex<Vec<Option<Allocation>>>>,
}

impl Planned {
    fn new(allocations: impl IntoIterator<Item = Allocation>) -> Self {
        Self { allocations: allocations.into_iter().collect(), seen: Arc::default() }
    }

    /// The same workers in every epoch, with these local steps.
    fn steps(workers: u32, memory_mb: u32, steps: &[Option<u64>]) -> Self {
        Self::new(steps.iter().map(|&local_steps| {
            let allocation = Allocation::new(workers, memory_mb);
            Allocation { local_steps, ..allocation }
        }))
    }
}

impl Scheduler for Planned {
    fn allocate(&mut self, _: &Job, observation: &Observation) -> Result<Allocation> {
        self.seen.lock().push(observation.allocation);
        Ok(self.allocations[observation.epoch as usize % self.allocations.len()])
    }

    fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
        None
    }

    fn finish(&mut self, _: &Outcome) {}
}

fn epochs(epochs: u64) -> StopRules {
    StopRules { epochs, ..StopRules::default() }
}

/// The updates of an epoch of `batches` batches in `shards` shards, counted one by one.
fn pushes(batches: u64, shards: u64, local_steps: u64) -> u64 {
    let lengths = (0..shards).map(|i| batches * (i + 1) / shards - batches * i / shards);
    lengths.map(|length| (0..length).step_by(local_steps.min(length) as usize).count() as u64).sum()
}

#[tokio::test]
async fn the_updates_of_an_epoch_follow_the_local_steps_of_its_allocation() {
    let folder = tempfile::tempdir().unwrap();
    let steps = [None, Some(4), Some(1), Some(1_000), None];
    let modes = [SyncMode::Hybrid, SyncMode::Bulk, SyncMode::Stale { bound: 1 }];
    for (sync_mode, compression) in modes
        .into_iter()
        .flat_map(|mode| [(mode, Compression::None), (mode, Compression::TopK { share: 0.5 })])
    {
        let scheduler = Planned::steps(3, 1_769, &steps);
        let seen = Arc::clone(&scheduler.seen);
        let (parts, _, _) = parts(rows(500), scheduler, []);
        let config = Config {
            batch_size: 10,
            local_steps: 2,
            learning_rate: 0.01.into(),
            sync_mode,
            compression,
            stop: epochs(5),
            out: Some(folder.path().into()),
            ..quick()
        };
        let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
        for (epoch, steps) in trained.record.epochs.iter().zip(steps) {
            assert_eq!(epoch.updates, pushes(50, 3, steps.unwrap_or(2)), "{sync_mode:?} {steps:?}");
            assert!(epoch.complete && epoch.batches == 50 && epoch.retries == 0, "{epoch:?}");
            assert_eq!(epoch.local_steps, steps);
        }
        // The next observation and the files contain the steps that ran.
        let observed: Vec<_> = seen.lock().iter().map(|a| a.map(|a| a.local_steps)).collect();
        assert_eq!(observed[0], None);
        assert_eq!(observed[1..], steps[..4].iter().map(|&steps| Some(steps)).collect::<Vec<_>>());
        let record = RunRecord::load(folder.path().join("run.json")).unwrap();
        let written: Vec<_> = record.epochs.iter().map(|epoch| epoch.local_steps).collect();
        assert_eq!(written, steps);
        let lines = read_history(folder.path().join("history.jsonl")).unwrap();
        let logged: Vec<_> = lines
            .iter()
            .filter_map(|line| match line {
                HistoryEvent::Epoch(epoch) => Some(epoch.local_steps),
                _ => None,
            })
            .collect();
        assert_eq!(logged, steps);
    }
}

#[tokio::test]
async fn an_epoch_learns_as_one_that_was_configured_with_its_local_steps() {
    let train = async |local_steps, chosen| {
        let (parts, _, _) = parts(rows(500), Planned::steps(1, 1_769, &[chosen]), []);
        let config = Config { local_steps, stop: epochs(3), ..quick() };
        Trainer::new(parts, config).unwrap().run().await.unwrap().values
    };
    let configured = train(4, None).await;
    assert_eq!(train(1, Some(4)).await, configured);
    assert_ne!(train(1, None).await, configured);
}

#[tokio::test]
async fn runs_with_failing_workers_and_changing_local_steps_overspend_nothing() {
    let (mut by_budget, mut fired, mut whole) = (0, 0, 0);
    for run in 0..200_u64 {
        let faults = (0..40).map(|i| match (run * 7 + i * 3) % 11 {
            0 => Fault::AnswerLost,
            1 => Fault::StopsEarly,
            2 => Fault::Dies,
            _ => Fault::None,
        });
        let budget = 10_f64.powf(-7.0 + 3.5 * (run as f64 / 200.0));
        let stop = StopRules { budget: Some(Usd::new(budget)), ..epochs(4) };
        let config = Config { seed: run, batch_size: 4, stop, ..quick() };
        let scheduler =
            Planned::steps(1 + (run % 5) as u32, 1_024, &[Some(5), None, Some(1_000), Some(2)]);
        let (parts, backend, _) = parts(rows(160), scheduler, faults);
        let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
        let (booked, truth) = (trained.outcome.cost.dollars(), backend.billed.total());
        assert!(booked <= budget + 1e-15, "run {run} books {booked} of {budget}");
        assert!(truth <= booked + 1e-15, "run {run} cost {truth} and books {booked}");
        // No batch counts twice, also if its first worker failed.
        let epochs = &trained.record.epochs;
        assert!(epochs.iter().all(|epoch| epoch.batches <= 40));
        whole += epochs.iter().filter(|epoch| epoch.complete && epoch.batches == 40).count();
        by_budget += u64::from(trained.outcome.reason == StopReason::Budget);
        fired += backend.fired();
    }
    assert!(fired > 100 && whole > 100, "{fired} faults, {whole} whole epochs");
    assert!((10..190).contains(&by_budget), "{by_budget} runs ended by their budget");
}

/// A run on simulated functions, whose requests are billed.
fn simulated(
    train: Arc<MemorySource>,
    scheduler: impl Scheduler + 'static,
    config: Config,
) -> (TrainingResult, Bill) {
    let workload = Linear::new();
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    // A batch takes longer than its fetch, and a push far longer than a batch.
    let mut simulation = Simulation::lambda(StepTime::per_example(1e-2));
    simulation.profile.storage.put_ms = Distribution::constant(500.0);
    let sim =
        SimBackend::functions(worker, SimStore::Ideal(store), train, simulation, Seed::new(3));
    let sim = Arc::new(sim.unwrap());
    let parts = TrainerParts {
        workload,
        train: sim.data(),
        held_out: None,
        store: sim.store(),
        backend: sim.clone(),
        scheduler: Box::new(scheduler),
    };
    let trained = sim.run(Trainer::new(parts, config).unwrap().run()).unwrap().unwrap();
    (trained, sim.bill())
}

#[test]
fn timeouts_and_requests_of_functions_suffice_after_a_change_of_the_local_steps() {
    let steps = [Some(16), Some(1), Some(1_000), None, Some(u64::MAX), Some(1)];
    for sync_mode in [SyncMode::Hybrid, SyncMode::Bulk] {
        let config =
            Config { batch_size: 4, local_steps: 8, sync_mode, stop: epochs(6), ..quick() };
        let scheduler = Planned::steps(4, 1_769, &steps);
        let (trained, bill) = simulated(rows(1_003), scheduler, config);
        assert_eq!(trained.record.epochs.len(), 6);
        for (epoch, steps) in trained.record.epochs.iter().zip(steps) {
            assert_eq!(epoch.updates, pushes(251, 4, steps.unwrap_or(8)), "{steps:?}");
            assert!(epoch.complete && epoch.retries == 0, "{sync_mode:?}: {epoch:?}");
        }
        assert!((bill.cost.dollars() - trained.outcome.cost.dollars()).abs() < 1e-9);
    }
}

#[test]
fn a_budget_holds_on_functions_whose_local_steps_change() {
    let mut by_budget = 0;
    for run in 0..40 {
        let budget = 10_f64.powf(-4.0 + 2.0 * f64::from(run) / 40.0);
        let stop = StopRules { budget: Some(Usd::new(budget)), ..epochs(6) };
        let config = Config { batch_size: 4, stop, ..quick() };
        let scheduler = Planned::steps(3, 512, &[Some(20), Some(1), None, Some(1_000)]);
        let (trained, bill) = simulated(rows(200), scheduler, config);
        let booked = trained.outcome.cost.dollars();
        assert!(booked <= budget + 1e-12, "run {run} books {booked} of {budget}");
        assert!(bill.cost.dollars() <= booked + 1e-12, "run {run} costs {}", bill.cost);
        by_budget += u64::from(trained.outcome.reason == StopReason::Budget);
    }
    assert!((5..35).contains(&by_budget), "{by_budget} runs ended by their budget");
}

#[tokio::test]
async fn what_the_trainer_cannot_run_is_refused_by_its_number() {
    let allocation = Allocation::new(2, 1_769);
    for (allocation, name, remedy) in [
        (
            Allocation { global_batch: Some(512), ..allocation },
            "a global batch of 512 examples",
            "return None",
        ),
        (Allocation { global_batch: Some(0), ..allocation }, "the global batch is 0", "or none"),
        (Allocation { local_steps: Some(0), ..allocation }, "local steps are 0", "or none"),
    ] {
        let (parts, backend, _) = parts(rows(100), Planned::new([allocation]), []);
        let error = Trainer::new(parts, quick()).unwrap().run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.message().contains(name), "{error}");
        assert!(error.message().contains(remedy), "no remedy: {error}");
        assert_eq!(backend.billed.total(), 0.0);
    }
}
