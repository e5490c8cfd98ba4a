//! What runs in one function invocation.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Clock, DataSource, EpochPlan, Error, ErrorKind, ParameterStore, Requests, Result};

/// What an invocation is for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// To work on a shard of an epoch.
    #[default]
    Shard,
    /// To apply what workers push to a part of the parameters, until the epoch is sealed: see
    /// [`ParameterStore::aggregate`].
    Aggregator,
}

/// A request to work on one shard of an epoch, or to aggregate what workers push.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Invocation {
    /// The epoch.
    pub plan: EpochPlan,
    /// What the invocation is for.
    #[serde(default)]
    pub role: Role,
    /// The shard to work on; an aggregator's part of the parameters.
    pub shard: u32,
    /// The first batch to do, counted from the start of the shard: its watermark.
    pub position: u64,
    /// How often the shard was tried before.
    pub attempt: u32,
    /// The memory of the function, in MB.
    pub memory_mb: u32,
    /// The longest billed time that the invocation may take.
    pub timeout: Duration,
    /// The billed time that one cycle of pull, gradients and push is expected to take, if that is
    /// known: a worker with less time left hands back the rest.
    pub cycle: Option<Duration>,
    /// The most requests that the invocation may make.
    pub request_cap: Requests,
}

/// What a worker did. What counted is the store's to say.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WorkerReport {
    /// The first batch not done, counted from the start of the shard.
    pub position: u64,
    /// Whether the shard is done, an aggregator's epoch applied; otherwise time or requests ran out.
    pub finished: bool,
    /// Updates pushed, duplicates left out; an aggregator's: how often it wrote what it had applied.
    pub updates: u64,
    /// Time spent waiting for data that the computation did not hide: P^F.
    pub fetch: Duration,
    /// Time spent computing: P^C.
    pub compute: Duration,
    /// Time spent waiting for a place to compute, which is not billed: none where every worker has a
    /// machine of its own.
    pub queue: Duration,
    /// Time spent pulling and pushing, without the wait: P^U.
    pub update: Duration,
    /// Time spent waiting in pulls for the progress of other workers: none under
    /// [`SyncMode::Hybrid`](crate::SyncMode::Hybrid).
    pub wait: Duration,
    /// Whether it stopped while it waited for others, who took so long that no time would have been
    /// left: its shard is not done, and that is no fault of its own.
    pub waiting: bool,
    /// The longest cycle of pull, gradients and push, in billed time.
    pub cycle: Duration,
    /// Requests made.
    pub requests: Requests,
    /// What the function used of its machine.
    pub usage: Usage,
}

/// What an invocation used of its machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// CPU time.
    pub cpu: Duration,
    /// The largest memory held, in bytes.
    pub peak_memory_bytes: u64,
    /// Whether `peak_memory_bytes` is a share of a process that several workers live in.
    pub shared: bool,
}

/// How much mathematics a [`ComputeTask`] does: what a simulated platform charges for.
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

/// Mathematics to run: see [`Context::compute`].
pub type ComputeTask = Box<dyn FnOnce() + Send>;

/// Everything that a worker may touch.
#[async_trait]
pub trait Context: Send + Sync {
    /// The time.
    fn clock(&self) -> &dyn Clock;

    /// The parameters.
    fn store(&self) -> &dyn ParameterStore;

    /// The training data.
    fn data(&self) -> &dyn DataSource;

    /// How much of the invocation's billed time is left.
    fn time_left(&self) -> Duration;

    /// What the invocation has used so far.
    fn usage(&self) -> Usage;

    /// Runs a task where this backend computes, and returns how long it ran: waiting for a place to
    /// run does not count. The only place for a worker's mathematics; what a store in memory does to
    /// parameters is the store's own.
    ///
    /// Prefer the function [`compute`](crate::compute()), which returns a value.
    ///
    /// # Errors
    ///
    /// Worker when the task panics; deadline exceeded when the time is used up.
    ///
    /// # Cancellation
    ///
    /// Dropping the future forgets the task; one that runs already runs to its end.
    async fn compute(&self, work: Work, task: ComputeTask) -> Result<Duration>;
}

/// Runs `task` by [`Context::compute`] and returns what it returned, and how long it ran.
///
/// # Errors
///
/// As [`Context::compute`].
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

/// What runs in an invocation: pulls, fetches, computes and pushes until its shard of the epoch is
/// done or its time is up. It keeps nothing between invocations.
#[async_trait]
pub trait Worker: Send + Sync {
    /// Works on the invocation's shard from its position. A worker that runs out of time stops
    /// before the deadline and says in its report how far it came.
    ///
    /// # Errors
    ///
    /// Whatever the store, the data, the workload or the context answer.
    ///
    /// # Cancellation
    ///
    /// Safe at any point: what was pushed stays counted.
    async fn run(&self, invocation: &Invocation, context: &dyn Context) -> Result<WorkerReport>;
}
