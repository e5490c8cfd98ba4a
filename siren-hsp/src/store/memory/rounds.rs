//! How far the shards of an epoch are, and the updates that wait for the end of a round.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use siren_core::{Entry, EpochPlan, Gradient, Update};

use crate::store::update::{Piece, within};

/// A round as far as all shards are concerned.
pub(super) struct Rounds {
    /// Updates that every unfinished shard has pushed, and that are applied; all of them, when every
    /// shard is finished.
    floor: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// Updates that each shard has pushed; without end, when it is finished.
    pushed: Vec<u64>,
    /// Shards that have pushed only as many as the floor.
    behind: usize,
    /// The round's updates, where they are kept until it ends.
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

    /// Updates that every unfinished shard has pushed.
    pub(super) fn floor(&self) -> u64 {
        self.floor.load(Ordering::Acquire)
    }

    /// Counts an update of `shard`, its `pushed`-th, and keeps it for the end of the round if there is
    /// something to keep. Ends the round if it was the last: then `end` gets what was kept, and
    /// empties it. Returns whether the floor has risen.
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

    /// What a round that will not end has kept.
    pub(super) fn into_kept(self) -> Vec<Kept> {
        self.state.into_inner().kept
    }
}

/// An update that waits for the end of its round.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) shard: u32,
    pub(super) examples: u64,
    /// What clipping multiplies it by.
    pub(super) scale: f32,
    sparse: bool,
    values: Vec<f32>,
    entries: Vec<Entry>,
}

impl Kept {
    /// Takes over an update, into the memory of an earlier one.
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

    /// What it has for a range of the parameters.
    pub(super) fn piece(&self, range: &Range<usize>) -> Piece<'_> {
        match self.sparse {
            true => Piece::Sparse(within(&self.entries, range)),
            false => Piece::Dense(&self.values[range.clone()]),
        }
    }
}
