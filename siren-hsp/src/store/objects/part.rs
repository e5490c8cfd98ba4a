//! Brings a part up to date with the state.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use siren_core::{Context, EpochPlan, Error, ErrorKind, Result, UpdateId, Work, compute};

use super::client::Client;
use super::keys::{Cuts, Keys};
use super::part_object::PartObject;
use super::payload::{self, FetchedUpdate};
use super::state::{Open, State};
use siren_core::objects::{Fetched, Tag, Written};

/// The number of updates read concurrently.
const CONCURRENT_REQUESTS: usize = 128;

/// The largest size of updates in memory, in bytes; a round of bulk mode may be larger.
const MAX_HELD_BYTES: usize = 64 << 20;

/// The place of a part's computations.
pub(super) enum Executor<'a> {
    /// In the calling task.
    Inline,
    /// In the invocation's compute task.
    Context(&'a dyn Context),
}

impl Executor<'_> {
    async fn run<T: Send + 'static>(
        &self,
        count: u64,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        match self {
            Self::Inline => Ok(task()),
            Self::Context(context) => {
                let (done, _) = compute(*context, Work::Parameters { count }, task).await?;
                Ok(done)
            }
        }
    }
}

/// The result of advancing a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advance {
    /// There was nothing to do.
    Idle,
    /// The part was written.
    Applied,
    /// Another writer of this part was first: the part must be loaded again.
    LostRace,
    /// More reads would be necessary than are allowed.
    ReadLimit,
}

/// A part as last read or written here.
pub(super) struct Part {
    pub(super) index: usize,
    lineage: u64,
    tag: Tag,
    pub(super) object: PartObject,
    /// `true` if the last update was sparse: the next one is then read as a whole at once.
    sparse: bool,
}

impl Part {
    /// Loads a part of the state's lineage; `None` if it no longer exists.
    pub(super) async fn load(
        client: &Client,
        keys: &Keys,
        state: &State,
        index: usize,
    ) -> Result<Option<Self>> {
        let lineage = state.lineage()?;
        let len = state.cuts().range(index).len();
        match client.get(&keys.part(lineage, index), None).await? {
            Fetched::Changed { bytes, tag } => {
                let object = PartObject::decode(&bytes, len)?;
                Ok(Some(Self { index, lineage, tag, object, sparse: false }))
            }
            _ => Ok(None),
        }
    }

    /// `true` if the part belongs to the lineage of `state`.
    pub(super) fn belongs_to(&self, state: &State) -> bool {
        state.lineage == Some(self.lineage) && state.cuts().parts > self.index
    }

    /// `true` if the part contains exactly the epoch's cut.
    pub(super) fn is_closed(&self, open: &Open) -> bool {
        self.object.meta.generation == open.generation && self.object.meta.closed
    }

    /// Applies the updates that the state names, as many as fit into memory and need at most
    /// `reads` reads, and writes the part. After an error the part must be loaded again.
    pub(super) async fn advance(
        mut self,
        client: &Client,
        keys: &Keys,
        (state, open): (&State, &Open),
        executor: &Executor<'_>,
        reads: u64,
    ) -> Result<(Self, Advance)> {
        if self.object.meta.generation > open.generation || self.is_closed(open) {
            return Ok((self, Advance::Idle));
        }
        self.object.begin_epoch(open.generation, &open.plan);
        let pending = self.pending_updates(open);
        let chunk_len = self.chunk_len(open, state.cuts(), reads, &pending);
        if chunk_len == 0 && !pending.is_empty() {
            return Ok((self, Advance::ReadLimit));
        }
        let chunk = &pending[..chunk_len];
        let is_last = chunk_len == pending.len();
        if chunk.is_empty() && !(is_last && open.closed) {
            return Ok((self, Advance::Idle));
        }
        let Some(fetched) = self.fetch(client, keys, state.cuts(), open, chunk).await? else {
            // The update was deleted because every part contains it: another process has written
            // this part.
            return Ok((self, Advance::LostRace));
        };
        let count = self.object.values.len() as u64 * chunk.len() as u64;
        let (mut object, plan) = (std::mem::take(&mut self.object), Arc::new(open.plan.clone()));
        let at = (state.cuts(), self.index);
        let closes = is_last && open.closed;
        let task = move || -> Result<(PartObject, Vec<u8>)> {
            for round in rounds(&plan, &fetched) {
                object.apply_fetched(&plan, at, round)?;
            }
            object.meta.sequence += 1;
            object.meta.closed = closes;
            if closes {
                // A window never spans a barrier.
                object.drop_window();
            }
            let bytes = object.encode();
            Ok((object, bytes))
        };
        let (object, bytes) = executor.run(count, task).await??;
        self.object = object;
        let key = keys.part(self.lineage, self.index);
        match client.put_if_unchanged(&key, &self.tag, &bytes).await? {
            Written::Done(tag) => {
                self.tag = tag;
                Ok((self, Advance::Applied))
            }
            Written::Refused => Ok((self, Advance::LostRace)),
        }
    }

