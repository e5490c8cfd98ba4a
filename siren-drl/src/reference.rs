//! The constant allocation that the money left can pay.

use siren_core::Allocation;

use crate::belief::Belief;
use crate::bounds::Bounds;
use crate::choice::memory_sizes;
use crate::model::{At, Chance, Dynamics};

/// The number of points of progress at which means are tabulated.
const POINTS: usize = 48;

/// The number of tabulated numbers of functions, evenly spaced in their logarithm.
const NUMBERS: usize = 32;

/// The largest number of tabulated memory sizes.
const SIZES: u32 = 48;

/// For each memory size and constant number of functions: the mean cost and time of an ideal epoch,
/// from each point of progress to the end.
pub(crate) struct References {
    needed: f64,
    bounds: Bounds,
    /// Memory sizes in MB, in order: all, or a selection without large gaps.
    sizes: Vec<u32>,
    /// Logarithms of the numbers of functions.
    numbers: [f64; NUMBERS],
    /// Dollars and seconds, by memory size, point, number.
    means: Vec<[[f32; 2]; NUMBERS]>,
}

/// The largest constant number of functions that the money left pays for to the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reference {
    /// Functions, not rounded.
    pub(crate) workers: f64,
    /// Seconds to the end with it.
    pub(crate) time_s: f64,
    /// `true` if the money suffices for at least one function.
    pub(crate) affordable: bool,
}

/// The rest of a job, and the money for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remaining {
    /// Ideal epochs.
    pub(crate) ideal: f64,
    /// The expected number of whole epochs.
    pub(crate) epochs: f64,
    /// Dollars.
    pub(crate) budget_usd: f64,
}

impl References {
    pub(crate) fn new(job: &dyn Dynamics, bounds: Bounds, needed: f64) -> Self {
        let most = f64::from(bounds.workers).ln();
        let numbers = std::array::from_fn(|i| most * i as f64 / (NUMBERS - 1) as f64);
        let sizes = memory_sizes(&bounds, SIZES);
        let mut means = Vec::with_capacity(sizes.len() * POINTS);
        for &memory_mb in &sizes {
            let mut sums = [[0.0_f64; 2]; NUMBERS];
            let mut column = [[[0.0_f32; 2]; NUMBERS]; POINTS];
            for (back, means) in column.iter_mut().rev().enumerate() {
                // The middle of the interval between this point and the next.
                let progress = needed * (1.0 - (back as f64 + 0.5) / POINTS as f64);
                let at = At { epoch: 1, progress, memory_mb: Some(memory_mb) };
                for ((sum, mean), number) in sums.iter_mut().zip(means).zip(numbers) {
                    let workers = whole(number, &bounds);
                    let epoch =
                        job.epoch(at, Allocation::new(workers, memory_mb), &Chance::EXPECTED);
                    sum[0] += epoch.cost_usd / epoch.progress;
                    sum[1] += epoch.elapsed_s / epoch.progress;
                    *mean = sum.map(|sum| (sum / (back + 1) as f64) as f32);
                }
            }
            means.extend(column);
        }
        Self { needed, bounds, sizes, numbers, means }
    }

