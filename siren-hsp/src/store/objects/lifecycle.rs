//! Operations between epochs, and reads of the whole store: open, status, snapshot and restore.

use futures::{StreamExt, TryStreamExt, stream};
use siren_core::{
    EpochPlan, Error, ErrorKind, NoiseAverages, Result, Snapshot, Status, UpdateId, Watermark,
};

use super::part::{Part, missing_part};
use super::part_object::{Meta, PartObject, meta_len};
use super::session::View;
use super::state::{Open, State, fenced};
use super::{ObjectStore, payload};
use crate::store::noise::saved;

/// The number of concurrent small reads.
const CONCURRENT_REQUESTS: usize = 32;

/// The number of attempts at a consistent read while the store changes.
const MAX_ATTEMPTS: usize = 20;

impl ObjectStore {
    /// The state of a store that holds parameters.
    async fn read_initialised(&self) -> Result<View> {
        let view = self.read(&self.retrying_client).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                "the store holds no parameters yet: initialise it, or restore some",
            )
        })?;
        view.state.lineage()?;
        Ok(view)
    }

    pub(super) async fn open_epoch(&self, plan: &EpochPlan) -> Result<()> {
        plan.check()?;
        loop {
            let view = self.read_initialised().await?;
            let state = &view.state;
            let conflict = |message| Err(Error::new(ErrorKind::Conflict, message));
            if plan.epoch < state.sealed_epochs {
                return Err(fenced(plan.epoch));
            }
            if let Some(open) = &state.open {
                return match open.plan == *plan {
                    true if open.closed => Err(fenced(plan.epoch)),
                    true => Ok(()),
                    false => {
                        conflict(format!("epoch {} is open with another plan", open.plan.epoch))
                    }
                };
            }
            if plan.epoch != state.sealed_epochs {
                return conflict(format!(
                    "epoch {} cannot be opened: the next one is {}",
                    plan.epoch, state.sealed_epochs
                ));
            }
            let mut next = state.next();
            next.taken += 1;
            let open = Open {
                generation: next.taken,
                plan: plan.clone(),
                aggregators: self.options.aggregation(plan, state.cuts()).aggregators,
                marks: vec![0; plan.shards as usize],
                closed: false,
            };
            next.open = Some(open.clone());
            if let Some(view) = self.write(Some(&view), next).await? {
                // No update can have been pushed yet, so there is no need to list them.
                return self.begin_session(&view, &open, &open.marks);
            }
        }
    }

    pub(super) async fn read_status(&self) -> Result<Status> {
        if self.options.inline {
            self.apply_inline().await?;
        }
        for _ in 0..MAX_ATTEMPTS {
            let Some(view) = self.read(&self.retrying_client).await? else {
                return Ok(Status { sealed_epochs: 0, version: 0, open: None });
            };
            let state = &view.state;
            let Some(open) = &state.open else {
                return Ok(Status {
                    sealed_epochs: state.sealed_epochs,
                    version: state.version,
                    open: None,
                });
            };
            if let Some((version, marks)) = self.watermarks(state, open).await? {
                let sealed_epochs = state.sealed_epochs;
                return Ok(Status { sealed_epochs, version, open: Some(marks) });
            }
        }
        Err(Error::new(
            ErrorKind::Lost,
            "the store changed during each attempt to read its status: try again later",
        ))
    }

    /// The version of the first part, and the pushed batches of each shard; `None` if a listed
    /// update was deleted.
    async fn watermarks(
        &self,
        state: &State,
        open: &Open,
    ) -> Result<Option<(u64, Vec<Watermark>)>> {
        // In this order: an update deleted after the listing is in the part already.
        let keys = match open.closed {
            true => Vec::new(),
            false => self.retrying_client.list_all(&self.keys.updates_of(open.generation)).await?,
        };
        let Some(meta) = self.read_meta(state, 0, open.plan.shards as usize).await? else {
            return Ok(None);
        };
        let (version, mut marks) = match meta.generation == open.generation {
            true => (meta.version, meta.marks),
            false => (state.version, vec![Watermark::default(); open.marks.len()]),
        };
        let mut end: Vec<u64> = marks.iter().map(|mark| mark.batches).collect();
        for (end, &mark) in end.iter_mut().zip(&open.marks) {
            *end = mark.max(*end);
        }
        let end = self.pushed_batches(&Open { marks: end, ..open.clone() }, &keys);
        // Updates that the part does not contain yet are counted by their summaries.
        let mut missing = Vec::new();
        for (shard, (mark, &end)) in (0..).zip(marks.iter().zip(&end)) {
            let mut position = mark.batches;
            while position < end {
                missing.push(UpdateId { epoch: open.plan.epoch, shard, position });
                position += open.plan.update_len(shard, position).max(1);
            }
        }
        let mut summaries = stream::iter(missing)
            .map(|id| async move {
                let key = self.keys.update(open.generation, id.shard, id.position);
                let bytes = self.retrying_client.get_range(&key, 0, payload::SUMMARY).await?;
                bytes.map(|bytes| payload::summary(&bytes, id)).transpose()
            })
            .buffered(CONCURRENT_REQUESTS);
        while let Some(summary) = summaries.try_next().await? {
            let Some(update) = summary else { return Ok(None) };
            let mark = &mut marks[update.id.shard as usize];
            mark.batches += update.batches;
            mark.examples += update.examples;
            mark.loss += update.loss;
        }
        Ok(Some((version, marks)))
    }

    /// The metadata of a part, for an epoch with `shards` shards. Returns default metadata if the
    /// part belongs to an earlier epoch with more shards.
    pub(super) async fn read_meta(
        &self,
        state: &State,
        part: usize,
        shards: usize,
    ) -> Result<Option<Meta>> {
        let key = self.keys.part(state.lineage()?, part);
        let Some(bytes) = self.retrying_client.get_range(&key, 0, meta_len(shards)).await? else {
            return Err(missing_part(part));
        };
        match Meta::decode(&bytes)? {
            Some((meta, _)) => Ok(Some(meta)),
            None => Ok(Some(Meta::default())),
        }
    }

    pub(super) async fn take_snapshot(&self) -> Result<Snapshot> {
        for _ in 0..MAX_ATTEMPTS {
            let view = self.read_initialised().await?;
            let state = &view.state;
            if let Some(open) = &state.open {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("epoch {} is open: seal it before a snapshot", open.plan.epoch),
                ));
            }
            let parts: Vec<Option<Part>> = stream::iter(0..state.cuts().parts)
                .map(|index| Part::load(&self.retrying_client, &self.keys, state, index))
                .buffered(CONCURRENT_REQUESTS)
                .try_collect()
                .await?;
            // No epoch may have begun meanwhile.
            if self.read(&self.retrying_client).await?.is_none_or(|now| now.tag != view.tag) {
                continue;
            }
            let mut snapshot = Snapshot {
                sealed_epochs: state.sealed_epochs,
                version: state.version,
                values: Vec::with_capacity(self.dim),
                optimizer_state: Vec::new(),
                noise: Vec::new(),
            };
            for (index, part) in parts.into_iter().enumerate() {
                let object = part.ok_or_else(|| missing_part(index))?.object;
                if index == 0 {
                    snapshot.optimizer_state.resize_with(object.optimizer_state.len(), Vec::new);
                }
                if object.meta.version != state.version
                    || object.optimizer_state.len() != snapshot.optimizer_state.len()
                {
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        format!("part {index} is not of the same version as the last epoch"),
                    ));
                }
                snapshot.values.extend(object.values);
                snapshot.noise.push(object.meta.noise.estimator.averages);
                for (into, slot) in snapshot.optimizer_state.iter_mut().zip(object.optimizer_state)
                {
                    into.extend(slot);
                }
            }
            snapshot.noise = saved(snapshot.noise);
            return Ok(snapshot);
        }
        Err(Error::new(
            ErrorKind::Lost,
            "the store changed during each attempt to read it: try again later",
        ))
    }

    pub(super) async fn put_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        snapshot.check()?;
        if snapshot.values.len() != self.dim {
            return Err(Error::rejected(format!(
                "the snapshot has {} parameters, the store {}: restore one of the same model",
                snapshot.values.len(),
                self.dim
            )));
        }
        let (lineage, cuts) = loop {
            let view = self.read(&self.retrying_client).await?;
            let mut next = match &view {
                Some(view) => view.state.next(),
                None => State::new(self.options.cuts(self.dim)),
            };
            next.taken += 1;
            let taken = (next.taken, next.cuts());
            if self.write(view.as_ref(), next).await?.is_some() {
                break taken;
            }
        };
        let noise = NoiseAverages::divided(&snapshot.noise, cuts.parts);
        // These keys are not read until the state names their lineage.
        stream::iter(0..cuts.parts)
            .map(|index| (index, noise[index]))
            .map(|(index, noise)| async move {
                let range = cuts.range(index);
                let optimizer_state =
                    snapshot.optimizer_state.iter().map(|slot| slot[range.clone()].to_vec());
                let values = snapshot.values[range.clone()].to_vec();
                let mut object =
                    PartObject::new(lineage, snapshot.version, values, optimizer_state.collect());
                object.meta.noise.estimator.averages = noise;
                let key = self.keys.part(lineage, index);
                self.retrying_client.put_if_absent(&key, &object.encode()).await.map(drop)
            })
            .buffered(CONCURRENT_REQUESTS.min(8))
            .try_collect::<()>()
            .await?;
        loop {
            let view = self.read(&self.retrying_client).await?;
            let newer = |view: &View| view.state.lineage.is_some_and(|other| other > lineage);
            let Some(view) = view.filter(|view| !newer(view)) else {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "another process restored the store at the same time",
                ));
            };
            if view.state.lineage == Some(lineage) {
                // The write succeeded, but its answer was lost.
                break;
            }
            let mut next = view.state.next();
            next.lineage = Some(lineage);
            next.sealed_epochs = snapshot.sealed_epochs;
            next.version = snapshot.version;
            (next.last, next.open) = (None, None);
            if self.write(Some(&view), next).await?.is_some() {
                break;
            }
        }
        self.delete_before(lineage).await;
        Ok(())
    }
}
