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

    /// Subtracts the entries of a sparse update with a step that leaves all other entries
    /// unchanged. `start` is the index of the block's first parameter.
    pub(super) fn descend(&mut self, step: &Step, start: u32, entries: &[Entry]) {
        self.stamp += 1;
        let room = self.values.len() / 4;
        if self.pending.places.len() + entries.len() > room {
            self.apply_pending();
        }
        if entries.len() > room {
            for entry in entries {
                self.values[(entry.index - start) as usize] -= step.descent(entry.value);
            }
            return;
        }
        let Pending { places, descents } = &mut self.pending;
        // Reserves the whole capacity once: later pushes do not allocate.
        if places.capacity() < room {
            places.reserve_exact(room);
            descents.reserve_exact(room);
        }
        places.extend(entries.iter().map(|entry| (entry.index - start) as u16));
        descents.extend(entries.iter().map(|entry| step.descent(entry.value)));
    }

    /// Adds an update to the open window, or to the window and sum `into`. The update has just been applied
    /// with `step` to this block, whose range in the whole vector is `range`.
    pub(super) fn observe(
        &mut self,
        step: &Step,
        sample: Sample,
        range: Range<usize>,
        piece: Piece<'_>,
        into: Option<(&mut Window, &mut Vec<f32>)>,
    ) {
        let Self { updates, optimizer_state, window, window_sum, .. } = self;
        let at = Observed { sample, range, state: optimizer_state.as_slice(), count: *updates };
        let (window, sum) = into.unwrap_or((window, window_sum));
        window.add(sum, step, &at, piece);
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
