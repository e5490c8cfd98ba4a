//! The contract of a backend, which runs workers.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Clock, ComputeTask, EpochPlan, Invocation, Platform, Requests, Result, Work, WorkerReport,
};

/// The end of an invocation: its bill and its result.
#[derive(Debug)]
pub struct Completion {
    /// The billed time, start-up included. `None` when the invocation was lost: all the money
    /// reserved for it then counts as spent.
    pub billed: Option<Duration>,
    /// The worker's report, or the reason why there is none.
    ///
    /// The kinds of error are [`Worker`](crate::ErrorKind::Worker) (its code failed or panicked),
    /// [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), [`Lost`](crate::ErrorKind::Lost)
    /// (no answer), [`Throttled`](crate::ErrorKind::Throttled) (it never started), and those of the
    /// store, such as [`Fenced`](crate::ErrorKind::Fenced).
    pub result: Result<WorkerReport>,
}

/// The driver's own part of an epoch's costs, which a backend counts beside invocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DriverUsage {
    /// Requests of the driver to shared storage.
    pub requests: Requests,
    /// Bytes that leave the platform's region because the driver is outside of it.
    pub egress_bytes: u64,
    /// Invocations whose billed time was computed by the driver because the platform did not report
    /// it.
    pub computed_bills: u64,
}

impl DriverUsage {
    /// No usage: the driver makes no requests, and no bytes leave the region.
    pub const NONE: Self = Self { requests: Requests::NONE, egress_bytes: 0, computed_bills: 0 };
}

impl std::ops::Sub for DriverUsage {
    type Output = Self;
    /// The usage in `self` beyond that in `rhs`; never negative.
    fn sub(self, rhs: Self) -> Self {
        Self {
            requests: self.requests - rhs.requests,
            egress_bytes: self.egress_bytes.saturating_sub(rhs.egress_bytes),
            computed_bills: self.computed_bills.saturating_sub(rhs.computed_bills),
        }
    }
}

/// Runs workers. A backend is built around an `Arc<dyn Worker>`, the code that its invocations run.
///
/// To wrap another backend, implement [`BackendDecorator`](crate::BackendDecorator) instead.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The clock of this backend.
    fn clock(&self) -> &dyn Clock;

    /// The limits and prices of the platform.
    fn platform(&self) -> &Platform;

    /// The number of workers that compute at the same time when `workers` are invoked. Forecasts
    /// divide the time of computing by it. It is `workers` on a platform that gives every function
    /// its own machine.
    fn parallelism(&self, workers: u32) -> u32;

    /// The expected time of one pull, one push and the fetch of one batch together, without
    /// computing. The first forecast uses it, before anything was measured. Zero when parameters
    /// and data are in this process's memory.
    fn expected_exchange_time(&self) -> Duration;

    /// The driver's usage so far; it never decreases. [`DriverUsage::NONE`] when the driver is not
    /// billed.
    fn driver_usage(&self) -> DriverUsage;

    /// An upper bound of the usage that one epoch of `plan`, its barriers included, adds to
    /// [`driver_usage`](Self::driver_usage) for a model of `parameters` parameters.
    fn max_driver_usage(&self, plan: &EpochPlan, parameters: u64) -> DriverUsage;

    /// Prepares for invocations with this memory and timeout, such as by publishing a function of
    /// this size. Does nothing when they need no preparation. A failure here is not reported: the
    /// backend tries again when the invocations start.
    async fn prepare(&self, memory_mb: u32, timeout: Duration);

    /// Runs a computation of the driver, such as an evaluation at the barrier, and returns the time
    /// that it took. A simulated platform returns the time that it would take on one vCPU, while no
    /// simulated time passes.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Worker`](crate::ErrorKind::Worker) when the task panics.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels a task that has not started. A task that has started runs to its
    /// end.
    async fn compute(&self, work: Work, task: ComputeTask) -> Result<Duration>;

    /// Runs one invocation to its end, at most for its timeout.
    ///
    /// # Cancellation
    ///
    /// Dropping the future abandons the invocation: it may have run, and may still push updates
    /// until the epoch is sealed. A backend in this process stops the worker.
    async fn invoke(&self, invocation: Invocation) -> Completion;
}
