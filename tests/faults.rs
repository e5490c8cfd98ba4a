//! Workers that fail, and the rest of their epoch.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use siren::backend::{Context, Invocation, LocalBackend, ShardWorker, Worker, WorkerReport};
use siren::data::Batch;
use siren::metrics::{Evaluation, Metrics};
use siren::store::MemoryStore;
use siren::{
    Config, ErrorKind, Event, FixedScheduler, Layout, Observer, Result, Seed, StopReason,
    StopRules, SyncMode, Trainer, TrainerParts, Workload, async_trait,
};
use support::{Fault, Linear, Short, parts, parts_on, quick, rows};

/// A run with this worker.
fn around(worker: impl Worker + 'static, scheduler: FixedScheduler) -> TrainerParts {
    let (workload, train) = (Linear::new(), rows(1_000));
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let backend = LocalBackend::new(Arc::new(worker), store.clone(), train.clone()).unwrap();
    TrainerParts {
        workload,
        held_out: None,
        train,
        store,
        backend: Arc::new(backend),
        scheduler: Box::new(scheduler),
    }
}

fn one_epoch() -> Config {
    Config { batch_size: 10, stop: StopRules { epochs: 1, ..StopRules::default() }, ..quick() }
}

#[tokio::test]
async fn every_batch_counts_once_whatever_becomes_of_its_worker() {
    for fault in [Fault::Throttled, Fault::AnswerLost, Fault::StopsEarly, Fault::Dies] {
        let (parts, backend, _) = parts(rows(1_000), FixedScheduler::new(4, 1_769), [fault; 6]);
        let trained = Trainer::new(parts, one_epoch()).unwrap().run().await.unwrap();
        let epoch = &trained.record.epochs[0];
        assert_eq!((epoch.batches, epoch.updates, epoch.complete), (100, 100, true), "{fault:?}");
        assert!(backend.fired() >= 4);
        // Finished work is not repeated, although the answer was lost.
        let again = !matches!(fault, Fault::AnswerLost);
        assert_eq!(epoch.retries > 0, again, "{fault:?}: {} retries", epoch.retries);
    }
}

/// As [`Linear`], with an evaluation that cannot be finished.
struct Unfinished(Arc<Linear>);

impl Workload for Unfinished {
    fn layout(&self) -> &Layout {
        self.0.layout()
    }

    fn init(&self, seed: Seed) -> Result<Vec<f32>> {
        self.0.init(seed)
    }

    fn gradient(&self, w: &[f32], batch: &Batch<'_>, seed: Seed, g: &mut [f32]) -> Result<f64> {
        self.0.gradient(w, batch, seed, g)
    }

    fn evaluate(&self, w: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        self.0.evaluate(w, batch, metrics)
    }

    fn finish(&self, _: &Metrics) -> Evaluation {
        panic!("an accident of the test")
    }
}

#[tokio::test]
async fn a_panic_at_the_end_of_an_evaluation_ends_the_run_with_an_error() {
    let workload = Arc::new(Unfinished(Linear::new()));
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let scheduler = FixedScheduler::new(4, 1_769);
    let (parts, _, _) = parts_on(workload, store, rows(1_000), scheduler, []);
    let error = Trainer::new(parts, one_epoch()).unwrap().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Worker);
    let chain = error.chain();
    assert!(chain.contains("the workload panicked: an accident of the test"), "{chain}");
}

/// Runs out of time after each 30 updates, and continues with another memory size, as on a backend
/// that doubles the memory after a crash.
struct Pieces {
    inner: ShardWorker,
    seen: Arc<AtomicU32>,
}

#[async_trait]
impl Worker for Pieces {
    async fn run(&self, invocation: &Invocation, context: &dyn Context) -> Result<WorkerReport> {
        let memory_mb = 128 << self.seen.fetch_add(1, Ordering::Relaxed);
        let invocation = Invocation { memory_mb, ..invocation.clone() };
        self.inner.run(&invocation, &Short::new(context, 30)).await
    }
}

#[tokio::test]
async fn a_shard_that_goes_on_elsewhere_counts_every_batch_once() {
    let seen = Arc::new(AtomicU32::new(0));
    let worker = Pieces { inner: ShardWorker::new(Linear::new()), seen: seen.clone() };
    let parts = around(worker, FixedScheduler::new(1, 128));
    let trained = Trainer::new(parts, one_epoch()).unwrap().run().await.unwrap();
    let epoch = &trained.record.epochs[0];
    assert_eq!((epoch.batches, epoch.updates), (100, 100));
    assert_eq!(seen.load(Ordering::Relaxed), 4);
    // The same parameters as without interruption: nothing was lost, repeated or reordered.
    let (parts, _, _) = support::parts(rows(1_000), FixedScheduler::new(1, 1_769), []);
    let whole = Trainer::new(parts, one_epoch()).unwrap().run().await.unwrap();
    assert_eq!(trained.values, whole.values);
}

/// As [`Linear`], with faults in chosen calls.
struct Accident {
    inner: Arc<Linear>,
    calls: AtomicU32,
    on: fn(u32) -> bool,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Panic,
    NotANumber,
}

