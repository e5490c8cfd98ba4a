//! The contract of a worker, which runs in one function invocation.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Clock, DataSource, EpochPlan, Error, ErrorKind, ParameterStore, Requests, Result};

/// The purpose of an invocation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// To train on a shard of an epoch.
    #[default]
    Shard,
    /// To apply pushed updates to a part of the parameters until the epoch is sealed: see
    /// [`ParameterStore::aggregate`].
    Aggregator,
}

/// A request to train on one shard of an epoch, or to aggregate pushed updates.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Invocation {
    /// The plan of the epoch.
    pub plan: EpochPlan,
    /// The purpose of the invocation.
    #[serde(default)]
    pub role: Role,
    /// The number of the shard, or of the aggregator's part of the parameters.
    pub shard: u32,
    /// The first batch to train on, counted from the start of the shard: the shard's watermark.
    pub position: u64,
    /// The number of earlier attempts at the shard.
    pub attempt: u32,
    /// The memory of the function, in MB.
    pub memory_mb: u32,
    /// The most billed time of the invocation.
    pub timeout: Duration,
    /// The expected billed time of one cycle of pull, gradients and push, if it is known. A worker
    /// with less time left stops, and another invocation does the rest of the shard.
    pub cycle: Option<Duration>,
    /// The most requests that the invocation may make to shared storage.
    pub request_cap: Requests,
}

/// The work that a worker did. The store alone determines which of it counts.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WorkerReport {
    /// The first unfinished batch, counted from the start of the shard.
    pub position: u64,
    /// `true` if the shard is done or, for an aggregator, the epoch is applied. `false` if time or
    /// requests ran out.
    pub finished: bool,
    /// The number of pushed updates without duplicates. For an aggregator, the number of times that
    /// it wrote its part of the parameters.
    pub updates: u64,
    /// The time of waiting for data, without fetches that ran during a computation: P^F.
    pub fetch: Duration,
    /// The time of computing: P^C.
    pub compute: Duration,
    /// The time of waiting for a free CPU, which is not billed. Zero when every worker has its own
    /// machine.
    pub queue: Duration,
    /// The time of pulling and pushing, without `wait`: P^U.
    pub update: Duration,
    /// The time of waiting in pulls for the progress of other workers or of aggregators. Zero under
    /// [`SyncMode::Hybrid`](crate::SyncMode::Hybrid) with a store that applies updates itself.
    pub wait: Duration,
    /// `true` if the worker stopped while it waited for others, because their delay would
    /// have left it no time. Its shard is not done then, but this is not its own failure.
    pub waiting: bool,
    /// The longest cycle of pull, gradients and push, in billed time.
    pub cycle: Duration,
    /// The requests made to shared storage.
    pub requests: Requests,
    /// The function's use of its machine.
    pub usage: Usage,
}

/// An invocation's use of its machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// The CPU time.
    pub cpu: Duration,
    /// The peak memory, in bytes.
    pub peak_memory_bytes: u64,
    /// `true` if `peak_memory_bytes` is a share of the memory of a process that runs several
    /// workers.
    pub shared: bool,
}

/// The amount of computation in a [`ComputeTask`], from which a simulated platform derives its
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// Gradients of this many examples.
    Gradient {
        /// The number of examples.
        examples: u64,
    },
    /// Losses and answers of this many examples, without gradients.
    Evaluation {
        /// The number of examples.
        examples: u64,
    },
    /// One pass over this many parameters.
    Parameters {
        /// The number of parameters.
        count: u64,
    },
}

/// A computation to run: see [`Context::compute`].
pub type ComputeTask = Box<dyn FnOnce() + Send>;

/// The environment of a worker. A worker uses nothing else.
#[async_trait]
pub trait Context: Send + Sync {
    /// The clock.
    fn clock(&self) -> &dyn Clock;

    /// The parameter store.
    fn store(&self) -> &dyn ParameterStore;

    /// The training data.
    fn data(&self) -> &dyn DataSource;

    /// The rest of the invocation's billed time.
    fn time_left(&self) -> Duration;

    /// The resources that the invocation has used so far.
    fn usage(&self) -> Usage;

    /// Runs a task on the CPUs of this backend, and returns the time that it ran, without the wait
    /// for a free CPU. A worker must do all its computing here. A store in memory applies updates
    /// by itself.
    ///
    /// Prefer the function [`compute`](crate::compute()), which also returns the task's value.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Worker`] when the task panics, and [`ErrorKind::DeadlineExceeded`] when
    /// the invocation's time is used up.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels a task that has not started. A task that has started runs to its
    /// end.
    async fn compute(&self, work: Work, task: ComputeTask) -> Result<Duration>;
}

/// Runs `task` by [`Context::compute`]. Returns the task's value and the time that it ran.
///
/// # Errors
///
/// Those of [`Context::compute`].
pub async fn compute<T: Send + 'static>(
    context: &dyn Context,
    work: Work,
    task: impl FnOnce() -> T + Send + 'static,
) -> Result<(T, Duration)> {
    let slot = Arc::new(std::sync::Mutex::new(None));
    let into = Arc::clone(&slot);
    let ran = context
        .compute(
            work,
            Box::new(move || {
                let value = task();
                *into.lock().unwrap_or_else(|e| e.into_inner()) = Some(value);
            }),
        )
        .await?;
    let value = slot.lock().unwrap_or_else(|e| e.into_inner()).take();
    let value = value.ok_or_else(|| {
        Error::new(ErrorKind::Worker, "the backend did not run the worker's task")
    })?;
    Ok((value, ran))
}

/// The code of an invocation. It pulls, fetches, computes and pushes until its shard of the epoch
/// is done or its time is used up. It keeps no state between invocations.
#[async_trait]
pub trait Worker: Send + Sync {
    /// Trains on the invocation's shard from its position. A worker that runs out of time stops
    /// before the deadline; its report says how far it came.
    ///
    /// # Errors
    ///
    /// Those of the store, the data, the workload and the context.
    ///
    /// # Cancellation
    ///
    /// Safe at any point: accepted updates stay counted.
    async fn run(&self, invocation: &Invocation, context: &dyn Context) -> Result<WorkerReport>;
}
