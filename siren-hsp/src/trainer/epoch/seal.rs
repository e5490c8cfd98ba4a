//! The end of an epoch.

use std::sync::Arc;

use futures::StreamExt;
use siren_core::{EpochSummary, Result};

use super::{EpochRun, GRACE, SealedEpoch};
use crate::HistoryEvent;
use crate::trainer::End;

impl EpochRun<'_> {
    /// Seals at once, so that running workers notice it at their next pull or push.
    pub(super) async fn end_early(&mut self, end: Result<Option<End>>) -> Result<()> {
        self.end = Some(end);
        self.cancel.stop();
        self.deadline = Some(self.trainer.now() + GRACE);
        self.sealed = Some(self.seal_store().await?);
        Ok(())
    }

    /// Seals while the aggregators continue and apply the remaining updates.
    async fn seal_store(&mut self) -> Result<EpochSummary> {
        let (seed, retry) = (self.seed(0), self.trainer.config.retry);
        let (store, epoch) = (Arc::clone(&self.trainer.parts.store), self.plan.epoch);
        let backend = Arc::clone(&self.trainer.parts.backend);
        let sealing = retry.call(backend.clock(), seed, || store.seal(epoch));
        tokio::pin!(sealing);
        loop {
            tokio::select! {
                biased;
                sealed = &mut sealing => return sealed,
                Some((launch, completion, _)) = self.aggregators.running.next() => {
                    self.settle_aggregator(launch, completion);
                }
            }
        }
    }

    pub(super) async fn seal(mut self) -> Result<SealedEpoch> {
        let sealed = match self.sealed.take() {
            Some(sealed) => sealed,
            None => self.seal_store().await?,
        };
        // Delayed retries are not started any more.
        self.cancel.stop();
        let elapsed = self.trainer.now() - self.launched;
        self.drain().await;
        // Running invocations are abandoned, and their reservations count as spent.
        self.running.clear();
        if let Some(reserved) = self.driver.take() {
            let usage = self.trainer.unsettled_driver_usage();
            self.driver_usage = usage;
            let usd = self.trainer.platform.driver_usage_cost(usage);
            self.driver_cost = self.trainer.ledger.settle(reserved, Some(usd));
            self.cost += self.driver_cost;
        }
        self.cost += self.trainer.ledger.write_off();
        let usd = self.cost.dollars();
        self.trainer.history.write(&HistoryEvent::Settled { epoch: self.plan.epoch, usd })?;
        let record = self.record(&sealed, elapsed);
        let forecast = self.forecast();
        let end = self.end.take().transpose()?.flatten();
        Ok(SealedEpoch { record, forecast, end })
    }
}
