//! Bringing a part up to date with the state.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use siren_core::{Context, EpochPlan, Error, ErrorKind, Result, SyncMode, UpdateId, Work, compute};

use super::calls::Calls;
use super::head::Head;
use super::keys::{Cuts, Keys};
use super::payload::{self, Fetched};
use super::state::{Open, State};
use crate::objects::{Tag, Written};

/// Updates that are read at the same time.
const AT_ONCE: usize = 32;

/// Bytes of updates that are held at the same time; a round of bulk mode may be more.
const HELD: usize = 64 << 20;

/// Where a part's mathematics runs.
pub(super) enum Place<'a> {
    /// Here and now.
    Here,
    /// Where the invocation computes.
    Of(&'a dyn Context),
}

impl Place<'_> {
    async fn run<T: Send + 'static>(
        &self,
        count: u64,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        match self {
            Self::Here => Ok(task()),
            Self::Of(context) => {
                let (done, _) = compute(*context, Work::Parameters { count }, task).await?;
                Ok(done)
            }
        }
    }
}

/// What bringing a part up to date came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advance {
    /// There was nothing to do.
    Idle,
    /// It was written.
    Moved,
    /// Somebody else writes this part too, and was first: it is to be loaded again.
    Overtaken,
    /// It would have taken more reads than are allowed.
    Short,
}

/// A part as its last writer knows it.
pub(super) struct Part {
    pub(super) index: usize,
    lineage: u64,
    tag: Tag,
    pub(super) head: Head,
    /// Whether the last update was sparse: then the next one is read as a whole at once.
    sparse: bool,
}

impl Part {
    /// Loads a part of the state's lineage; nothing if it has none any more.
    pub(super) async fn load(
        calls: &Calls,
        keys: &Keys,
        state: &State,
        index: usize,
    ) -> Result<Option<Self>> {
        let lineage = state.lineage()?;
        let len = state.cuts().range(index).len();
        match calls.get(&keys.head(lineage, index), None).await? {
            crate::objects::Fetched::Changed { bytes, tag } => {
                let head = Head::decode(&bytes, len)?;
                Ok(Some(Self { index, lineage, tag, head, sparse: false }))
            }
            _ => Ok(None),
        }
    }

    /// Whether it is of the lineage of a state.
    pub(super) fn is_of(&self, state: &State) -> bool {
        state.lineage == Some(self.lineage) && state.cuts().parts > self.index
    }

    /// Whether it holds exactly the epoch's cut.
    pub(super) fn is_closed(&self, open: &Open) -> bool {
        self.head.meta.generation == open.generation && self.head.meta.closed
    }

    /// Applies what the state says is to be applied, as much as fits into memory and takes at most
    /// `reads` reads, and writes the part. After an error the part is to be loaded again.
    pub(super) async fn advance(
        mut self,
        calls: &Calls,
        keys: &Keys,
        (state, open): (&State, &Open),
        place: &Place<'_>,
        reads: u64,
    ) -> Result<(Self, Advance)> {
        if self.head.meta.generation > open.generation || self.is_closed(open) {
            return Ok((self, Advance::Idle));
        }
        self.head.begin(open.generation, &open.plan);
        let todo = self.todo(open);
        let most = self.most(open, state.cuts(), reads, &todo);
        if most == 0 && !todo.is_empty() {
            return Ok((self, Advance::Short));
        }
        let now = &todo[..most];
        let is_last = most == todo.len();
        if now.is_empty() && !(is_last && open.closed) {
            return Ok((self, Advance::Idle));
        }
        let Some(fetched) = self.fetch(calls, keys, state.cuts(), open, now).await? else {
            // Deleted, since every part holds it: somebody else has written this one.
            return Ok((self, Advance::Overtaken));
        };
        let count = self.head.values.len() as u64 * now.len() as u64;
        let (mut head, plan) = (std::mem::take(&mut self.head), Arc::new(open.plan.clone()));
        let at = (state.cuts(), self.index);
        let closes = is_last && open.closed;
        let task = move || -> Result<(Head, Vec<u8>)> {
            for round in rounds(&plan, &fetched) {
                head.absorb(&plan, at, round)?;
            }
            head.meta.sequence += 1;
            head.meta.closed = closes;
            let bytes = head.encode();
            Ok((head, bytes))
        };
        let (head, bytes) = place.run(count, task).await??;
        self.head = head;
        let key = keys.head(self.lineage, self.index);
        match calls.put_if_unchanged(&key, &self.tag, &bytes).await? {
            Written::Done(tag) => {
                self.tag = tag;
                Ok((self, Advance::Moved))
            }
            Written::Refused => Ok((self, Advance::Overtaken)),
        }
    }

