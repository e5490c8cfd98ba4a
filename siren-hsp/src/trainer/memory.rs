//! Memory that turned out to be too little, and functions that are made ready ahead.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Fuse};
use siren_core::{DriverUsage, Error, ErrorKind, Result};

use super::Trainer;

impl Trainer {
    /// Twice as much memory as was too little, or as much as there is.
    ///
    /// # Errors
    ///
    /// Out of memory when there is no more.
    pub(super) fn more_than(&self, memory_mb: u32) -> Result<u32> {
        if memory_mb >= self.platform.memory_at_least(u32::MAX) {
            return Err(Error::new(
                ErrorKind::OutOfMemory,
                format!(
                    "a function of {memory_mb} MB ran out of memory, and {} has none with more: make the \
                     batches or the model smaller",
                    self.platform.name
                ),
            ));
        }
        Ok(self.platform.memory_at_least(memory_mb.saturating_mul(2)))
    }

    /// Remembers that workers need more memory than this, in this epoch and all later ones.
    ///
    /// # Errors
    ///
    /// As [`more_than`](Self::more_than).
    pub(super) fn needs_more_than(&mut self, memory_mb: u32) -> Result<()> {
        self.least_memory_mb = self.least_memory_mb.max(self.more_than(memory_mb)?);
        Ok(())
    }

    /// Makes ready what the next epoch will probably run with, if the scheduler knows.
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

    /// Refuses a budget that does not even pay for what the driver reads before the first epoch.
    ///
    /// # Errors
    ///
    /// Budget, with what an epoch of the driver may cost.
    pub(super) fn pays_for_driver(&self) -> Result<()> {
        let plan = self.config.plan(0, self.layout, self.parts.train.len(), 1);
        let (driver, left) = (self.driver_at_most(&plan), self.ledger.left());
        if left.is_some_and(|left| left < driver) {
            return Err(Error::new(
                ErrorKind::Budget,
                format!(
                    "the driver's own part of an epoch, its requests and what leaves the region, may cost \
                     {driver}, and {} is left of the budget: give more, or run the driver in the region",
                    left.unwrap_or_default()
                ),
            ));
        }
        Ok(())
    }

    /// What the backend counted since the driver's part was last paid for.
    pub(super) fn since_settled(&mut self) -> DriverUsage {
        let now = self.parts.backend.driver_usage();
        now - std::mem::replace(&mut self.settled, now)
    }
}
