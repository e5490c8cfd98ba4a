//! Tables of the rest of a job, for each price of a dollar.

use siren_core::Allocation;

use super::horizon::Horizon;
use crate::choice::{Choice, lower_hull};
use crate::model::{At, Chance, Dynamics};

/// The number of prices of a dollar.
pub(super) const PRICES: usize = 160;
/// The number of points of progress.
const KNOTS: usize = 32;

/// The best choices at each price and progress: of all memory sizes, or of one if a change costs
/// something.
#[derive(Clone, Debug)]
pub(super) struct PriceTable {
    /// The first epoch, for each price.
    first: Vec<Choice>,
    knots: Vec<f64>,
    /// For each price from 0 to the highest, for each knot.
    rows: Vec<Vec<Knot>>,
    /// The logarithm of the step from one price to the next.
    pub(super) step: f64,
}

#[derive(Clone, Copy, Debug)]
struct Knot {
    choice: Choice,
    to_go: ToGo,
}

/// The rest of the job, by the model and without rounding to whole epochs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ToGo {
    pub(super) seconds: f64,
    pub(super) dollars: f64,
    pub(super) epochs: f64,
}

/// The random variation of an epoch, by the model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uncertainty {
    /// The standard deviation of the logarithm of an epoch's progress.
    pub(super) progress: f64,
    /// The factor by which an epoch costs more than expected in one of a thousand cases.
    pub(super) cost: f64,
}

impl Uncertainty {
    pub(super) fn of(model: &dyn Dynamics, progress: f64, counts: &[u32], sizes: &[u32]) -> Self {
        let allocation = Allocation::new(counts[counts.len() / 2], sizes[sizes.len() / 2]);
        let at = At { epoch: 1, progress: 0.5 * progress, memory_mb: None };
        let epoch = |chance| model.epoch(at, allocation, &chance);
        let expected = epoch(Chance::EXPECTED);
        let more = epoch(Chance { progress: 1.0, ..Chance::EXPECTED });
        let dear = epoch(Chance { billed: 3.0, ..Chance::EXPECTED });
        let spread = (more.progress / expected.progress).ln();
        let cost = dear.cost_usd / expected.cost_usd;
        Self {
            progress: if spread > 0.0 { spread.min(1.0) } else { 0.0 },
            cost: if cost > 1.0 { cost.min(2.0) } else { 1.0 },
        }
    }
}

/// One table if a change of the memory costs nothing, otherwise one for each memory size.
pub(super) fn tables(
    model: &dyn Dynamics,
    horizon: &Horizon,
    counts: &[u32],
    sizes: &[u32],
) -> Vec<PriceTable> {
    let allocation = Allocation::new(counts[0], sizes[0]);
    let from = |memory_mb| {
        let at = At { epoch: 1, progress: 0.0, memory_mb };
        let epoch = model.epoch(at, allocation, &Chance::EXPECTED);
        (epoch.elapsed_s, epoch.cost_usd)
    };
    if from(sizes.last().copied()) == from(Some(sizes[0])) {
        return vec![PriceTable::new(model, horizon, counts, sizes)];
    }
    // Fewer sizes, so that a decision stays fast.
    let stride = sizes.len().div_ceil(12);
    let sizes = sizes.iter().rev().step_by(stride);
    sizes.map(|&size| PriceTable::new(model, horizon, counts, &[size])).collect()
}

