//! Many workers and aggregators on one store, each with its own handle.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join, join_all};
use siren_backend_lambda::S3Objects;
use siren_backend_local::WallClock;
use siren_core::objects::Objects;
use siren_core::{
    Clock, Compression, ComputeTask, Context, DataSource, EpochPlan, EpochSummary, Gradient,
    Invocation, Noise, Optimizer, ParameterStore, Replica, Requests, Result, Role, Seed, Snapshot,
    SyncMode, Update, UpdateId, Usage, Work, WorkerReport,
};
use siren_data::MemorySource;
use siren_hsp::{ObjectOptions, ObjectStore, kernel};

use crate::proxy::{Budget, Fault, Proxy};
use crate::servers::{self, Server, on_both};

const DIM: usize = 8;

on_both!(
    no_update_of_64_workers_is_lost_or_counted_twice
    the_sum_is_exact_though_requests_fail
);

/// A plan of plain SGD with a learning rate that makes sums exact.
pub(crate) fn plan(shards: u32, each: u64) -> EpochPlan {
    EpochPlan {
        run: "emulated".into(),
        epoch: 0,
        seed: Seed::new(1),
        layout: 0,
        examples: u64::from(shards) * each,
        batch_size: 1,
        shards,
        local_steps: 1,
        optimizer: Optimizer::Sgd,
        learning_rate: 0.5,
        weight_decay: 0.0,
        clip_norm: None,
        sync_mode: SyncMode::Hybrid,
        compression: Compression::None,
        noise: Noise::Off,
    }
}

pub(crate) fn update<'a>(
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
        squared_norm: kernel::squared_norm(gradient),
        gradient: Gradient::Dense(gradient),
    }
}

/// A gradient of multiples of a quarter, which differ between updates.
fn gradient(shard: u32, position: u64) -> Vec<f32> {
    let of = |i: usize| ((i as u64 + 3 * position + 5 * u64::from(shard)) % 7) as f32;
    (0..DIM).map(|i| of(i) * 0.25 - 0.5).collect()
}

/// The parameters after each update was applied once.
fn expected(plan: &EpochPlan) -> Vec<f32> {
    let mut values = initial().values;
    for shard in 0..plan.shards {
        for position in 0..plan.shard_len(shard) {
            for (value, gradient) in values.iter_mut().zip(gradient(shard, position)) {
                *value -= plan.learning_rate * gradient;
            }
        }
    }
    values
}

fn initial() -> Snapshot {
    Snapshot::initial((0..DIM).map(|i| i as f32).collect())
}

/// The state that all handles share.
struct Swarm {
    objects: S3Objects,
    clock: WallClock,
}

impl Swarm {
    fn handle(&self) -> ObjectStore {
        let objects: Arc<dyn Objects> = Arc::new(self.objects.clone());
        let options = ObjectOptions {
            parts: 2,
            // A low bandwidth, so that each part gets its own aggregator.
            bandwidth: 1,
            poll_interval: Duration::from_millis(50),
            wait_delay: Duration::from_millis(20),
            ..ObjectOptions::default()
        };
        ObjectStore::new(objects, Arc::new(self.clock), "run", DIM).unwrap().with_options(options)
    }

    /// Repeats a call while it fails with transient errors.
    async fn retry<T>(&self, call: impl AsyncFn() -> Result<T>) -> T {
        for _ in 0..100 {
            match call().await {
                Ok(done) => return done,
                Err(error) => assert!(error.is_transient(), "{}", error.chain()),
            }
            self.clock.sleep_until(self.clock.now() + Duration::from_millis(20)).await;
        }
        panic!("the call still fails after 100 attempts");
    }

    async fn work(&self, plan: &EpochPlan, shard: u32) {
        let handle = self.handle();
        let mut replica = Replica::new();
        for position in 0..plan.shard_len(shard) {
            let version = loop {
                match handle.pull(plan.epoch, &mut replica, 0).await {
                    Ok(pulled) => break pulled.version,
                    Err(error) => assert!(error.is_transient(), "{}", error.chain()),
                }
            };
            let gradient = gradient(shard, position);
            let update = Update { version, ..update(plan, shard, position, &gradient) };
            self.retry(async || handle.push(&update).await).await;
        }
    }

