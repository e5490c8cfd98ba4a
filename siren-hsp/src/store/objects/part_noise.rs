//! The measurement of gradient noise in a part, from its share of the updates.

use siren_core::{EpochPlan, NoiseAverages, Update};

use super::apply::Place;
use super::part_object::PartObject;
use crate::kernel::Step;
use crate::store::noise::{Estimator, Observed, Sums, WINDOW, Window};
use crate::store::update::{self, Piece, Weight};

/// The numbers of the measurement, which are in the part's metadata. An aggregator that replaces
/// another one reads them with the open window's sum, and goes on with the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PartNoise {
    pub(super) estimator: Estimator,
    pub(super) window: Window,
    /// The sum of the factors of the updates' steps.
    pub(super) factors: f64,
    /// The sum of the updates' examples times their efficiency.
    pub(super) progress: f64,
}

impl PartNoise {
    /// The number of 64-bit words of the encoding: the fields in their order.
    pub(super) const WORDS: usize = 16;

    pub(super) fn to_words(self) -> [u64; Self::WORDS] {
        let Self { estimator: Estimator { averages, sums }, window, factors, progress } = self;
        let float = f64::to_bits;
        [
            float(averages.signal),
            float(averages.noise),
            averages.windows,
            averages.local_steps,
            sums.windows,
            sums.at_floor,
            float(sums.signal),
            float(sums.noise),
            float(sums.signal_squared),
            float(sums.noise_squared),
            float(sums.product),
            window.updates,
            float(window.squares),
            float(window.norm),
            float(factors),
            float(progress),
        ]
    }

    pub(super) fn from_words(words: [u64; Self::WORDS]) -> Self {
        let float = |word: usize| f64::from_bits(words[word]);
        let averages = NoiseAverages {
            signal: float(0),
            noise: float(1),
            windows: words[2],
            local_steps: words[3],
        };
        let sums = Sums {
            windows: words[4],
            at_floor: words[5],
            signal: float(6),
            noise: float(7),
            signal_squared: float(8),
            noise_squared: float(9),
            product: float(10),
        };
        let window = Window { updates: words[11], squares: float(12), norm: float(13) };
        Self {
            estimator: Estimator { averages, sums },
            window,
            factors: float(14),
            progress: float(15),
        }
    }

    /// Counts an update that is applied with this weight.
    pub(super) fn count(&mut self, update: &Update<'_>, weight: Weight) {
        self.factors += weight.step;
        self.progress += weight.efficiency * update.examples as f64;
    }
}

impl PartObject {
    /// Begins an epoch, with a new window.
    pub(super) fn begin_measuring(&mut self, plan: &EpochPlan) {
        let mut estimator = self.meta.noise.estimator;
        estimator.begin_epoch(plan);
        self.meta.noise = PartNoise { estimator, ..PartNoise::default() };
        self.drop_window();
    }

    /// Drops the open window.
    pub(super) fn drop_window(&mut self) {
        self.meta.noise.window = Window::default();
        self.window_sum = Vec::new();
    }

    /// The weight of the next update.
    pub(super) fn weight(&self, plan: &EpochPlan, update: &Update<'_>) -> Weight {
        let averages = &self.meta.noise.estimator.averages;
        Weight::new(plan, averages, self.meta.version, update)
    }

    /// Measures an update, which was applied with `step`.
    pub(super) fn measure(
        &mut self,
        plan: &EpochPlan,
        Place { sample, start }: Place,
        step: &Step,
        piece: Piece<'_>,
    ) {
        if !plan.noise.measures() {
            return;
        }
        let Self { meta, optimizer_state, window_sum, values } = self;
        let noise = &mut meta.noise;
        let at = Observed {
            sample,
            range: start..start + values.len(),
            state: optimizer_state.as_slice(),
            count: meta.version,
        };
        noise.window.add(window_sum, step, &at, piece);
        if noise.window.updates == WINDOW {
            noise.estimator.add(WINDOW, noise.window.end());
            self.drop_window();
        }
    }

    /// Measures a round, whose mean was applied with `step`. The updates have their clipping
    /// factors.
    pub(super) fn measure_round(
        &mut self,
        plan: &EpochPlan,
        Place { sample, start }: Place,
        step: &Step,
        updates: &[(u64, f32, Piece<'_>)],
    ) {
        // A worker alone has rounds of one update, which are taken together as in hybrid mode.
        if let (1, [(_, scale, piece)]) = (plan.shards, updates) {
            return self.measure(
                plan,
                Place { sample, start },
                &Step { scale: *scale, ..*step },
                *piece,
            );
        }
        let equal = update::equal_updates(updates.iter().map(|(examples, ..)| *examples));
        if !plan.noise.measures() || equal == 0 {
            return;
        }
        let at = Observed {
            sample,
            range: start..start + self.values.len(),
            state: self.optimizer_state.as_slice(),
            count: self.meta.version,
        };
        let (mut window, mut sum) = (Window::default(), Vec::new());
        for (_, scale, piece) in updates {
            window.add(&mut sum, &Step { scale: *scale, ..*step }, &at, *piece);
        }
        self.meta.noise.estimator.add(equal, window.end());
    }
}