impl PriceTable {
    fn new(model: &dyn Dynamics, horizon: &Horizon, counts: &[u32], sizes: &[u32]) -> Self {
        let hull = |epoch, progress| {
            let at = At { epoch, progress, memory_mb: None };
            let mut hull = Vec::with_capacity(counts.len() * sizes.len());
            for &memory_mb in sizes {
                let allocations = counts.iter().map(|&workers| Allocation::new(workers, memory_mb));
                hull.extend(allocations.map(|allocation| Choice::expected(model, at, allocation)));
            }
            let fallback = hull[0];
            lower_hull(&mut hull, |choice| horizon.rate(choice));
            if hull.is_empty() {
                // Even an invalid model needs an allocation.
                hull.push(Choice { seconds: 1.0, dollars: 0.0, progress: 1.0, ..fallback });
            }
            hull
        };
        // Costs follow powers of the progress, so knots are closer together at the beginning.
        let end = horizon.end();
        let parts = (KNOTS - 1) as f64;
        let knots: Vec<f64> =
            (0..KNOTS).map(|knot| (1.0 + end).powf(knot as f64 / parts) - 1.0).collect();
        let hulls: Vec<Vec<Choice>> = knots.iter().map(|&knot| hull(1, knot)).collect();
        let first = hull(0, 0.0);

        let trades = hulls.iter().chain([&first]).flat_map(|hull| {
            hull.windows(2).map(|pair| {
                let (fast, cheap) = (horizon.rate(&pair[0]), horizon.rate(&pair[1]));
                (cheap.0 - fast.0) / (fast.1 - cheap.1)
            })
        });
        let (low, high) = trades
            .filter(|trade| *trade > 0.0 && trade.is_finite())
            .fold((f64::INFINITY, 0.0_f64), |(low, high), trade| (low.min(trade), high.max(trade)));
        let (low, high) = if low <= high { (low.max(high * 1e-12), high) } else { (1.0, 1.0) };
        let step = (1.01 * high / low).ln() / (PRICES - 2) as f64;
        let prices: Vec<f64> = std::iter::once(0.0)
            .chain((0..PRICES - 1).map(|price| 0.999 * low * (step * price as f64).exp()))
            .collect();

        let best = |hull: &[Choice], price: f64| {
            let value = |choice: &Choice| {
                let (seconds, dollars) = horizon.rate(choice);
                seconds + price * dollars
            };
            // Along a hull, the value first falls and then rises.
            let (mut low, mut high) = (0, hull.len() - 1);
            while low < high {
                let middle = (low + high) / 2;
                if value(&hull[middle]) <= value(&hull[middle + 1]) {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            hull[low]
        };
        let rows = prices.iter().map(|&price| {
            let choices = hulls.iter().map(|hull| best(hull, price));
            let none = ToGo::default();
            let mut row: Vec<Knot> = choices.map(|choice| Knot { choice, to_go: none }).collect();
            for knot in (0..KNOTS - 1).rev() {
                let (here, next) = (row[knot].choice, row[knot + 1].choice);
                let half = 0.5 * (knots[knot + 1] - knots[knot]);
                let (one, two) = (half / here.progress, half / next.progress);
                let after = row[knot + 1].to_go;
                row[knot].to_go = ToGo {
                    seconds: after.seconds + one * here.seconds + two * next.seconds,
                    dollars: after.dollars + one * here.dollars + two * next.dollars,
                    epochs: after.epochs + one + two,
                };
            }
            row
        });
        let rows = rows.collect();
        Self { first: prices.iter().map(|&price| best(&first, price)).collect(), knots, rows, step }
    }

    /// The choice for an epoch at a price.
    pub(super) fn choice(&self, price: usize, at: At) -> Choice {
        if at.epoch == 0 {
            return self.first[price];
        }
        let (knot, share) = self.knot(at.progress);
        mix(&self.rows[price][knot].choice, &self.rows[price][knot + 1].choice, share)
    }

    /// The choice for the last epoch.
    pub(super) fn last(&self, price: usize) -> Choice {
        self.rows[price][KNOTS - 1].choice
    }

    /// The rest of the job, from some progress on.
    pub(super) fn to_go(&self, price: usize, progress: f64) -> ToGo {
        let (knot, share) = self.knot(progress);
        let (one, two) = (self.rows[price][knot].to_go, self.rows[price][knot + 1].to_go);
        let mix = |one: f64, two: f64| one + share * (two - one);
        ToGo {
            seconds: mix(one.seconds, two.seconds),
            dollars: mix(one.dollars, two.dollars),
            epochs: mix(one.epochs, two.epochs),
        }
    }

    /// The knot before some progress, and the share of the way to the next.
    fn knot(&self, progress: f64) -> (usize, f64) {
        let after = self.knots.partition_point(|knot| *knot <= progress);
        let knot = after.saturating_sub(1).min(KNOTS - 2);
        let width = self.knots[knot + 1] - self.knots[knot];
        let share = if width > 0.0 { (progress - self.knots[knot]) / width } else { 0.0 };
        (knot, share.clamp(0.0, 1.0))
    }
}

/// A mixture of two choices. Numbers of functions are interpolated geometrically, but only between
/// choices with the same memory; otherwise the nearer choice is taken.
pub(super) fn mix(one: &Choice, two: &Choice, share: f64) -> Choice {
    if one.allocation.memory_mb != two.allocation.memory_mb {
        return if share < 0.5 { *one } else { *two };
    }
    let mix = |one: f64, two: f64| one + share * (two - one);
    let (few, many) = (f64::from(one.allocation.workers), f64::from(two.allocation.workers));
    let workers = mix(few.ln(), many.ln()).exp().round() as u32;
    Choice {
        allocation: Allocation { workers: workers.max(1), ..one.allocation },
        seconds: mix(one.seconds, two.seconds),
        dollars: mix(one.dollars, two.dollars),
        progress: mix(one.progress, two.progress),
    }
}
