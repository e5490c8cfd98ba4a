//! Applies updates to the blocks.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use siren_core::{EpochPlan, Gradient, SparseSlice};

use super::MemoryStore;
use super::rounds::Kept;
use crate::kernel::Step;
use crate::store::noise::Sample;
use crate::store::update::{self, Piece, split_below, within};

impl MemoryStore {
    /// Applies an update.
    pub(super) fn apply(&self, plan: &EpochPlan, step: &Step, gradient: Gradient<'_>) {
        let sample = self.noise.sample(plan);
        match gradient {
            Gradient::Dense(gradient) => {
                for index in self.walks.walk() {
                    let range = self.range(index);
                    let gradient = &gradient[range.clone()];
                    let block = &mut *self.blocks[index].lock();
                    block.apply(step, gradient);
                    if let Some(sample) = sample {
                        block.observe(step, sample, range, Piece::Dense(gradient));
                    }
                }
            }
            Gradient::Sparse(sparse) if step.keeps_zeros() => {
                self.apply_entries(step, sparse, sample)
            }
            // With other optimizers, zeros also change the optimizer state.
            Gradient::Sparse(sparse) => {
                let entries = sparse.entries();
                with_scratch(self.block.min(self.dim), |dense| {
                    dense.fill(0.0);
                    for index in self.walks.walk() {
                        let range = self.range(index);
                        let dense = &mut dense[..range.len()];
                        let inside = within(entries, &range);
                        for entry in inside {
                            dense[entry.index as usize - range.start] = entry.value;
                        }
                        let block = &mut *self.blocks[index].lock();
                        block.apply(step, dense);
                        if let Some(sample) = sample {
                            block.observe(step, sample, range.clone(), Piece::Sparse(inside));
                        }
                        for entry in inside {
                            dense[entry.index as usize - range.start] = 0.0;
                        }
                    }
                });
            }
        }
        if sample.is_some() {
            self.count_measured();
        }
    }

    /// Applies a sparse update with a step that leaves all other entries unchanged: only blocks
    /// with entries are touched.
    fn apply_entries(&self, step: &Step, sparse: SparseSlice<'_>, sample: Option<Sample>) {
        let mut rest = sparse.entries();
        while let Some(entry) = rest.first() {
            let index = entry.index as usize / self.block;
            let range = self.range(index);
            let (inside, after) = split_below(rest, range.end);
            let block = &mut *self.blocks[index].lock();
            block.apply_entries(step, range.start, inside);
            if let Some(sample) = sample {
                block.observe(step, sample, range, Piece::Sparse(inside));
            }
            rest = after;
        }
    }

    /// Ends a round: applies the mean of its updates, weighted by examples, as one update.
    pub(super) fn apply_round(&self, plan: &EpochPlan, kept: &mut Vec<Kept>) {
        // In the order of shards, not of arrival: a run's bits do not depend on threads.
        kept.sort_unstable_by_key(|kept| kept.shard);
        let examples = kept.iter().map(|kept| kept.examples).sum();
        let step = update::step(plan, 1.0, 1.0);
        with_scratch(self.block.min(self.dim), |mean| {
            for (index, block) in self.blocks.iter().enumerate() {
                let range = self.range(index);
                let mean = &mut mean[..range.len()];
                let pieces = kept.iter().map(|kept| {
                    (update::weight(kept.scale, kept.examples, examples), kept.piece(&range))
                });
                update::sum_up(mean, range.start, pieces);
                block.lock().apply(&step, mean);
            }
        });
        self.measure_round(plan, &step, kept);
        self.version.fetch_add(1, Ordering::AcqRel);
        self.spare.lock().append(kept);
    }
}

/// Runs `body` with a thread-local buffer, whose content is arbitrary.
fn with_scratch(len: usize, body: impl FnOnce(&mut [f32])) {
    thread_local! {
        static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        body(&mut scratch[..len]);
    });
}
