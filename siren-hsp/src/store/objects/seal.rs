//! The barrier.

use futures::{StreamExt, TryStreamExt, stream};
use siren_core::{EpochSummary, Error, ErrorKind, Result};

use super::ObjectStore;
use super::head::Meta;
use super::part::{Advance, Part, Place, missing};
use super::pull::Delays;
use super::session::View;
use super::state::Open;

/// Parts that are looked at at the same time.
const AT_ONCE: usize = 32;

impl ObjectStore {
    pub(super) async fn seal_epoch(&self, epoch: u64) -> Result<EpochSummary> {
        let neither = || {
            Error::new(
                ErrorKind::Conflict,
                format!("epoch {epoch} is neither open nor the last one sealed"),
            )
        };
        loop {
            let view = self.read(&self.patient).await?.ok_or_else(neither)?;
            if let Some(last) = view.state.last.as_ref().filter(|last| last.epoch == epoch) {
                return Ok(last.clone());
            }
            let open = view.state.open.as_ref().filter(|open| open.plan.epoch == epoch);
            let open = open.ok_or_else(neither)?;
            if !open.closed {
                // This write is the cut: what is not in it will never count.
                self.sequence(&self.patient, &view, true).await?;
                continue;
            }
            let Some(metas) = self.settle(&view, open).await? else { continue };
            let Some(sealed) = report(epoch, open, &metas)? else { continue };
            let mut next = view.state.next();
            next.sealed_epochs = epoch + 1;
            next.version = sealed.version;
            next.last = Some(sealed.clone());
            next.open = None;
            if self.write(Some(&view), next).await?.is_some() {
                self.collect_updates(open.generation).await;
                return Ok(sealed);
            }
        }
    }

    /// Waits until all parts hold exactly the cut, and brings them there if nobody else does; what they
    /// are then, or nothing if the epoch is not the one that it was any more.
    async fn settle(&self, view: &View, open: &Open) -> Result<Option<Vec<Meta>>> {
        let state = &view.state;
        let shards = open.plan.shards as usize;
        let mut delays = Delays::new(self.options.poll);
        let mut patient = !self.options.inline && open.aggregators > 0;
        let (mut last, mut since) = (Vec::new(), self.clock.now());
        loop {
            let metas: Vec<Meta> = stream::iter(0..state.cuts().parts)
                .map(|part| async move {
                    self.meta(state, part, shards).await.map(Option::unwrap_or_default)
                })
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
            let closed = |meta: &Meta| meta.generation == open.generation && meta.closed;
            if metas.iter().all(closed) {
                return Ok(Some(metas));
            }
            let sequences: Vec<u64> = metas.iter().map(|meta| meta.sequence).collect();
            if sequences != last {
                (last, since) = (sequences, self.clock.now());
            } else if self.clock.now() - since >= self.options.patience {
                patient = false;
            }
            if patient {
                delays.wait(&*self.clock).await;
                continue;
            }
            for (part, _) in metas.iter().enumerate().filter(|(_, meta)| !closed(meta)) {
                self.close_part(view, open, part).await?;
            }
            // A finished seal or a restore by somebody else ends this.
            if self.read(&self.patient).await?.is_none_or(|now| now.tag != view.tag) {
                return Ok(None);
            }
        }
    }

    /// Applies the rest of the cut to a part, unless somebody else does at the same time.
    async fn close_part(&self, view: &View, open: &Open, index: usize) -> Result<()> {
        let (calls, keys) = (&self.patient, &self.keys);
        let part = Part::load(calls, keys, &view.state, index).await?;
        let mut part = part.ok_or_else(|| missing(index))?;
        loop {
            let at = (&*view.state, open);
            match part.advance(calls, keys, at, &Place::Here, u64::MAX).await? {
                (next, Advance::Moved) => part = next,
                _ => return Ok(()),
            }
        }
    }
}

/// What a sealed epoch consists of; nothing while the parts do not hold the cut.
fn report(epoch: u64, open: &Open, metas: &[Meta]) -> Result<Option<EpochSummary>> {
    let Some(first) = metas.first() else { return Ok(None) };
    let batches = first.marks.iter().map(|mark| mark.batches);
    let agree = metas.iter().all(|meta| meta.marks == first.marks && meta.version == first.version);
    if !agree || !batches.clone().eq(open.marks.iter().copied()) {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("the parts of epoch {epoch} hold other updates than its cut"),
        ));
    }
    let updates = batches.map(|batches| open.plan.updates(batches)).sum();
    Ok(Some(EpochSummary {
        epoch,
        version: first.version,
        watermarks: first.marks.clone(),
        staleness: first.staleness(updates),
    }))
}