impl Workload for Accident {
    fn layout(&self) -> &Layout {
        self.inner.layout()
    }

    fn init(&self, seed: Seed) -> Result<Vec<f32>> {
        self.inner.init(seed)
    }

    fn gradient(&self, w: &[f32], batch: &Batch<'_>, seed: Seed, g: &mut [f32]) -> Result<f64> {
        let loss = self.inner.gradient(w, batch, seed, g)?;
        if (self.on)(self.calls.fetch_add(1, Ordering::Relaxed)) {
            match self.what {
                What::Panic => panic!("an accident of the test"),
                What::NotANumber => g[2] = f32::NAN,
            }
        }
        Ok(loss)
    }

    fn evaluate(&self, w: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        self.inner.evaluate(w, batch, metrics)
    }
}

fn accident(what: What, on: fn(u32) -> bool) -> (TrainerParts, Arc<MemoryStore>) {
    let workload = Accident { inner: Linear::new(), calls: AtomicU32::new(0), on, what };
    let store = Arc::new(MemoryStore::initialised(&workload, 0).unwrap());
    let workload = Arc::new(workload);
    let (parts, _, store) =
        parts_on(workload, store, rows(1_000), FixedScheduler::new(4, 1_769), []);
    (parts, store)
}

#[tokio::test]
async fn a_panic_is_the_end_of_one_invocation_only() {
    // The first call is that of the forecast.
    let (parts, _) = accident(What::Panic, |call| call > 0 && call % 30 == 0);
    let trained = Trainer::new(parts, one_epoch()).unwrap().run().await.unwrap();
    let epoch = &trained.record.epochs[0];
    assert_eq!((epoch.batches, epoch.complete), (100, true));
    assert!(epoch.retries >= 3, "{}", epoch.retries);
}

#[tokio::test]
async fn a_worker_that_always_panics_ends_the_run_with_what_it_said() {
    let (parts, _) = accident(What::Panic, |call| call > 0);
    let error = Trainer::new(parts, one_epoch()).unwrap().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Worker);
    assert!(error.chain().contains("an accident of the test"), "{}", error.chain());
}

#[tokio::test]
async fn a_gradient_that_is_not_finite_ends_the_run_and_spares_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (parts, store) = accident(What::NotANumber, |call| call == 250);
    let config = Config { out: Some(folder.path().into()), ..one_epoch() };
    let config = Config { stop: StopRules { epochs: 5, ..StopRules::default() }, ..config };
    let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
    let outcome = &trained.outcome;
    assert_eq!((outcome.reason, outcome.epochs), (StopReason::Diverged, 2));
    assert!(outcome.detail.as_ref().unwrap().contains("squared norm"), "{outcome:?}");
    let checkpoint = siren::Checkpoint::load(folder.path()).unwrap();
    assert_eq!(checkpoint.epochs().len(), 2);
    assert_eq!(checkpoint.values(), trained.values);
    let status = siren::store::ParameterStore::status(&*store).await.unwrap();
    assert_eq!((status.open, status.sealed_epochs), (None, 2), "the store is at the checkpoint");
}

/// Requests the run to stop in its second epoch.
struct StopIn(siren::StopHandle, Arc<AtomicBool>);

