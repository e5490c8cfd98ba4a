//! The backend that runs workers on AWS Lambda.

mod bills;
#[cfg(test)]
mod conformance;
mod connect;
mod crash;
mod http;
mod invoke;
#[cfg(test)]
mod loopback;
mod report;
mod settings;
mod throttle;
pub(crate) mod versions;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use bills::Bills;
use bills::{Counter, add};
use invoke::{Ended, Invoker};
pub use report::Report;
pub use settings::LambdaSettings;
use siren_core::objects::Objects;
use siren_core::{
    Backend, Clock, Completion, ComputeTask, DriverUsage, EpochPlan, Invocation, Platform, Profile,
    Requests, Result, Role, Stream, Work, WorkerReport,
};
use siren_data::PackedData;
use siren_function::{WallClock, run_on_thread, stored};
use siren_hsp::ObjectStore;
use throttle::LaunchThrottle;
use versions::Versions;
use xxhash_rust::xxh3::xxh3_64;

use crate::S3Objects;
use crate::payload::{self, Reply, Request, RequestKind, Response, RunRequest};

/// Bytes of an answer to an invocation or to a progress poll: an upper bound for ordinary answers.
const ANSWER_BYTES: u64 = 8 << 10;

/// Bytes of the log tail that comes with an answer: 4 KB in base64.
const LOG_BYTES: u64 = 5_500;

/// The largest number of times that a trainer polls the progress of an open epoch, with a store
/// that charges for requests.
const MAX_PROGRESS_POLLS: u64 = siren_hsp::MAX_PROGRESS_POLLS as u64;

/// Runs workers as invocations of a function on AWS Lambda.
///
/// The function [serves](crate::serve) the same workload. Memory sizes are multiples of 64 MB. Each
/// size in use becomes a version of the function, see [`publish`](Self::publish).
///
/// An invocation is launched once. A launch is repeated only if the platform refused it, or if it
/// found no connection. Repeated launches wait, and all launches share one throttle. After
/// [`LambdaSettings::launch_retry_time`] the invocation fails. The billed time is the platform's
/// own report, if it comes with the answer.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use siren_backend_lambda::LambdaSettings;
/// # use siren_core::{Result, Workload};
/// use siren_backend_lambda::LambdaBackend;
/// use siren_hsp::{Config, FixedScheduler, Trainer, TrainerParts};
///
/// # async fn example(workload: Arc<dyn Workload>, settings: LambdaSettings) -> Result<()> {
/// let backend = LambdaBackend::connect(settings).await?;
/// let store = backend.store()?;
/// store.initialise(&*workload, 1).await?;
/// let memory_mb = backend.memory_at_least(1_792);
/// let parts = TrainerParts {
///     workload,
///     train: Arc::new(backend.data().await?),
///     held_out: None,
///     store: Arc::new(store),
///     backend: Arc::new(backend),
///     scheduler: Box::new(FixedScheduler::new(50, memory_mb)),
/// };
/// let trained = Trainer::new(parts, Config::default())?.run().await?;
/// println!("loss {} for {}", trained.outcome.evaluation.loss, trained.outcome.cost);
/// # Ok(())
/// # }
/// ```
pub struct LambdaBackend {
    settings: LambdaSettings,
    clock: WallClock,
    platform: Platform,
    objects: S3Objects,
    invoker: Invoker,
    versions: Versions,
    throttle: LaunchThrottle,
    counter: Arc<Counter>,
}

impl LambdaBackend {
    /// Connects to a function and its bucket, and checks that they fit the run.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), with a remedy, when the function or the bucket does not
    /// exist or may not be used, when the function does not start, and when it serves another
    /// workload or was built with another version of this crate.
    pub async fn connect(settings: LambdaSettings) -> Result<Self> {
        let clock = WallClock::new();
        let found = connect::connect(&settings, clock).await?;
        Ok(Self {
            clock,
            platform: found.platform,
            objects: S3Objects::new(&settings.config, &settings.bucket, ""),
            versions: Versions::new(found.control, clock, &settings.function, &found.code),
            counter: Arc::clone(&found.invoker.counter),
            invoker: found.invoker,
            throttle: LaunchThrottle::default(),
            settings,
        })
    }

    /// Returns the store that the function's workers use, for the driver. The caller writes the
    /// initial parameters.
    ///
    /// # Errors
    ///
    /// As [`ObjectStore::new`].
    pub fn store(&self) -> Result<ObjectStore> {
        let objects = Arc::new(self.objects.clone());
        let LambdaSettings { store_prefix, dim, options, .. } = &self.settings;
        let store = ObjectStore::new(objects, Arc::new(self.clock), store_prefix, *dim)?;
        Ok(store.with_options(options.clone()).exclusive())
    }

