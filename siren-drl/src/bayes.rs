//! Bayesian optimisation of a constant allocation.

mod gaussian_process;

use std::sync::Arc;

use gaussian_process::GaussianProcess;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Error, Result, Seed};
use statrs::function::erf::erfc;

use crate::bounds::Bounds;
use crate::env::Environment;
use crate::grid::StaticAllocation;
use crate::optimum::too_little;
use crate::task::SchedulingTask;

/// The result and the trials of a Bayesian search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BayesianSearch {
    /// The fastest allocation that is predicted to be affordable in 95 of 100 episodes, with its
    /// predicted seconds and dollars.
    pub best: StaticAllocation,
    /// The trials, in order.
    pub trials: Vec<Trial>,
}

/// One episode of a search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The allocation of every epoch.
    pub allocation: Allocation,
    /// `true` if the target was reached within the budget.
    pub success: bool,
    /// Seconds.
    pub time_s: f64,
    /// Dollars.
    pub cost_usd: f64,
    /// The progress that was made, as a share of the progress to the target.
    pub reached: f64,
}

impl BayesianSearch {
    /// Seconds of all trials, one after the other.
    pub fn time_s(&self) -> f64 {
        self.trials.iter().map(|trial| trial.time_s).sum()
    }

    /// Dollars of all trials.
    pub fn cost_usd(&self) -> f64 {
        self.trials.iter().map(|trial| trial.cost_usd).sum()
    }
}

/// The number of trials before the model chooses.
const FIRST: usize = 6;
/// The largest number of trials: more are not worth the cubic cost of a Gaussian process.
const MOST: u64 = 100;
/// The number of candidates from which the most promising is tried.
const CANDIDATES: usize = 600;
/// The search ends when no candidate promises an improvement of this share of the time.
const ENOUGH: f64 = 1e-4;
/// The probability with which the best allocation has to be affordable.
const SURE: f64 = 0.95;

/// Searches for the best constant allocation by trial, without knowledge of the job: Bayesian
/// optimisation over the logarithm of the number of functions and the memory size, after CherryPick
/// (NSDI 2017). The logarithms of time and cost are Gaussian processes. The next trial maximises
/// the expected improvement of the time times the probability that the budget suffices (Gardner and
/// others, ICML 2014).
///
/// Each trial is one episode with noise. There are at most `episodes` trials and at most 100. If a
/// trial runs out of money, its time and cost are extrapolated to the target from its progress.
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the task is invalid or
/// `episodes` is 0, and [`ErrorKind::Budget`](siren_core::ErrorKind::Budget) when no allocation is
/// predicted to be affordable.
pub fn bayesian_search(task: &SchedulingTask, episodes: u64, seed: Seed) -> Result<BayesianSearch> {
    task.check()?;
    if episodes == 0 {
        return Err(Error::rejected("a search of 0 episodes finds nothing: give at least 1"));
    }
    let task = Arc::new(task.clone());
    let bounds = task.bounds;
    let mut rng = seed.child(0).rng();
    let mut trials: Vec<Trial> = Vec::new();
    let mut shift = [rng.random::<f64>(), rng.random::<f64>()];
    let mut belief = None;
    for number in 0..episodes.min(MOST) {
        let allocation = if trials.len() < FIRST {
            // Points that fill the square evenly: the additive recurrence of the plastic number.
            shift = [(shift[0] + 0.754_877_666).fract(), (shift[1] + 0.569_840_291).fract()];
            at(&bounds, shift)
        } else {
            let model = Model::fit(&bounds, &trials, task.budget_usd);
            let best = model.best(trials.iter().map(|trial| trial.allocation));
            let around = best.map_or(trials[0].allocation, |best| best.0);
            let candidates = (0..CANDIDATES).map(|_| candidate(&bounds, around, &mut rng));
            let promising = candidates
                .map(|of| (of, model.improvement(of, best.map(|best| best.1))))
                .max_by(|a, b| a.1.total_cmp(&b.1));
            belief = Some(model);
            match promising {
                Some((of, improvement)) if best.is_none() || improvement > ENOUGH => of,
                _ => break,
            }
        };
        trials.push(tried(&task, allocation, seed.child(number + 1)));
        belief = None;
    }
    let model = belief.unwrap_or_else(|| Model::fit(&bounds, &trials, task.budget_usd));
    let mut candidates: Vec<Allocation> = trials.iter().map(|trial| trial.allocation).collect();
    for _ in 0..3 {
        let around = model.best(candidates.iter().copied()).map_or(candidates[0], |best| best.0);
        candidates.extend((0..CANDIDATES).map(|_| candidate(&bounds, around, &mut rng)));
    }
    let Some((allocation, _)) = model.best(candidates.iter().copied()) else {
        let costs = candidates.iter().map(|&of| model.cost.predict(point(&bounds, of)).0.exp());
        return Err(too_little(task.budget_usd, costs.fold(f64::INFINITY, f64::min)));
    };
    let of = |process: &GaussianProcess| process.predict(point(&bounds, allocation)).0.exp();
    let best = StaticAllocation { allocation, time_s: of(&model.time), cost_usd: of(&model.cost) };
    Ok(BayesianSearch { best, trials })
}