impl Observer for StopIn {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Launched { epoch: 1, .. } = event {
            self.0.stop();
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn a_request_to_stop_settles_the_money_and_keeps_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (parts, backend, store) = parts(rows(1_000), FixedScheduler::new(4, 1_769), []);
    let config = Config { out: Some(folder.path().into()), ..quick() };
    let trainer = Trainer::new(parts, config).unwrap();
    let asked = Arc::new(AtomicBool::new(false));
    let handle = trainer.stop_handle();
    let trainer = trainer.with_observer(StopIn(handle, asked.clone()));
    let trained = trainer.run().await.unwrap();
    assert!(asked.load(Ordering::Relaxed));
    assert_eq!(trained.outcome.reason, StopReason::Interrupted);
    assert_eq!(trained.record.epochs.len(), 1);
    assert!(trained.outcome.cost.dollars() >= backend.billed.total() - 1e-15);
    let checkpoint = siren::Checkpoint::load(folder.path()).unwrap();
    assert_eq!(checkpoint.epochs().len(), 1);
    // The store is restored to the checkpoint, not left half an epoch ahead.
    let snapshot = siren::store::ParameterStore::snapshot(&*store).await.unwrap();
    assert_eq!((snapshot.sealed_epochs, &snapshot.values[..]), (1, checkpoint.values()));
}

/// As [`Linear`], on a slow machine.
struct Slow(Arc<Linear>);
impl Workload for Slow {
    fn layout(&self) -> &Layout {
        self.0.layout()
    }
    fn init(&self, seed: Seed) -> Result<Vec<f32>> {
        self.0.init(seed)
    }
    #[expect(clippy::disallowed_methods, reason = "a slow machine in real time")]
    fn gradient(&self, w: &[f32], b: &Batch<'_>, seed: Seed, g: &mut [f32]) -> Result<f64> {
        std::thread::sleep(Duration::from_millis(5));
        self.0.gradient(w, b, seed, g)
    }
    fn evaluate(&self, w: &[f32], b: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        self.0.evaluate(w, b, metrics)
    }
}

fn slow(examples: usize, workers: u32) -> TrainerParts {
    let workload = Slow(Linear::new());
    let store = Arc::new(MemoryStore::initialised(&workload, 0).unwrap());
    parts_on(Arc::new(workload), store, rows(examples), FixedScheduler::new(workers, 1_769), []).0
}

#[tokio::test]
async fn a_time_limit_cuts_the_epoch_short_and_keeps_what_was_done() {
    // This also applies to the last epoch requested.
    let stop = StopRules {
        time_limit: Some(Duration::from_millis(300)),
        epochs: 1,
        ..StopRules::default()
    };
    let config = Config { batch_size: 1, stop, ..quick() };
    let trained = Trainer::new(slow(2_000, 2), config).unwrap().run().await.unwrap();
    assert_eq!(trained.outcome.reason, StopReason::TimeLimit);
    let epoch = &trained.record.epochs[0];
    assert!(!epoch.complete && epoch.batches > 0 && epoch.batches < 2_000, "{}", epoch.batches);
    assert!(epoch.evaluation.loss < trained.record.initial.loss);
    // The workers' work is reported, although the seal came before their end.
    assert!(epoch.compute_s > 0.1 && epoch.cpu_utilisation > 0.0, "{epoch:?}");
}

/// Waiting for a thread is not execution: with many workers on few threads it must not count
/// against their timeouts.
#[tokio::test]
async fn many_workers_on_two_threads_all_finish_without_a_budget() {
    let stop = StopRules { epochs: 3, ..StopRules::default() };
    let config = Config { batch_size: 1, stop, ..quick() };
    let trained = Trainer::new(slow(130, 64), config).unwrap().run().await.unwrap();
    assert_eq!(trained.outcome.reason, StopReason::Epochs);
    for epoch in &trained.record.epochs {
        assert_eq!((epoch.workers, epoch.batches, epoch.retries), (64, 130, 0));
        assert!(epoch.queue_s > epoch.compute_s, "no worker waited for a thread: {epoch:?}");
        assert!(epoch.staleness_mean > 10.0, "{epoch:?}");
    }
}

#[tokio::test]
async fn long_local_steps_in_short_shards_do_not_confuse_the_forecast() {
    let config = Config { local_steps: 1_000, batch_size: 10, ..quick() };
    let (parts, _, _) = parts(rows(400), FixedScheduler::new(4, 1_769), []);
    let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
    assert_eq!((trained.outcome.reason, trained.outcome.epochs), (StopReason::Epochs, 10));
    assert!(trained.record.epochs.iter().all(|epoch| epoch.complete && epoch.updates == 4));
}

/// Reports that it has finished after two updates, a given number of times.
struct Liar {
    inner: ShardWorker,
    lies: AtomicI32,
}

#[async_trait]
impl Worker for Liar {
    async fn run(&self, invocation: &Invocation, context: &dyn Context) -> Result<WorkerReport> {
        if self.lies.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return self.inner.run(invocation, context).await;
        }
        let report = self.inner.run(invocation, &Short::new(context, 2)).await?;
        Ok(WorkerReport { finished: true, ..report })
    }
}

#[tokio::test]
async fn a_finished_report_is_not_believed() {
    let synchronies = [SyncMode::Hybrid, SyncMode::Bulk, SyncMode::Stale { bound: 1 }];
    for (sync_mode, lies) in synchronies.into_iter().flat_map(|s| [(s, 1), (s, 4)]) {
        let worker = Liar { inner: ShardWorker::new(Linear::new()), lies: AtomicI32::new(lies) };
        let parts = around(worker, FixedScheduler::new(4, 1_769));
        // No worker may wait for a shard that counts as done.
        let stop = StopRules { time_limit: Some(Duration::from_secs(30)), ..one_epoch().stop };
        let config = Config { sync_mode, stop, ..one_epoch() };
        let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
        let epoch = &trained.record.epochs[0];
        let seen = (epoch.batches, epoch.complete, epoch.retries);
        assert_eq!(seen, (100, true, lies as u32), "{sync_mode:?}");
    }
}

/// Reports each time that it has finished, without having begun.
struct Idler;

#[async_trait]
impl Worker for Idler {
    async fn run(&self, invocation: &Invocation, _: &dyn Context) -> Result<WorkerReport> {
        let position = invocation.plan.shard_len(invocation.shard);
        Ok(WorkerReport { position, finished: true, ..WorkerReport::default() })
    }
}

#[tokio::test]
async fn a_worker_that_never_does_what_it_says_ends_the_run() {
    for sync_mode in [SyncMode::Hybrid, SyncMode::Bulk, SyncMode::Stale { bound: 1 }] {
        let config = Config { sync_mode, ..one_epoch() };
        let trainer = Trainer::new(around(Idler, FixedScheduler::new(4, 1_769)), config).unwrap();
        let error = trainer.run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Worker, "{sync_mode:?}: {}", error.chain());
    }
}
