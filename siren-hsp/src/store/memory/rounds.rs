//! The progress of an epoch's shards, and the updates that wait for the end of a round.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use siren_core::{Entry, EpochPlan, Gradient, Update};

use crate::store::update::{Piece, within};

/// The rounds of an epoch.
pub(super) struct Rounds {
    /// The number of updates that every unfinished shard has pushed, all of them applied;
    /// `u64::MAX` when every shard is finished.
    floor: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// The number of updates that each shard has pushed; `u64::MAX` when it is finished.
    pushed: Vec<u64>,
    /// The number of shards that have pushed exactly `floor` updates.
    behind: usize,
    /// The round's updates, if they are kept until the round ends.
    kept: Vec<Kept>,
}

impl Rounds {
    pub(super) fn new(plan: &EpochPlan) -> Self {
        let shards = plan.shards as usize;
        Self {
            floor: AtomicU64::new(0),
            state: Mutex::new(State {
                pushed: vec![0; shards],
                behind: shards,
                kept: Vec::with_capacity(shards),
            }),
        }
    }

    /// The number of updates that every unfinished shard has pushed.
    pub(super) fn floor(&self) -> u64 {
        self.floor.load(Ordering::Acquire)
    }

    /// Counts the `pushed`-th update of `shard`, and keeps `kept` for the end of the round. If this
    /// update ends the round, calls `end` with the kept updates; `end` must empty the list. Returns
    /// `true` if the floor has risen.
    pub(super) fn arrive(
        &self,
        plan: &EpochPlan,
        shard: u32,
        pushed: u64,
        kept: Option<Kept>,
        end: impl FnOnce(&mut Vec<Kept>),
    ) -> bool {
        let state = &mut *self.state.lock();
        state.kept.extend(kept);
        let floor = self.floor();
        let of_shard = &mut state.pushed[shard as usize];
        let was_behind = *of_shard == floor;
        *of_shard = if pushed >= plan.rounds(shard) { u64::MAX } else { pushed };
        if !was_behind {
            return false;
        }
        state.behind -= 1;
        if state.behind > 0 {
            return false;
        }
        end(&mut state.kept);
        let floor = state.pushed.iter().copied().min().unwrap_or(u64::MAX);
        state.behind = state.pushed.iter().filter(|&&pushed| pushed == floor).count();
        self.floor.store(floor, Ordering::Release);
        true
    }

    /// The updates of a round that will not end.
    pub(super) fn into_kept(self) -> Vec<Kept> {
        self.state.into_inner().kept
    }
}

/// An update that waits for the end of its round.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) shard: u32,
    pub(super) examples: u64,
    /// The factor of clipping.
    pub(super) scale: f32,
    sparse: bool,
    values: Vec<f32>,
    entries: Vec<Entry>,
}

impl Kept {
    /// Copies an update, reusing the buffers.
    pub(super) fn fill(&mut self, update: &Update<'_>, scale: f32) {
        self.shard = update.id.shard;
        self.examples = update.examples;
        self.scale = scale;
        match update.gradient {
            Gradient::Dense(values) => {
                self.sparse = false;
                self.values.clear();
                self.values.extend_from_slice(values);
            }
            Gradient::Sparse(sparse) => {
                self.sparse = true;
                self.entries.clear();
                self.entries.extend_from_slice(sparse.entries());
            }
        }
    }

    /// The update's entries in a range of the parameters.
    pub(super) fn piece(&self, range: &Range<usize>) -> Piece<'_> {
        match self.sparse {
            true => Piece::Sparse(within(&self.entries, range)),
            false => Piece::Dense(&self.values[range.clone()]),
        }
    }
}
