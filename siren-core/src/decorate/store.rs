//! Wrappers around parameter stores.

use async_trait::async_trait;

use crate::{
    Aggregation, Context, EpochPlan, EpochSummary, Invocation, ParameterStore, PullOutcome,
    PushOutcome, Replica, RequestCosts, Requests, Result, Snapshot, Status, Update, WorkerReport,
};

/// A wrapper around another store. Every method that the decorator does not override calls the same
/// method of [`inner`](Self::inner).
///
/// Every decorator is also a [`ParameterStore`]. The two traits have the same methods. When both
/// are in scope, call the methods on `self.inner()`, or name the trait.
///
/// # Examples
///
/// A store that counts the accepted updates:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use async_trait::async_trait;
/// use siren_core::{ParameterStore, PushOutcome, Result, StoreDecorator, Update};
///
/// struct Counting {
///     inner: Arc<dyn ParameterStore>,
///     accepted: AtomicU64,
/// }
///
/// #[async_trait]
/// impl StoreDecorator for Counting {
///     fn inner(&self) -> &dyn ParameterStore {
///         &*self.inner
///     }
///
///     async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
///         let outcome = self.inner.push(update).await?;
///         if outcome == PushOutcome::Accepted {
///             self.accepted.fetch_add(1, Ordering::Relaxed);
///         }
///         Ok(outcome)
///     }
/// }
///
/// fn counting(inner: Arc<dyn ParameterStore>) -> Arc<dyn ParameterStore> {
///     Arc::new(Counting { inner, accepted: AtomicU64::new(0) })
/// }
/// ```
#[async_trait]
pub trait StoreDecorator: Send + Sync {
    /// The wrapped store.
    fn inner(&self) -> &dyn ParameterStore;

    /// [`ParameterStore::dim`].
    fn dim(&self) -> usize {
        self.inner().dim()
    }

    /// [`ParameterStore::request_costs`].
    fn request_costs(&self) -> RequestCosts {
        self.inner().request_costs()
    }

    /// [`ParameterStore::aggregation`].
    fn aggregation(&self, plan: &EpochPlan) -> Aggregation {
        self.inner().aggregation(plan)
    }

    /// [`ParameterStore::aggregate`].
    async fn aggregate(
        &self,
        invocation: &Invocation,
        context: &dyn Context,
    ) -> Result<WorkerReport> {
        self.inner().aggregate(invocation, context).await
    }

    /// [`ParameterStore::requests`].
    fn requests(&self) -> Option<Requests> {
        self.inner().requests()
    }

    /// [`ParameterStore::open`].
    async fn open(&self, plan: &EpochPlan) -> Result<()> {
        self.inner().open(plan).await
    }

    /// [`ParameterStore::pull`].
    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome> {
        self.inner().pull(epoch, replica, progress).await
    }

    /// [`ParameterStore::push`].
    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
        self.inner().push(update).await
    }

    /// [`ParameterStore::seal`].
    async fn seal(&self, epoch: u64) -> Result<EpochSummary> {
        self.inner().seal(epoch).await
    }

    /// [`ParameterStore::status`].
    async fn status(&self) -> Result<Status> {
        self.inner().status().await
    }

    /// [`ParameterStore::snapshot`].
    async fn snapshot(&self) -> Result<Snapshot> {
        self.inner().snapshot().await
    }

    /// [`ParameterStore::restore`].
    async fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        self.inner().restore(snapshot).await
    }
}

#[async_trait]
impl<T: StoreDecorator + ?Sized> ParameterStore for T {
    fn dim(&self) -> usize {
        StoreDecorator::dim(self)
    }

    fn request_costs(&self) -> RequestCosts {
        StoreDecorator::request_costs(self)
    }

    fn aggregation(&self, plan: &EpochPlan) -> Aggregation {
        StoreDecorator::aggregation(self, plan)
    }

    async fn aggregate(
        &self,
        invocation: &Invocation,
        context: &dyn Context,
    ) -> Result<WorkerReport> {
        StoreDecorator::aggregate(self, invocation, context).await
    }

    fn requests(&self) -> Option<Requests> {
        StoreDecorator::requests(self)
    }

    async fn open(&self, plan: &EpochPlan) -> Result<()> {
        StoreDecorator::open(self, plan).await
    }

    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome> {
        StoreDecorator::pull(self, epoch, replica, progress).await
    }

    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
        StoreDecorator::push(self, update).await
    }

    async fn seal(&self, epoch: u64) -> Result<EpochSummary> {
        StoreDecorator::seal(self, epoch).await
    }

    async fn status(&self) -> Result<Status> {
        StoreDecorator::status(self).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        StoreDecorator::snapshot(self).await
    }

    async fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        StoreDecorator::restore(self, snapshot).await
    }
}
