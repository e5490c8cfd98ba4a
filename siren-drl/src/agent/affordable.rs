//! What the money left pays for.

use siren_core::Allocation;

use crate::model::{At, Chance, Dynamics, Epoch};
use crate::state::State;
use crate::task::{Bounds, Task};

/// Points of progress at which means are tabulated.
const POINTS: usize = 48;

/// Numbers of functions that are looked at, evenly spaced in their logarithm.
const NUMBERS: usize = 32;

/// For each memory size: what an ideal epoch from here to the end costs and takes on average with a
/// constant number of functions.
pub(super) struct Affordable {
    needed: f64,
    bounds: Bounds,
    /// Logarithms of the numbers of functions.
    numbers: [f64; NUMBERS],
    /// Dollars and seconds, by memory size, point, number.
    means: Vec<[[f32; 2]; NUMBERS]>,
}

/// The largest constant number of functions that the money left pays for to the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    /// Functions, not rounded.
    pub(super) workers: f64,
    /// Seconds to the end with it.
    pub(super) time_s: f64,
    /// The share of the money left that goes with it: more than 1 if not even one function is affordable.
    pub(super) share: f64,
}

impl Affordable {
    pub(super) fn new(task: &Task) -> Self {
        let (needed, bounds) = (task.needed(), task.bounds);
        let most = f64::from(bounds.workers).ln();
        let numbers = std::array::from_fn(|i| most * i as f64 / (NUMBERS - 1) as f64);
        let mut means = Vec::with_capacity(bounds.sizes() as usize * POINTS);
        for size in 0..bounds.sizes() {
            let memory_mb = bounds.memory_mb(size);
            let mut sum = [[0.0_f64; 2]; NUMBERS];
            let mut column = [[[0.0_f32; 2]; NUMBERS]; POINTS];
            for (back, mean) in column.iter_mut().rev().enumerate() {
                // In the middle of the part between this point and the next.
                let progress = needed * (1.0 - (back as f64 + 0.5) / POINTS as f64);
                for ((sum, mean), number) in sum.iter_mut().zip(mean).zip(numbers) {
                    let workers = (number.exp().round() as u32).clamp(1, bounds.workers);
                    let allocation = Allocation { workers, memory_mb };
                    let at = At { epoch: 1, progress, memory_mb: Some(memory_mb) };
                    let epoch = task.job.epoch(at, allocation, &Chance::EXPECTED);
                    sum[0] += epoch.cost_usd / epoch.progress;
                    sum[1] += epoch.elapsed_s / epoch.progress;
                    *mean = sum.map(|sum| (sum / (back + 1) as f64) as f32);
                }
            }
            means.extend(column);
        }
        Self { needed, bounds, numbers, means }
    }

    /// With `left` ideal epochs to go, in about `epochs` real ones, with `memory_mb`.
    pub(super) fn with(
        &self,
        job: &dyn Dynamics,
        state: &State,
        left: f64,
        epochs: f64,
        memory_mb: u32,
    ) -> Reference {
        let above = memory_mb.saturating_sub(self.bounds.memory_min_mb);
        let size = (above / self.bounds.memory_step_mb.max(1)) as usize;
        let place = (1.0 - left / self.needed).clamp(0.0, 1.0) * POINTS as f64;
        let low = (place as usize).min(POINTS - 1);
        let high = (low + 1).min(POINTS - 1);
        let share = place - low as f64;
        let first = |number: f64| -> [f64; 2] {
            if state.epoch > 0 {
                return [0.0; 2];
            }
            let workers = (number.exp().round() as u32).clamp(1, self.bounds.workers);
            let epoch = |epoch| -> Epoch {
                let at = At { epoch, progress: 0.0, memory_mb: None };
                job.epoch(at, Allocation { workers, memory_mb }, &Chance::EXPECTED)
            };
            let (first, second) = (epoch(0), epoch(1));
            [first.cost_usd - second.cost_usd, first.elapsed_s - second.elapsed_s]
        };
        let (a, b) = (&self.means[size * POINTS + low], &self.means[size * POINTS + high]);
        let at = |number: usize| -> [f64; 2] {
            let first = first(self.numbers[number]);
            std::array::from_fn(|i| {
                let (a, b) = (f64::from(a[number][i]), f64::from(b[number][i]));
                (a + (b - a) * share) * epochs + first[i]
            })
        };
        let budget = state.budget_usd;
        let mut above = at(NUMBERS - 1);
        if above[0] <= budget {
            let share = above[0] / budget;
            return Reference { workers: self.numbers[NUMBERS - 1].exp(), time_s: above[1], share };
        }
        for number in (0..NUMBERS - 1).rev() {
            let here = at(number);
            if here[0] <= budget {
                let part = (budget - here[0]) / (above[0] - here[0]);
                let (few, many) = (self.numbers[number].exp(), self.numbers[number + 1].exp());
                // Cost is all but linear in the number of functions, time in one over it.
                let workers = few + part * (many - few);
                let inverse = (1.0 / workers - 1.0 / many) / (1.0 / few - 1.0 / many);
                return Reference {
                    workers,
                    time_s: above[1] + inverse * (here[1] - above[1]),
                    share: 1.0,
                };
            }
            above = here;
        }
        Reference { workers: 1.0, time_s: above[1], share: above[0] / budget.max(1e-9) }
    }
}
