//! A range of the parameters behind one lock.

use std::ops::Range;

use siren_core::Entry;

use crate::kernel::Step;
use crate::store::noise::{Lengths, Observed, Sample, Window};
use crate::store::update::Piece;

/// A range of the parameters, and its optimizer state.
pub(super) struct Block {
    /// Grows with every change. Pulls compare it with the replica's stamp.
    stamp: u64,
    /// Adam's `t`: the number of updates applied to the range, including those before a restore.
    pub(super) updates: u64,
    values: Box<[f32]>,
    optimizer_state: Vec<Box<[f32]>>,
    /// Subtractions of sparse updates that are not applied yet.
    pending: Pending,
    /// The open window of the measurement of noise.
    window: Window,
    /// The sum of its updates.
    window_sum: Vec<f32>,
}

/// Positions and the values to subtract there, in the order of the updates. Recording them causes a
/// fraction of the cache misses of scattering them over the parameters. The next pass over the
/// range applies them while it has the range in cache.
///
/// The two vectors are separate on purpose. With pairs, the products would be computed on whole
/// pairs; an index read as a float is subnormal, and subnormal arithmetic takes a hundred times as
/// long.
#[derive(Default)]
struct Pending {
    places: Vec<u16>,
    descents: Vec<f32>,
}

impl Block {
    pub(super) fn new(len: usize) -> Self {
        Self {
            stamp: 0,
            updates: 0,
            values: vec![0.0; len].into(),
            optimizer_state: Vec::new(),
            pending: Pending::default(),
            window: Window::default(),
            window_sum: Vec::new(),
        }
    }

    /// Resizes the optimizer state to this number of vectors; new ones are zero.
    pub(super) fn prepare(&mut self, optimizer_state: usize, updates: u64) {
        let len = self.values.len();
        self.optimizer_state.resize_with(optimizer_state, || vec![0.0; len].into());
        self.updates = updates;
        self.window = Window::default();
    }

    /// Replaces the parameters and the optimizer state.
    pub(super) fn put(&mut self, values: &[f32], optimizer_state: Vec<Box<[f32]>>) {
        self.pending = Pending::default();
        self.values.copy_from_slice(values);
        self.optimizer_state = optimizer_state;
        self.stamp += 1;
    }

    /// The parameters and the optimizer state.
    pub(super) fn state(&mut self) -> (&[f32], &[Box<[f32]>]) {
        self.apply_pending();
        (&self.values, &self.optimizer_state)
    }

    /// Copies the parameters if they changed since stamp `have`, and returns `true` then.
    pub(super) fn copy(&mut self, into: &mut [f32], have: &mut u64) -> bool {
        let changed = self.stamp > *have;
        if changed {
            self.apply_pending();
            into.copy_from_slice(&self.values);
            *have = self.stamp;
        }
        changed
    }

    /// Applies an update's part for this range.
    pub(super) fn apply(&mut self, step: &Step, gradient: &[f32]) {
        self.apply_pending();
        self.stamp += 1;
        self.updates += 1;
        step.apply(self.updates, &mut self.values, &mut self.optimizer_state, gradient);
    }

    /// Applies the entries of a sparse update with a step that leaves all other entries unchanged.
    /// `start` is the index of the block's first parameter.
    pub(super) fn apply_entries(&mut self, step: &Step, start: usize, entries: &[Entry]) {
        self.stamp += 1;
        let room = self.values.len() / 4;
        // Only values that no other update changes can wait.
        let waits = step.only_descends() && entries.len() <= room;
        if !waits || self.pending.places.len() + entries.len() > room {
            self.apply_pending();
        }
        if !waits {
            step.apply_entries(&mut self.values, &mut self.optimizer_state, start, entries);
            return;
        }
        let Pending { places, descents } = &mut self.pending;
        // Reserves the whole capacity once: later pushes do not allocate.
        if places.capacity() < room {
            places.reserve_exact(room);
            descents.reserve_exact(room);
        }
        places.extend(entries.iter().map(|entry| (entry.index as usize - start) as u16));
        descents.extend(entries.iter().map(|entry| step.descent(entry.value)));
    }

    /// Adds an update to the open window. It has just been applied with `step` to this block, whose
    /// range in the whole vector is `range`.
    pub(super) fn observe(
        &mut self,
        step: &Step,
        sample: Sample,
        range: Range<usize>,
        piece: Piece<'_>,
    ) {
        let Self { updates, optimizer_state, window, window_sum, .. } = self;
        let at = Observed { sample, range, state: optimizer_state.as_slice(), count: *updates };
        window.add(window_sum, step, &at, piece);
    }

    /// Ends the open window, and returns the lengths of its updates.
    pub(super) fn end_window(&mut self) -> Lengths {
        self.window.end()
    }

    /// Applies the pending subtractions in their order.
    fn apply_pending(&mut self) {
        let Pending { places, descents } = &mut self.pending;
        for (&place, descent) in places.iter().zip(&*descents) {
            self.values[place as usize] -= descent;
        }
        places.clear();
        descents.clear();
    }
}

#[cfg(test)]
mod tests {
    use siren_core::Optimizer;

    use super::*;

    /// Sums are rounded, so their order shows in the result.
    #[test]
    fn pending_entries_of_an_earlier_epoch_are_subtracted_before_those_of_adagrad() {
        let tiny = 2.0_f32.powi(-25);
        let mut block = Block::new(8);
        block.put(&[1.0; 8], Vec::new());
        let sgd = Step { optimizer: Optimizer::Sgd, rate: 1.0, scale: 1.0, decay: 0.0 };
        block.apply_entries(&sgd, 100, &[Entry { index: 103, value: tiny }]);
        block.prepare(1, 1);
        let adagrad = Step { optimizer: Optimizer::ADAGRAD, rate: 0.5, ..sgd };
        block.apply_entries(&adagrad, 100, &[Entry { index: 103, value: 1.0 }]);
        let (values, sums) = block.state();
        assert_ne!(1.0 - 0.5 - tiny, 0.5, "the other order gives another result");
        assert_eq!(values, [1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(*sums[0], [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
