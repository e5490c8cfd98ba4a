//! A small workload and faulty components for the tests.

#![allow(dead_code, unreachable_pub, reason = "each test file is a crate that uses a part")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand_distr::{Distribution, StandardNormal};
use siren::backend::{
    Backend, BackendDecorator, Clock, Completion, ComputeTask, Context, Invocation, LocalBackend,
    ShardWorker, Usage, Work, Worker, WorkerReport,
};
use siren::data::MemorySource;
use siren::data::{Batch, DataSource};
use siren::metrics::Metrics;
use siren::scheduler::Scheduler;
use siren::store::{EpochPlan, MemoryStore, ParameterStore};
use siren::{
    Config, Error, ErrorKind, Layout, Result, Retry, Seed, TrainerParts, Workload, async_trait,
};
use tokio::sync::Mutex;

pub const FEATURES: usize = 5;

/// Least squares: half the squared error of a linear prediction.
pub struct Linear(Layout);

impl Linear {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Layout::flat("weights", FEATURES).unwrap()))
    }
}

impl Workload for Linear {
    fn layout(&self) -> &Layout {
        &self.0
    }

    fn init(&self, seed: Seed) -> Result<Vec<f32>> {
        let draws = Distribution::<f32>::sample_iter(StandardNormal, seed.rng());
        Ok(draws.take(FEATURES).collect())
    }

    fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        _: Seed,
        gradient: &mut [f32],
    ) -> Result<f64> {
        gradient.fill(0.0);
        let mut loss = 0.0;
        let numbers = batch.floats(FEATURES + 1)?;
        for row in numbers.chunks_exact(FEATURES + 1) {
            let (x, y) = row.split_at(FEATURES);
            let predicted: f32 = x.iter().zip(params).map(|(x, w)| x * w).sum();
            let error = predicted - y[0];
            loss += f64::from(error * error) / 2.0;
            for (g, x) in gradient.iter_mut().zip(x) {
                *g += error * x / batch.examples as f32;
            }
        }
        Ok(loss / batch.examples as f64)
    }

    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        let loss = self.gradient(params, batch, Seed::new(0), &mut [0.0; FEATURES])?;
        metrics.add_loss(batch.examples as u64, loss * batch.examples as f64);
        Ok(())
    }
}

/// Rows of random features, and targets computed from them with the weights 1, 2, 3, … and a little
/// noise.
pub fn rows(count: usize) -> Arc<MemorySource> {
    let mut draws = Distribution::<f32>::sample_iter(StandardNormal, Seed::new(9).rng());
    let mut numbers = Vec::new();
    for _ in 0..count {
        let x: Vec<f32> = draws.by_ref().take(FEATURES).collect();
        let y: f32 = x.iter().zip(1..).map(|(x, w)| x * w as f32).sum();
        numbers.extend(x);
        numbers.push(y + 0.1 * draws.next().unwrap());
    }
    Arc::new(MemorySource::from_floats(&numbers, FEATURES + 1).unwrap())
}

/// Settings with retries that do not slow down the tests.
pub fn quick() -> Config {
    Config {
        retry: Retry {
            attempts: 10,
            delay: Duration::from_micros(100),
            longest: Duration::from_millis(1),
        },
        evaluate_threads: Some(1),
        ..Config::default()
    }
}

/// The plan of an epoch, as the trainer makes it.
pub fn plan(
    config: &Config,
    workload: &dyn Workload,
    examples: u64,
    epoch: u64,
    shards: u32,
) -> EpochPlan {
    EpochPlan {
        run: config.run.clone(),
        epoch,
        seed: Seed::new(config.seed),
        layout: workload.layout().hash(),
        examples,
        batch_size: config.batch_size,
        shards,
        local_steps: config.local_steps,
        optimizer: config.optimizer,
        learning_rate: config.learning_rate.at(epoch),
        weight_decay: config.weight_decay,
        clip_norm: config.clip_norm,
        sync_mode: config.sync_mode,
        compression: config.compression,
        noise: config.noise_setting(),
    }
}

/// The cycle that requests [`Cuttable`] to stop early.
const CUT: Duration = Duration::from_secs(12_345);

/// Runs out of time after two updates if requested.
pub struct Cuttable(pub ShardWorker);

#[async_trait]
impl Worker for Cuttable {
    async fn run(&self, invocation: &Invocation, context: &dyn Context) -> Result<WorkerReport> {
        if invocation.cycle == Some(CUT) {
            let invocation = Invocation { cycle: None, ..invocation.clone() };
            self.0.run(&invocation, &Short::new(context, 2)).await
        } else {
            self.0.run(invocation, context).await
        }
    }
}

/// A context in which the time is up after a given number of tasks.
pub struct Short<'a> {
    inner: &'a dyn Context,
    left: AtomicU64,
}

impl<'a> Short<'a> {
    pub fn new(inner: &'a dyn Context, tasks: u64) -> Self {
        Self { inner, left: AtomicU64::new(tasks) }
    }
}