    /// The updates that the state has and the part has not, in the order in which they are to be
    /// applied: round by round, in a round by shards.
    fn todo(&self, open: &Open) -> Vec<UpdateId> {
        let plan = &open.plan;
        let marks = &self.head.meta.marks;
        let mut todo = Vec::new();
        for (shard, (mark, &end)) in (0..).zip(marks.iter().zip(&open.marks)) {
            let mut position = mark.batches;
            while position < end {
                todo.push(UpdateId { epoch: plan.epoch, shard, position });
                position += plan.update_len(shard, position).max(1);
            }
        }
        todo.sort_unstable_by_key(|id| (id.position, id.shard));
        todo
    }

    /// How many of these to apply at once: as many as may be held and read, and whole rounds under bulk
    /// synchrony.
    fn most(&self, open: &Open, cuts: Cuts, reads: u64, todo: &[UpdateId]) -> usize {
        let bytes = payload::place(cuts, self.index).len();
        let held = (HELD / bytes).max(1);
        // A sparse one may have to be read twice.
        let allowed = usize::try_from(reads / 2).unwrap_or(usize::MAX);
        if open.plan.sync_mode != SyncMode::Bulk {
            return todo.len().min(held).min(allowed);
        }
        let mut most = 0;
        for round in todo.chunk_by(|one, next| one.position == next.position) {
            let with = most + round.len();
            if with > allowed || (most > 0 && with > held) {
                break;
            }
            most = with;
        }
        most
    }

    /// Reads what these updates have for the part; nothing if one of them is missing.
    async fn fetch(
        &mut self,
        calls: &Calls,
        keys: &Keys,
        cuts: Cuts,
        open: &Open,
        ids: &[UpdateId],
    ) -> Result<Option<Vec<(UpdateId, Fetched)>>> {
        let (part, sparse) = (self.index, self.sparse);
        let fetched: Vec<_> = stream::iter(ids.to_vec())
            .map(|id| async move {
                let key = keys.update(open.generation, id.shard, id.position);
                Ok::<_, Error>((id, fetch(calls, &key, cuts, part, sparse).await?))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        if let Some((_, Some(last))) = fetched.last() {
            self.sparse = matches!(last, Fetched::Whole(_));
        }
        Ok(fetched.into_iter().map(|(id, bytes)| Some((id, bytes?))).collect())
    }
}

/// Reads what an update has for a part.
async fn fetch(
    calls: &Calls,
    key: &str,
    cuts: Cuts,
    part: usize,
    sparse: bool,
) -> Result<Option<Fetched>> {
    let place = payload::place(cuts, part);
    if !sparse {
        match calls.get_range(key, place.start, place.len()).await? {
            None => return Ok(None),
            Some(bytes) if payload::is_dense(&bytes, cuts, part) => {
                return Ok(Some(Fetched::Part(bytes)));
            }
            // Another form, or the bytes of a sparse one from somewhere in the middle.
            Some(_) => {}
        }
    }
    match calls.get(key, None).await? {
        crate::objects::Fetched::Changed { bytes, .. } => Ok(Some(Fetched::Whole(bytes))),
        _ => Ok(None),
    }
}

/// What is applied at once: under bulk mode the updates of one round, otherwise all of them.
fn rounds<'a>(
    plan: &EpochPlan,
    fetched: &'a [(UpdateId, Fetched)],
) -> Vec<&'a [(UpdateId, Fetched)]> {
    if plan.sync_mode != SyncMode::Bulk {
        return vec![fetched];
    }
    fetched.chunk_by(|(one, _), (next, _)| one.position == next.position).collect()
}

/// What is said when a part of the state's lineage is not there.
pub(super) fn missing(part: usize) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("part {part} of the parameters is gone: somebody else restored the store"),
    )
}
