//! The backend that runs workers in this process.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use siren_core::{
    Backend, Clock, Completion, ComputeTask, Context, DataSource, DriverUsage, EpochPlan, Error,
    ErrorKind, Invocation, ParameterStore, Platform, Result, Work, Worker,
};
use siren_function::{WallClock, run_on_thread};
use tokio_util::task::AbortOnDropHandle;

use crate::context::{LocalContext, Machine};
use crate::meter::Meter;
use crate::pool::Pool;
use crate::store::MeteredStore;

/// Runs workers as tasks of the caller's tokio runtime, and their computations on its own threads.
///
/// ```
/// # use std::sync::Arc;
/// # use siren_core::{Batch, Layout, Metrics, Result, Seed, Workload};
/// # use siren_data::MemorySource;
/// use siren_backend_local::LocalBackend;
/// use siren_hsp::{Config, FixedScheduler, MemoryStore, ShardWorker, Trainer, TrainerParts};
/// # struct Mean(Layout);
/// # impl Workload for Mean {
/// #     fn layout(&self) -> &Layout { &self.0 }
/// #     fn init(&self, _: Seed) -> Result<Vec<f32>> { Ok(vec![0.0]) }
/// #     fn gradient(&self, p: &[f32], b: &Batch<'_>, _: Seed, g: &mut [f32]) -> Result<f64> {
/// #         let x = b.floats(1)?;
/// #         let d: Vec<f32> = x.iter().map(|x| p[0] - x).collect();
/// #         g[0] = d.iter().sum::<f32>() / d.len() as f32;
/// #         Ok(f64::from(d.iter().map(|d| d * d / 2.0).sum::<f32>()) / d.len() as f64)
/// #     }
/// #     fn evaluate(&self, _: &[f32], _: &Batch<'_>, _: &mut Metrics) -> Result<()> { Ok(()) }
/// # }
/// # let numbers: Vec<f32> = (0..1_000).map(|i| (i % 7) as f32).collect();
/// # let workload = Arc::new(Mean(Layout::flat("mean", 1)?));
/// # let data = Arc::new(MemorySource::from_floats(&numbers, 1)?);
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # runtime.block_on(async {
///
/// let store = Arc::new(MemoryStore::initialised(&*workload, 1)?);
/// let worker = Arc::new(ShardWorker::new(workload.clone()));
/// let backend = LocalBackend::new(worker, store.clone(), data.clone())?;
/// let parts = TrainerParts {
///     workload,
///     train: data,
///     held_out: None,
///     store,
///     backend: Arc::new(backend),
///     scheduler: Box::new(FixedScheduler::new(4, 1_792)),
/// };
/// let trained = Trainer::new(parts, Config::default())?.run().await?;
/// println!("loss {}, about {}", trained.outcome.evaluation.loss, trained.outcome.cost);
/// # assert!(trained.outcome.evaluation.loss < 2.5);
/// # Ok::<(), siren_core::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LocalBackend {
    worker: Arc<dyn Worker>,
    platform: Platform,
    machine: Arc<Machine>,
    threads: u32,
}

impl LocalBackend {
    /// Returns a backend for `worker` with this store and training data, and one thread per core.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when the threads cannot be started.
    pub fn new(
        worker: Arc<dyn Worker>,
        store: Arc<dyn ParameterStore>,
        data: Arc<dyn DataSource>,
    ) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with_threads(worker, store, data, cores)
    }

    /// As [`new`](Self::new), with this number of threads.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when `threads` is 0, and [`ErrorKind::Other`] when the
    /// threads cannot be started.
    pub fn with_threads(
        worker: Arc<dyn Worker>,
        store: Arc<dyn ParameterStore>,
        data: Arc<dyn DataSource>,
        threads: usize,
    ) -> Result<Self> {
        if threads == 0 {
            return Err(Error::rejected("the number of threads is 0: give at least 1"));
        }
        let clock = WallClock::new();
        Ok(Self {
            worker,
            platform: Platform::local(),
            machine: Arc::new(Machine { clock, pool: Pool::new(threads, clock)?, store, data }),
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
        })
    }

    /// Replaces the limits and prices, to estimate the bill of another platform.
    #[must_use]
    pub fn with_platform(self, platform: Platform) -> Self {
        Self { platform, ..self }
    }

    /// The slowdown of a function with this memory relative to a local thread. A function has a
    /// share of a vCPU in proportion to its memory.
    fn slowdown(&self, memory_mb: u32) -> f64 {
        (1.0 / self.platform.vcpus(memory_mb)).max(1.0)
    }
}

#[async_trait]
impl Backend for LocalBackend {
    fn clock(&self) -> &dyn Clock {
        &self.machine.clock
    }

    fn platform(&self) -> &Platform {
        &self.platform
    }

    fn parallelism(&self, workers: u32) -> u32 {
        workers.min(self.threads)
    }

    fn expected_exchange_time(&self) -> Duration {
        Duration::ZERO
    }

    fn driver_usage(&self) -> DriverUsage {
        DriverUsage::NONE
    }

    fn max_driver_usage(&self, _: &EpochPlan, _: u64) -> DriverUsage {
        DriverUsage::NONE
    }

    async fn prepare(&self, _: u32, _: Duration) {}

    async fn compute(&self, _: Work, task: ComputeTask) -> Result<Duration> {
        // Not on the pool, which is for workers: an evaluation starts its own threads.
        run_on_thread(self.machine.clock, task).await
    }

    async fn invoke(&self, invocation: Invocation) -> Completion {
        if let Err(error) = self.platform.check_memory(invocation.memory_mb) {
            return Completion { billed: Some(Duration::ZERO), result: Err(error) };
        }
        let slowdown = self.slowdown(invocation.memory_mb);
        let clock = self.machine.clock;
        let meter = Arc::new(Meter::new(clock.now()));
        let mut store = Arc::clone(&self.machine.store);
        if invocation.plan.sync_mode.waits() {
            store = Arc::new(MeteredStore {
                inner: store,
                clock,
                meter: Arc::clone(&meter),
                waits_are_billed: invocation.plan.shards <= self.threads,
            });
        }
        let context = Arc::new(LocalContext {
            machine: Arc::clone(&self.machine),
            store,
            meter,
            slowdown,
            timeout: invocation.timeout.min(self.platform.limits.timeout),
            workers: invocation.plan.shards,
        });
        let worker = Arc::clone(&self.worker);
        let run = {
            let context = Arc::clone(&context);
            AbortOnDropHandle::new(tokio::spawn(
                async move { worker.run(&invocation, &*context).await },
            ))
        };
        let result = tokio::select! {
            biased;
            result = run => result.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => Err(Error::panicked("the worker", &*panic)),
                Err(error) => Err(Error::new(ErrorKind::Lost, "the runtime ended").with_source(error)),
            }),
            // On expiry the task's handle is dropped, which aborts the task.
            () = expired(&context) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!("the invocation took longer than {:?}", context.timeout),
            )),
        };
        Completion {
            billed: Some(self.platform.billed(context.billed().min(context.timeout))),
            result,
        }
    }
}

/// Returns when the context's time is used up. Waits for a thread do not count, so the remaining
/// time is checked repeatedly.
async fn expired(context: &LocalContext) {
    loop {
        let left = context.time_left();
        if left.is_zero() {
            return;
        }
        let clock = &context.machine.clock;
        // Without waits, the remaining time ends after this; waits only make it later.
        let sooner = left.div_f64(context.slowdown).max(Duration::from_millis(1));
        clock.sleep_until(clock.now() + sooner).await;
    }
}
