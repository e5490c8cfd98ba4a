//! The best constant allocation.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Error, ErrorKind, Result, Seed};
use siren_hsp::FixedScheduler;

use crate::choice::{memory_sizes, worker_counts};
use crate::model::{At, Chance};
use crate::optimum::too_little;
use crate::play::play;
use crate::task::SchedulingTask;

/// The criterion of an affordable allocation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Demand {
    /// The expected cost is within the budget, as in the SIREN talk. With noise, an allocation that
    /// only just meets this succeeds in about half of the episodes.
    Expected,
    /// At least this share of episodes reaches the target within the budget.
    Success {
        /// The share.
        share: f64,
        /// The number of episodes to play.
        episodes: u64,
        /// The seed of the episodes.
        seed: Seed,
    },
}

/// A job that runs with one allocation throughout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StaticAllocation {
    /// The allocation of every epoch.
    pub allocation: Allocation,
    /// Expected seconds.
    pub time_s: f64,
    /// Expected dollars.
    pub cost_usd: f64,
}

impl StaticAllocation {
    /// A task's job with this allocation throughout, by expected epochs. `None` if the task's
    /// epochs do not suffice for the target.
    pub fn expected(task: &SchedulingTask, allocation: Allocation) -> Option<Self> {
        let needed = task.ideal_epochs() * (1.0 - 1e-12);
        let (mut at, mut time_s, mut cost_usd) = (At::default(), 0.0, 0.0);
        while at.epoch == 0 || at.progress < needed {
            if at.epoch >= task.epochs {
                return None;
            }
            let epoch = task.job.epoch(at, allocation, &Chance::EXPECTED);
            time_s += epoch.elapsed_s;
            cost_usd += epoch.cost_usd;
            at = At {
                epoch: at.epoch + 1,
                progress: at.progress + epoch.progress,
                memory_mb: Some(allocation.memory_mb),
            };
        }
        Some(Self { allocation, time_s, cost_usd })
    }

    /// A scheduler with this allocation in every epoch.
    pub fn scheduler(&self) -> FixedScheduler {
        FixedScheduler::new(self.allocation.workers, self.allocation.memory_mb)
    }

    /// `true` if it meets the demand.
    fn meets(&self, task: &Arc<SchedulingTask>, demand: Demand) -> Result<bool> {
        let (share, episodes, seed) = match demand {
            Demand::Expected => return Ok(self.cost_usd <= task.budget_usd),
            Demand::Success { share, episodes, seed } => (share, episodes.max(1), seed),
        };
        let mut failures = ((1.0 - share) * episodes as f64 + 1e-9) as u64;
        for episode in 0..episodes {
            if !play(&mut self.scheduler(), task, seed.child(episode))?.success {
                let Some(left) = failures.checked_sub(1) else { return Ok(false) };
                failures = left;
            }
        }
        Ok(true)
    }
}

/// The result of a grid search over numbers of functions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridOverFunctions {
    /// The fastest affordable allocation.
    pub best: StaticAllocation,
    /// All numbers that were tried, in rising order, whether affordable or not.
    pub curve: Vec<StaticAllocation>,
}

