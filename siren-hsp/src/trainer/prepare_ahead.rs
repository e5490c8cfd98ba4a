//! Prepares functions before their epoch.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Fuse};

use super::Trainer;

impl Trainer {
    /// Prepares the allocation that the next epoch will probably have, if the scheduler predicts
    /// one.
    pub(super) fn prepare_ahead(
        &self,
        epoch: u64,
        timeout: Duration,
    ) -> Fuse<BoxFuture<'static, ()>> {
        let next = self.parts.scheduler.predict_allocation(&self.job, epoch);
        let Some(next) = next.filter(|_| epoch < self.config.stop.epochs) else {
            return Fuse::terminated();
        };
        let backend = Arc::clone(&self.parts.backend);
        let memory_mb = next.memory_mb.max(self.least_memory_mb);
        async move { backend.prepare(memory_mb, timeout).await }.boxed().fuse()
    }
}
