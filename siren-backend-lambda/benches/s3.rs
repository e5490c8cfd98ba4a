//! Measures the overhead of the parameter store: push and pull of a LeNet against a raw PUT and GET
//! of the same number of bytes, in one run on one server.
//!
//! Set `SIREN_TEST_MINISTACK` or `SIREN_TEST_SEAWEEDFS` or both to the addresses of servers;
//! `tests/emulators.sh` shows how to start them.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "../tests/emulated/config.rs"]
mod config;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use siren_backend_lambda::S3Objects;
use siren_backend_local::WallClock;
use siren_core::objects::Objects as _;
use siren_core::{
    Compression, EpochPlan, Gradient, Noise, Optimizer, ParameterStore as _, Replica, Seed,
    Snapshot, SyncMode, Update, UpdateId,
};
use siren_hsp::{ObjectOptions, ObjectStore, kernel};

/// The allocator that functions use. With the system's allocator, most of the time goes into newly
/// mapped pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of parameters of a LeNet.
const DIM: usize = 431_080;

/// The number of requests of each kind. The kinds alternate.
const CYCLES: u64 = 40;

fn plan() -> EpochPlan {
    EpochPlan {
        run: "bench".into(),
        epoch: 0,
        seed: Seed::new(1),
        layout: 0,
        examples: 1 << 30,
        batch_size: 1,
        shards: 1,
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

/// A worker's pushes and pulls with a store, and the same transfers without one.
struct Bench {
    objects: S3Objects,
    store: ObjectStore,
    plan: EpochPlan,
    gradient: Vec<f32>,
    bytes: Vec<u8>,
    pushed: AtomicU64,
    written: AtomicU64,
}

impl Bench {
    async fn new(address: &str) -> Self {
        let config = config::config(address).await;
        let settings = aws_sdk_s3::config::Builder::from(&config).force_path_style(true);
        let bucket = format!("siren-bench-{}", std::process::id());
        let client = aws_sdk_s3::Client::from_conf(settings.build());
        client.create_bucket().bucket(&bucket).send().await.expect("the server creates a bucket");
        let objects = S3Objects::new(&config, &bucket, "");
        let shared = Arc::new(objects.clone());
        // No aggregator runs.
        let options = ObjectOptions { max_ahead: u64::MAX, ..ObjectOptions::default() };
        let store = ObjectStore::new(shared, Arc::new(WallClock::new()), "run", DIM).unwrap();
        let store = store.with_options(options);
        store.restore(&Snapshot::initial(vec![0.0; DIM])).await.unwrap();
        let plan = plan();
        store.open(&plan).await.unwrap();
        objects.put_if_absent("part", &vec![1; 4 * DIM]).await.unwrap();
        Self {
            objects,
            store,
            plan,
            gradient: vec![0.25; DIM],
            bytes: vec![1; 4 * DIM],
            pushed: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Pushes an update.
    async fn push(&self) {
        let position = self.pushed.fetch_add(1, Ordering::Relaxed);
        let update = Update {
            id: UpdateId { epoch: 0, shard: 0, position },
            batches: self.plan.update_len(0, position),
            examples: 1,
            loss: 0.0,
            version: 0,
            squared_norm: kernel::squared_norm(&self.gradient),
            gradient: Gradient::Dense(&self.gradient),
        };
        self.store.push(&update).await.unwrap();
    }

    /// Pulls all parameters.
    async fn pull(&self, replica: &mut Replica) {
        // Like a worker in a later cycle, whose replica has allocated its memory.
        replica.forget();
        let pulled = self.store.pull(0, replica, 0).await.unwrap();
        assert_eq!(pulled.copied, DIM);
    }

    /// Writes the same number of bytes.
    async fn put(&self) {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        self.objects.put_if_absent(&format!("raw/{number:020}"), &self.bytes).await.unwrap();
    }

    /// Reads the same number of bytes.
    async fn get(&self) {
        black_box(self.objects.get("part", None).await.unwrap());
    }
}

fn servers() -> Vec<(&'static str, String)> {
    let named = [("ministack", "SIREN_TEST_MINISTACK"), ("seaweedfs", "SIREN_TEST_SEAWEEDFS")];
    let servers: Vec<_> = named
        .into_iter()
        .filter_map(|(name, variable)| Some((name, std::env::var(variable).ok()?)))
        .collect();
    assert!(!servers.is_empty(), "set SIREN_TEST_MINISTACK or SIREN_TEST_SEAWEEDFS");
    servers
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn exchange(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (name, address) in servers() {
        let bench = runtime.block_on(Bench::new(&address));
        runtime.block_on(async {
            let mut replica = Replica::new();
            let mut times: [Vec<Duration>; 4] = Default::default();
            for cycle in 0..=CYCLES {
                let start = Instant::now();
                bench.push().await;
                let push = start.elapsed();
                bench.pull(&mut replica).await;
                let pull = start.elapsed() - push;
                let start = Instant::now();
                bench.put().await;
                let put = start.elapsed();
                bench.get().await;
                let get = start.elapsed() - put;
                // The first cycle opens connections.
                if cycle > 0 {
                    times.iter_mut().zip([push, pull, put, get]).for_each(|(all, t)| all.push(t));
                }
            }
            let [push, pull, put, get] = times.map(median);
            let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
            println!(
                "{name}: {DIM} parameters: push {push:.2?}, raw PUT {put:.2?}, ratio {:.3}; pull \
                 {pull:.2?}, GET {get:.2?}, ratio {:.3}; both {:.3}",
                ratio(push, put),
                ratio(pull, get),
                ratio(push + pull, put + get)
            );
        });
        let mut group = criterion.benchmark_group(format!("s3/{name}"));
        group.sample_size(10).measurement_time(Duration::from_secs(2));
        group.bench_function("push", |b| b.iter(|| runtime.block_on(bench.push())));
        group.bench_function("PUT", |b| b.iter(|| runtime.block_on(bench.put())));
        group.bench_function("pull", |b| {
            let mut replica = Replica::new();
            b.iter(|| runtime.block_on(bench.pull(&mut replica)));
        });
        group.bench_function("GET", |b| b.iter(|| runtime.block_on(bench.get())));
        group.finish();
    }
}

criterion_group!(benches, exchange);
criterion_main!(benches);
