//! The backend.

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

/// Bytes of an answer to an invocation or of a glance at the state, at the most in the ordinary.
const ANSWER_BYTES: u64 = 8 << 10;

/// Bytes of the end of the log that comes with an answer: 4 KB, encoded.
const LOG_BYTES: u64 = 5_500;

/// How often a trainer looks at an open epoch whose store is paid for.
const MAX_PROGRESS_POLLS: u64 = siren_hsp::MAX_PROGRESS_POLLS as u64;

/// Runs workers as invocations of a function on AWS Lambda.
///
/// The function [serves](crate::serve) the same workload. Memory sizes are multiples of 64 MB; each that
/// is used becomes a version of the function, see [`publish`](Self::publish).
///
/// An invocation is launched once. Only a launch that the platform refused, or that found no connection,
/// is made again, later and at a pace that all launches share; after [`LambdaSettings::patience`] it fails.
/// Billed time is the platform's own report, where it comes with the answer.
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
    /// Connects to a function and its bucket, and sees that they fit the run.
    ///
    /// # Errors
    ///
    /// Rejected, each with its remedy, when the function or the bucket is not there or not permitted,
    /// when the function does not start, or is of another workload or version.
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

    /// The store that the function's workers use, for the driver. Its initial parameters are the
    /// caller's to put in.
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

    /// The data that the function's workers read.
    ///
    /// # Errors
    ///
    /// As [`PackedData::open_object`].
    pub async fn data(&self) -> Result<PackedData> {
        PackedData::open_object(Arc::new(self.objects.clone()), &self.settings.data_key).await
    }

    /// The driver's objects: what it asks of the bucket, and how many bytes that were.
    pub fn objects(&self) -> &S3Objects {
        &self.objects
    }

    /// How many invocations there were, and how well their bill is known.
    pub fn bills(&self) -> Bills {
        self.counter.bills()
    }

    /// The next memory size that functions have, in MB.
    pub fn memory_at_least(&self, memory_mb: u32) -> u32 {
        self.platform.memory_at_least(memory_mb)
    }

    /// Publishes the version of the function that invocations of this memory and timeout need, unless
    /// there is one, and returns its alias. Otherwise the first of them does so, and the others wait for
    /// it, a second or two.
    ///
    /// # Errors
    ///
    /// Rejected when the platform has no such memory, or the function was deployed anew meanwhile.
    ///
    /// # Cancellation
    ///
    /// Safe at any point; a version may be left that is not used.
    pub async fn publish(&self, memory_mb: u32, timeout: Duration) -> Result<String> {
        self.platform.check_memory(memory_mb)?;
        self.versions.alias(memory_mb, self.platform.enforced(timeout)).await
    }

    /// The request for an invocation; where it is too large for a payload it is left in the bucket, under
    /// the key that comes with it.
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

    /// Launches until the platform takes it.
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
            if since >= self.settings.patience {
                return Ended::Rejected(invoke::gave_up(error, refusals, since));
            }
            let path = [invocation.plan.epoch, role(invocation), invocation.shard.into()];
            let seed = self.settings.seed.split(Stream::Retry, &path);
            let random = seed.child(invocation.attempt.into()).child(refusals.into()).get();
            self.clock.sleep_until(now + throttle::delay(refusals, random)).await;
        }
    }

    /// What an answer says, taken from the bucket if it was too large for a payload.
    async fn report(&self, response: Response) -> Result<WorkerReport> {
        let reply = match response.reply {
            Reply::Stored { key } => {
                let bytes = stored::get(&self.objects, &key).await?;
                // As well as it can be done: it is read already.
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

    /// The billed time, and how well it is known.
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

    /// Two reads and a write, as S3 and a function's network are on the average.
    fn expected_exchange_time(&self) -> Duration {
        let Profile { storage, network, .. } = Profile::default();
        let ms = 2.0 * storage.get_ms.mean() + storage.put_ms.mean() + 3.0 * storage.tail_ms.mean();
        let bytes = self.settings.dim as u64 * 4;
        let read = network.read_seconds(bytes, network.read_slowdown.mean());
        let write = network.write_seconds(bytes, network.write_slowdown.mean());
        Duration::try_from_secs_f64(ms / 1e3 + read + write).unwrap_or_default()
    }

    fn driver_usage(&self) -> DriverUsage {
        let (traffic, bills) = (self.objects.traffic(), self.bills());
        let egress_bytes = match self.settings.in_region {
            true => 0,
            false => traffic.received + bills.received + bills.invocations * LOG_BYTES,
        };
        DriverUsage { requests: traffic.requests, egress_bytes, computed_bills: bills.computed }
    }

    /// The parameters and what the optimizer keeps, read once at the barrier, as often again as reads are
    /// tried again; what glances at the open epoch take; and an answer of each invocation.
    fn max_driver_usage(&self, plan: &EpochPlan, parameters: u64) -> DriverUsage {
        let vectors = 1 + plan.optimizer.state_vectors() as u64;
        let shards = u64::from(plan.shards);
        let answers = (shards + 4) * (ANSWER_BYTES + LOG_BYTES);
        // What a glance lists is not applied yet: a few updates of each shard.
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
        // It is tried again when it is needed, and fails then if it must.
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
            // As well as it can be done: nobody asks for it any more.
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

/// Tells a shard from an aggregator of the same number.
fn role(invocation: &Invocation) -> u64 {
    match invocation.role {
        Role::Shard => 0,
        Role::Aggregator => 1,
    }
}

#[cfg(test)]
mod tests;
