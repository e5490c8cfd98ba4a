//! A clock, a context and faulty objects for the tests.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use siren_core::{
    Clock, ComputeTask, Context, DataSource, EpochPlan, Error, ErrorKind, Gradient, Invocation,
    Optimizer, ParameterStore, Replica, Requests, Result, Role, Seed, Snapshot, SyncMode, Time,
    Update, UpdateId, Usage, Work, WorkerReport,
};

use super::super::{ObjectOptions, ObjectStore};
use crate::MemoryObjects;
use siren_core::objects::{Fetched, Objects, ObjectsDecorator, Tag};

/// A clock on which every wait ends at once, after yielding to other tasks.
#[derive(Default)]
pub(super) struct InstantClock(AtomicU64);

#[async_trait]
impl Clock for InstantClock {
    fn now(&self) -> Time {
        Time::new(Duration::from_nanos(self.0.load(Ordering::Relaxed)))
    }

    async fn sleep_until(&self, deadline: Time) {
        let nanos = u64::try_from(deadline.since_origin().as_nanos()).unwrap_or(u64::MAX);
        yield_now().await;
        std::thread::yield_now();
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }
}

/// Yields to other tasks.
pub(super) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Objects that yield before and after a request has its effect, and that fail a finite number of
/// requests.
#[derive(Default)]
pub(super) struct FaultyObjects {
    pub(super) inner: MemoryObjects,
    /// The number of requests still to refuse; every third request is refused until it is used up.
    pub(super) throttle: AtomicU64,
    /// The number of answers still to lose after the request had its effect; every fifth answer is
    /// lost until it is used up.
    pub(super) lose: AtomicU64,
    count: AtomicU64,
    /// The keys that were read.
    pub(super) read: Mutex<Vec<String>>,
    pub(super) fired: AtomicU64,
}

impl FaultyObjects {
    /// The number of requests so far.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Spends one unit of a budget on every `nth` request, and returns `true` then.
    fn spend(&self, budget: &AtomicU64, number: u64, nth: u64) -> bool {
        let spent = number.is_multiple_of(nth)
            && budget
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok();
        self.fired.fetch_add(u64::from(spent), Ordering::Relaxed);
        spent
    }
}

#[async_trait]
impl ObjectsDecorator for FaultyObjects {
    fn inner(&self) -> &dyn Objects {
        &self.inner
    }

    async fn around<T, F>(&self, request: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let number = 1 + self.count.fetch_add(1, Ordering::Relaxed);
        yield_now().await;
        if self.spend(&self.throttle, number, 3) {
            return Err(Error::new(ErrorKind::Throttled, "a fault of the test"));
        }
        let answer = request.await;
        yield_now().await;
        if self.spend(&self.lose, number, 5) {
            return Err(Error::new(ErrorKind::Lost, "a fault of the test"));
        }
        answer
    }

    async fn get(&self, key: &str, known: Option<&Tag>) -> Result<Fetched> {
        self.read.lock().push(key.into());
        self.around(self.inner.get(key, known)).await
    }

    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Result<Fetched> {
        self.read.lock().push(key.into());
        self.around(self.inner.get_start(key, known, length)).await
    }
}

pub(super) const DIM: usize = 10;

/// A store that applies updates itself.
pub(super) fn inline_store(objects: Arc<dyn Objects>, dim: usize, parts: u32) -> ObjectStore {
    let options = ObjectOptions { parts, inline: true, ..ObjectOptions::default() };
    ObjectStore::new(objects, Arc::new(InstantClock::default()), "runs/test", dim)
        .unwrap()
        .with_options(options)
}

/// Options with an aggregator for each part.
pub(super) fn options(parts: u32) -> ObjectOptions {
    ObjectOptions { parts, bandwidth: 1, ..ObjectOptions::default() }
}

/// The objects and the clock that all handles of a test share.
pub(super) struct World {
    pub(super) objects: Arc<FaultyObjects>,
    pub(super) clock: Arc<InstantClock>,
    pub(super) options: ObjectOptions,
}

impl World {
    pub(super) fn new(parts: u32) -> Self {
        Self { objects: Arc::default(), clock: Arc::default(), options: options(parts) }
    }

    /// A world in which pulls do not wait for aggregators.
    pub(super) fn with_unlimited_lead(parts: u32) -> Self {
        let options = ObjectOptions { max_ahead: u64::MAX, ..options(parts) };
        Self { options, ..Self::new(parts) }
    }

    /// A new handle.
    pub(super) fn handle(&self) -> ObjectStore {
        let objects: Arc<dyn Objects> = self.objects.clone();
        ObjectStore::new(objects, self.clock.clone(), "run", DIM)
            .unwrap()
            .with_options(self.options.clone())
    }

    /// The driver's handle, with an epoch open.
    pub(super) async fn driver(&self, plan: &EpochPlan) -> ObjectStore {
        let driver = self.handle();
        let values = (0..DIM).map(|i| i as f32).collect();
        driver.restore(&Snapshot::initial(values)).await.unwrap();
        driver.open(plan).await.unwrap();
        driver
    }

