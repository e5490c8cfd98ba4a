//! A store that measures waits for other workers.

use std::future::poll_fn;
use std::sync::Arc;

use async_trait::async_trait;
use siren_core::{
    Aggregation, Clock, Context, EpochPlan, EpochSummary, Invocation, ParameterStore, PullOutcome,
    PushOutcome, Replica, RequestCosts, Requests, Result, Snapshot, Status, Update, WorkerReport,
};

use crate::WallClock;
use crate::meter::Meter;

/// Measures the time that pulls wait for the progress of other workers.
///
/// If every worker has its own thread, such a wait is as long as on a swarm, and is billed. With
/// more workers than threads it is mostly a wait for threads in use by other workers. It is not
/// billed, like any wait for a thread.
pub(crate) struct MeteredStore {
    pub(crate) inner: Arc<dyn ParameterStore>,
    pub(crate) clock: WallClock,
    pub(crate) meter: Arc<Meter>,
    pub(crate) waits_are_billed: bool,
}

#[async_trait]
impl ParameterStore for MeteredStore {
    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome> {
        let mut pull = self.inner.pull(epoch, replica, progress);
        if progress == 0 {
            return pull.await;
        }
        let mut since = None;
        let mut pause = None;
        let pulled = poll_fn(|cx| {
            let polled = pull.as_mut().poll(cx);
            if polled.is_pending() && since.is_none() {
                since = Some(self.clock.now());
                pause = (!self.waits_are_billed).then(|| self.meter.pause(self.clock));
            }
            polled
        })
        .await;
        drop(pause);
        let mut pulled = pulled?;
        if let Some(since) = since {
            pulled.waited = pulled.waited.max(self.clock.now() - since);
        }
        Ok(pulled)
    }

    fn dim(&self) -> usize {
        self.inner.dim()
    }

    fn request_costs(&self) -> RequestCosts {
        self.inner.request_costs()
    }

    fn requests(&self) -> Option<Requests> {
        self.inner.requests()
    }

    fn aggregation(&self, plan: &EpochPlan) -> Aggregation {
        self.inner.aggregation(plan)
    }

    async fn aggregate(
        &self,
        invocation: &Invocation,
        context: &dyn Context,
    ) -> Result<WorkerReport> {
        self.inner.aggregate(invocation, context).await
    }

    async fn open(&self, plan: &EpochPlan) -> Result<()> {
        self.inner.open(plan).await
    }

    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
        self.inner.push(update).await
    }

    async fn seal(&self, epoch: u64) -> Result<EpochSummary> {
        self.inner.seal(epoch).await
    }

    async fn status(&self) -> Result<Status> {
        self.inner.status().await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.inner.snapshot().await
    }

    async fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        self.inner.restore(snapshot).await
    }
}
