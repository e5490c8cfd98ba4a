//! Where workers run.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Clock, ComputeTask, EpochPlan, Invocation, Platform, Requests, Result, Work, WorkerReport,
};

/// How an invocation ended.
#[derive(Debug)]
pub struct Completion {
    /// The time that is billed for it, start-up included. Unknown when the invocation was lost: then
    /// all that was reserved for it counts as spent.
    pub billed: Option<Duration>,
    /// What the worker reports, or why it could not.
    ///
    /// Kinds of failure: worker (its code failed or panicked), deadline exceeded, lost (no answer),
    /// throttled (it never started), and what the store answered, such as fenced.
    pub result: Result<WorkerReport>,
}

/// What a backend counts beside invocations: the driver's own part in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DriverUsage {
    /// Requests that the driver makes of shared storage.
    pub requests: Requests,
    /// Bytes that leave the platform's region, since the driver is outside.
    pub egress_bytes: u64,
    /// Invocations whose billed time was computed here, since the platform did not report it.
    pub computed_bills: u64,
}

impl DriverUsage {
    /// Nothing: the driver makes no requests, and no bytes leave the region.
    pub const NONE: Self = Self { requests: Requests::NONE, egress_bytes: 0, computed_bills: 0 };
}

impl std::ops::Sub for DriverUsage {
    type Output = Self;
    /// What is beyond `rhs`.
    fn sub(self, rhs: Self) -> Self {
        Self {
            requests: self.requests - rhs.requests,
            egress_bytes: self.egress_bytes.saturating_sub(rhs.egress_bytes),
            computed_bills: self.computed_bills.saturating_sub(rhs.computed_bills),
        }
    }
}

/// A place where workers run. Built around an `Arc<dyn Worker>`.
///
/// A backend that wraps another one implements [`BackendDecorator`](crate::BackendDecorator) instead.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The clock of this place.
    fn clock(&self) -> &dyn Clock;

    /// Limits and prices.
    fn platform(&self) -> &Platform;

    /// How many workers compute at the same time when `workers` are asked for; what a forecast
    /// divides by. On a platform with its own machine for every function, all of them.
    fn parallelism(&self, workers: u32) -> u32;

    /// The time that one pull, one push and the fetch of one batch are expected to take beyond
    /// computing. The first forecast uses it, before anything was measured. Zero where parameters and
    /// data are in this process's memory.
    fn expected_exchange_time(&self) -> Duration;

    /// The driver's usage so far: it only grows. [`DriverUsage::NONE`] where the driver is not billed.
    fn driver_usage(&self) -> DriverUsage;

    /// The most that an epoch of this plan, its barriers included, adds to
    /// [`driver_usage`](Self::driver_usage), with a model of `parameters` parameters.
    fn max_driver_usage(&self, plan: &EpochPlan, parameters: u64) -> DriverUsage;

    /// Makes ready what invocations with this memory and timeout need, ahead of them; does nothing
    /// where they need nothing. What fails here is tried again when it is needed.
    async fn prepare(&self, memory_mb: u32, timeout: Duration);

    /// Runs mathematics of the driver's own, such as an evaluation at the barrier, and returns how long
    /// it took; on a simulated platform, how long it would take there on one vCPU, while no time passes.
    ///
    /// # Errors
    ///
    /// Worker when the task panics.
    ///
    /// # Cancellation
    ///
    /// Dropping the future forgets the task; one that runs already runs to its end.
    async fn compute(&self, work: Work, task: ComputeTask) -> Result<Duration>;

    /// Runs one invocation to its end, or at most for its timeout.
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the invocation: it may have run, and may still push until the
    /// epoch is sealed. A backend in this process stops the worker.
    async fn invoke(&self, invocation: Invocation) -> Completion;
}
