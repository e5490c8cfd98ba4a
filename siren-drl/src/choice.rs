//! Allocations that are worth considering.

use siren_core::Allocation;

use crate::bounds::Bounds;
use crate::model::{At, Chance, Dynamics};

/// The time, cost and progress of an allocation at some point of a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) allocation: Allocation,
    pub(crate) seconds: f64,
    pub(crate) dollars: f64,
    /// Ideal epochs.
    pub(crate) progress: f64,
}

impl Choice {
    /// The expected values of an allocation.
    pub(crate) fn expected(model: &dyn Dynamics, at: At, allocation: Allocation) -> Self {
        let epoch = model.epoch(at, allocation, &Chance::EXPECTED);
        Self {
            allocation,
            seconds: epoch.elapsed_s,
            dollars: epoch.cost_usd,
            progress: epoch.progress,
        }
    }

    /// `true` if time and cost are finite and there is progress.
    pub(crate) fn is_finite(&self) -> bool {
        self.seconds.is_finite() && self.dollars.is_finite() && self.progress > 0.0
    }
}

/// Numbers of functions up to `most`, each at most `ratio` times its predecessor, or one more than
/// it.
pub(crate) fn worker_counts(most: u32, ratio: f64) -> Vec<u32> {
    let most = most.max(1);
    let mut counts = vec![1];
    let mut last = 1;
    while last < most {
        last = ((f64::from(last) * ratio) as u32).max(last + 1).min(most);
        counts.push(last);
    }
    counts
}

/// All memory sizes, or `most` sizes in geometric steps if there are more.
pub(crate) fn memory_sizes(bounds: &Bounds, most: u32) -> Vec<u32> {
    let sizes = bounds.sizes();
    if sizes <= most {
        return (0..sizes).map(|size| bounds.memory_mb(size)).collect();
    }
    let (min, max) = (f64::from(bounds.memory_min_mb.max(1)), f64::from(bounds.memory_max_mb));
    let parts = f64::from(most.max(2) - 1);
    let spaced = (0..most.max(2)).map(|part| min * (max / min).powf(f64::from(part) / parts));
    let mut sizes: Vec<u32> = spaced.map(|memory| bounds.nearest(1.0, memory).memory_mb).collect();
    sizes.dedup();
    sizes
}

/// Keeps the choices that are best for some price of a dollar in seconds, from the fastest to the
/// cheapest. Each one costs more per second saved than its successor. `cost` gives (seconds,
/// dollars).
pub(crate) fn lower_hull(choices: &mut Vec<Choice>, cost: impl Fn(&Choice) -> (f64, f64)) {
    choices.retain(Choice::is_finite);
    choices.sort_by(|a, b| {
        let (a, b) = (cost(a), cost(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let mut kept = 0;
    for next in 0..choices.len() {
        let new = choices[next];
        let (s, d) = cost(&new);
        if kept > 0 && d >= cost(&choices[kept - 1]).1 {
            continue;
        }
        while kept > 1 {
            let (first, second) = (cost(&choices[kept - 2]), cost(&choices[kept - 1]));
            // Along the hull, money falls, time grows, and each trade is worse than the one before.
            let before = (first.1 - second.1) * (s - second.0);
            let after = (second.1 - d) * (second.0 - first.0);
            if before > after {
                break;
            }
            kept -= 1;
        }
        choices[kept] = new;
        kept += 1;
    }
    choices.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hull_has_the_best_choice_for_every_price() {
        let mut all: Vec<Choice> = Vec::new();
        for number in 0..200_u32 {
            let spread = f64::from(number * 7_919 % 200);
            all.push(Choice {
                allocation: Allocation::new(number + 1, 128),
                seconds: 1.0 + spread,
                dollars: 300.0 / (1.0 + spread) + f64::from(number * 31 % 17),
                progress: 1.0,
            });
        }
        let mut hull = all.clone();
        lower_hull(&mut hull, |choice| (choice.seconds, choice.dollars));
        assert!(hull.len() > 3 && hull.len() < 60, "{}", hull.len());
        for price in [0.0, 1e-3, 0.1, 1.0, 10.0, 1e4] {
            let best = |of: &[Choice]| {
                let value = |choice: &Choice| choice.seconds + price * choice.dollars;
                of.iter().map(value).fold(f64::INFINITY, f64::min)
            };
            assert_eq!(best(&hull), best(&all), "at {price} seconds a dollar");
        }
    }

    #[test]
    fn few_counts_are_all_there_and_many_are_spaced() {
        assert_eq!(worker_counts(5, 1.02), [1, 2, 3, 4, 5]);
        assert!(worker_counts(3_000, 1.02).len() < 300);
        assert!(worker_counts(u32::MAX, 1.02).len() < 1_200);
        let bounds =
            Bounds { workers: 1, memory_min_mb: 1, memory_max_mb: u32::MAX, memory_step_mb: 64 };
        assert!((2..=64).contains(&memory_sizes(&bounds, 64).len()));
    }
}