/// The allocation at a point of the unit square: logarithmic in functions, linear in memory.
fn at(bounds: &Bounds, [workers, memory]: [f64; 2]) -> Allocation {
    let (min, max) = (f64::from(bounds.memory_min_mb), f64::from(bounds.memory_max_mb));
    bounds.nearest(f64::from(bounds.workers).powf(workers), min + memory * (max - min))
}

/// The point of the unit square that stands for an allocation.
fn point(bounds: &Bounds, allocation: Allocation) -> [f64; 2] {
    let (min, max) = (f64::from(bounds.memory_min_mb), f64::from(bounds.memory_max_mb));
    let most = f64::from(bounds.workers.max(2)).ln();
    let memory = (f64::from(allocation.memory_mb) - min) / (max - min).max(1.0);
    [f64::from(allocation.workers.max(1)).ln() / most, memory]
}

/// A random allocation, or one near the best so far.
fn candidate(bounds: &Bounds, around: Allocation, rng: &mut impl Rng) -> Allocation {
    let anywhere = [rng.random::<f64>(), rng.random::<f64>()];
    if rng.random::<f64>() < 0.4 {
        return at(bounds, anywhere);
    }
    let (here, reach) = (point(bounds, around), 0.2 * rng.random::<f64>());
    let near = |of: usize| (here[of] + reach * (2.0 * anywhere[of] - 1.0)).clamp(0.0, 1.0);
    at(bounds, [near(0), near(1)])
}

fn tried(task: &Arc<SchedulingTask>, allocation: Allocation, seed: Seed) -> Trial {
    let mut environment = Environment::new(Arc::clone(task), seed);
    loop {
        let step = environment.step(allocation);
        if step.done() {
            let reached =
                (step.info.progress / task.ideal_epochs().max(f64::MIN_POSITIVE)).min(1.0);
            let (time_s, cost_usd) = (step.info.elapsed_s, step.info.cost_usd);
            return Trial { allocation, success: step.info.success, time_s, cost_usd, reached };
        }
    }
}

/// The predictions of time and cost.
struct Model {
    bounds: Bounds,
    budget: f64,
    time: GaussianProcess,
    cost: GaussianProcess,
}

impl Model {
    fn fit(bounds: &Bounds, trials: &[Trial], budget_usd: f64) -> Self {
        let points: Vec<[f64; 2]> =
            trials.iter().map(|trial| point(bounds, trial.allocation)).collect();
        let fit = |of: fn(&Trial) -> f64| {
            let whole = |trial: &Trial| (of(trial) / trial.reached.max(1e-6)).max(1e-9).ln();
            GaussianProcess::fit(&points, &trials.iter().map(whole).collect::<Vec<_>>())
        };
        let budget = budget_usd.max(1e-9).ln();
        let (time, cost) = (fit(|trial| trial.time_s), fit(|trial| trial.cost_usd));
        Self { bounds: *bounds, budget, time, cost }
    }

    /// The probability that the budget pays for an episode.
    fn affordable(&self, allocation: Allocation) -> f64 {
        let (mean, deviation) = self.cost.predict(point(&self.bounds, allocation));
        below((self.budget - mean) / deviation.hypot(self.cost.noise()).max(1e-9))
    }

    /// The fastest of those that are affordable with probability [`SURE`], and the logarithm of its
    /// time.
    fn best(&self, of: impl Iterator<Item = Allocation>) -> Option<(Allocation, f64)> {
        let sure = of.filter(|allocation| self.affordable(*allocation) >= SURE);
        sure.map(|allocation| (allocation, self.time.predict(point(&self.bounds, allocation)).0))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The expected improvement of the logarithm of the time, times the probability that the
    /// allocation is affordable. Without a `best`, this probability alone.
    fn improvement(&self, allocation: Allocation, best: Option<f64>) -> f64 {
        let affordable = self.affordable(allocation);
        let Some(best) = best else { return affordable };
        let (mean, deviation) = self.time.predict(point(&self.bounds, allocation));
        let better = (best - mean) / deviation.max(1e-9);
        let density = (-0.5 * better * better).exp() / (2.0 * std::f64::consts::PI).sqrt();
        affordable * deviation * (better * below(better) + density)
    }
}

/// The distribution function of the normal distribution.
fn below(deviations: f64) -> f64 {
    0.5 * erfc(-deviations / std::f64::consts::SQRT_2)
}