    async fn aggregate(&self, plan: &EpochPlan, number: u32) -> Result<WorkerReport> {
        let handle = self.handle();
        let context = AggregatorContext {
            clock: self.clock,
            store: &handle,
            data: MemorySource::new(vec![0], 1).unwrap(),
        };
        let invocation = Invocation {
            plan: plan.clone(),
            role: Role::Aggregator,
            shard: number,
            position: 0,
            attempt: 0,
            memory_mb: 512,
            timeout: Duration::from_secs(900),
            cycle: None,
            request_cap: Requests { writes: u64::MAX, reads: u64::MAX },
        };
        handle.aggregate(&invocation, &context).await
    }
}

/// Trains an epoch with two aggregators.
async fn train(objects: S3Objects, plan: &EpochPlan) -> (EpochSummary, Snapshot) {
    let swarm = Swarm { objects, clock: WallClock::new() };
    let driver = swarm.handle();
    swarm.retry(async || driver.restore(&initial()).await).await;
    swarm.retry(async || driver.open(plan).await).await;
    assert_eq!(driver.aggregation(plan).aggregators, 2);
    let aggregators = join_all((0..2).map(|number| swarm.aggregate(plan, number)));
    let epoch = async {
        join_all((0..plan.shards).map(|shard| swarm.work(plan, shard))).await;
        swarm.retry(async || driver.seal(plan.epoch).await).await
    };
    let (reports, sealed) = join(aggregators, epoch).await;
    for report in reports {
        assert!(report.unwrap().finished, "an aggregator ends with its epoch");
    }
    (sealed, swarm.retry(async || driver.snapshot().await).await)
}

#[track_caller]
fn exact(plan: &EpochPlan, sealed: &EpochSummary, snapshot: &Snapshot) {
    let updates = plan.batches();
    assert_eq!((sealed.version, snapshot.version), (updates, updates));
    for (shard, mark) in (0..).zip(&sealed.watermarks) {
        assert_eq!(mark.batches, plan.shard_len(shard), "shard {shard}");
    }
    assert_eq!(snapshot.values, expected(plan));
}

async fn no_update_of_64_workers_is_lost_or_counted_twice(server: &'static Server) {
    let plan = plan(64, 5);
    let (sealed, snapshot) = train(server.objects().await, &plan).await;
    exact(&plan, &sealed, &snapshot);
}

/// Some requests are refused, some are not delivered, and some answers are lost.
async fn the_sum_is_exact_though_requests_fail(server: &'static Server) {
    let prefix = servers::unique_prefix();
    server.objects().await;
    let faults = vec![
        Budget::new(Fault::Busy, 10, 60),
        Budget::new(Fault::Reset, 13, 40),
        Budget::new(Fault::LostAnswer, 17, 40),
    ];
    let proxy = Proxy::start(server, faults).await;
    let config = servers::config(&proxy.address()).await;
    let objects = S3Objects::new(&config, &servers::bucket(), &prefix);
    let plan = plan(16, 10);
    let (sealed, snapshot) = train(objects, &plan).await;
    exact(&plan, &sealed, &snapshot);
    for fault in [Fault::Busy, Fault::Reset, Fault::LostAnswer] {
        let fired = proxy.fired(fault);
        assert!(fired >= 20, "{fault:?} fired {fired} times in {} requests", proxy.count());
    }
}

/// The context of an aggregator.
struct AggregatorContext<'a> {
    clock: WallClock,
    store: &'a ObjectStore,
    data: MemorySource,
}

#[async_trait]
impl Context for AggregatorContext<'_> {
    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn store(&self) -> &dyn ParameterStore {
        self.store
    }

    fn data(&self) -> &dyn DataSource {
        &self.data
    }

    fn time_left(&self) -> Duration {
        Duration::from_secs(900)
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    async fn compute(&self, _: Work, task: ComputeTask) -> Result<Duration> {
        task();
        Ok(Duration::ZERO)
    }
}
