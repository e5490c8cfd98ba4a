//! Stores over objects in simulated S3: aggregators are functions, requests take time, and some are
//! lost.

mod support;

use std::sync::Arc;
use std::time::Duration;

use siren::backend::{Clock, ShardWorker};
use siren::data::Batch;
use siren::data::MemorySource;
use siren::metrics::Metrics;
use siren::platform::StepTime;
use siren::store::Objects;
use siren::store::{MemoryObjects, ObjectOptions, ObjectStore, Snapshot};
use siren::{
    Config, FixedScheduler, Layout, Result, Retry, Seed, StopReason, StopRules, SyncMode, Trainer,
    TrainerParts, TrainingResult, Workload,
};
use siren_backend_sim::{Bill, Fault, Faults, OpenStore, SimBackend, SimStore, Simulation};
use siren_hsp::yardstick::CasStore;
use support::{Linear, rows};

/// A model of a given size that learns nothing.
struct Idle(Layout);

impl Workload for Idle {
    fn layout(&self) -> &Layout {
        &self.0
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; self.dim()])
    }

    fn gradient(&self, _: &[f32], _: &Batch<'_>, _: Seed, gradient: &mut [f32]) -> Result<f64> {
        gradient.fill(1e-6);
        Ok(1.0)
    }

    fn evaluate(&self, _: &[f32], _: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        metrics.add_loss(1, 1.0);
        Ok(())
    }
}

/// Trains on a store over objects.
fn train(
    workload: Arc<dyn Workload>,
    data: Arc<MemorySource>,
    workers: u32,
    open: OpenStore,
    config: Config,
    simulation: Simulation,
    threads: usize,
) -> (Result<TrainingResult>, Bill) {
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let sim = SimBackend::functions(
        Arc::new(ShardWorker::new(workload.clone())),
        SimStore::Objects { objects, open },
        data,
        simulation,
        Seed::new(3),
    );
    let sim = Arc::new(sim.unwrap().with_threads(threads).unwrap());
    let initial = workload.init(Seed::new(config.seed).split(siren::Stream::Init, &[])).unwrap();
    let parts = TrainerParts {
        workload,
        train: sim.data(),
        held_out: None,
        store: sim.store(),
        backend: sim.clone(),
        scheduler: Box::new(FixedScheduler::new(workers, 1_769)),
    };
    let trained = sim.run(async {
        sim.store().restore(&Snapshot::initial(initial)).await?;
        Trainer::new(parts, config)?.run().await
    });
    (trained.unwrap(), sim.bill())
}

fn object_store(dim: usize, options: ObjectOptions) -> OpenStore {
    Arc::new(move |objects, clock| {
        let store = ObjectStore::new(objects, clock, "job", dim).unwrap();
        Arc::new(store.with_options(options.clone()).exclusive())
    })
}

fn one_object(dim: usize) -> OpenStore {
    Arc::new(move |objects, clock: Arc<dyn Clock>| {
        Arc::new(CasStore::new(objects, clock, "job", dim).unwrap().exclusive())
    })
}

fn quick() -> Config {
    Config {
        stop: StopRules { epochs: 2, ..StopRules::default() },
        retry: Retry { attempts: 20, ..Retry::default() },
        evaluate_threads: Some(1),
        ..Config::default()
    }
}

/// Under bulk mode the trained parameters depend only on the seed: not on the store, its latencies
/// or the faults.
#[test]
fn faults_of_storage_and_of_aggregators_change_nothing_that_is_learned() {
    let workload = Linear::new();
    let config = Config { sync_mode: SyncMode::Bulk, ..quick() };
    let run = |faults: Faults| {
        let simulation = Simulation { faults, ..Simulation::lambda(StepTime::per_example(1e-3)) };
        let open = object_store(5, ObjectOptions { parts: 2, ..ObjectOptions::default() });
        train(workload.clone(), rows(1_003), 4, open, config.clone(), simulation, 1)
    };
    let (plain, plain_bill) = run(Faults::default());
    let plain = plain.unwrap();
    assert!(plain.record.epochs.iter().all(|epoch| epoch.aggregators > 0));

    let ideal = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let scheduler = FixedScheduler::new(4, 1_769);
            let trainer = siren::local(workload.clone(), rows(1_003), None)
                .scheduler(scheduler)
                .config(config.clone());
            trainer.build().unwrap().run().await.unwrap()
        })
    };
    assert_eq!(plain.values, ideal.values);

    let by_chance = Faults { request_timeout_s: 0.3, ..Faults::default() };
    let at = |fault| Faults { scheduled: vec![fault], ..Faults::default() };
    let all = [
        Faults { request_lost: 0.03, ..by_chance.clone() },
        Faults { request_answer_lost: 0.03, ..by_chance.clone() },
        Faults { crashes_per_hour: 1_500.0, ..by_chance },
        // All running invocations, aggregators among them.
        at(Fault::Crash { at_s: 1.0, shard: None }),
        at(Fault::Slow { from_s: 0.5, until_s: 3.0, factor: 8.0 }),
    ];
    for faults in all {
        let (trained, bill) = run(faults.clone());
        let trained = trained.unwrap();
        assert_eq!(trained.outcome.reason, StopReason::Epochs, "{faults:?}");
        assert_eq!(trained.values, plain.values, "{faults:?} changes the trained parameters");
        assert_ne!(bill, plain_bill, "{faults:?} did not fire");
    }
}