#[async_trait]
impl Context for Short<'_> {
    fn clock(&self) -> &dyn Clock {
        self.inner.clock()
    }

    fn store(&self) -> &dyn ParameterStore {
        self.inner.store()
    }

    fn data(&self) -> &dyn DataSource {
        self.inner.data()
    }

    fn time_left(&self) -> Duration {
        match self.left.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            _ => self.inner.time_left(),
        }
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    async fn compute(&self, work: Work, task: ComputeTask) -> Result<Duration> {
        self.left.fetch_sub(1, Ordering::Relaxed);
        self.inner.compute(work, task).await
    }
}

/// A fault of an invocation.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// No fault.
    None,
    /// It never starts.
    Throttled,
    /// It runs, but its answer is lost.
    AnswerLost,
    /// It stops after a share of its shard's batches, and reports so.
    StopsEarly,
    /// It dies after a share of its shard's batches.
    Dies,
}

/// A backend whose invocations fail by a plan: each invocation takes the next fault. It records the
/// true bill.
pub struct Faulty {
    pub inner: LocalBackend,
    faults: Mutex<VecDeque<Fault>>,
    pub fired: AtomicU64,
    pub billed: truth::Bill,
}

/// The true costs.
pub mod truth {
    use std::sync::Mutex;

    #[derive(Default)]
    pub struct Bill(Mutex<f64>);

    impl Bill {
        pub fn add(&self, usd: f64) {
            *self.0.lock().unwrap() += usd;
        }

        pub fn total(&self) -> f64 {
            *self.0.lock().unwrap()
        }
    }
}

impl Faulty {
    pub fn new(inner: LocalBackend, faults: impl IntoIterator<Item = Fault>) -> Self {
        Self {
            inner,
            faults: Mutex::new(faults.into_iter().collect()),
            fired: AtomicU64::new(0),
            billed: truth::Bill::default(),
        }
    }

    pub fn fired(&self) -> u64 {
        self.fired.load(Ordering::Relaxed)
    }
}

fn died(billed: Option<Duration>, kind: ErrorKind) -> Completion {
    Completion { billed, result: Err(Error::new(kind, "a fault of the test")) }
}

#[async_trait]
impl BackendDecorator for Faulty {
    fn inner(&self) -> &dyn Backend {
        &self.inner
    }

    async fn invoke(&self, mut invocation: Invocation) -> Completion {
        let fault = self.faults.lock().await.pop_front().unwrap_or(Fault::None);
        if !matches!(fault, Fault::None) {
            self.fired.fetch_add(1, Ordering::Relaxed);
        }
        let memory = invocation.memory_mb;
        let requests = invocation.request_cap;
        if matches!(fault, Fault::Throttled) {
            return died(Some(Duration::ZERO), ErrorKind::Throttled);
        }
        if matches!(fault, Fault::StopsEarly | Fault::Dies) {
            invocation.cycle = Some(CUT);
        }
        let mut completion = self.inner.invoke(invocation).await;
        let billed = completion.billed.unwrap_or_default();
        self.billed.add(self.inner.platform().invocation_cost(memory, billed, requests).dollars());
        match fault {
            Fault::AnswerLost => completion = died(None, ErrorKind::Lost),
            Fault::Dies => completion = died(Some(billed), ErrorKind::Worker),
            _ => {}
        }
        completion
    }
}

/// A backend that loses one shard's first invocation, and its bill, after the epoch has begun.
pub struct Forgetful {
    inner: Arc<dyn Backend>,
    shard: u32,
    lost: AtomicU64,
}

impl Forgetful {
    pub fn new(inner: Arc<dyn Backend>, shard: u32) -> Self {
        Self { inner, shard, lost: AtomicU64::new(0) }
    }

    pub fn fired(&self) -> bool {
        self.lost.load(Ordering::Relaxed) > 0
    }
}

#[async_trait]
impl BackendDecorator for Forgetful {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn invoke(&self, invocation: Invocation) -> Completion {
        if invocation.shard == self.shard && self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            return died(None, ErrorKind::Lost);
        }
        self.inner.invoke(invocation).await
    }
}

/// A trainer's parts around a local backend with these faults, and the backend and the store for
/// inspection.
pub fn parts(
    train: Arc<MemorySource>,
    scheduler: impl Scheduler + 'static,
    faults: impl IntoIterator<Item = Fault>,
) -> (TrainerParts, Arc<Faulty>, Arc<MemoryStore>) {
    let workload = Linear::new();
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    parts_on(workload, store, train, scheduler, faults)
}

/// As [`parts`], with a given workload and store.
pub fn parts_on<S: ParameterStore + 'static>(
    workload: Arc<dyn Workload>,
    store: Arc<S>,
    train: Arc<MemorySource>,
    scheduler: impl Scheduler + 'static,
    faults: impl IntoIterator<Item = Fault>,
) -> (TrainerParts, Arc<Faulty>, Arc<S>) {
    let worker = Arc::new(Cuttable(ShardWorker::new(workload.clone())));
    let local = LocalBackend::with_threads(worker, store.clone(), train.clone(), 2).unwrap();
    let backend = Arc::new(Faulty::new(local, faults));
    let parts = TrainerParts {
        workload,
        held_out: Some(train.clone()),
        train,
        store: store.clone(),
        backend: backend.clone(),
        scheduler: Box::new(scheduler),
    };
    (parts, backend, store)
}