    /// The reference for the rest of a job, with `memory_mb`.
    pub(crate) fn of(&self, belief: &Belief, remaining: Remaining, memory_mb: u32) -> Reference {
        let (size, memory_mb) = self.nearest(memory_mb.into());
        let place = (1.0 - remaining.ideal / self.needed).clamp(0.0, 1.0) * POINTS as f64;
        let low = (place as usize).min(POINTS - 1);
        let high = (low + 1).min(POINTS - 1);
        let share = place - low as f64;
        let table = &self.means[size * POINTS..];
        let (time_ratio, cost_ratio) = (belief.time_ratio(), belief.cost_ratio());
        // Dollars and seconds to the end.
        let at = |number: usize| -> [f64; 2] {
            let [cost, time] = std::array::from_fn(|i| {
                let (a, b) = (f64::from(table[low][number][i]), f64::from(table[high][number][i]));
                (a + (b - a) * share) * remaining.epochs
            });
            let [more_cost, more_time] = self.first(belief, self.numbers[number], memory_mb);
            [(cost + more_cost) * cost_ratio, (time + more_time) * time_ratio]
        };
        let mut many = at(NUMBERS - 1);
        if many[0] <= remaining.budget_usd {
            return Reference {
                workers: self.numbers[NUMBERS - 1].exp(),
                time_s: many[1],
                affordable: true,
            };
        }
        for number in (0..NUMBERS - 1).rev() {
            let few = at(number);
            if few[0] <= remaining.budget_usd {
                let part = (remaining.budget_usd - few[0]) / (many[0] - few[0]);
                let (low, high) = (self.numbers[number].exp(), self.numbers[number + 1].exp());
                // Cost is nearly linear in the number of functions, and time in one over it.
                let workers = low + part * (high - low);
                let inverse = (1.0 / workers - 1.0 / high) / (1.0 / low - 1.0 / high);
                let time_s = many[1] + inverse * (few[1] - many[1]);
                return Reference { workers, time_s, affordable: true };
            }
            many = few;
        }
        Reference { workers: 1.0, time_s: many[1], affordable: false }
    }

    /// Seconds of the whole job with a constant number of functions of one vCPU; infinite if the
    /// money pays for none.
    pub(crate) fn with_one_vcpu(&self, belief: &Belief, budget_usd: f64) -> f64 {
        let remaining = Remaining { ideal: self.needed, epochs: self.needed.ceil(), budget_usd };
        let (_, memory_mb) = self.nearest(belief.model().platform().limits.memory_per_vcpu_mb);
        let reference = self.of(belief, remaining, memory_mb);
        if reference.affordable { reference.time_s } else { f64::INFINITY }
    }

    /// The tabulated memory size nearest to `memory_mb`: its index and the size.
    pub(crate) fn nearest(&self, memory_mb: f64) -> (usize, u32) {
        let above = self.sizes.partition_point(|&size| f64::from(size) < memory_mb);
        let above = above.min(self.sizes.len().saturating_sub(1));
        let far = |size: usize| (f64::from(self.sizes[size]) - memory_mb).abs();
        let nearest = if above > 0 && far(above - 1) < far(above) { above - 1 } else { above };
        (nearest, self.sizes[nearest])
    }

    /// Seconds of the whole job with the fastest constant allocation within this budget. If no
    /// allocation is affordable, the shortest time of those with one function.
    pub(crate) fn fastest(&self, belief: &Belief, budget_usd: f64) -> f64 {
        let remaining = Remaining { ideal: self.needed, epochs: self.needed.ceil(), budget_usd };
        let affordable = self.sizes.iter().map(|&size| self.of(belief, remaining, size));
        let (mut fastest, mut any) = (f64::INFINITY, f64::INFINITY);
        for reference in affordable {
            any = any.min(reference.time_s);
            if reference.affordable {
                fastest = fastest.min(reference.time_s);
            }
        }
        if fastest.is_finite() { fastest } else { any }
    }

    /// The additional cost and time of the first epoch.
    fn first(&self, belief: &Belief, number: f64, memory_mb: u32) -> [f64; 2] {
        if belief.at().epoch > 0 {
            return [0.0; 2];
        }
        let allocation = Allocation::new(whole(number, &self.bounds), memory_mb);
        let [first, second] = [0, 1].map(|epoch| {
            let at = At { epoch, progress: 0.0, memory_mb: None };
            belief.model().epoch(at, allocation, &Chance::EXPECTED)
        });
        [first.cost_usd - second.cost_usd, first.elapsed_s - second.elapsed_s]
    }
}

fn whole(number: f64, bounds: &Bounds) -> u32 {
    (number.exp().round() as u32).clamp(1, bounds.workers)
}