    /// The updates that the state names and the part lacks, in the order of application: by rounds,
    /// then by shards.
    fn pending_updates(&self, open: &Open) -> Vec<UpdateId> {
        let plan = &open.plan;
        let marks = &self.object.meta.marks;
        let mut pending = Vec::new();
        for (shard, (mark, &end)) in (0..).zip(marks.iter().zip(&open.marks)) {
            let mut position = mark.batches;
            while position < end {
                pending.push(UpdateId { epoch: plan.epoch, shard, position });
                position += plan.update_len(shard, position).max(1);
            }
        }
        pending.sort_unstable_by_key(|id| (id.position, id.shard));
        pending
    }

    /// The number of these updates to apply at once: limited by memory and by reads, and whole
    /// rounds under bulk mode.
    fn chunk_len(&self, open: &Open, cuts: Cuts, reads: u64, pending: &[UpdateId]) -> usize {
        let bytes = payload::dense_range(cuts, self.index).len();
        let held = (MAX_HELD_BYTES / bytes).max(1);
        // A sparse update may be read twice.
        let allowed = usize::try_from(reads / 2).unwrap_or(usize::MAX);
        if !open.plan.sync_mode.merges_rounds() {
            return pending.len().min(held).min(allowed);
        }
        let mut chunk_len = 0;
        for round in pending.chunk_by(|one, next| one.position == next.position) {
            let with = chunk_len + round.len();
            if with > allowed || (chunk_len > 0 && with > held) {
                break;
            }
            chunk_len = with;
        }
        chunk_len
    }

    /// Reads the entries of these updates for the part; `None` if an update is missing.
    async fn fetch(
        &mut self,
        client: &Client,
        keys: &Keys,
        cuts: Cuts,
        open: &Open,
        ids: &[UpdateId],
    ) -> Result<Option<Vec<(UpdateId, FetchedUpdate)>>> {
        let (part, sparse) = (self.index, self.sparse);
        let fetched: Vec<_> = stream::iter(ids.to_vec())
            .map(|id| async move {
                let key = keys.update(open.generation, id.shard, id.position);
                Ok::<_, Error>((id, fetch(client, &key, cuts, part, sparse).await?))
            })
            .buffered(CONCURRENT_REQUESTS)
            .try_collect()
            .await?;
        if let Some((_, Some(last))) = fetched.last() {
            self.sparse = matches!(last, FetchedUpdate::Whole(_));
        }
        Ok(fetched.into_iter().map(|(id, bytes)| Some((id, bytes?))).collect())
    }
}

/// Reads the entries of an update for a part.
async fn fetch(
    client: &Client,
    key: &str,
    cuts: Cuts,
    part: usize,
    sparse: bool,
) -> Result<Option<FetchedUpdate>> {
    let range = payload::dense_range(cuts, part);
    if !sparse {
        match client.get_range(key, range.start, range.len()).await? {
            None => return Ok(None),
            Some(bytes) if payload::is_dense(&bytes, cuts, part) => {
                return Ok(Some(FetchedUpdate::Part(bytes)));
            }
            // The update is not dense: these bytes may be from the middle of a sparse one.
            Some(_) => {}
        }
    }
    match client.get(key, None).await? {
        Fetched::Changed { bytes, .. } => Ok(Some(FetchedUpdate::Whole(bytes))),
        _ => Ok(None),
    }
}

/// The groups of updates that are applied at once: under bulk mode one round each, otherwise all.
fn rounds<'a>(
    plan: &EpochPlan,
    fetched: &'a [(UpdateId, FetchedUpdate)],
) -> Vec<&'a [(UpdateId, FetchedUpdate)]> {
    if !plan.sync_mode.merges_rounds() {
        return vec![fetched];
    }
    fetched.chunk_by(|(one, _), (next, _)| one.position == next.position).collect()
}

/// The error when a part of the state's lineage is missing.
pub(super) fn missing_part(part: usize) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("part {part} of the parameters is gone: another process restored the store"),
    )
}
