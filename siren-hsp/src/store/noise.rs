//! The measurement of gradient noise: windows of updates, and the averages over them.

mod sample;

use std::ops::Range;

use siren_core::{EpochPlan, NoiseAverages, NoiseScale};

use super::update::{Piece, split_below};
use crate::kernel::{Products, Step};

pub(super) use sample::Sample;

/// The number of updates in a window. Under bulk mode a window is a round, if there are several
/// workers.
pub(super) const WINDOW: u64 = NoiseAverages::WINDOW;

/// The lengths of the updates in a window, in a range of the parameters. All sums are over the
/// sampled entries. The last update of a shard may have fewer batches than the others. It counts
/// like them, so it adds a little to the noise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Window {
    /// The number of updates.
    pub(super) updates: u64,
    /// The sum of their squared lengths.
    pub(super) squares: f64,
    /// The squared length of their sum.
    pub(super) norm: f64,
}

/// A range of the parameters, after an update was applied to it.
pub(super) struct Observed<'a, S> {
    pub(super) sample: Sample,
    /// The range, in the whole vector.
    pub(super) range: Range<usize>,
    /// The optimizer's state in the range.
    pub(super) state: &'a [S],
    /// The number of updates that the parameters hold.
    pub(super) count: u64,
}

impl Window {
    /// Adds an update, which has just been applied with `step`. `sum` is the sum of the window's
    /// updates at the sampled entries; its content before the first update has no meaning.
    pub(super) fn add<S: AsRef<[f32]>>(
        &mut self,
        sum: &mut Vec<f32>,
        step: &Step,
        at: &Observed<'_, S>,
        piece: Piece<'_>,
    ) {
        let Observed { sample, range, state, count } = at;
        let (first, start) = (self.updates == 0, range.start);
        sum.resize(sample.len(range), 0.0);
        let preconditioner = step.preconditioner(*count);
        let mut products = Products::default();
        match piece {
            Piece::Dense(gradient) => {
                for run in sample.runs(range.clone()) {
                    let sum = &mut sum[sample.place(&run, range)];
                    let run = run.start - start..run.end - start;
                    preconditioner.observe(state, run, gradient, sum, first, &mut products);
                }
            }
            Piece::Sparse(mut entries) => {
                if first {
                    sum.fill(0.0);
                }
                while let Some(entry) = entries.first() {
                    let Some(run) = sample.run_at(entry.index as usize, range) else { break };
                    let (_, after) = split_below(entries, run.start);
                    let inside = after.iter().take_while(|e| (e.index as usize) < run.end).count();
                    let (inside, rest) = after.split_at(inside);
                    let sum = &mut sum[sample.place(&run, range)];
                    let inside = (inside, run.start);
                    preconditioner.observe_sparse((state, start), inside, sum, &mut products);
                    entries = rest;
                }
            }
        }
        let square = products.square();
        self.norm = if first { square } else { self.norm + 2.0 * products.with_sum() + square };
        self.squares += square;
        self.updates += 1;
    }

    /// Ends the window and returns its sums.
    pub(super) fn end(&mut self) -> Lengths {
        let lengths = Lengths { squares: self.squares, norm: self.norm };
        *self = Self::default();
        lengths
    }
}

/// The sum of the updates' squared lengths and the squared length of their sum, over the windows
/// that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lengths {
    squares: f64,
    norm: f64,
}

impl std::ops::AddAssign for Lengths {
    fn add_assign(&mut self, other: Self) {
        self.squares += other.squares;
        self.norm += other.norm;
    }
}

/// The averages over windows, and the epoch's sums, of a store or one of its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Estimator {
    pub(super) averages: NoiseAverages,
    pub(super) sums: Sums,
}

impl Estimator {
    /// Begins an epoch. An open window of the last one is dropped by its owner.
    pub(super) fn begin_epoch(&mut self, plan: &EpochPlan) {
        // An update has no more batches than a shard.
        let batches = plan.update_len(plan.shards.saturating_sub(1), 0);
        self.averages = self.averages.for_local_steps(batches);
        self.sums = Sums::default();
    }

    /// Adds a window of this number of updates, from unbiased estimates of the squared length of
    /// the mean update and of the variance (Appendix A.1 of McCandlish and others, 2018).
    pub(super) fn add(&mut self, updates: u64, lengths: Lengths) {
        let n = updates as f64;
        let mean_square = lengths.squares / n;
        let square_of_mean = lengths.norm / (n * n);
        let signal = (n * square_of_mean - mean_square) / (n - 1.0);
        let noise = n * (mean_square - square_of_mean) / (n - 1.0);
        if signal.is_finite() && noise.is_finite() {
            self.averages.add(updates, signal, noise);
            self.sums.add(signal, noise);
        }
    }
}

