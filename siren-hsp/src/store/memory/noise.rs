//! The measurement of gradient noise over the blocks.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use siren_core::{EpochPlan, Noise as Setting, NoiseAverages, Update};

use super::MemoryStore;
use super::rounds::Kept;
use crate::kernel::Step;
use crate::store::noise::{Estimator, Lengths, Sample, Sums, WINDOW, saved};
use crate::store::update::{self, Weight};

/// The state of the measurement that the blocks share. Each block has its part of the window.
pub(super) struct Noise {
    sample: Sample,
    estimator: Mutex<Estimator>,
    /// The number of updates of the epoch that all blocks have.
    updates: AtomicU64,
}

impl Noise {
    pub(super) fn new(dim: usize) -> Self {
        Self { sample: Sample::new(dim), estimator: Mutex::default(), updates: AtomicU64::new(0) }
    }

    /// The sample, if the plan asks for a measurement.
    pub(super) fn sample(&self, plan: &EpochPlan) -> Option<Sample> {
        plan.noise.measures().then_some(self.sample)
    }

    pub(super) fn begin_epoch(&self, plan: &EpochPlan) {
        self.estimator.lock().begin_epoch(plan);
        self.updates.store(0, Ordering::Relaxed);
    }

    pub(super) fn sums(&self) -> Sums {
        self.estimator.lock().sums
    }

    /// The averages, for a snapshot.
    pub(super) fn averages(&self) -> Vec<NoiseAverages> {
        saved(vec![self.estimator.lock().averages])
    }

    pub(super) fn restore(&self, averages: &[NoiseAverages]) {
        let averages = NoiseAverages::divided(averages, 1)[0];
        *self.estimator.lock() = Estimator { averages, ..Estimator::default() };
    }

    /// The weight of an update that is about to be applied to parameters of `version`.
    pub(super) fn weight(&self, plan: &EpochPlan, version: u64, update: &Update<'_>) -> Weight {
        match plan.noise {
            Setting::Off | Setting::Measure => Weight::FULL,
            Setting::Rule { .. } => {
                let averages = self.estimator.lock().averages;
                Weight::new(plan, &averages, version, update)
            }
        }
    }
}

impl MemoryStore {
    /// Counts an update that was applied to all blocks, and ends a window after every few of them.
    pub(super) fn count_measured(&self) {
        let updates = self.noise.updates.fetch_add(1, Ordering::AcqRel) + 1;
        if !updates.is_multiple_of(WINDOW) {
            return;
        }
        // In the order of the blocks, not of the walk: a run's bits do not depend on threads. With
        // concurrent pushes, a block may have an update in the window before or after. The signal is
        // then slightly too large. The lock lets one window end at a time.
        let mut estimator = self.noise.estimator.lock();
        let mut lengths = Lengths::default();
        for block in &self.blocks {
            lengths += block.lock().end_window();
        }
        estimator.add(WINDOW, lengths);
    }

    /// Measures a round of bulk mode, whose mean was applied with `step`. A worker alone has rounds
    /// of one update, which are taken together as in hybrid mode.
    pub(super) fn measure_round(&self, plan: &EpochPlan, step: &Step, kept: &[Kept]) {
        let Some(sample) = self.noise.sample(plan) else { return };
        let alone = plan.shards == 1;
        let updates = update::equal_updates(kept.iter().map(|kept| kept.examples));
        if !alone && updates == 0 {
            return;
        }
        let mut lengths = Lengths::default();
        for (index, block) in self.blocks.iter().enumerate() {
            let range = self.range(index);
            let block = &mut *block.lock();
            for kept in kept {
                let step = Step { scale: kept.scale, ..*step };
                block.observe(&step, sample, range.clone(), kept.piece(&range));
            }
            if !alone {
                lengths += block.end_window();
            }
        }
        match alone {
            true => self.count_measured(),
            false => self.noise.estimator.lock().add(updates, lengths),
        }
    }
}