    /// Runs an aggregator with its own handle.
    pub(super) async fn aggregate(&self, plan: &EpochPlan, number: u32) -> Result<WorkerReport> {
        let handle = self.handle();
        let context = TestContext::new(self, &handle);
        let most = Requests { writes: u64::MAX, reads: u64::MAX };
        handle.aggregate(&invocation(plan, number, most), &context).await
    }

    /// A worker with its own handle. It retries failed requests until its shard is done or the
    /// epoch is sealed.
    pub(super) async fn work(&self, plan: &EpochPlan, shard: u32) {
        let handle = self.handle();
        let mut replica = Replica::new();
        let mut position = 0;
        while position < plan.shard_len(shard) {
            let progress = plan.sync_mode.progress(plan.updates(position));
            let version = loop {
                match handle.pull(plan.epoch, &mut replica, progress).await {
                    Ok(pulled) => break pulled.version,
                    Err(error) if error.kind() == ErrorKind::Fenced => return,
                    Err(error) => assert!(error.is_transient(), "{}", error.chain()),
                }
            };
            let gradient = gradient(shard, position);
            let update = Update { version, ..update(plan, shard, position, &gradient) };
            loop {
                match handle.push(&update).await {
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::Fenced => return,
                    Err(error) => assert!(error.is_transient(), "{}", error.chain()),
                }
            }
            position += update.batches;
        }
    }
}

/// Repeats the call while it fails with a transient error.
pub(super) async fn until_ok<T>(call: impl AsyncFn() -> Result<T>) -> T {
    for _ in 0..1_000 {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(error.is_transient(), "{}", error.chain()),
        }
    }
    panic!("the call never succeeds");
}

pub(in crate::store::objects) fn plan(sync_mode: SyncMode, optimizer: Optimizer) -> EpochPlan {
    EpochPlan {
        run: "test".into(),
        epoch: 0,
        seed: Seed::new(1),
        layout: 0,
        examples: 30,
        batch_size: 1,
        shards: 3,
        local_steps: 1,
        optimizer,
        learning_rate: 0.5,
        weight_decay: 0.0,
        clip_norm: None,
        sync_mode,
        compression: siren_core::Compression::None,
        noise: siren_core::Noise::Off,
    }
}

/// Multiples of 0.25, different for each update.
pub(super) fn gradient(shard: u32, position: u64) -> Vec<f32> {
    let of = |i: usize| ((i as u64 + 3 * position + 5 * u64::from(shard)) % 7) as f32;
    (0..DIM).map(|i| of(i) * 0.25 - 0.5).collect()
}

pub(super) fn update<'a>(
    plan: &EpochPlan,
    shard: u32,
    position: u64,
    gradient: &'a [f32],
) -> Update<'a> {
    let batches = plan.update_len(shard, position);
    Update {
        id: UpdateId { epoch: plan.epoch, shard, position },
        batches,
        examples: batches,
        loss: 0.25 * position as f64 + f64::from(shard),
        version: 0,
        squared_norm: crate::kernel::squared_norm(gradient),
        gradient: Gradient::Dense(gradient),
    }
}

pub(super) fn invocation(plan: &EpochPlan, number: u32, request_cap: Requests) -> Invocation {
    Invocation {
        plan: plan.clone(),
        role: Role::Aggregator,
        shard: number,
        position: 0,
        attempt: 0,
        memory_mb: 512,
        timeout: Duration::from_secs(900),
        cycle: None,
        request_cap,
    }
}

/// 30 examples, each the number 0 as an `f32`. Aggregators do not read them.
struct Zeros;

#[async_trait]
impl DataSource for Zeros {
    fn len(&self) -> u64 {
        30
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
        Ok(range.flat_map(|_| 0.0_f32.to_le_bytes()).collect())
    }
}

/// The context of an aggregator or worker.
pub(super) struct TestContext<'a> {
    pub(super) clock: Arc<InstantClock>,
    pub(super) store: &'a ObjectStore,
    /// The end of the time left; without it, time does not run out.
    pub(super) ends: Option<Time>,
}

impl<'a> TestContext<'a> {
    pub(super) fn new(world: &World, store: &'a ObjectStore) -> Self {
        Self { clock: world.clock.clone(), store, ends: None }
    }
}

#[async_trait]
impl Context for TestContext<'_> {
    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn store(&self) -> &dyn ParameterStore {
        self.store
    }

    fn data(&self) -> &dyn DataSource {
        &Zeros
    }

    fn time_left(&self) -> Duration {
        match self.ends {
            Some(time) => time - self.clock.now(),
            None => Duration::from_secs(900),
        }
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    async fn compute(&self, _: Work, task: ComputeTask) -> Result<Duration> {
        task();
        yield_now().await;
        Ok(Duration::ZERO)
    }
}