/// The averages for a snapshot: none before the first window.
pub(super) fn saved(parts: Vec<NoiseAverages>) -> Vec<NoiseAverages> {
    if parts.iter().any(|part| part.windows > 0) { parts } else { Vec::new() }
}

/// Sums over the windows of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) windows: u64,
    /// The windows whose signal cannot be told from zero.
    pub(super) at_floor: u64,
    pub(super) signal: f64,
    pub(super) noise: f64,
    pub(super) signal_squared: f64,
    pub(super) noise_squared: f64,
    pub(super) product: f64,
}

impl Sums {
    fn add(&mut self, signal: f64, noise: f64) {
        self.windows += 1;
        self.at_floor += u64::from(NoiseAverages::is_at_floor(signal, noise));
        self.signal += signal;
        self.noise += noise;
        self.signal_squared += signal * signal;
        self.noise_squared += noise * noise;
        self.product += signal * noise;
    }

    /// The standard error of the mean over the windows of this linear combination of noise and
    /// signal.
    fn error(&self, of_noise: f64, of_signal: f64) -> f64 {
        let n = self.windows as f64;
        let mean = (of_noise * self.noise + of_signal * self.signal) / n;
        let square = of_noise * of_noise * self.noise_squared
            + 2.0 * of_noise * of_signal * self.product
            + of_signal * of_signal * self.signal_squared;
        ((square / n - mean * mean).max(0.0) / (n - 1.0)).sqrt()
    }
}

/// The noise scale of an epoch from the sums of the store's parts, with `examples` in each update.
/// `None` if there are fewer than two windows, or nothing but zeros. The windows of the parts are
/// of the same updates, so their errors are added and not their squares.
pub(super) fn noise_scale(parts: &[Sums], examples: f64) -> Option<NoiseScale> {
    let windows = parts.iter().map(|part| part.windows).min().filter(|&windows| windows >= 2)?;
    let mean = |of: fn(&Sums) -> f64| -> f64 {
        parts.iter().map(|part| of(part) / part.windows as f64).sum()
    };
    // Rounding may leave the noise of equal updates below zero.
    let (signal, noise) = (mean(|part| part.signal), mean(|part| part.noise).max(0.0));
    let error = |of_noise, of_signal| -> f64 {
        parts.iter().map(|part| part.error(of_noise, of_signal)).sum()
    };
    let margin = 2.0 * error(0.0, 1.0);
    let above = signal <= margin;
    let (ratio, error) = if above {
        (noise / (signal.max(0.0) + margin), 0.0)
    } else {
        // The error of a ratio, by the delta method.
        let ratio = noise / signal;
        (ratio, error(1.0, -ratio) / signal)
    };
    let scale = NoiseScale {
        examples: ratio * examples,
        standard_error: error * examples,
        above,
        at_floor: mean(|part| part.at_floor as f64) / parts.len() as f64,
        windows,
    };
    (scale.examples.is_finite() && scale.standard_error.is_finite()).then_some(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn plan(shards: u32, local_steps: u64) -> EpochPlan {
        Config { batch_size: 2, local_steps, ..Config::default() }.plan(0, 0, 80, shards)
    }

    #[test]
    fn local_steps_beyond_a_shard_count_as_its_length() {
        let averages = NoiseAverages { signal: 1.0, noise: 8.0, windows: 1, local_steps: 1 };
        let mut estimator = Estimator { averages, sums: Sums::default() };
        // Shards of ten batches.
        estimator.begin_epoch(&plan(4, u64::MAX));
        assert_eq!(estimator.averages.scale(), 0.8);
        estimator.begin_epoch(&plan(4, 1));
        assert_eq!(estimator.averages, averages);
    }

    #[test]
    fn equal_updates_have_no_noise() {
        let mut estimator = Estimator::default();
        for _ in 0..3 {
            let square = 0.1_f64 * 0.1 * 3.0;
            estimator.add(8, Lengths { squares: 8.0 * square, norm: 64.0 * square });
        }
        let scale = noise_scale(&[estimator.sums], 2.0).unwrap();
        assert!((0.0..1e-12).contains(&scale.examples) && !scale.above, "{scale:?}");
        assert!(noise_scale(&[Sums::default()], 2.0).is_none());
    }
}