    /// Returns the data that the function's workers read.
    ///
    /// # Errors
    ///
    /// As [`PackedData::open_object`].
    pub async fn data(&self) -> Result<PackedData> {
        PackedData::open_object(Arc::new(self.objects.clone()), &self.settings.data_key).await
    }

    /// The driver's access to the bucket, which counts the driver's requests and bytes.
    pub fn objects(&self) -> &S3Objects {
        &self.objects
    }

    /// The number of invocations so far, and the sources of their billed times.
    pub fn bills(&self) -> Bills {
        self.counter.bills()
    }

    /// The smallest supported memory size of at least `memory_mb`, in MB.
    pub fn memory_at_least(&self, memory_mb: u32) -> u32 {
        self.platform.memory_at_least(memory_mb)
    }

    /// Publishes the version of the function that invocations of this memory and timeout need,
    /// unless it exists, and returns its alias. Without this call the first such invocation
    /// publishes it, and the others wait, a second or two.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the platform has no such memory size, or when the
    /// function was deployed again since connecting.
    ///
    /// # Cancellation
    ///
    /// Safe at any point. An unused version may remain.
    pub async fn publish(&self, memory_mb: u32, timeout: Duration) -> Result<String> {
        self.platform.check_memory(memory_mb)?;
        self.versions.alias(memory_mb, self.platform.enforced(timeout)).await
    }

    /// The payload of an invocation. A request that is too large for a payload is stored in the
    /// bucket; its key is returned too.
    async fn request(&self, invocation: &Invocation) -> Result<(Vec<u8>, Option<String>)> {
        let LambdaSettings { bucket, store_prefix, options, data_key, .. } = &self.settings;
        let run_request = RunRequest {
            bucket: bucket.clone(),
            store_prefix: store_prefix.clone(),
            options: options.clone(),
            data_key: data_key.clone(),
            invocation: invocation.clone(),
        };
        let request =
            payload::write(&Request::new(RequestKind::Run(Box::new(run_request))), "the request")?;
        if request.len() as u64 <= self.platform.limits.payload_bytes {
            return Ok((request, None));
        }
        let key = stored::key(store_prefix, &format!("request-{:016x}", xxh3_64(&request)));
        stored::put(&self.objects, &key, &request).await?;
        let stored_request =
            Request::new(RequestKind::Stored { bucket: bucket.clone(), key: key.clone() });
        Ok((payload::write(&stored_request, "the request")?, Some(key)))
    }

    /// Launches an invocation, again and again until the platform accepts it or
    /// [`LambdaSettings::launch_retry_time`] ends.
    async fn launch(&self, alias: &str, request: &[u8], invocation: &Invocation) -> Ended {
        let enforced = self.platform.enforced(invocation.timeout);
        let mut refused: Option<siren_core::Time> = None;
        let mut refusals = 0;
        loop {
            let turn = self.throttle.next_launch(self.clock.now());
            if turn > self.clock.now() {
                self.clock.sleep_until(turn).await;
            }
            let error = match self.invoker.invoke(Some(alias), request, enforced).await {
                Ended::Refused(error) => error,
                ended => {
                    self.throttle.answered();
                    return ended;
                }
            };
            let now = self.clock.now();
            self.throttle.refused(now);
            add(&self.counter.refused, 1);
            refusals += 1;
            let since = now - *refused.get_or_insert(now);
            if since >= self.settings.launch_retry_time {
                return Ended::Rejected(invoke::gave_up(error, refusals, since));
            }
            let path = [invocation.plan.epoch, role(invocation), invocation.shard.into()];
            let seed = self.settings.seed.split(Stream::Retry, &path);
            let random = seed.child(invocation.attempt.into()).child(refusals.into()).get();
            self.clock.sleep_until(now + throttle::delay(refusals, random)).await;
        }
    }

    /// The worker's report in an answer. An answer too large for a payload is read from the bucket.
    async fn report(&self, response: Response) -> Result<WorkerReport> {
        let reply = match response.reply {
            Reply::Stored { key } => {
                let bytes = stored::get(&self.objects, &key).await?;
                // Best effort: the answer has been read.
                let _ = self.objects.delete(&[key]).await;
                payload::read::<Response>(&bytes, "the function's stored answer")?.reply
            }
            reply => reply,
        };
        match reply {
            Reply::Report(report) => Ok(*report),
            Reply::Failed(failure) => Err(failure.into()),
            Reply::Description(_) | Reply::Stored { .. } => {
                invoke::unexpected().map(|()| WorkerReport::default())
            }
        }
    }

