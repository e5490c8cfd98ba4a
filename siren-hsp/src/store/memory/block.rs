//! A range of the parameters behind one lock.

use siren_core::Entry;

use crate::kernel::Step;

/// A range of the parameters, and what the optimizer keeps of it.
pub(super) struct Block {
    /// Grows with every change; what a replica compares.
    stamp: u64,
    /// Updates that the range has seen, those before a restore included: Adam's t.
    pub(super) updates: u64,
    values: Box<[f32]>,
    optimizer_state: Vec<Box<[f32]>>,
    /// What sparse updates subtract, not done yet.
    pending: Pending,
}

/// Places and what to subtract there, in the order of the updates. Writing them down costs a fraction
/// of the cache misses that scattering them over the parameters does, and whoever next passes over the
/// range has it in cache.
///
/// Two vectors, since in one of pairs the products are computed on whole pairs, and an index read as a
/// number is a subnormal one, which takes a hundred times as long.
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
        }
    }

    /// Makes room for a optimizer's slots, those that are new being zero.
    pub(super) fn prepare(&mut self, optimizer_state: usize, updates: u64) {
        let len = self.values.len();
        self.optimizer_state.resize_with(optimizer_state, || vec![0.0; len].into());
        self.updates = updates;
    }

    /// Replaces everything.
    pub(super) fn put(&mut self, values: &[f32], optimizer_state: Vec<Box<[f32]>>) {
        self.pending = Pending::default();
        self.values.copy_from_slice(values);
        self.optimizer_state = optimizer_state;
        self.stamp += 1;
    }

    /// The parameters and the slots.
    pub(super) fn state(&mut self) -> (&[f32], &[Box<[f32]>]) {
        self.apply_pending();
        (&self.values, &self.optimizer_state)
    }

    /// Copies the parameters, if they changed since `have`.
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

    /// Subtracts the entries of a sparse update, whose indices count from `start`, by a step that
    /// leaves all others alone.
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
        // Once, and all of it: no push allocates later.
        if places.capacity() < room {
            places.reserve_exact(room);
            descents.reserve_exact(room);
        }
        places.extend(entries.iter().map(|entry| (entry.index - start) as u16));
        descents.extend(entries.iter().map(|entry| step.descent(entry.value)));
    }

    /// Does what sparse updates left to do, in their order.
    fn apply_pending(&mut self) {
        let Pending { places, descents } = &mut self.pending;
        for (&place, descent) in places.iter().zip(&*descents) {
            self.values[place as usize] -= descent;
        }
        places.clear();
        descents.clear();
    }
}