#[test]
fn two_runs_over_objects_are_the_same_byte_for_byte() {
    let record = |threads: usize| {
        let open = object_store(5, ObjectOptions::default());
        let simulation = Simulation::lambda(StepTime::per_example(1e-3));
        let config = Config { evaluate_threads: Some(threads), ..quick() };
        let (trained, _) = train(Linear::new(), rows(1_003), 6, open, config, simulation, threads);
        serde_json::to_string(&trained.unwrap().record).unwrap()
    };
    assert_eq!(record(1), record(2));
}

/// Updates per second: from launch to barrier, and while workers run.
struct Rates {
    epoch: f64,
    workers: f64,
}

fn rates(workers: u32, dim: usize, steps: u32, seconds: f64, open: OpenStore) -> Rates {
    let workload = Arc::new(Idle(Layout::flat("idle", dim).unwrap()));
    let updates = u64::from(workers * steps);
    let data = Arc::new(MemorySource::new(vec![0; updates as usize], 1).unwrap());
    let mut simulation = Simulation::lambda(StepTime::per_example(seconds));
    simulation.profile.platform.limits.concurrency = 1_200;
    let config = Config {
        batch_size: 1,
        stop: StopRules { epochs: 1, ..StopRules::default() },
        retry: Retry { attempts: 1_000, ..Retry::default() },
        ..Config::default()
    };
    let (trained, _) = train(workload, data, workers, open, config, simulation, 1);
    let epoch = trained.unwrap().record.epochs.remove(0);
    assert_eq!(epoch.updates, updates);
    // Means over the workers. They exclude the wait for the last worker, which a rare delay of
    // storage may hold up for seconds.
    let ran = epoch.fetch_s + epoch.compute_s + epoch.update_s;
    Rates { epoch: updates as f64 / epoch.elapsed_s, workers: updates as f64 / ran }
}

/// 14.7 to 16.7 updates per second on S3, whatever the number of writers (cdouglas.github.io
/// 2026-01).
#[test]
fn one_object_replaced_by_compare_and_swap_saturates_whatever_the_number_of_workers() {
    for (workers, steps) in [(16, 40), (32, 24), (128, 12)] {
        let rate = rates(workers, 1_000, steps, 1e-3, one_object(1_000)).epoch;
        println!("{workers} workers on one object: {rate:.1} updates a second");
        assert!((14.0..17.0).contains(&rate), "{workers} workers: {rate} updates a second");
    }
}

/// The number of aggregators follows from the options. At the barrier all wait for the slowest
/// worker, and then for the remaining updates to be applied: some seconds, however long the epoch
/// was.
#[test]
fn the_object_store_keeps_up_with_160_workers_of_lenets_size() {
    const LENET: usize = 431_080;
    const WORKERS: u32 = 160;
    let parts = ObjectOptions::parts_for(LENET, WORKERS, Duration::from_secs(1));
    let options = ObjectOptions { parts, ..ObjectOptions::default() };
    let rates = rates(WORKERS, LENET, 12, 1.0, object_store(LENET, options));
    // The ideal: one update per second and worker, if only computing took time.
    let [epoch, workers] = [rates.epoch, rates.workers].map(|rate| rate / f64::from(WORKERS));
    println!(
        "{parts} aggregators: {workers:.3} of the ideal rate while workers run, {epoch:.3} from launch \
         to barrier"
    );
    assert!(workers >= 0.8, "{workers} of the ideal rate with {parts} aggregators");
    assert!(epoch >= 0.4, "{epoch} of the ideal rate from launch to barrier");
}