    /// The billed time: reported by the platform, or computed from the function's own measurements.
    fn billed(&self, report: Option<Report>, response: Option<&Response>) -> Option<Duration> {
        if let Some(report) = report {
            add(&self.counter.reported, 1);
            return Some(report.billed);
        }
        let computed = invoke::computed(&self.platform, &response?.timing)?;
        add(&self.counter.computed, 1);
        Some(computed)
    }
}

#[async_trait]
impl Backend for LambdaBackend {
    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Every function has its own machine.
    fn parallelism(&self, workers: u32) -> u32 {
        workers
    }

    /// The time of two reads and a write, with average figures of S3 and of a function's network.
    fn expected_exchange_time(&self) -> Duration {
        Profile::aws_lambda().expected_exchange_time(self.settings.dim as u64)
    }

    fn driver_usage(&self) -> DriverUsage {
        let (traffic, bills) = (self.objects.traffic(), self.bills());
        let egress_bytes = match self.settings.in_region {
            true => 0,
            false => traffic.received + bills.received + bills.invocations * LOG_BYTES,
        };
        DriverUsage { requests: traffic.requests, egress_bytes, computed_bills: bills.computed }
    }

    /// The sum of: the parameters and the optimizer state, read once at the barrier and once more
    /// for retries; progress polls of the open epoch; one answer of each invocation.
    fn max_driver_usage(&self, plan: &EpochPlan, parameters: u64) -> DriverUsage {
        let vectors = 1 + plan.optimizer.state_vectors() as u64;
        let shards = u64::from(plan.shards);
        let answers = (shards + 4) * (ANSWER_BYTES + LOG_BYTES);
        // A progress poll lists updates that are not applied yet: a few of each shard.
        let egress = parameters * 4 * vectors * 2
            + answers
            + MAX_PROGRESS_POLLS * (ANSWER_BYTES + shards * 1_000);
        let parts = u64::from(self.settings.options.parts.max(1));
        let polls =
            Requests { writes: MAX_PROGRESS_POLLS, reads: MAX_PROGRESS_POLLS * (4 + 4 * shards) };
        let requests = Requests { writes: 16 + 2 * parts, reads: 64 + 4 * parts } + polls;
        let egress_bytes = if self.settings.in_region { 0 } else { egress };
        DriverUsage { requests, egress_bytes, computed_bills: 0 }
    }

    async fn prepare(&self, memory_mb: u32, timeout: Duration) {
        // The first invocation tries again and reports the error.
        let _ = self.publish(memory_mb, timeout).await;
    }

    async fn compute(&self, _: Work, task: ComputeTask) -> Result<Duration> {
        run_on_thread(self.clock, task).await
    }

    async fn invoke(&self, invocation: Invocation) -> Completion {
        let refused = |error| Completion { billed: Some(Duration::ZERO), result: Err(error) };
        if let Err(error) = self.platform.check_memory(invocation.memory_mb) {
            return refused(error);
        }
        let enforced = self.platform.enforced(invocation.timeout);
        let alias = match self.versions.alias(invocation.memory_mb, enforced).await {
            Ok(alias) => alias,
            Err(error) => return refused(error),
        };
        let (request, stored_key) = match self.request(&invocation).await {
            Ok(request) => request,
            Err(error) => return refused(error),
        };
        let ended = self.launch(&alias, &request, &invocation).await;
        if let Some(key) = stored_key {
            // Best effort: the request is no longer needed.
            let _ = self.objects.delete(&[key]).await;
        }
        if !matches!(ended, Ended::Rejected(_) | Ended::Refused(_)) {
            add(&self.counter.invocations, 1);
        }
        match ended {
            Ended::Refused(error) | Ended::Rejected(error) => refused(error),
            Ended::Lost(error) => Completion { billed: None, result: Err(error) },
            Ended::Crashed(error, report) => {
                Completion { billed: self.billed(report, None), result: Err(error) }
            }
            Ended::Answered(response, report) => {
                let billed = self.billed(report, Some(&response));
                Completion { billed, result: self.report(*response).await }
            }
        }
    }
}

/// A number that differs between a shard and an aggregator of the same index.
fn role(invocation: &Invocation) -> u64 {
    match invocation.role {
        Role::Shard => 0,
        Role::Aggregator => 1,
    }
}

#[cfg(test)]
mod tests;
