//! Wrappers around backends.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Backend, Clock, Completion, ComputeTask, DriverUsage, EpochPlan, Invocation, Platform, Result,
    Work,
};

/// A wrapper around another backend. Every method that the decorator does not override calls the
/// same method of [`inner`](Self::inner).
///
/// Every decorator is also a [`Backend`]. The two traits have the same methods. When both are in
/// scope, call the methods on `self.inner()`, or name the trait.
///
/// # Examples
///
/// A backend whose invocations start later:
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use async_trait::async_trait;
/// use siren_core::{Backend, BackendDecorator, Completion, Invocation};
///
/// struct Delaying {
///     inner: Arc<dyn Backend>,
///     delay: Duration,
/// }
///
/// #[async_trait]
/// impl BackendDecorator for Delaying {
///     fn inner(&self) -> &dyn Backend {
///         &*self.inner
///     }
///
///     async fn invoke(&self, invocation: Invocation) -> Completion {
///         let clock = self.inner.clock();
///         clock.sleep_until(clock.now() + self.delay).await;
///         self.inner.invoke(invocation).await
///     }
/// }
///
/// fn delaying(inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
///     Arc::new(Delaying { inner, delay: Duration::from_millis(100) })
/// }
/// ```
#[async_trait]
pub trait BackendDecorator: Send + Sync {
    /// The wrapped backend.
    fn inner(&self) -> &dyn Backend;

    /// [`Backend::clock`].
    fn clock(&self) -> &dyn Clock {
        self.inner().clock()
    }

    /// [`Backend::platform`].
    fn platform(&self) -> &Platform {
        self.inner().platform()
    }

    /// [`Backend::parallelism`].
    fn parallelism(&self, workers: u32) -> u32 {
        self.inner().parallelism(workers)
    }

    /// [`Backend::expected_exchange_time`].
    fn expected_exchange_time(&self) -> Duration {
        self.inner().expected_exchange_time()
    }

    /// [`Backend::driver_usage`].
    fn driver_usage(&self) -> DriverUsage {
        self.inner().driver_usage()
    }

    /// [`Backend::max_driver_usage`].
    fn max_driver_usage(&self, plan: &EpochPlan, parameters: u64) -> DriverUsage {
        self.inner().max_driver_usage(plan, parameters)
    }

    /// [`Backend::prepare`].
    async fn prepare(&self, memory_mb: u32, timeout: Duration) {
        self.inner().prepare(memory_mb, timeout).await;
    }

    /// [`Backend::compute`].
    async fn compute(&self, work: Work, task: ComputeTask) -> Result<Duration> {
        self.inner().compute(work, task).await
    }

    /// [`Backend::invoke`].
    async fn invoke(&self, invocation: Invocation) -> Completion {
        self.inner().invoke(invocation).await
    }
}

#[async_trait]
impl<T: BackendDecorator + ?Sized> Backend for T {
    fn clock(&self) -> &dyn Clock {
        BackendDecorator::clock(self)
    }

    fn platform(&self) -> &Platform {
        BackendDecorator::platform(self)
    }

    fn parallelism(&self, workers: u32) -> u32 {
        BackendDecorator::parallelism(self, workers)
    }

    fn expected_exchange_time(&self) -> Duration {
        BackendDecorator::expected_exchange_time(self)
    }

    fn driver_usage(&self) -> DriverUsage {
        BackendDecorator::driver_usage(self)
    }

    fn max_driver_usage(&self, plan: &EpochPlan, parameters: u64) -> DriverUsage {
        BackendDecorator::max_driver_usage(self, plan, parameters)
    }

    async fn prepare(&self, memory_mb: u32, timeout: Duration) {
        BackendDecorator::prepare(self, memory_mb, timeout).await;
    }

    async fn compute(&self, work: Work, task: ComputeTask) -> Result<Duration> {
        BackendDecorator::compute(self, work, task).await
    }

    async fn invoke(&self, invocation: Invocation) -> Completion {
        BackendDecorator::invoke(self, invocation).await
    }
}
