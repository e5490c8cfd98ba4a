//! The seal of an epoch.

use futures::{StreamExt, TryStreamExt, stream};
use siren_core::{EpochPlan, EpochSummary, Error, ErrorKind, Result};

use super::ObjectStore;
use super::part::{Advance, Executor, Part, missing_part};
use super::part_object::Meta;
use super::pull::Backoff;
use super::session::View;
use super::state::Open;
use crate::store::noise::Sums;
use crate::store::summary::Totals;

/// The number of parts read concurrently.
const CONCURRENT_REQUESTS: usize = 32;

impl ObjectStore {
    pub(super) async fn seal_epoch(&self, epoch: u64) -> Result<EpochSummary> {
        let neither = || {
            Error::new(
                ErrorKind::Conflict,
                format!("epoch {epoch} is neither open nor the last one sealed"),
            )
        };
        loop {
            let view = self.read(&self.retrying_client).await?.ok_or_else(neither)?;
            if let Some(last) = view.state.last.as_ref().filter(|last| last.epoch == epoch) {
                return Ok(last.clone());
            }
            let open = view.state.open.as_ref().filter(|open| open.plan.epoch == epoch);
            let open = open.ok_or_else(neither)?;
            if !open.closed {
                // This write is the cut: updates that are not in it will never count.
                self.sequence(&self.retrying_client, &view, true).await?;
                continue;
            }
            let Some(metas) = self.wait_for_parts(&view, open).await? else { continue };
            let Some(sealed) = summarise(epoch, open, &metas)? else { continue };
            let mut next = view.state.next();
            next.sealed_epochs = epoch + 1;
            next.version = sealed.version;
            next.last = Some(sealed.clone());
            next.open = None;
            if self.write(Some(&view), next).await?.is_some() {
                self.delete_updates_through(open.generation).await;
                return Ok(sealed);
            }
        }
    }

    /// Waits until all parts contain exactly the cut, and applies it itself if no aggregator makes
    /// progress. Returns the parts' metadata, or `None` if the state has changed.
    async fn wait_for_parts(&self, view: &View, open: &Open) -> Result<Option<Vec<Meta>>> {
        let state = &view.state;
        let shards = open.plan.shards as usize;
        let mut backoff = Backoff::new(self.options.wait_delay);
        let mut wait_for_aggregators = !self.options.inline && open.aggregators > 0;
        let (mut last, mut since) = (Vec::new(), self.clock.now());
        loop {
            let metas: Vec<Meta> = stream::iter(0..state.cuts().parts)
                .map(|part| async move {
                    self.read_meta(state, part, shards).await.map(Option::unwrap_or_default)
                })
                .buffered(CONCURRENT_REQUESTS)
                .try_collect()
                .await?;
            let closed = |meta: &Meta| meta.generation == open.generation && meta.closed;
            if metas.iter().all(closed) {
                return Ok(Some(metas));
            }
            let sequences: Vec<u64> = metas.iter().map(|meta| meta.sequence).collect();
            if sequences != last {
                (last, since) = (sequences, self.clock.now());
            } else if self.clock.now() - since >= self.options.aggregator_timeout {
                wait_for_aggregators = false;
            }
            if wait_for_aggregators {
                backoff.wait(&*self.clock).await;
                continue;
            }
            for (part, _) in metas.iter().enumerate().filter(|(_, meta)| !closed(meta)) {
                self.close_part(view, open, part).await?;
            }
            // A seal or a restore by another process ends this.
            if self.read(&self.retrying_client).await?.is_none_or(|now| now.tag != view.tag) {
                return Ok(None);
            }
        }
    }

    /// Applies the rest of the cut to a part. Stops if another process writes it at the same time.
    async fn close_part(&self, view: &View, open: &Open, index: usize) -> Result<()> {
        let (client, keys) = (&self.retrying_client, &self.keys);
        let part = Part::load(client, keys, &view.state, index).await?;
        let mut part = part.ok_or_else(|| missing_part(index))?;
        loop {
            let at = (&*view.state, open);
            match part.advance(client, keys, at, &Executor::Inline, u64::MAX).await? {
                (next, Advance::Applied) => part = next,
                _ => return Ok(()),
            }
        }
    }
}

/// The summary of a sealed epoch; `None` while the parts do not contain the cut.
fn summarise(epoch: u64, open: &Open, metas: &[Meta]) -> Result<Option<EpochSummary>> {
    let Some(first) = metas.first() else { return Ok(None) };
    let batches = first.marks.iter().map(|mark| mark.batches);
    let agree = metas.iter().all(|meta| meta.marks == first.marks && meta.version == first.version);
    if !agree || !batches.clone().eq(open.marks.iter().copied()) {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("the parts of epoch {epoch} contain other updates than its cut"),
        ));
    }
    Ok(Some(summary(&open.plan, metas)))
}

/// The summary of an epoch that all parts contain.
pub(super) fn summary(plan: &EpochPlan, metas: &[Meta]) -> EpochSummary {
    let first = &metas[0];
    let dim: usize = metas.iter().map(Meta::parameters).sum();
    // Each part counts as often as it has parameters.
    let mean = |of: fn(&Meta) -> f64| -> f64 {
        metas.iter().map(|meta| meta.parameters() as f64 * of(meta)).sum::<f64>() / dim as f64
    };
    let sums: Vec<Sums> = metas.iter().map(|meta| meta.noise.estimator.sums).collect();
    let totals = Totals {
        version: first.version,
        watermarks: first.marks.clone(),
        staleness: first.staleness,
        staleness_max: first.staleness_max,
        factors: mean(|meta| meta.noise.factors),
        progress: mean(|meta| meta.noise.progress),
        noise: &sums,
    };
    totals.summary(plan)
}