/// Finds the best constant number of functions of `memory_mb` MB. This is the baseline of the SIREN
/// talk; 1,536 MB fits its table. Every number is tried, or numbers 1 % apart if the bounds have
/// more than 4,096.
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`] when the task is invalid or has no such memory size, and
/// [`ErrorKind::Budget`] with the minimum cost when no allocation is affordable.
pub fn grid_over_functions(
    task: &SchedulingTask,
    memory_mb: u32,
    demand: Demand,
) -> Result<GridOverFunctions> {
    task.check()?;
    task.job.platform().check_memory(memory_mb)?;
    let ratio = if task.bounds.workers <= 4_096 { 1.0 } else { 1.01 };
    let counts = worker_counts(task.bounds.workers, ratio);
    let runs = counts.into_iter().map(|workers| Allocation::new(workers, memory_mb));
    let curve: Vec<StaticAllocation> =
        runs.filter_map(|of| StaticAllocation::expected(task, of)).collect();
    let best = fastest(task, curve.clone(), demand)?;
    Ok(GridOverFunctions { best, curve })
}

/// Finds the best constant allocation: the number of functions and the memory size. Numbers of
/// functions are tried 2 % apart, and then every number near the best ones.
///
/// # Errors
///
/// As [`grid_over_functions`].
pub fn grid_over_allocations(task: &SchedulingTask, demand: Demand) -> Result<StaticAllocation> {
    task.check()?;
    let counts = worker_counts(task.bounds.workers, 1.02);
    let mut runs = Vec::new();
    for memory_mb in memory_sizes(&task.bounds, 160) {
        let expected =
            |workers| StaticAllocation::expected(task, Allocation::new(workers, memory_mb));
        let coarse: Vec<StaticAllocation> =
            counts.iter().filter_map(|&workers| expected(workers)).collect();
        let affordable =
            coarse.iter().enumerate().filter(|(_, run)| run.cost_usd <= task.budget_usd);
        if let Some((best, _)) = affordable.min_by(|a, b| a.1.time_s.total_cmp(&b.1.time_s)) {
            let end = |of: usize| coarse[of.min(coarse.len() - 1)].allocation.workers;
            // A demand for success needs slightly fewer functions than the expected cost permits.
            let around = end(best.saturating_sub(3))..=end(best + 1);
            runs.extend(around.take(4_096).filter_map(expected));
        }
        runs.extend(coarse);
    }
    fastest(task, runs, demand)
}

fn fastest(
    task: &SchedulingTask,
    mut runs: Vec<StaticAllocation>,
    demand: Demand,
) -> Result<StaticAllocation> {
    let least = runs.iter().map(|run| run.cost_usd).fold(f64::INFINITY, f64::min);
    runs.sort_by(|a, b| a.time_s.total_cmp(&b.time_s));
    let task = Arc::new(task.clone());
    for run in runs {
        // Allocations that are far too expensive need not be played.
        if run.cost_usd <= task.budget_usd * 1.05 && run.meets(&task, demand)? {
            return Ok(run);
        }
    }
    if let Demand::Success { share, .. } = demand
        && least <= task.budget_usd
    {
        let message = format!(
            "no constant allocation succeeds in {:.1} % of the episodes within ${:.2}: give more, or demand less",
            share * 100.0,
            task.budget_usd
        );
        return Err(Error::new(ErrorKind::Budget, message));
    }
    Err(too_little(task.budget_usd, least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::belief::Belief;
    use crate::model::JobModel;
    use crate::reference::{References, Remaining};

    /// The reference is the static allocation that a search would find: it spends the budget.
    #[test]
    fn a_constant_allocation_of_this_size_spends_the_budget() {
        for (name, budget) in [("seed", 200.0), ("seed", 100.0), ("stale", 300.0), ("etl", 200.0)] {
            let task = SchedulingTask::new(JobModel::named(name).unwrap(), budget).unwrap();
            let references = References::new(&*task.job, task.bounds, task.ideal_epochs());
            let belief = Belief::new(Arc::clone(&task.job));
            for memory_mb in [1_024, 1_792, 3_008] {
                let memory_mb = task.bounds.nearest(1.0, memory_mb.into()).memory_mb;
                let needed = task.ideal_epochs();
                let remaining = Remaining { ideal: needed, epochs: needed, budget_usd: budget };
                let found = references.of(&belief, remaining, memory_mb);
                let allocation = task.bounds.nearest(found.workers, memory_mb.into());
                let Some(known) = StaticAllocation::expected(&task, allocation) else { continue };
                let (cost, time) = (known.cost_usd / budget, known.time_s / found.time_s);
                let off = (cost - 1.0).abs().max((time - 1.0).abs());
                assert!(off < 0.03, "{name}, ${budget}, {allocation:?}: {cost} of it, {time}");
            }
        }
    }

    #[test]
    fn a_second_is_rewarded_by_what_the_best_constant_allocation_takes() {
        for (name, budget) in [("seed", 300.0), ("seed", 100.0), ("stale", 200.0)] {
            let task = SchedulingTask::new(JobModel::named(name).unwrap(), budget)
                .unwrap()
                .with_scaled_reward()
                .unwrap();
            let best = grid_over_allocations(&task, Demand::Expected).unwrap();
            let off = (task.reward.beta * best.time_s - 1.0).abs();
            assert!(
                off < 0.03 && (1.0..2.0).contains(&task.reward.terminal),
                "{name}, ${budget}: {off}"
            );
        }
    }
}
